//! `GET /v1/videos`: a page by cursor, newest or oldest first.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use http::HeaderMap;
use serde::Serialize;
use url::form_urlencoded;

use super::object::{Video, VideoId};
use crate::{
    domain::artifact::Kind,
    door::{
        openai::{Door, problem::Problem},
        refusal::Refusal,
    },
    store::port::{Direction, GenerationFilter, Page},
};

/// Rows of a page when the caller does not say, and most.
const USUAL: usize = 20;
const MOST: usize = 100;

#[derive(Debug, Serialize)]
pub(super) struct List {
    object: &'static str,
    data: Vec<Video>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

pub(super) async fn list(
    State(door): State<Door>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<List>, Problem> {
    let caller = door.caller(&headers)?;
    let Wanted { after, limit, direction } = Wanted::read(&query.unwrap_or_default())?;
    let filter = GenerationFilter { kind: Some(Kind::Video), direction, ..GenerationFilter::default() };
    // One more than the page tells whether there is a next one.
    let page = Page { after: after.map(VideoId::generation), limit: limit + 1 };
    let views = door.engine.list(&caller.tenant, &filter, page).await.map_err(Refusal::from)?;
    let data: Vec<Video> = views.iter().take(limit).map(Video::of).collect();
    let id = |video: Option<&Video>| video.map(|video| video.id.clone());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    Ok(Json(List { object: "list", has_more: views.len() > data.len(), data, first_id, last_id }))
}

#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    after: Option<VideoId>,
    limit: usize,
    direction: Direction,
}

impl Wanted {
    fn read(query: &str) -> Result<Self, Problem> {
        let mut wanted = Self { after: None, limit: USUAL, direction: Direction::NewestFirst };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "after" => {
                    let id = value.parse().map_err(|_| Problem::wrong_value("after", "it is no id of a video"))?;
                    wanted.after = Some(id);
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| *limit <= MOST);
                    let wrong = || Problem::wrong_value("limit", format!("it must be a number from 0 to {MOST}"));
                    wanted.limit = limit.ok_or_else(wrong)?;
                }
                "order" => {
                    wanted.direction = match value.as_ref() {
                        "desc" => Direction::NewestFirst,
                        "asc" => Direction::OldestFirst,
                        _ => return Err(Problem::wrong_value("order", "supported values are: 'asc' and 'desc'")),
                    }
                }
                other => return Err(Problem::unknown(other)),
            }
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_or_refused() {
        let id = "video_01890a5dac96774bbcceb302099a8057";
        let read = Wanted::read(&format!("after={id}&limit=0&order=asc")).unwrap();
        let expected = Wanted { after: id.parse().ok(), limit: 0, direction: Direction::OldestFirst };
        assert_eq!(read, expected);
        let usual = Wanted { after: None, limit: 20, direction: Direction::NewestFirst };
        assert_eq!(Wanted::read("").unwrap(), usual);
        for bad in ["limit=101", "limit=-1", "limit=x", "limit=", "order=up", "after=x", "page=2"] {
            assert!(Wanted::read(bad).is_err(), "{bad}");
        }
    }
}
