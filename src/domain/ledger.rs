//! The ledger: where the money of a generation is, and how it moved. That of a chat moves once, at its end.
//!
//! A movement is never stated, it follows: each attempt's record says where its money is, and the movements are the difference between
//! two records. So the accounts sum to zero whatever happens, nothing is settled twice, and the money held is that of open attempts only.

use jiff::Timestamp;

use super::{
    attempt::Attempt,
    chat::ChatRecord,
    generation::Generation,
    money::MicroUsd,
    names::{ChatId, GenerationId, ModelName, SessionId},
};

/// Where money is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// The caller's own.
    Caller,
    /// Set aside for an open attempt.
    Held,
    /// Paid to the provider.
    Provider,
    /// Set aside for what cannot be told.
    Suspense,
    /// The operator's own, who bears what a provider takes beyond a quote.
    Absorbed,
}

impl Account {
    /// Every account, in the order of the contract.
    pub const ALL: [Self; 5] = [Self::Caller, Self::Held, Self::Provider, Self::Suspense, Self::Absorbed];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Held => "held",
            Self::Provider => "provider",
            Self::Suspense => "suspense",
            Self::Absorbed => "absorbed",
        }
    }

    /// Of its word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|account| account.as_str() == word)
    }
}

/// Why money moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An order was accepted, its next model is tried, or it took a job over.
    Hold,
    /// What was set aside is not needed, or went to the generation that took the job over.
    Release,
    /// The provider took money.
    Settle,
    /// It ended, and whether the provider took money cannot be told.
    Suspend,
    /// The provider took more than the quote.
    Absorb,
    /// What could not be told is known now.
    Correct,
}

impl Reason {
    /// Every reason, in the order of the contract.
    pub const ALL: [Self; 6] = [Self::Hold, Self::Release, Self::Settle, Self::Suspend, Self::Absorb, Self::Correct];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Settle => "settle",
            Self::Suspend => "suspend",
            Self::Absorb => "absorb",
            Self::Correct => "correct",
        }
    }

    /// Of its word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    fn of(from: Account, to: Account) -> Self {
        match (from, to) {
            (Account::Suspense | Account::Provider, _) => Self::Correct,
            (Account::Absorbed, _) => Self::Absorb,
            (Account::Caller | Account::Held, Account::Held) => Self::Hold,
            (Account::Caller | Account::Held, Account::Caller) => Self::Release,
            (Account::Caller | Account::Held, Account::Provider | Account::Absorbed) => Self::Settle,
            (Account::Caller | Account::Held, Account::Suspense) => Self::Suspend,
        }
    }
}

/// One movement of money between two accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// The model whose attempt it is about.
    pub model: ModelName,
    /// When that attempt's money was set aside: the period of a budget that it counts in.
    pub since: Timestamp,
    /// Why.
    pub reason: Reason,
    /// The account that gives.
    pub from: Account,
    /// The account that gets.
    pub to: Account,
    /// How much, above zero.
    pub amount: MicroUsd,
}

impl Movement {
    /// By how much it changes an account.
    pub fn change_of(&self, account: Account) -> i64 {
        let gets = if self.to == account { self.amount.0 } else { 0 };
        let gives = if self.from == account { self.amount.0 } else { 0 };
        gets - gives
    }
}

/// What money was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// An attempt of this generation.
    Generation(GenerationId),
    /// This chat.
    Chat(ChatId),
}

/// A movement as it stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number; numbers grow and are never used twice.
    pub number: u64,
    /// When it was written.
    pub at: Timestamp,
    /// What it was for.
    pub cause: Cause,
    /// The conversation of that; a chat may have none.
    pub session: Option<SessionId>,
    /// What moved.
    pub movement: Movement,
}

/// The money of one attempt, by where it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Position {
    held: i64,
    paid: i64,
    suspense: i64,
    absorbed: i64,
}

impl Position {
    fn of(attempt: &Attempt) -> Self {
        Self {
            held: attempt.held.0,
            paid: attempt.settled.unwrap_or_default().0,
            suspense: attempt.suspense.0,
            absorbed: attempt.absorbed.0,
        }
    }
}

/// What moved between two records of a generation, `before` being absent when it was just accepted.
pub fn movements(before: Option<&Generation>, after: &Generation) -> Vec<Movement> {
    let earlier = before.map_or(&[][..], |before| &before.attempts);
    let mut moved = Vec::new();
    for attempt in &after.attempts {
        let was = earlier.iter().find(|was| was.id == attempt.id).map(Position::of).unwrap_or_default();
        shift(attempt, was, Position::of(attempt), &mut moved);
    }
    // The job was handed over, with its attempts and their money.
    for gone in earlier.iter().filter(|was| after.attempts.iter().all(|attempt| attempt.id != was.id)) {
        shift(gone, Position::of(gone), Position::default(), &mut moved);
    }
    moved
}

