//! The values of flags: durations, pairs and JSON, read strictly and refused with an example.

use std::time::Duration;

use prost_types::{Struct, Value, value::Kind};

/// Greatest whole number that JSON and the contract's numbers carry exactly.
const EXACT: u64 = (1 << 53) - 1;

/// `5s`, `2.5s`, `1m 30s`, or seconds without a unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).trim();
    if let Ok(seconds) = seconds.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; for example 5s, 2.5s or 1m 30s"))
}

/// `KEY=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected KEY=VALUE".to_owned()),
    }
}

/// `KEY=JSON`.
pub(super) fn json_pair(text: &str) -> Result<(String, Value), String> {
    let (key, json) = pair(text).map_err(|_| "expected KEY=JSON".to_owned())?;
    let value: serde_json::Value = serde_json::from_str(&json)
        .map_err(|error| format!("{json:?} is not JSON ({error}); text needs quotes: --option '{key}=\"text\"'"))?;
    Ok((key, to_proto(value)?))
}

/// The duration as the contract has it.
pub(super) fn to_proto_duration(duration: Duration) -> Result<prost_types::Duration, String> {
    prost_types::Duration::try_from(duration).map_err(|error| error.to_string())
}

fn to_proto(value: serde_json::Value) -> Result<Value, String> {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(number) => Kind::NumberValue(exact(&number)?),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(values) => {
            let values = values.into_iter().map(to_proto).collect::<Result<_, _>>()?;
            Kind::ListValue(prost_types::ListValue { values })
        }
        Json::Object(members) => {
            let fields = members.into_iter().map(|(key, value)| Ok((key, to_proto(value)?)));
            Kind::StructValue(Struct { fields: fields.collect::<Result<_, String>>()? })
        }
    };
    Ok(Value { kind: Some(kind) })
}

/// The number, refused if the contract would change it in silence.
fn exact(number: &serde_json::Number) -> Result<f64, String> {
    let inexact = || format!("{number} is not carried exactly; send it as a string if the provider takes one");
    if let Some(whole) = number.as_i64() {
        return if whole.unsigned_abs() <= EXACT { Ok(whole as f64) } else { Err(inexact()) };
    }
    if number.is_u64() {
        return Err(inexact());
    }
    number.as_f64().ok_or_else(inexact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_may_have_fractions_units_or_neither() {
        let table =
            [("5s", 5.0), ("5", 5.0), ("2.5s", 2.5), ("0.5", 0.5), ("1m 30s", 90.0), ("30min", 1800.0), ("2h", 7200.0)];
        for (text, seconds) in table {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "soon", "-1s", "5 parsecs", "nan", "1e400"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn options_are_json_and_text_without_quotes_is_told_how() {
        let (key, value) = json_pair(r#"camera={"fixed":true,"path":[1,2.5,null]}"#).unwrap();
        assert_eq!(key, "camera");
        assert!(matches!(value.kind, Some(Kind::StructValue(_))));
        let error = json_pair("style=anime").unwrap_err();
        assert!(error.contains(r#"--option 'style="text"'"#), "{error}");
        assert!(json_pair("=1").is_err());
    }

    #[test]
    fn numbers_that_would_be_changed_are_refused() {
        assert!(json_pair("seed=9007199254740991").is_ok());
        for text in ["seed=9007199254740993", "seed=-9223372036854775808", "seed=18446744073709551615"] {
            assert!(json_pair(text).is_err(), "{text}");
        }
    }
}
