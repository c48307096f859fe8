//! The only file of the command line that knows the server's own parts: settings, start, telemetry.

use std::{borrow::Cow, net::SocketAddr, path::Path, time::Duration};

use futures_util::{Stream, StreamExt, future::BoxFuture};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{
    connect::{Connection, Tenant},
    exit::Exit,
    failure::Failure,
};
use crate::{
    app::{self, Running, StartError, StartOptions},
    config::{Config, Problem, Settings, Text, VendorConfig},
    lifecycle::{self, Signal},
};

/// Longest wait for a server that has the data folder to say where it listens.
const STARTING: Duration = Duration::from_secs(10);
/// Pause before another try to start with a database that is away.
const START_AGAIN: Duration = Duration::from_secs(1);
/// Pause before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Settings of the server that a command without `--server` uses. The others come from the environment and the file of settings:
/// on `generate` a flag such as `--max-duration` is about the order.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Without a server")]
pub(super) struct LocalSettings {
    /// File of settings.
    #[arg(long, env = "FILMGATE_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<String>,
    /// Folder of records and artifacts.
    #[arg(long, env = "FILMGATE_DATA_DIR", value_name = "FOLDER", hide_env_values = true)]
    data_dir: Option<String>,
}

impl From<LocalSettings> for Settings {
    fn from(LocalSettings { config, data_dir }: LocalSettings) -> Self {
        Self { config: config.map(Text::from), data_dir: data_dir.map(Text::from), ..Self::default() }
    }
}

/// Starts logs, traces and metrics, once the settings are known and before a server starts.
pub type StartTelemetry = fn(&Config, Purpose) -> anyhow::Result<Flush>;

/// Ends telemetry and sends what it still holds, within a time of its own choice. Awaited after the server has stopped.
pub type Flush = BoxFuture<'static, ()>;

/// What a server is started for; telemetry of a single command should not talk over its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `filmgate serve`.
    Serve,
    /// One command, then it ends.
    Command,
}

/// A server of this process with its telemetry, which outlives it.
pub(super) struct Host {
    running: Running,
    telemetry: Flush,
}

impl Host {
    /// Serves until a signal and tells how well that ended.
    pub(super) async fn run(self, signals: impl Stream<Item = Signal> + Unpin) -> Exit {
        let exit = match self.running.run(signals).await {
            lifecycle::Exit::Clean => Exit::Ok,
            // In a hurry nothing more is sent.
            lifecycle::Exit::Hurried => return Exit::Interrupted,
            lifecycle::Exit::Overdue(_) | lifecycle::Exit::Failed(_) => Exit::Internal,
        };
        self.telemetry.await;
        exit
    }
}

/// The signals that end a server, from now on: one that comes while it starts ends it once it has started.
pub(super) fn signals() -> Result<impl Stream<Item = Signal> + Unpin, Failure> {
    lifecycle::os_signals()
        .map_err(|error| Failure::new(Exit::Internal, format!("signals cannot be received: {error}")))
}

/// Where a command without `--server` went, with the telemetry that outlives its server.
pub(super) struct Local {
    pub(super) connection: Connection,
    pub(super) telemetry: Flush,
}

/// Starts the server that `serve` runs. While the shared database is away it waits for it, since a supervisor would only start it again, ever more
/// seldom; none if a signal comes meanwhile.
pub(super) async fn serve(
    settings: Settings,
    start_telemetry: StartTelemetry,
    signals: &mut (impl Stream<Item = Signal> + Unpin),
) -> Result<Option<Host>, Failure> {
    let config = Config::resolve(settings).map_err(Failure::settings)?;
    let telemetry = telemetry(start_telemetry, &config, Purpose::Serve)?;
    let mut told = false;
    loop {
        let error = match app::start(config.clone(), StartOptions { ephemeral: false }).await {
            Ok(running) => return Ok(Some(Host { running, telemetry })),
            Err(error) if error.may_pass() => error,
            Err(error) => return Err(not_started(error)),
        };
        if !told {
            warn!(error = &error as &dyn std::error::Error, "cannot start yet; waiting for the database");
            told = true;
        }
        tokio::select! {
            () = sleep(START_AGAIN) => {}
            _ = signals.next() => {
                telemetry.await;
                return Ok(None);
            }
        }
    }
}

/// Starts a server for one command, or finds the one that owns the data folder.
pub(super) async fn connect(
    settings: LocalSettings,
    tenant: Tenant,
    start_telemetry: StartTelemetry,
) -> Result<Local, Failure> {
    let config = Config::resolve(settings.into()).map_err(Failure::settings)?;
    let telemetry = telemetry(start_telemetry, &config, Purpose::Command)?;
    let connection = Connection::home(Home { config: Box::new(config) }, tenant).await?;
    Ok(Local { connection, telemetry })
}

/// The settings of a command without `--server`, which say where its data folder is.
#[derive(Debug)]
pub(super) struct Home {
    config: Box<Config>,
}

/// Who has the data folder.
#[derive(Debug)]
pub(super) enum Owner {
    /// This process, with a server of its own.
    Us(Box<Running>),
    /// The server that listens there.
    Other(SocketAddr),
}

