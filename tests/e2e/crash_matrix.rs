//! SIGKILL at every step of an order's way, then a start on the same folder: nothing lost, nothing paid twice.
//!
//! Outside of the window from the stored intent to the stored ticket the end is that of the undisturbed run, whatever the step. Inside it the
//! vendor gets at most one submit: its job is found again, or it stays UNRESOLVED with its hold until a person decides.

mod stories;

use std::time::Duration;

use filmgate::{
    failpoint::Point,
    pb::v1::{CachePolicy, Charged, ErrorReason, GenerateVideoRequest, State},
};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::sleep;

use self::stories::{Kill, Story};
use crate::{
    command_line::run,
    simulator::Simulator,
    support::server::{Server, Setup, video},
};

/// Servers at a time: a test has two cores and is not alone.
const N_AT_ONCE: usize = 4;

/// What a death leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The same as if nothing had happened.
    GoesOn,
    /// The vendor has the job and nobody wrote that down: it is looked for, with this in hand.
    Found(By),
    /// Nothing was made that could be found, which nobody can know.
    Unknown,
}

/// What gives a lost job back. A vendor that repeats our mark, or calls back late, is another way and another row of `kills`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// The only job in the vendor's list that can be ours.
    List,
}

/// Where a process is killed, and what it leads to.
fn kills() -> Vec<(Kill, Then)> {
    let passed = Point::ALL.into_iter().filter_map(|point| Some((Kill::At(point), after(point)?)));
    let in_between = [(Kill::BeforeEffect, Then::Unknown), (Kill::AfterEffect, Then::Found(By::List))];
    passed.chain(in_between).collect()
}

/// What a death at `point` leads to; none if an order of this vendor does not pass it.
fn after(point: Point) -> Option<Then> {
    Some(match point {
        // Its outputs never come with the submit answer.
        Point::AnswerBefore | Point::AnswerAfter => return None,
        Point::OrderBefore | Point::OrderAfter | Point::IntentBefore => Then::GoesOn,
        Point::IntentAfter | Point::SendBefore => Then::Unknown,
        Point::ReceiveBefore | Point::ReceiveAfter | Point::TicketBefore => Then::Found(By::List),
        Point::TicketAfter
        | Point::PollBefore
        | Point::PollAfter
        | Point::TerminalBefore
        | Point::TerminalAfter
        | Point::SpoolBefore
        | Point::SpoolAfter
        | Point::BlobBefore
        | Point::BlobAfter
        | Point::SettleBefore
        | Point::SettleAfter
        | Point::NotifyBefore
        | Point::NotifyAfter => Then::GoesOn,
    })
}

/// Does `check` for every way to die.
async fn at_every_step(check: impl AsyncFn(Kill, Then)) {
    stream::iter(kills()).map(|(kill, then)| check(kill, then)).buffer_unordered(N_AT_ONCE).collect::<()>().await;
}

#[tokio::test]
async fn a_death_at_any_step_ends_as_the_undisturbed_run_or_is_unknown_and_held() {
    let story = Story::alone();
    let undisturbed = story.undisturbed().await;
    assert_eq!(undisturbed[0].history, ["accepted", "submitting", "submitted", "outputs_ready", "succeeded"]);
    assert_eq!((undisturbed[0].settled, undisturbed[0].files.len()), (Some(250_000), 1));
    at_every_step(async |kill, then| {
        let (simulator, server) = story.until_restarted(kill).await;
        let names = story.order_again(&server).await;
        if then == Then::Unknown {
            stays_unknown(kill, &simulator, &server, &names[0]).await;
        } else {
            assert_eq!(story.ends(&server, &names).await, undisturbed, "{kill:?}");
        }
        let most = u64::from(then != Then::Unknown || kill == Kill::BeforeEffect);
        assert_eq!(simulator.count("creates_received").await, most, "{kill:?}");
    })
    .await;
}

/// The hold is kept, and being asked again the vendor is never sent anything.
async fn stays_unknown(kill: Kill, simulator: &Simulator, server: &Server, name: &str) {
    let generation = server.unresolved(name).await;
    assert_eq!(generation.unresolved.unwrap().reason(), ErrorReason::SubmitAnswerLost, "{kill:?}");
    let n_lists = simulator.count("lists").await;
    simulator.reached("lists", n_lists + 2).await;
    let generation = server.get(name).await;
    assert_eq!(generation.state(), State::Unresolved, "{kill:?}");
    assert_eq!(generation.cost.unwrap().held_micro_usd, 250_000, "{kill:?}");
}

