//! The vendors' HTTP contracts as a server: `filmgate simulate`.
//!
//! It is a peer, not a part: it uses nothing else of this crate, and the vendors' own clients work against it. Each
//! vendor has its own first path segment; output files that have no path of the vendor's own are below `/NAME/delivery`:
//!
//! | vendor | base URL, after `http://HOST:PORT` |
//! |---|---|
//! | Replicate | `/replicate/v1` |
//! | fal, all its hosts | `/fal` |
//! | OpenAI | `/openai/v1` |
//! | Vertex AI | `/vertex/v1`; the bucket at `/vertex`, the machine's metadata at `/computeMetadata` |
//! | Gemini | `/gemini/v1beta` |
//! | Volcengine Ark | `/ark/api/v3` |
//! | midjourney-proxy | `/midjourney/mj`; the Java one `/midjourney/java/mj` |
//! | ComfyUI | `/comfyui` |
//! | made-up vendors for `http-json` | `/courier/v1`, a queue; `/backend`, a synchronous one |
//!
//! - A job's state follows from the time since its creation; nothing runs between calls. Only callbacks have tasks.
//! - What goes wrong is said by fault rules: on the command line, in a scenario file, or through `/_control`. One rule
//!   is one line, `OPERATION[:WHEN]:WHAT`, for example `create:first=2:status=429,retry_after=1`; `--help` has the
//!   grammar. A rule can also play a recorded answer.
//! - What a model says follows from the prompt; marks in it choose otherwise (`talk.rs`).
//! - `/_control` tells what was asked (`counts`, `jobs`, `chats`) and takes `faults`, `settings`, `release` and `reset`.
//! - Memory is bounded: 200 000 jobs a vendor (a setting), beyond which the oldest finished one is dropped, and 512 MiB
//!   of inputs.
//!
//! To add a vendor (`tests/example.rs` is a whole one):
//!
//! 1. Make `simulator/NAME/` with a struct that has an `Arc<Desk<D>>`, where `D` is what you want to remember of a job
//!    (`()` if nothing), and a `static` `desk::Dialect` with the name, where id and status stand in its answers, and its
//!    error document.
//! 2. Write `open(world, scenario)`, `impl Vendor`, and below that `mod NAME;` and one line in `VENDORS`.
//! 3. A handler that creates takes `desk::Received`, asks `desk.call(Operation::Create, subject).await?`, checks the
//!    body (`Err(call.refuse(status, text))`), makes the job with `desk.make(&call, draft)` and ends with
//!    `call.answer(status, body).await`. Every fault of calls then works.
//! 4. One about a job asks `desk.call_about(operation, id).await?` and puts `job.stage()` into the vendor's words.
//! 5. Outputs: `job.links(origin)` with `desk.delivery()` merged into the router, `desk.deliver` at a path of the
//!    vendor's own, or `desk.inline_base64(&job)` within an answer.
//! 6. A synchronous vendor waits with `desk.outcome(&job).await?` between `make` and `answer`.
//! 7. Callbacks: `desk.tell_at_end(&job, |job| Letter { … })`; its `sign` must heed `Stamp::forged`.
//!
//! A scenario file is TOML, or JSON if named so:
//!
//! ```toml
//! faults = ["create:nth=3:drop,effect=after", "download:prompt=[short]:truncated"]
//! [settings]
//! latency = "1s"
//! [[model]]
//! name = "acme/clips"
//! makes = "video"
//! input.prompt = { type = "string", required = true }
//! ```

mod ark;
mod backend;
mod comfyui;
mod completions;
mod control;
mod courier;
mod desk;
mod fal;
mod fault;
mod gemini;
mod google;
mod midjourney;
mod openai;
mod output;
mod replicate;
mod server;
mod settings;
mod talk;
#[cfg(test)]
mod tests;
mod vendor;
mod vertex;

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::extract::DefaultBodyLimit;
use sha2::{Digest, Sha256};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::fault::{Rule, RuleError};
use self::{
    fault::{Faults, GRAMMAR, Operation, Rules, Subject},
    settings::{Change, Scenario, Settings},
    vendor::{Open, Vendor},
};

/// The vendors, by name: one line each.
const VENDORS: &[(&str, Open)] = &[
    ("ark", ark::open),
    ("backend", backend::open),
    ("comfyui", comfyui::open),
    ("courier", courier::open),
    ("fal", fal::open),
    ("gemini", gemini::open),
    ("midjourney", midjourney::open),
    ("openai", openai::open),
    ("replicate", replicate::open),
    ("vertex", vertex::open),
    #[cfg(test)]
    ("example", tests::open),
];

/// The receiver of a callback is to answer within this.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Larger requests are refused, unless a vendor says otherwise.
const MAX_REQUEST_BYTES: usize = 64 << 20;