impl Home {
    /// Takes the data folder and starts a server on it, unless somebody has it.
    pub(super) async fn owner(&self) -> Result<Owner, Failure> {
        let deadline = Instant::now() + STARTING;
        loop {
            match Box::pin(app::start((*self.config).clone(), StartOptions { ephemeral: true })).await {
                Ok(running) => return Ok(Owner::Us(Box::new(running))),
                Err(StartError::Locked { addr: Some(addr), .. }) => return Ok(Owner::Other(addr)),
                // It has the folder and does not listen yet.
                Err(StartError::Locked { addr: None, .. }) if Instant::now() < deadline => sleep(LOOK_AGAIN).await,
                Err(error) => return Err(not_started(error)),
            }
        }
    }
}

/// The settings in use, for people; secrets only as "set".
pub(super) fn effective(config: &Config) -> Vec<(Cow<'static, str>, String)> {
    let time = |time| humantime::format_duration(time).to_string();
    let path = |path: Option<&Path>| path.map(|path| path.display().to_string()).unwrap_or_default();
    let routes: Vec<String> = config
        .routes
        .iter()
        .map(|(name, route)| format!("{name} ({}: {})", route.strategy, route.models.join(", ")))
        .collect();
    let set = |is_set| if is_set { "set" } else { "not set" }.to_owned();
    let first = [
        ("file", path(config.file.as_deref())),
        ("listen", config.listen.to_string()),
        ("data_dir", path(Some(&config.data_dir))),
        ("database_url", set(config.database.is_some())),
        ("artifacts_url", config.artifacts.url.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("public_url", config.public_url.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("link_key", set(config.artifacts.link_key.is_some())),
        ("default_model", config.jobs.default_model.clone().unwrap_or_default()),
        ("default_chat_model", config.jobs.default_chat_model.clone().unwrap_or_default()),
        ("routes", routes.join("; ")),
        ("max_duration", time(config.jobs.max_duration)),
        ("unresolved_for", time(config.jobs.unresolved_for)),
        ("concurrency", config.jobs.concurrency.to_string()),
        ("max_unfinished", config.jobs.max_unfinished.to_string()),
        ("sample_dir", path(config.sample.dir.as_deref())),
    ];
    let last = [
        ("callbacks.url", if config.callbacks.default.url.is_some() { "set" } else { "not set" }.to_owned()),
        ("callbacks.secret", if config.callbacks.default.secrets.is_empty() { "not set" } else { "set" }.to_owned()),
        ("log", config.telemetry.log.clone()),
        ("log_dir", path(config.telemetry.log_dir.as_deref())),
        ("otlp_endpoint", config.telemetry.otlp_endpoint.as_ref().map(ToString::to_string).unwrap_or_default()),
    ];
    let plain = |(key, value)| (Cow::Borrowed(key), value);
    first.into_iter().map(plain).chain(of_vendors(config)).chain(last.into_iter().map(plain)).collect()
}

/// What is set of each vendor, and which keys are not.
fn of_vendors(config: &Config) -> impl Iterator<Item = (Cow<'static, str>, String)> + '_ {
    config.vendors.iter().flat_map(|VendorConfig { table, vendor, values, .. }| {
        vendor.all_settings().filter_map(move |setting| {
            let unset = || setting.shape.is_key().then(|| "not set".to_owned());
            let value = values.get(setting.key).map(ToString::to_string).or_else(unset)?;
            Some((Cow::Owned(format!("{table}.{}", setting.key)), value))
        })
    })
}

/// The providers that have what they need, without the sample.
pub(super) fn providers(config: &Config) -> Vec<String> {
    app::configured(config)
}

/// What is wrong with providers, routes, cards, the default model, the address of the database and the bucket of artifacts.
pub(super) async fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = app::check(config);
    problems.extend(app::check_bucket(config).await);
    problems
}

/// What the shared database is, or what is wrong with it, if there is one.
pub(super) async fn database(config: &Config) -> Option<Result<String, Problem>> {
    app::check_database(config).await
}

fn telemetry(start: StartTelemetry, config: &Config, purpose: Purpose) -> Result<Flush, Failure> {
    start(config, purpose).map_err(|error| Failure::new(Exit::Config, format!("cannot start telemetry: {error:#}")))
}

fn not_started(error: StartError) -> Failure {
    match error {
        StartError::Locked { addr, .. } => {
            let owner = addr.map_or_else(String::new, |addr| format!(" at {addr}"));
            Failure::new(Exit::Precondition, format!("another filmgate{owner} owns the data folder"))
                .with_next_step("use it with --server, end it, or choose another data folder")
        }
        StartError::Settings(problems) => Failure::settings(problems),
        error @ (StartError::Listen { .. } | StartError::Folder { .. } | StartError::Database { .. }) => {
            let told = format!("the server did not start: {:#}", anyhow::Error::from(error));
            Failure::new(Exit::Precondition, told).with_next_step("see `filmgate check`")
        }
    }
}
