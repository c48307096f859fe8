//! What every store must do, one function a behaviour. A store's tests say `store_contract!(fresh)`, where the future of `fresh` makes an empty
//! store and something to keep while it is used.

pub(super) mod accept;
pub(super) mod cache;
pub(super) mod callbacks;
pub(super) mod chats;
pub(super) mod life;
pub(super) mod limits;
pub(super) mod lists;
pub(super) mod money;
pub(super) mod records;
pub(super) mod retention;
pub(super) mod sharing;

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use url::Url;

use super::port::{AcceptError, Acceptance, Accepted, Changes, Draft, Page, SentRequest, Store};
use crate::domain::{
    artifact::Kind,
    attempt::Ticket,
    generation::{CacheKey, Generation, HistoryEvent, State},
    life::{
        AttemptEvent, Event,
        tests::{START, drafted, output},
    },
    money::{MicroUsd, Usage},
    names::{GenerationId, QuoteId, RequestId, SessionId, SubmitKey, TenantId},
    order::CachePolicy,
    session::{Message, Role},
};

/// A store under test.
pub(super) type Tested = Arc<dyn Store>;

/// One test for each behaviour of the contract.
macro_rules! store_contract {
    ($fresh:path) => {
        store_contract! { $fresh;
            accept: what_is_accepted_is_read_back_the_same, one_request_id_makes_one_generation_however_many_race,
                a_reused_request_id_names_the_first_field_that_differs, a_tombstone_answers_for_its_request_id,
                a_tombstone_tells_of_no_artifacts,
                a_full_queue_refuses_until_something_ends, the_draft_is_told_the_last_six_messages,
                old_request_ids_are_forgotten;
            sharing: identical_orders_in_flight_have_one_leader, a_later_turn_is_shared_within_its_session_only,
                bypass_and_refresh_share_nothing, followers_end_with_their_leader, followers_fail_with_their_leader,
                cancelling_a_follower_is_local, cancelling_a_leader_promotes_the_oldest_follower,
                a_deadline_passed_while_queued_hands_the_job_over, a_deleted_leader_still_leads_to_its_job,
                a_deleted_end_of_the_chain_is_not_found;
            cache: a_repeated_order_is_answered_at_once, an_answer_needs_its_artifacts,
                a_later_turn_is_answered_within_its_session_only, an_answer_from_elsewhere_is_remembered_here,
                samples_and_bypassed_results_are_not_remembered, a_refreshed_result_replaces_the_remembered_one,
                a_forgotten_result_answers_nothing;
            life: a_success_leaves_message_artifacts_and_history, outputs_stored_at_once_leave_the_history_of_every_step, an_event_that_says_nothing_new_writes_nothing,
                a_refused_event_tells_the_generation_as_it_is, a_job_belongs_to_one_generation,
                an_ended_job_is_never_adopted_and_may_be_named_again, lost_submits_are_counted_by_model_and_brief,
                only_an_ended_generation_is_deleted, a_deleted_generation_leaves_nothing_it_was_told;
            lists: generations_are_listed_from_either_end_with_every_filter, unfinished_generations_are_listed_oldest_first,
                history_is_paged_by_number, sessions_are_listed_newest_first, artifacts_are_listed_newest_first,
                tenants_do_not_see_each_other;
            callbacks: an_end_and_its_callback_are_one, every_way_to_end_calls_back,
                a_claimed_callback_is_nobody_elses_until_the_claim_ends, many_claimers_share_what_is_due,
                a_claim_leaves_busy_hosts_out, the_longest_due_is_claimed_first, how_a_try_went_is_kept,
                a_callback_is_asked_for_again_from_the_beginning, what_cannot_be_called_back_is_told_apart,
                a_deleted_generation_calls_nobody;
            records: a_session_keeps_the_order_of_many_writers, making_a_session_twice_keeps_it,
                the_time_of_a_session_does_not_go_back, a_deleted_session_keeps_its_generations, a_blob_dies_with_its_last_artifact, a_heartbeat_writes;
            chats: a_chat_leaves_its_record_turns_and_money_once, chats_take_of_the_budgets_that_they_concern,
                usage_counts_chats_beside_generations;
            limits: no_more_are_sent_in_a_minute_than_the_rate_allows, an_order_held_back_counts_against_no_rate,
                a_pause_keeps_orders_from_its_provider_and_never_becomes_shorter, the_latest_successes_are_told_newest_first;
            retention: an_expired_generation_is_a_tombstone_that_stays_readable,
                an_expired_generation_is_ended_and_can_be_deleted, only_what_ended_before_expires_first_ended_first,
                shared_bytes_live_as_long_as_the_last_that_shares_them, an_expired_artifact_is_gone_and_answers_no_order,
                artifacts_expire_in_batches, what_an_unfinished_generation_starts_from_is_kept;
            money: every_movement_is_in_the_ledger, a_budget_is_never_exceeded_however_many_race,
                a_refused_order_leaves_nothing, budgets_tell_sessions_labels_and_tenants_apart, a_period_begins_anew,
                what_has_no_price_is_no_matter_of_a_budget, a_next_model_that_no_budget_allows_is_not_tried,
                what_is_unknown_keeps_its_hold_and_is_then_in_suspense, later_truth_corrects_the_ledger_and_nothing_else,
                shared_jobs_and_cached_answers_hold_nothing, a_quote_binds_one_order_once,
                usage_is_told_by_what_generations_have_in_common, money_records_outlive_what_they_paid_for,
                budgets_agree_with_the_ledger_whatever_happens;
        }
    };
    ($fresh:path; $($group:ident: $($behaviour:ident),+;)+) => {
        $(mod $group {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                let (store, _kept) = $fresh().await;
                $crate::store::contract::$group::$behaviour(&store).await;
            })+
        })+
    };
}
pub(super) use store_contract;

