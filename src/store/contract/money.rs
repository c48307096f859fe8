//! Money: the ledger, budgets, quotes and usage.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    domain::{
        artifact::Made,
        budget::{Budget, Budgets, NotAllowed, OverBudget, Period, Scope, Spender, Standing},
        failure::{Charged, Failure, FailurePhase, FailureReason},
        generation::State,
        ledger::{Account, Cause, Entry, Reason},
        life::Resolution,
        quote::{NoQuote, Quote},
    },
    store::port::{ApplyError, LedgerFilter, UsageFilter, UsageKey, UsageRow},
};

/// The budgets of every store under test; each concerns only the tenant of its name.
pub(in crate::store) fn budgets() -> Budgets {
    let budget = |name: &str, of: &str, limit: i64, scope: Scope| Budget {
        name: name.to_owned(),
        limit: MicroUsd(limit),
        period: Period::Total,
        tenant: Some(tenant(of)),
        scope,
        allow_unpriced: false,
    };
    let lenient = Budget { allow_unpriced: true, ..budget("lenient", "lenient", 100, Scope::Tenant) };
    Budgets::from(vec![
        budget("poor", "poor", 210, Scope::Tenant),
        budget("talks", "talker", 70, Scope::Session(None)),
        budget("teams", "labelled", 140, Scope::Label("team".to_owned(), None)),
        budget("a-wide", "twofold", 1_000, Scope::Tenant),
        budget("b-narrow", "twofold", 70, Scope::Label("team".to_owned(), None)),
        Budget { period: Period::Day, ..budget("daily", "daily", 70, Scope::Tenant) },
        lenient,
    ])
}

fn tenant(name: &str) -> TenantId {
    TenantId::from_id(name).unwrap()
}

