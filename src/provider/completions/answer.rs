//! What a model says, read from its answer or from the parts of it.

use std::{borrow::Cow, mem};

use serde_json::{Map, Value};

use crate::{
    domain::chat::{Finish, TokenUsage},
    provider::chat::{ChatDelta, ChatEnd, ChatEvent},
};

use super::{
    Fault, Said,
    calls::Calls,
    wire::{self, Call, Extra, Message, Page, Text},
};

/// Reads an answer part by part.
#[derive(Debug, Default)]
pub(super) struct Reader {
    choices: Vec<Choice>,
    vendor_id: String,
    /// The last count of tokens, as it was written. Some servers repeat it in every part.
    usage: String,
    /// What was told beside the answers, as it was written, so that each is passed on once.
    told: Vec<(String, String)>,
}

/// How far one of several answers is.
#[derive(Debug)]
struct Choice {
    index: u32,
    has_ended: bool,
    calls: Calls,
}

/// What a word for an answer's end means.
enum Ending {
    Well(Finish),
    /// A word that nobody knows.
    Unknown,
    /// The vendor gave it up.
    Abandoned,
}

impl Reader {
    /// Reads a part of an answer.
    ///
    /// # Errors
    /// It tells nothing, or that the vendor failed.
    pub(super) fn read<'a>(&mut self, json: &'a [u8], said: &mut Said) -> Result<(), Fault<'a>> {
        let page: Page<'a> = serde_json::from_slice(json).map_err(|_| Fault::Unreadable)?;
        self.hear(page, json, false, said)
    }

    /// Reads a whole answer: one delta for each choice.
    ///
    /// # Errors
    /// As [`Reader::read`]; also if it holds no answer.
    pub(super) fn read_whole<'a>(&mut self, json: &'a [u8], said: &mut Said) -> Result<(), Fault<'a>> {
        let page: Page<'a> = serde_json::from_slice(json).map_err(|_| Fault::Unreadable)?;
        self.hear(page, json, true, said)?;
        if self.choices.is_empty() { Err(Fault::Empty) } else { Ok(()) }
    }

    /// How the answer ended; nothing if it has not.
    pub(super) fn end(&mut self) -> Option<ChatEnd> {
        if self.choices.is_empty() || self.choices.iter().any(|choice| !choice.has_ended) {
            return None;
        }
        let vendor_id = Some(mem::take(&mut self.vendor_id)).filter(|id| !id.is_empty());
        Some(ChatEnd { usage: usage(&self.usage), vendor_id })
    }

    fn hear<'a>(&mut self, page: Page<'a>, json: &'a [u8], is_whole: bool, said: &mut Said) -> Result<(), Fault<'a>> {
        let is_of_error = |key: &str| matches!(key, "message" | "detail" | "errors" | "code");
        let is_error = page.choices.is_none() && page.extra.iter().any(|(key, _)| is_of_error(key));
        if is_error || page.error.is_some_and(|error| !matches!(error.get(), "\"\"" | "{}")) {
            return Err(Fault::Error(json));
        }
        if self.vendor_id.is_empty() {
            self.vendor_id.push_str(&page.id.0);
        }
        if let Some(usage) = page.usage {
            self.usage.clear();
            self.usage.push_str(usage.get());
        }
        let mut extra = self.news(page.extra);
        for (position, choice) in page.choices.into_iter().flatten().enumerate() {
            let delta = self.delta(choice, position, is_whole, mem::take(&mut extra))?;
            if delta != (ChatDelta { choice: delta.choice, ..ChatDelta::default() }) {
                said.push_back(ChatEvent::Delta(delta));
            }
        }
        // After its end an answer has no place for it.
        if !extra.is_empty() && self.choices.first().is_none_or(|first| !first.has_ended) {
            said.push_back(ChatEvent::Delta(ChatDelta { extra, ..ChatDelta::default() }));
        }
        Ok(())
    }

    fn delta<'a>(
        &mut self,
        choice: wire::Choice<'a>,
        position: usize,
        is_whole: bool,
        extra: Map<String, Value>,
    ) -> Result<ChatDelta, Fault<'a>> {
        let index = choice.index.0.unwrap_or(position as u64);
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let known = self.choices.iter().position(|known| known.index == index).unwrap_or_else(|| {
            self.choices.push(Choice { index, has_ended: false, calls: Calls::default() });
            self.choices.len() - 1
        });
        let known = &mut self.choices[known];
        let wire::Choice { message, finish, extra: beside, .. } = choice;
        let Message { content, refusal, reasoning_content, reasoning, mut tool_calls, function_call, extra: within } =
            message;
        if let Some(function) = function_call.filter(|function| !function.is_empty()) {
            tool_calls.push(Call { function: Some(function), ..Call::default() });
        }
        let thoughts = match (reasoning_content.into_all(), content.thoughts) {
            (first, _) if !first.is_empty() => first,
            (_, second) if !second.is_empty() => second,
            (_, _) => reasoning.into_all(),
        };
        let mut delta = ChatDelta {
            choice: index,
            text: content.text.into_owned(),
            reasoning: thoughts.into_owned(),
            refusal: refusal.0.into_owned(),
            tool_calls: tool_calls.iter().map(|call| known.calls.add(call)).collect(),
            finish: None,
            extra,
        };
        delta.extra.extend(values(beside.into_iter().chain(within)));
        if !known.has_ended && (is_whole || !finish.0.is_empty()) {
            known.finish(&finish, &mut delta)?;
        }
        Ok(delta)
    }

    /// What was not told before in the same words.
    fn news(&mut self, extra: Extra<'_>) -> Map<String, Value> {
        let told = &mut self.told;
        let is_new = |(key, raw): &(Cow<'_, str>, &serde_json::value::RawValue)| {
            match told.iter_mut().find(|(known, _)| known == key) {
                Some((_, before)) if before == raw.get() => return false,
                Some((_, before)) => raw.get().clone_into(before),
                None => told.push((key.clone().into_owned(), raw.get().to_owned())),
            }
            true
        };
        values(extra.into_iter().filter(is_new)).collect()
    }
}

