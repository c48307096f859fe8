//! Images as OpenAI answers them, from our own bytes.

use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use http::{
    HeaderValue,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    uri::Authority,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Door,
    encode::{self, Piece},
    events::{self, Frames},
    problem::Problem,
};
use crate::{
    domain::{
        artifact::Artifact,
        generation::Generation,
        order::{OptionName, OptionValue},
    },
    door::{links::Grant, refusal::Refusal},
};

/// Seconds for which an address of an image works, as OpenAI's do.
const LINK_SECONDS: i64 = 60 * 60;

/// The answer with every image in base64. Its length is known before a byte is read, so one that is cut off is noticed.
pub(super) async fn in_base64(door: &Door, generation: &Generation) -> Result<Response, Problem> {
    let artifacts = outputs(generation)?;
    let revised = match revised_prompt(generation) {
        Some(prompt) => format!(",\"revised_prompt\":{}", Value::from(prompt)),
        None => String::new(),
    };
    let facts = Value::Object(facts(generation, "created")).to_string();
    let mut pieces = vec![Piece::Text(format!("{},\"data\":[", facts.strip_suffix('}').unwrap_or(&facts)))];
    for (index, artifact) in artifacts.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let file = Piece::of(&door.engine, artifact).await.map_err(Refusal::about(&artifact.id))?;
        pieces.push(Piece::Text(format!("{comma}{{\"b64_json\":\"")));
        pieces.push(file);
        pieces.push(Piece::Text(format!("\"{revised}}}")));
    }
    pieces.push(Piece::Text("]}".to_owned()));
    let length = encode::length(&pieces);
    let mut response = Body::from_stream(encode::joined(pieces)).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

/// The answer with an address of every image. The addresses work without a header, and end by themselves.
pub(super) fn by_url(door: &Door, generation: &Generation, host: Option<&Authority>) -> Result<Response, Problem> {
    let expires = Timestamp::now().as_second().saturating_add(LINK_SECONDS);
    let revised = revised_prompt(generation);
    let image = |artifact: &Artifact| {
        let (tenant, id) = (generation.tenant.clone(), artifact.id.clone());
        let url = door.links.sign_at(host, &Grant { tenant, artifact: id, expires, file_name: String::new() });
        let mut image = Map::from_iter([("url".to_owned(), url.into())]);
        image.extend(revised.map(|prompt| ("revised_prompt".to_owned(), prompt.into())));
        Value::Object(image)
    };
    let data: Vec<Value> = outputs(generation)?.iter().map(image).collect();
    let mut answer = facts(generation, "created");
    answer.insert("data".to_owned(), data.into());
    Ok(Json(answer).into_response())
}

/// An event of type `kind` for every image.
pub(super) async fn as_events(door: &Door, generation: &Generation, kind: &str) -> Result<Frames, Problem> {
    let mut facts = facts(generation, "created_at");
    // The SDKs' type of the event requires them; nobody here counts tokens, and the ledger has the money.
    let details = json!({ "text_tokens": 0, "image_tokens": 0 });
    let usage = json!({ "input_tokens": 0, "input_tokens_details": details, "output_tokens": 0, "total_tokens": 0 });
    facts.insert("usage".to_owned(), usage);
    for (name, usual) in [("background", "auto"), ("quality", "auto"), ("size", "auto")] {
        facts.entry(name).or_insert_with(|| usual.into());
    }
    let mut pieces = Vec::new();
    for artifact in outputs(generation)? {
        let file = Piece::of(&door.engine, artifact).await.map_err(Refusal::about(&artifact.id))?;
        pieces.extend(events::with_file(kind, facts.clone(), "b64_json", file));
    }
    Ok(encode::joined(pieces).boxed())
}

/// What was made; a generation that has expired has nothing left, and its request id answers all the same.
pub(super) fn outputs(generation: &Generation) -> Result<&[Artifact], Problem> {
    if generation.artifacts.is_empty() {
        let message = format!("The outputs of {} are gone. Order them with another key.", generation.id);
        return Err(Problem::not_found("artifact_not_found", message));
    }
    Ok(&generation.artifacts)
}

/// What the answer says of all images: as they are, not as they were asked for.
fn facts(generation: &Generation, created: &str) -> Map<String, Value> {
    let at = generation.ended_at.unwrap_or(generation.created_at);
    let mut facts = Map::from_iter([(created.to_owned(), at.as_second().into())]);
    let mut tell = |name: &str, value: &str| drop(facts.insert(name.to_owned(), value.into()));
    let first = generation.artifacts.first().map(|artifact| &artifact.facts);
    if let Some(format) = first.and_then(|facts| facts.media_type.strip_prefix("image/")) {
        tell("output_format", format);
    }
    if let Some((width, height)) = first.and_then(|facts| facts.width.zip(facts.height)) {
        tell("size", &format!("{width}x{height}"));
    }
    let options = generation.candidate().map(|candidate| &candidate.options);
    let word = |name| match options.and_then(|options| options.get(&name)) {
        Some(OptionValue::Text(word)) => Some(word.as_str()),
        Some(OptionValue::Bool(_) | OptionValue::Int(_) | OptionValue::Number(_)) | None => None,
    };
    // OpenAI knows no others in an answer.
    if let Some(quality) = word(OptionName::Quality).filter(|word| ["low", "medium", "high"].contains(word)) {
        tell("quality", quality);
    }
    if let Some(background) = word(OptionName::Background).filter(|word| ["transparent", "opaque"].contains(word)) {
        tell("background", background);
    }
    facts
}

/// The prompt that was really sent, if that is another than was asked.
fn revised_prompt(generation: &Generation) -> Option<&str> {
    Some(generation.brief.as_str()).filter(|brief| !brief.is_empty() && *brief != generation.prompt)
}
