//! A request as it was sent, in one canonical form, by which a repeated request id is told from a reused one.
//!
//! Invariant: two requests have the same form exactly when they say the same; the order of map entries on the wire says nothing. Of what callers
//! write only hashes are in it, for it outlives a generation that is deleted.

use std::collections::BTreeMap;

use prost_types::{Duration, Struct, Value, value::Kind};
use sha2::{Digest, Sha256};

use crate::{
    pb::v1::{self, input::Source},
    store::port::SentRequest,
};

/// A request for a video, without its request id.
pub(super) fn video(request: &v1::GenerateVideoRequest) -> SentRequest {
    // Taken apart by name, so that a new field of the contract cannot be forgotten.
    let v1::GenerateVideoRequest {
        prompt,
        session,
        model,
        route,
        quality,
        options,
        inputs,
        request_id: _,
        mode,
        cache,
        quote,
        max_duration,
        callback_url,
        labels,
        fallback_to_sample,
        fallback_on_refusal,
    } = request;
    let mut sent = Sent::default();
    sent.text("prompt", prompt);
    sent.text("session", session);
    sent.text("model", model);
    sent.text("route", route);
    sent.number("quality", *quality);
    if let Some(options) = options {
        video_options(options, &mut sent);
    }
    for (index, input) in inputs.iter().enumerate() {
        one_input(&format!("inputs[{index}]"), input, &mut sent);
    }
    sent.number("mode", *mode);
    sent.number("cache", *cache);
    sent.text("quote", quote);
    sent.set("max_duration", max_duration.as_ref().map(written_duration));
    sent.text("callback_url", callback_url);
    sent.text("labels", &written_map(labels));
    sent.flag("fallback_to_sample", *fallback_to_sample);
    sent.flag("fallback_on_refusal", *fallback_on_refusal);
    sent.0
}

fn video_options(options: &v1::VideoOptions, sent: &mut Sent) {
    let v1::VideoOptions {
        duration,
        fps,
        width,
        height,
        aspect_ratio,
        steps,
        samples,
        guidance,
        seed,
        negative_prompt,
        audio,
        provider_options,
        ..
    } = options;
    sent.set("options.duration", duration.as_ref().map(written_duration));
    sent.set("options.fps", *fps);
    sent.set("options.width", *width);
    sent.set("options.height", *height);
    sent.text("options.aspect_ratio", aspect_ratio);
    sent.set("options.steps", *steps);
    sent.set("options.samples", *samples);
    sent.set("options.guidance", *guidance);
    sent.set("options.seed", *seed);
    sent.text("options.negative_prompt", negative_prompt);
    sent.set("options.audio", *audio);
    sent.text("options.provider_options", &provider_options.as_ref().map(written_struct).unwrap_or_default());
}

fn one_input(path: &str, input: &v1::Input, sent: &mut Sent) {
    let v1::Input { role, source } = input;
    sent.set(&format!("{path}.role"), Some(*role));
    match source {
        None => {}
        Some(Source::Artifact(name)) => sent.text(&format!("{path}.artifact"), name),
        Some(Source::Uri(uri)) => sent.text(&format!("{path}.uri"), uri),
        Some(Source::Data(data)) => sent.set(&format!("{path}.data"), Some(digest(data))),
    }
}

#[derive(Default)]
struct Sent(SentRequest);

impl Sent {
    fn set(&mut self, field: &str, value: Option<impl ToString>) {
        self.0.extend(value.map(|value| (field.to_owned(), value.to_string())));
    }

    fn text(&mut self, field: &str, value: &str) {
        self.set(field, (!value.is_empty()).then(|| digest(value.as_bytes())));
    }

    fn number(&mut self, field: &str, value: i32) {
        self.set(field, (value != 0).then_some(value));
    }

