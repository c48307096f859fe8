//! `generateContent` of image models: a picture within the answer.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Asked, Gemini};
use crate::simulator::{
    desk::{Call, Instead, Outcome, Received},
    output::Media,
};

/// Tokens of a picture.
const TOKENS: u64 = 1290;

/// The words of all parts.
pub(super) fn prompt(received: &Received) -> String {
    let contents = received.body["contents"].as_array().into_iter().flatten();
    let parts = contents.filter_map(|content| content["parts"].as_array()).flatten();
    parts.filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join(" ")
}

/// Makes the picture and answers with it. A failure named like an end (`IMAGE_SAFETY`) is that end, one named
/// `BLOCKED:…` is the prompt's, and any other is said in words.
pub(super) async fn make(
    gemini: &Gemini,
    call: Call,
    model: &str,
    prompt: &str,
    received: Received,
) -> Result<Response, Instead> {
    if let Some(why) = &received.unreadable {
        return Err(call.refuse(StatusCode::BAD_REQUEST, why));
    }
    if received.body["contents"].as_array().is_none_or(Vec::is_empty) {
        return Err(
            call.refuse(StatusCode::BAD_REQUEST, "* GenerateContentRequest.contents: contents is not specified")
        );
    }
    let job = gemini.make(&call, model, prompt, Media::Png, received, Asked { samples: 1, ..Asked::default() });
    let page = match gemini.desk.outcome(&job).await? {
        Outcome::Succeeded => {
            let picture = json!({ "inlineData": { "mimeType": "image/png", "data": gemini.desk.inline_base64(&job) } });
            answer(model, &json!({ "role": "model", "parts": [{ "text": "Here it is." }, picture] }), "STOP", TOKENS)
        }
        Outcome::Failed(text) => match text.strip_prefix("BLOCKED:") {
            Some(reason) => json!({
                "promptFeedback": { "blockReason": reason },
                "usageMetadata": { "promptTokenCount": 9, "totalTokenCount": 9 },
                "modelVersion": model,
            }),
            None if is_word(&text) => answer(model, &json!({}), &text, 0),
            None => answer(model, &json!({ "role": "model", "parts": [{ "text": text }] }), "STOP", 0),
        },
        Outcome::Canceled | Outcome::Aborted => {
            return Err(call.refuse(StatusCode::INTERNAL_SERVER_ERROR, "An internal error has occurred."));
        }
    };
    Ok(call.answer(StatusCode::OK, page).await)
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn answer(model: &str, content: &Value, end: &str, tokens: u64) -> Value {
    json!({
        "candidates": [{ "content": content, "finishReason": end, "index": 0 }],
        "usageMetadata": {
            "promptTokenCount": 9, "candidatesTokenCount": tokens, "totalTokenCount": tokens + 9,
            "candidatesTokensDetails": [{ "modality": "IMAGE", "tokenCount": tokens }],
        },
        "modelVersion": model,
        "responseId": "simulated",
    })
}
