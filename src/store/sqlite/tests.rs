use std::{
    path::PathBuf,
    pin::Pin,
    sync::{Arc, mpsc::Sender},
};

use tempfile::TempDir;

use super::*;
use crate::{
    domain::{
        generation::State,
        life::{
            AttemptEvent,
            tests::{START, drafted},
        },
        names::{ChatId, SubmitKey},
        order::{Input, InputRole, InputSource},
        session::Message,
    },
    store::contract::{Ask, Tested, money::budgets, page, store_contract, stored, succeed, together, unfinished},
};

store_contract!(super::at_once);

fn at_once() -> std::future::Ready<(Tested, TempDir)> {
    std::future::ready(fresh())
}

fn fresh() -> (Tested, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(Sqlite::open(&file(&folder), budgets()).unwrap()), folder)
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("filmgate.db")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_a_reopening_without_close() {
    let (store, folder) = fresh();
    let done = succeed(&store, &Ask::order("d").accepted(&store).await).await.generation;
    let mut answered = Vec::new();
    for answer in together(&store, (0..100).map(|_| Ask::new()).collect()).await {
        match answer.unwrap() {
            Accepted::New(generation, _) => answered.push(*generation),
            Accepted::Replayed(generation) => panic!("replayed {}", generation.id),
        }
    }
    drop(store);

    let store: Tested = Arc::new(Sqlite::open(&file(&folder), budgets()).unwrap());
    answered.sort_unstable_by_key(|generation| generation.id);
    assert_eq!(unfinished(&store, page(1000)).await, answered);
    assert_eq!(stored(&store, &done).await, done);
    assert_eq!(store.cached(&done.tenant, None, "d").await.unwrap(), Some(done));
    // The count of unfinished generations is read back too.
    let full = Ask { max_unfinished: 100, ..Ask::new() }.send(&store).await;
    assert!(matches!(full, Err(AcceptError::QueueFull { unfinished: 100 })));
}

#[test]
fn records_of_before_retention_expire_by_their_own_times() {
    let mut db = rusqlite::Connection::open_in_memory().unwrap();
    let text = |name: &str| connect::MIGRATIONS.iter().find(|(of, _)| *of == name).unwrap().1;
    db.execute_batch(text("V1__records")).unwrap();
    let insert = "INSERT INTO generations (id, tenant, session, kind, state, ended, deleted, first_turn, doc) \
        VALUES (?1, 'default', 's', 'video', 'x', ?2, 0, 0, ?3)";
    let mut starting = drafted(1);
    let frame = ArtifactId::from_id("frame").unwrap();
    let source = InputSource::Artifact(frame.clone());
    starting.inputs = vec![Input { role: InputRole::FirstFrame, source }];
    let mut ended = Generation { id: GenerationId::fresh(), ended_at: Some(START), ..starting.clone() };
    ended.state = State::Failed;
    for generation in [&starting, &ended] {
        let doc = statements::to_doc(generation).unwrap();
        db.execute(insert, params![generation.id.id(), generation.state.is_terminal(), doc]).unwrap();
    }
    let work = db.transaction().unwrap();
    work.execute_batch(text("V3__retention")).unwrap();
    work.commit().unwrap();
    let column = |text: &str| db.query_row(text, (), |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(
        column("SELECT group_concat(generation || ' ' || artifact) FROM inputs"),
        format!("{} frame", starting.id.id())
    );
    let ends = column("SELECT group_concat(id || ' ' || ended_at) FROM generations WHERE ended_at IS NOT NULL");
    assert_eq!(ends, format!("{} {}", ended.id.id(), START.as_microsecond()));
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&file(&folder), Budgets::default()).unwrap();
    store.heartbeat(START).await.unwrap();
    store.close().await;
    store.close().await;
    assert!(matches!(store.heartbeat(START).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.load(GenerationId::fresh()).await, Err(StoreError::Unavailable(_))));
    let store: Tested = Arc::new(store);
    assert!(matches!(Ask::new().send(&store).await, Err(AcceptError::Store(StoreError::Unavailable(_)))));
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_unavailable() {
    let opened = Sqlite::open(Path::new("/no/such/folder/filmgate.db"), Budgets::default());
    assert!(matches!(opened, Err(OpenError::Store(StoreError::Unavailable(_)))));
}

#[test]
fn a_file_of_a_newer_version_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let work = connect::for_writing(&file(&folder), Budgets::default()).unwrap();
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
        SELECT 8, 'later', applied_on, checksum FROM refinery_schema_history LIMIT 1";
    work.db.execute(newer, ()).unwrap();
    drop(work);
    let refused = Sqlite::open(&file(&folder), Budgets::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 8, .. }), "{refused:?}");
    assert!(refused.to_string().contains("version 8"), "{refused}");
}

