//! Accepting a request: one transaction that decides everything at once, so that no two requests can both think they were first.
//!
//! Two round trips, or three for an order that may be shared: what is known of the request and its session; what is known of the order; the
//! writes with the commit.

use jiff::Timestamp;

use super::{
    Postgres, Result, artifacts, callbacks, dialect, generations,
    generations::Stored,
    locks, money, sessions,
    statements::{Answer, Statement, column, from_doc, to_doc, values},
    work::Work,
};
use crate::{
    domain::{
        generation::{CacheKey, Generation},
        ledger::movements,
        names::{GenerationId, RequestId, SessionId, TenantId},
        order::CachePolicy,
        session::{Message, closing_message},
    },
    store::{
        port::{AcceptError, Acceptance, Accepted, Claim, Draft, SentRequest, StoreError},
        rules, sql,
    },
};

/// How many of the session's messages the draft is told.
const EARLIER: i64 = 6;
/// Most request ids that one call forgets, so that no transaction keeps others waiting for long.
const MAX_EXPIRED: i64 = 10_000;

pub(super) async fn accept(
    store: &Postgres,
    mut work: Work,
    acceptance: &Acceptance,
    draft: &dyn Draft,
) -> std::result::Result<Accepted, AcceptError> {
    let Acceptance { tenant, session, request, quote, max_unfinished, now } = acceptance;
    if let Some((id, _)) = request {
        work.write(locks::request(tenant, id));
    }
    work.write(locks::session(tenant, session));
    let [known, last, fence] = work
        .ask_all([
            // Nothing is found without a request id.
            Statement::shared(
                sql::request_id::FIND,
                values![tenant.id(), request.as_ref().map(|(id, _)| RequestId::id(id))],
            ),
            sessions::last_messages(tenant, session, EARLIER),
            Statement::own(dialect::FENCE, values![]),
        ])
        .await?;
    if let Some((_, sent)) = request
        && let Some(known) = replay(&mut work, &known, sent).await?
    {
        return Ok(Accepted::Replayed(Box::new(known)));
    }
    if let Err(unfinished) = store.unfinished.admit(&mut work, *max_unfinished).await? {
        return Err(AcceptError::QueueFull { unfinished });
    }
    let mut earlier: Vec<Message> = last.list()?;
    earlier.reverse();
    let (mut generation, mut messages) = draft.generation(&earlier);
    if let Some(quote) = quote {
        generation.bind_quote(money::use_quote(&mut work, tenant, quote, *now).await??);
    }
    let mut history = vec![generation.record("accepted", String::new(), *now)];
    match earlier_work(&mut work, &generation).await? {
        Some(Earlier::Result(source)) => {
            history.push(generation.answer_from(&source, *now));
            messages.extend(closing_message(&generation, *now));
            remember_source(&mut work, &generation, &source);
        }
        Some(Earlier::Job(leader)) => generation.share_job_of(leader),
        None => {}
    }

    let stored = Stored { generation, owner: store.process.clone(), fence: fence.number()?, deleted: false };
    generations::insert(&mut work, &stored)?;
    let Stored { generation, fence, .. } = stored;
    for entry in &history {
        generations::log(&mut work, generation.id, entry)?;
    }
    write_surroundings(&mut work, &generation, &messages, *now)?;
    if let Some((id, sent)) = request {
        let values = values![tenant.id(), id.id(), generation.id.id(), to_doc(sent)?, now.as_microsecond()];
        work.write(Statement::shared(sql::request_id::INSERT, values));
    }
    money::enter(&mut work, &generation, &movements(None, &generation), *now);
    money::take(&mut work, &store.budgets, None, &generation, *now).await??;
    work.commit().await?;
    if !generation.state.is_terminal() {
        store.unfinished.grow();
    }
    Ok(Accepted::New(Box::new(generation), Claim::of(fence)))
}

/// Its session with the messages, and if it has ended already, its outputs and its callback.
fn write_surroundings(work: &mut Work, generation: &Generation, messages: &[Message], now: Timestamp) -> Result<()> {
    let Generation { tenant, session, .. } = generation;
    sessions::ensure(work, tenant, session, now);
    sessions::append(work, tenant, session, messages, now)?;
    for artifact in &generation.artifacts {
        artifacts::insert(work, tenant, artifact)?;
    }
    if generation.state.is_terminal() {
        callbacks::put(work, generation, now);
    }
    Ok(())
}

