//! `generateContent` and `streamGenerateContent` of language models.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};

use super::Gemini;
use crate::simulator::{
    desk::{Instead, Received, Refusal},
    fault::Subject,
    google,
    talk::{Choice, End, Question, Speech, tokens},
};

pub(super) async fn say(
    gemini: &Gemini,
    model: &str,
    is_stream: bool,
    received: Received,
) -> Result<Response, Instead> {
    let (body, unreadable) = (received.body.clone(), received.unreadable.clone());
    let is_sse = received.path.contains("alt=sse");
    let question = question(&body);
    let subject = Subject { prompt: &question.prompt, model, ..Subject::default() };
    let (chat, call) = gemini.desk.chat(subject, received).await?;
    if let Some(why) = unreadable.or_else(|| wrong(&body)) {
        let refusal = Refusal { status: StatusCode::BAD_REQUEST, text: why, wait: None };
        return Ok(chat.refused(google::refuse(&refusal)));
    }
    if !["gemini-", "gemma-"].iter().any(|family| model.starts_with(family)) {
        let text =
            format!("models/{model} is not found for API version v1beta, or is not supported for generateContent.");
        return Ok(chat.refused(google::refuse(&Refusal { status: StatusCode::NOT_FOUND, text, wait: None })));
    }
    let answer =
        Answer { id: gemini.desk.world.new_id(), model: model.to_owned(), speech: question.answer(call.says()) };
    if !is_stream {
        return Ok(chat.answer(call, answer.whole()).await);
    }
    if !is_sse {
        let parts: Vec<Value> = answer.events().collect();
        return Ok(chat.answer(call, json!(parts)).await);
    }
    Ok(chat.stream(call, answer.events(), "").await)
}

/// `countTokens`: what a conversation would be read as.
pub(super) fn count(received: &Received) -> Response {
    let body = &received.body;
    let n_words = question(body.get("generateContentRequest").unwrap_or(body)).n_words;
    let details = json!([{ "modality": "TEXT", "tokenCount": n_words }]);
    Json(json!({ "totalTokens": n_words, "promptTokensDetails": details })).into_response()
}

/// What an answer is written from.
struct Answer {
    id: String,
    model: String,
    speech: Speech,
}

impl Answer {
    fn whole(&self) -> Value {
        let speech = &self.speech;
        let mut parts = Vec::new();
        if !speech.thoughts.is_empty() {
            parts.push(json!({ "text": speech.thoughts, "thought": true }));
        }
        let text = speech.text.whole() + &speech.refusal;
        if !text.is_empty() {
            parts.push(json!({ "text": text }));
        }
        parts.extend(self.calls());
        self.page(&json!(parts), Some(self.finish()))
    }

    /// Part by part; the last one says why it ended.
    fn events(self) -> impl Iterator<Item = Value> + Send + 'static {
        let speech = &self.speech;
        let thoughts = tokens(&speech.thoughts).into_iter().map(|text| json!({ "text": text, "thought": true }));
        let text = speech.text.tokens().chain(tokens(&speech.refusal)).map(|text| json!({ "text": text }));
        let calls: Vec<Value> = self.calls().collect();
        let said = thoughts.chain(text).chain(calls).map(|part| (json!([part]), None));
        let last = (json!([{ "text": "", "thoughtSignature": "c2ltdWxhdGVk" }]), Some(self.finish()));
        said.chain([last]).map(move |(parts, finish)| self.page(&parts, finish))
    }

    fn calls(&self) -> impl Iterator<Item = Value> {
        self.speech.calls.iter().enumerate().map(|(at, (name, arguments))| {
            let id = format!("{}{at}", &self.id[..8]);
            let mut part = json!({ "functionCall": { "id": id, "name": name, "args": arguments } });
            if at == 0 {
                part["thoughtSignature"] = json!("c2ltdWxhdGVk");
            }
            part
        })
    }

    fn finish(&self) -> &'static str {
        match self.speech.end {
            End::Stop | End::ToolCalls => "STOP",
            End::Length => "MAX_TOKENS",
            End::Filter => "SAFETY",
        }
    }

    fn page(&self, parts: &Value, finish: Option<&str>) -> Value {
        let Speech { n_input, n_output, n_thoughts, .. } = self.speech;
        let mut candidate = json!({ "content": { "parts": parts, "role": "model" }, "index": 0 });
        if let Some(finish) = finish {
            candidate["finishReason"] = json!(finish);
        }
        let mut usage = json!({ "promptTokenCount": n_input, "totalTokenCount": n_input + n_output });
        if finish.is_some() {
            usage["candidatesTokenCount"] = json!(n_output - n_thoughts);
            if n_thoughts > 0 {
                usage["thoughtsTokenCount"] = json!(n_thoughts);
            }
        }
        json!({ "candidates": [candidate], "usageMetadata": usage, "modelVersion": self.model, "responseId": self.id })
    }
}

