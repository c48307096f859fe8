//! Which models can honour a request, and what they say against it.

use super::{Violations, estimate};
use crate::{
    domain::{
        catalog::{Asked, Catalog, NoCandidate},
        order::{Candidate, Violation},
    },
    door::refusal::Refusal,
};

/// Whether a request may leave out a prompt that its model needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prompt {
    /// It may not, unless the model goes without.
    Needed,
    /// For a price that does not depend on it.
    Optional,
}

/// The models that can honour what is asked; none, with what is wrong added to `violations`, if none can.
pub(super) fn candidates(
    catalog: &Catalog,
    asked: &Asked<'_>,
    need: Prompt,
    violations: &mut Violations,
) -> Result<Vec<Candidate>, Refusal> {
    let found = match need {
        Prompt::Optional if asked.prompt.is_empty() => {
            let attempts =
                estimate::stand_ins().map(|prompt| catalog.candidates(&Asked { prompt: &prompt, ..asked.clone() }));
            first_good(attempts)
        }
        Prompt::Optional | Prompt::Needed => catalog.candidates(asked),
    };
    match found {
        Ok(candidates) => {
            let undescribed = |candidate: &&Candidate| catalog.card(&candidate.model).is_none();
            if need == Prompt::Needed
                && asked.prompt.is_empty()
                && let Some(candidate) = candidates.iter().find(undescribed)
            {
                // No card says that it goes without.
                let why = format!("must not be blank: {} has no card", candidate.model);
                violations.0.insert(0, Violation::new("prompt", why));
            }
            Ok(candidates)
        }
        Err(NoCandidate::Violations(from_card)) => {
            violations.extend_from_card(asked.prompt, from_card);
            Ok(Vec::new())
        }
        // Wrong fields are told first: they are the caller's to correct, the provider is not.
        Err(NoCandidate::NotConfigured { .. }) if !violations.0.is_empty() => Ok(Vec::new()),
        Err(none @ NoCandidate::NotConfigured { .. }) => Err(none.into()),
    }
}

/// The first that found models, else what the first of all says.
fn first_good(
    attempts: impl Iterator<Item = Result<Vec<Candidate>, NoCandidate>>,
) -> Result<Vec<Candidate>, NoCandidate> {
    let mut refusal = None;
    for attempt in attempts {
        match attempt {
            Ok(candidates) => return Ok(candidates),
            Err(none) => drop(refusal.get_or_insert(none)),
        }
    }
    Err(refusal.unwrap_or_else(|| NoCandidate::Violations(Vec::new())))
}
