//! What no official client sends, or does not let its user see: forms of bodies, files, headers, and rubbish.

use reqwest::{
    Client as Http, Method, RequestBuilder, Response, StatusCode,
    multipart::{Form, Part},
};
use serde_json::{Value, json};
use sha2::Digest as _;
use tokio::time::{sleep, timeout};

use super::{SOON, Server, Setup, Simulator, base_url, setup};

const STILL: &[u8] = include_bytes!("../../../src/simulator/still.png");

/// A server with its vendor.
struct World {
    simulator: Simulator,
    server: Server,
    http: Http,
}

impl World {
    async fn start() -> Self {
        Self::with(|setup| setup).await
    }

    async fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let simulator = Simulator::start(&[]);
        let server = change(setup(&simulator)).start().await;
        Self { simulator, server, http: Http::new() }
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", base_url(&self.server)))
    }

    async fn create(&self, body: Value) -> Value {
        let (status, video) = told(self.call(Method::POST, "/videos").json(&body)).await;
        assert_eq!(status, StatusCode::OK, "{video}");
        video
    }

    /// The video at its end.
    async fn ended(&self, video: &Value) -> Value {
        let path = format!("/videos/{}", video["id"].as_str().unwrap());
        let end = async {
            loop {
                let (_, video) = told(self.call(Method::GET, &path)).await;
                if !["queued", "in_progress"].contains(&video["status"].as_str().unwrap()) {
                    return video;
                }
                sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, end).await.expect("it ends")
    }

    /// The last picture that the vendor was sent: its bytes.
    async fn picture(&self) -> Value {
        self.simulator.jobs("openai").await.last().unwrap()["body"]["input_reference"]["size"].clone()
    }
}

/// The answer, which has an id like every one.
async fn sent(request: RequestBuilder) -> Response {
    let answer = timeout(SOON, request.send()).await.expect("an answer in time").unwrap();
    assert!(answer.headers().get("x-request-id").is_some_and(|id| !id.is_empty()), "{answer:?}");
    answer
}

async fn told(request: RequestBuilder) -> (StatusCode, Value) {
    let answer = sent(request).await;
    (answer.status(), answer.json().await.expect("JSON"))
}

/// The refusal of a call: status, code, param. It has OpenAI's four keys and no others.
async fn refused(request: RequestBuilder) -> (u16, String, Option<String>) {
    let (status, body) = told(request).await;
    let error = body["error"].as_object().unwrap_or_else(|| panic!("{status} {body}"));
    let mut keys: Vec<&str> = error.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["code", "message", "param", "type"], "{body}");
    assert!(!error["message"].as_str().unwrap().is_empty(), "{body}");
    let text = |key: &str| error[key].as_str().map(str::to_owned);
    (status.as_u16(), text("code").unwrap_or_default(), text("param"))
}

fn is(told: &(u16, String, Option<String>), status: u16, code: &str) {
    assert_eq!((told.0, told.1.as_str()), (status, code), "{told:?}");
}

#[tokio::test]
async fn a_call_that_is_not_served_is_told_what_is() {
    let world = World::start().await;
    // The Responses API is what some clients choose by themselves.
    for path in ["/responses", "/responses/resp_1/cancel", "/embeddings", "/images/variations"] {
        let (status, body) = told(world.call(Method::POST, path).json(&json!({ "model": "x", "input": "hi" }))).await;
        assert_eq!((status, &body["error"]["code"]), (StatusCode::NOT_FOUND, &json!("unknown_url")), "{body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("POST /v1{path}.")) && message.contains("/v1/chat/completions,"),
            "{message}"
        );
        assert_eq!(message.contains("Chat Completions"), path.starts_with("/responses"), "{message}");
    }
}

