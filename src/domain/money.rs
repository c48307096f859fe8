//! Money: whole millionths of a US dollar, so that sums are exact.

use std::{fmt, time::Duration};

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
        let micros = (self.0 as f64 * units).ceil();
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

/// What a price counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceUnit {
    /// Each second of output.
    OutputSecond,
    /// Each output file.
    Output,
    /// Each second of the provider's compute.
    ComputeSecond,
}

/// What a model costs for each unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// What is counted.
    pub unit: PriceUnit,
    /// Price of one unit in micro-USD.
    pub micro_usd: MicroUsd,
    /// Price of one unit when the output has sound, if that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_usd_with_audio: Option<MicroUsd>,
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
}

impl Price {
    /// The price of `usage`, or nothing if the usage lacks what this price counts.
    pub fn of(&self, usage: &Usage) -> Option<MicroUsd> {
        let each = match (usage.audio, self.micro_usd_with_audio) {
            (Some(true), Some(with_audio)) => with_audio,
            (Some(true | false) | None, _) => self.micro_usd,
        };
        let units = match self.unit {
            PriceUnit::OutputSecond => usage.output_seconds?,
            PriceUnit::Output => f64::from(usage.outputs?),
            PriceUnit::ComputeSecond => usage.compute_seconds?,
        };
        (units.is_finite() && units >= 0.0).then(|| each.times(units))
    }

    /// The expected price of an order before it runs.
    pub fn estimate(
        &self,
        duration: Option<Duration>,
        samples: u32,
        audio: bool,
        compute: Option<Duration>,
    ) -> Option<MicroUsd> {
        let samples_f = f64::from(samples);
        self.of(&Usage {
            output_seconds: duration.map(|duration| duration.as_secs_f64() * samples_f),
            outputs: Some(samples),
            compute_seconds: compute.map(|compute| compute.as_secs_f64() * samples_f),
            audio: Some(audio),
        })
    }
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
    fn a_price_counts_its_own_unit() {
        let price = Price {
            unit: PriceUnit::OutputSecond,
            micro_usd: MicroUsd(200_000),
            micro_usd_with_audio: Some(MicroUsd(400_000)),
        };
        let usage = |audio| Usage { output_seconds: Some(6.0), audio, ..Usage::default() };
        assert_eq!(price.of(&usage(Some(true))), Some(MicroUsd(2_400_000)));
        assert_eq!(price.of(&usage(None)), Some(MicroUsd(1_200_000)));
        assert_eq!(price.of(&Usage::default()), None);
    }

    #[test]
    fn an_absurd_unit_count_saturates() {
        assert_eq!(MicroUsd(1_000_000).times(f64::MAX), MicroUsd(i64::MAX));
        let price = Price { unit: PriceUnit::Output, micro_usd: MicroUsd(1), micro_usd_with_audio: None };
        assert_eq!(price.of(&Usage { outputs: Some(0), ..Usage::default() }), Some(MicroUsd::ZERO));
    }
}
