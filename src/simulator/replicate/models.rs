//! The models: what they accept, how they are called, and their public description.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{field::Field, problem::Violation};
use crate::simulator::output::{Media, Native};

/// A model as `models.toml` describes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Model {
    /// `owner/name`.
    pub(super) name: String,
    #[serde(default)]
    pub(super) kind: Kind,
    /// 64 hex digits; derived from the name if absent.
    #[serde(default)]
    version: String,
    pub(super) makes: Makes,
    /// Playing time reported when the input does not choose one.
    #[serde(default = "five")]
    seconds: u32,
    /// The list whose items are shown for two seconds each, and so decide about the playing time.
    #[serde(default)]
    shows: Option<String>,
    #[serde(default)]
    input: BTreeMap<String, Field>,
}

fn five() -> u32 {
    5
}

/// How a model is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// By name; predictions show the version `hidden`.
    #[default]
    Official,
    /// By version only.
    Community,
}

/// What a model's outputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Makes {
    Video,
    Image,
    Audio,
}

impl Model {
    /// Everything wrong with this input, in the order of the field names.
    pub(super) fn violations(&self, input: &Map<String, Value>) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (name, field) in &self.input {
            match input.get(name) {
                None if field.required => violations.push(Violation::required("input", name)),
                None => {}
                Some(value) => violations.extend(field.violation(name, value)),
            }
        }
        violations
    }

    /// The file this input asks for.
    pub(super) fn media(&self, input: &Map<String, Value>) -> Media {
        let format = input.get("output_format").or_else(|| input.get("audio_format")).and_then(Value::as_str);
        let default = if self.input.contains_key("audio_format") { Some("mp3") } else { None };
        let format = format.or(default);
        match (self.makes, format) {
            (Makes::Video, _) => Media::Mp4,
            (Makes::Image, Some("jpg")) => Media::Jpg,
            (Makes::Image, Some("png")) => Media::Png,
            (Makes::Image, Some(_) | None) => Media::Webp,
            (Makes::Audio, Some("mp3")) => Media::Mp3,
            (Makes::Audio, Some(_) | None) => Media::Wav,
        }
    }

    pub(super) fn native(&self) -> Native {
        match self.makes {
            Makes::Video | Makes::Audio => Native::One,
            Makes::Image => Native::List,
        }
    }

    /// Number of files this input asks for.
    pub(super) fn n_outputs(&self, input: &Map<String, Value>) -> u64 {
        match self.makes {
            Makes::Image => input.get("num_outputs").and_then(Value::as_u64).unwrap_or(1),
            Makes::Video | Makes::Audio => 1,
        }
    }

    /// The billing metrics of a successful run, without times. Seconds are those asked for, as a bill would have them;
    /// the clip served is always the same.
    pub(super) fn metrics(&self, input: &Map<String, Value>) -> Map<String, Value> {
        let shown = self.shows.as_ref().and_then(|list| input.get(list)?.as_array());
        let shown = shown.map(|items| items.len() as f64 * 2.0);
        let asked = input.get("duration").and_then(Value::as_f64);
        let seconds = shown.or(asked).unwrap_or_else(|| {
            let default = self.input.get("duration").and_then(|field| field.default.as_ref());
            default.and_then(Value::as_f64).unwrap_or_else(|| f64::from(self.seconds))
        });
        let n = self.n_outputs(input);
        let metrics = match self.makes {
            Makes::Video => json!({ "video_output_count": n, "video_output_duration_seconds": seconds }),
            Makes::Image => json!({ "image_count": n, "image_output_count": n }),
            Makes::Audio => json!({ "audio_output_count": n, "audio_output_duration_seconds": seconds }),
        };
        match metrics {
            Value::Object(metrics) => metrics,
            _ => Map::new(),
        }
    }

    /// The version as predictions show it.
    pub(super) fn shown_version(&self) -> &str {
        match self.kind {
            Kind::Official => "hidden",
            Kind::Community => &self.version,
        }
    }

    /// The model's page as JSON.
    pub(super) fn page(&self) -> Value {
        let (owner, name) = self.name.split_once('/').unwrap_or(("", &self.name));
        json!({
            "url": format!("https://replicate.com/{}", self.name),
            "owner": owner,
            "name": name,
            "description": "simulated by filmgate",
            "visibility": "public",
            "github_url": null,
            "paper_url": null,
            "license_url": null,
            "is_official": self.kind == Kind::Official,
            "run_count": 0,
            "cover_image_url": null,
            "default_example": null,
            "latest_version": self.version_page(),
        })
    }

    /// The model's one version as JSON, with its schema.
    pub(super) fn version_page(&self) -> Value {
        let properties: Map<String, Value> =
            self.input.iter().map(|(name, field)| (name.clone(), field.schema())).collect();
        let required: Vec<&String> =
            self.input.iter().filter(|(_, field)| field.required).map(|(name, _)| name).collect();
        let link = json!({ "type": "string", "format": "uri" });
        let output = match self.native() {
            Native::One => link,
            Native::List => json!({ "type": "array", "items": link }),
        };
        json!({
            "id": self.version,
            "created_at": "2026-01-01T00:00:00.000000Z",
            "cog_version": "0.16.0",
            "openapi_schema": {
                "openapi": "3.0.2",
                "info": { "title": "Cog", "version": "0.1.0" },
                "components": { "schemas": {
                    "Input": { "type": "object", "title": "Input", "required": required, "properties": properties },
                    "Output": output,
                }},
            },
        })
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }
}

