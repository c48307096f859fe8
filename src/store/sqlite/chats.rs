//! Chats as rows.

use rusqlite::params;

use super::{
    Result, money, sessions,
    statements::{execute, int, to_doc},
    writer::Work,
};
use crate::{
    domain::{chat::ChatRecord, ledger::of_chat, session::Message},
    store::sql,
};

/// Writes what stays of a chat, unless it is there already.
pub(super) fn record(work: &Work, chat: &ChatRecord, turns: &[Message]) -> Result<()> {
    let ChatRecord { id, tenant, session, model, labels, began_at, ended_at, succeeded, usage, cost } = chat;
    let tokens = |count: fn(&crate::domain::chat::TokenUsage) -> u64| usage.as_ref().map(|usage| int(count(usage)));
    let params = params![
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
    if execute(&work.db, sql::chat::INSERT, params)? == 0 {
        return Ok(());
    }
    if let Some(session) = session {
        let mut session = sessions::create(&work.db, tenant, session, *ended_at)?;
        sessions::append(&work.db, tenant, &mut session, turns, *ended_at)?;
    }
    let moved = of_chat(chat);
    money::enter_chat(&work.db, chat, &moved)?;
    money::tell_chat(work, chat, &moved)
}
