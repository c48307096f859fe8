//! The simulated vendors, seen from outside: by the vendor's own client, and by a program that looks at every byte.
#![cfg(test)]

mod callbacks;
mod faults;

use std::{path::Path, process::Command, time::Duration};

use filmgate::simulator::{self, SimulateArgs};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinSet, time::timeout};

use crate::support::server::SOON;

/// A simulator in this process, on a port of its own. Dropping it ends it.
pub(crate) struct Simulator {
    root: String,
    http: reqwest::Client,
    serving: JoinSet<std::io::Result<()>>,
    stop: oneshot::Sender<()>,
}

impl Simulator {
    /// Jobs are over at once, unless a rule says otherwise.
    pub(crate) fn start(faults: &[&str]) -> Self {
        let args = SimulateArgs {
            listen: "127.0.0.1:0".parse().unwrap(),
            latency: Some(Duration::ZERO),
            faults: faults.iter().map(|rule| rule.parse().unwrap()).collect(),
            ..SimulateArgs::default()
        };
        let bound = simulator::bind(args).unwrap();
        let root = format!("http://{}", bound.addr());
        let (stop, stopped) = oneshot::channel();
        let mut serving = JoinSet::new();
        serving.spawn(bound.serve(async {
            let _ = stopped.await;
        }));
        Self { root, http: reqwest::Client::new(), serving, stop }
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.http.post(format!("{}/replicate/v1/{path}", self.root)).bearer_auth("r8_simulated").json(body)
    }

    /// A request to make a video of this prompt.
    fn order(&self, prompt: &str) -> RequestBuilder {
        self.post("models/minimax/video-01/predictions", &json!({ "input": { "prompt": prompt } }))
    }

    async fn create(&self, prompt: &str) -> Value {
        self.order(prompt).send().await.unwrap().json().await.unwrap()
    }

    async fn get(&self, id: &str) -> Value {
        let url = format!("{}/replicate/v1/predictions/{id}", self.root);
        self.http.get(url).bearer_auth("r8_simulated").send().await.unwrap().json().await.unwrap()
    }

    /// The base URL of its Replicate.
    pub(crate) fn replicate(&self) -> String {
        format!("{}/replicate/v1", self.root)
    }

    /// The base URL of its OpenAI.
    pub(crate) fn openai(&self) -> String {
        format!("{}/openai/v1", self.root)
    }

    /// An address below its root, for example a vendor's base URL.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// A count of this vendor's.
    pub(crate) async fn counted(&self, vendor: &str, name: &str) -> u64 {
        self.look("counts").await[vendor][name].as_u64().unwrap()
    }

    /// Every job that a vendor was asked for, oldest first, with its body, headers and counts.
    pub(crate) async fn jobs(&self, vendor: &str) -> Vec<Value> {
        self.look("jobs").await[vendor].as_array().unwrap().clone()
    }

