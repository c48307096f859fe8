//! Generations and their histories as rows.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, ToSql, params};

use super::{
    Result, retention,
    statements::{execute, find, int, list, to_doc},
    writer::Work,
};
use crate::{
    domain::{
        generation::{Generation, HistoryEvent, State},
        names::{GenerationId, TenantId},
    },
    store::{
        port::{DeleteError, Direction, GenerationFilter, Page},
        rules,
        sql::{self, List},
    },
};

/// Adds a generation. It counts as unfinished unless it has ended.
pub(super) fn insert(work: &mut Work, generation: &Generation) -> Result<()> {
    let ended = generation.state.is_terminal();
    execute(
        &work.db,
        sql::generation::INSERT,
        params![
            generation.id.id(),
            generation.tenant.id(),
            generation.session.id(),
            generation.kind.as_str(),
            generation.state.as_str(),
            ended,
            generation.leader.map(GenerationId::id),
            rules::open_digest(generation),
            generation.cache_key.as_ref().is_some_and(|key| key.first_turn),
            rules::submitting(generation),
            to_doc(generation)?,
            generation.ended_at.map(Timestamp::as_microsecond),
            generation.created_at.as_microsecond(),
            rules::model(generation),
            to_doc(&generation.labels)?,
            generation.cost.saved.0,
        ],
    )?;
    if !ended {
        retention::protect_inputs(&work.db, generation)?;
    }
    work.records.put(generation);
    work.unfinished += u64::from(!ended);
    Ok(())
}

/// Writes what became of `before`, with the history entries that belong to that. Without one it is mere progress, the most frequent write of all.
///
/// SQLite looks at an index unless the statement leaves its columns alone, whether they change or not: so only those are set that may have changed.
pub(super) fn save(
    work: &mut Work,
    before: &Generation,
    generation: &Generation,
    entries: &[HistoryEvent],
) -> Result<()> {
    let id = generation.id.id();
    if entries.is_empty() {
        execute(&work.db, sql::generation::UPDATE_DOC, params![id, to_doc(generation)?])?;
    } else if Keys::of(before) == Keys::of(generation) {
        let (state, submitting) = (generation.state.as_str(), rules::submitting(generation));
        execute(&work.db, sql::generation::UPDATE_STATE, params![id, state, submitting, to_doc(generation)?])?;
    } else {
        return save_keys(work, generation, entries);
    }
    work.records.put(generation);
    entries.iter().try_for_each(|entry| log(&work.db, generation.id, entry))
}

/// Writes a generation with all that it is looked up by.
pub(super) fn save_keys(work: &mut Work, generation: &Generation, entries: &[HistoryEvent]) -> Result<()> {
    let Keys { ended, leader, open_digest, ended_at, model, saved, is_unpriced } = Keys::of(generation);
    execute(
        &work.db,
        sql::generation::UPDATE,
        params![
            generation.id.id(),
            generation.state.as_str(),
            ended,
            leader.map(GenerationId::id),
            open_digest,
            rules::submitting(generation),
            to_doc(generation)?,
            ended_at.map(Timestamp::as_microsecond),
            model,
            saved,
            is_unpriced,
        ],
    )?;
    work.records.put(generation);
    entries.iter().try_for_each(|entry| log(&work.db, generation.id, entry))
}

/// What a generation is looked up by and seldom changes while it is unfinished: all but the state and what was submitted.
#[derive(Debug, PartialEq)]
struct Keys<'a> {
    ended: bool,
    leader: Option<GenerationId>,
    open_digest: Option<&'a str>,
    ended_at: Option<Timestamp>,
    model: String,
    saved: i64,
    is_unpriced: bool,
}

impl<'a> Keys<'a> {
    fn of(generation: &'a Generation) -> Self {
        Self {
            ended: generation.state.is_terminal(),
            leader: generation.leader,
            open_digest: rules::open_digest(generation),
            ended_at: generation.ended_at,
            model: rules::model(generation),
            saved: generation.cost.saved.0,
            is_unpriced: rules::is_unpriced(generation),
        }
    }
}

/// Appends to a history.
pub(super) fn log(db: &Connection, id: GenerationId, entry: &HistoryEvent) -> Result<()> {
    execute(db, sql::generation::INSERT_EVENT, params![id.id(), int(entry.number), to_doc(entry)?]).map(drop)
}

/// Deleted ones do not exist; expired ones are tombstones.
pub(super) fn load(db: &Connection, id: GenerationId) -> Result<Option<Generation>> {
    find(db, sql::generation::LOAD, [id.id()])
}

/// As `load`, for the writer.
pub(super) fn load_to_change(work: &Work, id: GenerationId) -> Result<Option<Arc<Generation>>> {
    Ok(match known(work, id) {
        Some(known) => Some(known),
        None => load(&work.db, id)?.map(Arc::new),
    })
}

/// As `load_to_follow`, for the writer.
pub(super) fn load_to_follow_and_change(work: &Work, id: GenerationId) -> Result<Option<Arc<Generation>>> {
    Ok(match known(work, id) {
        Some(known) => Some(known),
        None => load_to_follow(&work.db, id)?.map(Arc::new),
    })
}

