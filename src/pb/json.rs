//! The canonical JSON form of contract messages: camelCase, 64-bit integers as strings, RFC 3339 times.
//!
//! prost has no JSON form, so a message is encoded once more and read back by its descriptor.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;

use super::{DESCRIPTOR_SET, v1};

/// The descriptors of the whole contract, parsed once.
static POOL: LazyLock<Result<DescriptorPool, String>> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTOR_SET).map_err(|error| error.to_string()));

/// A message of the contract that is shown as JSON, or read by its descriptor.
pub trait Described: Message {
    /// Its full name in the contract.
    const NAME: &'static str;
}

macro_rules! described {
    ($($message:ident),* $(,)?) => {
        $(impl Described for v1::$message {
            const NAME: &'static str = concat!("filmgate.v1.", stringify!($message));
        })*
    };
}

described!(
    Artifact,
    Budget,
    Callback,
    ChatResponse,
    CreateArtifactLinkResponse,
    EstimateCostResponse,
    GenerateImageRequest,
    GenerateMusicRequest,
    GenerateSpeechRequest,
    GenerateVideoRequest,
    Generation,
    GenerationEvent,
    LedgerEntry,
    Message,
    Model,
    Provider,
    Route,
    Session,
    Usage,
);

/// `message` in its canonical JSON form.
///
/// # Errors
/// The embedded descriptors cannot be read: a defect of the build.
pub fn of<M: Described>(message: &M) -> Result<Value, String> {
    serde_json::to_value(dynamic(message)?).map_err(|error| error.to_string())
}

/// `message` with its fields by name.
///
/// # Errors
/// The embedded descriptors cannot be read: a defect of the build.
pub fn dynamic<M: Described>(message: &M) -> Result<DynamicMessage, String> {
    let descriptor = pool()?.get_message_by_name(M::NAME).ok_or("not in the contract")?;
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(|error| error.to_string())
}

/// The descriptors of the whole contract.
///
/// # Errors
/// They cannot be read: a defect of the build.
pub fn pool() -> Result<&'static DescriptorPool, String> {
    POOL.as_ref().map_err(String::clone)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_mapping_is_the_canonical_one() {
        let generation = v1::Generation {
            name: "generations/1".to_owned(),
            state: v1::State::Running.into(),
            sequence: 3,
            progress_percent: Some(0),
            create_time: Some(prost_types::Timestamp { seconds: 1_760_000_000, nanos: 500_000_000 }),
            generation_time: Some(prost_types::Duration { seconds: 2, nanos: 500_000_000 }),
            cost: Some(v1::Cost { estimated_micro_usd: Some(250_000), ..v1::Cost::default() }),
            ..v1::Generation::default()
        };
        assert_eq!(
            of(&generation).unwrap(),
            json!({
                "name": "generations/1",
                "state": "STATE_RUNNING",
                "sequence": "3",
                "progressPercent": 0,
                "createTime": "2025-10-09T08:53:20.500Z",
                "generationTime": "2.500s",
                "cost": { "estimatedMicroUsd": "250000" },
            })
        );
    }

    #[test]
    fn every_message_that_is_shown_has_a_descriptor() {
        fn check<M: Described + Default>() {
            assert_eq!(of(&M::default()).unwrap(), json!({}), "{}", M::NAME);
        }
        check::<v1::Artifact>();
        check::<v1::Budget>();
        check::<v1::LedgerEntry>();
        check::<v1::Usage>();
        check::<v1::Callback>();
        check::<v1::Generation>();
        check::<v1::GenerationEvent>();
        check::<v1::Message>();
        check::<v1::Model>();
        check::<v1::Provider>();
        check::<v1::Session>();
    }
}
