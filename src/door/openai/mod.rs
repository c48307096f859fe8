//! The door for clients of the OpenAI SDK, below `/v1`. It makes messages of the contract and orders through the same `accept` as gRPC, so the
//! same checks hold; `problem` alone decides how a refusal is told.
//!
//! A further endpoint is a file (or folder) with a `router()` that is merged in [`router`]. Its handlers are
//! `async fn(State(door): State<Door>, request: Request) -> Result<Response, Problem>` and go four steps:
//!
//! 1. `door.caller(request.headers())?` says whose call it is;
//! 2. `Params::read(&door, &caller, request)` reads a JSON body or a form alike, and its methods take the fields out one by one: each names its
//!    parameter when it is wrong. Files are taken with [`file::references`];
//! 3. what OpenAI has no field for comes in by `extension::request`, which makes the contract's message of whatever else is there, by its
//!    descriptor, and refuses the rest as `unknown_parameter`; a message without such extensions ends with `params.none_left()?`;
//! 4. `door.order(caller, request, names)` orders, `names` being how fields of the contract are called here. Anything else that can be refused goes
//!    through `Problem::of(refusal, names)` or `?`.
//!
//! A call that answers with the outputs themselves orders with `door.make` and waits with [`wait::Made::end`]; a generation that failed while
//! its caller waited is told by [`Problem::failed`].

mod body;
mod chat;
mod edits;
mod encode;
mod events;
mod extension;
mod file;
mod form;
mod images;
mod key;
mod models;
mod names;
mod params;
mod pictures;
mod problem;
mod speech;
mod videos;
mod wait;

use std::{ops::Deref, sync::Arc};

use axum::{Router, extract::Request, routing::any};
use http::{HeaderMap, Uri};
use tokio::sync::Semaphore;
use tracing::Span;

use self::problem::Problem;
use super::{accept::Ordering, caller::Caller, links::Links, order};
use crate::{
    callback::Targets,
    chat::Chat,
    engine::{Admitted, Engine},
    telemetry,
};

/// What the handlers work with; a cheap handle, for every layer of a router clones it.
#[derive(Debug, Clone)]
struct Door(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    engine: Engine,
    chat: Chat,
    links: Links,
    targets: Arc<Targets>,
    /// Places for bodies that are long enough to matter.
    long_bodies: Arc<Semaphore>,
}

/// Everything below `/v1`; a path that is not known is refused in OpenAI's words too.
pub(super) fn router(engine: Engine, chat: Chat, links: Links, targets: Arc<Targets>) -> Router {
    let long_bodies = Arc::new(Semaphore::new(body::MOST_LONG_BODIES));
    let door = Door(Arc::new(Parts { engine, chat, links, targets, long_bodies }));
    let routes = Router::new()
        .merge(models::router())
        .merge(chat::router())
        .merge(images::router())
        .merge(speech::router())
        .merge(videos::router());
    let under = routes
        .fallback(async |request: Request| Problem::no_such_path(request.method(), request.uri()))
        .method_not_allowed_fallback(async |request: Request| Problem::wrong_method(request.method(), request.uri()))
        .with_state(door);
    // A slash alone is below no nested router.
    let bare = any(async |request: Request| Problem::no_such_path(request.method(), &Uri::from_static("/")));
    Router::new().route("/v1/", bare).nest("/v1", under)
}

impl Deref for Door {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Door {
    /// Who makes this call. What it causes belongs to the call's span, or to the caller's trace if there are no spans.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let caller = Caller::of(headers)?;
        Ok(Caller { trace: telemetry::traceparent_of(&Span::current()).or(caller.trace), ..caller })
    }

    /// Orders what a message of the contract says. `names` is how its fields are called here.
    async fn order<R: Ordering>(
        &self,
        caller: Caller,
        request: R,
        names: impl Fn(&str) -> String,
    ) -> Result<Admitted, Problem> {
        models::check(self.engine.catalog(), request.model())?;
        let repeats_are_free = request.repeats_are_free();
        let ordered = order::order(&self.engine, &self.targets, caller, request).await;
        ordered.map_err(|refusal| {
            let problem = Problem::of(refusal, names);
            if repeats_are_free { problem } else { problem.once_if_uncertain() }
        })
    }
}
