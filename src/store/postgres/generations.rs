//! Generations and their histories as rows.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{
    Result, dialect, retention,
    statements::{Answer, Statement, column, from_doc, int, to_doc, values},
    work::Work,
};
use crate::{
    domain::{
        generation::{Generation, HistoryEvent, State},
        names::{GenerationId, TenantId},
    },
    store::{
        port::{Claim, DeleteError, Direction, GenerationFilter, Loaded, Owned, Page},
        rules,
        sql::{self, List},
    },
};

/// A generation with its place among processes.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) generation: Generation,
    /// The process that drives it; empty for nobody.
    pub(super) owner: String,
    pub(super) fence: i64,
    /// It is a tombstone that tells where its job went.
    pub(super) deleted: bool,
}

impl Stored {
    /// The right to drive it, if it belongs to this process.
    pub(super) fn claim_of(&self, process: &str) -> Option<Claim> {
        (self.owner == process).then(|| Claim::of(self.fence))
    }

    pub(super) fn loaded_by(self, process: &str) -> Loaded {
        let claim = self.claim_of(process);
        Loaded { generation: self.generation, claim }
    }

    pub(super) fn owned(self) -> Owned {
        Owned { claim: Claim::of(self.fence), generation: self.generation }
    }
}

/// The rows of `doc, deleted, owner, fence`, without the tombstones that lead nowhere.
pub(super) fn stored(answer: &Answer) -> Result<Vec<Stored>> {
    let read = |row: &Row| -> Result<Stored> {
        let generation = from_doc(column(row, 0)?)?;
        // An expired one is a tombstone that is still read.
        let deleted = column::<i64>(row, 1)? == 1;
        Ok(Stored { generation, owner: column(row, 2)?, fence: column(row, 3)?, deleted })
    };
    let mut stored = answer.rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    stored.retain(|stored| !stored.deleted || stored.generation.successor.is_some());
    Ok(stored)
}

/// Adds a generation.
pub(super) fn insert(work: &mut Work, stored: &Stored) -> Result<()> {
    let Stored { generation, owner, fence, .. } = stored;
    let Keys { state, ended, leader, open_digest, submitting, waits_for, waits_since, ended_at, works_at } =
        Keys::of(generation);
    let values = values![
        generation.id.id(),
        generation.tenant.id(),
        generation.session.id(),
        generation.kind.as_str(),
        state,
        ended,
        leader,
        open_digest,
        generation.cache_key.as_ref().is_some_and(|key| key.first_turn),
        submitting,
        waits_for,
        waits_since,
        int(generation.sequence),
        owner.as_str(),
        *fence,
        to_doc(generation)?,
        ended_at,
        works_at,
        generation.created_at.as_microsecond(),
        rules::model(generation),
        to_doc(&generation.labels)?,
        generation.cost.saved.0,
    ];
    work.write(Statement::own(dialect::INSERT, values));
    if !ended {
        retention::protect_inputs(work, generation);
    }
    Ok(())
}

/// Writes a generation as it is now, with the history entries that belong to the change. Without one it is mere progress, the most frequent
/// write of all, which touches no index.
pub(super) fn save(work: &mut Work, stored: &Stored, entries: &[HistoryEvent]) -> Result<()> {
    if entries.is_empty() {
        work.write(Statement::own(dialect::UPDATE_DOC, start(stored)?));
        return Ok(());
    }
    save_keys(work, stored)?;
    entries.iter().try_for_each(|entry| log(work, stored.generation.id, entry))
}

/// Writes a generation with all that it is looked up by.
pub(super) fn save_keys(work: &mut Work, stored: &Stored) -> Result<()> {
    let Keys { state, ended, leader, open_digest, submitting, waits_for, waits_since, ended_at, works_at } =
        Keys::of(&stored.generation);
    let mut values = start(stored)?;
    values.extend(values![state, ended, leader, open_digest, submitting, waits_for, waits_since, ended_at, works_at]);
    let generation = &stored.generation;
    values.extend(values![rules::model(generation), generation.cost.saved.0, rules::is_unpriced(generation)]);
    work.write(Statement::own(dialect::UPDATE, values));
    Ok(())
}

/// Gives a generation to the owner of another, with its claim.
pub(super) fn give_claim(work: &mut Work, to: &mut Stored, from: &Stored) {
    let id = to.generation.id.id();
    let values = values![id, to.owner.as_str(), to.fence, from.owner.as_str(), from.fence];
    work.write(Statement::own(dialect::GIVE_CLAIM, values));
    to.owner.clone_from(&from.owner);
    to.fence = from.fence;
}

/// What every update of a generation starts with: the row under its claim, and the record.
fn start(stored: &Stored) -> Result<Vec<super::statements::Value>> {
    let Stored { generation, owner, fence, .. } = stored;
    Ok(values![generation.id.id(), owner.as_str(), *fence, int(generation.sequence), to_doc(generation)?])
}

/// What a generation is looked up by.
struct Keys<'a> {
    state: &'static str,
    ended: bool,
    leader: Option<String>,
    open_digest: Option<&'a str>,
    submitting: Option<String>,
    waits_for: Option<&'a str>,
    waits_since: i64,
    ended_at: Option<i64>,
    works_at: Option<String>,
}

impl<'a> Keys<'a> {
    fn of(generation: &'a Generation) -> Self {
        let waits = rules::waits_for(generation);
        Self {
            state: generation.state.as_str(),
            ended: generation.state.is_terminal(),
            leader: generation.leader.map(GenerationId::id),
            open_digest: rules::open_digest(generation),
            submitting: rules::submitting(generation),
            waits_for: waits.map(|(provider, _)| provider),
            waits_since: waits.map_or(0, |(_, since)| since.as_microsecond()),
            ended_at: generation.ended_at.map(Timestamp::as_microsecond),
            works_at: rules::works_at(generation),
        }
    }
}

