//! The one place where the parts are put together: settings in, a running server out.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use futures_util::{StreamExt, stream};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{Notify, watch},
};
use tracing::{info, warn};

use crate::{
    artifact::Collector,
    callback::{Courier, Sender, Targets},
    chat::{self, Chat},
    config::{Config, CorsConfig, DrainConfig, Problem},
    domain::{budget::Budgets, catalog::Catalog},
    door,
    engine::{Backoff, Clock, Engine, EngineSettings, Pace, Parts, Retention},
    lifecycle::{Drain, Exit, OnFailure, OnShutdown, Policy, Shutdown, Signal, Tasks, survive_file_size_limits},
    provider::registry::Registry,
    store::{OpenError, port::Store, postgres::Postgres},
    telemetry::Metrics,
};

use self::folder::FolderLock;
pub use self::{artifacts::check_bucket, stores::check_database};

mod artifacts;
mod folder;
mod providers;
mod stores;

/// Added to a wait at random, so that jobs which failed together do not come back together.
const JITTER: f64 = 0.2;

/// How to start.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartOptions {
    /// Listen on a free loopback port, and end without delay: the server of one command.
    pub ephemeral: bool,
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    shutdown: Shutdown,
    store: Arc<dyn Store>,
    /// Held until the end: who has it owns the folder.
    _lock: FolderLock,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another server owns the data folder.
    #[error("the data folder {} is in use by another filmgate", .folder.display())]
    Locked {
        /// Where that one listens, if it has said so yet.
        addr: Option<SocketAddr>,
        /// The folder.
        folder: PathBuf,
    },
    /// Settings cannot be used: at least one.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Settings(Vec<Problem>),
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}; choose another with --listen or FILMGATE_LISTEN")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The shared database cannot be used.
    #[error("cannot use the PostgreSQL database at {address}; see that it runs and correct FILMGATE_DATABASE_URL")]
    Database {
        /// Where it is, without secrets.
        address: String,
        /// Why not.
        #[source]
        source: OpenError,
    },
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}: {what}; choose another with --data-dir or FILMGATE_DATA_DIR", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: anyhow::Error,
    },
}

impl StartError {
    /// Whether it may start later without anybody changing anything: the shared database is away.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Database { source, .. } if Postgres::is_away(source))
    }
}

/// Starts the server: when this returns, every unfinished generation is taken up and calls are answered.
pub async fn start(config: Config, options: StartOptions) -> Result<Running, StartError> {
    if let Err(error) = survive_file_size_limits() {
        warn!(%error, "a limit on the size of files would end the process");
    }
    let folder = config.data_dir.clone();
    let lock = FolderLock::take(&folder)?;
    let (registry, catalog) = match providers::providers(&config) {
        (Some(parts), problems) if problems.is_empty() => parts,
        (_, problems) => return Err(StartError::Settings(problems)),
    };
    let targets = Arc::new(Targets::new(&config.callbacks));
    let sender = Sender::new(Arc::clone(&targets), door::generation_json);
    let listen = if options.ephemeral { SocketAddr::from(([127, 0, 0, 1], 0)) } else { config.listen };
    let listener = bind(listen).map_err(|source| StartError::Listen { addr: listen, source })?;
    let addr = listener.local_addr().map_err(|source| StartError::Listen { addr: listen, source })?;

    let trouble = |what| {
        let folder = folder.clone();
        move |source: anyhow::Error| StartError::Folder { folder, what, source }
    };
    let store = stores::open(&config).await?;
    let blobs = artifacts::open(&config.artifacts, &folder).await?;
    // The server of one command is gone when a link of it is used; the next `serve` is where the settings say.
    let reached = if options.ephemeral { config.listen } else { addr };
    let links = artifacts::links(&config, &folder, reached)
        .map_err(anyhow::Error::from)
        .map_err(trouble("making the key of links"))?;
    let collector = Collector::prepare(blobs.clone(), folder.join("spool"), config.artifacts.max_bytes)
        .map_err(anyhow::Error::from)
        .map_err(trouble("preparing the spool"))?;

    let shutdown = Shutdown::new(drain_of(&config, options));
    let tasks = shutdown.tasks();
    let callback_due = Arc::new(Notify::new());
    let settings = engine_settings(&config, &catalog);
    let registry = Arc::new(registry);
    let engine = Engine::new(Parts {
        store: Arc::clone(&store),
        registry: Arc::clone(&registry),
        catalog,
        blobs,
        collector,
        tasks: tasks.clone(),
        drain: shutdown.drain(),
        metrics: Metrics::new(),
        clock: Clock::System,
        callback_due: Arc::clone(&callback_due),
        settings,
    });
    engine.start_housekeeping().await;
    engine.recover().await.map_err(anyhow::Error::from).map_err(trouble("reading unfinished generations"))?;
    let courier = Courier {
        store: Arc::clone(&store) as _,
        sender,
        due: callback_due,
        retry_base: config.callbacks.retry_base,
        drain: shutdown.drain(),
        metrics: Metrics::new(),
    };
    courier.start(&tasks);
    let chat = chat(&config, &engine, registry, &shutdown);
    let doors = Doors { chat, links, targets, cors: config.cors.clone() };
    serve(listener, &engine, doors, &shutdown).await.map_err(trouble("opening the doors"))?;
    lock.announce(addr, &tasks).map_err(anyhow::Error::from).map_err(trouble("writing the address"))?;
    for warning in &config.warnings {
        warn!("{}: {}; {}", warning.setting, warning.message, warning.fix);
    }
    info!(%addr, data_dir = %folder.display(), "listening");
    Ok(Running { addr, shutdown, store, _lock: lock })
}

