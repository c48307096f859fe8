use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::*;
use crate::{
    domain::{
        attempt::Ticket,
        failure::FailurePhase,
        money::MicroUsd,
        names::{GenerationId, ProviderId, RequestId},
        order::{OptionName, OptionValue, Options},
    },
    door::fixture::{self, noon},
};

fn shown(record: Generation) -> v1::Generation {
    generation(&fixture::view(record), Detail::Full)
}

fn wire(at: Timestamp) -> prost_types::Timestamp {
    values::timestamp(at)
}

/// A follower of a leader in this state, as it is shown.
fn followed(leader: State, own: State) -> v1::Generation {
    let leader = Generation {
        state: leader,
        phase: "frame 3 of 9".to_owned(),
        progress_percent: Some(33),
        started_at: Some(noon()),
        ..fixture::generation()
    };
    let follower = Generation {
        id: GenerationId::fresh(),
        leader: Some(leader.id),
        state: own,
        attempts: Vec::new(),
        coalesced: true,
        ..fixture::generation()
    };
    generation(&View { leader: Some(Arc::new(leader)), ..fixture::view(follower) }, Detail::Full)
}

#[test]
fn a_success_is_told_exactly() {
    let record = Generation {
        request_id: Some(RequestId::from_id("key").unwrap()),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        cost: Cost {
            estimated: Some(MicroUsd(5)),
            held: MicroUsd(0),
            settled: Some(MicroUsd(4)),
            saved: MicroUsd(0),
            ..Cost::default()
        },
        ..fixture::succeeded()
    };
    let shown = shown(record.clone());
    assert_eq!(shown.name, record.id.to_string());
    assert_eq!((shown.session.as_str(), shown.model.as_str()), ("sessions/abc", "replicate/minimax/video-01"));
    assert_eq!(shown.state(), v1::State::Succeeded);
    assert_eq!(shown.generation_time, Some(prost_types::Duration { seconds: 61, nanos: 239_000_000 }));
    let cost = v1::Cost {
        estimated_micro_usd: Some(5),
        held_micro_usd: 0,
        settled_micro_usd: Some(4),
        saved_micro_usd: 0,
        ..v1::Cost::default()
    };
    assert_eq!(shown.cost, Some(cost));
    assert_eq!((shown.request_id.as_str(), shown.labels["a"].as_str()), ("key", "b"));
    let artifact = &shown.artifacts[0];
    assert_eq!((artifact.size_bytes, artifact.width, artifact.fps), (10, Some(512), Some(12.0)));
    assert_eq!(artifact.http_path, format!("/{}", artifact.name));
    assert_eq!(artifact.duration, Some(prost_types::Duration { seconds: 5, nanos: 500_000_000 }));
    assert!(!shown.sample && !shown.cached && shown.failure.is_none() && shown.unresolved.is_none());
}

#[test]
fn only_a_success_has_a_generation_time() {
    for state in State::ALL {
        let shown = shown(Generation { state, ..fixture::succeeded() });
        assert_eq!(shown.generation_time.is_some(), state == State::Succeeded, "{state:?}");
    }
}

#[test]
fn a_list_row_has_neither_brief_nor_log() {
    let view = fixture::view(fixture::generation());
    let (full, row) = (generation(&view, Detail::Full), generation(&view, Detail::Row));
    assert_eq!((full.brief.as_str(), full.provider_logs.as_str()), ("a cat — in short", "log"));
    assert_eq!(row, v1::Generation { brief: String::new(), provider_logs: String::new(), ..full });
}

#[test]
fn a_follower_shows_the_progress_of_its_leader() {
    for (leader, expected) in [
        (State::Queued, v1::State::Queued),
        (State::Running, v1::State::Running),
        (State::Storing, v1::State::Storing),
        (State::Cancelling, v1::State::Running),
        (State::Unresolved, v1::State::Running),
    ] {
        let shown = followed(leader, State::Queued);
        assert_eq!(shown.state(), expected, "{leader:?}");
        assert_eq!((shown.phase.as_str(), shown.progress_percent), ("frame 3 of 9", Some(33)));
        assert_eq!(shown.start_time, Some(wire(noon())));
        assert!(shown.coalesced && shown.attempts.is_empty() && shown.unresolved.is_none());
    }
}

#[test]
fn an_end_is_shown_as_it_is_on_either_side() {
    assert_eq!(followed(State::Running, State::Cancelled).state(), v1::State::Cancelled);
    let shown = followed(State::Succeeded, State::Queued);
    assert_eq!((shown.state(), shown.phase.as_str()), (v1::State::Queued, "queued"));
}

