//! The ordered end: nobody is cut off who can be served, nothing is bought twice, and it does not take long.

use std::{collections::BTreeSet, time::Duration};

use filmgate::pb::v1::{State, WatchGenerationRequest};
use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

use crate::{
    simulator::Simulator,
    support::server::{SOON, Server, Setup, video},
};

/// Waits until `/readyz` refuses.
async fn unready(server: &Server) {
    let refused = async {
        while server.readyz().await.is_success() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, refused).await.expect("the server says that it is not ready");
}

/// Watches a job until the stream breaks.
async fn end_of_watch(server: &Server, name: &str) -> Status {
    let request = WatchGenerationRequest { name: name.to_owned(), after_sequence: 0 };
    let mut stream = server.generations().await.watch_generation(request).await.unwrap().into_inner();
    loop {
        match timeout(SOON, stream.message()).await.expect("the stream ends") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended as if the job had"),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn a_drained_server_tells_everybody_finishes_downloads_and_leaves_its_jobs_to_the_next() {
    const BYTES: u64 = 40_000_000;
    let simulator = Simulator::start(&[&format!("create:prompt=large:size={BYTES}"), "create:prompt=long:hold"]);
    let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_DRAIN_DELAY", "1s");
    let mut server = setup.with("FILMGATE_DRAIN_DEADLINE", "20s").start().await;
    let large = server.generate(video("large")).await.unwrap();
    assert_eq!(large.state(), State::Succeeded, "{large:?}");
    let mut names = Vec::new();
    for n in 0..5 {
        let order = server.order(video(&format!("long {n}"))).await.unwrap();
        server.until(&order.name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
        names.push(order.name);
    }
    let mut health =
        HealthClient::new(server.channel().await).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut client = server.generations().await;
    // Nobody reads on for now, so most of it is still to be sent.
    let mut download = server.bytes(&large).await;
    let mut n_read = download.chunk().await.unwrap().unwrap().len();

    let told = Instant::now();
    server.terminate();
    let watches = join_all(names.iter().map(|name| end_of_watch(&server, name)));
    let waits = async {
        unready(&server).await;
        let unready_after = told.elapsed();
        assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        unready_after
    };
    let (ends, unready_after) = tokio::join!(watches, waits);
    assert!(unready_after < Duration::from_secs(1), "first unready, then closing: {unready_after:?}");
    assert!(told.elapsed() >= Duration::from_secs(1), "streams go on while balancers look away: {:?}", told.elapsed());
    for status in ends {
        let details = status.get_error_details();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(details.error_info().unwrap().reason, "SERVER_DRAINING");
        assert!(details.retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    }
    let refused = client.generate_video(video("too late")).await.unwrap_err();
    // The client's own library says Cancelled if the connection ends before the call is on its way.
    assert!(matches!(refused.code(), Code::Unavailable | Code::Cancelled), "{refused:?}");

    while let Some(chunk) = download.chunk().await.unwrap() {
        n_read += chunk.len();
    }
    assert_eq!(n_read as u64, u64::try_from(large.artifacts[0].size_bytes).unwrap());
    assert!(n_read as u64 >= BYTES);
    assert_eq!(server.ended().await, Some(0));

    let server = server.kill().start().await;
    simulator.control("release", json!({})).await;
    for name in &names {
        assert_eq!(server.end_of(name).await.state(), State::Succeeded);
    }
    let made = simulator.predictions().await;
    let prompts: BTreeSet<String> = made.iter().map(|made| made["input"]["prompt"].to_string()).collect();
    assert_eq!((made.len(), prompts.len()), (6, 6), "each was bought once, and what came too late was not");
}

#[tokio::test]
async fn an_order_on_its_way_to_the_vendor_is_waited_for() {
    let simulator = Simulator::start(&["create:slow=1500ms"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order = server.order(video("on its way")).await.unwrap();
    while simulator.count("creates_received").await == 0 {
        tokio::task::yield_now().await;
    }
    let setup = server.setup().clone();
    assert_eq!(server.stop().await, Some(0));
    let server = setup.start().await;
    assert_eq!(server.end_of(&order.name).await.state(), State::Succeeded);
    assert_eq!(simulator.count("creates_received").await, 1);
    assert_eq!(simulator.count("lists").await, 0, "the answer was stored, so nothing had to be looked for");
}

#[tokio::test]
async fn a_vendor_that_never_answers_does_not_hold_up_the_end() {
    let simulator = Simulator::start(&["create:hang,effect=after"]);
    let server = Setup::replicate(&simulator.replicate()).with("FILMGATE_DRAIN_DEADLINE", "2s").start().await;
    let order = server.order(video("never answered")).await.unwrap();
    while simulator.count("creates_effective").await == 0 {
        tokio::task::yield_now().await;
    }
    let (setup, told) = (server.setup().clone(), Instant::now());
    assert_eq!(server.stop().await, Some(1), "something was cut off: no clean end");
    assert!(told.elapsed() < Duration::from_secs(4), "{:?}", told.elapsed());
    let server = setup.start().await;
    assert_eq!(server.end_of(&order.name).await.state(), State::Succeeded);
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for signal in ["-TERM", "-INT"] {
        let setup = Setup::sample().with("FILMGATE_DRAIN_DELAY", "20s").with("FILMGATE_DRAIN_DEADLINE", "60s");
        let mut server = setup.start().await;
        server.signal(signal);
        unready(&server).await;
        let again = Instant::now();
        server.signal(signal);
        assert_eq!(server.ended().await, Some(130));
        assert!(again.elapsed() < Duration::from_secs(1), "{signal}: {:?}", again.elapsed());
    }
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let server = Setup::sample().start().await;
    let mut client = server.generations().await;
    client.list_generations(filmgate::pb::v1::ListGenerationsRequest::default()).await.unwrap();
    let http = reqwest::Client::new();
    http.get(format!("http://{}/livez", server.addr())).send().await.unwrap().bytes().await.unwrap();
    let _silent = TcpStream::connect(server.addr()).await.unwrap();
    let told = Instant::now();
    assert_eq!(server.stop().await, Some(0));
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
}
