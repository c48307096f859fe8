//! The stand-in's conversations: a canned answer, said word by word, in the script of the question.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::sleep;

use super::Sample;
use crate::{
    domain::chat::{ChatCard, Finish, TokenUsage},
    provider::{
        chat::{
            ChatDelta, ChatEnd, ChatEvent, ChatMessage, ChatOrder, ChatProvider, ChatStream, Part, ResponseFormat,
            Speaker, ToolChoice,
        },
        error::{ErrorKind, ProviderError},
    },
};

const ENGLISH: &str = "This is a sample answer. No model has read your message: configure a provider with language models to talk with a \
    real one.";
const CHINESE: &str = "这是示例回答。没有任何模型读过您的消息:请配置一个带有语言模型的提供商,再与真正的模型对话。";

#[async_trait]
impl ChatProvider for Sample {
    fn chat_models(&self) -> &[Arc<ChatCard>] {
        &self.chat_cards
    }

    async fn chat(&self, order: ChatOrder) -> Result<ChatStream, ProviderError> {
        let refused =
            |field: &str, why: &str| Err(self.error(ErrorKind::InvalidOrder, why).because_of(Some(field.to_owned())));
        match order.tool_choice {
            Some(ToolChoice::Required | ToolChoice::Tool(_)) => {
                return refused("tool_choice", "the sample wants no tools called; choose a real model");
            }
            Some(ToolChoice::None | ToolChoice::Auto) | None => {}
        }
        let is_chinese =
            order.messages.iter().rev().find(|message| message.speaker == Speaker::User).is_some_and(chinese);
        let text = if is_chinese { CHINESE } else { ENGLISH };
        let text = match order.format {
            None | Some(ResponseFormat::Text) => text.to_owned(),
            Some(ResponseFormat::JsonObject) => json!({ "sample": true, "message": text }).to_string(),
            Some(ResponseFormat::JsonSchema { .. }) => {
                return refused("response_format.type", "the sample keeps to no schema; choose a real model");
            }
        };
        let stopped = order.stop.iter().filter_map(|stop| text.find(stop.as_str())).min();
        let text = &text[..stopped.unwrap_or(text.len())];
        let words = words(text);
        let most = order.max_tokens.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        let finish = if words.len() > most { Finish::Length } else { Finish::Stop };
        let said: Vec<String> = words.into_iter().take(most).collect();
        let usage = TokenUsage {
            input: order.messages.iter().map(|message| count(words_of(message))).sum(),
            output: count(said.len()),
            ..TokenUsage::default()
        };
        Ok(spoken(said, finish, usage, self.latency))
    }
}

/// The words one after the other, all of them in `latency`.
fn spoken(words: Vec<String>, finish: Finish, usage: TokenUsage, latency: Duration) -> ChatStream {
    let pause = latency / u32::try_from(words.len().max(1)).unwrap_or(u32::MAX);
    let words = words.into_iter().map(|text| ChatDelta { text, ..ChatDelta::default() });
    let words = stream::iter(words).then(move |delta| async move {
        sleep(pause).await;
        delta
    });
    let last = ChatDelta { finish: Some(finish), ..ChatDelta::default() };
    let end = ChatEvent::End(ChatEnd { usage: Some(usage), vendor_id: None });
    words.chain(stream::iter([last])).map(ChatEvent::Delta).chain(stream::iter([end])).map(Ok).boxed()
}

/// The words of a text, each with the blank behind it; of one without blanks its characters.
fn words(text: &str) -> Vec<String> {
    if text.chars().any(is_han) {
        return text.chars().map(String::from).collect();
    }
    text.split_inclusive(' ').map(str::to_owned).collect()
}

fn words_of(message: &ChatMessage) -> usize {
    texts(message).map(|text| words(text).len()).sum()
}

fn chinese(message: &ChatMessage) -> bool {
    texts(message).any(|text| text.chars().any(is_han))
}

fn texts(message: &ChatMessage) -> impl Iterator<Item = &str> {
    message.content.iter().filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Image { .. } => None,
    })
}

fn is_han(character: char) -> bool {
    matches!(character, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
