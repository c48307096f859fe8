//! `filmgate usage` and `filmgate ledger`: what was spent, by whom and on what.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{
    ClientCommand, Context,
    connect::call,
    exit::Exit,
    failure::Failure,
    json,
    kind::MadeArg,
    names::Collection,
    pages::{Rows, collect},
    terminal::{Format, Terminal},
    text,
};
use crate::pb::v1::{self, Budget, GetUsageRequest, LedgerEntry, ListLedgerEntriesRequest, Usage as Row};

/// Most rows shown of a list that is to be whole.
const MOST_ROWS: usize = 100_000;

/// Arguments of `filmgate usage`.
#[derive(Debug, clap::Args)]
pub(super) struct Usage {
    /// What each row is about, at most 3 with commas: model, provider, kind, session, state, hour, day, month or label:KEY.
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    by: Vec<String>,
    #[command(flatten)]
    period: Period,
    /// Only this model's.
    #[arg(long, value_name = "PROVIDER/NAME")]
    model: Option<String>,
    /// Only this session's.
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// Only this kind.
    #[arg(long)]
    kind: Option<MadeArg>,
    /// Only with this label; repeatable.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Write a table for spreadsheets, amounts in US dollars.
    #[arg(long)]
    csv: bool,
}

/// Arguments of `filmgate ledger`.
#[derive(Debug, clap::Args)]
pub(super) struct Ledger {
    /// Only of this generation.
    #[arg(value_name = "GENERATION")]
    generation: Option<String>,
    /// Only of this session.
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    #[command(flatten)]
    period: Period,
    /// Most rows shown.
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: usize,
}

#[derive(Debug, clap::Args)]
struct Period {
    /// From this time on: a day such as 2026-01-31 (UTC), or a time such as 2026-01-31T07:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
}

impl Period {
    fn times(&self) -> (Option<prost_types::Timestamp>, Option<prost_types::Timestamp>) {
        let wire = |at: Timestamp| prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() };
        (self.since.map(wire), self.until.map(wire))
    }
}

impl ClientCommand for Usage {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let session = self.session.as_deref().map(|session| Collection::Sessions.name(session)).transpose()?;
        let (start_time, end_time) = self.period.times();
        let labels: BTreeMap<String, String> = self.labels.iter().cloned().collect();
        let connection = &context.connection;
        let sums = std::sync::Mutex::new((Row::default(), Vec::new()));
        let rows = collect(MOST_ROWS, async |page| {
            let request = GetUsageRequest {
                start_time,
                end_time,
                group_by: self.by.clone(),
                model: self.model.clone().unwrap_or_default(),
                session: session.clone().unwrap_or_default(),
                labels: labels.clone(),
                kind: self.kind.map_or(v1::Kind::Unspecified, v1::Kind::from).into(),
                page_size: page.size,
                page_token: page.token,
            };
            let response = connection.budgets().get_usage(call(request)).await?.into_inner();
            *sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                (response.total.unwrap_or_default(), response.budgets);
            Ok((response.usage, response.next_page_token))
        });
        let rows = rows.await?;
        let (total, budgets) = sums.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.csv {
            return csv(context.terminal, &self.by, &rows.rows).map(|()| Exit::Ok);
        }
        show(context.terminal, &self.by, rows, &total, &budgets)?;
        Ok(Exit::Ok)
    }
}

fn show(
    terminal: &mut Terminal,
    by: &[String],
    mut rows: Rows<Row>,
    total: &Row,
    budgets: &[Budget],
) -> Result<(), Failure> {
    if terminal.format == Format::Json {
        rows.rows.iter().try_for_each(|row| terminal.json_line(&json::of(row)?))?;
        return budgets.iter().try_for_each(|budget| terminal.json_line(&json::of(budget)?));
    }
    if !by.is_empty() {
        rows.rows.push(Row { keys: vec!["total".to_owned()], ..total.clone() });
    }
    let what = by.iter().map(|key| key.to_uppercase()).collect::<Vec<_>>().join(" / ");
    let heading = [
        &what,
        "GENERATIONS",
        "SUCCEEDED",
        "SPENT",
        "HELD",
        "SUSPENSE",
        "ABSORBED",
        "SAVED",
        "CHATS",
        "READ",
        "WRITTEN",
    ];
    terminal.rows(&rows, heading, cells)?;
    let n_unpriced = total.n_unpriced;
    if n_unpriced > 0 {
        terminal.notice(&format!(
            "what {n_unpriced} of them cost is not known: their models have no price, or their answers broke off"
        ));
    }
    if budgets.is_empty() {
        return Ok(());
    }
    let table: Vec<[String; 7]> = budgets.iter().map(budget_cells).collect();
    let heading = ["BUDGET", "OF", "LIMIT", "SPENT", "HELD", "LEFT", "UNTIL"];
    terminal.line(&format!("\n{}", text::table(heading, &table)))
}

