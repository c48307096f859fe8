//! An order as a request's body: JSON, or a form as OpenAI's own clients write it.

use reqwest::multipart::{Form, Part};
use serde_json::{Map, Value, json};

use crate::{
    domain::{artifact::Kind, order::InputRole},
    provider::{
        fields,
        http::{base64::data_uri, inputs::File},
        port::{InputFile, Order},
    },
};

/// The key of an object that stands for a file until the body's form is known. No caller's field begins with a NUL.
const FILE: &str = "\0file";

/// The fields of an order, with marks in the place of its files.
#[derive(Debug)]
pub(super) struct Body<'a> {
    fields: Map<String, Value>,
    order: &'a Order,
}

impl<'a> Body<'a> {
    /// # Errors
    /// In words, if the card does not know an option or input.
    pub(super) fn of(order: &'a Order) -> Result<Self, String> {
        let inputs = in_order(order);
        let sorted = inputs.iter().map(|at| order.inputs[*at].clone()).collect();
        let marks = inputs.iter().map(|at| json!({ FILE: at })).collect();
        let mut written = fields::of(&Order { inputs: sorted, ..order.clone() }, marks)?;
        if order.card.is_none() && order.kind == Kind::Speech {
            // The one place where the prompt has another name.
            let input = written.remove("prompt").unwrap_or_default();
            written.insert("input".to_owned(), input);
        }
        // A server may know a described model under another name.
        let fixed = order.card.as_ref().and_then(|card| card.fixed.get("model")?.as_str());
        written.insert("model".to_owned(), Value::from(fixed.unwrap_or(&order.model)));
        Ok(Self { fields: written, order })
    }

    /// True if it has files.
    pub(super) fn has_files(&self) -> bool {
        !self.order.inputs.is_empty()
    }

    /// What the order says, without its files; for finding it in a list.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// As JSON: a file is its address or a data URI, within an object where OpenAI's field takes one.
    pub(super) fn json(&self) -> Value {
        let fields = self.fields.iter().map(|(name, value)| {
            let is_object = name == "input_reference";
            (name.clone(), self.in_json(value, is_object))
        });
        Value::Object(fields.collect())
    }

    fn in_json(&self, value: &Value, is_object: bool) -> Value {
        match value {
            Value::Array(items) => items.iter().map(|item| self.in_json(item, is_object)).collect(),
            Value::Object(inner) => match self.file(value) {
                Some(file) if is_object => json!({ "image_url": address(file) }),
                Some(file) => Value::from(address(file)),
                None => inner.iter().map(|(name, value)| (name.clone(), self.in_json(value, false))).collect(),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }

    /// As a form. `files` are those of the order's inputs, in the request's order.
    ///
    /// # Errors
    /// If a media type is none.
    pub(super) fn form(&self, files: &[File]) -> Result<Form, reqwest::Error> {
        self.fields.iter().try_fold(Form::new(), |form, (name, value)| self.part(form, name, value, files))
    }

    fn part(&self, form: Form, name: &str, value: &Value, files: &[File]) -> Result<Form, reqwest::Error> {
        if let Some(file) = mark(value).and_then(|at| files.get(at)) {
            let part = Part::stream_with_length(file.data.clone(), file.data.len() as u64);
            // Servers judge a file by its name's ending.
            let part = part.file_name(format!("input.{}", file.extension()));
            return Ok(form.part(name.to_owned(), part.mime_str(&file.media_type)?));
        }
        let name = name.to_owned();
        match value {
            Value::Null => Ok(form),
            Value::Bool(flag) => Ok(form.text(name, flag.to_string())),
            Value::Number(number) => Ok(form.text(name, number.to_string())),
            Value::String(text) => Ok(form.text(name, text.clone())),
            // One file of a list goes by the plain name, which every server takes.
            Value::Array(items) => match items.as_slice() {
                [one] if mark(one).is_some() => self.part(form, &name, one, files),
                items => items.iter().try_fold(form, |form, item| self.part(form, &format!("{name}[]"), item, files)),
            },
            Value::Object(inner) => inner
                .iter()
                .try_fold(form, |form, (key, value)| self.part(form, &format!("{name}[{key}]"), value, files)),
        }
    }

    fn file(&self, value: &Value) -> Option<&'a InputFile> {
        Some(&self.order.inputs.get(mark(value)?)?.file)
    }
}

/// The places of the order's inputs as they are sent: what is changed comes first, because a mask belongs to the first image.
pub(super) fn in_order(order: &Order) -> Vec<usize> {
    let mut places: Vec<usize> = (0..order.inputs.len()).collect();
    places.sort_by_key(|at| order.inputs[*at].role != InputRole::Source);
    places
}

fn mark(value: &Value) -> Option<usize> {
    usize::try_from(value.get(FILE)?.as_u64()?).ok()
}

fn address(file: &InputFile) -> String {
    match file {
        InputFile::Url(url) => url.as_str().to_owned(),
        InputFile::Bytes { media_type, data } => data_uri(media_type, data),
    }
}