#[tokio::test]
async fn every_refusal_has_the_same_four_keys() {
    let world = World::start().await;
    for path in ["", "/", "/x", "/videos/", "/videos/a/b", "/chat", "/videos/%ff"] {
        let told = refused(world.call(Method::GET, path)).await;
        assert_eq!(told.0, 404, "{path}: {told:?}");
    }
    for (method, path) in [
        (Method::PUT, "/videos"),
        (Method::POST, "/models"),
        (Method::PATCH, "/videos/x"),
        (Method::GET, "/videos/x/remix"),
    ] {
        let answer = sent(world.call(method, path)).await;
        assert!(answer.headers().contains_key("allow"), "{path}");
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "method_not_allowed");
    }
    let post = || world.call(Method::POST, "/videos");
    is(&refused(post().header("content-type", "text/plain").body("x")).await, 415, "unsupported_media_type");
    let gzip = post().header("content-encoding", "gzip").header("content-type", "application/json").body("x");
    is(&refused(gzip).await, 415, "encoding_unsupported");
    is(
        &refused(post().header("content-type", "application/json").body(vec![b' '; 33 << 20])).await,
        413,
        "request_too_large",
    );
    for body in [&b"{\"prompt\": \"\xff\"}"[..], b"{", b"", b"[1]", b"{\"prompt\": \"x\"} x"] {
        let told = refused(post().header("content-type", "application/json").body(body.to_vec())).await;
        assert_eq!(told.0, 400, "{told:?}");
    }
    is(&refused(post().header("content-type", "multipart/form-data").body("x")).await, 400, "invalid_form");
    let cut = "--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na fo";
    is(&refused(post().header("content-type", "multipart/form-data; boundary=b").body(cut)).await, 400, "invalid_form");
    let bad = Form::new().part("prompt", Part::bytes(b"\xff\xfe".to_vec()));
    assert_eq!(refused(post().multipart(bad)).await.2.as_deref(), Some("prompt"));
    let long = Form::new().part("prompt", Part::bytes(vec![b'a'; 33 << 20]));
    is(&refused(post().multipart(long)).await, 413, "request_too_large");
    for key in ["", &"k".repeat(129), "\u{e4}"] {
        let keyed = post().header("idempotency-key", key).json(&json!({ "prompt": "x" }));
        assert_eq!(refused(keyed).await.2.as_deref(), Some("Idempotency-Key"));
    }
    let tenant = world.call(Method::GET, "/models").header("x-filmgate-tenant", "../x");
    assert_eq!(refused(tenant).await.2.as_deref(), Some("x-filmgate-tenant"));
}

