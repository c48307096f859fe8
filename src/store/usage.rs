//! The statement of usage: counts from the generations and chats, their money from the ledger or a row that says the same, together by what
//! they have in common.

use jiff::Timestamp;

use super::{
    port::{MAX_USAGE_KEYS, Page, UsageFilter, UsageKey},
    rows::Value,
};
use crate::domain::{
    artifact::{Kind, Made},
    budget::Scope,
    names::TenantId,
};

/// Where the databases speak differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// What is summed: a table whose rows are called `g`, and what a row counts for.
struct Counted {
    table: &'static str,
    /// The column of the ledger that names a row.
    in_ledger: &'static str,
    /// What was paid, as an expression, where a row never changes and says so; else the ledger is asked.
    spent: Option<&'static str>,
    /// Its kind, as an expression.
    kind: &'static str,
    /// What a row adds to generations, successes, saved, unpriced, chats, tokens read and tokens written.
    adds: [&'static str; 7],
}

const GENERATIONS: Counted = Counted {
    table: "generations",
    in_ledger: "generation",
    spent: None,
    kind: "g.kind",
    adds: ["1", "CASE g.state WHEN 'succeeded' THEN 1 ELSE 0 END", "g.saved", "g.unpriced", "0", "0", "0"],
};

const CHATS: Counted = Counted {
    table: "chats",
    in_ledger: "chat",
    // A join would take three times as long, and there are many chats.
    spent: Some("coalesce(g.cost, 0)"),
    kind: "'text'",
    adds: [
        "0",
        "0",
        "0",
        "CASE WHEN g.cost IS NULL THEN 1 ELSE 0 END",
        "1",
        "coalesce(g.input_tokens, 0)",
        "coalesce(g.output_tokens, 0)",
    ],
};

/// What is summed, in the order of `UsageRow`.
const SUMS: [&str; 11] =
    ["n", "ok", "spent", "held", "suspense", "absorbed", "saved", "unpriced", "chats", "tokens_read", "tokens_written"];

/// The statement with its values. Its columns: three keys, then the sums in the order of `UsageRow`. Without keys it has one row, or
/// none if there is nothing to sum.
pub(super) fn usage(
    dialect: Dialect,
    tenant: &TenantId,
    filter: &UsageFilter,
    by: &[UsageKey],
    page: &Page<u64>,
) -> (String, Vec<Value>) {
    let mut values = Vec::new();
    let mut bind = |value: Value| {
        values.push(value);
        format!("?{}", values.len())
    };
    let labels: Vec<String> = by
        .iter()
        .map(|key| if let UsageKey::Label(label) = key { bind(label.as_str().into()) } else { String::new() })
        .collect();
    let keys = |counted: &Counted, model: &str| -> String {
        let key = |index: usize| match by.get(index) {
            Some(key) => expression(dialect, key, counted, model, &labels[index]),
            None => "''".to_owned(),
        };
        (0..MAX_USAGE_KEYS).map(|index| format!("{} AS k{index}", key(index))).collect::<Vec<_>>().join(", ")
    };
    let mut condition = format!("g.tenant = {}", bind(tenant.id().into()));
    let micros = |at: Timestamp| Value::from(at.as_microsecond());
    let mut and = |text: &str, value: Value| condition.push_str(&format!(" AND {text} {}", bind(value)));
    filter.start.into_iter().for_each(|at| and("g.created_at >=", micros(at)));
    filter.end.into_iter().for_each(|at| and("g.created_at <", micros(at)));
    filter.session.iter().for_each(|session| and("g.session =", session.id().into()));
    let (counted, kind): (&[&Counted], Option<Kind>) = match filter.kind {
        None => (&[&GENERATIONS, &CHATS], None),
        Some(Made::Media(kind)) => (&[&GENERATIONS], Some(kind)),
        Some(Made::Text) => (&[&CHATS], None),
    };
    kind.into_iter().for_each(|kind| and("g.kind =", kind.as_str().into()));
    for (key, value) in &filter.labels {
        let (key, value) = (bind(key.as_str().into()), bind(value.as_str().into()));
        condition.push_str(&format!(" AND g.labels ->> {key} = {value}"));
    }
    let of_model = filter.model.as_ref().map(|model| bind(model.to_string().as_str().into()));
    let only = |column: &str| of_model.as_ref().map(|model| format!(" AND {column} = {model}")).unwrap_or_default();
    // Each table is summed by itself, so that few rows come together and not each chat. Without keys nothing is no row.
    let groups = match by.len() {
        0 => "HAVING count(*) > 0".to_owned(),
        n => format!("GROUP BY {}", (1..=n).map(|key| key.to_string()).collect::<Vec<_>>().join(", ")),
    };
    let parts =
        counted.iter().flat_map(|counted| summed(counted, |model| keys(counted, model), &only, &condition, &groups));
    let parts = parts.collect::<Vec<_>>().join(" UNION ALL ");
    let text = format!(
        "SELECT k0, k1, k2, {} FROM ( {parts}) AS t GROUP BY k0, k1, k2 ORDER BY k0, k1, k2 LIMIT {} OFFSET {}",
        SUMS.map(|sum| format!("CAST(SUM({sum}) AS BIGINT)")).join(", "),
        bind(i64::try_from(page.limit).unwrap_or(i64::MAX).into()),
        bind(i64::try_from(page.after.unwrap_or_default()).unwrap_or(i64::MAX).into()),
    );
    (text, values)
}

/// The sums of a table's rows, and those of its movements in the ledger, as statements.
fn summed(
    counted: &Counted,
    keys: impl Fn(&str) -> String,
    only: impl Fn(&str) -> String,
    condition: &str,
    groups: &str,
) -> impl Iterator<Item = String> {
    // What leaves the operator's account is no spending of the caller.
    let (provider, absorbed) = (change("provider"), change("absorbed"));
    let (held, suspense) = (change("held"), change("suspense"));
    let Counted { table, in_ledger, spent, adds: [n, ok, saved, unpriced, chats, read, written], .. } = counted;
    let of_rows = [n, ok, spent.unwrap_or("0"), "0", "0", "0", saved, unpriced, chats, read, written];
    let rows = format!(
        "SELECT {}, {} FROM {table} g WHERE {condition}{} {groups}",
        keys("g.model"),
        sums(of_rows),
        only("g.model"),
    );
    let of_movements = [
        "0",
        "0",
        &format!("{provider} + {absorbed}"),
        &held,
        &suspense,
        &format!("-({absorbed})"),
        "0",
        "0",
        "0",
        "0",
        "0",
    ];
    let movements = spent.is_none().then(|| {
        format!(
            "SELECT {}, {} FROM ledger l JOIN {table} g ON g.id = l.{in_ledger} WHERE l.{in_ledger} <> '' AND {condition}{} {groups}",
            keys("l.model"),
            sums(of_movements),
            only("l.model"),
        )
    });
    [rows].into_iter().chain(movements)
}

/// The sums of these, under their names.
fn sums(of: [&str; SUMS.len()]) -> String {
    let sum = |(name, of)| if of == "0" { format!("0 AS {name}") } else { format!("SUM({of}) AS {name}") };
    SUMS.into_iter().zip(of).map(sum).collect::<Vec<_>>().join(", ")
}

/// By how much a movement `l` changes an account.
fn change(account: &str) -> String {
    format!(
        "(CASE l.to_account WHEN '{account}' THEN l.amount ELSE 0 END) \
         - (CASE l.from_account WHEN '{account}' THEN l.amount ELSE 0 END)"
    )
}

/// A key as text, compared byte by byte.
fn expression(dialect: Dialect, key: &UsageKey, counted: &Counted, model: &str, label: &str) -> String {
    let time = |sqlite: &str, postgres: &str| match dialect {
        Dialect::Sqlite => format!("strftime('{sqlite}', g.created_at / 1000000, 'unixepoch')"),
        Dialect::Postgres => {
            format!("to_char(to_timestamp(g.created_at / 1000000) AT TIME ZONE 'UTC', '{postgres}') COLLATE \"C\"")
        }
    };
    match key {
        UsageKey::Model => model.to_owned(),
        UsageKey::Provider => match dialect {
            Dialect::Sqlite => format!("substr({model}, 1, instr({model}, '/') - 1)"),
            Dialect::Postgres => format!("split_part({model}, '/', 1)"),
        },
        UsageKey::Kind => counted.kind.to_owned(),
        UsageKey::Session => "g.session".to_owned(),
        UsageKey::State => "g.state".to_owned(),
        UsageKey::Hour => time("%Y-%m-%dT%H", "YYYY-MM-DD\"T\"HH24"),
        UsageKey::Day => time("%Y-%m-%d", "YYYY-MM-DD"),
        UsageKey::Month => time("%Y-%m", "YYYY-MM"),
        UsageKey::Label(_) => match dialect {
            Dialect::Sqlite => format!("coalesce(g.labels ->> {label}, '')"),
            Dialect::Postgres => format!("coalesce(g.labels ->> {label}, '') COLLATE \"C\""),
        },
    }
}

/// What counts a budget's accounts anew from the ledger: its values are the budget's name, the start of the period, and the label's key if
/// it goes by a label.
pub(super) fn recount(scope: &Scope) -> String {
    let account = match scope {
        Scope::Tenant => "g.tenant",
        // A chat may belong to none.
        Scope::Session(_) => "g.tenant || '/' || nullif(g.session, '')",
        Scope::Label(..) => "g.tenant || '/' || (g.labels ->> ?3)",
    };
    let (held, caller) = (change("held"), change("caller"));
    let parts = [GENERATIONS, CHATS].map(|Counted { table, in_ledger, .. }| {
        format!(
            "SELECT {account} AS account, {held} AS held, -({caller}) - ({held}) AS spent \
             FROM ledger l JOIN {table} g ON g.id = l.{in_ledger} WHERE l.{in_ledger} <> '' AND l.since >= ?2"
        )
    });
    format!(
        "INSERT INTO spending (budget, account, since, held, spent) \
         SELECT ?1, account, ?2, CAST(SUM(held) AS BIGINT), CAST(SUM(spent) AS BIGINT) FROM ( {}) AS t \
         WHERE account IS NOT NULL GROUP BY account",
        parts.join(" UNION ALL ")
    )
}
