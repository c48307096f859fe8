//! The least that a gateway can do and lose nothing that was paid for: one row before the order, the file synced, one row after. It has no
//! queue, no prices, no sessions, no traces and no history, and passes the vendor's answers on as they came; so it shows how many calls this disk
//! and this core can carry at most.

use std::{fs, io::Write, net::SocketAddr, path::PathBuf, sync::Arc, thread};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use rusqlite::{Connection, params};
use serde::Deserialize;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};

/// Its name as a peer, and in reports.
pub(crate) const NAME: &str = "bare-durable";
/// Most rows in one transaction.
const MAX_BATCH: usize = 256;

struct Bare {
    upstream: String,
    client: reqwest::Client,
    rows: mpsc::Sender<Row>,
    files: PathBuf,
}

/// A record, and whom to tell that it is durable.
struct Row {
    id: String,
    state: &'static str,
    doc: Bytes,
    stored: oneshot::Sender<()>,
}

/// What went wrong, which ends a benchmark.
struct Broken(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Broken {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{:#}", self.0)).into_response()
    }
}

type Answer = Result<Response, Broken>;
type Shared = State<Arc<Bare>>;

/// Serves on `addr` in front of `upstream`, with all that it keeps in `folder`, for as long as the process lives.
pub(crate) async fn serve(addr: SocketAddr, upstream: &str, folder: PathBuf) -> Result<()> {
    let db = Connection::open(folder.join("bare.db"))?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         CREATE TABLE jobs (id TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL, doc BLOB NOT NULL) WITHOUT ROWID;",
    )?;
    let (rows, queue) = mpsc::channel(4 * MAX_BATCH);
    // If it ends, so does its queue, and with that every call.
    thread::spawn(move || write(&db, queue).inspect_err(|error| eprintln!("{NAME}: {error}")));
    let bare = Bare { upstream: format!("http://{upstream}/v1"), client: reqwest::Client::new(), rows, files: folder };
    let app = Router::new()
        .route("/v1/images/generations", post(draw))
        .route("/v1/videos", post(film))
        .route("/v1/videos/{id}", get(look))
        .route("/v1/videos/{id}/content", get(content))
        .with_state(Arc::new(bare));
    let listener = TcpListener::bind(addr).await?.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, app).await?)
}

/// One transaction, and so one flush, for all rows that wait.
fn write(db: &Connection, mut queue: mpsc::Receiver<Row>) -> rusqlite::Result<()> {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while queue.blocking_recv_many(&mut batch, MAX_BATCH) > 0 {
        db.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        for Row { id, state, doc, .. } in &batch {
            let mut put = db.prepare_cached(
                "INSERT INTO jobs (id, state, doc) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET state = excluded.state",
            )?;
            put.execute(params![id, state, &**doc])?;
        }
        db.prepare_cached("COMMIT")?.execute(())?;
        for Row { stored, .. } in batch.drain(..) {
            stored.send(()).ok();
        }
    }
    Ok(())
}

impl Bare {
    async fn record(&self, id: &str, state: &'static str, doc: Bytes) -> Result<(), Broken> {
        let (stored, is_stored) = oneshot::channel();
        self.rows.send(Row { id: id.to_owned(), state, doc, stored }).await?;
        Ok(is_stored.await?)
    }

    async fn ask(&self, path: &str, order: Option<Bytes>) -> Result<Bytes, Broken> {
        let url = format!("{}{path}", self.upstream);
        let request = match order {
            Some(order) => self.client.post(url).header(CONTENT_TYPE, "application/json").body(order),
            None => self.client.get(url),
        };
        Ok(request.send().await?.error_for_status()?.bytes().await?)
    }

    /// The file is durable when this returns; its name in the folder is, generously, not waited for.
    async fn keep(&self, id: &str, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<(), Broken> {
        let path = self.files.join(id);
        let kept = spawn_blocking(move || {
            let mut file = fs::File::create_new(path)?;
            file.write_all(bytes.as_ref())?;
            file.sync_all()
        });
        Ok(kept.await??)
    }
}

#[derive(Deserialize)]
struct Pictures<'a> {
    #[serde(borrow)]
    data: [Picture<'a>; 1],
}

#[derive(Deserialize)]
struct Picture<'a> {
    b64_json: Option<&'a str>,
    url: Option<&'a str>,
}

async fn draw(State(bare): Shared, order: Bytes) -> Answer {
    let id = uuid::Uuid::now_v7().to_string();
    bare.record(&id, "sent", order.clone()).await?;
    let answer = bare.ask("/images/generations", Some(order)).await?;
    let Pictures { data: [picture] } = serde_json::from_slice(&answer)?;
    match picture {
        Picture { b64_json: Some(text), .. } => {
            bare.keep(&id, base64_simd::STANDARD.decode_to_vec(text)?).await?;
        }
        Picture { url: Some(url), .. } => {
            let bytes = bare.client.get(url).send().await?.error_for_status()?.bytes().await?;
            bare.keep(&id, bytes).await?;
        }
        Picture { b64_json: None, url: None } => return Err(anyhow::anyhow!("no picture").into()),
    }
    bare.record(&id, "done", Bytes::new()).await?;
    Ok(json(answer))
}

#[derive(Deserialize)]
struct Video<'a> {
    id: &'a str,
    status: &'a str,
}

async fn film(State(bare): Shared, order: Bytes) -> Answer {
    bare.record(&uuid::Uuid::now_v7().to_string(), "sent", order.clone()).await?;
    let answer = bare.ask("/videos", Some(order)).await?;
    let video: Video<'_> = serde_json::from_slice(&answer)?;
    bare.record(video.id, "running", Bytes::new()).await?;
    Ok(json(answer))
}

async fn look(State(bare): Shared, Path(id): Path<String>) -> Answer {
    let answer = bare.ask(&format!("/videos/{id}"), None).await?;
    let video: Video<'_> = serde_json::from_slice(&answer)?;
    if video.status == "completed" {
        let bytes = bare.ask(&format!("/videos/{id}/content"), None).await?;
        bare.keep(&id, bytes).await?;
        bare.record(&id, "done", Bytes::new()).await?;
    }
    Ok(json(answer))
}

async fn content(State(bare): Shared, Path(id): Path<String>) -> Answer {
    let path = bare.files.join(id);
    let bytes = spawn_blocking(move || fs::read(path)).await?.context("no such file")?;
    Ok(bytes.into_response())
}

fn json(body: Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}