/// What a chat moved: all at its end, and nothing if it cost nothing or nobody knows what.
pub fn of_chat(chat: &ChatRecord) -> Vec<Movement> {
    let paid = chat.cost.filter(|cost| cost.0 > 0);
    let (from, to) = (Account::Caller, Account::Provider);
    let moved = paid.map(|amount| Movement {
        model: chat.model.clone(),
        since: chat.began_at,
        reason: Reason::of(from, to),
        from,
        to,
        amount,
    });
    moved.into_iter().collect()
}

fn shift(attempt: &Attempt, was: Position, is: Position, moved: &mut Vec<Movement>) {
    let mut change = [
        (Account::Held, is.held - was.held),
        (Account::Suspense, is.suspense - was.suspense),
        (Account::Provider, is.paid - was.paid),
        (Account::Caller, 0),
    ];
    change[3].1 = -change.iter().map(|(_, change)| change).sum::<i64>();
    let mut add = |from, to, amount| {
        let (model, amount) = (attempt.model.clone(), MicroUsd(amount));
        moved.push(Movement { model, since: attempt.created_at, reason: Reason::of(from, to), from, to, amount });
    };
    // What the provider takes comes first, so that a hold is settled before its rest is released.
    for to in [Account::Provider, Account::Suspense, Account::Held, Account::Caller] {
        for giver in 0..change.len() {
            let wanted = change.iter().find(|(account, _)| *account == to).map_or(0, |(_, change)| *change);
            let amount = wanted.min(-change[giver].1);
            if amount > 0 {
                add(change[giver].0, to, amount);
                change[giver].1 += amount;
                change.iter_mut().filter(|(account, _)| *account == to).for_each(|(_, change)| *change -= amount);
            }
        }
    }
    match is.absorbed - was.absorbed {
        0 => {}
        more @ 1.. => add(Account::Absorbed, Account::Provider, more),
        less => add(Account::Provider, Account::Absorbed, -less),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::life::tests::{START, drafted};

    fn with(held: i64, settled: Option<i64>, suspense: i64, absorbed: i64) -> Generation {
        let mut generation = drafted(1);
        let attempt = &mut generation.attempts[0];
        attempt.held = MicroUsd(held);
        attempt.settled = settled.map(MicroUsd);
        (attempt.suspense, attempt.absorbed) = (MicroUsd(suspense), MicroUsd(absorbed));
        generation
    }

    fn moved(before: &Generation, mut after: Generation) -> Vec<(Reason, Account, Account, i64)> {
        after.attempts[0].id = before.attempts[0].id;
        let moved = movements(Some(before), &after);
        assert!(moved.iter().all(|movement| movement.since == START));
        moved.into_iter().map(|m| (m.reason, m.from, m.to, m.amount.0)).collect()
    }

    #[test]
    fn money_moves_from_where_it_was_to_where_it_is() {
        use Account as A;
        use Reason as R;
        let held = with(70, None, 0, 0);
        let accepted: Vec<_> =
            movements(None, &held).into_iter().map(|m| (m.reason, m.from, m.to, m.amount.0)).collect();
        assert_eq!(accepted, [(R::Hold, A::Caller, A::Held, 70)]);
        let check = |before: &Generation, after, expected: &[(Reason, Account, Account, i64)]| {
            assert_eq!(moved(before, after), expected);
        };
        check(&held, with(70, None, 0, 0), &[]);
        check(&held, with(0, Some(70), 0, 0), &[(R::Settle, A::Held, A::Provider, 70)]);
        let less = [(R::Settle, A::Held, A::Provider, 50), (R::Release, A::Held, A::Caller, 20)];
        check(&held, with(0, Some(50), 0, 0), &less);
        let more = [(R::Settle, A::Held, A::Provider, 70), (R::Settle, A::Caller, A::Provider, 20)];
        check(&held, with(0, Some(90), 0, 0), &more);
        check(&held, with(0, Some(0), 0, 0), &[(R::Release, A::Held, A::Caller, 70)]);
        let beyond = [(R::Settle, A::Held, A::Provider, 70), (R::Absorb, A::Absorbed, A::Provider, 20)];
        check(&held, with(0, Some(70), 0, 20), &beyond);
        let unknown = with(0, None, 70, 0);
        check(&held, unknown.clone(), &[(R::Suspend, A::Held, A::Suspense, 70)]);
        let learned = [(R::Correct, A::Suspense, A::Provider, 50), (R::Correct, A::Suspense, A::Caller, 20)];
        check(&unknown, with(0, Some(50), 0, 0), &learned);
    }

    #[test]
    fn what_is_handed_over_leaves_one_and_comes_to_the_other() {
        let (held, mut gone, fresh) = (with(70, None, 0, 0), drafted(1), drafted(1));
        gone.attempts.clear();
        let left = movements(Some(&held), &gone);
        assert_eq!((left.len(), left[0].reason, left[0].to), (1, Reason::Release, Account::Caller));
        let mut heir = fresh;
        heir.attempts.clear();
        let came = movements(Some(&heir), &held);
        assert_eq!((came.len(), came[0].reason, came[0].to), (1, Reason::Hold, Account::Held));
    }
}
