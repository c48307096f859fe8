//! Settings as people write them: optional texts by flag, environment variable or file key, not judged yet.

use std::fmt;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};

use super::{CallbackSettings, VendorSettings, vendors};

/// A second environment variable of a setting, asked after the one in [`Settings`].
const OTHER_VARIABLES: [(&str, &str); 1] = [("system_prompt", "SYSTEM_PROMPT")];

const DEFAULTS: &str = include_str!("defaults.toml");

// A plain comment, because clap would show a doc comment as the description of any command that flattens this.
// Flags and environment through clap, the file through serde; an absent or empty value is "not set". The `id` of an argument is the
// key in the file.
#[expect(missing_docs, reason = "the doc comment of each field is its help text")]
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[command(next_help_heading = "Settings")]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// File of settings; else ./filmgate.toml, else filmgate/filmgate.toml in the XDG configuration folder, if there is one
    #[arg(long, env = "FILMGATE_CONFIG", value_name = "FILE", hide_env_values = true)]
    #[serde(skip)]
    pub config: Option<Text>,
    /// Address to listen on; there is no access control, so a wider one than loopback trusts the whole network (default 127.0.0.1:50051)
    #[arg(long, env = "FILMGATE_LISTEN", value_name = "IP:PORT", hide_env_values = true)]
    pub listen: Option<Text>,
    /// Web pages that may call this server from a browser: origins such as `https://studio.example` with commas between them, or `*` for any (default: none)
    #[arg(long, env = "FILMGATE_CORS_ORIGINS", value_name = "ORIGINS", hide_env_values = true)]
    pub cors_origins: Option<Text>,
    /// Port in place of the default address's one; not used when `listen` is set
    #[arg(long, env = "PORT", value_name = "PORT", hide_env_values = true)]
    pub port: Option<Text>,
    /// Folder of records and artifacts (default: filmgate in the XDG data folder)
    #[arg(long, env = "FILMGATE_DATA_DIR", value_name = "FOLDER", hide_env_values = true)]
    pub data_dir: Option<Text>,
    /// PostgreSQL database that several processes share, such as `postgres://user:password@host/name?sslmode=verify-full`; better in the
    /// environment, where no process list shows it (default: records are in the data folder)
    #[arg(
        long,
        env = "FILMGATE_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        value_parser = secret
    )]
    #[serde(deserialize_with = "secret_in_file")]
    pub database_url: Option<SecretString>,
    /// How long other processes on the database wait before they take over what this one does not drive any more, from 1s to 1h (default 15s)
    #[arg(long, env = "FILMGATE_LEASE", value_name = "TIME", hide_env_values = true)]
    pub lease: Option<Text>,
    /// Longest life of a generation that sets none itself, from 1s to 24h (default 30m)
    #[arg(long, env = "FILMGATE_MAX_DURATION", value_name = "TIME", hide_env_values = true)]
    pub max_duration: Option<Text>,
    /// How long an unresolved generation is still asked about (default 24h)
    #[arg(long, env = "FILMGATE_UNRESOLVED_FOR", value_name = "TIME", hide_env_values = true)]
    pub unresolved_for: Option<Text>,
    /// Time between "not ready" and closing, for balancers to notice (default 5s)
    #[arg(long, env = "FILMGATE_DRAIN_DELAY", value_name = "TIME", hide_env_values = true)]
    pub drain_delay: Option<Text>,
    /// Longest time from the first signal to the exit (default 30s)
    #[arg(long, env = "FILMGATE_DRAIN_DEADLINE", value_name = "TIME", hide_env_values = true)]
    pub drain_deadline: Option<Text>,
    /// Wait before the first retry; each further one is three times as long (default 5s)
    #[arg(long, env = "FILMGATE_RETRY_BASE", value_name = "TIME", hide_env_values = true)]
    pub retry_base: Option<Text>,
    /// Wait before the first poll of a provider's job (default 1s)
    #[arg(long, env = "FILMGATE_POLL_INTERVAL", value_name = "TIME", hide_env_values = true)]
    pub poll_interval: Option<Text>,
    /// Longest wait between two polls (default 10s)
    #[arg(long, env = "FILMGATE_POLL_INTERVAL_MAX", value_name = "TIME", hide_env_values = true)]
    pub poll_interval_max: Option<Text>,
    /// Jobs in flight at one provider (default 100)
    #[arg(long, env = "FILMGATE_CONCURRENCY", value_name = "COUNT", hide_env_values = true)]
    pub concurrency: Option<Text>,
    /// Unfinished generations held at most; beyond it new ones are refused (default 50000)
    #[arg(long, env = "FILMGATE_MAX_UNFINISHED", value_name = "COUNT", hide_env_values = true)]
    pub max_unfinished: Option<Text>,
    /// How long an ended generation is kept with its artifacts, at least 1m; then only a tombstone is (default: for ever)
    #[arg(long, env = "FILMGATE_KEEP_GENERATIONS", value_name = "TIME", hide_env_values = true)]
    pub keep_generations: Option<Text>,
    /// How long artifacts are kept, outputs and uploads, at least 1m (default: for ever)
    #[arg(long, env = "FILMGATE_KEEP_ARTIFACTS", value_name = "TIME", hide_env_values = true)]
    pub keep_artifacts: Option<Text>,
    /// Largest artifact taken in (default 2GiB)
    #[arg(long, env = "FILMGATE_MAX_ARTIFACT_BYTES", value_name = "SIZE", hide_env_values = true)]
    pub max_artifact_bytes: Option<Text>,
    /// Where artifacts are kept: `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`; keys come from the variables of the cloud's own tools (default: blobs in the data folder)
    #[arg(long, env = "FILMGATE_ARTIFACTS_URL", value_name = "URL", hide_env_values = true)]
    pub artifacts_url: Option<Text>,
    /// Address at which clients and providers reach this server, for links that it gives out; with it providers are asked to call back when a job begins and ends (default: where it listens, and no calls)
    #[arg(long, env = "FILMGATE_PUBLIC_URL", value_name = "URL", hide_env_values = true)]
    pub public_url: Option<Text>,
    /// Key that signs links to this server, the same on all replicas; better in the environment (default: made once, in the data folder)
    #[arg(long, env = "FILMGATE_LINK_KEY", value_name = "KEY", hide_env_values = true, value_parser = secret)]
    #[serde(deserialize_with = "secret_in_file")]
    pub link_key: Option<SecretString>,
    /// A download with no byte for this long is broken off (default 180s)
    #[arg(long, env = "FILMGATE_DOWNLOAD_TIMEOUT", value_name = "TIME", hide_env_values = true)]
    pub download_timeout: Option<Text>,
    /// Longest time of one call of a provider's API (default 30s)
    #[arg(long, env = "FILMGATE_PROVIDER_TIMEOUT", value_name = "TIME", hide_env_values = true)]
    pub provider_timeout: Option<Text>,
    /// Model of a request that names none
    #[arg(long, env = "FILMGATE_MODEL", value_name = "PROVIDER/NAME", hide_env_values = true)]
    pub default_model: Option<Text>,
    /// Language model of a chat that names none
    #[arg(long, env = "FILMGATE_DEFAULT_CHAT_MODEL", value_name = "PROVIDER/NAME", hide_env_values = true)]
    pub default_chat_model: Option<Text>,
    /// Folder whose files the sample provider serves in place of its own
    #[arg(long, env = "FILMGATE_SAMPLE_DIR", value_name = "FOLDER", hide_env_values = true)]
    pub sample_dir: Option<Text>,
    /// How long the sample provider seems to work (default 2s)
    #[arg(long, env = "FILMGATE_SAMPLE_LATENCY", value_name = "TIME", hide_env_values = true)]
    pub sample_latency: Option<Text>,
    /// Text put before every prompt
    #[arg(long, env = "FILMGATE_SYSTEM_PROMPT", value_name = "TEXT", hide_env_values = true)]
    pub system_prompt: Option<Text>,
    /// What is logged: a level, or `target=level` pairs with commas (default info)
    #[arg(long, env = "FILMGATE_LOG", value_name = "FILTER", hide_env_values = true)]
    pub log: Option<Text>,
    /// Form of the log: text or json (default text)
    #[arg(long, env = "FILMGATE_LOG_FORMAT", value_name = "FORMAT", hide_env_values = true)]
    pub log_format: Option<Text>,
    /// Folder of daily log files, the last 30 of which are kept
    #[arg(long, env = "FILMGATE_LOG_DIR", value_name = "FOLDER", hide_env_values = true)]
    pub log_dir: Option<Text>,
    /// OTLP collector (gRPC) for traces and metrics; none are sent without it
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", hide_env_values = true)]
    pub otlp_endpoint: Option<Text>,
    /// Whether `/metrics` shows counts and times to Prometheus: on or off (default on)
    #[arg(long, env = "FILMGATE_METRICS", value_name = "on|off", hide_env_values = true)]
    pub metrics: Option<Text>,
    /// Name of this service in traces and metrics (default filmgate)
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME", hide_env_values = true)]
    pub service_name: Option<Text>,
    /// Part of the traces that is kept, unless the caller decided (default 1.0)
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "0..1", hide_env_values = true)]
    pub trace_ratio: Option<Text>,
    #[command(flatten)]
    #[serde(skip)]
    pub vendors: VendorSettings,
    #[command(flatten)]
    pub callbacks: CallbackSettings,
    #[arg(skip)]
    pub routes: Option<toml::Table>,
    /// Limits of single models.
    #[arg(skip)]
    #[serde(default)]
    pub limits: Option<toml::Table>,
    #[arg(skip)]
    pub models: Option<Vec<toml::Value>>,
    #[arg(skip)]
    pub budgets: Option<Vec<toml::Value>>,
}