impl Choice {
    fn finish<'a>(&mut self, word: &Text<'a>, delta: &mut ChatDelta) -> Result<(), Fault<'a>> {
        let finish = match ending(&word.0) {
            Ending::Well(finish) => finish,
            Ending::Abandoned => return Err(Fault::Abandoned(word.0.clone().into_owned())),
            Ending::Unknown => {
                if !word.0.is_empty() {
                    delta.extra.insert("finish_reason".to_owned(), Value::from(&*word.0));
                }
                if self.calls.any() { Finish::ToolCalls } else { Finish::Stop }
            }
        };
        self.has_ended = true;
        delta.finish = Some(finish);
        Ok(())
    }
}

fn ending(word: &str) -> Ending {
    Ending::Well(match word {
        "stop" | "eos" | "eos_token" | "end_turn" | "stop_sequence" | "STOP" => Finish::Stop,
        "length" | "max_tokens" | "model_length" | "max_output_tokens" | "MAX_TOKENS" => Finish::Length,
        "tool_calls" | "function_call" | "tool_use" => Finish::ToolCalls,
        "content_filter" | "sensitive" | "safety" | "SAFETY" | "refusal" => Finish::ContentFilter,
        // Of OpenRouter, Mistral; of vLLM and SGLang; of DeepSeek.
        "error" | "abort" | "network_error" | "insufficient_system_resource" => return Ending::Abandoned,
        _ => return Ending::Unknown,
    })
}

fn values<'a>(
    extra: impl IntoIterator<Item = (Cow<'a, str>, &'a serde_json::value::RawValue)>,
) -> impl Iterator<Item = (String, Value)> {
    extra.into_iter().filter_map(|(key, raw)| Some((key.into_owned(), serde_json::from_str(raw.get()).ok()?)))
}

/// The count of tokens, if there is one.
fn usage(written: &str) -> Option<TokenUsage> {
    let usage: Value = serde_json::from_str(written).ok()?;
    let count = |value: &Value| value.as_u64().or_else(|| value.as_f64().and_then(whole));
    let first = |values: &[&Value]| values.iter().find_map(|value| count(value));
    let (asked, answered) = (first(&[&usage["prompt_tokens"]]), first(&[&usage["completion_tokens"]]));
    if asked.is_none() && answered.is_none() {
        return None;
    }
    let (input, mut output) = (asked.unwrap_or(0), answered.unwrap_or(0));
    let reasoning = &usage["completion_tokens_details"]["reasoning_tokens"];
    let reasoning = first(&[reasoning, &usage["reasoning_tokens"]]).unwrap_or(0);
    // xAI counts thoughts beside what is said, which the sum shows.
    if reasoning > 0 && count(&usage["total_tokens"]) == Some(input.saturating_add(output).saturating_add(reasoning)) {
        output = output.saturating_add(reasoning);
    }
    let cached = &usage["prompt_tokens_details"]["cached_tokens"];
    let cached = first(&[cached, &usage["prompt_cache_hit_tokens"], &usage["cached_tokens"]]).unwrap_or(0);
    Some(TokenUsage { input, cached_input: cached.min(input), output, reasoning: reasoning.min(output) })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from float saturates")]
fn whole(number: f64) -> Option<u64> {
    (number >= 0.0).then_some(number as u64)
}
