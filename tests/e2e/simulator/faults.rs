//! What goes wrong, as a caller meets it.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::Simulator;

#[tokio::test]
async fn a_lost_answer_leaves_a_job_and_a_lost_request_does_not() {
    let check = async |rule: &str, effective: u64| {
        let simulator = Simulator::start(&[rule]);
        let error = simulator.order("a fox").send().await.unwrap_err();
        assert!(error.is_request(), "{rule}: {error:?}");
        assert_eq!(simulator.count("creates_received").await, 1, "{rule}");
        assert_eq!(simulator.count("creates_effective").await, effective, "{rule}");
    };
    check("create:drop", 0).await;
    check("create:drop,effect=after", 1).await;
}

#[tokio::test]
async fn an_error_status_comes_before_or_after_the_effect() {
    let check = async |rule: &str, status: u16, content_type: &str, effective: u64| {
        let simulator = Simulator::start(&[rule]);
        let answer = simulator.order("a fox").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{rule}");
        assert_eq!(answer.headers()["content-type"], content_type, "{rule}");
        assert_eq!(simulator.count("creates_effective").await, effective, "{rule}");
    };
    check("create:status=500", 500, "application/problem+json", 0).await;
    check("create:status=503,effect=after", 503, "application/problem+json", 1).await;
    check("create:html", 502, "text/html", 0).await;
    check("create:html=504,effect=after", 504, "text/html", 1).await;
    check("create:status=402", 402, "application/problem+json", 0).await;
}

