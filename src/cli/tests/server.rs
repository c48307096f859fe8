//! A server that does what the test's script says, and remembers what it was asked.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Ended, PATIENT, Press, filmgate};
use crate::{
    cli::Patience,
    pb::v1::{
        artifact_service_server::{ArtifactService, ArtifactServiceServer},
        download_artifact_response,
        generation_service_server::{GenerationService, GenerationServiceServer},
        upload_artifact_request, *,
    },
};

/// One thing a stream does.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Snapshot(Box<Generation>),
    Fail(Status),
    /// Nothing, for ever.
    Hang,
}

/// One call as it was received.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    Order(Box<GenerateVideoRequest>),
    Watch { name: String, after_sequence: i64 },
    Get(String),
    Cancel(String),
    Resolve(String, Resolution),
    Delete(String),
    Redeliver(String),
    List(ListGenerationsRequest),
    Download { offset: i64 },
    Upload { header: UploadHeader, data: Vec<u8> },
}

/// The script, and what happened.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// What each stream of snapshots does, in the order they are opened.
    pub(super) streams: VecDeque<Vec<Step>>,
    /// The generations that single calls find.
    pub(super) generations: BTreeMap<String, Generation>,
    /// The bytes of each artifact.
    pub(super) artifacts: BTreeMap<String, Vec<u8>>,
    /// After how many bytes each download breaks, in the order they are opened; none left: none breaks.
    pub(super) breaks: VecDeque<usize>,
    /// Every call.
    pub(super) asked: Vec<Asked>,
    /// The tenant of the last call.
    pub(super) tenant: Option<String>,
}

/// The running server; ends when dropped.
#[derive(Debug)]
pub(super) struct Scripted {
    pub(super) script: Arc<Mutex<Script>>,
    address: String,
    _task: AbortOnDropHandle<()>,
}

impl Scripted {
    pub(super) async fn start(script: Script) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    #[expect(clippy::disallowed_methods, reason = "the handle ends the task with the test")]
    pub(super) fn start_on(listener: TcpListener, script: Script) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let script = Arc::new(Mutex::new(script));
        let service = Service(Arc::clone(&script));
        let served = Server::builder()
            .add_service(GenerationServiceServer::new(service.clone()))
            .add_service(ArtifactServiceServer::new(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async { served.await.unwrap() });
        Self { script, address, _task: AbortOnDropHandle::new(task) }
    }

    /// A server whose streams do this.
    pub(super) async fn with_streams(streams: impl IntoIterator<Item = Vec<Step>>) -> Self {
        Self::start(Script { streams: streams.into_iter().collect(), ..Script::default() }).await
    }

    pub(super) async fn run(&self, args: &[&str]) -> Ended {
        self.run_as(args, PATIENT, Press::Never).await
    }

    pub(super) async fn run_as(&self, args: &[&str], patience: Patience, press: Press) -> Ended {
        filmgate(&[&["--server", &self.address], args].concat(), patience, press).await
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }
}

/// `generations/g1` in `state`.
pub(super) fn generation(sequence: i64, state: State) -> Generation {
    Generation { name: "generations/g1".to_owned(), sequence, state: state.into(), ..Generation::default() }
}

/// The callback of every generation.
fn callback() -> Option<Callback> {
    let (url, state) = ("https://a.example/x".to_owned(), CallbackState::Pending.into());
    Some(Callback { url, state, ..Callback::default() })
}

pub(super) fn snapshot(sequence: i64, state: State) -> Step {
    Step::Snapshot(Box::new(generation(sequence, state)))
}

/// What the server says while it shuts down.
pub(super) fn draining() -> Step {
    let details = ErrorDetails::with_error_info("SERVER_DRAINING", "filmgate", []);
    Step::Fail(Status::with_error_details(Code::Unavailable, "the server is shutting down", details))
}

/// The facts of an artifact with these bytes.
pub(super) fn artifact(name: &str, data: &[u8]) -> Artifact {
    Artifact {
        name: name.to_owned(),
        media_type: "video/mp4".to_owned(),
        size_bytes: i64::try_from(data.len()).unwrap(),
        sha256: hex::encode(Sha256::digest(data)),
        ..Artifact::default()
    }
}

#[derive(Debug, Clone)]
struct Service(Arc<Mutex<Script>>);

type Out<T> = BoxStream<'static, Result<T, Status>>;

impl Service {
    fn note<T>(&self, request: &Request<T>, asked: Asked) {
        let mut script = self.0.lock().unwrap();
        script.tenant = request.metadata().get("x-filmgate-tenant").map(|value| value.to_str().unwrap().to_owned());
        script.asked.push(asked);
    }

