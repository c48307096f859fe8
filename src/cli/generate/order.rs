//! From flags to `GenerateVideoRequest`: every field of the contract has a flag, and a flag that is not given sets nothing.

use std::{collections::BTreeMap, time::Duration};

use prost_types::{Struct, Value};

use super::{
    input::{self, InputArg},
    value,
};
use crate::{
    cli::{failure::Failure, names::Collection},
    pb::v1::{self, GenerateVideoRequest, Input, VideoOptions},
};

/// What to order.
#[derive(Debug, clap::Args)]
pub(super) struct OrderArgs {
    /// What to show.
    #[arg(value_name = "PROMPT")]
    pub(super) prompt: String,
    /// The session it belongs to; an unknown one is created. Default: a new one.
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// The model, `provider/name`; see `filmgate models`.
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
    /// ROLE is `first_frame`, `last_frame` or `reference`. SOURCE is a file here, an https URL, a data URI, or an artifact (`artifacts/ID`).
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
    #[command(flatten, next_help_heading = "Video options")]
    options: OptionArgs,
}

/// What the video should be.
#[derive(Debug, clap::Args)]
struct OptionArgs {
    /// Playing time, for example 5s.
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    duration: Option<Duration>,
    /// Frames a second.
    #[arg(long)]
    fps: Option<u32>,
    /// Width in pixels.
    #[arg(long, value_name = "PIXELS")]
    width: Option<u32>,
    /// Height in pixels.
    #[arg(long, value_name = "PIXELS")]
    height: Option<u32>,
    /// Shape, for example 16:9.
    #[arg(long, value_name = "W:H")]
    aspect_ratio: Option<String>,
    /// Inference steps.
    #[arg(long)]
    steps: Option<u32>,
    /// How many videos.
    #[arg(long, value_name = "COUNT")]
    samples: Option<u32>,
    /// Guidance scale.
    #[arg(long, value_name = "SCALE", allow_negative_numbers = true)]
    guidance: Option<f64>,
    /// Seed of the random numbers.
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<i64>,
    /// What should not be seen.
    #[arg(long, value_name = "PROMPT")]
    negative_prompt: Option<String>,
    /// Make sound.
    #[arg(long, overrides_with = "no_audio")]
    audio: bool,
    /// Make no sound.
    #[arg(long, overrides_with = "audio")]
    no_audio: bool,
    /// Passed to the provider as it is, under its own names; repeatable.
    #[arg(long = "option", value_name = "KEY=JSON", value_parser = value::json_pair)]
    provider_options: Vec<(String, Value)>,
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

impl OrderArgs {
    /// The order, with a request id in any case, so that a lost answer never orders twice.
    pub(super) fn request(self, inputs: Vec<Input>) -> Result<GenerateVideoRequest, Failure> {
        let session = self.session.map(|session| Collection::Sessions.name(&session)).transpose()?;
        let max_duration = self.max_duration.map(value::to_proto_duration).transpose();
        Ok(GenerateVideoRequest {
            prompt: self.prompt,
            session: session.unwrap_or_default(),
            model: self.model.unwrap_or_default(),
            route: self.route.unwrap_or_default(),
            quality: self.quality.map_or(v1::Quality::Unspecified, v1::Quality::from).into(),
            options: Some(self.options.options()?),
            inputs,
            request_id: self.request_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            mode: self.mode.map_or(v1::Mode::Unspecified, v1::Mode::from).into(),
            cache: self.cache.map_or(v1::CachePolicy::Unspecified, v1::CachePolicy::from).into(),
            // Not served by this version of the contract: must be empty.
            quote: String::new(),
            max_duration: max_duration.map_err(|error| Failure::usage(format!("--max-duration: {error}")))?,
            callback_url: self.callback_url.unwrap_or_default(),
            labels: unique(self.labels, "--label")?,
            fallback_to_sample: self.fallback_to_sample,
            fallback_on_refusal: self.fallback_on_refusal,
        })
    }
}

impl OptionArgs {
    fn options(self) -> Result<VideoOptions, Failure> {
        let duration = self.duration.map(value::to_proto_duration).transpose();
        let provider_options = unique(self.provider_options, "--option")?;
        Ok(VideoOptions {
            duration: duration.map_err(|error| Failure::usage(format!("--duration: {error}")))?,
            fps: self.fps,
            width: self.width,
            height: self.height,
            aspect_ratio: self.aspect_ratio.unwrap_or_default(),
            steps: self.steps,
            samples: self.samples,
            guidance: self.guidance,
            seed: self.seed,
            negative_prompt: self.negative_prompt.unwrap_or_default(),
            audio: match (self.audio, self.no_audio) {
                (true, _) => Some(true),
                (false, true) => Some(false),
                (false, false) => None,
            },
            provider_options: (!provider_options.is_empty()).then_some(Struct { fields: provider_options }),
            ..VideoOptions::default()
        })
    }
}

/// The pairs as a map; a key given twice is a mistake, not a choice.
fn unique<V>(pairs: Vec<(String, V)>, flag: &str) -> Result<BTreeMap<String, V>, Failure> {
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
