//! Callbacks as the doors see them. Sending them is not the engine's business: a row of the store says that one is due.

use super::{Engine, error::Error};
use crate::{
    domain::{
        callback::Callback,
        generation::Generation,
        names::{GenerationId, TenantId},
    },
    store::port::RedeliverError,
};

impl Engine {
    /// How far the callback of a generation is; none if nobody is to be called back.
    pub async fn callback(&self, generation: &Generation) -> Result<Option<Callback>, Error> {
        if generation.callback_url.is_none() {
            return Ok(None);
        }
        let stored = self.store().callback(&generation.tenant, generation.id).await?;
        Ok(Some(stored.unwrap_or_else(|| Callback::waiting(generation.created_at))))
    }

    /// Makes the callback of an ended generation due now; the generation and its callback.
    pub async fn redeliver_callback(
        &self,
        tenant: &TenantId,
        id: GenerationId,
    ) -> Result<(Generation, Callback), Error> {
        let callback = self.store().redeliver(tenant, id, self.now()).await.map_err(|error| match error {
            RedeliverError::NotFound => Error::GenerationNotFound,
            RedeliverError::NoCallback => Error::NoCallback,
            RedeliverError::Unfinished(state) => Error::Unfinished(state),
            RedeliverError::Store(error) => Error::Store(error),
        })?;
        self.0.parts.callback_due.notify_one();
        Ok((self.find(tenant, id).await?, callback))
    }

    /// Tells whoever sends callbacks that one may have fallen due.
    pub(super) fn announce_callback(&self, generation: &Generation) {
        if generation.state.is_terminal() && generation.callback_url.is_some() {
            self.0.parts.callback_due.notify_one();
        }
    }
}
