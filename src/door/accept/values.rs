//! Well-known types of protobuf as plain values.

use std::time::Duration;

use prost_types::{Struct, Value as Wire, value::Kind};
use serde_json::{Map, Value};

use super::Violations;

/// Largest whole number whose neighbours a float still tells apart.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// A duration that is not negative and has the form protobuf prescribes.
pub(super) fn duration(duration: &prost_types::Duration, field: &str, violations: &mut Violations) -> Option<Duration> {
    let seconds = u64::try_from(duration.seconds);
    let nanos = u32::try_from(duration.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    match (seconds, nanos) {
        (Ok(seconds), Some(nanos)) => Some(Duration::new(seconds, nanos)),
        (Err(_), _) | (_, None) => {
            violations.add(field, "must not be negative, with nanos from 0 to 999 999 999");
            None
        }
    }
}

/// A struct as JSON. Numbers that JSON cannot write, and values without any kind, are violations.
pub(super) fn object(fields: Struct, path: &str, violations: &mut Violations) -> Map<String, Value> {
    let fields = fields.fields.into_iter();
    fields.map(|(key, value)| (key.clone(), json(value, &format!("{path}.{key}"), violations))).collect()
}

fn json(value: Wire, path: &str, violations: &mut Violations) -> Value {
    match value.kind {
        None => {
            violations.add(path, "has no value; send null_value for null");
            Value::Null
        }
        Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::NumberValue(value)) => number(value).unwrap_or_else(|| {
            violations.add(path, "must be a finite number");
            Value::Null
        }),
        Some(Kind::StructValue(value)) => Value::Object(object(value, path, violations)),
        Some(Kind::ListValue(list)) => {
            let values = list.values.into_iter().enumerate();
            values.map(|(index, value)| json(value, &format!("{path}[{index}]"), violations)).collect()
        }
    }
}

/// Whole numbers stay whole: the wire has floats only, and many vendors refuse `5.0` where they take `5`.
fn number(value: f64) -> Option<Value> {
    #[expect(clippy::cast_possible_truncation, reason = "whole and small enough for a float to hold it exactly")]
    if value.fract() == 0.0 && value.abs() < MAX_EXACT {
        return Some(Value::from(value as i64));
    }
    serde_json::Number::from_f64(value).map(Value::Number)
}
