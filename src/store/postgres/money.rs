//! Money as rows: the ledger, what is taken of budgets, and quotes.
//!
//! The accounts of budgets are the rows that most transactions share, so they are changed last, just before the commit.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    Result, dialect,
    statements::{Answer, Statement, Value, column, from_doc, int, to_doc, unsigned, values},
    work::Work,
};
use crate::{
    domain::{
        budget::{Budgets, Charge, NotAllowed, Scope, Spender, Standing},
        chat::ChatRecord,
        generation::Generation,
        ledger::{Entry, Movement, movements},
        money::MicroUsd,
        names::{GenerationId, QuoteId, TenantId},
        quote::{NoQuote, Quote},
    },
    store::{
        port::{LedgerFilter, Page, SentRequest, UsageFilter, UsageKey, UsageRow},
        rows::{self, LedgerRow},
        sql::{self, List},
        usage::{self, Dialect},
    },
};

/// Counts every budget's accounts anew, because the budgets may have changed since. Nobody else changes the accounts meanwhile.
pub(super) async fn recount(mut work: Work, budgets: &Budgets, now: Timestamp) -> Result<()> {
    if budgets.iter().next().is_none() {
        return Ok(());
    }
    // What others have changed and not committed yet is waited for, and what they change later comes on top.
    work.run(dialect::LOCK_SPENDING).await?;
    for budget in budgets.iter() {
        work.write(Statement::shared(sql::money::FORGET_BUDGET, values![budget.name.as_str()]));
        let mut values = values![budget.name.as_str(), budget.period.start(now)];
        if let Scope::Label(key, _) = &budget.scope {
            values.extend(values![key.as_str()]);
        }
        work.write(Statement::list(&usage::recount(&budget.scope), values));
    }
    work.commit().await
}

/// Takes what a new attempt needs of the budgets that it concerns; nothing is taken if one of them does not allow it.
pub(super) async fn take(
    work: &mut Work,
    budgets: &Budgets,
    before: Option<&Generation>,
    after: &Generation,
    now: Timestamp,
) -> Result<std::result::Result<(), NotAllowed>> {
    if let Err(refused) = budgets.check_priced(after) {
        return Ok(Err(refused));
    }
    let charges = budgets.charges(&[(after, movements(before, after))], now);
    for (index, charge) in charges.iter().enumerate() {
        let asks = charge.asked() > 0;
        let limit = if asks { charge.limit } else { MicroUsd(i64::MAX) };
        let fits = !asks || charge.asked() <= limit.0;
        if !fits || work.ask(book(charge, limit)).await?.n_changed == 0 {
            let (held, spent) = standing(&work.ask(find(&charge.budget, &charge.account, charge.since)).await?)?;
            for taken in &charges[..index] {
                work.write(book(&taken.undone(), MicroUsd(i64::MAX)));
            }
            return Ok(Err(charge.refusal(held.saturating_add(spent))));
        }
    }
    Ok(Ok(()))
}

/// Tells the budgets of movements that nobody may refuse.
pub(super) fn tell(work: &mut Work, budgets: &Budgets, moved: &[(&Generation, Vec<Movement>)], now: Timestamp) {
    for charge in budgets.charges(moved, now) {
        work.write(book(&charge, MicroUsd(i64::MAX)));
    }
}

fn book(charge: &Charge, limit: MicroUsd) -> Statement {
    let Charge { budget, account, since, held, spent, .. } = charge;
    let values = values![budget.as_str(), account.as_str(), *since, *held, *spent, limit.0];
    Statement::shared(sql::money::CHARGE, values)
}

fn find(budget: &str, account: &str, since: i64) -> Statement {
    Statement::shared(sql::money::STANDING, values![budget, account, since])
}

fn standing(found: &Answer) -> Result<(i64, i64)> {
    found.rows.first().map_or(Ok((0, 0)), |row| Ok((column(row, 0)?, column(row, 1)?)))
}

/// Writes movements of a generation's money into the ledger.
pub(super) fn enter(work: &mut Work, generation: &Generation, moved: &[Movement], now: Timestamp) {
    for Movement { model, since, reason, from, to, amount } in moved {
        let values = values![
            generation.tenant.id(),
            generation.id.id(),
            generation.session.id(),
            model.to_string(),
            now.as_microsecond(),
            since.as_microsecond(),
            reason.as_str(),
            from.as_str(),
            to.as_str(),
            amount.0,
            "",
        ];
        work.write(Statement::shared(sql::money::INSERT_MOVEMENT, values));
    }
}

/// Writes movements of a chat's money into the ledger.
pub(super) fn enter_chat(work: &mut Work, chat: &ChatRecord, moved: &[Movement]) {
    for Movement { model, since, reason, from, to, amount } in moved {
        let values = values![
            chat.tenant.id(),
            "",
            chat.session.as_ref().map_or("", |session| session.id()),
            model.to_string(),
            chat.ended_at.as_microsecond(),
            since.as_microsecond(),
            reason.as_str(),
            from.as_str(),
            to.as_str(),
            amount.0,
            chat.id.id(),
        ];
        work.write(Statement::shared(sql::money::INSERT_MOVEMENT, values));
    }
}

/// Tells the budgets what a chat has cost, which nobody may refuse any more.
pub(super) fn tell_chat(work: &mut Work, budgets: &Budgets, chat: &ChatRecord, moved: &[Movement]) {
    for charge in budgets.chat_charges(chat, moved, chat.ended_at) {
        work.write(book(&charge, MicroUsd(i64::MAX)));
    }
}

