//! Answers of language models as vendors give them, one file each below `tests/fixtures/{vendor}/chat`, and what is heard of each.
//!
//! ```json
//! {
//!   "source": "the vendor's page on chats, read 2026-11",
//!   "model": "a name",
//!   "answer": { "status": 200, "headers": { "content-type": "text/event-stream" }, "body": "events as they are, or any JSON" },
//!   "said": { "text": "Hello", "finish": "stop", "usage": { "input": 3, "output": 1 }, "id": "the vendor's id" },
//!   "failed": { "reason": "provider_refused_content", "charged": "no", "then": "fail" }
//! }
//! ```
//!
//! An answer in events is asked for as events. `said` is all that was heard, also before it `failed`; a failure's fields are those of the files of
//! `failures`.

use std::{fs, path::Path};

use futures_util::StreamExt;
use serde::Deserialize;
use url::Url;

use super::{
    failures::{Answered, Expected, is_as_expected, of_error, reply},
    server::Server,
};
use crate::{
    domain::{
        chat::{Finish, TokenUsage},
        failure::{Charged, FailurePhase},
    },
    provider::{
        chat::{ChatEvent, ChatMessage, ChatOrder, ChatProvider, Part, Speaker},
        error::{Effect, ProviderError},
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    source: String,
    model: String,
    answer: Answered,
    #[serde(default)]
    said: Said,
    failed: Option<Expected>,
}

/// All that was said, in one.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Said {
    text: String,
    reasoning: String,
    refusal: String,
    /// Names and arguments.
    calls: Vec<(String, String)>,
    finish: Option<String>,
    usage: Option<Used>,
    id: Option<String>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Used {
    input: u64,
    cached_input: u64,
    output: u64,
    reasoning: u64,
}

/// Every answer on file of `vendor` is heard as its file says. `build` makes the adapter for a base address. Says how many there were.
pub(in crate::provider) async fn are_heard_as_they_say<P: ChatProvider>(
    vendor: &str,
    build: impl Fn(&Url) -> P,
) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(vendor).join("chat");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        let fixture: Fixture = serde_json::from_slice(&fs::read(file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let file = file.file_name().unwrap().to_string_lossy();
        assert!(!fixture.source.is_empty(), "{file}");
        let server = Server::always(reply(&fixture.answer)).await;
        let is_events =
            fixture.answer.headers.get("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        let (said, error) = hear(&build(&server.base), order(&fixture.model, is_events)).await;
        assert_eq!(said, fixture.said, "{file}: {error:?}");
        match (error, &fixture.failed) {
            (None, None) => assert!(said.finish.is_some(), "{file}"),
            (Some(error), Some(expected)) => {
                let charged = match error.effect {
                    Effect::None => error.charged,
                    Effect::Maybe => Charged::Unknown,
                };
                is_as_expected(&file, &of_error(&error, FailurePhase::Provider, charged), expected);
            }
            (error, expected) => panic!("{file}: {error:?}, expected {expected:?}"),
        }
    }
    files.len()
}

fn order(model: &str, stream: bool) -> ChatOrder {
    let content = vec![Part::Text("Say hello".to_owned())];
    let message =
        ChatMessage { speaker: Speaker::User, content, tool_calls: Vec::new(), tool_call_id: None, name: None };
    ChatOrder { stream, ..ChatOrder::plain(model, vec![message]) }
}

async fn hear(provider: &dyn ChatProvider, order: ChatOrder) -> (Said, Option<ProviderError>) {
    let mut said = Said::default();
    let mut stream = match provider.chat(order).await {
        Ok(stream) => stream,
        Err(error) => return (said, Some(error)),
    };
    while let Some(event) = stream.next().await {
        match event {
            Err(error) => return (said, Some(error)),
            Ok(ChatEvent::End(end)) => {
                let used = |TokenUsage { input, cached_input, output, reasoning }| Used {
                    input,
                    cached_input,
                    output,
                    reasoning,
                };
                said.usage = end.usage.map(used);
                said.id = end.vendor_id;
            }
            Ok(ChatEvent::Delta(delta)) => {
                said.text.push_str(&delta.text);
                said.reasoning.push_str(&delta.reasoning);
                said.refusal.push_str(&delta.refusal);
                for call in delta.tool_calls {
                    let index = usize::try_from(call.index).unwrap();
                    said.calls.resize(said.calls.len().max(index + 1), Default::default());
                    said.calls[index].0.push_str(&call.name);
                    said.calls[index].1.push_str(&call.arguments);
                }
                said.finish = delta.finish.map(word).or(said.finish);
            }
        }
    }
    (said, None)
}

fn word(finish: Finish) -> String {
    let word = match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    };
    word.to_owned()
}
