//! Databases that restart, connections that break, processes that stop.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    super::{
        database::Database,
        dialect, locks,
        statements::{Statement, values},
    },
    *,
};
use crate::{
    domain::{life::tests::START, session::Message},
    store::contract::{Ask, page, stored, unfinished},
};

fn acceptance(ask: &Ask) -> Acceptance {
    Acceptance {
        tenant: ask.tenant.clone(),
        session: ask.session.clone(),
        request: ask.request.clone(),
        quote: None,
        max_unfinished: ask.max_unfinished,
        now: ask.now,
    }
}

fn is_unavailable<T>(answer: &std::result::Result<T, AcceptError>) -> bool {
    matches!(answer, Err(AcceptError::Store(StoreError::Unavailable(_))))
}

/// A draft that does something the first time, in the middle of the transaction.
struct Meddling<F> {
    ask: Ask,
    n_calls: Arc<AtomicUsize>,
    first: F,
}

impl<F: Fn() + Send + Sync> Draft for Meddling<F> {
    fn generation(&self, earlier: &[Message]) -> (Generation, Vec<Message>) {
        if self.n_calls.fetch_add(1, Ordering::Relaxed) == 0 {
            (self.first)();
        }
        self.ask.generation(earlier)
    }
}

#[tokio::test]
async fn an_acceptance_begins_anew_when_its_connection_is_lost() {
    let url = database().await;
    let store = open(&url, "a").await;
    let (ask, n_calls) = (Ask::new(), Arc::new(AtomicUsize::new(0)));
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let first = move || drop(server::psql(&url, kill));
    let draft = Meddling { ask: ask.clone(), n_calls: Arc::clone(&n_calls), first };
    let accepted = store.accept(acceptance(&ask), Box::new(draft)).await.unwrap();
    assert!(matches!(accepted, Accepted::New(..)));
    assert_eq!(n_calls.load(Ordering::Relaxed), 2);
    assert_eq!(store.messages(&ask.tenant, &ask.session, page(10)).await.unwrap().len(), 2, "of one acceptance");
}

