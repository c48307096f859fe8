//! Films: making, reading, listing and deleting tasks.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Ark, Task,
    order::{self, Film, invalid},
    page, problem,
};
use crate::simulator::{
    desk::{Draft, Instead, Job, Letter, Origin, Received},
    fault::{Operation, Subject},
    output::{Media, Native},
};

/// Tasks on a page of the list that asks for no number.
const PAGE_SIZE: usize = 10;
/// Further tries of a callback.
const RETRIES: u32 = 3;

/// `POST /contents/generations/tasks`
pub(super) async fn create(
    State(ark): State<Arc<Ark>>,
    Origin(origin): Origin,
    received: Received,
) -> Result<Response, Instead> {
    let prompt = order::prompt(&received.body).to_owned();
    let model = received.text("/model").to_owned();
    let subject = Subject { prompt: &prompt, model: &model, ..Subject::default() };
    let call = ark.desk.call(Operation::Create, subject).await?;
    if let Some(why) = &received.unreadable {
        return Err(call.refuse(StatusCode::BAD_REQUEST, why.as_str()));
    }
    order::model(&received.body, &["seedance"])?;
    let film = Film::read(&received.body, &model)?;
    let (identifier, callback) = (film.safety_identifier.clone(), film.callback_url.clone());
    let job = ark.desk.make(
        &call,
        Draft {
            id: format!("cgt-20261120{}-{}", &ark.desk.world.new_id()[..6], &ark.desk.world.new_id()[..5]),
            model,
            prompt,
            received,
            media: Media::Mp4,
            n_files: 1,
            native: Native::One,
            deadline: None,
            data: Task { order: film, ..Task::default() },
        },
    );
    if let Some(url) = callback {
        ark.desk.tell_at_end(&job, move |job| Letter {
            url,
            body: page::of(job, &origin).to_string().into(),
            retries: RETRIES,
            sign: Arc::new(|_, _| Vec::new()),
        });
    }
    let mut made = json!({ "id": job.id });
    if let Some(identifier) = identifier {
        made["safety_identifier"] = json!(identifier);
    }
    Ok(call.answer(StatusCode::OK, made).await)
}

/// `GET /contents/generations/tasks/{id}`
pub(super) async fn get(
    State(ark): State<Arc<Ark>>,
    Path(id): Path<String>,
    Origin(origin): Origin,
) -> Result<Response, Instead> {
    let (call, job) = ark.desk.call_about(Operation::Get, &id).await?;
    if is_gone(&job) {
        return Err(call.unknown());
    }
    Ok(call.answer(StatusCode::OK, page::of(&job, &origin)).await)
}

/// `DELETE /contents/generations/tasks/{id}`: stops a task that waits, and deletes the record of one that is over.
pub(super) async fn delete(State(ark): State<Arc<Ark>>, Path(id): Path<String>) -> Result<Response, Instead> {
    let (call, job) = ark.desk.call_about(Operation::Cancel, &id).await?;
    if is_gone(&job) {
        return Err(call.unknown());
    }
    match page::word(&job) {
        "queued" => job.cancel(),
        word @ ("running" | "cancelled") => {
            let message = format!("A task that is {word} cannot be deleted.");
            return Err(problem(StatusCode::FORBIDDEN, "OperationDenied.UnsupportedPhase", &message, "").into());
        }
        _ => job.data.deleted.store(true, Ordering::Relaxed),
    }
    Ok(call.answer(StatusCode::OK, json!({})).await)
}

/// `GET /contents/generations/tasks`: newest first, by pages.
pub(super) async fn list(
    State(ark): State<Arc<Ark>>,
    RawQuery(query): RawQuery,
    Origin(origin): Origin,
) -> Result<Response, Instead> {
    let call = ark.desk.call(Operation::List, Subject::default()).await?;
    let query = query.unwrap_or_default();
    let filters: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let given = |name: &str| filters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let number = |name: &'static str, usual: usize| match given(name).map(str::parse::<usize>) {
        None => Ok(usual),
        Some(Ok(number @ 1..=500)) => Ok(number),
        Some(Ok(_) | Err(_)) => Err(invalid(name, "must be from 1 to 500")),
    };
    let (page_num, page_size) = (number("page_num", 1)?, number("page_size", PAGE_SIZE)?);
    let ids: BTreeSet<&str> =
        filters.iter().filter(|(key, _)| key == "filter.task_ids").map(|(_, id)| id.as_str()).collect();
    let is_asked = |job: &Arc<Job<Task>>| {
        // Pictures are no tasks.
        job.id.starts_with("cgt-")
            && !is_gone(job)
            && (ids.is_empty() || ids.contains(job.id.as_str()))
            && given("filter.status").is_none_or(|status| page::word(job) == status)
            && given("filter.model").is_none_or(|model| job.model == model)
            && given("filter.service_tier").is_none_or(|tier| job.data.order.service_tier == tier)
    };
    let asked: Vec<_> = ark.desk.book.all().into_iter().rev().filter(is_asked).collect();
    let shown = asked.iter().skip((page_num - 1) * page_size).take(page_size);
    let items: Vec<Value> = shown.map(|job| page::of(job, &origin)).collect();
    Ok(call.answer(StatusCode::OK, json!({ "total": asked.len(), "items": items })).await)
}

fn is_gone(job: &Job<Task>) -> bool {
    job.data.deleted.load(Ordering::Relaxed) || job.is_removed()
}
