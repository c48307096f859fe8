//! Looking for the task of a submit whose answer was lost.

use http::Method;
use jiff::{SignedDuration, Timestamp};

use crate::{
    domain::{artifact::Kind, names::SubmitKey},
    provider::{
        error::ProviderError,
        http::{ANSWER_CAP, outcome::Call},
        port::{Found, Job, Order},
    },
};

use super::{
    Ark, mark_of,
    wire::{Page, Task},
};

/// Most pages looked at.
const MOST_PAGES: u32 = 4;
/// Tasks on a page.
const PAGE_SIZE: u32 = 100;
/// How far Ark's clock may be behind ours; it tells whole seconds.
const CLOCK_ALLOWANCE: SignedDuration = SignedDuration::from_secs(5);
/// Looking ends at a task this much older than the submit.
const LOOK_BACK: SignedDuration = SignedDuration::from_secs(60);

impl Ark {
    /// The tasks that could have come from an order sent at `sent_at`. Each order names itself by a mark of its own, which a task repeats; one that
    /// repeats none could be anybody's of this model. Pictures are answered at once and listed nowhere.
    pub(super) async fn tasks_like(
        &self,
        order: &Order,
        key: SubmitKey,
        sent_at: Timestamp,
    ) -> Result<Found, ProviderError> {
        if order.kind == Kind::Image {
            return Ok(Found::Unsupported);
        }
        let (mark, model) = (mark_of(key), self.model_of(order));
        let own_mark = order.provider_options.contains_key("safety_identifier");
        let mut jobs = Vec::new();
        for page in 1..=MOST_PAGES {
            let query = [
                ("page_num", page.to_string()),
                ("page_size", PAGE_SIZE.to_string()),
                ("filter.model", model.to_owned()),
            ];
            let request = self.request(Method::GET, &["contents", "generations", "tasks"]).query(&query);
            let answer = self.http.exchange(Call::List, request, ANSWER_CAP).await?;
            if !answer.status.is_success() {
                return Err(self.refused(Call::List, &answer, None));
            }
            let page: Page = self.http.json(Call::List, &answer)?;
            let items = page.items.unwrap_or_default();
            let n_items = items.len();
            let is_past = items.iter().any(|task| made_at(task).is_some_and(|at| at < sent_at - LOOK_BACK));
            jobs.extend(items.into_iter().filter_map(|task| {
                let exact = match task.safety_identifier.as_deref() {
                    Some(other) if !own_mark && other != mark => return None,
                    Some(_) => !own_mark,
                    None => false,
                };
                // An endpoint's id is told as its model's name, so only a task with our mark may be of another name.
                let is_ours = exact || task.model.as_deref().is_none_or(|told| told == model);
                let created_at = made_at(&task).filter(|at| exact || *at >= sent_at - CLOCK_ALLOWANCE)?;
                let job = task.id.filter(|_| is_ours)?;
                Some(Job { ticket: self.ticket(job), created_at, exact })
            }));
            let is_last = page.total.is_none_or(|total| total <= f64::from(PAGE_SIZE));
            if is_past || is_last || n_items < PAGE_SIZE as usize || jobs.iter().any(|job| job.exact) {
                break;
            }
        }
        Ok(Found::Candidates(jobs))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and a time outside the calendar is refused")]
fn made_at(task: &Task) -> Option<Timestamp> {
    Timestamp::from_second(task.created_at? as i64).ok()
}
