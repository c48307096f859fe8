//! Callbacks at the end of a job, signed with Ed25519.

use std::{fmt, io, sync::Arc};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::{Json, extract::State};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Fal, FalJob, request};
use crate::simulator::desk::{Letter, Stage};

/// Tries after the first; with the pause doubling from 1 s the last is after about a minute.
const RETRIES: u32 = 6;
/// The account, as callbacks name it.
const USER: &str = "simulated|1";

/// The account's key, and that of a forger.
pub(super) struct Signer {
    own: Ed25519KeyPair,
    forger: Ed25519KeyPair,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// Keys that follow from the seed.
    pub(super) fn new(seed: u64) -> io::Result<Self> {
        let pair = |name: &str| {
            let secret = Sha256::digest(format!("{name} {seed}"));
            Ed25519KeyPair::from_seed_unchecked(&secret).map_err(io::Error::other)
        };
        Ok(Self { own: pair("webhook key")?, forger: pair("forger's key")? })
    }
}

/// The public keys.
pub(super) async fn keys(State(fal): State<Arc<Fal>>) -> Json<Value> {
    let x = URL_SAFE_NO_PAD.encode(fal.signer.own.public_key());
    Json(json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "simulated" }] }))
}

/// Calls `url` when the job has ended.
pub(super) fn tell_at_end(fal: &Arc<Fal>, job: &Arc<FalJob>, url: String, origin: String) {
    let teller = Arc::clone(fal);
    fal.desk.tell_at_end(job, move |job| {
        let (id, signer) = (job.id.clone(), Arc::clone(&teller.signer));
        let message = message(&teller, job, &origin);
        Letter {
            url,
            body: Bytes::from(message.to_string()),
            retries: RETRIES,
            sign: Arc::new(move |stamp, body| {
                let pair = if stamp.forged { &signer.forger } else { &signer.own };
                let sent_at = stamp.sent_at.to_string();
                let signed = format!("{id}\n{USER}\n{sent_at}\n{}", hex::encode(Sha256::digest(body)));
                vec![
                    ("x-fal-webhook-request-id", id.clone()),
                    ("x-fal-webhook-user-id", USER.to_owned()),
                    ("x-fal-webhook-timestamp", sent_at),
                    ("x-fal-webhook-signature", hex::encode(pair.sign(signed.as_bytes()))),
                ]
            }),
        }
    });
}

fn message(fal: &Fal, job: &FalJob, origin: &str) -> Value {
    let mut message = json!({ "request_id": job.id, "gateway_request_id": job.id, "payload": null });
    if let Stage::Ended(end) = job.stage() {
        let (code, result) = request::result(fal, job, &end.outcome, origin);
        message["payload"] = result;
        message["status"] = json!(if code.is_success() { "OK" } else { "ERROR" });
        if !code.is_success() {
            message["error"] = json!(format!("Invalid status code: {}", code.as_u16()));
        }
    }
    message
}
