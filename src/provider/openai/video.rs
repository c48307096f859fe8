//! Videos: jobs that are created, asked after and deleted.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    domain::{
        artifact::Kind,
        failure::Charged,
        money::{MicroUsd, Usage},
        names::SubmitKey,
    },
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        http::{ANSWER_CAP, outcome::Call, text::shortened},
        port::{CancelOutcome, Order, Progress, RemoteOutput, Status, Submitted, Ticket},
    },
};

use super::{
    OpenAi, Writing,
    answer::{charged, millis},
    reason::{self, Reason},
    wire::Video,
    writing_of,
};

/// Most characters kept of a status word.
const PHASE_CHARS: usize = 64;

/// Where a job is, by the word that a server has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl Stage {
    /// `word` is in lower case with `_`. A word of tomorrow is taken for a job at work, which our own deadline bounds.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "queued" | "pending" | "submitted" | "not_start" | "not_started" | "waiting" | "created" | "preparing"
            | "scheduled" | "in_queue" | "inqueue" | "queueing" | "validating" | "starting" => Self::Waiting,
            "completed"
            | "complete"
            | "succeeded"
            | "succeed"
            | "success"
            | "successful"
            | "done"
            | "finished"
            | "finish"
            | "ready"
            | "generated"
            | "video_generation_completed" => Self::Done,
            "failed"
            | "failure"
            | "fail"
            | "error"
            | "rejected"
            | "blocked"
            | "moderated"
            | "expired"
            | "timeout"
            | "video_generation_failed" => Self::Failed,
            "cancelled" | "canceled" | "deleted" | "aborted" | "stopped" | "terminated" => Self::Cancelled,
            _ => Self::Running,
        }
    }
}

impl OpenAi {
    pub(super) async fn create_video(&self, order: &Order, key: &SubmitKey) -> Result<Submitted, ProviderError> {
        let body = self.body(order)?;
        let of_card = order.card.as_deref().and_then(|card| writing_of(card).ok().flatten());
        let is_form = match of_card.unwrap_or(self.writing) {
            Writing::Multipart => true,
            Writing::Json => false,
            Writing::Mixed => body.has_files(),
        };
        let request = self.submission(&["videos"], key);
        let request =
            if is_form { request.multipart(self.form(&body, order).await?) } else { request.json(&body.json()) };
        let answer = self.http.exchange(Call::Submit, request, ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Submit, &answer, Some(order)));
        }
        let page: Value = self.http.record(Call::Submit, &answer)?;
        let Some(job) = Video::of(&page).id else {
            let nameless =
                || ProviderError::new(&self.id, ErrorKind::NoJobId, Effect::Maybe, "took the order and named no job");
            return Err(self.error_within(&answer, &page, order).unwrap_or_else(nameless));
        };
        let mut data = json!({ "kind": Kind::Video });
        // Said once, with the order; asking after a job costs nothing and says so.
        if let Some(MicroUsd(micros)) = charged(&answer) {
            data["charged"] = json!(micros);
        }
        Ok(Submitted::Pending(Ticket { account: self.account.clone(), job, data }))
    }

    /// The job as its server tells it.
    async fn retrieve(&self, ticket: &Ticket) -> Result<(Video, Option<std::time::Duration>), ProviderError> {
        let request = self.request(Method::GET, &["videos", &ticket.job]);
        let answer = self.http.exchange(Call::Job, request, ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(Call::Job, &answer, None));
        }
        let page: Value = self.http.record(Call::Job, &answer)?;
        let mut video = Video::of(&page);
        if let (None, Some(problem)) = (&video.status, &video.problem) {
            // An error in a good answer may be the question's and not the job's.
            if video.id.is_none() && !Reason::of(problem).is_some_and(Reason::is_of_order) {
                return Err(self.error_of_question(&answer));
            }
            video.status = Some("failed".to_owned());
        }
        if video.status.is_none() {
            return Err(self.http.broken(Call::Job, "answered without a status"));
        }
        Ok((video, millis(&answer, "openai-poll-after-ms")))
    }

    /// Where a finished job's server says that its file lies.
    pub(super) async fn named_address(&self, ticket: &Ticket) -> Option<String> {
        self.retrieve(ticket).await.ok()?.0.address
    }

    pub(super) async fn progress(&self, ticket: &Ticket) -> Result<Progress, ProviderError> {
        let (video, poll_after) = self.retrieve(ticket).await?;
        let word = video.status.as_deref().unwrap_or_default();
        let charged = ticket.data["charged"].as_i64().map(MicroUsd);
        let mut usage = Usage { compute_seconds: video.compute_seconds, charged, ..Usage::default() };
        let status = match Stage::of(word) {
            Stage::Waiting => Status::Waiting,
            Stage::Running => Status::Running,
            Stage::Done => {
                (usage.output_seconds, usage.outputs) = (video.seconds.filter(|seconds| *seconds > 0.0), Some(1));
                Status::Done(vec![RemoteOutput::Link(self.address(&["videos", &ticket.job, "content"]))])
            }
            Stage::Failed => Status::Failed(reason::failure(&self.id, &video)),
            // No server of this kind says what a stopped job costs.
            Stage::Cancelled => Status::Cancelled(Charged::Unknown),
        };
        Ok(Progress {
            status,
            phase: Some(shortened(word, PHASE_CHARS)),
            percent: video.percent,
            queue_position: None,
            log_tail: None,
            usage,
            poll_after,
        })
    }

    /// Deleting is the only way to stop a job, and it takes a finished one's file: so it is asked first how far it is.
    pub(super) async fn delete(&self, ticket: &Ticket) -> Result<CancelOutcome, ProviderError> {
        let (video, _) = self.retrieve(ticket).await?;
        match Stage::of(video.status.as_deref().unwrap_or_default()) {
            Stage::Done | Stage::Failed => return Ok(CancelOutcome::TooLate),
            Stage::Cancelled => return Ok(CancelOutcome::Stopped(Charged::Unknown)),
            Stage::Waiting | Stage::Running => {}
        }
        let request = self.request(Method::DELETE, &["videos", &ticket.job]);
        let answer = self.http.exchange(Call::Job, request, ANSWER_CAP).await?;
        match answer.status {
            status if status.is_success() => Ok(CancelOutcome::Stopped(Charged::Unknown)),
            // OpenAI deletes only what has ended; LiteLLM has no such path.
            StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::CONFLICT
            | StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::NOT_IMPLEMENTED => Ok(CancelOutcome::Unsupported),
            _ => Err(self.refused(Call::Job, &answer, None)),
        }
    }
}
