//! What Google's APIs have in common: the error form, inputs within requests, and Veo's operations. No vendor by itself.

pub(super) mod input;
pub(super) mod status;
pub(super) mod veo;

pub(super) use super::http::base64;
