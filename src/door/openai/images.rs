//! `POST /v1/images/generations`, and what it has in common with `/v1/images/edits`.
//!
//! Outputs come in base64 unless `response_format` is `url`, those of DALL·E by address unless it is `b64_json`, as OpenAI has it. `auto` and `standard`, which leave a choice to the model, are as good as nothing; a value
//! that the model cannot honour is refused like everywhere, and nothing is dropped. There are no partial images, which OpenAI does not promise either.

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing::post,
};
use http::{header::HOST, uri::Authority};
use prost_types::value::Kind;

use super::{
    Door, edits, events, extension, key,
    names::{Names, PASSED_ON},
    params::Params,
    pictures,
    problem::Problem,
    wait::{GENERATION, Made},
};
use crate::{
    domain::{artifact, card::ModelCard, order::OptionName},
    pb::v1::{GenerateImageRequest, ImageOptions},
};

pub(super) fn router() -> Router<Door> {
    Router::new().route("/images/generations", post(generate)).route("/images/edits", post(edits::edit))
}

async fn generate(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let caller = door.caller(request.headers())?;
    let (host, key) = (host(&request), key::of(request.headers())?);
    let mut params = Params::read(&door, &caller, request).await?;
    let how = How::read(&mut params, "image_generation.completed", host)?;
    let mut request = order(&door, &mut params)?;
    let how = how.of(&request.model);
    key::give(&mut request.request_id, key)?;
    let names = Names { prompt: "prompt", format: "output_format", n_images: 0, n_masks: 0 };
    let made = door.make(caller, request, names).await?;
    answer(door, made, how).await
}

/// How a call wants its answer.
#[derive(Debug)]
pub(super) struct How {
    /// Whether by address; none if the caller does not say.
    by_url: Option<bool>,
    streams: bool,
    /// Type of the event of a streamed answer.
    event: &'static str,
    /// Where the caller reached us.
    host: Option<Authority>,
}

impl How {
    pub(super) fn read(params: &mut Params, event: &'static str, host: Option<Authority>) -> Result<Self, Problem> {
        let by_url = match params.text("response_format")?.as_deref() {
            None => None,
            Some("b64_json") => Some(false),
            Some("url") => Some(true),
            Some(_) => return Err(one_of("response_format", &["b64_json", "url"])),
        };
        let streams = params.flag("stream")?.unwrap_or(false);
        if params.whole("partial_images")?.is_some_and(|n| !(0..=3).contains(&n)) {
            return Err(Problem::wrong_value("partial_images", "it must be from 0 to 3"));
        }
        if by_url == Some(true) && streams {
            return Err(Problem::wrong_value("response_format", "with stream it can only be b64_json"));
        }
        Ok(Self { by_url, streams, event, host })
    }

    /// Of this model, as the caller names it. Programs for DALL·E read `url` unless they ask for bytes, all others `b64_json`.
    pub(super) fn of(self, model: &str) -> Self {
        let name = model.rsplit('/').next().unwrap_or_default();
        let by_url = self.by_url.unwrap_or_else(|| !self.streams && name.starts_with("dall-e-"));
        Self { by_url: Some(by_url), ..self }
    }
}

/// Where the caller reached us: `:authority`, or `Host`.
pub(super) fn host(request: &Request) -> Option<Authority> {
    let named = || request.headers().get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    request.uri().authority().cloned().or_else(named)
}

/// The order that the parameters make, without its inputs.
pub(super) fn order(door: &Door, params: &mut Params) -> Result<GenerateImageRequest, Problem> {
    let prompt = params.required_text("prompt")?;
    let model = params.text("model")?.unwrap_or_default();
    let size = size(params)?;
    let quality = quality(params)?;
    let samples = match params.whole("n")? {
        None => None,
        // A model without a choice makes one.
        Some(1) => card(door, &model).is_some_and(|card| card.options.contains_key(&OptionName::Samples)).then_some(1),
        Some(n) => Some(
            u32::try_from(n)
                .ok()
                .filter(|n| (1..=10).contains(n))
                .ok_or_else(|| Problem::wrong_value("n", "it must be from 1 to 10"))?,
        ),
    };
    let format = params.text("output_format")?.unwrap_or_default();
    let background = params.text("background")?.filter(|word| word != "auto").unwrap_or_default();
    let passed_on = passed_on(params)?;
    let labels = users(params)?;

    let mut request: GenerateImageRequest = extension::request(params)?;
    let further = request.options.take().unwrap_or_default();
    let (width, height) = size.map_or((further.width, further.height), |(width, height)| (Some(width), Some(height)));
    let mut options = ImageOptions { width, height, quality, format, background, ..further };
    options.samples = samples.or(options.samples);
    if !passed_on.is_empty() {
        options.provider_options.get_or_insert_default().fields.extend(passed_on);
    }
    request.labels.extend(labels);
    Ok(GenerateImageRequest { prompt, model, options: Some(options), ..request })
}

/// The card of a model that the caller names.
pub(super) fn card<'a>(door: &'a Door, model: &str) -> Option<&'a ModelCard> {
    let catalog = door.engine.catalog();
    catalog.card(&catalog.named(model, Some(artifact::Kind::Image))?).map(AsRef::as_ref)
}

