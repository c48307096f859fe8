//! Keys that rest, take over from each other, and are gone.

use std::collections::BTreeMap;

use super::*;
use crate::{
    domain::failure::Charged,
    provider::{contract, port::Status, sample::Sample},
};

type Refusal = (ErrorKind, Effect, Option<Duration>);

/// A vendor's account: refuses orders as it is told, and knows only the jobs that came through it.
#[derive(Debug)]
struct Account {
    name: &'static str,
    sample: Sample,
    refusals: Mutex<Vec<Refusal>>,
    limited: Mutex<Option<Duration>>,
    calls: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Provider for Account {
    fn id(&self) -> &ProviderId {
        self.sample.id()
    }

    fn models(&self) -> &[Arc<ModelCard>] {
        self.sample.models()
    }

    async fn submit(&self, _: &Order, _: &SubmitKey) -> Result<Submitted, ProviderError> {
        self.calls.lock().unwrap().push(format!("submit {}", self.name));
        match self.refusals.lock().unwrap().pop() {
            Some((kind, effect, wish)) => Err(ProviderError::new(self.id(), kind, effect, "refused").retry_after(wish)),
            None => Ok(Submitted::Pending(ticket(self.name))),
        }
    }

    async fn find(&self, _: &Order, _: &SubmitKey, _: Timestamp) -> Result<Found, ProviderError> {
        let job =
            super::super::port::Job { ticket: ticket(self.name), created_at: Timestamp::UNIX_EPOCH, exact: false };
        Ok(Found::Candidates(vec![job]))
    }

    async fn poll(&self, asked: &Ticket) -> Result<Progress, ProviderError> {
        self.calls.lock().unwrap().push(format!("poll {}", self.name));
        if let Some(wish) = *self.limited.lock().unwrap() {
            let error = ProviderError::new(self.id(), ErrorKind::RateLimited, Effect::None, "limited");
            return Err(error.retry_after(Some(wish)));
        }
        if asked.account != self.name {
            return Err(ProviderError::new(self.id(), ErrorKind::TicketUnknown, Effect::None, "no such job"));
        }
        Ok(Progress::of(Status::Cancelled(Charged::No)))
    }

    async fn cancel(&self, _: &Ticket) -> Result<CancelOutcome, ProviderError> {
        Ok(CancelOutcome::Unsupported)
    }

    async fn open(&self, _: &RemoteOutput, _: Option<&Ticket>) -> Result<ByteSource, ProviderError> {
        Ok(ByteSource::of(bytes::Bytes::new()))
    }

    fn chat(&self) -> Option<&dyn chat::ChatProvider> {
        Some(self)
    }
}

#[async_trait]
impl chat::ChatProvider for Account {
    fn chat_models(&self) -> &[Arc<ChatCard>] {
        &[]
    }