/// What is asked, in no vendor's words.
fn question(body: &Value) -> Question {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let contents = list(&body["contents"]);
    let text = |content: &Value| {
        let parts = list(&content["parts"]);
        parts.iter().filter_map(|part| part["text"].as_str()).collect::<String>()
    };
    let response = contents.last().and_then(|last| Some(list(&last["parts"]).last()?["functionResponse"].clone()));
    let response = response.filter(Value::is_object).map(|response| response["response"].clone());
    let asked = |content: &&Value| content["role"] != "model" && !text(content).is_empty();
    let declarations = list(&body["tools"]).into_iter().flat_map(|tool| list(&tool["functionDeclarations"]));
    // Google's own client writes this one as the proto does.
    let schemas = ["parametersJsonSchema", "parameters_json_schema", "parameters"];
    let schema = |tool: &Value| schemas.iter().find_map(|key| tool.get(*key)).cloned().unwrap_or_default();
    let calling = &body["toolConfig"]["functionCallingConfig"];
    let config = &body["generationConfig"];
    Question {
        prompt: contents.iter().rfind(asked).map(text).unwrap_or_default(),
        tool_said: response.map(|response| match &response["result"] {
            Value::String(text) => text.clone(),
            _ => response.to_string(),
        }),
        n_words: contents
            .iter()
            .chain([&body["systemInstruction"]])
            .map(|content| text(content).split_whitespace().count() as u64)
            .sum(),
        tools: declarations.map(|tool| (tool["name"].as_str().unwrap_or_default().to_owned(), schema(&tool))).collect(),
        choice: match (calling["mode"].as_str(), calling["allowedFunctionNames"][0].as_str()) {
            (Some("NONE"), _) => Choice::Never,
            (Some("ANY"), Some(name)) => Choice::This(name.to_owned()),
            (Some("ANY"), None) => Choice::Must,
            (_, _) => Choice::Free,
        },
        json: config["responseMimeType"] == "application/json",
        schema: config.get("responseJsonSchema").or_else(|| config.get("responseSchema")).cloned(),
        max_tokens: config["maxOutputTokens"].as_u64(),
        // This one too.
        thinks: ["includeThoughts", "include_thoughts"].iter().any(|key| config["thinkingConfig"][key] == true),
    }
}

fn wrong(body: &Value) -> Option<String> {
    let Some(contents) = body["contents"].as_array().filter(|contents| !contents.is_empty()) else {
        return Some("* GenerateContentRequest.contents: contents is not specified\n".to_owned());
    };
    let known = ["contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings"];
    let others = ["cachedContent", "labels", "serviceTier", "store", "model"];
    let unknown = body
        .as_object()
        .and_then(|body| body.keys().find(|name| !known.iter().chain(&others).any(|known| known == name)).cloned());
    if let Some(name) = unknown {
        return Some(format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field."));
    }
    if contents.iter().any(|content| !matches!(content["role"].as_str(), None | Some("user" | "model"))) {
        return Some("Please use a valid role: user, model.".to_owned());
    }
    let temperature = body["generationConfig"]["temperature"].as_f64().unwrap_or(1.0);
    if !(0.0..=2.0).contains(&temperature) {
        return Some(format!(
            "* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0], but was {temperature}.\n"
        ));
    }
    None
}
