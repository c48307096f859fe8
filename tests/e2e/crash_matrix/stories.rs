//! Orders that are told twice: once undisturbed, and once with a death in the middle.

use std::time::Duration;

use crate::{
    simulator::Simulator,
    support::server::{Server, Setup, video},
};
use filmgate::{
    failpoint::Point,
    pb::v1::{
        AttemptOutcome, Charged, GenerateVideoRequest, GetSessionHistoryRequest, LedgerAccount, LedgerReason, Role,
        State,
    },
};

/// A model with a price, so that money is held.
pub(super) const PRICED: &str = "replicate/kwaivgi/kling-v1.6-standard";

/// How the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kill {
    /// By its own hand at a failpoint.
    At(Point),
    /// From outside, when the vendor has got the order and made nothing of it yet, nor ever will.
    BeforeEffect,
    /// From outside, when the vendor has made the job and not answered yet.
    AfterEffect,
}

/// Orders on one server with one vendor. Each has a request id, so that asking again is safe.
pub(super) struct Story {
    orders: Vec<GenerateVideoRequest>,
    /// Which of the vendor's jobs is the one that dies, from 1.
    nth: u32,
    rules: &'static [&'static str],
    concurrency: &'static str,
}

/// What the caller, the vendor and the books show of a generation in the end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct End {
    pub(super) state: State,
    pub(super) attempts: Vec<(AttemptOutcome, Charged)>,
    pub(super) held: i64,
    pub(super) settled: Option<i64>,
    pub(super) files: Vec<(String, i64)>,
    pub(super) messages: Vec<(Role, String)>,
    pub(super) history: Vec<String>,
    /// Reason, from, to, and how much.
    pub(super) moved: Vec<(LedgerReason, LedgerAccount, LedgerAccount, i64)>,
}

impl Story {
    /// One order.
    pub(super) fn alone() -> Self {
        Self { orders: vec![order("alone", 1)], nth: 1, rules: &[], concurrency: "8" }
    }

    /// Three orders that go one after the other; the second dies.
    pub(super) fn of_three() -> Self {
        Self {
            orders: (1..=3).map(|n| order(&format!("number {n}"), n)).collect(),
            nth: 2,
            rules: &[],
            concurrency: "1",
        }
    }

    /// Two identical orders that share a job. The vendor takes its time with it, so that the second finds it under way.
    pub(super) fn shared() -> Self {
        let orders = vec![order("the same", 1), order("the same", 2)];
        Self { orders, nth: 1, rules: &["create:slow=300ms"], concurrency: "8" }
    }

    /// How it ends when nobody dies.
    pub(super) async fn undisturbed(&self) -> Vec<End> {
        let simulator = Simulator::start(self.rules);
        let server = self.setup(&simulator).start().await;
        let names = self.order_again(&server).await;
        self.ends(&server, &names).await
    }

    /// The same with orders that must be done within `limit`.
    pub(super) fn within(mut self, limit: Duration) -> Self {
        for order in &mut self.orders {
            order.max_duration = Some(limit.try_into().unwrap());
        }
        self
    }

    /// Orders, dies, and starts again at a healthy vendor.
    pub(super) async fn until_restarted(&self, kill: Kill) -> (Simulator, Server) {
        let (simulator, setup) = self.until_dead(kill).await;
        (simulator, setup.start().await)
    }

    /// Orders and dies. The vendor is well again.
    pub(super) async fn until_dead(&self, kill: Kill) -> (Simulator, Setup) {
        let fault = match kill {
            // What is fetched quickly is stored with the end.
            Kill::At(Point::TerminalAfter) => Some("download:slow=1s".to_owned()),
            Kill::At(_) => None,
            Kill::BeforeEffect => Some(format!("create:nth={}:hang", self.nth)),
            Kill::AfterEffect => Some(format!("create:nth={}:hang,effect=after", self.nth)),
        };
        let rules: Vec<&str> = self.rules.iter().copied().chain(fault.as_deref()).collect();
        let simulator = Simulator::start(&rules);
        let setup = self.setup(&simulator);
        let server = match kill {
            Kill::At(point) => setup.doomed(point, self.nth_of(point)).start().await,
            Kill::BeforeEffect | Kill::AfterEffect => setup.start().await,
        };
        for order in &self.orders {
            // It may die before it answers.
            let _ = server.order(order.clone()).await;
        }
        let setup = match kill {
            Kill::At(_) => server.died().await,
            Kill::BeforeEffect => self.killed_at("creates_received", &simulator, server).await,
            Kill::AfterEffect => self.killed_at("creates_effective", &simulator, server).await,
        };
        simulator.faults(&[]).await;
        (simulator, setup)
    }

