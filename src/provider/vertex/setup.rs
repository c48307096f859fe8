//! The vendor's settings, and the adapter of them.

use std::{fs, path::Path, sync::Arc};

use http::HeaderMap;
use http::Uri;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::provider::{
    error::SetupError,
    google::base64::decode,
    http::{Http, inputs::Inputs, links::Links},
    keys::account_of,
    port::Provider,
    values::Values,
    vendor::{Build, Built, Setting, Shape},
};

use super::{
    Vendor, Vertex,
    auth::{Credentials, Tokens},
    store::Folder,
};

/// Its id.
pub const VERTEX: &str = "vertex";
/// The vendor, for settings and wiring.
pub const VENDOR: Vendor = Vendor {
    id: VERTEX,
    title: "Vertex AI",
    settings: &[
        Setting::new("project", Shape::Form("a Google Cloud project's id", is_name), "PROJECT", "Google Cloud project that pays for {}; a service account key that is set here names its own")
            .env(&["FILMGATE_VERTEX_PROJECT", "GOOGLE_CLOUD_PROJECT"]),
        Setting::new("location", Shape::Form("a region of Google Cloud, us, eu or global", is_name), "REGION", "Where {} works")
            .env(&["FILMGATE_VERTEX_LOCATION", "GOOGLE_CLOUD_LOCATION"])
            .or("us-central1"),
        Setting::new("service_account_key", Shape::Credentials, "JSON", "Key of a service account, as its JSON, as base64 of that, or as the file's path; better in the environment")
            .env(&["VEO3_SERVICE_ACCOUNT_KEY"]),
        Setting::new("credentials", Shape::Path, "FILE", "File with a service account's key or with what `gcloud auth application-default login` wrote; without it that tool's own file is looked for, then the machine's account is used")
            .env(&["GOOGLE_APPLICATION_CREDENTIALS"]),
        Setting::new("storage_uri", Shape::Form("gs://BUCKET/ or gs://BUCKET/PREFIX/", is_folder), "URI", "Folder of a bucket where {} leaves its videos, each order's in one of its own; without it they come within answers, and an order whose answer is lost cannot be found"),
        Setting::new("storage_api", Shape::Url, "URL", "Where the JSON API of Cloud Storage is").or("https://storage.googleapis.com"),
        Setting::new("metadata_host", Shape::Form("HOST or HOST:PORT", is_host), "HOST", "The machine's metadata server")
            .env(&["GCE_METADATA_HOST"])
            .or("metadata.google.internal"),
        Setting::new("base_url", Shape::Url, "URL", "Where {}'s API is, with its version; without it the location's `https://LOCATION-aiplatform.googleapis.com/v1`"),
    ],
    how_to_configure: "set GOOGLE_CLOUD_PROJECT, and GOOGLE_APPLICATION_CREDENTIALS to a key file, or set VEO3_SERVICE_ACCOUNT_KEY",
    cards: include_str!("models.toml"),
    usual: &["veo-3.1-fast-generate-001"],
    is_template: false,
    calls_https_only: false,
    build,
};

/// Hosts that serve outputs and take the token.
const KEY_HOSTS: [&str; 1] = ["storage.googleapis.com"];
/// Below the user's home, where Google's own tool leaves credentials.
const GCLOUD_FILE: &str = ".config/gcloud/application_default_credentials.json";

fn build(build: Build) -> Built {
    Ok(vertex(build)?.map(|vertex| Arc::new(vertex) as Arc<dyn Provider>))
}

