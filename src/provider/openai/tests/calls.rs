use std::sync::Mutex;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::{
    domain::{
        failure::Charged,
        money::MicroUsd,
        names::SubmitKey,
        order::{InputRole, OptionName, OptionValue},
    },
    provider::{
        error::{Effect, ErrorKind},
        port::{CancelOutcome, Found, InputFile, OrderInput, Provider, Status, Submitted},
        tests::failures,
    },
};

const CLIP: &[u8] = b"the bytes of a clip";

/// A server in small: a job waits, works, and is done at the third question; deleting stops it.
async fn little_server() -> Server {
    let jobs: Mutex<Vec<(usize, bool)>> = Mutex::default();
    Server::start(move |asked: &Asked| {
        let mut jobs = jobs.lock().unwrap();
        let job = |id: usize, status: &str, progress: usize| {
            let mut job = video(status);
            (job["id"], job["progress"]) = (json!(format!("video_{id}")), json!(progress));
            Reply::json(200, &job)
        };
        if asked.line == "POST /v1/videos" {
            jobs.push((0, false));
            return job(jobs.len() - 1, "queued", 0);
        }
        if asked.line.starts_with("GET /v1/videos?") {
            return Reply::json(200, &json!({"object": "list", "data": [], "has_more": false}));
        }
        let (_, rest) = asked.line.split_once("/v1/videos/video_").unwrap_or_default();
        let (id, is_content) = rest.strip_suffix("/content").map_or((rest, false), |id| (id, true));
        let Some(known) = id.parse::<usize>().ok().and_then(|id| jobs.get_mut(id)) else {
            return Reply::json(404, &json!({"error": {"message": "Video not found", "type": "invalid_request_error", "param": null, "code": null}}));
        };
        let id = id.parse().unwrap();
        if is_content {
            return Reply::new(200, CLIP).with("content-type", "video/mp4");
        }
        if asked.line.starts_with("DELETE ") {
            known.1 = true;
            return Reply::json(200, &json!({"id": format!("video_{id}"), "object": "video.deleted", "deleted": true}));
        }
        known.0 += 1;
        match known {
            (_, true) => job(id, "cancelled", 50),
            (1, _) => job(id, "queued", 0),
            (2, _) => job(id, "in_progress", 50),
            _ => job(id, "completed", 100),
        }
    })
    .await
}

#[tokio::test]
async fn it_keeps_the_contract_of_every_adapter() {
    let server = little_server().await;
    let openai = openai(&server.base);
    let order = contract::order(&openai, Kind::Video);
    contract::makes_the_bytes(&openai, &order, CLIP).await;
    contract::stops(&openai, &order).await;
    contract::knows_no_foreign_job(&openai).await;
    contract::finds_only_its_own(&openai, &order).await;
    contract::keeps_its_secret(&openai, &order, KEY).await;
}

#[tokio::test]
async fn every_failure_on_file_means_what_it_says() {
    let n = failures::mean_what_they_say(OPENAI, openai, |_| None).await;
    assert!(n >= 10, "{n}");
}

fn picture(role: InputRole, data: &'static [u8]) -> OrderInput {
    OrderInput { role, file: InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::from_static(data) } }
}

#[tokio::test]
async fn a_video_is_ordered_by_a_form_as_openais_clients_write_it() {
    let server = Server::always(Reply::json(200, &video("queued"))).await;
    let openai = openai(&server.base);
    let mut order = order(&openai, "sora-2");
    order.options.insert(OptionName::Duration, OptionValue::Int(8));
    order.options.insert(OptionName::Width, OptionValue::Int(1280));
    order.options.insert(OptionName::Height, OptionValue::Int(720));
    order.provider_options.insert("provider".to_owned(), json!({"x": 1, "list": ["a", "b"], "no": null, "yes": true}));
    order.inputs = vec![picture(InputRole::FirstFrame, b"the picture")];
    let key = SubmitKey::fresh();
    assert!(matches!(openai.submit(&order, &key).await.unwrap(), Submitted::Pending(ticket) if ticket.job == JOB));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /v1/videos");
    assert_eq!(asked.authorization.as_deref(), Some(&*format!("Bearer {KEY}")));
    let check = |name: &str, expected: Option<&str>| assert_eq!(text(asked, name).as_deref(), expected, "{name}");
    check("prompt", Some("a fox in the snow"));
    check("model", Some("sora-2"));
    check("seconds", Some("8"));
    check("size", Some("1280x720"));
    check("provider[x]", Some("1"));
    check("provider[yes]", Some("true"));
    check("provider[no]", None);
    check("provider[list][]", Some("a"));
    check("input_reference", Some("the picture"));
    let head = part(asked, "input_reference").unwrap().to_lowercase();
    assert!(head.contains("filename=\"input.png\"") && head.contains("content-type: image/png"), "{head}");
    // Bare, as the clients write it: some servers take a part with a type for a file.
    assert!(!part(asked, "seconds").unwrap().to_lowercase().contains("content-type"));
}

