//! Durable unary calls: `CreateSession` of the release binary, committed by SQLite with `synchronous=FULL`, beside the same service in bare tonic
//! that only makes the answer up. Run: `cargo bench --bench unary [-- SECONDS_A_ROUND ROUNDS]`.

mod support;

use std::time::Duration;

use anyhow::Result;
use filmgate::pb::v1::{
    CreateSessionRequest, CreateSessionResponse, DeleteSessionRequest, DeleteSessionResponse, GetSessionHistoryRequest,
    GetSessionHistoryResponse, GetSessionRequest, GetSessionResponse, ListSessionsRequest, ListSessionsResponse,
    Session,
    session_service_client::SessionServiceClient,
    session_service_server::{SessionService, SessionServiceServer},
};
use support::{
    Bar, Report, argument,
    load::{Round, connections, round},
    mib, ms,
    process::{Home, Process, peer_asked_for},
};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Server},
};

const CONNECTIONS: usize = 8;
const AT_ONCE: usize = 32;

#[tokio::main]
async fn main() -> Result<()> {
    if let Some((_, addr)) = peer_asked_for() {
        return Ok(Server::builder().add_service(SessionServiceServer::new(Echo)).serve(addr).await?);
    }
    let (seconds, n_rounds) = (argument(0, 3), argument(1, 3));
    let home = Home::new()?;
    let (server, _) = home.serve().await?;
    let echo = Process::peer("echo").await?;

    let (mut bare, mut ours) = (Measured::new(echo).await?, Measured::new(server).await?);
    // The first round only warms up.
    for n in 0..=n_rounds {
        let time = Duration::from_secs(if n == 0 { 1 } else { seconds });
        bare.run(time, n > 0).await?;
        ours.run(time, n > 0).await?;
    }

    let title = format!(
        "unary: CreateSession, {CONNECTIONS} connections × {AT_ONCE}, {n_rounds} alternating rounds of {seconds} s"
    );
    let report = Report::new(title, &["", "requests/s", "p50 ms", "p99 ms", "CPU µs each", "RSS MiB"]);
    let bare = bare.report(&report, "bare tonic, nothing stored")?;
    let ours = ours.report(&report, "filmgate, SQLite FULL")?;
    report.verdict("filmgate / bare tonic, requests a second", ours / bare, "", Bar::AtLeast(0.5));
    Ok(())
}

/// A server under load.
struct Measured {
    process: Process,
    channels: Vec<Channel>,
    rounds: Vec<Round>,
    cpu: Duration,
}

impl Measured {
    async fn new(process: Process) -> Result<Self> {
        let channels = connections(process.addr, CONNECTIONS).await?;
        Ok(Self { process, channels, rounds: Vec::new(), cpu: Duration::ZERO })
    }

    async fn run(&mut self, time: Duration, counts: bool) -> Result<()> {
        let before = self.process.cpu()?;
        let round = round(&self.channels, AT_ONCE, time, async |channel| {
            SessionServiceClient::new(channel).create_session(CreateSessionRequest {}).await?;
            Ok(())
        })
        .await?;
        if counts {
            self.cpu += self.process.cpu()? - before;
            self.rounds.push(round);
        }
        Ok(())
    }

    fn report(self, report: &Report, name: &str) -> Result<f64> {
        let sum = Round::sum(self.rounds);
        report.row(&[
            name.to_owned(),
            format!("{:.0}", sum.rate),
            ms(sum.quantile(0.5)),
            ms(sum.quantile(0.99)),
            format!("{:.1}", self.cpu.as_secs_f64() * 1e6 / sum.n_calls() as f64),
            mib(self.process.rss()?),
        ]);
        Ok(sum.rate)
    }
}

/// The peer: answers at once.
struct Echo;

#[tonic::async_trait]
impl SessionService for Echo {
    async fn create_session(
        &self,
        _: Request<CreateSessionRequest>,
    ) -> Result<Response<CreateSessionResponse>, Status> {
        let session = Session { name: "sessions/6f1c7f0a0d9f4cf39d0d".to_owned(), ..Session::default() };
        Ok(Response::new(CreateSessionResponse { session: Some(session) }))
    }

    async fn get_session(&self, _: Request<GetSessionRequest>) -> Result<Response<GetSessionResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn list_sessions(&self, _: Request<ListSessionsRequest>) -> Result<Response<ListSessionsResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn delete_session(
        &self,
        _: Request<DeleteSessionRequest>,
    ) -> Result<Response<DeleteSessionResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn get_session_history(
        &self,
        _: Request<GetSessionHistoryRequest>,
    ) -> Result<Response<GetSessionHistoryResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}
