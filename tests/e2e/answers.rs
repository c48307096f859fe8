//! Outputs that come with the answer to the order and exist nowhere else: SIGKILL at every step of their way, full disks, other replicas,
//! expired addresses, cancels and deadlines. The vendor makes at most one, and what it made is delivered or said to be lost.

mod kills;

use std::{fs, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use filmgate::{
    failpoint::Point,
    pb::v1::{Charged, ErrorReason, GenerateImageRequest, Generation, LedgerReason, State},
};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    simulator::Simulator,
    storage::{limit, until_logged},
    support::{
        postgres::SHARED,
        server::{SOON, Server, Setup},
    },
};

/// Pictures within the answer, and addresses of pictures; each costs the same.
const INLINE: &str = "own/acme/pictures";
const LINKED: &str = "own/acme/links";
const PRICE: i64 = 40_000;
const STILL: &[u8] = include_bytes!("../../src/simulator/still.png");

fn setup(simulator: &Simulator) -> Setup {
    let card = |name: &str, fixed: &str| {
        format!(
            "[[models]]\nprovider = \"own\"\nname = \"{name}\"\nkind = \"image\"\nfixed = {{ response_format = \"{fixed}\" }}\n\
             price = {{ unit = \"output\", micro_usd = {PRICE} }}\n"
        )
    };
    let provider =
        format!("[providers.own]\nadapter = \"openai\"\nbase_url = \"{}\"\napi_key = \"any\"\n", simulator.openai());
    let file = provider + &card("acme/pictures", "b64_json") + &card("acme/links", "url");
    Setup::sample().with_file("filmgate.toml", &file)
}

fn picture(model: &str) -> GenerateImageRequest {
    GenerateImageRequest {
        prompt: "a fox".to_owned(),
        model: model.to_owned(),
        request_id: "once".to_owned(),
        ..GenerateImageRequest::default()
    }
}

/// Orders and hangs up as soon as it is stored.
async fn order(server: &Server, request: GenerateImageRequest) -> Option<Generation> {
    let mut stream = server.generations().await.generate_image(request).await.ok()?.into_inner();
    stream.message().await.ok()??.generation
}

async fn creates(simulator: &Simulator) -> (u64, u64) {
    (simulator.counted("openai", "creates_received").await, simulator.counted("openai", "creates_effective").await)
}

