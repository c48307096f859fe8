//! The vendors' HTTP contracts as a server: `filmgate simulate`.
//!
//! It is a peer, not a part: it uses nothing else of this crate, and the vendors' own clients work against it. Today it
//! is Replicate, at the base URL `http://HOST:PORT/replicate/v1`; output files are below `/replicate/delivery`.
//!
//! - A job's state follows from the time since its creation; nothing runs between calls. Only callbacks have tasks.
//! - What goes wrong is said by fault rules: on the command line, in a scenario file, or through `/_control`. One rule
//!   is one line, `OPERATION[:WHEN]:WHAT`, for example `create:first=2:status=429,retry_after=1`; `--help` has the
//!   grammar.
//! - `/_control` tells what was asked (`counts`, `predictions`) and takes `faults`, `settings`, `release` and `reset`.
//! - Memory is bounded: 200 000 predictions (a setting), beyond which the oldest finished one is dropped, and 512 MiB
//!   of inputs.
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

mod control;
mod counts;
mod fault;
mod output;
mod replicate;
mod server;
mod settings;

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

use sha2::{Digest, Sha256};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::fault::{Rule, RuleError};
use self::{
    fault::{Faults, GRAMMAR, Operation, Rules, Subject},
    settings::{Change, Scenario, Settings},
};

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
    let mut settings = scenario.settings.applied_to(&Settings::default());
    if let Some(latency) = latency {
        settings.latency = latency;
    }
    let rules: Vec<Rule> = faults.into_iter().chain(scenario.faults).collect();
    let world = World {
        seed,
        settings: RwLock::new(Arc::new(settings.clone())),
        rules: RwLock::new(Arc::new(Rules::new(rules.iter().cloned(), seed))),
        start: (settings, rules),
        ids: AtomicU64::new(0),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
        replicate: replicate::Replicate::new(seed, scenario.models)?,
    };
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    Ok(Bound { listener, addr, world: Arc::new(world) })
}

/// A simulator that has its address.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
    world: Arc<World>,
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
        let router = replicate::router().merge(control::router()).with_state(Arc::clone(&self.world));
        server::serve(listener, router, self.world, shutdown).await
    }
}

/// All state of a running simulator.
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
    replicate: replicate::Replicate,
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
        self.replicate.reset();
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

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn command() -> Command {
        SimulateArgs::augment_args(Command::new("simulate"))
    }

    #[test]
    fn flags_are_read_and_help_has_the_grammar() {
        let flags = ["simulate", "--listen", "127.0.0.1:0", "--latency", "250ms", "--fault", "get:drop"];
        let args = SimulateArgs::from_arg_matches(&command().get_matches_from(flags)).unwrap();
        assert_eq!(args.listen.port(), 0);
        assert_eq!(args.latency, Some(Duration::from_millis(250)));
        assert_eq!(args.faults, ["get:drop".parse().unwrap()]);
        assert!(command().render_help().to_string().contains("OPERATION:WHEN:WHAT"));
    }

    #[test]
    fn a_bad_rule_is_refused_on_the_command_line_with_its_reason() {
        let error = command().try_get_matches_from(["simulate", "--fault", "get:dorp"]).unwrap_err();
        assert!(error.to_string().contains("dorp"), "{error}");
    }

    #[test]
    fn a_taken_address_is_an_error() {
        let args = SimulateArgs { listen: (Ipv4Addr::LOCALHOST, 0).into(), ..SimulateArgs::default() };
        let bound = bind(args.clone()).unwrap();
        assert!(bind(SimulateArgs { listen: bound.addr(), ..args }).is_err());
    }
}