impl Running {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it gracefully now.
    pub async fn stop(self) -> Exit {
        self.run(stream::iter([Signal::Terminate]).chain(stream::pending())).await
    }

    /// Serves until a signal, then ends gracefully; at once on a second one.
    pub async fn run(self, signals: impl futures_util::Stream<Item = Signal> + Unpin) -> Exit {
        let store = self.store;
        // The last writes are stored before telemetry is flushed by whoever set it up.
        let close = async move {
            // Others take over at once; otherwise they do when the lease is over.
            if let Err(error) = store.leave().await {
                warn!(error = &error as &dyn std::error::Error, "did not give up what is unfinished");
            }
            store.close().await;
        };
        self.shutdown.run(signals, close).await
    }
}

/// What is wrong with the settings, beyond what they say by themselves: providers, routes, cards, the default model, the database.
pub fn check(config: &Config) -> Vec<Problem> {
    providers::check(config).into_iter().chain(stores::check(config)).collect()
}

/// The ids of the providers that have what they need, without the sample.
pub fn configured(config: &Config) -> Vec<String> {
    providers::configured(config)
}

/// As tokio's own, but with a longer queue: many clients come back at once after a restart, and 128 would make the rest wait a second or fail.
fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    const BACKLOG: u32 = 4096;
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // On Windows this would let others take the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

fn chat(config: &Config, engine: &Engine, registry: Arc<Registry>, shutdown: &Shutdown) -> Chat {
    Chat::new(chat::Parts {
        engine: engine.clone(),
        registry,
        budgets: Budgets::from(config.budgets.clone()),
        tasks: shutdown.tasks(),
        drain: shutdown.drain(),
        metrics: Metrics::new(),
    })
}

/// What the doors know besides the engine.
struct Doors {
    chat: Chat,
    links: door::Links,
    targets: Arc<Targets>,
    cors: CorsConfig,
}

/// Opens the doors: everything on one port.
async fn serve(listener: TcpListener, engine: &Engine, doors: Doors, shutdown: &Shutdown) -> anyhow::Result<()> {
    let (tasks, drain) = (shutdown.tasks(), shutdown.drain());
    let policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::ShutDown };
    let (health, follow) = door::health(until_closing(engine, &tasks, drain.clone())).await;
    tasks.spawn("health", policy, follow);
    let Doors { chat, links, targets, cors } = doors;
    let grpc = door::grpc_router(engine.clone(), chat.clone(), links.clone(), Arc::clone(&targets), health)?;
    let http = door::http_router(engine.clone(), chat, links, targets, engine.readiness());
    let app = door::dispatch::dispatch(grpc, http, &cors, &Metrics::new());
    let own_tasks = tasks.clone();
    tasks.spawn("door", policy, async move {
        door::listen::serve(listener, app, drain, &own_tasks, door::listen::Limits::default()).await;
    });
    Ok(())
}

/// Readiness that is gone once the doors close, so that open health watches end.
fn until_closing(engine: &Engine, tasks: &Tasks, drain: Drain) -> watch::Receiver<bool> {
    let mut engine_ready = engine.readiness();
    let (ready, readiness) = watch::channel(*engine_ready.borrow_and_update());
    let policy = Policy { on_shutdown: OnShutdown::Wait, on_failure: OnFailure::Log };
    tasks.spawn("readiness", policy, async move {
        loop {
            tokio::select! {
                changed = engine_ready.changed() => if changed.is_err() { return },
                () = drain.closing() => return,
            }
            ready.send_replace(*engine_ready.borrow_and_update());
        }
    });
    readiness
}

fn drain_of(config: &Config, options: StartOptions) -> DrainConfig {
    // Nobody balances load over the server of one command.
    let delay = if options.ephemeral { std::time::Duration::ZERO } else { config.drain.delay };
    DrainConfig { delay, ..config.drain }
}

fn engine_settings(config: &Config, catalog: &Catalog) -> EngineSettings {
    let jobs = &config.jobs;
    EngineSettings {
        max_duration: jobs.max_duration,
        unresolved_for: jobs.unresolved_for,
        backoff: Backoff { base: jobs.retry_base, jitter: JITTER },
        pace: Pace { first: jobs.poll_interval, longest: jobs.poll_interval_max },
        concurrency: jobs.concurrency,
        limits: providers::limits(config, catalog),
        max_unfinished: u64::try_from(jobs.max_unfinished).unwrap_or(u64::MAX),
        system_prompt: jobs.system_prompt.clone(),
        retention: Retention { generations: config.retention.generations, artifacts: config.retention.artifacts },
        public_url: config.public_url.clone(),
        lease: config.database.as_ref().map(|database| database.lease).unwrap_or_default(),
    }
}
