//! From an order to the body of a submit: fields by the card, options as flags in the prompt, inputs as data URIs or links. Pure.

use serde_json::{Map, Value};

use crate::{
    domain::card::ModelCard,
    provider::{
        fields,
        http::base64::data_uri,
        port::{InputFile, Order},
    },
};

use super::wire::Task;

/// Other spellings of a flag.
const SPELLINGS: [(&str, &str); 4] = [("ar", "aspect"), ("q", "quality"), ("s", "stylize"), ("v", "version")];

/// Why an order cannot be written, and the field at fault.
#[derive(Debug)]
pub(super) struct Unwritable {
    pub(super) field: String,
    pub(super) why: String,
}

impl Unwritable {
    pub(super) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

/// The body of an order that makes something new.
pub(super) fn of_order(order: &Order, card: &ModelCard) -> Result<Map<String, Value>, Unwritable> {
    for own in ["state", "notifyHook"] {
        if order.provider_options.contains_key(own) {
            return Err(Unwritable::new(format!("options.provider_options.{own}"), "is filled by the service itself"));
        }
    }
    let leads = card.adapter.get("links_lead").and_then(toml::Value::as_bool).unwrap_or(false);
    let mut links = Vec::new();
    let mut files = Vec::with_capacity(order.inputs.len());
    for input in &order.inputs {
        files.push(match &input.file {
            InputFile::Bytes { media_type, data } => Value::from(data_uri(media_type, data)),
            InputFile::Url(url) if leads => {
                links.push(url.as_str());
                Value::Null
            }
            InputFile::Url(url) => Value::from(url.as_str()),
        });
    }
    let mut body = fields::of(order, files).map_err(|why| Unwritable::new("options", why))?;
    if let Some(Value::Array(files)) = body.get_mut("base64Array") {
        files.retain(|file| !file.is_null());
    }
    // Said by the order's mark.
    body.remove("samples_as_steps");
    if card.prompt.max > 0 {
        let prompt = prompt(order, card, &links, &mut body)?;
        body.insert("prompt".to_owned(), Value::from(prompt));
    }
    Ok(body)
}

/// Links first, then the words, then the flags that the card names, each taken out of `body`.
fn prompt(
    order: &Order,
    card: &ModelCard,
    links: &[&str],
    body: &mut Map<String, Value>,
) -> Result<String, Unwritable> {
    if order.kind == crate::domain::artifact::Kind::Image && has_flag(&order.prompt, "video") {
        return Err(Unwritable::new("prompt", "holds --video, which makes a film of a picture's order"));
    }
    let mut parts: Vec<String> = links.iter().map(|link| (*link).to_owned()).collect();
    parts.push(order.prompt.trim().to_owned());
    let flags = card.adapter.get("flags").and_then(toml::Value::as_array);
    for flag in flags.into_iter().flatten().filter_map(toml::Value::as_str) {
        let Some(value) = body.remove(flag) else { continue };
        if has_flag(&order.prompt, flag) {
            let why = format!("holds --{flag}, which the options set as well; set only one");
            return Err(Unwritable::new("prompt", why));
        }
        match value {
            Value::Null | Value::Bool(false) => {}
            Value::Bool(true) => parts.push(format!("--{flag}")),
            Value::Number(number) => parts.push(format!("--{flag} {number}")),
            Value::String(text) if text.contains("--") => {
                return Err(Unwritable::new(field_of(flag, card), "holds --, which begins a flag of its own"));
            }
            Value::String(text) => parts.push(format!("--{flag} {}", text.trim())),
            Value::Array(_) | Value::Object(_) => {
                return Err(Unwritable::new(field_of(flag, card), "must be one value"));
            }
        }
    }
    Ok(parts.join(" ").trim().to_owned())
}

fn field_of(flag: &str, card: &ModelCard) -> String {
    let option = card.options.iter().find(|(name, spec)| spec.field(**name) == flag);
    option.map_or_else(|| format!("options.provider_options.{flag}"), |(name, _)| format!("options.{name}"))
}

fn has_flag(prompt: &str, flag: &str) -> bool {
    let other = SPELLINGS.iter().find_map(|(short, long)| match flag {
        flag if flag == *short => Some(*long),
        flag if flag == *long => Some(*short),
        _ => None,
    });
    prompt.split_whitespace().any(|word| {
        // Typing programs write two dashes as one long one.
        let word = word.strip_prefix("--").or_else(|| word.strip_prefix('—'));
        word.is_some_and(|word| word == flag || Some(word) == other)
    })
}

/// What is done with a task that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// One picture of the grid on its own.
    Upscale,
    /// Four pictures like one of the grid.
    Vary,
    /// The same once more.
    Reroll,
}

impl Action {
    /// As a card says it.
    pub(super) fn of(word: &str) -> Option<Self> {
        match word {
            "UPSCALE" => Some(Self::Upscale),
            "VARIATION" => Some(Self::Vary),
            "REROLL" => Some(Self::Reroll),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Upscale => "UPSCALE",
            Self::Vary => "VARIATION",
            Self::Reroll => "REROLL",
        }
    }

    fn is_of(self, custom_id: &str, index: u64) -> bool {
        let part = match self {
            Self::Upscale => format!("::upsample::{index}::"),
            Self::Vary => format!("::variation::{index}::"),
            Self::Reroll => "::reroll::".to_owned(),
        };
        custom_id.contains(&part)
    }
}

/// The last part of the path and the body of a submit that does something with `parent`: by its button if it shows buttons, else by name.
pub(super) fn of_action(parent: &Task, id: &str, action: Action, index: u64) -> (&'static str, Map<String, Value>) {
    let buttons = parent.buttons.iter().flatten().filter_map(|button| button.custom_id.as_deref());
    let mut body = Map::from_iter([("taskId".to_owned(), Value::from(id))]);
    if let Some(custom_id) = buttons.into_iter().find(|custom_id| action.is_of(custom_id, index)) {
        body.insert("customId".to_owned(), Value::from(custom_id));
        return ("action", body);
    }
    body.insert("action".to_owned(), Value::from(action.word()));
    if action != Action::Reroll {
        body.insert("index".to_owned(), Value::from(index));
    }
    ("change", body)
}
