//! What it costs, told through the public door: budgets that hold under a crowd, usage, the ledger, and later truth.

use std::collections::BTreeMap;

use filmgate::pb::v1::{
    CachePolicy, Charged, ErrorReason, GenerateVideoRequest, GetUsageRequest, LedgerAccount, LedgerEntry, LedgerReason,
    ListLedgerEntriesRequest, State, budget_service_client::BudgetServiceClient,
};
use futures_util::{StreamExt, stream};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    command_line::run,
    simulator::Simulator,
    support::server::{Server, Setup, video},
};

/// A model with a price: $0.25 for each order of these tests.
const PRICED: &str = "replicate/kwaivgi/kling-v1.6-standard";
const PRICE: i64 = 250_000;

fn order(prompt: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { model: PRICED.to_owned(), cache: CachePolicy::Bypass.into(), ..video(prompt) }
}

pub(crate) async fn entries(server: &Server, generation: &str) -> Vec<LedgerEntry> {
    let request = ListLedgerEntriesRequest { generation: generation.to_owned(), page_size: 200, ..Default::default() };
    let mut client = BudgetServiceClient::new(server.channel().await);
    let mut entries = client.list_ledger_entries(request).await.unwrap().into_inner().entries;
    entries.reverse();
    entries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_orders_at_once_exactly_as_many_are_accepted_as_fit() {
    let simulator = Simulator::start(&["create:hold"]);
    let limit = "[[budgets]]\nname = \"crowd\"\nlimit = \"10.00\"\nperiod = \"total\"\ntenant = \"*\"\n";
    let server = Setup::replicate(&simulator.replicate()).with_file("filmgate.toml", limit).start().await;
    let told: Vec<_> = stream::iter(0..1_000)
        .map(|n| {
            let server = &server;
            async move { server.order(order(&format!("one of many: {n}"))).await }
        })
        .buffer_unordered(250)
        .collect()
        .await;
    let n_accepted = told.iter().filter(|told| told.is_ok()).count();
    assert_eq!(n_accepted, 40, "40 times $0.25 is $10");
    for refused in told.into_iter().filter_map(Result::err) {
        let details = refused.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((refused.code(), info.reason.as_str()), (Code::ResourceExhausted, "BUDGET_EXCEEDED"));
        assert_eq!((info.metadata["budget"].as_str(), info.metadata["left_micro_usd"].as_str()), ("crowd", "0"));
        assert_eq!(details.quota_failure().unwrap().violations[0].subject, "budget crowd");
    }
    let usage = BudgetServiceClient::new(server.channel().await)
        .get_usage(GetUsageRequest { group_by: vec!["model".to_owned()], ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((usage.usage[0].keys[0].as_str(), usage.usage[0].n_generations), (PRICED, 40));
    let budget = &usage.budgets[0];
    assert_eq!((budget.held_micro_usd, budget.spent_micro_usd, budget.limit_micro_usd), (40 * PRICE, 0, 40 * PRICE));
}

#[tokio::test]
async fn the_ledger_and_usage_tell_where_the_money_went() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let labelled =
        GenerateVideoRequest { labels: BTreeMap::from([("team".to_owned(), "film".to_owned())]), ..order("a") };
    let name = server.order(labelled).await.unwrap().name;
    let ended = server.end_of(&name).await;
    assert_eq!((ended.state(), ended.cost.unwrap().settled_micro_usd), (State::Succeeded, Some(PRICE)));
    let moved: Vec<_> = entries(&server, &name)
        .await
        .iter()
        .map(|e| (e.reason(), e.from_account(), e.to_account(), e.micro_usd))
        .collect();
    let expected = [
        (LedgerReason::Hold, LedgerAccount::Caller, LedgerAccount::Held, PRICE),
        (LedgerReason::Settle, LedgerAccount::Held, LedgerAccount::Provider, PRICE),
    ];
    assert_eq!(moved, expected);

    let table = run(server.setup(), &["usage", "--by", "label:team,model"]).await;
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(table.out.contains(&format!("film / {PRICED}")) && table.out.contains("$0.25"), "{}", table.out);
    let csv = run(server.setup(), &["usage", "--csv", "--by", "label:team", "--since", "2000-01-01"]).await;
    let expected = "label:team,generations,succeeded,spent,held,suspense,absorbed,saved,unpriced,chats,input_tokens,output_tokens\nfilm,1,1,0.25,0.00,0.00,0.00,0.00,0,0,0,0\n";
    assert_eq!(csv.out, expected);
    let wrong = run(server.setup(), &["usage", "--by", "week"]).await;
    assert!(wrong.err.contains("group_by[0]"), "{}", wrong.err);
    let ledger = run(server.setup(), &["ledger", &name]).await;
    assert!(ledger.out.contains("settle") && ledger.out.contains("held"), "{}", ledger.out);
}

#[tokio::test]
async fn what_a_person_gave_up_is_in_suspense() {
    let simulator = Simulator::start(&["create:hang,effect=after"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let name = server.order(order("lost")).await.unwrap().name;
    simulator.reached("creates_effective", 1).await;
    simulator.faults(&["list:status=500"]).await;
    let server = server.kill().start().await;
    let unresolved = server.unresolved(&name).await;
    assert_eq!(
        (unresolved.unresolved.unwrap().reason(), unresolved.cost.unwrap().held_micro_usd),
        (ErrorReason::SubmitAnswerLost, PRICE)
    );
    let resolved = run(server.setup(), &["resolve", &name, "--as", "failed"]).await;
    assert_eq!(resolved.code, Some(0), "{resolved:?}");
    let ended = server.end_of(&name).await;
    let cost = ended.cost.unwrap();
    assert_eq!(
        (ended.failure.unwrap().charged(), cost.held_micro_usd, cost.suspense_micro_usd),
        (Charged::Unknown, 0, PRICE)
    );
    let last = entries(&server, &name).await.pop().unwrap();
    assert_eq!(
        (last.reason(), last.to_account(), last.micro_usd),
        (LedgerReason::Suspend, LedgerAccount::Suspense, PRICE)
    );
}

#[tokio::test]
async fn a_price_that_changes_while_a_job_runs_is_not_its_price() {
    let card = |micro_usd: i64| {
        format!(
            "[[models]]\nprovider = \"replicate\"\nname = \"kwaivgi/kling-v1.6-standard\"\nkind = \"video\"\n\
             price = {{ unit = \"output\", micro_usd = {micro_usd} }}\n"
        )
    };
    let simulator = Simulator::start(&["create:hold"]);
    let setup = Setup::replicate(&simulator.replicate()).with_file("filmgate.toml", &card(100_000));
    let server = setup.start().await;
    let name = server.order(order("slow")).await.unwrap().name;
    server.until(&name, |generation| !generation.attempts[0].provider_job_id.is_empty()).await;
    let server = server.kill().with_file("filmgate.toml", &card(900_000)).start().await;
    simulator.control("release", serde_json::json!({})).await;
    let ended = server.end_of(&name).await;
    assert_eq!((ended.state(), ended.cost.unwrap().settled_micro_usd), (State::Succeeded, Some(100_000)));
    let later = server.order(order("later")).await.unwrap();
    assert_eq!(later.cost.unwrap().held_micro_usd, 900_000);
}
