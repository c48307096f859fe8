//! Budgets: limits on what may be spent, whom they limit, and when they begin anew.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::{Timestamp, ToSpan, tz::TimeZone};

use super::{
    chat::ChatRecord,
    generation::Generation,
    ledger::{Account, Movement},
    money::MicroUsd,
    names::{SessionId, TenantId},
};

/// A limit on what may be spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Its name in the settings, of its own among all budgets.
    pub name: String,
    /// The most that may be spent and held in a period.
    pub limit: MicroUsd,
    /// When it begins anew.
    pub period: Period,
    /// Only this tenant's; each tenant has a budget of its own otherwise.
    pub tenant: Option<TenantId>,
    /// What within a tenant.
    pub scope: Scope,
    /// Orders whose price nobody knows are accepted, though they cannot be counted.
    pub allow_unpriced: bool,
}

/// How long a budget lasts, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// A calendar day.
    Day,
    /// A calendar month.
    Month,
    /// For ever.
    Total,
}

/// What within a tenant a budget limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Tenant,
    /// One session, or each.
    Session(Option<SessionId>),
    /// What has a label with this key: with this value, or each value.
    Label(String, Option<String>),
}

/// Whose money it is: what of a generation decides about budgets.
#[derive(Debug, Clone, Copy)]
pub struct Spender<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The conversation; absent for a question that is about none.
    pub session: Option<&'a SessionId>,
    /// The labels.
    pub labels: &'a BTreeMap<String, String>,
}

impl<'a> Spender<'a> {
    /// Who spends for a generation.
    pub fn of(generation: &'a Generation) -> Self {
        Self { tenant: &generation.tenant, session: Some(&generation.session), labels: &generation.labels }
    }

    /// Who spends for a chat.
    pub fn of_chat(chat: &'a ChatRecord) -> Self {
        Self { tenant: &chat.tenant, session: chat.session.as_ref(), labels: &chat.labels }
    }
}

impl Period {
    /// The first moment of the period that `at` is in, and the first one after it; none for a budget without periods.
    pub fn around(self, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let date = at.to_zoned(TimeZone::UTC).date();
        let (first, span) = match self {
            Self::Day => (date, 1.day()),
            Self::Month => (date.first_of_month(), 1.month()),
            Self::Total => return None,
        };
        let moment = |date: jiff::civil::Date| date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
        Some((moment(first)?, moment(first.checked_add(span).ok()?)?))
    }

    /// The first moment of the period that `at` is in, in microseconds since 1970; 0 for a budget without periods.
    pub fn start(self, at: Timestamp) -> i64 {
        self.around(at).map_or(0, |(start, _)| start.as_microsecond())
    }
}

impl Budget {
    /// Which of its accounts a spender's money counts in; none if it does not concern the spender. Unlike for all that it tells apart.
    pub fn account(&self, spender: &Spender<'_>) -> Option<String> {
        if self.tenant.as_ref().is_some_and(|only| only != spender.tenant) {
            return None;
        }
        let tenant = spender.tenant.id();
        // No tenant's name holds a slash.
        match &self.scope {
            Scope::Tenant => Some(tenant.to_owned()),
            Scope::Session(only) => {
                let session = spender.session.filter(|session| only.as_ref().is_none_or(|only| only == *session))?;
                Some(format!("{tenant}/{}", session.id()))
            }
            Scope::Label(key, only) => {
                let value = spender.labels.get(key).filter(|value| only.as_ref().is_none_or(|only| only == *value))?;
                Some(format!("{tenant}/{value}"))
            }
        }
    }
}

/// Whom it limits, in words.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.scope, &self.tenant) {
            (Scope::Tenant, Some(tenant)) => return write!(f, "tenant {tenant}"),
            (Scope::Tenant, None) => return f.write_str("each tenant"),
            (Scope::Session(Some(session)), _) => write!(f, "session {}", session.id())?,
            (Scope::Session(None), _) => f.write_str("each session")?,
            (Scope::Label(key, Some(value)), _) => write!(f, "label {key}={value}")?,
            (Scope::Label(key, None), _) => write!(f, "each value of label {key}")?,
        }
        match &self.tenant {
            Some(tenant) => write!(f, " of tenant {tenant}"),
            None => Ok(()),
        }
    }
}

