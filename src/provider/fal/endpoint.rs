//! Which endpoint an order goes to, and what its body is. Pure.
//!
//! fal has an endpoint for each way to use one model: from a text, from a picture, from two. A card is one endpoint, unless its `adapter`
//! table says more:
//!
//! ```toml
//! [model.adapter]
//! endpoint = "acme/clips/text-to-video"     # in place of the card's name
//! size = "image_size"                       # the field of width and height
//! milliseconds = ["length_ms"]              # fields that take seconds a thousandfold
//! [[model.adapter.modes]]
//! inputs = ["first_frame"]                  # with just these roles
//! endpoint = "acme/clips/image-to-video"
//! rename = { image = "image_url" }          # fields with another name there
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    domain::{
        card::{ModelCard, Size},
        order::{InputRole, OptionName},
    },
    provider::{error::ErrorKind, fields, port::Order},
};

/// First segments of endpoints that stand before the owner.
const NAMESPACES: [&str; 2] = ["workflows", "comfy"];

/// The `adapter` table of a card.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ways {
    endpoint: Option<String>,
    modes: Vec<Way>,
    size: Option<String>,
    milliseconds: Vec<String>,
}

/// One way to use a model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Way {
    inputs: BTreeSet<InputRole>,
    endpoint: String,
    #[serde(default)]
    rename: BTreeMap<String, String>,
}

/// Where an order goes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The endpoint's id.
    pub(super) endpoint: String,
    rename: BTreeMap<String, String>,
    ways: Ways,
}

/// Why an order cannot be sent; nothing has been.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) kind: ErrorKind,
    pub(super) text: String,
    pub(super) field: Option<String>,
}

impl Unfit {
    fn order(text: impl Into<String>, field: Option<String>) -> Self {
        Self { kind: ErrorKind::InvalidOrder, text: text.into(), field }
    }
}

impl Ways {
    /// Of a card.
    ///
    /// # Errors
    /// What is wrong with its table, in words.
    pub(super) fn of(card: &ModelCard) -> Result<Self, String> {
        let ways: Self =
            card.adapter.clone().try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let endpoints = ways.endpoint.iter().chain(ways.modes.iter().map(|way| &way.endpoint));
        match endpoints.into_iter().find(|endpoint| !is_endpoint(endpoint)) {
            Some(odd) => Err(format!("{odd:?} is no endpoint such as fal-ai/flux/schnell")),
            None => Ok(ways),
        }
    }

    /// An endpoint of the model; the card's own name without it.
    pub(super) fn main_endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Names that the card's fields have at some endpoint.
    pub(super) fn renamed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.modes.iter().flat_map(|way| way.rename.iter()).map(|(from, to)| (from.as_str(), to.as_str()))
    }
}

/// Where `order` goes.
pub(super) fn target(order: &Order) -> Result<Target, Unfit> {
    let ways = match &order.card {
        Some(card) => Ways::of(card).map_err(|why| Unfit::order(why, None))?,
        None => Ways::default(),
    };
    let roles: BTreeSet<InputRole> = order.inputs.iter().map(|input| input.role).collect();
    let way = ways.modes.iter().find(|way| way.inputs == roles);
    if way.is_none() && !ways.modes.is_empty() && !roles.is_empty() {
        return Err(Unfit::order(format!("{} takes no such inputs together", order.model), Some("inputs".to_owned())));
    }
    let (endpoint, rename) = match way {
        Some(way) => (way.endpoint.clone(), way.rename.clone()),
        None => (ways.endpoint.clone().unwrap_or_else(|| order.model.clone()), BTreeMap::new()),
    };
    if !is_endpoint(&endpoint) {
        let text = "names its models owner/app or owner/app/path, for example fal-ai/flux/schnell";
        return Err(Unfit { kind: ErrorKind::ModelNotFound, text: text.to_owned(), field: None });
    }
    Ok(Target { endpoint, rename, ways })
}

impl Target {
    /// The body of the order, with `files` in the place of its inputs.
    pub(super) fn body(&self, order: &Order, files: Vec<Value>) -> Result<Map<String, Value>, Unfit> {
        let mut body = fields::of(order, files).map_err(|why| Unfit::order(why, None))?;
        if let (Some(field), Some(size)) = (&self.ways.size, Size::of(&order.options)) {
            let size = json!({ "width": size.width, "height": size.height });
            fields::put(&mut body, field, size).map_err(|why| Unfit::order(why, None))?;
        }
        for (from, to) in &self.rename {
            if let Some(value) = body.remove(from) {
                body.insert(to.clone(), value);
            }
        }
        for field in &self.ways.milliseconds {
            if let Some(value) = body.get_mut(field) {
                *value = thousandfold(value);
            }
        }
        Ok(body)
    }
}

/// The option that fills a field.
pub(super) fn option_of(card: &ModelCard, field: &str) -> Option<OptionName> {
    card.options.iter().find(|(name, spec)| spec.field(**name) == field).map(|(name, _)| *name)
}

/// What the addresses of an endpoint's jobs begin with: owner and app, whatever path follows.
pub(super) fn app_of(endpoint: &str) -> String {
    let first = endpoint.split('/').next().unwrap_or_default();
    let n_segments = if NAMESPACES.contains(&first) { 3 } else { 2 };
    endpoint.split('/').take(n_segments).collect::<Vec<_>>().join("/")
}

/// True for an id such as `owner/app/path`.
pub(super) fn is_endpoint(text: &str) -> bool {
    let is_segment = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~@".contains(&byte))
            && !part.bytes().all(|byte| byte == b'.')
    };
    text.contains('/') && text.split('/').all(is_segment)
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates; a time is small")]
fn thousandfold(seconds: &Value) -> Value {
    seconds.as_f64().map_or_else(|| seconds.clone(), |seconds| Value::from((seconds * 1000.0).round() as i64))
}
