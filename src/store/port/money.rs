//! Money as the store tells it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::{
    artifact::Made,
    money::MicroUsd,
    names::{GenerationId, ModelName, SessionId},
};

/// What rows of usage are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum UsageKey {
    /// The model.
    Model,
    /// The model's provider.
    Provider,
    /// What is made.
    Kind,
    /// The conversation.
    Session,
    /// The state now.
    State,
    /// The hour of acceptance in UTC, as `2026-01-31T07`.
    Hour,
    /// The day of acceptance in UTC, as `2026-01-31`.
    Day,
    /// The month of acceptance in UTC, as `2026-01`.
    Month,
    /// The value of the label with this key; empty without it.
    Label(String),
}

/// Most keys of a row.
pub const MAX_USAGE_KEYS: usize = 3;

/// Which generations usage is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct UsageFilter {
    /// Accepted at or after this time.
    pub start: Option<Timestamp>,
    /// Accepted before this time.
    pub end: Option<Timestamp>,
    /// Only this model.
    pub model: Option<ModelName>,
    /// Only this session's.
    pub session: Option<SessionId>,
    /// Only with all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only this.
    pub kind: Option<Made>,
}

/// Sums of generations and chats with something in common, deleted and expired ones included.
///
/// A generation is counted where its last attempt is; its money is where the attempt was that cost it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageRow {
    /// What they have in common, in the order asked.
    pub keys: Vec<String>,
    /// How many generations.
    pub n_generations: u64,
    /// How many of them succeeded.
    pub n_succeeded: u64,
    /// Paid by the caller.
    pub spent: MicroUsd,
    /// Set aside for unfinished ones.
    pub held: MicroUsd,
    /// Set aside for what cannot be told.
    pub suspense: MicroUsd,
    /// Taken by providers beyond quotes.
    pub absorbed: MicroUsd,
    /// Saved by cached and shared results.
    pub saved: MicroUsd,
    /// How many ended charged, at a price that nobody knows; chats among them.
    pub n_unpriced: u64,
    /// How many chats.
    pub n_chats: u64,
    /// Tokens that chats read.
    pub input_tokens: u64,
    /// Tokens that chats wrote.
    pub output_tokens: u64,
}

impl UsageRow {
    /// The sums of rows, without anything in common.
    pub fn total(rows: &[Self]) -> Self {
        let money = |of: fn(&Self) -> MicroUsd| {
            rows.iter().fold(MicroUsd(0), |sum, row| MicroUsd(sum.0.saturating_add(of(row).0)))
        };
        let count = |of: fn(&Self) -> u64| rows.iter().fold(0_u64, |sum, row| sum.saturating_add(of(row)));
        Self {
            keys: Vec::new(),
            n_generations: count(|row| row.n_generations),
            n_succeeded: count(|row| row.n_succeeded),
            spent: money(|row| row.spent),
            held: money(|row| row.held),
            suspense: money(|row| row.suspense),
            absorbed: money(|row| row.absorbed),
            saved: money(|row| row.saved),
            n_unpriced: count(|row| row.n_unpriced),
            n_chats: count(|row| row.n_chats),
            input_tokens: count(|row| row.input_tokens),
            output_tokens: count(|row| row.output_tokens),
        }
    }
}

/// Which movements to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct LedgerFilter {
    /// Only of this generation.
    pub generation: Option<GenerationId>,
    /// Only of this session.
    pub session: Option<SessionId>,
    /// At or after this time.
    pub start: Option<Timestamp>,
    /// Before this time.
    pub end: Option<Timestamp>,
}