fn cells(row: &Row) -> [String; 11] {
    [
        row.keys.join(" / "),
        row.n_generations.to_string(),
        row.n_succeeded.to_string(),
        text::dollars(row.spent_micro_usd),
        text::dollars(row.held_micro_usd),
        text::dollars(row.suspense_micro_usd),
        text::dollars(row.absorbed_micro_usd),
        text::dollars(row.saved_micro_usd),
        row.n_chats.to_string(),
        row.input_tokens.to_string(),
        row.output_tokens.to_string(),
    ]
}

fn budget_cells(budget: &Budget) -> [String; 7] {
    let left = budget.limit_micro_usd - budget.spent_micro_usd - budget.held_micro_usd;
    [
        budget.name.clone(),
        budget.scope.clone(),
        text::dollars(budget.limit_micro_usd),
        text::dollars(budget.spent_micro_usd),
        text::dollars(budget.held_micro_usd),
        text::dollars(left),
        text::time(budget.period_end_time.as_ref()),
    ]
}

fn csv(terminal: &mut Terminal, by: &[String], rows: &[Row]) -> Result<(), Failure> {
    let sums = [
        "generations",
        "succeeded",
        "spent",
        "held",
        "suspense",
        "absorbed",
        "saved",
        "unpriced",
        "chats",
        "input_tokens",
        "output_tokens",
    ];
    let heading: Vec<String> = by.iter().map(String::as_str).chain(sums).map(field).collect();
    terminal.line(&heading.join(","))?;
    let plain = |micro_usd: i64| text::dollars(micro_usd).replacen('$', "", 1);
    rows.iter().try_for_each(|row| {
        let counts = [row.n_generations, row.n_succeeded].map(|n| n.to_string());
        let money = [
            row.spent_micro_usd,
            row.held_micro_usd,
            row.suspense_micro_usd,
            row.absorbed_micro_usd,
            row.saved_micro_usd,
        ];
        let rest = [row.n_unpriced, row.n_chats, row.input_tokens, row.output_tokens].map(|n| n.to_string());
        let keys = row.keys.iter().map(|key| field(key));
        let numbers = counts.into_iter().chain(money.map(plain)).chain(rest);
        terminal.line(&keys.chain(numbers).collect::<Vec<_>>().join(","))
    })
}

/// A text as a field: quoted if it must be, and never one that a spreadsheet takes for a formula.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

impl ClientCommand for Ledger {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let name = |collection: Collection, text: &Option<String>| {
            text.as_deref().map(|text| collection.name(text)).transpose().map(Option::unwrap_or_default)
        };
        let generation = name(Collection::Generations, &self.generation)?;
        let session = name(Collection::Sessions, &self.session)?;
        let (start_time, end_time) = self.period.times();
        let connection = &context.connection;
        let rows = collect(self.limit, async |page| {
            let request = ListLedgerEntriesRequest {
                page_size: page.size,
                page_token: page.token,
                generation: generation.clone(),
                session: session.clone(),
                start_time,
                end_time,
            };
            let response = connection.budgets().list_ledger_entries(call(request)).await?.into_inner();
            Ok((response.entries, response.next_page_token))
        });
        let heading = ["TIME", "REASON", "FROM", "TO", "AMOUNT", "MODEL", "FOR"];
        context.terminal.rows(&rows.await?, heading, entry_cells)?;
        Ok(Exit::Ok)
    }
}

fn entry_cells(entry: &LedgerEntry) -> [String; 7] {
    [
        text::time(entry.create_time.as_ref()),
        text::word(entry.reason().as_str_name(), "LEDGER_REASON_"),
        text::word(entry.from_account().as_str_name(), "LEDGER_ACCOUNT_"),
        text::word(entry.to_account().as_str_name(), "LEDGER_ACCOUNT_"),
        text::dollars(entry.micro_usd),
        entry.model.clone(),
        // One of them is empty.
        [entry.generation.as_str(), entry.chat.as_str()].concat(),
    ]
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    let day = |text: &str| Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    text.parse().ok().or_else(|| day(text)).ok_or_else(|| "expected 2026-01-31 or 2026-01-31T07:00:00Z".to_owned())
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_or_moments() {
        assert_eq!(parse_time("2026-01-31").unwrap().to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(parse_time("2026-01-31T07:00:00+01:00").unwrap().to_string(), "2026-01-31T06:00:00Z");
        assert!(parse_time("yesterday").is_err());
    }

    #[test]
    fn a_field_is_quoted_if_it_must_be_and_is_no_formula() {
        for (text, expected) in
            [("film", "film"), ("a,b", "\"a,b\""), ("say \"x\"", "\"say \"\"x\"\"\""), ("=1+1", "'=1+1")]
        {
            assert_eq!(field(text), expected);
        }
    }
}
