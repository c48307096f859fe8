//! midjourney-proxy in both its lineages: the .NET one below `/midjourney/mj`, the Java one below `/midjourney/java/mj`.
//!
//! Differences from the proxies: there is one account, three tasks of it run and ten wait, any secret but `wrong` does, `admin` is the
//! administrator's, and a hook is told of the end only.

mod submit;
mod task;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Extension, Json, Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::{
    World,
    desk::{Desk, Dialect, Refusal},
    settings::Scenario,
    vendor::{Ledger, Vendor},
};

static DIALECT: Dialect = Dialect {
    name: "midjourney",
    id: "/result",
    status: "/status",
    items: "",
    optional: &["buttons", "imageUrls", "videoUrl", "jobId", "seed"],
    refuse,
};

/// The id of the first task.
const FIRST_ID: u64 = 1_788_500_000_000_100;

/// Which of the two proxies it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Lineage {
    /// Of trueai-org: buttons, actions, films.
    #[default]
    DotNet,
    /// Of novicezk: changes by name.
    Java,
}

/// One proxy.
#[derive(Debug)]
pub(crate) struct Midjourney {
    desk: Arc<Desk<Asked>>,
    n_tasks: AtomicU64,
}

/// What is remembered of a task.
#[derive(Debug, Clone, Default)]
struct Asked {
    lineage: Lineage,
    /// Its kind, for example `IMAGINE`.
    action: &'static str,
    state: Option<String>,
    hook: Option<String>,
    parent: Option<String>,
}

pub(super) fn open(world: &Arc<World>, _: &Scenario) -> io::Result<Arc<dyn Vendor>> {
    Ok(Arc::new(Midjourney { desk: Desk::new(world, &DIALECT), n_tasks: AtomicU64::new(FIRST_ID) }))
}

impl Vendor for Midjourney {
    fn router(self: Arc<Self>) -> Router {
        let delivery = self.desk.delivery();
        let common = || {
            Router::new()
                .route("/submit/imagine", post(submit::imagine))
                .route("/submit/blend", post(submit::blend))
                .route("/task/{id}/fetch", get(task::fetch))
                .route("/task/list", get(task::list))
                .route("/task/list-by-condition", post(task::list_by_condition))
        };
        let dot_net = common()
            .route("/submit/action", post(submit::action))
            .route("/submit/video", post(submit::video))
            .route("/task/{id}/cancel", post(task::cancel))
            .layer(middleware::from_fn(authenticate))
            .layer(Extension(Lineage::DotNet));
        let java = common()
            .route("/submit/change", post(submit::change))
            .layer(middleware::from_fn(authenticate))
            .layer(Extension(Lineage::Java));
        let router = Router::new().nest("/midjourney/mj", dot_net).nest("/midjourney/java/mj", java);
        router.with_state(self).merge(delivery)
    }

    fn desk(&self) -> &dyn Ledger {
        &*self.desk
    }
}

impl Midjourney {
    fn new_id(&self) -> String {
        self.n_tasks.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

/// The secret of a call, if it has one.
fn secret(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text(header::AUTHORIZATION.as_str()).or_else(|| text("mj-api-secret"))
}

async fn authenticate(request: Request, next: Next) -> Response {
    match secret(request.headers()) {
        Some("wrong") => StatusCode::UNAUTHORIZED.into_response(),
        Some(_) | None => next.run(request).await,
    }
}

/// The answer to a submit.
#[expect(clippy::needless_pass_by_value, reason = "made for it where it is called")]
fn envelope(code: i64, description: &str, result: Value, properties: Value) -> Value {
    json!({ "code": code, "description": description, "result": result, "properties": properties })
}

/// A refusal that a fault wants; an unknown task is no error but nothing.
fn refuse(refusal: &Refusal) -> Response {
    match refusal.status {
        StatusCode::NOT_FOUND => StatusCode::NO_CONTENT.into_response(),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (refusal.status, refusal.text.clone()).into_response(),
        status => {
            let body = json!({ "success": false, "code": -1, "message": refusal.text, "timestamp": "2026-11-20" });
            (status, Json(body)).into_response()
        }
    }
}