/// What documentation says about one setting, derived from the definitions that are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingDoc {
    /// Key in the file; a dot stands for a table.
    pub key: String,
    /// Flag, with its two dashes.
    pub flag: String,
    /// Environment variables, the first one wins.
    pub env: Vec<String>,
    /// Default as it would be written, if there is a fixed one.
    pub default: Option<String>,
    /// One sentence.
    pub help: String,
}

impl Settings {
    /// Every setting that has a flag, in the order of the help text.
    pub fn table() -> Vec<SettingDoc> {
        let defaults: toml::Table = DEFAULTS.parse().unwrap_or_default();
        let command = Self::augment_args(clap::Command::new("filmgate"));
        command.get_arguments().map(|argument| describe(argument, &defaults)).collect()
    }

    /// The lowest layer.
    pub(super) fn defaults() -> Result<Self, toml::de::Error> {
        toml::from_str(DEFAULTS)
    }

    /// The layer of the environment, through the same definitions as the flags.
    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, clap::Error> {
        let given = Self::table().into_iter().filter_map(|setting| {
            let value = setting.env.iter().filter_map(|name| variable(name)).find(|value| !value.trim().is_empty())?;
            Some(format!("{}={value}", setting.flag))
        });
        Self::parse_flags(std::iter::once("filmgate".to_owned()).chain(given))
    }