/// A file of credentials alone does not configure it: on many machines it is there for a bucket.
pub(super) fn vertex(build: Build) -> Result<Option<Vertex>, SetupError> {
    let id = build.id;
    let values = &build.values;
    let project = values.text("project");
    if project.is_none() && values.secret("service_account_key").is_none() {
        return Ok(None);
    }
    let (credentials, own_project) = credentials(values, build.home.as_deref())?;
    let project = project.map(str::to_owned).or(own_project).ok_or_else(|| {
        SetupError::new(&id, "its service account key names no project_id; set project to the project that pays")
    })?;
    let location = values.text("location").unwrap_or("us-central1").to_owned();
    let base = match values.url("base_url") {
        Some(url) => url.clone(),
        None => base_of(&location).ok_or_else(|| SetupError::new(&id, "its location is no part of a host's name"))?,
    };
    let store = values.url("storage_api").cloned().ok_or_else(|| SetupError::new(&id, "storage_api is not set"))?;
    let http = Http::new(&id, build.timeout)?;
    let account = account_of(&SecretString::from(format!("{project} {}", credentials.principal())));
    let links = Links::with_headers(
        &id,
        &store,
        HeaderMap::new(),
        KEY_HOSTS.map(str::to_owned).to_vec(),
        build.download_timeout,
    )?;
    let vertex = Vertex {
        account,
        project,
        location,
        base,
        store,
        folder: values.text("storage_uri").and_then(Folder::read),
        tokens: Tokens::new(credentials, http.clone()),
        http,
        links,
        inputs: Inputs::new(&id)?,
        cards: build.cards,
        id,
    };
    Ok(Some(vertex))
}

/// The first that is set: the key itself, the file that is named, the file of Google's tool, the machine's account.
fn credentials(values: &Values, home: Option<&Path>) -> Result<(Credentials, Option<String>), SetupError> {
    let read = |setting: &str, text: &str| {
        Credentials::read(text).map_err(|why| SetupError::new(VERTEX, format!("{setting} {why}")))
    };
    let file = |setting: &str, path: &Path| {
        let text = fs::read_to_string(path).map_err(|error| {
            SetupError::new(VERTEX, format!("{setting} names a file that cannot be read: {}", error.kind()))
        })?;
        read(setting, &text)
    };
    if let Some(key) = values.secret("service_account_key") {
        let (setting, text) = ("service_account_key", key.expose_secret().trim());
        if text.starts_with('{') {
            return read(setting, text);
        }
        let unfolded = decode(text).and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
        return match unfolded.filter(|text| text.trim_start().starts_with('{')) {
            Some(text) => read(setting, &text),
            None => file(setting, Path::new(text)),
        };
    }
    if let Some(path) = values.path("credentials") {
        return file("credentials", path);
    }
    if let Some(path) = home.map(|home| home.join(GCLOUD_FILE)).filter(|path| path.is_file()) {
        return file("the file of gcloud", &path);
    }
    let host = values.text("metadata_host").unwrap_or("metadata.google.internal");
    let server = Url::parse(&format!("http://{host}"))
        .map_err(|_| SetupError::new(VERTEX, "metadata_host is no HOST or HOST:PORT"))?;
    Ok((Credentials::Machine(server), None))
}

fn base_of(location: &str) -> Option<Url> {
    let host = match location {
        "global" => "aiplatform.googleapis.com".to_owned(),
        "us" | "eu" => format!("aiplatform.{location}.rep.googleapis.com"),
        region => format!("{region}-aiplatform.googleapis.com"),
    };
    Url::parse(&format!("https://{host}/v1")).ok()
}

fn is_name(text: &str) -> bool {
    // Old projects are named `domain.example:project`.
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

fn is_folder(text: &str) -> bool {
    Folder::read(text).is_some()
}

fn is_host(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| uri.authority().is_some() && uri.path().trim_matches('/').is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_location_has_its_host() {
        let check = |location: &str, expected: &str| assert_eq!(base_of(location).unwrap().as_str(), expected);
        check("us-central1", "https://us-central1-aiplatform.googleapis.com/v1");
        check("global", "https://aiplatform.googleapis.com/v1");
        check("eu", "https://aiplatform.eu.rep.googleapis.com/v1");
    }

    #[test]
    fn a_metadata_server_is_a_host_and_perhaps_a_port() {
        assert!(is_host("169.254.169.254") && is_host("localhost:8080"));
        assert!(!is_host("http://x/y/z") && !is_host("a b"));
    }
}
