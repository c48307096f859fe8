//! A body of `/v1/chat/completions` as a request of the contract.
//!
//! Every parameter has a place: a field of the contract; `provider_options`, as it came, for the provider to take or refuse; or a refusal
//! here. None is dropped.

use serde_json::{Value, value::RawValue};

use super::{
    form,
    messages::messages,
    names::Names,
    raw::{At, Object, list, plain, read},
    tools::{self, Tools},
};
use crate::{
    door::{openai::problem::Problem, present::value_of},
    pb::v1::ChatRequest,
};

/// What a client asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// The request itself.
    pub(super) request: ChatRequest,
    /// How it wants the answer.
    pub(super) manner: Manner,
    /// What it called things.
    pub(super) names: Names,
}

/// How an answer is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// In pieces, as it is said.
    pub(super) stream: bool,
    /// With a last piece that tells what was used.
    pub(super) include_usage: bool,
    /// Each piece filled up by chance, so that its length tells nobody on the wire what it says.
    pub(super) obfuscate: bool,
    /// The old way of calls, `function_call`, in place of `tool_calls`.
    pub(super) functions: bool,
}

/// Parameters that ask, with these values, for what happens anyway. Clients send them unasked, so they are no reason for a provider to refuse.
const DEFAULTS: [(&str, &[&str]); 7] = [
    ("n", &["1"]),
    ("store", &["false"]),
    ("logprobs", &["false"]),
    ("frequency_penalty", &["0", "0.0"]),
    ("presence_penalty", &["0", "0.0"]),
    ("logit_bias", &["{}"]),
    ("modalities", &[r#"["text"]"#]),
];

/// Reads a body.
pub(super) fn asked(body: &[u8]) -> Result<Asked, Problem> {
    let at = At::Body;
    let mut fields = Object::of_body(body)?;
    let mut request = ChatRequest { model: fields.required("model", &at)?, ..ChatRequest::default() };
    let said = fields.take("messages").ok_or_else(|| at.field("messages").missing())?;
    request.messages = messages(said, &at.field("messages"))?;
    request.temperature = fields.read("temperature", &at)?;
    request.top_p = fields.read("top_p", &at)?;
    request.seed = fields.read("seed", &at)?;
    request.stop = stop(fields.take("stop"), &at.field("stop"))?;
    let limit;
    (request.max_tokens, limit) = max_tokens(&mut fields)?;
    let Tools { tools, choice, old } = tools::read(&mut fields)?;
    (request.tools, request.tool_choice) = (tools, choice);
    request.parallel_tool_calls = fields.read("parallel_tool_calls", &at)?;
    if old {
        // Of the old way there is only ever one.
        request.parallel_tool_calls.get_or_insert(false);
    }
    request.response_format = form::read(fields.take("response_format"), &at.field("response_format"))?;
    let labels = labels(&mut request, &mut fields)?;
    request.session = fields.read("session", &at)?.unwrap_or_default();
    let manner = manner(&mut fields, old)?;
    options(&mut request, fields)?;
    Ok(Asked { request, manner, names: Names { limit, labels, old } })
}

/// One text, or a list of them.
fn stop(raw: Option<&RawValue>, at: &At<'_>) -> Result<Vec<String>, Problem> {
    match raw {
        None => Ok(Vec::new()),
        Some(raw) if raw.get().starts_with('"') => Ok(vec![read(raw, at)?]),
        Some(raw) if raw.get().starts_with('[') => {
            list(raw, at)?.into_iter().enumerate().map(|(index, raw)| read(raw, &at.item(index))).collect()
        }
        Some(raw) => Err(at.wrong_type("a string or an array of strings", raw)),
    }
}

/// The newer name, or the older one; with the one that was used.
fn max_tokens(fields: &mut Object<'_>) -> Result<(Option<u32>, &'static str), Problem> {
    const NAMES: [&str; 2] = ["max_completion_tokens", "max_tokens"];
    let mut found = (None, NAMES[0]);
    for name in NAMES {
        let Some(limit) = fields.read::<i64>(name, &At::Body)? else { continue };
        if found.0.is_some() {
            return Err(At::Body.field(name).wrong_value("set it or max_completion_tokens, not both"));
        }
        let limit =
            u32::try_from(limit).map_err(|_| At::Body.field(name).wrong_value("must be from 1 to 4294967295"))?;
        found = (Some(limit), name);
    }
    Ok(found)
}

/// OpenAI's `metadata`, and our own `labels`, which are the same here; with the name that was used.
fn labels(request: &mut ChatRequest, fields: &mut Object<'_>) -> Result<&'static str, Problem> {
    let mut used = "labels";
    for name in ["labels", "metadata"] {
        let Some(raw) = fields.take(name) else { continue };
        used = name;
        let at = At::Body.field(name);
        for (key, value) in Object::of(raw, &at)?.into_rest() {
            let at = at.field(&key);
            let value = read(value, &at)?;
            if request.labels.insert(key.to_string(), value).is_some() {
                return Err(at.wrong_value("it is in labels too"));
            }
        }
    }
    Ok(used)
}

fn manner(fields: &mut Object<'_>, functions: bool) -> Result<Manner, Problem> {
    let stream = fields.read("stream", &At::Body)?.unwrap_or(false);
    let mut manner = Manner { stream, functions, ..Manner::default() };
    let at = At::Body.field("stream_options");
    let Some(raw) = fields.take("stream_options") else { return Ok(manner) };
    let mut options = Object::of(raw, &at)?;
    manner.include_usage = options.read("include_usage", &at)?.unwrap_or(false);
    manner.obfuscate = options.read("include_obfuscation", &at)?.unwrap_or(false);
    options.none_left(&at)?;
    if !stream {
        return Err(at.wrong_value("it is only taken together with 'stream': true"));
    }
    Ok(manner)
}

/// Everything else, and what is in `provider_options` itself.
fn options(request: &mut ChatRequest, mut fields: Object<'_>) -> Result<(), Problem> {
    const NAME: &str = "provider_options";
    let mut options = prost_types::Struct::default();
    let own = At::Body.field(NAME);
    if let Some(raw) = fields.take(NAME) {
        for (name, raw) in Object::of(raw, &own)?.into_rest() {
            options.fields.insert(name.to_string(), value_of(&any(raw, &own.field(&name))?));
        }
    }
    for (name, raw) in fields.into_rest() {
        let at = At::Body.field(&name);
        let value = any(raw, &at)?;
        if DEFAULTS.iter().any(|(known, values)| *known == name && values.contains(&value.to_string().as_str())) {
            continue;
        }
        if options.fields.insert(name.to_string(), value_of(&value)).is_some() {
            return Err(at.wrong_value(format_args!("it is in {NAME} too")));
        }
    }
    request.provider_options = (!options.fields.is_empty()).then_some(options);
    Ok(())
}

/// A value of any form that the contract's own JSON can hold.
fn any(raw: &RawValue, at: &At<'_>) -> Result<Value, Problem> {
    let value = serde_json::from_str(raw.get()).map_err(|error| at.wrong_value(plain(&error)))?;
    if is_exact(&value) { Ok(value) } else { Err(at.wrong_value("whole numbers beyond 2^53 cannot be passed on")) }
}

/// Whether every number of it is still the same as a float.
fn is_exact(value: &Value) -> bool {
    const MOST: u64 = 1 << 53;
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number <= MOST,
            (None, Some(number)) => number.unsigned_abs() <= MOST,
            (None, None) => true,
        },
        Value::Array(values) => values.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
    }
}
