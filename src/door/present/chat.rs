//! Chats as the contract's messages.

use super::values::{count, structure};
use crate::{
    chat::{ChatDelta, Conversation, Ended, Finish, Optimized, Said, ToolCallDelta},
    domain::{
        catalog::ProviderEntry,
        chat::{ChatCard, TokenUsage},
        names::ProviderId,
    },
    pb::v1::{self, chat_response::Event},
};

/// The first message of an answer.
pub(in crate::door) fn chat_start(conversation: &Conversation) -> v1::ChatResponse {
    answer(Event::Start(v1::ChatStart {
        name: conversation.id.to_string(),
        model: conversation.model.to_string(),
        session: conversation.session.as_ref().map(ToString::to_string).unwrap_or_default(),
        sample: conversation.sample,
    }))
}

/// A further message.
pub(in crate::door) fn said(said: Said) -> v1::ChatResponse {
    answer(match said {
        Said::More(delta) => Event::Delta(self::delta(delta)),
        Said::End(Ended { usage, cost, provider_chat_id }) => Event::End(v1::ChatEnd {
            usage: usage.as_ref().map(token_usage),
            cost_micro_usd: cost.map(|cost| cost.0),
            provider_chat_id: provider_chat_id.unwrap_or_default(),
        }),
    })
}

fn answer(event: Event) -> v1::ChatResponse {
    v1::ChatResponse { event: Some(event) }
}

fn delta(delta: ChatDelta) -> v1::ChatDelta {
    let ChatDelta { choice, text, reasoning, refusal, tool_calls, finish, extra } = delta;
    let finish_reason = finish.map_or(v1::FinishReason::Unspecified, |finish| match finish {
        Finish::Stop => v1::FinishReason::Stop,
        Finish::Length => v1::FinishReason::Length,
        Finish::ToolCalls => v1::FinishReason::ToolCalls,
        Finish::ContentFilter => v1::FinishReason::ContentFilter,
    });
    v1::ChatDelta {
        choice,
        text,
        reasoning,
        refusal,
        tool_calls: tool_calls.into_iter().map(tool_call).collect(),
        finish_reason: finish_reason.into(),
        provider_fields: (!extra.is_empty()).then(|| structure(&extra)),
    }
}

fn tool_call(call: ToolCallDelta) -> v1::ToolCallDelta {
    let ToolCallDelta { index, id, name, arguments } = call;
    v1::ToolCallDelta { index, id, name, arguments_json: arguments }
}

/// Tokens.
pub(in crate::door) fn token_usage(usage: &TokenUsage) -> v1::TokenUsage {
    v1::TokenUsage {
        input_tokens: count(usage.input),
        cached_input_tokens: count(usage.cached_input),
        output_tokens: count(usage.output),
        reasoning_tokens: count(usage.reasoning),
    }
}

/// The card of a language model, as callers read it.
pub(in crate::door) fn chat_model(provider: &ProviderId, entry: &ProviderEntry, card: &ChatCard) -> v1::Model {
    let tokens = |most: Option<u64>| most.map(count).unwrap_or_default();
    v1::Model {
        name: format!("{provider}/{}", card.name),
        kind: v1::Kind::Text.into(),
        title: card.title.clone(),
        end_of_life: card.end_of_life.map(|day| day.to_string()).unwrap_or_default(),
        source: card.source.clone(),
        available: entry.missing.is_none(),
        aliases: card.aliases.clone(),
        chat: Some(v1::ChatModel {
            context_tokens: tokens(card.context_tokens),
            max_output_tokens: tokens(card.max_output_tokens),
            images: card.images,
            tools: card.tools,
            json_schema: card.json_schema,
            input_micro_usd: card.price.map(|price| price.input.0),
            cached_input_micro_usd: card.price.and_then(|price| price.cached_input).map(|price| price.0),
            output_micro_usd: card.price.map(|price| price.output.0),
        }),
        ..v1::Model::default()
    }
}

/// A better prompt, or the same one.
pub(in crate::door) fn optimized(optimized: Optimized) -> v1::OptimizePromptResponse {
    let Optimized { original, prompt, improvements, language, by, ended } = optimized;
    let is_better = by.is_ok();
    let (model, reason) = match by {
        Ok(model) => (model.to_string(), String::new()),
        Err(why) => (String::new(), why),
    };
    v1::OptimizePromptResponse {
        original_prompt: original,
        optimized_prompt: prompt,
        improvements,
        optimized: is_better,
        language: language.to_string(),
        model,
        reason,
        usage: ended.usage.as_ref().map(token_usage),
        cost_micro_usd: ended.cost.map(|cost| cost.0),
    }
}
