//! `POST /images/generations` and `/images/edits`: the picture comes with the answer.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{OpenAi, problem::Problem, videos::Asked};
use crate::simulator::{
    desk::{Call, Instead, Origin, Outcome, Received},
    fault::{Operation, Subject},
    output::Media,
};

/// `POST /images/generations`
pub(super) async fn generate(
    State(openai): State<Arc<OpenAi>>,
    Origin(origin): Origin,
    received: Received,
) -> Result<Response, Instead> {
    make(&openai, &origin, received, false).await
}

/// `POST /images/edits`
pub(super) async fn edit(
    State(openai): State<Arc<OpenAi>>,
    Origin(origin): Origin,
    received: Received,
) -> Result<Response, Instead> {
    make(&openai, &origin, received, true).await
}

async fn make(openai: &OpenAi, origin: &str, received: Received, is_edit: bool) -> Result<Response, Instead> {
    let (prompt, model) = (received.text("/prompt").to_owned(), received.text("/model").to_owned());
    let subject = Subject { prompt: &prompt, model: &model, ..Subject::default() };
    let call = openai.desk.call(Operation::Create, subject).await?;
    let order = Order::read(&received, is_edit).map_err(|problem| problem.into_response())?;
    let id = format!("img_{}", openai.desk.world.new_id());
    let job = openai.desk.make(&call, openai.draft(id, received, order.media, order.n, Asked::default()));
    match openai.desk.outcome(&job).await? {
        Outcome::Succeeded => {
            let links = job.links(origin);
            let file = |index: usize| match order.by_url {
                true => json!({ "url": links.get(index), "revised_prompt": prompt }),
                false => json!({ "b64_json": openai.desk.inline_base64(&job) }),
            };
            let data: Vec<Value> = (0..links.len()).map(file).collect();
            Ok(answer(call, &order, data, job.created_at.as_second()).await)
        }
        Outcome::Failed(text) => Err(Problem::of_failure(&text).into_response().into()),
        Outcome::Canceled | Outcome::Aborted => Err(call.refuse(StatusCode::INTERNAL_SERVER_ERROR, "stopped")),
    }
}

async fn answer(call: Call, order: &Order, data: Vec<Value>, created: i64) -> Response {
    let output: u64 = order.n
        * match order.quality.as_str() {
            "low" => 272,
            "high" => 4160,
            "xhigh" | "max" => 8320,
            _ => 1056,
        };
    let body = json!({
        "created": created,
        "background": order.background,
        "output_format": order.format,
        "quality": order.quality,
        "size": order.size,
        "data": data,
        "usage": {
            "input_tokens": 50,
            "input_tokens_details": { "text_tokens": 50, "image_tokens": 0 },
            "output_tokens": output,
            "output_tokens_details": { "image_tokens": output, "text_tokens": 0 },
            "total_tokens": output + 50,
        },
    });
    call.answer(StatusCode::OK, body).await
}

/// What was asked, checked as far as OpenAI's rules are known.
struct Order {
    n: u64,
    media: Media,
    format: String,
    quality: String,
    background: String,
    size: String,
    by_url: bool,
}

impl Order {
    fn read(received: &Received, is_edit: bool) -> Result<Self, Problem> {
        if let Some(why) = &received.unreadable {
            return Err(Problem::new(why.clone()));
        }
        let body = &received.body;
        let word = |key: &str, usual: &str| {
            Some(received.text(&format!("/{key}"))).filter(|text| !text.is_empty()).unwrap_or(usual).to_owned()
        };
        if received.text("/prompt").is_empty() {
            return Err(Problem::new("Missing required parameter: 'prompt'.")
                .at("prompt")
                .coded("missing_required_parameter"));
        }
        let model = word("model", "gpt-image-1.5");
        let is_gpt = model.starts_with("gpt-") || model.starts_with("chatgpt-");
        if is_gpt && body.get("response_format").is_some() {
            let message = "Unknown parameter: 'response_format'.";
            return Err(Problem::new(message).at("response_format").coded("unknown_parameter"));
        }
        if is_edit && !["image", "image[]", "images"].iter().any(|key| body.get(*key).is_some()) {
            return Err(Problem::new("Missing required parameter: 'image'.")
                .at("image")
                .coded("missing_required_parameter"));
        }
        if body.get("stream").is_some_and(|stream| *stream == true || *stream == "true") {
            return Err(Problem::new("The simulator does not stream.").at("stream").coded("unsupported_value"));
        }
        // A form has numbers as text.
        let n = body.get("n").map_or(Some(1), |n| n.as_u64().or_else(|| n.as_str()?.parse().ok()));
        let n = n.filter(|n| (1..=10).contains(n));
        let n = n.ok_or_else(|| Problem::new("Invalid 'n': expected 1 to 10.").at("n").coded("invalid_value"))?;
        let format = word("output_format", "png");
        let media = match format.as_str() {
            "png" => Media::Png,
            "jpeg" => Media::Jpg,
            "webp" => Media::Webp,
            _ => {
                let message = format!("Invalid value: '{format}'. Supported values are: 'png', 'jpeg', and 'webp'.");
                return Err(Problem::new(message).at("output_format").coded("invalid_value"));
            }
        };
        let size = word("size", "1024x1024");
        let is_size = |text: &str| {
            text.split_once('x').is_some_and(|(w, h)| w.parse::<u32>().is_ok() && h.parse::<u32>().is_ok())
        };
        if size != "auto" && !is_size(&size) {
            return Err(Problem::new(format!("Invalid value: '{size}'.")).at("size").coded("invalid_value"));
        }
        let by_url =
            received.text("/response_format") == "url" || !is_gpt && received.text("/response_format").is_empty();
        Ok(Self {
            n,
            media,
            format,
            quality: word("quality", "auto"),
            background: word("background", "opaque"),
            size,
            by_url,
        })
    }
}
