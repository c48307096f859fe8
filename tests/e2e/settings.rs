//! Settings as people give them, seen from outside: each does what its description says.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Output, Stdio},
    time::Duration,
};

use filmgate::pb::v1::{ErrorReason, GenerateVideoRequest, ListModelsRequest, Quality, State};
use tokio::time::{Instant, sleep};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    simulator::Simulator,
    support::server::{SOON, Server, Setup, video},
};

const ANY_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];

async fn brief(server: &Server) -> String {
    server.order(video("a fox")).await.unwrap().brief
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port()
}

/// Tries to start a server that must not start.
async fn refused(setup: &Setup) -> (Output, String) {
    // Ends a server that starts after all, so that the test says so.
    let mut child = setup.command().arg("serve").stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + SOON;
    while child.try_wait().unwrap().is_none() && Instant::now() < end {
        sleep(Duration::from_millis(10)).await;
    }
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{errors}");
    (output, errors)
}

#[tokio::test]
async fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let setup = Setup::sample();
    assert!(brief(&setup.start().await).await.starts_with("a fox"));
    let setup = Setup::sample().with_file("filmgate.toml", "system_prompt = \"FILE\"\n");
    assert!(brief(&setup.start().await).await.starts_with("FILE"));
    let other = setup.clone().with("SYSTEM_PROMPT", "SECOND");
    assert!(brief(&other.start().await).await.starts_with("SECOND"));
    let setup = other.with("FILMGATE_SYSTEM_PROMPT", "VARIABLE");
    assert!(brief(&setup.start().await).await.starts_with("VARIABLE"));
    let flags = [&ANY_PORT[..], &["--system-prompt", "FLAG"]].concat();
    assert!(brief(&setup.start_with(&flags).await).await.starts_with("FLAG"));

    let elsewhere = Setup::sample().with_file("other.toml", "system_prompt = \"ASKED\"\n");
    let asked =
        elsewhere.with_file("filmgate.toml", "system_prompt = \"USUAL\"\n").with("FILMGATE_CONFIG", "other.toml");
    assert!(brief(&asked.start().await).await.starts_with("ASKED"));
}

#[tokio::test]
async fn a_dotenv_file_adds_variables_and_overrides_none() {
    let simulator = Simulator::start(&[]);
    let file = format!(
        "FILMGATE_SYSTEM_PROMPT=DOTENV\nREPLICATE_API_KEY=r8_from_dotenv\nFILMGATE_REPLICATE_BASE_URL={}\n",
        simulator.replicate()
    );
    let setup = Setup::sample().with_file(".env", &file);
    let made = setup.start().await.generate(video("a fox")).await.unwrap();
    assert!(made.brief.starts_with("DOTENV") && !made.sample, "{made:?}");
    assert_eq!(simulator.count("creates_received").await, 1, "REPLICATE_API_KEY is a name of the key too");
    let setup = setup.with("FILMGATE_SYSTEM_PROMPT", "VARIABLE");
    assert!(brief(&setup.start().await).await.starts_with("VARIABLE"));
    let (_, errors) = refused(&Setup::sample().with_file(".env", "A LINE WITH r8_secret\n")).await;
    assert!(errors.contains(".env") && !errors.contains("r8_secret"), "{errors}");
}

#[tokio::test]
async fn the_address_is_chosen_by_listen_or_port() {
    let port = free_port();
    let setup = Setup::sample().with("PORT", &port.to_string());
    assert_eq!(setup.start_with(&[]).await.addr(), SocketAddr::from(([127, 0, 0, 1], port)));
    let server = setup.with("FILMGATE_LISTEN", "0.0.0.0:0").start_with(&[]).await;
    assert!(server.addr().ip().is_unspecified() && server.addr().port() != port);
    assert!(server.setup().log().contains("no access control"), "a wide address is warned of");
}

#[tokio::test]
async fn the_data_folder_is_where_it_was_asked_for_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::sample();
    let server = setup.start().await;
    assert!(setup.data_dir().join("filmgate.db").exists());
    assert_eq!(fs::metadata(setup.data_dir()).unwrap().permissions().mode() & 0o777, 0o700);
    // Who comes second is told who was first.
    let second = setup.command().args(["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
    let errors = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(7));
    assert!(errors.contains(&server.addr().to_string()), "{errors}");
}

