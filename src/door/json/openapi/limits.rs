//! What the option `filmgate.v1.limits` of a field says, in the words of JSON Schema.

use prost_reflect::{DynamicMessage, FieldDescriptor, Value as Field};
use serde_json::{Value, json};

/// The limits of one field.
#[derive(Debug)]
pub(super) struct Limits(DynamicMessage);

impl Limits {
    /// None if the contract says nothing of the field.
    pub(super) fn of(field: &FieldDescriptor) -> Option<Self> {
        let extension = field.parent_file().parent_pool().get_extension_by_name("filmgate.v1.limits")?;
        let options = field.options();
        if !options.has_extension(&extension) {
            return None;
        }
        match options.get_extension(&extension).into_owned() {
            Field::Message(limits) => Some(Self(limits)),
            _ => None,
        }
    }

    /// Narrows the schema of one value: of the field, of an item of its list, or of a value of its map.
    pub(super) fn narrow(&self, schema: &mut Value) {
        let reads = |one: &str| match schema.get("type") {
            Some(Value::String(only)) => only == one,
            Some(Value::Array(some)) => some.iter().any(|known| known == one),
            _ => false,
        };
        let (is_number, is_text) = (reads("integer") || reads("number"), reads("string"));
        if is_number {
            let (least, most) = (self.number("minimum"), self.number("maximum"));
            set(schema, "minimum", least);
            set(schema, "maximum", most);
            if is_text {
                as_text(schema, least.unwrap_or(f64::MIN), most.unwrap_or(f64::MAX));
            }
        } else if is_text {
            set_count(schema, "minLength", self.count("min_length"));
            set_count(schema, "maxLength", self.count("max_length"));
            if let Some(pattern) = self.text("pattern") {
                schema["pattern"] = pattern.into();
            }
        }
    }

    /// Narrows the schema of a list or a map.
    pub(super) fn narrow_all(&self, schema: &mut Value, is_map: bool) {
        let (least, most) = if is_map { ("minProperties", "maxProperties") } else { ("minItems", "maxItems") };
        set_count(schema, least, self.count("min_items"));
        set_count(schema, most, self.count("max_items"));
        if let Some(pattern) = self.text("key_pattern") {
            schema["propertyNames"] = json!({ "pattern": pattern });
        }
    }

    /// The names of the values that an enum has here; none if all are taken.
    pub(super) fn values(&self) -> Option<Vec<String>> {
        self.texts("values")
    }

    /// The names of the fields of which one must be set if this one is not; none if it may just be left out.
    pub(super) fn required_unless(&self) -> Option<Vec<String>> {
        self.texts("required_unless")
    }

    /// The names of the fields that must not be set where this one is.
    pub(super) fn not_beside(&self) -> Vec<String> {
        self.texts("not_beside").unwrap_or_default()
    }

    fn texts(&self, name: &str) -> Option<Vec<String>> {
        let names = self.get(name)?;
        Some(names.as_list()?.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    fn get(&self, name: &str) -> Option<Field> {
        let field = self.0.get_field_by_name(name)?;
        self.0.has_field_by_name(name).then(|| field.into_owned())
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.as_f64()
    }

    fn count(&self, name: &str) -> Option<u32> {
        self.get(name)?.as_u32()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.as_str().map(str::to_owned)
    }
}

fn set_count(schema: &mut Value, key: &str, count: Option<u32>) {
    if let Some(count) = count {
        schema[key] = count.into();
    }
}

fn set(schema: &mut Value, key: &str, number: Option<f64>) {
    let Some(number) = number else { return };
    #[expect(clippy::cast_possible_truncation, reason = "a whole number of the contract, written as one")]
    let whole = number as i64;
    #[expect(clippy::cast_precision_loss, reason = "compared with the number it comes from")]
    let is_whole = whole as f64 == number;
    schema[key] = if is_whole { whole.into() } else { number.into() };
}

/// A number may also come as text. A pattern cannot compare, so the text is one digit, or so many that it is within the limits for certain.
fn as_text(schema: &mut Value, least: f64, most: f64) {
    const MAX_DIGITS: i32 = 15;
    let lengths: Vec<i32> =
        (2..=MAX_DIGITS).filter(|n| 10_f64.powi(n - 1) >= least && 10_f64.powi(*n) - 1.0 <= most).collect();
    let some = match (lengths.first(), lengths.last()) {
        (Some(first), Some(last)) => Some(format!("[1-9][0-9]{{{},{}}}", first - 1, last - 1)),
        _ => None,
    };
    let digits: String =
        ('0'..='9').zip(0..).filter(|(_, n)| (least..=most).contains(&f64::from(*n))).map(|(digit, _)| digit).collect();
    let one = (!digits.is_empty()).then(|| format!("[{digits}]"));
    let texts: Vec<String> = one.into_iter().chain(some).collect();
    schema["pattern"] = format!("^({})$", texts.join("|")).into();
}
