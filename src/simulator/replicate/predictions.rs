//! Reading, listing and cancelling predictions.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    extract::{Path, Query as UrlQuery, State},
    response::Response,
};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{
    Origin,
    book::{Cursor, Query},
    prediction::Prediction,
    problem, reply,
};
use crate::simulator::{
    World,
    fault::{Operation, Subject},
};

/// `GET /predictions/{id}`
pub(super) async fn get(State(world): State<Arc<World>>, Path(id): Path<String>, origin: Origin) -> Response {
    world.replicate.counts.gets.fetch_add(1, Ordering::Relaxed);
    let prediction = world.replicate.book.get(&id);
    let nth = prediction.as_ref().map_or(0, |found| found.tally.gets.fetch_add(1, Ordering::Relaxed) + 1);
    let faults = world.judge(Operation::Get, subject(prediction.as_deref(), nth));
    if let Some(instead) = reply::before(&world, &faults).await {
        return instead;
    }
    match prediction {
        Some(prediction) => reply::after(&world, &faults, StatusCode::OK, prediction.page(&origin.0)).await,
        None => problem::not_found(),
    }
}

/// `POST /predictions/{id}/cancel`: 200 and the object, also when it had ended already.
pub(super) async fn cancel(State(world): State<Arc<World>>, Path(id): Path<String>, origin: Origin) -> Response {
    world.replicate.counts.cancels.fetch_add(1, Ordering::Relaxed);
    let prediction = world.replicate.book.get(&id);
    let nth = prediction.as_ref().map_or(0, |found| found.tally.cancels.fetch_add(1, Ordering::Relaxed) + 1);
    let faults = world.judge(Operation::Cancel, subject(prediction.as_deref(), nth));
    if let Some(instead) = reply::before(&world, &faults).await {
        return instead;
    }
    let Some(prediction) = prediction else { return problem::not_found() };
    prediction.cancel();
    reply::after(&world, &faults, StatusCode::OK, prediction.page(&origin.0)).await
}

/// The query of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    created_after: Option<String>,
    created_before: Option<String>,
    cursor: Option<String>,
    source: Option<String>,
}

/// `GET /predictions`: newest first.
pub(super) async fn list(
    State(world): State<Arc<World>>,
    UrlQuery(listing): UrlQuery<Listing>,
    origin: Origin,
) -> Response {
    world.replicate.counts.lists.fetch_add(1, Ordering::Relaxed);
    let faults = world.judge(Operation::List, Subject::default());
    if let Some(instead) = reply::before(&world, &faults).await {
        return instead;
    }
    let query = match listing.query(world.settings().page_size) {
        Ok(query) => query,
        Err(detail) => return problem::unreadable(detail),
    };
    let page = match listing.source.as_deref() {
        // Every prediction here came by the API.
        Some("web") => json!({ "previous": null, "next": null, "results": [] }),
        Some(_) | None => {
            let page = world.replicate.book.page(query);
            let results: Vec<_> = page.predictions.iter().map(|prediction| prediction.page(&origin.0)).collect();
            json!({
                "previous": page.previous.map(|cursor| listing.link(&origin.0, cursor)),
                "next": page.next.map(|cursor| listing.link(&origin.0, cursor)),
                "results": results,
            })
        }
    };
    reply::after(&world, &faults, StatusCode::OK, page).await
}

impl Listing {
    fn query(&self, page_size: usize) -> Result<Query, &'static str> {
        let time = |text: &Option<String>| text.as_deref().map(str::parse::<Timestamp>).transpose();
        Ok(Query {
            after: time(&self.created_after).map_err(|_| "created_after is not an RFC 3339 time")?,
            before: time(&self.created_before).map_err(|_| "created_before is not an RFC 3339 time")?,
            cursor: self.cursor.as_deref().map(|text| Cursor::decode(text).ok_or("unknown cursor")).transpose()?,
            page_size,
        })
    }

    /// The whole link of another page: the filters go along.
    fn link(&self, origin: &str, cursor: Cursor) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("cursor", &cursor.encode());
        for (name, value) in [("created_after", &self.created_after), ("created_before", &self.created_before)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        format!("{origin}/replicate/v1/predictions?{}", query.finish())
    }
}

/// What a rule may see of a call about this prediction.
pub(super) fn subject(prediction: Option<&Prediction>, nth_of_job: u64) -> Subject<'_> {
    match prediction {
        Some(prediction) => Subject { prompt: prediction.prompt(), model: prediction.model_name(), nth_of_job },
        None => Subject { nth_of_job, ..Subject::default() },
    }
}
