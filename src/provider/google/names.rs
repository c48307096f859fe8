//! Names as Google's APIs write them: `camelCase` over HTTP, `snake_case` where an SDK or a proxy passes on what it holds.

use serde_json::Value;

/// What `value` holds by this name of camel case, in either way of writing it; null if it holds nothing.
pub(in crate::provider) fn get<'a>(value: &'a Value, name: &str) -> &'a Value {
    static NOTHING: Value = Value::Null;
    let found = value.get(name).filter(|found| !found.is_null());
    found.or_else(|| value.get(snake(name))).unwrap_or(&NOTHING)
}

/// The items of a list; what stands where a list should is its only item.
pub(in crate::provider) fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Null => &[],
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => std::slice::from_ref(value),
    }
}

/// What an answer holds, also as the only item of a list.
pub(in crate::provider) fn one(value: Value) -> Value {
    match value {
        Value::Array(mut items) if items.len() == 1 => items.swap_remove(0),
        other => other,
    }
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