/// A request as a test asks it.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) tenant: TenantId,
    pub(super) session: SessionId,
    pub(super) request: Option<(RequestId, SentRequest)>,
    pub(super) quote: Option<(QuoteId, SentRequest)>,
    pub(super) labels: BTreeMap<String, String>,
    /// Expected price of the first model, and of a second one if there is one.
    pub(super) prices: Vec<Option<i64>>,
    pub(super) digest: Option<&'static str>,
    pub(super) cache: CachePolicy,
    pub(super) kind: Kind,
    pub(super) callback_url: Option<Url>,
    pub(super) max_unfinished: u64,
    pub(super) now: Timestamp,
}

impl Ask {
    /// In a session of its own, sharing nothing.
    pub(super) fn new() -> Self {
        Self {
            tenant: TenantId::default_tenant(),
            session: SessionId::fresh(),
            request: None,
            quote: None,
            labels: BTreeMap::new(),
            prices: vec![Some(70)],
            digest: None,
            cache: CachePolicy::Default,
            kind: Kind::Video,
            callback_url: None,
            max_unfinished: 10_000,
            now: START,
        }
    }

    /// With this order's digest.
    pub(super) fn order(digest: &'static str) -> Self {
        Self { digest: Some(digest), ..Self::new() }
    }

    pub(super) fn within(self, session: &SessionId) -> Self {
        Self { session: session.clone(), ..self }
    }

    pub(super) fn policy(self, cache: CachePolicy) -> Self {
        Self { cache, ..self }
    }

    pub(super) async fn send(self, store: &Tested) -> Result<Accepted, AcceptError> {
        let acceptance = Acceptance {
            tenant: self.tenant.clone(),
            session: self.session.clone(),
            request: self.request.clone(),
            quote: self.quote.clone(),
            max_unfinished: self.max_unfinished,
            now: self.now,
        };
        store.accept(acceptance, Box::new(self)).await
    }

    /// Sends what must be accepted as new.
    pub(super) async fn accepted(self, store: &Tested) -> Generation {
        match self.send(store).await.unwrap() {
            Accepted::New(generation, _) => *generation,
            Accepted::Replayed(generation) => panic!("replayed {}", generation.id),
        }
    }
}

