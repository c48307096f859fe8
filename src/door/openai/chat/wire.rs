//! What OpenAI's clients read: a completion, or pieces of one. Typed, so that nothing is built only to be written.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use crate::{
    chat::{Conversation, ToolCallDelta},
    domain::chat::{Finish, TokenUsage},
};

/// What the provider adds that OpenAI has beside the choices, not in them.
pub(super) const OF_THE_WHOLE: [&str; 2] = ["service_tier", "system_fingerprint"];
/// What the provider adds that OpenAI has in a choice beside the message.
pub(super) const LOGPROBS: &str = "logprobs";

/// What all pieces of one answer have in common.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// The chat's own id, as OpenAI's look.
    pub(super) id: String,
    /// Unix seconds.
    pub(super) created: i64,
    /// The model that answers, `provider/name`: an alias or the default would not say.
    pub(super) model: String,
}

impl Head {
    pub(super) fn of(conversation: &Conversation) -> Self {
        Self {
            id: format!("chatcmpl-{}", conversation.id.id()),
            created: conversation.began_at.as_second(),
            model: conversation.model.to_string(),
        }
    }
}

/// OpenAI's word for how an answer ended. `old` is for clients that have functions, no tools.
pub(super) fn finish_word(finish: Finish, old: bool) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls if old => "function_call",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    }
}

/// Tokens as OpenAI counts them. Only text is read and written here, so the other kinds are none.
#[derive(Debug, Serialize)]
pub(super) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: Read,
    completion_tokens_details: Written,
}

#[derive(Debug, Serialize)]
struct Read {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[derive(Debug, Serialize)]
struct Written {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

impl From<TokenUsage> for Usage {
    fn from(usage: TokenUsage) -> Self {
        Self {
            prompt_tokens: usage.input,
            completion_tokens: usage.output,
            total_tokens: usage.input.saturating_add(usage.output),
            prompt_tokens_details: Read { cached_tokens: usage.cached_input, audio_tokens: 0 },
            completion_tokens_details: Written {
                reasoning_tokens: usage.reasoning,
                audio_tokens: 0,
                accepted_prediction_tokens: 0,
                rejected_prediction_tokens: 0,
            },
        }
    }
}

/// A whole answer.
#[derive(Debug, Serialize)]
pub(super) struct Completion<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created: i64,
    pub(super) model: &'a str,
    pub(super) choices: Vec<Choice<'a>>,
    pub(super) usage: Option<Usage>,
    pub(super) service_tier: Option<&'a Value>,
    pub(super) system_fingerprint: Option<&'a Value>,
}

/// One of its answers.
#[derive(Debug, Serialize)]
pub(super) struct Choice<'a> {
    pub(super) index: u32,
    pub(super) message: Message<'a>,
    pub(super) logprobs: Option<&'a Value>,
    pub(super) finish_reason: &'static str,
}

/// What it says.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) content: &'a str,
    pub(super) reasoning: &'a str,
    pub(super) refusal: &'a str,
    pub(super) tool_calls: Vec<Call<'a>>,
    pub(super) extra: &'a Map<String, Value>,
    /// Whether calls are told in the old way.
    pub(super) functions: bool,
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", "assistant")?;
        // Nothing said beside calls or a refusal is null; nothing said at all is an empty text.
        let is_silent = self.content.is_empty() && !(self.tool_calls.is_empty() && self.refusal.is_empty());
        map.serialize_entry("content", &(!is_silent).then_some(self.content))?;
        map.serialize_entry("refusal", &some(self.refusal))?;
        if !self.extra.contains_key("annotations") {
            map.serialize_entry("annotations", &[(); 0])?;
        }
        if let Some(reasoning) = some(self.reasoning) {
            map.serialize_entry("reasoning_content", reasoning)?;
        }
        if let (true, Some(call)) = (self.functions, self.tool_calls.first()) {
            map.serialize_entry("function_call", &call.function)?;
        } else if !self.tool_calls.is_empty() {
            map.serialize_entry("tool_calls", &self.tool_calls)?;
        }
        for (name, value) in in_message(self.extra) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A call of a tool.
#[derive(Debug, Serialize)]
pub(super) struct Call<'a> {
    pub(super) id: &'a str,
    pub(super) r#type: &'static str,
    pub(super) function: Function<'a>,
}

/// What is called, and with what.
#[derive(Debug, Serialize)]
pub(super) struct Function<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) name: &'a str,
    pub(super) arguments: &'a str,
}

/// A piece of an answer.
#[derive(Debug, Serialize)]
pub(super) struct Piece<'a> {
    pub(super) index: u32,
    pub(super) delta: Delta<'a>,
    pub(super) logprobs: Option<&'a Value>,
    pub(super) finish_reason: Option<&'static str>,
}

/// What a piece says.
#[derive(Debug)]
pub(super) enum Delta<'a> {
    /// That somebody begins to speak.
    Role,
    /// More.
    More {
        text: &'a str,
        reasoning: &'a str,
        refusal: &'a str,
        tool_calls: &'a [ToolCallDelta],
        extra: &'a Map<String, Value>,
        /// Whether calls are told in the old way.
        functions: bool,
    },
    /// Nothing more.
    Nothing,
}

impl Serialize for Delta<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Nothing => {}
            Self::Role => {
                map.serialize_entry("role", "assistant")?;
                map.serialize_entry("content", "")?;
                map.serialize_entry("refusal", &None::<()>)?;
            }
            Self::More { text, reasoning, refusal, tool_calls, extra, functions } => {
                for (name, said) in [("content", text), ("reasoning_content", reasoning), ("refusal", refusal)] {
                    if !said.is_empty() {
                        map.serialize_entry(name, said)?;
                    }
                }
                if let (true, Some(call)) = (functions, tool_calls.first()) {
                    map.serialize_entry("function_call", &Function::from(call))?;
                } else if !tool_calls.is_empty() {
                    map.serialize_entry("tool_calls", &Calls(tool_calls))?;
                }
                for (name, value) in in_message(extra) {
                    map.serialize_entry(name, value)?;
                }
            }
        }
        map.end()
    }
}

struct Calls<'a>(&'a [ToolCallDelta]);

impl Serialize for Calls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(PieceOfCall::from))
    }
}

#[derive(Debug, Serialize)]
struct PieceOfCall<'a> {
    index: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    /// In the first piece only, as its id is.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: Function<'a>,
}

impl<'a> From<&'a ToolCallDelta> for PieceOfCall<'a> {
    fn from(call: &'a ToolCallDelta) -> Self {
        let is_first = !call.id.is_empty() || !call.name.is_empty();
        Self { index: call.index, id: &call.id, r#type: is_first.then_some("function"), function: call.into() }
    }
}

impl<'a> From<&'a ToolCallDelta> for Function<'a> {
    fn from(call: &'a ToolCallDelta) -> Self {
        Self { name: &call.name, arguments: &call.arguments }
    }
}

/// What the provider adds to the message itself.
fn in_message(extra: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    extra.iter().filter(|(name, _)| *name != LOGPROBS && !OF_THE_WHOLE.contains(&name.as_str()))
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
