//! Everybody at once: several drivers with old copies, callers who cancel, deadlines, webhooks, persons, restarts and a clock that is set,
//! at generations that share a job. The records are kept as a store keeps them: as text, changed by one event at a time.

use std::collections::BTreeMap;

use super::*;
use crate::domain::{
    generation::HistoryEvent,
    ledger::{Account, movements},
};

const PRICE: MicroUsd = MicroUsd(70);

/// Something that somebody does. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Act {
    /// An identical order comes, perhaps with a quote, and shares the job.
    Join { quoted: Option<i64> },
    /// A driver reads a record, and knows it as it is now until it looks again.
    Look { driver: usize, at: usize },
    /// A driver tells what it believes to have happened to the attempt that it knows.
    Tell { driver: usize, event: AttemptEvent },
    /// A webhook tells again of a job of any attempt there ever was.
    Webhook { attempt: usize, job: usize },
    /// An event for a generation as a whole.
    Whole { at: usize, event: Event },
    /// It is learned what became of the money of any attempt there ever was.
    Learn { attempt: usize, charged: Charged },
    /// Housekeeping lets what has ended expire.
    Expire { at: usize },
}

fn act() -> impl Strategy<Value = Act> {
    let any = || 0..8_usize;
    let whole = prop_oneof![
        3 => Just(Event::CancelRequested),
        3 => Just(Event::DeadlinePassed),
        1 => Just(Event::GaveUp),
        1 => Just(Event::Resolved(Resolution::Failed)),
        2 => Just(Event::Resolved(Resolution::Resubmit)),
    ];
    prop_oneof![
        2 => proptest::option::of(0..150_i64).prop_map(|quoted| Act::Join { quoted }),
        6 => (any(), any()).prop_map(|(driver, at)| Act::Look { driver, at }),
        16 => (any(), attempt_event()).prop_map(|(driver, event)| Act::Tell { driver, event }),
        3 => (any(), any()).prop_map(|(attempt, job)| Act::Webhook { attempt, job }),
        4 => (any(), whole).prop_map(|(at, event)| Act::Whole { at, event }),
        1 => any().prop_map(|at| Act::Expire { at }),
        2 => (any(), prop_oneof![Just(Charged::No), Just(Charged::Yes), Just(Charged::Unknown)])
            .prop_map(|(attempt, charged)| Act::Learn { attempt, charged }),
    ]
}

/// What a store holds, and what was seen of it.
struct World {
    /// The records as text: whoever changes one has read it anew, as after a restart.
    records: Vec<String>,
    histories: BTreeMap<GenerationId, Vec<HistoryEvent>>,
    /// What each driver knows.
    copies: [Generation; 3],
    /// Every attempt that ever was, oldest first.
    attempts: Vec<AttemptId>,
    n_intents: usize,
    /// The balance of each account.
    ledger: BTreeMap<Account, i64>,
    /// Intents that were certainly without effect, attempts that certainly ended and led to another, and persons who said so.
    n_allowed: usize,
    now: Timestamp,
}

impl World {
    fn new(n_candidates: usize) -> Self {
        let first = drafted(n_candidates);
        let copies = [first.clone(), first.clone(), first.clone()];
        let mut world = Self {
            records: Vec::new(),
            histories: BTreeMap::new(),
            copies,
            attempts: Vec::new(),
            n_intents: 0,
            ledger: BTreeMap::new(),
            n_allowed: 1,
            now: START,
        };
        world.insert(first);
        world
    }

    fn insert(&mut self, mut generation: Generation) {
        let accepted = generation.record("accepted", String::new(), self.now);
        self.histories.insert(generation.id, vec![accepted]);
        self.attempts.extend(generation.attempts.iter().map(|attempt| attempt.id));
        self.book(None, &generation);
        self.records.push(serde_json::to_string(&generation).unwrap());
    }

    fn book(&mut self, before: Option<&Generation>, after: &Generation) {
        for movement in movements(before, after) {
            for account in [movement.from, movement.to] {
                *self.ledger.entry(account).or_default() += movement.change_of(account);
            }
        }
    }

    fn all(&self) -> Vec<Generation> {
        self.records.iter().map(|record| serde_json::from_str(record).unwrap()).collect()
    }

    fn find(&self, id: GenerationId) -> Generation {
        self.all().into_iter().find(|generation| generation.id == id).unwrap()
    }

    fn at(&self, index: usize) -> Generation {
        self.all().swap_remove(index % self.records.len())
    }

