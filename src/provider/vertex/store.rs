//! Buckets: folders of orders, and the addresses of objects.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::domain::names::SubmitKey;

/// A folder of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    pub(super) bucket: String,
    /// Empty, or with a slash at the end.
    pub(super) prefix: String,
}

impl Folder {
    /// Of `gs://bucket/prefix`, with or without a slash at its end.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (bucket, prefix) =
            text.strip_prefix("gs://")?.split_once('/').or_else(|| Some((text.strip_prefix("gs://")?, "")))?;
        let is_bucket = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let is_clean = !prefix.chars().any(|c| c.is_control() || c == '?' || c == '#');
        if bucket.len() < 3 || !bucket.bytes().all(is_bucket) || !is_clean {
            return None;
        }
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Some(Self { bucket: bucket.to_owned(), prefix })
    }

    /// The folder within it that one submit's videos go to: the submit's mark.
    pub(super) fn of(&self, key: SubmitKey) -> Self {
        Self { bucket: self.bucket.clone(), prefix: format!("{}{key}/", self.prefix) }
    }

    pub(super) fn uri(&self) -> String {
        format!("gs://{}/{}", self.bucket, self.prefix)
    }
}

/// The address below the store's API where what `text` names can be fetched: an object `gs://bucket/name`, or an address as it is.
pub(super) fn link(store: &Url, text: &str) -> Option<Url> {
    let text = text.trim();
    if let Some(path) = text.strip_prefix("gs://") {
        let (bucket, name) = path.split_once('/')?;
        return (!bucket.is_empty() && !name.is_empty()).then(|| object(store, bucket, name)).flatten();
    }
    let url = Url::parse(text).ok().filter(Url::has_host)?;
    let plain = url.scheme() == "http" && store.scheme() == "http";
    if url.scheme() != "https" && !plain {
        return None;
    }
    // The browser's address of an object asks a person to sign in.
    if url.host_str() == Some("storage.cloud.google.com") {
        let name = percent_decode_str(url.path().trim_start_matches('/')).decode_utf8().ok()?;
        let (bucket, name) = name.split_once('/')?;
        return object(store, bucket, name);
    }
    Some(url)
}

fn object(store: &Url, bucket: &str, name: &str) -> Option<Url> {
    let mut url = store.clone();
    url.path_segments_mut().ok()?.pop_if_empty().extend(["storage", "v1", "b", bucket, "o", name]);
    url.set_query(Some("alt=media"));
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_however_it_ends() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(Folder::read(text).map(|folder| folder.uri()).as_deref(), expected, "{text}");
        };
        check("gs://films", Some("gs://films/"));
        check("gs://films/", Some("gs://films/"));
        check("gs://films/videos/p1/scene_2", Some("gs://films/videos/p1/scene_2/"));
        check("gs://films/videos/", Some("gs://films/videos/"));
        check("s3://films/", None);
        check("gs://", None);
        check("gs://Films/", None);
        check("gs://films/a?b", None);
    }

    #[test]
    fn an_objects_address_holds_its_whole_name() {
        let store = Url::parse("https://storage.googleapis.com").unwrap();
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(link(&store, text).as_ref().map(Url::as_str), expected, "{text}");
        };
        let object = "https://storage.googleapis.com/storage/v1/b/films/o/a%2Fsample_0.mp4?alt=media";
        check("gs://films/a/sample_0.mp4", Some(object));
        check(" gs://films/a/sample_0.mp4\n", Some(object));
        check("https://storage.cloud.google.com/films/a/sample_0.mp4", Some(object));
        check("https://cdn.example/a.mp4?x=1", Some("https://cdn.example/a.mp4?x=1"));
        check("http://cdn.example/a.mp4", None);
        check("gs://films", None);
        check("file:///etc/passwd", None);
        check("no address", None);
        let odd = "https://storage.googleapis.com/storage/v1/b/films/o/a%20b%3F%23%2F..%2Fc.mp4?alt=media";
        check("gs://films/a b?#/../c.mp4", Some(odd));
    }
}
