//! The form that an answer must have.

use serde_json::value::RawValue;

use super::raw::{At, Object};
use crate::{
    door::openai::problem::Problem,
    pb::v1::{ResponseFormat, ResponseFormatType},
};

/// `response_format`.
pub(super) fn read(raw: Option<&RawValue>, at: &At<'_>) -> Result<Option<ResponseFormat>, Problem> {
    let Some(raw) = raw else { return Ok(None) };
    let mut fields = Object::of(raw, at)?;
    let kind: String = fields.required("type", at)?;
    let kind = match kind.as_str() {
        "text" => ResponseFormatType::Text,
        "json_object" => ResponseFormatType::JsonObject,
        "json_schema" => ResponseFormatType::JsonSchema,
        _ => return Err(at.field("type").wrong_value("must be one of text, json_object, json_schema")),
    };
    let mut format = ResponseFormat { r#type: kind.into(), ..ResponseFormat::default() };
    if kind == ResponseFormatType::JsonSchema {
        let at = at.field("json_schema");
        let raw = fields.take("json_schema").ok_or_else(|| at.missing())?;
        schema(&mut format, Object::of(raw, &at)?, &at)?;
    }
    fields.none_left(at)?;
    Ok(Some(format))
}

fn schema(format: &mut ResponseFormat, mut fields: Object<'_>, at: &At<'_>) -> Result<(), Problem> {
    format.name = fields.required("name", at)?;
    format.description = fields.read("description", at)?.unwrap_or_default();
    format.strict = fields.read("strict", at)?;
    let of = at.field("schema");
    let schema = fields.take("schema").ok_or_else(|| of.missing())?;
    if !schema.get().starts_with('{') {
        return Err(of.wrong_type("an object", schema));
    }
    schema.get().clone_into(&mut format.schema_json);
    fields.none_left(at)
}
