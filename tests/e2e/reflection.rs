//! Generic clients, which know nothing but what the server tells of itself, and the standard health service.

use std::{fs, path::Path, process::Stdio};

use serde_json::Value;
use tokio::{process::Command, time::timeout};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::support::server::{SOON, Server, Setup};

const SERVICES: [&str; 5] = [
    "filmgate.v1.ArtifactService",
    "filmgate.v1.GenerationService",
    "filmgate.v1.ModelService",
    "filmgate.v1.BudgetService",
    "filmgate.v1.SessionService",
];

/// How a program ended and what it said.
struct Said {
    success: bool,
    out: String,
    err: String,
}

async fn run(program: &str, args: &[&str]) -> std::io::Result<Said> {
    let child = Command::new(program).args(args).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(SOON, child).await.expect("the program ends")?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ok(Said { success: output.status.success(), out: text(output.stdout), err: text(output.stderr) })
}

/// A generic client of the command line: grpcurl, or where that could not be built buf.
enum Tool {
    Grpcurl,
    Buf,
}

impl Tool {
    async fn find() -> Self {
        if run("grpcurl", &["-version"]).await.is_ok() { Self::Grpcurl } else { Self::Buf }
    }

    async fn list(&self, server: &Server) -> Vec<String> {
        let addr = server.addr().to_string();
        let said = match self {
            Self::Grpcurl => run("grpcurl", &["-plaintext", &addr, "list"]).await,
            Self::Buf => {
                let url = format!("http://{addr}");
                run("buf", &["curl", "--http2-prior-knowledge", "--list-services", &url]).await
            }
        };
        let said = said.expect("grpcurl or buf is installed (scripts/tools)");
        assert!(said.success, "{}", said.err);
        said.out.lines().map(str::to_owned).collect()
    }

    async fn call(&self, server: &Server, method: &str, message: &str) -> Said {
        let addr = server.addr().to_string();
        match self {
            Self::Grpcurl => run("grpcurl", &["-plaintext", "-d", message, &addr, method]).await,
            Self::Buf => {
                let url = format!("http://{addr}/{method}");
                run("buf", &["curl", "--protocol", "grpc", "--http2-prior-knowledge", "-d", message, &url]).await
            }
        }
        .unwrap()
    }
}

#[tokio::test]
async fn a_generic_command_line_client_lists_generates_and_shows_refusals() {
    let server = Setup::sample().start().await;
    let tool = Tool::find().await;
    let listed = tool.list(&server).await;
    for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
        assert!(listed.iter().any(|name| name == service), "{service} in {listed:?}");
    }

    let method = "filmgate.v1.GenerationService/GenerateVideo";
    let said = tool.call(&server, method, r#"{"prompt": "a calm forest"}"#).await;
    assert!(said.success, "{}", said.err);
    let snapshots: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&said.out).into_iter().collect();
    let snapshots = snapshots.expect("one object a snapshot");
    let last = &snapshots.last().unwrap()["generation"];
    assert_eq!((&last["state"], &last["sample"]), (&"STATE_SUCCEEDED".into(), &true.into()), "{last}");
    assert_eq!(last["artifacts"][0]["mediaType"], "video/mp4");

    let refused = tool.call(&server, method, r#"{"prompt": " ", "options": {"fps": 0}}"#).await;
    assert!(!refused.success);
    let told = refused.out + &refused.err;
    for word in ["InvalidArgument", "INVALID_REQUEST", "must not be blank", "options.fps", "google.rpc.BadRequest"] {
        let spaced = told.to_lowercase().replace('_', "");
        assert!(spaced.contains(&word.to_lowercase().replace('_', "")), "{word} in {told}");
    }
}

#[tokio::test]
async fn grpcurl_describes_every_service_and_message() {
    let server = Setup::sample().start().await;
    let Tool::Grpcurl = Tool::find().await else {
        // buf cannot describe; the Python client below reads every descriptor all the same.
        return;
    };
    let addr = server.addr().to_string();
    let described = run("grpcurl", &["-plaintext", &addr, "describe"]).await.unwrap();
    assert!(described.success, "{}", described.err);
    let pool = prost_reflect::DescriptorPool::decode(filmgate::pb::DESCRIPTOR_SET).unwrap();
    let ours =
        pool.all_messages().filter(|message| message.full_name().starts_with("filmgate.") && !message.is_map_entry());
    let symbols: Vec<String> = ours.map(|message| message.full_name().to_owned()).collect();
    assert!(symbols.len() > 40, "{symbols:?}");
    for symbol in symbols.iter().map(String::as_str).chain(SERVICES) {
        let said = run("grpcurl", &["-plaintext", &addr, "describe", symbol]).await.unwrap();
        let word = if SERVICES.contains(&symbol) { "service" } else { "message" };
        let starts = format!("{symbol} is a {word}:");
        assert!(said.success && said.out.starts_with(&starts), "{symbol}: {}{}", said.out, said.err);
    }
}

#[tokio::test]
async fn a_client_made_from_reflection_alone_generates_and_downloads() {
    let setup = Setup::sample();
    let server = setup.start().await;
    #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
    let python = std::env::var("FILMGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/reflection_client.py");
    let file = setup.folder().join("made.mp4");
    let args = [script.to_str().unwrap(), &server.addr().to_string(), file.to_str().unwrap()];
    let said = run(&python, &args).await.expect("Python starts");
    assert!(said.success, "{}{}", said.out, said.err);
    assert_eq!(said.out.lines().count(), 6, "{}", said.out);
    assert_eq!(infer::get(&fs::read(file).unwrap()).unwrap().mime_type(), "video/mp4");
}

#[tokio::test]
async fn health_is_told_of_every_service_and_flips_when_the_server_drains() {
    let mut server = Setup::sample().with("FILMGATE_DRAIN_DELAY", "300ms").start().await;
    let mut health = HealthClient::new(server.channel().await);
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in SERVICES.into_iter().chain([""]) {
        let answer = health.check(of(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(of("filmgate.v1.Nothing")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let mut watch = health.watch(of("filmgate.v1.GenerationService")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.terminate();
    let flipped = timeout(SOON, watch.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(flipped.status(), ServingStatus::NotServing);
    // Draining begins with the word and goes on with the doors open, so that nobody is cut who could have been told.
    let ready = reqwest::get(format!("http://{}/readyz", server.addr())).await.unwrap();
    assert_eq!(ready.status(), reqwest::StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(server.ended().await, Some(0));
}