#[tokio::test]
async fn a_setting_or_a_card_has_videos_ordered_by_json() {
    let server = Server::always(Reply::json(200, &video("queued"))).await;
    let check = async |writing: Writing, of_card: Option<&str>, with_file: bool, is_json: bool| {
        let openai = OpenAi::new(OpenAiSettings { writing, ..settings(&server.base) }).unwrap();
        let mut order = order(&openai, "sora-2");
        let card = std::sync::Arc::make_mut(order.card.as_mut().unwrap());
        card.adapter.extend(of_card.map(|form| ("body".to_owned(), form.into())));
        order.options.insert(OptionName::Duration, OptionValue::Int(4));
        order.inputs = if with_file { vec![picture(InputRole::FirstFrame, b"abc")] } else { Vec::new() };
        openai.submit(&order, &SubmitKey::fresh()).await.unwrap();
        let asked = server.asked().pop().unwrap();
        assert_eq!(asked.content_type == "application/json", is_json, "{writing:?} {of_card:?} {with_file}");
        is_json.then(|| asked.json())
    };
    check(Writing::Multipart, None, false, false).await;
    check(Writing::Mixed, None, true, false).await;
    check(Writing::Json, Some("multipart"), false, false).await;
    check(Writing::Multipart, Some("json"), false, true).await;
    let plain = json!({"prompt": "a fox in the snow", "model": "sora-2", "seconds": "4"});
    assert_eq!(check(Writing::Mixed, None, false, true).await, Some(plain));
    let body = check(Writing::Json, None, true, true).await.unwrap();
    assert_eq!(body["input_reference"], json!({"image_url": "data:image/png;base64,YWJj"}));
}

#[tokio::test]
async fn what_an_aggregator_sells_is_ordered_in_its_words() {
    let server = Server::always(Reply::json(200, &json!({"id": "veo:1/2", "status": "pending"}))).await;
    let openai = openai(&server.base);
    let mut order = order(&openai, "veo3");
    order.options.insert(OptionName::Duration, OptionValue::Int(8));
    let ticket = contract::accepted(&openai, &order).await;
    let asked = &server.asked()[0];
    assert_eq!((text(asked, "watermark").as_deref(), text(asked, "seconds").as_deref()), (Some("false"), Some("8")));
    openai.poll(&ticket).await.unwrap();
    // An id is no path, whatever is in it.
    assert_eq!(server.lines()[1], "GET /v1/videos/veo:1%2F2");
}

#[tokio::test]
async fn a_server_of_ones_own_needs_no_key_and_no_card() {
    let server = Server::always(Reply::json(200, &json!({"id": "v", "status": "queued"}))).await;
    let openai = OpenAi::new(OpenAiSettings { key: SecretString::default(), ..settings(&server.base) }).unwrap();
    let mut order = order(&openai, "Wan-AI/Wan2.2-T2V-A14B-Diffusers");
    order.provider_options.insert("num_frames".to_owned(), json!(33));
    contract::accepted(&openai, &order).await;
    let asked = &server.asked()[0];
    assert_eq!(asked.authorization, None);
    assert_eq!(text(asked, "num_frames").as_deref(), Some("33"));
    assert_eq!(text(asked, "model").as_deref(), Some("Wan-AI/Wan2.2-T2V-A14B-Diffusers"));
    order.options.insert(OptionName::Seed, OptionValue::Int(1));
    let error = openai.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::InvalidOrder, Effect::None));
}

#[tokio::test]
async fn what_litellm_charged_is_remembered_until_the_job_is_done() {
    let server = Server::start(|asked| match asked.line.starts_with("POST") {
        true => Reply::json(200, &video("queued")).with("x-litellm-response-cost", "0.4"),
        false => Reply::json(200, &video("completed")).with("x-litellm-response-cost", "0.0"),
    })
    .await;
    let openai = openai(&server.base);
    let ticket = contract::accepted(&openai, &order(&openai, "sora-2")).await;
    let progress = openai.poll(&ticket).await.unwrap();
    assert_eq!(progress.usage.charged, Some(MicroUsd(400_000)));
    assert_eq!((progress.usage.output_seconds, progress.usage.outputs), (Some(4.0), Some(1)));
}

#[tokio::test]
async fn a_job_that_cannot_be_deleted_goes_on_and_a_finished_one_is_left_alone() {
    let check = async |status: &'static str, answer: u16, expected: CancelOutcome, n_calls: usize| {
        let server = Server::start(move |asked| match asked.line.starts_with("DELETE") {
            true => Reply::json(answer, &json!({"detail": "Method Not Allowed"})),
            false => Reply::json(200, &video(status)),
        })
        .await;
        assert_eq!(openai(&server.base).cancel(&ticket()).await.unwrap(), expected, "{status} {answer}");
        assert_eq!(server.lines().len(), n_calls);
    };
    check("queued", 200, CancelOutcome::Stopped(Charged::Unknown), 2).await;
    check("in_progress", 405, CancelOutcome::Unsupported, 2).await;
    check("in_progress", 409, CancelOutcome::Unsupported, 2).await;
    check("completed", 200, CancelOutcome::TooLate, 1).await;
    check("failed", 200, CancelOutcome::TooLate, 1).await;
    check("deleted", 200, CancelOutcome::Stopped(Charged::Unknown), 1).await;
}

