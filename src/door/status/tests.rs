use super::*;
use crate::domain::{
    failure::{Charged, Failure, FailurePhase, FailureReason},
    money::MicroUsd,
    names::ProviderId,
};

fn engine(error: Error) -> Refusal {
    Refusal::Engine { error, subject: "generations/x".to_owned() }
}

fn provider() -> ProviderId {
    ProviderId::from_id("replicate").unwrap()
}

fn broken() -> Error {
    Error::Store(StoreError::Broken("row 7 has no state; password=hunter2".into()))
}

/// What is refused, its reason and code, and whether the details beside `ErrorInfo` are as they must be.
type Row = (Refusal, ErrorReason, Code, fn(&ErrorDetails) -> bool);

/// Every reason of an RPC error.
fn table() -> Vec<Row> {
    general().into_iter().chain(of_money()).collect()
}

fn general() -> Vec<Row> {
    use ErrorReason as R;
    let full: fn() -> StoreError = || StoreError::Unavailable("no space left on device".into());
    vec![
        (Refusal::field("prompt", "is blank"), R::InvalidRequest, Code::InvalidArgument, |d| d.bad_request().is_some()),
        (
            engine(Error::Invalid(vec![Violation::new("inputs[0]", "x")])),
            R::InvalidRequest,
            Code::InvalidArgument,
            |d| d.bad_request().is_some_and(|bad| bad.field_violations[0].field == "inputs[0]"),
        ),
        (engine(Error::RequestIdReused { field: "prompt".into() }), R::RequestIdReused, Code::AlreadyExists, |d| {
            d.error_info().unwrap().metadata["field"] == "prompt" && d.resource_info().is_some()
        }),
        (engine(Error::GenerationNotFound), R::GenerationNotFound, Code::NotFound, |d| {
            d.resource_info().is_some_and(|info| info.resource_name == "generations/x")
        }),
        (Refusal::NotFound(Resource::Session, "sessions/a".into()), R::SessionNotFound, Code::NotFound, |d| {
            d.resource_info().is_some_and(|info| info.resource_name == "sessions/a")
        }),
        (Refusal::NotFound(Resource::Artifact, "artifacts/a".into()), R::ArtifactNotFound, Code::NotFound, |d| {
            d.resource_info().is_some_and(|info| info.resource_type == "artifact")
        }),
        (Refusal::NotFound(Resource::Model, "a/b".into()), R::ModelNotFound, Code::NotFound, |d| {
            d.resource_info().is_some()
        }),
        (
            Refusal::NotConfigured { provider: provider(), how: "set REPLICATE_API_TOKEN".into() },
            R::ProviderNotConfigured,
            Code::FailedPrecondition,
            |d| d.precondition_failure().unwrap().violations[0].description.contains("REPLICATE_API_TOKEN"),
        ),
        (
            engine(Error::SampleMissing { provider: provider(), why: "no file".into() }),
            R::SampleMissing,
            Code::FailedPrecondition,
            |d| d.precondition_failure().is_some(),
        ),
        (engine(Error::Finished(State::Failed)), R::GenerationFinished, Code::FailedPrecondition, |d| {
            let violation = &d.precondition_failure().unwrap().violations[0];
            violation.subject == "generations/x" && d.error_info().unwrap().metadata["state"] == "failed"
        }),
        (engine(Error::Unfinished(State::Running)), R::GenerationUnfinished, Code::FailedPrecondition, |d| {
            d.precondition_failure().is_some()
        }),
        (engine(Error::NotUnresolved(State::Queued)), R::GenerationNotUnresolved, Code::FailedPrecondition, |d| {
            d.precondition_failure().is_some()
        }),
        (engine(Error::NoCallback), R::NoCallback, Code::FailedPrecondition, |d| {
            d.precondition_failure().unwrap().violations[0].subject == "generations/x"
        }),
        (Refusal::CallbackNotConfigured, R::CallbackNotConfigured, Code::FailedPrecondition, |d| {
            d.error_info().unwrap().metadata["how_to_configure"].contains("FILMGATE_CALLBACK_SECRET")
        }),
        (engine(Error::QueueFull { unfinished: 9 }), R::QueueFull, Code::ResourceExhausted, |d| {
            d.quota_failure().is_some() && d.retry_info().is_some()
        }),
        (engine(Error::Draining), R::ServerDraining, Code::Unavailable, |d| d.retry_info().is_some()),
        (full().into(), R::StoreUnavailable, Code::Unavailable, |d| d.retry_info().is_some()),
        (engine(Error::Storage("disk".into())), R::StoreUnavailable, Code::Unavailable, |d| d.retry_info().is_some()),
        (Refusal::UploadTooLarge { max_bytes: 7 }, R::UploadTooLarge, Code::ResourceExhausted, |d| {
            d.quota_failure().is_some() && d.error_info().unwrap().metadata["max_bytes"] == "7"
        }),
        (Refusal::Link(BadLink::Invalid), R::LinkInvalid, Code::PermissionDenied, |_| true),
        (Refusal::Link(BadLink::Expired), R::LinkExpired, Code::PermissionDenied, |_| true),
        (engine(broken()), R::Internal, Code::Internal, |d| d.request_info().is_some()),
    ]
}

