//! Whatever goes wrong and however much is logged: no prompt, key, body or signed address is written down.

use std::{fs, net::SocketAddr, path::Path};

use axum::{
    Json, Router,
    extract::{Path as UrlPath, State as Shared},
    http::{HeaderMap, StatusCode, Uri, header::AUTHORIZATION},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use filmgate::pb::v1::{
    CachePolicy, GenerateVideoRequest, GetSessionHistoryRequest, Input, InputRole, ListProvidersRequest, State,
    UploadArtifactRequest, UploadHeader, input::Source, upload_artifact_request::Part,
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use crate::support::{
    collector::Collector,
    server::{Setup, is_terminal, video},
};

const PROMPT: &str = "Zebrafinch \"whispers\"\nto Ångström";
/// Parts of the prompt, the system prompt, the key, the signature, the address of webhooks and the picture, as they or a vendor may write them.
const SECRETS: [&str; 9] = [
    "zebrafinch",
    "whispers",
    "ngstr",
    "quokkabrief",
    "r8_a_secret",
    "cjhfyv9zzwnyzxrfdg9rzw4",
    "pangolinsigned",
    "okapilabel",
    "lemurhook",
];
/// Everything, also of dependencies, which are quiet unless spoken of.
const LOUD: &str = "trace,h2=trace,hyper=trace,hyper_util=trace,tonic=trace,tower=trace,reqwest=trace,rustls=trace,opentelemetry=trace";

/// A vendor that repeats all it was told wherever it can, in whole, in part and escaped.
async fn indiscreet_vendor(serving: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = Router::new()
        .route("/v1/models/{owner}/{model}/predictions", post(create))
        .route("/v1/predictions", get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, told("list")) }))
        .route("/v1/predictions/{id}", get(poll))
        .route("/files/{id}", get(file))
        .with_state(addr);
    serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{addr}/v1")
}

fn told(what: &str) -> String {
    format!(
        "{what}: {PROMPT} / {} / Zebrafinch… / quokkabrief / r8_a_secret_token ?sig=pangolinsigned",
        PROMPT.escape_debug()
    )
}

async fn create(headers: HeaderMap, body: String) -> Response {
    let problem = |status: u16| {
        let key = headers[AUTHORIZATION].to_str().unwrap_or_default();
        let problem = json!({ "title": told("refused"), "detail": format!("{key} sent {body}; {}", told("input")), "invalid_fields": [body] });
        (StatusCode::from_u16(status).unwrap(), Json(problem)).into_response()
    };
    let mode = body.split('#').nth(1).unwrap_or_default().to_owned();
    match mode.as_str() {
        "401" => problem(401),
        "422" => problem(422),
        "429" => problem(429),
        "500" => problem(500),
        "html" => (StatusCode::BAD_GATEWAY, Html(format!("<html>{}</html>", told("page")))).into_response(),
        "malformed" => (StatusCode::CREATED, format!("{{\"id\": \"x\", \"input\": {body}")).into_response(),
        mode => {
            (StatusCode::CREATED, Json(json!({ "id": format!("job-{mode}"), "status": "starting" }))).into_response()
        }
    }
}

async fn poll(Shared(addr): Shared<SocketAddr>, UrlPath(id): UrlPath<String>) -> Response {
    let link = |file: &str| json!({ "id": id, "status": "succeeded", "logs": told("logs"), "output": format!("http://{addr}/files/{file}?sig=pangolinsigned") });
    match id.as_str() {
        "job-E005" => Json(json!({ "id": id, "status": "failed", "error": told("The input was flagged as sensitive (E005)"), "logs": told("logs") })).into_response(),
        "job-garbled" => format!("{{\"status\": {}", told("garbled")).into_response(),
        "job-expired" => Json(link("expired")).into_response(),
        "job-moved" => Json(link("moved")).into_response(),
        "job-page" => Json(link("page")).into_response(),
        "job-done" => Json(link("done")).into_response(),
        _ => (StatusCode::NOT_FOUND, Json(json!({ "detail": told("unknown") }))).into_response(),
    }
}

async fn file(UrlPath(name): UrlPath<String>, uri: Uri) -> Response {
    match name.as_str() {
        "expired" => (StatusCode::FORBIDDEN, format!("<Error>{uri} {}</Error>", told("expired"))).into_response(),
        "moved" => Redirect::temporary("http://127.0.0.1:9/elsewhere?sig=pangolinsigned").into_response(),
        "page" => Html(format!("<html>{uri} {}</html>", told("page"))).into_response(),
        _ => fs::read(asset("sample.mp4")).unwrap().into_response(),
    }
}