#[tokio::test]
async fn a_lost_video_is_looked_for_by_what_it_was_ordered_as() {
    let sent_at = Timestamp::from_second(1_700_000_000).unwrap();
    let job = |id: &str, change: Value| {
        let mut job = video("queued");
        job["id"] = json!(id);
        job.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        job
    };
    let first = json!({"object": "list", "has_more": true, "last_id": "wordless", "data": [
        job("ours", json!({})), job("later", json!({"created_at": 1_700_000_009})),
        job("other_prompt", json!({"prompt": "a hare"})), job("other_model", json!({"model": "sora-2-pro"})),
        job("other_size", json!({"size": "1280x720"})), job("other_length", json!({"seconds": 12})),
        job("earlier", json!({"created_at": 1_699_999_990})), job("wordless", json!({"prompt": null})),
    ]});
    let second =
        json!({"object": "list", "has_more": true, "data": [job("long_ago", json!({"created_at": 1_600_000_000}))]});
    let server = Server::start(move |asked| {
        Reply::json(200, if asked.line.contains("after=wordless") { &second } else { &first })
    })
    .await;
    let openai = openai(&server.base);
    let mut order = order(&openai, "sora-2");
    order.options.insert(OptionName::Duration, OptionValue::Int(4));
    order.options.insert(OptionName::Width, OptionValue::Int(720));
    order.options.insert(OptionName::Height, OptionValue::Int(1280));
    let Found::Candidates(jobs) = openai.find(&order, &SubmitKey::fresh(), sent_at).await.unwrap() else {
        panic!("it has a list");
    };
    let found: Vec<(&str, bool)> = jobs.iter().map(|job| (job.ticket.job.as_str(), job.exact)).collect();
    assert_eq!(found, [("ours", false), ("later", false)]);
    assert_eq!(jobs[1].created_at.duration_since(sent_at), SignedDuration::from_secs(9));
    assert_eq!(
        server.lines(),
        ["GET /v1/videos?limit=100&order=desc", "GET /v1/videos?limit=100&order=desc&after=wordless"]
    );
}

#[tokio::test]
async fn without_a_list_nothing_is_known() {
    let server = Server::always(Reply::json(405, &json!({"detail": "Method Not Allowed"}))).await;
    let litellm = json!({"error": {"message": "litellm.BadRequestError: LLM Provider NOT provided.", "type": null, "param": null, "code": "400"}});
    let refusing = Server::always(Reply::json(400, &litellm)).await;
    let openai_there = openai(&refusing.base);
    let found =
        openai_there.find(&order(&openai_there, "sora-2"), &SubmitKey::fresh(), Timestamp::now()).await.unwrap();
    assert!(matches!(found, Found::Unsupported));
    let openai = openai(&server.base);
    let now = Timestamp::now();
    for model in ["sora-2", "gpt-image-2", "tts-1"] {
        let found = openai.find(&order(&openai, model), &SubmitKey::fresh(), now).await.unwrap();
        assert!(matches!(found, Found::Unsupported), "{model}");
    }
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_server_may_say_when_to_ask_again() {
    let server = Server::always(Reply::json(200, &video("queued")).with("openai-poll-after-ms", 2500)).await;
    let progress = openai(&server.base).poll(&ticket()).await.unwrap();
    assert!(matches!(progress.status, Status::Waiting));
    assert_eq!(progress.poll_after, Some(Duration::from_millis(2500)));
}

#[tokio::test]
async fn the_input_that_is_blamed_is_named_by_its_place_in_the_request() {
    let check = async |param: &'static str, expected: &str| {
        let refusal = json!({"error": {"message": "no", "type": "invalid_request_error", "param": param, "code": "invalid_image"}});
        let server = Server::always(Reply::json(400, &refusal)).await;
        let openai = openai(&server.base);
        let mut order = order(&openai, "gpt-image-2");
        order.inputs =
            vec![picture(InputRole::Reference, b"a"), picture(InputRole::Source, b"b"), picture(InputRole::Mask, b"c")];
        order.provider_options.insert("moderation".to_owned(), json!("low"));
        let error = openai.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
        assert_eq!(error.field.as_deref(), Some(expected), "{param}");
    };
    // The one to change is sent first, whatever its place in the request.
    check("image[0]", "inputs[1]").await;
    check("image[1]", "inputs[0]").await;
    check("image", "inputs").await;
    check("mask", "inputs[2]").await;
    check("n", "options.samples").await;
    check("size", "options.width").await;
    check("prompt", "prompt").await;
    check("model", "model").await;
    check("moderation", "options.provider_options.moderation").await;
}
