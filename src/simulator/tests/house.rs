use std::{net::Ipv4Addr, time::Duration};

use axum::{Router, routing::post};
use http::{HeaderMap, StatusCode};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet, time::timeout};

use crate::simulator::{SimulateArgs, bind};

/// A running simulator; dropping it ends it.
struct House {
    root: String,
    http: reqwest::Client,
    _serving: JoinSet<std::io::Result<()>>,
}

impl House {
    fn start(faults: &[&str]) -> Self {
        let args = SimulateArgs {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            latency: Some(Duration::ZERO),
            faults: faults.iter().map(|rule| rule.parse().unwrap()).collect(),
            ..SimulateArgs::default()
        };
        let bound = bind(args).unwrap();
        let root = format!("http://{}", bound.addr());
        let mut serving = JoinSet::new();
        serving.spawn(bound.serve(std::future::pending()));
        Self { root, http: reqwest::Client::new(), _serving: serving }
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> reqwest::Result<reqwest::Response> {
        self.http.request(method, format!("{}{path}", self.root)).bearer_auth("sk-1").json(&body).send().await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let answer = self.send(Method::POST, path, body).await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, Value::Null).await.unwrap().json().await.unwrap()
    }

    async fn submit(&self, prompt: &str) -> Value {
        self.post("/example/jobs/clips", json!({ "prompt": prompt })).await.1
    }

    async fn poll(&self, job: &Value) -> Value {
        self.get(&format!("/example/jobs/clips/{}", job["request"].as_str().unwrap())).await
    }
}

