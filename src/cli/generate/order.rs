//! From flags to an order of any kind: every field of the contract has a flag, and a flag that is not given sets nothing.

use std::{collections::BTreeMap, time::Duration};

use super::{
    input::{self, InputArg},
    kinds::{Common, Flags},
    value,
};
use crate::{
    cli::{failure::Failure, follow::Order, names::Collection},
    pb::v1::{self, Input},
};

/// What to order.
#[derive(Debug, clap::Args)]
pub(super) struct OrderArgs<F: Flags> {
    /// The session it belongs to; an unknown one is created. Default: a new one.
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// The model, `provider/name` or an alias; see `filmgate models`.
    #[arg(long, group = "choice", value_name = "MODEL")]
    model: Option<String>,
    /// A route from the server's settings: its models are tried in order.
    #[arg(long, group = "choice", value_name = "ROUTE")]
    route: Option<String>,
    /// Stands for the route of that name.
    #[arg(long, group = "choice")]
    quality: Option<Quality>,
    /// A file to start from; repeatable.
    ///
    /// ROLE is `first_frame`, `last_frame`, `reference`, `source`, `mask`, `sequence` or `audio`. SOURCE is a file here, an https URL, a data
    /// URI, or an artifact (`artifacts/ID`).
    #[arg(long = "input", value_name = "ROLE=SOURCE", value_parser = input::parse)]
    pub(super) inputs: Vec<InputArg>,
    /// Names this order: the same id with the same order attaches to the first one instead of paying again. Default: a new one.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// What to do with options that the model cannot honour: refuse, or use the nearest value and tell. Default: strict.
    #[arg(long)]
    mode: Option<Mode>,
    /// How to use earlier results of the same order. Default: default.
    #[arg(long)]
    cache: Option<Cache>,
    /// A quote of `filmgate estimate --quote-ttl`: the order costs no more than that.
    #[arg(long, value_name = "QUOTE")]
    quote: Option<String>,
    /// Longest time for the job, for example 30m; at its end the job is unresolved, not failed. Default: 30m.
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    max_duration: Option<Duration>,
    /// Where the server reports the end, signed: an https URL. Needs a secret in its settings.
    #[arg(long, value_name = "URL")]
    callback_url: Option<String>,
    /// A label of your own; repeatable.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = value::pair)]
    labels: Vec<(String, String)>,
    /// When every model has failed, take the sample, marked as such, instead of failing.
    #[arg(long)]
    fallback_to_sample: bool,
    /// Let a content refusal also move on to the route's next model.
    #[arg(long)]
    fallback_on_refusal: bool,
    // Last, because its heading would cover what follows.
    #[command(flatten)]
    options: F,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Quality {
    Fast,
    Quality,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Mode {
    Strict,
    Adapt,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Cache {
    Default,
    Bypass,
    Refresh,
}

impl<F: Flags> OrderArgs<F> {
    /// The order, with a request id in any case, so that a lost answer never orders twice.
    pub(super) fn request(self, prompt: String, inputs: Vec<Input>) -> Result<Order, Failure> {
        let session = self.session.map(|session| Collection::Sessions.name(&session)).transpose()?;
        let max_duration = self.max_duration.map(value::to_proto_duration).transpose();
        let common = Common {
            prompt,
            session: session.unwrap_or_default(),
            model: self.model.unwrap_or_default(),
            route: self.route.unwrap_or_default(),
            quality: self.quality.map_or(v1::Quality::Unspecified, v1::Quality::from).into(),
            inputs,
            request_id: self.request_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            mode: self.mode.map_or(v1::Mode::Unspecified, v1::Mode::from).into(),
            cache: self.cache.map_or(v1::CachePolicy::Unspecified, v1::CachePolicy::from).into(),
            quote: self.quote.unwrap_or_default(),
            max_duration: max_duration.map_err(|error| Failure::usage(format!("--max-duration: {error}")))?,
            callback_url: self.callback_url.unwrap_or_default(),
            labels: unique(self.labels, "--label")?,
            fallback_to_sample: self.fallback_to_sample,
            fallback_on_refusal: self.fallback_on_refusal,
        };
        self.options.order(common)
    }
}

/// The pairs as a map; a key given twice is a mistake, not a choice.
pub(super) fn unique<V>(pairs: Vec<(String, V)>, flag: &str) -> Result<BTreeMap<String, V>, Failure> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map.contains_key(&key) {
            return Err(Failure::usage(format!("{flag}: {key} is given twice")));
        }
        map.insert(key, value);
    }
    Ok(map)
}

impl From<Quality> for v1::Quality {
    fn from(quality: Quality) -> Self {
        match quality {
            Quality::Fast => Self::Fast,
            Quality::Quality => Self::Quality,
        }
    }
}

impl From<Mode> for v1::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Strict => Self::Strict,
            Mode::Adapt => Self::Adapt,
        }
    }
}

impl From<Cache> for v1::CachePolicy {
    fn from(cache: Cache) -> Self {
        match cache {
            Cache::Default => Self::Default,
            Cache::Bypass => Self::Bypass,
            Cache::Refresh => Self::Refresh,
        }
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
