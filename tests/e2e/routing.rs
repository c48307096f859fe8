//! Names that stand for models, the order in which a route's models are tried, and limits on what goes to a vendor.

use std::time::Duration;

use filmgate::pb::v1::{
    AttemptOutcome, CachePolicy, Charged, ErrorReason, GenerateVideoRequest, Generation, GetModelRequest,
    ListProvidersRequest, ListRoutesRequest, Provider, Quality, RouteStrategy, State,
};
use futures_util::future::join_all;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    simulator::Simulator,
    support::server::{Server, Setup, video},
};

const ROUTES: &str = r#"
[routes.cheap]
strategy = "cheapest"
models = ["veo3", "replicate/kwaivgi/kling-v1.6-standard", "hailuo-02"]
"#;

fn of_model(model: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { model: model.to_owned(), ..video("a fox") }
}

fn of_route(route: &str) -> GenerateVideoRequest {
    GenerateVideoRequest { route: route.to_owned(), ..video("a fox") }
}

fn tried(generation: &Generation) -> Vec<&str> {
    generation.attempts.iter().map(|attempt| attempt.model.as_str()).collect()
}

async fn provider(server: &Server, name: &str) -> Provider {
    let page = server.models().await.list_providers(ListProvidersRequest::default()).await.unwrap().into_inner();
    page.providers.into_iter().find(|provider| provider.name == name).unwrap()
}

#[tokio::test]
async fn a_short_name_is_enough_and_an_unknown_one_is_answered_with_those_there_are() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    for (short, full) in [
        ("veo3", "replicate/google/veo-3.1"),
        ("veo-3", "replicate/google/veo-3.1"),
        ("hailuo2", "replicate/minimax/hailuo-02"),
        ("hailuo-02", "replicate/minimax/hailuo-02"),
        ("minimax/video-01", "replicate/minimax/video-01"),
    ] {
        assert_eq!(server.generate(of_model(short)).await.unwrap().model, full, "{short}");
    }
    let refused = server.order(of_model("sora-99")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let details = refused.get_error_details();
    let violation = &details.bad_request().unwrap().field_violations[0];
    assert_eq!(violation.field, "model");
    for word in ["sora-99", "veo3", "hailuo-02", "replicate/minimax/video-01"] {
        assert!(violation.description.contains(word), "{word}: {}", violation.description);
    }
}

#[tokio::test]
async fn the_cheapest_goes_first_and_every_attempt_tells_its_reason_and_cost() {
    let simulator = Simulator::start(&["create:model=minimax/hailuo-02:status=404"]);
    let setup = Setup::replicate(&simulator.replicate()).with_file("filmgate.toml", ROUTES);
    let server = setup.start().await;
    let page = server.models().await.list_routes(ListRoutesRequest::default()).await.unwrap().into_inner();
    let routes: Vec<_> = page.routes.iter().map(|route| (route.name.as_str(), route.strategy())).collect();
    let expected =
        [("cheap", RouteStrategy::Cheapest), ("fast", RouteStrategy::Fastest), ("quality", RouteStrategy::Ordered)];
    assert_eq!(routes, expected);
    assert_eq!(page.routes[0].models[2], "replicate/minimax/hailuo-02", "aliases are told in full");

    let generation = server.generate(of_route("cheap")).await.unwrap();
    assert_eq!(generation.state(), State::Succeeded, "{generation:?}");
    assert_eq!(tried(&generation), ["replicate/minimax/hailuo-02", "replicate/kwaivgi/kling-v1.6-standard"]);
    let first = &generation.attempts[0];
    assert_eq!((first.outcome(), first.charged()), (AttemptOutcome::Failed, Charged::No));
    assert_eq!((first.reason(), first.settled_micro_usd), (ErrorReason::ProviderModelNotFound, Some(0)));
    assert_eq!(generation.attempts[1].reason(), ErrorReason::Unspecified);

    // The same order again is answered, and so is one for the model that made it.
    assert!(server.generate(of_route("cheap")).await.unwrap().cached);
    assert!(server.generate(of_model("replicate/kwaivgi/kling-v1.6-standard")).await.unwrap().cached);
    assert!(!server.generate(of_model("veo3")).await.unwrap().cached, "another model made it");
}

#[tokio::test]
async fn quality_needs_no_route_in_the_settings() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let of_quality = |quality: Quality| GenerateVideoRequest { quality: quality.into(), ..video("a fox") };
    let fast = server.generate(of_quality(Quality::Fast)).await.unwrap();
    let fine = server.generate(of_quality(Quality::Quality)).await.unwrap();
    assert_eq!((fast.state(), fine.state()), (State::Succeeded, State::Succeeded));
    let cost = |generation: &Generation| generation.cost.as_ref().unwrap().estimated_micro_usd.unwrap_or_default();
    assert!(fast.model != fine.model && cost(&fine) > cost(&fast), "{} and {}", fast.model, fine.model);
    let sample = Setup::sample().start().await;
    assert!(sample.generate(of_quality(Quality::Fast)).await.unwrap().sample, "nothing else is configured");
}