    fn act(&mut self, act: Act) -> Result<(), TestCaseError> {
        match act {
            Act::Join { quoted } => {
                let all = self.all();
                let open = |generation: &&Generation| {
                    let state = generation.state;
                    generation.leader.is_none() && !state.is_terminal() && state != State::Cancelling
                };
                if let Some(leader) = all.iter().find(open).filter(|_| all.len() < 6) {
                    let mut follower = drafted(1);
                    follower.candidates.clone_from(&leader.candidates);
                    if let Some(price) = quoted {
                        follower.bind_quote(MicroUsd(price));
                    }
                    follower.share_job_of(leader.id);
                    self.insert(follower);
                }
                Ok(())
            }
            Act::Look { driver, at } => {
                self.copies[driver % 3] = self.at(at);
                Ok(())
            }
            Act::Tell { driver, event } => {
                let copy = &self.copies[driver % 3];
                let Some(attempt) = copy.open_attempt() else { return Ok(()) };
                self.tell(copy.id, &Event::Attempt(attempt.id, event))
            }
            Act::Webhook { attempt, job } => {
                let attempt = self.attempts[attempt % self.attempts.len()];
                let owner =
                    self.all().into_iter().find(|generation| generation.attempts.iter().any(|a| a.id == attempt));
                let ticket = Ticket { account: "a".into(), job: format!("job {job}"), data: serde_json::Value::Null };
                let id = owner.map_or_else(|| self.at(0).id, |owner| owner.id);
                self.tell(id, &Event::Attempt(attempt, AttemptEvent::Accepted(ticket)))
            }
            Act::Learn { attempt, charged } => {
                let attempt = self.attempts[attempt % self.attempts.len()];
                let has = |generation: &Generation| generation.attempts.iter().any(|a| a.id == attempt);
                let Some(owner) = self.all().into_iter().find(has) else { return Ok(()) };
                self.tell(owner.id, &Event::Learned(attempt, charged, Usage::default()))
            }
            Act::Whole { at, event } => self.tell(self.at(at).id, &event),
            Act::Expire { at } => {
                let before = self.at(at);
                let mut after = before.clone();
                prop_assert_eq!(after.expire(self.now), before.state.is_terminal() && before.expired_at.is_none());
                prop_assert_eq!(
                    (after.state, after.ended_at, &after.cost),
                    (before.state, before.ended_at, &before.cost)
                );
                self.save(&before, after, &[])
            }
        }
    }

    /// As a store applies an event: to where the attempt went, handing over what others share, and ending who shares what ended.
    fn tell(&mut self, id: GenerationId, event: &Event) -> Result<(), TestCaseError> {
        let mut before = self.find(id);
        if matches!(event, Event::Attempt(..) | Event::Learned(..)) {
            while let Some(successor) = before.successor {
                before = self.find(successor);
            }
        }
        let followers: Vec<Generation> =
            self.all().into_iter().filter(|other| other.leader == Some(before.id)).collect();
        if let (Some(ending), [_, ..]) = (handing_over(&before, event, self.now), &followers[..]) {
            return self.hand_over(&before, &followers, ending);
        }
        let mut after = before.clone();
        let told = after.apply(event, self.now);
        check_step(&before, &after, event, &told)?;
        let Ok(Applied::Changed(entries)) = told else { return Ok(()) };
        self.count(&before, &after, event);
        let has_ended = after.state.is_terminal() && !before.state.is_terminal();
        let ended = has_ended.then(|| Event::LeaderEnded(Box::new(after.clone())));
        self.save(&before, after, &entries)?;
        for follower in followers.iter().filter(|_| ended.is_some()) {
            self.tell(follower.id, ended.as_ref().unwrap())?;
        }
        Ok(())
    }

    fn hand_over(
        &mut self,
        before: &Generation,
        followers: &[Generation],
        ending: HandOver,
    ) -> Result<(), TestCaseError> {
        let (mut leader, mut successor) = (before.clone(), followers[0].clone());
        let (ended, promoted) = leader.hand_over(&mut successor, ending, self.now).unwrap();
        prop_assert_eq!(leader.cost.held, MicroUsd::ZERO);
        if successor.cost.quoted.is_none() {
            prop_assert_eq!(&successor.attempts, &before.attempts);
        }
        let next = successor.id;
        self.save(before, leader, &[ended])?;
        self.save(&followers[0], successor, &[promoted])?;
        for follower in &followers[1..] {
            let mut after = follower.clone();
            after.follow(next, self.now);
            self.save(follower, after, &[])?;
        }
        Ok(())
    }

    /// Who sends a submit has stored an intent before; this counts those, and what makes another one right.
    fn count(&mut self, before: &Generation, after: &Generation, event: &Event) {
        match event {
            Event::Attempt(_, AttemptEvent::Submitting(_)) => self.n_intents += 1,
            Event::Attempt(_, AttemptEvent::Postponed(..)) => self.n_allowed += 1,
            Event::Attempt(..)
            | Event::CancelRequested
            | Event::DeadlinePassed
            | Event::GaveUp
            | Event::Resolved(_)
            | Event::Learned(..)
            | Event::LeaderEnded(_) => {}
        }
        if let Some(next) = after.attempts.get(before.attempts.len()) {
            self.attempts.push(next.id);
            self.n_allowed += 1;
        }
    }