    fn snapshots<T: Send + 'static>(&self, wrap: fn(Generation) -> T) -> Result<Response<Out<T>>, Status> {
        let steps = self.0.lock().unwrap().streams.pop_front();
        let steps = steps.ok_or_else(|| Status::internal("the script has no more streams"))?;
        // A failure before the first snapshot is a refused call.
        if let [Step::Fail(status)] = steps.as_slice() {
            return Err(status.clone());
        }
        let messages = stream::iter(steps).then(move |step| async move {
            match step {
                Step::Snapshot(generation) => Ok(wrap(*generation)),
                Step::Fail(status) => Err(status),
                Step::Hang => std::future::pending().await,
            }
        });
        Ok(Response::new(messages.boxed()))
    }

    fn find(&self, name: &str) -> Result<Option<Generation>, Status> {
        let found = self.0.lock().unwrap().generations.get(name).cloned();
        let details = || ErrorDetails::with_error_info("GENERATION_NOT_FOUND", "filmgate", []);
        found.map(Some).ok_or_else(|| Status::with_error_details(Code::NotFound, format!("no {name}"), details()))
    }
}

#[tonic::async_trait]
impl GenerationService for Service {
    type GenerateVideoStream = Out<GenerateVideoResponse>;
    type WatchGenerationStream = Out<WatchGenerationResponse>;
    type GenerateImageStream = Out<crate::pb::v1::GenerateImageResponse>;
    type GenerateSpeechStream = Out<crate::pb::v1::GenerateSpeechResponse>;
    type GenerateMusicStream = Out<crate::pb::v1::GenerateMusicResponse>;

    async fn generate_image(
        &self,
        _: Request<crate::pb::v1::GenerateImageRequest>,
    ) -> Result<Response<Self::GenerateImageStream>, Status> {
        self.snapshots(|generation| crate::pb::v1::GenerateImageResponse {
            generation: Some(generation),
            replayed: false,
        })
    }

    async fn generate_speech(
        &self,
        _: Request<crate::pb::v1::GenerateSpeechRequest>,
    ) -> Result<Response<Self::GenerateSpeechStream>, Status> {
        self.snapshots(|generation| crate::pb::v1::GenerateSpeechResponse {
            generation: Some(generation),
            replayed: false,
        })
    }

    async fn generate_music(
        &self,
        _: Request<crate::pb::v1::GenerateMusicRequest>,
    ) -> Result<Response<Self::GenerateMusicStream>, Status> {
        self.snapshots(|generation| crate::pb::v1::GenerateMusicResponse {
            generation: Some(generation),
            replayed: false,
        })
    }

    async fn estimate_cost(
        &self,
        _: Request<crate::pb::v1::EstimateCostRequest>,
    ) -> Result<Response<crate::pb::v1::EstimateCostResponse>, Status> {
        Ok(Response::new(crate::pb::v1::EstimateCostResponse::default()))
    }

    async fn generate_video(
        &self,
        request: Request<GenerateVideoRequest>,
    ) -> Result<Response<Self::GenerateVideoStream>, Status> {
        self.note(&request, Asked::Order(Box::new(request.get_ref().clone())));
        self.snapshots(|generation| GenerateVideoResponse { generation: Some(generation), replayed: false })
    }

    async fn watch_generation(
        &self,
        request: Request<WatchGenerationRequest>,
    ) -> Result<Response<Self::WatchGenerationStream>, Status> {
        let WatchGenerationRequest { name, after_sequence } = request.get_ref().clone();
        self.note(&request, Asked::Watch { name, after_sequence });
        self.snapshots(|generation| WatchGenerationResponse { generation: Some(generation) })
    }

    async fn get_generation(
        &self,
        request: Request<GetGenerationRequest>,
    ) -> Result<Response<GetGenerationResponse>, Status> {
        let name = request.get_ref().name.clone();
        self.note(&request, Asked::Get(name.clone()));
        Ok(Response::new(GetGenerationResponse { generation: self.find(&name)?, callback: callback() }))
    }

    async fn list_generations(
        &self,
        request: Request<ListGenerationsRequest>,
    ) -> Result<Response<ListGenerationsResponse>, Status> {
        self.note(&request, Asked::List(request.get_ref().clone()));
        let generations = self.0.lock().unwrap().generations.values().cloned().collect();
        Ok(Response::new(ListGenerationsResponse { generations, next_page_token: String::new() }))
    }

    async fn cancel_generation(
        &self,
        request: Request<CancelGenerationRequest>,
    ) -> Result<Response<CancelGenerationResponse>, Status> {
        let name = request.get_ref().name.clone();
        self.note(&request, Asked::Cancel(name.clone()));
        Ok(Response::new(CancelGenerationResponse { generation: self.find(&name)? }))
    }

    async fn resolve_generation(
        &self,
        request: Request<ResolveGenerationRequest>,
    ) -> Result<Response<ResolveGenerationResponse>, Status> {
        let name = request.get_ref().name.clone();
        self.note(&request, Asked::Resolve(name.clone(), request.get_ref().resolution()));
        Ok(Response::new(ResolveGenerationResponse { generation: self.find(&name)? }))
    }