#[tokio::test]
async fn several_at_once_suffer_no_more_than_one_alone() {
    // One place at the vendor, so that it is the second of three that dies, at each step.
    let story = Story::of_three();
    let undisturbed = story.undisturbed().await;
    at_every_step(async |kill, then| {
        let (simulator, server) = story.until_restarted(kill).await;
        let names = story.order_again(&server).await;
        if then == Then::Unknown {
            stays_unknown(kill, &simulator, &server, &names[1]).await;
            resolve(&server, &names[1], "resubmit").await;
        }
        let ends = story.ends(&server, &names).await;
        let n_sent = 3 + u64::from(kill == Kill::BeforeEffect);
        assert_eq!(simulator.count("creates_received").await, n_sent, "{kill:?}");
        assert_eq!(simulator.count("creates_effective").await, 3, "{kill:?}");
        for (index, (end, expected)) in ends.iter().zip(&undisturbed).enumerate() {
            if then == Then::Unknown && index == 1 {
                assert_eq!(end.state, State::Succeeded, "{kill:?}");
            } else {
                assert_eq!(end, expected, "{kill:?}: number {index}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_shares_a_job_gets_it_also_over_a_death() {
    let story = Story::shared();
    let undisturbed = story.undisturbed().await;
    assert_eq!(undisturbed.iter().map(|end| end.settled).collect::<Vec<_>>(), [Some(250_000), Some(0)]);
    at_every_step(async |kill, then| {
        let (simulator, server) = story.until_restarted(kill).await;
        let names = story.order_again(&server).await;
        if then == Then::Unknown {
            stays_unknown(kill, &simulator, &server, &names[0]).await;
            let shares = server.get(&names[1]).await;
            assert_eq!((shares.end_time, shares.cost.unwrap().held_micro_usd), (None, 0), "{kill:?}");
            resolve(&server, &names[0], "resubmit").await;
        }
        let ends = story.ends(&server, &names).await;
        assert_eq!(simulator.count("creates_effective").await, 1, "{kill:?}");
        assert!(ends.iter().all(|end| end.state == State::Succeeded), "{kill:?}: {ends:?}");
        // Who asked again after the death may have been answered from the finished job; either way it costs nothing.
        assert_eq!(ends[1].settled, Some(0), "{kill:?}");
        assert_eq!(ends[0].files, ends[1].files, "{kill:?}");
        if then != Then::Unknown {
            assert_eq!(ends[0], undisturbed[0], "{kill:?}");
        }
    })
    .await;
}

/// By the command line, on the folder of a running server.
async fn resolve(server: &Server, name: &str, decision: &str) {
    let ran = run(server.setup(), &["resolve", name, "--as", decision]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[tokio::test]
async fn a_person_ends_what_is_unknown_by_the_command_line() {
    let story = Story::alone();
    let check = async |kill: Kill, decision: &str, n_more: u64| {
        let (simulator, server) = story.until_restarted(kill).await;
        let names = story.order_again(&server).await;
        stays_unknown(kill, &simulator, &server, &names[0]).await;
        let n_before = simulator.count("creates_received").await;
        resolve(&server, &names[0], decision).await;
        let ended = server.end_of(&names[0]).await;
        assert_eq!(simulator.count("creates_received").await, n_before + n_more, "{kill:?} {decision}");
        ended
    };
    for kill in [Kill::At(Point::IntentAfter), Kill::At(Point::SendBefore), Kill::BeforeEffect] {
        let failed = check(kill, "failed", 0).await;
        let failure = failed.failure.unwrap();
        assert_eq!((failure.reason(), failure.charged()), (ErrorReason::ResolvedByPerson, Charged::Unknown));
        assert_eq!(failed.cost.unwrap().held_micro_usd, 0);
        let again = check(kill, "resubmit", 1).await;
        assert_eq!((again.state(), again.attempts.len()), (State::Succeeded, 2));
        // What the lost attempt cost stays unknown, so the sum is.
        assert_eq!(again.cost.unwrap().settled_micro_usd, None);
    }
}

#[tokio::test]
async fn a_job_that_may_be_anothers_is_adopted_by_neither() {
    // The first order's job is made and its answer lost; the second dies before it is sent. Both could have made that one job.
    let simulator = Simulator::start(&["create:hang,effect=after"]);
    let setup = Setup::replicate(&simulator.replicate());
    let server = setup.doomed(Point::SendBefore, 2).start().await;
    let twin = || GenerateVideoRequest {
        cache: CachePolicy::Bypass.into(),
        model: stories::PRICED.to_owned(),
        ..video("twins")
    };
    let first = server.order(twin()).await.unwrap().name;
    simulator.reached("creates_effective", 1).await;
    // It may die before it answers.
    let _ = server.order(twin()).await;
    let server = server.died().await.start().await;
    simulator.faults(&[]).await;
    let second = server.names().await.into_iter().find(|name| *name != first).expect("it was accepted");
    let kill = Kill::At(Point::SendBefore);
    for name in [&first, &second] {
        stays_unknown(kill, &simulator, &server, name).await;
    }
    resolve(&server, &second, "resubmit").await;
    let bought = server.end_of(&second).await;
    assert_eq!(bought.state(), State::Succeeded, "{bought:?}");
    // Now one job is claimed, one order is open, and one job is left: it can only be the first order's.
    let found = server.end_of(&first).await;
    assert_eq!(found.state(), State::Succeeded, "{found:?}");
    assert_ne!(found.attempts[0].provider_job_id, bought.attempts[1].provider_job_id);
    assert_eq!(simulator.count("creates_received").await, 2);
}

#[tokio::test]
async fn a_cancel_asked_for_before_a_death_is_done_after_it() {
    let points = [Point::PollBefore, Point::PollAfter, Point::SettleAfter, Point::NotifyBefore, Point::NotifyAfter];
    for point in points {
        let simulator = Simulator::start(&["create:hold"]);
        // The first poll is the cancel's.
        let setup = Setup::replicate(&simulator.replicate())
            .with("FILMGATE_POLL_INTERVAL", "1h")
            .with("FILMGATE_POLL_INTERVAL_MAX", "1h");
        let server = setup.doomed(point, 1).start().await;
        let name = server.order(video("unwanted")).await.unwrap().name;
        server.until(&name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
        // Its answer may be lost with the process; what it asked for is stored before the vendor is asked.
        let _ = server.cancel(&name).await;
        let server = server.died().await.start().await;
        let ended = server.end_of(&name).await;
        assert_eq!(ended.state(), State::Cancelled, "{point}: {ended:?}");
        assert_eq!(simulator.predictions().await[0]["status"], json!("canceled"), "{point}");
        assert_eq!(simulator.count("creates_received").await, 1, "{point}");
    }
}

#[tokio::test]
async fn a_deadline_that_passes_while_the_process_is_down_is_judged_by_what_was_sent() {
    const LIMIT: Duration = Duration::from_secs(3);
    let story = Story::alone().within(LIMIT);
    at_every_step(async |kill, then| {
        let (simulator, setup) = story.until_dead(kill).await;
        // It was accepted earlier than this, if it was.
        sleep(LIMIT).await;
        let server = setup.start().await;
        let names = story.order_again(&server).await;
        let waited = matches!(kill, Kill::At(Point::OrderAfter | Point::IntentBefore));
        if waited {
            let failed = server.end_of(&names[0]).await;
            let failure = failed.failure.unwrap();
            assert_eq!((failure.reason(), failure.charged()), (ErrorReason::DeadlineExceeded, Charged::No), "{kill:?}");
            assert_eq!(simulator.count("creates_received").await, 0, "{kill:?}");
            return;
        }
        if then == Then::Unknown {
            let generation = server.unresolved(&names[0]).await;
            assert_eq!(generation.cost.unwrap().held_micro_usd, 250_000, "{kill:?}");
            assert_eq!(simulator.count("creates_effective").await, 0, "{kill:?}");
            return;
        }
        // Late, and delivered: it was paid.
        let end = story.ends(&server, &names).await.remove(0);
        assert_eq!(
            (end.state, end.settled, end.files.len()),
            (State::Succeeded, Some(250_000), 1),
            "{kill:?}: {end:?}"
        );
        assert_eq!(simulator.count("creates_received").await, 1, "{kill:?}");
    })
    .await;
}
