//! Every call of the contract as HTTP and JSON, transcoded in this process from the options `google.api.http` of the proto.
//!
//! Nothing here knows a call by its name: a request becomes a message by its descriptor, goes to the same gRPC services as any other, and the
//! answer becomes JSON by its descriptor. So a field or a call that is added to the proto is served without new code, and every check holds.

mod codec;
mod comments;
mod error;
mod metadata;
mod openapi;
mod query;
mod raw;
mod request;
mod routes;
mod stream;
mod template;

use std::sync::Arc;

use axum::{
    Router,
    body::Body as HttpBody,
    extract::Request,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
    request::Parts,
};
use percent_encoding::percent_decode_str;
use prost_reflect::DynamicMessage;
use tonic::{Status, client::Grpc};

use self::{
    codec::{Dynamic, Sent},
    error::Refused,
    routes::{Answer, Body, Found, Route, routes},
};
use super::measure::Template;

/// The calls of `grpc` by their paths, `/openapi.json`, and a refusal for every other path.
pub(super) fn router(grpc: Router) -> Router {
    Router::new()
        .route("/openapi.json", get(openapi::serve).fallback(async || Refused::method(&[Method::GET])))
        // A HEAD is answered as GET would be. The router keeps the length that is told, and drops the body, which ends a stream.
        .fallback(async move |request: Request| answer(grpc, request).await.unwrap_or_else(Refused::into_response))
}

/// Says that nothing is there, for other doors.
pub(super) fn no_such_path() -> Response {
    Refused::path().into_response()
}

async fn answer(grpc: Router, request: Request) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let routes = routes().map_err(Refused::defect)?;
    let found = path(parts.uri.path()).map_or(Found::Nothing, |path| routes.find(&parts.method, &path));
    let (route, variables) = match found {
        Found::Route(route, variables) => (route, variables),
        Found::OtherMethods(methods) if parts.method == Method::OPTIONS => return Ok(options(&methods)),
        Found::OtherMethods(methods) => {
            request::discard_all(&parts.headers, body).await;
            return Err(Refused::method(&methods));
        }
        Found::Nothing => {
            request::discard_all(&parts.headers, body).await;
            return Err(Refused::path());
        }
    };
    let made = make(grpc, route, &variables, parts, body).await;
    let mut answer = made.unwrap_or_else(Refused::into_response);
    answer.extensions_mut().insert(Template(Arc::clone(&route.name)));
    Ok(answer)
}

/// Makes the call that a route leads to.
async fn make(
    grpc: Router,
    route: &'static Route,
    variables: &[(&str, String)],
    parts: Parts,
    body: HttpBody,
) -> Result<Response, Refused> {
    let call = Call { grpc, route, headers: metadata::of(&parts.headers), extensions: parts.extensions.clone() };
    if let Body::Bytes(field) = &route.body {
        let first = request::message(route, variables, &parts, HttpBody::empty()).await?;
        return raw::upload(call, first, field, &parts.headers, body).await;
    }
    let message = request::message(route, variables, &parts, body).await?;
    let answer = match &route.answer {
        Answer::Message => call.unary(message).await,
        Answer::Stream(sequence) => stream::serve(call, message, sequence.as_ref(), &parts.headers).await,
        Answer::Bytes { part, bytes } => raw::download(call, message, part, bytes).await,
    };
    answer.map_err(|refused| {
        variables.iter().fold(refused, |refused, (field, _)| refused.in_path(field, route.collection()))
    })
}

/// The decoded parts of a path. What is not UTF-8 names nothing that is here.
fn path(path: &str) -> Option<Vec<String>> {
    let parts = path.strip_prefix('/').unwrap_or(path).split('/');
    parts.map(|part| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned())).collect()
}

fn options(methods: &[Method]) -> Response {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&error::allow(methods)) {
        headers.insert(ALLOW, value);
    }
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// A call on its way to its service.
struct Call {
    grpc: Router,
    route: &'static Route,
    headers: tonic::metadata::MetadataMap,
    extensions: http::Extensions,
}

impl Call {
    fn client(&self) -> Grpc<Router> {
        // Answers are our own; only requests have a limit, which the services keep.
        Grpc::new(self.grpc.clone()).max_decoding_message_size(usize::MAX)
    }

    fn codec(&self) -> Dynamic {
        Dynamic { output: self.route.rpc.output() }
    }

    fn request<T>(&mut self, message: T) -> tonic::Request<T> {
        let (headers, extensions) = (std::mem::take(&mut self.headers), std::mem::take(&mut self.extensions));
        tonic::Request::from_parts(headers, extensions, message)
    }

    async fn unary(mut self, message: DynamicMessage) -> Result<Response, Refused> {
        let mut client = self.client();
        ready(&mut client).await?;
        let request = self.request(Sent::Ok(message));
        let answer = client.unary(request, self.route.path.clone(), self.codec()).await?;
        json(&answer)
    }

    async fn messages(
        mut self,
        message: DynamicMessage,
    ) -> Result<tonic::Response<tonic::Streaming<DynamicMessage>>, Status> {
        let mut client = self.client();
        ready(&mut client).await?;
        let request = self.request(Sent::Ok(message));
        client.server_streaming(request, self.route.path.clone(), self.codec()).await
    }
}

async fn ready(client: &mut Grpc<Router>) -> Result<(), Status> {
    client.ready().await.map_err(|never| match never {})
}

/// One message as the answer.
fn json(answer: &tonic::Response<DynamicMessage>) -> Result<Response, Refused> {
    let text = serde_json::to_vec(answer.get_ref()).map_err(|error| Refused::defect(&error.to_string()))?;
    let mut headers = metadata::to_headers(answer.metadata());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok((headers, text).into_response())
}
