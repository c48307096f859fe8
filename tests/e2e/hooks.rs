//! Webhooks of the vendor: one wakes the poll or brings a lost ticket, and what anybody else sends does nothing.

mod lost;

use std::time::Duration;

use filmgate::pb::v1::{CachePolicy, GenerateVideoRequest, State};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    simulator::Simulator,
    support::{
        collector::Collector,
        relay::{Letter, Relay},
        server::{SOON, Server, Setup, video},
    },
};

const OK: StatusCode = StatusCode::OK;
const REFUSED: StatusCode = StatusCode::UNAUTHORIZED;
const BUSY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// A request whose job no other shares.
fn alone(prompt: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { cache: CachePolicy::Bypass.into(), ..video(prompt) }
}

/// The status that the vendor's job has in it.
fn status(letter: &Letter) -> String {
    let page: Value = serde_json::from_slice(&letter.body).unwrap();
    page["status"].as_str().unwrap().to_owned()
}

/// How often the vendor was asked about the job of this prompt.
async fn n_polls(simulator: &Simulator, prompt: &str) -> u64 {
    let made = simulator.predictions().await;
    let job = made.iter().find(|job| job["input"]["prompt"].as_str().unwrap().starts_with(prompt));
    job.unwrap()["counts"]["gets"].as_u64().unwrap()
}

/// Takes a whole job through the server by webhooks alone. A poll that something earlier caused is made by then.
async fn another_job(relay: &Relay, server: &Server, simulator: &Simulator) {
    let order = server.order(alone("another job")).await.unwrap();
    let id = order.name.strip_prefix("generations/").unwrap();
    assert_eq!(relay.pass(&relay.next_of(id).await, server).await, OK);
    server.until(&order.name, |generation| generation.phase == "processing").await;
    let job = server.get(&order.name).await.attempts[0].provider_job_id.clone();
    simulator.control("release", json!({ "id": job })).await;
    assert_eq!(relay.pass(&relay.next_of(id).await, server).await, OK);
    assert_eq!(server.end_of(&order.name).await.state(), State::Succeeded);
}

#[tokio::test]
async fn a_webhook_ends_the_wait_for_the_next_poll() {
    let simulator = Simulator::start(&["create:hold"]);
    let relay = Relay::start().await;
    let server = relay.setup(&simulator.replicate()).start().await;
    let order = server.order(video("a fox")).await.unwrap();
    let start = relay.next().await;
    assert_eq!(status(&start), "processing");
    assert_eq!(relay.pass(&start, &server).await, OK);
    // What it says is not believed: the vendor is asked.
    server.until(&order.name, |generation| generation.phase == "processing").await;
    assert_eq!(simulator.count("gets").await, 1);
    simulator.control("release", json!({})).await;
    let completed = relay.next().await;
    assert_eq!(relay.pass(&completed, &server).await, OK);
    let ended = server.end_of(&order.name).await;
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    assert_eq!((simulator.count("gets").await, simulator.count("creates_received").await), (2, 1));

    let made = &simulator.predictions().await[0];
    assert_eq!(made["webhook_events_filter"], json!(["start", "completed"]));
    let public = made["webhook"].as_str().unwrap();
    assert!(public.ends_with(&completed.path), "{public}");
}

/// A copy with a change.
fn changed(letter: &Letter, change: impl FnOnce(&mut Letter)) -> Letter {
    let mut letter = letter.clone();
    change(&mut letter);
    letter
}

/// What must not be believed, made of webhooks that the vendor sent about different jobs.
fn refused(good: &Letter, forged: &Letter, stale: &Letter) -> Vec<(&'static str, Letter)> {
    let to = |from: &str, to: &str| changed(good, |letter| letter.path = letter.path.replace(from, to));
    let (_, token) = good.path.rsplit_once('/').unwrap();
    let other_token = forged.path.rsplit_once('/').unwrap().1;
    let without = |name: &str| changed(good, |letter| drop(letter.headers.remove(name)));
    let another_body: Vec<u8> = good.body.iter().map(|byte| if *byte == b'p' { b'q' } else { *byte }).collect();
    vec![
        ("a forged signature", forged.clone()),
        ("an old time", stale.clone()),
        ("another body under the same signature", changed(good, |letter| letter.body = another_body.into())),
        ("a signed body of another job", changed(good, |letter| letter.path.clone_from(&stale.path))),
        ("no signature", without("webhook-signature")),
        ("no time", without("webhook-timestamp")),
        ("no id", without("webhook-id")),
        ("the token of another", to(token, other_token)),
        ("no token's form", to(token, "nonsense")),
        (
            "an unknown generation",
            changed(good, |letter| letter.path = format!("/webhooks/replicate/{other_token}/{token}")),
        ),
        ("no generation's form", changed(good, |letter| letter.path = format!("/webhooks/replicate/nonsense/{token}"))),
        ("another provider", to("/replicate/", "/sample/")),
    ]
}