/// A way to the database that is cut when a commit comes by: before it is passed on, or after its answer.
async fn cut_at_commit(server: u16, after: bool, armed: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    #[expect(clippy::disallowed_methods, reason = "it ends with the runtime of its test")]
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let armed = Arc::clone(&armed);
            tokio::spawn(async move {
                let (mut up, mut down, mut cut) = ([0; 65536], [0; 65536], false);
                loop {
                    tokio::select! {
                        n = client.read(&mut up) => {
                            let Ok(n @ 1..) = n else { return };
                            let commits = up[..n].windows(7).any(|bytes| bytes == b"COMMIT\0");
                            cut = commits && armed.load(Ordering::Relaxed);
                            if cut && !after {
                                return;
                            }
                            server.write_all(&up[..n]).await.unwrap();
                        }
                        n = server.read(&mut down) => {
                            let Ok(n @ 1..) = n else { return };
                            if cut && down[..n].windows(7).any(|bytes| bytes == b"COMMIT\0") {
                                return;
                            }
                            client.write_all(&down[..n]).await.unwrap();
                        }
                    }
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_neither_claimed_nor_repeated() {
    for after in [false, true] {
        let url = database().await;
        let armed = Arc::new(AtomicBool::new(false));
        let port = cut_at_commit(SERVER.port(), after, Arc::clone(&armed)).await;
        let store = open(&url.replace(&SERVER.port().to_string(), &port.to_string()), "a").await;
        armed.store(true, Ordering::Relaxed);
        let (ask, n_calls) = (Ask::new(), Arc::new(AtomicUsize::new(0)));
        let draft = Meddling { ask: ask.clone(), n_calls: Arc::clone(&n_calls), first: || () };
        let answer = store.accept(acceptance(&ask), Box::new(draft)).await;
        assert!(is_unavailable(&answer), "{answer:?}");
        assert_eq!(n_calls.load(Ordering::Relaxed), 1);
        armed.store(false, Ordering::Relaxed);
        // If it was done it is whole, and its owner finds it.
        let owned = store.owned(None, 10).await.unwrap();
        assert_eq!(owned.len(), usize::from(after));
        let n_messages = store.messages(&ask.tenant, &ask.session, page(10)).await.unwrap().len();
        assert_eq!(n_messages, 2 * usize::from(after));
    }
}

#[tokio::test]
async fn a_process_that_stops_in_a_transaction_does_not_keep_its_locks() {
    let (_, [stopped, store]) = stores(["a", "b"]).await;
    let generation = Ask::new().accepted(&tested(&stopped)).await;
    let mut transaction = stopped.database.transaction(async |work| Ok::<_, StoreError>(work)).await.unwrap();
    transaction.write(locks::session(&generation.tenant, &generation.session));
    let lock = Statement::own(dialect::LOAD_LOCKED, values![generation.id.id()]);
    transaction.ask(lock).await.unwrap();

    let began = Instant::now();
    let store = tested(&store);
    let next = Ask::new().within(&generation.session);
    let (cancelled, accepted) =
        tokio::join!(store.apply(generation.id, Event::CancelRequested, None, START), next.send(&store));
    cancelled.unwrap();
    accepted.unwrap();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    // It wakes up, and is told that its transaction is gone.
    let late = Statement::own(dialect::HINT, values!["b", "late"]);
    transaction.write(late);
    transaction.commit().await.unwrap_err();
    assert_eq!(store.hints().await.unwrap(), []);
}

#[tokio::test]
async fn work_whose_caller_goes_away_leaves_nothing_behind() {
    let (_, [store]) = stores(["a"]).await;
    let ask = Ask::new();
    let mut holder = store.database.transaction(async |work| Ok::<_, StoreError>(work)).await.unwrap();
    holder.write(locks::session(&ask.tenant, &ask.session));
    holder.ask(Statement::own(dialect::FENCE, values![])).await.unwrap();
    let store = tested(&store);
    for _ in 0..40 {
        let gone = timeout(Duration::from_millis(20), ask.clone().send(&store)).await;
        assert!(gone.is_err(), "it waits for the lock");
    }
    drop(holder);
    let accepted = ask.clone().accepted(&store).await;
    assert_eq!(unfinished(&store, page(100)).await, [accepted]);
    assert_eq!(store.session(&ask.tenant, &ask.session).await.unwrap().unwrap().n_messages, 2);
}

#[tokio::test]
async fn a_lease_is_renewed_and_work_is_taken_however_many_callers_wait() {
    let (_, [store]) = stores(["a"]).await;
    let mut held = Vec::new();
    while let Ok(work) =
        timeout(Duration::from_millis(200), store.database.transaction(async |work| Ok::<_, StoreError>(work))).await
    {
        held.push(work.unwrap());
    }
    assert_eq!(held.len(), 16);
    let soon = Duration::from_secs(5);
    timeout(soon, store.heartbeat(START)).await.unwrap().unwrap();
    timeout(soon, store.owned(None, 1)).await.unwrap().unwrap();
    timeout(soon, store.take_over(1)).await.unwrap().unwrap();
    timeout(soon, store.take_waiting("replicate", START, 1)).await.unwrap().unwrap();
    timeout(soon, store.hints()).await.unwrap().unwrap();
    timeout(soon, store.newer(&[])).await.unwrap().unwrap();
}

#[tokio::test]
async fn very_many_writes_are_kept_or_undone_together() {
    let (url, [store]) = stores(["a"]).await;
    let write = async |last: &'static str| {
        let mut work = store.database.transaction(async |work| Ok::<_, StoreError>(work)).await.unwrap();
        for index in 0..2_500 {
            work.write(Statement::own(dialect::HINT, values!["a", index.to_string()]));
        }
        work.write(Statement::own(last, values![]));
        work.commit().await
    };
    let n_hints = || server::psql(&url, "SELECT count(*) FROM filmgate.hints");
    write("SELECT 1 / 0").await.unwrap_err();
    assert_eq!(n_hints(), "0");
    write("SELECT 1").await.unwrap();
    assert_eq!(n_hints(), "2500");
}

#[tokio::test]
async fn nothing_is_kept_after_a_failure_that_nobody_minded() {
    let (url, [store]) = stores(["a"]).await;
    let mut work = store.database.transaction(async |work| Ok::<_, StoreError>(work)).await.unwrap();
    work.write(Statement::own(dialect::HINT, values!["a", "x"]));
    work.ask(Statement::own("SELECT 1 / 0", values![])).await.unwrap_err();
    work.commit().await.unwrap_err();
    assert_eq!(server::psql(&url, "SELECT count(*) FROM filmgate.hints"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_wait_for_each_other_are_both_done_in_the_end() {
    let (_, [store]) = stores(["a"]).await;
    let (barrier, n_tries) = (Arc::new(tokio::sync::Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
    let mut both = JoinSet::new();
    for order in [["x", "y"], ["y", "x"]] {
        let (store, barrier, n_tries) = (Arc::clone(&store), Arc::clone(&barrier), Arc::clone(&n_tries));
        both.spawn(async move {
            let work = async |mut work: super::super::work::Work| {
                for (index, digest) in order.iter().enumerate() {
                    if index == 1 && n_tries.fetch_add(1, Ordering::Relaxed) < 2 {
                        barrier.wait().await;
                    }
                    work.write(locks::order(&TenantId::default_tenant(), digest));
                    work.ask(Statement::own(dialect::FENCE, values![])).await?;
                }
                work.commit().await
            };
            store.database.transaction(work).await
        });
    }
    for done in both.join_all().await {
        done.unwrap();
    }
    assert_eq!(n_tries.load(Ordering::Relaxed), 3, "one of them began anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_restarts_under_load_loses_nothing_that_was_answered() {
    let server = server::Postgres::start();
    let url = server.database();
    let store: Tested = Arc::new(open(&url, "a").await);
    let answered = Arc::new(Mutex::new(Vec::new()));
    let (done, n_refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for _ in 0..8 {
        let (store, answered, done) = (Arc::clone(&store), Arc::clone(&answered), Arc::clone(&done));
        let n_refused = Arc::clone(&n_refused);
        load.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                match Ask::new().send(&store).await {
                    Ok(Accepted::New(generation, _)) => answered.lock().unwrap().push(*generation),
                    Err(AcceptError::Store(StoreError::Unavailable(_))) => {
                        n_refused.fetch_add(1, Ordering::Relaxed);
                        tokio::task::yield_now().await;
                    }
                    other => panic!("{other:?}"),
                }
            }
        });
    }
    let n_answered = || answered.lock().unwrap().len();
    let until = async |n: usize| {
        while n_answered() < n {
            assert!(load.len() == 8);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let soon = Duration::from_secs(60);
    for signal in ["QUIT", "INT"] {
        timeout(soon, until(n_answered() + 50)).await.unwrap();
        server.stop(signal);
        let n_before = n_refused.load(Ordering::Relaxed);
        timeout(soon, async {
            while n_refused.load(Ordering::Relaxed) == n_before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
        server.resume();
    }
    timeout(soon, until(n_answered() + 50)).await.unwrap();
    done.store(true, Ordering::Relaxed);
    load.join_all().await;
    store.heartbeat(START).await.unwrap();
    let answered = answered.lock().unwrap().clone();
    assert!(n_refused.load(Ordering::Relaxed) > 0);
    for generation in &answered {
        assert_eq!(stored(&store, generation).await, *generation);
    }
}

#[tokio::test]
async fn a_database_that_may_not_be_written_is_unavailable_and_reads_on() {
    let (url, [store]) = stores(["a"]).await;
    let generation = Ask::new().accepted(&tested(&store)).await;
    let name = url.rsplit_once('/').unwrap().1;
    server::psql(&url, &format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    let reader = Postgres { database: Database::new(&address(&url)).unwrap(), ..Arc::into_inner(store).unwrap() };
    let reader: Tested = Arc::new(reader);
    assert!(matches!(reader.heartbeat(START).await, Err(StoreError::Unavailable(_))));
    assert!(is_unavailable(&Ask::new().send(&reader).await));
    assert_eq!(stored(&reader, &generation).await, generation);
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let (_, [store]) = stores(["a"]).await;
    store.close().await;
    store.close().await;
    assert!(matches!(store.heartbeat(START).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.load(GenerationId::fresh()).await, Err(StoreError::Unavailable(_))));
    assert!(is_unavailable(&Ask::new().send(&tested(&store)).await));
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_in_the_error() {
    let name = "no_such_database";
    let opened = Postgres::open(&address(&SERVER.url(name)), "a".into(), LEASE, Budgets::default()).await.unwrap_err();
    let error = format!("{:#}", anyhow::Error::from(opened));
    assert!(error.contains(name), "{error}");
    let nobody = Postgres::examine(&address("postgres://postgres@127.0.0.1:1/db")).await;
    assert!(matches!(nobody, Err(OpenError::Store(StoreError::Unavailable(_)))), "{nobody:?}");
}
