//! The options of each kind as flags, and the orders that they make.

use std::{collections::BTreeMap, time::Duration};

use prost_types::{Struct, Value};

use super::{order::unique, value};
use crate::{
    cli::{failure::Failure, follow::Order},
    pb::v1::{self, ImageOptions, Input, MusicOptions, SpeechOptions, VideoOptions},
};

/// What the orders of all kinds have in common.
#[derive(Debug)]
pub(in crate::cli) struct Common {
    pub(super) prompt: String,
    pub(super) session: String,
    pub(super) model: String,
    pub(super) route: String,
    pub(super) quality: i32,
    pub(super) inputs: Vec<Input>,
    pub(super) request_id: String,
    pub(super) mode: i32,
    pub(super) cache: i32,
    pub(super) quote: String,
    pub(super) max_duration: Option<prost_types::Duration>,
    pub(super) callback_url: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) fallback_to_sample: bool,
    pub(super) fallback_on_refusal: bool,
}

/// The flags of one kind.
pub(in crate::cli) trait Flags: clap::Args {
    /// The order with these options.
    fn order(self, common: Common) -> Result<Order, Failure>;
}

macro_rules! flags {
    ($($flags:ident: $kind:ident, $request:ident),* $(,)?) => {$(
        impl Flags for $flags {
            fn order(self, common: Common) -> Result<Order, Failure> {
                let Common {
                    prompt,
                    session,
                    model,
                    route,
                    quality,
                    inputs,
                    request_id,
                    mode,
                    cache,
                    quote,
                    max_duration,
                    callback_url,
                    labels,
                    fallback_to_sample,
                    fallback_on_refusal,
                } = common;
                Ok(Order::$kind(v1::$request {
                    options: Some(self.options()?),
                    prompt,
                    session,
                    model,
                    route,
                    quality,
                    inputs,
                    request_id,
                    mode,
                    cache,
                    quote,
                    max_duration,
                    callback_url,
                    labels,
                    fallback_to_sample,
                    fallback_on_refusal,
                }))
            }
        }
    )*};
}

flags! {
    VideoFlags: Video, GenerateVideoRequest,
    ImageFlags: Image, GenerateImageRequest,
    SpeechFlags: Speech, GenerateSpeechRequest,
    MusicFlags: Music, GenerateMusicRequest,
}

/// What the video should be.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Video options")]
pub(in crate::cli) struct VideoFlags {
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
    /// Class of the picture's size, for example 720p.
    #[arg(long, value_name = "CLASS")]
    resolution: Option<String>,
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
    /// How much moves, from 0 (still) to 1.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    motion: Option<f64>,
    /// What the camera does, for example pan or zoom.
    #[arg(long, value_name = "MOVE")]
    camera: Option<String>,
    /// A look that the model knows by name.
    #[arg(long)]
    style: Option<String>,
    #[command(flatten)]
    passed_on: PassedOn,
}

/// What the images should be.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Image options")]
pub(in crate::cli) struct ImageFlags {
    /// Width in pixels.
    #[arg(long, value_name = "PIXELS")]
    width: Option<u32>,
    /// Height in pixels.
    #[arg(long, value_name = "PIXELS")]
    height: Option<u32>,
    /// Shape, for example 16:9.
    #[arg(long, value_name = "W:H")]
    aspect_ratio: Option<String>,
    /// Class of the picture's size: 512, 1K, 2K or 4K.
    #[arg(long, value_name = "CLASS")]
    resolution: Option<String>,
    /// Care of the work: low, medium, high or ultra.
    #[arg(long, value_name = "CARE")]
    image_quality: Option<String>,
    /// A look that the model knows by name.
    #[arg(long)]
    style: Option<String>,
    /// How many images.
    #[arg(long, value_name = "COUNT")]
    samples: Option<u32>,
    /// Inference steps.
    #[arg(long)]
    steps: Option<u32>,
    /// Guidance scale.
    #[arg(long, value_name = "SCALE", allow_negative_numbers = true)]
    guidance: Option<f64>,
    /// Seed of the random numbers.
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<i64>,
    /// What should not be seen.
    #[arg(long, value_name = "PROMPT")]
    negative_prompt: Option<String>,
    /// How much of the source picture is changed, from 0 to 1.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    strength: Option<f64>,
    /// What is behind: opaque, transparent or auto.
    #[arg(long)]
    background: Option<String>,
    /// File format: png, jpeg or webp.
    #[arg(long)]
    format: Option<String>,
    #[command(flatten)]
    passed_on: PassedOn,
}

/// How a text should be spoken.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Speech options")]
pub(in crate::cli) struct SpeechFlags {
    /// The provider's name or id of the voice.
    #[arg(long)]
    voice: Option<String>,
    /// Language of the text, for example en or pt-BR.
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
    /// Pace, 0.25 to 4; 1 is as usual.
    #[arg(long, value_name = "PACE", allow_negative_numbers = true)]
    speed: Option<f64>,
    /// File format: mp3, wav, flac, opus, aac or pcm.
    #[arg(long)]
    format: Option<String>,
    /// How to speak, in words.
    #[arg(long, value_name = "TEXT")]
    instructions: Option<String>,
    /// Seed of the random numbers.
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<i64>,
    #[command(flatten)]
    passed_on: PassedOn,
}

