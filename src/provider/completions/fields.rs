//! The chat's field that a vendor's error names.

use crate::provider::chat::ChatOrder;

/// What the vendor calls `param`, in our words; nothing if no field of the chat is known by that name.
pub(in crate::provider) fn field_at_fault(param: &str, order: &ChatOrder) -> Option<String> {
    let param = param.strip_prefix("body.").unwrap_or(param);
    let end = param.find(['.', '[']).unwrap_or(param.len());
    let (name, rest) = param.split_at(end);
    Some(match name {
        "model" | "temperature" | "top_p" | "stop" | "seed" | "parallel_tool_calls" => name.to_owned(),
        "max_tokens" | "max_completion_tokens" => "max_tokens".to_owned(),
        "messages" | "tools" => format!("{name}{}", index(rest)),
        "tool_choice" => "tool_choice".to_owned(),
        "response_format" | "text" => "response_format".to_owned(),
        name if order.provider_options.contains_key(name) => format!("provider_options.{name}"),
        _ => return None,
    })
}

/// The index that a path begins with, as `[2]`; servers write `[2]` and `.2`.
fn index(path: &str) -> String {
    let digits = path.trim_start_matches(['.', '[']);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 { String::new() } else { format!("[{}]", &digits[..end]) }
}
