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
