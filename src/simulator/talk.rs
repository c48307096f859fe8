//! What a simulated language model says. It follows from what was asked, so that a test knows it beforehand:
//!
//! - a schema is answered with JSON that keeps to it, a tool's answer with `The tool said: …`, anything else with `You said: …`;
//! - where the prompt is a JSON object itself, its texts are the values of the schema's properties of the same name;
//! - it wants the first tool called if it must, and the one named if one is named, with arguments that keep to its schema;
//! - marks in the last prompt: `[tool]` wants the first tool called, `[tools]` each of them, `[think]` thinks first, `[refuse]` refuses,
//!   `[filter]` is ended by the content filter, `[words=N]` says N words, however many;
//! - a rule `chat:says=…` is obeyed before all of these.
//!
//! A token is a word with the white space before it.

use serde_json::{Map, Value, json};

/// Deepest level of a schema that is followed.
const MAX_DEPTH: usize = 16;

/// What was asked, in no vendor's words.
#[derive(Debug, Default)]
pub(super) struct Question {
    /// The last prompt of the caller.
    pub(super) prompt: String,
    /// What a tool answered, if that is the last message.
    pub(super) tool_said: Option<String>,
    /// Words of all messages.
    pub(super) n_words: u64,
    /// Names and schemas of the tools.
    pub(super) tools: Vec<(String, Value)>,
    pub(super) choice: Choice,
    /// The answer must be JSON.
    pub(super) json: bool,
    /// The answer must keep to this.
    pub(super) schema: Option<Value>,
    /// Most tokens of the answer.
    pub(super) max_tokens: Option<u64>,
    /// It is to think before it answers.
    pub(super) thinks: bool,
}

/// Whether a tool is to be called.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Choice {
    #[default]
    Free,
    Never,
    Must,
    This(String),
}

/// What it answers.
#[derive(Debug, Clone)]
pub(super) struct Speech {
    pub(super) thoughts: String,
    pub(super) text: Text,
    pub(super) refusal: String,
    /// Names and arguments.
    pub(super) calls: Vec<(String, Value)>,
    pub(super) end: End,
    pub(super) n_input: u64,
    pub(super) n_output: u64,
    pub(super) n_thoughts: u64,
}

/// Why it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Stop,
    Length,
    ToolCalls,
    Filter,
}

/// A text, perhaps too long to be written down at once.
#[derive(Debug, Clone)]
pub(super) enum Text {
    Written(String),
    Counted(u64),
}

impl Text {
    /// The text token by token.
    pub(super) fn tokens(&self) -> Box<dyn Iterator<Item = String> + Send> {
        match self {
            Self::Written(text) => Box::new(tokens(text).into_iter()),
            Self::Counted(n) => Box::new((1..=*n).map(|nth| match nth {
                1 => "word1".to_owned(),
                nth => format!(" word{nth}"),
            })),
        }
    }

    /// All of it.
    pub(super) fn whole(&self) -> String {
        self.tokens().collect()
    }

    fn len(&self) -> u64 {
        match self {
            Self::Written(text) => tokens(text).len() as u64,
            Self::Counted(n) => *n,
        }
    }

    fn cut(self, most: u64) -> Self {
        match self {
            Self::Written(text) => {
                Self::Written(tokens(&text).into_iter().take(usize::try_from(most).unwrap_or(usize::MAX)).collect())
            }
            Self::Counted(n) => Self::Counted(n.min(most)),
        }
    }
}

