//! What a watcher sees: from where it left off, over cuts and restarts, and a history without gaps.

use std::{fs, time::Duration};

use filmgate::pb::v1::{
    Generation, State, WatchGenerationRequest, WatchGenerationResponse,
    generation_service_client::GenerationServiceClient,
};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status, Streaming, transport::Endpoint};

use crate::{
    simulator::Simulator,
    support::{
        acts::reason,
        server::{SOON, Server, Setup, is_terminal, video},
    },
};

async fn watch(server: &Server, name: &str, after_sequence: i64) -> Streaming<WatchGenerationResponse> {
    let request = WatchGenerationRequest { name: name.to_owned(), after_sequence };
    server.generations().await.watch_generation(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<WatchGenerationResponse>) -> Result<Option<Generation>, Status> {
    let message = timeout(SOON, stream.message()).await.expect("a message in time")?;
    Ok(message.map(|message| message.generation.unwrap()))
}

#[tokio::test]
async fn a_watcher_goes_on_where_it_left_off_and_always_gets_the_end() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let name = server.order(video("a fox")).await.unwrap().name;
    let seen = server.until(&name, |generation| generation.progress_percent.is_some()).await;
    let mut stream = watch(&server, &name, seen.sequence).await;
    simulator.control("release", json!({})).await;
    let mut last = seen;
    while let Some(generation) = next(&mut stream).await.unwrap() {
        assert!(generation.sequence > last.sequence, "{} after {}", generation.sequence, last.sequence);
        last = generation;
    }
    assert_eq!(last.state(), State::Succeeded);
    let mut again = watch(&server, &name, last.sequence).await;
    assert_eq!(next(&mut again).await.unwrap().unwrap().sequence, last.sequence);
    assert!(next(&mut again).await.unwrap().is_none());
}

