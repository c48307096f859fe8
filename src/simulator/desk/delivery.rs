//! Output files.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    Desk, Instead,
    call::{html, html_page, status},
    job::Job,
    life::{End, Outcome, Stage},
};
use crate::simulator::{
    fault::{Damage, Operation, Subject},
    output::Media,
};

/// Padding is sent in pieces of this size, so that a large file costs no memory.
static PADDING: [u8; 256 << 10] = [0; 256 << 10];

/// A file within an answer is in memory as a whole, so it ends here whatever size a fault wants.
const MAX_INLINE_BYTES: u64 = 256 << 20;

impl<D: Send + Sync + 'static> Desk<D> {
    /// The paths of [`Job::links`]: `/{vendor}/delivery/{id}/{epoch}/{file}`.
    pub(crate) fn delivery(self: &Arc<Self>) -> Router {
        let path = format!("/{}/delivery/{{id}}/{{epoch}}/{{file}}", self.dialect.name);
        Router::new().route(&path, get(Self::download)).with_state(Arc::clone(self))
    }

    async fn download(
        State(desk): State<Arc<Self>>,
        Path((id, epoch, file)): Path<(String, u64, String)>,
        headers: HeaderMap,
    ) -> Result<Response, Instead> {
        let (call, job) = desk.call_about(Operation::Download, &id).await?;
        let index = file.strip_prefix("output-").and_then(|rest| rest.strip_suffix(job.outputs.media.extension()));
        let index: Option<u64> = index.and_then(|index| index.strip_suffix('.')?.parse().ok());
        let index = index.ok_or_else(|| call.unknown())?;
        let response = job.hand_out(index, epoch, call.faults().damage, &headers).ok_or_else(|| call.unknown())?;
        Ok(call.answer_whole(response).await)
    }

    /// Serves a file at a path of the vendor's own, such as `/videos/{id}/content`.
    ///
    /// # Errors
    /// What a fault answers instead, or the vendor's 404: no such job, not succeeded, data removed, or no such file.
    pub(crate) async fn deliver(&self, id: &str, index: u64, headers: &HeaderMap) -> Result<Response, Instead> {
        let (call, job) = self.call_about(Operation::Download, id).await?;
        let response = job.hand_out(index, 0, call.faults().damage, headers).ok_or_else(|| call.unknown())?;
        Ok(call.answer_whole(response).await)
    }

    /// A file for an answer that carries it whole, spoilt by the rules for downloads: `empty`, `truncated` (also for
    /// `wrong_length`, which an answer cannot have) and `page`. No download is counted.
    pub(crate) fn inline(&self, job: &Job<D>) -> Bytes {
        let subject = Subject { vendor: self.dialect.name, ..job.subject(0) };
        let whole = Content::new(job.outputs.media, job.outputs.size);
        match self.world.judge(Operation::Download, subject).damage {
            None => whole.bytes(whole.size),
            Some(Damage::Empty) => Bytes::new(),
            Some(Damage::Truncated | Damage::WrongLength) => whole.bytes(whole.size / 2),
            Some(Damage::Page) => Bytes::from(html_page(StatusCode::OK)),
        }
    }

    /// [`Desk::inline`] in base64.
    pub(crate) fn inline_base64(&self, job: &Job<D>) -> String {
        STANDARD.encode(self.inline(job))
    }
}

impl<D> Job<D> {
    /// The answer to a download, or `None` where there is nothing to hand out.
    fn hand_out(&self, index: u64, epoch: u64, damage: Option<Damage>, headers: &HeaderMap) -> Option<Response> {
        let outputs = &self.outputs;
        let succeeded = matches!(self.stage(), Stage::Ended(End { outcome: Outcome::Succeeded, .. }));
        if !succeeded || self.is_removed() || index >= outputs.n_files {
            return None;
        }
        if let Err(code) = self.fetch(epoch) {
            return Some((status(code), "this link has expired\n").into_response());
        }
        let media = outputs.media;
        let content = Content::new(media, outputs.size);
        Some(match damage {
            None => whole_or_range(&content, media, headers),
            Some(Damage::Empty) => content.serve(StatusCode::OK, media, 0..0, 0),
            Some(Damage::Truncated) => content.serve(StatusCode::OK, media, 0..content.size / 2, content.size / 2),
            Some(Damage::WrongLength) => content.serve(StatusCode::OK, media, 0..content.size, content.size * 2),
            Some(Damage::Page) => html(StatusCode::OK),
        })
    }
}

