//! Where a file is written. A name that we make up never overwrites anything; a name given with `-o` is the caller's word.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::failure::Failure;

/// Longest slug in characters.
const SLUG_LENGTH: usize = 48;
/// Names tried before giving up on a folder.
const MOST_NAMES: usize = 10_000;

/// Where the outputs of one command go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// Into this file, replacing it. Further outputs get `-2`, `-3`, … before the extension.
    File(PathBuf),
    /// Into this pipe or device, one output after the other.
    Stream(PathBuf),
    /// Into this folder, under names that do not exist yet.
    Folder {
        /// The folder; it exists.
        folder: PathBuf,
        /// What the names start with.
        stem: String,
    },
}

/// The file for one output. A name of our own is taken at once, by an empty file, so that nobody else takes it;
/// dropping the place without [`Place::fill`] gives it back.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    taken: Taken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// An empty file of ours holds the name.
    ByUs,
    /// The name is the caller's, or is filled.
    No,
    /// A pipe or a device has it, which is written into and never replaced.
    ByStream,
}

impl Destination {
    /// `output` is `-o`: a file, or an existing folder; without it the current folder. `stem` names files in folders.
    pub(super) fn new(output: Option<&Path>, stem: &str) -> Result<Self, Failure> {
        let folder = |folder: &Path| Self::Folder { folder: folder.to_owned(), stem: stem.to_owned() };
        match output {
            None => Ok(folder(Path::new("."))),
            Some(path) if path.as_os_str() == "-" => Err(Failure::usage(
                "-o -: a file is checked before it is handed out, so it cannot go to stdout; name a file",
            )),
            Some(path) if path.is_dir() => Ok(folder(path)),
            Some(path) if path.file_name().is_none() || path.to_string_lossy().ends_with('/') => {
                Err(Failure::usage(format!("-o {}: no such folder", path.display())))
            }
            Some(path) => match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                Some(folder) if !folder.is_dir() => {
                    Err(Failure::usage(format!("-o {}: there is no folder {}", path.display(), folder.display())))
                }
                Some(_) | None => Ok(Self::named(path)),
            },
        }
    }

    /// What is at a path that is no folder, or will be. A link stands for what it leads to, and stays.
    fn named(path: &Path) -> Self {
        match fs::canonicalize(path) {
            Ok(target) if !target.is_file() => Self::Stream(path.to_owned()),
            Ok(target) if path.is_symlink() => Self::File(target),
            // There is nothing yet, or what is there cannot be looked at, which the first write will tell.
            Ok(_) | Err(_) => Self::File(path.to_owned()),
        }
    }

    /// The place of output number `index` (from 0).
    pub(super) fn place(&self, index: usize, media_type: &str) -> Result<Place, Failure> {
        match self {
            Self::File(path) => Ok(Place { path: numbered(path, index + 1), taken: Taken::No }),
            Self::Stream(path) => Ok(Place { path: path.clone(), taken: Taken::ByStream }),
            Self::Folder { folder, stem } => {
                let base = folder.join(format!("{stem}.{}", extension(media_type)));
                take_new(&base).map_err(|error| Failure::file(&base, "create", &error))
            }
        }
    }
}

impl Place {
    /// Where the file is while it is not whole: beside the place, or with the temporary files if that is no place for files.
    pub(super) fn part(&self) -> PathBuf {
        match self.taken {
            Taken::ByUs | Taken::No => {
                let mut part = self.path.clone().into_os_string();
                part.push(".part");
                part.into()
            }
            Taken::ByStream => std::env::temp_dir().join(format!("filmgate-{}.part", Uuid::new_v4())),
        }
    }

