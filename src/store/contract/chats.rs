//! Chats: their record, their turns, and their part in money and usage.

use std::collections::BTreeMap;

use super::*;
use crate::{
    domain::{
        artifact::Made,
        budget::Spender,
        chat::{ChatRecord, TokenUsage},
        ledger::{Account, Cause},
        names::{ChatId, ModelName},
    },
    store::port::{LedgerFilter, UsageFilter, UsageKey, UsageRow},
};

fn chat(of: &str, session: Option<&SessionId>, cost: Option<i64>) -> ChatRecord {
    ChatRecord {
        id: ChatId::fresh(),
        tenant: TenantId::from_id(of).unwrap(),
        session: session.cloned(),
        model: "openai/gpt".parse::<ModelName>().unwrap(),
        labels: BTreeMap::from([("team".to_owned(), "film".to_owned())]),
        began_at: START,
        ended_at: at(1_500),
        succeeded: true,
        usage: Some(TokenUsage { input: 10, cached_input: 4, output: 5, reasoning: 2 }),
        cost: cost.map(MicroUsd),
    }
}

fn turn(chat: &ChatRecord, role: Role, text: &str) -> Message {
    let (text, meta, created_at) = (text.to_owned(), Map::new(), chat.ended_at);
    Message { role, text, meta, created_at, generation: None, chat: Some(chat.id) }
}

pub(in crate::store) async fn a_chat_leaves_its_record_turns_and_money_once(store: &Tested) {
    let session = SessionId::fresh();
    let said = chat("talkative", Some(&session), Some(7));
    let turns = vec![turn(&said, Role::User, "hello"), turn(&said, Role::Assistant, "a\0b")];
    for _ in 0..2 {
        store.record_chat(&said, turns.clone()).await.unwrap();
    }
    let kept = store.messages(&said.tenant, &session, page(10)).await.unwrap();
    assert_eq!(kept.into_iter().map(|(_, message)| message).collect::<Vec<_>>(), turns);
    let entries = store.ledger(&said.tenant, &LedgerFilter::default(), page(10)).await.unwrap();
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((entry.cause, &entry.session), (Cause::Chat(said.id), &said.session));
    let movement = &entry.movement;
    assert_eq!((movement.from, movement.to, movement.amount.0), (Account::Caller, Account::Provider, 7));
    assert_eq!(Account::ALL.iter().map(|account| movement.change_of(*account)).sum::<i64>(), 0);
    // What costs nothing, or nobody knows what, moves nothing; what belongs to no session makes none.
    for cost in [Some(0), None] {
        store.record_chat(&chat("talkative", None, cost), Vec::new()).await.unwrap();
    }
    assert_eq!(store.ledger(&said.tenant, &LedgerFilter::default(), page(10)).await.unwrap().len(), 1);
    assert_eq!(store.sessions(&said.tenant, page_of_sessions()).await.unwrap().len(), 1);
}

fn page_of_sessions() -> Page<(Timestamp, SessionId)> {
    Page { after: None, limit: 10 }
}

pub(in crate::store) async fn chats_take_of_the_budgets_that_they_concern(store: &Tested) {
    let taken = async |tenant: &str, session: Option<&SessionId>| {
        let (tenant, labels) = (TenantId::from_id(tenant).unwrap(), chat("poor", None, None).labels);
        let spender = Spender { tenant: &tenant, session, labels: &labels };
        store.standings(spender, START).await.unwrap().iter().map(|one| one.spent.0).collect::<Vec<_>>()
    };
    let session = SessionId::fresh();
    // Nobody can refuse any more what was said, also beyond a limit.
    for cost in [100, 150] {
        store.record_chat(&chat("poor", None, Some(cost)), Vec::new()).await.unwrap();
    }
    store.record_chat(&chat("talker", Some(&session), Some(3)), Vec::new()).await.unwrap();
    store.record_chat(&chat("talker", None, Some(5)), Vec::new()).await.unwrap();
    store.record_chat(&chat("labelled", None, Some(9)), Vec::new()).await.unwrap();
    assert_eq!(taken("poor", None).await, [250]);
    assert_eq!(taken("talker", Some(&session)).await, [3]);
    assert_eq!(taken("labelled", None).await, [9]);
    let poor = Ask { tenant: TenantId::from_id("poor").unwrap(), ..Ask::new() };
    assert!(matches!(poor.send(store).await, Err(AcceptError::Budget(_))));
}

pub(in crate::store) async fn usage_counts_chats_beside_generations(store: &Tested) {
    let tenant = TenantId::from_id("both").unwrap();
    let generation = Ask { tenant: tenant.clone(), ..Ask::new() }.accepted(store).await;
    succeed(store, &generation).await;
    let session = SessionId::fresh();
    for cost in [Some(7), None] {
        store.record_chat(&chat("both", Some(&session), cost), Vec::new()).await.unwrap();
    }
    let silent = ChatRecord { usage: None, succeeded: false, ..chat("both", None, Some(0)) };
    store.record_chat(&silent, Vec::new()).await.unwrap();
    let told = async |filter: UsageFilter, by: &[UsageKey]| {
        let rows = store.usage(&tenant, &filter, by, page(10)).await.unwrap();
        let told = rows.into_iter().map(|row| {
            let counts = [row.n_generations, row.n_chats, row.input_tokens, row.output_tokens, row.n_unpriced];
            (row.keys, counts, row.spent.0)
        });
        told.collect::<Vec<_>>()
    };
    let keys = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let all = || UsageFilter::default();
    assert_eq!(told(all(), &[]).await, [(keys(&[]), [1, 3, 20, 10, 1], 77)]);
    let expected = [(keys(&["text"]), [0, 3, 20, 10, 1], 7), (keys(&["video"]), [1, 0, 0, 0, 0], 70)];
    assert_eq!(told(all(), &[UsageKey::Kind]).await, expected);
    let of_all = async |by: &[UsageKey]| store.usage(&tenant, &all(), by, page(10)).await.unwrap();
    assert_eq!(of_all(&[]).await, [UsageRow::total(&of_all(&[UsageKey::Kind, UsageKey::State]).await)]);
    let text = || UsageFilter { kind: Some(Made::Text), ..all() };
    let by_state = [(keys(&["failed"]), [0, 1, 0, 0, 0], 0), (keys(&["succeeded"]), [0, 2, 20, 10, 1], 7)];
    assert_eq!(told(text(), &[UsageKey::State]).await, by_state);
    let by = [UsageKey::Provider, UsageKey::Model, UsageKey::Label("team".to_owned())];
    assert_eq!(told(text(), &by).await, [(keys(&["openai", "openai/gpt", "film"]), [0, 3, 20, 10, 1], 7)]);
    let of_session = UsageFilter { session: Some(session.clone()), ..all() };
    assert_eq!(told(of_session, &[UsageKey::Session]).await, [(keys(&[session.id()]), [0, 2, 20, 10, 1], 7)]);
    let labels = BTreeMap::from([("team".to_owned(), "sound".to_owned())]);
    assert_eq!(told(UsageFilter { labels, ..all() }, &[]).await, []);
    let video = UsageFilter { kind: Some(Made::Media(Kind::Video)), ..all() };
    assert_eq!(told(video, &[UsageKey::Day]).await.len(), 1);
    assert_eq!(told(UsageFilter { end: Some(START), ..text() }, &[]).await, []);
    let of_model = UsageFilter { model: Some("openai/gpt".parse().unwrap()), ..all() };
    assert_eq!(told(of_model, &[UsageKey::Hour]).await[0].1[1], 3);
}
