mod world;

use std::{collections::BTreeMap, time::Duration};

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::domain::{
    artifact::Kind,
    names::{ArtifactId, AttemptId, GenerationId, SessionId, TenantId},
    order::{CachePolicy, Candidate, Options},
};

pub(crate) const START: Timestamp = Timestamp::constant(1_700_000_000, 0);

pub(crate) fn drafted(n_candidates: usize) -> Generation {
    let candidates: Vec<Candidate> = (0..n_candidates)
        .map(|index| Candidate {
            model: format!("sample/model-{index}").parse().unwrap(),
            options: Options::new(),
            provider_options: serde_json::Map::new(),
            adjustments: Vec::new(),
            estimate: Some(MicroUsd(70)),
            price: None,
            expected_time: None,
            listed: index,
            digest: String::new(),
            stand_in: false,
        })
        .collect();
    let attempt = Attempt::new(0, candidates[0].model.clone(), MicroUsd(70), START);
    Generation {
        id: GenerationId::fresh(),
        tenant: TenantId::default_tenant(),
        session: SessionId::fresh(),
        kind: Kind::Video,
        request_id: None,
        prompt: "a cat".into(),
        brief: "a cat".into(),
        candidates,
        inputs: Vec::new(),
        fallback_on_refusal: false,
        labels: BTreeMap::new(),
        callback_url: None,
        cache: CachePolicy::Default,
        cache_key: None,
        max_duration: Duration::from_secs(60),
        deadline: START + SignedDuration::from_secs(60),
        state: State::Queued,
        phase: "queued".into(),
        sequence: 1,
        n_events: 0,
        progress_percent: None,
        provider_logs: String::new(),
        attempts: vec![attempt],
        artifacts: Vec::new(),
        cost: crate::domain::generation::Cost {
            estimated: Some(MicroUsd(70)),
            held: MicroUsd(70),
            ..Default::default()
        },
        cached_from: None,
        leader: None,
        coalesced: false,
        successor: None,
        failure: None,
        unresolved: None,
        cancel_requested_at: None,
        provider_error: None,
        trace: None,
        created_at: START,
        started_at: None,
        ended_at: None,
        expired_at: None,
        was_sample: false,
        updated_at: START,
    }
}

pub(crate) fn output(of: GenerationId) -> Artifact {
    Artifact {
        id: ArtifactId::output(of, 0),
        generation: Some(of),
        kind: Kind::Video,
        facts: crate::domain::artifact::MediaFacts {
            media_type: "video/mp4".into(),
            duration: None,
            width: None,
            height: None,
            fps: None,
            codecs: Vec::new(),
        },
        size: 3,
        sha256: "00".into(),
        blob: crate::domain::artifact::BlobKey::fresh(AttemptId::fresh(), 0),
        sample: false,
        created_at: START,
    }
}

/// Ends `generation` with one output, through every step.
fn succeed(generation: &mut Generation) {
    let attempt = generation.open_attempt().unwrap().id;
    let ticket = Ticket { account: "a".into(), job: "j".into(), data: serde_json::Value::Null };
    let artifact = output(generation.id);
    for event in [
        AttemptEvent::Submitting(SubmitKey::fresh()),
        AttemptEvent::Accepted(ticket),
        AttemptEvent::OutputsReady,
        AttemptEvent::Stored(vec![artifact], Usage::default()),
    ] {
        generation.apply(&Event::Attempt(attempt, event), START).unwrap();
    }
}

