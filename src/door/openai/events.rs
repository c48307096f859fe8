//! Answers as server-sent events: comments while the job is on its way, then what it made.
//!
//! Comments alone keep a silent connection open: the SDKs take every frame with data for an event.

use std::{pin::Pin, time::Duration};

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream, stream::BoxStream};
use http::{
    HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{encode::Piece, problem::Problem};
use crate::engine::error::Error;

/// Proxies close connections that are silent for longer.
const BEAT: Duration = Duration::from_secs(15);
const COMMENT: Bytes = Bytes::from_static(b": at work\n\n");

/// Frames of events, as they are sent.
pub(super) type Frames = BoxStream<'static, Result<Bytes, Error>>;
type Work = Pin<Box<dyn Future<Output = Result<Frames, Problem>> + Send>>;

enum Stage {
    Working(Work),
    Sending(Frames),
}

/// Begins the answer at once; a problem of `work` becomes an event.
pub(super) fn answer(work: impl Future<Output = Result<Frames, Problem>> + Send + 'static) -> Response {
    let frames = stream::unfold(Stage::Working(Box::pin(work)), async |stage| {
        let mut frames = match stage {
            Stage::Sending(frames) => frames,
            Stage::Working(mut work) => match timeout(BEAT, &mut work).await {
                Err(_) => return Some((Ok(COMMENT), Stage::Working(work))),
                Ok(Ok(frames)) => frames,
                Ok(Err(problem)) => stream::iter([Ok(Bytes::from(told(&problem)))]).boxed(),
            },
        };
        frames.next().await.map(|frame| (frame, Stage::Sending(frames)))
    });
    let mut response = Body::from_stream(frames).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The frame of an event of this type whose field `name` is a file in base64.
pub(super) fn with_file(kind: &str, fields: Map<String, Value>, name: &str, file: Piece) -> [Piece; 3] {
    let start = format!("event: {kind}\ndata: {}", open(kind, fields, name));
    [Piece::Text(start), file, Piece::Text("\"}\n\n".to_owned())]
}

/// The frame of an event of this type with a field whose text needs no escape.
pub(super) fn with_text(kind: &str, name: &str, text: &str) -> String {
    format!("event: {kind}\ndata: {}{text}\"}}\n\n", open(kind, Map::new(), name))
}

/// The frame of an event of this type.
pub(super) fn plain(kind: &str, mut fields: Map<String, Value>) -> String {
    fields.insert("type".to_owned(), kind.into());
    format!("event: {kind}\ndata: {}\n\n", Value::Object(fields))
}

fn told(problem: &Problem) -> String {
    format!("event: error\ndata: {}\n\n", problem.envelope())
}

/// An object up to the text of its last field.
fn open(kind: &str, mut fields: Map<String, Value>, name: &str) -> String {
    fields.insert("type".to_owned(), kind.into());
    let object = Value::Object(fields).to_string();
    format!("{},\"{name}\":\"", object.strip_suffix('}').unwrap_or(&object))
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::json;

    use super::*;

    async fn text(response: Response) -> String {
        String::from_utf8(to_bytes(response.into_body(), 10_000).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_job_is_bridged_by_comments_and_told_in_the_end() {
        let work = async {
            tokio::time::sleep(Duration::from_secs(40)).await;
            let frames = [plain("x.done", Map::new()), with_text("x.delta", "audio", "YWJj")];
            Ok(stream::iter(frames.map(|frame| Ok(Bytes::from(frame)))).boxed())
        };
        let expected = ": at work\n\n: at work\n\nevent: x.done\ndata: {\"type\":\"x.done\"}\n\n\
            event: x.delta\ndata: {\"type\":\"x.delta\",\"audio\":\"YWJj\"}\n\n";
        assert_eq!(text(answer(work)).await, expected);
    }

    #[tokio::test]
    async fn what_goes_wrong_is_an_event() {
        let told = text(answer(async { Err(Problem::unresolved("no")) })).await;
        let data = told.strip_prefix("event: error\ndata: ").unwrap().trim_end();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["error"]["code"], json!("unresolved"));
    }
}
