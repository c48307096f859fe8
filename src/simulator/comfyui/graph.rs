//! A prompt's graph: what it saves, what is wrong with it, and what its history shows.

use serde_json::{Map, Value, json};

use crate::simulator::output::Media;

/// A graph in API format.
#[derive(Debug, Clone)]
pub(super) struct Graph(Map<String, Value>);

/// The body of a 400.
pub(super) fn refusal(kind: &str, message: &str, node_errors: &Value) -> Value {
    let error = json!({ "type": kind, "message": message, "details": "", "extra_info": {} });
    json!({ "error": error, "node_errors": node_errors })
}

/// The job that a file's name belongs to, and which of its files it is.
pub(super) fn job_of_file(name: &str) -> Option<(&str, u64)> {
    let (stem, _) = name.rsplit_once('.')?;
    let (stem, number) = stem.strip_suffix('_')?.rsplit_once('_')?;
    let (_, id) = stem.rsplit_once('_')?;
    Some((id, number.parse::<u64>().ok()?.checked_sub(1)?))
}

impl Graph {
    pub(super) fn of(prompt: &Value) -> Self {
        Self(prompt.as_object().cloned().unwrap_or_default())
    }

    pub(super) fn nodes(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The nodes that save something.
    pub(super) fn savers(&self) -> Vec<&str> {
        let saves = |node: &Value| class(node).starts_with("Save") || class(node).ends_with("Combine");
        self.0.iter().filter(|(_, node)| saves(node)).map(|(id, _)| id.as_str()).collect()
    }

    pub(super) fn saver_class(&self) -> &str {
        self.savers().first().and_then(|id| self.0.get(*id)).map(class).unwrap_or_default()
    }

    /// All texts, in which rules look for a prompt.
    pub(super) fn texts(&self) -> String {
        self.0.values().filter_map(|node| node["inputs"]["text"].as_str()).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn media(&self) -> Media {
        match self.saver_class() {
            class if class.contains("Audio") => Media::Mp3,
            class if class.contains("Image") => Media::Png,
            class if class.contains("WEBM") => Media::Webm,
            _ => Media::Mp4,
        }
    }

    pub(super) fn n_files(&self) -> u64 {
        match self.media() {
            Media::Png => self.0.values().find_map(|node| node["inputs"]["batch_size"].as_u64()).unwrap_or(1),
            Media::Mp4 | Media::Webm | Media::Mp3 | Media::Jpg | Media::Webp | Media::Wav => 1,
        }
    }

    /// What is wrong with it, as the server words it.
    pub(super) fn check(&self, is_uploaded: impl Fn(&str) -> bool) -> Result<(), Value> {
        if self.0.is_empty() {
            return Err(refusal("no_prompt", "No prompt provided", &json!({})));
        }
        if let Some((id, _)) = self.0.iter().find(|(_, node)| class(node).is_empty()) {
            let message = format!("Node ID '#{id}' has no class_type.");
            return Err(refusal("missing_node_type", &message, &json!({})));
        }
        if self.savers().is_empty() {
            return Err(refusal("prompt_no_outputs", "Prompt has no outputs", &json!([])));
        }
        for (id, node) in &self.0 {
            let wrong = self.wrong_input(node, &is_uploaded);
            if let Some((name, kind, message)) = wrong {
                let extra = json!({ "input_name": name, "received_value": node["inputs"][name] });
                let error = json!({ "type": kind, "message": message, "details": name, "extra_info": extra });
                let errors =
                    json!({ "class_type": class(node), "dependent_outputs": self.savers(), "errors": [error] });
                let nodes = json!({ id.as_str(): errors });
                return Err(refusal("prompt_outputs_failed_validation", "Prompt outputs failed validation", &nodes));
            }
        }
        Ok(())
    }

    fn wrong_input<'a>(
        &self,
        node: &'a Value,
        is_uploaded: &impl Fn(&str) -> bool,
    ) -> Option<(&'a str, &'static str, &'static str)> {
        let inputs = node["inputs"].as_object()?;
        inputs.iter().find_map(|(name, value)| {
            let is_whole = matches!(name.as_str(), "seed" | "steps" | "width" | "height" | "length" | "batch_size");
            let link = value.as_array().and_then(|link| link.first()?.as_str());
            match name.as_str() {
                _ if link.is_some_and(|node| !self.0.contains_key(node)) => {
                    Some((name.as_str(), "bad_linked_input", "Bad linked input"))
                }
                _ if is_whole && link.is_none() && !value.is_u64() => {
                    Some((name, "invalid_input_type", "Failed to convert an input value to a INT value"))
                }
                "steps" if value.as_u64() > Some(10_000) => {
                    Some((name, "value_bigger_than_max", "Value bigger than max"))
                }
                // A model of which nobody has the file.
                "ckpt_name" if value.as_str().is_some_and(|name| name.starts_with("missing")) => {
                    Some((name, "value_not_in_list", "Value not in list"))
                }
                "image" if class(node) == "LoadImage" && !value.as_str().is_some_and(is_uploaded) => {
                    Some((name, "value_not_in_list", "Value not in list"))
                }
                _ => None,
            }
        })
    }

    /// The outputs of a success.
    pub(super) fn outputs(&self, id: &str, n_files: u64) -> Map<String, Value> {
        let (media, class) = (self.media(), self.saver_class());
        let file = |index: u64| {
            let name = format!("filmgate_{id}_{:05}_.{}", index + 1, media.extension());
            json!({ "filename": name, "subfolder": "", "type": "output" })
        };
        let files: Vec<Value> = (0..n_files).map(file).collect();
        let key = match media {
            Media::Mp3 | Media::Wav => "audio",
            Media::Mp4 | Media::Webm if class.ends_with("Combine") => "gifs",
            Media::Mp4 | Media::Webm | Media::Png | Media::Jpg | Media::Webp => "images",
        };
        let mut output = json!({ key: files });
        if class.contains("Video") && key == "images" {
            output["animated"] = json!([true]);
        }
        self.savers().first().map(|saver| ((*saver).to_owned(), output)).into_iter().collect()
    }

    /// What an `execution_error` tells of the node at fault.
    pub(super) fn error(&self, text: &str) -> Value {
        let mut error = self.interrupted();
        error["exception_message"] = json!(text);
        error["exception_type"] = json!("RuntimeError");
        error["traceback"] = json!(["  File \"execution.py\"\n"]);
        error["current_inputs"] = json!({});
        error["current_outputs"] = json!([]);
        error
    }

    pub(super) fn interrupted(&self) -> Value {
        let worker = self.worker();
        let class = self.0.get(worker).map(class).unwrap_or_default();
        json!({ "node_id": worker, "node_type": class, "executed": [] })
    }

    /// The node that takes the time.
    pub(super) fn worker(&self) -> &str {
        let sampler = self.0.iter().find(|(_, node)| class(node).contains("Sampler"));
        sampler.or_else(|| self.0.iter().next()).map(|(id, _)| id.as_str()).unwrap_or_default()
    }
}

fn class(node: &Value) -> &str {
    node["class_type"].as_str().unwrap_or_default()
}
