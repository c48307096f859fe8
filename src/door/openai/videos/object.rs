//! A generation as OpenAI shows a video, and its id here.

use std::{fmt, str::FromStr, time::Duration};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    domain::{
        generation::State,
        names::{ArtifactId, GenerationId},
        order::{InputRole, InputSource},
    },
    door::{
        openai::problem,
        present::{self, Detail},
    },
    engine::view::View,
    pb::v1::{self, generation::Spec},
};

/// How long to wait before asking again; of all clients the SDK for Python minds it.
const POLL_AFTER: HeaderName = HeaderName::from_static("openai-poll-after-ms");
/// The same, as long as nothing is known about the end.
const USUAL_WAIT: Duration = Duration::from_secs(2);
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// On a stand-in, as on its bytes.
const SAMPLE: HeaderName = HeaderName::from_static("x-filmgate-sample");

/// The id of a video: `video_` and the generation's UUID in 32 hexadecimal digits. 74 of its bits are random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VideoId(GenerationId);

impl VideoId {
    /// The generation that it stands for.
    pub(super) fn generation(self) -> GenerationId {
        self.0
    }
}

impl From<GenerationId> for VideoId {
    fn from(id: GenerationId) -> Self {
        Self(id)
    }
}

impl fmt::Display for VideoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "video_{}", self.0.id().replace('-', ""))
    }
}

/// The text is no id of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoVideoId;

impl FromStr for VideoId {
    type Err = NoVideoId;

    fn from_str(text: &str) -> Result<Self, NoVideoId> {
        let digits = text.strip_prefix("video_").ok_or(NoVideoId)?;
        let uuid = Uuid::try_parse(digits).map_err(|_| NoVideoId)?;
        let id = GenerationId::from_id(&uuid.to_string()).map(Self).map_err(|_| NoVideoId)?;
        // Only the form that is given out, so that one video has one id.
        if id.to_string() == text { Ok(id) } else { Err(NoVideoId) }
    }
}

/// A video as OpenAI shows one. All keys are always there.
#[derive(Debug, Serialize)]
pub(super) struct Video {
    pub(super) id: String,
    object: &'static str,
    model: String,
    status: &'static str,
    progress: u32,
    created_at: i64,
    completed_at: Option<i64>,
    expires_at: Option<i64>,
    prompt: Option<String>,
    /// Empty while nobody knows: the model decides, and has not ended.
    seconds: String,
    /// As `seconds`.
    size: String,
    remixed_from_video_id: Option<String>,
    error: Option<VideoError>,
}

#[derive(Debug, Serialize)]
struct VideoError {
    code: String,
    message: String,
}

/// A video as the whole answer of a call.
pub(super) fn answer(view: &View) -> Response {
    let video = Video::of(view);
    let goes_on = matches!(video.status, "queued" | "in_progress");
    let mut response = Json(video).into_response();
    if goes_on {
        let wait = view.eta.map_or(USUAL_WAIT, |eta| wait_until(eta, Timestamp::now()));
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        response.headers_mut().insert(POLL_AFTER, HeaderValue::from(millis));
    }
    if view.generation.is_sample() {
        response.headers_mut().insert(SAMPLE, HeaderValue::from_static("true"));
    }
    response
}

/// A tenth of what is left: then it is seen soon after its end, however long it takes.
fn wait_until(end: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    (left / 10).clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

impl Video {
    /// As its caller sees it now.
    pub(super) fn of(view: &View) -> Self {
        let record = &*view.generation;
        let shown = present::generation(view, Detail::Row);
        let options = match &shown.spec {
            Some(Spec::Video(video)) => video.options.clone().unwrap_or_default(),
            Some(Spec::Image(_) | Spec::Speech(_) | Spec::Music(_)) | None => v1::VideoOptions::default(),
        };
        let state = shown.state();
        let first = shown.artifacts.first();
        let progress = if state == v1::State::Succeeded { 100 } else { shown.progress_percent.unwrap_or_default() };
        let remixed = record.inputs.iter().find_map(|input| match &input.source {
            InputSource::Artifact(id) if input.role == InputRole::Source => made_by(id),
            InputSource::Artifact(_) | InputSource::Url(_) => None,
        });
        let size = |width: Option<u32>, height: Option<u32>| Some(format!("{}x{}", width?, height?));
        Self {
            id: VideoId(record.id).to_string(),
            object: "video",
            status: status(state),
            progress: progress.min(100),
            created_at: record.created_at.as_second(),
            completed_at: record.ended_at.filter(|_| state == v1::State::Succeeded).map(Timestamp::as_second),
            expires_at: record.expired_at.map(Timestamp::as_second),
            prompt: Some(record.prompt.clone()).filter(|prompt| !prompt.is_empty()),
            seconds: options.duration.or_else(|| first?.duration).map(|it| seconds(&it)).unwrap_or_default(),
            size: size(options.width, options.height).or_else(|| size(first?.width, first?.height)).unwrap_or_default(),
            remixed_from_video_id: remixed.map(|id| id.to_string()),
            error: error(state, shown.failure),
            model: shown.model,
        }
    }
}

/// OpenAI's four words. What is unknown, or on its way to be cancelled, may still succeed.
fn status(state: v1::State) -> &'static str {
    match state {
        v1::State::Unspecified | v1::State::Queued => "queued",
        v1::State::Running | v1::State::Storing | v1::State::Cancelling | v1::State::Unresolved => "in_progress",
        v1::State::Succeeded => "completed",
        v1::State::Failed | v1::State::Cancelled => "failed",
    }
}

