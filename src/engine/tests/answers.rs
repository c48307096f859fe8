//! Outputs that come with the answer of the submit call.

use super::*;
use crate::artifact::Listed;
use futures_util::TryStreamExt;

const CLIP: &[u8] = include_bytes!("../../simulator/clip.mp4");

impl Stage {
    async fn blobs(&self) -> Vec<Listed> {
        self.engine.blobs().list().try_collect().await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_come_with_the_answer_are_stored_once_and_recorded_with_the_end() {
    let mut stage = Stage::set(&[AtOnce(CLIP)], &[]).await;
    assert_eq!(stage.calls(1).await, [("submit", 0)]);
    assert!(!stage.states().await.contains(&State::Storing), "one write tells all of it");
    let ended = stage.now().await;
    assert_eq!(ended.state, State::Succeeded);
    assert!(ended.started_at.is_some_and(|started| Some(started) <= ended.ended_at));
    assert_eq!(stage.history().await, ["accepted", "submitting", "outputs_ready", "succeeded"]);
    let [artifact] = ended.artifacts.as_slice() else { panic!("{:?}", ended.artifacts) };
    assert_eq!((artifact.size, artifact.facts.media_type.as_str()), (CLIP.len() as u64, "video/mp4"));
    // The artifact is the very blob that was stored first, and the record keeps nothing else of the answer.
    let blobs = stage.blobs().await;
    assert_eq!(blobs.iter().map(|blob| &blob.key).collect::<Vec<_>>(), [&artifact.blob]);
    assert_eq!(ended.attempts[0].answer, None);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_media_was_paid_for() {
    let stage = Stage::set(&[AtOnce(b"<html>sorry</html>")], &[]).await;
    let failure = stage.ended().await.failure.unwrap();
    assert_eq!((failure.reason, failure.charged), (FailureReason::ArtifactInvalid, Charged::Yes));
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_is_no_success() {
    let stage = Stage::set(&[AtOnce(b"")], &[]).await;
    let failure = stage.ended().await.failure.unwrap();
    assert_eq!((failure.reason, failure.charged), (FailureReason::ArtifactInvalid, Charged::Yes));
}

#[tokio::test(start_paused = true)]
async fn a_blob_of_an_unfinished_answer_is_not_swept() {
    let stage = Stage::set(&[AtOnce(b"<html>sorry</html>")], &[]).await;
    // Opened again after a while, twice, before it is believed to be invalid.
    while stage.history().await.len() < 3 {
        tokio::task::yield_now().await;
    }
    let keys: Vec<_> = stage.blobs().await.into_iter().map(|blob| blob.key).collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(stage.engine.store().unreferenced(keys.clone()).await.unwrap(), []);
    stage.ended().await;
    assert_eq!(stage.engine.store().unreferenced(keys.clone()).await.unwrap(), keys);
}