    /// Stores a change, which must be one that a caller may see.
    fn save(&mut self, before: &Generation, after: Generation, entries: &[HistoryEvent]) -> Result<(), TestCaseError> {
        if *before == after {
            return Ok(());
        }
        prop_assert_eq!(after.sequence, before.sequence + (entries.len() as u64).max(1));
        prop_assert!(after.updated_at >= before.updated_at, "{after:?} is older than {before:?}");
        if before.state.is_terminal() {
            prop_assert_eq!(before.state, after.state);
            let learned = before.cost != after.cost;
            prop_assert!(learned || before.expired_at.is_none() && after.expired_at.is_some());
        }
        let tickets = |generation: &Generation| {
            let ticket = |attempt: &Attempt| attempt.ticket.as_ref().map(|ticket| (attempt.id, ticket.job.clone()));
            generation.attempts.iter().filter_map(ticket).collect::<Vec<_>>()
        };
        let moved = before.successor != after.successor;
        prop_assert!(
            moved || tickets(before).iter().all(|ticket| tickets(&after).contains(ticket)),
            "a ticket is kept"
        );
        check_record(&after)?;
        self.book(Some(before), &after);
        let history = self.histories.get_mut(&after.id).unwrap();
        history.extend_from_slice(entries);
        prop_assert_eq!(history.len() as u64, after.n_events);
        prop_assert!(history.iter().zip(1..).all(|(entry, number)| entry.number == number));
        prop_assert!(history.is_sorted_by_key(|entry| (entry.sequence, entry.at)));
        let index = self.all().iter().position(|generation| generation.id == after.id).unwrap();
        self.records[index] = serde_json::to_string(&after).unwrap();
        prop_assert_eq!(self.find(after.id), after, "it is read back the same");
        Ok(())
    }

    /// What holds of all together.
    fn check(&self) -> Result<(), TestCaseError> {
        let all = self.all();
        let open: Vec<AttemptId> = all.iter().filter_map(|generation| Some(generation.open_attempt()?.id)).collect();
        prop_assert!(open.len() <= 1, "one job, one open attempt");
        let held: i64 = all.iter().map(|generation| generation.cost.held.0).sum();
        if open.is_empty() || all.iter().all(|generation| generation.cost.quoted.is_none()) {
            prop_assert_eq!(held, if open.is_empty() { 0 } else { PRICE.0 });
        }
        let balance = |account| self.ledger.get(&account).copied().unwrap_or_default();
        prop_assert_eq!(self.ledger.values().sum::<i64>(), 0, "the ledger sums to zero");
        prop_assert_eq!(balance(Account::Held), held, "what is held is what open attempts need");
        let in_suspense: i64 = all.iter().map(|generation| generation.cost.suspense.0).sum();
        prop_assert_eq!(balance(Account::Suspense), in_suspense);
        let settled =
            |generation: &Generation| generation.attempts.iter().filter_map(|a| a.settled).map(|a| a.0).sum::<i64>();
        let absorbed: i64 = all.iter().map(|generation| generation.cost.absorbed.0).sum();
        prop_assert_eq!(balance(Account::Provider), all.iter().map(settled).sum::<i64>() + absorbed);
        prop_assert_eq!(balance(Account::Absorbed), -absorbed);
        for generation in &all {
            let owed = settled(generation) + generation.cost.suspense.0 + generation.cost.held.0;
            prop_assert!(generation.cost.quoted.is_none_or(|quoted| owed <= quoted.0), "no more than the quote");
        }
        prop_assert!(self.n_intents <= self.n_allowed, "{} intents, {} allowed", self.n_intents, self.n_allowed);
        for follower in all.iter().filter(|generation| generation.leader.is_some()) {
            let leader = follower.leader.map(|leader| self.find(leader));
            prop_assert!(leader.is_some_and(|leader| !leader.state.is_terminal()), "nobody follows what has ended");
        }
        Ok(())
    }
}

/// As `store::rules` has it.
fn handing_over(generation: &Generation, event: &Event, now: Timestamp) -> Option<HandOver> {
    if generation.state.is_terminal() || generation.leader.is_some() {
        return None;
    }
    let overdue = generation.state == State::Queued && now >= generation.deadline;
    match event {
        Event::CancelRequested if generation.cancel_requested_at.is_none() => Some(HandOver::Cancelled),
        Event::DeadlinePassed if overdue => Some(HandOver::DeadlinePassed),
        Event::Attempt(..)
        | Event::CancelRequested
        | Event::DeadlinePassed
        | Event::GaveUp
        | Event::Resolved(_)
        | Event::Learned(..)
        | Event::LeaderEnded(_) => None,
    }
}

proptest! {
    #[test]
    fn whatever_the_order_each_ends_once_and_nothing_is_sent_twice(
        acts in proptest::collection::vec((act(), -30..40_i64), 1..80),
        n_candidates in 1..4_usize,
    ) {
        let mut world = World::new(n_candidates);
        for (act, seconds) in acts {
            world.now += SignedDuration::from_secs(seconds);
            world.act(act)?;
            world.check()?;
        }
        // Whatever is left ends when the callers cancel and the vendor says that it stopped.
        for generation in world.all() {
            world.tell(generation.id, &Event::CancelRequested)?;
            let now = world.find(generation.id);
            if let Some(attempt) = now.open_attempt() {
                let stopped = AttemptEvent::Stopped(Charged::No, Usage::default());
                world.tell(now.id, &Event::Attempt(attempt.id, stopped))?;
            }
            world.check()?;
        }
        prop_assert!(world.all().iter().all(|generation| generation.state.is_terminal()));
    }
}
