//! Looking for the job of a submit whose answer was lost.

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::{
    domain::names::SubmitKey,
    provider::{
        error::ProviderError,
        http::{INLINE_CAP, outcome::Call},
        port::{Found, InputFile, Job, Order},
    },
};

use super::{
    Fal,
    endpoint::{app_of, target},
    map::JobData,
    wire::{Page, Past},
};

/// Most pages looked at, of 100 jobs each.
const MOST_PAGES: usize = 5;
/// How far fal's clock may be behind ours.
const CLOCK_ALLOWANCE: SignedDuration = SignedDuration::from_secs(5);

impl Fal {
    /// The jobs that could have come from an order sent at `sent_at`, by endpoint, time and body. fal says of its list that it goes by the
    /// jobs' ends, so that a running one may be missing: its webhook brings it earlier, if there is one.
    pub(super) async fn jobs_like(
        &self,
        order: &Order,
        key: SubmitKey,
        sent_at: Timestamp,
    ) -> Result<Found, ProviderError> {
        let unfit = |why: super::endpoint::Unfit| self.error(why.kind, why.text);
        let files = order.inputs.iter().map(|input| match &input.file {
            InputFile::Url(url) => Value::from(url.as_str()),
            // Sent as a data URI or under the address of an upload that nobody remembers.
            InputFile::Bytes { .. } => Value::Null,
        });
        let target = target(order).map_err(unfit)?;
        let sent = target.body(order, files.collect()).map_err(unfit)?;
        let data = JobData::new(order, app_of(&target.endpoint));
        let start = (sent_at - CLOCK_ALLOWANCE).to_string();
        let mut jobs = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut query = vec![
                ("endpoint_id", target.endpoint.as_str()),
                ("start", start.as_str()),
                ("limit", "100"),
                ("expand", "payloads"),
            ];
            query.extend(cursor.iter().map(|cursor| ("cursor", cursor.as_str())));
            let segments = ["models", "requests", "by-endpoint"];
            let request = self.request(Method::GET, &self.api, segments, &query);
            let answer = self.http.exchange(Call::List, request, INLINE_CAP).await?;
            match answer.status.as_u16() {
                200..300 => {}
                // Not every key may look, and not every stand-in has a list.
                401 | 403 | 404 => return Ok(Found::Unsupported),
                _ => return Err(self.refused(Call::List, &answer, None)),
            }
            let page: Page = self.http.json(Call::List, &answer)?;
            let past = page.items.into_iter();
            jobs.extend(past.filter_map(|past| self.job(past, &target.endpoint, &sent, key, sent_at, &data)));
            cursor = page.next_cursor.filter(|next| cursor.as_ref() != Some(next));
            if cursor.is_none() {
                break;
            }
        }
        Ok(Found::Candidates(jobs))
    }

    fn job(
        &self,
        past: Past,
        endpoint: &str,
        sent: &Map<String, Value>,
        key: SubmitKey,
        sent_at: Timestamp,
        data: &JobData,
    ) -> Option<Job> {
        // Our mark, a tag of the submit. The list is not documented to show tags.
        let exact = past.tags.to_string().contains(&key.id());
        let is_like = past.endpoint_id.as_deref().is_none_or(|id| id == endpoint)
            && past.json_input.as_ref().is_some_and(|input| is_body(sent, input));
        let is_since = |at: &Timestamp| exact || *at >= sent_at - CLOCK_ALLOWANCE;
        let created_at = past.sent_at.filter(is_since).filter(|_| exact || is_like)?;
        Some(Job { ticket: self.ticket(past.request_id?, data), created_at, exact })
    }
}

/// True if `echoed` holds all that was `sent`, in which null stands for a file that may be written in any way.
fn is_body(sent: &Map<String, Value>, echoed: &Map<String, Value>) -> bool {
    sent.iter().all(|(key, value)| echoed.get(key).is_some_and(|echo| same(value, echo)))
}

/// Equal as far as an echo can be: numbers by value, files by being there.
fn same(sent: &Value, echoed: &Value) -> bool {
    match (sent, echoed) {
        (Value::Null, echoed) => !echoed.is_null(),
        (Value::Number(sent), Value::Number(echoed)) => {
            sent.as_f64().zip(echoed.as_f64()).is_some_and(|(sent, echoed)| (sent - echoed).abs() < 1e-9)
        }
        (Value::Array(sent), Value::Array(echoed)) => {
            sent.len() == echoed.len() && sent.iter().zip(echoed).all(|(sent, echoed)| same(sent, echoed))
        }
        (Value::Object(sent), Value::Object(echoed)) => is_body(sent, echoed),
        (sent, echoed) => sent == echoed,
    }
}
