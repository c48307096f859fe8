//! `generate` and `watch` through everything that can happen on the way.

use std::{collections::VecDeque, time::Duration};

use serde_json::json;
use tokio::net::TcpListener;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{
    Capture, PATIENT, Press, filmgate_telling,
    server::{Asked, Script, Scripted, Step, artifact, draining, generation, snapshot},
};
use crate::{
    cli::{Exit, Patience},
    pb::v1::{Cost, Generation, State},
};

/// The last snapshot of a generation that made `data`.
fn succeeded(data: &[u8]) -> Step {
    Step::Snapshot(Box::new(Generation {
        artifacts: vec![artifact("artifacts/g1-0", data)],
        cost: Some(Cost { settled_micro_usd: Some(250_000), ..Cost::default() }),
        ..generation(9, State::Succeeded)
    }))
}

/// A server that makes `data`, with these snapshots before it.
async fn making(data: &[u8], before: Vec<Step>) -> Scripted {
    let stream = before.into_iter().chain([succeeded(data)]).collect();
    let artifacts = [("artifacts/g1-0".to_owned(), data.to_vec())].into();
    Scripted::start(Script { streams: [stream].into(), artifacts, ..Script::default() }).await
}

fn order_ids(server: &Scripted) -> Vec<String> {
    let orders = server.asked().into_iter().filter_map(|asked| match asked {
        Asked::Order(order) => Some(order.request_id),
        _ => None,
    });
    orders.collect()
}

#[tokio::test]
async fn generate_shows_progress_saves_the_output_and_tells_the_cost() {
    let folder = tempfile::tempdir().unwrap();
    let server = making(b"a fox", vec![snapshot(1, State::Queued), snapshot(2, State::Running)]).await;
    let ended = server.run(&["generate", "A red fox", "-o", folder.path().to_str().unwrap()]).await;
    let file = folder.path().join("a-red-fox.mp4");
    assert_eq!(ended.exit, Exit::Ok, "{ended:?}");
    assert_eq!(std::fs::read(&file).unwrap(), b"a fox");
    assert_eq!(ended.err, "queued\nrunning\nsucceeded\n");
    assert_eq!(
        ended.out,
        format!("generations/g1 succeeded\n  cost: $0.25\nsaved {} (video/mp4, 5 B)\n", file.display())
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no partial file is left");
}

#[tokio::test]
async fn json_is_one_snapshot_a_line_on_stdout_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fox.mp4");
    let server = making(b"a fox", vec![snapshot(1, State::Queued), snapshot(1, State::Queued)]).await;
    let ended = server.run(&["--json", "generate", "A red fox", "-o", file.to_str().unwrap()]).await;
    let states: Vec<_> = ended.json().into_iter().map(|snapshot| snapshot["state"].clone()).collect();
    assert_eq!(states, ["STATE_QUEUED", "STATE_SUCCEEDED"], "a repeated snapshot is no news");
    let [saved] = ended.json_err().try_into().unwrap();
    assert_eq!(saved["file"], json!(file.to_str().unwrap()));
    assert_eq!(saved["artifact"]["name"], "artifacts/g1-0");
}

#[tokio::test]
async fn a_lost_stream_is_watched_again_after_the_last_sequence_and_never_ordered_again() {
    let server = Scripted::with_streams([
        vec![snapshot(1, State::Queued), snapshot(4, State::Running), draining()],
        vec![Step::Fail(Status::unavailable("still starting"))],
        vec![snapshot(5, State::Storing)],
        vec![snapshot(6, State::Cancelled)],
    ])
    .await;
    let ended = server.run(&["generate", "A red fox"]).await;
    assert_eq!(ended.exit, Exit::Cancelled, "{ended:?}");
    assert_eq!(order_ids(&server).len(), 1);
    let watch = |after_sequence| Asked::Watch { name: "generations/g1".to_owned(), after_sequence };
    assert_eq!(server.asked()[1..], [watch(4), watch(4), watch(5)]);
    assert!(ended.err.contains("connection lost (the server is shutting down); watching generations/g1 again"));
    assert!(ended.err.contains("connection lost (the server ended the stream early)"), "{}", ended.err);
}

#[tokio::test]
async fn a_server_that_dies_and_comes_back_is_found_again() {
    // Both servers accept on one socket, so that callers in between wait for the second one instead of losing the port.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let listener = |socket: &std::net::TcpListener| TcpListener::from_std(socket.try_clone().unwrap()).unwrap();

    // A runtime of its own: its end cuts the connections as the death of a process does.
    let doomed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut streams = VecDeque::from([vec![snapshot(7, State::Running), Step::Hang]]);
    // For calls that still reach it while it dies.
    streams.extend(vec![vec![draining()]; 100]);
    let first = {
        let _inside = doomed.enter();
        Scripted::start_on(listener(&socket), Script { streams, ..Script::default() })
    };
    let err = Capture::default();
    let death_and_return = async {
        err.written.notified().await;
        tokio::task::spawn_blocking(move || drop(doomed)).await.unwrap();
        let streams = [vec![snapshot(8, State::Cancelled)]].into();
        Scripted::start_on(listener(&socket), Script { streams, ..Script::default() })
    };
    let args = ["--server", &address, "generate", "A red fox"];
    let command = filmgate_telling(&args, PATIENT, Press::Never, err.clone());
    let (ended, second) = tokio::join!(command, death_and_return);
    assert_eq!(ended.exit, Exit::Cancelled, "{ended:?}");
    assert!(ended.err.contains("connection lost"), "{}", ended.err);
    assert_eq!(order_ids(&first).len(), 1);
    assert_eq!(second.asked(), [Asked::Watch { name: "generations/g1".to_owned(), after_sequence: 7 }]);
}

