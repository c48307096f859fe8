//! From what we know to what the wire says. Every function here is pure and cannot fail.

mod callback;
mod chat;
mod estimate;
mod models;
mod money;
mod spec;
#[cfg(test)]
mod tests;
mod values;

pub(super) use callback::callback;
pub use callback::generation_json;
pub(super) use chat::{chat_model, chat_start, optimized, said};
pub(super) use estimate::estimates;
pub(super) use models::{model, provider, route};
pub(super) use money::{budget, ledger_entry, usage};

use crate::{
    domain::{
        artifact::{Artifact, Kind},
        attempt::{Attempt, AttemptOutcome},
        failure::{Charged, Failure, FailureReason, UnresolvedReason},
        generation::{Cost, Generation, HistoryEvent, State, Unresolved},
        order::Adjustment,
        session::{Message, Role, Session},
    },
    engine::view::View,
    pb::v1,
};
use values::{count, timestamp};
pub(super) use values::{duration, value_of};

/// How much of a generation is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// All of it.
    Full,
    /// Without brief and logs, for lists.
    Row,
}

/// A generation as its caller sees it.
pub(super) fn generation(view: &View, detail: Detail) -> v1::Generation {
    let record = &*view.generation;
    let shown = Shown::of(view);
    let candidate = record.candidate();
    let in_full = |text: &str| match detail {
        Detail::Full => text.to_owned(),
        Detail::Row => String::new(),
    };
    v1::Generation {
        name: record.id.to_string(),
        session: record.session.to_string(),
        state: state(shown.state).into(),
        phase: shown.phase.to_owned(),
        sequence: count(record.sequence),
        progress_percent: shown.progress_percent.map(u32::from),
        queue_position: view.queue_position,
        eta: view.eta.map(timestamp),
        model: candidate.map(|candidate| candidate.model.to_string()).unwrap_or_default(),
        attempts: record.attempts.iter().map(attempt).collect(),
        adjustments: candidate
            .map(|candidate| candidate.adjustments.iter().map(adjustment).collect())
            .unwrap_or_default(),
        cost: Some(cost(&record.cost)),
        artifacts: record.artifacts.iter().map(artifact).collect(),
        sample: record.is_sample(),
        cached: record.cached_from.is_some(),
        coalesced: record.coalesced,
        brief: in_full(&record.brief),
        provider_logs: in_full(&record.provider_logs),
        create_time: Some(timestamp(record.created_at)),
        start_time: record.started_at.or(shown.started_at).map(timestamp),
        end_time: record.ended_at.map(timestamp),
        update_time: Some(timestamp(record.updated_at)),
        deadline: Some(timestamp(record.deadline)),
        generation_time: generation_time(record).map(duration),
        failure: record.failure.as_ref().filter(|_| shown.state == State::Failed).map(failure),
        unresolved: record
            .unresolved
            .as_ref()
            .filter(|_| shown.state == State::Unresolved)
            .map(|unknown| unresolved(unknown, view)),
        labels: record.labels.clone(),
        request_id: record.request_id.as_ref().map(|id| id.id().to_owned()).unwrap_or_default(),
        provider_error: record.provider_error.clone().unwrap_or_default(),
        expire_time: record.expired_at.map(timestamp),
        spec: Some(spec::of(record, candidate)),
    }
}

/// From acceptance to success; absent unless it succeeded.
pub(super) fn generation_time(record: &Generation) -> Option<std::time::Duration> {
    record.elapsed().filter(|_| record.state == State::Succeeded)
}

/// An entry of a generation's history.
pub(super) fn event(event: &HistoryEvent) -> v1::GenerationEvent {
    v1::GenerationEvent {
        number: count(event.number),
        create_time: Some(timestamp(event.at)),
        r#type: event.what.clone(),
        state: state(event.state).into(),
        message: event.message.clone(),
        sequence: count(event.sequence),
    }
}

