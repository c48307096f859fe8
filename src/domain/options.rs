//! The options of the contract: names and values, whatever a model makes of them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The request's options, by their names in the contract.
pub type Options = BTreeMap<OptionName, OptionValue>;

/// An option of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptionName {
    /// Playing time in seconds.
    Duration,
    /// Frames a second.
    Fps,
    /// Width in pixels.
    Width,
    /// Height in pixels.
    Height,
    /// Shape as `W:H`.
    AspectRatio,
    /// Inference steps.
    Steps,
    /// How many outputs.
    Samples,
    /// Guidance scale.
    Guidance,
    /// Seed of the random numbers.
    Seed,
    /// What should not be seen.
    NegativePrompt,
    /// Whether to make sound.
    Audio,
    /// Class of the picture's size, for example `720p` or `2K`.
    Resolution,
    /// How much moves, 0 to 1.
    Motion,
    /// What the camera does.
    Camera,
    /// A look that the model knows by name.
    Style,
    /// Care of the work.
    Quality,
    /// How much of the source is changed, 0 to 1.
    Strength,
    /// What is behind.
    Background,
    /// File format.
    Format,
    /// The provider's name of the voice.
    Voice,
    /// Language of the text, as a BCP 47 tag.
    Language,
    /// Pace; 1 is as usual.
    Speed,
    /// How to speak, in words.
    Instructions,
    /// Words to be sung.
    Lyrics,
    /// Whether to leave out singing.
    Instrumental,
}

impl OptionName {
    /// Every option, in the order of the contract.
    pub const ALL: [Self; 25] = [
        Self::Duration,
        Self::Fps,
        Self::Width,
        Self::Height,
        Self::AspectRatio,
        Self::Steps,
        Self::Samples,
        Self::Guidance,
        Self::Seed,
        Self::NegativePrompt,
        Self::Audio,
        Self::Resolution,
        Self::Motion,
        Self::Camera,
        Self::Style,
        Self::Quality,
        Self::Strength,
        Self::Background,
        Self::Format,
        Self::Voice,
        Self::Language,
        Self::Speed,
        Self::Instructions,
        Self::Lyrics,
        Self::Instrumental,
    ];

    /// The field's name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Duration => "duration",
            Self::Fps => "fps",
            Self::Width => "width",
            Self::Height => "height",
            Self::AspectRatio => "aspect_ratio",
            Self::Steps => "steps",
            Self::Samples => "samples",
            Self::Guidance => "guidance",
            Self::Seed => "seed",
            Self::NegativePrompt => "negative_prompt",
            Self::Audio => "audio",
            Self::Resolution => "resolution",
            Self::Motion => "motion",
            Self::Camera => "camera",
            Self::Style => "style",
            Self::Quality => "quality",
            Self::Strength => "strength",
            Self::Background => "background",
            Self::Format => "format",
            Self::Voice => "voice",
            Self::Language => "language",
            Self::Speed => "speed",
            Self::Instructions => "instructions",
            Self::Lyrics => "lyrics",
            Self::Instrumental => "instrumental",
        }
    }
}

impl fmt::Display for OptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The value of an option. A whole number is always an `Int`, so that equal values are equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OptionValue {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(String),
}

impl OptionValue {
    /// A number in its one form.
    pub fn number(value: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "only whole numbers that a float holds exactly")]
        if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
            Self::Int(value as i64)
        } else {
            Self::Number(value)
        }
    }

    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "option values stay below 2^53")]
            Self::Int(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// As JSON; whole numbers stay whole.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Bool(value) => Value::from(*value),
            Self::Int(value) => Value::from(*value),
            Self::Number(value) => Value::from(*value),
            Self::Text(value) => Value::from(value.as_str()),
        }
    }

    /// Equal, whether written as a whole number or not.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self.as_f64(), other.as_f64()) {
            (Some(left), Some(right)) => (left - right).abs() < 1e-9,
            (None | Some(_), None) | (None, Some(_)) => self == other,
        }
    }

    /// What nearness is measured by: the number, the ratio of a shape `W:H`, or the size of a class such as `720p` or `2K`.
    pub(super) fn magnitude(&self) -> Option<f64> {
        let Self::Text(text) = self else { return self.as_f64() };
        if let Some((width, height)) = text.split_once(':') {
            let (width, height): (f64, f64) = (width.parse().ok()?, height.parse().ok()?);
            // On a logarithmic scale 2:1 is as far from square as 1:2.
            return (width > 0.0 && height > 0.0).then(|| (width / height).ln());
        }
        let classes = [("p", 1.0), ("P", 1.0), ("K", 1024.0), ("k", 1024.0), ("", 1.0)];
        classes.iter().find_map(|(suffix, pixels)| {
            let number: f64 = text.strip_suffix(suffix)?.parse().ok()?;
            number.is_finite().then_some(number * pixels)
        })
    }
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_have_one_form() {
        assert_eq!(OptionValue::number(5.0), OptionValue::Int(5));
        assert_eq!(OptionValue::number(0.5), OptionValue::Number(0.5));
        let read: OptionValue = serde_json::from_str("5").unwrap();
        assert_eq!(read, OptionValue::Int(5));
    }
}
