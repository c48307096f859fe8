//! A watch as the answer stream of a call, without a task or a queue of its own.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use tonic::{
    Status,
    metadata::{AsciiMetadataValue, MetadataMap},
};
use tracing::debug;

use crate::{
    domain::artifact::Kind,
    door::{present, refusal::Refusal, status},
    engine::{Watch, error::Error, view::View},
    pb::v1,
};

/// The answers of a call that streams `M`.
pub(super) type Answers<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// The snapshots of `watch` as answers made by `answer`; at the end the trailers `x-session-id`, `x-{kind}-sample` and `x-generation-time`.
pub(super) fn answers<M: Send + 'static>(
    watch: Watch,
    answer: impl Fn(v1::Generation) -> M + Send + 'static,
) -> Answers<M> {
    let views = stream::unfold(watch, async |mut watch| watch.next().await.map(|view| (view, watch)));
    Box::pin(told(views, answer))
}

/// Where an answer stream is.
enum Stage<S> {
    Watching { views: S, last: Option<View> },
    Ended,
}

fn told<M>(
    views: impl Stream<Item = Result<View, Error>> + Send + 'static,
    answer: impl Fn(v1::Generation) -> M + Send + 'static,
) -> impl Stream<Item = Result<M, Status>> + Send {
    let start = Stage::Watching { views: Box::pin(views), last: None };
    stream::unfold((start, answer), async |(stage, answer)| {
        let Stage::Watching { mut views, last } = stage else { return None };
        Some(match views.next().await {
            Some(Ok(view)) => {
                let message = answer(present::generation(&view, present::Detail::Full));
                (Ok(message), (Stage::Watching { views, last: Some(view) }, answer))
            }
            Some(Err(error)) => {
                let subject = last.map(|view| view.generation.id.to_string()).unwrap_or_default();
                let status = Status::from(Refusal::Engine { error, subject });
                debug!(code = ?status.code(), "a stream ends");
                (Err(status), (Stage::Ended, answer))
            }
            None => {
                let trailers = last.as_ref().map(trailers_of).unwrap_or_default();
                (Err(status::ok_with(trailers)), (Stage::Ended, answer))
            }
        })
    })
}