/// What music should be.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Music options")]
pub(in crate::cli) struct MusicFlags {
    /// Playing time, for example 30s.
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    duration: Option<Duration>,
    /// Words to be sung.
    #[arg(long, value_name = "TEXT")]
    lyrics: Option<String>,
    /// Leave out singing.
    #[arg(long, overrides_with = "no_instrumental")]
    instrumental: bool,
    /// Do not leave out singing.
    #[arg(long, overrides_with = "instrumental")]
    no_instrumental: bool,
    /// File format: mp3, wav, flac, opus, aac or pcm.
    #[arg(long)]
    format: Option<String>,
    /// How many pieces.
    #[arg(long, value_name = "COUNT")]
    samples: Option<u32>,
    /// Guidance scale.
    #[arg(long, value_name = "SCALE", allow_negative_numbers = true)]
    guidance: Option<f64>,
    /// Seed of the random numbers.
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<i64>,
    /// What should not be heard.
    #[arg(long, value_name = "PROMPT")]
    negative_prompt: Option<String>,
    /// Inference steps.
    #[arg(long)]
    steps: Option<u32>,
    #[command(flatten)]
    passed_on: PassedOn,
}

#[derive(Debug, clap::Args)]
struct PassedOn {
    /// Passed to the provider as it is, under its own names; repeatable.
    #[arg(long = "option", value_name = "KEY=JSON", value_parser = value::json_pair)]
    provider_options: Vec<(String, Value)>,
}

impl PassedOn {
    fn fields(self) -> Result<Option<Struct>, Failure> {
        let fields = unique(self.provider_options, "--option")?;
        Ok((!fields.is_empty()).then_some(Struct { fields }))
    }
}

impl VideoFlags {
    fn options(self) -> Result<VideoOptions, Failure> {
        Ok(VideoOptions {
            duration: time(self.duration)?,
            fps: self.fps,
            width: self.width,
            height: self.height,
            aspect_ratio: self.aspect_ratio.unwrap_or_default(),
            steps: self.steps,
            samples: self.samples,
            guidance: self.guidance,
            seed: self.seed,
            negative_prompt: self.negative_prompt.unwrap_or_default(),
            audio: either(self.audio, self.no_audio),
            provider_options: self.passed_on.fields()?,
            resolution: self.resolution.unwrap_or_default(),
            motion: self.motion,
            camera: self.camera.unwrap_or_default(),
            style: self.style.unwrap_or_default(),
        })
    }
}

impl ImageFlags {
    fn options(self) -> Result<ImageOptions, Failure> {
        Ok(ImageOptions {
            width: self.width,
            height: self.height,
            aspect_ratio: self.aspect_ratio.unwrap_or_default(),
            resolution: self.resolution.unwrap_or_default(),
            quality: self.image_quality.unwrap_or_default(),
            style: self.style.unwrap_or_default(),
            samples: self.samples,
            steps: self.steps,
            guidance: self.guidance,
            seed: self.seed,
            negative_prompt: self.negative_prompt.unwrap_or_default(),
            strength: self.strength,
            background: self.background.unwrap_or_default(),
            format: self.format.unwrap_or_default(),
            provider_options: self.passed_on.fields()?,
        })
    }
}

impl SpeechFlags {
    fn options(self) -> Result<SpeechOptions, Failure> {
        Ok(SpeechOptions {
            voice: self.voice.unwrap_or_default(),
            language: self.language.unwrap_or_default(),
            speed: self.speed,
            format: self.format.unwrap_or_default(),
            instructions: self.instructions.unwrap_or_default(),
            seed: self.seed,
            provider_options: self.passed_on.fields()?,
        })
    }
}

impl MusicFlags {
    fn options(self) -> Result<MusicOptions, Failure> {
        Ok(MusicOptions {
            duration: time(self.duration)?,
            lyrics: self.lyrics.unwrap_or_default(),
            instrumental: either(self.instrumental, self.no_instrumental),
            format: self.format.unwrap_or_default(),
            samples: self.samples,
            guidance: self.guidance,
            seed: self.seed,
            negative_prompt: self.negative_prompt.unwrap_or_default(),
            steps: self.steps,
            provider_options: self.passed_on.fields()?,
        })
    }
}

fn time(duration: Option<Duration>) -> Result<Option<prost_types::Duration>, Failure> {
    let duration = duration.map(value::to_proto_duration).transpose();
    duration.map_err(|error| Failure::usage(format!("--duration: {error}")))
}

fn either(yes: bool, no: bool) -> Option<bool> {
    match (yes, no) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}