/// The price of a quote for this order, which is used from now on.
pub(super) async fn use_quote(
    work: &mut Work,
    tenant: &TenantId,
    (id, order): &(QuoteId, SentRequest),
    now: Timestamp,
) -> Result<std::result::Result<MicroUsd, NoQuote>> {
    let found = work.ask(Statement::own(dialect::QUOTE_LOCKED, values![tenant.id(), id.id()])).await?;
    let Some(row) = found.rows.first() else { return Ok(Err(NoQuote::NotFound)) };
    let quote: Quote = from_doc(column(row, 0)?)?;
    if let Err(refused) = quote.check(order, column::<i64>(row, 1)? != 0, now) {
        return Ok(Err(refused));
    }
    work.write(Statement::shared(sql::money::USE_QUOTE, values![tenant.id(), id.id()]));
    Ok(Ok(quote.price))
}

pub(super) async fn quote(mut work: Work, tenant: &TenantId, id: QuoteId) -> Result<Option<Quote>> {
    let found = work.ask(Statement::shared(sql::money::FIND_QUOTE, values![tenant.id(), id.id()])).await?;
    found.rows.first().map(|row| from_doc(column(row, 0)?)).transpose()
}

pub(super) async fn add_quote(mut work: Work, tenant: &TenantId, quote: &Quote) -> Result<()> {
    let values = values![tenant.id(), quote.id.id(), to_doc(quote)?, quote.expires_at.as_microsecond()];
    work.write(Statement::shared(sql::money::INSERT_QUOTE, values));
    work.commit().await
}

pub(super) async fn standings(
    mut work: Work,
    budgets: &Budgets,
    spender: Spender<'_>,
    now: Timestamp,
) -> Result<Vec<Standing>> {
    let mut standings = Vec::new();
    for budget in budgets.iter() {
        let Some(account) = budget.account(&spender) else { continue };
        let (held, spent) = standing(&work.ask(find(&budget.name, &account, budget.period.start(now))).await?)?;
        let (held, spent, period) = (MicroUsd(held), MicroUsd(spent), budget.period.around(now));
        standings.push(Standing { budget: budget.clone(), spent, held, period });
    }
    Ok(standings)
}

pub(super) async fn forget(mut work: Work, budgets: &Budgets, before: Timestamp, now: Timestamp) -> Result<()> {
    work.write(Statement::shared(sql::money::FORGET_QUOTES, values![before.as_microsecond()]));
    for budget in budgets.iter() {
        let values = values![budget.name.as_str(), budget.period.start(now)];
        work.write(Statement::shared(sql::money::FORGET_PERIODS, values));
    }
    work.commit().await
}

pub(super) async fn usage(
    mut work: Work,
    tenant: &TenantId,
    filter: &UsageFilter,
    by: &[UsageKey],
    page: &Page<u64>,
) -> Result<Vec<UsageRow>> {
    let (text, values) = usage::usage(Dialect::Postgres, tenant, filter, by, page);
    let found = work.ask(Statement::list(&text, values.into_iter().map(value).collect())).await?;
    let read = |row: &Row| {
        let count = |index| unsigned(column(row, index)?);
        let money = |index| column(row, index).map(MicroUsd);
        Ok(UsageRow {
            keys: (0..by.len()).map(|index| column(row, index)).collect::<Result<_>>()?,
            n_generations: count(3)?,
            n_succeeded: count(4)?,
            spent: money(5)?,
            held: money(6)?,
            suspense: money(7)?,
            absorbed: money(8)?,
            saved: money(9)?,
            n_unpriced: count(10)?,
            n_chats: count(11)?,
            input_tokens: count(12)?,
            output_tokens: count(13)?,
        })
    };
    found.rows.iter().map(read).collect()
}

fn value(value: rows::Value) -> Value {
    match value {
        rows::Value::Text(text) => text.into(),
        rows::Value::Int(number) => number.into(),
    }
}

pub(super) async fn ledger(
    mut work: Work,
    tenant: &TenantId,
    filter: &LedgerFilter,
    page: &Page<u64>,
) -> Result<Vec<Entry>> {
    let mut list = List::ledger();
    let mut values = values![tenant.id()];
    let mut and = |condition, value: Value| {
        list.and(condition);
        values.push(value);
    };
    filter.generation.map(GenerationId::id).into_iter().for_each(|id| and("generation = {}", id.into()));
    filter.session.iter().for_each(|session| and("session = {}", session.id().into()));
    filter.start.iter().for_each(|at| and("at >= {}", at.as_microsecond().into()));
    filter.end.iter().for_each(|at| and("at < {}", at.as_microsecond().into()));
    page.after.iter().for_each(|after| and("number < {}", int(*after).into()));
    values.push(int(page.limit).into());
    let found = work.ask(Statement::list(&list.order_by("number DESC"), values)).await?;
    let read = |row: &Row| {
        let row = LedgerRow {
            number: column(row, 0)?,
            at: column(row, 1)?,
            generation: column(row, 2)?,
            session: column(row, 3)?,
            model: column(row, 4)?,
            since: column(row, 5)?,
            reason: column(row, 6)?,
            from: column(row, 7)?,
            to: column(row, 8)?,
            amount: column(row, 9)?,
            chat: column(row, 10)?,
        };
        row.entry()
    };
    found.rows.iter().map(read).collect()
}
