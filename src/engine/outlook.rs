//! What was seen of models and providers lately: how long jobs took here, and who takes no work now. Routes and estimates of time go by it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tracing::debug;

use super::{Engine, gate::Gate};
use crate::{
    domain::{
        attempt::AttemptOutcome,
        generation::Generation,
        names::{ModelName, ProviderId},
        route::Outlook,
    },
    lifecycle::{OnFailure, OnShutdown, Policy},
    provider::registry::Registry,
};

/// Jobs of a model that count, the latest ones.
const LATEST: usize = 20;
/// Fewer say nothing.
const ENOUGH: usize = 3;
/// How many successes are read back at the start, and from a shared store now and then.
const READ_BACK: usize = 500;
/// How often those of other processes are read.
const PACE: Duration = Duration::from_mins(1);

/// What is known now.
#[derive(Debug)]
pub(super) struct Seen {
    registry: Arc<Registry>,
    gates: BTreeMap<ProviderId, Arc<Gate>>,
    times: Mutex<HashMap<ModelName, VecDeque<Duration>>>,
}

impl Seen {
    pub(super) fn new(registry: Arc<Registry>, gates: BTreeMap<ProviderId, Arc<Gate>>) -> Self {
        Self { registry, gates, times: Mutex::default() }
    }

    /// A generation ended: if a job of its own succeeded, that took its time.
    pub(super) fn note(&self, generation: &Generation) {
        if let Some((model, time)) = time_of(generation) {
            let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
            let times = times.entry(model).or_default();
            times.push_back(time);
            if times.len() > LATEST {
                times.pop_front();
            }
        }
    }

    /// All that is known is this, newest first.
    fn replace(&self, latest: &[Generation]) {
        let mut read: HashMap<ModelName, VecDeque<Duration>> = HashMap::new();
        for (model, time) in latest.iter().filter_map(time_of) {
            let times = read.entry(model).or_default();
            if times.len() < LATEST {
                times.push_front(time);
            }
        }
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = read;
    }
}

impl Outlook for Seen {
    fn usual_time(&self, model: &ModelName) -> Option<Duration> {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let times = times.get(model).filter(|times| times.len() >= ENOUGH)?;
        let mut sorted: Vec<Duration> = times.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get((sorted.len() - 1) / 2).copied()
    }

    fn rests(&self, provider: &ProviderId) -> bool {
        self.registry.get(provider).is_some_and(|provider| provider.rests())
    }

    fn takes_work(&self, model: &ModelName) -> bool {
        self.gates.get(&model.provider).is_some_and(|gate| gate.is_free(model)) && !self.rests(&model.provider)
    }
}

/// How long the job behind a success took, from the provider's ticket to the stored outputs; none if the answer was another's.
fn time_of(generation: &Generation) -> Option<(ModelName, Duration)> {
    let attempt = generation.attempts.last().filter(|attempt| attempt.outcome == AttemptOutcome::Succeeded)?;
    let (started, ended) = (generation.started_at?, generation.ended_at?);
    Some((attempt.model.clone(), Duration::try_from(ended.duration_since(started)).ok()?))
}

impl Engine {
    /// Reads how long jobs took before the start; of a shared store now and then, for others' jobs count as well.
    pub(super) fn start_measuring(&self) {
        let policy = Policy { on_shutdown: OnShutdown::Abort, on_failure: OnFailure::Log };
        let engine = self.clone();
        self.0.parts.tasks.spawn("measure", policy, async move {
            loop {
                match engine.store().latest_successes(READ_BACK).await {
                    Ok(latest) => engine.0.seen.replace(&latest),
                    // Until then what was seen here and what the cards expect is good enough.
                    Err(error) => debug!(error = ?error, "how long jobs took cannot be read now"),
                }
                if !engine.store().is_shared() {
                    return;
                }
                tokio::time::sleep(PACE).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::life::tests::{START, drafted};

    fn took(seconds: i64) -> Generation {
        let mut generation = drafted(1);
        generation.attempts[0].outcome = AttemptOutcome::Succeeded;
        generation.started_at = Some(START);
        generation.ended_at = Some(START + SignedDuration::from_secs(seconds));
        generation
    }

    fn usual(seen: &Seen) -> Option<u64> {
        seen.usual_time(&"sample/model-0".parse().unwrap()).map(|time| time.as_secs())
    }

    #[test]
    fn the_median_of_the_latest_successes_counts_once_there_are_three() {
        let seen = Seen::new(Arc::default(), BTreeMap::new());
        for (seconds, expected) in [(9, None), (1, None), (5, Some(5)), (7, Some(5)), (6, Some(6))] {
            seen.note(&took(seconds));
            assert_eq!(usual(&seen), expected);
        }
        (0..LATEST).for_each(|_| seen.note(&took(60)));
        assert_eq!(usual(&seen), Some(60), "what was long ago is forgotten");
        seen.note(&Generation { attempts: Vec::new(), ..took(1) });
        seen.replace(&[took(2), took(3), took(4)]);
        assert_eq!(usual(&seen), Some(3));
    }
}
