//! The gRPC services, one thin file each: convert, call the engine or the store, convert.

mod artifact;
mod budget;
mod chat;
mod generation;
mod model;
mod session;
mod snapshots;

use std::{fmt, sync::Arc};

use axum::body::Body;
use tonic::{Response, Status, codec::CompressionEncoding, service::RoutesBuilder};
use tracing::{Instrument, Span, debug, field, info_span};

use super::{caller::Caller, links::Links, refusal::Refusal, request_id::RequestId, status};
use crate::{
    callback::Targets,
    chat::Chat,
    engine::Engine,
    pb::v1::{
        artifact_service_server::ArtifactServiceServer, budget_service_server::BudgetServiceServer,
        chat_service_server::ChatServiceServer, generation_service_server::GenerationServiceServer,
        model_service_server::ModelServiceServer, session_service_server::SessionServiceServer,
    },
    telemetry,
};

/// Largest message that is read: 3 MiB of inline bytes and the rest of a request fit. Whatever is larger goes through `UploadArtifact`.
pub(super) const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// One service; which one is decided by the trait it is called through.
#[derive(Debug, Clone)]
struct Door {
    engine: Engine,
    chat: Chat,
    links: Links,
    targets: Arc<Targets>,
}

/// Adds every service of the contract.
pub(super) fn add_to(routes: &mut RoutesBuilder, engine: Engine, chat: Chat, links: Links, targets: Arc<Targets>) {
    /// Reads messages up to a size, be they packed or not.
    macro_rules! reading {
        ($server:ident, $door:expr) => {
            $server::new($door)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .accept_compressed(CompressionEncoding::Gzip)
        };
    }
    /// Packs answers as well, for callers that take it.
    macro_rules! packing {
        ($server:ident, $door:expr) => {
            reading!($server, $door).send_compressed(CompressionEncoding::Gzip)
        };
    }
    let door = Door { engine, chat, links, targets };
    routes
        .add_service(packing!(GenerationServiceServer, door.clone()))
        .add_service(packing!(SessionServiceServer, door.clone()))
        // Media is packed already: many clients would get each chunk packed again, unasked, and much slower.
        .add_service(reading!(ArtifactServiceServer, door.clone()))
        .add_service(packing!(BudgetServiceServer, door.clone()))
        // Pieces of an answer are too short to become shorter.
        .add_service(reading!(ChatServiceServer, door.clone()))
        .add_service(packing!(ModelServiceServer, door));
}

/// Refuses in the contract's form what tonic could not read: the services above never see such a message.
pub(super) async fn refuse_unreadable(answer: http::Response<Body>) -> http::Response<Body> {
    let refusal = Status::from_header_map(answer.headers()).and_then(|status| status::unreadable(&status));
    match refusal {
        Some(refusal) => Status::from(refusal).into_http(),
        None => answer,
    }
}

/// The span of one call, which belongs to the caller's trace.
fn span<T>(rpc: &'static str, request: &tonic::Request<T>) -> Span {
    let id = RequestId::current();
    let id = id.as_str();
    let outer = Span::current();
    let span = info_span!("rpc", otel.kind = "server", rpc.name = rpc, request_id = id, generation.name = field::Empty);
    // Another door that calls it is in the caller's trace already.
    if outer.is_none() {
        telemetry::join_trace(&span, request.metadata().as_ref());
    }
    span
}

/// Runs one call in its span, and turns a refusal into its status.
async fn call<T>(span: Span, work: impl Future<Output = Result<T, Refusal>>) -> Result<Response<T>, Status> {
    let told = async {
        match work.await {
            Ok(answer) => {
                debug!(code = "Ok", "answered");
                Ok(Response::new(answer))
            }
            Err(refusal) => {
                let status = Status::from(refusal);
                debug!(code = ?status.code(), "refused");
                Err(status)
            }
        }
    };
    told.instrument(span).await
}

/// Notes in the call's span which generation it is about.
fn about_generation(name: &impl fmt::Display) {
    Span::current().record("generation.name", field::display(name));
}

/// Who makes this call. What it causes belongs to the call's span, or to the caller's trace if there are no spans.
fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Refusal> {
    let caller = Caller::of(request.metadata().as_ref())?;
    Ok(Caller { trace: telemetry::traceparent_of(&Span::current()).or(caller.trace), ..caller })
}
