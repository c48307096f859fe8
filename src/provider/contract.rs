//! What every adapter must do, whatever its vendor: each adapter's tests run these against their own server.

use futures_util::TryStreamExt;
use jiff::Timestamp;

use crate::domain::{artifact::Kind, names::SubmitKey, order::Options};

use super::{
    error::ErrorKind,
    port::{CancelOutcome, Found, Order, Progress, Provider, RemoteOutput, Status, Submitted, Ticket},
};

/// Polls after which a job that does not end fails its test.
const MOST_POLLS: usize = 100;

/// An order of the adapter's first model of `kind`.
pub(super) fn order(provider: &dyn Provider, kind: Kind) -> Order {
    let card = provider.models().iter().find(|card| card.kind == kind).unwrap();
    Order {
        kind,
        model: card.name.clone(),
        card: Some(card.clone()),
        prompt: "a fox in the snow".to_owned(),
        options: Options::new(),
        provider_options: serde_json::Map::new(),
        inputs: Vec::new(),
        webhook: None,
    }
}

/// Submits and gives the ticket as it comes back from the store.
pub(super) async fn accepted(provider: &dyn Provider, order: &Order) -> Ticket {
    let Submitted::Pending(ticket) = provider.submit(order, &SubmitKey::fresh()).await.unwrap() else {
        panic!("the order ended at once");
    };
    let stored = serde_json::to_string(&ticket).unwrap();
    let read: Ticket = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, ticket);
    assert!(!ticket.job.is_empty() && !ticket.account.is_empty());
    read
}

/// The bytes of an output, which must be as many as announced.
pub(super) async fn bytes(provider: &dyn Provider, output: &RemoteOutput) -> Vec<u8> {
    let source = provider.open(output, None).await.unwrap();
    let length = source.length;
    let chunks: Vec<_> = source.stream.try_collect().await.unwrap();
    let bytes = chunks.concat();
    assert!(length.is_none_or(|length| length == bytes.len() as u64));
    bytes
}

/// A job goes from the order to the bytes; asked again it still has its outputs.
pub(super) async fn makes_the_bytes(provider: &dyn Provider, order: &Order, expected: &[u8]) {
    let ticket = accepted(provider, order).await;
    let mut last_percent = None;
    let mut outputs = None;
    for _ in 0..MOST_POLLS {
        let progress = provider.poll(&ticket).await.unwrap();
        assert!(progress.percent >= last_percent, "{:?} after {last_percent:?}", progress.percent);
        last_percent = progress.percent.or(last_percent);
        match progress.status {
            Status::Waiting | Status::Running => wait(progress.poll_after).await,
            Status::Done(done) => {
                outputs = Some(done);
                break;
            }
            other @ (Status::Failed(_) | Status::Cancelled(_)) => panic!("ended as {other:?}"),
        }
    }
    let outputs = outputs.expect("a job that ends");
    let Progress { status: Status::Done(again), .. } = provider.poll(&ticket).await.unwrap() else {
        panic!("a finished job lost its outputs");
    };
    assert_eq!((outputs.len(), again.len()), (1, 1));
    for output in outputs.iter().chain(&again) {
        assert_eq!(bytes(provider, output).await, expected);
    }
    assert_eq!(provider.cancel(&ticket).await.unwrap(), CancelOutcome::TooLate);
}

/// A cancelled job stops, and cancelling it again is no error.
pub(super) async fn stops(provider: &dyn Provider, order: &Order) {
    let ticket = accepted(provider, order).await;
    assert!(matches!(provider.cancel(&ticket).await.unwrap(), CancelOutcome::Requested | CancelOutcome::Stopped(_)));
    for _ in 0..MOST_POLLS {
        let progress = provider.poll(&ticket).await.unwrap();
        match progress.status {
            Status::Waiting | Status::Running => wait(progress.poll_after).await,
            Status::Cancelled(_) => {
                provider.cancel(&ticket).await.unwrap();
                return;
            }
            other @ (Status::Done(_) | Status::Failed(_)) => panic!("ended as {other:?}"),
        }
    }
    panic!("did not stop");
}

/// A job that the vendor does not know is told from one that failed.
pub(super) async fn knows_no_foreign_job(provider: &dyn Provider) {
    let ticket = Ticket { account: "a".to_owned(), job: "nosuchjob".to_owned(), data: serde_json::Value::Null };
    assert_eq!(provider.poll(&ticket).await.unwrap_err().kind, ErrorKind::TicketUnknown);
    assert_eq!(provider.cancel(&ticket).await.unwrap_err().kind, ErrorKind::TicketUnknown);
}

/// Looking for an order that was never sent finds no exact job of an earlier one.
pub(super) async fn finds_only_its_own(provider: &dyn Provider, order: &Order) {
    let earlier = accepted(provider, order).await;
    match provider.find(order, &SubmitKey::fresh(), Timestamp::now()).await.unwrap() {
        Found::Unsupported => {}
        Found::Candidates(jobs) => assert!(!jobs.iter().any(|job| job.exact && job.ticket == earlier)),
    }
}

/// Neither the adapter nor its tickets show the secret.
pub(super) async fn keeps_its_secret(provider: &dyn Provider, order: &Order, secret: &str) {
    let ticket = accepted(provider, order).await;
    let shown = format!("{provider:?} {provider:#?} {ticket:?} {}", serde_json::to_string(&ticket).unwrap());
    assert!(!shown.contains(secret), "{shown}");
}

async fn wait(poll_after: Option<std::time::Duration>) {
    match poll_after {
        // Time is paused in these tests.
        Some(after) => tokio::time::sleep(after).await,
        None => tokio::task::yield_now().await,
    }
}
