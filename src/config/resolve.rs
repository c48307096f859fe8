//! From texts to a valid [`Config`]. Every setting is judged before the first problem is reported.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::EnvFilter;

use super::{
    ArtifactsConfig, Config, CorsConfig, DatabaseConfig, DrainConfig, JobsConfig, LimitConfig, LogFormat, Problem,
    RetentionConfig, RouteConfig, SampleConfig, SettingDoc, Settings, Surroundings, TelemetryConfig, Text, parse,
};

pub(super) const TIME: &str = "a time above zero such as 500ms, 30s, 15m or 24h";
const JOB_TIME: &str = "a time from 1s to 24h such as 90s or 30m";
const KEEPING: &str = "a time of at least 1m such as 12h or 30d";
const TIME_OR_ZERO: &str = "a time such as 0s, 500ms, 30s or 15m";
pub(super) const COUNT: &str = "a whole number of at least 1";
pub(super) const URL: &str = "an address such as https://host/path, without user, query and fragment";
const ORIGINS: &str = "* or origins such as https://studio.example with commas between them, without path";
const ARTIFACTS: &str = "file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, without user, query and fragment; a prefix may be left out";
const ROUTE_STRATEGIES: [&str; 3] = ["ordered", "cheapest", "fastest"];
const MODEL: &str = "provider/name, such as sample/video";

/// Judges `chosen` over `defaults`, after the `problems` that reading them brought.
pub(super) fn resolve(
    chosen: Settings,
    defaults: Settings,
    surroundings: &Surroundings,
    problems: Vec<Problem>,
) -> Result<Config, Vec<Problem>> {
    let port_only = if chosen.listen.is_none() { chosen.port.clone() } else { None };
    let settings = chosen.over(defaults);
    let mut judge = Judge { table: Settings::table(), problems };
    let config = judge.config(&settings, port_only.as_ref(), surroundings);
    match config {
        Some(config) if judge.problems.is_empty() => Ok(config),
        _ => Err(judge.problems),
    }
}

/// Judges settings one by one and collects what is wrong with them.
pub(super) struct Judge {
    table: Vec<SettingDoc>,
    pub(super) problems: Vec<Problem>,
}

impl Judge {
    /// `None` only if there is a problem, here and in the groups below: what has a default is always there.
    fn config(&mut self, settings: &Settings, port: Option<&Text>, surroundings: &Surroundings) -> Option<Config> {
        let listen = self.listen(settings.listen.as_ref(), port);
        let cors = self.value("cors_origins", &settings.cors_origins, ORIGINS, parse::origins);
        let data_dir = self.data_dir(settings.data_dir.as_ref(), surroundings);
        let database = self.database(settings);
        let jobs = self.jobs(settings);
        let drain = self.drain(settings);
        let artifacts = self.artifacts(settings, surroundings);
        let public_url = self.value("public_url", &settings.public_url, URL, parse::base_url);
        let sample_latency =
            self.value("sample_latency", &settings.sample_latency, TIME_OR_ZERO, parse::duration_or_zero);
        let retention = RetentionConfig {
            generations: self.value("keep_generations", &settings.keep_generations, KEEPING, parse::keeping),
            artifacts: self.value("keep_artifacts", &settings.keep_artifacts, KEEPING, parse::keeping),
        };
        let telemetry = self.telemetry(settings);
        let vendors = self.vendors(&settings.vendors);
        let callbacks = self.callbacks(&settings.callbacks);
        let routes = self.routes(settings.routes.as_ref());
        let budgets = self.budgets(settings.budgets.as_ref());
        let limits = self.limits(settings.limits.as_ref());

        let listen = listen?;
        let mut warnings = surroundings.unknown_variables();
        if !listen.ip().is_loopback() {
            warnings.push(self.problem(
                "listen",
                format!("{listen} can be reached from other machines and there is no access control"),
                "use a loopback address, or let only trusted callers through the network",
            ));
        }
        warnings.extend(vendors.iter().filter_map(|vendor| self.unreachable_by(vendor, public_url.as_ref())));
        warnings.extend(self.kept_apart(settings));
        Some(Config {
            listen,
            cors: cors.unwrap_or(CorsConfig::Off),
            data_dir: data_dir?,
            database: database?,
            jobs: jobs?,
            drain: drain?,
            artifacts: artifacts?,
            retention,
            public_url,
            sample: SampleConfig { dir: settings.sample_dir.clone().map(path), latency: sample_latency? },
            vendors,
            home: surroundings.home.clone(),
            callbacks: callbacks?,
            telemetry: telemetry?,
            routes,
            limits,
            models: settings.models.clone().unwrap_or_default(),
            budgets,
            file: None,
            warnings,
        })
    }