fn asset(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_assets").join(name)
}

/// Fails with the first lines of `text` that hold a secret.
fn assert_discreet(place: &str, text: &str) {
    let picture = fs::read(asset("sample.png")).unwrap();
    let picture = BASE64_STANDARD.encode(&picture[90..150]).to_lowercase();
    let secrets: Vec<&str> = SECRETS.into_iter().chain([picture.as_str()]).collect();
    let told: Vec<&str> =
        text.lines().filter(|line| secrets.iter().any(|secret| line.to_lowercase().contains(secret))).take(5).collect();
    assert!(told.is_empty(), "{place} tells:\n{}", told.join("\n"));
}

async fn nothing_is_told(format: &str) {
    let mut serving = JoinSet::new();
    let mut collector = Collector::start().await;
    let setup = Setup::replicate(&indiscreet_vendor(&mut serving).await)
        .with("FILMGATE_LOG", LOUD)
        .with("FILMGATE_LOG_FORMAT", format)
        .with("FILMGATE_SYSTEM_PROMPT", "quokkabrief")
        .with("FILMGATE_PUBLIC_URL", "http://127.0.0.1:9/lemurhook")
        .with("FILMGATE_MAX_DURATION", "4s")
        .with("FILMGATE_UNRESOLVED_FOR", "1s")
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
    let logs = setup.folder().join("logs");
    let setup = setup.clone().with("FILMGATE_LOG_DIR", logs.to_str().unwrap());
    let server = setup.start().await;

    let picture = BASE64_STANDARD.encode(fs::read(asset("sample.png")).unwrap());
    let modes =
        ["401", "422", "429", "500", "html", "malformed", "E005", "garbled", "expired", "moved", "page", "done"];
    let orders = modes.map(|mode| GenerateVideoRequest {
        session: "sessions/talk".to_owned(),
        labels: [("kind".to_owned(), "okapilabel".to_owned())].into(),
        inputs: (mode == "done").then(|| first_frame(&picture)).into_iter().collect(),
        cache: CachePolicy::Bypass.into(),
        ..video(&format!("{PROMPT} #{mode}#"))
    });
    let ends = futures_util::future::join_all(orders.into_iter().map(async |order| {
        let order = server.order(order).await.unwrap();
        server.until(&order.name, |now| is_terminal(now) || now.state() == State::Unresolved).await
    }));
    let ends = ends.await;
    assert_eq!(ends.last().unwrap().state(), State::Succeeded, "{:?}", ends.last());
    assert!(ends[..11].iter().all(|end| end.state() != State::Succeeded), "{ends:?}");

    // Refused at the door, with the secrets in the fields at fault.
    let wrong = GenerateVideoRequest { model: format!("{PROMPT}/r8_a_secret_token"), ..video(PROMPT) };
    server.order(wrong).await.unwrap_err();
    let history = GetSessionHistoryRequest { name: "sessions/talk".to_owned(), ..GetSessionHistoryRequest::default() };
    assert!(!server.sessions().await.get_session_history(history).await.unwrap().into_inner().messages.is_empty());
    let upload = [Part::Header(UploadHeader::default()), Part::Data(PROMPT.as_bytes().to_vec().into())];
    let upload = upload.map(|part| UploadArtifactRequest { part: Some(part) });
    server.artifacts().await.upload_artifact(tokio_stream::iter(upload)).await.unwrap_err();
    server.bytes(ends.last().unwrap()).await.bytes().await.unwrap();
    server.models().await.list_providers(ListProvidersRequest::default()).await.unwrap();
    assert_eq!(server.stop().await, Some(0));

    let log = setup.log();
    for loud in ["h2::", "hyper_util::", "filmgate::engine", "submit failed"] {
        assert!(log.contains(loud), "the log was meant to be full of {loud}");
    }
    assert_discreet("the error stream", &log);
    let files: Vec<_> = fs::read_dir(&logs).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty());
    for file in files {
        assert_discreet("a log file", &fs::read_to_string(file).unwrap());
    }
    let received = collector.received(&["rpc.name: Str(ListProviders)", "filmgate.generations.finished"]).await;
    assert_discreet("the collector", received);
}

fn first_frame(picture: &str) -> Input {
    let uri = format!("data:image/png;base64,{picture}");
    Input { role: InputRole::FirstFrame.into(), source: Some(Source::Uri(uri)) }
}

#[tokio::test]
async fn text_logs_spans_and_metrics_tell_no_secret() {
    nothing_is_told("text").await;
}

#[tokio::test]
async fn json_logs_spans_and_metrics_tell_no_secret() {
    nothing_is_told("json").await;
}
