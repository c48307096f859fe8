//! SIGKILL at every step, then a start on the same folder.

use futures_util::{StreamExt, stream};

use super::*;

/// Servers at a time.
const N_AT_ONCE: usize = 3;

/// How the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    At(Point),
    /// From outside, when the vendor has got the order and made nothing of it, nor ever will.
    BeforeEffect,
    /// From outside, when the vendor has made the picture and not answered.
    AfterEffect,
}

/// What it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    GoesOn,
    /// Held until a person decides, with so many orders that came to the vendor.
    Unknown(u64),
}

/// What a death at `point` leads to; none if an order of the model does not pass it.
fn after(point: Point, model: &str) -> Option<Then> {
    match point {
        Point::OrderBefore | Point::OrderAfter | Point::IntentBefore => Some(Then::GoesOn),
        Point::IntentAfter | Point::SendBefore => Some(Then::Unknown(0)),
        // The picture is in this process alone, or a blob that no record knows.
        Point::ReceiveBefore | Point::ReceiveAfter | Point::AnswerBefore => Some(Then::Unknown(1)),
        // A picture that is looked at quickly is recorded with the end.
        Point::AnswerAfter => (model == LINKED).then_some(Then::GoesOn),
        Point::BlobAfter | Point::SettleBefore if model == INLINE => Some(Then::Unknown(1)),
        Point::BlobAfter | Point::SettleBefore | Point::SettleAfter | Point::NotifyBefore | Point::NotifyAfter => {
            Some(Then::GoesOn)
        }
        Point::SpoolBefore | Point::SpoolAfter | Point::BlobBefore => (model == LINKED).then_some(Then::GoesOn),
        Point::TicketBefore
        | Point::TicketAfter
        | Point::PollBefore
        | Point::PollAfter
        | Point::TerminalBefore
        | Point::TerminalAfter => None,
    }
}

async fn until_dead(model: &str, kill: Kill) -> (Simulator, Setup) {
    let rules: &[&str] = match kill {
        Kill::At(_) => &[],
        Kill::BeforeEffect => &["create:hang"],
        Kill::AfterEffect => &["create:hang,effect=after"],
    };
    let simulator = Simulator::start(rules);
    let setup = setup(&simulator);
    let server = match kill {
        Kill::At(point) => setup.doomed(point, 1).start().await,
        Kill::BeforeEffect | Kill::AfterEffect => setup.start().await,
    };
    // It may die before it answers.
    let _ = order(&server, picture(model)).await;
    let setup = match kill {
        Kill::At(_) => server.died().await,
        Kill::BeforeEffect => {
            reached(&simulator, "creates_received", 1).await;
            server.kill()
        }
        Kill::AfterEffect => {
            reached(&simulator, "creates_effective", 1).await;
            server.kill()
        }
    };
    simulator.faults(&[]).await;
    (simulator, setup)
}

async fn check(model: &str, kill: Kill, then: Then) {
    let (simulator, setup) = until_dead(model, kill).await;
    let server = setup.start().await;
    // As callers do that got no answer.
    let name = order(&server, picture(model)).await.unwrap().name;
    match then {
        Then::GoesOn => {
            delivered(&server, &name).await;
            assert_eq!(creates(&simulator).await, (1, 1), "{model} {kill:?}");
        }
        Then::Unknown(n_received) => {
            let unknown = server.unresolved(&name).await;
            assert_eq!(unknown.unresolved.unwrap().reason(), ErrorReason::SubmitAnswerLost, "{model} {kill:?}");
            // Nor by another start.
            let server = server.kill().start().await;
            let unknown = server.unresolved(&name).await;
            assert_eq!(unknown.cost.unwrap().held_micro_usd, PRICE, "{model} {kill:?}");
            assert_eq!(unknown.attempts.len(), 1, "{model} {kill:?}");
            assert_eq!(creates(&simulator).await.0, n_received, "{model} {kill:?}");
        }
    }
}

async fn at_every_step(model: &str) {
    let points = Point::ALL.into_iter().filter_map(|point| Some((Kill::At(point), after(point, model)?)));
    let between = [Kill::BeforeEffect, Kill::AfterEffect].map(|kill| (kill, Then::Unknown(1)));
    let kills = points.chain(between).map(|(kill, then)| check(model, kill, then));
    stream::iter(kills.collect::<Vec<_>>()).buffer_unordered(N_AT_ONCE).collect::<()>().await;
}

#[tokio::test]
async fn a_picture_in_the_answer_is_never_bought_twice_whenever_the_process_dies() {
    at_every_step(INLINE).await;
}

#[tokio::test]
async fn an_address_in_the_answer_is_never_bought_twice_whenever_the_process_dies() {
    at_every_step(LINKED).await;
}
