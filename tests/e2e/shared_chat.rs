//! Chats with PostgreSQL as the store: what they used and cost, and their turns, seen by every process and after a restart.
#![cfg(test)]

use std::time::Duration;

use filmgate::pb::v1::{
    ChatMessage, ChatPart, ChatRequest, ChatResponse, ChatRole, GetSessionHistoryRequest, GetUsageRequest,
    GetUsageResponse, Kind, LedgerEntry, ListLedgerEntriesRequest, Message, Role, Usage,
    budget_service_client::BudgetServiceClient, chat_part::Part, chat_response::Event,
    chat_service_client::ChatServiceClient,
};
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use crate::{
    simulator::Simulator,
    support::{
        postgres::SHARED,
        server::{SOON, Server, Setup},
    },
};

const SESSION: &str = "sessions/talk";

/// Processes on one database with the simulated OpenAI as their vendor.
fn setup(simulator: &Simulator, database: &str) -> Setup {
    let budget = "[[budgets]]\nname = \"all\"\nlimit = \"5.00\"\nperiod = \"total\"\ntenant = \"*\"\n";
    Setup::sample()
        .with("FILMGATE_DATABASE_URL", database)
        .with("OPENAI_API_KEY", "sk-a-secret-key")
        .with("OPENAI_BASE_URL", &simulator.openai())
        .with_file("filmgate.toml", budget)
}

/// The start of an answer.
async fn ask(server: &Server, text: &str, session: &str) -> Streaming<ChatResponse> {
    let content = vec![ChatPart { part: Some(Part::Text(text.to_owned())) }];
    let request = ChatRequest {
        messages: vec![ChatMessage { role: ChatRole::User.into(), content, ..ChatMessage::default() }],
        model: "openai/gpt-5.4-mini".to_owned(),
        session: session.to_owned(),
        labels: [("team".to_owned(), "film".to_owned())].into(),
        ..ChatRequest::default()
    };
    ChatServiceClient::new(server.channel().await).chat(request).await.unwrap().into_inner()
}

/// What is said in the session, and what it cost.
async fn talk(server: &Server, text: &str) -> (String, i64) {
    let mut stream = ask(server, text, SESSION).await;
    let mut said = String::new();
    loop {
        let message = timeout(SOON, stream.message()).await.expect("a message in time").unwrap();
        match message.expect("an end").event.unwrap() {
            Event::Start(_) => {}
            Event::Delta(delta) => said.push_str(&delta.text),
            Event::End(end) => return (said, end.cost_micro_usd.expect("a price")),
        }
    }
}

async fn usage(server: &Server, by: &[&str]) -> GetUsageResponse {
    let group_by = by.iter().map(|key| (*key).to_owned()).collect();
    let request = GetUsageRequest { group_by, kind: Kind::Text.into(), ..GetUsageRequest::default() };
    BudgetServiceClient::new(server.channel().await).get_usage(request).await.unwrap().into_inner()
}

async fn ledger(server: &Server) -> Vec<LedgerEntry> {
    let request = ListLedgerEntriesRequest { session: SESSION.to_owned(), ..ListLedgerEntriesRequest::default() };
    let mut client = BudgetServiceClient::new(server.channel().await);
    client.list_ledger_entries(request).await.unwrap().into_inner().entries
}

async fn turns(server: &Server) -> Vec<Message> {
    let request = GetSessionHistoryRequest { name: SESSION.to_owned(), page_size: 100, ..Default::default() };
    server.sessions().await.get_session_history(request).await.unwrap().into_inner().messages
}

/// Usage, ledger and turns of two chats that cost so much together.
async fn accounted(server: &Server, cost: i64) {
    let told = usage(server, &["model", "label:team", "day"]).await;
    let [row] = &told.usage[..] else { panic!("{told:?}") };
    assert_eq!(row.keys[..2], ["openai/gpt-5.4-mini".to_owned(), "film".to_owned()], "{row:?}");
    let Usage { n_chats, spent_micro_usd, n_unpriced, .. } = told.total.unwrap();
    assert_eq!((n_chats, spent_micro_usd, n_unpriced), (2, cost, 0));
    assert_eq!(told.budgets.iter().map(|budget| budget.spent_micro_usd).collect::<Vec<_>>(), [cost]);
    let entries = ledger(server).await;
    assert_eq!(entries.len(), 2, "{entries:?}");
    assert_eq!(entries.iter().map(|entry| entry.micro_usd).sum::<i64>(), cost);
    let said: Vec<_> = turns(server).await.into_iter().map(|turn| (turn.role(), turn.text)).collect();
    let turn = |role, text: &str| (role, text.to_owned());
    let expected = [
        turn(Role::User, "one two"),
        turn(Role::Assistant, "You said: one two"),
        turn(Role::User, "three"),
        turn(Role::Assistant, "You said: three"),
    ];
    assert_eq!(said, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn chats_are_accounted_for_on_postgresql_by_every_process_and_after_a_restart() {
    let simulator = Simulator::start(&[]);
    let database = SHARED.database();
    let one = setup(&simulator, &database).start().await;
    let other = setup(&simulator, &database).start().await;
    let (said, first) = talk(&one, "one two").await;
    assert_eq!(said, "You said: one two");
    // The other process knows the first turn, and sends it again.
    let (_, second) = talk(&other, "three").await;
    let sent = simulator.look("chats").await["openai"].as_array().unwrap().last().unwrap()["body"]["messages"].clone();
    let sent: Vec<_> = sent.as_array().unwrap().iter().map(|message| message["content"].clone()).collect();
    assert_eq!(sent, ["one two", "You said: one two", "three"]);
    accounted(&one, first + second).await;
    accounted(&other, first + second).await;

    let setup = one.kill();
    assert_eq!(other.stop().await, Some(0));
    let again = setup.start().await;
    accounted(&again, first + second).await;
    // Who hangs up leaves a record of what nobody knows the cost of, on this store too.
    simulator.faults(&["chat:pace=10s"]).await;
    let mut stream = ask(&again, "four", "").await;
    timeout(SOON, stream.message()).await.expect("a message in time").unwrap().unwrap();
    drop(stream);
    let counted = async {
        loop {
            let total = usage(&again, &[]).await.total.unwrap();
            if total.n_chats == 3 {
                return total;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let total = timeout(SOON, counted).await.expect("counted in time");
    assert_eq!((total.n_unpriced, total.spent_micro_usd), (1, first + second));
}