/// The end in short. The time is told of real results only, earlier ones included, never of a sample.
fn trailers_of(view: &View) -> MetadataMap {
    let generation = &*view.generation;
    let is_sample = generation.is_sample();
    let mut trailers = MetadataMap::new();
    if let Ok(session) = AsciiMetadataValue::try_from(generation.session.id()) {
        trailers.insert("x-session-id", session);
    }
    let sample = match generation.kind {
        Kind::Video => "x-video-sample",
        Kind::Image => "x-image-sample",
        Kind::Speech => "x-speech-sample",
        Kind::Music => "x-music-sample",
    };
    trailers.insert(sample, AsciiMetadataValue::from_static(if is_sample { "true" } else { "false" }));
    if let Some(elapsed) = present::generation_time(generation).filter(|_| !is_sample)
        && let Ok(elapsed) = AsciiMetadataValue::try_from(format!("{:.2}", elapsed.as_secs_f64()))
    {
        trailers.insert("x-generation-time", elapsed);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use tonic::{Request, Response, service::Routes};

    use super::*;
    use crate::{
        domain::generation::{Generation, State},
        door::fixture,
        pb::v1::{
            generation_service_client::GenerationServiceClient,
            generation_service_server::{GenerationService, GenerationServiceServer},
        },
        store::port::StoreError,
    };

    type Scripted = fn() -> Vec<Result<View, Error>>;

    /// Answers every watch with the same views; the other calls are not part of the test.
    struct Script(Scripted);

    macro_rules! not_scripted {
        ($($method:ident: $request:ident => $response:ident),* $(,)?) => {
            #[tonic::async_trait]
            impl GenerationService for Script {
                type GenerateVideoStream = Answers<v1::GenerateVideoResponse>;
                type GenerateImageStream = Answers<v1::GenerateImageResponse>;
                type GenerateSpeechStream = Answers<v1::GenerateSpeechResponse>;
                type GenerateMusicStream = Answers<v1::GenerateMusicResponse>;
                type WatchGenerationStream = Answers<v1::WatchGenerationResponse>;

                async fn generate_image(
                    &self,
                    _: Request<v1::GenerateImageRequest>,
                ) -> Result<Response<Self::GenerateImageStream>, Status> {
                    unreachable!()
                }

                async fn generate_speech(
                    &self,
                    _: Request<v1::GenerateSpeechRequest>,
                ) -> Result<Response<Self::GenerateSpeechStream>, Status> {
                    unreachable!()
                }

                async fn generate_music(
                    &self,
                    _: Request<v1::GenerateMusicRequest>,
                ) -> Result<Response<Self::GenerateMusicStream>, Status> {
                    unreachable!()
                }

                async fn watch_generation(
                    &self,
                    _: Request<v1::WatchGenerationRequest>,
                ) -> Result<Response<Self::WatchGenerationStream>, Status> {
                    let views = stream::iter((self.0)());
                    let answer = |generation| v1::WatchGenerationResponse { generation: Some(generation) };
                    Ok(Response::new(Box::pin(told(views, answer))))
                }

                async fn generate_video(
                    &self,
                    _: Request<v1::GenerateVideoRequest>,
                ) -> Result<Response<Self::GenerateVideoStream>, Status> {
                    unreachable!()
                }

                $(async fn $method(&self, _: Request<v1::$request>) -> Result<Response<v1::$response>, Status> {
                    unreachable!()
                })*
            }
        };
    }

    not_scripted! {
        estimate_cost: EstimateCostRequest => EstimateCostResponse,
        get_generation: GetGenerationRequest => GetGenerationResponse,
        list_generations: ListGenerationsRequest => ListGenerationsResponse,
        cancel_generation: CancelGenerationRequest => CancelGenerationResponse,
        resolve_generation: ResolveGenerationRequest => ResolveGenerationResponse,
        delete_generation: DeleteGenerationRequest => DeleteGenerationResponse,
        list_generation_events: ListGenerationEventsRequest => ListGenerationEventsResponse,
        redeliver_callback: RedeliverCallbackRequest => RedeliverCallbackResponse,
    }

    /// What a client sees: the states, and the end with its trailers.
    async fn seen(script: Scripted) -> (Vec<v1::State>, Result<MetadataMap, Status>) {
        let mut client = GenerationServiceClient::new(Routes::new(GenerationServiceServer::new(Script(script))));
        let mut answers = client.watch_generation(v1::WatchGenerationRequest::default()).await.unwrap().into_inner();
        let mut states = Vec::new();
        loop {
            match answers.message().await {
                Ok(Some(message)) => states.push(message.generation.unwrap().state()),
                Ok(None) => return (states, Ok(answers.trailers().await.unwrap().unwrap())),
                Err(status) => return (states, Err(status)),
            }
        }
    }

    fn trailer<'a>(trailers: &'a MetadataMap, key: &str) -> Option<&'a str> {
        trailers.get(key).map(|value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn a_stream_ends_with_ok_and_the_trailers_of_the_last_snapshot() {
        let (states, end) = seen(|| {
            let views = [fixture::generation(), fixture::succeeded()];
            views.map(|generation| Ok(fixture::view(generation))).into()
        })
        .await;
        let trailers = end.unwrap();
        assert_eq!(states, [v1::State::Queued, v1::State::Succeeded]);
        assert_eq!(trailer(&trailers, "x-session-id"), Some("abc"));
        assert_eq!(trailer(&trailers, "x-video-sample"), Some("false"));
        assert_eq!(trailer(&trailers, "x-generation-time"), Some("61.24"));
    }

    #[tokio::test]
    async fn a_sample_is_flagged_and_has_no_time() {
        let (_, end) = seen(|| {
            let mut generation = fixture::succeeded();
            generation.artifacts[0].sample = true;
            vec![Ok(fixture::view(generation))]
        })
        .await;
        let trailers = end.unwrap();
        assert_eq!(
            (trailer(&trailers, "x-video-sample"), trailer(&trailers, "x-generation-time")),
            (Some("true"), None)
        );
    }

    #[tokio::test]
    async fn a_failed_generation_ends_with_ok_and_no_time() {
        let (states, end) =
            seen(|| vec![Ok(fixture::view(Generation { state: State::Failed, ..fixture::succeeded() }))]).await;
        let trailers = end.unwrap();
        assert_eq!((states, trailer(&trailers, "x-generation-time")), (vec![v1::State::Failed], None));
    }

    #[tokio::test]
    async fn an_error_ends_the_stream_after_what_was_seen() {
        let (states, end) = seen(|| vec![Ok(fixture::view(fixture::generation())), Err(Error::Draining)]).await;
        assert_eq!((states, end.unwrap_err().message()), (vec![v1::State::Queued], "the server is shutting down"));
        let (states, end) = seen(|| vec![Err(Error::Store(StoreError::Unavailable("disk".into())))]).await;
        assert_eq!((states, end.unwrap_err().message()), (vec![], "the store is unavailable"));
    }
}
