//! Reading, listing and cancelling predictions.

use std::sync::Arc;

use axum::{
    extract::{Path, Query as UrlQuery, State},
    response::Response,
};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{Replicate, problem};
use crate::simulator::{
    desk::{Cursor, Instead, Origin, Query},
    fault::{Operation, Subject},
};

/// `GET /predictions/{id}`
pub(super) async fn get(
    State(replicate): State<Arc<Replicate>>,
    Path(id): Path<String>,
    origin: Origin,
) -> Result<Response, Instead> {
    let (call, prediction) = replicate.desk.call_about(Operation::Get, &id).await?;
    Ok(call.answer(StatusCode::OK, prediction.page(&origin.0)).await)
}

/// `POST /predictions/{id}/cancel`: 200 and the object, also when it had ended already.
pub(super) async fn cancel(
    State(replicate): State<Arc<Replicate>>,
    Path(id): Path<String>,
    origin: Origin,
) -> Result<Response, Instead> {
    let (call, prediction) = replicate.desk.call_about(Operation::Cancel, &id).await?;
    prediction.cancel();
    Ok(call.answer(StatusCode::OK, prediction.page(&origin.0)).await)
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
    State(replicate): State<Arc<Replicate>>,
    UrlQuery(listing): UrlQuery<Listing>,
    origin: Origin,
) -> Result<Response, Instead> {
    let call = replicate.desk.call(Operation::List, Subject::default()).await?;
    let query = listing.query(replicate.desk.world.settings().page_size).map_err(problem::unreadable)?;
    let page = match listing.source.as_deref() {
        // Every prediction here came by the API.
        Some("web") => json!({ "previous": null, "next": null, "results": [] }),
        Some(_) | None => {
            let page = replicate.desk.book.page(query);
            let results: Vec<_> = page.jobs.iter().map(|prediction| prediction.page(&origin.0)).collect();
            json!({
                "previous": page.previous.map(|cursor| listing.link(&origin.0, cursor)),
                "next": page.next.map(|cursor| listing.link(&origin.0, cursor)),
                "results": results,
            })
        }
    };
    Ok(call.answer(StatusCode::OK, page).await)
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