#[tokio::test]
async fn an_order_whose_name_was_lost_is_repeated_under_the_same_request_id() {
    let server =
        Scripted::with_streams([vec![draining()], vec![draining()], vec![snapshot(1, State::Cancelled)]]).await;
    let ended = server.run(&["generate", "A red fox"]).await;
    let ids = order_ids(&server);
    assert_eq!(ids.len(), 3, "{ended:?}");
    assert!(!ids[0].is_empty() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(ended.err.contains(&format!("request id {}, which cannot order twice", ids[0])), "{}", ended.err);
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up_with_a_way_back() {
    let server = Scripted::with_streams([vec![snapshot(1, State::Running), draining()]]).await;
    let patience = Patience { outage: Duration::ZERO, ..PATIENT };
    let ended = server.run_as(&["generate", "A red fox"], patience, Press::Never).await;
    assert_eq!(ended.exit, Exit::Unavailable, "{ended:?}");
    assert!(
        ended.err.contains("(SERVER_DRAINING)") && ended.err.contains("filmgate watch generations/g1"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_silent_stream_is_opened_again() {
    let server =
        Scripted::with_streams([vec![snapshot(1, State::Running), Step::Hang], vec![snapshot(2, State::Cancelled)]])
            .await;
    let patience = Patience { silence: Duration::from_secs(1), ..PATIENT };
    let ended = server.run_as(&["generate", "A red fox"], patience, Press::Never).await;
    assert_eq!(ended.exit, Exit::Cancelled, "{ended:?}");
    assert!(ended.err.contains("the server has gone silent"), "{}", ended.err);
}

#[tokio::test]
async fn an_unresolved_generation_has_its_own_code_and_says_how_to_go_on() {
    let server = Scripted::with_streams([vec![snapshot(3, State::Unresolved), Step::Hang]]).await;
    let ended = server.run(&["generate", "A red fox"]).await;
    assert_eq!(ended.exit, Exit::Unresolved);
    for hint in ["watch generations/g1 --until-end", "resolve generations/g1 --as failed", "do not order it again"] {
        assert!(ended.out.contains(hint), "{hint} is missing in {}", ended.out);
    }
}

#[tokio::test]
async fn watch_until_end_stays_through_unresolved() {
    let stream = || vec![snapshot(3, State::Unresolved), snapshot(4, State::Succeeded)];
    let server = Scripted::with_streams([stream(), stream()]).await;
    assert_eq!(server.run(&["watch", "g1"]).await.exit, Exit::Unresolved);
    let ended = server.run(&["watch", "generations/g1", "--until-end"]).await;
    assert_eq!(ended.exit, Exit::Ok);
    assert!(ended.out.contains("filmgate download generations/g1"), "{}", ended.out);
}

#[tokio::test]
async fn a_failed_generation_is_no_error_of_the_call_but_has_its_own_code() {
    let server = Scripted::with_streams([vec![snapshot(2, State::Failed)], vec![snapshot(2, State::Failed)]]).await;
    assert_eq!(server.run(&["generate", "A red fox"]).await.exit, Exit::Failed);
    let ended = server.run(&["generate", "A red fox", "--json"]).await;
    assert_eq!((ended.exit, ended.json().len(), ended.err.as_str()), (Exit::Failed, 1, ""));
}

#[tokio::test]
async fn ctrl_c_leaves_the_job_and_says_how_to_come_back() {
    let server = Scripted::with_streams([vec![snapshot(1, State::Running), Step::Hang]]).await;
    let ended = server.run_as(&["generate", "A red fox"], PATIENT, Press::AfterFirstNotice).await;
    assert_eq!(ended.exit, Exit::Interrupted);
    assert_eq!(ended.err, "running\ninterrupted\nit goes on without you: filmgate watch generations/g1\n");
    assert_eq!(server.asked().len(), 1, "nothing was cancelled");
}

#[tokio::test]
async fn a_refused_order_is_told_at_once_and_not_repeated() {
    let mut details = ErrorDetails::with_error_info("INVALID_REQUEST", "filmgate", []);
    details.add_bad_request_violation("options.fps", "must be 1 to 240");
    let refusal = Status::with_error_details(Code::InvalidArgument, "the request is invalid", details);
    let server = Scripted::with_streams([vec![Step::Fail(refusal)]]).await;
    let ended = server.run(&["generate", "A red fox", "--fps", "999", "--json"]).await;
    assert_eq!((ended.exit, ended.out.as_str()), (Exit::Usage, ""));
    let [error] = ended.json_err().try_into().unwrap();
    assert_eq!(error["error"]["reason"], "INVALID_REQUEST");
    assert_eq!(error["error"]["violations"][0]["field"], "options.fps");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_sample_is_told_apart() {
    let sample = Generation { sample: true, ..generation(2, State::Succeeded) };
    let server = Scripted::with_streams([vec![Step::Snapshot(Box::new(sample))]]).await;
    let ended = server.run(&["generate", "A red fox"]).await;
    assert!(ended.out.contains("SAMPLE: a stand-in, not generated for this prompt"), "{}", ended.out);
}
