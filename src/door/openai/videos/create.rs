//! Orders of videos: from a prompt, from a prompt and a picture, and from another video.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::{
    Id, find,
    object::{self, VideoId, may_come},
    unknown, video,
};
use crate::{
    domain::{artifact::Kind, generation::State as GenerationState, order::MAX_PROMPT},
    door::{
        caller::Caller,
        openai::{Door, extension, file, params::Params, problem::Problem},
    },
    engine::view::View,
    pb::v1::{self, InputRole, input::Source},
};

/// The caller's own key of a call, which other clients than the SDKs send.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

pub(super) async fn create(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (caller, key) = caller_and_key(&door, request.headers())?;
    let mut params = Params::read(&door, &caller, request).await?;
    let references = file::references(&door, &caller, &mut params, "input_reference").await?;
    if references.len() > 1 {
        return Err(Problem::wrong_value("input_reference", "one picture is taken"));
    }
    let from = references.into_iter().next().map(|source| Origin {
        role: InputRole::FirstFrame,
        source,
        param: "input_reference",
        model: String::new(),
    });
    order(&door, caller, key, params, from).await
}

/// A video changed by a prompt; the video is in the path.
pub(super) async fn remix(State(door): State<Door>, id: Id, request: Request) -> Result<Response, Problem> {
    let (caller, key) = caller_and_key(&door, request.headers())?;
    let (id, view) = find(&door, &caller.tenant, id).await?;
    let from = Origin { param: "video_id", ..output_of(&id, &view)? };
    let params = Params::read(&door, &caller, request).await?;
    order(&door, caller, key, params, Some(from)).await
}

/// A video changed by a prompt; the video is a parameter.
pub(super) async fn edit(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (caller, key) = caller_and_key(&door, request.headers())?;
    let mut params = Params::read(&door, &caller, request).await?;
    let from = source(&door, &caller, &mut params).await?;
    order(&door, caller, key, params, Some(from)).await
}

/// A video that goes on from another one.
pub(super) async fn extend(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    edit(State(door), request).await
}

/// What a video is made from.
#[derive(Debug)]
struct Origin {
    role: InputRole,
    source: Source,
    /// The parameter that names it.
    param: &'static str,
    /// The model if the call names none; empty for the default.
    model: String,
}

/// The video of a parameter: `{"id": …}`, or a file.
async fn source(door: &Door, caller: &Caller, params: &mut Params) -> Result<Origin, Problem> {
    const PARAM: &str = "video";
    let from = |source, model| Origin { role: InputRole::Source, source, param: PARAM, model };
    let mut files = params.files(PARAM);
    match (files.pop(), params.take(PARAM)) {
        (Some(file), None) if files.is_empty() => Ok(from(file.source, String::new())),
        (None, Some(Value::Object(fields))) => match (fields.len(), fields.get("id")) {
            (1, Some(Value::String(text))) => {
                let id: VideoId = text.parse().map_err(|_| unknown(text))?;
                output_of(&id, &video(door, &caller.tenant, id).await?)
            }
            _ => Err(Problem::wrong_value(PARAM, "it needs an id, and nothing else")),
        },
        (None, None) => Err(Problem::missing(PARAM)),
        _ => Err(Problem::wrong_value(PARAM, "it must be one object with an id, or one file")),
    }
}

/// The file of a finished video, and the model that made it.
fn output_of(id: &VideoId, view: &View) -> Result<Origin, Problem> {
    let record = &view.generation;
    if may_come(record.state) {
        return Err(Problem::conflict("video_not_ready", format!("Video '{id}' is not finished.")));
    }
    let made = record.artifacts.iter().find(|artifact| artifact.kind == Kind::Video);
    let Some(artifact) = made.filter(|_| record.state == GenerationState::Succeeded) else {
        return Err(Problem::not_found("video_expired", format!("Video '{id}' has no content.")));
    };
    let model = record.candidate().map(|candidate| candidate.model.to_string()).unwrap_or_default();
    let source = Source::Artifact(artifact.id.to_string());
    Ok(Origin { role: InputRole::Source, source, param: "video", model })
}

async fn order(
    door: &Door,
    caller: Caller,
    key: Option<String>,
    mut params: Params,
    from: Option<Origin>,
) -> Result<Response, Problem> {
    let prompt = prompt(&mut params)?;
    let model = params.text("model")?;
    let seconds = seconds(&mut params)?;
    let size = size(&mut params)?;
    let mut request: v1::GenerateVideoRequest = extension::request(&mut params)?;
    request.prompt = prompt;
    set_options(request.options.get_or_insert_default(), seconds, size)?;
    let param = from.as_ref().map(|from| from.param);
    if let Some(Origin { role, source, model, .. }) = from {
        request.inputs.insert(0, v1::Input { role: role.into(), source: Some(source) });
        request.model = model;
    }
    if let Some(model) = model {
        request.model = model;
    } else if !request.route.is_empty() || request.quality != 0 {
        // Of these at most one is named, and the caller named another than the model.
        request.model.clear();
    }
    match key {
        Some(_) if !request.request_id.is_empty() => {
            return Err(Problem::wrong_value("request_id", "it is set beside the Idempotency-Key header"));
        }
        Some(key) => request.request_id = key,
        None => {}
    }
    let admitted = door.order(caller, request, |field| name(field, param)).await?;
    Ok(object::answer(&admitted.view))
}