#[tokio::test]
async fn models_come_from_the_request_the_default_or_the_provider() {
    let simulator = Simulator::start(&[]);
    let setup = Setup::replicate(&simulator.replicate());
    let model = async |setup: &Setup| setup.start().await.order(video("a fox")).await.unwrap().model;
    assert_eq!(model(&setup).await, "replicate/minimax/video-01");
    let other = setup.clone().with("REPLICATE_MODEL", "kwaivgi/kling-v1.6-standard");
    assert_eq!(model(&other).await, "replicate/kwaivgi/kling-v1.6-standard");
    assert_eq!(model(&other.with("FILMGATE_MODEL", "sample/video")).await, "sample/video");
}

#[tokio::test]
async fn routes_and_own_cards_come_from_the_file() {
    let simulator = Simulator::start(&[]);
    let file = r#"
        [routes]
        fast = ["sample/video"]
        [[models]]
        provider = "replicate"
        name = "acme/clips"
        kind = "video"
        price = { unit = "output_second", micro_usd = 50000 }
        [models.options.duration]
        one_of = [5, 10]
        default = 5
    "#;
    let server = Setup::replicate(&simulator.replicate()).with_file("filmgate.toml", file).start().await;
    let fast = GenerateVideoRequest { quality: Quality::Fast.into(), ..video("a fox") };
    assert_eq!(server.order(fast).await.unwrap().model, "sample/video");
    let of_replicate = ListModelsRequest { provider: "replicate".to_owned(), ..ListModelsRequest::default() };
    let listed = server.models().await.list_models(of_replicate).await.unwrap().into_inner().models;
    assert!(listed.iter().any(|model| model.name.ends_with("replicate/acme/clips")), "{listed:?}");
    let own = GenerateVideoRequest { model: "replicate/acme/clips".to_owned(), ..video("a fox") };
    assert_eq!(server.order(own).await.unwrap().cost.unwrap().estimated_micro_usd, Some(250_000));
}

#[tokio::test]
async fn the_sample_is_served_from_its_folder_after_its_time() {
    let setup = Setup::sample().with("FILMGATE_SAMPLE_LATENCY", "700ms");
    let began = Instant::now();
    assert!(setup.start().await.generate(video("a fox")).await.unwrap().sample);
    assert!(began.elapsed() >= Duration::from_millis(700));

    let folder = setup.folder().join("samples");
    fs::create_dir(&folder).unwrap();
    let server = Setup::sample().with("FILMGATE_SAMPLE_DIR", folder.to_str().unwrap()).start().await;
    let status = server.order(video("a fox")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "SAMPLE_MISSING");
}

#[tokio::test]
async fn what_is_too_large_is_not_kept() {
    let simulator = Simulator::start(&[]);
    let server = Setup::replicate(&simulator.replicate()).with("FILMGATE_MAX_ARTIFACT_BYTES", "1KiB").start().await;
    let failure = server.generate(video("a fox")).await.unwrap().failure.unwrap();
    assert_eq!(failure.reason(), ErrorReason::ArtifactTooLarge);
}