#[tokio::test]
async fn a_stream_that_is_cut_is_taken_up_again_over_restarts_to_the_end() {
    let simulator = Simulator::start(&["create:hold"]);
    let mut server = Setup::replicate(&simulator.replicate()).start().await;
    let name = server.order(video("a fox")).await.unwrap().name;
    // A kill while the order is on its way would leave it unknown, rightly.
    server.until(&name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    let mut last = 0;
    for round in 0..4 {
        let mut stream = watch(&server, &name, 0).await;
        let first = next(&mut stream).await.unwrap().unwrap();
        assert!(first.sequence >= last, "{} after {last}", first.sequence);
        last = first.sequence;
        if round % 2 == 0 {
            server = server.kill().start().await;
            while next(&mut stream).await.is_ok() {}
        } else {
            server.terminate();
            let cut = loop {
                match next(&mut stream).await {
                    Ok(generation) => last = last.max(generation.expect("no end yet").sequence),
                    Err(status) => break status,
                }
            };
            assert_eq!((cut.code(), reason(&cut).as_str()), (Code::Unavailable, "SERVER_DRAINING"));
            assert_eq!(server.ended().await, Some(0));
            server = server.kill().start().await;
        }
    }
    simulator.control("release", json!({})).await;
    let ended = server.until(&name, is_terminal).await;
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    assert!(ended.sequence >= last);
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn a_history_has_no_gaps_and_tells_every_change_of_state() {
    let check = async |rules: &[&str]| {
        let simulator = Simulator::start(rules);
        let server = Setup::replicate(&simulator.replicate()).start().await;
        let ended = server.generate(video("a fox")).await.unwrap();
        let events = server.events(&ended.name).await;
        let numbers: Vec<i64> = events.iter().map(|event| event.number).collect();
        let expected: Vec<i64> = (1..=i64::try_from(events.len()).unwrap()).collect();
        assert_eq!(numbers, expected, "{rules:?}");
        assert!(events.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "{rules:?}");
        let (first, last) = (&events[0], events.last().unwrap());
        assert_eq!((first.r#type.as_str(), first.state()), ("accepted", State::Queued));
        assert_eq!((last.state(), last.sequence), (ended.state(), ended.sequence), "{rules:?}");
    };
    check(&[]).await;
    check(&["get:first=5:drop"]).await;
    check(&["create:first=1:drop,effect=after", "list:first=2:status=500"]).await;
    check(&["create:status=402"]).await;
}

/// Memory of the server's process in bytes.
fn rss(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn readers_that_stall_cost_the_same_however_much_happens() {
    const READERS: usize = 500;
    // Every other answer is another word, and each of them makes a snapshot.
    let simulator = Simulator::start(&["create:hold", "get:every=2:unknown_status=thinking"]);
    let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_POLL_INTERVAL", "5ms");
    let server = setup.with("FILMGATE_POLL_INTERVAL_MAX", "5ms").start().await;
    let name = server.order(video("a fox")).await.unwrap().name;
    let sequence = async || server.get(&name).await.sequence;
    let reached = async |least: i64| {
        while sequence().await < least {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, reached(20)).await.expect("progress");

    // A window of one byte: nothing is taken before somebody reads, and nobody does.
    let endpoint = Endpoint::from_shared(format!("http://{}", server.addr())).unwrap();
    let channel = endpoint.initial_stream_window_size(1).connect().await.unwrap();
    let mut client = GenerationServiceClient::new(channel);
    let mut stalled = Vec::new();
    for _ in 0..READERS {
        let request = WatchGenerationRequest { name: name.clone(), after_sequence: 0 };
        stalled.push(client.watch_generation(request).await.unwrap().into_inner());
    }
    let opened_at = sequence().await;
    timeout(SOON, reached(opened_at + 50)).await.expect("progress");
    let before = rss(&server);
    timeout(SOON * 2, reached(opened_at + 550)).await.expect("progress");
    let grown = rss(&server).saturating_sub(before);
    // 500 snapshots for each of 500 readers would be hundreds of megabytes.
    assert!(grown < 16 << 20, "grown by {} KiB", grown >> 10);

    // Who reads again has missed what was in between, and nothing that matters.
    simulator.control("release", json!({})).await;
    let ended = server.end_of(&name).await;
    let mut woken = stalled.pop().unwrap();
    let mut seen = Vec::new();
    while let Some(generation) = next(&mut woken).await.unwrap() {
        seen.push(generation);
    }
    assert!(seen.len() < 20, "{} snapshots were kept for it", seen.len());
    assert!(seen.is_sorted_by_key(|generation| generation.sequence));
    assert_eq!(seen.pop().unwrap(), ended);
}

#[tokio::test]
async fn a_thousand_watchers_cost_the_vendor_no_more_polls_than_one() {
    const PACE: Duration = Duration::from_millis(100);
    let simulator = Simulator::start(&["create:hold"]);
    let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_POLL_INTERVAL", "100ms");
    let server = setup.with("FILMGATE_POLL_INTERVAL_MAX", "100ms").start().await;
    let name = server.order(video("a fox")).await.unwrap().name;
    // Polls while so many watch, as a multiple of what the pace allows in that time.
    let polled = async || {
        let (began, n_before) = (Instant::now(), simulator.count("gets").await);
        sleep(20 * PACE).await;
        let n_polls = simulator.count("gets").await - n_before;
        (n_polls, began.elapsed().div_duration_f64(PACE).ceil() as u64)
    };
    let mut watching = vec![watch(&server, &name, 0).await];
    let (n_polls, most) = polled().await;
    assert!((3..=most + 1).contains(&n_polls), "one watcher: {n_polls} polls, at most {most}");
    while watching.len() < 1000 {
        watching.push(watch(&server, &name, 0).await);
    }
    let (n_polls, most) = polled().await;
    assert!((3..=most + 1).contains(&n_polls), "a thousand watchers: {n_polls} polls, at most {most}");
    simulator.control("release", json!({})).await;
    for stream in &mut watching {
        let mut last = None;
        while let Some(generation) = next(stream).await.unwrap() {
            last = Some(generation.state());
        }
        assert_eq!(last, Some(State::Succeeded));
    }
    assert_eq!(simulator.count("creates_received").await, 1);
}
