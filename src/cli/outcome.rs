//! What became of a generation, in words and as an exit code.

use super::{
    exit::Exit,
    failure::Failure,
    progress::state_word,
    terminal::{Format, Terminal},
    text,
};
use crate::pb::v1::{Charged, Cost, ErrorReason, Generation, State};

/// The provider of stand-ins.
const SAMPLE: &str = "sample";

/// The exit code for a generation that is followed no further.
pub(super) fn exit(state: State) -> Exit {
    match state {
        State::Failed => Exit::Failed,
        State::Unresolved => Exit::Unresolved,
        State::Cancelled => Exit::Cancelled,
        State::Unspecified | State::Queued | State::Running | State::Storing | State::Cancelling | State::Succeeded => {
            Exit::Ok
        }
    }
}

/// Tells how `generation` ended. Programs have its last snapshot already, so nothing is said to them.
pub(super) fn tell(terminal: &mut Terminal, generation: &Generation) -> Result<Exit, Failure> {
    if terminal.format == Format::Text {
        terminal.line(&summary(generation))?;
    }
    Ok(exit(generation.state()))
}

/// A few lines: what happened, what it cost, what to do now.
fn summary(generation: &Generation) -> String {
    let mut lines = Vec::new();
    match generation.state() {
        State::Failed => lines.push(failed(generation)),
        State::Unresolved => lines.push(unresolved(generation)),
        state @ (State::Unspecified
        | State::Queued
        | State::Running
        | State::Storing
        | State::Cancelling
        | State::Succeeded
        | State::Cancelled) => {
            lines.push(format!("{} {}", generation.name, state_word(state)));
        }
    }
    if generation.sample {
        let because = &generation.provider_error;
        let because = if because.is_empty() { String::new() } else { format!(" (instead of: {because})") };
        lines.push(format!("  SAMPLE: a stand-in, not generated for this prompt{because}"));
    }
    for adjustment in &generation.adjustments {
        let used = if adjustment.used.is_empty() { "left out" } else { &adjustment.used };
        lines.push(format!("  {}: {} asked, {used} used: {}", adjustment.field, adjustment.asked, adjustment.why));
    }
    if !generation.model.is_empty() {
        lines.push(format!("  model: {}", generation.model));
    }
    let time = text::duration(generation.generation_time.as_ref());
    if !time.is_empty() {
        lines.push(format!("  took: {time}"));
    }
    lines.push(format!("  cost: {}", cost(generation)));
    let expired = text::time(generation.expire_time.as_ref());
    if !expired.is_empty() {
        lines.push(format!("  expired: {expired}; its files are gone"));
    }
    lines.join("\n")
}

fn failed(generation: &Generation) -> String {
    let Some(failure) = &generation.failure else {
        return format!("{} failed", generation.name);
    };
    let mut text = format!("{} failed: {} ({})", generation.name, failure.message, reason_word(failure.reason()));
    let optional = [("phase", &failure.phase), ("provider", &failure.provider), ("field", &failure.field)];
    for (label, value) in optional.into_iter().filter(|(_, value)| !value.is_empty()) {
        text += &format!("\n  {label}: {value}");
    }
    text += &format!("\n  charged: {}", charged_word(failure.charged()));
    if !failure.next_step.is_empty() {
        text += &format!("\n  what to do: {}", failure.next_step);
    }
    if failure.retryable {
        text += "\n  the same request may well succeed later";
    }
    text
}

fn unresolved(generation: &Generation) -> String {
    let name = &generation.name;
    let request = if asks_sample(generation) { "the request" } else { "a paid request" };
    let mut text = format!("{name} is unresolved: it is unknown what became of {request}");
    if let Some(unresolved) = &generation.unresolved {
        text += &format!("\n  {} ({})", unresolved.message, reason_word(unresolved.reason()));
        let give_up = text::time(unresolved.give_up_time.as_ref());
        if !give_up.is_empty() {
            text += &format!("\n  the provider is asked further until {give_up}; a late result is delivered");
        }
    }
    let warning = if asks_sample(generation) { "" } else { "\n  do not order it again: it may be paid twice" };
    text += &format!(
        "{warning}\n  wait for it:   filmgate watch {name} --until-end\n  give it up:    filmgate resolve {name} --as failed\n  send it again: filmgate resolve {name} --as resubmit"
    );
    text
}

/// Nothing is ever paid to the sample provider.
fn asks_sample(generation: &Generation) -> bool {
    generation.model.split_once('/').is_some_and(|(provider, _)| provider == SAMPLE)
}