/// Whose call it is, and its key.
fn caller_and_key(door: &Door, headers: &HeaderMap) -> Result<(Caller, Option<String>), Problem> {
    let caller = door.caller(headers)?;
    let key = headers.get(KEY).map(|value| value.to_str().map(str::to_owned));
    let key = key.transpose().map_err(|_| Problem::wrong_value("Idempotency-Key", "it must be printable ASCII"))?;
    if key.as_deref() == Some("") {
        return Err(Problem::wrong_value("Idempotency-Key", "it is empty"));
    }
    Ok((caller, key))
}

fn prompt(params: &mut Params) -> Result<String, Problem> {
    let prompt = params.required_text("prompt")?;
    match prompt.chars().count() {
        n_chars if n_chars > MAX_PROMPT => {
            Err(Problem::wrong_value("prompt", format!("it has {n_chars} characters; at most {MAX_PROMPT}")))
        }
        _ => Ok(prompt),
    }
}

/// OpenAI's is a text; many clients write a number, which says the same.
fn seconds(params: &mut Params) -> Result<Option<prost_types::Duration>, Problem> {
    const PARAM: &str = "seconds";
    let wrong = || Problem::wrong_value(PARAM, "it must be a number of seconds greater than 0 and at most 3600");
    let written = match params.take(PARAM) {
        None => return Ok(None),
        Some(Value::String(text)) => text,
        Some(Value::Number(number)) => number.to_string(),
        Some(other @ (Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_))) => {
            return Err(Problem::wrong_type(PARAM, "a string", crate::door::openai::params::article(&other)));
        }
    };
    let seconds: f64 = written.parse().map_err(|_| wrong())?;
    if !(seconds > 0.0 && seconds <= 3600.0) {
        return Err(wrong());
    }
    let duration = std::time::Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    Ok(Some(crate::door::present::duration(duration)))
}

/// Width and height of `1280x720`.
fn size(params: &mut Params) -> Result<Option<(u32, u32)>, Problem> {
    let Some(text) = params.text("size")? else { return Ok(None) };
    let wrong = || Problem::wrong_value("size", "it must be a width and a height such as '1280x720'");
    let (width, height) = text.split_once('x').ok_or_else(wrong)?;
    let side = |side: &str| side.parse().map_err(|_| wrong());
    Ok(Some((side(width)?, side(height)?)))
}

/// A value comes by OpenAI's name or by the contract's, not by both.
fn set_options(
    options: &mut v1::VideoOptions,
    seconds: Option<prost_types::Duration>,
    size: Option<(u32, u32)>,
) -> Result<(), Problem> {
    if let Some(seconds) = seconds
        && options.duration.replace(seconds).is_some()
    {
        return Err(Problem::wrong_value("duration", "it is set beside 'seconds'"));
    }
    if let Some((width, height)) = size {
        for (name, was) in [("width", options.width.replace(width)), ("height", options.height.replace(height))] {
            if was.is_some() {
                return Err(Problem::wrong_value(name, "it is set beside 'size'"));
            }
        }
    }
    Ok(())
}

/// What a field of the contract is called here; `from` is the parameter that became the first input.
fn name(field: &str, from: Option<&'static str>) -> String {
    if let Some(option) = field.strip_prefix("options.") {
        return match option {
            "duration" => "seconds",
            "width" | "height" => "size",
            other => other,
        }
        .to_owned();
    }
    match from {
        Some(param) if field == "inputs" || field.starts_with("inputs[0]") => param.to_owned(),
        _ if field == "inputs" => "input_reference".to_owned(),
        Some(_) | None => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn seconds_are_a_text_or_a_number() {
        let read = |value| seconds(&mut Params::of_json(json!({ "seconds": value })));
        assert_eq!(read(json!("8")).unwrap().unwrap().seconds, 8);
        assert_eq!(read(json!(8)).unwrap().unwrap().seconds, 8);
        assert_eq!(read(json!("5.5")).unwrap().unwrap().nanos, 500_000_000);
        assert_eq!(read(json!(null)).unwrap(), None);
        for bad in [json!("8s"), json!(""), json!("0"), json!(-1), json!("NaN"), json!("1e9"), json!(true)] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_is_two_sides() {
        let read = |value: &str| size(&mut Params::of_json(json!({ "size": value })));
        assert_eq!(read("1280x720").unwrap(), Some((1280, 720)));
        for bad in ["1280", "x", "1280x", "axb", "1280x720x3", "-1x5"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fields_are_called_as_openai_calls_them() {
        for (field, from, expected) in [
            ("options.duration", None, "seconds"),
            ("options.height", None, "size"),
            ("options.seed", None, "seed"),
            ("inputs[0].uri", Some("input_reference"), "input_reference"),
            ("inputs[1].uri", Some("input_reference"), "inputs[1].uri"),
            ("inputs[0].role", Some("video_id"), "video_id"),
            ("inputs", None, "input_reference"),
            ("model", None, "model"),
        ] {
            assert_eq!(name(field, from), expected, "{field}");
        }
    }
}