async fn reached(simulator: &Simulator, name: &str, n: u64) {
    let counted = async {
        while simulator.counted("openai", name).await < n {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, counted).await.unwrap_or_else(|_| panic!("there are no {n} {name}"));
}

/// Delivered, whole, and paid once.
async fn delivered(server: &Server, name: &str) {
    let ended = server.end_of(name).await;
    assert_eq!((ended.state(), ended.artifacts.len()), (State::Succeeded, 1), "{ended:?}");
    assert_eq!(server.sha256_of(&ended.artifacts[0]).await, ended.artifacts[0].sha256);
    assert_eq!(server.bytes(&ended).await.bytes().await.unwrap().get(..STILL.len()), Some(STILL));
    let cost = ended.cost.unwrap();
    assert_eq!((cost.held_micro_usd, cost.settled_micro_usd), (0, Some(PRICE)));
    settled_once(server, name).await;
}

async fn settled_once(server: &Server, name: &str) {
    let entries = crate::money::entries(server, name).await;
    let settled = entries.iter().filter(|entry| entry.reason() == LedgerReason::Settle);
    assert_eq!(settled.map(|entry| entry.micro_usd).collect::<Vec<_>>(), [PRICE], "{entries:?}");
}

/// Paid, and the vendor has nothing more to give.
async fn lost(server: &Server, name: &str) {
    let ended = server.end_of(name).await;
    let failure = ended.failure.clone().unwrap_or_else(|| panic!("{ended:?}"));
    assert_eq!((failure.reason(), failure.charged()), (ErrorReason::ArtifactLost, Charged::Yes), "{failure:?}");
    assert_eq!(ended.cost.unwrap().held_micro_usd, 0);
    settled_once(server, name).await;
}

#[tokio::test]
async fn an_answer_that_finds_no_space_is_stored_when_there_is_some() {
    let simulator = Simulator::start(&["create:size=6000000"]);
    let server = setup(&simulator).start().await;
    limit(&server, "2097152");
    let name = order(&server, picture(INLINE)).await.unwrap().name;
    until_logged(server.setup(), "an output cannot be stored now").await;
    assert_eq!((server.get(&name).await.state(), creates(&simulator).await), (State::Running, (1, 1)));
    limit(&server, "unlimited");
    delivered(&server, &name).await;
    assert_eq!(creates(&simulator).await, (1, 1));
    assert_eq!(server.stop().await, Some(0));
}

#[tokio::test]
async fn an_answer_that_cannot_be_written_is_kept_trying_and_with_the_process_it_is_lost() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let blobs = server.setup().data_dir().join("blobs");
    let away = server.setup().folder().join("away");
    let block = |is_blocked: bool| match is_blocked {
        true => {
            fs::rename(&blobs, &away).unwrap();
            fs::write(&blobs, "in the way").unwrap();
        }
        false => {
            fs::remove_file(&blobs).unwrap();
            fs::rename(&away, &blobs).unwrap();
        }
    };
    block(true);
    let name = order(&server, picture(INLINE)).await.unwrap().name;
    until_logged(server.setup(), "an output cannot be stored now").await;
    block(false);
    delivered(&server, &name).await;

    block(true);
    let other = GenerateImageRequest { prompt: "a hen".to_owned(), request_id: "twice".to_owned(), ..picture(INLINE) };
    let other = order(&server, other).await.unwrap().name;
    reached(&simulator, "creates_effective", 2).await;
    while server.setup().log().matches("an output cannot be stored now").count() < 3 {
        sleep(Duration::from_millis(10)).await;
    }
    let setup = server.kill();
    block(false);
    let server = setup.start().await;
    let unknown = server.unresolved(&other).await;
    assert_eq!(unknown.cost.unwrap().held_micro_usd, PRICE);
    assert_eq!(creates(&simulator).await, (2, 2));
}

#[tokio::test]
async fn a_picture_beside_an_address_is_recorded_before_either_is_looked_at() {
    let simulator = Simulator::start(&[]);
    mixed(&simulator).await;
    let server = setup(&simulator).doomed(Point::AnswerAfter, 1).start().await;
    // It may die before it answers.
    let _ = order(&server, picture(INLINE)).await;
    let server = server.died().await.start().await;
    let name = order(&server, picture(INLINE)).await.unwrap().name;
    whole(&server, &name, 2).await;
    assert_eq!(server.history(&name).await, ["accepted", "submitting", "outputs_ready", "succeeded"]);
    assert_eq!(creates(&simulator).await.0, 2, "one was the test's own");
}

/// Delivered, with so many files.
async fn whole(server: &Server, name: &str, n_files: usize) {
    let ended = server.end_of(name).await;
    assert_eq!((ended.state(), ended.artifacts.len()), (State::Succeeded, n_files), "{ended:?}");
    for artifact in &ended.artifacts {
        assert_eq!(server.sha256_of(artifact).await, artifact.sha256);
    }
    let price = i64::try_from(n_files).unwrap() * PRICE;
    let cost = ended.cost.unwrap();
    assert_eq!((cost.held_micro_usd, cost.settled_micro_usd), (0, Some(price)));
}

/// Has the vendor answer with a picture and the address of another one, which it has made for the test.
async fn mixed(simulator: &Simulator) {
    let body = json!({ "model": "acme/links", "prompt": "a hen", "response_format": "url" });
    let address = format!("{}/images/generations", simulator.openai());
    let made = reqwest::Client::new().post(address).bearer_auth("any").json(&body).send().await.unwrap();
    let made: serde_json::Value = made.error_for_status().unwrap().json().await.unwrap();
    let data = json!([{ "b64_json": STANDARD.encode(STILL) }, { "url": made["data"][0]["url"] }]);
    let answer = json!({ "status": 200, "body": { "created": 1, "data": data } });
    simulator.control("faults", json!({ "faults": [{ "rule": "create:first=1", "answer": answer }] })).await;
}