/// The generation of the first request with this id, if this request is the same.
async fn replay(
    work: &mut Work,
    known: &Answer,
    sent: &SentRequest,
) -> std::result::Result<Option<Generation>, AcceptError> {
    let Some(row) = known.rows.first() else { return Ok(None) };
    let before: SentRequest = from_doc(column(row, 1)?)?;
    if let Some(field) = rules::first_difference(&before, sent) {
        return Err(AcceptError::RequestIdReused { field: field.to_owned() });
    }
    let id: &str = column(row, 0)?;
    let known = work.ask(Statement::shared(sql::generation::LOAD_EVEN_DELETED, values![id])).await?.find()?;
    Ok(Some(known.ok_or_else(|| StoreError::broken("a request id refers to no generation"))?))
}

/// What an order need not be done again for.
enum Earlier {
    /// A result.
    Result(Box<Generation>),
    /// A job in flight.
    Job(GenerationId),
}

/// Looks for both under the lock of the order, the job first: one that is just ending is waited for, and then its result is there.
async fn earlier_work(work: &mut Work, generation: &Generation) -> Result<Option<Earlier>> {
    let (CachePolicy::Default, Some(key)) = (generation.cache, &generation.cache_key) else { return Ok(None) };
    work.write(locks::order(&generation.tenant, &key.digest));
    let scope = rules::scope(key.first_turn, &generation.session);
    let place = values![generation.tenant.id(), key.digest.as_str(), scope];
    let [leader, source, outputs] = work
        .ask_all([
            leader_of(generation, key),
            Statement::own(dialect::CACHED, place.clone()),
            Statement::own(dialect::CACHED_OUTPUTS, place),
        ])
        .await?;
    // An answer needs every output.
    let source: Option<Generation> = source.find()?;
    if let Some(source) = source.filter(|source| source.artifacts.len() == outputs.rows.len()) {
        return Ok(Some(Earlier::Result(Box::new(source))));
    }
    let leader = leader.first::<&str>()?.map(GenerationId::from_id).transpose().map_err(StoreError::broken)?;
    Ok(leader.map(Earlier::Job))
}

fn leader_of(generation: &Generation, key: &CacheKey) -> Statement {
    let (tenant, digest) = (generation.tenant.id(), key.digest.as_str());
    if key.first_turn {
        Statement::own(dialect::LEADER_OF_FIRST_TURN, values![tenant, digest])
    } else {
        Statement::own(dialect::LEADER_IN_SESSION, values![tenant, digest, generation.session.id()])
    }
}

/// The result that a later order in this session would be answered from, for the look before an acceptance.
pub(super) async fn cached_for(
    mut work: Work,
    tenant: &TenantId,
    session: Option<&SessionId>,
    digest: &str,
) -> Result<Option<Generation>> {
    let scope = match session {
        None => rules::ANY_SESSION,
        Some(session) => {
            let found = sessions::find_in(&mut work, tenant, session).await?;
            rules::scope(found.is_none_or(|session| session.n_messages == 0), session)
        }
    };
    let values = values![tenant.id(), digest, scope];
    let found = work.ask(Statement::shared(sql::cached::FIND, values)).await?;
    let Some(source) = found.find::<Generation>()? else { return Ok(None) };
    let values = values![tenant.id(), source.id.id()];
    let n_outputs = work.ask(Statement::shared(sql::artifact::COUNT_OUTPUTS, values)).await?.count()?;
    Ok((n_outputs == source.artifacts.len() as u64).then_some(source))
}

/// A result that came from another session is this session's from now on: the same order again is no first turn any more.
fn remember_source(work: &mut Work, generation: &Generation, source: &Generation) {
    let Some(key) = &generation.cache_key else { return };
    let values = values![generation.tenant.id(), key.digest.as_str(), generation.session.id(), source.id.id()];
    work.write(Statement::shared(sql::cached::PUT, values));
}

pub(super) async fn forget_cached(mut work: Work, tenant: &TenantId, generation: GenerationId) -> Result<()> {
    work.write(Statement::shared(sql::cached::FORGET_GENERATION, values![tenant.id(), generation.id()]));
    work.commit().await
}

pub(super) async fn expire_request_ids(mut work: Work, before: Timestamp) -> Result<u64> {
    let values = values![before.as_microsecond(), MAX_EXPIRED];
    let expired = work.ask(Statement::shared(sql::request_id::EXPIRE, values)).await?;
    work.commit().await?;
    Ok(expired.n_changed)
}
