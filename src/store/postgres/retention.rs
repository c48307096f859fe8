//! What is kept for a time only. What an unfinished generation starts from is kept until it has ended, however old it is.

use jiff::Timestamp;

use super::{
    Result, dialect, generations,
    statements::{Statement, column, int, to_doc, values},
    work::Work,
};
use crate::{
    domain::{artifact::BlobKey, generation::Generation},
    store::{
        port::{Expired, StoreError},
        sql,
    },
};

/// Makes tombstones of what ended before `before`, oldest end first. What another process expires at the same time is left to it.
pub(super) async fn expire_generations(
    mut work: Work,
    before: Timestamp,
    limit: usize,
    now: Timestamp,
) -> Result<Expired> {
    let values = values![before.as_microsecond(), int(limit)];
    let due: Vec<Generation> = work.ask(Statement::own(dialect::EXPIRING_GENERATIONS, values)).await?.list()?;
    let n = due.len();
    let mut blobs = Vec::new();
    for mut generation in due {
        blobs.extend(generation.artifacts.iter().map(|artifact| artifact.blob.clone()));
        if !generation.expire(now) {
            return Err(StoreError::broken("an unfinished generation has a time of its end"));
        }
        let values = values![generation.id.id(), to_doc(&generation)?];
        work.write(Statement::shared(sql::retention::EXPIRE, values));
        generations::delete_what_hangs_on(&mut work, &generation);
    }
    finish(work, n, blobs).await
}

/// Deletes artifacts that were stored before `before`, oldest first.
pub(super) async fn expire_artifacts(mut work: Work, before: Timestamp, limit: usize) -> Result<Expired> {
    let values = values![before.as_microsecond(), int(limit)];
    let due = work.ask(Statement::own(dialect::EXPIRING_ARTIFACTS, values)).await?;
    let mut blobs = Vec::with_capacity(due.rows.len());
    for row in &due.rows {
        let (tenant, id): (String, String) = (column(row, 0)?, column(row, 1)?);
        blobs.push(BlobKey::try_from(column::<String>(row, 2)?).map_err(StoreError::broken)?);
        work.write(Statement::shared(sql::artifact::DELETE, values![tenant, id]));
    }
    finish(work, due.rows.len(), blobs).await
}

/// From now on nothing that an accepted generation starts from expires.
pub(super) fn protect_inputs(work: &mut Work, generation: &Generation) {
    for artifact in generation.input_artifacts() {
        let values = values![generation.tenant.id(), artifact.id(), generation.id.id()];
        work.write(Statement::shared(sql::retention::INSERT_INPUT, values));
    }
}

/// What an ended generation started from may expire.
pub(super) fn release_inputs(work: &mut Work, generation: &str) {
    work.write(Statement::shared(sql::retention::DELETE_INPUTS, values![generation]));
}

/// Commits, and says which of the blobs nothing refers to any more, each once.
async fn finish(mut work: Work, n: usize, blobs: Vec<BlobKey>) -> Result<Expired> {
    let mut keys: Vec<String> = blobs.iter().map(|blob| blob.as_str().to_owned()).collect();
    keys.sort_unstable();
    keys.dedup();
    let unused = work.ask(Statement::own(dialect::UNREFERENCED, values![keys])).await?;
    let key = |row| BlobKey::try_from(column::<String>(row, 0)?).map_err(StoreError::broken);
    let blobs = unused.rows.iter().map(key).collect::<Result<_>>()?;
    work.commit().await?;
    Ok(Expired { n, blobs })
}
