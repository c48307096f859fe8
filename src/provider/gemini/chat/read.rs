//! What Gemini says, read from its answer or from the parts of it.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use uuid::Uuid;

use crate::{
    domain::chat::{Finish, TokenUsage},
    provider::chat::{ChatDelta, ChatEnd, ChatEvent, ToolCallDelta},
};

/// What an answer's part says.
pub(super) type Said = VecDeque<ChatEvent>;

/// Why an answer, or a part of it, tells nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no JSON of the form agreed.
    Unreadable,
    /// It is an error, with this code.
    Error(Option<u16>),
    /// The content policy refused the conversation, with this reason.
    Blocked(String),
    /// The model's answer was given up, with this reason.
    Abandoned(String),
}

/// Reads an answer part by part.
#[derive(Debug, Default)]
pub(super) struct Reader {
    choices: BTreeMap<u32, Choice>,
    vendor_id: Option<String>,
    usage: Option<Usage>,
}

/// How far one of several answers is.
#[derive(Debug, Default)]
struct Choice {
    /// Some models say it in every part: the last one counts.
    finish: Option<Ending>,
    n_calls: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Well(Finish),
    /// A word that nobody knows.
    Other(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Page<'a> {
    #[serde(borrow)]
    candidates: Option<Vec<Candidate<'a>>>,
    prompt_feedback: Option<Feedback>,
    usage_metadata: Option<Usage>,
    response_id: Option<String>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Candidate<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
    finish_reason: Option<String>,
    finish_message: Option<String>,
    #[serde(borrow)]
    citation_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    grounding_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    url_context_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    safety_ratings: Option<&'a RawValue>,
    #[serde(borrow)]
    logprobs_result: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content<'a> {
    #[serde(borrow)]
    parts: Option<Vec<Part<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Part<'a> {
    text: Option<String>,
    thought: Option<bool>,
    #[serde(borrow)]
    function_call: Option<FunctionCall<'a>>,
    #[serde(borrow)]
    inline_data: Option<&'a RawValue>,
    #[serde(borrow)]
    executable_code: Option<&'a RawValue>,
    #[serde(borrow)]
    code_execution_result: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FunctionCall<'a> {
    id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Feedback {
    block_reason: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Usage {
    prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
}

impl Reader {
    /// Reads a part of an answer.
    ///
    /// # Errors
    /// It tells nothing, or that nothing more comes.
    pub(super) fn read(&mut self, json: &[u8], said: &mut Said) -> Result<(), Fault> {
        let page = serde_json::from_slice(json).map_err(|_| Fault::Unreadable)?;
        self.hear(page, said)
    }

    /// Reads a whole answer: one, or a list of its parts.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub(super) fn read_whole(&mut self, json: &[u8], said: &mut Said) -> Result<(), Fault> {
        if json.trim_ascii_start().first() != Some(&b'[') {
            return self.read(json, said);
        }
        let pages: Vec<Page<'_>> = serde_json::from_slice(json).map_err(|_| Fault::Unreadable)?;
        pages.into_iter().try_for_each(|page| self.hear(page, said))
    }

    /// Says how each answer ended, and what was used; nothing if one has not ended.
    pub(super) fn end(&mut self, said: &mut Said) -> Option<ChatEnd> {
        if self.choices.is_empty() || self.choices.values().any(|choice| choice.finish.is_none()) {
            return None;
        }
        for (index, choice) in &self.choices {
            let mut delta = ChatDelta { choice: *index, ..ChatDelta::default() };
            let complete = if choice.n_calls > 0 { Finish::ToolCalls } else { Finish::Stop };
            delta.finish = Some(match &choice.finish {
                Some(Ending::Well(Finish::Stop)) | None => complete,
                Some(Ending::Well(finish)) => *finish,
                Some(Ending::Other(word)) => {
                    delta.extra.insert("finishReason".to_owned(), Value::from(word.as_str()));
                    complete
                }
            });
            said.push_back(ChatEvent::Delta(delta));
        }
        Some(ChatEnd { usage: self.usage.and_then(tokens), vendor_id: self.vendor_id.take() })
    }

    fn hear(&mut self, page: Page<'_>, said: &mut Said) -> Result<(), Fault> {
        if let Some(error) = page.error {
            let error: Value = serde_json::from_str(error.get()).unwrap_or_default();
            return Err(Fault::Error(error["code"].as_u64().and_then(|code| u16::try_from(code).ok())));
        }
        if let Some(reason) = page.prompt_feedback.and_then(|feedback| feedback.block_reason)
            && page.candidates.as_ref().is_none_or(Vec::is_empty)
        {
            return Err(Fault::Blocked(reason));
        }
        self.vendor_id = page.response_id.or_else(|| self.vendor_id.take());
        self.usage = page.usage_metadata.or(self.usage);
        for (position, candidate) in page.candidates.into_iter().flatten().enumerate() {
            self.candidate(candidate, position, said)?;
        }
        Ok(())
    }

    fn candidate(&mut self, candidate: Candidate<'_>, position: usize, said: &mut Said) -> Result<(), Fault> {
        let index = candidate.index.unwrap_or_else(|| u32::try_from(position).unwrap_or(u32::MAX));
        let choice = self.choices.entry(index).or_default();
        let mut delta = ChatDelta { choice: index, ..ChatDelta::default() };
        let parts = candidate.content.and_then(|content| content.parts).unwrap_or_default();
        parts.into_iter().for_each(|part| choice.add(part, &mut delta));
        for (name, raw) in [
            ("citationMetadata", candidate.citation_metadata),
            ("groundingMetadata", candidate.grounding_metadata),
            ("urlContextMetadata", candidate.url_context_metadata),
            ("safetyRatings", candidate.safety_ratings),
            ("logprobsResult", candidate.logprobs_result),
        ] {
            if let Some(value) = raw.and_then(value).filter(|value| *value != Value::Array(Vec::new())) {
                delta.extra.insert(name.to_owned(), value);
            }
        }
        if delta != (ChatDelta { choice: index, ..ChatDelta::default() }) {
            said.push_back(ChatEvent::Delta(delta));
        }
        if let Some(word) = candidate.finish_reason {
            choice.finish = ending(&word).map_err(|()| {
                let message = candidate.finish_message.unwrap_or_default();
                Fault::Abandoned(format!("{word} {message}"))
            })?;
        }
        Ok(())
    }
}

impl Choice {
    fn add(&mut self, part: Part<'_>, delta: &mut ChatDelta) {
        if let Some(text) = part.text {
            let said = if part.thought == Some(true) { &mut delta.reasoning } else { &mut delta.text };
            said.push_str(&text);
        }
        if let Some(call) = part.function_call {
            // Not every model names its calls, and whoever answers one has to.
            let id = call.id.filter(|id| !id.is_empty());
            delta.tool_calls.push(ToolCallDelta {
                index: self.n_calls,
                id: id.unwrap_or_else(|| format!("call_{}", Uuid::new_v4().simple())),
                name: call.name.unwrap_or_default(),
                arguments: call.args.map_or("{}", RawValue::get).to_owned(),
            });
            self.n_calls = self.n_calls.saturating_add(1);
        }
        for (name, raw) in [
            ("inlineData", part.inline_data),
            ("executableCode", part.executable_code),
            ("codeExecutionResult", part.code_execution_result),
        ] {
            if let Some(value) = raw.and_then(value) {
                let parts = delta.extra.entry("parts").or_insert_with(|| Value::Array(Vec::new()));
                if let Some(parts) = parts.as_array_mut() {
                    parts.push(Value::Object(Map::from_iter([(name.to_owned(), value)])));
                }
            }
        }
    }
}

fn value(raw: &RawValue) -> Option<Value> {
    serde_json::from_str(raw.get()).ok()
}

/// What a word for an answer's end means; an error if the answer was given up.
fn ending(word: &str) -> Result<Option<Ending>, ()> {
    Ok(Some(Ending::Well(match word {
        "" | "FINISH_REASON_UNSPECIFIED" => return Ok(None),
        "STOP" => Finish::Stop,
        "MAX_TOKENS" => Finish::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "LANGUAGE"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "MODEL_ARMOR" => Finish::ContentFilter,
        "OTHER"
        | "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MALFORMED_RESPONSE"
        | "MISSING_THOUGHT_SIGNATURE" => return Err(()),
        other => return Ok(Some(Ending::Other(other.to_owned()))),
    })))
}

/// Google counts thoughts beside what is said, and what tools read beside the prompt.
fn tokens(usage: Usage) -> Option<TokenUsage> {
    usage.prompt_token_count.or(usage.candidates_token_count)?;
    let count = Option::unwrap_or_default;
    let input = u64::saturating_add(count(usage.prompt_token_count), count(usage.tool_use_prompt_token_count));
    let reasoning = count(usage.thoughts_token_count);
    let output = count(usage.candidates_token_count).saturating_add(reasoning);
    Some(TokenUsage { input, cached_input: count(usage.cached_content_token_count).min(input), output, reasoning })
}
