//! What callers ask about generations, and ask of them.

use std::sync::Arc;

use super::{Engine, error::Error, view::View};
use crate::{
    domain::{
        generation::{Generation, HistoryEvent, State},
        life::{Event, Resolution},
        names::{GenerationId, TenantId},
    },
    store::port::{ApplyError, DeleteError, GenerationFilter, Page},
};

impl Engine {
    /// A generation.
    pub async fn get(&self, tenant: &TenantId, id: GenerationId) -> Result<View, Error> {
        let generation = match self.shown(tenant, id) {
            Some(shown) => shown,
            None => Arc::new(self.find(tenant, id).await?),
        };
        self.views(vec![generation]).await?.pop().ok_or(Error::GenerationNotFound)
    }

    /// Generations, newest first.
    pub async fn list(
        &self,
        tenant: &TenantId,
        filter: &GenerationFilter,
        page: Page<GenerationId>,
    ) -> Result<Vec<View>, Error> {
        let listed = self.store().generations(tenant, filter, page).await?;
        self.views(listed.into_iter().map(Arc::new).collect()).await
    }

    /// Asks for the end of a generation; repeating it succeeds.
    pub async fn cancel(&self, tenant: &TenantId, id: GenerationId) -> Result<View, Error> {
        self.find(tenant, id).await?;
        let cancelled = match self.apply_for_caller(id, Event::CancelRequested).await? {
            // The job may have moved on to another generation; the caller asked about this one.
            Ok(generation) if generation.id != id => return self.get(tenant, id).await,
            Ok(generation) => generation,
            Err(ApplyError::Refused { generation, .. }) if generation.state == State::Cancelled => {
                Arc::from(generation)
            }
            Err(ApplyError::Refused { generation, .. }) => return Err(Error::Finished(generation.state)),
            // Only a claim can be lost, and a caller has none.
            Err(ApplyError::NotFound | ApplyError::Lost) => return Err(Error::GenerationNotFound),
            Err(ApplyError::Budget(refused)) => return Err(refused.into()),
            Err(ApplyError::Store(error)) => return Err(error.into()),
        };
        Ok(self.view(cancelled))
    }

    /// Ends what is unknown by a person's decision.
    pub async fn resolve(&self, tenant: &TenantId, id: GenerationId, resolution: Resolution) -> Result<View, Error> {
        self.find(tenant, id).await?;
        match self.apply_for_caller(id, Event::Resolved(resolution)).await? {
            Ok(generation) => Ok(self.view(generation)),
            Err(ApplyError::Refused { generation, .. }) => Err(Error::NotUnresolved(generation.state)),
            Err(ApplyError::NotFound | ApplyError::Lost) => Err(Error::GenerationNotFound),
            Err(ApplyError::Budget(refused)) => Err(refused.into()),
            Err(ApplyError::Store(error)) => Err(error.into()),
        }
    }

    /// Deletes an ended generation with its artifacts.
    pub async fn delete(&self, tenant: &TenantId, id: GenerationId) -> Result<(), Error> {
        match self.store().delete_generation(tenant, id).await {
            Ok(()) => {
                self.hub().forget(id);
                Ok(())
            }
            Err(DeleteError::NotFound) => Err(Error::GenerationNotFound),
            Err(DeleteError::Unfinished(state)) => Err(Error::Unfinished(state)),
            Err(DeleteError::Store(error)) => Err(error.into()),
        }
    }

    /// The history of a generation, oldest first.
    pub async fn history(
        &self,
        tenant: &TenantId,
        id: GenerationId,
        page: Page<u64>,
    ) -> Result<Vec<HistoryEvent>, Error> {
        self.find(tenant, id).await?;
        Ok(self.store().history(id, page).await?)
    }

    /// Has the generation's driver read its record again and ask the provider now, wherever it is.
    pub async fn nudge(&self, id: GenerationId) -> Result<(), Error> {
        if !self.drivers().nudge(id) {
            self.store().hint(id).await?;
        }
        Ok(())
    }

    /// An unfinished generation as it is stored, if that can be told without the store: only this process writes it, and shows what it writes before
    /// it answers. What has ended may be deleted or expire.
    pub(super) fn shown(&self, tenant: &TenantId, id: GenerationId) -> Option<Arc<Generation>> {
        if self.store().is_shared() {
            // Who has just changed it at another process must see that here.
            return None;
        }
        self.hub().shown(id).filter(|shown| shown.tenant == *tenant && !shown.state.is_terminal())
    }

    pub(super) async fn find(&self, tenant: &TenantId, id: GenerationId) -> Result<Generation, Error> {
        self.store().generation(tenant, id).await?.ok_or(Error::GenerationNotFound)
    }
}
