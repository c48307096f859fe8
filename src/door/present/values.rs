//! Plain values as the well-known types of protobuf.

use std::time::Duration;

use jiff::Timestamp;
use prost_types::{ListValue, Struct, Value as Wire, value::Kind};
use serde_json::{Map, Value};

use crate::domain::order::OptionValue;

/// Protobuf counts the nanoseconds forward, also before 1970.
pub(super) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    const SECOND: i32 = 1_000_000_000;
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    if nanos < 0 {
        return prost_types::Timestamp { seconds: seconds - 1, nanos: nanos + SECOND };
    }
    prost_types::Timestamp { seconds, nanos }
}

pub(in crate::door) fn duration(duration: Duration) -> prost_types::Duration {
    let nanos = i32::try_from(duration.subsec_nanos()).unwrap_or_default();
    prost_types::Duration { seconds: count(duration.as_secs()), nanos }
}

/// The wire's counts are signed; ours never come near the difference.
pub(super) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// An option counted in seconds.
pub(super) fn seconds(value: &OptionValue) -> Option<prost_types::Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok().map(duration)
}

/// A whole option in the wire's width; absent if it is none.
pub(super) fn number<T: TryFrom<i64>>(value: &OptionValue) -> Option<T> {
    match value {
        OptionValue::Int(value) => T::try_from(*value).ok(),
        OptionValue::Number(_) | OptionValue::Bool(_) | OptionValue::Text(_) => None,
    }
}

pub(super) fn structure(map: &Map<String, Value>) -> Struct {
    Struct { fields: map.iter().map(|(key, value)| (key.clone(), value_of(value))).collect() }
}

/// Any JSON value.
pub(in crate::door) fn value_of(value: &Value) -> Wire {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        // Every JSON number without the feature for arbitrary precision has a float.
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Value::String(value) => Kind::StringValue(value.clone()),
        Value::Array(values) => Kind::ListValue(ListValue { values: values.iter().map(value_of).collect() }),
        Value::Object(map) => Kind::StructValue(structure(map)),
    };
    Wire { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_count_forward() {
        let at = Timestamp::new(-1, -250_000_000).unwrap();
        assert_eq!(timestamp(at), prost_types::Timestamp { seconds: -2, nanos: 750_000_000 });
        let at = Timestamp::new(7, 5).unwrap();
        assert_eq!(timestamp(at), prost_types::Timestamp { seconds: 7, nanos: 5 });
    }

    #[test]
    fn options_have_the_wires_width() {
        assert_eq!(number::<u32>(&OptionValue::Int(24)), Some(24));
        assert_eq!(number::<u32>(&OptionValue::Int(-1)), None);
        assert_eq!(number::<i64>(&OptionValue::Int(-1)), Some(-1));
        let half = seconds(&OptionValue::Number(2.5));
        assert_eq!(half, Some(prost_types::Duration { seconds: 2, nanos: 500_000_000 }));
    }
}
