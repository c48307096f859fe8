//! Artifacts as rows.

use std::ops::ControlFlow;

use jiff::Timestamp;

use super::{
    Result, dialect,
    statements::{Statement, column, int, to_doc, values},
    work::Work,
};
use crate::{
    domain::{
        artifact::{Artifact, BlobKey},
        names::{ArtifactId, GenerationId, TenantId},
    },
    store::{
        port::{ArtifactFilter, Page, StoreError},
        sql::{self, List},
    },
};

pub(super) async fn add(mut work: Work, tenant: &TenantId, artifact: &Artifact) -> Result<()> {
    insert(&mut work, tenant, artifact)?;
    work.commit().await
}

/// As `add`, within other work.
pub(super) fn insert(work: &mut Work, tenant: &TenantId, artifact: &Artifact) -> Result<()> {
    let values = values![
        tenant.id(),
        artifact.id.id(),
        artifact.generation.map(GenerationId::id),
        artifact.kind.as_str(),
        artifact.blob.as_str(),
        artifact.created_at.as_microsecond(),
        to_doc(artifact)?,
    ];
    work.write(Statement::shared(sql::artifact::INSERT, values));
    Ok(())
}

pub(super) async fn of_tenant(mut work: Work, tenant: &TenantId, id: &ArtifactId) -> Result<Option<Artifact>> {
    work.ask(Statement::shared(sql::artifact::FIND, values![tenant.id(), id.id()])).await?.find()
}

pub(super) async fn listed(
    mut work: Work,
    tenant: &TenantId,
    filter: &ArtifactFilter,
    page: &Page<(Timestamp, ArtifactId)>,
) -> Result<Vec<Artifact>> {
    let mut list = List::artifacts();
    let mut values = values![tenant.id()];
    if let Some(kind) = filter.kind {
        list.and("kind = {}");
        values.extend(values![kind.as_str()]);
    }
    if let Some(generation) = filter.generation {
        list.and("generation = {}");
        values.extend(values![generation.id()]);
    }
    if let Some((at, id)) = &page.after {
        list.and("(created_at, id) < ({}, {})");
        values.extend(values![at.as_microsecond(), id.id()]);
    }
    values.extend(values![int(page.limit)]);
    work.ask(Statement::list(&list.order_by("created_at DESC, id DESC"), values)).await?.list()
}

pub(super) async fn delete(
    mut work: Work,
    tenant: &TenantId,
    id: &ArtifactId,
) -> Result<ControlFlow<(), Option<BlobKey>>> {
    // Waits for whoever is answering an order from it.
    let found = work.ask(Statement::own(dialect::ARTIFACT_LOCKED, values![tenant.id(), id.id()])).await?;
    let Some(artifact) = found.find::<Artifact>()? else { return Ok(ControlFlow::Break(())) };
    work.write(Statement::shared(sql::artifact::DELETE, values![tenant.id(), id.id()]));
    let referred = work.ask(Statement::shared(sql::artifact::REFERS_TO_BLOB, values![artifact.blob.as_str()])).await?;
    let is_referenced = referred.first()?.unwrap_or(false);
    work.commit().await?;
    Ok(ControlFlow::Continue((!is_referenced).then_some(artifact.blob)))
}

pub(super) async fn unreferenced(mut work: Work, keys: &[BlobKey]) -> Result<Vec<BlobKey>> {
    let asked: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
    let found = work.ask(Statement::own(dialect::UNREFERENCED, values![asked])).await?;
    let key = |row| BlobKey::try_from(column::<String>(row, 0)?).map_err(StoreError::broken);
    found.rows.iter().map(key).collect()
}
