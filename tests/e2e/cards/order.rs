//! Orders made from what a card says, as JSON and by the contract's own descriptors, so that a new field cannot be forgotten.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use filmgate::pb::{
    DESCRIPTOR_SET,
    v1::{
        GenerateImageRequest, GenerateMusicRequest, GenerateSpeechRequest, GenerateVideoRequest, Generation, Kind,
        ModelOption,
    },
};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind as FieldKind, MessageDescriptor};
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::Status;

use crate::support::server::{SOON, Server, is_terminal};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTOR_SET).unwrap());

/// Files of every kind, and one that the vendor fetches itself.
pub(super) static FILES: LazyLock<[Value; 4]> = LazyLock::new(|| {
    let picture: &[u8] = include_bytes!("../../../src/simulator/still.png");
    let sound: &[u8] = include_bytes!("../../../src/simulator/tone.mp3");
    let clip: &[u8] = include_bytes!("../../../src/simulator/clip.mp4");
    let [picture, sound, clip] = [picture, sound, clip].map(|file| json!({ "data": STANDARD.encode(file) }));
    [picture, sound, clip, json!({ "uri": "https://93.184.215.14/clip.mp4" })]
});

fn message(kind: Kind, what: &str) -> MessageDescriptor {
    let word = match kind {
        Kind::Unspecified | Kind::Video => "Video",
        Kind::Image => "Image",
        Kind::Speech => "Speech",
        Kind::Music => "Music",
        Kind::Text => unreachable!("of text there are chats, no orders"),
    };
    POOL.get_message_by_name(&format!("filmgate.v1.{}", what.replace('*', word))).unwrap()
}

/// Every typed option of the kind's contract.
pub(super) fn options(kind: Kind) -> Vec<FieldDescriptor> {
    message(kind, "*Options").fields().filter(|field| field.name() != "provider_options").collect()
}

/// Every part that an input can play.
pub(super) fn roles() -> Vec<String> {
    let roles = POOL.get_enum_by_name("filmgate.v1.InputRole").unwrap();
    roles.values().filter(|role| role.number() != 0).map(|role| role.name().to_owned()).collect()
}

/// An option's value that the contract takes.
pub(super) fn usual(kind: Kind, name: &str) -> &'static str {
    match name {
        "duration" => "7",
        "fps" => "24",
        "width" => "1024",
        "height" => "768",
        "aspect_ratio" => "4:3",
        "steps" => "23",
        "samples" => "2",
        "guidance" => "0.625",
        "seed" => "123457",
        "audio" | "instrumental" => "true",
        "resolution" if kind == Kind::Image => "2K",
        "resolution" => "720p",
        "motion" | "strength" => "0.375",
        "quality" => "high",
        "background" => "opaque",
        "format" if kind == Kind::Image => "png",
        "format" => "wav",
        "language" => "pt",
        "speed" => "1.125",
        _ => "something else",
    }
}

/// All listed values of a card's option, or one in its range, that are sent for no other reason than that somebody asked.
pub(super) fn values(kind: Kind, option: &ModelOption) -> Vec<String> {
    let is_default = |value: &String| {
        let number = |text: &str| text.parse::<f64>().ok();
        *value == option.default_value
            || number(value).is_some_and(|value| number(&option.default_value) == Some(value))
    };
    let mut values = option.values.clone();
    if values.is_empty() {
        let usual = usual(kind, &option.field);
        let fits = |value: &f64| {
            option.minimum.is_none_or(|min| *value >= min) && option.maximum.is_none_or(|max| *value <= max)
        };
        match usual.parse::<f64>() {
            Ok(number) => {
                let is_whole = option.allowed.starts_with("whole numbers");
                let number = if is_whole { number.round() } else { number };
                let all = [Some(number), option.minimum, option.maximum].into_iter().flatten();
                values = all.filter(fits).map(|value| value.to_string()).collect();
            }
            Err(_) if option.field == "audio" || option.field == "instrumental" => {
                values = vec!["true".to_owned(), "false".to_owned()];
            }
            Err(_) => values = vec![usual.to_owned()],
        }
    }
    values.retain(|value| !is_default(value));
    if option.values.is_empty() {
        values.truncate(1);
    }
    values
}

/// A value as the contract's JSON has it.
pub(super) fn written(kind: Kind, name: &str, value: &str) -> Value {
    let field = options(kind).into_iter().find(|field| field.name() == name).unwrap();
    match field.kind() {
        FieldKind::String => json!(value),
        FieldKind::Message(_) => json!(format!("{value}s")),
        _ => value.parse().unwrap(),
    }
}

/// Places an order and follows it until the vendor has taken it, or it is over.
pub(super) async fn place(server: &Server, kind: Kind, order: &Value) -> Result<Generation, Status> {
    let request = DynamicMessage::deserialize(message(kind, "Generate*Request"), order).unwrap().encode_to_vec();
    let mut client = server.generations().await;
    macro_rules! last {
        ($call:ident($request:ty)) => {{
            let request = <$request>::decode(request.as_slice()).unwrap();
            let mut stream = client.$call(request).await?.into_inner();
            loop {
                let message = timeout(SOON, stream.message()).await.expect("a message in time")?.expect("an end");
                let generation = message.generation.unwrap();
                let is_taken = generation.attempts.iter().any(|attempt| !attempt.provider_job_id.is_empty());
                if is_taken || is_terminal(&generation) {
                    break Ok(generation);
                }
            }
        }};
    }
    match kind {
        Kind::Unspecified | Kind::Video => last!(generate_video(GenerateVideoRequest)),
        Kind::Image => last!(generate_image(GenerateImageRequest)),
        Kind::Speech => last!(generate_speech(GenerateSpeechRequest)),
        Kind::Music => last!(generate_music(GenerateMusicRequest)),
        Kind::Text => unreachable!("of text there are chats, no orders"),
    }
}