#[tokio::test]
async fn a_store_that_may_not_write_is_unavailable_and_reads_on() {
    let (store, folder) = fresh();
    let generation = Ask::new().accepted(&store).await;
    drop(store);
    let work = connect::for_writing(&file(&folder), Budgets::default()).unwrap();
    work.db.pragma_update(None, "query_only", true).unwrap();
    let store = Sqlite {
        budgets: Budgets::default(),
        readers: Readers::new(&file(&folder)),
        writer: Writer::start(work).unwrap(),
    };
    assert!(matches!(store.heartbeat(START).await, Err(StoreError::Unavailable(_))));
    let store: Tested = Arc::new(store);
    assert_eq!(stored(&store, &generation).await, generation);
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let work = connect::for_writing(&file(&folder), Budgets::default()).unwrap();
    let n_pages: i64 = work.db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let _: i64 = work.db.pragma_update_and_check(None, "max_page_count", n_pages, |row| row.get(0)).unwrap();
    let sqlite = Arc::new(Sqlite {
        budgets: Budgets::default(),
        readers: Readers::new(&file(&folder)),
        writer: Writer::start(work).unwrap(),
    });
    let store: Tested = sqlite.clone();
    let mut answered = Vec::new();
    let full = loop {
        match Ask::new().send(&store).await {
            Ok(Accepted::New(generation, _)) => answered.push(generation.id),
            other => break other,
        }
        assert!(answered.len() < 10_000, "the disk never filled up");
    };
    assert!(matches!(full, Err(AcceptError::Store(StoreError::Unavailable(_)))), "{full:?}");
    let found: Vec<_> = unfinished(&store, page(10_000)).await.iter().map(|row| row.id).collect();
    assert_eq!(found, answered, "exactly what was answered is there");

    let raise = |work: &mut writer::Work| -> Result<i64> {
        Ok(work.db.pragma_update_and_check(None, "max_page_count", 100_000, |row| row.get(0))?)
    };
    sqlite.writer.write(raise).await.unwrap();
    Ask::new().accepted(&store).await;
}

/// A draft that panics, as a defect elsewhere would.
#[derive(Debug)]
struct Defect;