/// Width and height in pixels.
fn size(params: &mut Params) -> Result<Option<(u32, u32)>, Problem> {
    let Some(text) = params.text("size")?.filter(|text| text != "auto") else { return Ok(None) };
    let sides = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let wrong = || Problem::wrong_value("size", "it must be WIDTHxHEIGHT in pixels, such as 1024x1024, or auto");
    sides.map(Some).ok_or_else(wrong)
}

/// OpenAI's words for the care of the work, in ours.
fn quality(params: &mut Params) -> Result<String, Problem> {
    let word = params.text("quality")?.unwrap_or_default();
    Ok(match word.as_str() {
        "" | "auto" | "standard" => String::new(),
        "low" | "medium" | "high" | "ultra" => word,
        "hd" => "high".to_owned(),
        "max" => "ultra".to_owned(),
        _ => return Err(one_of("quality", &["auto", "low", "medium", "high", "ultra", "max", "standard", "hd"])),
    })
}

/// OpenAI's parameters that are the provider's business alone.
fn passed_on(params: &mut Params) -> Result<Vec<(String, prost_types::Value)>, Problem> {
    let mut fields = Vec::new();
    for name in PASSED_ON {
        let kind = if name == "output_compression" {
            params.whole(name)?.map(|percent| match percent {
                0..=100 => Ok(Kind::NumberValue(percent as f64)),
                _ => Err(Problem::wrong_value(name, "it must be from 0 to 100")),
            })
        } else {
            params.text(name)?.filter(|word| word != "auto").map(|word| Ok(Kind::StringValue(word)))
        };
        if let Some(kind) = kind.transpose()? {
            fields.push((name.to_owned(), prost_types::Value { kind: Some(kind) }));
        }
    }
    Ok(fields)
}

/// Whom the caller orders for, as labels: they are kept with the order and in the ledger, and told to no provider.
pub(super) fn users(params: &mut Params) -> Result<Vec<(String, String)>, Problem> {
    let mut labels = Vec::new();
    for name in ["user", "safety_identifier"] {
        labels.extend(params.text(name)?.filter(|user| !user.is_empty()).map(|user| (name.to_owned(), user)));
    }
    Ok(labels)
}

pub(super) fn one_of(param: &str, allowed: &[&str]) -> Problem {
    Problem::wrong_value(param, format!("it must be one of {}", allowed.join(", ")))
}

/// Waits for the images and answers with them.
pub(super) async fn answer(door: Door, made: Made, how: How) -> Result<Response, Problem> {
    let name = made.header();
    let mut response = if how.streams {
        events::answer(async move { pictures::as_events(&door, &*made.end().await?, how.event).await })
    } else {
        let generation = made.end().await?;
        match how.by_url {
            Some(true) => pictures::by_url(&door, &generation, how.host.as_ref())?,
            Some(false) | None => pictures::in_base64(&door, &generation).await?,
        }
    };
    if let Some(name) = name {
        response.headers_mut().insert(GENERATION, name);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<T>(fields: Value, reader: fn(&mut Params) -> Result<T, Problem>) -> Result<T, String> {
        reader(&mut Params::of_json(fields)).map_err(|problem| problem.envelope().to_string())
    }

    #[test]
    fn sizes_are_width_and_height() {
        for (text, expected) in [("1024x1536", Some((1024, 1536))), ("auto", None), ("3840x2160", Some((3840, 2160)))] {
            assert_eq!(read(json!({ "size": text }), size).unwrap(), expected);
        }
        for text in ["", "1024", "1024X1024", "1024x", "-1x2", "1e3x10", "1024x1024x1", "large"] {
            let refused = read(json!({ "size": text }), size).unwrap_err();
            assert!(refused.contains("\"size\"") && refused.contains("1024x1024"), "{refused}");
        }
    }

    #[test]
    fn the_words_of_both_generations_of_models_are_understood() {
        for (word, ours) in
            [("auto", ""), ("standard", ""), ("hd", "high"), ("low", "low"), ("max", "ultra"), ("ultra", "ultra")]
        {
            assert_eq!(read(json!({ "quality": word }), quality).unwrap(), ours);
        }
        assert!(read(json!({ "quality": "best" }), quality).unwrap_err().contains("standard, hd"));
    }

    #[test]
    fn an_answer_is_wanted_in_one_form() {
        let how = |fields| read(fields, |params| How::read(params, "x", None));
        let by_url = |fields, model| how(fields).unwrap().of(model).by_url;
        for model in ["dall-e-3", "openai/dall-e-2"] {
            assert_eq!(by_url(json!({}), model), Some(true));
            assert_eq!(by_url(json!({ "response_format": "b64_json" }), model), Some(false));
            assert_eq!(by_url(json!({ "stream": true }), model), Some(false));
        }
        for model in ["", "gpt-image-2"] {
            assert_eq!(by_url(json!({}), model), Some(false));
            assert_eq!(by_url(json!({ "response_format": "url" }), model), Some(true));
        }
        assert!(how(json!({ "stream": true, "partial_images": 3 })).unwrap().streams);
        for wrong in [
            json!({ "response_format": "png" }),
            json!({ "response_format": "url", "stream": true }),
            json!({ "partial_images": 4 }),
            json!({ "stream": "yes" }),
        ] {
            assert!(how(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_the_providers_business_is_passed_on() {
        let fields = json!({ "moderation": "low", "output_compression": 80, "input_fidelity": "auto" });
        let passed: Vec<String> = read(fields, passed_on).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(passed, ["moderation", "output_compression"]);
        assert!(read(json!({ "output_compression": 101 }), passed_on).is_err());
    }
}
