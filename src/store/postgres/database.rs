//! Connections, and work that begins anew when it was in the way of other work.

use std::{error::Error, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio::time::sleep;

use super::{
    Result,
    address::Address,
    error::may_begin_anew,
    work::{Limits, Work},
};
use crate::store::port::StoreError;

/// Connections at a time. The database runs few transactions at once faster than many, and each here is short.
const CONNECTIONS: usize = 16;
/// Connections for the process's own rounds: hearing of others, taking over, looking at what it owns.
const ROUNDS: usize = 2;
/// How long work waits for a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a new connection may take.
const CONNECTING: Duration = Duration::from_secs(5);
/// How often work is begun in all.
const TRIES: u32 = 6;

/// The database.
#[derive(Debug)]
pub(super) struct Database {
    pool: Pool,
    /// For rounds: they must not stand in the queue of all callers and drivers, which is long just when there is much to take up.
    rounds: Pool,
    /// For the lease alone: callers that wait for each other's locks must not cost this process what it owns.
    lease: Pool,
}

impl Database {
    /// Connects when first needed.
    pub(super) fn new(address: &Address) -> Result<Self> {
        Ok(Self { pool: pool(address, CONNECTIONS)?, rounds: pool(address, ROUNDS)?, lease: pool(address, 1)? })
    }

    /// Runs `work` in a transaction, which it commits itself. It is run again if the transaction was undone by a deadlock with another or by the
    /// loss of its connection, never if its commit may have been done.
    pub(super) async fn transaction<T, E, F>(&self, work: impl Fn(Work) -> F) -> std::result::Result<T, E>
    where
        E: Error + From<StoreError> + 'static,
        F: Future<Output = std::result::Result<T, E>>,
    {
        repeat(&self.pool, |client| work(Work::begin(client, Limits::USUAL))).await
    }

    /// As `transaction`, for what happens once in a run and may take minutes.
    pub(super) async fn long_transaction<T, E, F>(&self, work: impl Fn(Work) -> F) -> std::result::Result<T, E>
    where
        E: Error + From<StoreError> + 'static,
        F: Future<Output = std::result::Result<T, E>>,
    {
        repeat(&self.pool, |client| work(Work::begin(client, Limits::LONG))).await
    }

    /// As `transaction`, for a round of this process.
    pub(super) async fn round<T, F>(&self, work: impl Fn(Work) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        repeat(&self.rounds, |client| work(Work::begin(client, Limits::USUAL))).await
    }

    /// As `read`, for a round of this process.
    pub(super) async fn read_in_round<T, F>(&self, read: impl Fn(Work) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        repeat(&self.rounds, |client| read(Work::read(client))).await
    }

    /// As `transaction`, on the connection that waits for nobody.
    pub(super) async fn lease<T, F>(&self, work: impl Fn(Work) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        repeat(&self.lease, |client| work(Work::begin(client, Limits::USUAL))).await
    }

    /// Runs questions that need no transaction, again if the connection was lost.
    pub(super) async fn read<T, F>(&self, read: impl Fn(Work) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        repeat(&self.pool, |client| read(Work::read(client))).await
    }

    /// Refuses later work; what is under way is done to its end.
    pub(super) fn close(&self) {
        self.pool.close();
        self.rounds.close();
        self.lease.close();
    }
}

fn pool(address: &Address, n_connections: usize) -> Result<Pool> {
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(address.config.clone(), address.tls.clone(), config);
    let timeouts = Timeouts { wait: Some(PATIENCE), create: Some(CONNECTING), recycle: Some(CONNECTING) };
    Pool::builder(manager)
        .max_size(n_connections)
        .timeouts(timeouts)
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(StoreError::broken)
}

async fn repeat<T, E, F>(pool: &Pool, work: impl Fn(Object) -> F) -> std::result::Result<T, E>
where
    E: Error + From<StoreError> + 'static,
    F: Future<Output = std::result::Result<T, E>>,
{
    const FIRST_WAIT: Duration = Duration::from_millis(10);
    let mut n_earlier = 0;
    loop {
        let client = pool.get().await.map_err(StoreError::from)?;
        match work(client).await {
            Err(error) if n_earlier + 1 < TRIES && may_begin_anew(&error) => {
                // At random, so that those which were in each other's way do not meet again.
                sleep(FIRST_WAIT.mul_f64(f64::from(1 << n_earlier) * (0.5 + fastrand::f64()))).await;
                n_earlier += 1;
            }
            done => return done,
        }
    }
}
