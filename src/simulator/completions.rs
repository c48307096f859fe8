//! Chat completions as OpenAI writes them, for whichever vendor speaks that language.

use std::iter;

use serde_json::{Value, json};

use super::talk::{Choice, End, Question, Speech, pieces, tokens};

/// What an answer is written from.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: String,
    pub(super) n: u64,
    pub(super) with_logprobs: bool,
    pub(super) speech: Speech,
}

impl Answer {
    /// All of it.
    pub(super) fn whole(&self) -> Value {
        let speech = &self.speech;
        let text = speech.text.whole();
        let calls: Vec<Value> = (0..speech.calls.len()).map(|at| self.call(at)).collect();
        let mut message = json!({ "role": "assistant", "content": null, "refusal": null, "annotations": [] });
        if !text.is_empty() {
            message["content"] = json!(text);
        }
        if !speech.thoughts.is_empty() {
            message["reasoning_content"] = json!(speech.thoughts);
        }
        if !speech.refusal.is_empty() {
            message["refusal"] = json!(speech.refusal);
        }
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
        let logprobs = if self.with_logprobs { logprobs(&tokens(&text)) } else { Value::Null };
        let choice =
            |index| json!({ "index": index, "message": message, "logprobs": logprobs, "finish_reason": self.finish() });
        let choices: Vec<Value> = (0..self.n).map(choice).collect();
        let mut page = self.page("chat.completion", &json!(choices));
        page["usage"] = self.usage();
        page
    }

    /// Event by event.
    pub(super) fn events(self, with_usage: bool) -> impl Iterator<Item = Value> + Send + 'static {
        let usage = with_usage.then(|| self.usage());
        let last = usage.map(|usage| {
            let mut page = self.page("chat.completion.chunk", &json!([]));
            page["usage"] = usage;
            page
        });
        let n = self.n;
        (0..n).flat_map(move |index| self.clone().events_of(index, with_usage)).chain(last)
    }

    fn events_of(self, index: u64, with_usage: bool) -> impl Iterator<Item = Value> + Send + 'static {
        let speech = self.speech.clone();
        let first = json!({ "role": "assistant", "content": "", "refusal": null });
        let thoughts = tokens(&speech.thoughts).into_iter().map(|text| json!({ "reasoning_content": text }));
        let refusal = tokens(&speech.refusal).into_iter().map(|text| json!({ "refusal": text }));
        let text = speech.text.tokens().map(|text| json!({ "content": text }));
        let this = self.clone();
        let calls = (0..speech.calls.len()).flat_map(move |at| {
            let mut begin = this.call(at);
            begin["index"] = json!(at);
            begin["function"]["arguments"] = json!("");
            let more = move |piece| json!({ "index": at, "function": { "arguments": piece } });
            let more = pieces(&this.speech.calls[at].1.to_string()).into_iter().map(more);
            iter::once(begin).chain(more).map(|call| json!({ "tool_calls": [call] }))
        });
        let finish = self.finish();
        let said = iter::once(first).chain(thoughts).chain(refusal).chain(text).chain(calls);
        let ended = iter::once((json!({}), json!(finish)));
        said.map(|delta| (delta, Value::Null)).chain(ended).map(move |(delta, finish)| {
            let mut choice = json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish });
            if let Some(text) = delta["content"].as_str().filter(|text| self.with_logprobs && !text.is_empty()) {
                choice["logprobs"] = logprobs(&[text.to_owned()]);
            }
            let mut page = self.page("chat.completion.chunk", &json!([choice]));
            if with_usage {
                page["usage"] = Value::Null;
            }
            page
        })
    }

    fn page(&self, object: &str, choices: &Value) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": null,
            "choices": choices,
        })
    }

    fn call(&self, at: usize) -> Value {
        let (name, arguments) = &self.speech.calls[at];
        let id = format!("call_{}_{at}", self.id.trim_start_matches("chatcmpl-"));
        json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments.to_string() } })
    }

    fn finish(&self) -> &'static str {
        match self.speech.end {
            End::Stop => "stop",
            End::Length => "length",
            End::ToolCalls => "tool_calls",
            End::Filter => "content_filter",
        }
    }

    fn usage(&self) -> Value {
        let Speech { n_input, n_output, n_thoughts, .. } = self.speech;
        let (n_output, n_thoughts) = (n_output * self.n, n_thoughts * self.n);
        json!({
            "prompt_tokens": n_input,
            "completion_tokens": n_output,
            "total_tokens": n_input + n_output,
            "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
            "completion_tokens_details": {
                "reasoning_tokens": n_thoughts, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            },
        })
    }
}

fn logprobs(tokens: &[String]) -> Value {
    let of = |token: &String| json!({ "token": token, "logprob": -0.5, "bytes": token.as_bytes(), "top_logprobs": [] });
    json!({ "content": tokens.iter().map(of).collect::<Vec<_>>(), "refusal": null })
}

/// What is asked, in no vendor's words.
pub(super) fn question(body: &Value) -> Question {
    let none = Vec::new();
    let messages = body["messages"].as_array().unwrap_or(&none);
    let last_of = |role: &str| messages.iter().rfind(|message| message["role"] == role).map(|it| text(&it["content"]));
    let last = messages.last().filter(|message| message["role"] == "tool" || message["role"] == "function");
    let tools = body["tools"].as_array().unwrap_or(&none).iter().map(|tool| &tool["function"]);
    let format = &body["response_format"];
    let limit = body["max_completion_tokens"].as_u64().or_else(|| body["max_tokens"].as_u64());
    Question {
        prompt: last_of("user").unwrap_or_default(),
        tool_said: last.map(|message| text(&message["content"])),
        n_words: messages.iter().map(|message| text(&message["content"]).split_whitespace().count() as u64).sum(),
        tools: tools
            .map(|tool| (tool["name"].as_str().unwrap_or_default().to_owned(), tool["parameters"].clone()))
            .collect(),
        choice: match &body["tool_choice"] {
            Value::String(word) if word == "none" => Choice::Never,
            Value::String(word) if word == "required" => Choice::Must,
            Value::Object(choice) => Choice::This(text(&choice["function"]["name"])),
            _ => Choice::Free,
        },
        json: format["type"] == "json_object",
        schema: format["json_schema"].get("schema").cloned(),
        max_tokens: limit,
        thinks: false,
    }
}

/// The text of a message's content.
pub(super) fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}
