//! What fields of the contract are called by OpenAI, so that a refusal names what the client sent.

/// Where there are two names, the one that the client used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    /// Of the limit of tokens.
    pub(super) limit: &'static str,
    /// Of labels.
    pub(super) labels: &'static str,
    /// Whether tools are called functions.
    pub(super) old: bool,
}

impl Names {
    /// OpenAI's name of a field.
    pub(super) fn of(self, field: &str) -> String {
        let (first, rest) = field.split_at(field.find(['.', '[']).unwrap_or(field.len()));
        match first {
            "max_tokens" => format!("{}{rest}", self.limit),
            "labels" => format!("{}{rest}", self.labels),
            // Whatever has no field here was sent beside the others.
            "provider_options" => rest.strip_prefix('.').unwrap_or(field).to_owned(),
            "messages" => of_message(field),
            "tools" if self.old => format!("functions{}", rest.replace("_json", "")),
            "tools" => match rest.split_once("].") {
                Some((index, inner)) => format!("tools{index}].function.{}", inner.trim_end_matches("_json")),
                None => field.to_owned(),
            },
            "tool_choice" => match (rest, self.old) {
                (".tool", true) => "function_call.name".to_owned(),
                (_, true) => "function_call".to_owned(),
                (".tool", false) => "tool_choice.function.name".to_owned(),
                (_, false) => "tool_choice".to_owned(),
            },
            "response_format" => match rest {
                "" | ".type" => field.to_owned(),
                inner => format!("response_format.json_schema{}", inner.trim_end_matches("_json")),
            },
            _ => field.to_owned(),
        }
    }
}

fn of_message(field: &str) -> String {
    const CALLS: &str = ".tool_calls[";
    if let Some((message, call)) = field.split_once(CALLS)
        && let Some((index, inner)) = call.split_once("].")
        && inner != "id"
    {
        return format!("{message}{CALLS}{index}].function.{}", inner.trim_end_matches("_json"));
    }
    match field.split_once(".image") {
        Some((part, inner)) => format!("{part}.image_url{}", inner.replace(".uri", ".url")),
        None => field.trim_end_matches(".text").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_called_as_the_client_called_them() {
        let new = Names { limit: "max_completion_tokens", labels: "metadata", old: false };
        for (field, name) in [
            ("model", "model"),
            ("max_tokens", "max_completion_tokens"),
            ("labels.a", "metadata.a"),
            ("provider_options.logit_bias.7", "logit_bias.7"),
            ("provider_options", "provider_options"),
            ("messages", "messages"),
            ("messages[3].content", "messages[3].content"),
            ("messages[3].content[1].text", "messages[3].content[1]"),
            ("messages[3].content[1].image", "messages[3].content[1].image_url"),
            ("messages[3].content[1].image.uri", "messages[3].content[1].image_url.url"),
            ("messages[3].content[1].image.detail", "messages[3].content[1].image_url.detail"),
            ("messages[3].tool_calls[0].id", "messages[3].tool_calls[0].id"),
            ("messages[3].tool_calls[0].arguments_json", "messages[3].tool_calls[0].function.arguments"),
            ("tools", "tools"),
            ("tools[2].name", "tools[2].function.name"),
            ("tools[2].parameters_json", "tools[2].function.parameters"),
            ("tool_choice.mode", "tool_choice"),
            ("tool_choice.tool", "tool_choice.function.name"),
            ("response_format.type", "response_format.type"),
            ("response_format.schema_json", "response_format.json_schema.schema"),
        ] {
            assert_eq!(new.of(field), name);
        }
        let old = Names { limit: "max_tokens", labels: "labels", old: true };
        for (field, name) in [
            ("max_tokens", "max_tokens"),
            ("labels", "labels"),
            ("tools[2].parameters_json", "functions[2].parameters"),
            ("tool_choice.tool", "function_call.name"),
        ] {
            assert_eq!(old.of(field), name);
        }
    }
}
