//! What is kept for a time only. What an unfinished generation starts from is kept until it has ended, however old it is.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    Result, artifacts, generations,
    statements::{execute, int, list, rows, to_doc},
};
use crate::{
    domain::{artifact::BlobKey, generation::Generation},
    store::{
        port::{Expired, StoreError},
        sql,
    },
};

/// Makes tombstones of what ended before `before`, oldest end first.
pub(super) fn expire_generations(db: &Connection, before: Timestamp, limit: usize, now: Timestamp) -> Result<Expired> {
    let due: Vec<Generation> = list(db, sql::retention::GENERATIONS, params![before.as_microsecond(), int(limit)])?;
    let n = due.len();
    let mut blobs = Vec::new();
    for mut generation in due {
        blobs.extend(generation.artifacts.iter().map(|artifact| artifact.blob.clone()));
        if !generation.expire(now) {
            return Err(StoreError::broken("an unfinished generation has a time of its end"));
        }
        execute(db, sql::retention::EXPIRE, params![generation.id.id(), to_doc(&generation)?])?;
        generations::delete_what_hangs_on(db, &generation)?;
    }
    Ok(Expired { n, blobs: unused(db, blobs)? })
}

/// Deletes artifacts that were stored before `before`, oldest first.
pub(super) fn expire_artifacts(db: &Connection, before: Timestamp, limit: usize) -> Result<Expired> {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let due: Vec<(String, String, String)> =
        rows(db, sql::retention::ARTIFACTS, params![before.as_microsecond(), int(limit)], read)?;
    let n = due.len();
    let mut blobs = Vec::new();
    for (tenant, id, blob) in due {
        execute(db, sql::artifact::DELETE, params![tenant, id])?;
        blobs.push(BlobKey::try_from(blob).map_err(StoreError::broken)?);
    }
    Ok(Expired { n, blobs: unused(db, blobs)? })
}

/// From now on nothing that an accepted generation starts from expires.
pub(super) fn protect_inputs(db: &Connection, generation: &Generation) -> Result<()> {
    for artifact in generation.input_artifacts() {
        let params = params![generation.tenant.id(), artifact.id(), generation.id.id()];
        execute(db, sql::retention::INSERT_INPUT, params)?;
    }
    Ok(())
}

/// What an ended generation started from may expire.
pub(super) fn release_inputs(db: &Connection, generation: &Generation) -> Result<()> {
    if generation.input_artifacts().next().is_none() {
        return Ok(());
    }
    execute(db, sql::retention::DELETE_INPUTS, [generation.id.id()]).map(drop)
}

/// Each blob that no artifact refers to, once.
fn unused(db: &Connection, mut blobs: Vec<BlobKey>) -> Result<Vec<BlobKey>> {
    blobs.sort_unstable();
    blobs.dedup();
    artifacts::unreferenced(db, blobs)
}
