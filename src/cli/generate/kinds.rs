//! The kinds of orders: their flags, and the requests that those make.

use std::collections::BTreeMap;

use super::options::{ImageFlags, MusicFlags, SpeechFlags, VideoFlags};
use crate::{
    cli::{failure::Failure, follow::Order},
    pb::v1::{self, Input},
};

/// What the orders of all kinds have in common.
#[derive(Debug)]
pub(in crate::cli) struct Common {
    pub(super) prompt: String,
    pub(super) session: String,
    pub(super) model: String,
    pub(super) route: String,
    pub(super) quality: i32,
    pub(super) inputs: Vec<Input>,
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

/// The flags of one kind.
pub(in crate::cli) trait Flags: clap::Args {
    /// The order with these options.
    fn order(self, common: Common) -> Result<Order, Failure>;
}

macro_rules! flags {
    ($($flags:ident: $kind:ident, $request:ident),* $(,)?) => {$(
        impl Flags for $flags {
            fn order(self, common: Common) -> Result<Order, Failure> {
                let Common {
                    prompt,
                    session,
                    model,
                    route,
                    quality,
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
                } = common;
                Ok(Order::$kind(v1::$request {
                    options: Some(self.options()?),
                    prompt,
                    session,
                    model,
                    route,
                    quality,
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
                }))
            }
        }
    )*};
}

flags! {
    VideoFlags: Video, GenerateVideoRequest,
    ImageFlags: Image, GenerateImageRequest,
    SpeechFlags: Speech, GenerateSpeechRequest,
    MusicFlags: Music, GenerateMusicRequest,
}
