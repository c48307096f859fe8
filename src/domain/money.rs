//! Money: whole millionths of a US dollar, so that sums are exact.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Millionths of a US dollar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroUsd(pub i64);

impl MicroUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The most that one thing may cost, a thousand million dollars: sums of thousands of them are still exact.
    pub const MOST: Self = Self(1_000_000_000_000_000);

    /// Nothing at all.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// Of an amount in dollars with at most six decimals, such as `25` or `0.05`; not below zero.
    pub fn from_decimal(text: &str) -> Option<Self> {
        let (whole, parts) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(parts) || parts.len() > 6 {
            return None;
        }
        let dollars: i64 = whole.parse().ok()?;
        let micros: i64 = format!("{parts:0<6}").parse().ok()?;
        dollars.checked_mul(1_000_000)?.checked_add(micros).map(Self)
    }

    /// A price for `units` of something, rounded up to a whole millionth so that an estimate is never below the charge, and never above
    /// [`Self::MOST`].
    pub fn times(self, units: f64) -> Self {
        // A float's own error is no reason to charge a millionth more.
        let micros = (self.0 as f64 * units - 1e-6).ceil();
        // A float-to-integer `as` saturates, and NaN becomes 0: an absurd unit count can neither wrap into a small price nor break a sum.
        #[expect(clippy::cast_possible_truncation, reason = "saturating on purpose")]
        Self(micros as i64).min(Self::MOST)
    }
}

impl fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        write!(f, "{sign}${}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// What a provider says was used; absent where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Seconds of output.
    pub output_seconds: Option<f64>,
    /// Output files.
    pub outputs: Option<u32>,
    /// Seconds of compute.
    pub compute_seconds: Option<f64>,
    /// Whether the output was made with sound.
    pub audio: Option<bool>,
    /// Characters of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub characters: Option<u64>,
    /// Million pixels of output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub megapixels: Option<f64>,
    /// Tokens of output, as the provider counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<f64>,
    /// What the provider itself says it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charged: Option<MicroUsd>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_shown_in_dollars() {
        assert_eq!(MicroUsd(3_030_000).to_string(), "$3.030000");
        assert_eq!(MicroUsd(-5).to_string(), "-$0.000005");
    }

    #[test]
    fn dollars_are_written_as_decimals() {
        for (text, expected) in [("25", Some(25_000_000)), ("0.05", Some(50_000)), ("1.234567", Some(1_234_567))] {
            assert_eq!(MicroUsd::from_decimal(text), expected.map(MicroUsd), "{text}");
        }
        for bad in ["", "-1", "1.", ".5", "1,5", "1.2345678", "1e3", "$5", "9999999999999999999"] {
            assert_eq!(MicroUsd::from_decimal(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_absurd_unit_count_saturates() {
        assert_eq!(MicroUsd(1_000_000).times(f64::MAX), MicroUsd::MOST);
    }
}
