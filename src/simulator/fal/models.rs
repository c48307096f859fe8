//! The endpoints: what each takes, judged as pydantic words it, and what it makes.

use std::{collections::BTreeMap, io, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, json};

/// fal's endpoints by id.
#[derive(Debug)]
pub(super) struct Endpoints(BTreeMap<String, Arc<Endpoint>>);

/// One endpoint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    ids: Vec<String>,
    pub(super) makes: Makes,
    /// The field of the text.
    #[serde(default = "prompt")]
    pub(super) prompt: String,
    /// Its output names the seed.
    #[serde(default)]
    pub(super) seeded: bool,
    #[serde(default)]
    required: Vec<String>,
    fields: BTreeMap<String, Field>,
    /// Least and greatest number, or number of characters or items.
    #[serde(default)]
    limits: BTreeMap<String, (f64, f64)>,
}

/// What an endpoint makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Makes {
    Video,
    Image,
    Audio,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Field {
    Kind(Kind),
    OneOf(Vec<String>),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    String,
    Integer,
    Number,
    Boolean,
    Url,
    Urls,
    Object,
    /// A word for a usual size of picture, or width and height.
    Size,
}

/// The usual sizes of pictures.
const SIZES: [(&str, u64, u64); 6] = [
    ("square_hd", 1024, 1024),
    ("square", 512, 512),
    ("portrait_4_3", 768, 1024),
    ("portrait_16_9", 576, 1024),
    ("landscape_4_3", 1024, 768),
    ("landscape_16_9", 1024, 576),
];

fn prompt() -> String {
    "prompt".to_owned()
}

impl Endpoints {
    pub(super) fn read() -> io::Result<Self> {
        #[derive(Deserialize)]
        struct File {
            endpoint: Vec<Endpoint>,
        }
        let file: File = toml::from_str(include_str!("models.toml")).map_err(io::Error::other)?;
        let endpoints = file.endpoint.into_iter().map(Arc::new);
        let by_id =
            |endpoint: Arc<Endpoint>| endpoint.ids.clone().into_iter().map(move |id| (id, Arc::clone(&endpoint)));
        Ok(Self(endpoints.flat_map(by_id).collect()))
    }

    pub(super) fn get(&self, id: &str) -> Option<&Arc<Endpoint>> {
        self.0.get(id)
    }
}

impl Endpoint {
    /// What is wrong with a body, as the entries of `detail`; empty if nothing is.
    pub(super) fn judge(&self, body: &Value) -> Vec<Value> {
        let Value::Object(given) = body else {
            return vec![problem(&[], "Input should be a valid dictionary", "dict_type", body)];
        };
        let missing = self.required.iter().filter(|name| !given.contains_key(*name));
        let mut problems: Vec<Value> =
            missing.map(|name| problem(&[json!(name)], "Field required", "missing", body)).collect();
        for (name, value) in given {
            if let Some(field) = self.fields.get(name) {
                problems.extend(field.judge(name, value).or_else(|| self.judge_limit(name, value)));
            }
        }
        problems
    }

    fn judge_limit(&self, name: &str, value: &Value) -> Option<Value> {
        let (least, most) = *self.limits.get(name)?;
        #[expect(clippy::cast_precision_loss, reason = "bodies are far shorter than 2^53")]
        let (size, words) = match value {
            Value::String(text) => (text.chars().count() as f64, ["string_too_short", "string_too_long"]),
            Value::Array(items) => (items.len() as f64, ["sequence_too_short", "sequence_too_long"]),
            other => (other.as_f64()?, ["greater_than_equal", "less_than_equal"]),
        };
        let (word, limit) = match () {
            () if size < least => (words[0], least),
            () if size > most => (words[1], most),
            () => return None,
        };
        let text = format!("Input should be {} {limit}", word.replace('_', " "));
        Some(problem(&[json!(name)], &text, word, value))
    }
}

impl Field {
    fn judge(&self, name: &str, value: &Value) -> Option<Value> {
        let loc = [json!(name)];
        let wrong = |text: &str, kind: &str| Some(problem(&loc, text, kind, value));
        match self {
            Self::OneOf(allowed) => {
                let quoted: Vec<String> = allowed.iter().map(|word| format!("'{word}'")).collect();
                let fits = value.as_str().is_some_and(|word| allowed.iter().any(|known| known == word));
                if fits { None } else { wrong(&format!("Input should be {}", quoted.join(" or ")), "literal_error") }
            }
            Self::Kind(Kind::String | Kind::Url) if !value.is_string() => {
                wrong("Input should be a valid string", "string_type")
            }
            Self::Kind(Kind::Integer) if !value.is_i64() && !value.is_u64() => {
                wrong("Input should be a valid integer", "int_type")
            }
            Self::Kind(Kind::Number) if !value.is_number() => wrong("Input should be a valid number", "float_type"),
            Self::Kind(Kind::Boolean) if !value.is_boolean() => wrong("Input should be a valid boolean", "bool_type"),
            Self::Kind(Kind::Object) if !value.is_object() => wrong("Input should be a valid dictionary", "dict_type"),
            Self::Kind(Kind::Size) if size(value).is_none() => wrong("Input should be a known size", "literal_error"),
            Self::Kind(Kind::Url) => value.as_str().filter(|text| !is_file(text)).and_then(|_| bad_file(&loc, value)),
            Self::Kind(Kind::Urls) => {
                let Some(items) = value.as_array() else { return wrong("Input should be a valid list", "list_type") };
                let odd = items.iter().position(|item| !item.as_str().is_some_and(is_file))?;
                bad_file(&[json!(name), json!(odd)], &items[odd])
            }
            Self::Kind(_) => None,
        }
    }
}

/// Width and height of a picture.
pub(super) fn size(value: &Value) -> Option<(u64, u64)> {
    match value {
        Value::String(word) => SIZES.iter().find(|(name, ..)| name == word).map(|(_, width, height)| (*width, *height)),
        other => Some((other["width"].as_u64()?, other["height"].as_u64()?)),
    }
}

/// True for an address or a data URI.
fn is_file(text: &str) -> bool {
    ["https://", "http://", "data:"].iter().any(|start| text.starts_with(start))
}

fn bad_file(loc: &[Value], value: &Value) -> Option<Value> {
    Some(problem(
        loc,
        "Failed to download the file. Please check if the URL is accessible.",
        "file_download_error",
        value,
    ))
}

/// An entry of `detail`.
pub(super) fn problem(place: &[Value], text: &str, kind: &str, input: &Value) -> Value {
    let loc: Vec<Value> = std::iter::once(json!("body")).chain(place.iter().cloned()).collect();
    json!({ "loc": loc, "msg": text, "type": kind, "url": format!("https://docs.fal.ai/errors#{kind}"), "input": input })
}