/// Every model, by name and by version.
#[derive(Debug)]
pub(super) struct Catalogue {
    by_name: HashMap<String, Arc<Model>>,
    by_version: HashMap<String, Arc<Model>>,
}

impl Catalogue {
    /// The known models and `more`, which win over known ones of the same name.
    pub(super) fn new(more: Vec<Model>) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct File {
            model: Vec<Model>,
        }
        let file: File = toml::from_str(include_str!("models.toml"))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let mut catalogue = Self { by_name: HashMap::new(), by_version: HashMap::new() };
        for mut model in file.model.into_iter().chain(more) {
            if model.version.is_empty() {
                model.version = hex::encode(Sha256::digest(&model.name));
            }
            let model = Arc::new(model);
            catalogue.by_version.insert(model.version.clone(), Arc::clone(&model));
            catalogue.by_name.insert(model.name.clone(), model);
        }
        Ok(catalogue)
    }

    pub(super) fn named(&self, name: &str) -> Option<&Arc<Model>> {
        self.by_name.get(name)
    }

    /// The model meant by the `version` of a request: 64 hex digits, `owner/name:64hex`, or `owner/name` of an official
    /// model.
    pub(super) fn meant_by(&self, version: &str) -> Option<&Arc<Model>> {
        match version.split_once(':') {
            Some((name, version)) => self.by_version.get(version).filter(|model| model.name == name),
            None if version.contains('/') => self.named(version).filter(|model| model.kind == Kind::Official),
            None => self.by_version.get(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(model: &str, input: Value) -> Vec<String> {
        let catalogue = Catalogue::new(Vec::new()).unwrap();
        let Value::Object(input) = input else { panic!("not an object") };
        let violations = catalogue.named(model).unwrap().violations(&input);
        violations.into_iter().map(|violation| format!("{} {}", violation.kind, violation.description)).collect()
    }

    #[test]
    fn inputs_are_checked_against_the_model() {
        let check = |model: &str, input: Value, expected: &[&str]| {
            assert_eq!(violations(model, input.clone()), expected, "{model} {input}");
        };
        let kling = "kwaivgi/kling-v1.6-standard";
        check(kling, json!({"prompt": "a", "duration": 10}), &[]);
        check(kling, json!({"prompt": "a", "duration": 7}), &["enum duration must be one of the following: 5, 10"]);
        check(
            kling,
            json!({"prompt": "a", "duration": "5"}),
            &["invalid_type Invalid type. Expected: integer, given: string"],
        );
        check(kling, json!({}), &["required prompt is required"]);
        check(kling, json!({"prompt": "a", "cfg_scale": 2}), &["number_lte Must be less than or equal to 1"]);
        check(kling, json!({"prompt": "a", "guidance_scale": 6}), &[]);
        let flux = "black-forest-labs/flux-schnell";
        check(flux, json!({"prompt": "a", "num_outputs": 0}), &["number_gte Must be greater than or equal to 1"]);
        let veo = "google/veo-3.1";
        check(
            veo,
            json!({"prompt": "a", "reference_images": ["a", "b", "c", "d"]}),
            &["array_max_items Array must have at most 3 items"],
        );
    }

    #[test]
    fn a_version_is_a_hash_a_name_with_hash_or_an_official_name() {
        let catalogue = Catalogue::new(Vec::new()).unwrap();
        let hash = catalogue.named("meta/musicgen").unwrap().version().to_owned();
        let meant = |version: &str| catalogue.meant_by(version).map(|model| model.name.as_str());
        assert_eq!(meant(&hash), Some("meta/musicgen"));
        assert_eq!(meant(&format!("meta/musicgen:{hash}")), Some("meta/musicgen"));
        assert_eq!(meant("meta/musicgen"), None, "a community model has no call by name");
        assert_eq!(meant("minimax/video-01"), Some("minimax/video-01"));
        assert_eq!(meant("minimax/video-01:latest"), None);
        assert_eq!(meant(&format!("minimax/video-01:{hash}")), None);
    }
}
