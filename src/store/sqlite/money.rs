//! Money as rows: the ledger, what is taken of budgets, and quotes.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, params_from_iter};

use super::{
    Result,
    statements::{execute, from_doc, int, rows, to_doc},
    writer::Work,
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
        rows::{LedgerRow, Value},
        sql::{self, List},
        usage::{self, Dialect},
    },
};

/// Counts every budget's accounts anew, because the budgets may have changed since.
pub(super) fn recount(db: &mut Connection, budgets: &Budgets, now: Timestamp) -> Result<()> {
    let transaction = db.transaction()?;
    for budget in budgets.iter() {
        execute(&transaction, sql::money::FORGET_BUDGET, [&budget.name])?;
        let (name, since) = (&budget.name, budget.period.start(now));
        let text = usage::recount(&budget.scope);
        match &budget.scope {
            Scope::Tenant | Scope::Session(_) => transaction.execute(&text, params![name, since])?,
            Scope::Label(key, _) => transaction.execute(&text, params![name, since, key])?,
        };
    }
    Ok(transaction.commit()?)
}

/// Takes what a new attempt needs of the budgets that it concerns; nothing is taken if one of them does not allow it.
pub(super) fn take(
    work: &Work,
    before: Option<&Generation>,
    after: &Generation,
    now: Timestamp,
) -> Result<std::result::Result<(), NotAllowed>> {
    if let Err(refused) = work.budgets.check_priced(after) {
        return Ok(Err(refused));
    }
    let charges = work.budgets.charges(&[(after, movements(before, after))], now);
    for (index, charge) in charges.iter().enumerate() {
        let asks = charge.asked() > 0;
        let limit = if asks { charge.limit } else { MicroUsd(i64::MAX) };
        if (asks && charge.asked() > limit.0) || !book(&work.db, charge, limit)? {
            let (held, spent) = standing(&work.db, &charge.budget, &charge.account, charge.since)?;
            for taken in &charges[..index] {
                book(&work.db, &taken.undone(), MicroUsd(i64::MAX))?;
            }
            return Ok(Err(charge.refusal(held.saturating_add(spent))));
        }
    }
    Ok(Ok(()))
}

/// Tells the budgets of movements that nobody may refuse.
pub(super) fn tell(work: &Work, moved: &[(&Generation, Vec<Movement>)], now: Timestamp) -> Result<()> {
    for charge in work.budgets.charges(moved, now) {
        book(&work.db, &charge, MicroUsd(i64::MAX))?;
    }
    Ok(())
}

fn book(db: &Connection, charge: &Charge, limit: MicroUsd) -> Result<bool> {
    let Charge { budget, account, since, held, spent, .. } = charge;
    Ok(execute(db, sql::money::CHARGE, params![budget, account, since, held, spent, limit.0])? > 0)
}

fn standing(db: &Connection, budget: &str, account: &str, since: i64) -> Result<(i64, i64)> {
    let mut statement = db.prepare_cached(sql::money::STANDING)?;
    let found = statement.query_row(params![budget, account, since], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?.unwrap_or_default())
}

