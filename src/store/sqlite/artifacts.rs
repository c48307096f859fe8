//! Artifacts as rows.

use std::ops::ControlFlow;

use jiff::Timestamp;
use rusqlite::{Connection, ToSql, params, params_from_iter};

use super::{
    Result,
    statements::{count, execute, find, int, list, to_doc},
};
use crate::{
    domain::{
        artifact::{Artifact, BlobKey},
        generation::Generation,
        names::{ArtifactId, GenerationId, TenantId},
    },
    store::{
        port::{ArtifactFilter, Page},
        sql::{self, List},
    },
};

pub(super) fn insert(db: &Connection, tenant: &TenantId, artifact: &Artifact) -> Result<()> {
    execute(
        db,
        sql::artifact::INSERT,
        params![
            tenant.id(),
            artifact.id.id(),
            artifact.generation.map(GenerationId::id),
            artifact.kind.as_str(),
            artifact.blob.as_str(),
            artifact.created_at.as_microsecond(),
            to_doc(artifact)?,
        ],
    )
    .map(drop)
}

pub(super) fn of_tenant(db: &Connection, tenant: &TenantId, id: &ArtifactId) -> Result<Option<Artifact>> {
    find(db, sql::artifact::FIND, params![tenant.id(), id.id()])
}

/// True if none of the generation's outputs was deleted.
pub(super) fn are_whole(db: &Connection, generation: &Generation) -> Result<bool> {
    let params = params![generation.tenant.id(), generation.id.id()];
    Ok(count(db, sql::artifact::COUNT_OUTPUTS, params)? == generation.artifacts.len() as u64)
}

pub(super) fn listed(
    db: &Connection,
    tenant: &TenantId,
    filter: &ArtifactFilter,
    page: &Page<(Timestamp, ArtifactId)>,
) -> Result<Vec<Artifact>> {
    let mut list_of = List::artifacts();
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(tenant.id().to_owned())];
    if let Some(kind) = filter.kind {
        list_of.and("kind = {}");
        values.push(Box::new(kind.as_str()));
    }
    if let Some(generation) = filter.generation {
        list_of.and("generation = {}");
        values.push(Box::new(generation.id()));
    }
    if let Some((at, id)) = &page.after {
        list_of.and("(created_at, id) < ({}, {})");
        values.push(Box::new(at.as_microsecond()));
        values.push(Box::new(id.id().to_owned()));
    }
    values.push(Box::new(int(page.limit)));
    list(db, &list_of.order_by("created_at DESC, id DESC"), params_from_iter(values))
}

pub(super) fn delete(db: &Connection, tenant: &TenantId, id: &ArtifactId) -> Result<ControlFlow<(), Option<BlobKey>>> {
    let Some(artifact) = of_tenant(db, tenant, id)? else { return Ok(ControlFlow::Break(())) };
    execute(db, sql::artifact::DELETE, params![tenant.id(), id.id()])?;
    let unused = !is_referenced(db, &artifact.blob)?;
    Ok(ControlFlow::Continue(unused.then_some(artifact.blob)))
}

pub(super) fn unreferenced(db: &Connection, keys: Vec<BlobKey>) -> Result<Vec<BlobKey>> {
    let mut unused = Vec::new();
    for key in keys {
        if !is_referenced(db, &key)? && count(db, sql::artifact::IS_ANSWER, [key.as_str()])? == 0 {
            unused.push(key);
        }
    }
    Ok(unused)
}

fn is_referenced(db: &Connection, key: &BlobKey) -> Result<bool> {
    Ok(count(db, sql::artifact::REFERS_TO_BLOB, [key.as_str()])? > 0)
}
