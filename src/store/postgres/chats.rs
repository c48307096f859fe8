//! Chats as rows.

use super::{
    Result, dialect, locks, money, sessions,
    statements::{Statement, int, to_doc, values},
    work::Work,
};
use crate::domain::{
    budget::Budgets,
    chat::{ChatRecord, TokenUsage},
    ledger::of_chat,
    session::Message,
};

/// Writes what stays of a chat, unless it is there already: a commit whose answer was lost may have been done.
pub(super) async fn record(mut work: Work, budgets: &Budgets, chat: &ChatRecord, turns: &[Message]) -> Result<()> {
    let ChatRecord { id, tenant, session, model, labels, began_at, ended_at, succeeded, usage, cost } = chat;
    let tokens = |count: fn(&TokenUsage) -> u64| usage.as_ref().map(|usage| int(count(usage)));
    if let Some(session) = session {
        work.write(locks::session(tenant, session));
    }
    let values = values![
        id.id(),
        tenant.id(),
        session.as_ref().map_or("", |session| session.id()),
        model.to_string(),
        to_doc(labels)?,
        began_at.as_microsecond(),
        ended_at.as_microsecond(),
        if *succeeded { "succeeded" } else { "failed" },
        tokens(|usage| usage.input),
        tokens(|usage| usage.cached_input),
        tokens(|usage| usage.output),
        tokens(|usage| usage.reasoning),
        cost.map(|cost| cost.0),
    ];
    if work.ask(Statement::own(dialect::INSERT_CHAT, values)).await?.n_changed == 0 {
        return Ok(());
    }
    if let Some(session) = session {
        sessions::ensure(&mut work, tenant, session, *ended_at);
        sessions::append(&mut work, tenant, session, turns, *ended_at)?;
    }
    let moved = of_chat(chat);
    money::enter_chat(&mut work, chat, &moved);
    money::tell_chat(&mut work, budgets, chat, &moved);
    work.commit().await
}
