//! What was ordered, as resolved.

use prost_types::{Duration, Struct};

use super::values::{self, number};
use crate::{
    domain::{
        artifact::Kind,
        generation::Generation,
        order::{Candidate, OptionName, OptionValue},
    },
    pb::v1::{self, generation::Spec},
};

/// The order of a generation, whose options are those of `candidate`.
pub(super) fn of(record: &Generation, candidate: Option<&Candidate>) -> Spec {
    let prompt = record.prompt.clone();
    let options = candidate.map(Resolved);
    match record.kind {
        Kind::Video => Spec::Video(v1::VideoSpec { prompt, options: options.map(Resolved::video) }),
        Kind::Image => Spec::Image(v1::ImageSpec { prompt, options: options.map(Resolved::image) }),
        Kind::Speech => Spec::Speech(v1::SpeechSpec { prompt, options: options.map(Resolved::speech) }),
        Kind::Music => Spec::Music(v1::MusicSpec { prompt, options: options.map(Resolved::music) }),
    }
}

/// The options of a candidate: asked, adjusted, and the defaults.
struct Resolved<'a>(&'a Candidate);

impl Resolved<'_> {
    fn video(self) -> v1::VideoOptions {
        v1::VideoOptions {
            duration: self.seconds(OptionName::Duration),
            fps: self.whole(OptionName::Fps),
            width: self.whole(OptionName::Width),
            height: self.whole(OptionName::Height),
            aspect_ratio: self.text(OptionName::AspectRatio),
            steps: self.whole(OptionName::Steps),
            samples: self.whole(OptionName::Samples),
            guidance: self.float(OptionName::Guidance),
            seed: self.whole(OptionName::Seed),
            negative_prompt: self.text(OptionName::NegativePrompt),
            audio: self.flag(OptionName::Audio),
            provider_options: self.provider_options(),
            resolution: self.text(OptionName::Resolution),
            motion: self.float(OptionName::Motion),
            camera: self.text(OptionName::Camera),
            style: self.text(OptionName::Style),
        }
    }

    fn image(self) -> v1::ImageOptions {
        v1::ImageOptions {
            width: self.whole(OptionName::Width),
            height: self.whole(OptionName::Height),
            aspect_ratio: self.text(OptionName::AspectRatio),
            resolution: self.text(OptionName::Resolution),
            quality: self.text(OptionName::Quality),
            style: self.text(OptionName::Style),
            samples: self.whole(OptionName::Samples),
            steps: self.whole(OptionName::Steps),
            guidance: self.float(OptionName::Guidance),
            seed: self.whole(OptionName::Seed),
            negative_prompt: self.text(OptionName::NegativePrompt),
            strength: self.float(OptionName::Strength),
            background: self.text(OptionName::Background),
            format: self.text(OptionName::Format),
            provider_options: self.provider_options(),
        }
    }

    fn speech(self) -> v1::SpeechOptions {
        v1::SpeechOptions {
            voice: self.text(OptionName::Voice),
            language: self.text(OptionName::Language),
            speed: self.float(OptionName::Speed),
            format: self.text(OptionName::Format),
            instructions: self.text(OptionName::Instructions),
            seed: self.whole(OptionName::Seed),
            provider_options: self.provider_options(),
        }
    }

    fn music(self) -> v1::MusicOptions {
        v1::MusicOptions {
            duration: self.seconds(OptionName::Duration),
            lyrics: self.text(OptionName::Lyrics),
            instrumental: self.flag(OptionName::Instrumental),
            format: self.text(OptionName::Format),
            samples: self.whole(OptionName::Samples),
            guidance: self.float(OptionName::Guidance),
            seed: self.whole(OptionName::Seed),
            negative_prompt: self.text(OptionName::NegativePrompt),
            steps: self.whole(OptionName::Steps),
            provider_options: self.provider_options(),
        }
    }

    fn value(&self, name: OptionName) -> Option<&OptionValue> {
        self.0.options.get(&name)
    }

    fn whole<T: TryFrom<i64>>(&self, name: OptionName) -> Option<T> {
        self.value(name).and_then(number)
    }

    fn float(&self, name: OptionName) -> Option<f64> {
        self.value(name).and_then(OptionValue::as_f64)
    }

    fn seconds(&self, name: OptionName) -> Option<Duration> {
        self.value(name).and_then(values::seconds)
    }

    fn text(&self, name: OptionName) -> String {
        self.value(name).map(ToString::to_string).unwrap_or_default()
    }

    fn flag(&self, name: OptionName) -> Option<bool> {
        match self.value(name)? {
            OptionValue::Bool(flag) => Some(*flag),
            OptionValue::Int(_) | OptionValue::Number(_) | OptionValue::Text(_) => None,
        }
    }

    fn provider_options(&self) -> Option<Struct> {
        let options = &self.0.provider_options;
        (!options.is_empty()).then(|| values::structure(options))
    }
}
