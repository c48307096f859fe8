//! What is left beside the blobs: files of copies that a crash cut short, `{name}#{n}`, and folders that are empty.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use super::sync::KNOWN_FOR;

/// How deep a key goes below the folder.
const DEPTH: u32 = 3;
/// How long an empty folder must rest: no process may still hold it for durable when it is gone.
const EMPTY_FOR: Duration = KNOWN_FOR.saturating_mul(2);

/// Deletes the unfinished files that nobody wrote to for `grace`, and the empty folders that rested for an hour; how many files it was.
pub(super) fn delete(folder: &Path, grace: Duration) -> io::Result<u64> {
    walk(folder, DEPTH, grace)
}

fn walk(folder: &Path, depth: u32, grace: Duration) -> io::Result<u64> {
    let mut n_deleted = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let gone = if kind.is_dir() && depth > 1 {
            walk_folder(&entry, depth - 1, grace)
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

/// As [`walk`]; then the folder goes if it is empty.
fn walk_folder(entry: &fs::DirEntry, depth: u32, grace: Duration) -> io::Result<u64> {
    // Asked first: a folder within that goes is no sign of use.
    let rested = rested(entry)?;
    let n_deleted = walk(&entry.path(), depth, grace)?;
    if rested >= EMPTY_FOR && is_of_a_key(&entry.file_name().to_string_lossy()) {
        match fs::remove_dir(entry.path()) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(n_deleted)
}

/// A disk may hold folders that are not ours, such as `lost+found`.
fn is_of_a_key(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// The local object store writes to `name#1`, `name#2`… and renames when all is there; a blob's own name has no `#`.
fn is_unfinished(name: &str) -> bool {
    name.split_once('#').is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
}

fn delete_if_old(entry: &fs::DirEntry, grace: Duration) -> io::Result<u64> {
    if rested(entry)? < grace {
        return Ok(0);
    }
    fs::remove_file(entry.path())?;
    Ok(1)
}

/// Time since it was written to. What is from the future is being written.
fn rested(entry: &fs::DirEntry) -> io::Result<Duration> {
    let written = entry.metadata()?.modified()?;
    Ok(SystemTime::now().duration_since(written).unwrap_or_default())
}