#[tokio::test]
async fn what_the_vendor_did_not_send_here_and_now_is_refused_counted_and_does_nothing() {
    let simulator =
        Simulator::start(&["create:hold", "webhook:prompt=[forged]:forged", "webhook:prompt=[stale]:stale"]);
    let relay = Relay::start().await;
    let mut collector = Collector::start().await;
    let setup = relay.setup(&simulator.replicate()).with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
    let server = setup.start().await;
    let mut letters = Vec::new();
    for prompt in ["[good]", "[forged]", "[stale]"] {
        server.order(alone(prompt)).await.unwrap();
        letters.push(relay.next().await);
    }
    let [good, forged, stale] = &letters[..] else { unreachable!() };

    let mut answers = Vec::new();
    for (what, letter) in &refused(good, forged, stale) {
        let answer = relay.send(Method::POST, letter, &server).await;
        assert_eq!(answer.status(), REFUSED, "{what}");
        answers.push(answer.json::<Value>().await.unwrap());
    }
    assert_eq!(answers[0]["error"]["code"], "WEBHOOK_REFUSED");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "they tell why: {answers:?}");

    let to = |from: &str, to: &str| changed(good, |letter| letter.path = letter.path.replace(from, to));
    let (before, _) = good.path.rsplit_once('/').unwrap();
    let other = async |method: Method, letter: Letter, status: StatusCode, code: &str| {
        let answer = relay.send(method, &letter, &server).await;
        let (got, headers) = (answer.status(), answer.headers().clone());
        let body: Value = answer.json().await.unwrap();
        assert_eq!((got, body["error"]["code"].as_str()), (status, Some(code)), "{}", letter.path);
        headers
    };
    other(Method::POST, to("/replicate/", "/nobody/"), StatusCode::NOT_FOUND, "PATH_NOT_FOUND").await;
    other(Method::POST, to("/replicate/", "/%ff/"), StatusCode::NOT_FOUND, "PATH_NOT_FOUND").await;
    other(Method::POST, to(before, "/webhooks"), StatusCode::NOT_FOUND, "PATH_NOT_FOUND").await;
    let allowed = other(Method::PUT, good.clone(), StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED").await;
    assert_eq!(allowed["allow"], "POST");
    let huge = changed(good, |letter| letter.body = vec![b' '; (1 << 20) + 1].into());
    other(Method::POST, huge, StatusCode::PAYLOAD_TOO_LARGE, "WEBHOOK_TOO_LARGE").await;

    another_job(&relay, &server, &simulator).await;
    assert_eq!(n_polls(&simulator, "[").await, 0);
    assert_eq!(relay.pass(good, &server).await, OK, "the true one is still taken");
    while n_polls(&simulator, "[good]").await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.stop().await, Some(0));
    let outcomes = ["forged", "stale", "unknown", "unknown_provider", "too_large", "woke"];
    let outcomes = outcomes.map(|outcome| format!("-> outcome: Str({outcome})"));
    let expected: Vec<&str> = outcomes.iter().map(String::as_str).chain(["filmgate.webhooks.received"]).collect();
    collector.received(&expected).await;
}