    fn flag(&mut self, field: &str, value: bool) {
        self.set(field, value.then_some(value));
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn written_duration(duration: &Duration) -> String {
    format!("{} s {} ns", duration.seconds, duration.nanos)
}

/// Nothing without entries.
fn written_map(entries: &BTreeMap<String, String>) -> String {
    entries.iter().map(|(key, value)| format!("{key:?}:{value:?},")).collect()
}

/// Like JSON, but of every value the wire can carry. Keys are sorted because the map is.
fn written_struct(fields: &Struct) -> String {
    let fields = fields.fields.iter().map(|(key, value)| format!("{key:?}:{}", written(value)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn written(value: &Value) -> String {
    match &value.kind {
        None => String::new(),
        Some(Kind::NullValue(_)) => "null".to_owned(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::NumberValue(value)) => value.to_string(),
        Some(Kind::StringValue(value)) => format!("{value:?}"),
        Some(Kind::StructValue(value)) => written_struct(value),
        Some(Kind::ListValue(list)) => {
            format!("[{}]", list.values.iter().map(written).collect::<Vec<_>>().join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn request() -> v1::GenerateVideoRequest {
        v1::GenerateVideoRequest { prompt: "a cat".to_owned(), ..Default::default() }
    }

    fn input(source: Source) -> v1::GenerateVideoRequest {
        v1::GenerateVideoRequest { inputs: vec![v1::Input { role: 1, source: Some(source) }], ..request() }
    }

    /// Appends one entry of a map field as the wire has it: a message of key (1) and value (2).
    fn encode_entry(tag: u32, key: &str, value: &impl Message, into: &mut Vec<u8>) {
        let mut entry = Vec::new();
        prost::encoding::string::encode(1, &key.to_owned(), &mut entry);
        prost::encoding::message::encode(2, value, &mut entry);
        prost::encoding::bytes::encode(tag, &entry, into);
    }

    /// The same request with the entries of its maps in this order on the wire.
    fn encoded(labels: &[(String, String)], fields: &[(String, f64)]) -> v1::GenerateVideoRequest {
        let mut bytes = request().encode_to_vec();
        for (key, value) in labels {
            let mut entry = Vec::new();
            prost::encoding::string::encode(1, key, &mut entry);
            prost::encoding::string::encode(2, value, &mut entry);
            prost::encoding::bytes::encode(14, &entry, &mut bytes);
        }
        let mut options = Vec::new();
        for (key, value) in fields {
            encode_entry(1, key, &Value { kind: Some(Kind::NumberValue(*value)) }, &mut options);
        }
        let mut wrapped = Vec::new();
        prost::encoding::bytes::encode(12, &options, &mut wrapped);
        prost::encoding::bytes::encode(6, &wrapped, &mut bytes);
        v1::GenerateVideoRequest::decode(bytes.as_slice()).unwrap()
    }

    type Entries<T> = Vec<(String, T)>;

    /// The same entries in two orders.
    fn shuffled<T: std::fmt::Debug + Clone + 'static>(
        entries: impl Strategy<Value = BTreeMap<String, T>>,
    ) -> impl Strategy<Value = (Entries<T>, Entries<T>)> {
        let entries = entries.prop_map(|map| map.into_iter().collect::<Vec<_>>());
        entries.prop_flat_map(|entries| (Just(entries.clone()), Just(entries).prop_shuffle()))
    }

    proptest! {
        #[test]
        fn the_order_of_map_entries_on_the_wire_says_nothing(
            labels in shuffled(prop::collection::btree_map("[a-z]{1,4}", ".{0,4}", 0..6)),
            fields in shuffled(prop::collection::btree_map("[a-z]{1,4}", -1e9..1e9f64, 0..6)),
        ) {
            let (one, other) = (encoded(&labels.0, &fields.0), encoded(&labels.1, &fields.1));
            prop_assert_eq!(one.labels.len(), labels.0.len());
            prop_assert_eq!(one.options.as_ref().unwrap().provider_options.as_ref().unwrap().fields.len(), fields.0.len());
            prop_assert_eq!(video(&one), video(&other));
        }
    }

    #[test]
    fn the_request_id_itself_does_not_count() {
        let named = v1::GenerateVideoRequest { request_id: "x".to_owned(), ..request() };
        assert_eq!(video(&named), video(&request()));
        assert_eq!(video(&request()), [("prompt".to_owned(), digest(b"a cat"))]);
    }

    #[test]
    fn bytes_are_kept_as_their_hash() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(video(&input(Source::Data("abc".into())))[2], ("inputs[0].data".to_owned(), abc.to_owned()));
    }

    #[test]
    fn nothing_that_a_caller_wrote_can_be_read_in_it() {
        let secret = || "SECRET".to_owned();
        let fields = [(secret(), Value { kind: Some(Kind::StringValue(secret())) })].into();
        let options = v1::VideoOptions {
            negative_prompt: secret(),
            provider_options: Some(Struct { fields }),
            ..Default::default()
        };
        let request = v1::GenerateVideoRequest {
            prompt: secret(),
            labels: [(secret(), secret())].into(),
            callback_url: secret(),
            options: Some(options),
            ..input(Source::Uri(secret()))
        };
        let sent = video(&request);
        let fields: Vec<&str> = sent.iter().map(|(field, _)| field.as_str()).collect();
        let written =
            ["options.negative_prompt", "options.provider_options", "inputs[0].uri", "callback_url", "labels"];
        assert!(written.iter().all(|field| fields.contains(field)), "{fields:?}");
        assert!(!format!("{sent:?}").contains("SECRET"), "{sent:?}");
    }

    #[test]
    fn whatever_differs_is_told_apart() {
        let options = |options: v1::VideoOptions| v1::GenerateVideoRequest { options: Some(options), ..request() };
        let structs = |kind| {
            let fields = [("a".to_owned(), Value { kind: Some(kind) })].into();
            options(v1::VideoOptions { provider_options: Some(Struct { fields }), ..Default::default() })
        };
        let all = [
            request(),
            v1::GenerateVideoRequest { prompt: "a cat ".to_owned(), ..request() },
            v1::GenerateVideoRequest { session: "sessions/a".to_owned(), ..request() },
            v1::GenerateVideoRequest { mode: 2, ..request() },
            v1::GenerateVideoRequest { cache: 2, ..request() },
            v1::GenerateVideoRequest { fallback_to_sample: true, ..request() },
            v1::GenerateVideoRequest { fallback_on_refusal: true, ..request() },
            v1::GenerateVideoRequest { max_duration: Some(Duration { seconds: 5, nanos: 0 }), ..request() },
            v1::GenerateVideoRequest { labels: [("a".to_owned(), "b".to_owned())].into(), ..request() },
            options(v1::VideoOptions { fps: Some(0), ..Default::default() }),
            options(v1::VideoOptions { fps: Some(24), ..Default::default() }),
            options(v1::VideoOptions { audio: Some(false), ..Default::default() }),
            structs(Kind::NumberValue(1.0)),
            structs(Kind::StringValue("1".to_owned())),
            structs(Kind::NullValue(0)),
            input(Source::Data("abc".into())),
            input(Source::Data("abd".into())),
            input(Source::Artifact("artifacts/a".to_owned())),
        ];
        let distinct: std::collections::BTreeSet<SentRequest> = all.iter().map(video).collect();
        assert_eq!(distinct.len(), all.len());
    }
}
