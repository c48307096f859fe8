//! What every door has in common: ids of calls, browsers, packed bodies, counts.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use filmgate::pb::{
    DESCRIPTOR_SET,
    v1::{
        CreateSessionRequest, GenerateVideoRequest, GenerateVideoResponse, GetGenerationRequest, ListModelsRequest,
        ListModelsResponse, WatchGenerationRequest, WatchGenerationResponse,
    },
};
use prost::Message;
use reqwest::{Client, Method, Response, StatusCode, header::HeaderMap};
use serde_json::json;
use tokio::time::timeout;
use tonic::{Code, Request, codec::CompressionEncoding};

use crate::{
    simulator::Simulator,
    support::server::{SOON, Server, Setup, video},
};

const LIST_MODELS: &str = "/filmgate.v1.ModelService/ListModels";

fn url(server: &Server, path: &str) -> String {
    format!("http://{}{path}", server.addr())
}

fn clients() -> [(&'static str, Client); 2] {
    [
        ("HTTP/1.1", Client::builder().http1_only().build().unwrap()),
        ("HTTP/2", Client::builder().http2_prior_knowledge().build().unwrap()),
    ]
}

/// A message in gRPC's frame.
fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &bytes].concat()
}

/// The messages of an answer of gRPC-Web, and its trailers.
fn unframed(mut bytes: &[u8]) -> (Vec<Vec<u8>>, BTreeMap<String, String>) {
    let (mut messages, mut trailers) = (Vec::new(), BTreeMap::new());
    while let [kind, a, b, c, d, rest @ ..] = bytes {
        let (body, next) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        match kind {
            0 => messages.push(body.to_vec()),
            0x80 => {
                let lines = std::str::from_utf8(body).unwrap().lines();
                trailers =
                    lines.map(|line| line.split_once(':').unwrap()).map(|(k, v)| (k.into(), v.trim().into())).collect();
            }
            other => panic!("a frame of kind {other}"),
        }
        bytes = next;
    }
    (messages, trailers)
}

/// The bytes of an answer in text: pieces of base64, each with its own end.
fn from_text(text: &str) -> Vec<u8> {
    let quads: Vec<&[u8]> = text.as_bytes().chunks(4).collect();
    quads.into_iter().flat_map(|quad| BASE64_STANDARD.decode(quad).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_for_browsers_works_over_both_versions_of_http() {
    let server = Setup::sample().start().await;
    let descriptors = server.setup().folder().join("descriptors.bin");
    fs::write(&descriptors, DESCRIPTOR_SET).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
    let modules = std::env::var("FILMGATE_TEST_NODE_MODULES").expect("./scripts/test-rust sets it");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/javascript/grpc_web.js");
    let mut program = Command::new("node");
    program.arg(script).arg(url(&server, "")).arg(descriptors).env("NODE_PATH", modules);
    let run = tokio::task::spawn_blocking(move || program.output());
    let output = timeout(Duration::from_secs(60), run).await.expect("the client ends").unwrap().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().collect::<Vec<_>>(), ["ok fetch", "ok HTTP/1.1", "ok HTTP/2"]);
}

#[tokio::test]
async fn grpc_web_speaks_text_and_binary() {
    let server = Setup::sample().start().await;
    for (version, client) in clients() {
        for text in [false, true] {
            let kind = if text { "application/grpc-web-text" } else { "application/grpc-web+proto" };
            let call = async |path: &str, message: Vec<u8>| {
                let body = if text { BASE64_STANDARD.encode(message).into_bytes() } else { message };
                let request = client.post(url(&server, path)).header("content-type", kind).header("accept", kind);
                let answer = request.header("x-grpc-web", "1").body(body).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK, "{version} {kind}");
                assert!(answer.headers()["content-type"].to_str().unwrap().starts_with(kind));
                let head = answer.headers().clone();
                let body = answer.bytes().await.unwrap();
                let body = if text { from_text(std::str::from_utf8(&body).unwrap()) } else { body.to_vec() };
                (head, unframed(&body))
            };
            let (_, (models, trailers)) = call(LIST_MODELS, framed(&ListModelsRequest::default())).await;
            assert!(!ListModelsResponse::decode(&*models[0]).unwrap().models.is_empty());
            assert_eq!(trailers["grpc-status"], "0");

            let order = framed(&video(&format!("{version} {kind}")));
            let (_, (snapshots, trailers)) = call("/filmgate.v1.GenerationService/GenerateVideo", order).await;
            let last = GenerateVideoResponse::decode(&**snapshots.last().unwrap()).unwrap().generation.unwrap();
            assert!(snapshots.len() > 1 && last.artifacts.len() == 1, "{last:?}");
            assert!(trailers.contains_key("x-session-id"), "{trailers:?}");

            let (head, _) = call("/filmgate.v1.GenerationService/GenerateVideo", framed(&video(" "))).await;
            assert_eq!(head["grpc-status"], "3", "{version} {kind}");
            let (head, _) = call("/filmgate.v1.GenerationService/Nothing", framed(&video("x"))).await;
            assert_eq!(head["grpc-status"], "12", "{version} {kind}");
        }
    }
}

