//! Tasks as the proxies show them.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{Asked, Lineage, Midjourney, secret};
use crate::simulator::{
    desk::{Instead, Job, Origin, Outcome, Received, Stage},
    fault::{Operation, Subject},
};

/// Tasks that the .NET proxy lists.
const LISTED: usize = 100;

/// Whether a task makes four pictures in one.
pub(super) fn is_grid(job: &Job<Asked>) -> bool {
    matches!(job.data.action, "IMAGINE" | "VARIATION" | "REROLL" | "BLEND")
}

/// The whole task.
pub(super) fn page(job: &Job<Asked>, origin: &str) -> Value {
    let submitted = job.created_at.as_millisecond();
    let (status, progress, fail_reason, ended) = match job.stage() {
        Stage::Starting => ("SUBMITTED", json!("0%"), None, None),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1")]
        Stage::Processing { done } => ("IN_PROGRESS", json!(format!("{}%", (done * 100.0) as u8)), None, None),
        Stage::Ended(end) => {
            let at = Some(job.at(end.at).as_millisecond());
            match end.outcome {
                Outcome::Succeeded => ("SUCCESS", json!("100%"), None, at),
                Outcome::Failed(text) => ("FAILURE", json!(""), Some(text), at),
                Outcome::Canceled => ("FAILURE", json!(""), Some("用户取消任务".to_owned()), at),
                Outcome::Aborted => ("FAILURE", json!(""), Some("任务超时".to_owned()), at),
            }
        }
    };
    let started = (status != "SUBMITTED").then_some(submitted);
    let links = if status == "SUCCESS" { job.links(origin) } else { Vec::new() };
    let mut page = json!({
        "id": job.id, "action": job.data.action, "status": status, "progress": progress,
        "prompt": job.prompt, "promptEn": job.prompt, "description": format!("/imagine {}", job.prompt),
        "state": job.data.state, "submitTime": submitted, "startTime": started, "finishTime": ended,
        "imageUrl": links.first(), "failReason": fail_reason,
        "properties": { "finalPrompt": job.prompt, "notifyHook": job.data.hook, "flags": 0 },
    });
    if job.data.lineage == Lineage::DotNet {
        page["parentId"] = json!(job.data.parent);
        page["botType"] = json!("MID_JOURNEY");
        if status == "SUCCESS" && is_grid(job) {
            page["buttons"] = buttons(&job.id);
        }
        if job.data.action.starts_with("VIDEO") {
            let urls: Vec<Value> = links.iter().map(|link| json!({ "url": link, "thumbnail": null })).collect();
            page["videoUrl"] = json!(links.first());
            page["videoUrls"] = json!(urls);
            page["imageUrls"] = json!(urls);
        }
    }
    page
}

fn buttons(id: &str) -> Value {
    let numbered = |word: &'static str, letter: &'static str| {
        (1..=4).map(move |n| json!({ "customId": format!("MJ::JOB::{word}::{n}::{id}"), "label": format!("{letter}{n}"), "emoji": "", "style": 2, "type": 2 }))
    };
    let again = json!({ "customId": format!("MJ::JOB::reroll::0::{id}::SOLO"), "label": "", "emoji": "🔄", "style": 2, "type": 2 });
    numbered("upsample", "U").chain([again]).chain(numbered("variation", "V")).collect()
}

/// `GET /task/{id}/fetch`: nothing for a task that is not known.
pub(super) async fn fetch(
    State(proxy): State<Arc<Midjourney>>,
    Extension(lineage): Extension<Lineage>,
    Path(id): Path<String>,
    Origin(origin): Origin,
) -> Result<Response, Instead> {
    if lineage == Lineage::Java && proxy.desk.book.get(&id).is_none() {
        return Ok(StatusCode::OK.into_response());
    }
    let (call, job) = proxy.desk.call_about(Operation::Get, &id).await?;
    if job.is_removed() {
        return Err(call.unknown());
    }
    Ok(call.answer(StatusCode::OK, page(&job, &origin)).await)
}

/// `GET /task/list`: newest first, of one proxy all and of the other the newest hundred.
pub(super) async fn list(
    State(proxy): State<Arc<Midjourney>>,
    Extension(lineage): Extension<Lineage>,
    Origin(origin): Origin,
) -> Result<Response, Instead> {
    let call = proxy.desk.call(Operation::List, Subject::default()).await?;
    let most = if lineage == Lineage::DotNet { LISTED } else { usize::MAX };
    let jobs = proxy.desk.book.all();
    let pages: Vec<Value> = jobs.iter().rev().take(most).map(|job| page(job, &origin)).collect();
    Ok(call.answer(StatusCode::OK, json!(pages)).await)
}

/// `POST /task/list-by-condition` with `ids`.
pub(super) async fn list_by_condition(
    State(proxy): State<Arc<Midjourney>>,
    Origin(origin): Origin,
    received: Received,
) -> Result<Response, Instead> {
    let call = proxy.desk.call(Operation::List, Subject::default()).await?;
    let ids = received.body["ids"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let pages: Vec<Value> = ids.filter_map(|id| proxy.desk.book.get(id)).map(|job| page(&job, &origin)).collect();
    Ok(call.answer(StatusCode::OK, json!(pages)).await)
}

/// `POST /task/{id}/cancel`: for the administrator only, to whom everything is fine.
pub(super) async fn cancel(
    State(proxy): State<Arc<Midjourney>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Instead> {
    let (call, job) = proxy.desk.call_about(Operation::Cancel, &id).await?;
    if secret(&headers) != Some("admin") {
        return Ok((StatusCode::BAD_REQUEST, "演示模式，禁止操作").into_response());
    }
    job.cancel();
    Ok(call.answer_whole(StatusCode::OK.into_response()).await)
}
