//! The door for clients of the OpenAI SDK: the official clients against a served filmgate whose vendor is the simulator.
//!
//! A topic is a module of `tests/python/openai_door` and of `tests/javascript/openai_door`; each is run once with every client that is pinned here,
//! against a server of its own. A further topic is a file in either folder and a test that calls [`Client::run`].

mod chat;
mod http;

use std::{path::Path, process::Command, time::Duration};

use tokio::time::{sleep, timeout};

use crate::{
    simulator::Simulator,
    support::{
        proxy::Proxy,
        server::{SOON, Server, Setup},
    },
};

/// A program that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client of OpenAI's: the current one for Python and two older ones, and the one for JavaScript. `scripts/tools` installs them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Client {
    Python3_51,
    Python2_54,
    Python2_6,
    JavaScript,
}

impl Client {
    pub(crate) const PYTHON: [Self; 3] = [Self::Python3_51, Self::Python2_54, Self::Python2_6];

    /// Runs a topic against the server at `base_url`; what it printed.
    pub(crate) async fn run(self, topic: &str, base_url: &str, simulator: &Simulator) -> String {
        let tools = |name: &str| variable("FILMGATE_TEST_OPENAI").expect("./scripts/test-rust sets it") + "/" + name;
        let mut program = match self {
            Self::Python3_51 => python(),
            Self::Python2_54 => with_path(python(), "PYTHONPATH", &tools("2.54.0")),
            Self::Python2_6 => with_path(python(), "PYTHONPATH", &tools("2.6.1")),
            Self::JavaScript => with_path(Command::new("node"), "NODE_PATH", &modules()),
        };
        let script = match self {
            Self::Python3_51 | Self::Python2_54 | Self::Python2_6 => "python/openai_door/run.py",
            Self::JavaScript => "javascript/openai_door/run.js",
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
        program.arg(script).args([topic, base_url, &simulator.at("/_control")]);
        let ended = tokio::task::spawn_blocking(move || program.output());
        let output = timeout(PATIENCE, ended).await.expect("the client ends").unwrap().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{self:?}\n{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.ends_with(&format!("all of {topic}\n")), "{self:?}\n{text}");
        if let Some(version) = self.version() {
            assert!(text.starts_with(&format!("openai {version}\n")), "{self:?}\n{text}");
        }
        text
    }

    /// What the client for Python says of itself.
    fn version(self) -> Option<&'static str> {
        match self {
            Self::Python3_51 => Some("3.51.0"),
            Self::Python2_54 => Some("2.54.0"),
            Self::Python2_6 => Some("2.6.1"),
            Self::JavaScript => None,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn python() -> Command {
    let mut python = Command::new(variable("FILMGATE_TEST_PYTHON").expect("./scripts/test-rust sets it"));
    // Folders of tests stay as they are.
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

fn modules() -> String {
    variable("FILMGATE_TEST_NODE_MODULES").expect("./scripts/test-rust sets it")
}

fn with_path(mut program: Command, name: &str, path: &str) -> Command {
    program.env(name, path);
    program
}

/// With the simulated OpenAI as its vendor.
pub(crate) fn setup(simulator: &Simulator) -> Setup {
    let setup = Setup::sample().with("OPENAI_API_KEY", "sk-a-secret-key").with("OPENAI_BASE_URL", &simulator.openai());
    setup.with("FILMGATE_MODEL", "openai/sora-2")
}

/// What a client of OpenAI is given as its base URL.
pub(crate) fn base_url(server: &Server) -> String {
    format!("http://{}/v1", server.addr())
}

/// A topic with each of these clients, each against a server of its own.
pub(crate) async fn each(clients: &[Client], topic: &str, change: impl Fn(Setup) -> Setup) {
    for client in clients {
        let simulator = Simulator::start(&[]);
        let server = change(setup(&simulator)).start().await;
        client.run(topic, &base_url(&server), &simulator).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn videos_work_with_the_clients_for_python() {
    each(&Client::PYTHON, "videos", |setup| setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn videos_work_with_the_client_for_javascript() {
    each(&[Client::JavaScript], "videos", |setup| setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chats_work_with_the_clients_for_python() {
    each(&Client::PYTHON, "chat", |setup| setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chats_work_with_the_client_for_javascript() {
    each(&[Client::JavaScript], "chat", |setup| setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_the_clients_own_exceptions() {
    let few = |setup: Setup| {
        let nothing = setup.folder().join("nothing").display().to_string();
        setup.with("FILMGATE_MAX_UNFINISHED", "1").with("FILMGATE_SAMPLE_DIR", &nothing)
    };
    each(&Client::PYTHON, "errors", few).await;
}

/// Waits until so many orders came to a server.
async fn orders(server: &Server, n_orders: usize) {
    let url = format!("{}/videos", base_url(server));
    let came = async {
        loop {
            let listed: serde_json::Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
            if listed["data"].as_array().unwrap().len() == n_orders {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, came).await.unwrap_or_else(|_| panic!("there are no {n_orders} orders"));
}

/// The server has the order and its answer is on the way when the wire breaks. The client knows nothing, and sends it again.
async fn a_lost_answer_is_asked_for_again(client: Client) {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let proxy = Proxy::to(server.addr()).await;
    proxy.hold_answers(true);
    let base_url = format!("http://{}/v1", proxy.addr());
    // Answers are let through only when the order is there twice, so no answer to the first one can slip by.
    let cut = async {
        orders(&server, 1).await;
        proxy.cut();
        orders(&server, 2).await;
        proxy.hold_answers(false);
    };
    tokio::join!(client.run("lost_answer", &base_url, &simulator), cut);
    assert_eq!(simulator.jobs("openai").await.len(), 1, "it is paid for once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_the_client_sends_again_is_not_paid_twice() {
    a_lost_answer_is_asked_for_again(Client::Python3_51).await;
    a_lost_answer_is_asked_for_again(Client::Python2_6).await;
    a_lost_answer_is_asked_for_again(Client::JavaScript).await;
}
