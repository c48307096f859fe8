//! Several keys of one vendor, and what rests: a key, a vendor, or nothing because the fault is a caller's.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State as Shared},
    response::{IntoResponse, Response},
};
use filmgate::pb::v1::{
    AttemptOutcome, CachePolicy, ErrorReason, GenerateImageRequest, GenerateVideoRequest, Generation, Input, InputRole,
    ListProvidersRequest, Provider, State, input::Source,
};
use futures_util::future::join_all;
use reqwest::{StatusCode, header};
use serde_json::json;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    simulator::Simulator,
    support::server::{SOON, Server, Setup, video},
};

/// Stands before the simulator, sees which key comes with what, and turns some keys away.
struct Front {
    addr: SocketAddr,
    seen: Arc<Seen>,
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    target: String,
    asked: Mutex<Vec<Asked>>,
    /// What an order with this key is told.
    turned_away: Mutex<BTreeMap<String, (u16, Option<u32>)>>,
}

#[derive(Debug, Clone)]
struct Asked {
    key: String,
    /// `POST /path`.
    line: String,
    status: u16,
    answer: Bytes,
}

impl Front {
    async fn before(simulator: &Simulator) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), simulator).await
    }

    async fn at(addr: SocketAddr, simulator: &Simulator) -> Self {
        let seen = Arc::new(Seen { target: simulator.at(""), ..Seen::default() });
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let app = Router::new().fallback(pass_on).with_state(Arc::clone(&seen));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { addr, seen, _serving: serving }
    }

    fn turn_away(&self, key: &str, told: Option<(u16, Option<u32>)>) {
        let mut turned_away = self.seen.turned_away.lock().unwrap();
        match told {
            Some(told) => turned_away.insert(key.to_owned(), told),
            None => turned_away.remove(key),
        };
    }

    /// The orders, with their keys and answers.
    fn orders(&self) -> Vec<Asked> {
        let asked = self.seen.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.line.starts_with("POST ") && is_order(&asked.line)).cloned().collect()
    }

    /// The keys of the orders that were taken.
    fn paid(&self) -> Vec<String> {
        self.orders().into_iter().filter(|order| order.status < 300).map(|order| order.key).collect()
    }

    fn setup(&self) -> Setup {
        let base = format!("http://{}/replicate/v1", self.addr);
        Setup::replicate(&base).with("REPLICATE_API_TOKEN", "r8_key_a,r8_key_b")
    }
}

fn is_order(line: &str) -> bool {
    line.ends_with("/predictions") || line.ends_with("/images/generations")
}

async fn pass_on(Shared(seen): Shared<Arc<Seen>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 64 << 20).await.unwrap();
    let key = parts.headers.get(header::AUTHORIZATION).and_then(|key| key.to_str().ok()).unwrap_or_default();
    let key = key.trim_start_matches("Bearer ").to_owned();
    let line = format!("{} {}", parts.method, parts.uri.path());
    let told = seen.turned_away.lock().unwrap().get(&key).copied().filter(|_| is_order(&line));
    let (status, headers, answer) = match told {
        Some((status, wish)) => {
            let refused = Json(json!({ "detail": "turned away", "error": { "message": "turned away" } }));
            let mut refused = (StatusCode::from_u16(status).unwrap(), refused).into_response();
            if let Some(wish) = wish {
                refused.headers_mut().insert(header::RETRY_AFTER, wish.into());
            }
            let (parts, body) = refused.into_parts();
            (parts.status, parts.headers, to_bytes(body, 1 << 20).await.unwrap())
        }
        None => {
            let url = format!("{}{}", seen.target, parts.uri);
            // With our own host, so that links lead through here.
            let request = reqwest::Client::new().request(parts.method, url).headers(parts.headers).body(body);
            let answer = request.send().await.unwrap();
            (answer.status(), answer.headers().clone(), answer.bytes().await.unwrap())
        }
    };
    seen.asked.lock().unwrap().push(Asked { key, line, status: status.as_u16(), answer: answer.clone() });
    let mut response = Response::new(Body::from(answer));
    *response.status_mut() = status;
    for name in [header::CONTENT_TYPE, header::RETRY_AFTER] {
        if let Some(value) = headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

async fn provider(server: &Server, name: &str) -> Provider {
    let page = server.models().await.list_providers(ListProvidersRequest::default()).await.unwrap().into_inner();
    page.providers.into_iter().find(|provider| provider.name == name).unwrap()
}

fn succeeded(generation: &Generation) {
    assert_eq!(generation.state(), State::Succeeded, "{generation:?}");
}

#[tokio::test]
async fn orders_take_turns_and_each_job_is_asked_after_with_the_key_that_ordered_it() {
    let simulator = Simulator::start(&["create:slow=5ms"]);
    let front = Front::before(&simulator).await;
    let server = front.setup().start().await;
    for n in 0..4 {
        succeeded(&server.generate(video(&format!("number {n}"))).await.unwrap());
    }
    let orders = front.orders();
    let keys: Vec<&str> = orders.iter().map(|order| order.key.as_str()).collect();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]) && keys.len() == 4, "{keys:?}");
    for order in orders {
        let job: serde_json::Value = serde_json::from_slice(&order.answer).unwrap();
        let path = format!("GET /replicate/v1/predictions/{}", job["id"].as_str().unwrap());
        let asked = front.seen.asked.lock().unwrap();
        let polls: Vec<&Asked> = asked.iter().filter(|asked| asked.line == path).collect();
        assert!(!polls.is_empty() && polls.iter().all(|poll| poll.key == order.key), "{polls:?}");
    }
    let shown = provider(&server, "replicate").await;
    assert_eq!((shown.n_keys, shown.n_keys_usable), (2, 2));
}