fn of(name: &str) -> Ask {
    Ask { tenant: tenant(name), ..Ask::new() }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn entries(store: &Tested, of: &TenantId) -> Vec<Entry> {
    let mut entries = store.ledger(of, &LedgerFilter::default(), page(1_000)).await.unwrap();
    entries.reverse();
    entries
}

/// The balance of each account; together they are nothing.
async fn balances(store: &Tested, of: &TenantId) -> BTreeMap<Account, i64> {
    let entries = entries(store, of).await;
    let balance = |account| (account, entries.iter().map(|entry| entry.movement.change_of(account)).sum::<i64>());
    let balances: BTreeMap<_, _> = Account::ALL.map(balance).into_iter().filter(|(_, sum)| *sum != 0).collect();
    assert_eq!(balances.values().sum::<i64>(), 0);
    balances
}

async fn standings(store: &Tested, generation: &Generation) -> Vec<Standing> {
    store.standings(Spender::of(generation), START).await.unwrap()
}

/// What is held and spent of the only budget that concerns it.
async fn taken(store: &Tested, generation: &Generation) -> (i64, i64) {
    match &standings(store, generation).await[..] {
        [standing] => (standing.held.0, standing.spent.0),
        other => panic!("{other:?}"),
    }
}

async fn usage(store: &Tested, of: &TenantId, by: &[UsageKey]) -> Vec<UsageRow> {
    store.usage(of, &UsageFilter::default(), by, page(100)).await.unwrap()
}

fn failed(charged: Charged) -> AttemptEvent {
    let failure = Failure::new(FailureReason::ProviderJobFailed, FailurePhase::Provider, charged, "broken");
    AttemptEvent::Failed(failure, Usage::default())
}

async fn lose(store: &Tested, generation: &Generation) -> Generation {
    tell(store, generation, AttemptEvent::Submitting(SubmitKey::fresh())).await;
    tell(store, generation, AttemptEvent::AnswerLost("x".into())).await.generation
}

async fn resolve(store: &Tested, generation: &Generation, resolution: Resolution) -> Result<Changes, ApplyError> {
    store.apply(generation.id, Event::Resolved(resolution), None, START).await
}

fn over(told: Result<Accepted, AcceptError>) -> OverBudget {
    match told {
        Err(AcceptError::Budget(NotAllowed::Over(over))) => over,
        other => panic!("{other:?}"),
    }
}

pub(in crate::store) async fn every_movement_is_in_the_ledger(store: &Tested) {
    let generation = Ask::new().accepted(store).await;
    let held = entries(store, &generation.tenant).await;
    assert_eq!(
        (held.len(), held[0].cause, &held[0].session),
        (1, Cause::Generation(generation.id), &Some(generation.session.clone()))
    );
    submit(store, &generation, "j").await;
    tell(store, &generation, AttemptEvent::OutputsReady).await;
    let told = Usage { charged: Some(MicroUsd(50)), ..Usage::default() };
    let done = tell(store, &generation, AttemptEvent::Stored(vec![output(generation.id)], told)).await.generation;
    assert_eq!(done.cost.settled, Some(MicroUsd(50)));
    let all = entries(store, &generation.tenant).await;
    let moved: Vec<_> =
        all.iter().map(|e| (e.movement.reason, e.movement.from, e.movement.to, e.movement.amount.0)).collect();
    let expected = [
        (Reason::Hold, Account::Caller, Account::Held, 70),
        (Reason::Settle, Account::Held, Account::Provider, 50),
        (Reason::Release, Account::Held, Account::Caller, 20),
    ];
    assert_eq!(moved, expected);
    assert!(all.is_sorted_by_key(|entry| entry.number));
    let later = Page { after: Some(all[2].number), limit: 1 };
    let only = LedgerFilter {
        generation: Some(generation.id),
        session: Some(generation.session.clone()),
        ..Default::default()
    };
    assert_eq!(store.ledger(&generation.tenant, &only, later).await.unwrap(), [all[1].clone()]);
    let none = LedgerFilter { end: Some(START), ..LedgerFilter::default() };
    assert_eq!(store.ledger(&generation.tenant, &none, page(9)).await.unwrap(), []);
}

pub(in crate::store) async fn a_budget_is_never_exceeded_however_many_race(store: &Tested) {
    let told = together(store, (0..100).map(|_| of("poor")).collect()).await;
    let mut accepted = Vec::new();
    for told in told {
        match told {
            Ok(Accepted::New(generation, _)) => accepted.push(*generation),
            refused => {
                let told = over(refused);
                assert_eq!((told.budget.as_str(), told.limit.0, told.left.0, told.asked.0), ("poor", 210, 0, 70));
            }
        }
    }
    assert_eq!(accepted.len(), 3);
    assert_eq!(taken(store, &accepted[0]).await, (210, 0));
    succeed(store, &accepted[0]).await;
    assert_eq!(taken(store, &accepted[0]).await, (140, 70));
    over(of("poor").send(store).await);
    store.apply(accepted[1].id, Event::CancelRequested, None, START).await.unwrap();
    of("poor").accepted(store).await;
    over(of("poor").send(store).await);
    let balances = balances(store, &tenant("poor")).await;
    assert_eq!(balances[&Account::Held] + balances[&Account::Provider], 210);
}

pub(in crate::store) async fn a_refused_order_leaves_nothing(store: &Tested) {
    let session = SessionId::fresh();
    let request = Some((RequestId::from_id("r").unwrap(), vec![("prompt".to_owned(), "a".to_owned())]));
    let ask = |price| Ask { request: request.clone(), prices: vec![Some(price)], ..of("poor").within(&session) };
    assert_eq!(over(ask(211).send(store).await).left, MicroUsd(210));
    assert_eq!(store.session(&tenant("poor"), &session).await.unwrap(), None);
    let accepted = ask(210).accepted(store).await;
    assert_eq!(taken(store, &accepted).await, (210, 0));
    assert!(matches!(ask(210).send(store).await, Ok(Accepted::Replayed(_))), "a replay asks for nothing");
}

pub(in crate::store) async fn budgets_tell_sessions_labels_and_tenants_apart(store: &Tested) {
    let first = of("talker").accepted(store).await;
    of("talker").accepted(store).await;
    over(of("talker").within(&first.session).send(store).await);
    let team = |name: &str| Ask { labels: labels(&[("team", name)]), ..of("labelled") };
    for name in ["film", "film", "sound"] {
        team(name).accepted(store).await;
    }
    over(team("film").send(store).await);
    of("labelled").accepted(store).await;
    // What the wide one allowed is given back when the narrow one refuses.
    let both = || Ask { labels: labels(&[("team", "film")]), ..of("twofold") };
    let accepted = both().accepted(store).await;
    assert_eq!(over(both().send(store).await).budget, "b-narrow");
    let all: Vec<_> = standings(store, &accepted).await.into_iter().map(|s| (s.budget.name, s.held.0)).collect();
    assert_eq!(all, [("a-wide".to_owned(), 70), ("b-narrow".to_owned(), 70)]);
}

pub(in crate::store) async fn a_period_begins_anew(store: &Tested) {
    let on = |hours: i64| Ask { now: at(hours * 3_600_000), ..of("daily") };
    let today = on(0).accepted(store).await;
    over(on(0).send(store).await);
    let tomorrow = on(25).accepted(store).await;
    // What began yesterday counts there.
    submit(store, &today, "j").await;
    let attempt = today.attempts[0].id;
    let stored = AttemptEvent::Stored(vec![output(today.id)], Usage::default());
    store.apply(today.id, Event::Attempt(attempt, stored), None, at(25 * 3_600_000)).await.unwrap();
    let standing = store.standings(Spender::of(&tomorrow), at(25 * 3_600_000)).await.unwrap();
    assert_eq!((standing[0].held, standing[0].spent), (MicroUsd(70), MicroUsd(0)));
    store.forget_money(START, at(25 * 3_600_000)).await.unwrap();
    assert_eq!(taken(store, &today).await, (0, 0), "yesterday is forgotten");
}

pub(in crate::store) async fn what_has_no_price_is_no_matter_of_a_budget(store: &Tested) {
    let unpriced = |of: Ask| Ask { prices: vec![None], ..of };
    match unpriced(of("poor")).send(store).await {
        Err(AcceptError::Budget(NotAllowed::Unpriced { budget, .. })) => assert_eq!(budget, "poor"),
        other => panic!("{other:?}"),
    }
    unpriced(of("lenient")).accepted(store).await;
    let done = unpriced(Ask::new()).accepted(store).await;
    succeed(store, &done).await;
    assert_eq!(usage(store, &done.tenant, &[]).await[0].n_unpriced, 1);
    assert_eq!(entries(store, &done.tenant).await, []);
}

pub(in crate::store) async fn a_next_model_that_no_budget_allows_is_not_tried(store: &Tested) {
    let ask = |next| Ask { prices: vec![Some(70), next], ..of("poor") };
    for next in [Some(211), None] {
        let generation = ask(next).accepted(store).await;
        submit(store, &generation, &generation.id.id()).await;
        let ended = tell(store, &generation, failed(Charged::No)).await.generation;
        assert_eq!((ended.state, ended.attempts.len()), (State::Failed, 1));
        let last = history(store, &generation).await.pop().unwrap();
        assert!(last.message.starts_with("broken; no further model: "), "{}", last.message);
        assert_eq!(taken(store, &generation).await, (0, 0));
    }
    let generation = ask(Some(210)).accepted(store).await;
    submit(store, &generation, "j").await;
    let moved_on = tell(store, &generation, failed(Charged::No)).await.generation;
    assert_eq!((moved_on.state, moved_on.attempts.len()), (State::Queued, 2));
    assert_eq!(taken(store, &generation).await, (210, 0));
    assert_eq!(balances(store, &tenant("poor")).await[&Account::Held], 210);
}

pub(in crate::store) async fn what_is_unknown_keeps_its_hold_and_is_then_in_suspense(store: &Tested) {
    let generation = Ask { prices: vec![Some(105)], ..of("poor") }.accepted(store).await;
    let lost = lose(store, &generation).await;
    assert_eq!((lost.state, taken(store, &lost).await), (State::Unresolved, (105, 0)));
    // The second try takes the rest.
    let again = resolve(store, &lost, Resolution::Resubmit).await.unwrap().generation;
    assert_eq!((taken(store, &again).await, again.cost.suspense.0), ((105, 105), 105));
    let lost = lose(store, &again).await;
    match resolve(store, &lost, Resolution::Resubmit).await {
        Err(ApplyError::Budget(NotAllowed::Over(told))) => assert_eq!(told.left, MicroUsd(0)),
        other => panic!("{other:?}"),
    }
    assert_eq!(stored(store, &lost).await, lost, "a refused resubmit changes nothing");
    let ended = resolve(store, &lost, Resolution::Failed).await.unwrap().generation;
    assert_eq!((ended.state, ended.cost.suspense.0, ended.cost.settled), (State::Failed, 210, None));
    assert_eq!(taken(store, &ended).await, (0, 210));
    let expected = [(Account::Caller, -210), (Account::Suspense, 210)];
    assert_eq!(balances(store, &ended.tenant).await, BTreeMap::from(expected));
}

pub(in crate::store) async fn later_truth_corrects_the_ledger_and_nothing_else(store: &Tested) {
    let callback = Some("https://films.example/x".parse().unwrap());
    let generation = Ask { callback_url: callback, ..of("poor") }.accepted(store).await;
    let lost = lose(store, &generation).await;
    let ended = resolve(store, &lost, Resolution::Failed).await.unwrap().generation;
    let called = store.callback(&ended.tenant, ended.id).await.unwrap();
    let texts_before = store.messages(&ended.tenant, &ended.session, page(100)).await.unwrap();
    let learn = |charged, usage| {
        let event = Event::Learned(ended.attempts[0].id, charged, usage);
        store.apply(ended.id, event, None, at(1_000))
    };
    let told = Usage { charged: Some(MicroUsd(30)), ..Usage::default() };
    let after = learn(Charged::Yes, told.clone()).await.unwrap().generation;
    assert_eq!((after.state, &after.failure, after.ended_at), (ended.state, &ended.failure, ended.ended_at));
    assert_eq!((after.cost.settled, after.cost.suspense), (Some(MicroUsd(30)), MicroUsd(0)));
    assert!(matches!(learn(Charged::Yes, told).await, Err(ApplyError::Refused { .. })), "nothing is settled twice");
    assert_eq!(taken(store, &after).await, (0, 30));
    let expected = [(Account::Caller, -30), (Account::Provider, 30)];
    assert_eq!(balances(store, &after.tenant).await, BTreeMap::from(expected));
    assert_eq!(entries(store, &after.tenant).await.pop().unwrap().movement.reason, Reason::Correct);
    assert_eq!(store.callback(&ended.tenant, ended.id).await.unwrap(), called, "nobody is called again");
    assert_eq!(store.messages(&ended.tenant, &ended.session, page(100)).await.unwrap(), texts_before);
    assert_eq!(history(store, &after).await.pop().unwrap().what, "learned");
}

pub(in crate::store) async fn shared_jobs_and_cached_answers_hold_nothing(store: &Tested) {
    let order = || Ask { tenant: tenant("poor"), ..Ask::order("d") };
    let leader = order().accepted(store).await;
    let heir = order().accepted(store).await;
    for _ in 0..5 {
        order().accepted(store).await;
    }
    assert_eq!(taken(store, &leader).await, (70, 0));
    submit(store, &leader, "j").await;
    store.apply(leader.id, Event::CancelRequested, None, START).await.unwrap();
    assert_eq!(stored(store, &heir).await.cost.held, MicroUsd(70), "the hold went with the job");
    assert_eq!(taken(store, &leader).await, (70, 0));
    let done = AttemptEvent::Stored(vec![output(heir.id)], Usage::default());
    tell(store, &leader, done).await;
    let answered = order().accepted(store).await;
    assert_eq!((answered.state, taken(store, &answered).await), (State::Succeeded, (0, 70)));
    let expected = [(Account::Caller, -70), (Account::Provider, 70)];
    assert_eq!(balances(store, &leader.tenant).await, BTreeMap::from(expected));
    let sum = &usage(store, &leader.tenant, &[]).await[0];
    assert_eq!((sum.n_generations, sum.n_succeeded, sum.spent.0, sum.saved.0), (8, 7, 70, 6 * 70));
}

pub(in crate::store) async fn a_quote_binds_one_order_once(store: &Tested) {
    let order = |prompt: &str| vec![("prompt".to_owned(), prompt.to_owned())];
    let quote = |price: i64, seconds: i64| Quote {
        id: QuoteId::fresh(),
        price: MicroUsd(price),
        models: vec!["a/dear".parse().unwrap(), "b/cheap".parse().unwrap()],
        order: order("a"),
        expires_at: at(seconds * 1_000),
    };
    let (good, old) = (quote(60, 10), quote(60, 0));
    for quote in [&good, &old] {
        store.add_quote(&tenant("poor"), quote).await.unwrap();
    }
    let found = async |of: &str, quote: &Quote| store.quote(&tenant(of), quote.id).await.unwrap();
    assert_eq!((found("poor", &good).await.as_ref(), found("other", &good).await), (Some(&good), None));
    let request = Some((RequestId::from_id("r").unwrap(), order("a")));
    let ask = |quote: &Quote, prompt: &str| Ask { quote: Some((quote.id, order(prompt))), ..of("poor") };
    let refused = async |ask: Ask| match ask.send(store).await {
        Err(AcceptError::Quote(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(ask(&good, "b")).await, NoQuote::Mismatch { field: "prompt".to_owned() });
    assert_eq!(refused(ask(&old, "a")).await, NoQuote::Expired(START));
    assert_eq!(refused(ask(&quote(60, 10), "a")).await, NoQuote::NotFound);
    let elsewhere = Ask { tenant: tenant("other"), ..ask(&good, "a") };
    assert_eq!(refused(elsewhere).await, NoQuote::NotFound, "a quote is its tenant's");
    let told = together(store, (0..20).map(|_| ask(&good, "a")).collect()).await;
    let mut accepted: Vec<Generation> = told
        .into_iter()
        .filter_map(|told| match told {
            Ok(Accepted::New(generation, _)) => Some(*generation),
            Err(AcceptError::Quote(NoQuote::Used)) => None,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(accepted.len(), 1);
    let generation = accepted.pop().unwrap();
    assert_eq!(
        (generation.cost.quoted, generation.cost.held.0, taken(store, &generation).await.0),
        (Some(MicroUsd(60)), 60, 60)
    );
    // The card's price is 70 by now, and the provider takes it.
    let done = succeed(store, &generation).await.generation;
    assert_eq!((done.cost.settled, done.cost.absorbed.0, taken(store, &done).await), (Some(MicroUsd(60)), 10, (0, 60)));
    assert_eq!(usage(store, &done.tenant, &[]).await[0].absorbed, MicroUsd(10));
    let expected = [(Account::Caller, -60), (Account::Absorbed, -10), (Account::Provider, 70)];
    assert_eq!(balances(store, &done.tenant).await, BTreeMap::from(expected));
    // A request that was accepted with it is answered again.
    let second = quote(50, 10);
    store.add_quote(&tenant("poor"), &second).await.unwrap();
    Ask { request: request.clone(), ..ask(&second, "a") }.accepted(store).await;
    assert!(matches!(Ask { request, ..ask(&second, "a") }.send(store).await, Ok(Accepted::Replayed(_))));
    store.forget_money(at(20_000), START).await.unwrap();
    assert_eq!(refused(ask(&good, "a")).await, NoQuote::NotFound, "old ones are forgotten");
}

pub(in crate::store) async fn usage_is_told_by_what_generations_have_in_common(store: &Tested) {
    let ask = |team: &str, hours: i64, kind| Ask {
        labels: labels(&[("a.team-1", team)]),
        now: at(hours * 3_600_000),
        kind,
        ..of("rich")
    };
    let first = ask("film", 0, Kind::Video).accepted(store).await;
    succeed(store, &first).await;
    ask("film", 24, Kind::Image).accepted(store).await;
    let third = ask("sound", 24, Kind::Video).accepted(store).await;
    let lost = lose(store, &third).await;
    resolve(store, &lost, Resolution::Failed).await.unwrap();
    let label = || UsageKey::Label("a.team-1".to_owned());
    let told = async |by: &[UsageKey]| -> Vec<(Vec<String>, u64, u64, [i64; 3])> {
        let rows = usage(store, &tenant("rich"), by).await;
        let money = |row: &UsageRow| [row.spent.0, row.held.0, row.suspense.0];
        rows.into_iter().map(|row| (row.keys.clone(), row.n_generations, row.n_succeeded, money(&row))).collect()
    };
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    assert_eq!(told(&[]).await, [(keys(&[]), 3, 1, [70, 70, 70])]);
    let (day, next) = (START.strftime("%Y-%m-%d").to_string(), at(86_400_000).strftime("%Y-%m-%d").to_string());
    let expected = [
        (keys(&["film", &day]), 1, 1, [70, 0, 0]),
        (keys(&["film", &next]), 1, 0, [0, 70, 0]),
        (keys(&["sound", &next]), 1, 0, [0, 0, 70]),
    ];
    assert_eq!(told(&[label(), UsageKey::Day]).await, expected);
    let by_state: Vec<_> = told(&[UsageKey::State]).await.into_iter().map(|row| row.0).collect();
    assert_eq!(by_state, [["failed"], ["queued"], ["succeeded"]]);
    assert_eq!(told(&[UsageKey::Provider, UsageKey::Model]).await[0].0, ["sample", "sample/model-0"]);
    let times = told(&[UsageKey::Hour, UsageKey::Month, UsageKey::Kind]).await;
    assert_eq!(times[0].0, [START.strftime("%Y-%m-%dT%H").to_string(), day[..7].to_owned(), "video".to_owned()]);
    let sessions: BTreeSet<_> = told(&[UsageKey::Session]).await.into_iter().map(|row| row.0[0].clone()).collect();
    assert!(sessions.len() == 3 && sessions.contains(third.session.id()));

    let count = async |filter: UsageFilter| {
        let rows = store.usage(&tenant("rich"), &filter, &[], page(1)).await.unwrap();
        rows.first().map_or(0, |row| row.n_generations)
    };
    assert_eq!(count(UsageFilter { labels: labels(&[("a.team-1", "film")]), ..Default::default() }).await, 2);
    assert_eq!(count(UsageFilter { start: Some(at(1)), ..Default::default() }).await, 2);
    assert_eq!(count(UsageFilter { end: Some(at(1)), ..Default::default() }).await, 1);
    assert_eq!(count(UsageFilter { kind: Some(Made::Media(Kind::Image)), ..Default::default() }).await, 1);
    assert_eq!(count(UsageFilter { session: Some(first.session.clone()), ..Default::default() }).await, 1);
    assert_eq!(count(UsageFilter { model: Some("sample/other".parse().unwrap()), ..Default::default() }).await, 0);
    assert_eq!(usage(store, &tenant("nobody"), &[]).await, []);
    let second = Page { after: Some(1), limit: 1 };
    let rows = store.usage(&tenant("rich"), &UsageFilter::default(), &[UsageKey::State], second).await.unwrap();
    assert_eq!(rows[0].keys, ["queued"]);
}

pub(in crate::store) async fn money_records_outlive_what_they_paid_for(store: &Tested) {
    let team = || Ask { labels: labels(&[("team", "film")]), ..of("labelled") };
    let (deleted, expired) = (team().accepted(store).await, team().accepted(store).await);
    for generation in [&deleted, &expired] {
        succeed(store, generation).await;
    }
    store.delete_generation(&deleted.tenant, deleted.id).await.unwrap();
    store.expire_generations(at(1), 10, at(2)).await.unwrap();
    over(team().send(store).await);
    let rows = usage(store, &tenant("labelled"), &[UsageKey::Label("team".to_owned())]).await;
    assert_eq!((rows[0].keys[0].as_str(), rows[0].n_generations, rows[0].spent.0), ("film", 2, 140));
    assert_eq!(entries(store, &tenant("labelled")).await.len(), 4);
}

/// Something random happens to a generation; what the state machine refuses is refused.
async fn happen(store: &Tested, id: GenerationId, act: u8) {
    let generation = store.load(id).await.unwrap().unwrap().generation;
    let lost = || AttemptEvent::AnswerLost("x".into());
    let of_attempt = match act {
        0 | 1 => Some(AttemptEvent::Submitting(SubmitKey::fresh())),
        2 => Some(AttemptEvent::Accepted(ticket(&SubmitKey::fresh().id()))),
        3 => Some(AttemptEvent::Stored(vec![output(id)], Usage::default())),
        4 => Some(failed(Charged::No)),
        5 => Some(failed(Charged::Yes)),
        6 => Some(lost()),
        _ => None,
    };
    let event = match (of_attempt, generation.open_attempt(), generation.attempts.first()) {
        (Some(event), Some(open), _) => Event::Attempt(open.id, event),
        (Some(_), None, _) => return,
        (None, ..) if act == 7 => Event::CancelRequested,
        (None, ..) if act == 8 => Event::Resolved(Resolution::Resubmit),
        (None, ..) if act == 9 => Event::Resolved(Resolution::Failed),
        (None, _, Some(first)) => Event::Learned(first.id, Charged::Yes, Usage::default()),
        (None, _, None) => return,
    };
    match store.apply(id, event, None, START).await {
        Ok(_) | Err(ApplyError::Refused { .. } | ApplyError::Budget(_)) => {}
        Err(error) => panic!("{error:?}"),
    }
}

pub(in crate::store) async fn budgets_agree_with_the_ledger_whatever_happens(store: &Tested) {
    let (poor, labels) = (tenant("poor"), BTreeMap::new());
    let spender = || Spender { tenant: &poor, session: None, labels: &labels };
    let agree = async || {
        let balances = balances(store, &poor).await;
        let balance = |account| balances.get(&account).copied().unwrap_or_default();
        let standing = store.standings(spender(), START).await.unwrap().pop().unwrap();
        assert_eq!(standing.held.0, balance(Account::Held));
        assert_eq!(standing.spent.0, balance(Account::Provider) + balance(Account::Suspense));
        assert!(standing.held.0 + standing.spent.0 <= 210, "{standing:?}");
        standing.held.0
    };
    let mut random = fastrand::Rng::with_seed(7);
    let mut ids: Vec<GenerationId> = Vec::new();
    for _ in 0..40 {
        let mut acting = JoinSet::new();
        for _ in 0..8 {
            let (store, act) = (Arc::clone(store), random.u8(0..14));
            let (at, digest) = (random.choice(ids.clone()), ["a", "b"][random.usize(0..2)]);
            acting.spawn(async move {
                match at {
                    Some(at) if act < 11 => happen(&store, at, act).await,
                    Some(_) | None => {
                        let ask = Ask { prices: vec![Some(30), Some(20)], ..Ask::order(digest) };
                        match (Ask { tenant: tenant("poor"), ..ask }).send(&store).await {
                            Ok(Accepted::New(generation, _)) => return Some(generation.id),
                            Err(AcceptError::Budget(_)) => {}
                            other => panic!("{other:?}"),
                        }
                    }
                }
                None
            });
        }
        ids.extend(acting.join_all().await.into_iter().flatten());
        agree().await;
    }
    for &id in &ids {
        happen(store, id, 7).await;
        let open = store.load(id).await.unwrap().unwrap().generation.open_attempt().map(|open| open.id);
        if let Some(open) = open {
            let stopped = AttemptEvent::Stopped(Charged::No, Usage::default());
            store.apply(id, Event::Attempt(open, stopped), None, START).await.unwrap();
        }
    }
    assert_eq!(agree().await, 0, "nothing is held once all have ended");
}
