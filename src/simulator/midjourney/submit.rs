//! What can be ordered.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Asked, Lineage, Midjourney, envelope, task};
use crate::simulator::{
    desk::{Draft, Instead, Job, Letter, Origin, Outcome, Received, Stage},
    fault::{Operation, Subject},
    output::{Media, Native},
};

/// Tasks that run at the same time, and those that wait for them at most.
const RUNNING: usize = 3;
const WAITING: usize = 10;
/// A word that may not be in a prompt.
const BANNED: &str = "gore";

/// A task that is to be made.
struct New {
    action: &'static str,
    prompt: String,
    parent: Option<String>,
    media: Media,
    n_files: u64,
}

impl New {
    fn picture(action: &'static str, prompt: impl Into<String>) -> Self {
        Self { action, prompt: prompt.into(), parent: None, media: Media::Png, n_files: 1 }
    }
}

/// `POST /submit/imagine`
pub(super) async fn imagine(
    state: State<Arc<Midjourney>>,
    lineage: Extension<Lineage>,
    origin: Origin,
    received: Received,
) -> Result<Response, Instead> {
    let prompt = received.text("/prompt").to_owned();
    let problem = files_problem(&received.body, 0).or_else(|| prompt.is_empty().then_some("prompt不能为空"));
    make(&state, lineage.0, origin, received, New::picture("IMAGINE", prompt), problem).await
}

/// `POST /submit/blend`
pub(super) async fn blend(
    state: State<Arc<Midjourney>>,
    lineage: Extension<Lineage>,
    origin: Origin,
    received: Received,
) -> Result<Response, Instead> {
    let dimensions = received.text("/dimensions");
    let is_known = dimensions.is_empty() || ["PORTRAIT", "SQUARE", "LANDSCAPE"].contains(&dimensions);
    let problem = files_problem(&received.body, 2).or_else(|| (!is_known).then_some("dimensions参数错误"));
    make(&state, lineage.0, origin, received, New::picture("BLEND", ""), problem).await
}

/// `POST /submit/video`
pub(super) async fn video(
    state: State<Arc<Midjourney>>,
    lineage: Extension<Lineage>,
    origin: Origin,
    received: Received,
) -> Result<Response, Instead> {
    let body = &received.body;
    let n_files = body["batchSize"].as_u64().unwrap_or(4);
    let known = |field: &str, words: &[&str]| {
        body[field].is_null() || words.contains(&body[field].as_str().unwrap_or_default())
    };
    let is_extension = body["action"] == "extend";
    let parent = body["taskId"].as_str().map(str::to_owned);
    let problem = if received.text("/prompt").is_empty() {
        Some("prompt不能为空")
    } else if ![1, 2, 4].contains(&n_files)
        || !known("motion", &["low", "high"])
        || !known("videoType", &["vid_1.1_i2v_480", "vid_1.1_i2v_720"])
        || is_extension != parent.is_some()
        || !(is_extension || body["image"].is_string())
    {
        Some("参数错误")
    } else {
        None
    };
    let action = if is_extension { "VIDEO_EXTEND" } else { "VIDEO" };
    let prompt = received.text("/prompt").to_owned();
    let new = New { action, prompt, parent, media: Media::Mp4, n_files };
    make(&state, lineage.0, origin, received, new, problem).await
}

/// `POST /submit/action`: by the id of a button.
pub(super) async fn action(
    state: State<Arc<Midjourney>>,
    lineage: Extension<Lineage>,
    origin: Origin,
    received: Received,
) -> Result<Response, Instead> {
    let custom_id = received.text("/customId").to_owned();
    let action = ["upsample", "variation", "reroll"].iter().find(|word| custom_id.contains(&format!("::{word}::")));
    let action = match action {
        Some(&"upsample") => Some("UPSCALE"),
        Some(&"variation") => Some("VARIATION"),
        Some(_) => Some("REROLL"),
        None => None,
    };
    follow(&state, lineage.0, origin, received, action).await
}

/// `POST /submit/change`: by name.
pub(super) async fn change(
    state: State<Arc<Midjourney>>,
    lineage: Extension<Lineage>,
    origin: Origin,
    received: Received,
) -> Result<Response, Instead> {
    let index = received.body["index"].as_u64().unwrap_or_default();
    let action = match received.text("/action") {
        "REROLL" => Some("REROLL"),
        "UPSCALE" if (1..=4).contains(&index) => Some("UPSCALE"),
        "VARIATION" if (1..=4).contains(&index) => Some("VARIATION"),
        _ => None,
    };
    follow(&state, lineage.0, origin, received, action).await
}

