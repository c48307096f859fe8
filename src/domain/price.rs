//! Prices as data on a card, and what an order or a finished job comes to by them.

use std::{collections::BTreeMap, num::NonZeroU32};

use serde::{Deserialize, Serialize};

use super::{
    money::{MicroUsd, Usage},
    order::{OptionName, OptionValue, Options},
};

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
    /// Each character of the prompt.
    Character,
    /// Each million pixels of output.
    Megapixel,
    /// Each token of output, as the provider counts them.
    Token,
}

/// What a model costs. The rate is that of the first variant whose options the order has, else the plain one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// What is counted.
    pub unit: PriceUnit,
    /// Price of `per` units in micro-USD.
    pub micro_usd: MicroUsd,
    /// How many units `micro_usd` is for.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub per: NonZeroU32,
    /// Added once for each order.
    #[serde(default, rename = "base_micro_usd", skip_serializing_if = "is_nothing")]
    pub base: MicroUsd,
    /// Units are counted in whole steps of so many, rounded up; exactly when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    /// Tokens expected of each second of output, or of each output that has no seconds; for the estimate of a price by token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<f64>,
    /// Rates for orders with certain options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<PriceVariant>,
}

/// A rate for orders with certain options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceVariant {
    /// The options with their values; all must agree.
    pub options: BTreeMap<OptionName, OptionValue>,
    /// Price of the price's `per` units.
    pub micro_usd: MicroUsd,
    /// In place of the price's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<f64>,
}

impl Price {
    /// The price of what was used by an order with `options`, or nothing if the usage lacks what this price counts.
    ///
    /// The provider's own figure goes before ours.
    pub fn of(&self, usage: &Usage, options: &Options) -> Option<MicroUsd> {
        if usage.charged.is_some() {
            return usage.charged;
        }
        let units = self.units(usage)?;
        let rate = self.rate(usage, options).map_or(self.micro_usd, |variant| variant.micro_usd);
        let MicroUsd(counted) = rate.times(units / f64::from(self.per.get()));
        Some(MicroUsd(counted.saturating_add(self.base.0)))
    }

    /// How much of what it counts was used, in whole steps.
    pub fn units(&self, usage: &Usage) -> Option<f64> {
        let units = match self.unit {
            PriceUnit::OutputSecond => usage.output_seconds?,
            PriceUnit::Output => f64::from(usage.outputs?),
            PriceUnit::ComputeSecond => usage.compute_seconds?,
            PriceUnit::Character => usage.characters? as f64,
            PriceUnit::Megapixel => usage.megapixels?,
            PriceUnit::Token => usage.tokens?,
        };
        let whole = |step: f64| (units / step - 1e-9).ceil() * step;
        let units = self.step.filter(|step| *step > 0.0).map_or(units, whole);
        (units.is_finite() && units >= 0.0).then_some(units)
    }

    /// Tokens expected of each second of output, or of each output that has no seconds, of an order with `options`.
    pub fn expected_tokens(&self, options: &Options) -> Option<f64> {
        self.rate(&Usage::default(), options).and_then(|variant| variant.tokens).or(self.tokens)
    }

    fn rate(&self, usage: &Usage, options: &Options) -> Option<&PriceVariant> {
        // Whether there is sound is known best from the output.
        let told = usage.audio.map(OptionValue::Bool);
        let has = |(name, value): (&OptionName, &OptionValue)| {
            let actual = if *name == OptionName::Audio { told.as_ref() } else { None };
            actual.or_else(|| options.get(name)).is_some_and(|actual| actual.same(value))
        };
        self.when.iter().find(|variant| variant.options.iter().all(has))
    }
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_one(per: &NonZeroU32) -> bool {
    per.get() == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_nothing(amount: &MicroUsd) -> bool {
    *amount == MicroUsd::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Price {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_first_variant_that_agrees_gives_the_rate() {
        let price = price(
            r#"unit = "output_second"
            micro_usd = 100_000
            when = [
                { options = { resolution = "1080p", audio = true }, micro_usd = 400_000 },
                { options = { audio = true }, micro_usd = 200_000 },
            ]"#,
        );
        let check = |resolution: &str, audio: Option<bool>, expected: i64| {
            let mut options = Options::from([(OptionName::Resolution, OptionValue::Text(resolution.to_owned()))]);
            options.extend(audio.map(|audio| (OptionName::Audio, OptionValue::Bool(audio))));
            let usage = Usage { output_seconds: Some(6.0), ..Usage::default() };
            assert_eq!(price.of(&usage, &options), Some(MicroUsd(expected)), "{resolution} {audio:?}");
        };
        check("1080p", Some(true), 2_400_000);
        check("720p", Some(true), 1_200_000);
        check("1080p", Some(false), 600_000);
        check("720p", None, 600_000);
        // The provider made sound that was not asked for.
        let usage = Usage { output_seconds: Some(6.0), audio: Some(true), ..Usage::default() };
        assert_eq!(price.of(&usage, &Options::new()), Some(MicroUsd(1_200_000)));
    }

    #[test]
    fn a_price_counts_its_own_unit_in_its_own_steps() {
        let check = |text: &str, usage: Usage, expected: Option<i64>| {
            assert_eq!(price(text).of(&usage, &Options::new()).map(|micro| micro.0), expected, "{text}");
        };
        let of_seconds = |seconds| Usage { output_seconds: Some(seconds), ..Usage::default() };
        check("unit = 'output_second'\nmicro_usd = 100000", of_seconds(30.0), Some(3_000_000));
        check("unit = 'output_second'\nmicro_usd = 50000", of_seconds(5.2), Some(260_000));
        check("unit = 'output_second'\nmicro_usd = 100000\nstep = 30.0", of_seconds(31.0), Some(6_000_000));
        check("unit = 'output_second'\nmicro_usd = 1", Usage::default(), None);
        let characters = Usage { characters: Some(1_500), ..Usage::default() };
        check("unit = 'character'\nmicro_usd = 15000000\nper = 1000000", characters.clone(), Some(22_500));
        check("unit = 'character'\nmicro_usd = 100\nbase_micro_usd = 7", characters, Some(150_007));
        check("unit = 'output'\nmicro_usd = 3000", Usage { outputs: Some(10), ..Usage::default() }, Some(30_000));
        let told = Usage { charged: Some(MicroUsd(42)), ..Usage::default() };
        check("unit = 'output'\nmicro_usd = 3000", told, Some(42));
    }
}