#[test]
fn outputs_that_are_stored_at_once_leave_what_every_step_would_have_left() {
    let ticket =
        || AttemptEvent::Accepted(Ticket { account: "a".into(), job: "j".into(), data: serde_json::Value::Null });
    let answer = SubmitAnswer { outputs: Vec::new(), usage: Usage::default() };
    let ways = [
        (vec![], AttemptEvent::Answered(answer.clone())),
        (vec![AttemptEvent::AnswerLost("reset".into())], AttemptEvent::Answered(answer)),
        (vec![ticket()], AttemptEvent::OutputsReady),
        (vec![ticket(), AttemptEvent::Silent("reset".into())], AttemptEvent::OutputsReady),
    ];
    for (sent, ready) in ways {
        for cancelled in [false, true] {
            let mut at_once = drafted(1);
            let attempt = at_once.open_attempt().unwrap().id;
            for event in std::iter::once(AttemptEvent::Submitting(SubmitKey::fresh())).chain(sent.clone()) {
                at_once.apply(&Event::Attempt(attempt, event), START).unwrap();
            }
            if cancelled {
                at_once.apply(&Event::CancelRequested, START).unwrap();
            }
            let mut in_steps = at_once.clone();
            let stored = AttemptEvent::Stored(vec![output(at_once.id)], Usage::default());
            let told = |generation: &mut Generation, event: &AttemptEvent| {
                let later = START + SignedDuration::from_secs(1);
                match generation.apply(&Event::Attempt(attempt, event.clone()), later) {
                    Ok(Applied::Changed(entries)) => entries,
                    other => panic!("{other:?}"),
                }
            };
            let entries = told(&mut at_once, &stored);
            let steps = [&ready, &stored].map(|event| told(&mut in_steps, event)).concat();
            assert_eq!((&at_once, &entries), (&in_steps, &steps), "after {sent:?}, cancelled: {cancelled}");
            assert_eq!(
                entries.iter().map(|entry| entry.what.as_str()).collect::<Vec<_>>(),
                ["outputs_ready", "succeeded"]
            );
        }
    }
}

#[test]
fn a_cancel_while_outputs_are_stored_does_not_have_them_told_of_twice() {
    let mut generation = drafted(1);
    let attempt = generation.open_attempt().unwrap().id;
    generation.apply(&Event::Attempt(attempt, AttemptEvent::Submitting(SubmitKey::fresh())), START).unwrap();
    generation.apply(&Event::Attempt(attempt, AttemptEvent::OutputsReady), START).unwrap();
    generation.apply(&Event::CancelRequested, START).unwrap();
    assert_eq!((generation.state, generation.phase.as_str()), (State::Cancelling, "storing"));
    let ready = generation.apply(&Event::Attempt(attempt, AttemptEvent::OutputsReady), START);
    assert_eq!(ready, Ok(Applied::Unchanged));
    let stored = AttemptEvent::Stored(vec![output(generation.id)], Usage::default());
    let Ok(Applied::Changed(entries)) = generation.apply(&Event::Attempt(attempt, stored), START) else { panic!() };
    assert_eq!((entries.len(), generation.state), (1, State::Succeeded));
}

#[test]
fn a_tombstone_still_says_whether_it_was_a_sample() {
    for sample in [true, false] {
        let mut generation = drafted(1);
        succeed(&mut generation);
        generation.artifacts[0].sample = sample;
        assert!(generation.expire(START));
        assert_eq!((generation.is_sample(), generation.artifacts.len()), (sample, 0));
    }
}

#[test]
fn an_answer_from_the_cache_ends_at_once_and_costs_nothing() {
    let mut source = drafted(1);
    succeed(&mut source);
    source.cost.settled = Some(MicroUsd(90));

    let mut generation = drafted(1);
    let told = generation.answer_from(&source, START);

    assert_eq!(generation.state, State::Succeeded);
    assert_eq!((generation.cached_from, generation.sequence), (Some(source.id), 2));
    assert_eq!((told.number, told.what.as_str(), told.sequence), (1, "succeeded", 2));
    assert!(generation.attempts.is_empty());
    assert_eq!(generation.artifacts[0].blob, source.artifacts[0].blob);
    assert_eq!(generation.artifacts[0].id, ArtifactId::output(generation.id, 0));
    let cost = &generation.cost;
    assert_eq!((cost.estimated, cost.held), (Some(MicroUsd(70)), MicroUsd::ZERO));
    assert_eq!((cost.settled, cost.saved), (Some(MicroUsd::ZERO), MicroUsd(90)));
}

