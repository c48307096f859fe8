//! Follows a generation to its end through lost connections and restarting servers.
//!
//! Nothing here can order twice: an order is repeated only with the same request id, and only until its name is known; from then on it is watched.

use std::time::Duration;

use futures_util::{StreamExt as _, stream::BoxStream};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::{Context, Following, connect::Connection, exit::Exit, failure::Failure, progress::Progress};
use crate::pb::v1::{
    GenerateImageRequest, GenerateMusicRequest, GenerateSpeechRequest, GenerateVideoRequest, Generation, State,
    WatchGenerationRequest, order_to_estimate,
};

/// What is followed.
#[derive(Debug)]
pub(super) enum Start {
    /// An order to be placed; must carry a request id.
    Order(Box<Order>),
    /// A generation by name.
    Name(String),
}

/// An order of any kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    /// A video.
    Video(GenerateVideoRequest),
    /// Images.
    Image(GenerateImageRequest),
    /// A spoken text.
    Speech(GenerateSpeechRequest),
    /// Music.
    Music(GenerateMusicRequest),
}

/// How far a generation is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// To its end, or until it cannot be told what becomes of it.
    EndOrUnresolved,
    /// To its end, also through `STATE_UNRESOLVED`.
    End,
}

/// How long a command waits for a server that has gone.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Pause before the first new attempt; doubles with each.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// From the first failure without any answer since, until giving up.
    pub outage: Duration,
    /// Longest silence on a stream; the server repeats itself every 15 s.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(5),
            outage: Duration::from_secs(300),
            silence: Duration::from_secs(50),
        }
    }
}

/// A server that does not answer, and what was tried.
#[derive(Debug)]
pub(super) struct Outage {
    patience: Patience,
    /// When it began, and the next pause.
    now: Option<(Instant, Duration)>,
}

type Snapshots = BoxStream<'static, Result<Option<Generation>, Status>>;

/// Shows `start` until its end, and returns its last snapshot. Sets `context.following`, for the hint after Ctrl-C.
pub(super) async fn follow(context: &mut Context<'_>, start: Start, until: Until) -> Result<Box<Generation>, Failure> {
    let mut progress = Progress::new(context.terminal);
    let mut outage = Outage::new(context.patience);
    let mut seen: Option<Box<Generation>> = None;
    context.following = match &start {
        Start::Order(order) => Following::Request(order.request_id().to_owned()),
        Start::Name(name) => Following::Generation(name.clone()),
    };
    loop {
        let broken = match attach(&context.connection, context.patience, &start, seen.as_deref()).await {
            Ok(mut snapshots) => {
                match read(context, &mut snapshots, &mut progress, &mut outage, &mut seen, until).await? {
                    Read::Settled(generation) => return Ok(generation),
                    Read::Broken(status) => status,
                }
            }
            Err(status) => status,
        };
        if !is_passing(&broken) {
            return Err((*broken).into());
        }
        let Some(pause) = outage.next_pause(&broken) else {
            return Err(given_up(*broken, &context.following));
        };
        progress.notice(context.terminal, &notice(&broken, &context.following, pause));
        sleep(pause).await;
        context.connection.renew().await;
    }
}

enum Read {
    Settled(Box<Generation>),
    Broken(Box<Status>),
}

/// Shows snapshots until the generation is settled or the stream breaks.
async fn read(
    context: &mut Context<'_>,
    snapshots: &mut Snapshots,
    progress: &mut Progress,
    outage: &mut Outage,
    seen: &mut Option<Box<Generation>>,
    until: Until,
) -> Result<Read, Failure> {
    loop {
        let generation = match timeout(context.patience.silence, snapshots.next()).await {
            Ok(Some(Ok(Some(generation)))) => Box::new(generation),
            Ok(Some(Ok(None))) => {
                return Err(Failure::new(Exit::Internal, "the server sent a snapshot without content"));
            }
            Ok(Some(Err(status))) => return Ok(Read::Broken(Box::new(status))),
            Ok(None) => return Ok(broken("the server ended the stream early")),
            Err(_) => return Ok(broken("the server has gone silent")),
        };
        outage.over();
        if seen.as_ref().is_some_and(|seen| generation.sequence < seen.sequence) {
            continue;
        }
        context.following = Following::Generation(generation.name.clone());
        progress.show(context.terminal, &generation, jiff::Timestamp::now())?;
        let settled = is_settled(generation.state(), until);
        *seen = Some(generation.clone());
        if settled {
            return Ok(Read::Settled(generation));
        }
    }
}

/// Opens the stream that goes on from what was seen.
async fn attach(
    connection: &Connection,
    patience: Patience,
    start: &Start,
    seen: Option<&Generation>,
) -> Result<Snapshots, Box<Status>> {
    let opening = async {
        let (name, after_sequence) = match (seen, start) {
            (Some(generation), _) => (generation.name.clone(), generation.sequence),
            (None, Start::Name(name)) => (name.clone(), 0),
            (None, Start::Order(order)) => {
                return order.place(connection).await;
            }
        };
        let request = WatchGenerationRequest { name, after_sequence };
        let stream = connection.generations().watch_generation(Request::new(request)).await?;
        Ok(stream.into_inner().map(|message| message.map(|message| message.generation)).boxed())
    };
    match timeout(patience.silence, opening).await {
        Ok(result) => result.map_err(Box::new),
        Err(_) => Err(Box::new(Status::unavailable("the server does not answer"))),
    }
}

