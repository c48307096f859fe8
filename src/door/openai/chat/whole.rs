//! An answer that is told when it is complete.

use std::collections::{BTreeMap, btree_map::Entry};

use futures_util::StreamExt;
use serde_json::{Map, Value};

use super::wire::{self, Completion, Function, Head, LOGPROBS, Message, OF_THE_WHOLE, finish_word};
use crate::{
    chat::{Answer, ChatDelta, Ended, Error, Said, ToolCall},
    domain::chat::Finish,
};

/// What was said until the end.
#[derive(Debug, Default)]
pub(super) struct Whole {
    choices: BTreeMap<u32, Choice>,
    /// What the provider adds beside the choices.
    of_the_whole: Map<String, Value>,
    ended: Ended,
}

/// One of several answers.
#[derive(Debug, Default)]
struct Choice {
    text: String,
    reasoning: String,
    refusal: String,
    calls: BTreeMap<u32, ToolCall>,
    finish: Option<Finish>,
    extra: Map<String, Value>,
}

impl Whole {
    /// Hears an answer to its end.
    pub(super) async fn of(mut events: Answer) -> Result<Self, Error> {
        let mut whole = Self::default();
        while let Some(said) = events.next().await {
            match said? {
                Said::More(delta) => whole.add(delta),
                Said::End(ended) => whole.ended = ended,
            }
        }
        Ok(whole)
    }

    /// Bytes of its texts, for a body that need not grow.
    pub(super) fn n_said(&self) -> usize {
        self.choices.values().map(|choice| choice.text.len() + choice.reasoning.len()).sum()
    }

    /// How it ended.
    pub(super) fn ended(&self) -> &Ended {
        &self.ended
    }

    fn add(&mut self, delta: ChatDelta) {
        let ChatDelta { choice, text, reasoning, refusal, tool_calls, finish, extra } = delta;
        let choice = self.choices.entry(choice).or_default();
        append(&mut choice.text, text);
        append(&mut choice.reasoning, reasoning);
        append(&mut choice.refusal, refusal);
        for more in tool_calls {
            match choice.calls.entry(more.index) {
                Entry::Vacant(vacant) => {
                    vacant.insert(ToolCall { id: more.id, name: more.name, arguments: more.arguments });
                }
                Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    append(&mut known.id, more.id);
                    append(&mut known.name, more.name);
                    append(&mut known.arguments, more.arguments);
                }
            }
        }
        choice.finish = finish.or(choice.finish);
        for (name, value) in extra {
            let extra = if OF_THE_WHOLE.contains(&name.as_str()) { &mut self.of_the_whole } else { &mut choice.extra };
            merge(extra, name, value);
        }
    }

    /// It in OpenAI's form.
    pub(super) fn completion<'a>(&'a self, head: &'a Head, functions: bool) -> Completion<'a> {
        let choices = self.choices.iter().map(|(index, choice)| wire::Choice {
            index: *index,
            message: choice.message(functions),
            logprobs: choice.extra.get(LOGPROBS),
            finish_reason: finish_word(choice.finish.unwrap_or(Finish::Stop), functions),
        });
        Completion {
            id: &head.id,
            object: "chat.completion",
            created: head.created,
            model: &head.model,
            choices: choices.collect(),
            usage: self.ended.usage.map(Into::into),
            service_tier: self.of_the_whole.get("service_tier"),
            system_fingerprint: self.of_the_whole.get("system_fingerprint"),
        }
    }
}

impl Choice {
    fn message(&self, functions: bool) -> Message<'_> {
        let calls = self.calls.values().map(|call| wire::Call {
            id: &call.id,
            r#type: "function",
            function: Function { name: &call.name, arguments: &call.arguments },
        });
        Message {
            content: &self.text,
            reasoning: &self.reasoning,
            refusal: &self.refusal,
            tool_calls: calls.collect(),
            extra: &self.extra,
            functions,
        }
    }
}

/// The first piece of a text, often the whole of it, is kept as it is.
fn append(text: &mut String, more: String) {
    if text.is_empty() {
        *text = more;
    } else {
        text.push_str(&more);
    }
}

/// Lists go on, objects do so field by field; of everything else the last counts.
fn merge(fields: &mut Map<String, Value>, name: String, value: Value) {
    match (fields.get_mut(&name), value) {
        (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
        (Some(Value::Object(known)), Value::Object(more)) => {
            for (name, value) in more {
                merge(known, name, value);
            }
        }
        (_, value) => drop(fields.insert(name, value)),
    }
}