#[test]
fn a_result_got_for_nothing_saves_its_worth_again() {
    let mut leader = drafted(1);
    let mut follower = drafted(1);
    follower.share_job_of(leader.id);
    assert_eq!((follower.cost.held, follower.attempts.len()), (MicroUsd::ZERO, 0));
    succeed(&mut leader);
    leader.cost.settled = Some(MicroUsd(90));
    follower.apply(&Event::LeaderEnded(Box::new(leader)), START).unwrap();
    assert_eq!((follower.cost.settled, follower.cost.saved), (Some(MicroUsd::ZERO), MicroUsd(90)));

    let mut third = drafted(1);
    third.answer_from(&follower, START);
    assert_eq!(third.cost.saved, MicroUsd(90));
}

#[test]
fn only_the_leaders_end_ends_a_follower() {
    let mut leader = drafted(1);
    let mut alone = drafted(1);
    let untouched = alone.clone();
    let unfinished = Event::LeaderEnded(Box::new(leader.clone()));
    let mut follower = drafted(1);
    follower.share_job_of(leader.id);
    assert_eq!(follower.apply(&unfinished, START), Err(Refused::WrongState(State::Queued)));
    succeed(&mut leader);
    let event = Event::LeaderEnded(Box::new(leader));
    assert_eq!(alone.apply(&event, START), Err(Refused::WrongState(State::Queued)));
    assert_eq!(alone, untouched);
    assert!(follower.apply(&event, START).is_ok());
}

#[test]
fn a_hand_over_moves_the_job_and_the_money() {
    let mut leader = drafted(1);
    let mut follower = drafted(1);
    follower.share_job_of(leader.id);
    let attempt = leader.open_attempt().unwrap().id;
    leader.apply(&Event::Attempt(attempt, AttemptEvent::Submitting(SubmitKey::fresh())), START).unwrap();
    leader.provider_error = Some("the first model failed".into());

    leader.hand_over(&mut follower, HandOver::Cancelled, START).unwrap();

    assert_eq!((leader.state, leader.successor), (State::Cancelled, Some(follower.id)));
    assert_eq!((leader.cost.held, leader.cost.settled), (MicroUsd::ZERO, Some(MicroUsd::ZERO)));
    assert_eq!(leader.cancel_requested_at, Some(START));
    assert_eq!((follower.state, follower.leader, follower.cost.held), (State::Running, None, MicroUsd(70)));
    assert_eq!(follower.open_attempt().unwrap().id, attempt);
    assert_eq!(follower.provider_error.as_deref(), Some("the first model failed"));
}

#[test]
fn outputs_stored_under_the_old_name_become_the_successors() {
    let mut generation = drafted(1);
    let attempt = generation.open_attempt().unwrap().id;
    let theirs = output(GenerationId::fresh());
    let blob = theirs.blob.clone();
    let stored = AttemptEvent::Stored(vec![theirs], Usage::default());
    generation.apply(&Event::Attempt(attempt, stored), START).unwrap();
    let ours = &generation.artifacts[0];
    assert_eq!((&ours.id, ours.generation), (&ArtifactId::output(generation.id, 0), Some(generation.id)));
    assert_eq!(ours.blob, blob);
}

#[test]
fn an_order_taken_without_naming_a_job_is_given_up_with_that_reason_unless_it_is_found() {
    let check = |found: bool, expected: FailureReason| {
        let mut generation = drafted(1);
        let attempt = generation.open_attempt().unwrap().id;
        let ticket = Ticket { account: "a".into(), job: "j".into(), data: serde_json::Value::Null };
        let mut tell = |event| generation.apply(&Event::Attempt(attempt, event), START).unwrap();
        tell(AttemptEvent::Submitting(SubmitKey::fresh()));
        tell(AttemptEvent::Unnamed("no id".into()));
        if found {
            tell(AttemptEvent::Accepted(ticket));
            tell(AttemptEvent::Silent("reset".into()));
        }
        generation.apply(&Event::GaveUp, START).unwrap();
        let failure = generation.failure.unwrap();
        assert_eq!((failure.reason, failure.charged), (expected, Charged::Unknown));
    };
    check(false, FailureReason::NoProviderJobId);
    check(true, FailureReason::UnresolvedExpired);
}