#[tokio::test]
async fn a_queue_vendor_speaks_its_own_words_and_is_seen_apart() {
    let house = House::start(&["create:prompt=[bad]:failed=\"not allowed\""]);
    let made = house.submit("a fox").await;
    let done = house.poll(&made).await;
    assert_eq!(done["state"], "DONE");
    let file = reqwest::get(done["url"].as_str().unwrap()).await.unwrap();
    assert_eq!(infer::get(&file.bytes().await.unwrap()).unwrap().mime_type(), "video/mp4");
    let failed = house.poll(&house.submit("a [bad] fox").await).await;
    assert_eq!((&failed["state"], &failed["error"]), (&json!("ERROR"), &json!("not allowed")));
    let (status, refused) = house.post("/example/jobs/clips", json!({})).await;
    assert_eq!(
        (status, &refused["error"]["message"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("prompt is required"))
    );

    let counts = house.get("/_control/counts").await;
    assert_eq!(counts["replicate"]["creates_received"], 0);
    let counts = &counts["example"];
    let seen = ["creates_received", "creates_effective", "gets", "downloads"].map(|name| counts[name].clone());
    assert_eq!(seen, [json!(3), json!(2), json!(2), json!(1)]);
    let jobs = house.get("/_control/jobs").await;
    let job = &jobs["example"][0];
    assert_eq!((&job["model"], &job["status"]), (&json!("clips"), &json!("succeeded")));
    assert_eq!((&job["path"], &job["body"]), (&json!("/example/jobs/clips"), &json!({ "prompt": "a fox" })));
    assert!(!job.to_string().contains("sk-1"), "{job}");

    house.post("/_control/reset", json!({})).await;
    assert_eq!(house.get("/_control/jobs").await["example"], json!([]));
}

#[tokio::test]
async fn every_fault_of_a_call_works_in_the_vendors_words() {
    let house = House::start(&[
        "get:vendor=replicate:drop",
        "create:vendor=example,prompt=[busy]:status=429,retry_after=3",
        "get:prompt=[id]:no_id",
        "get:prompt=[word]:unknown_status=pondering",
        "get:prompt=[gone]:forgotten",
        "download:prompt=[own]:truncated",
    ]);
    let busy = json!({ "prompt": "a [busy] fox" });
    let busy = house.send(Method::POST, "/example/jobs/clips", busy).await.unwrap();
    assert_eq!((busy.status(), &busy.headers()["retry-after"]), (StatusCode::TOO_MANY_REQUESTS, &"3".parse().unwrap()));
    assert_eq!(busy.json::<Value>().await.unwrap()["error"]["wait"], 3);
    let poll = async |prompt: &str| house.poll(&house.submit(prompt).await).await;
    assert_eq!(poll("fine").await["state"], "DONE");
    assert!(poll("[id]").await.get("request").is_none());
    assert_eq!(poll("[word]").await["state"], "pondering");
    assert!(poll("[gone]").await["error"]["message"].is_string());
    let content = async |prompt: &str| {
        let made = house.submit(prompt).await;
        let path = format!("/example/jobs/clips/{}/content", made["request"].as_str().unwrap());
        house.send(Method::GET, &path, Value::Null).await.unwrap().bytes().await.unwrap()
    };
    let whole = content("fine").await;
    assert_eq!(content("[own]").await, whole[..whole.len() / 2]);
}

#[tokio::test]
async fn held_jobs_are_released_and_cancelled_ones_stop() {
    let house = House::start(&["create:hold"]);
    let (first, second) = (house.submit("one").await, house.submit("two").await);
    let path = format!("/example/jobs/clips/{}", second["request"].as_str().unwrap());
    house.send(Method::DELETE, &path, Value::Null).await.unwrap();
    assert_eq!(house.poll(&first).await["state"], "RUNNING");
    assert_eq!(house.post("/_control/release", json!({ "count": 1 })).await.1["released"], 1);
    assert_eq!(house.poll(&first).await["state"], "DONE");
    assert_eq!(house.poll(&second).await["state"], "STOPPED");
}

#[tokio::test]
async fn recorded_answers_are_played_as_they_were() {
    let house = House::start(&[]);
    let answer = json!({ "status": 422, "headers": { "X-Fal": "1" }, "body": { "detail": [{ "loc": ["body"] }] } });
    let page = json!({ "status": 503, "headers": { "content-type": "text/html" }, "text": "<h1>busy</h1>" });
    let rules = json!([
        { "rule": "create:vendor=example,first=1", "answer": answer },
        { "rule": "create:vendor=example,nth=2", "answer": page, "effect": "after" },
    ]);
    house.post("/_control/faults", json!({ "faults": rules })).await;
    let shown = house.get("/_control/faults").await;
    assert_eq!(shown["faults"][1], rules[1]);

    let submit = async || house.send(Method::POST, "/example/jobs/clips", json!({ "prompt": "a" })).await.unwrap();
    let first = submit().await;
    assert_eq!((first.status().as_u16(), &first.headers()["x-fal"]), (422, &"1".parse().unwrap()));
    assert_eq!(first.json::<Value>().await.unwrap(), answer["body"]);
    let second = submit().await;
    assert_eq!((second.status().as_u16(), &second.headers()["content-type"]), (503, &"text/html".parse().unwrap()));
    assert_eq!(second.text().await.unwrap(), "<h1>busy</h1>");
    assert_eq!(submit().await.status(), StatusCode::OK);
    assert_eq!(house.get("/_control/counts").await["example"]["creates_effective"], 2);
}

#[tokio::test]
async fn a_synchronous_vendor_answers_with_the_output_and_its_faults() {
    let house = House::start(&[
        "create:prompt=[bad]:failed=\"not allowed\"",
        "create:prompt=[large]:size=200000",
        "create:prompt=[lost]:drop,effect=after",
        "download:prompt=[half]:truncated",
        "create:prompt=[held]:hold",
    ]);
    let speak = async |prompt: &str| house.send(Method::POST, "/example/speech", json!({ "prompt": prompt })).await;
    let spoken = speak("fine").await.unwrap();
    assert_eq!(spoken.headers()["content-type"], "audio/mpeg");
    let whole = spoken.bytes().await.unwrap();
    assert_eq!(infer::get(&whole).unwrap().mime_type(), "audio/mpeg");
    assert_eq!(speak("[large]").await.unwrap().bytes().await.unwrap().len(), 200_000);
    assert_eq!(speak("[half]").await.unwrap().bytes().await.unwrap(), whole[..whole.len() / 2]);
    assert_eq!(speak("[bad]").await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert!(speak("[lost]").await.is_err());
    assert_eq!(house.get("/_control/counts").await["example"]["creates_effective"], 5);

    let held = async {
        while house.post("/_control/release", json!({})).await.1["released"] == 0 {
            tokio::task::yield_now().await;
        }
    };
    let (spoken, ()) = tokio::join!(speak("[held]"), held);
    assert_eq!(spoken.unwrap().bytes().await.unwrap(), whole);
    assert!(
        house.post("/example/image", json!({ "prompt": "a" })).await.1["b64"].as_str().unwrap().starts_with("iVBOR")
    );
}

#[tokio::test]
async fn callbacks_are_signed_by_the_vendor_and_forged_on_demand() {
    let (sender, mut calls) = mpsc::channel(10);
    let hook = async move |headers: HeaderMap, body: String| {
        sender.send((headers["x-signature"].to_str().unwrap().to_owned(), body)).await.unwrap();
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, Router::new().route("/hook", post(hook))).await });

    let house = House::start(&["webhook:vendor=example,nth=2:forged", "webhook:nth=3:duplicate"]);
    let mut next = async || timeout(Duration::from_secs(20), calls.recv()).await.expect("a callback comes").unwrap();
    let order = json!({ "prompt": "a", "callback": url });
    for (key, n_copies) in [("right-", 1), ("wrong-", 1), ("right-", 2)] {
        house.post("/example/jobs/clips", order.clone()).await;
        for _ in 0..n_copies {
            let (signature, body) = next().await;
            assert!(signature.starts_with(key), "{signature}");
            assert!(body.contains("DONE"), "{body}");
        }
    }
    assert_eq!(house.get("/_control/counts").await["example"]["webhooks_sent"], 4);
}