    fn listen(&mut self, listen: Option<&Text>, port: Option<&Text>) -> Option<SocketAddr> {
        if let Some(port) = port {
            let port = self.value("port", &Some(port.clone()), "a port from 0 to 65535", |text| text.parse().ok())?;
            return Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        }
        let shape = "an IP address and a port, such as 127.0.0.1:50051 or [::]:50051";
        self.value("listen", &listen.cloned(), shape, |text| text.parse().ok())
    }

    fn data_dir(&mut self, given: Option<&Text>, surroundings: &Surroundings) -> Option<PathBuf> {
        let usual = surroundings.data_home.as_ref().map(|home| home.join("filmgate"));
        let folder = given.cloned().map(path).or(usual);
        if folder.is_none() {
            let message = "not set, and there is no home folder to put it in".to_owned();
            let problem = self.problem("data_dir", message, "set it to a folder that this process may write");
            self.problems.push(problem);
        }
        folder
    }

    /// Whether the address leads anywhere is for its driver to say.
    fn database(&mut self, settings: &Settings) -> Option<Option<DatabaseConfig>> {
        let lease = self.value("lease", &settings.lease, "a time from 1s to 1h such as 15s", parse::lease)?;
        Some(settings.database_url.clone().map(|url| DatabaseConfig { url, lease }))
    }

    /// Servers that share records and not the bytes they are about.
    fn kept_apart(&self, settings: &Settings) -> Option<Problem> {
        let apart = settings.database_url.is_some() && settings.artifacts_url.is_none();
        apart.then(|| {
            let message = "not set, so other servers on this database cannot read the artifacts of this one".to_owned();
            self.problem("artifacts_url", message, "set it to one bucket or folder for all of them")
        })
    }

    fn jobs(&mut self, settings: &Settings) -> Option<JobsConfig> {
        let max_duration = self.value("max_duration", &settings.max_duration, JOB_TIME, parse::job_duration);
        let unresolved_for = self.time("unresolved_for", &settings.unresolved_for);
        let retry_base = self.time("retry_base", &settings.retry_base);
        let poll_interval = self.time("poll_interval", &settings.poll_interval);
        let poll_interval_max = self.time("poll_interval_max", &settings.poll_interval_max);
        let provider_timeout = self.time("provider_timeout", &settings.provider_timeout);
        let concurrency = self.value("concurrency", &settings.concurrency, COUNT, parse::count);
        let max_unfinished = self.value("max_unfinished", &settings.max_unfinished, COUNT, parse::count);
        let default_model = self.value("default_model", &settings.default_model, MODEL, parse::model);
        let default_chat_model = self.value("default_chat_model", &settings.default_chat_model, MODEL, parse::model);
        self.in_order(("poll_interval", poll_interval), ("poll_interval_max", poll_interval_max), |low, high| {
            low <= high
        });
        Some(JobsConfig {
            max_duration: max_duration?,
            unresolved_for: unresolved_for?,
            retry_base: retry_base?,
            poll_interval: poll_interval?,
            poll_interval_max: poll_interval_max?,
            provider_timeout: provider_timeout?,
            concurrency: concurrency?,
            max_unfinished: max_unfinished?,
            default_model,
            default_chat_model,
            system_prompt: settings.system_prompt.clone().map(|text| text.0),
        })
    }

    fn drain(&mut self, settings: &Settings) -> Option<DrainConfig> {
        let delay = self.value("drain_delay", &settings.drain_delay, TIME_OR_ZERO, parse::duration_or_zero);
        let deadline = self.time("drain_deadline", &settings.drain_deadline);
        self.in_order(("drain_delay", delay), ("drain_deadline", deadline), |low, high| low < high);
        Some(DrainConfig { delay: delay?, deadline: deadline? })
    }

