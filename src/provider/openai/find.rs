//! Looking for the video of a submit whose answer was lost. No server of this kind keeps a mark of ours, so nothing is exact.

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    domain::artifact::Kind,
    provider::{
        error::ProviderError,
        http::{INLINE_CAP, outcome::Call},
        port::{Found, Job, Order, Ticket},
    },
};

use super::{OpenAi, body::Body, wire::Video};

/// Most pages looked at.
const MOST_PAGES: usize = 5;
/// Jobs on a page.
const PAGE: &str = "100";
/// How far the server's clock may be behind ours; it tells whole seconds.
const CLOCK_ALLOWANCE: SignedDuration = SignedDuration::from_secs(5);
/// Looking ends at a job this much older than the submit.
const LOOK_BACK: SignedDuration = SignedDuration::from_secs(60);

impl OpenAi {
    pub(super) async fn videos_like(&self, order: &Order, sent_at: Timestamp) -> Result<Found, ProviderError> {
        let body = self.body(order)?;
        let (mut jobs, mut after) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let request = self.request(Method::GET, &["videos"]).query(&[("limit", PAGE), ("order", "desc")]);
            let request = request.query(&after.iter().map(|id| ("after", id)).collect::<Vec<_>>());
            let answer = self.http.exchange(Call::List, request, INLINE_CAP).await?;
            // LiteLLM has the path, and refuses it without a word of its own in it.
            if matches!(answer.status.as_u16(), 400 | 404 | 405 | 422 | 501) {
                return Ok(Found::Unsupported);
            }
            if !answer.status.is_success() {
                return Err(self.refused(Call::List, &answer, None));
            }
            let page: Value = self.http.json(Call::List, &answer)?;
            let videos: Vec<Video> = page["data"].as_array().into_iter().flatten().map(Video::of).collect();
            let is_past = videos.iter().any(|it| it.created_at.is_some_and(|at| at < sent_at - LOOK_BACK));
            let last = page["last_id"].as_str().map(str::to_owned).or_else(|| videos.last()?.id.clone());
            let has_more = page["has_more"] == true && !videos.is_empty() && last != after;
            jobs.extend(videos.into_iter().filter_map(|video| self.candidate(video, &body, order, sent_at)));
            if is_past || !has_more {
                break;
            }
            after = last;
        }
        Ok(Found::Candidates(jobs))
    }

    /// The job, if it could be the order's: of its prompt for certain, and of its model, length and size where the list shows
    /// them. A list without prompts tells nothing.
    fn candidate(&self, video: Video, body: &Body<'_>, order: &Order, sent_at: Timestamp) -> Option<Job> {
        let created_at = video.created_at.filter(|at| *at >= sent_at - CLOCK_ALLOWANCE)?;
        let same = |shown: Option<&str>, field: &str| match (shown, body.field(field)) {
            (Some(shown), Some(sent)) => shown == sent,
            (Some(_), None) | (None, _) => true,
        };
        let seconds = body.field("seconds").and_then(|sent| sent.parse::<f64>().ok());
        let same_length = video.seconds.zip(seconds).is_none_or(|(shown, sent)| (shown - sent).abs() < 1e-9);
        let is_like = video.prompt.as_deref() == Some(order.prompt.trim())
            && same(video.model.as_deref(), "model")
            && same(video.size.as_deref(), "size")
            && same_length;
        let job = video.id.filter(|_| is_like)?;
        let data = json!({ "kind": Kind::Video });
        Some(Job { ticket: Ticket { account: self.account.clone(), job, data }, created_at, exact: false })
    }
}
