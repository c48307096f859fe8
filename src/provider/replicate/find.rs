//! Looking for the job of a submit whose answer was lost.

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use url::Url;

use crate::{
    domain::names::SubmitKey,
    provider::{
        error::{ErrorKind, ProviderError},
        http::{INLINE_CAP, outcome::Call},
        port::{InputFile, Job, Order},
        webhook,
    },
};

use super::{
    Replicate, map,
    wire::{Page, Prediction},
};

/// Most pages looked at, of 100 jobs each.
const MOST_PAGES: usize = 5;
/// How far Replicate's clock may be behind ours.
const CLOCK_ALLOWANCE: SignedDuration = SignedDuration::from_secs(5);
/// Looking ends at a job this much older than the submit: the list is newest first, but only nearly so.
const LOOK_BACK: SignedDuration = SignedDuration::from_secs(60);

impl Replicate {
    /// The jobs that could have come from an order sent at `sent_at`. A webhook address is a mark: one with our `key` makes a job exact, and
    /// with any other address it is somebody else's. The list need not show it.
    pub(super) async fn jobs_like(
        &self,
        order: &Order,
        key: SubmitKey,
        sent_at: Timestamp,
    ) -> Result<Vec<Job>, ProviderError> {
        let files = order.inputs.iter().map(|input| match &input.file {
            InputFile::Url(url) => Value::from(url.as_str()),
            // Sent as a data URI or under the address of an upload that nobody remembers.
            InputFile::Bytes { .. } => Value::Null,
        });
        let sent = crate::provider::fields::of(order, files.collect())
            .map_err(|why| self.order_error(ErrorKind::InvalidOrder, why))?;
        let mut jobs = Vec::new();
        let mut request = Some(self.request(Method::GET, &["predictions"]));
        for _ in 0..MOST_PAGES {
            let Some(page_request) = request.take() else { break };
            let answer = self.http.exchange(Call::List, page_request, INLINE_CAP).await?;
            if !answer.status.is_success() {
                return Err(self.refused(Call::List, &answer, None));
            }
            let page: Page = self.http.json(Call::List, &answer)?;
            let is_past = page.results.iter().any(|it| it.created_at.is_some_and(|at| at < sent_at - LOOK_BACK));
            jobs.extend(page.results.into_iter().filter_map(|prediction| match &prediction.webhook {
                Some(address) if webhook::is_of(address, key) => self.job(prediction, order, sent_at, true),
                Some(_) => None,
                None if !map::is_run_of(&prediction, order, &sent) => None,
                None => self.job(prediction, order, sent_at, false),
            }));
            if is_past {
                break;
            }
            request = self.next_page(page.next.as_deref()).map(|url| self.keyed(Method::GET, url));
        }
        Ok(jobs)
    }

    fn job(&self, prediction: Prediction, order: &Order, sent_at: Timestamp, exact: bool) -> Option<Job> {
        let is_since = |at: &Timestamp| exact || *at >= sent_at - CLOCK_ALLOWANCE;
        let created_at = prediction.created_at.filter(is_since)?;
        let job = prediction.id.filter(|id| !id.is_empty())?;
        Some(Job { ticket: self.ticket(job, order.kind), created_at, exact })
    }

    /// The next page's address, if it lies below our base: the key goes nowhere else.
    fn next_page(&self, next: Option<&str>) -> Option<Url> {
        let next = self.base.join(next?).ok()?;
        let below = format!("{}/", self.base.path().trim_end_matches('/'));
        (next.origin() == self.base.origin() && next.path().starts_with(&below)).then_some(next)
    }
}
