//! How a database is opened: migrated first, then the connections that use it.

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use refinery::{Migration, Runner, error::Kind};
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{Result, money, records::Records, statements, writer::Work};
use crate::{
    domain::budget::Budgets,
    store::{OpenError, port::StoreError, sql},
};

/// Forward only: a released migration never changes, a new one is a new line.
pub(super) const MIGRATIONS: &[(&str, &str)] = &[
    ("V1__records", include_str!("../migrations/sqlite/V1__records.sql")),
    ("V2__callbacks", include_str!("../migrations/sqlite/V2__callbacks.sql")),
    ("V3__retention", include_str!("../migrations/sqlite/V3__retention.sql")),
    ("V4__money", include_str!("../migrations/sqlite/V4__money.sql")),
    ("V5__limits", include_str!("../migrations/sqlite/V5__limits.sql")),
    ("V6__chats", include_str!("../migrations/sqlite/V6__chats.sql")),
    ("V7__usage", include_str!("../migrations/sqlite/V7__usage.sql")),
];

/// Distinct statements of the catalogue, lists with every filter included.
const STATEMENTS: usize = 192;

/// The writer's connection to an up-to-date database, made if it is not there.
pub(super) fn for_writing(path: &Path, budgets: Budgets) -> std::result::Result<Work, OpenError> {
    // A connection is used by one thread at a time, so SQLite needs no locks of its own.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    prepare(&db)?;
    // Until it is up to date nothing has been promised: a lost migration runs again, and each flush would delay the start.
    db.pragma_update(None, "synchronous", "NORMAL")?;
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let why = format!("the file system allows only the journal mode {mode}, not wal");
        return Err(StoreError::unavailable(why).into());
    }
    db.pragma_update(None, "wal_autocheckpoint", 4000)?;
    // What undoes a savepoint is kept in memory; in a temporary file it would be most of the writing.
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    migrate(&mut db)?;
    money::recount(&mut db, &budgets, Timestamp::now())?;
    // With FULL an answered write also survives the loss of power; group commit makes it cheap.
    db.pragma_update(None, "synchronous", "FULL")?;
    let unfinished = statements::count(&db, sql::generation::COUNT_UNFINISHED, ())?;
    Ok(Work { db, unfinished, records: Records::default(), budgets })
}

/// A connection that cannot write.
pub(super) fn for_reading(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    prepare(&db)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

fn prepare(db: &Connection) -> Result<()> {
    db.busy_timeout(Duration::from_secs(5))?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    // A plan depends on the statement alone: without this SQLite may plan anew for other parameters, although it has no statistics.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.pragma_update(None, "cache_size", -16_000)?;
    Ok(())
}

fn migrate(db: &mut Connection) -> std::result::Result<(), OpenError> {
    let migrations: std::result::Result<Vec<Migration>, refinery::Error> =
        MIGRATIONS.iter().map(|(name, text)| Migration::unapplied(name, text)).collect();
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match Runner::new(&migrations.map_err(StoreError::from)?).run(db) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            // It was applied, and is not among those above.
            Kind::MissingVersion(applied) if i64::from(applied.version()) > known => {
                OpenError::Newer { found: i64::from(applied.version()), known }
            }
            _ => StoreError::from(error).into(),
        }),
    }
}