    async fn chat(&self, order: ChatOrder) -> Result<ChatStream, ProviderError> {
        self.calls.lock().unwrap().push(format!("chat {} {}", self.name, order.model));
        match self.refusals.lock().unwrap().pop() {
            Some((kind, effect, wish)) => {
                let id = self.sample.id();
                Err(ProviderError::new(id, kind, effect, "refused").retry_after(wish))
            }
            None => Ok(Box::pin(futures_util::stream::empty())),
        }
    }
}

fn ticket(account: &str) -> Ticket {
    Ticket { account: account.to_owned(), job: "j".to_owned(), data: serde_json::Value::Null }
}

struct Stage {
    keys: Arc<dyn Provider>,
    accounts: BTreeMap<&'static str, Arc<Account>>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    fn of<const N: usize>(names: [&'static str; N]) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let account = |name| {
            let account = Account {
                name,
                sample: Sample::new(None, Duration::from_secs(1)).unwrap(),
                refusals: Mutex::default(),
                limited: Mutex::default(),
                calls: Arc::clone(&calls),
            };
            (name, Arc::new(account))
        };
        let accounts: Vec<_> = names.into_iter().map(account).collect();
        let keyed = accounts.iter().map(|(name, account)| Keyed {
            account: (*name).to_owned(),
            provider: Arc::clone(account) as Arc<dyn Provider>,
        });
        let keys = with_keys(keyed.collect()).unwrap();
        Self { keys, accounts: accounts.into_iter().collect(), calls }
    }

    fn refuse(&self, name: &str, kind: ErrorKind, effect: Effect, wish: Option<Duration>) {
        self.accounts[name].refusals.lock().unwrap().push((kind, effect, wish));
    }

    async fn submit(&self) -> Result<String, ProviderError> {
        let order = contract::order(&*self.keys, Kind::Video);
        match self.keys.submit(&order, &SubmitKey::fresh()).await? {
            Submitted::Pending(ticket) => Ok(ticket.account),
            Submitted::Done(..) => panic!("done at once"),
        }
    }

    async fn chat(&self) -> Result<(), ProviderError> {
        let order = ChatOrder { stream: true, ..ChatOrder::plain("m", Vec::new()) };
        self.keys.chat().unwrap().chat(order).await.map(drop)
    }

    fn called(&self) -> String {
        std::mem::take(&mut *self.calls.lock().unwrap()).join(", ")
    }

    fn usable(&self) -> (usize, usize) {
        let KeyState { n, n_usable, .. } = self.keys.keys();
        (n_usable, n)
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_goes_to_a_second_key_only_if_the_first_did_nothing() {
    let stage = Stage::of(["a", "b"]);
    stage.refuse("a", ErrorKind::RateLimited, Effect::None, None);
    stage.chat().await.unwrap();
    assert_eq!((stage.called().as_str(), stage.usable()), ("chat a m, chat b m", (1, 2)));

    for (kind, effect) in [(ErrorKind::Overloaded, Effect::Maybe), (ErrorKind::InvalidOrder, Effect::None)] {
        let stage = Stage::of(["a", "b"]);
        stage.refuse("a", kind, effect, None);
        assert_eq!(stage.chat().await.unwrap_err().kind, kind);
        assert_eq!((stage.called().as_str(), stage.usable()), ("chat a m", (2, 2)));
    }

    let stage = Stage::of(["a", "b"]);
    for name in ["a", "b"] {
        stage.refuse(name, ErrorKind::RateLimited, Effect::None, Some(Duration::from_secs(9)));
    }
    let error = stage.chat().await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(9))));
    assert_eq!(stage.called(), "chat a m, chat b m");
}

