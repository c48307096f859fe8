//! On a real server: one for all tests of a process, a database for each.

#[path = "../../../tests/e2e/support/postgres.rs"]
mod server;

mod claims;
mod contract;
mod faults;
mod limits;
mod races;
mod schema;
mod tls;

use std::sync::{Arc, LazyLock};

use tokio::sync::OnceCell;

use self::server::SHARED as SERVER;
use super::*;
use crate::store::contract::{Tested, money::budgets};

/// Long enough for every test that does not wait for its end.
const LEASE: Duration = Duration::from_mins(10);

static POOLER: LazyLock<server::Pooler> = LazyLock::new(|| server::Pooler::start(&SERVER));
static TEMPLATE: OnceCell<()> = OnceCell::const_new();

/// The address of a new database with all tables.
async fn database() -> String {
    let migrate = async || {
        SERVER.sql("postgres", "CREATE DATABASE template_filmgate");
        let store = open(&SERVER.url("template_filmgate"), "nobody").await;
        store.leave().await.unwrap();
        store.close().await;
        // Nobody may be connected to a template; a closed connection is gone a moment later.
        SERVER.sql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'template_filmgate'",
        );
    };
    TEMPLATE.get_or_init(migrate).await;
    SERVER.database_like("template_filmgate")
}

async fn open(url: &str, process: &str) -> Postgres {
    open_for(url, process, LEASE).await
}

async fn open_for(url: &str, process: &str, lease: Duration) -> Postgres {
    Postgres::open(&address(url), process.to_owned(), lease, budgets()).await.unwrap()
}

fn address(url: &str) -> Address {
    Address::parse(&url.into()).unwrap()
}

/// Stores of processes with these names on one new database.
async fn stores<const N: usize>(names: [&str; N]) -> (String, [Arc<Postgres>; N]) {
    let url = database().await;
    let mut stores = Vec::new();
    for name in names {
        stores.push(Arc::new(open(&url, name).await));
    }
    (url, stores.try_into().unwrap())
}

fn tested(store: &Arc<Postgres>) -> Tested {
    Arc::clone(store) as _
}