async fn follow(
    proxy: &Arc<Midjourney>,
    lineage: Lineage,
    origin: Origin,
    received: Received,
    action: Option<&'static str>,
) -> Result<Response, Instead> {
    let Some(parent) = proxy.desk.book.get(received.text("/taskId")) else {
        // The call is counted and judged as any other before it is refused.
        proxy.desk.call(Operation::Create, Subject::default()).await?;
        let status = if lineage == Lineage::DotNet { StatusCode::NOT_FOUND } else { StatusCode::OK };
        let refusal = envelope(3, "关联任务不存在或已失效", Value::Null, json!({}));
        return Ok((status, Json(refusal)).into_response());
    };
    let is_grid = task::is_grid(&parent) && succeeded(&parent);
    let problem = (!is_grid || action.is_none()).then_some("关联任务状态错误");
    let new =
        New { parent: Some(parent.id.clone()), ..New::picture(action.unwrap_or("ACTION"), parent.prompt.as_str()) };
    make(proxy, lineage, origin, received, new, problem).await
}

async fn make(
    proxy: &Arc<Midjourney>,
    lineage: Lineage,
    Origin(origin): Origin,
    received: Received,
    new: New,
    problem: Option<&str>,
) -> Result<Response, Instead> {
    let subject = Subject { prompt: &new.prompt, model: new.action, ..Subject::default() };
    let call = proxy.desk.call(Operation::Create, subject).await?;
    let no = |code, text: &str, properties| envelope(code, text, Value::Null, properties);
    let n_open = proxy.desk.book.all().iter().filter(|job| !job.is_ended()).count();
    let refusal = if let Some(problem) = problem {
        Some(no(4, problem, json!({})))
    } else if lineage == Lineage::Java && new.prompt.split_whitespace().any(|word| word == BANNED) {
        Some(no(24, "可能包含敏感词", json!({ "promptEn": new.prompt, "bannedWord": BANNED })))
    } else if n_open >= RUNNING + WAITING {
        Some(no(if lineage == Lineage::Java { 23 } else { 9 }, "队列已满，请稍后尝试", json!({})))
    } else {
        None
    };
    if let Some(refusal) = refusal {
        return Ok(call.answer(StatusCode::OK, refusal).await);
    }
    let text = |pointer: &str| Some(received.text(pointer).to_owned()).filter(|text| !text.is_empty());
    let (state, hook) = (text("/state"), text("/notifyHook"));
    let data = Asked { lineage, action: new.action, state, hook: hook.clone(), parent: new.parent };
    let job = proxy.desk.make(
        &call,
        Draft {
            id: proxy.new_id(),
            model: new.action.to_owned(),
            prompt: new.prompt,
            received,
            media: new.media,
            n_files: new.n_files,
            native: Native::List,
            deadline: None,
            data,
        },
    );
    if let Some(url) = hook {
        proxy.desk.tell_at_end(&job, move |job| Letter {
            url,
            body: task::page(job, &origin).to_string().into(),
            retries: 0,
            sign: Arc::new(|_, _| Vec::new()),
        });
    }
    let taken = match n_open.checked_sub(RUNNING) {
        None => envelope(1, "提交成功", json!(job.id), json!({})),
        Some(n_before) => {
            let properties = json!({ "numberOfQueues": n_before + 1, "discordInstanceId": "1118138338562560102" });
            envelope(22, "排队中，前面还有任务", json!(job.id), properties)
        }
    };
    Ok(call.answer(StatusCode::OK, taken).await)
}

fn succeeded(job: &Job<Asked>) -> bool {
    matches!(job.stage(), Stage::Ended(end) if end.outcome == Outcome::Succeeded)
}

/// What is wrong with the files of an order, of which there are so many at least.
fn files_problem(body: &Value, least: usize) -> Option<&'static str> {
    let files = body["base64Array"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_file = |file: &Value| file.as_str().is_some_and(|text| text.starts_with("data:image/"));
    (files.len() < least || files.len() > 5 || !files.iter().all(is_file)).then_some("base64格式错误")
}
