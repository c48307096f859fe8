//! Where artifacts are kept and how links to them are signed, from the settings.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::Path,
};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::StartError;
use crate::{
    artifact::{BlobError, Blobs},
    config::{ArtifactsConfig, Config, Problem},
    door::Links,
};

/// File of the key that signs links, in the data folder.
const KEY_FILE: &str = "link.key";
const KEY_BYTES: usize = 32;

/// Opens what the settings name, or else the folder `blobs` of the data folder.
pub(super) async fn open(config: &ArtifactsConfig, folder: &Path) -> Result<Blobs, StartError> {
    match &config.url {
        Some(url) => at(url, config).await.map_err(|problem| StartError::Settings(vec![problem])),
        None => Blobs::local(&folder.join("blobs")).map_err(|error| StartError::Folder {
            folder: folder.to_owned(),
            what: "opening the artifacts",
            source: error.into(),
        }),
    }
}

/// What would keep [`super::start`] from opening the bucket of the settings; nothing if artifacts are in a folder.
pub async fn check_bucket(config: &Config) -> Option<Problem> {
    let url = config.artifacts.url.as_ref().filter(|url| url.scheme() != "file")?;
    at(url, &config.artifacts).await.err()
}

/// A bucket must answer, or the first paid output would have no place to go.
async fn at(url: &Url, config: &ArtifactsConfig) -> Result<Blobs, Problem> {
    let variables = config.cloud.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
    let blobs = Blobs::at(url, &variables.collect::<Vec<_>>()).map_err(|error| problem(url, &error))?;
    blobs.check().await.map_err(|error| problem(url, &error))?;
    Ok(blobs)
}

/// What links are signed with and begin with. The key is made once for a data folder, unless the settings have one.
pub(super) fn links(config: &Config, folder: &Path, listens: SocketAddr) -> io::Result<Links> {
    let key = match &config.artifacts.link_key {
        Some(key) => key.clone(),
        None => key_of(folder)?,
    };
    Ok(Links::new(&key, config.public_url.as_ref(), listens))
}

fn key_of(folder: &Path) -> io::Result<SecretString> {
    let file = folder.join(KEY_FILE);
    match fs::read_to_string(&file) {
        Ok(key) if key.trim().len() == 2 * KEY_BYTES => return Ok(key.trim().into()),
        // Half a key, from a disk that was full: no link was signed with it.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let key = hex::encode(bytes);
    // Readable by this user alone, and there as a whole or not at all.
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    fresh.write_all(key.as_bytes())?;
    fresh.as_file().sync_all()?;
    fresh.persist(&file)?;
    Ok(key.into())
}

fn problem(url: &Url, error: &BlobError) -> Problem {
    let (keys, place) = match url.scheme() {
        "s3" => (
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, with temporary keys, AWS_SESSION_TOKEN",
            "AWS_ENDPOINT_URL, AWS_REGION and the network",
        ),
        "gs" => ("GOOGLE_APPLICATION_CREDENTIALS to the file of a service account", "the network"),
        "az" => {
            ("AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCOUNT_NAME and the network")
        }
        _ => ("", "the folder and the rights of this user"),
    };
    let (message, fix) = match error {
        BlobError::NoBucket => (error.to_string(), "make the bucket, or correct its name".to_owned()),
        BlobError::Refused(_) | BlobError::Setup(_) => {
            (error.to_string(), format!("set {keys}; the keys must allow to list, read, write and delete"))
        }
        BlobError::Failed(cause) => (cause.to_string(), format!("check {place}")),
        BlobError::NotFound | BlobError::OutOfRange | BlobError::NoSpace => {
            (error.to_string(), format!("check {place}"))
        }
    };
    Problem {
        setting: "artifacts_url (--artifacts-url, FILMGATE_ARTIFACTS_URL)".to_owned(),
        message: format!("{url} cannot be used: {message}"),
        fix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_folder_is_made_once_and_for_this_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key = key_of(folder.path()).unwrap();
        assert_eq!(key.expose_secret().len(), 64);
        assert_eq!(key_of(folder.path()).unwrap().expose_secret(), key.expose_secret());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(folder.path().join(KEY_FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(folder.path().join(KEY_FILE), "cut").unwrap();
        assert_eq!(key_of(folder.path()).unwrap().expose_secret().len(), 64);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