#[tokio::test]
async fn another_replica_goes_on_with_an_answer_that_is_stored() {
    for (model, n_files) in [(INLINE, 2), (LINKED, 1)] {
        let simulator = Simulator::start(&[]);
        if model == INLINE {
            // With a picture alone there is no such step.
            mixed(&simulator).await;
        }
        let n_before = creates(&simulator).await.0;
        let shared = tempfile::tempdir().unwrap();
        let url = format!("file://{}", shared.path().display());
        let database = SHARED.database();
        let replica = || {
            setup(&simulator)
                .with("FILMGATE_DATABASE_URL", &database)
                .with("FILMGATE_ARTIFACTS_URL", &url)
                .with("FILMGATE_LEASE", "3s")
        };
        let one = replica().doomed(Point::AnswerAfter, 1).start().await;
        let other = replica().start().await;
        let name = order(&one, picture(model)).await.unwrap().name;
        one.died().await;
        whole(&other, &name, n_files).await;
        assert_eq!(creates(&simulator).await.0, n_before + 1, "{model}");
    }
}

#[tokio::test]
async fn an_address_that_came_with_the_answer_and_expired_is_lost_and_was_paid() {
    let check = async |rule: &str| {
        let simulator = Simulator::start(&[rule]);
        let server = setup(&simulator).start().await;
        let name = order(&server, picture(LINKED)).await.unwrap().name;
        lost(&server, &name).await;
        assert_eq!(creates(&simulator).await, (1, 1), "{rule}");
    };
    tokio::join!(
        check("create:expires=0,status=403"),
        check("create:expires=0,status=404"),
        check("download:status=410")
    );
}

#[tokio::test]
async fn an_address_that_expires_while_the_process_is_down_is_lost_and_was_paid() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).doomed(Point::AnswerAfter, 1).start().await;
    // It may die before it answers.
    let _ = order(&server, picture(LINKED)).await;
    let setup = server.died().await;
    simulator.faults(&["download:status=403"]).await;
    let server = setup.start().await;
    let name = order(&server, picture(LINKED)).await.unwrap().name;
    lost(&server, &name).await;
    assert_eq!(creates(&simulator).await, (1, 1));
}

#[tokio::test]
async fn a_file_that_cannot_be_fetched_for_a_while_is_fetched_later() {
    let simulator = Simulator::start(&["download:first=3:status=503", "download:first=5:truncated"]);
    let server = setup(&simulator).start().await;
    let name = order(&server, picture(LINKED)).await.unwrap().name;
    delivered(&server, &name).await;
    assert_eq!(creates(&simulator).await, (1, 1));
}

#[tokio::test]
async fn what_comes_after_a_cancel_or_the_deadline_was_paid_and_is_delivered() {
    for model in [INLINE, LINKED] {
        let simulator = Simulator::start(&["create:hold"]);
        let server = setup(&simulator).start().await;
        let name = order(&server, picture(model)).await.unwrap().name;
        reached(&simulator, "creates_received", 1).await;
        let cancelled = server.cancel(&name).await.unwrap();
        assert_eq!(cancelled.state(), State::Cancelling, "{cancelled:?}");
        simulator.control("release", json!({})).await;
        delivered(&server, &name).await;

        let hurried = GenerateImageRequest {
            prompt: "a hen".to_owned(),
            request_id: "late".to_owned(),
            max_duration: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            ..picture(model)
        };
        let name = order(&server, hurried).await.unwrap().name;
        reached(&simulator, "creates_received", 2).await;
        sleep(Duration::from_millis(1500)).await;
        let late = server.get(&name).await;
        assert!(!matches!(late.state(), State::Succeeded | State::Failed | State::Cancelled), "{late:?}");
        simulator.control("release", json!({})).await;
        delivered(&server, &name).await;
        assert_eq!(creates(&simulator).await, (2, 2));
    }
}