fn of_money() -> Vec<Row> {
    use ErrorReason as R;
    vec![
        (
            engine(Error::Budget(NotAllowed::Over(OverBudget {
                budget: "team".into(),
                limit: MicroUsd(100),
                left: MicroUsd(30),
                asked: MicroUsd(70),
            }))),
            R::BudgetExceeded,
            Code::ResourceExhausted,
            |d| {
                let metadata = &d.error_info().unwrap().metadata;
                let told = ["limit_micro_usd", "left_micro_usd", "asked_micro_usd"].map(|key| metadata[key].as_str());
                d.quota_failure().is_some() && metadata["budget"] == "team" && told == ["100", "30", "70"]
            },
        ),
        (
            engine(Error::Budget(NotAllowed::Unpriced { budget: "team".into(), model: "a/b".into() })),
            R::PriceUnknown,
            Code::FailedPrecondition,
            |d| d.error_info().unwrap().metadata["budget"] == "team",
        ),
        (
            engine(Error::PriceUnknown { model: "a/b".parse().unwrap() }),
            R::PriceUnknown,
            Code::FailedPrecondition,
            |d| d.precondition_failure().unwrap().violations[0].subject == "a/b",
        ),
        (engine(Error::Quote(NoQuote::NotFound)), R::QuoteNotFound, Code::NotFound, |d| d.resource_info().is_some()),
        (engine(Error::Quote(NoQuote::Used)), R::QuoteExpired, Code::FailedPrecondition, |d| {
            d.precondition_failure().is_some()
        }),
        (
            engine(Error::Quote(NoQuote::Expired(jiff::Timestamp::UNIX_EPOCH))),
            R::QuoteExpired,
            Code::FailedPrecondition,
            |d| d.error_info().unwrap().metadata.contains_key("expired_at"),
        ),
        (
            engine(Error::Quote(NoQuote::Mismatch { field: "options.seed".into() })),
            R::QuoteMismatch,
            Code::FailedPrecondition,
            |d| d.error_info().unwrap().metadata["field"] == "options.seed",
        ),
    ]
}

#[test]
fn every_refusal_has_its_code_reason_and_details() {
    for (refusal, reason, code, has_details) in table() {
        let status = Status::from(refusal);
        assert_eq!(status.code(), code, "{reason:?}");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason_word(reason), "filmgate"));
        assert!(has_details(&details), "{reason:?}: {details:?}");
    }
}

#[test]
fn every_reason_of_a_refused_call_is_produced() {
    let produced: Vec<i32> = table().into_iter().map(|(_, reason, ..)| reason as i32).collect();
    for reason in (1..30).filter_map(|number| ErrorReason::try_from(number).ok()) {
        assert!(produced.contains(&(reason as i32)), "{reason:?}");
    }
}

#[test]
fn a_chat_is_to_be_sent_again_only_if_it_was_free() {
    use FailureReason as F;
    for (failed, charged, code, reason, again) in [
        (F::ProviderOverloaded, Charged::No, Code::ResourceExhausted, "PROVIDER_OVERLOADED", true),
        (F::ProviderOverloaded, Charged::Unknown, Code::ResourceExhausted, "PROVIDER_OVERLOADED", false),
        (F::ProviderUnreachable, Charged::No, Code::Unavailable, "PROVIDER_UNREACHABLE", true),
        (F::ProviderUnreachable, Charged::Unknown, Code::Unavailable, "SUBMIT_ANSWER_LOST", false),
    ] {
        let failure = Failure::new(failed, FailurePhase::Provider, charged, "no").at(&provider());
        let status = Status::from(Refusal::Chat { failure: failure.into(), retry_after: None });
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{failed:?} {charged:?}");
        let told = (info.metadata["retryable"].as_str(), details.retry_info().is_some());
        assert_eq!(told, (again.to_string().as_str(), again), "{failed:?} {charged:?}");
        let looks = info.metadata["next_step"].contains("before sending it again");
        assert_eq!(looks, !again, "{failed:?} {charged:?}");
    }
}

#[test]
fn the_cause_of_a_defect_is_not_told() {
    let status = Status::from(engine(broken()));
    let told = format!("{status:?}{:?}", status.get_error_details());
    assert!(!told.contains("hunter2"), "{told}");
    assert_eq!(status.message(), "internal error; report it with the request id");
}

#[test]
fn a_hostile_number_of_violations_stays_within_a_header() {
    let violations =
        (0..5000).map(|n| Violation::new(format!("labels[\"{n}ä{}\"]", "k".repeat(500)), "ö".repeat(9000)));
    let status = Status::from(Refusal::Invalid(violations.collect()));
    assert!(status.details().len() < 6000, "{}", status.details().len());
    let details = status.get_error_details();
    let n_shown = details.bad_request().unwrap().field_violations.len();
    assert!(n_shown > 0);
    assert_eq!(details.error_info().unwrap().metadata["n_omitted"], (5000 - n_shown).to_string());
}

#[tokio::test]
async fn over_http_a_refusal_is_json_with_the_reason() {
    let response = Refusal::NotFound(Resource::Artifact, "artifacts/a".into()).into_response();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body, json!({"error": {"code": "ARTIFACT_NOT_FOUND", "message": "artifact not found"}}));
}
