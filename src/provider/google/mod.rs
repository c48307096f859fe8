//! What Google's APIs have in common: the error form, inputs within requests, and Veo's operations. No vendor by itself.

pub(super) mod base64;
pub(super) mod input;
pub(super) mod names;
pub(super) mod status;
pub(super) mod veo;
