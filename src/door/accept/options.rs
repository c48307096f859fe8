//! What the output should be: ranges of the contract. What a model makes of it is its card's matter.

use std::{ops::RangeInclusive, time::Duration};

use prost::Message;
use serde_json::{Map, Value};

use super::{Violations, values};
use crate::{
    domain::order::{MAX_PROMPT, OptionName, OptionValue, Options},
    pb::v1,
};

const MAX_DURATION: Duration = Duration::from_secs(60 * 60);
const FPS: RangeInclusive<u32> = 1..=240;
const PIXELS: RangeInclusive<u32> = 16..=8192;
const STEPS: RangeInclusive<u32> = 1..=1000;
const SAMPLES: RangeInclusive<u32> = 1..=16;
const GUIDANCE: RangeInclusive<f64> = 0.0..=100.0;
const SEED: RangeInclusive<i64> = 0..=(1 << 53) - 1;
const SHARE: RangeInclusive<f64> = 0.0..=1.0;
const SPEED: RangeInclusive<f64> = 0.25..=4.0;
/// Most characters of a word that only the model knows, of a voice, and of directions.
const MAX_WORD: usize = 64;
const MAX_VOICE: usize = 128;
const MAX_INSTRUCTIONS: usize = 4096;
const MAX_STRUCT_BYTES: usize = 64 << 10;
const VIDEO_RESOLUTIONS: [&str; 8] = ["360p", "480p", "540p", "720p", "768p", "1080p", "1440p", "2160p"];
const IMAGE_RESOLUTIONS: [&str; 4] = ["512", "1K", "2K", "4K"];
const QUALITIES: [&str; 4] = ["low", "medium", "high", "ultra"];
const BACKGROUNDS: [&str; 3] = ["opaque", "transparent", "auto"];
const IMAGE_FORMATS: [&str; 3] = ["png", "jpeg", "webp"];
const SOUND_FORMATS: [&str; 6] = ["mp3", "wav", "flac", "opus", "aac", "pcm"];

/// Options, of which only those in range are kept.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    /// Those with a field of their own.
    pub(super) typed: Options,
    /// Passed on under the provider's names.
    pub(super) provider: Map<String, Value>,
}

/// The options of a video.
pub(super) fn video(options: v1::VideoOptions, violations: &mut Violations) -> Accepted {
    // Taken apart by name, so that a new field of the contract cannot be forgotten.
    let v1::VideoOptions {
        duration,
        fps,
        width,
        height,
        aspect_ratio,
        steps,
        samples,
        guidance,
        seed,
        negative_prompt,
        audio,
        provider_options,
        resolution,
        motion,
        camera,
        style,
    } = options;
    let mut read = Reader::new(violations);
    read.duration(duration.as_ref());
    read.whole(OptionName::Fps, fps, &FPS);
    read.whole(OptionName::Width, width, &PIXELS);
    read.whole(OptionName::Height, height, &PIXELS);
    read.aspect_ratio(aspect_ratio);
    read.whole(OptionName::Steps, steps, &STEPS);
    read.whole(OptionName::Samples, samples, &SAMPLES);
    // A range never contains NaN.
    read.within(OptionName::Guidance, guidance, &GUIDANCE, OptionValue::number);
    read.within(OptionName::Seed, seed, &SEED, OptionValue::Int);
    read.text(OptionName::NegativePrompt, negative_prompt, MAX_PROMPT);
    read.flag(OptionName::Audio, audio);
    read.word(OptionName::Resolution, resolution, &VIDEO_RESOLUTIONS);
    read.within(OptionName::Motion, motion, &SHARE, OptionValue::number);
    read.text(OptionName::Camera, camera, MAX_WORD);
    read.text(OptionName::Style, style, MAX_WORD);
    read.with(provider_options)
}

/// The options of images.
pub(super) fn image(options: v1::ImageOptions, violations: &mut Violations) -> Accepted {
    let v1::ImageOptions {
        width,
        height,
        aspect_ratio,
        resolution,
        quality,
        style,
        samples,
        steps,
        guidance,
        seed,
        negative_prompt,
        strength,
        background,
        format,
        provider_options,
    } = options;
    let mut read = Reader::new(violations);
    read.whole(OptionName::Width, width, &PIXELS);
    read.whole(OptionName::Height, height, &PIXELS);
    read.aspect_ratio(aspect_ratio);
    read.word(OptionName::Resolution, resolution, &IMAGE_RESOLUTIONS);
    read.word(OptionName::Quality, quality, &QUALITIES);
    read.text(OptionName::Style, style, MAX_WORD);
    read.whole(OptionName::Samples, samples, &SAMPLES);
    read.whole(OptionName::Steps, steps, &STEPS);
    read.within(OptionName::Guidance, guidance, &GUIDANCE, OptionValue::number);
    read.within(OptionName::Seed, seed, &SEED, OptionValue::Int);
    read.text(OptionName::NegativePrompt, negative_prompt, MAX_PROMPT);
    read.within(OptionName::Strength, strength, &SHARE, OptionValue::number);
    read.word(OptionName::Background, background, &BACKGROUNDS);
    read.word(OptionName::Format, format, &IMAGE_FORMATS);
    read.with(provider_options)
}

/// The options of a spoken text.
pub(super) fn speech(options: v1::SpeechOptions, violations: &mut Violations) -> Accepted {
    let v1::SpeechOptions { voice, language, speed, format, instructions, seed, provider_options } = options;
    let mut read = Reader::new(violations);
    read.text(OptionName::Voice, voice, MAX_VOICE);
    read.language(language);
    read.within(OptionName::Speed, speed, &SPEED, OptionValue::number);
    read.word(OptionName::Format, format, &SOUND_FORMATS);
    read.text(OptionName::Instructions, instructions, MAX_INSTRUCTIONS);
    read.within(OptionName::Seed, seed, &SEED, OptionValue::Int);
    read.with(provider_options)
}

