//! Migrations: forward only, all in one transaction, under a lock that lets one opener migrate while the others wait.
//!
//! The few lines are our own because refinery's runner for this driver prepares named statements, which a transaction-mode pooler may
//! send to a server that does not know them, and takes no lock.

use super::{
    Result,
    dialect::LOCK,
    statements::{Statement, values},
    work::Work,
};
use crate::store::{OpenError, port::StoreError};

/// Forward only: a released migration never changes, a new one is a new line. The versions are 1, 2, 3 and so on.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/postgres/V1__records.sql"),
    include_str!("../migrations/postgres/V2__limits.sql"),
    include_str!("../migrations/postgres/V3__chats.sql"),
    include_str!("../migrations/postgres/V4__usage.sql"),
];

/// Any number: nobody else locks the same one.
const LOCK_NUMBER: i64 = 0x66_69_6c_6d_67_61_74_65;

const SCHEMA_EXISTS: &str = "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = 'filmgate'";
const TABLE_EXISTS: &str =
    "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = 'filmgate' AND tablename = 'migrations'";
const VERSION: &str = "SELECT coalesce(max(version), 0) FROM filmgate.migrations";
const RECORD: &str = "INSERT INTO filmgate.migrations (version, applied_at) VALUES ($1, now())";

/// Brings the tables up to date.
pub(super) async fn migrate(mut work: Work) -> std::result::Result<(), OpenError> {
    work.write(Statement::own(LOCK, values![LOCK_NUMBER]));
    let found = version(&mut work).await?;
    let known = latest();
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    if found == known {
        return Ok(());
    }
    if work.ask(Statement::own(SCHEMA_EXISTS, values![])).await?.count()? == 0 {
        work.run("CREATE SCHEMA filmgate").await?;
    }
    work.run("CREATE TABLE IF NOT EXISTS filmgate.migrations (version BIGINT NOT NULL PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL)")
        .await?;
    for (text, version) in MIGRATIONS.iter().zip(1..).skip(usize::try_from(found).map_err(StoreError::broken)?) {
        work.run(text).await?;
        work.write(Statement::own(RECORD, values![version]));
    }
    Ok(work.commit().await?)
}

/// The version of the tables; 0 if there are none.
pub(super) async fn version(work: &mut Work) -> Result<i64> {
    let n_tables = work.ask(Statement::own(TABLE_EXISTS, values![])).await?.count()?;
    if n_tables == 0 { Ok(0) } else { work.ask(Statement::own(VERSION, values![])).await?.number() }
}

/// The version that this program makes.
pub(super) fn latest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// The version of the database program and of the tables.
pub(super) async fn examine(mut work: Work) -> Result<(String, i64)> {
    let program = work.ask(Statement::own("SHOW server_version", values![])).await?;
    let program = program.first::<String>()?.unwrap_or_default();
    Ok((program, version(&mut work).await?))
}
