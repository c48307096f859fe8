//! What must be true after all deaths: every order is there, told without gaps, made at most once, and its bytes are whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use filmgate::pb::v1::{Charged, ErrorReason, Generation, Resolution, State};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Round, SHORT};
use crate::support::{
    acts::reason,
    server::{Server, is_terminal},
};

/// Longest wait for everything that can be known at a healthy vendor.
const SETTLED: Duration = Duration::from_secs(60);

impl Round {
    pub(super) async fn audit(&mut self, server: Server) {
        self.simulator.control("release", json!({})).await;
        for index in 0..self.orders.len() {
            assert!(self.order(&server, index).await.is_ok(), "order {index} is refused");
        }
        let ordered: BTreeSet<String> = self.names.values().cloned().collect();
        assert_eq!(server.names().await.into_iter().collect::<BTreeSet<_>>(), ordered);
        let settled = self.settled(&server).await;
        self.check(&server, &settled).await;

        // A person ends what is unknown. All that share such a job end with it.
        for generation in settled.iter().filter(|generation| generation.state() == State::Unresolved) {
            self.decide(&server, generation).await;
        }
        let settled = self.settled(&server).await;
        let left = |generation: &&Generation| generation.state() == State::Unresolved;
        assert_eq!(settled.iter().find(left).map(|generation| &generation.name), None);
        self.check(&server, &settled).await;
    }

    async fn decide(&mut self, server: &Server, generation: &Generation) {
        let decision = if self.random.bool() { Resolution::Failed } else { Resolution::Resubmit };
        match server.resolve(&generation.name, decision).await {
            Ok(_) => self.n_resubmitted += usize::from(decision == Resolution::Resubmit),
            // It was found in the meantime.
            Err(refused) => assert_eq!(reason(&refused), "GENERATION_NOT_UNRESOLVED", "{generation:?}"),
        }
    }

    /// Every generation, once nothing more can become known by itself.
    async fn settled(&self, server: &Server) -> Vec<Generation> {
        let end = Instant::now() + SETTLED;
        loop {
            let mut all = Vec::new();
            for name in self.names.values() {
                all.push(server.get(name).await);
            }
            let Some(moving) = all.iter().find(|generation| !is_settled(generation, &all)) else { return all };
            let log = || server.setup().log();
            assert!(Instant::now() < end, "it does not settle: {moving:?}\n{}", log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn check(&self, server: &Server, all: &[Generation]) {
        let made = self.simulator.predictions().await;
        let prompt_of: BTreeMap<&str, &str> =
            made.iter().map(|made| (made["id"].as_str().unwrap(), made["input"]["prompt"].as_str().unwrap())).collect();
        let (mut n_orders, mut n_intents) = (BTreeMap::<&str, usize>::new(), BTreeMap::<&str, usize>::new());
        let mut jobs = BTreeSet::new();
        for generation in all {
            let name = &generation.name;
            let events = server.events(name).await;
            let numbers: Vec<i64> = events.iter().map(|event| event.number).collect();
            assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>(), "{name}: gaps in its history");
            assert!(events.is_sorted_by_key(|event| event.sequence), "{name}: {events:?}");
            if is_terminal(generation) {
                assert_eq!(events.last().unwrap().state(), generation.state(), "{name}");
            }
            let brief = generation.brief.as_str();
            *n_orders.entry(brief).or_default() += 1;
            *n_intents.entry(brief).or_default() += events.iter().filter(|event| event.r#type == "submitting").count();
            for job in generation.attempts.iter().map(|attempt| attempt.provider_job_id.as_str()) {
                if !job.is_empty() {
                    assert_eq!(prompt_of.get(job), Some(&brief), "{name} has somebody else's job");
                    assert!(jobs.insert(job.to_owned()), "{name} has a job that another has, too");
                }
            }
            money_fits(generation);
            for artifact in &generation.artifacts {
                assert_eq!(server.sha256_of(artifact).await, artifact.sha256, "{name}");
            }
            assert_eq!(generation.artifacts.len(), usize::from(generation.state() == State::Succeeded), "{name}");
        }
        let mut n_made = BTreeMap::<&str, usize>::new();
        for prompt in prompt_of.values() {
            *n_made.entry(prompt).or_default() += 1;
        }
        for (prompt, n_made) in n_made {
            assert!(n_made <= n_intents[prompt], "{prompt:?}: {n_made} made, {} intended", n_intents[prompt]);
            let most = n_orders[prompt] + self.n_resubmitted;
            assert!(n_made <= most, "{prompt:?}: {n_made} made for {} orders", n_orders[prompt]);
        }
    }
}

/// Money is held exactly while it is open, by whoever has the job.
fn money_fits(generation: &Generation) {
    let cost = generation.cost.unwrap();
    let holds = !is_terminal(generation) && !generation.attempts.is_empty();
    assert_eq!(cost.held_micro_usd, if holds { 250_000 } else { 0 }, "{generation:?}");
    if generation.state() == State::Failed {
        let expected = [
            ErrorReason::ProviderJobFailed,
            ErrorReason::ProviderJobCancelled,
            ErrorReason::ProviderInvalidOrder,
            ErrorReason::NoDownloadableOutput,
            ErrorReason::ArtifactInvalid,
            ErrorReason::DeadlineExceeded,
            ErrorReason::ResolvedByPerson,
        ];
        let failure = generation.failure.as_ref().unwrap();
        // Who must be done soon may be kept back by the vendor until it is too late.
        let was_kept_back = failure.reason() == ErrorReason::ProviderOverloaded
            && failure.charged() == Charged::No
            && generation.brief.contains(SHORT);
        assert!(was_kept_back || expected.contains(&failure.reason()), "{generation:?}");
    }
}

/// It has ended, or only a person or much time can end it.
fn is_settled(generation: &Generation, all: &[Generation]) -> bool {
    let has_job = generation.attempts.last().is_some_and(|attempt| !attempt.provider_job_id.is_empty());
    let may_be_stuck = generation.brief.contains(SHORT);
    match generation.state() {
        State::Succeeded | State::Failed | State::Cancelled => true,
        State::Unresolved => !has_job || may_be_stuck,
        State::Cancelling => !has_job || may_be_stuck,
        State::Queued | State::Running | State::Storing | State::Unspecified => {
            // It shares the job of one that is settled and not over.
            let leads = |other: &Generation| other.brief == generation.brief && !other.attempts.is_empty();
            let shares = generation.coalesced && generation.attempts.is_empty();
            shares && all.iter().any(|other| leads(other) && !is_terminal(other) && is_settled(other, all))
        }
    }
}