#[test]
fn a_job_found_after_the_deadline_is_unresolved_for_that_reason_and_no_longer_than_before() {
    let mut generation = drafted(1);
    let attempt = generation.open_attempt().unwrap().id;
    let lost_at = START + SignedDuration::from_secs(1);
    let ticket = Ticket { account: "a".into(), job: "j".into(), data: serde_json::Value::Null };
    let mut tell = |event, now| generation.apply(&Event::Attempt(attempt, event), now).unwrap();
    tell(AttemptEvent::Submitting(SubmitKey::fresh()), START);
    tell(AttemptEvent::AnswerLost("reset".into()), lost_at);
    tell(AttemptEvent::Accepted(ticket), START + SignedDuration::from_secs(61));
    let unresolved = generation.unresolved.unwrap();
    assert_eq!(generation.state, State::Unresolved);
    assert_eq!((unresolved.reason, unresolved.since), (UnresolvedReason::DeadlinePassed, lost_at));
}

/// An event without the names that only a run knows.
#[derive(Debug, Clone)]
enum Step {
    Attempt(AttemptEvent),
    Stale(AttemptEvent),
    Whole(Event),
    LeaderEnded { ours: bool },
}

#[test]
fn a_refusal_does_not_undo_a_job_that_is_known() {
    let mut generation = drafted(2);
    let attempt = generation.attempts[0].id;
    let mut tell = |event| generation.apply(&Event::Attempt(attempt, event), START);
    tell(AttemptEvent::Submitting(SubmitKey::fresh())).unwrap();
    // Its webhook came before the answer.
    let ticket = Ticket { account: "a".into(), job: "job".into(), data: serde_json::Value::Null };
    tell(AttemptEvent::Accepted(ticket)).unwrap();
    let failed = |phase| {
        let failure = Failure::new(FailureReason::ProviderInvalidOrder, phase, Charged::No, "refused");
        AttemptEvent::Failed(failure, Usage::default())
    };
    assert_eq!(tell(failed(FailurePhase::Submit)), Err(Refused::WrongState(State::Running)));
    tell(failed(FailurePhase::Provider)).unwrap();
    assert_eq!(generation.attempts.len(), 2, "the job itself may fail");
}

fn attempt_event() -> impl Strategy<Value = AttemptEvent> {
    let charged = || prop_oneof![Just(Charged::No), Just(Charged::Yes), Just(Charged::Unknown)];
    let reason = prop_oneof![
        Just(FailureReason::ProviderJobFailed),
        Just(FailureReason::ProviderRefusedContent),
        Just(FailureReason::ProviderUnreachable)
    ];
    prop_oneof![
        3 => Just(()).prop_map(|()| AttemptEvent::Submitting(SubmitKey::fresh())),
        1 => Just(AttemptEvent::Postponed(FailureReason::ProviderOverloaded, "429".into())),
        3 => Just(AttemptEvent::Accepted(Ticket { account: "a".into(), job: "j".into(), data: serde_json::Value::Null })),
        1 => Just(AttemptEvent::AnswerLost("reset".into())),
        1 => Just(AttemptEvent::Unnamed("no id".into())),
        2 => (proptest::option::of(0..=120_u8), proptest::option::of("[a-b]")).prop_map(|(percent, phase)| {
            AttemptEvent::Progressed(Advance { phase, percent, ..Advance::default() })
        }),
        1 => Just(AttemptEvent::Silent("no answer".into())),
        1 => Just(AttemptEvent::TicketForgotten("404".into())),
        1 => Just(AttemptEvent::OutputsReady),
        1 => Just(AttemptEvent::Stored(vec![output(GenerationId::fresh())], Usage::default())),
        2 => (reason, charged()).prop_map(|(reason, charged)| {
            AttemptEvent::Failed(Failure::new(reason, FailurePhase::Provider, charged, "failed"), Usage::default())
        }),
        1 => charged().prop_map(|charged| AttemptEvent::Stopped(charged, Usage::default())),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => attempt_event().prop_map(Step::Attempt),
        1 => attempt_event().prop_map(Step::Stale),
        1 => Just(Step::Whole(Event::CancelRequested)),
        1 => Just(Step::Whole(Event::DeadlinePassed)),
        1 => Just(Step::Whole(Event::GaveUp)),
        1 => Just(Step::Whole(Event::Resolved(Resolution::Failed))),
        2 => Just(Step::Whole(Event::Resolved(Resolution::Resubmit))),
        1 => any::<bool>().prop_map(|ours| Step::LeaderEnded { ours }),
    ]
}