#[tokio::test]
async fn copies_and_late_ones_are_answered_well_and_do_nothing() {
    let simulator = Simulator::start(&["create:hold", "webhook:nth=1:duplicate"]);
    let relay = Relay::start().await;
    let server = relay.setup(&simulator.replicate()).start().await;
    let order = server.order(alone("a fox")).await.unwrap();
    let [start, copy] = [relay.next().await, relay.next().await];
    assert_eq!((&start.body, &start.headers["webhook-id"]), (&copy.body, &copy.headers["webhook-id"]));
    assert_eq!(relay.pass(&start, &server).await, OK);
    server.until(&order.name, |generation| generation.phase == "processing").await;
    for _ in 0..5 {
        assert_eq!(relay.pass(&copy, &server).await, OK);
    }
    another_job(&relay, &server, &simulator).await;
    assert_eq!(n_polls(&simulator, "a fox").await, 1);

    // The person's word came first: what comes later changes nothing.
    simulator.control("release", json!({})).await;
    let completed = relay.next().await;
    server.cancel(&order.name).await.unwrap();
    let ended = server.end_of(&order.name).await;
    let n_before = n_polls(&simulator, "a fox").await;
    assert_eq!(relay.pass(&completed, &server).await, OK);
    another_job(&relay, &server, &simulator).await;
    assert_eq!(server.get(&order.name).await, ended);
    assert_eq!(n_polls(&simulator, "a fox").await, n_before);
}

#[tokio::test]
async fn webhooks_that_are_lost_are_not_missed() {
    let simulator = Simulator::start(&["webhook:lost"]);
    let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_PUBLIC_URL", "http://127.0.0.1:9");
    let server = setup.start().await;
    let ended = server.generate(alone("a fox")).await.unwrap();
    assert_eq!(ended.state(), State::Succeeded, "{ended:?}");
    assert!(simulator.predictions().await[0]["webhook"].is_string());
}

#[tokio::test]
async fn without_a_public_address_no_webhook_is_asked_for() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    server.generate(alone("a fox")).await.unwrap();
    let made = &simulator.predictions().await[0];
    assert_eq!((made.get("webhook"), made.get("webhook_events_filter")), (None, None), "{made}");
}

#[tokio::test]
async fn at_most_so_many_are_at_work_and_the_rest_is_told_to_come_again() {
    let simulator = Simulator::start(&["create:hold"]);
    let relay = Relay::start().await;
    let server = relay.setup(&simulator.replicate()).start().await;
    server.order(alone("a fox")).await.unwrap();
    let letter = relay.next().await;
    let mut slow = Vec::new();
    // Each takes a place for as long as its body does not come, unless the question took the last one.
    let refused = loop {
        let answer = relay.send(Method::POST, &letter, &server).await;
        if answer.status() != OK {
            break answer;
        }
        assert!(slow.len() < 1000, "any number may be at work");
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nnever", letter.path);
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    };
    assert_eq!((refused.status(), &refused.headers()["retry-after"]), (BUSY, &"1".parse().unwrap()));
    drop(slow);
    let free_again = async {
        while relay.pass(&letter, &server).await != OK {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, free_again).await.expect("places become free");
}

#[tokio::test]
async fn neither_token_nor_signature_nor_secret_is_told_to_anybody() {
    let simulator = Simulator::start(&["create:hold"]);
    let relay = Relay::start().await;
    let mut collector = Collector::start().await;
    let setup = relay
        .setup(&simulator.replicate())
        .with("FILMGATE_LOG", "trace,h2=trace,hyper=trace,hyper_util=trace,tower=trace,reqwest=trace")
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
    let server = setup.start().await;
    let order = server.order(alone("a fox")).await.unwrap();
    let start = relay.next().await;
    let mut forged = start.clone();
    forged.headers.insert("webhook-signature", "v1,Zm9yZ2Vk".parse().unwrap());
    assert_eq!(relay.pass(&forged, &server).await, REFUSED);
    assert_eq!(relay.pass(&start, &server).await, OK);
    let shown = server.until(&order.name, |generation| generation.phase == "processing").await;
    let events = server.events(&order.name).await;
    assert_eq!(server.stop().await, Some(0));

    let token = start.path.rsplit_once('/').unwrap().1;
    let signature = start.headers["webhook-signature"].to_str().unwrap().trim_start_matches("v1,");
    let secrets = [token, signature, "Zm9yZ2Vk", "whsec_"];
    let received = collector.received(&["filmgate.webhooks.received", "-> outcome: Str(forged)"]).await;
    let log = setup.log();
    assert!(log.contains("a webhook is not believed") && log.contains("hyper_util::"), "{log}");
    for (place, text) in
        [("the log", log.as_str()), ("the collector", received), ("the API", &format!("{shown:?} {events:?}"))]
    {
        let told: Vec<&str> = text.lines().filter(|line| secrets.iter().any(|secret| line.contains(secret))).collect();
        assert!(told.is_empty(), "{place} tells:\n{}", told.join("\n"));
    }
}
