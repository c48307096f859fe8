//! A request as it was sent, in one canonical form, by which a repeated request id is told from a reused one.
//!
//! Invariant: two requests have the same form exactly when they say the same; the order of map entries on the wire says nothing. Of what callers
//! write only hashes are in it, for it outlives a generation that is deleted.

use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, MapKey, ReflectMessage, Value as Field};
use prost_types::{Duration, Struct, Value, value::Kind as Of};
use sha2::{Digest, Sha256};

use super::Ordering;
use crate::{domain::artifact::Kind, door::refusal::Refusal, engine::error::Error, pb::json, store::port::SentRequest};

/// The field that does not count: it names the request.
const REQUEST_ID: &str = "request_id";

/// A request of any kind, without its request id.
///
/// # Errors
/// The contract's descriptors cannot be read: a defect of the build.
pub(super) fn of<R: Ordering>(request: &R) -> Result<SentRequest, Refusal> {
    // Read by its descriptor, so that a new field of the contract cannot be forgotten.
    let message = json::dynamic(request).map_err(|why| Error::Storage(why.into()))?;
    let mut sent = Sent::default();
    match R::KIND {
        // The first kind of all; its requests say so by saying nothing.
        Kind::Video => {}
        Kind::Image | Kind::Speech | Kind::Music => sent.set("kind", R::KIND),
    }
    sent.fields("", &message);
    Ok(sent.0)
}

#[derive(Default)]
struct Sent(SentRequest);

impl Sent {
    /// The fields that are set, in the order of their numbers.
    fn fields(&mut self, path: &str, message: &DynamicMessage) {
        let mut fields: Vec<_> = message.fields().collect();
        fields.sort_by_key(|(field, _)| field.number());
        for (field, value) in fields {
            match (path, field.name()) {
                ("", REQUEST_ID) => {}
                ("", name) => self.value(name, value),
                (path, name) => self.value(&format!("{path}.{name}"), value),
            }
        }
    }

    fn value(&mut self, path: &str, value: &Field) {
        match value {
            Field::Message(message) => match message.descriptor().full_name() {
                "google.protobuf.Duration" => {
                    self.set(path, written_duration(&message.transcode_to().unwrap_or_default()));
                }
                "google.protobuf.Struct" => {
                    self.text(path, &written_struct(&message.transcode_to().unwrap_or_default()));
                }
                _ => self.fields(path, message),
            },
            Field::List(values) => {
                for (index, value) in values.iter().enumerate() {
                    self.value(&format!("{path}[{index}]"), value);
                }
            }
            Field::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| (written_key(key), value.as_str().unwrap_or_default()));
                self.text(path, &written_map(&entries.collect()));
            }
            Field::String(text) => self.text(path, text),
            Field::Bytes(bytes) => self.set(path, digest(bytes)),
            Field::Bool(value) => self.set(path, value),
            Field::EnumNumber(value) | Field::I32(value) => self.set(path, value),
            Field::I64(value) => self.set(path, value),
            Field::U32(value) => self.set(path, value),
            Field::U64(value) => self.set(path, value),
            Field::F32(value) => self.set(path, value),
            Field::F64(value) => self.set(path, value),
        }
    }

    fn set(&mut self, field: &str, value: impl ToString) {
        self.0.push((field.to_owned(), value.to_string()));
    }

    fn text(&mut self, field: &str, value: &str) {
        self.set(field, digest(value.as_bytes()));
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn written_duration(duration: &Duration) -> String {
    format!("{} s {} ns", duration.seconds, duration.nanos)
}

fn written_key(key: &MapKey) -> &str {
    key.as_str().unwrap_or_default()
}

fn written_map(entries: &BTreeMap<&str, &str>) -> String {
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
        Some(Of::NullValue(_)) => "null".to_owned(),
        Some(Of::BoolValue(value)) => value.to_string(),
        Some(Of::NumberValue(value)) => value.to_string(),
        Some(Of::StringValue(value)) => format!("{value:?}"),
        Some(Of::StructValue(value)) => written_struct(value),
        Some(Of::ListValue(list)) => {
            format!("[{}]", list.values.iter().map(written).collect::<Vec<_>>().join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::pb::v1::{self, input::Source};

    fn video(request: &v1::GenerateVideoRequest) -> SentRequest {
        of(request).unwrap()
    }

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
            encode_entry(1, key, &Value { kind: Some(Of::NumberValue(*value)) }, &mut options);
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
    fn the_form_stays_what_earlier_servers_stored() {
        let options = v1::VideoOptions {
            duration: Some(Duration { seconds: 5, nanos: 0 }),
            guidance: Some(7.5),
            audio: Some(false),
            ..Default::default()
        };
        let request = v1::GenerateVideoRequest {
            options: Some(options),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            mode: 2,
            fallback_to_sample: true,
            ..input(Source::Artifact("artifacts/a".to_owned()))
        };
        let form = [
            ("prompt", digest(b"a cat")),
            ("options.duration", "5 s 0 ns".to_owned()),
            ("options.guidance", "7.5".to_owned()),
            ("options.audio", "false".to_owned()),
            ("inputs[0].role", "1".to_owned()),
            ("inputs[0].artifact", digest(b"artifacts/a")),
            ("mode", "2".to_owned()),
            ("labels", digest(b"\"a\":\"b\",")),
            ("fallback_to_sample", "true".to_owned()),
        ];
        assert_eq!(video(&request), form.map(|(field, value)| (field.to_owned(), value)));
    }

    #[test]
    fn kinds_are_told_apart() {
        let music = v1::GenerateMusicRequest { prompt: "a cat".to_owned(), ..Default::default() };
        let image = v1::GenerateImageRequest { prompt: "a cat".to_owned(), ..Default::default() };
        let forms = [video(&request()), of(&music).unwrap(), of(&image).unwrap()];
        assert_eq!(forms.iter().collect::<std::collections::BTreeSet<_>>().len(), forms.len());
    }

    #[test]
    fn bytes_are_kept_as_their_hash() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(video(&input(Source::Data("abc".into())))[2], ("inputs[0].data".to_owned(), abc.to_owned()));
    }

    #[test]
    fn nothing_that_a_caller_wrote_can_be_read_in_it() {
        let secret = || "SECRET".to_owned();
        let fields = [(secret(), Value { kind: Some(Of::StringValue(secret())) })].into();
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
            structs(Of::NumberValue(1.0)),
            structs(Of::StringValue("1".to_owned())),
            structs(Of::NullValue(0)),
            input(Source::Data("abc".into())),
            input(Source::Data("abd".into())),
            input(Source::Artifact("artifacts/a".to_owned())),
        ];
        let distinct: std::collections::BTreeSet<SentRequest> = all.iter().map(video).collect();
        assert_eq!(distinct.len(), all.len());
    }
}