/// Stored bytes with their facts.
pub(super) fn artifact(artifact: &Artifact) -> v1::Artifact {
    let facts = &artifact.facts;
    v1::Artifact {
        name: artifact.id.to_string(),
        kind: kind(artifact.kind).into(),
        media_type: facts.media_type.clone(),
        size_bytes: count(artifact.size),
        sha256: artifact.sha256.clone(),
        duration: facts.duration.map(duration),
        width: facts.width,
        height: facts.height,
        fps: facts.fps,
        codecs: facts.codecs.clone(),
        sample: artifact.sample,
        generation: artifact.generation.map(|id| id.to_string()).unwrap_or_default(),
        create_time: Some(timestamp(artifact.created_at)),
        http_path: format!("/artifacts/{}", artifact.id.id()),
    }
}

/// A conversation without its messages.
pub(super) fn session(session: &Session) -> v1::Session {
    v1::Session {
        name: session.id.to_string(),
        create_time: Some(timestamp(session.created_at)),
        update_time: Some(timestamp(session.updated_at)),
        n_messages: count(session.n_messages),
    }
}

/// A message of a session.
pub(super) fn message(message: &Message) -> v1::Message {
    let role = match message.role {
        Role::User => v1::Role::User,
        Role::Assistant => v1::Role::Assistant,
        Role::System => v1::Role::System,
    };
    v1::Message {
        role: role.into(),
        text: message.text.clone(),
        meta: Some(values::structure(&message.meta)),
        create_time: Some(timestamp(message.created_at)),
        generation: message.generation.map(|id| id.to_string()).unwrap_or_default(),
        chat: message.chat.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// What is shown of a life that may be another's: a generation that shares a job has nothing to tell of its own.
struct Shown<'a> {
    state: State,
    phase: &'a str,
    progress_percent: Option<u8>,
    started_at: Option<jiff::Timestamp>,
}

impl<'a> Shown<'a> {
    fn of(view: &'a View) -> Self {
        let own = &*view.generation;
        let leader = view.leader.as_deref().filter(|leader| !own.state.is_terminal() && !leader.state.is_terminal());
        let record = leader.unwrap_or(own);
        let state = match (record.state, leader) {
            // Whether the leader's caller cancels it, or what became of it is unknown, is not this one's state: it goes on either way.
            (State::Cancelling | State::Unresolved, Some(_)) => State::Running,
            (state, _) => state,
        };
        Self { state, phase: &record.phase, progress_percent: record.progress_percent, started_at: record.started_at }
    }
}

fn attempt(attempt: &Attempt) -> v1::Attempt {
    let outcome = match attempt.outcome {
        AttemptOutcome::Open => v1::AttemptOutcome::Open,
        AttemptOutcome::Succeeded => v1::AttemptOutcome::Succeeded,
        AttemptOutcome::Failed => v1::AttemptOutcome::Failed,
        AttemptOutcome::Cancelled => v1::AttemptOutcome::Cancelled,
        AttemptOutcome::Unknown => v1::AttemptOutcome::Unknown,
    };
    v1::Attempt {
        model: attempt.model.to_string(),
        outcome: outcome.into(),
        charged: attempt.charged.map_or(v1::Charged::Unspecified, charged).into(),
        provider_job_id: attempt.ticket.as_ref().map(|ticket| ticket.job.clone()).unwrap_or_default(),
        message: attempt.message.clone(),
        create_time: Some(timestamp(attempt.created_at)),
        end_time: attempt.ended_at.map(timestamp),
        settled_micro_usd: attempt.settled.map(|amount| amount.0),
        reason: attempt.reason.map_or(v1::ErrorReason::Unspecified, failure_reason).into(),
    }
}

/// A value that was changed to what the model can do.
pub(super) fn adjustment(adjustment: &Adjustment) -> v1::Adjustment {
    let Adjustment { field, asked, used, why } = adjustment.clone();
    v1::Adjustment { field, asked, used, why }
}

fn cost(cost: &Cost) -> v1::Cost {
    v1::Cost {
        estimated_micro_usd: cost.estimated.map(|amount| amount.0),
        held_micro_usd: cost.held.0,
        settled_micro_usd: cost.settled.map(|amount| amount.0),
        saved_micro_usd: cost.saved.0,
        suspense_micro_usd: cost.suspense.0,
        absorbed_micro_usd: cost.absorbed.0,
        quoted_micro_usd: cost.quoted.map(|amount| amount.0),
    }
}

fn failure(failure: &Failure) -> v1::Failure {
    v1::Failure {
        reason: failure_reason(failure.reason).into(),
        phase: failure.phase.as_str().to_owned(),
        message: failure.message.clone(),
        provider: failure.provider.as_ref().map(ToString::to_string).unwrap_or_default(),
        field: failure.field.clone().unwrap_or_default(),
        retryable: failure.retryable,
        charged: charged(failure.charged).into(),
        next_step: failure.reason.next_step().to_owned(),
    }
}

fn unresolved(unresolved: &Unresolved, view: &View) -> v1::Unresolved {
    let reason = match unresolved.reason {
        UnresolvedReason::SubmitAnswerLost => v1::ErrorReason::SubmitAnswerLost,
        UnresolvedReason::NoProviderJobId => v1::ErrorReason::NoProviderJobId,
        UnresolvedReason::DeadlinePassed => v1::ErrorReason::DeadlinePassed,
        UnresolvedReason::TicketUnknown => v1::ErrorReason::TicketUnknown,
        UnresolvedReason::ProviderSilent => v1::ErrorReason::ProviderSilent,
    };
    v1::Unresolved {
        reason: reason.into(),
        message: unresolved.message.clone(),
        since_time: Some(timestamp(unresolved.since)),
        give_up_time: view.generation.give_up_at(view.unresolved_for).map(timestamp),
    }
}

fn state(state: State) -> v1::State {
    match state {
        State::Queued => v1::State::Queued,
        State::Running => v1::State::Running,
        State::Storing => v1::State::Storing,
        State::Cancelling => v1::State::Cancelling,
        State::Unresolved => v1::State::Unresolved,
        State::Succeeded => v1::State::Succeeded,
        State::Failed => v1::State::Failed,
        State::Cancelled => v1::State::Cancelled,
    }
}

fn kind(kind: Kind) -> v1::Kind {
    match kind {
        Kind::Video => v1::Kind::Video,
        Kind::Image => v1::Kind::Image,
        Kind::Speech => v1::Kind::Speech,
        Kind::Music => v1::Kind::Music,
    }
}

fn charged(charged: Charged) -> v1::Charged {
    match charged {
        Charged::No => v1::Charged::No,
        Charged::Yes => v1::Charged::Yes,
        Charged::Unknown => v1::Charged::Unknown,
    }
}

/// The reason of a failure in the contract.
pub(super) fn failure_reason(reason: FailureReason) -> v1::ErrorReason {
    use v1::ErrorReason as Wire;
    match reason {
        FailureReason::ProviderInvalidOrder => Wire::ProviderInvalidOrder,
        FailureReason::ProviderRefusedContent => Wire::ProviderRefusedContent,
        FailureReason::ProviderUnauthenticated => Wire::ProviderUnauthenticated,
        FailureReason::ProviderOutOfCredit => Wire::ProviderOutOfCredit,
        FailureReason::ProviderModelNotFound => Wire::ProviderModelNotFound,
        FailureReason::ProviderUnreachable => Wire::ProviderUnreachable,
        FailureReason::ProviderOverloaded => Wire::ProviderOverloaded,
        FailureReason::ProviderProtocol => Wire::ProviderProtocol,
        FailureReason::NoProviderJobId => Wire::NoProviderJobId,
        FailureReason::ProviderJobFailed => Wire::ProviderJobFailed,
        FailureReason::ProviderJobCancelled => Wire::ProviderJobCancelled,
        FailureReason::NoDownloadableOutput => Wire::NoDownloadableOutput,
        FailureReason::ArtifactInvalid => Wire::ArtifactInvalid,
        FailureReason::ArtifactTooLarge => Wire::ArtifactTooLarge,
        FailureReason::ArtifactLost => Wire::ArtifactLost,
        FailureReason::DeadlineExceeded => Wire::DeadlineExceeded,
        FailureReason::UnresolvedExpired => Wire::UnresolvedExpired,
        FailureReason::ResolvedByPerson => Wire::ResolvedByPerson,
    }
}
