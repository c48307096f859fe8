//! A real S3 server as a process of its own: moto behind a door that checks signatures, see `tests/python/s3_server.py`.

use std::{env, path::Path, process::Stdio, time::Duration};

use filmgate::artifact::Blobs;
use reqwest::Method;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time,
};

use super::server::Setup;

/// Where the artifacts of tests go.
pub(crate) const URL: &str = "s3://films/made/here";
pub(crate) const KEY_ID: &str = "AKIAFILMGATETEST";
pub(crate) const SECRET: &str = "a-secret-key-that-nobody-may-see";
pub(crate) const TOKEN: &str = "a-session-token-that-nobody-may-see";
const BUCKET: &str = "films";
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends when dropped, with all it holds.
pub(crate) struct ObjectServer {
    process: Child,
    port: u16,
    base_path: &'static str,
    with_token: bool,
}

impl ObjectServer {
    /// With an empty bucket, at the root of a port of its own.
    pub(crate) async fn start() -> Self {
        Self::start_at(0, "", false).await
    }

    /// As Supabase has it: below a path, with temporary keys.
    pub(crate) async fn start_below_a_path() -> Self {
        Self::start_at(0, "/storage/v1/s3", true).await
    }

    async fn start_at(port: u16, base_path: &'static str, with_token: bool) -> Self {
        #[expect(clippy::disallowed_methods, reason = "where Python is, is no setting")]
        let python = env::var("FILMGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/s3_server.py");
        let mut command = Command::new(python);
        command.arg(script).args(["--port", &port.to_string(), "--bucket", BUCKET, "--base-path", base_path]);
        if with_token {
            command.arg("--with-token");
        }
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("Python starts");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let told = time::timeout(PATIENCE, lines.next_line()).await.expect("the S3 server starts in time").unwrap();
        let port = told.and_then(|line| line.parse().ok());
        let port = port.expect("install what tests/python/requirements.txt names, or set FILMGATE_TEST_PYTHON");
        Self { process, port, base_path, with_token }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.base_path)
    }

    /// The variables that AWS's own tools read.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_REGION", "eu-central-1".to_owned()),
        ];
        if self.with_token {
            variables.push(("AWS_SESSION_TOKEN", TOKEN.to_owned()));
        }
        variables
    }

    /// A setup whose artifacts go to this server.
    pub(crate) fn keeps(&self, setup: Setup) -> Setup {
        let setup = setup.with("FILMGATE_ARTIFACTS_URL", URL);
        self.variables().into_iter().fold(setup, |setup, (name, value)| setup.with(name, &value))
    }

    /// Its bucket, as the server sees it.
    pub(crate) fn blobs(&self) -> Blobs {
        let variables: Vec<_> = self.variables().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Blobs::at(&URL.parse().unwrap(), &variables).unwrap()
    }

    /// Keys of all objects in the bucket.
    pub(crate) async fn keys(&self) -> Vec<String> {
        self.asked(Method::GET, "keys/films").await
    }

    /// Multipart uploads that are neither completed nor aborted.
    pub(crate) async fn n_uploads(&self) -> usize {
        self.asked(Method::GET, "uploads").await
    }

    /// From now on there is no bucket.
    pub(crate) async fn drop_bucket(&self) {
        self.send(Method::DELETE, "buckets/films").await;
    }

    /// There is an empty bucket again.
    pub(crate) async fn make_bucket(&self) {
        self.send(Method::POST, "buckets/films").await;
    }

    /// Dates every object of the bucket back.
    pub(crate) async fn age(&self, by: Duration) {
        self.send(Method::POST, &format!("age/films/{}", by.as_secs())).await;
    }

    /// From now on part `n` of every upload is refused.
    pub(crate) async fn refuse_part(&self, n: usize) {
        self.send(Method::POST, &format!("refuse-part/{n}")).await;
    }

    /// SIGKILL; what was stored is gone.
    pub(crate) async fn kill(mut self) -> Down {
        self.process.kill().await.unwrap();
        Down { port: self.port, base_path: self.base_path, with_token: self.with_token }
    }

    async fn asked<T: DeserializeOwned>(&self, method: Method, path: &str) -> T {
        self.send(method, path).await.json().await.unwrap()
    }

    async fn send(&self, method: Method, path: &str) -> reqwest::Response {
        let url = format!("http://127.0.0.1:{}/_test/{path}", self.port);
        let answer = reqwest::Client::new().request(method, url).send().await.unwrap();
        answer.error_for_status().unwrap()
    }
}

/// A server that was killed.
pub(crate) struct Down {
    port: u16,
    base_path: &'static str,
    with_token: bool,
}

impl Down {
    /// Starts it again at the same address, empty.
    pub(crate) async fn start(self) -> ObjectServer {
        ObjectServer::start_at(self.port, self.base_path, self.with_token).await
    }
}
