//! Ordering, whichever door the request came by: what is left of a message of the contract is a stored generation.

use super::{
    accept::{self, Ordering},
    caller::Caller,
    refusal::Refusal,
};
use crate::{
    callback::Targets,
    domain::names::BadName,
    engine::{Admitted, Engine},
};

/// Checks a request and accepts it. When this returns, the generation is stored and will reach its end.
pub(super) async fn order<R: Ordering>(
    engine: &Engine,
    targets: &Targets,
    caller: Caller,
    request: R,
) -> Result<Admitted, Refusal> {
    // What is no name of a quote is refused with all else that is wrong.
    let quoted = match request.quote().parse() {
        Ok(quote) => engine.quoted_models(&caller.tenant, quote).await?,
        Err(BadName { .. }) => Vec::new(),
    };
    let order = accept::order(request, caller, &quoted, engine.catalog(), targets)?;
    let request_id = order.request_id.as_ref().map(|(id, _)| id.id().to_owned()).unwrap_or_default();
    engine.accept(order).await.map_err(Refusal::about(&request_id))
}
