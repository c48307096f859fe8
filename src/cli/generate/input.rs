//! `--input ROLE=SOURCE`: files to start from, sent in the order itself or uploaded first.

use std::path::{Path, PathBuf};

use crate::{
    cli::{connect::Connection, failure::Failure, names::Collection, upload},
    pb::v1::{Input, InputRole, input::Source as Sent},
};

/// Most bytes of all inputs together that go inside the order; an order must stay below the 4 MiB of a gRPC message.
const INLINE_BYTES: u64 = 3 * 1024 * 1024;

/// One `--input`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InputArg {
    role: InputRole,
    source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// An artifact's full name.
    Artifact(String),
    /// A URL or data URI.
    Uri(String),
    /// A file here.
    File(PathBuf),
}

/// Reads `first_frame=PATH`, `last_frame=https://…`, `reference=artifacts/…`.
pub(super) fn parse(text: &str) -> Result<InputArg, String> {
    let (role, source) = text.split_once('=').ok_or("expected ROLE=SOURCE")?;
    let role = match role.replace('-', "_").as_str() {
        "first_frame" => InputRole::FirstFrame,
        "last_frame" => InputRole::LastFrame,
        "reference" => InputRole::Reference,
        "source" => InputRole::Source,
        "mask" => InputRole::Mask,
        "sequence" => InputRole::Sequence,
        "audio" => InputRole::Audio,
        _ => {
            return Err(format!(
                "unknown role {role:?}; allowed: first_frame, last_frame, reference, source, mask, sequence, audio"
            ));
        }
    };
    let is_uri = ["https:", "http:", "data:"].iter().any(|scheme| source.starts_with(scheme));
    let source = match source {
        "" => return Err("expected ROLE=SOURCE".to_owned()),
        source if source.starts_with(Collection::Artifacts.prefix()) => Source::Artifact(source.to_owned()),
        source if is_uri => Source::Uri(source.to_owned()),
        source => Source::File(PathBuf::from(source)),
    };
    Ok(InputArg { role, source })
}

/// The inputs as they are sent. Files that do not fit into the order are uploaded.
pub(super) async fn resolve(args: &[InputArg], connection: &Connection) -> Result<Vec<Input>, Failure> {
    let mut inputs = Vec::with_capacity(args.len());
    let mut room = INLINE_BYTES;
    for InputArg { role, source } in args {
        let source = match source {
            Source::Artifact(name) => Sent::Artifact(name.clone()),
            Source::Uri(uri) => Sent::Uri(uri.clone()),
            Source::File(path) => file(path, &mut room, connection).await?,
        };
        inputs.push(Input { role: (*role).into(), source: Some(source) });
    }
    Ok(inputs)
}

async fn file(path: &Path, room: &mut u64, connection: &Connection) -> Result<Sent, Failure> {
    let fail = |error: std::io::Error| Failure::file(path, "read", &error);
    let n_bytes = tokio::fs::metadata(path).await.map_err(fail)?.len();
    if n_bytes > *room {
        return Ok(Sent::Artifact(upload::send(connection, path, "").await?.name));
    }
    *room -= n_bytes;
    Ok(Sent::Data(tokio::fs::read(path).await.map_err(fail)?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_a_source_tells_what_it_is() {
        let table = [
            ("first_frame=a.png", InputRole::FirstFrame, Source::File("a.png".into())),
            ("last-frame=/x/a=b.png", InputRole::LastFrame, Source::File("/x/a=b.png".into())),
            (
                "reference=https://e.example/a?b=c",
                InputRole::Reference,
                Source::Uri("https://e.example/a?b=c".to_owned()),
            ),
            (
                "reference=data:image/png;base64,AA==",
                InputRole::Reference,
                Source::Uri("data:image/png;base64,AA==".to_owned()),
            ),
            ("reference=artifacts/1-0", InputRole::Reference, Source::Artifact("artifacts/1-0".to_owned())),
            ("reference=./artifacts/1.png", InputRole::Reference, Source::File("./artifacts/1.png".into())),
        ];
        for (text, role, source) in table {
            assert_eq!(parse(text), Ok(InputArg { role, source }), "{text}");
        }
        for text in ["a.png", "hero=a.png", "reference="] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
