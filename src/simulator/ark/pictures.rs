//! Pictures: one call that answers when they are made.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Ark, Task,
    order::{self, invalid, missing},
    problem, told,
};
use crate::simulator::{
    desk::{Draft, Instead, Origin, Outcome, Received},
    fault::{Operation, Subject},
    output::{Media, Native},
};

/// `POST /images/generations`
pub(super) async fn generate(
    State(ark): State<Arc<Ark>>,
    Origin(origin): Origin,
    received: Received,
) -> Result<Response, Instead> {
    let (prompt, model) = (received.text("/prompt").to_owned(), received.text("/model").to_owned());
    let subject = Subject { prompt: &prompt, model: &model, ..Subject::default() };
    let call = ark.desk.call(Operation::Create, subject).await?;
    if let Some(why) = &received.unreadable {
        return Err(call.refuse(StatusCode::BAD_REQUEST, why.as_str()));
    }
    let (width, height) = check(&received.body, &model)?;
    let body = &received.body;
    let is_series = body["sequential_image_generation"] == "auto";
    let n_files = body["sequential_image_generation_options"]["max_images"].as_u64().filter(|_| is_series).unwrap_or(1);
    let inline = body["response_format"] == "b64_json";
    let media = if body["output_format"] == "png" { Media::Png } else { Media::Jpg };
    let n_inputs = body["image"].as_array().map(Vec::len);
    let job = ark.desk.make(
        &call,
        Draft {
            id: ark.desk.world.new_id(),
            model: model.clone(),
            prompt,
            received,
            media,
            n_files,
            native: Native::List,
            deadline: None,
            data: Task::default(),
        },
    );
    match ark.desk.outcome(&job).await? {
        Outcome::Succeeded => {}
        Outcome::Failed(text) => {
            let (code, message) = told(&text, "OutputImageSensitiveContentDetected");
            return Err(problem(StatusCode::BAD_REQUEST, &code, &message, "").into());
        }
        Outcome::Canceled | Outcome::Aborted => {
            return Err(call.refuse(StatusCode::INTERNAL_SERVER_ERROR, "the service failed"));
        }
    }
    let size = format!("{width}x{height}");
    let picture = |link: String| {
        if inline {
            json!({ "b64_json": ark.desk.inline_base64(&job), "size": size })
        } else {
            json!({ "url": link, "size": size })
        }
    };
    let data: Vec<Value> = job.links(&origin).into_iter().map(picture).collect();
    let tokens = n_files * width * height / 256;
    let mut usage = json!({ "generated_images": n_files, "output_tokens": tokens, "total_tokens": tokens });
    if let Some(n_inputs) = n_inputs {
        usage["input_images"] = json!(n_inputs);
    }
    let answer = json!({ "model": model, "created": Timestamp::now().as_second(), "data": data, "usage": usage });
    Ok(call.answer(StatusCode::OK, answer).await)
}

/// The size of the pictures of an order that is in order.
fn check(body: &Value, model: &str) -> Result<(u64, u64), Instead> {
    order::model(body, &["seedream", "seededit"])?;
    if body["prompt"].as_str().is_none_or(str::is_empty) {
        return Err(missing("prompt"));
    }
    if body["stream"] == true {
        return Err(invalid("stream", "the simulator does not stream"));
    }
    let is_third = model.contains("3-0");
    if !is_third && (!body["seed"].is_null() || !body["guidance_scale"].is_null()) {
        return Err(invalid("seed", "not supported by this model"));
    }
    if !matches!(body["sequential_image_generation"].as_str(), None | Some("auto" | "disabled")) {
        return Err(invalid("sequential_image_generation", "must be auto or disabled"));
    }
    let n_most = &body["sequential_image_generation_options"]["max_images"];
    let n_inputs = body["image"].as_array().map_or(0, |images| images.len() as u64);
    if !n_most.is_null() && !n_most.as_u64().is_some_and(|most| (1..=15).contains(&most) && most + n_inputs <= 15) {
        return Err(invalid("sequential_image_generation_options.max_images", "must be from 1 to 15, inputs included"));
    }
    let links =
        body["image"].as_array().into_iter().flatten().chain(body["image"].is_string().then_some(&body["image"]));
    for link in links {
        let link = link.as_str().unwrap_or_default();
        if !["http://", "https://", "data:image/"].iter().any(|start| link.starts_with(start)) {
            return Err(invalid("image", "must be a link or a data URI"));
        }
    }
    match body["size"].as_str() {
        None | Some("2K") => Ok((2048, 2048)),
        Some("1K" | "adaptive") => Ok((1024, 1024)),
        Some("3K") => Ok((3072, 3072)),
        Some("4K") => Ok((4096, 4096)),
        Some(pair) => {
            let sides = |(width, height): (&str, &str)| Some((width.parse::<u64>().ok()?, height.parse::<u64>().ok()?));
            pair.split_once('x')
                .and_then(sides)
                .filter(|(width, height)| (1..=16_777_216).contains(&width.saturating_mul(*height)))
                .ok_or_else(|| invalid("size", "must be a class or WxH"))
        }
    }
}