fn event_of(step: Step, generation: &Generation, leader: &Generation) -> Event {
    match step {
        Step::Attempt(event) => {
            Event::Attempt(generation.open_attempt().map_or_else(AttemptId::fresh, |attempt| attempt.id), event)
        }
        Step::Stale(event) => Event::Attempt(AttemptId::fresh(), event),
        Step::Whole(event) => event,
        Step::LeaderEnded { ours } => {
            let mut ended = leader.clone();
            if !ours {
                ended.id = GenerationId::fresh();
            }
            Event::LeaderEnded(Box::new(ended))
        }
    }
}

proptest! {
    #[test]
    fn no_sequence_of_events_breaks_an_invariant(
        // The clock may be set back too.
        steps in proptest::collection::vec((step(), -20..40_i64), 1..60),
        n_candidates in 1..4_usize,
        follows in any::<bool>(),
    ) {
        let mut leader = drafted(1);
        succeed(&mut leader);
        let mut generation = drafted(n_candidates);
        if follows {
            generation.share_job_of(leader.id);
        }
        let mut now = START;
        for (step, seconds) in steps {
            now += SignedDuration::from_secs(seconds);
            let before = generation.clone();
            let event = event_of(step, &generation, &leader);
            let told = generation.apply(&event, now);
            check_step(&before, &generation, &event, &told)?;
            check_record(&generation)?;
        }
    }
}

fn check_step(
    before: &Generation,
    after: &Generation,
    event: &Event,
    told: &Result<Applied, Refused>,
) -> Result<(), TestCaseError> {
    match told {
        Err(_) | Ok(Applied::Unchanged) => prop_assert_eq!(before, after),
        Ok(Applied::Changed(entries)) => {
            let learned = matches!(event, Event::Learned(..)) && before.state == after.state;
            prop_assert!(!before.state.is_terminal() || learned, "an end is final");
            let decided = matches!(event, Event::Resolved(_));
            prop_assert!(!decided || before.state == State::Unresolved, "a person decides about what is unknown only");
            // Each history entry has a snapshot of its own, and mere progress is one, too.
            let n = entries.len() as u64;
            prop_assert_eq!(after.sequence, before.sequence + n.max(1));
            prop_assert_eq!(after.n_events, before.n_events + n);
            for (entry, more) in entries.iter().rev().zip(0..) {
                prop_assert_eq!((entry.number, entry.sequence), (after.n_events - more, after.sequence - more));
            }
            prop_assert!(entries.last().is_none_or(|entry| entry.state == after.state));
            prop_assert!(after.state == before.state || n > 0, "no change of state without a history entry");
            let stored = matches!(event, Event::Attempt(_, AttemptEvent::Stored(..)));
            let most = if stored && !before.is_storing() { 2 } else { 1 };
            prop_assert!(n <= most, "{event:?} has {n} entries");
        }
    }
    let intent = |generation: &Generation| {
        generation.open_attempt().filter(|attempt| attempt.stage != AttemptStage::Waiting).map(|attempt| attempt.id)
    };
    if let (Some(sent), Some(open)) = (intent(before), after.open_attempt())
        && open.stage == AttemptStage::Waiting
    {
        let allowed = match event {
            Event::Attempt(_, AttemptEvent::Postponed(..)) => open.ticket.is_none(),
            // A new attempt after the last one certainly ended, or because a person says so.
            Event::Attempt(_, AttemptEvent::Failed(..) | AttemptEvent::Stopped(..))
            | Event::Resolved(Resolution::Resubmit) => open.id != sent,
            Event::Attempt(..)
            | Event::CancelRequested
            | Event::DeadlinePassed
            | Event::GaveUp
            | Event::Resolved(Resolution::Failed)
            | Event::Learned(..)
            | Event::LeaderEnded(_) => false,
        };
        prop_assert!(allowed, "{event:?} took a stored intent back");
    }
    Ok(())
}

