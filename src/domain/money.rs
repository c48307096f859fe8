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

    /// A price for `units` of something, rounded up to a whole millionth so that an estimate is never below the charge.
    pub fn times(self, units: f64) -> Self {
        // A float's own error is no reason to charge a millionth more.
        let micros = (self.0 as f64 * units - 1e-6).ceil();
        // A float-to-integer `as` saturates, and NaN becomes 0: an absurd unit count cannot wrap into a small price.
        #[expect(clippy::cast_possible_truncation, reason = "saturating on purpose")]
        Self(micros as i64)
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
    fn an_absurd_unit_count_saturates() {
        assert_eq!(MicroUsd(1_000_000).times(f64::MAX), MicroUsd(i64::MAX));
    }
}