#[tokio::test]
async fn a_key_that_is_turned_away_rests_and_the_next_buys_the_order_once() {
    let check = async |status: u16, wish: Option<u32>| {
        let simulator = Simulator::start(&[]);
        let front = Front::before(&simulator).await;
        // So that a wait for a second try would be seen.
        let server = front.setup().with("FILMGATE_RETRY_BASE", "20s").start().await;
        front.turn_away("r8_key_a", Some((status, wish)));
        let began = Instant::now();
        for n in 0..4 {
            let made = server.generate(video(&format!("number {n}"))).await.unwrap();
            succeeded(&made);
            assert_eq!(made.attempts.len(), 1, "{status}: it is one attempt, whatever the keys");
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{status}");
        assert_eq!(front.paid(), ["r8_key_b"; 4], "{status}");
        let n_refused = front.orders().iter().filter(|order| order.key == "r8_key_a").count();
        assert_eq!(n_refused, 1, "{status}: it rests after that");
        assert_eq!(simulator.count("creates_effective").await, 4, "{status}");
        let shown = provider(&server, "replicate").await;
        assert_eq!((shown.n_keys, shown.n_keys_usable), (2, 1), "{status}");
        assert!(shown.resting_until_time.is_none(), "{status}: the vendor does not rest");
    };
    tokio::join!(check(401, None), check(402, None), check(403, None), check(429, None), check(429, Some(60)));
}

#[tokio::test]
async fn keys_of_a_vendor_that_answers_at_once_are_changed_as_well() {
    let simulator = Simulator::start(&[]);
    let front = Front::before(&simulator).await;
    let base = format!("http://{}/openai/v1", front.addr);
    let server = Setup::sample().with("OPENAI_API_KEY", "sk-a,sk-b").with("OPENAI_BASE_URL", &base).start().await;
    front.turn_away("sk-a", Some((401, None)));
    for n in 0..3 {
        succeeded(&image(&server, picture(&format!("number {n}"))).await);
    }
    assert_eq!(front.paid(), ["sk-b"; 3]);
    front.turn_away("sk-b", Some((401, None)));
    let refused = image(&server, picture("nobody pays for it")).await;
    assert_eq!(refused.failure.clone().unwrap().reason(), ErrorReason::ProviderUnauthenticated, "{refused:?}");
    front.turn_away("sk-a", None);
    succeeded(&image(&server, picture("the first was mended")).await);
    assert_eq!(front.paid().last().unwrap(), "sk-a", "a key that rests is still better than none");
}

fn picture(prompt: &str) -> GenerateImageRequest {
    GenerateImageRequest {
        prompt: prompt.to_owned(),
        model: "openai/gpt-image-2".to_owned(),
        ..GenerateImageRequest::default()
    }
}

async fn image(server: &Server, request: GenerateImageRequest) -> Generation {
    let mut stream = server.generations().await.generate_image(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = timeout(SOON, stream.message()).await.expect("a message in time").unwrap() {
        last = message.generation;
    }
    last.unwrap()
}

#[tokio::test]
async fn a_callers_address_that_cannot_be_reached_says_nothing_about_the_vendor_or_its_keys() {
    let simulator = Simulator::start(&[]);
    let setup = Setup::sample().with("OPENAI_API_KEY", "sk-a,sk-b").with("OPENAI_BASE_URL", &simulator.openai());
    let server = setup.start().await;
    let source = Some(Source::Uri("https://no-such-host.invalid/fox.png".to_owned()));
    let orders = (0..3).map(|n| {
        let inputs = vec![Input { role: InputRole::Reference.into(), source: source.clone() }];
        image(&server, GenerateImageRequest { inputs, ..picture(&format!("number {n}")) })
    });
    for failed in join_all(orders).await {
        let failure = failed.failure.clone().unwrap_or_else(|| panic!("{failed:?}"));
        assert_eq!(failure.field, "inputs[0]", "{failure:?}");
        assert_eq!(failed.attempts[0].outcome(), AttemptOutcome::Failed);
    }
    // Four tries each are more than a vendor's breaker stands.
    let shown = provider(&server, "openai").await;
    assert_eq!((shown.n_recent_failed, shown.n_recent_answered, shown.n_keys_usable), (0, 0, 2), "{shown:?}");
    assert!(shown.resting_until_time.is_none(), "{shown:?}");
    assert_eq!(simulator.counted("openai", "creates_received").await, 0);
    succeeded(&image(&server, picture("without it")).await);
}

#[tokio::test]
async fn a_vendor_that_cannot_be_reached_rests_and_all_orders_go_on_when_it_can() {
    let simulator = Simulator::start(&[]);
    // Nobody listens there yet.
    let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server =
        Setup::replicate(&format!("http://{addr}/replicate/v1")).with("FILMGATE_RETRY_BASE", "2s").start().await;
    let order = |n: usize| server.order(video(&format!("number {n}")));
    let names: Vec<String> = join_all((0..5).map(order)).await.into_iter().map(|order| order.unwrap().name).collect();
    let rests = async {
        while provider(&server, "replicate").await.resting_until_time.is_none() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, rests).await.expect("it rests after five failures");
    let shown = provider(&server, "replicate").await;
    assert_eq!((shown.n_recent_failed, shown.n_recent_answered), (5, 0), "{shown:?}");
    let _front = Front::at(addr, &simulator).await;
    let later = server.order(video("while it rests")).await.unwrap().name;
    assert_eq!((server.get(&later).await.state(), simulator.count("creates_received").await), (State::Queued, 0));
    for name in names.iter().chain([&later]) {
        succeeded(&server.end_of(name).await);
    }
    let shown = provider(&server, "replicate").await;
    assert!(shown.resting_until_time.is_none() && shown.n_recent_failed == 5, "{shown:?}");
    assert_eq!(simulator.count("creates_received").await, 6);
}

#[tokio::test]
async fn who_waits_as_one_vendor_asked_keeps_nobody_waiting_for_another() {
    let simulator = Simulator::start(&["create:vendor=replicate,first=1:status=429,retry_after_header=20"]);
    let server = Setup::replicate(&simulator.replicate())
        .with("OPENAI_API_KEY", "sk-a")
        .with("OPENAI_BASE_URL", &simulator.openai())
        .start()
        .await;
    let waits = server.order(video("turned away")).await.unwrap().name;
    server.until(&waits, |generation| generation.phase.contains("try again")).await;
    let began = Instant::now();
    succeeded(&image(&server, picture("a fox")).await);
    let other = GenerateVideoRequest {
        model: "openai/sora-2".to_owned(),
        cache: CachePolicy::Bypass.into(),
        ..video("another vendor")
    };
    succeeded(&server.generate(other).await.unwrap());
    assert!(began.elapsed() < Duration::from_secs(10));
    let still = server.get(&waits).await;
    assert_eq!((still.state(), simulator.count("creates_received").await), (State::Queued, 1), "{still:?}");
}

#[tokio::test]
async fn of_five_orders_that_are_answered_at_once_only_two_are_at_the_vendor() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::sample()
        .with("OPENAI_API_KEY", "sk-a")
        .with("OPENAI_BASE_URL", &simulator.openai())
        .with("FILMGATE_OPENAI_CONCURRENCY", "2")
        .start()
        .await;
    let released = async {
        let all_wait = async {
            loop {
                let shown = provider(&server, "openai").await;
                if (shown.n_running, shown.n_queued) == (2, 3) {
                    break;
                }
            }
            while simulator.counted("openai", "creates_received").await < 2 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, all_wait).await.expect("two at work and three in line");
        assert_eq!(simulator.counted("openai", "creates_received").await, 2);
        simulator.faults(&[]).await;
        simulator.control("release", json!({})).await;
    };
    let orders: Vec<_> = (0..5).map(|n| picture(&format!("number {n}"))).collect();
    let (made, ()) = tokio::join!(join_all(orders.into_iter().map(|order| image(&server, order))), released);
    made.iter().for_each(succeeded);
    assert_eq!(simulator.counted("openai", "creates_received").await, 5);
}