/// What it cost, or will probably cost.
pub(super) fn cost(generation: &Generation) -> String {
    let cost = generation.cost.unwrap_or_default();
    let Cost { estimated_micro_usd, held_micro_usd, settled_micro_usd, saved_micro_usd, .. } = cost;
    let mut text = match (settled_micro_usd, estimated_micro_usd) {
        (Some(settled), _) => text::dollars(settled),
        (None, Some(estimated)) => format!("about {}", text::dollars(estimated)),
        (None, None) => "unknown".to_owned(),
    };
    if held_micro_usd > 0 {
        text += &format!(", {} set aside", text::dollars(held_micro_usd));
    }
    let further = [(cost.suspense_micro_usd, "in suspense"), (cost.absorbed_micro_usd, "absorbed beyond the quote")];
    for (amount, where_it_is) in further.into_iter().filter(|(amount, _)| *amount > 0) {
        text += &format!(", {} {where_it_is}", text::dollars(amount));
    }
    if generation.cached || generation.coalesced {
        let how = if generation.cached { "an earlier result" } else { "shared with an identical order" };
        // What has no price may have cost something all the same.
        let is_known = estimated_micro_usd.is_some() || saved_micro_usd > 0;
        let saved =
            if is_known { format!("saved {}", text::dollars(saved_micro_usd)) } else { "saved: unknown".to_owned() };
        text += &format!(", {how}, {saved}");
    }
    text
}

/// The reason as in the contract, without its prefix.
pub(super) fn reason_word(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// `no`, `yes`, `unknown`.
pub(super) fn charged_word(charged: Charged) -> &'static str {
    match charged {
        Charged::No => "no",
        Charged::Yes => "yes",
        Charged::Unspecified | Charged::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::v1::{Adjustment, Failure as RunFailure};

    #[test]
    fn every_state_ends_with_its_own_code() {
        let table = [
            (State::Succeeded, Exit::Ok),
            (State::Failed, Exit::Failed),
            (State::Unresolved, Exit::Unresolved),
            (State::Cancelled, Exit::Cancelled),
        ];
        for (state, expected) in table {
            assert_eq!(exit(state), expected, "{state:?}");
        }
    }

    #[test]
    fn a_sample_and_every_adjustment_are_told() {
        let generation = Generation {
            name: "generations/1".to_owned(),
            state: State::Succeeded.into(),
            sample: true,
            provider_error: "out of credit".to_owned(),
            adjustments: vec![Adjustment {
                field: "options.fps".to_owned(),
                asked: "25".to_owned(),
                used: "24".to_owned(),
                why: "allowed: 24".to_owned(),
            }],
            cost: Some(Cost { settled_micro_usd: Some(0), ..Cost::default() }),
            ..Generation::default()
        };
        assert_eq!(
            summary(&generation),
            "generations/1 succeeded\n  SAMPLE: a stand-in, not generated for this prompt (instead of: out of credit)\n  \
             options.fps: 25 asked, 24 used: allowed: 24\n  cost: $0.00"
        );
    }

    #[test]
    fn a_failure_tells_reason_charge_and_next_step() {
        let generation = Generation {
            name: "generations/1".to_owned(),
            state: State::Failed.into(),
            failure: Some(RunFailure {
                reason: ErrorReason::ProviderRefusedContent.into(),
                message: "refused".to_owned(),
                charged: Charged::No.into(),
                next_step: "change the prompt".to_owned(),
                ..RunFailure::default()
            }),
            ..Generation::default()
        };
        assert_eq!(
            summary(&generation),
            "generations/1 failed: refused (PROVIDER_REFUSED_CONTENT)\n  charged: no\n  what to do: change the prompt\n  cost: unknown"
        );
    }

    #[test]
    fn a_saving_is_told() {
        let generation = Generation {
            cached: true,
            cost: Some(Cost {
                estimated_micro_usd: Some(250_000),
                settled_micro_usd: Some(0),
                saved_micro_usd: 250_000,
                ..Cost::default()
            }),
            ..Generation::default()
        };
        assert_eq!(cost(&generation), "$0.00, an earlier result, saved $0.25");
        let unpriced = Generation {
            coalesced: true,
            cost: Some(Cost { settled_micro_usd: Some(0), ..Cost::default() }),
            ..Generation::default()
        };
        assert_eq!(cost(&unpriced), "$0.00, shared with an identical order, saved: unknown");
    }

    #[test]
    fn what_has_expired_says_so() {
        let generation = Generation {
            name: "generations/1".to_owned(),
            state: State::Succeeded.into(),
            expire_time: Some(prost_types::Timestamp { seconds: 86_400, nanos: 0 }),
            ..Generation::default()
        };
        let told = summary(&generation);
        assert!(told.ends_with("\n  expired: 1970-01-02 00:00:00Z; its files are gone"), "{told}");
    }

    #[test]
    fn only_who_could_pay_twice_is_warned_of_it() {
        let of = |model: &str| Generation {
            name: "generations/1".to_owned(),
            state: State::Unresolved.into(),
            model: model.to_owned(),
            ..Generation::default()
        };
        assert!(summary(&of("replicate/minimax/video-01")).contains("paid twice"));
        let sample = summary(&of("sample/video"));
        assert!(!sample.contains("paid") && sample.contains("filmgate resolve generations/1"), "{sample}");
    }
}