fn cors(answer: &Response) -> BTreeMap<&str, &str> {
    let headers = answer.headers().iter().filter(|(name, _)| name.as_str().starts_with("access-control-"));
    headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

#[tokio::test]
async fn pages_may_call_every_door_only_if_the_settings_say_so() {
    const PAGE: &str = "https://studio.example";
    const PATHS: [&str; 7] =
        [LIST_MODELS, "/v1/videos", "/api/v1/generations", "/artifacts/x", "/openapi.json", "/livez", "/nothing"];
    let open = Setup::sample().with("FILMGATE_CORS_ORIGINS", "http://other.example:8080, https://studio.example");
    let (open, any, closed) = (
        open.start().await,
        Setup::sample().with("FILMGATE_CORS_ORIGINS", "*").start().await,
        Setup::sample().start().await,
    );
    let client = Client::new();
    let preflight = async |server: &Server, path: &str| {
        let request = client.request(Method::OPTIONS, url(server, path)).header("origin", PAGE);
        let request = request.header("access-control-request-method", "POST");
        request.header("access-control-request-headers", "content-type,x-grpc-web,range").send().await.unwrap()
    };
    for path in PATHS {
        let answer = preflight(&open, path).await;
        assert!(answer.status().is_success() && answer.headers().contains_key("x-request-id"), "{path}");
        let told = cors(&answer);
        assert_eq!((told["access-control-allow-origin"], told["access-control-allow-credentials"]), (PAGE, "true"));
        assert_eq!(told["access-control-allow-headers"], "content-type,x-grpc-web,range");
        let told = preflight(&any, path).await;
        let told = cors(&told);
        assert_eq!(told["access-control-allow-origin"], "*");
        assert!(!told.contains_key("access-control-allow-credentials"));
        assert!(cors(&preflight(&closed, path).await).is_empty(), "{path}");
    }
    // What is refused must be readable too, or the page sees nothing but an unknown failure.
    let get =
        async |server: &Server, path: &str| client.get(url(server, path)).header("origin", PAGE).send().await.unwrap();
    for path in ["/livez", "/nothing", "/artifacts/none"] {
        assert_eq!(cors(&get(&open, path).await)["access-control-allow-origin"], PAGE, "{path}");
        assert!(cors(&get(&closed, path).await).is_empty(), "{path}");
    }
    // Forms and texts are sent without a preflight, so they must not get in.
    for path in ["/v1/videos", "/nothing"] {
        let form = async |server: &Server| {
            let request = client.post(url(server, path)).header("origin", PAGE).header("content-type", "text/plain");
            request.body("{}").send().await.unwrap().status()
        };
        assert_eq!(form(&closed).await, StatusCode::FORBIDDEN, "{path}");
        assert_ne!(form(&open).await, StatusCode::FORBIDDEN, "{path}");
    }
    let call =
        client.post(url(&open, LIST_MODELS)).header("origin", PAGE).header("content-type", "application/grpc-web");
    let answer = call.body(framed(&ListModelsRequest::default())).send().await.unwrap();
    let exposed = cors(&answer)["access-control-expose-headers"].to_owned();
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id", "x-session-id"] {
        assert!(exposed.split(',').any(|one| one.trim() == name), "{name}: {exposed}");
    }
    let else_where = client.get(url(&open, "/livez")).header("origin", "https://else.example").send().await.unwrap();
    assert!(!cors(&else_where).contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_refused_with_those_that_it_takes() {
    let server = Setup::sample().start().await;
    for (version, client) in clients() {
        for path in ["/livez", "/artifacts/x", "/metrics"] {
            let answer = client.delete(url(&server, path)).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), &answer.headers()["allow"]), (405, &"GET,HEAD".parse().unwrap()));
            let body: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(body["error"]["code"], "METHOD_NOT_ALLOWED", "{version} {path}");
        }
    }
}