/// Every budget of the settings.
#[derive(Debug, Clone, Default)]
pub struct Budgets(Arc<[Budget]>);

/// By how much one account of a budget changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The budget's name.
    pub budget: String,
    /// The account.
    pub account: String,
    /// The period's start in microseconds since 1970; 0 for a budget without periods.
    pub since: i64,
    /// Change of what is held.
    pub held: i64,
    /// Change of what is spent, suspense included.
    pub spent: i64,
    /// The budget's limit.
    pub limit: MicroUsd,
}

impl Charge {
    /// What it takes of the budget in all.
    pub fn asked(&self) -> i64 {
        self.held.saturating_add(self.spent)
    }

    /// The refusal, `taken` being taken already.
    pub fn refusal(&self, taken: i64) -> NotAllowed {
        NotAllowed::Over(OverBudget {
            budget: self.budget.clone(),
            limit: self.limit,
            left: MicroUsd(self.limit.0.saturating_sub(taken).max(0)),
            asked: MicroUsd(self.asked()),
        })
    }

    /// The opposite.
    #[must_use]
    pub fn undone(&self) -> Self {
        Self { held: -self.held, spent: -self.spent, ..self.clone() }
    }
}

/// An order that would go over a budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the order asks for {asked}, and of budget {budget} {left} is left")]
pub struct OverBudget {
    /// The budget's name.
    pub budget: String,
    /// Its limit.
    pub limit: MicroUsd,
    /// What is left of it.
    pub left: MicroUsd,
    /// What the order asks for.
    pub asked: MicroUsd,
}

/// Why an attempt may not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// It would go over a budget.
    #[error(transparent)]
    Over(OverBudget),
    /// Nobody knows its price, so the budget cannot count it.
    #[error("the price of {model} is unknown, so budget {budget} does not allow it")]
    Unpriced {
        /// The budget's name.
        budget: String,
        /// The model.
        model: String,
    },
}

/// How a budget stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The budget.
    pub budget: Budget,
    /// Spent in the period, suspense included.
    pub spent: MicroUsd,
    /// Held in the period.
    pub held: MicroUsd,
    /// The period; none for a budget without.
    pub period: Option<(Timestamp, Timestamp)>,
}

impl From<Vec<Budget>> for Budgets {
    fn from(budgets: Vec<Budget>) -> Self {
        Self(budgets.into())
    }
}

impl Budgets {
    /// All of them, in the order of the settings.
    pub fn iter(&self) -> impl Iterator<Item = &Budget> {
        self.0.iter()
    }

    /// Refuses an attempt that has just begun at a price that nobody knows, if a budget is to count it. A quote is a price.
    ///
    /// # Errors
    /// The budget and the model.
    pub fn check_priced(&self, generation: &Generation) -> Result<(), NotAllowed> {
        let Some(attempt) = generation.open_attempt() else { return Ok(()) };
        let estimate = generation.candidates.get(attempt.candidate).and_then(|candidate| candidate.estimate);
        if estimate.is_some() || generation.cost.quoted.is_some() {
            return Ok(());
        }
        let spender = Spender::of(generation);
        match self.iter().find(|budget| !budget.allow_unpriced && budget.account(&spender).is_some()) {
            Some(Budget { name, .. }) => {
                Err(NotAllowed::Unpriced { budget: name.clone(), model: attempt.model.to_string() })
            }
            None => Ok(()),
        }
    }

    /// What movements of a generation's money take of the budgets that it concerns, always in the same order, so that transactions which
    /// change the same accounts do not wait for each other in a circle. Periods that are over by `now` matter to nobody.
    pub fn charges(&self, moved: &[(&Generation, Vec<Movement>)], now: Timestamp) -> Vec<Charge> {
        let moved = moved.iter().flat_map(|(generation, moved)| moved.iter().map(|one| (Spender::of(generation), one)));
        self.charges_of(moved, now)
    }

