//! Accepting a request: one write that decides everything at once, so that no two requests can both think they were first.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Result, artifacts, callbacks, generations, money, sessions,
    statements::{execute, find, from_doc, to_doc},
    writer::Work,
};
use crate::{
    domain::{
        generation::Generation,
        ledger::movements,
        names::{GenerationId, RequestId, SessionId, TenantId},
        order::CachePolicy,
        session::closing_message,
    },
    store::{
        port::{AcceptError, Acceptance, Accepted, Claim, Draft, SentRequest, StoreError},
        rules, sql,
    },
};

/// How many of the session's messages the draft is told.
const EARLIER: u64 = 6;

pub(super) fn accept(
    work: &mut Work,
    acceptance: &Acceptance,
    draft: &dyn Draft,
) -> std::result::Result<Accepted, AcceptError> {
    let Acceptance { tenant, session, request, quote, max_unfinished, now } = acceptance;
    if let Some((id, sent)) = request
        && let Some(known) = replay(&work.db, tenant, id, sent)?
    {
        return Ok(Accepted::Replayed(Box::new(known)));
    }
    if work.unfinished >= *max_unfinished {
        return Err(AcceptError::QueueFull { unfinished: work.unfinished });
    }
    let mut session = sessions::create(&work.db, tenant, session, *now)?;
    let earlier = sessions::last_messages(&work.db, tenant, &session, EARLIER)?;
    let (mut generation, mut messages) = draft.generation(&earlier);
    if let Some(quote) = quote {
        generation.bind_quote(money::use_quote(&work.db, tenant, quote, *now)??);
    }

    let mut history = vec![generation.record("accepted", String::new(), *now)];
    if let Some(source) = earlier_result(&work.db, &generation)? {
        history.push(generation.answer_from(&source, *now));
        messages.extend(closing_message(&generation, *now));
        remember_source(&work.db, &generation, &source)?;
    } else if let Some(leader) = job_to_share(&work.db, &generation)? {
        generation.share_job_of(leader);
    }

    money::take(work, None, &generation, *now)??;
    money::enter(&work.db, &generation, &movements(None, &generation), *now)?;

    sessions::append(&work.db, tenant, &mut session, &messages, *now)?;
    generations::insert(work, &generation)?;
    for entry in &history {
        generations::log(&work.db, generation.id, entry)?;
    }
    for artifact in &generation.artifacts {
        artifacts::insert(&work.db, tenant, artifact)?;
    }
    if generation.state.is_terminal() {
        callbacks::put(&work.db, &generation, *now)?;
    }
    if let Some((id, sent)) = request {
        let params = params![tenant.id(), id.id(), generation.id.id(), to_doc(sent)?, now.as_microsecond()];
        execute(&work.db, sql::request_id::INSERT, params).map_err(AcceptError::Store)?;
    }
    Ok(Accepted::New(Box::new(generation), Claim::SOLE))
}

/// The generation of the first request with this id, if this request is the same.
fn replay(
    db: &Connection,
    tenant: &TenantId,
    id: &RequestId,
    sent: &SentRequest,
) -> std::result::Result<Option<Generation>, AcceptError> {
    let Some((generation, before)) = find_request(db, tenant, id)? else { return Ok(None) };
    if let Some(field) = rules::first_difference(&before, sent) {
        return Err(AcceptError::RequestIdReused { field: field.to_owned() });
    }
    let known = find(db, sql::generation::LOAD_EVEN_DELETED, [generation])?;
    Ok(Some(known.ok_or_else(|| StoreError::broken("a request id refers to no generation"))?))
}

fn find_request(db: &Connection, tenant: &TenantId, id: &RequestId) -> Result<Option<(String, SentRequest)>> {
    let mut statement = db.prepare_cached(sql::request_id::FIND)?;
    let row: Option<(String, String)> =
        statement.query_row(params![tenant.id(), id.id()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    row.map(|(generation, sent)| Ok((generation, from_doc(&sent)?))).transpose()
}

fn earlier_result(db: &Connection, generation: &Generation) -> Result<Option<Generation>> {
    match (generation.cache, &generation.cache_key) {
        (CachePolicy::Default, Some(key)) => {
            cached(db, &generation.tenant, &key.digest, rules::scope(key.first_turn, &generation.session))
        }
        (CachePolicy::Default, None) | (CachePolicy::Bypass | CachePolicy::Refresh, _) => Ok(None),
    }
}

/// The result that a later order in this session would be answered from, for the look before an acceptance.
pub(super) fn cached_for(
    db: &Connection,
    tenant: &TenantId,
    session: Option<&SessionId>,
    digest: &str,
) -> Result<Option<Generation>> {
    let Some(session) = session else { return cached(db, tenant, digest, rules::ANY_SESSION) };
    let first_turn = sessions::find(db, tenant, session)?.is_none_or(|session| session.n_messages == 0);
    cached(db, tenant, digest, rules::scope(first_turn, session))
}

fn cached(db: &Connection, tenant: &TenantId, digest: &str, scope: &str) -> Result<Option<Generation>> {
    match find(db, sql::cached::FIND, params![tenant.id(), digest, scope])? {
        Some(source) if artifacts::are_whole(db, &source)? => Ok(Some(source)),
        Some(_) | None => Ok(None),
    }
}

/// A result that came from another session is this session's from now on: the same order again is no first turn any more.
fn remember_source(db: &Connection, generation: &Generation, source: &Generation) -> Result<()> {
    let Some(key) = &generation.cache_key else { return Ok(()) };
    let params = params![generation.tenant.id(), key.digest, generation.session.id(), source.id.id()];
    execute(db, sql::cached::PUT, params).map(drop)
}

fn job_to_share(db: &Connection, generation: &Generation) -> Result<Option<GenerationId>> {
    let (CachePolicy::Default, Some(key)) = (generation.cache, &generation.cache_key) else { return Ok(None) };
    let (tenant, session) = (generation.tenant.id(), generation.session.id());
    let id: Option<String> = if key.first_turn {
        let mut statement = db.prepare_cached(sql::generation::LEADER_OF_FIRST_TURN)?;
        statement.query_row(params![tenant, key.digest], |row| row.get(0)).optional()?
    } else {
        let mut statement = db.prepare_cached(sql::generation::LEADER_IN_SESSION)?;
        statement.query_row(params![tenant, key.digest, session], |row| row.get(0)).optional()?
    };
    id.map(|id| GenerationId::from_id(&id).map_err(StoreError::broken)).transpose()
}