#[tokio::test]
async fn with_a_limit_of_two_five_jobs_wait_in_line_and_two_are_at_the_vendor() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).with("FILMGATE_REPLICATE_CONCURRENCY", "2").start().await;
    let mut names = Vec::new();
    for n in 0..5 {
        names.push(server.order(video(&format!("job {n}"))).await.unwrap().name);
    }
    simulator.reached("creates_effective", 2).await;
    let mut positions = Vec::new();
    for name in &names {
        let now = server.get(name).await;
        positions.push(now.queue_position);
        assert!(now.queue_position.is_none() || now.eta.is_some(), "who waits is told for how long: {now:?}");
    }
    assert_eq!(positions, [None, None, Some(1), Some(2), Some(3)]);
    let shown = provider(&server, "replicate").await;
    assert_eq!((shown.n_running, shown.n_queued, shown.concurrency, shown.n_keys), (2, 3, 2, 1));
    let request = GetModelRequest { name: "replicate/minimax/video-01".to_owned() };
    let model = server.models().await.get_model(request).await.unwrap().into_inner().model.unwrap();
    assert!(!model.ready && model.measured_time.is_none());
    assert_eq!(simulator.count("creates_received").await, 2);
    simulator.faults(&[]).await;
    simulator.control("release", serde_json::json!({})).await;
    let ends = join_all(names.iter().map(|name| server.end_of(name))).await;
    assert!(ends.iter().all(|end| end.state() == State::Succeeded));
    let request = GetModelRequest { name: "replicate/minimax/video-01".to_owned() };
    let model = server.models().await.get_model(request).await.unwrap().into_inner().model.unwrap();
    assert!(model.ready && model.measured_time.is_some());
}

#[tokio::test]
async fn a_rate_is_remembered_over_a_restart() {
    let simulator = Simulator::start(&[]);
    let setup = Setup::replicate(&simulator.replicate())
        .with_file("filmgate.toml", "[limits.\"minimax/video-01\"]\nrate = 1\n");
    let server = setup.start().await;
    assert_eq!(server.generate(of_model("replicate/minimax/video-01")).await.unwrap().state(), State::Succeeded);
    assert_eq!(server.stop().await, Some(0));
    let server = setup.start().await;
    let bypass = CachePolicy::Bypass.into();
    let order = GenerateVideoRequest { cache: bypass, ..of_model("replicate/minimax/video-01") };
    let held_back = server.order(order).await.unwrap();
    // Another model of the same vendor is not kept waiting.
    let other = server.generate(of_model("veo3")).await.unwrap();
    assert_eq!(other.state(), State::Succeeded, "{other:?}");
    let now = server.get(&held_back.name).await;
    assert_eq!((now.state(), now.queue_position), (State::Queued, Some(1)));
    assert_eq!(simulator.count("creates_received").await, 2);
}

#[tokio::test]
async fn a_vendor_whose_calls_fail_rests_while_the_next_of_the_route_works() {
    let simulator = Simulator::start(&[]);
    let file = r#"
        [providers.dead]
        adapter = "replicate"
        api_token = "x"
        base_url = "http://127.0.0.1:9/v1"
        [routes]
        both = ["dead/minimax/video-01", "replicate/minimax/video-01"]
    "#;
    let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_RETRY_BASE", "2s");
    let server = setup.with_file("filmgate.toml", file).start().await;
    let orders = (0..5).map(|n| {
        let order = GenerateVideoRequest { prompt: format!("job {n}"), ..of_route("both") };
        server.generate(order)
    });
    for generation in join_all(orders).await {
        let generation = generation.unwrap();
        assert_eq!(generation.state(), State::Succeeded, "{generation:?}");
        assert_eq!(tried(&generation), ["dead/minimax/video-01", "replicate/minimax/video-01"]);
        assert_eq!(generation.attempts[0].reason(), ErrorReason::ProviderUnreachable);
    }
    let dead = provider(&server, "dead").await;
    assert!(dead.resting_until_time.is_some() && dead.n_recent_failed == 5, "{dead:?}");
    let generation = server.generate(of_route("both")).await.unwrap();
    assert_eq!(tried(&generation), ["replicate/minimax/video-01"], "while it rests it comes last");
    let answered = tokio::time::timeout(Duration::from_secs(5), provider(&server, "replicate")).await.unwrap();
    assert!(answered.n_recent_answered >= 6 && answered.n_recent_failed == 0, "{answered:?}");
}
