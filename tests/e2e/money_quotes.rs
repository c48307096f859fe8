//! Quotes, through the public door: whatever has become of prices and routes since, the order costs no more, and only that order.

use filmgate::pb::v1::{
    CachePolicy, Estimate, EstimateCostRequest, GenerateVideoRequest, Generation, LedgerAccount, LedgerReason,
    OrderToEstimate, State, order_to_estimate::Order,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    command_line::run,
    money::entries,
    simulator::Simulator,
    support::server::{Server, Setup, video},
};

const KLING: &str = "replicate/kwaivgi/kling-v1.6-standard";
const HAILUO: &str = "replicate/minimax/hailuo-02";

/// Settings in which the two models cost so much, and a route tries the cheaper one first.
fn prices(kling: i64, hailuo: i64) -> String {
    let card = |name: &str, micro_usd: i64| {
        format!(
            "[[models]]\nprovider = \"replicate\"\nname = \"{}\"\nkind = \"video\"\n\
             price = {{ unit = \"output\", micro_usd = {micro_usd} }}\n",
            name.trim_start_matches("replicate/")
        )
    };
    let route = format!("[routes.cheap]\nstrategy = \"cheapest\"\nmodels = [\"{KLING}\", \"{HAILUO}\"]\n");
    card(KLING, kling) + &card(HAILUO, hailuo) + &route
}

fn of_model(prompt: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { model: KLING.to_owned(), cache: CachePolicy::Bypass.into(), ..video(prompt) }
}

fn of_route(prompt: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { route: "cheap".to_owned(), cache: CachePolicy::Bypass.into(), ..video(prompt) }
}

fn with(quote: &str, order: GenerateVideoRequest) -> GenerateVideoRequest {
    GenerateVideoRequest { quote: quote.to_owned(), ..order }
}

async fn quote(server: &Server, order: GenerateVideoRequest) -> Estimate {
    let order = OrderToEstimate { order: Some(Order::Video(order)), count: None };
    let quote_ttl = Some(prost_types::Duration { seconds: 3_600, nanos: 0 });
    let request = EstimateCostRequest { orders: vec![order], quote_ttl };
    server.generations().await.estimate_cost(request).await.unwrap().into_inner().estimates.remove(0)
}

/// Code, reason and the field that differs.
fn why(refused: &Status) -> (Code, String, Option<String>) {
    let details = refused.get_error_details();
    let info = details.error_info().unwrap();
    (refused.code(), info.reason.clone(), info.metadata.get("field").cloned())
}

fn money(generation: &Generation) -> (Option<i64>, Option<i64>, i64, i64) {
    let cost = generation.cost.as_ref().unwrap();
    (cost.quoted_micro_usd, cost.settled_micro_usd, cost.absorbed_micro_usd, cost.held_micro_usd)
}

