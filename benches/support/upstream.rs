//! A vendor that speaks OpenAI's language and answers at once: whatever time a call takes is the gateway's.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    response::IntoResponse,
    routing::{get, post},
    serve::ListenerExt,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::yield_now};

/// Pieces of text in a streamed answer.
pub(crate) const N_PIECES: usize = 64;
/// Of a picture and of a video.
pub(crate) const IMAGE_BYTES: usize = 64 << 10;
pub(crate) const VIDEO_BYTES: usize = 256 << 10;

const STILL: &[u8] = include_bytes!("../../src/simulator/still.jpg");
const CLIP: &[u8] = include_bytes!("../../src/simulator/clip.mp4");

/// What is the same in every answer.
struct Answers {
    chat: Bytes,
    pieces: Vec<Bytes>,
    image: Bytes,
    still: Bytes,
    clip: Bytes,
    address: SocketAddr,
}

type Shared = State<&'static Answers>;

/// Serves in this process, for as long as it lives, and says where.
pub(crate) async fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let still = padded_still()?;
    let image = json!({ "created": 1_763_600_000, "data": [{ "b64_json": BASE64_STANDARD.encode(&still) }] });
    let answers = Box::leak(Box::new(Answers {
        chat: chat().to_string().into(),
        pieces: pieces(),
        image: image.to_string().into(),
        still: still.into(),
        clip: padded_clip()?.into(),
        address,
    }));
    let app = Router::new()
        .route("/v1/chat/completions", post(complete))
        .route("/v1/images/generations", post(draw))
        .route("/v1/videos", post(film))
        .route("/v1/videos/{id}", get(look))
        .route("/v1/videos/{id}/content", get(async |State(answers): Shared| answers.clip.clone()))
        .route("/still.jpg", get(async |State(answers): Shared| answers.still.clone()))
        .with_state(&*answers);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    #[expect(clippy::disallowed_methods, reason = "it serves until the benchmark ends")]
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn complete(State(answers): Shared, request: Bytes) -> impl IntoResponse {
    let streams = contains(&request, br#""stream":true"#) || contains(&request, br#""stream": true"#);
    if !streams {
        return ([(CONTENT_TYPE, "application/json")], Body::from(answers.chat.clone()));
    }
    // A vendor sends each piece when it has it; waking up in between keeps them apart.
    let pieces = stream::unfold(answers.pieces.iter(), async |mut rest| {
        yield_now().await;
        rest.next().map(|piece| (Ok::<_, Infallible>(piece.clone()), rest))
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces))
}

async fn draw(State(answers): Shared, request: Bytes) -> impl IntoResponse {
    let body = if contains(&request, b"b64_json") || !contains(&request, br#""url""#) {
        answers.image.clone()
    } else {
        let url = format!("http://{}/still.jpg", answers.address);
        json!({ "created": 1_763_600_000, "data": [{ "url": url }] }).to_string().into()
    };
    ([(CONTENT_TYPE, "application/json")], body)
}

async fn film(_: Bytes) -> Json<Value> {
    static IDS: AtomicU64 = AtomicU64::new(0);
    Json(video(&format!("video_{:024}", IDS.fetch_add(1, Ordering::Relaxed)), "queued", 0))
}

/// Done when first asked about.
async fn look(Path(id): Path<String>) -> Json<Value> {
    Json(video(&id, "completed", 100))
}

fn video(id: &str, status: &str, progress: u32) -> Value {
    json!({
        "id": id, "object": "video", "model": "sora-2", "status": status, "progress": progress,
        "created_at": 1_763_600_000, "completed_at": 1_763_600_001, "expires_at": 1_993_603_600,
        "size": "1280x720", "seconds": "4", "error": null, "remixed_from_video_id": null,
    })
}

fn chat() -> Value {
    let text = "A lighthouse stands in a storm; waves as high as houses break on it. ".repeat(12);
    json!({
        "id": "chatcmpl-000000000000000000000000", "object": "chat.completion", "created": 1_763_600_000,
        "model": "gpt-4o-mini",
        "choices": [{
            "index": 0, "message": { "role": "assistant", "content": text, "refusal": null },
            "logprobs": null, "finish_reason": "stop",
        }],
        "usage": {
            "prompt_tokens": 140, "completion_tokens": 170, "total_tokens": 310,
            "prompt_tokens_details": { "cached_tokens": 0 }, "completion_tokens_details": { "reasoning_tokens": 0 },
        },
        "system_fingerprint": "fp_0000000000",
    })
}

fn pieces() -> Vec<Bytes> {
    let piece = |delta: Value, finish: Value, usage: Value| {
        let chunk = json!({
            "id": "chatcmpl-000000000000000000000000", "object": "chat.completion.chunk", "created": 1_763_600_000,
            "model": "gpt-4o-mini", "system_fingerprint": "fp_0000000000",
            "choices": [{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }], "usage": usage,
        });
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let mut pieces = vec![piece(json!({ "role": "assistant", "content": "" }), Value::Null, Value::Null)];
    pieces.extend((0..N_PIECES).map(|n| piece(json!({ "content": format!(" word{n}") }), Value::Null, Value::Null)));
    let usage = json!({ "prompt_tokens": 140, "completion_tokens": N_PIECES, "total_tokens": 140 + N_PIECES });
    pieces.push(piece(json!({}), "stop".into(), usage));
    pieces.push(Bytes::from_static(b"data: [DONE]\n\n"));
    pieces
}

/// A JPEG with a comment that makes it as long as it should be.
fn padded_still() -> Result<Vec<u8>> {
    const START_BYTES: usize = 2;
    let n_comment = u16::try_from(IMAGE_BYTES - STILL.len() - 2).context("too long a comment")?;
    let mut still = STILL[..START_BYTES].to_vec();
    still.extend([0xff, 0xfe]);
    still.extend(n_comment.to_be_bytes());
    still.resize(still.len() + usize::from(n_comment) - 2, b' ');
    still.extend_from_slice(&STILL[START_BYTES..]);
    Ok(still)
}

/// An MP4 with a free box that makes it as long as it should be.
fn padded_clip() -> Result<Vec<u8>> {
    let mut clip = CLIP.to_vec();
    clip.extend(u32::try_from(VIDEO_BYTES - CLIP.len())?.to_be_bytes());
    clip.extend(b"free");
    clip.resize(VIDEO_BYTES, 0);
    Ok(clip)
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|part| part == what)
}