#[test]
fn what_is_unknown_says_when_it_is_given_up() {
    let unresolved =
        Some(Unresolved { reason: UnresolvedReason::SubmitAnswerLost, message: "lost".to_owned(), since: noon() });
    let record = Generation { state: State::Unresolved, unresolved, ..fixture::generation() };
    let unknown = shown(record.clone()).unresolved.unwrap();
    assert_eq!(unknown.reason(), v1::ErrorReason::SubmitAnswerLost);
    assert_eq!(unknown.since_time, Some(wire(noon())));
    assert_eq!(unknown.give_up_time, Some(wire(noon() + Duration::from_secs(24 * 3600))));
    assert!(shown(Generation { state: State::Cancelling, ..record }).unresolved.is_none());
}

#[test]
fn a_failure_says_what_to_do_next() {
    let failure = Failure::new(FailureReason::ProviderRefusedContent, FailurePhase::Provider, Charged::No, "no")
        .at(&ProviderId::from_id("replicate").unwrap())
        .because_of(Some("prompt".to_owned()));
    let failed = shown(Generation { state: State::Failed, failure: Some(failure), ..fixture::generation() }).failure;
    let expected = v1::Failure {
        reason: v1::ErrorReason::ProviderRefusedContent.into(),
        phase: "provider".to_owned(),
        message: "no".to_owned(),
        provider: "replicate".to_owned(),
        field: "prompt".to_owned(),
        retryable: false,
        charged: v1::Charged::No.into(),
        next_step: "change the prompt or inputs; a repeat will be refused again".to_owned(),
    };
    assert_eq!(failed, Some(expected));
}

#[test]
fn attempts_and_adjustments_are_told() {
    let mut record = fixture::generation();
    let ticket = Ticket { account: "x".to_owned(), job: "job-7".to_owned(), data: serde_json::json!({"secret": 1}) };
    record.attempts[0].ticket = Some(ticket);
    record.attempts[0].outcome = AttemptOutcome::Failed;
    record.attempts[0].charged = Some(Charged::Unknown);
    let text = |text: &str| text.to_owned();
    let adjusted = Adjustment { field: text("options.duration"), asked: text("5"), used: text("6"), why: text("w") };
    record.candidates[0].adjustments.push(adjusted);
    let shown = shown(record);
    let attempt = &shown.attempts[0];
    assert_eq!((attempt.outcome(), attempt.charged()), (v1::AttemptOutcome::Failed, v1::Charged::Unknown));
    assert_eq!(attempt.provider_job_id, "job-7");
    assert_eq!((shown.adjustments[0].asked.as_str(), shown.adjustments[0].used.as_str()), ("5", "6"));
}

#[test]
fn the_order_is_shown_as_resolved() {
    let mut record = fixture::generation();
    record.candidates[0].options = Options::from([
        (OptionName::Duration, OptionValue::Number(2.5)),
        (OptionName::Fps, OptionValue::Int(24)),
        (OptionName::AspectRatio, OptionValue::Text("16:9".to_owned())),
        (OptionName::Guidance, OptionValue::Int(6)),
        (OptionName::Seed, OptionValue::Int(1 << 40)),
        (OptionName::Audio, OptionValue::Bool(false)),
    ]);
    record.candidates[0].provider_options = serde_json::json!({"a": [1, null]}).as_object().unwrap().clone();
    let Some(v1::generation::Spec::Video(spec)) = shown(record).spec else { panic!("no video") };
    let options = spec.options.unwrap();
    assert_eq!(spec.prompt, "a cat");
    assert_eq!(options.duration, Some(prost_types::Duration { seconds: 2, nanos: 500_000_000 }));
    assert_eq!((options.fps, options.guidance, options.seed), (Some(24), Some(6.0), Some(1 << 40)));
    assert_eq!((options.aspect_ratio.as_str(), options.audio, options.width), ("16:9", Some(false), None));
    assert_eq!(options.provider_options.unwrap().fields.len(), 1);
}

#[test]
fn a_message_carries_its_facts() {
    let meta = serde_json::json!({"sample": false, "elapsed": 61.24}).as_object().unwrap().clone();
    let told =
        Message { role: Role::Assistant, text: "t".to_owned(), meta, created_at: noon(), generation: None, chat: None };
    let shown = message(&told);
    assert_eq!((shown.role(), shown.generation.as_str()), (v1::Role::Assistant, ""));
    let elapsed = shown.meta.unwrap().fields["elapsed"].kind.clone();
    assert_eq!(elapsed, Some(prost_types::value::Kind::NumberValue(61.24)));
}
