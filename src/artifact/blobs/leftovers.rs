//! Files of puts that a crash cut short, beside the blobs they were to become: `{attempt}/{index}/{fence}#{n}`.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

/// How deep a key goes below the folder.
const DEPTH: u32 = 3;

/// Deletes the unfinished files that nobody wrote to for `grace`.
pub(super) fn delete(folder: &Path, grace: Duration) -> io::Result<u64> {
    walk(folder, DEPTH, grace)
}

fn walk(folder: &Path, depth: u32, grace: Duration) -> io::Result<u64> {
    let mut n_deleted = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let gone = if kind.is_dir() && depth > 1 {
            walk(&entry.path(), depth - 1, grace)
        } else if kind.is_file() && depth == 1 && is_unfinished(&entry.file_name().to_string_lossy()) {
            delete_if_old(&entry, grace)
        } else {
            continue;
        };
        match gone {
            Ok(n) => n_deleted += n,
            // The put ended or its folder went away in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n_deleted)
}

/// The local object store writes to `name#1`, `name#2`… and renames when all is there; a blob's own name has no `#`.
fn is_unfinished(name: &str) -> bool {
    name.split_once('#').is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
}

fn delete_if_old(entry: &fs::DirEntry, grace: Duration) -> io::Result<u64> {
    let written = entry.metadata()?.modified()?;
    // A file from the future is being written.
    if SystemTime::now().duration_since(written).unwrap_or_default() < grace {
        return Ok(0);
    }
    fs::remove_file(entry.path())?;
    Ok(1)
}
