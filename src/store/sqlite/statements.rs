//! Running a statement of the catalogue: prepared once a connection, rows decoded.

use rusqlite::{Connection, OptionalExtension, Params, Row};
use serde::{Serialize, de::DeserializeOwned};

use super::Result;

/// Rows changed.
pub(super) fn execute(db: &Connection, text: &str, params: impl Params) -> Result<usize> {
    Ok(db.prepare_cached(text)?.execute(params)?)
}

/// The record in the first column of the row, if there is one.
pub(super) fn find<T: DeserializeOwned>(db: &Connection, text: &str, params: impl Params) -> Result<Option<T>> {
    let doc: Option<String> = db.prepare_cached(text)?.query_row(params, |row| row.get(0)).optional()?;
    doc.map(|doc| from_doc(&doc)).transpose()
}

/// The records in the first column of the rows.
pub(super) fn list<T: DeserializeOwned>(db: &Connection, text: &str, params: impl Params) -> Result<Vec<T>> {
    rows(db, text, params, |row| row.get::<_, String>(0))?.iter().map(|doc| from_doc(doc)).collect()
}

/// The rows, each read by `read`.
pub(super) fn rows<T>(
    db: &Connection,
    text: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let mut statement = db.prepare_cached(text)?;
    let rows: rusqlite::Result<Vec<T>> = statement.query_map(params, read)?.collect();
    Ok(rows?)
}

/// A count.
pub(super) fn count(db: &Connection, text: &str, params: impl Params) -> Result<u64> {
    let n: i64 = db.prepare_cached(text)?.query_row(params, |row| row.get(0))?;
    Ok(u64::try_from(n).unwrap_or(0))
}

pub(super) fn to_doc(record: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(record)?)
}

pub(super) fn from_doc<T: DeserializeOwned>(doc: &str) -> Result<T> {
    Ok(serde_json::from_str(doc)?)
}

/// A count or limit as SQLite takes it.
pub(super) fn int(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}
