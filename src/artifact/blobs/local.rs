//! Taking a file into the folder of blobs without copying it.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// Moves `file` to `blob`, which is below `folder`; durable when this returns.
///
/// All names are made before anything is synced: a file system with a journal then writes it once. A crash in between leaves at worst an
/// unsound file under a key that no record refers to, which the sweep takes.
pub(super) fn take(folder: &Path, blob: &Path, file: &Path) -> io::Result<()> {
    let bytes = File::open(file)?;
    if !bytes.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let parent = blob.parent().unwrap_or(folder);
    fs::create_dir_all(parent)?;
    if let Err(error) = fs::rename(file, blob) {
        clear_empty(folder, parent);
        return Err(error);
    }
    bytes.sync_all()?;
    parent.ancestors().take_while(|dir| dir.starts_with(folder)).try_for_each(sync_folder)
}

/// Folders that were made for nothing. One that is in use stays, for it is not empty.
fn clear_empty(folder: &Path, parent: &Path) {
    for dir in parent.ancestors().take_while(|dir| dir.starts_with(folder) && *dir != folder) {
        if fs::remove_dir(dir).is_err() {
            return;
        }
    }
}

/// Makes the names in a folder durable, where a folder can be opened at all.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
