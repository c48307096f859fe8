//! From an order to the body that the description asks for.

use reqwest::{
    RequestBuilder,
    multipart::{Form, Part},
};
use serde_json::{Map, Value};

use crate::{
    domain::names::SubmitKey,
    provider::{
        fields,
        http::{base64, inputs::File},
        port::{InputFile, Order},
    },
};

use super::{
    description::{Encoding, Inputs, Submit},
    template::{Filling, filled},
};

/// An input on its way into a body.
#[derive(Debug)]
pub(super) enum Passed {
    /// As it stands in the body.
    Value(Value),
    /// A file of the form.
    File(File),
}

/// How this input is passed without its bytes, if it can be.
pub(super) fn without_bytes(submit: &Submit, file: &InputFile) -> Option<Passed> {
    match (submit.encoding, submit.inputs, file) {
        (Encoding::Json, Inputs::DataUri | Inputs::Url, InputFile::Url(url)) => {
            Some(Passed::Value(Value::from(url.as_str())))
        }
        (Encoding::Json | Encoding::Multipart, _, InputFile::Url(_) | InputFile::Bytes { .. }) => None,
    }
}

/// How these bytes are passed.
///
/// # Errors
/// If the vendor takes addresses only.
pub(super) fn with_bytes(submit: &Submit, file: File) -> Result<Passed, String> {
    match (submit.encoding, submit.inputs) {
        (Encoding::Multipart, _) => Ok(Passed::File(file)),
        (Encoding::Json, Inputs::DataUri) => {
            Ok(Passed::Value(Value::from(base64::data_uri(&file.media_type, &file.data))))
        }
        (Encoding::Json, Inputs::Base64) => Ok(Passed::Value(Value::from(base64::encode(&file.data)))),
        (Encoding::Json, Inputs::Url) => Err("takes inputs as https addresses only".to_owned()),
    }
}

/// The request with the order in it.
///
/// # Errors
/// In words, if the order does not fit the card or the description.
pub(super) fn write(
    request: RequestBuilder,
    submit: &Submit,
    order: &Order,
    inputs: Vec<Passed>,
    key: SubmitKey,
) -> Result<RequestBuilder, String> {
    // No order can name a file by its mark, because nobody knows the key before.
    let mark = key.id();
    let mut files = Vec::new();
    let values = inputs.into_iter().map(|input| match input {
        Passed::Value(value) => value,
        Passed::File(file) => {
            files.push(file);
            Value::from(format!("{mark}/{}", files.len() - 1))
        }
    });
    let values: Vec<Value> = values.collect();
    let filling = Filling { model: &order.model, mark: &mark, job: "" };
    let mut body = Map::new();
    for (name, value) in &submit.body {
        body.insert(name.clone(), filled(value, filling));
    }
    for (name, value) in fields::of(order, values)? {
        let path = if submit.fields_at.is_empty() { name } else { format!("{}.{name}", submit.fields_at) };
        fields::put(&mut body, &path, value)?;
    }
    match submit.encoding {
        Encoding::Json => Ok(request.json(&body)),
        Encoding::Multipart => form(body, &mark, &files).map(|form| request.multipart(form)),
    }
}

fn form(body: Map<String, Value>, mark: &str, files: &[File]) -> Result<Form, String> {
    let mut form = Form::new();
    for (name, value) in body {
        let items = match value {
            Value::Array(items) => items,
            one => vec![one],
        };
        for item in items {
            let file = item.as_str().and_then(|text| text.strip_prefix(mark)?.strip_prefix('/')?.parse().ok());
            form = match file.and_then(|index: usize| files.get(index).map(|file| (index, file))) {
                Some((index, file)) => form.part(name.clone(), part(index, file)?),
                None => form.text(name.clone(), written(item)),
            };
        }
    }
    Ok(form)
}

fn part(index: usize, file: &File) -> Result<Part, String> {
    let part = Part::stream_with_length(file.data.clone(), file.data.len() as u64);
    let part = part.file_name(format!("input-{index}.{}", file.extension()));
    part.mime_str(&file.media_type).map_err(|_| "an input has an odd media type".to_owned())
}

fn written(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    }
}