fn whole_or_range(content: &Content, media: Media, headers: &HeaderMap) -> Response {
    let size = content.size;
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some(asked) = asked.and_then(|text| http_range_header::parse_range_header(text).ok()) else {
        return content.serve(StatusCode::OK, media, 0..size, size);
    };
    match asked.validate(size).as_deref() {
        Ok([range]) => {
            let (from, to) = (*range.start(), *range.end());
            let mut response = content.serve(StatusCode::PARTIAL_CONTENT, media, from..to + 1, to + 1 - from);
            if let Ok(value) = HeaderValue::try_from(format!("bytes {from}-{to}/{size}")) {
                response.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            response
        }
        // Several ranges at once may be answered with the whole.
        Ok(_) => content.serve(StatusCode::OK, media, 0..size, size),
        Err(_) => {
            let unsatisfied = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            (StatusCode::RANGE_NOT_SATISFIABLE, unsatisfied).into_response()
        }
    }
}

/// A file: real bytes, then zeros up to its size.
struct Content {
    head: Bytes,
    size: u64,
}

impl Content {
    /// The file of this kind, padded to at least `size` bytes. An MP4 stays playable: its padding is a `free` box.
    fn new(media: Media, size: u64) -> Self {
        let head = media.bytes();
        let n_head = head.len() as u64;
        if size <= n_head {
            return Self { head, size: n_head };
        }
        if media != Media::Mp4 {
            return Self { head, size };
        }
        // A box with a 64-bit size has a header of 16 bytes.
        let free = (size - n_head).max(16);
        let mut boxed = BytesMut::with_capacity(head.len() + 16);
        boxed.put_slice(&head);
        boxed.put_u32(1);
        boxed.put_slice(b"free");
        boxed.put_u64(free);
        Self { head: boxed.freeze(), size: n_head + free }
    }

    /// The first `n_bytes` of the file, in memory.
    fn bytes(&self, n_bytes: u64) -> Bytes {
        let mut bytes = self.head.to_vec();
        bytes.resize(usize::try_from(n_bytes.min(MAX_INLINE_BYTES)).unwrap_or_default(), 0);
        bytes.into()
    }

    /// These bytes of the file, announced as `announced` bytes.
    fn serve(&self, status: StatusCode, media: Media, range: std::ops::Range<u64>, announced: u64) -> Response {
        let head = self.head.clone();
        // A stream of unknown length lets the announced one be a lie.
        let is_short = range.end - range.start < announced;
        let pieces = stream::unfold(range.start, move |at| {
            let piece = piece(&head, at, range.end);
            async move {
                if piece.is_empty() {
                    // The connection breaks at the end; what was sent goes out before that.
                    if is_short {
                        tokio::task::yield_now().await;
                    }
                    return None;
                }
                let next = at + piece.len() as u64;
                Some((Ok::<_, Infallible>(piece), next))
            }
        });
        let mut response = (status, Body::from_stream(pieces)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media.media_type()));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(announced));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        response
    }
}

/// The next bytes from `at` on, before `end`.
fn piece(head: &Bytes, at: u64, end: u64) -> Bytes {
    let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
    match usize::try_from(at).ok().filter(|at| *at < head.len()) {
        Some(at) => head.slice(at..head.len().min(at.saturating_add(left))),
        None => Bytes::from_static(&PADDING[..left.min(PADDING.len())]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_mp4_is_as_long_as_asked_and_its_boxes_add_up() {
        let content = Content::new(Media::Mp4, 1_000_000);
        assert_eq!(content.size, 1_000_000);
        let mut at = 0;
        let mut whole = BytesMut::new();
        while at < content.size {
            let piece = piece(&content.head, at, content.size);
            at += piece.len() as u64;
            whole.extend_from_slice(&piece);
        }
        assert_eq!(whole.len(), 1_000_000);
        let mut names = Vec::new();
        let mut rest = &whole[..];
        while !rest.is_empty() {
            names.push(String::from_utf8_lossy(&rest[4..8]).into_owned());
            let small = u32::from_be_bytes(rest[..4].try_into().unwrap());
            let large = u64::from_be_bytes(rest[8..16].try_into().unwrap());
            let size = if small == 1 { usize::try_from(large).unwrap() } else { small as usize };
            rest = &rest[size..];
        }
        assert_eq!(names.last().map(String::as_str), Some("free"));
        assert!(names.contains(&"moov".to_owned()), "{names:?}");
    }

    #[test]
    fn small_files_are_not_padded() {
        assert_eq!(Content::new(Media::Mp4, 10).size, Media::Mp4.bytes().len() as u64);
    }
}
