//! More than the queue holds: the rest is refused with what to do, and what was taken is not disturbed.

use std::time::Duration;

use filmgate::pb::v1::{GenerateVideoRequest, State};
use futures_util::future::join_all;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    simulator::Simulator,
    support::server::{Setup, video},
};

#[tokio::test]
async fn a_burst_beyond_the_queue_is_refused_and_what_was_taken_is_made() {
    const QUEUE: usize = 20;
    let simulator = Simulator::start(&["create:hold"]);
    let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_CONCURRENCY", "3");
    let server = setup.with("FILMGATE_MAX_UNFINISHED", &QUEUE.to_string()).start().await;
    let order = |n: usize| GenerateVideoRequest { request_id: format!("order-{n}"), ..video(&format!("order {n}")) };
    let answers = join_all((0..5 * QUEUE).map(|n| server.order(order(n)))).await;
    let mut taken = Vec::new();
    for (n, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(generation) => taken.push((n, generation.name)),
            Err(status) => {
                let details = status.get_error_details();
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                assert_eq!(details.error_info().unwrap().reason, "QUEUE_FULL");
                assert_eq!(details.quota_failure().unwrap().violations[0].subject, "unfinished generations");
                assert!(details.retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
            }
        }
    }
    assert_eq!(taken.len(), QUEUE);
    // A kill while an order is on its way to the vendor would leave it unknown, rightly.
    let at_vendor = async || {
        let all = join_all(taken.iter().map(|(_, name)| server.get(name))).await;
        all.iter().filter(|generation| !generation.attempts[0].provider_job_id.is_empty()).count()
    };
    while at_vendor().await < 3 {
        tokio::task::yield_now().await;
    }

    // Who repeats an order that was taken needs no place; nor does a full queue keep a process from starting again.
    let server = server.kill().start().await;
    let (n, name) = &taken[0];
    assert_eq!(&server.order(order(*n)).await.unwrap().name, name);
    assert_eq!(server.order(video("one more")).await.unwrap_err().code(), Code::ResourceExhausted);
    server.cancel(&taken[QUEUE - 1].1).await.unwrap();
    simulator.faults(&[]).await;
    for (_, name) in &taken[..QUEUE - 1] {
        while server.get(name).await.end_time.is_none() {
            simulator.control("release", json!({})).await;
        }
        assert_eq!(server.get(name).await.state(), State::Succeeded);
    }
    assert_eq!(server.generate(video("one more")).await.unwrap().state(), State::Succeeded);
}