    /// As [`Self::charges`], for a chat.
    pub fn chat_charges(&self, chat: &ChatRecord, moved: &[Movement], now: Timestamp) -> Vec<Charge> {
        self.charges_of(moved.iter().map(|one| (Spender::of_chat(chat), one)), now)
    }

    fn charges_of<'a>(&self, moved: impl Iterator<Item = (Spender<'a>, &'a Movement)>, now: Timestamp) -> Vec<Charge> {
        let mut charges: BTreeMap<(&str, String, i64), Charge> = BTreeMap::new();
        for ((spender, movement), budget) in moved.flat_map(|moved| self.iter().map(move |budget| (moved, budget))) {
            let Some(account) = budget.account(&spender) else { continue };
            if budget.period.around(movement.since).is_some_and(|(_, end)| end <= now) {
                continue;
            }
            let since = budget.period.start(movement.since);
            let charge = charges.entry((&budget.name, account.clone(), since)).or_insert_with(|| Charge {
                budget: budget.name.clone(),
                account,
                since,
                held: 0,
                spent: 0,
                limit: budget.limit,
            });
            let held = movement.change_of(Account::Held);
            charge.held += held;
            charge.spent -= movement.change_of(Account::Caller) + held;
        }
        charges.into_values().filter(|charge| (charge.held, charge.spent) != (0, 0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ledger::movements,
        life::tests::{START, drafted},
    };

    fn budget(scope: Scope) -> Budget {
        let limit = MicroUsd(100);
        Budget { name: "b".to_owned(), limit, period: Period::Total, tenant: None, scope, allow_unpriced: false }
    }

    #[test]
    fn periods_are_those_of_the_calendar_in_utc() {
        let around = |period: Period, at: &str| {
            let (start, end) = period.around(at.parse().unwrap()).unwrap();
            (start.to_string(), end.to_string())
        };
        let day = ("2024-02-29T00:00:00Z".to_owned(), "2024-03-01T00:00:00Z".to_owned());
        assert_eq!(around(Period::Day, "2024-02-29T23:59:59.999Z"), day);
        let month = ("2024-12-01T00:00:00Z".to_owned(), "2025-01-01T00:00:00Z".to_owned());
        assert_eq!(around(Period::Month, "2024-12-31T12:00:00Z"), month);
        assert_eq!((Period::Total.around(START), Period::Total.start(START)), (None, 0));
    }

    #[test]
    fn a_budget_concerns_those_in_its_scope() {
        let mut generation = drafted(1);
        generation.labels.insert("team".to_owned(), "film".to_owned());
        let session = generation.session.id().to_owned();
        let check = |scope: Scope, expected: Option<&str>| {
            assert_eq!(budget(scope).account(&Spender::of(&generation)).as_deref(), expected);
        };
        check(Scope::Tenant, Some("default"));
        check(Scope::Session(None), Some(&format!("default/{session}")));
        check(Scope::Session(Some(SessionId::fresh())), None);
        check(Scope::Label("team".to_owned(), None), Some("default/film"));
        check(Scope::Label("team".to_owned(), Some("sound".to_owned())), None);
        check(Scope::Label("other".to_owned(), None), None);
        let other = Budget { tenant: Some(TenantId::from_id("acme").unwrap()), ..budget(Scope::Tenant) };
        assert_eq!(other.account(&Spender::of(&generation)), None);
        assert_eq!(other.to_string(), "tenant acme");
    }

    #[test]
    fn a_hold_and_its_settlement_leave_what_was_spent() {
        let budgets = Budgets::from(vec![budget(Scope::Tenant)]);
        let held = drafted(1);
        let taken = budgets.charges(&[(&held, movements(None, &held))], START);
        assert_eq!((taken.len(), taken[0].held, taken[0].spent, taken[0].asked()), (1, 70, 0, 70));
        let mut settled = held.clone();
        (settled.attempts[0].held, settled.attempts[0].settled) = (MicroUsd(0), Some(MicroUsd(50)));
        settled.attempts[0].absorbed = MicroUsd(5);
        let taken = budgets.charges(&[(&settled, movements(Some(&held), &settled))], START);
        assert_eq!((taken[0].held, taken[0].spent), (-70, 50), "what the operator bears is no part of it");
    }
}
