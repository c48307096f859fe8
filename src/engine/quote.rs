//! Quotes: a price that binds for the order as it was resolved, whatever the models cost later.

use std::{collections::BTreeSet, time::Duration};

use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Engine, error::Error, request::Request};
use crate::{
    domain::{
        money::MicroUsd,
        names::{ModelName, QuoteId, TenantId},
        order::{Candidate, Input, InputSource, OptionName},
        quote::Quote,
    },
    store::port::SentRequest,
};

impl Engine {
    /// Promises a price for the order that a request resolves to: whoever sends the same request with this quote within `ttl`, once, is
    /// charged no more. The promise covers every model of the order; what a costlier one takes beyond it, the operator bears.
    ///
    /// Bytes among the inputs are stored, as with an order, so that the same bytes are known again.
    ///
    /// # Errors
    /// [`Error::PriceUnknown`] if any of its models has no price; [`Error::Invalid`] and others as an order would be refused with.
    pub async fn issue_quote(&self, mut request: Request, ttl: Duration) -> Result<Quote, Error> {
        self.check_ready(&request)?;
        let unpriced = request.candidates.iter().find(|candidate| candidate.estimate.is_none());
        if let Some(Candidate { model, .. }) = unpriced {
            return Err(Error::PriceUnknown { model: model.clone() });
        }
        let price = request.candidates.first().and_then(|first| first.estimate).unwrap_or(MicroUsd::ZERO);
        let inputs = self.own_inputs(&mut request).await?;
        let expires_at = SignedDuration::try_from(ttl).ok().and_then(|ttl| self.now().checked_add(ttl).ok());
        let listed = request.candidates.iter().filter(|candidate| !candidate.stand_in);
        let quote = Quote {
            id: QuoteId::fresh(),
            price,
            models: listed.map(|candidate| candidate.model.clone()).collect(),
            order: quoted_order(&request, &inputs),
            expires_at: expires_at.unwrap_or(jiff::Timestamp::MAX),
        };
        self.store().add_quote(&request.tenant, &quote).await?;
        Ok(quote)
    }

    /// The models of a quote in its order, for an order that is made with it; none if there is no such quote, which the acceptance tells.
    pub async fn quoted_models(&self, tenant: &TenantId, id: QuoteId) -> Result<Vec<ModelName>, Error> {
        Ok(self.store().quote(tenant, id).await?.map(|quote| quote.models).unwrap_or_default())
    }
}

/// What a quote binds: the order after every default and adjustment, each value as its SHA-256. Prices are no part of it.
pub(super) fn quoted_order(request: &Request, inputs: &[Input]) -> SentRequest {
    let candidates = &request.candidates;
    let each = |part: &dyn Fn(&Candidate) -> Value| Value::from(candidates.iter().map(part).collect::<Vec<_>>());
    let mut order = vec![
        ("prompt".to_owned(), json!(request.prompt)),
        ("model".to_owned(), each(&|candidate| json!([candidate.model.to_string(), candidate.stand_in]))),
        ("kind".to_owned(), json!(request.kind.as_str())),
    ];
    let names: BTreeSet<OptionName> =
        candidates.iter().flat_map(|candidate| candidate.options.keys().copied()).collect();
    for name in names {
        order.push((format!("options.{name}"), each(&|candidate| json!(candidate.options.get(&name)))));
    }
    let further = each(&|candidate| Value::Object(candidate.provider_options.clone()));
    order.push(("options.provider_options".to_owned(), further));
    let input = |input: &Input| match &input.source {
        InputSource::Artifact(id) => json!([input.role, id.id()]),
        InputSource::Url(url) => json!([input.role, url.as_str()]),
    };
    order.push(("inputs".to_owned(), inputs.iter().map(input).collect()));
    order.push(("fallback_on_refusal".to_owned(), json!(request.fallback_on_refusal)));
    order.into_iter().map(|(field, value)| (field, digest(&value))).collect()
}

/// Of the value with the members of every object in order.
fn digest(value: &Value) -> String {
    hex::encode(Sha256::digest(super::brief::sorted(value)))
}