fn check_record(generation: &Generation) -> Result<(), TestCaseError> {
    let n_open = generation.attempts.iter().filter(|attempt| attempt.is_open()).count();
    prop_assert!(n_open <= 1);
    prop_assert_eq!(generation.state.is_terminal(), generation.ended_at.is_some());
    if generation.state.is_terminal() {
        prop_assert_eq!((generation.cost.held, n_open), (MicroUsd::ZERO, 0));
        prop_assert_eq!(generation.leader, None);
    }
    if generation.unresolved.is_some() {
        prop_assert!(matches!(generation.state, State::Unresolved | State::Cancelling));
    }
    prop_assert_eq!(generation.failure.is_some(), generation.state == State::Failed);
    // Every candidate's estimate is the same, and a quote is for less than 150. Its own, or that of who had the job before, is what is held.
    let quoted = if generation.coalesced { 149 } else { generation.cost.quoted.unwrap_or_default().0 };
    let most = if n_open > 0 { MicroUsd(quoted.max(70)) } else { MicroUsd::ZERO };
    prop_assert!(generation.cost.held <= most, "{generation:?}");
    prop_assert!(generation.ended_at.is_none_or(|ended_at| ended_at >= generation.created_at));
    for attempt in &generation.attempts {
        prop_assert!(attempt.ended_at.is_none_or(|ended_at| ended_at >= attempt.created_at));
    }
    Ok(())
}

#[test]
fn what_ended_unknown_is_in_suspense_until_it_is_learned() {
    let mut generation = drafted(1);
    let attempt = generation.open_attempt().unwrap().id;
    for event in [AttemptEvent::Submitting(SubmitKey::fresh()), AttemptEvent::AnswerLost("x".into())] {
        generation.apply(&Event::Attempt(attempt, event), START).unwrap();
    }
    generation.apply(&Event::Resolved(Resolution::Resubmit), START).unwrap();
    assert_eq!((generation.cost.held, generation.cost.suspense), (MicroUsd(70), MicroUsd(70)));
    let second = generation.open_attempt().unwrap().id;
    let learned = |charged, usage| Event::Learned(attempt, charged, usage);
    assert_eq!(
        generation.apply(&Event::Learned(second, Charged::No, Usage::default()), START),
        Err(Refused::StaleAttempt)
    );
    let told = Usage { charged: Some(MicroUsd(90)), ..Usage::default() };
    generation.apply(&learned(Charged::Yes, told), START).unwrap();
    assert_eq!((generation.cost.suspense, generation.attempts[0].settled), (MicroUsd::ZERO, Some(MicroUsd(90))));
    assert_eq!(generation.apply(&learned(Charged::No, Usage::default()), START), Err(Refused::StaleAttempt), "once");
    for event in [AttemptEvent::Submitting(SubmitKey::fresh()), AttemptEvent::AnswerLost("x".into())] {
        generation.apply(&Event::Attempt(second, event), START).unwrap();
    }
    generation.apply(&Event::Resolved(Resolution::Failed), START).unwrap();
    assert_eq!((generation.cost.settled, generation.cost.suspense), (None, MicroUsd(70)));
    generation.apply(&Event::Learned(second, Charged::No, Usage::default()), START).unwrap();
    assert_eq!((generation.state, generation.cost.settled), (State::Failed, Some(MicroUsd(90))));
}

