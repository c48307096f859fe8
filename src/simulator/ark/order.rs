//! What an order of a film says, checked as strictly as the vendor does.

use http::StatusCode;
use serde_json::{Map, Value};

use super::problem;
use crate::simulator::desk::Instead;

const RESOLUTIONS: [&str; 4] = ["480p", "720p", "1080p", "4k"];
const RATIOS: [&str; 7] = ["16:9", "4:3", "1:1", "3:4", "9:16", "21:9", "adaptive"];

/// An order of a film.
#[derive(Debug, Clone, Default)]
pub(super) struct Film {
    pub(super) resolution: String,
    pub(super) ratio: String,
    pub(super) seconds: u64,
    pub(super) seed: i64,
    pub(super) audio: bool,
    pub(super) service_tier: String,
    pub(super) safety_identifier: Option<String>,
    pub(super) callback_url: Option<String>,
}

/// 400 about this field.
pub(super) fn invalid(param: &str, why: &str) -> Instead {
    let message = format!("The parameter `{param}` specified in the request is not valid: {why}.");
    problem(StatusCode::BAD_REQUEST, "InvalidParameter", &message, param).into()
}

/// 400 about a field that is not there.
pub(super) fn missing(param: &str) -> Instead {
    let message = format!("The request is missing the parameter `{param}`.");
    problem(StatusCode::BAD_REQUEST, "MissingParameter", &message, param).into()
}

/// The model's name, if it is one that makes this: an endpoint's id may make anything.
pub(super) fn model<'a>(body: &'a Value, makes: &[&str]) -> Result<&'a str, Instead> {
    let model = body["model"].as_str().filter(|model| !model.is_empty()).ok_or_else(|| missing("model"))?;
    if model.starts_with("ep-") || makes.iter().any(|word| model.contains(word)) {
        return Ok(model);
    }
    let message = format!("The model or endpoint {model} does not exist or you do not have access to it.");
    Err(problem(StatusCode::NOT_FOUND, "InvalidEndpointOrModel.NotFound", &message, "").into())
}

/// The prompt of an order, for faults.
pub(super) fn prompt(body: &Value) -> &str {
    let items = body["content"].as_array().into_iter().flatten();
    items.filter(|item| item["type"] == "text").find_map(|item| item["text"].as_str()).unwrap_or_default()
}

impl Film {
    pub(super) fn read(body: &Value, model: &str) -> Result<Self, Instead> {
        check_content(body)?;
        // A null is what the vendor's own client sends for a field that is not set.
        let mut body: Map<String, Value> = body.as_object().cloned().unwrap_or_default();
        body.retain(|_, value| !value.is_null());
        let seconds = match body.get("duration") {
            None => 5,
            Some(value) => match value.as_i64() {
                Some(-1) => 5,
                Some(seconds @ 2..=30) => seconds.unsigned_abs(),
                _ => return Err(invalid("duration", "out of range")),
            },
        };
        for name in ["camera_fixed", "watermark", "generate_audio", "return_last_frame", "draft"] {
            if body.get(name).is_some_and(|value| !value.is_boolean()) {
                return Err(invalid(name, "must be a boolean"));
            }
        }
        if body.get("seed").is_some_and(|seed| !(-1..=4_294_967_295).contains(&seed.as_i64().unwrap_or(-2))) {
            return Err(invalid("seed", "must be a whole number from -1 to 4294967295"));
        }
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let is_first = model.contains("seedance-1-0");
        Ok(Self {
            resolution: one_of(&body, "resolution", &RESOLUTIONS)?.unwrap_or_else(|| "720p".to_owned()),
            ratio: one_of(&body, "ratio", &RATIOS)?.unwrap_or_else(|| "16:9".to_owned()),
            seconds,
            seed: body.get("seed").and_then(Value::as_i64).filter(|seed| *seed >= 0).unwrap_or(48_201),
            audio: !is_first && body.get("generate_audio").and_then(Value::as_bool).unwrap_or(true),
            service_tier: one_of(&body, "service_tier", &["default", "flex"])?.unwrap_or_else(|| "default".to_owned()),
            safety_identifier: text("safety_identifier"),
            callback_url: text("callback_url"),
        })
    }

    /// What it is charged by: frames of 24 a second and one more, in units of 1024 pixels.
    pub(super) fn tokens(&self) -> u64 {
        let pixels = match self.resolution.as_str() {
            "480p" => 864 * 496,
            "1080p" => 1920 * 1080,
            "4k" => 3840 * 2160,
            _ => 1280 * 720,
        };
        (self.seconds * 24 + 1) * pixels / 1024
    }
}

fn one_of(body: &Map<String, Value>, name: &str, allowed: &[&str]) -> Result<Option<String>, Instead> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if allowed.contains(&text.as_str()) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(name, &format!("must be one of {}", allowed.join(", ")))),
    }
}

/// Frames and references are never mixed, and each picture says what it is unless it is the only one.
fn check_content(body: &Value) -> Result<(), Instead> {
    let items = body["content"].as_array().filter(|items| !items.is_empty()).ok_or_else(|| missing("content"))?;
    let mut roles = Vec::new();
    let n_images = items.iter().filter(|item| item["type"] == "image_url").count();
    for (index, item) in items.iter().enumerate() {
        let path = |rest: &str| format!("content[{index}]{rest}");
        let kind = item["type"].as_str().unwrap_or_default();
        match kind {
            "text" if item["text"].as_str().is_some_and(|text| !text.is_empty()) => continue,
            "draft_task" if item["draft_task"]["id"].is_string() => continue,
            "image_url" | "video_url" | "audio_url" => {}
            _ => return Err(invalid(&path(".type"), "unknown or without its content")),
        }
        let url = item[kind]["url"].as_str().unwrap_or_default();
        let inline = url.starts_with("data:") && kind != "video_url";
        if !(inline || ["https://", "http://", "asset://"].iter().any(|start| url.starts_with(start))) {
            return Err(invalid(&path(&format!(".{kind}.url")), "must be a link"));
        }
        match (kind, item["role"].as_str()) {
            ("image_url", None) if n_images == 1 => roles.push("first_frame"),
            ("image_url", Some(role @ ("first_frame" | "last_frame" | "reference_image")))
            | ("video_url", Some(role @ "reference_video"))
            | ("audio_url", Some(role @ "reference_audio")) => roles.push(role),
            _ => return Err(invalid("content", "role must be specified for image contents")),
        }
    }
    let n_frames = roles.iter().filter(|role| role.ends_with("_frame")).count();
    if n_frames > 0 && n_frames < roles.len() {
        return Err(invalid("content", "first/last frame content cannot be mixed with reference media content"));
    }
    if roles.contains(&"last_frame") && !roles.contains(&"first_frame") {
        return Err(invalid("content", "a last frame needs a first frame"));
    }
    Ok(())
}
