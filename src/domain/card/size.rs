//! Width and height together, for models that take a picture's size as one thing.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::domain::order::{OptionName, OptionValue, Options};

/// Which sizes a model takes. On a card with this, `width` and `height` are asked for together or not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeSpec {
    /// The provider's field, with a dot between the names of nested ones; absent if the adapter writes it.
    #[serde(default)]
    pub field: Option<String>,
    /// How the size is written in it.
    #[serde(default = "as_pair")]
    pub format: String,
    /// The only sizes allowed.
    #[serde(default)]
    pub one_of: Vec<Size>,
    /// Least number of pixels of a side.
    #[serde(default)]
    pub min_side: Option<u32>,
    /// Greatest number of pixels of a side.
    #[serde(default)]
    pub max_side: Option<u32>,
    /// Least number of pixels.
    #[serde(default)]
    pub min_pixels: Option<u64>,
    /// Greatest number of pixels.
    #[serde(default)]
    pub max_pixels: Option<u64>,
    /// Each side is a multiple of so many pixels.
    #[serde(default)]
    pub multiple_of: Option<u32>,
    /// Used when the request sets none.
    #[serde(default)]
    pub default: Option<Size>,
}

/// Width and height in pixels, written `WxH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

fn as_pair() -> String {
    "{width}x{height}".to_owned()
}

impl SizeSpec {
    /// The size as the provider's field takes it.
    pub fn written(&self, size: Size) -> String {
        self.format.replace("{width}", &size.width.to_string()).replace("{height}", &size.height.to_string())
    }

    /// The allowed sizes in words.
    pub fn allowed(&self) -> String {
        if !self.one_of.is_empty() {
            return self.one_of.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        }
        let mut rules = Vec::new();
        let mut rule = |text: Option<String>| rules.extend(text);
        rule(self.min_side.map(|min| format!("sides of at least {min}")));
        rule(self.max_side.map(|max| format!("sides of at most {max}")));
        rule(self.min_pixels.map(|min| format!("at least {min} pixels")));
        rule(self.max_pixels.map(|max| format!("at most {max} pixels")));
        rule(self.multiple_of.map(|step| format!("sides in multiples of {step}")));
        if rules.is_empty() { "any size".to_owned() } else { rules.join(", ") }
    }

    pub(super) fn allows(&self, size: Size) -> bool {
        if !self.one_of.is_empty() {
            return self.one_of.contains(&size);
        }
        let sides = [size.width, size.height];
        let pixels = size.pixels();
        sides.iter().all(|side| {
            self.min_side.is_none_or(|min| *side >= min)
                && self.max_side.is_none_or(|max| *side <= max)
                && self.multiple_of.is_none_or(|step| step == 0 || side.is_multiple_of(step))
        }) && self.min_pixels.is_none_or(|min| pixels >= min)
            && self.max_pixels.is_none_or(|max| pixels <= max)
    }

    /// The allowed size closest to `size`, shape before number of pixels; none if the rules leave none near it.
    pub(super) fn nearest(&self, size: Size) -> Option<Size> {
        if self.one_of.is_empty() {
            return self.fitted(size).filter(|fitted| self.allows(*fitted));
        }
        let distance = |other: &Size| {
            let shape = (other.shape() - size.shape()).abs();
            let area = ((other.pixels() as f64).ln() - (size.pixels() as f64).ln()).abs();
            // A wrong shape is seen at once, a wrong size hardly.
            shape * 4.0 + area
        };
        self.one_of.iter().min_by(|left, right| distance(left).total_cmp(&distance(right))).copied()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sides are of the contract's range, and a float-to-integer cast saturates"
    )]
    fn fitted(&self, size: Size) -> Option<Size> {
        let scale = |limit: Option<u64>, wanted: fn(f64) -> bool| {
            let factor = (limit? as f64 / size.pixels() as f64).sqrt();
            wanted(factor).then_some(factor)
        };
        let factor =
            scale(self.min_pixels, |factor| factor > 1.0).or_else(|| scale(self.max_pixels, |factor| factor < 1.0));
        let side = |side: u32| {
            let wanted = f64::from(side) * factor.unwrap_or(1.0);
            let step = f64::from(self.multiple_of.unwrap_or(1).max(1));
            // Rounded away from the limit that it broke.
            let steps = if factor.is_some_and(|factor| factor > 1.0) {
                (wanted / step).ceil()
            } else {
                (wanted / step).floor()
            };
            let least = (f64::from(self.min_side.unwrap_or(1)) / step).ceil() * step;
            let most = self.max_side.map_or(f64::MAX, |max| (f64::from(max) / step).floor() * step);
            (least <= most).then(|| (steps * step).clamp(least, most) as u32)
        };
        Some(Size { width: side(size.width)?, height: side(size.height)? })
    }
}

impl Size {
    /// Of `width` and `height` among the options, if both are there.
    pub fn of(options: &Options) -> Option<Self> {
        let side = |name| match options.get(&name) {
            Some(OptionValue::Int(side)) => u32::try_from(*side).ok().filter(|side| *side > 0),
            Some(OptionValue::Bool(_) | OptionValue::Number(_) | OptionValue::Text(_)) | None => None,
        };
        Some(Self { width: side(OptionName::Width)?, height: side(OptionName::Height)? })
    }

    /// As options.
    pub fn options(self) -> [(OptionName, OptionValue); 2] {
        [
            (OptionName::Width, OptionValue::Int(self.width.into())),
            (OptionName::Height, OptionValue::Int(self.height.into())),
        ]
    }

    /// How many pixels.
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    fn shape(self) -> f64 {
        (f64::from(self.width) / f64::from(self.height)).ln()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides = text.split_once('x').map(|(width, height)| (width.parse(), height.parse()));
        match sides {
            Some((Ok(width), Ok(height))) if width > 0 && height > 0 => Ok(Self { width, height }),
            Some(_) | None => Err(format!("{text:?} is no size such as 1280x720")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> SizeSpec {
        toml::from_str(text).unwrap()
    }

    fn size(text: &str) -> Size {
        text.parse().unwrap()
    }

    #[test]
    fn the_nearest_size_keeps_the_shape() {
        let spec = spec("one_of = ['1024x1024', '1536x1024', '1024x1536']");
        assert!(spec.allows(size("1536x1024")) && !spec.allows(size("1920x1080")));
        assert_eq!(spec.nearest(size("1920x1080")), Some(size("1536x1024")));
        assert_eq!(spec.nearest(size("500x520")), Some(size("1024x1024")));
        assert_eq!(spec.written(size("1536x1024")), "1536x1024");
    }

    #[test]
    fn a_size_is_fitted_to_the_rules() {
        let spec = spec("min_side = 64\nmax_side = 2048\nmax_pixels = 1048576\nmultiple_of = 16");
        let check = |asked: &str, expected: &str| {
            let nearest = spec.nearest(size(asked)).unwrap();
            assert_eq!(nearest, size(expected), "{asked}");
            assert!(spec.allows(nearest));
        };
        check("1024x1024", "1024x1024");
        check("1000x1000", "992x992");
        check("2048x2048", "1024x1024");
        check("16x64", "64x64");
    }
}
