//! Quotes: a price that binds, for one order and for a time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    money::MicroUsd,
    names::{ModelName, QuoteId},
};

/// A price that binds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Its name, known to the tenant that asked.
    pub id: QuoteId,
    /// The most that the order costs.
    pub price: MicroUsd,
    /// The models that the order is tried at, in this order, whatever a route would prefer by then. The sample that may stand in is none of them.
    pub models: Vec<ModelName>,
    /// The order as it was resolved, field by field: names and digests of canonical values.
    pub order: Vec<(String, String)>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Why a quote does not hold for an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoQuote {
    /// No such quote for this tenant.
    #[error("no such quote")]
    NotFound,
    /// Its time is over.
    #[error("the quote ended at {0}")]
    Expired(Timestamp),
    /// An order was made with it.
    #[error("the quote was used")]
    Used,
    /// It is for another order.
    #[error("the quote is for an order with another {field}")]
    Mismatch {
        /// The first field that differs.
        field: String,
    },
}

impl Quote {
    /// Whether it holds for this order now.
    ///
    /// # Errors
    /// If it was used, is over, or is for another order.
    pub fn check(&self, order: &[(String, String)], used: bool, now: Timestamp) -> Result<(), NoQuote> {
        if used {
            return Err(NoQuote::Used);
        }
        if now >= self.expires_at {
            return Err(NoQuote::Expired(self.expires_at));
        }
        let value = |order: &[(String, String)], field: &str| {
            order.iter().find(|(name, _)| name == field).map(|(_, value)| value.clone())
        };
        let fields = self.order.iter().chain(order).map(|(field, _)| field);
        match fields.into_iter().find(|field| value(&self.order, field) != value(order, field)) {
            Some(field) => Err(NoQuote::Mismatch { field: field.clone() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::life::tests::START;

    #[test]
    fn a_quote_holds_once_for_its_own_order_until_its_end() {
        let order = |fields: &[(&str, &str)]| -> Vec<(String, String)> {
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let quote = Quote {
            id: QuoteId::fresh(),
            price: MicroUsd(5),
            models: Vec::new(),
            order: order(&[("prompt", "a"), ("options.seed", "1")]),
            expires_at: START,
        };
        let before = START - jiff::SignedDuration::from_secs(1);
        let mismatch = |field: &str| Err(NoQuote::Mismatch { field: field.to_owned() });
        assert_eq!(quote.check(&quote.order, false, before), Ok(()));
        assert_eq!(quote.check(&quote.order, true, before), Err(NoQuote::Used));
        assert_eq!(quote.check(&quote.order, false, START), Err(NoQuote::Expired(START)));
        assert_eq!(quote.check(&order(&[("prompt", "b"), ("options.seed", "1")]), false, before), mismatch("prompt"));
        assert_eq!(quote.check(&order(&[("prompt", "a")]), false, before), mismatch("options.seed"));
        let more = order(&[("prompt", "a"), ("options.seed", "1"), ("inputs", "x")]);
        assert_eq!(quote.check(&more, false, before), mismatch("inputs"));
    }
}