#[tokio::test]
async fn a_throttled_call_names_its_wait_where_the_rule_says() {
    let simulator = Simulator::start(&[
        "create:nth=1:status=429",
        "create:nth=2:status=429,retry_after=1",
        "create:nth=3:status=429,retry_after_body=7",
    ]);
    let wait = async |answer: Response| {
        let header = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        (header, answer.json::<Value>().await.unwrap()["retry_after"].clone())
    };
    let order = async || simulator.order("a fox").send().await.unwrap();
    assert_eq!(wait(order().await).await, (None, Value::Null));
    assert_eq!(wait(order().await).await, (Some("1".to_owned()), json!(1)));
    assert_eq!(wait(order().await).await, (None, json!(7)));
    assert_eq!(order().await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn true_answers_can_be_bent() {
    let simulator = Simulator::start(&[
        "get:prompt=[id]:no_id",
        "get:prompt=[word]:unknown_status=pondering",
        "get:prompt=[more]:extra_fields",
        "get:prompt=[float]:floats",
        "get:prompt=[gone],from=2,per=job:forgotten",
    ]);
    let poll = async |prompt: &str| {
        let body = json!({ "input": { "prompt": prompt, "seed": 7 } });
        let made: Value =
            simulator.post("models/google/veo-3/predictions", &body).send().await.unwrap().json().await.unwrap();
        simulator.get(made["id"].as_str().unwrap()).await
    };
    assert!(poll("[id]").await.get("id").is_none());
    assert_eq!(poll("[word]").await["status"], "pondering");
    assert!(poll("[more]").await["x_experimental"].is_object());
    assert_eq!(poll("[float]").await["input"]["seed"].to_string(), "7.0");
    let known = poll("[gone]").await;
    assert_eq!(known["status"], "succeeded");
    assert_eq!(simulator.get(known["id"].as_str().unwrap()).await["status"], 404);
}

#[tokio::test]
async fn a_malformed_answer_is_no_json_but_the_job_is_made() {
    let simulator = Simulator::start(&["create:malformed"]);
    let text = simulator.order("a fox").send().await.unwrap().text().await.unwrap();
    assert!(text.starts_with('{') && serde_json::from_str::<Value>(&text).is_err(), "{text}");
    assert_eq!(simulator.count("creates_effective").await, 1);
}

#[tokio::test]
async fn jobs_end_as_the_rule_says() {
    let check = async |rule: &str, expected: Value| {
        let simulator = Simulator::start(&[rule]);
        let id = simulator.create("a fox").await["id"].as_str().unwrap().to_owned();
        let found = simulator.get(&id).await;
        let seen = json!([found["status"], found["error"], found["output"].is_null()]);
        assert_eq!(seen, expected, "{rule}");
    };
    check("create:failed=\"flagged as sensitive (E005)\"", json!(["failed", "flagged as sensitive (E005)", true]))
        .await;
    check("create:canceled", json!(["canceled", null, true])).await;
    check("create:aborted", json!(["aborted", null, true])).await;
    check("create:stuck=starting", json!(["starting", null, true])).await;
    check("create:stuck=processing", json!(["processing", null, true])).await;
    check("create:output=null", json!(["succeeded", null, true])).await;
    check("create:output=array", json!(["succeeded", null, false])).await;
}

#[tokio::test]
async fn a_job_can_finish_although_its_cancel_was_accepted() {
    let simulator = Simulator::start(&["create:hold", "create:prompt=[deaf]:uncancellable"]);
    let end = async |prompt: &str| {
        let id = simulator.create(prompt).await["id"].as_str().unwrap().to_owned();
        let cancel = simulator.post(&format!("predictions/{id}/cancel"), &json!({})).send().await.unwrap();
        assert_eq!(cancel.status(), StatusCode::OK);
        simulator.control("release", json!({ "id": id })).await;
        simulator.get(&id).await["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(end("a fox").await, "canceled");
    assert_eq!(end("a [deaf] fox").await, "succeeded");
}

#[tokio::test]
async fn data_is_removed_after_its_retention() {
    let simulator = Simulator::start(&["create:retention=0s"]);
    let made = simulator.create("a fox").await;
    let found = simulator.get(made["id"].as_str().unwrap()).await;
    assert_eq!((&found["status"], &found["data_removed"]), (&json!("succeeded"), &json!(true)));
    assert_eq!((&found["input"], &found["output"], &found["logs"]), (&json!({}), &Value::Null, &json!("")));
}

#[tokio::test]
async fn an_expired_link_is_replaced_by_a_later_poll() {
    let simulator = Simulator::start(&["create:expires=1,status=404"]);
    let id = simulator.create("a fox").await["id"].as_str().unwrap().to_owned();
    let link = async || simulator.get(&id).await["output"].as_str().unwrap().to_owned();
    let fetch = async |link: &str| simulator.http.get(link).send().await.unwrap().status().as_u16();
    let first = link().await;
    assert_eq!(fetch(&first).await, 200);
    assert_eq!(link().await, first, "a link that works is not replaced");
    assert_eq!(fetch(&first).await, 404);
    let second = link().await;
    assert_ne!(second, first);
    assert_eq!(fetch(&second).await, 200);
    assert_eq!(fetch(&second).await, 200);
    assert_eq!(fetch(&first).await, 404);
}

#[tokio::test]
async fn files_can_be_spoilt_in_every_way() {
    let simulator = Simulator::start(&[
        "download:prompt=[empty]:empty",
        "download:prompt=[half]:truncated",
        "download:prompt=[page]:page",
        "download:prompt=[length]:wrong_length",
        "download:prompt=[refused]:status=403",
        "create:prompt=[webm]:output=webm",
        "create:prompt=[large]:size=3000000",
    ]);
    let fetch = async |prompt: &str| {
        let id = simulator.create(prompt).await["id"].as_str().unwrap().to_owned();
        let link = simulator.get(&id).await["output"].as_str().unwrap().to_owned();
        let answer = simulator.http.get(link).send().await.unwrap();
        (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap().to_owned(), answer.bytes().await)
    };
    let whole = fetch("fine").await.2.unwrap();
    assert_eq!(fetch("[empty]").await.2.unwrap().len(), 0);
    assert_eq!(fetch("[half]").await.2.unwrap(), whole[..whole.len() / 2]);
    let (status, media_type, bytes) = fetch("[page]").await;
    assert_eq!((status, media_type.as_str()), (200, "text/html"));
    assert!(bytes.unwrap().starts_with(b"<html>"));
    assert!(fetch("[length]").await.2.is_err());
    assert_eq!(fetch("[refused]").await.0, 403);
    let (_, media_type, bytes) = fetch("[webm]").await;
    assert_eq!(media_type, "video/webm");
    assert_eq!(infer::get(&bytes.unwrap()).unwrap().mime_type(), "video/webm");
    let large = fetch("[large]").await.2.unwrap();
    assert_eq!(large.len(), 3_000_000);
    assert_eq!(large[..whole.len()], whole);
}

#[tokio::test]
async fn a_recorded_answer_is_played_for_one_vendor() {
    let simulator = Simulator::start(&[]);
    let recorded = json!({ "status": 422, "headers": { "x-trace": "7" }, "body": { "detail": "as recorded" } });
    let rule = json!({ "rule": "create:vendor=replicate,first=1", "answer": recorded });
    simulator.control("faults", json!({ "faults": [rule, "create:nth=2:html"] })).await;
    let played = simulator.order("a fox").send().await.unwrap();
    assert_eq!((played.status().as_u16(), &played.headers()["x-trace"]), (422, &"7".parse().unwrap()));
    assert_eq!(played.json::<Value>().await.unwrap(), recorded["body"]);
    assert_eq!(simulator.order("a fox").send().await.unwrap().status(), StatusCode::BAD_GATEWAY);
    assert_eq!(simulator.create("a fox").await["status"], "starting");
    assert_eq!(simulator.count("creates_effective").await, 1);
}