fn known(work: &Work, id: GenerationId) -> Option<Arc<Generation>> {
    let known = work.records.get(id)?;
    // A debug build proves at each event that this is what is stored. As text, for a number may be read back as its neighbour.
    debug_assert!(stored_text(work, id).is_none_or(|text| Some(text) == to_doc(&*known).ok()));
    Some(known)
}

fn stored_text(work: &Work, id: GenerationId) -> Option<String> {
    work.db.prepare_cached(sql::generation::LOAD).ok()?.query_row([id.id()], |row| row.get(0)).ok()
}

/// As `load`, but a deleted one that handed its job over exists: whoever drives that job must find out where it went.
pub(super) fn load_to_follow(db: &Connection, id: GenerationId) -> Result<Option<Generation>> {
    if let Some(generation) = load(db, id)? {
        return Ok(Some(generation));
    }
    let tombstone: Option<Generation> = find(db, sql::generation::LOAD_EVEN_DELETED, [id.id()])?;
    Ok(tombstone.filter(|generation| generation.successor.is_some()))
}

pub(super) fn of_tenant(db: &Connection, tenant: &TenantId, id: GenerationId) -> Result<Option<Generation>> {
    find(db, sql::generation::FIND, params![tenant.id(), id.id()])
}

/// Those that share the generation's job, oldest first.
pub(super) fn followers(db: &Connection, id: GenerationId) -> Result<Vec<Generation>> {
    list(db, sql::generation::FOLLOWERS, [id.id()])
}

pub(super) fn unfinished(db: &Connection, after: Option<GenerationId>, limit: usize) -> Result<Vec<Generation>> {
    let after = after.map(GenerationId::id).unwrap_or_default();
    list(db, sql::generation::UNFINISHED, params![after, int(limit)])
}

pub(super) fn history(db: &Connection, id: GenerationId, page: &Page<u64>) -> Result<Vec<HistoryEvent>> {
    let after = int(page.after.unwrap_or_default());
    list(db, sql::generation::EVENTS, params![id.id(), after, int(page.limit)])
}

pub(super) fn listed(
    db: &Connection,
    tenant: &TenantId,
    filter: &GenerationFilter,
    page: &Page<GenerationId>,
) -> Result<Vec<Generation>> {
    if filter.states.is_empty() {
        return listed_in(db, tenant, filter, None, page);
    }
    // One short walk along the index for each state; together they hold the page.
    let mut found = Vec::new();
    for state in State::ALL.into_iter().filter(|state| filter.states.contains(state)) {
        found.append(&mut listed_in(db, tenant, filter, Some(state), page)?);
    }
    found.sort_unstable_by_key(|generation| generation.id);
    if filter.direction == Direction::NewestFirst {
        found.reverse();
    }
    found.truncate(page.limit);
    Ok(found)
}

fn listed_in(
    db: &Connection,
    tenant: &TenantId,
    filter: &GenerationFilter,
    state: Option<State>,
    page: &Page<GenerationId>,
) -> Result<Vec<Generation>> {
    let mut list_of = List::generations();
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(tenant.id().to_owned())];
    if let Some(state) = state {
        list_of.and("state = {}");
        values.push(Box::new(state.as_str()));
    }
    if let Some(session) = &filter.session {
        list_of.and("session = {}");
        values.push(Box::new(session.id().to_owned()));
    }
    if let Some(kind) = filter.kind {
        list_of.and("kind = {}");
        values.push(Box::new(kind.as_str()));
    }
    if let Some(after) = page.after {
        list_of.and(match filter.direction {
            Direction::NewestFirst => "id < {}",
            Direction::OldestFirst => "id > {}",
        });
        values.push(Box::new(after.id()));
    }
    values.push(Box::new(int(page.limit)));
    let order = match filter.direction {
        Direction::NewestFirst => "id DESC",
        Direction::OldestFirst => "id",
    };
    list(db, &list_of.order_by(order), rusqlite::params_from_iter(values))
}

/// Deletes an ended generation; its tombstone stays for its request id.
pub(super) fn delete(db: &Connection, tenant: &TenantId, id: GenerationId) -> std::result::Result<(), DeleteError> {
    let mut generation = of_tenant(db, tenant, id)?.ok_or(DeleteError::NotFound)?;
    if !generation.state.is_terminal() {
        return Err(DeleteError::Unfinished(generation.state));
    }
    generation.scrub();
    execute(db, sql::generation::ENTOMB, params![id.id(), to_doc(&generation)?])?;
    Ok(delete_what_hangs_on(db, &generation)?)
}

/// Deletes the rows that only an ended generation that is whole has.
pub(super) fn delete_what_hangs_on(db: &Connection, generation: &Generation) -> Result<()> {
    let (tenant, id) = (generation.tenant.id(), generation.id.id());
    execute(db, sql::generation::DELETE_EVENTS, [&id])?;
    execute(db, sql::callback::DELETE, [&id])?;
    execute(db, sql::artifact::DELETE_OUTPUTS, params![tenant, id])?;
    execute(db, sql::cached::FORGET_GENERATION, params![tenant, id])?;
    Ok(())
}