impl Draft for Ask {
    fn generation(&self, earlier: &[Message]) -> (Generation, Vec<Message>) {
        let texts: Vec<&str> = earlier.iter().map(|message| message.text.as_str()).collect();
        let mut generation = drafted(self.prices.len());
        for (candidate, price) in generation.candidates.iter_mut().zip(&self.prices) {
            candidate.estimate = price.map(MicroUsd);
        }
        generation.attempts[0].held = generation.candidates[0].estimate.unwrap_or_default();
        generation.cost.held = generation.attempts[0].held;
        (generation.created_at, generation.attempts[0].created_at) = (self.now, self.now);
        generation.labels.clone_from(&self.labels);
        generation.prompt = format!("prompt of {}", generation.id);
        generation.brief = texts.join(" | ");
        generation.cache_key =
            self.digest.map(|digest| CacheKey { digest: digest.to_owned(), first_turn: earlier.is_empty() });
        generation.request_id = self.request.as_ref().map(|(id, _)| id.clone());
        generation.tenant = self.tenant.clone();
        generation.session = self.session.clone();
        generation.cache = self.cache;
        generation.kind = self.kind;
        generation.callback_url = self.callback_url.clone();
        let message = |role, text| Message {
            role,
            text,
            meta: Map::new(),
            created_at: self.now,
            generation: Some(generation.id),
            chat: None,
        };
        let messages = vec![
            message(Role::User, generation.prompt.clone()),
            message(Role::Assistant, format!("working on {}", generation.id)),
        ];
        (generation, messages)
    }
}

/// Milliseconds after the start.
pub(super) fn at(millis: i64) -> Timestamp {
    START + SignedDuration::from_millis(millis)
}

pub(super) fn ticket(job: &str) -> Ticket {
    Ticket { account: "account".into(), job: job.into(), data: Value::Null }
}

/// Tells something about the generation's open attempt.
pub(super) async fn tell(store: &Tested, generation: &Generation, event: AttemptEvent) -> Changes {
    let attempt = generation.open_attempt().unwrap().id;
    store.apply(generation.id, Event::Attempt(attempt, event), None, START).await.unwrap()
}

/// Up to a ticket for this job.
pub(super) async fn submit(store: &Tested, generation: &Generation, job: &str) -> Generation {
    tell(store, generation, AttemptEvent::Submitting(SubmitKey::fresh())).await;
    tell(store, generation, AttemptEvent::Accepted(ticket(job))).await.generation
}

/// To its end with one output.
pub(super) async fn succeed(store: &Tested, generation: &Generation) -> Changes {
    submit(store, generation, &generation.id.id()).await;
    tell(store, generation, AttemptEvent::OutputsReady).await;
    tell(store, generation, AttemptEvent::Stored(vec![output(generation.id)], Usage::default())).await
}

/// The unfinished ones, oldest first.
pub(super) async fn unfinished(store: &Tested, page: Page<GenerationId>) -> Vec<Generation> {
    let owned = store.owned(page.after, page.limit).await.unwrap();
    owned.into_iter().map(|owned| owned.generation).collect()
}

/// As it is stored.
pub(super) async fn stored(store: &Tested, generation: &Generation) -> Generation {
    store.load(generation.id).await.unwrap().unwrap().generation
}

pub(super) async fn history(store: &Tested, generation: &Generation) -> Vec<HistoryEvent> {
    store.history(generation.id, page(100)).await.unwrap()
}

pub(super) async fn texts(store: &Tested, session: &SessionId) -> Vec<String> {
    let messages = store.messages(&TenantId::default_tenant(), session, page(1000)).await.unwrap();
    messages.into_iter().map(|(_, message)| message.text).collect()
}

/// The first page.
pub(super) fn page<K>(limit: usize) -> Page<K> {
    Page { after: None, limit }
}

/// Sends all at the same time; the answers in no order.
pub(super) async fn together(store: &Tested, asks: Vec<Ask>) -> Vec<Result<Accepted, AcceptError>> {
    let mut sending = JoinSet::new();
    for ask in asks {
        let store = Arc::clone(store);
        sending.spawn(async move { ask.send(&store).await });
    }
    sending.join_all().await
}