impl Draft for Defect {
    fn generation(&self, _: &[Message]) -> (Generation, Vec<Message>) {
        panic!("a defect in a draft")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_leaves_nothing_and_disturbs_no_neighbour() {
    let (store, _folder) = fresh();
    let session = SessionId::fresh();
    let acceptance = Acceptance {
        tenant: TenantId::default_tenant(),
        session: session.clone(),
        request: None,
        quote: None,
        max_unfinished: 1000,
        now: START,
    };
    let defect = store.accept(acceptance, Box::new(Defect));
    let neighbours = together(&store, (0..50).map(|_| Ask::new()).collect());
    let (failed, answers) = tokio::join!(defect, neighbours);
    assert!(matches!(failed, Err(AcceptError::Store(StoreError::Broken(_)))));
    assert!(answers.iter().all(std::result::Result::is_ok));
    assert_eq!(store.session(&TenantId::default_tenant(), &session).await.unwrap(), None);
    assert_eq!(unfinished(&store, page(1000)).await.len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_known_of_a_record_is_forgotten_with_the_write_that_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Arc::new(Sqlite::open(&file(&folder), budgets()).unwrap());
    let store: Tested = sqlite.clone();
    let generation = Ask::new().accepted(&store).await;
    let (id, attempt) = (generation.id, generation.open_attempt().unwrap().id);
    let intent = || Event::Attempt(attempt, AttemptEvent::Submitting(SubmitKey::fresh()));
    let undone: [fn(&writer::Work) -> Result<()>; 3] = [
        |_| Err(StoreError::unavailable("refused")),
        |_| panic!("a defect"),
        // The commit of the whole batch fails.
        |work| Ok(work.db.execute_batch("ROLLBACK")?),
    ];
    for undo in undone {
        let event = intent();
        let write = move |work: &mut writer::Work| {
            let changes = apply::apply(work, id, &event, START).unwrap();
            assert_eq!(generations::load_to_change(work, id)?.as_deref(), Some(&changes.generation));
            undo(work)
        };
        assert!(sqlite.writer.write(write).await.is_err());
        let known = sqlite.writer.write(move |work| generations::load_to_change(work, id)).await.unwrap();
        assert_eq!(known.as_deref(), Some(&generation));
    }
    let intended = store.apply(id, intent(), None, START).await.unwrap().generation;
    assert_eq!((intended.state, stored(&store, &generation).await), (State::Running, intended));
}

#[test]
fn an_event_in_the_middle_of_a_job_leaves_most_indexes_alone() {
    let folder = tempfile::tempdir().unwrap();
    let work = connect::for_writing(&file(&folder), Budgets::default()).unwrap();
    let n_touched = |text: &str| {
        let mut statement = work.db.prepare(&format!("EXPLAIN {text}")).unwrap();
        let nulls = vec![rusqlite::types::Null; statement.parameter_count()];
        let steps = statement.query_map(rusqlite::params_from_iter(nulls), |row| row.get::<_, String>(1)).unwrap();
        steps.filter(|step| step.as_deref() == Ok("IdxDelete")).count()
    };
    let texts = [sql::generation::UPDATE_DOC, sql::generation::UPDATE_STATE, sql::generation::UPDATE];
    assert_eq!(texts.map(n_touched), [0, 2, 6]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_does_not_run_ahead_of_a_write() {
    let (store, _folder) = fresh();
    let before = tokio::time::Instant::now();
    for _ in 0..20 {
        Ask::new().accepted(&store).await;
    }
    assert_eq!(unfinished(&store, page(100)).await.len(), 20);
    assert_eq!(before.elapsed(), std::time::Duration::ZERO);
}

/// A store whose writer is within `slow`, which waits for `go` and then makes a session.
async fn busy(store: &Sqlite, session: &SessionId) -> (Pin<Box<impl Future<Output = Result<Session>>>>, Sender<()>) {
    let (began, has_begun) = tokio::sync::oneshot::channel();
    let (go, may_go) = std::sync::mpsc::channel();
    let session = session.clone();
    let mut slow = Box::pin(store.writer.write(move |work| {
        began.send(()).unwrap();
        may_go.recv().unwrap();
        sessions::create(&work.db, &TenantId::default_tenant(), &session, START)
    }));
    tokio::select! {
        biased;
        answer = &mut slow => panic!("answered before it ended: {answer:?}"),
        begun = has_begun => begun.unwrap(),
    }
    (slow, go)
}

async fn is_pending<T: std::fmt::Debug>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = std::future::ready(()) => true,
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_is_given_up_before_it_starts_or_waited_for_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&file(&folder), Budgets::default()).unwrap();
    let tenant = TenantId::default_tenant();
    let [first, late, gone] = [SessionId::fresh(), SessionId::fresh(), SessionId::fresh()];
    let (mut slow, go) = busy(&store, &first).await;
    let mut waiting = store.create_session(&tenant, &late, START);
    assert!(is_pending(&mut waiting).await);
    let mut dropped = store.create_session(&tenant, &gone, START);
    assert!(is_pending(&mut dropped).await);
    drop(dropped);

    tokio::time::advance(writer::PATIENCE * 2).await;
    let refused = waiting.await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(is_pending(&mut slow).await, "what has started may be kept, so only its end is an answer");
    go.send(()).unwrap();
    assert_eq!(slow.await.unwrap().id, first);

    // Writes run in turn: whatever was queued before this one has had its own.
    store.heartbeat(START).await.unwrap();
    assert!(store.session(&tenant, &first).await.unwrap().is_some());
    for never in [&late, &gone] {
        assert_eq!(store.session(&tenant, never).await.unwrap(), None, "nobody was told that it is there");
    }
}

#[test]
fn every_lookup_and_list_goes_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let work = connect::for_writing(&file(&folder), Budgets::default()).unwrap();
    let lists = |start: fn() -> sql::List, filters: &[&'static str], order: &'static str| {
        // Every subset of the filters, in their order.
        (0..1_u32 << filters.len())
            .map(move |chosen| {
                let mut list = start();
                for (_, filter) in filters.iter().enumerate().filter(|(index, _)| chosen & (1 << index) != 0) {
                    list.and(filter);
                }
                list.order_by(order)
            })
            .collect::<Vec<String>>()
    };
    let mut texts = lists(sql::List::generations, &["state = {}", "session = {}", "kind = {}", "id < {}"], "id DESC");
    texts.extend(lists(
        sql::List::artifacts,
        &["kind = {}", "generation = {}", "(created_at, id) < ({}, {})"],
        "created_at DESC, id DESC",
    ));
    texts.extend(sql::ALL.iter().map(|text| (*text).to_owned()));
    for text in texts {
        let mut statement = work.db.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let n_parameters = statement.parameter_count();
        let nulls = vec![rusqlite::types::Null; n_parameters];
        let plan: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(nulls), |row| row.get(3))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        // Counting a partial index from end to end happens once, at opening; what is unfinished is read for blobs that nothing else names.
        let counts_all = text == sql::generation::COUNT_UNFINISHED || text == sql::artifact::IS_ANSWER;
        let slow = |step: &String| {
            let walks_all = step.starts_with("SCAN") && !step.contains("CONSTANT ROW");
            (walks_all && !counts_all) || step.contains("TEMP B-TREE")
        };
        assert!(!plan.iter().any(slow), "{text}\n{plan:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budgets_are_counted_anew_at_each_opening() {
    let (store, folder) = fresh();
    let ask = |team: &str| {
        let labels = [("team".to_owned(), team.to_owned())].into();
        Ask { tenant: TenantId::from_id("labelled").unwrap(), labels, ..Ask::new() }
    };
    let generation = ask("film").accepted(&store).await;
    succeed(&store, &ask("film").accepted(&store).await).await;
    ask("sound").accepted(&store).await;
    let chat = ChatRecord {
        id: ChatId::fresh(),
        tenant: generation.tenant.clone(),
        session: None,
        model: "sample/chat".parse().unwrap(),
        labels: generation.labels.clone(),
        began_at: START,
        ended_at: START,
        succeeded: true,
        usage: None,
        cost: Some(crate::domain::money::MicroUsd(5)),
    };
    store.record_chat(&chat, Vec::new()).await.unwrap();
    let spender = || Spender::of(&generation);
    let before = store.standings(spender(), START).await.unwrap();
    assert_eq!((before[0].held.0, before[0].spent.0), (70, 75));
    drop(store);
    let store: Tested = Arc::new(Sqlite::open(&file(&folder), budgets()).unwrap());
    assert_eq!(store.standings(spender(), START).await.unwrap(), before);
}

#[test]
fn money_of_before_the_ledger_is_in_it() {
    let mut db = rusqlite::Connection::open_in_memory().unwrap();
    let migrations = connect::MIGRATIONS;
    for (_, text) in &migrations[..3] {
        db.execute_batch(text).unwrap();
    }
    let (open, mut ended) = (drafted(1), drafted(1));
    ended.labels.insert("team".to_owned(), "film".to_owned());
    (ended.state, ended.ended_at) = (State::Succeeded, Some(START));
    (ended.attempts[0].settled, ended.attempts[0].ended_at) = (Some(crate::domain::money::MicroUsd(90)), Some(START));
    for generation in [&open, &ended] {
        let mut doc = serde_json::to_value(generation).unwrap();
        doc["attempts"][0].as_object_mut().unwrap().remove("held");
        let insert = "INSERT INTO generations (id, tenant, session, kind, state, ended, deleted, first_turn, doc) \
            VALUES (?1, 'default', ?2, 'video', ?3, ?4, 0, 0, ?5)";
        let state = generation.state;
        let values =
            params![generation.id.id(), generation.session.id(), state.as_str(), state.is_terminal(), doc.to_string()];
        db.execute(insert, values).unwrap();
    }
    let transaction = db.transaction().unwrap();
    for (_, text) in &migrations[3..] {
        transaction.execute_batch(text).unwrap();
    }
    transaction.commit().unwrap();
    let entries = super::money::ledger(&db, &open.tenant, &Default::default(), &page(10)).unwrap();
    let moved: Vec<_> =
        entries.iter().map(|e| (e.movement.reason.as_str(), e.movement.amount.0, e.movement.since)).collect();
    assert_eq!(moved, [("settle", 90, START), ("hold", 70, START)]);
    let by = [UsageKey::Label("team".to_owned())];
    let rows = super::money::usage(&db, &open.tenant, &Default::default(), &by, &page(10)).unwrap();
    assert_eq!(rows.iter().map(|row| (row.spent.0, row.held.0)).collect::<Vec<_>>(), [(0, 70), (90, 0)]);
    let doc: Option<Generation> = statements::find(&db, sql::generation::LOAD, [open.id.id()]).unwrap();
    assert_eq!(doc.unwrap().attempts[0].held.0, 70);
}