    /// Orders again as callers do that got no answer; the names. Nothing else was accepted.
    pub(super) async fn order_again(&self, server: &Server) -> Vec<String> {
        let mut names = Vec::new();
        for order in &self.orders {
            names.push(server.order(order.clone()).await.unwrap().name);
        }
        let mut all = server.names().await;
        all.sort();
        let mut expected = names.clone();
        expected.sort();
        assert_eq!(all, expected);
        names
    }

    /// How all of them end.
    pub(super) async fn ends(&self, server: &Server, names: &[String]) -> Vec<End> {
        let mut ends = Vec::new();
        for name in names {
            ends.push(end(server, name).await);
        }
        ends
    }

    fn setup(&self, simulator: &Simulator) -> Setup {
        Setup::replicate(&simulator.replicate()).with("FILMGATE_CONCURRENCY", self.concurrency)
    }

    /// How often the one that dies, and those before it, come to a point. All are ordered while the first is on its way: a death at the second
    /// acceptance would catch the first one anywhere.
    fn nth_of(&self, point: Point) -> u32 {
        if matches!(point, Point::OrderBefore | Point::OrderAfter) { 1 } else { self.nth }
    }

    async fn killed_at(&self, count: &str, simulator: &Simulator, server: Server) -> Setup {
        simulator.reached(count, u64::from(self.nth)).await;
        server.kill()
    }
}

fn order(prompt: &str, n: usize) -> GenerateVideoRequest {
    GenerateVideoRequest {
        model: PRICED.to_owned(),
        session: format!("sessions/of-{n}"),
        request_id: format!("order-{n}"),
        ..video(prompt)
    }
}

async fn end(server: &Server, name: &str) -> End {
    let generation = server.end_of(name).await;
    let mut files = Vec::new();
    for artifact in &generation.artifacts {
        assert_eq!(server.sha256_of(artifact).await, artifact.sha256, "{name}");
        files.push((artifact.sha256.clone(), artifact.size_bytes));
    }
    let request = GetSessionHistoryRequest { name: generation.session.clone(), ..GetSessionHistoryRequest::default() };
    let messages = server.sessions().await.get_session_history(request).await.unwrap().into_inner().messages;
    let events = server.events(name).await;
    let numbers: Vec<i64> = events.iter().map(|event| event.number).collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>(), "{name}: gaps in its history");
    let cost = generation.cost.unwrap();
    End {
        state: generation.state(),
        attempts: generation.attempts.iter().map(|attempt| (attempt.outcome(), attempt.charged())).collect(),
        held: cost.held_micro_usd,
        settled: cost.settled_micro_usd,
        files,
        messages: messages.into_iter().map(|message| (message.role(), message.text)).collect(),
        history: events.into_iter().map(|event| event.r#type).collect(),
        moved: moved(server, name).await,
    }
}

/// What the ledger has of a generation that has ended; nothing of it is held any more.
async fn moved(server: &Server, name: &str) -> Vec<(LedgerReason, LedgerAccount, LedgerAccount, i64)> {
    let entries = crate::money::entries(server, name).await;
    let is_held = |account: LedgerAccount| i64::from(account == LedgerAccount::Held);
    let held =
        entries.iter().map(|entry| entry.micro_usd * (is_held(entry.to_account()) - is_held(entry.from_account())));
    assert_eq!(held.sum::<i64>(), 0, "{name}: {entries:?}");
    entries.iter().map(|entry| (entry.reason(), entry.from_account(), entry.to_account(), entry.micro_usd)).collect()
}
