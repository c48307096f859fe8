//! A better prompt for a picture or video, written by a language model. Whatever goes wrong, the answer is the prompt as it was.

mod ask;
mod language;

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Deserializer, Value};
use tokio::time::timeout;

pub use self::language::Language;
use super::{Chat, Ended, Error, Finish, Said};
use crate::domain::{
    artifact::Kind,
    catalog::{ChatNeeds, SAMPLE},
    names::{ModelName, TenantId},
    order::MAX_PROMPT,
};

/// How long a model may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes of an answer that are read.
const MOST_BYTES: usize = 256 << 10;
/// Most places of an answer at which its object may begin.
const MOST_BEGINNINGS: usize = 100;
/// Most improvements that are told, and the most characters of each.
const MOST_IMPROVEMENTS: usize = 20;
const MOST_CHARACTERS: usize = 200;

/// A valid request for a better prompt.
#[derive(Debug, Clone)]
pub struct PromptRequest {
    /// Whose it is.
    pub tenant: TenantId,
    /// The caller's program.
    pub source: String,
    /// The prompt, trimmed, not empty.
    pub prompt: String,
    /// What it is for: a video or an image.
    pub kind: Kind,
    /// A style to write it in, if any.
    pub style: Option<String>,
    /// Whether details may be added.
    pub enhance: bool,
    /// The model, as in a chat.
    pub model: String,
    /// The language to write it in; that of the prompt if absent.
    pub language: Option<Language>,
    /// The caller's labels.
    pub labels: BTreeMap<String, String>,
    /// W3C `traceparent` of the caller.
    pub trace: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Optimized {
    /// The prompt as it was sent.
    pub original: String,
    /// The better one, or the same.
    pub prompt: String,
    /// What was changed, in the model's words.
    pub improvements: Vec<String>,
    /// Its language.
    pub language: Language,
    /// Who wrote it, or why nobody did.
    pub by: Result<ModelName, String>,
    /// What was used and what it cost.
    pub ended: Ended,
}

/// What the model is asked to answer.
#[derive(Deserialize)]
struct Written {
    prompt: String,
    /// A list of texts, if the model does as it was asked. The prompt is good without it.
    #[serde(default)]
    improvements: Value,
}

impl Chat {
    /// A better prompt, or the same one and why.
    pub async fn optimize(&self, request: PromptRequest) -> Optimized {
        let language = request.language.unwrap_or_else(|| Language::of(&request.prompt));
        let original = request.prompt.clone();
        let mut ended = Ended::default();
        let written = match timeout(PATIENCE, self.write(request, language, &mut ended)).await {
            Ok(written) => written,
            Err(_) => Err(format!("the model did not answer within {} s", PATIENCE.as_secs())),
        };
        match written {
            Ok((model, Written { prompt, improvements })) => {
                let texts = improvements.as_array().into_iter().flatten().filter_map(Value::as_str);
                let shortened = texts.map(|text| text.chars().take(MOST_CHARACTERS).collect());
                let improvements = shortened.take(MOST_IMPROVEMENTS).collect();
                Optimized { original, prompt, improvements, language, by: Ok(model), ended }
            }
            Err(why) => Optimized {
                language: Language::of(&original),
                prompt: original.clone(),
                original,
                improvements: Vec::new(),
                by: Err(why),
                ended,
            },
        }
    }

    async fn write(
        &self,
        request: PromptRequest,
        language: Language,
        ended: &mut Ended,
    ) -> Result<(ModelName, Written), String> {
        let talker = self.catalog().talker(&request.model, &ChatNeeds::default());
        let talker = talker.map_err(|none| in_words(none.into()))?;
        if talker.model.provider.id() == SAMPLE {
            return Err("no provider with language models is configured".to_owned());
        }
        let keeps_to_schema = talker.card.is_some_and(|card| card.json_schema);
        let mut conversation = self.begin(ask::asked(request, language, keeps_to_schema)).await.map_err(in_words)?;
        let (mut text, mut trouble) = (String::new(), None);
        while let Some(said) = conversation.events.next().await {
            match said.map_err(in_words)? {
                Said::More(delta) if text.len() + delta.text.len() > MOST_BYTES => {
                    return Err("the model did not come to an end".to_owned());
                }
                // It is heard to its end all the same, for that tells what it cost.
                Said::More(delta) => {
                    if !delta.refusal.is_empty() || delta.finish == Some(Finish::ContentFilter) {
                        trouble = Some("the model refused");
                    } else if delta.finish == Some(Finish::Length) {
                        trouble = Some("the model did not come to an end");
                    }
                    text.push_str(&delta.text);
                }
                Said::End(end) => *ended = end,
            }
        }
        if let Some(trouble) = trouble {
            return Err(trouble.to_owned());
        }
        let written = read(&text)?;
        if !language.is_spoken_in(&written.prompt) {
            return Err(format!("the model answered in another language than {language}"));
        }
        Ok((conversation.model, written))
    }
}

/// The first object in an answer that is of the form asked for, whatever stands around it.
fn read(text: &str) -> Result<Written, String> {
    let beginnings = text.match_indices('{').take(MOST_BEGINNINGS);
    let mut written = beginnings.filter_map(|(at, _)| Deserializer::from_str(text.get(at..)?).into_iter().next()?.ok());
    let Written { prompt, improvements } = written.next().ok_or("the model's answer was not in the form asked for")?;
    let prompt = prompt.trim().to_owned();
    match prompt.chars().count() {
        0 => Err("the model's prompt was empty".to_owned()),
        n_chars if n_chars > MAX_PROMPT => {
            Err(format!("the model's prompt had {n_chars} characters; at most {MAX_PROMPT}"))
        }
        _ => Ok(Written { prompt, improvements }),
    }
}

fn in_words(error: Error) -> String {
    match error {
        Error::Invalid(violations) => {
            let first = violations.into_iter().next();
            first.map(|first| format!("{}: {}", first.field, first.description)).unwrap_or_default()
        }
        error @ (Error::NotConfigured { .. }
        | Error::Budget(_)
        | Error::Provider { .. }
        | Error::Draining
        | Error::Store(_)
        | Error::Storage(_)) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read_whatever_stands_around_it() {
        let read = |text: &str| read(text).map(|written| (written.prompt, written.improvements));
        let fox = |improvements| Ok(("a fox".to_owned(), improvements));
        let plain = fox(json!(["light"]));
        assert_eq!(read(r#"{"prompt":" a fox ","improvements":["light"]}"#), plain);
        assert_eq!(read("Sure!\n```json\n{\"prompt\":\"a fox\",\"improvements\":[\"light\"]}\n```"), plain);
        let thought =
            r#"<think>{"style": {}} or {x}?</think>{"prompt":"a fox","improvements":["light"]} I hope {this} helps."#;
        assert_eq!(read(thought), plain);
        for (improvements, expected) in [("", Value::Null), (r#","improvements":null"#, Value::Null)] {
            assert_eq!(read(&format!(r#"{{"prompt":"a fox"{improvements}}}"#)), fox(expected));
        }
        for bad in ["", "a fox", "{}", r#"{"prompt":7}"#, "}{", r#"{"prompt":"a"#, &"{".repeat(200_000)] {
            assert!(read(bad).unwrap_err().contains("form asked for"), "{bad:.20}");
        }
        assert!(read(r#"{"prompt":"  "}"#).unwrap_err().contains("empty"));
        let long = json!({ "prompt": "x".repeat(MAX_PROMPT + 1) }).to_string();
        assert!(read(&long).unwrap_err().contains("32001 characters; at most 32000"));
    }
}
