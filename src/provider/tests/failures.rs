//! Failures as vendors tell them, one file each below `tests/fixtures/{vendor}/failures`, and what each means to a caller.
//!
//! ```json
//! {
//!   "source": "the vendor's page on errors, read 2026-11",
//!   "call": "submit",
//!   "model": "a card's name; the first card of `kind` (video) without it",
//!   "kind": "image",
//!   "answer": { "status": 422, "headers": { "retry-after": "7" }, "body": { "any": "JSON, or a text as it is" } },
//!   "expect": { "reason": "provider_invalid_order", "field": "options.duration", "charged": "no", "then": "fail" }
//! }
//! ```
//!
//! `call` is `submit` or `poll` (then with a `ticket`). `then` is what happens next: `fail`, `retry` (nothing was bought), or `look` (it may
//! have been bought: it is looked for and never sent again); `retry_after` in seconds, if it should be told.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::server::{Asked, Reply, Server};
use crate::{
    domain::{
        artifact::Kind,
        failure::{Charged, Failure, FailurePhase, FailureReason},
        names::SubmitKey,
    },
    provider::{
        contract,
        error::{Effect, ProviderError, Verdict},
        port::{Order, Provider, Status, Ticket},
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    source: String,
    call: Called,
    model: Option<String>,
    kind: Option<Kind>,
    ticket: Option<Ticket>,
    answer: Answered,
    expect: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Called {
    Submit,
    Poll,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answered {
    status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    body: Value,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    reason: FailureReason,
    #[serde(default)]
    field: Option<String>,
    charged: Charged,
    then: Then,
    #[serde(default)]
    retryable: Option<bool>,
    #[serde(default)]
    retry_after: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Then {
    Fail,
    Retry,
    Look,
}

/// Every failure on file of `vendor` means what its file says. `build` makes the adapter for a base address; `prelude` answers what the adapter
/// asks before the call that matters, such as a token or an upload. Says how many there were.
pub(in crate::provider) async fn mean_what_they_say<P: Provider>(
    vendor: &str,
    build: impl Fn(&Url) -> P,
    prelude: fn(&Asked) -> Option<Reply>,
) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(vendor).join("failures");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        let fixture: Fixture = serde_json::from_slice(&fs::read(file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(!fixture.source.is_empty(), "{}", file.display());
        let reply = reply(&fixture.answer);
        let server = Server::start(move |asked| prelude(asked).unwrap_or_else(|| reply.clone())).await;
        let provider = build(&server.base);
        let outcome = outcome(&provider, &fixture).await;
        is_as_expected(&file.file_name().unwrap().to_string_lossy(), &outcome, &fixture.expect);
    }
    files.len()
}

/// What a failure means to a caller, what happens next, and the vendor's wish when that should be.
pub(super) type Outcome = (Failure, Then, Option<u64>);

/// A failure is the one that its file expects.
pub(super) fn is_as_expected(file: &str, (failure, then, wish): &Outcome, expected: &Expected) {
    let Expected { reason, field, charged, then: next, retryable, retry_after } = expected;
    assert_eq!((&failure.reason, &failure.charged, then), (reason, charged, next), "{file}: {}", failure.message);
    assert_eq!(failure.field, *field, "{file}: {}", failure.message);
    assert!(retryable.is_none_or(|retryable| retryable == failure.retryable), "{file}");
    assert!(retry_after.is_none() || retry_after == wish, "{file}: {wish:?}");
    assert!(!failure.message.is_empty() && !failure.reason.next_step().is_empty(), "{file}");
}

pub(super) fn reply(answer: &Answered) -> Reply {
    let mut reply = match &answer.body {
        Value::String(text) => Reply::new(answer.status, text.clone()),
        body => Reply::json(answer.status, body),
    };
    for (name, value) in &answer.headers {
        reply = reply.with(name.clone().leak(), value);
    }
    reply
}

async fn outcome(provider: &dyn Provider, fixture: &Fixture) -> Outcome {
    match fixture.call {
        Called::Submit => {
            let mut order = contract::order(provider, fixture.kind.unwrap_or(Kind::Video));
            if let Some(model) = &fixture.model {
                let card = provider.models().iter().find(|card| card.name == *model).cloned();
                let kind = card.as_ref().map_or(order.kind, |card| card.kind);
                order = Order { kind, model: model.clone(), card, ..order };
            }
            let error = provider.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
            let charged = match error.effect {
                Effect::None => error.charged,
                Effect::Maybe => Charged::Unknown,
            };
            of_error(&error, FailurePhase::Submit, charged)
        }
        Called::Poll => {
            let ticket = fixture.ticket.clone().expect("a ticket to poll with");
            match provider.poll(&ticket).await {
                Ok(progress) => match progress.status {
                    Status::Failed(failure) => (failure, Then::Fail, None),
                    other => panic!("{other:?} is no failure"),
                },
                Err(error) => of_error(&error, FailurePhase::Provider, Charged::Unknown),
            }
        }
    }
}

pub(super) fn of_error(error: &ProviderError, phase: FailurePhase, charged: Charged) -> Outcome {
    let (then, wish) = match error.verdict() {
        Verdict::RetryAfter(wish) => (Then::Retry, wish),
        Verdict::AskFirst => (Then::Look, None),
        Verdict::GiveUp => (Then::Fail, None),
    };
    (error.to_failure(phase, charged), then, wish.map(|wish| wish.as_secs()))
}
