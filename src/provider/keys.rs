//! Several keys of one vendor: one adapter for each, behind one provider.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::domain::{
    artifact::Kind,
    card::ModelCard,
    names::{ProviderId, SubmitKey},
};

use super::{
    error::ProviderError,
    port::{ByteSource, CancelOutcome, Found, Order, Progress, Provider, RemoteOutput, Submitted, Ticket},
    webhook::{Delivery, Heard, HookError},
};

/// An adapter built with one key.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// The fingerprint of the key, as the adapter's tickets say it.
    pub account: String,
    /// The adapter.
    pub provider: Arc<dyn Provider>,
}

/// The account that a key belongs to, for tickets: a fingerprint, never the key.
pub fn account_of(key: &SecretString) -> String {
    hex::encode(&Sha256::digest(key.expose_secret())[..8])
}

/// One provider of the adapters of all keys, or nothing without an adapter. New orders go to the first key's; a job is asked after and
/// stopped with the key that ordered it, so keys can be changed while jobs run.
pub fn with_keys(mut keyed: Vec<Keyed>) -> Option<Arc<dyn Provider>> {
    if keyed.is_empty() {
        return None;
    }
    let first = keyed.remove(0);
    if keyed.is_empty() {
        return Some(first.provider);
    }
    Some(Arc::new(Keys { first: first.provider, others: keyed }))
}

#[derive(Debug)]
struct Keys {
    first: Arc<dyn Provider>,
    others: Vec<Keyed>,
}

impl Keys {
    /// The adapter whose key ordered the job; the first one for a key that is gone.
    fn of(&self, ticket: &Ticket) -> &dyn Provider {
        let other = self.others.iter().find(|other| other.account == ticket.account);
        other.map_or(&*self.first, |other| &*other.provider)
    }
}

#[async_trait]
impl Provider for Keys {
    fn id(&self) -> &ProviderId {
        self.first.id()
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        self.first.models()
    }

    fn ready(&self, kind: Kind) -> Result<(), String> {
        self.first.ready(kind)
    }

    async fn submit(&self, order: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError> {
        self.first.submit(order, key).await
    }

    async fn find(&self, order: &Order, key: &SubmitKey, sent_at: Timestamp) -> Result<Found, ProviderError> {
        self.first.find(order, key, sent_at).await
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        self.of(ticket).poll(ticket).await
    }

    async fn cancel(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        self.of(ticket).cancel(ticket).await
    }

    async fn open(&self, output: &RemoteOutput, ticket: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        ticket.map_or(&*self.first, |ticket| self.of(ticket)).open(output, ticket).await
    }

    async fn hear(&self, delivery: &Delivery) -> Result<Heard, HookError> {
        let mut heard = self.first.hear(delivery).await;
        for other in &self.others {
            if heard.is_ok() {
                break;
            }
            heard = other.provider.hear(delivery).await;
        }
        heard
    }

    fn serves_undescribed(&self) -> bool {
        self.first.serves_undescribed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::provider::sample::Sample;

    fn keyed(account: &str) -> Keyed {
        let provider = Arc::new(Sample::new(None, Duration::from_secs(1)).unwrap());
        Keyed { account: account.to_owned(), provider }
    }

    #[tokio::test]
    async fn a_job_is_asked_after_with_the_key_that_ordered_it() {
        let [one, two] = ["one", "two"].map(keyed);
        let keys = Keys { first: Arc::clone(&one.provider), others: vec![two.clone()] };
        for (account, expected) in [("one", &one), ("two", &two), ("gone", &one)] {
            let ticket = Ticket { account: account.to_owned(), job: "j".to_owned(), data: serde_json::Value::Null };
            let chosen = std::ptr::from_ref(keys.of(&ticket)).cast::<()>();
            assert_eq!(chosen, Arc::as_ptr(&expected.provider).cast::<()>(), "{account}");
        }
    }

    #[tokio::test]
    async fn one_key_needs_nothing_around_it_and_none_is_no_provider() {
        assert!(with_keys(Vec::new()).is_none());
        let one = keyed("one");
        assert!(Arc::ptr_eq(&with_keys(vec![one.clone()]).unwrap(), &one.provider));
        assert!(with_keys(vec![one, keyed("two")]).unwrap().ready(Kind::Video).is_ok());
    }

    #[test]
    fn an_account_is_known_by_its_key_and_does_not_show_it() {
        let account = account_of(&SecretString::from("not_to_be_seen"));
        assert!(account.len() == 16 && account != account_of(&SecretString::from("other")), "{account}");
    }
}
