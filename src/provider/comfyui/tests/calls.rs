use std::{collections::BTreeMap, sync::Mutex};

use bytes::Bytes;
use jiff::Timestamp;

use super::*;
use crate::{
    domain::{
        artifact::Kind,
        failure::Charged,
        names::SubmitKey,
        order::{InputRole, OptionName, OptionValue},
    },
    provider::{
        contract,
        error::{Effect, ErrorKind},
        port::{CancelOutcome, Found, InputFile, Order, OrderInput, Provider, Submitted},
        tests::{
            fields::all_arrive,
            server::{Asked, Reply, Server},
        },
    },
};

const PICTURE: &[u8] = include_bytes!("../../../simulator/still.png");

/// ComfyUI in small: a job waits, works, and is in the history at the third question.
async fn little_comfyui() -> Server {
    let jobs: Mutex<BTreeMap<String, (usize, bool)>> = Mutex::default();
    Server::start(move |asked: &Asked| {
        let mut jobs = jobs.lock().unwrap();
        let (method, path) = asked.line.split_once(' ').unwrap();
        match (method, path) {
            ("POST", "/v1/prompt") => {
                let id = asked.json()["prompt_id"].as_str().unwrap().to_owned();
                jobs.insert(id.clone(), (0, false));
                Reply::json(200, &json!({ "prompt_id": id, "number": 1, "node_errors": {} }))
            }
            ("POST", "/v1/interrupt") => {
                let id = asked.json()["prompt_id"].as_str().unwrap().to_owned();
                jobs.get_mut(&id).unwrap().1 = true;
                Reply::new(200, "")
            }
            ("POST", "/v1/upload/image") => Reply::json(200, &json!({ "name": "in (1).png", "subfolder": "filmgate", "type": "input" })),
            ("GET", "/v1/queue") => {
                let item = |id: &String| json!([1, id, { "3": { "class_type": "KSampler", "inputs": {} } }, { "client_id": id }, []]);
                let (mut running, mut pending) = (Vec::new(), Vec::new());
                for (id, (n_asked, is_stopped)) in jobs.iter_mut() {
                    *n_asked += 1;
                    match (*n_asked, *is_stopped) {
                        (1, false) => running.push(item(id)),
                        (2, false) => pending.push(item(id)),
                        _ => {}
                    }
                }
                Reply::json(200, &json!({ "queue_running": running, "queue_pending": pending }))
            }
            ("GET", "/v1/view?filename=a.png&subfolder=&type=output") => Reply::new(200, PICTURE),
            _ => {
                let id = path.strip_prefix("/v1/history/").unwrap_or_default();
                match jobs.get(id) {
                    Some((_, true)) => {
                        let messages = json!([["execution_interrupted", { "prompt_id": id }]]);
                        Reply::json(200, &json!({ id: { "outputs": {}, "status": { "status_str": "error", "completed": false, "messages": messages } } }))
                    }
                    Some((3.., false)) => {
                        let files = json!({ "9": { "images": [{ "filename": "a.png", "subfolder": "", "type": "output" }] } });
                        Reply::json(200, &json!({ id: succeeded(id, &files) }))
                    }
                    _ if path.starts_with("/v1/history") => Reply::json(200, &json!({})),
                    _ => Reply::new(404, ""),
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn it_keeps_the_contract_of_every_adapter() {
    let server = little_comfyui().await;
    let comfyui = comfyui(&server.base);
    let order = contract::order(&comfyui, Kind::Image);
    contract::makes_the_bytes(&comfyui, &order, PICTURE).await;
    contract::stops(&comfyui, &order).await;
    contract::knows_no_foreign_job(&comfyui).await;
    contract::finds_only_its_own(&comfyui, &order).await;
}

#[tokio::test]
async fn every_field_of_every_card_arrives() {
    let answer = |asked: &Asked| {
        let is_upload = asked.line.ends_with("/upload/image");
        Reply::json(200, &if is_upload { json!({ "name": "in.png" }) } else { json!({ "prompt_id": JOB }) })
    };
    let n_fields = all_arrive(comfyui, answer).await;
    assert!(n_fields >= 14, "{n_fields}");
}

#[tokio::test]
async fn an_order_is_the_filled_workflow_with_its_mark() {
    let server = little_comfyui().await;
    let comfyui = comfyui(&server.base);
    let mut order = contract::order(&comfyui, Kind::Video);
    let frame = InputFile::Bytes { media_type: "image/png".to_owned(), data: Bytes::from_static(PICTURE) };
    order.inputs = vec![OrderInput { role: InputRole::FirstFrame, file: frame }];
    let asked = [(OptionName::Duration, OptionValue::Int(3)), (OptionName::Seed, OptionValue::Int(42))].into();
    let card = order.card.clone().unwrap();
    let roles = [InputRole::FirstFrame];
    order.options =
        card.resolve(&order.prompt, &asked, &serde_json::Map::new(), &roles, Default::default()).unwrap().options;
    let key = SubmitKey::fresh();
    let Submitted::Pending(ticket) = comfyui.submit(&order, &key).await.unwrap() else { panic!("a job") };
    assert_eq!(ticket.job, key.id());
    assert_eq!(server.lines(), ["POST /v1/upload/image", "POST /v1/prompt"]);
    let upload = String::from_utf8_lossy(&server.asked()[0].body).into_owned();
    for part in [format!("filename=\"{}-0.png\"", key.id()), "name=\"subfolder\"\r\n\r\nfilmgate".to_owned()] {
        assert!(upload.contains(&part), "{part}");
    }
    let body = server.asked()[1].json();
    assert_eq!((&body["prompt_id"], &body["client_id"]), (&json!(key.id()), &json!(key.id())));
    let inputs = |node: &str| body["prompt"][node]["inputs"].clone();
    assert_eq!(inputs("5")["image"], "filmgate/in (1).png");
    assert_eq!(inputs("7")["text"], "a fox in the snow");
    assert_eq!(inputs("8")["text"], "");
    let size = ["width", "height", "length"].map(|key| inputs("9")[key].clone());
    assert_eq!(size, [json!(832), json!(480), json!(49)], "three seconds of 16 frames, as 4n+1");
    let sampling = ["seed", "steps", "cfg"].map(|key| inputs("10")[key].clone());
    assert_eq!(sampling, [json!(42), json!(20), json!(6)]);
    assert_eq!(inputs("12")["fps"], 16);
}

#[tokio::test]
async fn an_order_without_a_seed_gets_one_of_its_own() {
    let server = little_comfyui().await;
    let comfyui = comfyui(&server.base);
    let order = contract::order(&comfyui, Kind::Image);
    for _ in 0..2 {
        comfyui.submit(&order, &SubmitKey::fresh()).await.unwrap();
    }
    let seeds: Vec<Json> =
        server.asked().iter().map(|asked| asked.json()["prompt"]["3"]["inputs"]["seed"].clone()).collect();
    assert!(seeds.iter().all(Json::is_u64) && seeds[0] != seeds[1], "{seeds:?}");
}

#[tokio::test]
async fn what_the_workflow_has_no_place_for_is_refused_before_anything_is_sent() {
    let server = little_comfyui().await;
    let comfyui = comfyui(&server.base);
    let mut order = contract::order(&comfyui, Kind::Image);
    order.provider_options.insert("flavour".to_owned(), json!("x"));
    let error = comfyui.submit(&order, &SubmitKey::fresh()).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::InvalidOrder, Effect::None));
    assert!(error.summary.contains("{{option.flavour}}"), "{error}");
    let unknown = Order { model: "nosuch".to_owned(), ..contract::order(&comfyui, Kind::Image) };
    assert_eq!(comfyui.submit(&unknown, &SubmitKey::fresh()).await.unwrap_err().kind, ErrorKind::ModelNotFound);
    assert!(server.lines().is_empty());
}

#[tokio::test]
async fn a_lost_job_is_found_in_the_queue_and_the_history_and_by_the_client_on_an_old_server() {
    let order = |comfyui: &ComfyUi| contract::order(comfyui, Kind::Image);
    let find = async |queue: Json, history: Json, key: &SubmitKey| {
        let server = Server::start(move |asked: &Asked| match asked.line.as_str() {
            "GET /v1/queue" => Reply::json(200, &queue),
            line if line.contains("/history/") => Reply::json(200, &json!({})),
            _ => Reply::json(200, &history),
        })
        .await;
        let comfyui = comfyui(&server.base);
        let Found::Candidates(jobs) = comfyui.find(&order(&comfyui), key, Timestamp::now()).await.unwrap() else {
            panic!("a list")
        };
        assert!(jobs.iter().all(|job| job.exact));
        jobs.into_iter().map(|job| job.ticket.job).collect::<Vec<_>>()
    };
    let key = SubmitKey::fresh();
    let item = |id: &str, client: &str| json!([1, id, {}, { "client_id": client }, []]);
    let queue = json!({ "queue_running": [item("other", "x")], "queue_pending": [item(&key.id(), "y")] });
    assert_eq!(find(queue, json!({}), &key).await, [key.id()]);
    let none = json!({ "queue_running": [], "queue_pending": [] });
    let history = json!({ "own-id": { "prompt": item("own-id", &key.id()) }, "b": { "prompt": item("b", "z") } });
    assert_eq!(find(none.clone(), history, &key).await, ["own-id"]);
    assert!(find(none, json!({}), &key).await.is_empty());
}

#[tokio::test]
async fn a_waiting_job_is_deleted_and_never_another_one_interrupted() {
    let n_looks = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |asked: &Asked| match asked.line.as_str() {
        "GET /v1/queue" => {
            let is_first = n_looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
            let pending = if is_first { json!([[1, JOB, {}, {}, []]]) } else { json!([]) };
            Reply::json(200, &json!({ "queue_running": [[0, "other", {}, {}, []]], "queue_pending": pending }))
        }
        line if line.starts_with("GET /v1/history/") => Reply::json(200, &json!({})),
        _ => Reply::new(200, ""),
    })
    .await;
    let comfyui = comfyui(&server.base);
    assert_eq!(comfyui.cancel(&ticket()).await.unwrap(), CancelOutcome::Stopped(Charged::No));
    assert!(
        server.lines().contains(&"POST /v1/queue".to_owned())
            && !server.lines().iter().any(|it| it.contains("interrupt"))
    );
    assert_eq!(comfyui.poll(&ticket()).await.unwrap_err().kind, ErrorKind::TicketUnknown);
}