#[test]
fn a_quote_is_never_exceeded_and_the_operator_bears_the_rest() {
    let mut generation = drafted(2);
    generation.bind_quote(MicroUsd(60));
    assert_eq!(generation.cost.held, MicroUsd(60));
    let first = generation.open_attempt().unwrap().id;
    let failure = Failure::new(FailureReason::ProviderJobFailed, FailurePhase::Provider, Charged::No, "x");
    generation.apply(&Event::Attempt(first, AttemptEvent::Submitting(SubmitKey::fresh())), START).unwrap();
    generation.apply(&Event::Attempt(first, AttemptEvent::Failed(failure, Usage::default())), START).unwrap();
    assert_eq!(generation.cost.held, MicroUsd(60), "the next model gets what is left");
    let second = generation.open_attempt().unwrap().id;
    let costly = Usage { charged: Some(MicroUsd(100)), ..Usage::default() };
    let outputs = vec![output(generation.id)];
    generation.apply(&Event::Attempt(second, AttemptEvent::Submitting(SubmitKey::fresh())), START).unwrap();
    generation.apply(&Event::Attempt(second, AttemptEvent::Stored(outputs, costly)), START).unwrap();
    let cost = &generation.cost;
    assert_eq!((cost.settled, cost.absorbed, cost.held), (Some(MicroUsd(60)), MicroUsd(40), MicroUsd::ZERO));
}

#[test]
fn what_an_heir_takes_over_beyond_its_own_quote_the_operator_bears() {
    let mut leader = drafted(1);
    let first = leader.open_attempt().unwrap().id;
    for event in [AttemptEvent::Submitting(SubmitKey::fresh()), AttemptEvent::AnswerLost("x".into())] {
        leader.apply(&Event::Attempt(first, event), START).unwrap();
    }
    leader.apply(&Event::Resolved(Resolution::Resubmit), START).unwrap();
    leader.apply(&Event::Learned(first, Charged::Yes, Usage::default()), START).unwrap();
    assert_eq!(leader.attempts[0].settled, Some(MicroUsd(70)));
    let mut heir = drafted(1);
    heir.bind_quote(MicroUsd(60));
    heir.share_job_of(leader.id);
    leader.hand_over(&mut heir, HandOver::Cancelled, START).unwrap();
    let second = heir.open_attempt().unwrap().id;
    assert_eq!(
        (heir.attempts[0].settled, heir.cost.held, heir.cost.absorbed),
        (Some(MicroUsd(60)), MicroUsd::ZERO, MicroUsd(10))
    );
    heir.apply(&Event::Attempt(second, AttemptEvent::Submitting(SubmitKey::fresh())), START).unwrap();
    let outputs = vec![output(heir.id)];
    heir.apply(&Event::Attempt(second, AttemptEvent::Stored(outputs, Usage::default())), START).unwrap();
    assert_eq!((heir.cost.settled, heir.cost.absorbed), (Some(MicroUsd(60)), MicroUsd(80)));
}

#[test]
fn no_vendor_makes_an_order_earn_money() {
    let mut generation = drafted(1);
    let attempt = generation.open_attempt().unwrap().id;
    let odd = Usage { charged: Some(MicroUsd(-90)), ..Usage::default() };
    let outputs = vec![output(generation.id)];
    generation.apply(&Event::Attempt(attempt, AttemptEvent::Submitting(SubmitKey::fresh())), START).unwrap();
    generation.apply(&Event::Attempt(attempt, AttemptEvent::Stored(outputs, odd)), START).unwrap();
    assert_eq!(generation.cost.settled, Some(MicroUsd::ZERO));
}

#[test]
fn a_model_that_is_barred_is_not_tried_and_the_history_says_why() {
    let mut generation = drafted(2);
    let first = generation.open_attempt().unwrap().id;
    let failure = Failure::new(FailureReason::ProviderJobFailed, FailurePhase::Provider, Charged::No, "broken");
    let event = Event::Attempt(first, AttemptEvent::Failed(failure, Usage::default()));
    let Ok(Applied::Changed(entries)) = generation.apply_barred(&event, START, Some("over budget team")) else {
        panic!("no entry")
    };
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((entry.state, entry.message.as_str()), (State::Failed, "broken; over budget team"));
    assert_eq!(generation.attempts.len(), 1);
}
