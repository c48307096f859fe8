//! A task as the vendor shows it.

use serde_json::{Value, json};

use super::{Task, told};
use crate::simulator::desk::{Job, Outcome, Stage};

/// The word of a task's status.
pub(super) fn word(job: &Job<Task>) -> &'static str {
    match job.stage() {
        Stage::Starting => "queued",
        Stage::Processing { .. } => "running",
        Stage::Ended(end) => match end.outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed(_) => "failed",
            Outcome::Canceled => "cancelled",
            Outcome::Aborted => "expired",
        },
    }
}

/// The whole task.
pub(super) fn of(job: &Job<Task>, origin: &str) -> Value {
    let film = &job.data.order;
    let created_at = job.created_at.as_second();
    let mut page = json!({
        "id": job.id,
        "model": job.model,
        "status": word(job),
        "error": null,
        "created_at": created_at,
        "updated_at": created_at,
        "service_tier": film.service_tier,
        "execution_expires_after": 172_800,
    });
    if let Some(identifier) = &film.safety_identifier {
        page["safety_identifier"] = json!(identifier);
    }
    let Stage::Ended(end) = job.stage() else { return page };
    page["updated_at"] = json!(job.at(end.at).as_second());
    match end.outcome {
        Outcome::Succeeded => {
            let tokens = film.tokens();
            page["content"] = json!({ "video_url": job.links(origin).first() });
            page["usage"] = json!({ "completion_tokens": tokens, "total_tokens": tokens });
            page["seed"] = json!(film.seed);
            page["resolution"] = json!(film.resolution);
            page["ratio"] = json!(film.ratio);
            page["duration"] = json!(film.seconds);
            page["framespersecond"] = json!(24);
            page["generate_audio"] = json!(film.audio);
        }
        Outcome::Failed(text) => {
            let (code, message) = told(&text, "OutputVideoSensitiveContentDetected");
            page["error"] = json!({ "code": code, "message": message });
        }
        Outcome::Canceled | Outcome::Aborted => {}
    }
    page
}
