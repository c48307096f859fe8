//! `--kind`.

use crate::pb::v1;

/// What an output is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum KindArg {
    Video,
    Image,
    Speech,
    Music,
}

/// As [`KindArg`], where text of chats may be asked for as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum MadeArg {
    Video,
    Image,
    Speech,
    Music,
    Text,
}

impl From<MadeArg> for v1::Kind {
    fn from(made: MadeArg) -> Self {
        match made {
            MadeArg::Video => Self::Video,
            MadeArg::Image => Self::Image,
            MadeArg::Speech => Self::Speech,
            MadeArg::Music => Self::Music,
            MadeArg::Text => Self::Text,
        }
    }
}

impl From<KindArg> for v1::Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Video => Self::Video,
            KindArg::Image => Self::Image,
            KindArg::Speech => Self::Speech,
            KindArg::Music => Self::Music,
        }
    }
}
