//! Records for the tests of this room.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    domain::{
        artifact::{Artifact, Kind, MediaFacts},
        attempt::Attempt,
        generation::{Cost, Generation, State},
        names::{ArtifactId, AttemptId, GenerationId, SessionId, TenantId},
        order::{CachePolicy, Candidate, Options},
    },
    engine::view::View,
};

/// Noon of a day.
pub(super) fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// A video of ten bytes.
pub(super) fn artifact() -> Artifact {
    let facts = MediaFacts {
        media_type: "video/mp4".to_owned(),
        duration: Some(Duration::from_millis(5500)),
        width: Some(512),
        height: Some(288),
        fps: Some(12.0),
        codecs: vec!["h264".to_owned()],
    };
    let id: GenerationId = "generations/01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let attempt = AttemptId::from_id("01890a5d-ac96-774b-bcce-b302099a8058").unwrap();
    Artifact {
        id: ArtifactId::output(id, 0),
        generation: Some(id),
        kind: Kind::Video,
        facts,
        size: 10,
        sha256: "ab".repeat(32),
        blob: serde_json::from_value(format!("{}/0/1", attempt.id()).into()).unwrap(),
        sample: false,
        created_at: noon(),
    }
}

/// A queued generation with one waiting attempt.
pub(super) fn generation() -> Generation {
    let model: crate::domain::names::ModelName = "replicate/minimax/video-01".parse().unwrap();
    Generation {
        id: "generations/01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
        tenant: TenantId::default_tenant(),
        session: SessionId::from_id("abc").unwrap(),
        kind: Kind::Video,
        request_id: None,
        prompt: "a cat".to_owned(),
        brief: "a cat — in short".to_owned(),
        candidates: vec![Candidate {
            model: model.clone(),
            options: Options::new(),
            provider_options: serde_json::Map::new(),
            adjustments: Vec::new(),
            estimate: None,
            price: None,
            expected_time: None,
            listed: 0,
            digest: String::new(),
            stand_in: false,
        }],
        inputs: Vec::new(),
        fallback_on_refusal: false,
        labels: BTreeMap::new(),
        callback_url: None,
        cache: CachePolicy::Default,
        cache_key: None,
        max_duration: Duration::from_secs(1800),
        deadline: noon() + Duration::from_secs(1800),
        state: State::Queued,
        phase: "queued".to_owned(),
        sequence: 1,
        n_events: 1,
        progress_percent: None,
        provider_logs: "log".to_owned(),
        attempts: vec![Attempt::new(0, model, crate::domain::money::MicroUsd::ZERO, noon())],
        artifacts: Vec::new(),
        cost: Cost::default(),
        cached_from: None,
        leader: None,
        coalesced: false,
        successor: None,
        failure: None,
        unresolved: None,
        cancel_requested_at: None,
        provider_error: None,
        trace: None,
        created_at: noon(),
        started_at: None,
        ended_at: None,
        expired_at: None,
        was_sample: false,
        updated_at: noon(),
    }
}

/// Succeeded after 61.239 s.
pub(super) fn succeeded() -> Generation {
    Generation {
        state: State::Succeeded,
        artifacts: vec![artifact()],
        ended_at: Some(noon() + Duration::from_millis(61_239)),
        ..generation()
    }
}

/// Seen alone.
pub(super) fn view(generation: Generation) -> View {
    View {
        generation: Arc::new(generation),
        leader: None,
        queue_position: None,
        eta: None,
        unresolved_for: Duration::from_secs(24 * 3600),
    }
}