    fn artifacts(&mut self, settings: &Settings, surroundings: &Surroundings) -> Option<ArtifactsConfig> {
        let size = "a size above zero such as 2147483648, 512MiB or 2GiB";
        let max_bytes = self.value("max_artifact_bytes", &settings.max_artifact_bytes, size, parse::bytes);
        let download_timeout = self.time("download_timeout", &settings.download_timeout);
        let url = self.value("artifacts_url", &settings.artifacts_url, ARTIFACTS, parse::artifacts_url);
        self.link_key(settings.link_key.as_ref());
        Some(ArtifactsConfig {
            max_bytes: max_bytes?,
            download_timeout: download_timeout?,
            cloud: url.as_ref().map(|url| surroundings.of_cloud(url.scheme())).unwrap_or_default(),
            url,
            link_key: settings.link_key.clone(),
        })
    }

    fn telemetry(&mut self, settings: &Settings) -> Option<TelemetryConfig> {
        let filter_shape = "a level (error, warn, info, debug, trace) or target=level pairs with commas";
        let is_filter = |text: &str| EnvFilter::try_new(text).is_ok().then(|| text.to_owned());
        let format = |text: &str| match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        };
        let log = self.value("log", &settings.log, filter_shape, is_filter);
        let log_format = self.value("log_format", &settings.log_format, "text or json", format);
        let otlp_endpoint = self.value("otlp_endpoint", &settings.otlp_endpoint, URL, parse::base_url);
        let metrics = self.value("metrics", &settings.metrics, "on or off", parse::switch);
        let trace_ratio = self.value("trace_ratio", &settings.trace_ratio, "a number from 0 to 1", parse::ratio);
        Some(TelemetryConfig {
            log: log?,
            log_format: log_format?,
            log_dir: settings.log_dir.clone().map(path),
            otlp_endpoint,
            metrics: metrics?,
            service_name: settings.service_name.clone()?.0,
            trace_ratio: trace_ratio?,
        })
    }

    fn routes(&mut self, table: Option<&toml::Table>) -> BTreeMap<String, RouteConfig> {
        let mut routes = BTreeMap::new();
        for (name, value) in table.into_iter().flatten() {
            match route(value) {
                Ok(route) if parse::is_word(name) => drop(routes.insert(name.clone(), route)),
                read => {
                    let name_only = "must be a name of lower-case letters, digits and dashes".to_owned();
                    self.problems.push(Problem {
                        setting: format!("routes.{name}"),
                        message: read.err().unwrap_or(name_only),
                        fix: "correct it in the file, for example: fast = [\"sample/video\"]".to_owned(),
                    });
                }
            }
        }
        routes
    }

    fn limits(&mut self, table: Option<&toml::Table>) -> BTreeMap<String, LimitConfig> {
        let mut limits = BTreeMap::new();
        for (name, value) in table.into_iter().flatten() {
            match limit(name, value) {
                Ok(limit) => drop(limits.insert(name.clone(), limit)),
                Err(message) => self.problems.push(Problem {
                    setting: format!("limits.{name:?}"),
                    message,
                    fix: format!("write it as [limits.{name:?}] with concurrency = 2 or rate = 10"),
                }),
            }
        }
        limits
    }

    pub(super) fn time(&mut self, key: &str, text: &Option<Text>) -> Option<Duration> {
        self.value(key, text, TIME, parse::duration)
    }

    /// The value of a text of the right shape; `None` if there is no text, or a problem.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        text: &Option<Text>,
        shape: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = text.as_ref()?.0.trim();
        let value = parse(text);
        if value.is_none() {
            let problem = self.problem(
                key,
                format!("is {text:?} but must be {shape}"),
                "correct it, or unset it for the default",
            );
            self.problems.push(problem);
        }
        value
    }

    /// Whether there is none or it has the form of a key; a problem otherwise.
    pub(super) fn secret(&mut self, key: &str, secret: Option<&SecretString>) -> bool {
        let fits = secret.is_none_or(parse::is_key);
        if !fits {
            let message =
                "holds a blank or another character that no key has; it must be visible ASCII (value not shown)"
                    .to_owned();
            let problem = self.problem(key, message, "copy the key again, without quotes and line ends");
            self.problems.push(problem);
        }
        fits
    }

    fn link_key(&mut self, key: Option<&SecretString>) {
        const LEAST: usize = 32;
        self.secret("link_key", key);
        if key.is_some_and(|key| key.expose_secret().len() < LEAST) {
            let message = format!("is too short; it must have {LEAST} visible characters or more (value not shown)");
            let problem = self.problem("link_key", message, "make one, for example with: openssl rand -hex 32");
            self.problems.push(problem);
        }
    }

    fn in_order(
        &mut self,
        (low_key, low): (&str, Option<Duration>),
        (high_key, high): (&str, Option<Duration>),
        fits: fn(Duration, Duration) -> bool,
    ) {
        if let (Some(low), Some(high)) = (low, high)
            && !fits(low, high)
        {
            let (low, high) = (humantime::format_duration(low), humantime::format_duration(high));
            let problem = self.problem(
                low_key,
                format!("is {low}, too long beside {high_key} ({high})"),
                "shorten it or raise the other",
            );
            self.problems.push(problem);
        }
    }

    pub(super) fn problem(&self, key: &str, message: String, fix: &str) -> Problem {
        let names = self.table.iter().find(|setting| setting.key == key);
        let names = names.map(|setting| format!(" ({}, {})", setting.flag, setting.env.join(", "))).unwrap_or_default();
        Problem { setting: format!("{key}{names}"), message, fix: fix.to_owned() }
    }
}