/// Words, each with the white space before it.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    for character in text.chars() {
        let last_is_word = tokens.last().is_some_and(|token| !token.trim().is_empty());
        match tokens.last_mut() {
            Some(token) if !(character.is_whitespace() && last_is_word) => token.push(character),
            Some(_) | None => tokens.push(character.to_string()),
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

impl Question {
    /// The answer to it: these words, if any are given.
    pub(super) fn answer(&self, says: Option<&str>) -> Speech {
        let has = |mark: &str| self.prompt.contains(mark);
        let thoughts = if self.thinks || has("[think]") { "Let me think about it." } else { "" };
        let mut speech = Speech {
            thoughts: thoughts.to_owned(),
            text: Text::Written(String::new()),
            refusal: String::new(),
            calls: if says.is_some() { Vec::new() } else { self.calls() },
            end: End::Stop,
            n_input: self.n_words.max(1),
            n_output: 0,
            n_thoughts: tokens(thoughts).len() as u64,
        };
        if let Some(says) = says {
            speech.text = Text::Written(says.to_owned());
        } else if has("[refuse]") {
            "I cannot help with that.".clone_into(&mut speech.refusal);
        } else if has("[filter]") {
            speech.end = End::Filter;
        } else if !speech.calls.is_empty() {
            speech.end = End::ToolCalls;
        } else {
            speech.text = self.text();
        }
        let calls: usize = speech.calls.iter().map(|(_, arguments)| tokens(&arguments.to_string()).len() + 1).sum();
        let n_said = speech.text.len() + tokens(&speech.refusal).len() as u64 + calls as u64;
        if let Some(most) = self.max_tokens.filter(|most| *most < n_said && speech.end == End::Stop) {
            speech.text = speech.text.cut(most);
            speech.end = End::Length;
        }
        speech.n_output = speech.n_thoughts + n_said.min(self.max_tokens.unwrap_or(u64::MAX));
        speech
    }

    fn calls(&self) -> Vec<(String, Value)> {
        let wants =
            |n: usize| self.tools.iter().take(n).map(|(name, schema)| (name.clone(), example(schema))).collect();
        match &self.choice {
            Choice::Never => Vec::new(),
            Choice::This(name) => {
                let named = self.tools.iter().filter(|(known, _)| known == name);
                named.map(|(name, schema)| (name.clone(), example(schema))).collect()
            }
            Choice::Must => wants(1),
            Choice::Free if self.tool_said.is_some() => Vec::new(),
            Choice::Free if self.prompt.contains("[tools]") => wants(usize::MAX),
            Choice::Free if self.prompt.contains("[tool]") => wants(1),
            Choice::Free => Vec::new(),
        }
    }

    fn text(&self) -> Text {
        if let Some(schema) = &self.schema {
            return Text::Written(self.about(schema).to_string());
        }
        if self.json {
            return Text::Written(json!({ "answer": self.prompt }).to_string());
        }
        if let Some(said) = &self.tool_said {
            return Text::Written(format!("The tool said: {said}"));
        }
        let n = self.prompt.split_once("[words=").and_then(|(_, rest)| rest.split_once(']')?.0.parse().ok());
        n.map_or_else(|| Text::Written(format!("You said: {}", self.prompt)), Text::Counted)
    }
}

impl Question {
    /// A value that keeps to a schema, with the texts that the prompt has for it.
    fn about(&self, schema: &Value) -> Value {
        let mut value = example(schema);
        let given: Value = serde_json::from_str(&self.prompt).unwrap_or_default();
        for (name, property) in value.as_object_mut().into_iter().flatten() {
            if let (Value::String(text), Some(given)) = (property, given[name.as_str()].as_str()) {
                given.clone_into(text);
            }
        }
        value
    }
}

/// A value that keeps to the usual words of a JSON Schema.
pub(super) fn example(schema: &Value) -> Value {
    Example { root: schema }.of(schema, MAX_DEPTH)
}

struct Example<'a> {
    root: &'a Value,
}

impl Example<'_> {
    fn of(&self, schema: &Value, depth: usize) -> Value {
        let Some(depth) = depth.checked_sub(1) else { return Value::Null };
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        for list in ["enum", "examples"] {
            if let Some(first) = schema[list].get(0) {
                return first.clone();
            }
        }
        if let Some(place) = schema["$ref"].as_str().and_then(|place| place.strip_prefix('#')) {
            return self.root.pointer(place).map_or(Value::Null, |schema| self.of(schema, depth));
        }
        for list in ["anyOf", "oneOf", "allOf"] {
            if let Some(first) = schema[list].get(0) {
                return self.of(first, depth);
            }
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds.first().and_then(Value::as_str),
            kind => kind.as_str(),
        };
        // Gemini writes them in capitals.
        match kind.map(str::to_ascii_lowercase).as_deref() {
            Some("integer") => {
                let above = schema["exclusiveMinimum"].as_i64().map(|least| least.saturating_add(1));
                json!(schema["minimum"].as_i64().or(above).or_else(|| schema["maximum"].as_i64()).unwrap_or(1))
            }
            Some("number") => json!(schema["minimum"].as_f64().or_else(|| schema["maximum"].as_f64()).unwrap_or(1.5)),
            Some("boolean") => json!(true),
            Some("null") => Value::Null,
            Some("array") => {
                let n = schema["minItems"].as_u64().unwrap_or(1).min(64);
                Value::Array((0..n).map(|_| self.of(&schema["items"], depth)).collect())
            }
            Some("string") => {
                let least = usize::try_from(schema["minLength"].as_u64().unwrap_or(0)).unwrap_or(0).min(4096);
                let text = "text".to_owned();
                json!(if text.len() < least { "x".repeat(least) } else { text })
            }
            Some(_) | None => self.object(schema, depth),
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let properties = schema["properties"].as_object().into_iter().flatten();
        let object: Map<String, Value> =
            properties.map(|(name, property)| (name.clone(), self.of(property, depth))).collect();
        Value::Object(object)
    }
}

/// A text in about three pieces, as arguments of tools come.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let size = characters.len().div_ceil(3).max(1);
    characters.chunks(size).map(|piece| piece.iter().collect()).collect()
}
