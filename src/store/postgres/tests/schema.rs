//! Tables, their versions, and how statements find their rows.

use tokio::task::JoinSet;

use super::{
    super::{dialect, migrate, statements::Statement},
    *,
};
use crate::store::{contract::Ask, sql};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_that_open_an_empty_database_migrate_it_once() {
    let url = SERVER.database();
    let pooled = POOLER.through(&url);
    assert_eq!(Postgres::examine(&address(&url)).await.unwrap().1, 0);
    let mut opening = JoinSet::new();
    for index in 0..10 {
        let url = if index % 2 == 0 { url.clone() } else { pooled.clone() };
        opening.spawn(async move { open(&url, &format!("opener {index}")).await });
    }
    let stores = opening.join_all().await;
    assert_eq!(server::psql(&url, "SELECT string_agg(version::text, ',') FROM filmgate.migrations"), "1,2,3,4");
    let (program, version) = Postgres::examine(&address(&url)).await.unwrap();
    assert!(program.starts_with(|c: char| c.is_ascii_digit()), "{program}");
    assert_eq!(version, migrate::latest());
    for store in stores {
        Ask::new().accepted(&(Arc::new(store) as Tested)).await;
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_in_words() {
    let url = database().await;
    server::psql(&url, "INSERT INTO filmgate.migrations VALUES (7, now())");
    let refused = Postgres::open(&address(&url), "a".into(), LEASE, Budgets::default()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 7, .. }), "{refused:?}");
    let refused = Postgres::examine(&address(&url)).await.unwrap_err();
    assert!(refused.to_string().contains("version 7"), "{refused}");
}

#[tokio::test]
async fn a_role_that_may_only_use_a_schema_made_for_it_is_enough() {
    let url = SERVER.database();
    let name = url.rsplit_once('/').unwrap().1;
    server::psql(&url, &format!("CREATE ROLE modest_{name} LOGIN"));
    let modest = url.replace("postgres@", &format!("modest_{name}@"));
    let refused = Postgres::open(&address(&modest), "a".into(), LEASE, Budgets::default()).await.unwrap_err();
    let refused = format!("{:#}", anyhow::Error::from(refused));
    assert!(refused.contains("permission denied"), "{refused}");
    server::psql(&url, &format!("CREATE SCHEMA filmgate AUTHORIZATION modest_{name}"));
    Ask::new().accepted(&(Arc::new(open(&modest, "a").await) as Tested)).await;
}

/// Every subset of the filters, in their order.
fn lists(start: fn() -> sql::List, filters: &[&'static str], order: &'static str) -> Vec<String> {
    let chosen = (0..1_u32 << filters.len()).map(|chosen| {
        let mut list = start();
        for (_, filter) in filters.iter().enumerate().filter(|(index, _)| chosen & (1 << index) != 0) {
            list.and(filter);
        }
        list.order_by(order)
    });
    chosen.collect()
}

#[tokio::test]
async fn every_statement_is_understood_and_goes_by_an_index() {
    let url = database().await;
    let mut texts = lists(sql::List::generations, &["state = {}", "session = {}", "kind = {}", "id < {}"], "id DESC");
    texts.extend(lists(
        sql::List::artifacts,
        &["kind = {}", "generation = {}", "(created_at, id) < ({}, {})"],
        "created_at DESC, id DESC",
    ));
    // There is no table for it: the lease proves that writing works.
    texts.extend(sql::ALL.iter().filter(|text| **text != sql::health::HEARTBEAT).map(|text| (*text).to_owned()));
    let mut texts: Vec<String> = texts.iter().map(|text| Statement::list(text, Vec::new()).text.into_owned()).collect();
    texts.extend(dialect::ALL.iter().map(|text| (*text).to_owned()));
    // Plans for any value, as if no table were small.
    let mut script = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;".to_owned();
    for (index, text) in texts.iter().enumerate() {
        let n_values = (1..40).take_while(|number| text.contains(&format!("${number}"))).count();
        let types = types(text, n_values);
        let values = if n_values == 0 { String::new() } else { format!("({})", vec!["NULL"; n_values].join(",")) };
        script.push_str(&format!(
            "PREPARE s{index}{types} AS {text}; SELECT '# {index}'; EXPLAIN EXECUTE s{index}{values};\n"
        ));
    }
    let plans = server::psql(&url, &script);
    let mut plans: Vec<&str> = plans.split("# ").skip(1).collect();
    assert_eq!(plans.len(), texts.len());
    plans.sort_unstable();
    for plan in plans {
        let (index, plan) = plan.split_once('\n').unwrap();
        let text = &texts[index.parse::<usize>().unwrap()];
        // There are few processes.
        let walks_all =
            plan.lines().any(|line| line.contains("Seq Scan on") && !line.contains("Seq Scan on processes"));
        assert!(!walks_all, "{text}\n{plan}");
    }
}

/// The types of the values, where an array cannot be told from the text.
fn types(text: &str, n_values: usize) -> String {
    let types: Vec<&str> = (1..=n_values)
        .map(|number| match () {
            () if text.contains(&format!("unnest(${number})")) => "text[]",
            () if text == dialect::NEWER => ["text[]", "bigint[]"][number - 1],
            () => "unknown",
        })
        .collect();
    if types.is_empty() { String::new() } else { format!("({})", types.join(",")) }
}