fn error(state: v1::State, failure: Option<v1::Failure>) -> Option<VideoError> {
    if state == v1::State::Cancelled {
        return Some(VideoError { code: "cancelled".to_owned(), message: "The video was cancelled.".to_owned() });
    }
    let failure = failure?;
    let code = match failure.reason() {
        v1::ErrorReason::ProviderRefusedContent => "moderation_blocked".to_owned(),
        other => problem::word(other),
    };
    Some(VideoError { code, message: failure.message })
}

/// The video whose output an artifact is: outputs are named `{generation}-{index}`.
fn made_by(id: &ArtifactId) -> Option<VideoId> {
    let (generation, _index) = id.id().rsplit_once('-')?;
    GenerationId::from_id(generation).ok().map(VideoId)
}

/// Whole seconds without a fraction, as OpenAI writes them.
fn seconds(duration: &prost_types::Duration) -> String {
    let whole = duration.seconds;
    if duration.nanos == 0 {
        return whole.to_string();
    }
    let fraction = format!("{:09}", duration.nanos);
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// Whether a generation may still have an output.
pub(super) fn may_come(state: State) -> bool {
    !state.is_terminal()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        domain::{
            failure::{Charged, Failure, FailurePhase, FailureReason},
            generation::Generation,
            order::{Input, OptionName, OptionValue},
        },
        door::fixture::{generation, noon, succeeded, view},
    };

    const ID: &str = "video_01890a5dac96774bbcceb302099a8057";

    fn shown(record: Generation) -> Value {
        serde_json::to_value(Video::of(&view(record))).unwrap()
    }

    #[test]
    fn an_id_is_reversible_and_has_one_form() {
        let id: VideoId = ID.parse().unwrap();
        assert_eq!((id.to_string().as_str(), id.generation()), (ID, generation().id));
        for bad in ["", "video_", "video_1", &ID[6..], &ID.to_uppercase(), "video_01890a5d-ac96-774b-bcce-b302099a8057"]
        {
            assert_eq!(bad.parse::<VideoId>(), Err(NoVideoId), "{bad}");
        }
    }

    #[test]
    fn a_video_has_all_keys() {
        let mut record = generation();
        let options = &mut record.candidates[0].options;
        options.insert(OptionName::Duration, OptionValue::Int(8));
        options.insert(OptionName::Width, OptionValue::Int(1280));
        options.insert(OptionName::Height, OptionValue::Int(720));
        let expected = json!({
            "id": ID, "object": "video", "model": "replicate/minimax/video-01", "status": "queued", "progress": 0,
            "created_at": noon().as_second(), "completed_at": null, "expires_at": null, "prompt": "a cat", "seconds": "8",
            "size": "1280x720", "remixed_from_video_id": null, "error": null,
        });
        assert_eq!(shown(record), expected);
    }

    #[test]
    fn what_nobody_ordered_is_read_from_the_file() {
        let video = shown(succeeded());
        assert_eq!(
            (&video["seconds"], &video["size"], &video["progress"]),
            (&json!("5.5"), &json!("512x288"), &json!(100))
        );
        assert_eq!(video["completed_at"], json!(noon().as_second() + 61));
        let video = shown(generation());
        assert_eq!((&video["seconds"], &video["size"]), (&json!(""), &json!("")));
    }

    #[test]
    fn only_four_words_are_said() {
        for (state, word) in [
            (State::Queued, "queued"),
            (State::Running, "in_progress"),
            (State::Storing, "in_progress"),
            (State::Cancelling, "in_progress"),
            (State::Unresolved, "in_progress"),
            (State::Succeeded, "completed"),
            (State::Failed, "failed"),
            (State::Cancelled, "failed"),
        ] {
            assert_eq!(shown(Generation { state, ..generation() })["status"], word, "{state:?}");
        }
        assert_eq!(shown(Generation { state: State::Cancelled, ..generation() })["error"]["code"], "cancelled");
    }

    #[test]
    fn a_failure_says_why() {
        let failed = |reason| {
            let failure = Some(Failure::new(reason, FailurePhase::Provider, Charged::No, "it was refused"));
            shown(Generation { state: State::Failed, failure, ..generation() })["error"].clone()
        };
        let blocked = failed(FailureReason::ProviderRefusedContent);
        assert_eq!(blocked, json!({ "code": "moderation_blocked", "message": "it was refused" }));
        assert_eq!(failed(FailureReason::ProviderJobFailed)["code"], "provider_job_failed");
    }

    #[test]
    fn a_remix_names_the_video_it_was_made_from() {
        let input = |role| Input { role, source: InputSource::Artifact(ArtifactId::output(generation().id, 0)) };
        let remix =
            |role| shown(Generation { inputs: vec![input(role)], ..generation() })["remixed_from_video_id"].clone();
        assert_eq!(remix(InputRole::Source), ID);
        assert_eq!(remix(InputRole::FirstFrame), Value::Null);
    }

    #[test]
    fn a_client_is_asked_to_wait_for_a_tenth_of_what_is_left() {
        for (left, wait) in [(0, 500), (20, 2000), (600, 5000), (-5, 500)] {
            let end = noon() + jiff::SignedDuration::from_secs(left);
            assert_eq!(wait_until(end, noon()), Duration::from_millis(wait), "{left}");
        }
    }
}
