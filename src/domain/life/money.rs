//! The money of a generation: what is set aside, what is charged, and what is learned later. The ledger follows from it.

use jiff::Timestamp;

use super::{
    super::{
        attempt::{Attempt, AttemptOutcome},
        failure::Charged,
        generation::Generation,
        money::{MicroUsd, Usage},
        names::AttemptId,
    },
    Refused, Told,
};

impl Generation {
    /// Binds it to a quote of this price. For a generation that was just drafted.
    pub fn bind_quote(&mut self, price: MicroUsd) {
        self.cost.quoted = Some(price);
        let hold = self.attempts.last().map(|attempt| self.hold_for(attempt.candidate));
        self.with_attempt(|attempt| attempt.held = hold.unwrap_or_default());
        self.tally();
    }

    /// Begins to try a candidate.
    pub(super) fn try_candidate(&mut self, index: usize, now: Timestamp) {
        let model = self.candidates[index].model.clone();
        self.attempts.push(Attempt::new(index, model, self.hold_for(index), now));
        self.cost.estimated = self.candidates[index].estimate;
        self.tally();
    }

    /// Takes over the money of attempts that came with a job; a quote of its own binds it still, and what they took beyond that the
    /// operator bears.
    pub(super) fn inherit_cost(&mut self, leader: &Self) {
        self.cost.estimated = leader.cost.estimated;
        self.cost.settled = None;
        if let Some(quoted) = self.cost.quoted {
            let mut left = quoted;
            self.attempts.iter_mut().for_each(|attempt| attempt.bear_beyond(&mut left));
        }
        self.tally();
    }

    /// What is set aside for a try: its expected price, or all that is left of the quote, which is the most that it may cost.
    fn hold_for(&self, candidate: usize) -> MicroUsd {
        let estimate = self.candidates.get(candidate).and_then(|candidate| candidate.estimate);
        match self.left_of_quote() {
            // The sample takes nothing, however much is left.
            Some(left) if estimate != Some(MicroUsd::ZERO) => left,
            Some(_) | None => estimate.unwrap_or_default(),
        }
    }

    /// What the caller may still be charged by the quote, besides what is held; none without one.
    fn left_of_quote(&self) -> Option<MicroUsd> {
        let gone = |attempt: &Attempt| attempt.settled.unwrap_or_default().0.saturating_add(attempt.suspense.0);
        let gone = self.attempts.iter().map(gone).fold(0, i64::saturating_add);
        self.cost.quoted.map(|quoted| MicroUsd(quoted.0.saturating_sub(gone).max(0)))
    }

    /// What an attempt at a candidate that ended so cost, if it can be told.
    pub(super) fn charge(&self, candidate: usize, charged: Charged, usage: &Usage) -> Option<MicroUsd> {
        let candidate = self.candidates.get(candidate)?;
        match charged {
            Charged::No => Some(MicroUsd::ZERO),
            // Ours is the price at acceptance, whatever the card says by now.
            Charged::Yes => {
                let price = candidate.price.as_ref().and_then(|price| price.of(usage, &candidate.options));
                // Whatever a vendor says, an order earns its caller nothing.
                price.or(usage.charged).or(candidate.estimate).map(|price| price.max(MicroUsd::ZERO))
            }
            Charged::Unknown => None,
        }
    }

    /// Ends the open attempt and settles its money; returns what the provider took, if it can be told.
    pub(super) fn close_attempt(
        &mut self,
        outcome: AttemptOutcome,
        charged: Charged,
        usage: &Usage,
        now: Timestamp,
    ) -> Option<MicroUsd> {
        let candidate = self.open_attempt()?.candidate;
        let (price, left) = (self.charge(candidate, charged, usage), self.left_of_quote());
        self.with_attempt(|attempt| {
            attempt.outcome = outcome;
            attempt.answer = None;
            attempt.ended_at = Some(now.max(attempt.created_at));
            settle(attempt, charged, price, left);
        });
        self.tally();
        price
    }

    /// Learns what became of the money of an attempt that ended unknown. The state stays as it is: an end is final, and only the ledger is
    /// corrected.
    pub(super) fn learn(
        &mut self,
        id: AttemptId,
        charged: Charged,
        usage: &Usage,
        now: Timestamp,
    ) -> Result<Told, Refused> {
        let unknown = |attempt: &Attempt| attempt.id == id && attempt.charged == Some(Charged::Unknown);
        let Some(index) = self.attempts.iter().position(unknown) else { return Err(Refused::StaleAttempt) };
        let said = match charged {
            Charged::Unknown => return Ok(Told::Nothing),
            Charged::No => "took nothing",
            Charged::Yes => "took money",
        };
        let price = self.charge(self.attempts[index].candidate, charged, usage);
        let suspended = self.attempts[index].suspense.0;
        let left = self.left_of_quote().map(|left| MicroUsd(left.0.saturating_add(suspended)));
        settle(&mut self.attempts[index], charged, price, left);
        self.tally();
        if self.state.is_terminal() {
            self.sum_up();
        }
        self.touch(now);
        let model = &self.attempts[index].model;
        Ok(Told::Event("learned", format!("{model} {said} for an attempt that ended unknown")))
    }

    /// What all attempts together have cost, once that can be told.
    pub(super) fn sum_up(&mut self) {
        let each: Option<Vec<i64>> = self.attempts.iter().map(|a| a.settled.map(|price| price.0)).collect();
        self.cost.settled = each.map(|each| MicroUsd(each.into_iter().fold(0, i64::saturating_add)));
    }

    /// The sums of its attempts.
    pub(super) fn tally(&mut self) {
        let sum = |part: fn(&Attempt) -> MicroUsd| {
            MicroUsd(self.attempts.iter().map(|attempt| part(attempt).0).fold(0, i64::saturating_add))
        };
        let (held, suspense) = (sum(|attempt| attempt.held), sum(|attempt| attempt.suspense));
        self.cost.absorbed = sum(|attempt| attempt.absorbed);
        (self.cost.held, self.cost.suspense) = (held, suspense);
    }
}

impl Attempt {
    /// Keeps what the caller pays, or may still pay, for it within what is `left` of a quote, and takes it from that.
    fn bear_beyond(&mut self, left: &mut MicroUsd) {
        let mut own = |amount: MicroUsd| {
            let own = amount.min(*left);
            *left = MicroUsd(left.0.saturating_sub(own.0));
            own
        };
        if let Some(settled) = self.settled {
            let paid = own(settled);
            self.settled = Some(paid);
            self.absorbed = MicroUsd(self.absorbed.0.saturating_add(settled.0 - paid.0));
        }
        self.suspense = own(self.suspense);
        self.held = own(self.held);
    }
}

/// Moves the money of an attempt to where it belongs: the caller pays no more than is `left` of the quote, and the operator bears the rest.
fn settle(attempt: &mut Attempt, charged: Charged, price: Option<MicroUsd>, left: Option<MicroUsd>) {
    let set_aside = MicroUsd(attempt.held.0.saturating_add(attempt.suspense.0));
    attempt.held = MicroUsd::ZERO;
    attempt.charged = Some(charged);
    attempt.suspense = if charged == Charged::Unknown { set_aside } else { MicroUsd::ZERO };
    attempt.settled = price.map(|price| left.map_or(price, |left| price.min(left)));
    let beyond = price.zip(attempt.settled).map(|(price, settled)| MicroUsd(price.0 - settled.0));
    attempt.absorbed = beyond.unwrap_or_default();
}
