//! Which door a call comes through. The one place that knows doors by content type and path; metrics and error forms follow from it.

use std::{collections::HashMap, sync::LazyLock};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Request, StatusCode, header::CONTENT_TYPE};
use prost::Message;
use prost_types::FileDescriptorSet;
use serde_json::json;
use tracing::error;

use crate::pb::DESCRIPTOR_SET;

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// gRPC itself.
    Grpc,
    /// gRPC as browsers can speak it.
    GrpcWeb,
    /// The contract as HTTP and JSON.
    Json,
    /// OpenAI's paths.
    OpenAi,
    /// Bytes of artifacts.
    Files,
    /// Calls of providers.
    Webhooks,
    /// Life, readiness, metrics.
    Probes,
    /// Paths of nobody.
    Unknown,
}

/// Beginnings of paths, whole segments, and whose they are.
const PATHS: [(&str, Door); 9] = [
    ("/api/v1", Door::Json),
    ("/openapi.json", Door::Json),
    ("/v1", Door::OpenAi),
    ("/artifacts", Door::Files),
    ("/webhooks", Door::Webhooks),
    ("/livez", Door::Probes),
    ("/readyz", Door::Probes),
    ("/metrics", Door::Probes),
    ("/docs", Door::Json),
];

impl Door {
    /// Of a call, as it was noted when it came in.
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        request.extensions().get().copied().unwrap_or_else(|| Self::judge(request))
    }

    /// By the content type, then by the path.
    fn judge<B>(request: &Request<B>) -> Self {
        match essence(request.headers()).as_deref() {
            Some(kind) if kind.starts_with("application/grpc-web") => Self::GrpcWeb,
            Some(kind) if kind.starts_with("application/grpc") => Self::Grpc,
            Some(_) | None => Self::of_path(request.uri().path()),
        }
    }

    fn of_path(path: &str) -> Self {
        let is_below =
            |start: &str| path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        PATHS.iter().find(|(start, _)| is_below(start)).map_or(Self::Unknown, |(_, door)| *door)
    }

    /// As it is called in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::GrpcWeb => "grpc-web",
            Self::Json => "json",
            Self::OpenAi => "openai",
            Self::Files => "files",
            Self::Webhooks => "webhooks",
            Self::Probes => "probes",
            Self::Unknown => "unknown",
        }
    }

    /// Whether its answers are gRPC's: a status of its own in trailers.
    pub(super) fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb)
    }

    /// A refusal by what is common to all doors, in the form of this one's errors.
    pub(super) fn refuse(self, status: StatusCode, code: &str, message: &str) -> Response {
        let error = match self {
            Self::OpenAi => {
                let kind = if status.is_client_error() { "invalid_request_error" } else { "server_error" };
                json!({ "message": message, "type": kind, "param": null, "code": code.to_ascii_lowercase() })
            }
            Self::Grpc | Self::GrpcWeb | Self::Json | Self::Files | Self::Webhooks | Self::Probes | Self::Unknown => {
                json!({ "code": code, "message": message, "details": {} })
            }
        };
        (status, Json(json!({ "error": error }))).into_response()
    }
}

/// The content type in lower case, without parameters.
pub(super) fn essence(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next()?.trim().to_ascii_lowercase())
}

/// An RPC that is served.
#[derive(Debug)]
pub(super) struct Rpc {
    /// `package.Service/Method`.
    pub(super) name: std::sync::Arc<str>,
    /// Whether callers send any number of messages, at their own pace.
    pub(super) client_streaming: bool,
}

/// The RPC of a path; none if no service has it.
pub(super) fn rpc(path: &str) -> Option<&'static Rpc> {
    static RPCS: LazyLock<HashMap<String, Rpc>> = LazyLock::new(|| {
        let sets = [
            DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        sets.into_iter().flat_map(rpcs_of).map(|rpc| (rpc.name.to_string(), rpc)).collect()
    });
    RPCS.get(path.strip_prefix('/')?)
}

fn rpcs_of(set: &'static [u8]) -> Vec<Rpc> {
    let files = FileDescriptorSet::decode(set).unwrap_or_else(|cause| {
        error!(%cause, "a descriptor of the build cannot be read; its calls are counted without their names");
        FileDescriptorSet::default()
    });
    let mut rpcs = Vec::new();
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                let name = format!("{}.{}/{}", file.package(), service.name(), method.name()).into();
                rpcs.push(Rpc { name, client_streaming: method.client_streaming() });
            }
        }
    }
    rpcs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content_type: Option<&str>, path: &str) -> Door {
        let request = Request::post(path);
        let request = content_type.into_iter().fold(request, |request, kind| request.header(CONTENT_TYPE, kind));
        Door::of(&request.body(()).unwrap())
    }

    #[test]
    fn the_content_type_decides_then_the_path() {
        for (content_type, path, door) in [
            (Some("application/grpc"), "/livez", Door::Grpc),
            (Some("Application/gRPC+proto"), "/a.B/C", Door::Grpc),
            (Some(" application/grpc-web-text; charset=x"), "/a.B/C", Door::GrpcWeb),
            (Some("application/grp"), "/a.B/C", Door::Unknown),
            (Some("application/json"), "/api/v1/generations", Door::Json),
            (None, "/api/v1", Door::Json),
            (None, "/api/v10", Door::Unknown),
            (None, "/v1/videos/x/content", Door::OpenAi),
            (None, "/artifacts/x", Door::Files),
            (None, "/", Door::Unknown),
        ] {
            assert_eq!(of(content_type, path), door, "{content_type:?} {path}");
        }
    }

    #[test]
    fn every_rpc_that_is_served_is_known_by_its_path() {
        let upload = rpc("/filmgate.v1.ArtifactService/UploadArtifact").unwrap();
        assert_eq!((&*upload.name, upload.client_streaming), ("filmgate.v1.ArtifactService/UploadArtifact", true));
        assert!(!rpc("/filmgate.v1.ArtifactService/GetArtifact").unwrap().client_streaming);
        for path in ["/grpc.health.v1.Health/Watch", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"] {
            assert!(rpc(path).is_some(), "{path}");
        }
        assert!(rpc("/filmgate.v1.ArtifactService/Nothing").is_none() && rpc("").is_none());
    }
}
