//! Commands that ask once and print.

use super::{
    PATIENT, Press, filmgate,
    server::{Asked, Script, Scripted, generation},
};
use crate::{
    cli::Exit,
    pb::v1::{ListGenerationsRequest, Resolution, State},
};

async fn knowing_one() -> Scripted {
    let one = generation(3, State::Running);
    Scripted::start(Script { generations: [(one.name.clone(), one)].into(), ..Script::default() }).await
}

#[tokio::test]
async fn get_takes_bare_ids_and_full_names_and_sends_the_tenant() {
    let server = knowing_one().await;
    for name in ["g1", "generations/g1"] {
        let ended = server.run(&["get", name, "--tenant", "team-a"]).await;
        assert_eq!(ended.exit, Exit::Ok, "{ended:?}");
        assert!(ended.out.starts_with("name      generations/g1\nstate     running\n"), "{}", ended.out);
        assert!(ended.out.contains("\ncallback  pending to https://a.example/x"), "{}", ended.out);
    }
    assert_eq!(server.script.lock().unwrap().tenant.as_deref(), Some("team-a"));
    let ended = server.run(&["get", "g1", "--json"]).await;
    let [shown] = ended.json().try_into().unwrap();
    assert_eq!(shown["sequence"], "3");
    assert_eq!(shown["callback"]["state"], "CALLBACK_STATE_PENDING");
}

#[tokio::test]
async fn what_does_not_exist_has_its_own_code_and_a_hint() {
    let ended = knowing_one().await.run(&["get", "g2"]).await;
    assert_eq!(ended.exit, Exit::NotFound);
    assert!(ended.err.contains("(GENERATION_NOT_FOUND)") && ended.err.contains("filmgate list"), "{}", ended.err);
}

#[tokio::test]
async fn decisions_reach_the_server() {
    let server = knowing_one().await;
    let commands: [&[&str]; 5] = [
        &["cancel", "g1"],
        &["resolve", "g1", "--as", "failed"],
        &["resolve", "g1", "--as", "resubmit"],
        &["delete", "g1"],
        &["redeliver", "g1"],
    ];
    for command in commands {
        assert_eq!(server.run(command).await.exit, Exit::Ok, "{command:?}");
    }
    let name = || "generations/g1".to_owned();
    let expected = [
        Asked::Cancel(name()),
        Asked::Resolve(name(), Resolution::Failed),
        Asked::Resolve(name(), Resolution::Resubmit),
        Asked::Delete(name()),
        Asked::Redeliver(name()),
    ];
    assert_eq!(server.asked(), expected);
}

#[tokio::test]
async fn list_sends_its_filters() {
    let server = knowing_one().await;
    let filters = ["--state", "running", "--state", "unresolved", "--session", "s1", "--kind", "video", "--limit", "7"];
    let ended = server.run(&[&["list"], filters.as_slice()].concat()).await;
    assert!(ended.out.starts_with("NAME") && ended.out.contains("generations/g1"), "{}", ended.out);
    let expected = ListGenerationsRequest {
        page_size: 7,
        page_token: String::new(),
        states: vec![State::Running.into(), State::Unresolved.into()],
        session: "sessions/s1".to_owned(),
        kind: crate::pb::v1::Kind::Video.into(),
    };
    assert_eq!(server.asked(), [Asked::List(expected)]);
}

#[tokio::test]
async fn the_pages_of_a_history_are_joined() {
    let ended = knowing_one().await.run(&["events", "g1", "--json"]).await;
    let numbers: Vec<_> = ended.json().iter().map(|event| event["number"].clone()).collect();
    assert_eq!(numbers, ["1", "2"]);
}

#[tokio::test]
async fn a_service_that_the_server_lacks_is_an_unexpected_error() {
    let ended = knowing_one().await.run(&["models"]).await;
    assert_eq!(ended.exit, Exit::Internal, "{ended:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_what_to_do() {
    // Port 1 of the loopback has no listener: nothing that is not root may open it.
    let ended = filmgate(&["--server", "127.0.0.1:1", "list"], PATIENT, Press::Never).await;
    assert_eq!(ended.exit, Exit::Unavailable, "{ended:?}");
    assert!(ended.err.contains("cannot connect to 127.0.0.1:1") && ended.err.contains("filmgate serve"), "{ended:?}");
}

#[tokio::test]
async fn a_link_is_alone_on_stdout() {
    let server = knowing_one().await;
    let ended = server.run(&["link", "a1", "--ttl", "2d", "--file-name", "fox.mp4"]).await;
    assert_eq!(ended.exit, Exit::Ok, "{ended:?}");
    assert_eq!(ended.out, "http://films/artifacts/a1?ttl=172800&file_name=fox.mp4\n");
    let [shown] = server.run(&["link", "artifacts/a1", "--json"]).await.json().try_into().unwrap();
    assert_eq!(shown["url"], "http://films/artifacts/a1?ttl=0&file_name=");
    assert_eq!(server.run(&["link", "generations/g1"]).await.exit, Exit::Usage);
}