    async fn delete_generation(
        &self,
        request: Request<DeleteGenerationRequest>,
    ) -> Result<Response<DeleteGenerationResponse>, Status> {
        let name = request.get_ref().name.clone();
        self.note(&request, Asked::Delete(name.clone()));
        self.find(&name)?;
        Ok(Response::new(DeleteGenerationResponse {}))
    }

    async fn redeliver_callback(
        &self,
        request: Request<RedeliverCallbackRequest>,
    ) -> Result<Response<RedeliverCallbackResponse>, Status> {
        let name = request.get_ref().name.clone();
        self.note(&request, Asked::Redeliver(name.clone()));
        self.find(&name)?;
        Ok(Response::new(RedeliverCallbackResponse { callback: callback() }))
    }

    async fn list_generation_events(
        &self,
        request: Request<ListGenerationEventsRequest>,
    ) -> Result<Response<ListGenerationEventsResponse>, Status> {
        self.find(&request.get_ref().name)?;
        // Two pages, to prove that they are joined.
        let (number, next_page_token) =
            if request.get_ref().page_token.is_empty() { (1, "2".to_owned()) } else { (2, String::new()) };
        let event = GenerationEvent { number, r#type: "accepted".to_owned(), ..GenerationEvent::default() };
        Ok(Response::new(ListGenerationEventsResponse { events: vec![event], next_page_token }))
    }
}

#[tonic::async_trait]
impl ArtifactService for Service {
    type DownloadArtifactStream = Out<DownloadArtifactResponse>;

    async fn get_artifact(
        &self,
        request: Request<GetArtifactRequest>,
    ) -> Result<Response<GetArtifactResponse>, Status> {
        let name = &request.get_ref().name;
        let script = self.0.lock().unwrap();
        let data = script.artifacts.get(name).ok_or_else(|| Status::not_found("no such artifact"))?;
        Ok(Response::new(GetArtifactResponse { artifact: Some(artifact(name, data)) }))
    }

    async fn list_artifacts(
        &self,
        _: Request<ListArtifactsRequest>,
    ) -> Result<Response<ListArtifactsResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn download_artifact(
        &self,
        request: Request<DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let DownloadArtifactRequest { name, read_offset, .. } = request.get_ref().clone();
        self.note(&request, Asked::Download { offset: read_offset });
        let mut script = self.0.lock().unwrap();
        let data = script.artifacts.get(&name).cloned().ok_or_else(|| Status::not_found("no such artifact"))?;
        let offset = usize::try_from(read_offset).unwrap();
        if offset > data.len() {
            return Err(Status::invalid_argument("read_offset: past the end"));
        }
        let end = script.breaks.pop_front();
        let sent = &data[offset..end.unwrap_or(data.len()).max(offset)];
        let message = |part| Ok(DownloadArtifactResponse { part: Some(part) });
        let mut messages = vec![message(download_artifact_response::Part::Artifact(artifact(&name, &data)))];
        for (index, chunk) in sent.chunks(4).enumerate() {
            let offset = read_offset + i64::try_from(index * 4).unwrap();
            let chunk = Chunk { offset, data: Bytes::copy_from_slice(chunk) };
            messages.push(message(download_artifact_response::Part::Chunk(chunk)));
        }
        if end.is_some() {
            messages.push(Err(Status::unavailable("broken on the way")));
        }
        Ok(Response::new(stream::iter(messages).boxed()))
    }

    async fn create_artifact_link(
        &self,
        request: Request<CreateArtifactLinkRequest>,
    ) -> Result<Response<CreateArtifactLinkResponse>, Status> {
        let CreateArtifactLinkRequest { name, ttl, file_name } = request.into_inner();
        let seconds = ttl.map(|ttl| ttl.seconds).unwrap_or_default();
        let url = format!("http://films/{name}?ttl={seconds}&file_name={file_name}");
        Ok(Response::new(CreateArtifactLinkResponse { url, expire_time: None }))
    }

    async fn upload_artifact(
        &self,
        request: Request<Streaming<UploadArtifactRequest>>,
    ) -> Result<Response<UploadArtifactResponse>, Status> {
        let mut messages = request.into_inner();
        let (mut header, mut data) = (UploadHeader::default(), Vec::new());
        while let Some(message) = messages.message().await? {
            match message.part {
                Some(upload_artifact_request::Part::Header(first)) => header = first,
                Some(upload_artifact_request::Part::Data(bytes)) => data.extend_from_slice(&bytes),
                None => return Err(Status::invalid_argument("an empty message")),
            }
        }
        let artifact = artifact("artifacts/u1", &data);
        self.0.lock().unwrap().asked.push(Asked::Upload { header, data });
        Ok(Response::new(UploadArtifactResponse { artifact: Some(artifact) }))
    }

    async fn delete_artifact(
        &self,
        _: Request<DeleteArtifactRequest>,
    ) -> Result<Response<DeleteArtifactResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }
}