/// The options of music.
pub(super) fn music(options: v1::MusicOptions, violations: &mut Violations) -> Accepted {
    let v1::MusicOptions {
        duration,
        lyrics,
        instrumental,
        format,
        samples,
        guidance,
        seed,
        negative_prompt,
        steps,
        provider_options,
    } = options;
    let mut read = Reader::new(violations);
    read.duration(duration.as_ref());
    read.text(OptionName::Lyrics, lyrics, MAX_PROMPT);
    read.flag(OptionName::Instrumental, instrumental);
    read.word(OptionName::Format, format, &SOUND_FORMATS);
    read.whole(OptionName::Samples, samples, &SAMPLES);
    read.within(OptionName::Guidance, guidance, &GUIDANCE, OptionValue::number);
    read.within(OptionName::Seed, seed, &SEED, OptionValue::Int);
    read.text(OptionName::NegativePrompt, negative_prompt, MAX_PROMPT);
    read.whole(OptionName::Steps, steps, &STEPS);
    read.with(provider_options)
}

/// What is passed on as it is, in the request's `field`.
pub(super) fn passed_on(
    fields: Option<prost_types::Struct>,
    field: &str,
    violations: &mut Violations,
) -> Map<String, Value> {
    let Some(fields) = fields else { return Map::new() };
    let n_bytes = fields.encoded_len();
    if n_bytes > MAX_STRUCT_BYTES {
        violations.add(field, format!("has {n_bytes} bytes; at most {MAX_STRUCT_BYTES}"));
        return Map::new();
    }
    values::object(fields, field, violations)
}

struct Reader<'a> {
    typed: Options,
    violations: &'a mut Violations,
}

impl<'a> Reader<'a> {
    fn new(violations: &'a mut Violations) -> Self {
        Self { typed: Options::new(), violations }
    }

    /// What was read, with what is passed on as it is.
    fn with(self, provider_options: Option<prost_types::Struct>) -> Accepted {
        let Self { typed, violations } = self;
        Accepted { typed, provider: passed_on(provider_options, "options.provider_options", violations) }
    }

    fn set(&mut self, name: OptionName, value: OptionValue) {
        self.typed.insert(name, value);
    }

    fn refuse(&mut self, name: OptionName, why: impl Into<String>) {
        self.violations.add(field(name), why);
    }

    fn whole(&mut self, name: OptionName, value: Option<u32>, range: &RangeInclusive<u32>) {
        self.within(name, value, range, |value| OptionValue::Int(value.into()));
    }

    fn within<T: PartialOrd + std::fmt::Display + Copy>(
        &mut self,
        name: OptionName,
        value: Option<T>,
        range: &RangeInclusive<T>,
        make: impl FnOnce(T) -> OptionValue,
    ) {
        match value {
            None => {}
            Some(value) if range.contains(&value) => self.set(name, make(value)),
            Some(_) => self.refuse(name, format!("must be from {} to {}", range.start(), range.end())),
        }
    }

    fn duration(&mut self, duration: Option<&prost_types::Duration>) {
        let field = field(OptionName::Duration);
        let Some(duration) = duration.and_then(|duration| values::duration(duration, &field, self.violations)) else {
            return;
        };
        if duration.is_zero() || duration > MAX_DURATION {
            self.refuse(OptionName::Duration, "must be more than 0 s and at most 1 h");
        } else {
            self.set(OptionName::Duration, OptionValue::number(duration.as_secs_f64()));
        }
    }

    fn aspect_ratio(&mut self, text: String) {
        if text.is_empty() {
            return;
        }
        if is_shape(&text) {
            self.set(OptionName::AspectRatio, OptionValue::Text(text));
        } else {
            self.refuse(OptionName::AspectRatio, "must be W:H with positive numbers, for example 16:9");
        }
    }

    fn flag(&mut self, name: OptionName, value: Option<bool>) {
        self.typed.extend(value.map(|value| (name, OptionValue::Bool(value))));
    }

    fn text(&mut self, name: OptionName, text: String, most: usize) {
        let n_chars = text.chars().count();
        if n_chars > most {
            self.refuse(name, format!("has {n_chars} characters; at most {most}"));
        } else if n_chars > 0 {
            self.set(name, OptionValue::Text(text));
        }
    }

    fn word(&mut self, name: OptionName, word: String, known: &[&str]) {
        if word.is_empty() {
        } else if known.contains(&word.as_str()) {
            self.set(name, OptionValue::Text(word));
        } else {
            self.refuse(name, format!("must be one of {}", known.join(", ")));
        }
    }

    fn language(&mut self, tag: String) {
        if tag.is_empty() {
        } else if is_language(&tag) {
            self.set(OptionName::Language, OptionValue::Text(tag));
        } else {
            self.refuse(OptionName::Language, "must be a BCP 47 tag, for example en or pt-BR");
        }
    }
}

fn field(name: OptionName) -> String {
    format!("options.{name}")
}

/// `W:H` of positive decimal numbers with at most six characters each.
fn is_shape(text: &str) -> bool {
    let side = |side: &str| {
        (1..=6).contains(&side.len())
            && side.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && side.parse::<f64>().is_ok_and(|side| side > 0.0)
    };
    text.split_once(':').is_some_and(|(width, height)| side(width) && side(height))
}

/// The shape of a BCP 47 tag: a language of 2 to 8 letters, then subtags of 1 to 8 letters and digits.
fn is_language(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let language = subtags.next().unwrap_or_default();
    let is_language = (2..=8).contains(&language.len()) && language.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_subtag =
        |subtag: &str| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_language && tag.len() <= 35 && subtags.all(is_subtag)
}