impl Order {
    /// The id under which it is repeated.
    fn request_id(&self) -> &str {
        match self {
            Self::Video(request) => &request.request_id,
            Self::Image(request) => &request.request_id,
            Self::Speech(request) => &request.request_id,
            Self::Music(request) => &request.request_id,
        }
    }

    async fn place(&self, connection: &Connection) -> Result<Snapshots, Status> {
        let mut client = connection.generations();
        Ok(match self.clone() {
            Self::Video(request) => {
                let stream = client.generate_video(Request::new(request)).await?.into_inner();
                stream.map(|message| message.map(|message| message.generation)).boxed()
            }
            Self::Image(request) => {
                let stream = client.generate_image(Request::new(request)).await?.into_inner();
                stream.map(|message| message.map(|message| message.generation)).boxed()
            }
            Self::Speech(request) => {
                let stream = client.generate_speech(Request::new(request)).await?.into_inner();
                stream.map(|message| message.map(|message| message.generation)).boxed()
            }
            Self::Music(request) => {
                let stream = client.generate_music(Request::new(request)).await?.into_inner();
                stream.map(|message| message.map(|message| message.generation)).boxed()
            }
        })
    }
}

impl From<Order> for order_to_estimate::Order {
    fn from(order: Order) -> Self {
        match order {
            Order::Video(request) => Self::Video(request),
            Order::Image(request) => Self::Image(request),
            Order::Speech(request) => Self::Speech(request),
            Order::Music(request) => Self::Music(request),
        }
    }
}

impl Outage {
    /// None yet.
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, now: None }
    }

    /// The server has answered.
    pub(super) fn over(&mut self) {
        self.now = None;
    }

    /// How long to wait before the next attempt: at least what the server asked for; none when it has lasted too long.
    pub(super) fn next_pause(&mut self, status: &Status) -> Option<Duration> {
        let Patience { first_pause, longest_pause, outage, .. } = self.patience;
        let (since, pause) = self.now.unwrap_or_else(|| (Instant::now(), first_pause));
        if since.elapsed() >= outage {
            return None;
        }
        self.now = Some((since, (pause * 2).min(longest_pause)));
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
        Some(pause.max(asked.min(longest_pause)))
    }
}

/// Whether the call may work a moment later: the contract says so for UNAVAILABLE alone. A connection that breaks in the middle of a
/// stream has no status of the server; the client library makes one up, with the transport's error as its source.
pub(super) fn is_passing(status: &Status) -> bool {
    status.code() == Code::Unavailable || std::error::Error::source(status).is_some()
}

/// Whether nothing more is to be shown.
pub(super) fn is_settled(state: State, until: Until) -> bool {
    match state {
        State::Succeeded | State::Failed | State::Cancelled => true,
        State::Unresolved => until == Until::EndOrUnresolved,
        State::Unspecified | State::Queued | State::Running | State::Storing | State::Cancelling => false,
    }
}

fn broken(why: &str) -> Read {
    Read::Broken(Box::new(Status::unavailable(why)))
}

fn notice(status: &Status, following: &Following, pause: Duration) -> String {
    let next = match following {
        Following::Generation(name) => format!("watching {name} again"),
        Following::Request(id) => format!("repeating the order under its request id {id}, which cannot order twice,"),
        Following::Nothing => "trying again".to_owned(),
    };
    format!("connection lost ({}); {next} in {} s", status.message(), pause.as_secs_f64())
}

fn given_up(status: Status, following: &Following) -> Failure {
    let failure = Failure::from(status);
    match following.hint() {
        Some(hint) => failure.with_next_step(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest_and_end_after_the_outage() {
        let mut outage = Outage::new(Patience::default());
        let status = Status::unavailable("gone");
        let mut pauses = Vec::new();
        let began = Instant::now();
        while let Some(pause) = outage.next_pause(&status) {
            pauses.push(pause.as_millis());
            sleep(pause).await;
        }
        assert_eq!(pauses[..7], [200, 400, 800, 1600, 3200, 5000, 5000]);
        let lasted = began.elapsed();
        assert!(lasted >= Duration::from_secs(300) && lasted < Duration::from_secs(306), "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_starts_the_count_again_and_the_servers_delay_wins() {
        let mut outage = Outage::new(Patience::default());
        outage.next_pause(&Status::unavailable("gone"));
        outage.over();
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(2)));
        let draining = Status::with_error_details(Code::Unavailable, "draining", details);
        assert_eq!(outage.next_pause(&draining), Some(Duration::from_secs(2)));
        assert_eq!(outage.next_pause(&Status::unavailable("gone")), Some(Duration::from_millis(400)));
    }

    #[test]
    fn only_unavailable_and_broken_connections_pass() {
        assert!(is_passing(&Status::unavailable("draining")));
        assert!(is_passing(&Status::from_error(Box::new(std::io::Error::other("reset")))));
        assert!(!is_passing(&Status::unknown("no source")));
        assert!(!is_passing(&Status::invalid_argument("wrong")));
    }
}