/// `["a/b", …]`, or a table with `models` and perhaps `strategy`; what is wrong with it otherwise.
fn route(value: &toml::Value) -> Result<RouteConfig, String> {
    let table = value.as_table();
    if let Some(table) = table
        && let Some(unknown) = table.keys().find(|key| !matches!(key.as_str(), "strategy" | "models"))
    {
        return Err(format!("has an unknown key {unknown:?}; allowed: strategy, models"));
    }
    let strategy = match table.and_then(|table| table.get("strategy")) {
        None => "ordered",
        Some(strategy) => {
            let word = strategy.as_str().filter(|word| ROUTE_STRATEGIES.contains(word));
            word.ok_or_else(|| format!("has a strategy that is none of {}", ROUTE_STRATEGIES.join(", ")))?
        }
    };
    let models = table.map_or(Some(value), |table| table.get("models")).and_then(toml::Value::as_array);
    let read = |models: &Vec<toml::Value>| models.iter().map(|model| parse::model_or_alias(model.as_str()?)).collect();
    let models: Option<Vec<String>> = models.filter(|models| !models.is_empty()).and_then(read);
    let shape = || format!("must be a name with a list of at least one {MODEL}, or an alias such as veo3");
    Ok(RouteConfig { strategy: strategy.to_owned(), models: models.ok_or_else(shape)? })
}

/// A table with `concurrency`, `rate` or both; what is wrong with it otherwise.
fn limit(name: &str, value: &toml::Value) -> Result<LimitConfig, String> {
    parse::model_or_alias(name).ok_or_else(|| format!("must name a model: {MODEL}, or an alias such as veo3"))?;
    let table = value.as_table().filter(|table| !table.is_empty());
    let table = table.ok_or_else(|| "must be a table with concurrency, rate or both".to_owned())?;
    let mut limit = LimitConfig::default();
    for (key, value) in table {
        let count = value.as_integer().and_then(|count| u64::try_from(count).ok()).filter(|count| *count > 0);
        let place = match key.as_str() {
            "concurrency" => &mut limit.concurrency,
            "rate" => &mut limit.rate,
            _ => return Err(format!("has an unknown key {key:?}; allowed: concurrency, rate")),
        };
        *place = Some(count.ok_or_else(|| format!("has a {key} that is not {COUNT}"))?);
    }
    Ok(limit)
}

fn path(text: Text) -> PathBuf {
    PathBuf::from(text.0)
}