#[tokio::test]
async fn every_answer_and_its_log_carry_the_id_of_the_call() {
    let server = Setup::sample().with("FILMGATE_LOG", "debug").start().await;
    for (version, client) in clients() {
        for (method, path, status) in [
            (Method::GET, "/livez", 200),
            (Method::GET, "/metrics", 200),
            (Method::DELETE, "/livez", 405),
            (Method::GET, "/nothing", 404),
            (Method::GET, "/artifacts/none", 404),
            (Method::POST, "/webhooks/a/b/c", 404),
        ] {
            let call = || client.request(method.clone(), url(&server, path));
            let answer = call().header("x-request-id", "mine:1").send().await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["x-request-id"].to_str().unwrap()),
                (status, &"mine:1"),
                "{version} {path}"
            );
            assert!(answer.headers()["x-process-time"].to_str().unwrap().parse::<f64>().unwrap() < 30.0);
            let long = "x".repeat(129);
            for (sent, taken) in [("a b", false), ("", false), (&*long, false), (&long[1..], true)] {
                let answer = call().header("x-request-id", sent).send().await.unwrap();
                let id = answer.headers()["x-request-id"].to_str().unwrap();
                assert_eq!(id == sent, taken, "{version} {path} {sent}");
                assert!(taken || id.strip_prefix("req_").is_some_and(|id| id.len() == 32), "{id}");
            }
        }
    }
    let named = |name: &str| {
        let mut request = Request::new(GetGenerationRequest { name: name.to_owned() });
        request.metadata_mut().insert("x-request-id", "grpc-1".parse().unwrap());
        request
    };
    let refused = server.generations().await.get_generation(named("nonsense")).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.metadata().get("x-request-id").unwrap().to_str().unwrap()),
        (Code::InvalidArgument, "grpc-1")
    );
    let order = server.generate(video("a call with an id")).await.unwrap();
    let answer = server.generations().await.get_generation(named(&order.name)).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "grpc-1");
    let request = WatchGenerationRequest { name: order.name, after_sequence: 0 };
    let watch = server.generations().await.watch_generation(request).await.unwrap();
    assert!(watch.metadata().get("x-request-id").unwrap().to_str().unwrap().starts_with("req_"));
    let log = server.setup().log();
    for id in ["mine:1", "grpc-1"] {
        assert!(log.contains(id), "{id}:\n{log}");
    }
}

