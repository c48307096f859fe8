//! `POST /v1/images/edits`.

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{PHOTO, STILL, at, base64, bytes_of, made, refused, sent, setup};
use crate::{simulator::Simulator, support::server::Server};

const PATH: &str = "/images/edits";

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn file(bytes: impl Into<Vec<u8>>, name: &'static str, media_type: &str) -> Part {
    Part::bytes(bytes.into()).file_name(name).mime_str(media_type).unwrap()
}

async fn edited(server: &Server, form: Form) -> Value {
    let answer = sent(at(server, PATH).multipart(form)).await;
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{status} {text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn one_image_of_a_form_is_changed() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let form = Form::new()
        .text("prompt", "at night")
        .text("model", "gpt-image-2")
        .text("n", "2")
        .text("size", "1024x1024")
        .part("image", file(PHOTO, "a.jpg", "image/jpeg"));
    let page = edited(&server, form).await;
    assert_eq!(page["data"].as_array().unwrap().len(), 2);
    assert_eq!(bytes_of(&page["data"][0]["b64_json"]), STILL);
    let job = &simulator.jobs("openai").await[0];
    assert_eq!((&job["path"], &job["body"]["n"]), (&json!("/images/edits"), &json!("2")));
    assert_eq!(job["body"]["image"]["sha256"], sha256(PHOTO));
}

#[tokio::test]
async fn several_images_and_a_mask_keep_their_order_and_parts() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let form = Form::new()
        .text("prompt", "together")
        .text("model", "gpt-image-2")
        .part("image[]", file(PHOTO, "a.jpg", "image/jpeg"))
        .part("image[]", file(STILL, "b.png", "image/png"))
        .part("mask", file(STILL, "m.png", "image/png"));
    edited(&server, form).await;
    let body = &simulator.jobs("openai").await[0]["body"];
    assert_eq!(body["image[]"][0]["sha256"], sha256(PHOTO));
    assert_eq!(body["image[]"][1]["sha256"], sha256(STILL));
    assert_eq!(body["mask"]["sha256"], sha256(STILL));
}

#[tokio::test]
async fn an_image_can_be_named_in_every_way() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let body = json!({ "model": "gpt-image-2", "prompt": "a fox", "response_format": "url" });
    let first = made(&server, "/images/generations", &body).await;
    let url = first["data"][0]["url"].as_str().unwrap();
    let id = url.split_once("/artifacts/").unwrap().1.split_once('?').unwrap().0;
    let data = format!("data:image/png;base64,{}", base64(STILL));
    for (index, named) in [
        json!({ "images": [{ "image_url": data }] }),
        json!({ "images": [{ "file_id": id }] }),
        json!({ "images": [{ "file_id": format!("artifacts/{id}") }] }),
        json!({ "image": data }),
        json!({ "image": base64(STILL) }),
        json!({ "image": format!("artifacts/{id}") }),
        json!({ "image": [id] }),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = json!({ "model": "gpt-image-2", "prompt": format!("at night {index}") });
        body.as_object_mut().unwrap().extend(named.as_object().unwrap().clone());
        made(&server, PATH, &body).await;
        let job = simulator.jobs("openai").await.pop().unwrap();
        assert_eq!(job["body"]["image"]["sha256"], sha256(STILL), "{index}");
    }
}

/// A picture of more bytes than are kept in memory: what comes after its end is not looked at.
fn long_picture() -> Vec<u8> {
    let mut bytes = PHOTO.to_vec();
    bytes.resize(5 << 20, 0);
    bytes
}

#[tokio::test]
async fn long_images_are_stored_on_their_way_in() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let long = long_picture();
    let form = Form::new()
        .text("prompt", "at night")
        .text("model", "gpt-image-2")
        .part("image", file(long.clone(), "a.jpg", "image/jpeg"));
    edited(&server, form).await;
    let body = json!({ "model": "gpt-image-2", "prompt": "at day", "image": base64(&long) });
    made(&server, PATH, &body).await;
    let data = format!("data:image/jpeg;base64,{}", base64(&long));
    let body = json!({ "model": "gpt-image-2", "prompt": "at dawn", "images": [{ "image_url": data }] });
    made(&server, PATH, &body).await;
    let jobs = simulator.jobs("openai").await;
    assert!(jobs.iter().all(|job| job["body"]["image"]["sha256"] == sha256(&long)), "{}", jobs.len());
    assert_eq!(jobs.len(), 3);
}

#[tokio::test]
async fn what_is_no_image_is_refused_by_its_name() {
    let simulator = Simulator::start(&[]);
    let server = setup(&simulator).start().await;
    let still = base64(STILL);
    for (change, param) in [
        (json!({}), "image"),
        (json!({ "image": [] }), "image"),
        (json!({ "image": 3 }), "image"),
        (json!({ "image": "C:\\cat.png" }), "image"),
        (json!({ "image": "http://127.0.0.1/cat.png" }), "image"),
        (json!({ "image": "artifacts/none-0" }), "image"),
        (json!({ "image": vec![&still; 17] }), "image"),
        (json!({ "image": &still, "mask": [&still, &still] }), "mask"),
        (json!({ "image": &still, "mask": "nothing" }), "mask"),
        (json!({ "image": &still, "mask": base64(PHOTO) }), "mask"),
        (json!({ "image": { "image_url": &still, "file_id": "x" } }), "image"),
        (json!({ "model": "dall-e-3", "image": &still }), "image"),
    ] {
        let mut body = json!({ "model": "gpt-image-2", "prompt": "at night" });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, _, error) = refused(sent(at(&server, PATH).json(&body)).await).await;
        let shown: String = change.to_string().chars().take(80).collect();
        assert_eq!((status, &error["param"]), (400, &json!(param)), "{shown} {error}");
    }
    assert_eq!(simulator.counted("openai", "creates_received").await, 0);
}
