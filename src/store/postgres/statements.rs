//! Statements as PostgreSQL takes them, their values, and the rows that answer.
//!
//! Statements are sent unnamed with the types of their values, in one round trip: a transaction-mode pooler may send each transaction to
//! another server, which knows no statement that was prepared before.

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use serde::{Serialize, de::DeserializeOwned};
use tokio_postgres::{
    Row,
    types::{FromSql, ToSql, Type},
};

use super::Result;
use crate::store::{port::StoreError, sql};

/// One statement with its values.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) text: Cow<'static, str>,
    pub(super) values: Vec<Value>,
}

impl Statement {
    /// Of the catalogue that all stores share.
    pub(super) fn shared(text: &'static str, values: Vec<Value>) -> Self {
        let text = TRANSLATED.get(text).map_or_else(|| translate(text).into(), |text| Cow::Borrowed(text.as_str()));
        Self { text, values }
    }

    /// A list that was put together from the shared catalogue.
    pub(super) fn list(text: &str, values: Vec<Value>) -> Self {
        Self { text: translate(text).into(), values }
    }

    /// Of this store's own texts.
    pub(super) fn own(text: &'static str, values: Vec<Value>) -> Self {
        Self { text: Cow::Borrowed(text), values }
    }
}

/// A value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(Option<String>),
    Int(Option<i64>),
    Texts(Vec<String>),
    Ints(Vec<i64>),
}

impl Value {
    /// As the driver takes it.
    pub(super) fn parameter(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Text(text) => (text, Type::TEXT),
            Self::Int(number) => (number, Type::INT8),
            Self::Texts(texts) => (texts, Type::TEXT_ARRAY),
            Self::Ints(numbers) => (numbers, Type::INT8_ARRAY),
        }
    }
}

/// The values of a statement, in order.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::postgres::statements::Value::from($value)),*] };
}
pub(super) use values;

macro_rules! value_from {
    ($($of:ty: $value:ident => $as:expr;)+) => {
        $(impl From<$of> for Value {
            fn from($value: $of) -> Self {
                $as
            }
        })+
    };
}

value_from! {
    &str: text => Self::Text(Some(text.to_owned()));
    String: text => Self::Text(Some(text));
    Option<&str>: text => Self::Text(text.map(str::to_owned));
    Option<String>: text => Self::Text(text);
    i64: number => Self::Int(Some(number));
    Option<i64>: number => Self::Int(number);
    // As in the catalogue: 0 or 1.
    bool: truth => Self::Int(Some(truth.into()));
    Vec<String>: texts => Self::Texts(texts);
    Vec<i64>: numbers => Self::Ints(numbers);
}

/// What a statement answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    pub(super) n_changed: u64,
}

impl Answer {
    /// The record in the first column of the first row, if there is one.
    pub(super) fn find<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.rows.first().map(doc).transpose()
    }

    /// The records in the first column of the rows.
    pub(super) fn list<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        self.rows.iter().map(doc).collect()
    }

    /// The first column of the first row, if there is one.
    pub(super) fn first<'a, T: FromSql<'a>>(&'a self) -> Result<Option<T>> {
        self.rows.first().map(|row| column(row, 0)).transpose()
    }

    /// The number that a statement with exactly one answers, such as a count.
    pub(super) fn number(&self) -> Result<i64> {
        self.first()?.ok_or_else(|| StoreError::broken("a count without an answer"))
    }

    /// A count.
    pub(super) fn count(&self) -> Result<u64> {
        unsigned(self.number()?)
    }
}

fn doc<T: DeserializeOwned>(row: &Row) -> Result<T> {
    from_doc(column(row, 0)?)
}

/// A column of a row.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(StoreError::broken)
}

pub(super) fn to_doc(record: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(record)?)
}

pub(super) fn from_doc<T: DeserializeOwned>(doc: &str) -> Result<T> {
    Ok(serde_json::from_str(doc)?)
}

/// A count or limit as PostgreSQL takes it.
pub(super) fn int(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(StoreError::broken)
}

static TRANSLATED: LazyLock<HashMap<&'static str, String>> =
    LazyLock::new(|| sql::ALL.iter().map(|text| (*text, translate(text))).collect());

/// A text of the shared catalogue with parameters as `$1` and every table in the schema `filmgate`. Names of the catalogue are in lower
/// case, keywords in upper case, and a question mark stands for nothing but a parameter.
fn translate(text: &str) -> String {
    let mut translated = String::with_capacity(text.len() + 32);
    let mut table_follows = false;
    for word in text.split(' ') {
        if !translated.is_empty() {
            translated.push(' ');
        }
        if table_follows && word.starts_with(|c: char| c.is_ascii_lowercase()) {
            translated.push_str("filmgate.");
        }
        translated.push_str(&word.replace('?', "$"));
        table_follows = matches!(word, "INTO" | "FROM" | "JOIN" | "UPDATE");
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn tables_are_put_into_the_schema_and_parameters_renamed() {
        let check = |text: &str, expected: &str| assert_eq!(translate(text), expected);
        check(
            "SELECT g.doc FROM cached c JOIN generations g ON g.id = c.generation WHERE c.tenant = ?1",
            "SELECT g.doc FROM filmgate.cached c JOIN filmgate.generations g ON g.id = c.generation WHERE c.tenant = $1",
        );
        check(
            "INSERT INTO jobs (a) VALUES (?1, ?12) ON CONFLICT (a) DO UPDATE SET a = excluded.a WHERE jobs.open = 0",
            "INSERT INTO filmgate.jobs (a) VALUES ($1, $12) ON CONFLICT (a) DO UPDATE SET a = excluded.a WHERE jobs.open = 0",
        );
        check(
            "DELETE FROM request_ids WHERE (a, b) IN (SELECT a, b FROM request_ids LIMIT ?2)",
            "DELETE FROM filmgate.request_ids WHERE (a, b) IN (SELECT a, b FROM filmgate.request_ids LIMIT $2)",
        );
    }
}
