//! A PostgreSQL of the benchmark's own, which flushes to the disk as it does for users, and what it costs.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

#[path = "../../tests/e2e/support/postgres.rs"]
#[expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test without a database fails, as a benchmark does"
)]
mod server;

use server::Postgres;

use super::process::{cpu_with_gone_children, parent};

/// A database server that ends with the benchmark.
pub(crate) struct Database {
    server: Postgres,
    /// The process that all others of the server are children of.
    first: u32,
}

impl Database {
    /// Makes and starts one.
    pub(crate) fn start() -> Result<Self> {
        let server = Postgres::start();
        let file = fs::read_to_string(server.data_folder().join("postmaster.pid"))?;
        let first = file.lines().next().context("a server without a process")?.trim().parse()?;
        Ok(Self { server, first })
    }

    /// The address of a new empty database.
    pub(crate) fn url(&self) -> String {
        self.server.database()
    }

    /// Time on any core so far of all its processes, in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut sum = cpu_with_gone_children(self.first)?;
        for entry in fs::read_dir("/proc")? {
            let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // One that ends while this looks is counted with its parent next time.
            if parent(id).is_ok_and(|parent| parent == self.first) {
                sum += cpu_with_gone_children(id).unwrap_or_default();
            }
        }
        Ok(sum)
    }
}

/// Asks the database at this address; its answer as text.
pub(crate) fn ask(url: &str, question: &str) -> String {
    server::psql(url, question)
}