#[tokio::test]
async fn a_quote_holds_for_its_order_once_though_the_price_has_risen() {
    let simulator = Simulator::start(&[]);
    let setup = Setup::replicate(&simulator.replicate()).with_file("filmgate.toml", &prices(100_000, 100_000));
    let server = setup.start().await;
    let quoted = quote(&server, of_model("a fox")).await;
    assert!(quoted.quote.starts_with("quotes/") && quoted.quote_expire_time.is_some(), "{quoted:?}");
    let server = server.kill().with_file("filmgate.toml", &prices(900_000, 900_000)).start().await;

    let other = server.order(with(&quoted.quote, of_model("a dog"))).await.unwrap_err();
    let field = Some("prompt".to_owned());
    assert_eq!(why(&other), (Code::FailedPrecondition, "QUOTE_MISMATCH".to_owned(), field));
    let other = server.order(with(&quoted.quote, of_route("a fox"))).await.unwrap_err();
    assert_eq!(why(&other).2.as_deref(), Some("model"), "a quote for a model is none for a route");

    let id = "the-quoted-one".to_owned();
    let order = GenerateVideoRequest { request_id: id, ..with(&quoted.quote, of_model("a fox")) };
    let ordered = server.order(order.clone()).await.unwrap();
    let ended = server.end_of(&ordered.name).await;
    assert_eq!((ended.state(), money(&ended)), (State::Succeeded, (Some(100_000), Some(100_000), 800_000, 0)));
    let moved: Vec<_> = entries(&server, &ended.name)
        .await
        .iter()
        .map(|e| (e.reason(), e.from_account(), e.to_account(), e.micro_usd))
        .collect();
    let expected = [
        (LedgerReason::Hold, LedgerAccount::Caller, LedgerAccount::Held, 100_000),
        (LedgerReason::Settle, LedgerAccount::Held, LedgerAccount::Provider, 100_000),
        (LedgerReason::Absorb, LedgerAccount::Absorbed, LedgerAccount::Provider, 800_000),
    ];
    assert_eq!(moved, expected);

    assert_eq!(server.order(order).await.unwrap().name, ended.name, "the same request again is the same order");
    let again = server.order(with(&quoted.quote, of_model("a fox"))).await.unwrap_err();
    assert_eq!(why(&again), (Code::FailedPrecondition, "QUOTE_EXPIRED".to_owned(), None));
    let unknown = "quotes/00000000-0000-4000-8000-000000000000";
    let unknown = server.order(with(unknown, of_model("a fox"))).await.unwrap_err();
    assert_eq!((why(&unknown).0, why(&unknown).1), (Code::NotFound, "QUOTE_NOT_FOUND".to_owned()));
    let no_name = server.order(with("my quote", of_model("a fox"))).await.unwrap_err();
    assert_eq!(no_name.get_error_details().bad_request().unwrap().field_violations[0].field, "quote");
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn a_quote_of_a_route_is_tried_at_its_models_in_its_order() {
    let simulator = Simulator::start(&["create:model=minimax/hailuo-02:status=404"]);
    let setup = Setup::replicate(&simulator.replicate()).with_file("filmgate.toml", &prices(200_000, 100_000));
    let server = setup.start().await;
    let quoted = quote(&server, of_route("a fox")).await;
    assert_eq!((quoted.model.as_str(), quoted.estimated_micro_usd), (HAILUO, Some(100_000)));
    // By now the route prefers the other model.
    let server = server.kill().with_file("filmgate.toml", &prices(200_000, 300_000)).start().await;
    let other = server.order(with(&quoted.quote, of_model("a fox"))).await.unwrap_err();
    assert_eq!(why(&other).2.as_deref(), Some("model"), "a quote for a route is none for one of its models");
    let preferred = server.generate(of_route("a dog")).await.unwrap();
    assert_eq!(preferred.attempts[0].model, KLING);

    let ended = server.generate(with(&quoted.quote, of_route("a fox"))).await.unwrap();
    let tried: Vec<_> = ended.attempts.iter().map(|attempt| attempt.model.as_str()).collect();
    assert_eq!(tried, [HAILUO, KLING]);
    assert_eq!((ended.state(), money(&ended)), (State::Succeeded, (Some(100_000), Some(100_000), 100_000, 0)));
}

#[tokio::test]
async fn the_command_line_gets_quotes() {
    let simulator = Simulator::start(&[]);
    let setup = Setup::replicate(&simulator.replicate()).with_file("filmgate.toml", &prices(100_000, 100_000));
    let server = setup.start().await;
    let asked = ["estimate", "video", "a fox", "--model", KLING, "--quote-ttl", "15m"];
    let told = run(server.setup(), &asked).await;
    let name = told.out.lines().find_map(|line| line.strip_prefix("quote ")).unwrap_or_else(|| panic!("{told:?}"));
    assert!(told.out.contains("quote ends"), "{}", told.out);
    let ended = server.generate(with(name.trim(), of_model("a fox"))).await.unwrap();
    assert_eq!((ended.state(), money(&ended)), (State::Succeeded, (Some(100_000), Some(100_000), 0, 0)));
    let again = run(server.setup(), &["generate", "a fox", "--model", KLING, "--quote", name.trim()]).await;
    assert!(again.err.contains("QUOTE_EXPIRED") && again.err.contains("--quote-ttl"), "{}", again.err);
}
