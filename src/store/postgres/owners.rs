//! Who drives what: leases, claims, work that changes hands, and hints about what others changed.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{
    Result, dialect,
    generations::{Stored, stored},
    statements::{Statement, column, int, values},
    unfinished::Unfinished,
    work::Work,
};
use crate::{
    domain::{generation::Generation, names::GenerationId},
    store::port::{Loaded, Owned},
};

/// Most hints taken at a time; the rest is there for the next time.
const MAX_HINTS: i64 = 1_000;
/// Most generations compared in one statement.
const MAX_KNOWN: usize = 1_000;

/// Begins a run of this process: its lease holds, what an earlier run left is its own with new claims, and it knows everything.
pub(super) async fn enter(mut work: Work, process: &str, lease: Duration) -> Result<()> {
    work.write(Statement::own(dialect::HEARTBEAT, values![process, int(lease.as_micros())]));
    work.write(Statement::own(dialect::RENEW_CLAIMS, values![process]));
    work.write(Statement::own(dialect::FORGET_HINTS, values![process]));
    work.commit().await
}

/// Renews the lease, which proves that writing works, and counts what is unfinished.
pub(super) async fn heartbeat(mut work: Work, process: &str, lease: Duration, unfinished: &Unfinished) -> Result<()> {
    work.write(Statement::own(dialect::HEARTBEAT, values![process, int(lease.as_micros())]));
    unfinished.count(&mut work).await?;
    work.commit().await
}

pub(super) async fn owned(
    mut work: Work,
    process: &str,
    after: Option<GenerationId>,
    limit: usize,
) -> Result<Vec<Owned>> {
    let after = after.map(GenerationId::id).unwrap_or_default();
    let found = work.ask(Statement::own(dialect::OWNED, values![process, after, int(limit)])).await?;
    Ok(stored(&found)?.into_iter().map(Stored::owned).collect())
}

pub(super) async fn take_over(mut work: Work, process: &str, limit: usize) -> Result<Vec<Owned>> {
    let gone = work.ask(Statement::own(dialect::GONE, values![process])).await?;
    let gone: Vec<String> = gone.rows.iter().map(|row| column(row, 0)).collect::<Result<_>>()?;
    if gone.is_empty() {
        work.write(Statement::own(dialect::FORGET_GONE, values![]));
        work.commit().await?;
        return Ok(Vec::new());
    }
    let mut taken = Vec::new();
    for owner in gone {
        let n_more = limit.saturating_sub(taken.len());
        if n_more == 0 {
            break;
        }
        let found = work.ask(Statement::own(dialect::TAKE_OVER, values![process, owner, int(n_more)])).await?;
        taken.append(&mut stored(&found)?);
    }
    work.commit().await?;
    Ok(oldest_first(taken))
}

pub(super) async fn take_waiting(
    mut work: Work,
    process: &str,
    (provider, before): (&str, Timestamp),
    limit: usize,
) -> Result<Vec<Owned>> {
    let values = values![process, provider, before.as_microsecond(), int(limit)];
    let taken = work.ask(Statement::own(dialect::TAKE_WAITING, values)).await?;
    work.commit().await?;
    Ok(oldest_first(stored(&taken)?))
}

fn oldest_first(mut taken: Vec<Stored>) -> Vec<Owned> {
    taken.sort_unstable_by_key(|stored| stored.generation.id);
    taken.into_iter().map(Stored::owned).collect()
}

/// Owners that are to be told of changes.
#[derive(Debug, Default)]
pub(super) struct Hints(BTreeSet<(String, String)>);

impl Hints {
    /// The owner of this one, unless that is this process, or nobody.
    pub(super) fn add(&mut self, process: &str, changed: &Stored) {
        if changed.owner != process && !changed.owner.is_empty() {
            self.0.insert((changed.owner.clone(), changed.generation.id.id()));
        }
    }

    /// Tells them with the commit. The generations are locked, so that of two changes the later one is told later.
    pub(super) fn write(self, work: &mut Work) {
        for (owner, generation) in self.0 {
            work.write(Statement::own(dialect::HINT, values![owner, generation]));
        }
    }
}

pub(super) async fn hint(mut work: Work, process: &str, id: GenerationId) -> Result<()> {
    work.write(Statement::own(dialect::HINT_OWNER, values![process, id.id()]));
    work.commit().await
}

pub(super) async fn hints(mut work: Work, process: &str) -> Result<Vec<Loaded>> {
    let taken = work.ask(Statement::own(dialect::TAKE_HINTS, values![process, MAX_HINTS])).await?;
    let ids: Vec<String> = taken.rows.iter().map(|row| column(row, 0)).collect::<Result<_>>()?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found = work.ask(Statement::own(dialect::LOAD_MANY, values![ids])).await?;
    work.commit().await?;
    Ok(stored(&found)?.into_iter().map(|stored| stored.loaded_by(process)).collect())
}

pub(super) async fn newer(mut work: Work, known: &[(GenerationId, u64)]) -> Result<Vec<Generation>> {
    let mut newer = Vec::new();
    for known in known.chunks(MAX_KNOWN) {
        let (ids, sequences): (Vec<String>, Vec<i64>) =
            known.iter().map(|(id, sequence)| (id.id(), int(*sequence))).unzip();
        newer.append(&mut work.ask(Statement::own(dialect::NEWER, values![ids, sequences])).await?.list()?);
    }
    Ok(newer)
}

pub(super) async fn leave(mut work: Work, process: &str) -> Result<()> {
    work.write(Statement::own(dialect::GIVE_UP, values![process]));
    work.write(Statement::own(dialect::FORGET_PROCESS, values![process]));
    work.write(Statement::own(dialect::FORGET_HINTS, values![process]));
    work.commit().await
}