/// Appends to a history.
pub(super) fn log(work: &mut Work, id: GenerationId, entry: &HistoryEvent) -> Result<()> {
    let values = values![id.id(), int(entry.number), to_doc(entry)?];
    work.write(Statement::shared(sql::generation::INSERT_EVENT, values));
    Ok(())
}

/// Also a deleted one that handed its job over: whoever drives that job must find out where it went.
pub(super) async fn load(work: &mut Work, id: GenerationId) -> Result<Option<Stored>> {
    let found = work.ask(Statement::own(dialect::LOAD, values![id.id()])).await?;
    Ok(stored(&found)?.pop())
}

pub(super) async fn loaded(mut work: Work, process: &str, id: GenerationId) -> Result<Option<Loaded>> {
    Ok(load(&mut work, id).await?.map(|stored| stored.loaded_by(process)))
}

/// As `load`, and nobody else changes it until this transaction ends.
pub(super) async fn load_locked(work: &mut Work, id: GenerationId) -> Result<Option<Stored>> {
    let found = work.ask(Statement::own(dialect::LOAD_LOCKED, values![id.id()])).await?;
    Ok(stored(&found)?.pop())
}

/// Those that share the generation's job, oldest first, locked in this order.
pub(super) async fn followers_locked(work: &mut Work, id: GenerationId) -> Result<Vec<Stored>> {
    stored(&work.ask(Statement::own(dialect::FOLLOWERS_LOCKED, values![id.id()])).await?)
}

pub(super) async fn of_tenant(mut work: Work, tenant: &TenantId, id: GenerationId) -> Result<Option<Generation>> {
    work.ask(Statement::shared(sql::generation::FIND, values![tenant.id(), id.id()])).await?.find()
}

pub(super) async fn history(mut work: Work, id: GenerationId, page: &Page<u64>) -> Result<Vec<HistoryEvent>> {
    let values = values![id.id(), int(page.after.unwrap_or_default()), int(page.limit)];
    work.ask(Statement::shared(sql::generation::EVENTS, values)).await?.list()
}

pub(super) async fn listed(
    mut work: Work,
    tenant: &TenantId,
    filter: &GenerationFilter,
    page: &Page<GenerationId>,
) -> Result<Vec<Generation>> {
    if filter.states.is_empty() {
        return work.ask(list_of(tenant, filter, None, page)).await?.list();
    }
    // One short walk along the index for each state; together they hold the page.
    let mut found = Vec::new();
    for state in State::ALL.into_iter().filter(|state| filter.states.contains(state)) {
        found.append(&mut work.ask(list_of(tenant, filter, Some(state), page)).await?.list()?);
    }
    found.sort_unstable_by_key(|generation: &Generation| generation.id);
    if filter.direction == Direction::NewestFirst {
        found.reverse();
    }
    found.truncate(page.limit);
    Ok(found)
}

fn list_of(tenant: &TenantId, filter: &GenerationFilter, state: Option<State>, page: &Page<GenerationId>) -> Statement {
    let mut list = List::generations();
    let mut values = values![tenant.id()];
    if let Some(state) = state {
        list.and("state = {}");
        values.extend(values![state.as_str()]);
    }
    if let Some(session) = &filter.session {
        list.and("session = {}");
        values.extend(values![session.id()]);
    }
    if let Some(kind) = filter.kind {
        list.and("kind = {}");
        values.extend(values![kind.as_str()]);
    }
    if let Some(after) = page.after {
        list.and(match filter.direction {
            Direction::NewestFirst => "id < {}",
            Direction::OldestFirst => "id > {}",
        });
        values.extend(values![after.id()]);
    }
    values.extend(values![int(page.limit)]);
    let order = match filter.direction {
        Direction::NewestFirst => "id DESC",
        Direction::OldestFirst => "id",
    };
    Statement::list(&list.order_by(order), values)
}

/// Deletes an ended generation; its tombstone stays for its request id.
pub(super) async fn delete(
    mut work: Work,
    tenant: &TenantId,
    id: GenerationId,
) -> std::result::Result<(), DeleteError> {
    let found = work.ask(Statement::own(dialect::OF_TENANT_LOCKED, values![tenant.id(), id.id()])).await?;
    let mut generation: Generation = found.find()?.ok_or(DeleteError::NotFound)?;
    if !generation.state.is_terminal() {
        return Err(DeleteError::Unfinished(generation.state));
    }
    generation.scrub();
    work.write(Statement::shared(sql::generation::ENTOMB, values![id.id(), to_doc(&generation)?]));
    delete_what_hangs_on(&mut work, &generation);
    Ok(work.commit().await?)
}

/// Deletes the rows that only an ended generation that is whole has.
pub(super) fn delete_what_hangs_on(work: &mut Work, generation: &Generation) {
    let (tenant, id) = (generation.tenant.id(), generation.id.id());
    work.write(Statement::shared(sql::generation::DELETE_EVENTS, values![id.as_str()]));
    work.write(Statement::shared(sql::callback::DELETE, values![id.as_str()]));
    work.write(Statement::shared(sql::artifact::DELETE_OUTPUTS, values![tenant, id.as_str()]));
    work.write(Statement::shared(sql::cached::FORGET_GENERATION, values![tenant, id]));
}
