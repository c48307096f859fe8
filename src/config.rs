//! Settings, judged once: what comes out of here is valid, and nothing else in the house reads the environment.
//!
//! Every setting can be given by flag, environment variable or key of `filmgate.toml`; the first of these wins, then the default. An
//! empty value counts as not set. All problems are reported at once and none of them shows a secret.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;
use url::Url;

use crate::domain::budget::Budget;

pub use self::{
    callbacks::{CallbackConfig, CallbackSettings, CallbackTarget, TenantCallbackSettings},
    problem::Problem,
    settings::{SettingDoc, Settings, Text},
    surroundings::{Surroundings, load_dotenv},
    vendors::{VendorConfig, VendorSettings},
};

mod budgets;
mod callbacks;
mod parse;
mod problem;
mod resolve;
mod settings;
mod surroundings;
#[cfg(test)]
mod tests;
mod vendors;

/// All settings, valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the one port is opened.
    pub listen: SocketAddr,
    /// Which web pages may call.
    pub cors: CorsConfig,
    /// Folder of records and artifacts. Need not exist yet.
    pub data_dir: PathBuf,
    /// The database that several processes share; without one, records are in the data folder.
    pub database: Option<DatabaseConfig>,
    /// How generations are driven.
    pub jobs: JobsConfig,
    /// How the process ends.
    pub drain: DrainConfig,
    /// What is taken in, how patiently, and where it is kept.
    pub artifacts: ArtifactsConfig,
    /// How long what has ended is kept.
    pub retention: RetentionConfig,
    /// Where clients and providers reach this server: http or https, without credentials, query and fragment; may end in a path. Without it
    /// clients are pointed to where it listens, and no provider is asked to call back.
    pub public_url: Option<Url>,
    /// The stand-in provider.
    pub sample: SampleConfig,
    /// Every vendor in the order of the registry, then the further instances of adapters by name.
    pub vendors: Vec<VendorConfig>,
    /// The user's home, where vendors' own tools leave credentials.
    pub home: Option<PathBuf>,
    /// Who is called back.
    pub callbacks: CallbackConfig,
    /// Logs, traces, metrics.
    pub telemetry: TelemetryConfig,
    /// The routes by name.
    pub routes: BTreeMap<String, RouteConfig>,
    /// Limits of single models by name (`provider/name`, or a name or alias alone).
    pub limits: BTreeMap<String, LimitConfig>,
    /// The user's model cards as written under `[[models]]`; the vendor that each names takes it.
    pub models: Vec<toml::Value>,
    /// What may be spent, in the order of the file.
    pub budgets: Vec<Budget>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// What works but is probably not meant.
    pub warnings: Vec<Problem>,
}

/// Which web pages may call from a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsConfig {
    /// None.
    Off,
    /// Every page.
    Any,
    /// Those of these origins: each scheme, host and port as browsers send it; at least one.
    Origins(Vec<String>),
}

/// The database that several processes share.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// Its address, with a password. Not judged here.
    pub url: SecretString,
    /// How long the other processes let this one's generations be when they hear nothing of it, 1 s to 1 h.
    pub lease: Duration,
}

/// How generations are driven.
#[derive(Debug, Clone)]
pub struct JobsConfig {
    /// Life of a generation whose request sets no other, 1 s to 24 h.
    pub max_duration: Duration,
    /// How long an unresolved generation is asked about, above zero.
    pub unresolved_for: Duration,
    /// Wait before the first retry, above zero; the second is three times as long, the third nine times.
    pub retry_base: Duration,
    /// Wait before the first poll, above zero.
    pub poll_interval: Duration,
    /// Longest wait between two polls, at least `poll_interval`.
    pub poll_interval_max: Duration,
    /// Time of one call of a provider's API, above zero.
    pub provider_timeout: Duration,
    /// Jobs of this process in flight at one provider, at least 1.
    pub concurrency: usize,
    /// Unfinished generations held, at least 1.
    pub max_unfinished: usize,
    /// Model (`provider/name`) of a request that names none.
    pub default_model: Option<String>,
    /// Language model (`provider/name`) of a chat that names none.
    pub default_chat_model: Option<String>,
    /// Text put before every prompt.
    pub system_prompt: Option<String>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// In which order its models are tried: `ordered`, `cheapest` or `fastest`.
    pub strategy: String,
    /// Its models (`provider/name`, or a name or alias alone) in order of preference, at least one.
    pub models: Vec<String>,
}

