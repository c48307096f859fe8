//! `BudgetService`, straight on the store: what was spent follows from the ledger.

use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::{Door, call, caller, span};
use crate::{
    domain::{budget::Spender, names::ModelName},
    door::{accept, pages::Wanted, present, refusal::Refusal},
    pb::v1::{self, budget_service_server::BudgetService},
    store::port::{LedgerFilter, MAX_USAGE_KEYS, Page, UsageFilter, UsageKey},
};

/// The words of `group_by`, for callers.
const KEYS: &str = "model, provider, kind, session, state, hour, day, month, label:KEY";

#[tonic::async_trait]
impl BudgetService for Door {
    async fn get_usage(&self, request: Request<v1::GetUsageRequest>) -> Result<Response<v1::GetUsageResponse>, Status> {
        call(span("GetUsage", &request), async {
            let caller = caller(&request)?;
            let request = request.into_inner();
            let (page_size, page_token) = (request.page_size, request.page_token.clone());
            let ((filter, by), wanted) = Wanted::<u64>::read("GetUsage", asked_usage(request), page_size, &page_token)?;
            let (store, tenant) = (self.engine.store(), &caller.tenant);
            let n_seen = wanted.after().copied().unwrap_or_default();
            let rows: Vec<_> =
                store.usage(tenant, &filter, &by, wanted.query()).await?.into_iter().zip(n_seen + 1..).collect();
            let total = store.usage(tenant, &filter, &[], Page { after: None, limit: 1 }).await?.pop();
            let spender = Spender { tenant, session: filter.session.as_ref(), labels: &filter.labels };
            let standings = store.standings(spender, self.engine.now()).await?;
            let (usage, next_page_token) = wanted.cut(&rows, |(_, number)| *number, |(row, _)| present::usage(row));
            Ok(v1::GetUsageResponse {
                usage,
                next_page_token,
                total: Some(present::usage(&total.unwrap_or_default())),
                budgets: standings.iter().map(present::budget).collect(),
            })
        })
        .await
    }

    async fn list_ledger_entries(
        &self,
        request: Request<v1::ListLedgerEntriesRequest>,
    ) -> Result<Response<v1::ListLedgerEntriesResponse>, Status> {
        call(span("ListLedgerEntries", &request), async {
            let caller = caller(&request)?;
            let request = request.into_inner();
            let filter = asked_entries(&request);
            let (filter, wanted) =
                Wanted::<u64>::read("ListLedgerEntries", filter, request.page_size, &request.page_token)?;
            let rows = self.engine.store().ledger(&caller.tenant, &filter, wanted.query()).await?;
            let (entries, next_page_token) = wanted.cut(&rows, |entry| entry.number, present::ledger_entry);
            Ok(v1::ListLedgerEntriesResponse { entries, next_page_token })
        })
        .await
    }
}

fn asked_usage(request: v1::GetUsageRequest) -> Result<(UsageFilter, Vec<UsageKey>), Refusal> {
    let mut violations = Vec::new();
    let mut told = |refusal: Refusal| match refusal {
        Refusal::Invalid(wrong) => violations.extend(wrong),
        // Reading a field refuses nothing else.
        other => drop(other),
    };
    let (start, end) = times(request.start_time.as_ref(), request.end_time.as_ref(), &mut told);
    let filter = UsageFilter {
        start,
        end,
        model: accept::filter::<ModelName>(&request.model, "model").map_err(&mut told).unwrap_or_default(),
        session: accept::filter(&request.session, "session").map_err(&mut told).unwrap_or_default(),
        labels: accept::labels_filter(request.labels).map_err(&mut told).unwrap_or_default(),
        kind: accept::made_filter(request.kind).map_err(&mut told).unwrap_or_default(),
    };
    let mut by = Vec::new();
    for (index, word) in request.group_by.iter().enumerate() {
        match usage_key(word) {
            Some(key) => by.push(key),
            None => told(Refusal::field(format!("group_by[{index}]"), format!("is unknown; allowed: {KEYS}"))),
        }
    }
    if request.group_by.len() > MAX_USAGE_KEYS {
        let n = request.group_by.len();
        told(Refusal::field("group_by", format!("has {n} keys; at most {MAX_USAGE_KEYS}")));
    }
    if violations.is_empty() { Ok((filter, by)) } else { Err(Refusal::Invalid(violations)) }
}

fn asked_entries(request: &v1::ListLedgerEntriesRequest) -> Result<LedgerFilter, Refusal> {
    let mut violations = Vec::new();
    let mut told = |refusal: Refusal| match refusal {
        Refusal::Invalid(wrong) => violations.extend(wrong),
        other => drop(other),
    };
    let (start, end) = times(request.start_time.as_ref(), request.end_time.as_ref(), &mut told);
    let filter = LedgerFilter {
        generation: accept::filter(&request.generation, "generation").map_err(&mut told).unwrap_or_default(),
        session: accept::filter(&request.session, "session").map_err(&mut told).unwrap_or_default(),
        start,
        end,
    };
    if violations.is_empty() { Ok(filter) } else { Err(Refusal::Invalid(violations)) }
}

fn times(
    start: Option<&prost_types::Timestamp>,
    end: Option<&prost_types::Timestamp>,
    told: &mut impl FnMut(Refusal),
) -> (Option<Timestamp>, Option<Timestamp>) {
    let mut read = |at: Option<&prost_types::Timestamp>, field: &str| {
        let at = at?;
        let read = Timestamp::new(at.seconds, at.nanos).ok().filter(|_| (0..1_000_000_000).contains(&at.nanos));
        if read.is_none() {
            told(Refusal::field(field, "is no time between the years 1 and 9999"));
        }
        read
    };
    let (start, end) = (read(start, "start_time"), read(end, "end_time"));
    if let (Some(first), Some(last)) = (start, end)
        && first >= last
    {
        told(Refusal::field("end_time", "must be after start_time"));
    }
    (start, end)
}

fn usage_key(word: &str) -> Option<UsageKey> {
    Some(match word {
        "model" => UsageKey::Model,
        "provider" => UsageKey::Provider,
        "kind" => UsageKey::Kind,
        "session" => UsageKey::Session,
        "state" => UsageKey::State,
        "hour" => UsageKey::Hour,
        "day" => UsageKey::Day,
        "month" => UsageKey::Month,
        _ => UsageKey::Label(word.strip_prefix("label:").filter(|key| !key.is_empty())?.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: v1::GetUsageRequest) -> Vec<String> {
        match asked_usage(request) {
            Err(Refusal::Invalid(violations)) => violations.into_iter().map(|violation| violation.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_that_is_wrong_with_a_question_is_told_at_once() {
        let words = ["model", "week", "label:", "day", "state"].map(str::to_owned).to_vec();
        let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let request = v1::GetUsageRequest {
            group_by: words,
            model: "x".to_owned(),
            session: "x".to_owned(),
            kind: 99,
            start_time: time(7),
            end_time: time(7),
            ..Default::default()
        };
        let fields = ["end_time", "model", "session", "kind", "group_by[1]", "group_by[2]", "group_by"];
        assert_eq!(refused(request), fields);
    }

    #[test]
    fn keys_are_read_in_their_order() {
        let words = ["label:team", "day", "provider"].map(str::to_owned).to_vec();
        let (_, by) = asked_usage(v1::GetUsageRequest { group_by: words, ..Default::default() }).unwrap();
        assert_eq!(by, [UsageKey::Label("team".to_owned()), UsageKey::Day, UsageKey::Provider]);
    }
}