#[tokio::test]
async fn places_and_the_queue_are_bounded() {
    let simulator = Simulator::start(&["create:hold"]);
    let setup =
        Setup::replicate(&simulator.replicate()).with("FILMGATE_CONCURRENCY", "5").with("FILMGATE_MAX_UNFINISHED", "2");
    let server = setup.with("FILMGATE_REPLICATE_CONCURRENCY", "1").start().await;
    let first = server.order(video("first")).await.unwrap();
    server.until(&first.name, |generation| generation.state() == State::Running).await;
    let second = server.order(video("second")).await.unwrap();
    server.until(&second.name, |generation| generation.queue_position == Some(1)).await;
    let status = server.order(video("third")).await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(details.error_info().unwrap().reason, "QUEUE_FULL");
    assert!(details.retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn patience_with_a_vendor_is_bounded() {
    let simulator = Simulator::start(&[
        "create:prompt=stuck:stuck=processing",
        "get:prompt=mute,nth=1:hang",
        "download:prompt=slow,nth=1:hang",
    ]);
    let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_MAX_DURATION", "1s");
    let server = setup.with("FILMGATE_UNRESOLVED_FOR", "1s").start().await;
    let stuck = server.generate(video("stuck")).await.unwrap();
    assert_eq!(stuck.failure.as_ref().unwrap().reason(), ErrorReason::UnresolvedExpired, "{stuck:?}");

    let setup = Setup::replicate(&simulator.replicate()).with("FILMGATE_PROVIDER_TIMEOUT", "200ms");
    let server = setup.with("FILMGATE_DOWNLOAD_TIMEOUT", "200ms").start().await;
    for prompt in ["mute", "slow"] {
        let began = Instant::now();
        let made = server.generate(video(prompt)).await.unwrap();
        assert_eq!(made.state(), State::Succeeded, "{made:?}");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(10), "{prompt}: {took:?}");
    }
}

#[tokio::test]
async fn json_logs_are_one_object_a_line_on_the_error_stream_and_in_the_folder() {
    let setup = Setup::sample()
        .with("FILMGATE_LOG_FORMAT", "json")
        .with("FILMGATE_LOG", "debug")
        .with("FILMGATE_LOG_DIR", "logs");
    let server = setup.with("FILMGATE_TYPO", "x").start().await;
    server.generate(video("a fox")).await.unwrap();
    let setup = server.setup().clone();
    assert_eq!(server.stop().await, Some(0));
    let files = fs::read_dir(setup.folder().join("logs")).unwrap();
    let files: String = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    for text in [setup.log(), files] {
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
        let told = |message: &str| {
            lines.iter().find(|line| line["message"].as_str().is_some_and(|said| said.contains(message)))
        };
        assert_eq!(told("accepted").unwrap()["level"], "INFO");
        assert!(lines.iter().any(|line| line["level"] == "DEBUG"));
        assert_eq!(told("FILMGATE_TYPO").expect("a variable that is no setting is warned of")["level"], "WARN");
    }
}

#[tokio::test]
async fn every_wrong_value_is_named_at_once_and_no_secret_is_shown() {
    let wrong = [
        ("FILMGATE_LISTEN", "here", "listen"),
        ("FILMGATE_MAX_DURATION", "0s", "max_duration"),
        ("FILMGATE_CONCURRENCY", "-1", "concurrency"),
        ("FILMGATE_MAX_ARTIFACT_BYTES", "lots", "max_artifact_bytes"),
        ("FILMGATE_MODEL", "video", "default_model"),
        ("FILMGATE_DEFAULT_CHAT_MODEL", "chat", "default_chat_model"),
        ("FILMGATE_LOG", "a=b=c", "log"),
        ("FILMGATE_LOG_FORMAT", "xml", "log_format"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere", "otlp_endpoint"),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "trace_ratio"),
        ("FILMGATE_CORS_ORIGINS", "https://a.example/path", "cors_origins"),
        ("FILMGATE_METRICS", "perhaps", "metrics"),
        ("REPLICATE_API_TOKEN", "r8 secret", "replicate.api_token"),
        ("FILMGATE_REPLICATE_BASE_URL", "ftp://x", "replicate.base_url"),
    ];
    let setup = wrong.iter().fold(Setup::sample(), |setup, (name, value, _)| setup.with(name, value));
    let (output, errors) = refused(&setup).await;
    assert_eq!(output.status.code(), Some(9), "{errors}");
    for (name, _, setting) in wrong {
        assert!(errors.contains(setting) && errors.contains(name), "{setting}:\n{errors}");
    }
    assert!(!errors.contains("r8 secret"), "{errors}");

    for (file, named) in [
        ("[routes]\nFAST = [\"sample/video\"]", "routes.FAST"),
        ("[[models]]\nname = \"a/b\"\nkind = \"video\"", "models[0]"),
        ("[[models]]\nprovider = \"replicate\"\nname = \"a/b\"\nkind = \"smell\"", "models[0]"),
        ("[routes]\nfast = [\"nobody/video\"]", "routes.fast"),
        ("no_such_key = 1", "no_such_key"),
    ] {
        let (output, errors) = refused(&Setup::sample().with_file("filmgate.toml", file)).await;
        assert_eq!(output.status.code(), Some(9), "{errors}");
        assert!(errors.contains(named), "{named}:\n{errors}");
    }
    let (output, errors) = refused(&Setup::sample().with("FILMGATE_MODEL", "nobody/video")).await;
    assert_eq!(output.status.code(), Some(9), "{errors}");
    assert!(errors.contains("default_model"), "{errors}");
    let (_, errors) = refused(&Setup::sample().with("FILMGATE_DEFAULT_CHAT_MODEL", "sample/video")).await;
    assert!(errors.contains("default_chat_model") && errors.contains("language model"), "{errors}");
}
