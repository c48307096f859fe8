//! Opening a bucket of a cloud, or of a server that speaks the protocol of one.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    azure::{MicrosoftAzure, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder},
    path::Path,
    signer::Signer,
};
use url::Url;

use super::error::Error;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// A server that takes or sends no byte of an answer for so long is given up; an upload of one part must fit in it.
const SILENCE: Duration = Duration::from_secs(60);
/// After the first try of a request, and not later than a minute after it. Whoever stores goes on at its own pace then.
const N_RETRIES: usize = 4;
const RETRY_FOR: Duration = Duration::from_secs(60);
/// A shorter value is no secret, and would be found in every second text.
const LEAST_SECRET: usize = 4;

/// A bucket with all that it can do.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) signer: Arc<dyn Signer>,
    /// Below which everything of ours is; may be empty.
    pub(super) prefix: Path,
    /// A signed address can say under which type and name the bytes are served.
    pub(super) is_polite: bool,
}

/// Opens `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix` with the variables that the cloud's own tools read, such
/// as `AWS_REGION`. Asks nobody yet.
pub(super) fn open(url: &Url, variables: &[(String, String)]) -> Result<Bucket, Error> {
    let name = url.host_str().unwrap_or_default();
    let prefix = Path::from_url_path(url.path()).map_err(|error| Error::Setup(error.to_string()))?;
    let opened = match url.scheme() {
        "s3" => s3(name, variables).map(|store| Bucket::of(store, prefix, true)),
        "gs" => google(name, variables).map(|store| Bucket::of(store, prefix, true)),
        "az" => azure(name, variables).map(|store| Bucket::of(store, prefix, false)),
        other => return Err(Error::Setup(format!("{other} is none of file, s3, gs and az"))),
    };
    opened.map_err(|error| Error::Setup(without_values(error.to_string(), variables)))
}

impl Bucket {
    fn of<S: ObjectStore + Signer + Clone>(store: S, prefix: Path, is_polite: bool) -> Self {
        Self { signer: Arc::new(store.clone()), store: Arc::new(store), prefix, is_polite }
    }
}

fn s3(bucket: &str, variables: &[(String, String)]) -> object_store::Result<AmazonS3> {
    let mut builder = AmazonS3Builder::new().with_client_options(client()).with_retry(retry());
    for (name, value) in variables {
        // The other variables of the cloud's tools are not about objects.
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    // Whoever writes an address with http knows that; the secret key itself is never sent.
    let is_plain = |(name, value): &(String, String)| name.starts_with("AWS_ENDPOINT") && value.starts_with("http://");
    if variables.iter().any(is_plain) {
        builder = builder.with_allow_http(true);
    }
    builder.with_bucket_name(bucket).build()
}

fn google(bucket: &str, variables: &[(String, String)]) -> object_store::Result<GoogleCloudStorage> {
    let mut builder = GoogleCloudStorageBuilder::new().with_client_options(client()).with_retry(retry());
    for (name, value) in variables {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder.with_bucket_name(bucket).build()
}

fn azure(container: &str, variables: &[(String, String)]) -> object_store::Result<MicrosoftAzure> {
    let mut builder = MicrosoftAzureBuilder::new().with_client_options(client()).with_retry(retry());
    for (name, value) in variables {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder.with_container_name(container).build()
}

fn client() -> ClientOptions {
    // A large blob takes its time to a slow caller; silence is what ends it.
    ClientOptions::new().with_timeout_disabled().with_read_timeout(SILENCE).with_connect_timeout(CONNECT)
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: N_RETRIES, retry_timeout: RETRY_FOR }
}

/// A text that may quote a setting, with the name of the setting in its place: some of them are secret.
fn without_values(text: String, variables: &[(String, String)]) -> String {
    let secret = variables.iter().filter(|(_, value)| value.len() >= LEAST_SECRET);
    secret.fold(text, |text, (name, value)| text.replace(value.as_str(), &format!("${name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(url: &str, variables: &[(&str, &str)]) -> Result<Bucket, Error> {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        open(&url.parse().unwrap(), &variables)
    }

    async fn link(bucket: &Bucket) -> Url {
        let path = Path::from("a/0/f");
        bucket.signer.signed_url(http::Method::GET, &path, Duration::from_secs(60)).await.unwrap()
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "secret-access-key")];

    #[tokio::test]
    async fn an_endpoint_may_have_a_path_and_the_bucket_follows_it() {
        let endpoint = ("AWS_ENDPOINT_URL", "https://ref.storage.example/storage/v1/s3");
        let token = ("AWS_SESSION_TOKEN", "of-the-user");
        let bucket = opened("s3://films", &[KEYS[0], KEYS[1], endpoint, token, ("AWS_REGION", "local")]).unwrap();
        let url = link(&bucket).await;
        assert_eq!(url.as_str().split('?').next(), Some("https://ref.storage.example/storage/v1/s3/films/a/0/f"));
        let query: Vec<_> = url.query_pairs().collect();
        let has = |name: &str, value: &str| query.iter().any(|(key, found)| key == name && found.contains(value));
        assert!(has("X-Amz-Credential", "AKIA/") && has("X-Amz-Credential", "/local/s3/"), "{url}");
        assert!(has("X-Amz-Security-Token", "of-the-user"), "{url}");
    }

    #[tokio::test]
    async fn the_endpoint_and_the_region_of_s3_win_over_the_general_ones() {
        let variables = [
            KEYS[0],
            KEYS[1],
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", "http://other:1"),
            ("AWS_ENDPOINT_URL_S3", "http://minio:9000"),
            ("AWS_REGION", "eu-west-2"),
            ("AWS_PROFILE", "not read"),
            ("AWS_BUCKET", "another"),
        ];
        let url = link(&opened("s3://films/made", &variables).unwrap()).await;
        assert!(url.as_str().starts_with("http://minio:9000/films/a/0/f?"), "{url}");
        assert!(url.as_str().contains("eu-west-2"), "{url}");
    }

    #[tokio::test]
    async fn azure_signs_with_the_account_key() {
        let account = [("AZURE_STORAGE_ACCOUNT_NAME", "films"), ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")];
        let url = link(&opened("az://made", &account).unwrap()).await;
        assert!(url.as_str().starts_with("https://films.blob.core.windows.net/made/a/0/f?"), "{url}");
        assert!(url.query_pairs().any(|(name, _)| name == "sig"), "{url}");
    }

    #[test]
    fn what_is_missing_is_named_and_no_secret_is_told() {
        for (url, variables, expected) in [
            ("s3://films", vec![KEYS[0]], "SecretAccessKey"),
            ("az://films", vec![], "Account"),
            ("gs://films", vec![("GOOGLE_SERVICE_ACCOUNT_KEY", "\"hunter22\"")], ""),
            ("gs://films", vec![("GOOGLE_SERVICE_ACCOUNT", "/nowhere/key.json")], "GOOGLE_SERVICE_ACCOUNT"),
            ("ftp://films", vec![], "s3"),
        ] {
            let error = opened(url, &variables).unwrap_err().to_string();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("hunter22"), "{error}");
        }
    }
}