    /// Reads flags only: the process's environment plays no part.
    pub(super) fn parse_flags(arguments: impl IntoIterator<Item = String>) -> Result<Self, clap::Error> {
        use clap::FromArgMatches;
        let command = Self::augment_args(clap::Command::new("filmgate"));
        let command = command.mut_args(|argument| argument.env(None::<&'static str>));
        Self::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    /// This layer's values, and those of the layer below where this one has none.
    pub(super) fn over(self, lower: Self) -> Self {
        macro_rules! merged {
            ($($field:ident)*) => {
                Self {
                    $($field: first_given(self.$field, lower.$field, Text::is_given),)*
                    link_key: first_given(self.link_key, lower.link_key, is_given_secret),
                    database_url: first_given(self.database_url, lower.database_url, is_given_secret),
                    vendors: self.vendors.over(lower.vendors),
                    callbacks: self.callbacks.over(lower.callbacks),
                    routes: self.routes.or(lower.routes),
                    limits: self.limits.or(lower.limits),
                    models: self.models.or(lower.models),
                    budgets: self.budgets.or(lower.budgets),
                }
            };
        }
        merged! {
            config listen cors_origins port data_dir lease max_duration unresolved_for drain_delay drain_deadline retry_base poll_interval
            poll_interval_max concurrency max_unfinished keep_generations keep_artifacts max_artifact_bytes artifacts_url public_url
            download_timeout provider_timeout default_model default_chat_model sample_dir sample_latency system_prompt log log_format log_dir
            otlp_endpoint metrics
            service_name trace_ratio
        }
    }
}

pub(super) fn first_given<T>(upper: Option<T>, lower: Option<T>, is_given: fn(&T) -> bool) -> Option<T> {
    upper.into_iter().chain(lower).find(is_given)
}

pub(super) fn is_given_secret(secret: &SecretString) -> bool {
    !secret.expose_secret().trim().is_empty()
}

fn describe(argument: &clap::Arg, defaults: &toml::Table) -> SettingDoc {
    let key = argument.get_id().to_string();
    let default = match key.split_once('.') {
        Some((table, key)) => defaults.get(table).and_then(|table| table.get(key)),
        None => defaults.get(&key),
    };
    let default = default.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let of_vendor = vendors::setting(&key);
    let env = of_vendor.map_or_else(
        || {
            let first = argument.get_env().map(|name| name.to_string_lossy().into_owned());
            let second = OTHER_VARIABLES.iter().find(|(of, _)| *of == key).map(|(_, name)| (*name).to_owned());
            first.into_iter().chain(second).collect()
        },
        |(vendor, setting)| vendor.env(&setting),
    );
    SettingDoc {
        flag: format!("--{}", argument.get_long().unwrap_or_default()),
        env,
        default: default.or_else(|| Some(of_vendor?.1.default?.to_owned())),
        help: argument.get_help().map(ToString::to_string).unwrap_or_default(),
        key,
    }
}

/// A value before it is parsed. In the file numbers may stand bare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl Text {
    pub(super) fn is_given(&self) -> bool {
        !self.0.trim().is_empty()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl de::Visitor<'_> for Scalar {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Text, E> {
                Ok(value.into())
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Text, E> {
                Ok(value.to_string().into())
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Text, E> {
                Ok(value.to_string().into())
            }
        }

        deserializer.deserialize_any(Scalar)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the form clap asks of a value parser")]
pub(super) fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(text.into())
}

pub(super) fn secret_in_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    String::deserialize(deserializer).map(|text| Some(text.into()))
}
