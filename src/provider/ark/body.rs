//! From an order to the body that Ark takes: fields by the card, and inputs as links or data URIs. Pure.

use serde_json::{Map, Value, json};

use crate::{
    domain::{artifact::Kind, order::InputRole},
    provider::{
        fields,
        http::base64::data_uri,
        port::{InputFile, Order},
    },
};

/// The flags that a model of the first generation reads out of the prompt's end, where they override what is ordered.
const TEXT_FLAGS: [&str; 15] = [
    "resolution",
    "rs",
    "ratio",
    "rt",
    "duration",
    "dur",
    "frames",
    "fps",
    "framespersecond",
    "seed",
    "camerafixed",
    "cf",
    "watermark",
    "wm",
    "generate_audio",
];

/// Why an order cannot be written, and the field at fault.
pub(super) struct Unwritable {
    pub(super) field: &'static str,
    pub(super) why: String,
}

impl Unwritable {
    fn new(field: &'static str, why: impl Into<String>) -> Self {
        Self { field, why: why.into() }
    }
}

/// The body of an order of pictures.
pub(super) fn of_pictures(order: &Order, model: &str) -> Result<Map<String, Value>, Unwritable> {
    let files = order.inputs.iter().map(|input| Value::from(link(&input.file))).collect();
    let mut body = written(order, files)?;
    body.insert("model".to_owned(), Value::from(model));
    // One picture is asked for by asking for no series; in a series the model may end early.
    if let Some(n) = body.get("sequential_image_generation_options").and_then(|options| options["max_images"].as_i64())
        && !order.provider_options.contains_key("sequential_image_generation_options")
    {
        let mode = if n > 1 { "auto" } else { "disabled" };
        body.insert("sequential_image_generation".to_owned(), Value::from(mode));
        if n <= 1 {
            body.remove("sequential_image_generation_options");
        }
    }
    Ok(body)
}

/// The body of an order of a film. `mark` is what the task can be known by later.
pub(super) fn of_film(order: &Order, model: &str, mark: &str) -> Result<Map<String, Value>, Unwritable> {
    let reads_flags = order.card.as_ref().is_some_and(|card| card.adapter.contains_key("text_flags"));
    if reads_flags && let Some(flag) = flag_in(&order.prompt) {
        let why = format!("holds --{flag}, which this model would obey in place of the options; use these");
        return Err(Unwritable::new("prompt", why));
    }
    let mut files = Vec::with_capacity(order.inputs.len());
    for input in &order.inputs {
        files.push(item(input.role, &input.file)?);
    }
    let mut body = written(order, files)?;
    let mut content = Vec::new();
    if let Some(prompt) = body.remove("prompt") {
        content.push(json!({ "type": "text", "text": prompt }));
    }
    match body.remove("content") {
        Some(Value::Array(items)) => content.extend(items),
        Some(Value::Null) | None => {}
        Some(other) => content.push(other),
    }
    body.insert("content".to_owned(), Value::Array(content));
    body.insert("model".to_owned(), Value::from(model));
    body.entry("safety_identifier").or_insert_with(|| Value::from(mark));
    Ok(body)
}

fn written(order: &Order, files: Vec<Value>) -> Result<Map<String, Value>, Unwritable> {
    let field = if order.kind == Kind::Image { "options" } else { "inputs" };
    fields::of(order, files).map_err(|why| Unwritable::new(field, why))
}

/// One thing a film starts from.
fn item(role: InputRole, file: &InputFile) -> Result<Value, Unwritable> {
    let (kind, word) = match role {
        InputRole::FirstFrame => ("image_url", "first_frame"),
        InputRole::LastFrame => ("image_url", "last_frame"),
        InputRole::Reference => ("image_url", "reference_image"),
        InputRole::Source => ("video_url", "reference_video"),
        InputRole::Audio => ("audio_url", "reference_audio"),
        InputRole::Mask | InputRole::Sequence => {
            return Err(Unwritable::new("inputs", format!("has no place for {role}")));
        }
    };
    if role == InputRole::Source && matches!(file, InputFile::Bytes { .. }) {
        return Err(Unwritable::new("inputs", "takes a film by its https address only, not its bytes"));
    }
    Ok(json!({ "type": kind, kind: { "url": link(file) }, "role": word }))
}

fn link(file: &InputFile) -> String {
    match file {
        InputFile::Url(url) => url.to_string(),
        InputFile::Bytes { media_type, data } => data_uri(&media_type.to_ascii_lowercase(), data),
    }
}

fn flag_in(prompt: &str) -> Option<&'static str> {
    prompt.split_whitespace().find_map(|word| {
        let word = word.strip_prefix("--")?.split('=').next()?;
        TEXT_FLAGS.into_iter().find(|flag| word.eq_ignore_ascii_case(flag))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_found_and_dashes_are_not() {
        assert_eq!(flag_in("a fox --rt 16:9"), Some("rt"));
        assert_eq!(flag_in("a fox --DURATION=5"), Some("duration"));
        assert_eq!(flag_in("a fox -- in the snow --slowly, fps 5"), None);
    }
}