#[tokio::test]
async fn what_is_said_twice_or_far_too_often_is_refused_by_every_call_that_reads_json() {
    let world = World::start().await;
    let twice = r#""x": {"b": [{"c": 1, "c": 2}]}"#;
    let zeros = format!(r#""x": [{}0]"#, "0,".repeat(8 << 20));
    let deep = format!(r#""x": {}{}"#, "[".repeat(100_000), "]".repeat(100_000));
    for path in ["/videos", "/images/generations", "/images/edits", "/audio/speech", "/chat/completions"] {
        for (what, code, param) in
            [(twice, "invalid_value", Some("x.b[0].c")), (&zeros, "invalid_json", None), (&deep, "invalid_json", None)]
        {
            let body = format!(r#"{{"prompt": "a", "messages": [{{"role": "user", "content": "a"}}], {what}}}"#);
            let call = world.call(Method::POST, path).header("content-type", "application/json").body(body);
            let told = refused(call).await;
            is(&told, 400, code);
            assert_eq!(told.2.as_deref(), param, "{path}");
        }
    }
    assert_eq!(world.simulator.jobs("openai").await.len(), 0);
}

#[tokio::test]
async fn the_head_of_a_part_may_not_be_endless() {
    let world = World::start().await;
    let mut body = b"--b\r\nContent-Disposition: form-data; name=\"".to_vec();
    body.resize(20 << 20, b'a');
    let call = world.call(Method::POST, "/videos").header("content-type", "multipart/form-data; boundary=b").body(body);
    // It may hear of it, or find the wire closed while it still talks.
    match timeout(SOON, call.send()).await.expect("an end in time") {
        Ok(answer) => assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE),
        Err(error) => assert!(error.is_request() || error.is_body(), "{error:?}"),
    }
    assert_eq!(told(world.call(Method::GET, "/models")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_picture_may_come_in_every_form() {
    let world = World::start().await;
    let data_url = {
        use base64::Engine as _;
        format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(STILL))
    };
    let form = |prompt: &'static str| Form::new().text("prompt", prompt).text("model", "sora-2");
    let file = || Part::bytes(STILL.to_vec()).file_name("a.png").mime_str("image/png").unwrap();
    let post = || world.call(Method::POST, "/videos");
    let (_, first) = told(post().multipart(form("one").part("input_reference", file()))).await;
    assert_eq!(world.ended(&first).await["status"], "completed", "{first}");
    assert_eq!(world.picture().await, STILL.len());

    let flattened = form("two").text("input_reference[image_url]", data_url.clone());
    let (_, second) = told(post().multipart(flattened)).await;
    assert_eq!(world.ended(&second).await["status"], "completed", "{second}");
    let third = world.create(json!({ "prompt": "three", "input_reference": { "image_url": data_url } })).await;
    assert_eq!(world.ended(&third).await["status"], "completed", "{third}");
    // Bytes that came with an order are an artifact that the next one can name.
    let hash = hex::encode(sha2::Sha256::digest(STILL));
    for id in [format!("input-{}", &hash[..32]), format!("artifacts/input-{}", &hash[..32])] {
        let named = json!({ "prompt": format!("by {id}"), "input_reference": { "file_id": id } });
        let video = world.create(named).await;
        assert_eq!(world.ended(&video).await["status"], "completed", "{video}");
        assert_eq!(world.picture().await, STILL.len());
    }
    for id in ["artifacts/none", "none"] {
        let named = json!({ "prompt": "four", "input_reference": { "file_id": id } });
        let told = refused(post().json(&named)).await;
        assert_eq!((told.0, told.2.as_deref()), (400, Some("input_reference")), "{told:?}");
    }
    for (reference, param) in [
        (json!({}), "input_reference"),
        (json!({ "image_url": "https://a.example/b.png", "file_id": "x" }), "input_reference"),
        (json!({ "image_url": 5 }), "input_reference.image_url"),
        (json!({ "colour": "x" }), "input_reference.colour"),
        (json!(5), "input_reference"),
        (json!({ "image_url": "http://127.0.0.1/x.png" }), "input_reference"),
        (json!({ "image_url": "data:image/png;base64,AAAA" }), "input_reference"),
    ] {
        let told = refused(post().json(&json!({ "prompt": "five", "input_reference": reference }))).await;
        assert_eq!((told.0, told.2.as_deref()), (400, Some(param)), "{reference}: {told:?}");
    }
}

#[tokio::test]
async fn a_long_picture_is_stored_while_it_comes_and_is_the_same_the_next_time() {
    let world = World::start().await;
    // What follows the last chunk of a PNG is nobody's.
    let mut long = STILL.to_vec();
    long.resize(5 << 20, 0);
    let order = || {
        let file = Part::bytes(long.clone()).file_name("a.png").mime_str("image/png").unwrap();
        let form = Form::new().part("input_reference", file).text("prompt", "a long one").text("model", "sora-2");
        world.call(Method::POST, "/videos").header("idempotency-key", "k").multipart(form)
    };
    let (status, first) = told(order()).await;
    assert_eq!(status, StatusCode::OK, "{first}");
    assert_eq!(world.ended(&first).await["status"], "completed");
    assert_eq!(world.picture().await, 5 << 20);
    assert_eq!(told(order()).await.1["id"], first["id"]);

    let file = Part::bytes(vec![0; 5 << 20]).file_name("a.png").mime_str("image/png").unwrap();
    let rubbish = Form::new().part("input_reference", file).text("prompt", "rubbish");
    let told = refused(world.call(Method::POST, "/videos").multipart(rubbish)).await;
    assert_eq!((told.0, told.2.as_deref()), (400, Some("input_reference")), "{told:?}");
    let file = Part::bytes(vec![0; 51 << 20]).file_name("a.png").mime_str("image/png").unwrap();
    let huge = Form::new().part("input_reference", file).text("prompt", "huge");
    is(&refused(world.call(Method::POST, "/videos").multipart(huge)).await, 413, "request_too_large");
}

#[tokio::test]
async fn only_videos_are_found_here_and_only_by_their_tenant() {
    let world = World::start().await;
    let video = world.create(json!({ "prompt": "a fox" })).await;
    let path = format!("/videos/{}", video["id"].as_str().unwrap());
    let stranger = world.call(Method::GET, &path).header("x-filmgate-tenant", "stranger");
    is(&refused(stranger).await, 404, "video_not_found");
    let (_, listed) = told(world.call(Method::GET, "/videos").header("x-filmgate-tenant", "stranger")).await;
    assert_eq!(listed, json!({ "object": "list", "data": [], "first_id": null, "last_id": null, "has_more": false }));

    let request = filmgate::pb::v1::GenerateImageRequest {
        prompt: "a still".to_owned(),
        model: "sample/image".to_owned(),
        ..Default::default()
    };
    let mut stream = world.server.generations().await.generate_image(request).await.unwrap().into_inner();
    let image = stream.message().await.unwrap().unwrap().generation.unwrap().name;
    let id = image.strip_prefix("generations/").unwrap().replace('-', "");
    is(&refused(world.call(Method::GET, &format!("/videos/video_{id}"))).await, 404, "video_not_found");
    let (_, listed) = told(world.call(Method::GET, "/videos")).await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test]
async fn content_has_ranges_validators_and_tells_a_stand_in() {
    let world = World::start().await;
    let video = world.create(json!({ "prompt": "a fox", "model": "sample/video" })).await;
    world.ended(&video).await;
    let path = format!("/videos/{}/content", video["id"].as_str().unwrap());
    let whole = sent(world.call(Method::GET, &path)).await;
    let header = |answer: &Response, name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let tag = header(&whole, "etag");
    assert_eq!(header(&whole, "x-filmgate-sample"), "true");
    let n_bytes = whole.bytes().await.unwrap().len();
    let head = sent(world.call(Method::HEAD, &path)).await;
    assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, n_bytes.to_string()));
    let same = sent(world.call(Method::GET, &path).header("if-none-match", tag)).await;
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    let beyond = sent(world.call(Method::GET, &path).header("range", "bytes=99999999-")).await;
    assert_eq!(header(&beyond, "content-range"), format!("bytes */{n_bytes}"));
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let body: Value = beyond.json().await.unwrap();
    assert_eq!(body["error"]["code"], "range_not_satisfiable");
}

#[tokio::test]
async fn another_video_is_the_start_of_a_remix_an_edit_and_an_extension() {
    let world = World::start().await;
    let first = world.create(json!({ "prompt": "a fox", "model": "sample/video" })).await;
    let id = first["id"].as_str().unwrap();
    world.ended(&first).await;
    let remix = world.call(Method::POST, &format!("/videos/{id}/remix")).json(&json!({ "prompt": "at night" }));
    let edit = Form::new().text("prompt", "at noon").text("video[id]", id.to_owned());
    let edit = world.call(Method::POST, "/videos/edits").multipart(edit);
    let extend = json!({ "prompt": "it goes on", "seconds": "8", "video": { "id": id } });
    let extend = world.call(Method::POST, "/videos/extensions").json(&extend);
    for call in [remix, edit, extend] {
        let (status, video) = told(call).await;
        assert_eq!((status, &video["remixed_from_video_id"]), (StatusCode::OK, &first["id"]), "{video}");
        assert_eq!(video["model"], "sample/video");
    }
    let post = |path: &str, body: Value| world.call(Method::POST, path).json(&body);
    let told = refused(post("/videos/edits", json!({ "prompt": "x" }))).await;
    assert_eq!((told.0, told.2.as_deref()), (400, Some("video")), "{told:?}");
    let unknown = json!({ "prompt": "x", "video": { "id": "video_none" } });
    is(&refused(post("/videos/edits", unknown)).await, 404, "video_not_found");
}

#[tokio::test]
async fn models_are_found_by_ids_with_slashes_in_either_form() {
    let world = World::start().await;
    for path in ["/models/openai/sora-2", "/models/openai%2Fsora-2", "/models/sora-2"] {
        let (status, model) = told(world.call(Method::GET, path)).await;
        let sora = json!({ "id": "openai/sora-2", "object": "model", "created": 0, "owned_by": "openai", "shutdown_date": "2026-09-24" });
        assert_eq!((status, model), (StatusCode::OK, sora), "{path}");
    }
    for path in ["/models/openai/none", "/models/%ff", "/models/a%2F%2Fb", "/models/fal/fal-ai/flux/schnell"] {
        is(&refused(world.call(Method::GET, path)).await, 404, "model_not_found");
    }
}
