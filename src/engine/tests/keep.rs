//! What is stored quickly is told with the end, and what takes its time is shown.

use super::*;

const CLIP: &[u8] = include_bytes!("../../simulator/clip.mp4");

impl Stage {
    /// The states that somebody sees who watches from now on, each once in a row.
    pub(super) async fn states(&self) -> Vec<State> {
        let mut watch = self.engine.watch(&TenantId::default_tenant(), self.id, 0).await.unwrap();
        let mut states = Vec::new();
        while let Some(view) = watch.next().await {
            states.push(view.unwrap().generation.state);
        }
        states.dedup();
        states
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_quickly_fetched_is_never_shown_as_being_stored_and_the_history_has_it() {
    let mut stage = Stage::set(&[Good], &[Brings(CLIP, Duration::from_millis(100))]).await;
    stage.calls(2).await;
    assert_eq!(stage.states().await, [State::Running, State::Succeeded]);
    let history = ["accepted", "submitting", "submitted", "outputs_ready", "succeeded"];
    assert_eq!(stage.history().await, history);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_takes_its_time_is_shown_as_being_stored_meanwhile() {
    let mut stage = Stage::set(&[Good], &[Brings(CLIP, Duration::from_secs(9))]).await;
    stage.calls(2).await;
    assert_eq!(stage.states().await, [State::Running, State::Storing, State::Succeeded]);
    let history = ["accepted", "submitting", "submitted", "outputs_ready", "succeeded"];
    assert_eq!(stage.history().await, history);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_comes_while_a_file_is_fetched_is_too_late_however_quick_that_is() {
    for wait in [Duration::from_millis(100), Duration::from_secs(9)] {
        let mut stage = Stage::set(&[Good], &[Brings(CLIP, wait)]).await;
        stage.calls(2).await;
        let cancelled = stage.engine.cancel(&TenantId::default_tenant(), stage.id).await.unwrap();
        assert_eq!(cancelled.generation.state, State::Cancelling);
        let ended = stage.ended().await;
        assert_eq!((ended.state, ended.artifacts.len()), (State::Succeeded, 1), "{ended:?}");
        assert!(stage.calls.try_recv().is_err(), "the vendor is done and is asked nothing more");
        let history = stage.history().await;
        assert_eq!(history.iter().filter(|what| *what == "outputs_ready").count(), 1, "{history:?}");
        assert!(history.contains(&"cancel_requested".to_owned()), "{history:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_fetched_is_of_a_job_that_is_done_also_when_its_time_is_over() {
    // It breaks off at once, again and again, and so does the vendor.
    let polls = [Brings(b"<html>", Duration::ZERO), UNREACHABLE];
    let mut stage = Stage::set_for(Some(Duration::from_secs(8)), &[Good], &polls).await;
    stage.calls(3).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(stage.now().await.state, State::Storing);
    assert_eq!(stage.history().await, ["accepted", "submitting", "submitted", "outputs_ready"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_driven_here_is_shown_without_the_store_and_only_to_its_tenant() {
    let mut stage = Stage::set(&[Good], &[]).await;
    stage.calls(2).await;
    let tenant = TenantId::default_tenant();
    let get = async |tenant: &TenantId| stage.engine.get(tenant, stage.id).await.map(|view| view.generation);
    let stored = stage.now().await;
    assert_eq!(*get(&tenant).await.unwrap(), stored);

    // Nothing like it is stored.
    let shown = Generation { sequence: stored.sequence + 1, phase: "shown".to_owned(), ..stored.clone() };
    stage.engine.hub().publish(Arc::new(shown.clone()));
    assert_eq!(*get(&tenant).await.unwrap(), shown);
    let stranger = get(&TenantId::from_id("stranger").unwrap()).await;
    assert!(matches!(stranger, Err(super::super::Error::GenerationNotFound)), "{stranger:?}");

    // What has ended may have been deleted, or have expired: the store knows.
    let ended = Generation { state: State::Failed, sequence: shown.sequence + 1, ..shown };
    stage.engine.hub().publish(Arc::new(ended));
    assert_eq!(*get(&tenant).await.unwrap(), stored);
}
