//! Money as the contract's messages.

use super::values::{count, timestamp};
use crate::{
    domain::{
        budget::Standing,
        ledger::{Account, Cause, Entry, Reason},
    },
    pb::v1,
    store::port::UsageRow,
};

/// A row of usage.
pub(in crate::door) fn usage(row: &UsageRow) -> v1::Usage {
    v1::Usage {
        keys: row.keys.clone(),
        n_generations: count(row.n_generations),
        n_succeeded: count(row.n_succeeded),
        spent_micro_usd: row.spent.0,
        held_micro_usd: row.held.0,
        suspense_micro_usd: row.suspense.0,
        absorbed_micro_usd: row.absorbed.0,
        saved_micro_usd: row.saved.0,
        n_unpriced: count(row.n_unpriced),
        n_chats: count(row.n_chats),
        input_tokens: count(row.input_tokens),
        output_tokens: count(row.output_tokens),
    }
}

/// How a budget stands.
pub(in crate::door) fn budget(standing: &Standing) -> v1::Budget {
    v1::Budget {
        name: standing.budget.name.clone(),
        scope: standing.budget.to_string(),
        limit_micro_usd: standing.budget.limit.0,
        spent_micro_usd: standing.spent.0,
        held_micro_usd: standing.held.0,
        period_start_time: standing.period.map(|(start, _)| timestamp(start)),
        period_end_time: standing.period.map(|(_, end)| timestamp(end)),
    }
}

/// A movement.
pub(in crate::door) fn ledger_entry(entry: &Entry) -> v1::LedgerEntry {
    let movement = &entry.movement;
    let (generation, chat) = match entry.cause {
        Cause::Generation(id) => (id.to_string(), String::new()),
        Cause::Chat(id) => (String::new(), id.to_string()),
    };
    v1::LedgerEntry {
        name: format!("ledgerEntries/{}", entry.number),
        create_time: Some(timestamp(entry.at)),
        generation,
        session: entry.session.as_ref().map(ToString::to_string).unwrap_or_default(),
        model: movement.model.to_string(),
        reason: reason(movement.reason).into(),
        from_account: account(movement.from).into(),
        to_account: account(movement.to).into(),
        micro_usd: movement.amount.0,
        chat,
    }
}

fn account(account: Account) -> v1::LedgerAccount {
    match account {
        Account::Caller => v1::LedgerAccount::Caller,
        Account::Held => v1::LedgerAccount::Held,
        Account::Provider => v1::LedgerAccount::Provider,
        Account::Suspense => v1::LedgerAccount::Suspense,
        Account::Absorbed => v1::LedgerAccount::Absorbed,
    }
}

fn reason(reason: Reason) -> v1::LedgerReason {
    match reason {
        Reason::Hold => v1::LedgerReason::Hold,
        Reason::Release => v1::LedgerReason::Release,
        Reason::Settle => v1::LedgerReason::Settle,
        Reason::Suspend => v1::LedgerReason::Suspend,
        Reason::Absorb => v1::LedgerReason::Absorb,
        Reason::Correct => v1::LedgerReason::Correct,
    }
}