/// The samples of a page of metrics, by name and labels.
async fn samples(server: &Server) -> BTreeMap<String, f64> {
    let answer = reqwest::get(url(server, "/metrics")).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let page = answer.text().await.unwrap();
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// Waits until a sample has this value and no more: a call is counted when its answer has left.
async fn counted(server: &Server, name: &str, value: f64) {
    let mut last = BTreeMap::new();
    let wait = async {
        while last.get(name).is_none_or(|told| *told < value) {
            last = samples(server).await;
        }
    };
    let waited = timeout(SOON, wait).await;
    assert!(waited.is_ok(), "{name} is not {value}: {last:#?}");
    assert!(last[name] <= value, "{name} is more than {value}: {last:#?}");
}

fn requests(door: &str, route: &str, status: &str) -> String {
    format!("filmgate_requests_total{{door=\"{door}\",route=\"{route}\",status=\"{status}\"}}")
}

#[tokio::test]
async fn what_is_called_is_counted_by_its_template() {
    let server = Setup::sample().start().await;
    let done = server.generate(video("counted")).await.unwrap();
    server.bytes(&done).await.bytes().await.unwrap();
    let refused = GetGenerationRequest { name: "nonsense".to_owned() };
    server.generations().await.get_generation(refused).await.unwrap_err();
    let client = Client::new();
    for n in 0..5 {
        client.get(url(&server, &format!("/artifacts/none-{n}"))).send().await.unwrap();
        client.get(url(&server, &format!("/nothing/{n}"))).send().await.unwrap();
    }
    let web = client.post(url(&server, LIST_MODELS)).header("content-type", "application/grpc-web");
    web.body(framed(&ListModelsRequest::default())).send().await.unwrap().bytes().await.unwrap();
    let odd = client.post(url(&server, "/a.B/C123")).header("content-type", "application/grpc").send().await.unwrap();
    odd.bytes().await.unwrap();
    for (name, count) in [
        // The order is left after its first answer, and then watched.
        (requests("grpc", "filmgate.v1.GenerationService/GenerateVideo", "CANCELLED"), 1.0),
        (requests("grpc", "filmgate.v1.GenerationService/WatchGeneration", "OK"), 1.0),
        (requests("grpc", "filmgate.v1.GenerationService/GetGeneration", "INVALID_ARGUMENT"), 1.0),
        (requests("grpc-web", "filmgate.v1.ModelService/ListModels", "OK"), 1.0),
        (requests("grpc", "unknown", "UNIMPLEMENTED"), 1.0),
        (requests("files", "GET /artifacts/{id}", "200"), 1.0),
        (requests("files", "GET /artifacts/{id}", "404"), 5.0),
        (requests("unknown", "unknown", "404"), 5.0),
        ("filmgate_generations_accepted_total{kind=\"video\"}".to_owned(), 1.0),
        ("filmgate_generations_finished_total{state=\"succeeded\"}".to_owned(), 1.0),
        ("filmgate_request_duration_seconds_count{door=\"files\",route=\"GET /artifacts/{id}\"}".to_owned(), 6.0),
    ] {
        counted(&server, &name, count).await;
    }
    let now = samples(&server).await;
    assert!(now["filmgate_artifacts_stored_bytes_total"] > 0.0);
    assert_eq!(now["filmgate_requests_active{door=\"grpc\"}"], 0.0);
    let own = requests("probes", "GET /metrics", "200");
    samples(&server).await;
    assert!(samples(&server).await[&own] > now[&own]);

    let off = Setup::sample().with("FILMGATE_METRICS", "off").start().await;
    assert_eq!(reqwest::get(url(&off, "/metrics")).await.unwrap().status(), StatusCode::NOT_FOUND);
}

async fn raw(client: &Client, server: &Server, path: &str, encoding: &str) -> (HeaderMap, Vec<u8>) {
    let answer = client.get(url(server, path)).header("accept-encoding", encoding).send().await.unwrap();
    (answer.headers().clone(), answer.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn bodies_are_packed_where_the_caller_asks_and_unpacked_within_bounds() {
    let server = Setup::sample().start().await;
    let film = server.generate(video("not packed twice")).await.unwrap();
    for (version, client) in clients() {
        let (head, packed) = raw(&client, &server, "/metrics", "gzip").await;
        assert_eq!(head["content-encoding"], "gzip", "{version}");
        let (head, plain) = raw(&client, &server, "/metrics", "identity").await;
        assert!(
            !head.contains_key("content-encoding") && packed.len() < plain.len() / 2 && packed[..2] == [0x1f, 0x8b]
        );
        let (head, bytes) = raw(&client, &server, &film.artifacts[0].http_path, "gzip").await;
        assert!(!head.contains_key("content-encoding"), "{version}: players count bytes");
        assert_eq!(
            (head["content-length"].to_str().unwrap(), bytes.len().to_string()),
            (&*bytes.len().to_string(), film.artifacts[0].size_bytes.to_string())
        );
        for path in ["/livez", "/webhooks/a/b/c", "/nothing"] {
            let answer =
                client.post(url(&server, path)).header("content-encoding", "gzip").body("x").send().await.unwrap();
            assert_eq!(
                (answer.status(), answer.headers()["accept-encoding"].to_str().unwrap()),
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "identity"),
                "{version} {path}"
            );
        }
    }

    let gzip = CompressionEncoding::Gzip;
    let mut client = server.generations().await.send_compressed(gzip).accept_compressed(gzip);
    let answer = client.get_generation(GetGenerationRequest { name: film.name.clone() }).await.unwrap();
    assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), "gzip");
    assert_eq!(answer.into_inner().generation.unwrap().name, film.name);
    let plain = server.generations().await.get_generation(GetGenerationRequest { name: film.name }).await.unwrap();
    assert!(plain.metadata().get("grpc-encoding").is_none());
    // Some 30 KB that would be 32 MB.
    let bomb = GenerateVideoRequest { prompt: "a".repeat(32 << 20), ..video("x") };
    let refused = client.generate_video(bomb).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert!(refused.message().contains("larger than"), "{refused:?}");
    server.sessions().await.create_session(CreateSessionRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_page_that_watches_is_told_of_the_end_of_the_server() {
    let simulator = Simulator::start(&["create:hold"]);
    let server = Setup::replicate(&simulator.replicate()).start().await;
    let order = server.order(video("watched by a page")).await.unwrap();
    let watch = framed(&WatchGenerationRequest { name: order.name, after_sequence: 0 });
    let mut answers = Vec::new();
    for (_, client) in clients() {
        let call = client.post(url(&server, "/filmgate.v1.GenerationService/WatchGeneration"));
        let mut answer = call.header("content-type", "application/grpc-web").body(watch.clone()).send().await.unwrap();
        let first = answer.chunk().await.unwrap().unwrap().to_vec();
        answers.push((answer, first));
    }
    assert_eq!(server.stop().await, Some(0));
    for (mut answer, mut said) in answers {
        while let Some(more) = timeout(SOON, answer.chunk()).await.expect("it ends").unwrap() {
            said.extend(more);
        }
        let (snapshots, trailers) = unframed(&said);
        assert!(WatchGenerationResponse::decode(&*snapshots[0]).unwrap().generation.is_some());
        assert_eq!(trailers["grpc-status"], (Code::Unavailable as i32).to_string());
    }
    simulator.control("release", json!({})).await;
}