    /// What it answers to a look at its control side.
    pub(crate) async fn look(&self, path: &str) -> Value {
        let url = format!("{}/_control/{path}", self.root);
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// The base URL of another of its vendors.
    pub(crate) fn vendor(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    /// Every prediction made, with its input, headers and counts.
    pub(crate) async fn predictions(&self) -> Vec<Value> {
        let url = format!("{}/_control/predictions", self.root);
        let page: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        page["replicate"].as_array().unwrap().clone()
    }

    /// Replaces the fault rules.
    pub(crate) async fn faults(&self, rules: &[&str]) {
        self.control("faults", json!({ "faults": rules })).await;
    }

    pub(crate) async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_control/{path}", self.root);
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    pub(crate) async fn count(&self, name: &str) -> u64 {
        let url = format!("{}/_control/counts", self.root);
        let counts: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        counts["replicate"][name].as_u64().unwrap()
    }

    /// Waits until it has counted `n` of these.
    pub(crate) async fn reached(&self, name: &str, n: u64) {
        let counted = async {
            while self.count(name).await < n {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, counted).await.unwrap_or_else(|_| panic!("there are no {n} {name}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_client_works() {
    let simulator = Simulator::start(&[]);
    simulator.control("settings", json!({ "latency": "30ms" })).await;
    let text = python("replicate_sdk.py", format!("{}/replicate", simulator.root)).await;
    assert_eq!(text.lines().count(), 12, "{text}");
}

/// What a vendor's own client, driven by this script against `base`, has to say.
pub(crate) async fn python(script: &str, base: String) -> String {
    #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
    let python = std::env::var("FILMGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let run = tokio::task::spawn_blocking(move || Command::new(&python).arg(script).arg(base).output());
    let output = timeout(Duration::from_secs(60), run).await.expect("the client ends").unwrap().expect("python starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[tokio::test]
async fn a_finished_job_hands_out_a_whole_playable_file() {
    let simulator = Simulator::start(&[]);
    let made = simulator.create("a fox").await;
    assert_eq!((&made["status"], &made["output"]), (&json!("starting"), &Value::Null));
    let done = simulator.get(made["id"].as_str().unwrap()).await;
    assert_eq!(done["status"], "succeeded");
    assert_eq!(done["metrics"]["video_output_duration_seconds"], 6.0);
    let link = done["output"].as_str().unwrap();
    assert!(link.starts_with(&simulator.root), "{link}");
    let answer = simulator.http.get(link).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "video/mp4");
    let whole = answer.bytes().await.unwrap();
    assert_eq!(infer::get(&whole).unwrap().mime_type(), "video/mp4");

    let part = simulator.http.get(link).header("range", "bytes=4-7").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], format!("bytes 4-7/{}", whole.len()));
    assert_eq!(part.bytes().await.unwrap(), "ftyp");
    assert_eq!(simulator.count("downloads").await, 2);
}

#[tokio::test]
async fn a_synchronous_create_says_processing_with_output_or_starting_without() {
    let simulator = Simulator::start(&["create:prompt=[slow]:stuck=processing"]);
    let done = simulator.order("a fox").header("prefer", "wait=5").send().await.unwrap();
    assert_eq!(
        (done.status(), &done.headers()["preference-applied"]),
        (StatusCode::CREATED, &"wait=5".parse().unwrap())
    );
    let done: Value = done.json().await.unwrap();
    assert_eq!(done["status"], "processing");
    assert!(done["output"].is_string() && done.get("completed_at").is_none() && done.get("metrics").is_none());

    let late = simulator.order("a [slow] fox").header("prefer", "wait=1").send().await.unwrap();
    assert_eq!(late.status(), StatusCode::ACCEPTED);
    let late: Value = late.json().await.unwrap();
    assert_eq!((&late["status"], &late["output"]), (&json!("starting"), &Value::Null));
    assert_eq!(simulator.get(late["id"].as_str().unwrap()).await["status"], "processing");
}

#[tokio::test]
async fn held_jobs_go_on_when_released_oldest_first() {
    let simulator = Simulator::start(&["create:hold"]);
    let mut ids = Vec::new();
    for prompt in ["one", "two", "three"] {
        ids.push(simulator.create(prompt).await["id"].as_str().unwrap().to_owned());
    }
    let statuses = async || {
        let mut statuses = Vec::new();
        for id in &ids {
            statuses.push(simulator.get(id).await["status"].as_str().unwrap().to_owned());
        }
        statuses
    };
    assert_eq!(statuses().await, ["processing"; 3]);
    assert_eq!(simulator.control("release", json!({ "count": 1 })).await["released"], 1);
    assert_eq!(statuses().await, ["succeeded", "processing", "processing"]);
    assert_eq!(simulator.control("release", json!({ "id": ids[2] })).await["released"], 1);
    assert_eq!(statuses().await, ["succeeded", "processing", "succeeded"]);
    assert_eq!(simulator.control("release", json!({})).await["released"], 1);
    assert_eq!(statuses().await, ["succeeded"; 3]);
}

#[tokio::test]
async fn the_control_side_shows_what_was_asked_and_forgets_on_reset() {
    let simulator = Simulator::start(&[]);
    let order = json!({ "input": { "prompt": "a fox" }, "webhook": "https://gate.example/hooks/1" });
    let path = "models/minimax/video-01/predictions";
    let made: Value =
        simulator.post(path, &order).header("cancel-after", "5m").send().await.unwrap().json().await.unwrap();
    let id = made["id"].as_str().unwrap();
    simulator.get(id).await;
    let url = format!("{}/_control/predictions", simulator.root);
    let shown: Value = simulator.http.get(&url).send().await.unwrap().json().await.unwrap();
    let shown = &shown["replicate"][0];
    assert_eq!(shown["id"], id);
    assert_eq!(shown["webhook"], "https://gate.example/hooks/1");
    assert_eq!(shown["input"], json!({ "prompt": "a fox" }));
    assert_eq!(shown["headers"]["cancel-after"], "5m");
    assert!(shown["headers"].get("authorization").is_none());
    assert_eq!(shown["counts"]["gets"], 1);

    simulator.control("faults", json!({ "faults": ["get:drop"] })).await;
    simulator.control("reset", json!({})).await;
    assert_eq!(simulator.count("creates_received").await, 0);
    assert_eq!(simulator.get(id).await["status"], 404);
}

#[tokio::test]
async fn shutdown_frees_a_caller_left_hanging() {
    let mut simulator = Simulator::start(&["create:hang,effect=after"]);
    let order = simulator.order("a fox");
    let mut hanging = JoinSet::new();
    hanging.spawn(order.send());
    while simulator.count("creates_effective").await == 0 {
        tokio::task::yield_now().await;
    }
    let Simulator { serving, stop, .. } = &mut simulator;
    let (unused, _) = oneshot::channel();
    std::mem::replace(stop, unused).send(()).unwrap();
    let limit = Duration::from_secs(10);
    assert!(timeout(limit, serving.join_next()).await.unwrap().unwrap().unwrap().is_ok());
    assert!(timeout(limit, hanging.join_next()).await.unwrap().unwrap().unwrap().is_err());
}