    /// Moves the finished file here, at once or not at all. A pipe or a device gets its bytes instead, as fast as it takes them.
    pub(super) async fn fill(mut self, finished: &Path) -> io::Result<PathBuf> {
        match self.taken {
            Taken::ByUs | Taken::No => fs::rename(finished, &self.path)?,
            Taken::ByStream => {
                let poured = pour(finished, &self.path).await;
                fs::remove_file(finished)?;
                poured?;
            }
        }
        self.taken = Taken::No;
        Ok(std::mem::take(&mut self.path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.taken == Taken::ByUs {
            // Best effort: an empty file left behind is harmless.
            let _ = fs::remove_file(&self.path);
        }
    }
}

async fn pour(from: &Path, into: &Path) -> io::Result<()> {
    let mut from = tokio::fs::File::open(from).await?;
    let mut into = tokio::fs::OpenOptions::new().write(true).open(into).await?;
    tokio::io::copy(&mut from, &mut into).await?;
    into.flush().await
}

/// Takes `base`, or the first free of `base-2`, `base-3`, …
fn take_new(base: &Path) -> io::Result<Place> {
    for number in 1..=MOST_NAMES {
        let path = numbered(base, number);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(_) => return Ok(Place { path, taken: Taken::ByUs }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many files of that name"))
}

/// `a.mp4` for number 1, then `a-2.mp4`, `a-3.mp4`, …
fn numbered(path: &Path, number: usize) -> PathBuf {
    if number <= 1 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// The words of `text` as the start of a file name: letters and digits in lower case, `-` between; `output` if none is left.
pub(super) fn slug(text: &str) -> String {
    let mut slug = String::new();
    let mut length = 0;
    for word in text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let word = word.to_lowercase();
        let n_characters = word.chars().count() + usize::from(length > 0);
        if length > 0 && length + n_characters > SLUG_LENGTH {
            break;
        }
        if length > 0 {
            slug.push('-');
        }
        slug.extend(word.chars().take(SLUG_LENGTH));
        length += n_characters;
    }
    if slug.is_empty() { "output".to_owned() } else { slug }
}

/// The usual file name extension of a media type.
pub(super) fn extension(media_type: &str) -> &str {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    match essence {
        "video/mp4" => "mp4",
        "video/quicktime" => "mov",
        "video/x-matroska" => "mkv",
        "image/jpeg" => "jpg",
        "audio/mpeg" => "mp3",
        "audio/mp4" | "audio/x-m4a" => "m4a",
        "audio/wav" | "audio/x-wav" | "audio/vnd.wave" => "wav",
        other => match other.split_once('/') {
            Some((_, subtype)) if !subtype.is_empty() && subtype.chars().all(|c| c.is_ascii_alphanumeric()) => subtype,
            Some(_) | None => "bin",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_short_lower_case_words() {
        let table = [
            ("A red fox, running!", "a-red-fox-running"),
            ("  ", "output"),
            ("../../etc/passwd", "etc-passwd"),
            ("Ein schöner Tag", "ein-schöner-tag"),
            ("一只红色的狐狸", "一只红色的狐狸"),
        ];
        for (text, expected) in table {
            assert_eq!(slug(text), expected);
        }
        let long = slug(&"word ".repeat(40));
        assert!(long.chars().count() <= SLUG_LENGTH && long.ends_with("word"), "{long}");
        assert_eq!(slug(&"x".repeat(200)).len(), SLUG_LENGTH);
    }

    #[test]
    fn extensions_follow_the_media_type() {
        let table = [
            ("video/mp4", "mp4"),
            ("video/webm", "webm"),
            ("video/quicktime", "mov"),
            ("image/jpeg", "jpg"),
            ("audio/x-wav", "wav"),
            ("video/mp4; codecs=avc1", "mp4"),
            ("application/vnd.odd+thing", "bin"),
            ("", "bin"),
        ];
        for (media_type, expected) in table {
            assert_eq!(extension(media_type), expected, "{media_type}");
        }
    }

    #[test]
    fn a_name_of_our_own_never_overwrites_and_is_given_back_when_unused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("fox.mp4"), "mine").unwrap();
        let destination = Destination::new(Some(folder.path()), "fox").unwrap();
        let second = destination.place(0, "video/mp4").unwrap();
        let third = destination.place(1, "video/mp4").unwrap();
        assert_eq!(second.path, folder.path().join("fox-2.mp4"));
        assert_eq!(third.path, folder.path().join("fox-3.mp4"));
        drop(second);
        assert!(!folder.path().join("fox-2.mp4").exists());
        assert_eq!(fs::read(folder.path().join("fox.mp4")).unwrap(), b"mine");
    }

    #[test]
    fn a_name_of_the_caller_is_used_as_it_is_and_numbered_for_further_outputs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clip.webm");
        fs::write(&file, "old").unwrap();
        let destination = Destination::new(Some(&file), "fox").unwrap();
        assert_eq!(destination.place(0, "video/mp4").unwrap().path, file);
        assert_eq!(destination.place(1, "video/mp4").unwrap().path, folder.path().join("clip-2.webm"));
        assert!(file.exists(), "a place of the caller is not removed");
    }

    #[tokio::test]
    async fn a_pipe_gets_the_bytes_and_stays_a_pipe() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, link, whole) = (folder.path().join("pipe"), folder.path().join("link"), folder.path().join("whole"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for output in [&pipe, &link] {
            fs::write(&whole, "film").unwrap();
            let destination = Destination::new(Some(output), "fox").unwrap();
            let place = destination.place(1, "video/mp4").unwrap();
            assert_eq!(&place.path, output, "a second output gets no name beside a pipe");
            assert_ne!(place.part().parent(), Some(folder.path()), "what is unfinished is no neighbour of a pipe");
            let (filled, read) = tokio::join!(place.fill(&whole), tokio::fs::read(&pipe));
            assert_eq!((filled.unwrap(), read.unwrap()), (output.clone(), b"film".to_vec()));
            assert!(!whole.exists() && !pipe.is_file() && link.is_symlink());
        }
    }

    #[tokio::test]
    async fn a_link_to_a_file_stays_and_its_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, whole] = ["file", "link", "whole"].map(|name| folder.path().join(name));
        fs::write(&file, "old").unwrap();
        fs::write(&whole, "film").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let place = Destination::new(Some(&link), "fox").unwrap().place(0, "video/mp4").unwrap();
        place.fill(&whole).await.unwrap();
        assert!(link.is_symlink() && fs::read(&file).unwrap() == b"film");
    }

    #[test]
    fn a_folder_that_does_not_exist_and_stdout_are_refused() {
        for output in ["no/such/folder/", "no/such/folder/a.mp4", "-"] {
            assert!(Destination::new(Some(Path::new(output)), "fox").is_err(), "{output}");
        }
    }
}