#[tokio::test]
async fn orders_go_to_one_key_after_the_other() {
    let stage = Stage::of(["a", "b", "c"]);
    let mut accounts = Vec::new();
    for _ in 0..4 {
        accounts.push(stage.submit().await.unwrap());
    }
    assert_eq!(accounts, ["a", "b", "c", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_rests_and_the_next_is_used_at_once() {
    for kind in [ErrorKind::Unauthenticated, ErrorKind::OutOfCredit, ErrorKind::RateLimited] {
        let stage = Stage::of(["a", "b"]);
        stage.refuse("a", kind, Effect::None, None);
        assert_eq!(stage.submit().await.unwrap(), "b");
        assert_eq!((stage.called().as_str(), stage.usable()), ("submit a, submit b", (1, 2)), "{kind:?}");
        stage.submit().await.unwrap();
        stage.submit().await.unwrap();
        assert_eq!(stage.called(), "submit b, submit b", "{kind:?}");
        tokio::time::advance(REFUSED).await;
        assert_eq!(stage.usable(), (2, 2));
        let again = [stage.submit().await.unwrap(), stage.submit().await.unwrap()];
        assert!(again.contains(&"a".to_owned()), "{again:?}");
    }
}

#[tokio::test]
async fn an_order_that_may_have_had_an_effect_goes_to_no_other_key() {
    let stage = Stage::of(["a", "b"]);
    stage.refuse("a", ErrorKind::Unauthenticated, Effect::Maybe, None);
    assert_eq!(stage.submit().await.unwrap_err().effect, Effect::Maybe);
    stage.refuse("b", ErrorKind::Overloaded, Effect::None, None);
    assert_eq!(stage.submit().await.unwrap_err().kind, ErrorKind::Overloaded);
    assert_eq!((stage.called().as_str(), stage.usable()), ("submit a, submit b", (2, 2)));
}

#[tokio::test(start_paused = true)]
async fn while_every_key_is_over_its_limit_nobody_is_called_and_the_soonest_end_is_told() {
    let stage = Stage::of(["a", "b"]);
    for (name, seconds) in [("a", 40), ("b", 20)] {
        stage.refuse(name, ErrorKind::RateLimited, Effect::None, Some(Duration::from_secs(seconds)));
    }
    let error = stage.submit().await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(20))));
    stage.called();
    tokio::time::advance(Duration::from_secs(5)).await;
    let error = stage.submit().await.unwrap_err();
    assert_eq!((error.retry_after, stage.called().as_str()), (Some(Duration::from_secs(15)), ""));
    assert!(stage.keys.keys().bound_until.is_some());
    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(stage.submit().await.unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn an_only_key_that_was_refused_is_tried_again_for_it_may_have_been_seen_to() {
    let stage = Stage::of(["a"]);
    stage.refuse("a", ErrorKind::OutOfCredit, Effect::None, None);
    assert_eq!(stage.submit().await.unwrap_err().kind, ErrorKind::OutOfCredit);
    assert_eq!(stage.usable(), (0, 1));
    assert_eq!((stage.submit().await.unwrap().as_str(), stage.usable()), ("a", (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_job_is_asked_after_with_its_key_and_not_before_the_vendor_wants_to_be_asked() {
    let stage = Stage::of(["a", "b"]);
    stage.keys.poll(&ticket("b")).await.unwrap();
    assert_eq!(stage.called(), "poll b");
    *stage.accounts["b"].limited.lock().unwrap() = Some(Duration::from_secs(30));
    stage.keys.poll(&ticket("b")).await.unwrap_err();
    let error = stage.keys.poll(&ticket("b")).await.unwrap_err();
    assert_eq!((error.kind, stage.called().as_str()), (ErrorKind::RateLimited, "poll b"));
    stage.keys.poll(&ticket("a")).await.unwrap();
    *stage.accounts["b"].limited.lock().unwrap() = None;
    tokio::time::advance(Duration::from_secs(30)).await;
    stage.keys.poll(&ticket("b")).await.unwrap();
}

#[tokio::test]
async fn a_job_whose_key_is_gone_is_not_forgotten_but_asked_of_the_others() {
    let stage = Stage::of(["a", "b"]);
    let error = stage.keys.poll(&ticket("gone")).await.unwrap_err();
    assert_eq!((error.kind, stage.called().as_str()), (ErrorKind::TicketUnknown, "poll a, poll b"));
    assert!(error.summary.contains("account gone") && error.summary.contains("set it again"), "{}", error.summary);
}

#[tokio::test]
async fn a_lost_order_is_looked_for_with_every_key() {
    let stage = Stage::of(["a", "b"]);
    let order = contract::order(&*stage.keys, Kind::Video);
    let found = stage.keys.find(&order, &SubmitKey::fresh(), Timestamp::UNIX_EPOCH).await.unwrap();
    assert!(matches!(found, Found::Candidates(jobs) if jobs.len() == 2));
}

#[tokio::test]
async fn without_a_key_there_is_nothing_to_rotate_and_without_an_adapter_no_provider() {
    assert!(with_keys(Vec::new()).is_none());
    let provider: Arc<dyn Provider> = Arc::new(Sample::new(None, Duration::from_secs(1)).unwrap());
    let keyed = Keyed { account: String::new(), provider: Arc::clone(&provider) };
    assert!(Arc::ptr_eq(&with_keys(vec![keyed]).unwrap(), &provider));
}

#[test]
fn an_account_is_known_by_its_key_and_does_not_show_it() {
    let account = account_of(&SecretString::from("not_to_be_seen"));
    assert!(account.len() == 16 && account != account_of(&SecretString::from("other")), "{account}");
}