/// Limits of a model, at least one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitConfig {
    /// Most jobs in flight, at least 1.
    pub concurrency: Option<u64>,
    /// Most jobs handed over in one minute, at least 1.
    pub rate: Option<u64>,
}

/// How the process ends. `delay` is shorter than `deadline`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainConfig {
    /// Time between "not ready" and closing; may be zero.
    pub delay: Duration,
    /// Longest time from the first signal to the end.
    pub deadline: Duration,
}

/// What is taken in, how patiently, and where it is kept.
#[derive(Debug, Clone)]
pub struct ArtifactsConfig {
    /// Largest artifact in bytes, at least 1.
    pub max_bytes: u64,
    /// A download with no byte for this long is broken off.
    pub download_timeout: Duration,
    /// Where they are kept: `file`, `s3`, `gs` or `az`. Without it in the data folder.
    pub url: Option<Url>,
    /// The variables that are about the cloud of `url`, such as `AWS_REGION`, by name. They may hold keys, so all are secret.
    pub cloud: BTreeMap<String, SecretString>,
    /// What signs links to this server, 32 visible characters or more. Without it a key of the data folder.
    pub link_key: Option<SecretString>,
}

/// How long what has ended is kept: at least a minute each, for ever when absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionConfig {
    /// An ended generation with all that belongs to it.
    pub generations: Option<Duration>,
    /// An output or upload.
    pub artifacts: Option<Duration>,
}

/// The stand-in provider.
#[derive(Debug, Clone)]
pub struct SampleConfig {
    /// Folder whose files are served; the built-in ones without it.
    pub dir: Option<PathBuf>,
    /// How long it seems to work; may be zero.
    pub latency: Duration,
}

/// Logs, traces, metrics.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// A valid filter in the form of `tracing_subscriber::EnvFilter`.
    pub log: String,
    /// Form of each line.
    pub log_format: LogFormat,
    /// Folder of daily files beside the standard error stream.
    pub log_dir: Option<PathBuf>,
    /// OTLP collector, gRPC. Nothing is sent without it.
    pub otlp_endpoint: Option<Url>,
    /// Whether metrics are kept for [`crate::telemetry::exposition`].
    pub metrics: bool,
    /// `service.name` of everything sent.
    pub service_name: String,
    /// Part of the traces kept, 0 to 1, where the caller has not decided.
    pub trace_ratio: f64,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for machines.
    Json,
}

impl Config {
    /// Puts flags over this process's environment, the file of settings and the defaults, and judges the result.
    ///
    /// # Errors
    /// Every problem there is, at least one.
    pub fn resolve(flags: Settings) -> Result<Self, Vec<Problem>> {
        Self::resolve_in(flags, &Surroundings::of_process())
    }

    /// As [`Config::resolve`], in given surroundings.
    ///
    /// # Errors
    /// Every problem there is, at least one.
    pub fn resolve_in(flags: Settings, surroundings: &Surroundings) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut layer = |read: Result<Settings, Problem>| {
            read.unwrap_or_else(|problem| {
                problems.push(problem);
                Settings::default()
            })
        };

        let variables = Settings::from_variables(|name| surroundings.variables.get(name).cloned());
        let chosen = flags.over(layer(variables.map_err(|error| unreadable("environment", &error.kind()))));
        let asked = chosen.config.as_ref().map(|text| Path::new(&text.0));
        let file = surroundings.settings_file(asked);
        let chosen =
            chosen.over(file.as_deref().map_or_else(Settings::default, |file| layer(Settings::load_file(file))));
        let defaults = layer(Settings::defaults().map_err(|error| unreadable("defaults", &error.message())));

        resolve::resolve(chosen, defaults, surroundings, problems).map(|config| Self { file, ..config })
    }

    /// A vendor by its id, or an instance by its name.
    pub fn vendor(&self, id: &str) -> Option<&VendorConfig> {
        self.vendors.iter().find(|vendor| vendor.id == id)
    }

    /// What documentation says about each setting, from the definitions in force.
    pub fn settings_table() -> Vec<SettingDoc> {
        Settings::table()
    }
}

fn unreadable(setting: &str, cause: &dyn std::fmt::Debug) -> Problem {
    Problem {
        setting: setting.to_owned(),
        message: format!("cannot be read: {cause:?}"),
        fix: "please report this as a bug".to_owned(),
    }
}
