//! The requests of all kinds in one form: they share their fields, so a kind is its options and nothing else.

use std::collections::BTreeMap;

use super::{Violations, options};
use crate::{
    domain::artifact::Kind,
    pb::{json::Described, v1},
};

/// A request that orders something.
pub(in crate::door) trait Ordering: Described {
    /// What it orders.
    const KIND: Kind;

    /// The name of the quote that it is made with, as it came; empty without one.
    fn quote(&self) -> &str;

    /// The model as it came; empty for the default, a route or a quality.
    fn model(&self) -> &str;

    /// Whether the same request, sent once more, costs nothing: it attaches, or shares the job or the result of the first.
    fn repeats_are_free(&self) -> bool;

    /// Its fields.
    fn ordered(self) -> Ordered;
}

/// The fields of a request of any kind, as they came.
#[derive(Debug)]
pub(in crate::door) struct Ordered {
    pub(super) kind: Kind,
    pub(super) prompt: String,
    pub(super) session: String,
    pub(super) model: String,
    pub(super) route: String,
    pub(super) quality: i32,
    pub(super) options: Asked,
    pub(super) inputs: Vec<v1::Input>,
    pub(super) request_id: String,
    pub(super) mode: i32,
    pub(super) cache: i32,
    pub(super) quote: String,
    pub(super) max_duration: Option<prost_types::Duration>,
    pub(super) callback_url: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) fallback_to_sample: bool,
    pub(super) fallback_on_refusal: bool,
}

/// The options of a request, by kind.
#[derive(Debug)]
pub(super) enum Asked {
    Video(v1::VideoOptions),
    Image(v1::ImageOptions),
    Speech(v1::SpeechOptions),
    Music(v1::MusicOptions),
}

impl Asked {
    pub(super) fn accept(self, violations: &mut Violations) -> options::Accepted {
        match self {
            Self::Video(options) => options::video(options, violations),
            Self::Image(options) => options::image(options, violations),
            Self::Speech(options) => options::speech(options, violations),
            Self::Music(options) => options::music(options, violations),
        }
    }
}

macro_rules! ordering {
    ($($request:ident: $kind:ident),* $(,)?) => {$(
        impl Ordering for v1::$request {
            const KIND: Kind = Kind::$kind;

            fn quote(&self) -> &str {
                &self.quote
            }

            fn model(&self) -> &str {
                &self.model
            }

            fn repeats_are_free(&self) -> bool {
                let shares = matches!(self.cache(), v1::CachePolicy::Unspecified | v1::CachePolicy::Default);
                // A second turn of a session is another order than the first.
                !self.request_id.is_empty() || (shares && self.session.is_empty())
            }

            fn ordered(self) -> Ordered {
                // Taken apart by name, so that a new field of the contract cannot be forgotten.
                let Self {
                    prompt,
                    session,
                    model,
                    route,
                    quality,
                    options,
                    inputs,
                    request_id,
                    mode,
                    cache,
                    quote,
                    max_duration,
                    callback_url,
                    labels,
                    fallback_to_sample,
                    fallback_on_refusal,
                } = self;
                Ordered {
                    kind: Self::KIND,
                    prompt,
                    session,
                    model,
                    route,
                    quality,
                    options: Asked::$kind(options.unwrap_or_default()),
                    inputs,
                    request_id,
                    mode,
                    cache,
                    quote,
                    max_duration,
                    callback_url,
                    labels,
                    fallback_to_sample,
                    fallback_on_refusal,
                }
            }
        }
    )*};
}

ordering! {
    GenerateVideoRequest: Video,
    GenerateImageRequest: Image,
    GenerateSpeechRequest: Speech,
    GenerateMusicRequest: Music,
}
