//! Exit codes of what goes wrong, and whether the words help.

use std::{fs, net::TcpListener};

use super::run;
use crate::{
    simulator::Simulator,
    support::server::{Setup, video},
};

#[tokio::test]
async fn an_unresolved_generation_has_a_code_of_its_own_and_says_what_can_be_done() {
    let simulator = Simulator::start(&["create:drop,effect=after", "list:status=500"]);
    let setup = Setup::replicate(&simulator.replicate());
    let ran = run(&setup, &["generate", "Lost on the way", "-o", "lost.mp4"]).await;
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.out.contains("do not order it again") && ran.out.contains("filmgate resolve"), "{ran:?}");
    let name = ran.out.split_whitespace().next().unwrap().to_owned();
    let ran = run(&setup, &["resolve", &name, "--as", "failed"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(run(&setup, &["watch", &name]).await.code, Some(3));
    assert_eq!(simulator.count("creates_received").await, 1);
}

#[tokio::test]
async fn failures_and_mistakes_exit_with_their_meaning() {
    let simulator = Simulator::start(&["create:status=402"]);
    let setup = Setup::replicate(&simulator.replicate());
    let server = setup.start().await;
    let failed = run(&setup, &["generate", "No money", "-o", "x.mp4"]).await;
    assert_eq!(failed.code, Some(3), "{failed:?}");
    assert!(failed.out.contains("PROVIDER_OUT_OF_CREDIT") && failed.out.contains("what to do"), "{failed:?}");
    let done = server.generate(video("a sample")).await.unwrap().name;
    for (args, code, words) in [
        (&["generate", " "][..], 2, "prompt"),
        (&["generate", "x", "--fps", "0", "--seed", "-1"], 2, "options.seed"),
        (&["generate", "x", "--nonsense"], 2, "--nonsense"),
        (&["generate", "x", "-o", "no/such/folder/x.mp4"], 2, "no/such/folder"),
        (&["generate", "x", "--input", "first_frame=no-such-file.png"], 2, "no-such-file.png"),
        (&["get", "0197f0a0-0000-7000-8000-000000000000"], 6, "GENERATION_NOT_FOUND"),
        (&["get", "../../etc"], 2, "is not a name"),
        (&["download", "artifacts/nobody"], 6, "ARTIFACT_NOT_FOUND"),
        (&["history", "nobody"], 6, "SESSION_NOT_FOUND"),
        (&["cancel", done.as_str()], 7, "GENERATION_FINISHED"),
        (&["resolve", done.as_str(), "--as", "failed"], 7, "GENERATION_NOT_UNRESOLVED"),
    ] {
        let ran = run(&setup, args).await;
        assert_eq!(ran.code, Some(code), "{args:?} {ran:?}");
        assert!(ran.err.contains(words), "{args:?} {ran:?}");
        assert!(ran.out.is_empty(), "{args:?} {ran:?}");
    }
}

#[tokio::test]
async fn check_names_a_broken_setting_and_is_content_with_good_ones() {
    let setup = Setup::sample().with("FILMGATE_LISTEN", "127.0.0.1:0");
    let good = run(&setup, &["check"]).await.ok();
    assert!(good.out.contains("no problems"), "{good:?}");
    let bad = Setup::sample().with("FILMGATE_POLL_INTERVAL", "soon").with("FILMGATE_CONCURRENCY", "-3");
    let ran = run(&bad, &["check"]).await;
    assert_eq!(ran.code, Some(9), "{ran:?}");
    for word in ["poll_interval", "concurrency", "fix:", "2 problems"] {
        assert!(ran.out.to_lowercase().contains(word), "{word}: {ran:?}");
    }
    let json = run(&bad, &["--json", "check"]).await;
    assert_eq!(json.lines()[0]["problems"].as_array().unwrap().len(), 2, "{json:?}");
    for command in [&["serve"][..], &["generate", "x"], &["list"]] {
        let ran = run(&bad, command).await;
        assert_eq!(ran.code, Some(9), "{command:?} {ran:?}");
        assert!(ran.err.to_lowercase().contains("poll_interval"), "{ran:?}");
    }
}

#[tokio::test]
async fn check_finds_what_would_stop_the_server_or_make_it_refuse_orders() {
    let file = r#"
        [routes]
        fast = ["nobody/video"]
        [[models]]
        name = "a/b"
        kind = "video"
    "#;
    let setup = Setup::sample().with_file("filmgate.toml", file).with("FILMGATE_LISTEN", "127.0.0.1:0");
    fs::create_dir(setup.folder().join("samples")).unwrap();
    let bad = setup
        .with("FILMGATE_SAMPLE_DIR", "samples")
        .with("FILMGATE_LOG_DIR", "filmgate.toml/logs")
        .with("FILMGATE_MODEL", "replicate/minimax/video-01");
    let ran = run(&bad, &["--json", "check"]).await;
    assert_eq!(ran.code, Some(9), "{ran:?}");
    let found = ran.lines()[0]["problems"].as_array().unwrap().clone();
    for (setting, fix) in [
        ("routes.fast", "filmgate models"),
        ("models[0]", "provider"),
        ("sample_dir", "FILMGATE_SAMPLE_DIR"),
        ("log_dir", "FILMGATE_LOG_DIR"),
        ("default_model", "REPLICATE_API_TOKEN"),
    ] {
        let problem = found.iter().find(|problem| problem["setting"] == setting);
        let problem = problem.unwrap_or_else(|| panic!("{setting}: {found:?}"));
        assert!(problem["fix"].as_str().unwrap().contains(fix), "{problem:?}");
    }
    let ran = run(&bad, &["serve"]).await;
    assert_eq!(ran.code, Some(9), "{ran:?}");

    // The server tells all that keeps it from starting, too.
    let ran = run(&Setup::sample().with_file("filmgate.toml", file), &["serve"]).await;
    assert_eq!(ran.code, Some(9), "{ran:?}");
    assert!(ran.err.contains("routes.fast") && ran.err.contains("models[0]"), "{ran:?}");
}

#[tokio::test]
async fn a_taken_port_and_a_taken_folder_say_who_has_them() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let setup = Setup::sample();
    let ran = run(&setup, &["serve", "--listen", &address]).await;
    assert!(ran.err.contains(&address) && ran.err.contains("--listen"), "{ran:?}");
    assert!(ran.err.contains("in use"), "the cause is told: {ran:?}");
    assert_eq!(ran.code, Some(7), "{ran:?}");

    let server = setup.start().await;
    let second = run(&setup, &["serve", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(second.code, Some(7), "{second:?}");
    assert!(second.err.contains(&server.addr().to_string()) && second.err.contains("data folder"), "{second:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let setup = Setup::sample();
    for command in [&["generate", "x"][..], &["list"], &["watch", "generations/x"], &["models"], &["upload", "x"]] {
        let ran = run(&setup, &[&["--server", &address], command].concat()).await;
        assert_eq!(ran.code, Some(8), "{command:?} {ran:?}");
        assert!(ran.err.contains(&address) && ran.err.contains("filmgate serve"), "{ran:?}");
    }
    assert!(!setup.data_dir().exists());
}
