//! The end of a generation, told to whoever asked to be called back: signed, at least once, and to nobody who is not public unless allowed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use filmgate::pb::{
    json,
    v1::{
        CachePolicy, Callback, CallbackError, CallbackState, GenerateVideoRequest, GetGenerationRequest,
        RedeliverCallbackRequest, State,
    },
};
use serde_json::json;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tonic::{Code, IntoRequest, Request, Status};
use tonic_types::StatusExt;

use crate::{
    simulator::Simulator,
    support::{
        acts::reason,
        receiver::{Receiver, Reply},
        refusals::{invalid, not_found, refusal, refused},
        server::{SOON, Server, Setup, video},
    },
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDAAAA";

/// May call this machine, and soon repeats what failed.
fn calling(setup: Setup) -> Setup {
    setup
        .with("FILMGATE_CALLBACK_SECRET", SECRET)
        .with("FILMGATE_CALLBACK_ALLOW", "127.0.0.1")
        .with("FILMGATE_CALLBACK_RETRY_BASE", "10ms")
}

/// An order that shares nothing and reports its end to `url`.
fn reporting(prompt: &str, url: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { cache: CachePolicy::Bypass.into(), ..sharing(prompt, url) }
}

fn sharing(prompt: &str, url: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { callback_url: url.to_owned(), ..video(prompt) }
}

impl Server {
    async fn callback(&self, name: &str) -> Option<Callback> {
        let request = GetGenerationRequest { name: name.to_owned() };
        self.generations().await.get_generation(request).await.unwrap().into_inner().callback
    }

    /// Waits until `done`.
    async fn callback_until(&self, name: &str, done: impl Fn(&Callback) -> bool) -> Callback {
        let end = Instant::now() + SOON;
        loop {
            let callback = self.callback(name).await.expect("a callback");
            if done(&callback) {
                return callback;
            }
            assert!(Instant::now() < end, "{callback:?}\n{}", self.setup().log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until it was taken.
    async fn delivered(&self, name: &str) -> Callback {
        self.callback_until(name, |callback| callback.state() == CallbackState::Delivered).await
    }

    async fn redeliver(&self, name: &str) -> Result<Callback, Status> {
        let request = RedeliverCallbackRequest { name: name.to_owned() };
        Ok(self.generations().await.redeliver_callback(request).await?.into_inner().callback.unwrap())
    }
}

#[tokio::test]
async fn every_end_is_reported_once_signed_and_as_a_caller_sees_it() {
    let simulator = Simulator::start(&[r#"create:prompt=broken:failed="it broke""#, "create:prompt=held:hold"]);
    let mut receiver = Receiver::start([]).await;
    let server = calling(Setup::replicate(&simulator.replicate())).start().await;
    let url = receiver.url();
    let mut expected = BTreeMap::new();
    for (prompt, state) in [("a fox", "succeeded"), ("a fox", "succeeded"), ("broken", "failed")] {
        expected.insert(server.generate(sharing(prompt, &url)).await.unwrap().name, state);
    }
    let [leader, left, follower] = [
        server.order(sharing("held", &url)).await.unwrap(),
        server.order(sharing("held", &url)).await.unwrap(),
        server.order(sharing("held", &url)).await.unwrap(),
    ];
    let waiting = server.callback(&leader.name).await.unwrap();
    assert_eq!((waiting.state(), waiting.n_tries, waiting.next_time), (CallbackState::Pending, 0, None));
    server.cancel(&left.name).await.unwrap();
    while simulator.count("creates_effective").await < 3 {
        tokio::task::yield_now().await;
    }
    simulator.control("release", json!({})).await;
    expected.extend([(leader.name, "succeeded"), (left.name, "cancelled"), (follower.name.clone(), "succeeded")]);
    server.end_of(&follower.name).await;

    let mut seen = BTreeMap::new();
    for _ in 0..expected.len() {
        let call = receiver.next().await;
        let generation = server.get(&call.name()).await;
        let id = generation.name.strip_prefix("generations/").unwrap();
        assert!(call.is_signed_by(SECRET), "{call:?}");
        assert_eq!(
            (call.header("webhook-id"), call.header("content-type")),
            (&*format!("msg_{id}"), "application/json")
        );
        assert_eq!(call.uri.to_string(), "/hook-of-mine?token=hidden-token");
        let data = json::of(&generation).unwrap();
        let kind = format!("generation.{}", expected[&generation.name]);
        assert_eq!(call.json(), json!({ "type": kind, "timestamp": call.json()["timestamp"], "data": data }));
        let told: jiff::Timestamp = call.json()["timestamp"].as_str().unwrap().parse().unwrap();
        assert_eq!(told.as_second(), generation.end_time.unwrap().seconds);
        let callback = server.delivered(&generation.name).await;
        assert_eq!((callback.n_tries, callback.last_status, callback.next_time), (1, Some(200), None));
        assert!(callback.delivered_time.is_some());
        assert_eq!(callback.url, url.split('?').next().unwrap());
        seen.insert(generation.name, expected[&call.name()]);
    }
    assert_eq!(seen, expected);
    assert_eq!(receiver.n_unseen(), 0, "each once");
    let log = server.setup().log();
    assert!(log.contains("callback delivered") && log.contains("127.0.0.1"), "{log}");
    for hidden in ["hook-of-mine", "hidden-token", SECRET] {
        assert!(!log.contains(hidden), "{hidden} in {log}");
    }
}

#[tokio::test]
async fn a_refused_report_is_repeated_under_the_same_id_and_follows_no_redirect() {
    let mut receiver = Receiver::start([Reply::Status(500), Reply::Redirect]).await;
    let server = calling(Setup::sample()).start().await;
    let made = server.generate(reporting("a fox", &receiver.url())).await.unwrap();
    let calls = [receiver.next().await, receiver.next().await, receiver.next().await];
    assert!(calls.iter().all(|call| call.uri.path() == "/hook-of-mine" && call.is_signed_by(SECRET)));
    assert!(calls.iter().all(|call| call.header("webhook-id") == calls[0].header("webhook-id")));
    assert!(calls.iter().all(|call| call.body == calls[0].body));
    let callback = server.delivered(&made.name).await;
    assert_eq!((callback.n_tries, callback.last_status, callback.last_error), (3, Some(200), 0));
    assert_eq!(server.get(&made.name).await.sequence, made.sequence, "a report is no news of the generation");
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_asked_once() {
    let mut receiver = Receiver::start([Reply::Status(410)]).await;
    let server = calling(Setup::sample()).start().await;
    let made = server.generate(reporting("a fox", &receiver.url())).await.unwrap();
    receiver.next().await;
    let callback = server.callback_until(&made.name, |callback| callback.state() == CallbackState::Failed).await;
    assert_eq!((callback.n_tries, callback.last_status, callback.next_time), (1, Some(410), None));
    assert_eq!(callback.last_error(), CallbackError::Status);
    assert_eq!(server.redeliver(&made.name).await.unwrap().state(), CallbackState::Pending);
    receiver.next().await;
    server.delivered(&made.name).await;
}

#[tokio::test]
async fn a_process_that_dies_between_the_end_and_the_answer_loses_no_report() {
    let mut receiver = Receiver::start([Reply::Hang]).await;
    let setup = calling(Setup::sample());
    let server = setup.start().await;
    let made = server.generate(reporting("a fox", &receiver.url())).await.unwrap();
    let first = receiver.next().await;
    let server = server.kill().start().await;
    let second = receiver.next().await;
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert!(second.is_signed_by(SECRET));
    server.delivered(&made.name).await;
}

#[tokio::test]
async fn a_receiver_that_was_away_is_called_by_the_next_process() {
    let mut receiver = Receiver::start([Reply::Status(503)]).await;
    let setup = calling(Setup::sample()).with("FILMGATE_CALLBACK_RETRY_BASE", "3s");
    let server = setup.start().await;
    let made = server.generate(reporting("a fox", &receiver.url())).await.unwrap();
    receiver.next().await;
    let refused = server.callback_until(&made.name, |callback| callback.n_tries == 1).await;
    assert_eq!((refused.state(), refused.last_status), (CallbackState::Pending, Some(503)));
    let server = server.kill().start().await;
    receiver.next().await;
    assert_eq!(server.delivered(&made.name).await.n_tries, 2);
}

#[tokio::test]
async fn a_report_is_sent_again_on_demand() {
    let simulator = Simulator::start(&["create:prompt=held:hold"]);
    let mut receiver = Receiver::start([]).await;
    let server = calling(Setup::replicate(&simulator.replicate())).start().await;
    let made = server.generate(reporting("a fox", &receiver.url())).await.unwrap();
    let first = receiver.next().await;
    server.delivered(&made.name).await;
    let again = server.redeliver(&made.name).await.unwrap();
    assert_eq!((again.state(), again.n_tries), (CallbackState::Pending, 0));
    let second = receiver.next().await;
    assert_eq!((first.header("webhook-id"), &first.body), (second.header("webhook-id"), &second.body));
    server.delivered(&made.name).await;

    let held = server.order(reporting("held", &receiver.url())).await.unwrap();
    let silent = server.generate(video("a hen")).await.unwrap();
    for (name, expected) in [(&held.name, "GENERATION_UNFINISHED"), (&silent.name, "NO_CALLBACK")] {
        let status = server.redeliver(name).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, expected));
    }
    assert_eq!(server.callback(&silent.name).await, None);
    let unknown = "generations/01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(refused(&server.redeliver(unknown).await.unwrap_err()), not_found("GENERATION_NOT_FOUND"));
    assert_eq!(refused(&server.redeliver("nonsense").await.unwrap_err()), invalid(&["name"]));
    server.delete(&made.name).await.unwrap();
    assert_eq!(refused(&server.redeliver(&made.name).await.unwrap_err()), not_found("GENERATION_NOT_FOUND"));
}

#[tokio::test]
async fn what_is_not_public_is_refused_unless_it_is_allowed() {
    let server = Setup::sample().with("FILMGATE_CALLBACK_SECRET", SECRET).start().await;
    for url in
        ["http://127.0.0.1:9/", "https://127.0.0.1/", "https://10.0.0.1/", "https://localhost/", "http://example.com/"]
    {
        let answer = server.generations().await.generate_video(reporting("a fox", url)).await;
        assert_eq!(refusal(answer, &url), invalid(&["callback_url"]), "{url}");
    }
    let unsigned = Setup::sample().start().await;
    let status = unsigned.order(reporting("a fox", "https://example.com/")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "CALLBACK_NOT_CONFIGURED"));
    assert!(unsigned.generate(video("a fox")).await.is_ok());
}

#[tokio::test]
async fn an_address_that_is_not_allowed_any_more_is_not_called() {
    let mut receiver = Receiver::start([Reply::Status(500)]).await;
    let server = calling(Setup::sample()).with("FILMGATE_CALLBACK_RETRY_BASE", "100ms").start().await;
    let made = server.generate(reporting("a fox", &receiver.url())).await.unwrap();
    receiver.next().await;
    server.callback_until(&made.name, |callback| callback.n_tries == 1).await;
    let server = server.kill().with("FILMGATE_CALLBACK_ALLOW", "").start().await;
    let callback = server.callback_until(&made.name, |callback| callback.n_tries == 2).await;
    assert_eq!((callback.last_error(), callback.last_status), (CallbackError::AddressNotAllowed, None));
    assert_eq!((callback.state(), receiver.n_unseen()), (CallbackState::Pending, 0));
}

#[tokio::test]
async fn a_receiver_that_never_answers_keeps_nobody_else_waiting() {
    let mut hanging = Receiver::start(vec![Reply::Hang; 1000]).await;
    let mut prompt = Receiver::start([]).await;
    let server = calling(Setup::sample()).start().await;
    for n in 0..12 {
        server.generate(reporting(&format!("to nobody {n}"), &hanging.url())).await.unwrap();
    }
    for _ in 0..4 {
        hanging.next().await;
    }
    let since = Instant::now();
    let made = server.generate(reporting("a fox", &prompt.url())).await.unwrap();
    prompt.next().await;
    assert!(
        since.elapsed() < Duration::from_secs(10),
        "{:?}: sooner than the calls of the other one end",
        since.elapsed()
    );
    server.delivered(&made.name).await;
    assert_eq!(hanging.n_unseen(), 0, "no more than four at once to one host");
}

#[tokio::test]
async fn a_report_on_its_way_is_waited_for_at_the_end() {
    let gate = Arc::new(Semaphore::new(0));
    let mut receiver = Receiver::start([Reply::Held(Arc::clone(&gate))]).await;
    let mut server = calling(Setup::sample()).start().await;
    let made = server.generate(reporting("a fox", &receiver.url())).await.unwrap();
    receiver.next().await;
    server.terminate();
    while !server.setup().log().contains("phase=Finishing") {
        sleep(Duration::from_millis(10)).await;
    }
    gate.add_permits(1);
    assert_eq!(server.ended().await, Some(0));
    let server = server.kill().start().await;
    assert_eq!(server.delivered(&made.name).await.n_tries, 1);
    assert_eq!(receiver.n_unseen(), 0);
}

#[tokio::test]
async fn tenants_have_addresses_and_secrets_of_their_own() {
    let [mut for_all, mut for_acme] = [Receiver::start([]).await, Receiver::start([]).await];
    let file = format!(
        "[callbacks]\nurl = {:?}\n[callbacks.tenants.acme]\nurl = {:?}\nsecret = \"{SECRET} {OTHER_SECRET}\"",
        for_all.url(),
        for_acme.url()
    );
    let server = calling(Setup::sample()).with_file("filmgate.toml", &file).start().await;
    let mut of_acme: Request<_> = video("a fox").into_request();
    of_acme.metadata_mut().insert("x-filmgate-tenant", "acme".parse().unwrap());
    let acme = server.order(of_acme).await.unwrap();
    let other = server.order(video("a hen")).await.unwrap();
    let call = for_acme.next().await;
    assert_eq!((call.name(), call.is_signed_by(SECRET), call.is_signed_by(OTHER_SECRET)), (acme.name, true, true));
    let call = for_all.next().await;
    assert_eq!((call.name(), call.is_signed_by(SECRET), call.is_signed_by(OTHER_SECRET)), (other.name, true, false));
}

#[tokio::test]
async fn a_request_id_stands_for_its_callback_too() {
    let receiver = Receiver::start([]).await;
    let server = calling(Setup::sample()).start().await;
    let order = |url: &str| GenerateVideoRequest { request_id: "once".to_owned(), ..reporting("a fox", url) };
    let first = server.generate(order(&receiver.url())).await.unwrap();
    assert_eq!(first.state(), State::Succeeded);
    assert_eq!(server.order(order(&receiver.url())).await.unwrap().name, first.name);
    let refused = server.order(order("http://127.0.0.1:9/")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    assert_eq!(refused.get_details_error_info().unwrap().metadata["field"], "callback_url");
}
