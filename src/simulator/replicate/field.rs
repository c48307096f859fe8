//! One field of a model's input: what values it takes, and its schema.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::problem::Violation;

/// A field as `models.toml` describes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    r#type: Type,
    #[serde(default)]
    pub(super) required: bool,
    format: Option<String>,
    #[serde(default)]
    r#enum: Vec<Value>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    min_items: Option<usize>,
    max_items: Option<usize>,
    pub(super) default: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Type {
    String,
    Integer,
    Number,
    Boolean,
    Array,
}

impl Field {
    /// What is wrong with this value of the field called `name`. Only the first problem is told, as the vendor does.
    pub(super) fn violation(&self, name: &str, value: &Value) -> Option<Violation> {
        let field = format!("input.{name}");
        if !self.r#type.admits(value) {
            let given = kind_of(value);
            let text = format!("Invalid type. Expected: {}, given: {given}", self.r#type.as_str());
            return Some(Violation { kind: "invalid_type", field, description: text });
        }
        if !self.r#enum.is_empty() && !self.r#enum.contains(value) {
            let allowed: Vec<String> = self.r#enum.iter().map(Value::to_string).collect();
            let text = format!("{name} must be one of the following: {}", allowed.join(", "));
            return Some(Violation { kind: "enum", field, description: text });
        }
        let number = value.as_f64();
        if let (Some(number), Some(minimum)) = (number, self.minimum)
            && number < minimum
        {
            let text = format!("Must be greater than or equal to {minimum}");
            return Some(Violation { kind: "number_gte", field, description: text });
        }
        if let (Some(number), Some(maximum)) = (number, self.maximum)
            && number > maximum
        {
            let text = format!("Must be less than or equal to {maximum}");
            return Some(Violation { kind: "number_lte", field, description: text });
        }
        let n_items = value.as_array().map(Vec::len)?;
        if self.min_items.is_some_and(|least| n_items < least) {
            let text = format!("Array must have at least {} items", self.min_items.unwrap_or_default());
            return Some(Violation { kind: "array_min_items", field, description: text });
        }
        let most = self.max_items.filter(|most| n_items > *most)?;
        let text = format!("Array must have at most {most} items");
        Some(Violation { kind: "array_max_items", field, description: text })
    }

    /// The field's JSON schema.
    pub(super) fn schema(&self) -> Value {
        let mut schema = Map::new();
        schema.insert("type".to_owned(), json!(self.r#type.as_str()));
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                schema.insert(key.to_owned(), value);
            }
        };
        set("format", self.format.clone().map(Value::String));
        set("enum", (!self.r#enum.is_empty()).then(|| json!(self.r#enum)));
        set("minimum", self.minimum.map(|number| json!(number)));
        set("maximum", self.maximum.map(|number| json!(number)));
        set("minItems", self.min_items.map(|number| json!(number)));
        set("maxItems", self.max_items.map(|number| json!(number)));
        set("default", self.default.clone());
        Value::Object(schema)
    }
}

impl Type {
    fn admits(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Array => value.is_array(),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
