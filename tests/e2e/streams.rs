//! What a watcher sees: from where it left off, over cuts and restarts, and a history without gaps.

use filmgate::pb::v1::{Generation, State, WatchGenerationRequest, WatchGenerationResponse};
use serde_json::json;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

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
