//! The data folder's owner.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use tokio::time::sleep;
use tracing::{info, warn};

use super::StartError;
use crate::lifecycle::{OnFailure, OnShutdown, Policy, Tasks};

/// Wait before the address is written again.
const AGAIN: Duration = Duration::from_secs(5);

/// The data folder's owner: an exclusive lock that ends with the process, however it ends. The file says where the owner listens.
#[derive(Debug)]
pub(super) struct FolderLock(File);

impl FolderLock {
    /// Makes the folder if there is none, and owns it.
    pub(super) fn take(folder: &Path) -> Result<Self, StartError> {
        let trouble = |what| {
            move |source: io::Error| StartError::Folder { folder: folder.to_owned(), what, source: source.into() }
        };
        private_folder(folder).map_err(trouble("making it"))?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join("lock"))
            .map_err(trouble("opening its lock"))?;
        match file.try_lock() {
            Ok(()) => {
                // What an earlier owner wrote is not true any more.
                file.set_len(0).map_err(trouble("clearing its lock"))?;
                Ok(Self(file))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let addr = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                Err(StartError::Locked { addr, folder: folder.to_owned() })
            }
            Err(TryLockError::Error(source)) => Err(trouble("locking it")(source)),
        }
    }

    /// Tells commands on this machine where the owner listens. A full disk delays only this: what is unfinished must not wait for it.
    pub(super) fn announce(&self, addr: SocketAddr, tasks: &Tasks) -> io::Result<()> {
        let Err(error) = write(&self.0, addr) else { return Ok(()) };
        warn!(%error, "the address cannot be written to the data folder now, so commands need --server");
        let file = self.0.try_clone()?;
        let policy = Policy { on_shutdown: OnShutdown::Abort, on_failure: OnFailure::Log };
        tasks.spawn("address", policy, async move {
            while write(&file, addr).is_err() {
                sleep(AGAIN).await;
            }
            info!("the address is written to the data folder");
        });
        Ok(())
    }
}

fn write(mut file: &File, addr: SocketAddr) -> io::Result<()> {
    file.rewind()?;
    // At once: half an address would be another one.
    file.write_all(format!("{addr}\n").as_bytes())
}

/// Prompts and outputs are nobody else's business on a shared machine.
fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
