//! Conversations with language models: what a model takes, as data, what was used, and what it cost.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    money::MicroUsd,
    names::{ChatId, ModelName, SessionId, TenantId},
};

/// Most messages of one conversation.
pub const MAX_MESSAGES: usize = 1000;

/// A language model of a provider. As with [`super::card::ModelCard`], settings may add or override cards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatCard {
    /// The provider's own name for it.
    pub name: String,
    /// Other names that a request may use.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// A short human description.
    #[serde(default)]
    pub title: String,
    /// Most tokens of a conversation, answer included; absent when unknown.
    #[serde(default)]
    pub context_tokens: Option<u64>,
    /// Most tokens of an answer; absent when unknown.
    #[serde(default)]
    pub max_output_tokens: Option<u64>,
    /// Whether it looks at pictures.
    #[serde(default)]
    pub images: bool,
    /// Whether it wants tools called.
    #[serde(default)]
    pub tools: bool,
    /// Whether its answers keep to a JSON Schema.
    #[serde(default)]
    pub json_schema: bool,
    /// What it costs; absent when unknown.
    #[serde(default)]
    pub price: Option<ChatPrice>,
    /// Last day the provider serves it.
    #[serde(default)]
    pub end_of_life: Option<jiff::civil::Date>,
    /// Where these facts come from.
    #[serde(default)]
    pub source: String,
}

/// Prices of a million tokens, in micro-USD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatPrice {
    /// Of those read.
    pub input: MicroUsd,
    /// Of those taken from the provider's cache; absent if they cost what others cost.
    #[serde(default)]
    pub cached_input: Option<MicroUsd>,
    /// Of those written.
    pub output: MicroUsd,
}

/// Tokens, as the provider counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenUsage {
    /// Read, cached ones included.
    pub input: u64,
    /// Of those read, taken from the provider's cache.
    pub cached_input: u64,
    /// Written, those of its reasoning included.
    pub output: u64,
    /// Of those written, for its reasoning.
    pub reasoning: u64,
}

impl ChatPrice {
    /// What tokens cost, rounded up to a whole millionth, at most [`MicroUsd::MOST`].
    pub fn of(&self, usage: &TokenUsage) -> MicroUsd {
        const MILLION: i128 = 1_000_000;
        let cached = usage.cached_input.min(usage.input);
        let part = |tokens: u64, price: MicroUsd| i128::from(tokens).saturating_mul(i128::from(price.0));
        let sum = part(usage.input - cached, self.input)
            .saturating_add(part(cached, self.cached_input.unwrap_or(self.input)))
            .saturating_add(part(usage.output, self.output));
        let micros = sum.saturating_add(MILLION - 1) / MILLION;
        MicroUsd(i64::try_from(micros).unwrap_or(i64::MAX)).min(MicroUsd::MOST)
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It was complete, or came to a stop sequence.
    Stop,
    /// It reached its limit of tokens.
    Length,
    /// The model wants tools called.
    ToolCalls,
    /// The provider's content policy ended it.
    ContentFilter,
}

/// What stays of a chat: what it used and cost, and its turns if it belongs to a session.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRecord {
    /// Its name.
    pub id: ChatId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The conversation it is kept in, if any.
    pub session: Option<SessionId>,
    /// The model that answered.
    pub model: ModelName,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// True if the answer came to its end.
    pub succeeded: bool,
    /// What was used; absent if the provider did not tell.
    pub usage: Option<TokenUsage>,
    /// What it cost; absent if that cannot be told.
    pub cost: Option<MicroUsd>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_costs_what_its_tokens_cost_rounded_up() {
        let price =
            ChatPrice { input: MicroUsd(150_000), cached_input: Some(MicroUsd(75_000)), output: MicroUsd(600_000) };
        let usage = |input, cached_input, output| TokenUsage { input, cached_input, output, reasoning: 0 };
        for (usage, expected) in [
            (usage(0, 0, 0), 0),
            (usage(1, 0, 0), 1),
            (usage(1_000_000, 0, 1_000_000), 750_000),
            (usage(1_000_000, 400_000, 0), 120_000),
            // A provider that counts more cached tokens than tokens.
            (usage(10, 20, 0), 1),
            (usage(u64::MAX, 0, u64::MAX), MicroUsd::MOST.0),
        ] {
            assert_eq!(price.of(&usage), MicroUsd(expected), "{usage:?}");
        }
        let plain = ChatPrice { cached_input: None, ..price };
        assert_eq!(plain.of(&usage(1_000_000, 1_000_000, 0)), MicroUsd(150_000));
    }
}