/// Flags of `filmgate simulate`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = GRAMMAR)]
pub struct SimulateArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, env = "FILMGATE_SIMULATE_LISTEN", value_name = "ADDRESS", default_value_t = default_listen())]
    pub listen: SocketAddr,
    /// Decides ids and faults given by chance.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    pub seed: u64,
    /// File with settings, fault rules and models; TOML, or JSON if it ends in .json.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Time from a job's creation to its end, for example 250ms [default: 3s, or the scenario's].
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub latency: Option<Duration>,
    /// Fault rule, may be repeated; the grammar is below. Comes before those of the scenario.
    #[arg(long = "fault", value_name = "RULE")]
    pub faults: Vec<Rule>,
}

const DEFAULT_SEED: u64 = 1;

fn default_listen() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 50052).into()
}

impl Default for SimulateArgs {
    /// As without any flag.
    fn default() -> Self {
        Self { listen: default_listen(), seed: DEFAULT_SEED, scenario: None, latency: None, faults: Vec::new() }
    }
}

/// Reads the scenario and takes the address. No call is answered before [`Bound::serve`].
///
/// # Errors
/// The address cannot be taken, or the scenario file cannot be read; the text says which.
pub fn bind(args: SimulateArgs) -> io::Result<Bound> {
    let SimulateArgs { listen, seed, scenario, latency, faults } = args;
    let scenario = scenario.as_deref().map(Scenario::read).transpose()?.unwrap_or_default();
    let mut settings = scenario.settings.clone().applied_to(&Settings::default());
    if let Some(latency) = latency {
        settings.latency = latency;
    }
    let rules: Vec<Rule> = faults.into_iter().chain(scenario.faults.iter().cloned()).collect();
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(CALLBACK_TIMEOUT)
        .build()
        .map_err(io::Error::other)?;
    let world = Arc::new(World {
        seed,
        settings: RwLock::new(Arc::new(settings.clone())),
        rules: RwLock::new(Arc::new(Rules::new(rules.iter().cloned(), seed))),
        start: (settings, rules),
        ids: AtomicU64::new(0),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
        http,
    });
    let vendors = VENDORS.iter().map(|(_, open)| open(&world, &scenario)).collect::<io::Result<_>>()?;
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    Ok(Bound { listener, addr, house: Arc::new(House { world, vendors }) })
}

/// A simulator that has its address.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
    house: Arc<House>,
}

impl Bound {
    /// Where it listens; the port is the real one.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown`, then ends within about two seconds: calls that hang by a fault are dropped. Dropping
    /// the future ends everything as well.
    ///
    /// # Errors
    /// The listener cannot be used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let control = control::router().with_state(Arc::clone(&self.house));
        let vendors = self.house.vendors.iter().map(|vendor| Arc::clone(vendor).router());
        let limit = DefaultBodyLimit::max(MAX_REQUEST_BYTES);
        let router = vendors.fold(control, |router, vendor| router.merge(vendor.layer(limit)));
        server::serve(listener, router, Arc::clone(&self.house.world), shutdown).await
    }
}

/// The vendors and what they share.
#[derive(Debug)]
struct House {
    world: Arc<World>,
    vendors: Vec<Arc<dyn Vendor>>,
}

impl House {
    /// Lets held jobs end: the one named, or the `limit` oldest of each vendor in turn. Says how many.
    fn release(&self, id: Option<&str>, limit: usize) -> usize {
        self.vendors.iter().fold(0, |released, vendor| released + vendor.desk().release(id, limit - released))
    }

    fn reset(&self) {
        self.world.reset();
        self.vendors.iter().for_each(|vendor| vendor.reset());
    }
}

/// What the vendors share: settings, rules, ids, and the tasks.
#[derive(Debug)]
struct World {
    seed: u64,
    settings: RwLock<Arc<Settings>>,
    rules: RwLock<Arc<Rules>>,
    /// What a reset goes back to.
    start: (Settings, Vec<Rule>),
    ids: AtomicU64,
    /// Cancelled at the end; frees whatever hangs.
    stop: CancellationToken,
    /// Connections and callbacks.
    tasks: TaskTracker,
    /// For callbacks.
    http: reqwest::Client,
}

impl World {
    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_settings(&self, change: Change) {
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        *settings = Arc::new(change.applied_to(&settings));
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_rules(&self, rules: impl IntoIterator<Item = Rule>) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Rules::new(rules, self.seed));
    }

    fn reset(&self) {
        let (settings, rules) = &self.start;
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings.clone());
        self.set_rules(rules.iter().cloned());
    }

    fn judge(&self, operation: Operation, subject: Subject<'_>) -> Faults {
        self.rules().judge(operation, subject)
    }

    /// 26 lower-case letters and digits, never given twice; the nth one follows from the seed.
    fn new_id(&self) -> String {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let n = self.ids.fetch_add(1, Ordering::Relaxed);
        let digest = Sha256::digest(format!("{}/{n}", self.seed));
        digest.iter().take(26).map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
    }
}
