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
const MAX_STRUCT_BYTES: usize = 64 << 10;

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
        ..
    } = options;
    let mut read = Reader { typed: Options::new(), violations };
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
    read.negative_prompt(negative_prompt);
    read.typed.extend(audio.map(|audio| (OptionName::Audio, OptionValue::Bool(audio))));
    let typed = read.typed;
    Accepted { typed, provider: provider_options.map(|fields| provider(fields, violations)).unwrap_or_default() }
}

fn provider(fields: prost_types::Struct, violations: &mut Violations) -> Map<String, Value> {
    const FIELD: &str = "options.provider_options";
    let n_bytes = fields.encoded_len();
    if n_bytes > MAX_STRUCT_BYTES {
        violations.add(FIELD, format!("has {n_bytes} bytes; at most {MAX_STRUCT_BYTES}"));
        return Map::new();
    }
    values::object(fields, FIELD, violations)
}

struct Reader<'a> {
    typed: Options,
    violations: &'a mut Violations,
}

impl Reader<'_> {
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

    fn negative_prompt(&mut self, text: String) {
        let n_chars = text.chars().count();
        if n_chars > MAX_PROMPT {
            self.refuse(OptionName::NegativePrompt, format!("has {n_chars} characters; at most {MAX_PROMPT}"));
        } else if n_chars > 0 {
            self.set(OptionName::NegativePrompt, OptionValue::Text(text));
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