/// Writes movements of a generation's money into the ledger.
pub(super) fn enter(db: &Connection, generation: &Generation, moved: &[Movement], now: Timestamp) -> Result<()> {
    for Movement { model, since, reason, from, to, amount } in moved {
        let params = params![
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
        execute(db, sql::money::INSERT_MOVEMENT, params)?;
    }
    Ok(())
}

/// Writes movements of a chat's money into the ledger.
pub(super) fn enter_chat(db: &Connection, chat: &ChatRecord, moved: &[Movement]) -> Result<()> {
    for Movement { model, since, reason, from, to, amount } in moved {
        let params = params![
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
        execute(db, sql::money::INSERT_MOVEMENT, params)?;
    }
    Ok(())
}

/// Tells the budgets what a chat has cost, which nobody may refuse any more.
pub(super) fn tell_chat(work: &Work, chat: &ChatRecord, moved: &[Movement]) -> Result<()> {
    for charge in work.budgets.chat_charges(chat, moved, chat.ended_at) {
        book(&work.db, &charge, MicroUsd(i64::MAX))?;
    }
    Ok(())
}

/// The price of a quote for this order, which is used from now on.
pub(super) fn use_quote(
    db: &Connection,
    tenant: &TenantId,
    (id, order): &(QuoteId, SentRequest),
    now: Timestamp,
) -> Result<std::result::Result<MicroUsd, NoQuote>> {
    let Some((quote, used)) = quote(db, tenant, *id)? else { return Ok(Err(NoQuote::NotFound)) };
    if let Err(refused) = quote.check(order, used, now) {
        return Ok(Err(refused));
    }
    execute(db, sql::money::USE_QUOTE, params![tenant.id(), id.id()])?;
    Ok(Ok(quote.price))
}

/// A quote, and whether it was used.
pub(super) fn quote(db: &Connection, tenant: &TenantId, id: QuoteId) -> Result<Option<(Quote, bool)>> {
    let mut statement = db.prepare_cached(sql::money::FIND_QUOTE)?;
    let found: Option<(String, bool)> =
        statement.query_row(params![tenant.id(), id.id()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    found.map(|(doc, used)| Ok((from_doc(&doc)?, used))).transpose()
}

pub(super) fn add_quote(db: &Connection, tenant: &TenantId, quote: &Quote) -> Result<()> {
    let params = params![tenant.id(), quote.id.id(), to_doc(quote)?, quote.expires_at.as_microsecond()];
    execute(db, sql::money::INSERT_QUOTE, params).map(drop)
}

pub(super) fn standings(
    db: &Connection,
    budgets: &Budgets,
    spender: &Spender<'_>,
    now: Timestamp,
) -> Result<Vec<Standing>> {
    let mut standings = Vec::new();
    for budget in budgets.iter() {
        let Some(account) = budget.account(spender) else { continue };
        let (held, spent) = standing(db, &budget.name, &account, budget.period.start(now))?;
        let (held, spent, period) = (MicroUsd(held), MicroUsd(spent), budget.period.around(now));
        standings.push(Standing { budget: budget.clone(), spent, held, period });
    }
    Ok(standings)
}

pub(super) fn forget(work: &Work, before: Timestamp, now: Timestamp) -> Result<()> {
    execute(&work.db, sql::money::FORGET_QUOTES, [before.as_microsecond()])?;
    for budget in work.budgets.iter() {
        execute(&work.db, sql::money::FORGET_PERIODS, params![budget.name, budget.period.start(now)])?;
    }
    Ok(())
}

pub(super) fn usage(
    db: &Connection,
    tenant: &TenantId,
    filter: &UsageFilter,
    by: &[UsageKey],
    page: &Page<u64>,
) -> Result<Vec<UsageRow>> {
    let (text, values) = usage::usage(Dialect::Sqlite, tenant, filter, by, page);
    let read = |row: &Row<'_>| {
        let count = |index| row.get::<_, i64>(index).map(i64::unsigned_abs);
        let money = |index| row.get(index).map(MicroUsd);
        Ok(UsageRow {
            keys: (0..by.len()).map(|index| row.get(index)).collect::<rusqlite::Result<_>>()?,
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
    rows(db, &text, params_from_iter(values.iter().map(to_sql)), read)
}

fn to_sql(value: &Value) -> &dyn ToSql {
    match value {
        Value::Text(text) => text,
        Value::Int(number) => number,
    }
}

pub(super) fn ledger(
    db: &Connection,
    tenant: &TenantId,
    filter: &LedgerFilter,
    page: &Page<u64>,
) -> Result<Vec<Entry>> {
    let mut list = List::ledger();
    let mut values: Vec<Value> = vec![tenant.id().into()];
    let mut and = |condition, value: Value| {
        list.and(condition);
        values.push(value);
    };
    filter.generation.map(GenerationId::id).iter().for_each(|id| and("generation = {}", id.as_str().into()));
    filter.session.iter().for_each(|session| and("session = {}", session.id().into()));
    filter.start.iter().for_each(|at| and("at >= {}", at.as_microsecond().into()));
    filter.end.iter().for_each(|at| and("at < {}", at.as_microsecond().into()));
    page.after.iter().for_each(|after| and("number < {}", int(*after).into()));
    values.push(int(page.limit).into());
    let read = |row: &Row<'_>| {
        Ok(LedgerRow {
            number: row.get(0)?,
            at: row.get(1)?,
            generation: row.get(2)?,
            session: row.get(3)?,
            model: row.get(4)?,
            since: row.get(5)?,
            reason: row.get(6)?,
            from: row.get(7)?,
            to: row.get(8)?,
            amount: row.get(9)?,
            chat: row.get(10)?,
        })
    };
    let found = rows(db, &list.order_by("number DESC"), params_from_iter(values.iter().map(to_sql)), read)?;
    found.into_iter().map(LedgerRow::entry).collect()
}
