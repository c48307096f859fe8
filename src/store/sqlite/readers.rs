//! Reads: a few connections of their own, so that they never wait for the writer nor it for them.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{Result, connect, writer::PATIENCE};
use crate::store::port::StoreError;

/// Reads at a time; a read takes tens of microseconds, so few connections serve many callers.
const READERS: usize = 4;

/// The connections, opened when first needed.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), permits: Arc::new(Semaphore::new(READERS)), idle: Arc::default() }
    }

    /// Runs `read` on a blocking thread; it sees everything that was answered before.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let permit = timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| StoreError::unavailable("too many reads are waiting"))?
            .map_err(|_| StoreError::unavailable("the store is closed"))?;
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let reading = spawn_blocking(move || {
            let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = taken.map_or_else(|| connect::for_reading(&path), Ok)?;
            let result = read(&connection);
            if !permit.semaphore().is_closed() {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            // Held until here also if the caller has gone away.
            drop(permit);
            result
        });
        // A task that panicked took its connection with it; the next read opens another.
        reading.await.map_err(StoreError::broken)?
    }

    /// Refuses later reads and closes what is idle.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
