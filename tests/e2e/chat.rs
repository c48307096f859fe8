//! Conversations through the real door, answered by the sample.

use std::time::Duration;

use filmgate::pb::v1::{
    ChatEnd, ChatImage, ChatMessage, ChatPart, ChatRequest, ChatRole, ChatStart, FinishReason, GetModelRequest,
    GetSessionHistoryRequest, GetUsageRequest, Kind, ListModelsRequest, Message, OptimizePromptRequest, ResponseFormat,
    ResponseFormatType, Role, Tool, ToolCall, ToolChoice, Usage, budget_service_client::BudgetServiceClient,
    chat_image::Source, chat_part::Part, chat_response::Event, chat_service_client::ChatServiceClient,
    tool_choice::Choice,
};
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::{
    command_line::run,
    support::{
        refusals::{Refused, invalid, refusal, refused},
        server::{SOON, Server, Setup},
    },
};

fn text(text: &str) -> ChatPart {
    ChatPart { part: Some(Part::Text(text.to_owned())) }
}

fn image(source: Source) -> ChatPart {
    ChatPart { part: Some(Part::Image(ChatImage { source: Some(source), detail: String::new() })) }
}

fn says(role: ChatRole, content: Vec<ChatPart>) -> ChatMessage {
    ChatMessage { role: role.into(), content, ..ChatMessage::default() }
}

fn asks(question: &str) -> ChatRequest {
    ChatRequest { messages: vec![says(ChatRole::User, vec![text(question)])], ..ChatRequest::default() }
}

/// How it began, what was said in pieces, why it ended, and how.
async fn answer(server: &Server, request: ChatRequest) -> (ChatStart, Vec<String>, FinishReason, ChatEnd) {
    let mut stream = ChatServiceClient::new(server.channel().await).chat(request).await.unwrap().into_inner();
    let (mut start, mut pieces, mut finish, mut end) = (None, Vec::new(), FinishReason::Unspecified, None);
    while let Some(message) = timeout(SOON, stream.message()).await.expect("a message in time").unwrap() {
        assert!(end.is_none(), "nothing follows the end");
        match message.event.unwrap() {
            Event::Start(told) => assert!(start.replace(told).is_none() && pieces.is_empty()),
            Event::Delta(delta) => {
                assert!(start.is_some() && finish == FinishReason::Unspecified);
                finish = delta.finish_reason();
                pieces.push(delta.text);
            }
            Event::End(told) => end = Some(told),
        }
    }
    (start.unwrap(), pieces, finish, end.unwrap())
}

async fn usage(server: &Server, request: GetUsageRequest) -> Usage {
    let mut client = BudgetServiceClient::new(server.channel().await);
    client.get_usage(request).await.unwrap().into_inner().total.unwrap()
}

/// Usage once it counts so many chats: they are written beside the answers.
async fn usage_of(server: &Server, n_chats: i64) -> Usage {
    let counted = async {
        loop {
            let usage = usage(server, GetUsageRequest { kind: Kind::Text.into(), ..Default::default() }).await;
            if usage.n_chats >= n_chats {
                return usage;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, counted).await.expect("counted in time")
}

async fn history(server: &Server, session: &str) -> Vec<Message> {
    let request = GetSessionHistoryRequest { name: session.to_owned(), page_size: 100, ..Default::default() };
    server.sessions().await.get_session_history(request).await.unwrap().into_inner().messages
}

#[tokio::test]
async fn the_sample_answers_word_by_word_and_says_that_it_is_one() {
    let server = Setup::sample().start().await;
    let (start, pieces, finish, end) = answer(&server, asks("hello there")).await;
    assert_eq!((start.model.as_str(), start.session.as_str(), start.sample), ("sample/chat", "", true));
    assert!(start.name.starts_with("chats/"), "{start:?}");
    assert!(pieces.len() > 10 && pieces.concat().starts_with("This is a sample answer."), "{pieces:?}");
    let tokens = end.usage.unwrap();
    assert_eq!((finish, tokens.input_tokens, end.cost_micro_usd), (FinishReason::Stop, 2, Some(0)));
    let (_, pieces, ..) = answer(&server, asks("你好")).await;
    assert!(pieces.concat().starts_with("这是示例回答"), "{pieces:?}");
    let (_, pieces, finish, _) = answer(&server, ChatRequest { max_tokens: Some(3), ..asks("hello") }).await;
    assert_eq!((pieces.concat().as_str(), finish), ("This is a ", FinishReason::Length));
    let usage = usage_of(&server, 3).await;
    assert_eq!((usage.n_chats, usage.n_generations, usage.n_unpriced, usage.spent_micro_usd), (3, 0, 0, 0));
    assert!(usage.input_tokens >= 4 && usage.output_tokens > 20, "{usage:?}");
}

/// A chat with something wrong wherever something can be.
fn all_wrong() -> ChatRequest {
    let call = ToolCall { id: "1".to_owned(), name: "f".to_owned(), arguments_json: "{}".to_owned() };
    let private = || Source::Uri("https://127.0.0.1/a.png".to_owned());
    ChatRequest {
        messages: vec![
            ChatMessage::default(),
            says(ChatRole::System, vec![image(private())]),
            says(ChatRole::User, vec![image(private()), ChatPart::default()]),
            ChatMessage { tool_calls: vec![call], ..says(ChatRole::User, Vec::new()) },
            says(ChatRole::Tool, vec![text("42")]),
        ],
        session: "x".to_owned(),
        temperature: Some(2.01),
        top_p: Some(f64::NAN),
        max_tokens: Some(0),
        stop: vec![String::new()],
        tools: vec![Tool { name: "a b".to_owned(), parameters_json: "[]".to_owned(), ..Default::default() }],
        tool_choice: Some(ToolChoice { choice: Some(Choice::Tool("b".to_owned())) }),
        response_format: Some(ResponseFormat {
            r#type: ResponseFormatType::JsonSchema.into(),
            name: "no name".to_owned(),
            ..Default::default()
        }),
        labels: [("Team".to_owned(), String::new())].into(),
        model: "nothing".to_owned(),
        ..ChatRequest::default()
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_a_chat_is_told_at_once() {
    let server = Setup::sample().start().await;
    let mut client = ChatServiceClient::new(server.channel().await);
    let fields = [
        "messages[0].role",
        "messages[1].content[0].image",
        "messages[2].content[0].image.uri",
        "messages[2].content[1]",
        "messages[3].tool_calls",
        "messages[4].tool_call_id",
        "session",
        "temperature",
        "top_p",
        "max_tokens",
        "stop[0]",
        "tools[0].name",
        "tools[0].parameters_json",
        "tool_choice.tool",
        "response_format.name",
        "response_format.schema_json",
        "labels[\"Team\"]",
        "model",
    ];
    assert_eq!(refusal(client.chat(all_wrong()).await, &"all wrong"), invalid(&fields));
    let none = client.chat(ChatRequest::default()).await;
    assert_eq!(refusal(none, &"no messages"), invalid(&["messages"]));
    let unknown = client.chat(ChatRequest { model: "nothing".to_owned(), ..asks("x") }).await.unwrap_err();
    assert!(unknown.message().contains("sample/chat"), "{unknown:?}");
    let other = client.chat(ChatRequest { model: "sample/video".to_owned(), ..asks("x") }).await.unwrap_err();
    assert!(other.message().contains("makes video"), "{other:?}");
    let format = ResponseFormat {
        r#type: ResponseFormatType::JsonSchema.into(),
        schema_json: "{}".to_owned(),
        ..ResponseFormat::default()
    };
    let schema = client.chat(ChatRequest { response_format: Some(format), ..asks("x") }).await;
    assert_eq!(refusal(schema, &"a schema"), invalid(&["response_format.type"]));
    let mut wanted = asks("x");
    wanted.tools = vec![Tool { name: "f".to_owned(), ..Default::default() }];
    wanted.tool_choice = Some(ToolChoice { choice: Some(Choice::Tool("f".to_owned())) });
    let status = client.chat(wanted).await.unwrap_err();
    let expected = (Code::InvalidArgument, "PROVIDER_INVALID_ORDER".to_owned(), vec!["tool_choice".to_owned()]);
    let Refused { code, reason, fields } = refused(&status);
    assert_eq!((code, reason, fields), expected);
    let text_as_picture = says(ChatRole::User, vec![image(Source::Data(b"no picture at all"[..].into()))]);
    let status = client.chat(ChatRequest { messages: vec![text_as_picture], ..Default::default() }).await;
    assert_eq!(refusal(status, &"no picture"), invalid(&["messages[0].content[0].image.data"]));
    assert_eq!(usage(&server, GetUsageRequest::default()).await.n_chats, 0, "what was not sent leaves nothing");
}

#[tokio::test]
async fn a_session_keeps_the_turns_and_sends_them_again() {
    let server = Setup::sample().start().await;
    let within = |question: &str| ChatRequest { session: "sessions/talk".to_owned(), ..asks(question) };
    let (first, pieces, _, end) = answer(&server, within("one two three")).await;
    assert_eq!((first.session.as_str(), end.usage.unwrap().input_tokens), ("sessions/talk", 3));
    let turns = history(&server, "sessions/talk").await;
    let told: Vec<_> = turns.iter().map(|turn| (turn.role(), turn.text.clone(), turn.chat.clone())).collect();
    let expected = [
        (Role::User, "one two three".to_owned(), first.name.clone()),
        (Role::Assistant, pieces.concat(), first.name.clone()),
    ];
    assert_eq!(told, expected);
    // The sample counts the words that it gets: those of the first turn come again.
    let (_, _, _, end) = answer(&server, within("four")).await;
    let n_words = i64::try_from(pieces.iter().filter(|piece| !piece.is_empty()).count()).unwrap();
    assert_eq!(end.usage.unwrap().input_tokens, 3 + n_words + 1);
    // What is generated in the session later goes on from there.
    let order = filmgate::pb::v1::GenerateVideoRequest {
        session: "sessions/talk".to_owned(),
        ..crate::support::server::video("a fox")
    };
    let made = server.generate(order).await.unwrap();
    assert!(made.brief.contains("user: four") && made.brief.chars().count() <= 603, "{}", made.brief);
    assert_eq!(history(&server, "sessions/talk").await.len(), 7);
}

#[tokio::test]
async fn who_hangs_up_leaves_a_record_and_what_was_said() {
    let server = Setup::sample().with("FILMGATE_SAMPLE_LATENCY", "60s").start().await;
    let request = ChatRequest { session: "sessions/cut".to_owned(), ..asks("hello") };
    let mut stream = ChatServiceClient::new(server.channel().await).chat(request).await.unwrap().into_inner();
    for _ in 0..2 {
        timeout(SOON, stream.message()).await.expect("a message in time").unwrap().unwrap();
    }
    drop(stream);
    let usage = usage_of(&server, 1).await;
    assert_eq!((usage.n_chats, usage.output_tokens, usage.n_unpriced), (1, 0, 1), "nobody knows what it cost");
    let turns = history(&server, "sessions/cut").await;
    let [asked, said] = &turns[..] else { panic!("{turns:?}") };
    assert_eq!((asked.text.as_str(), said.text.as_str()), ("hello", "This "));
    assert!(format!("{:?}", said.meta).contains("interrupted"), "{said:?}");
}

#[tokio::test]
async fn a_server_that_ends_writes_what_chats_left() {
    let setup = Setup::sample().with("FILMGATE_SAMPLE_LATENCY", "60s");
    let server = setup.start().await;
    let mut stream = ChatServiceClient::new(server.channel().await).chat(asks("hello")).await.unwrap().into_inner();
    for _ in 0..2 {
        timeout(SOON, stream.message()).await.expect("a message in time").unwrap().unwrap();
    }
    assert_eq!(server.stop().await, Some(0));
    let server = setup.start().await;
    assert_eq!(usage(&server, GetUsageRequest::default()).await.n_chats, 1);
}

#[tokio::test]
async fn language_models_are_listed_beside_the_others() {
    let server = Setup::sample().start().await;
    let mut models = server.models().await;
    let request = ListModelsRequest { kind: Kind::Text.into(), available: true, page_size: 100, ..Default::default() };
    let listed = models.list_models(request).await.unwrap().into_inner().models;
    assert!(listed.iter().all(|model| model.kind() == Kind::Text && model.chat.is_some()), "{listed:?}");
    assert!(listed.iter().any(|model| model.name == "sample/chat" && model.ready), "{listed:?}");
    let model = models.get_model(GetModelRequest { name: "sample/chat".to_owned() }).await.unwrap().into_inner().model;
    assert_eq!(model.unwrap().chat.unwrap().output_micro_usd, Some(0));
}

#[tokio::test]
async fn without_a_language_model_a_prompt_stays_as_it_is() {
    let server = Setup::sample().start().await;
    let mut client = ChatServiceClient::new(server.channel().await);
    let request =
        OptimizePromptRequest { prompt: " 一只狐狸 ".to_owned(), kind: Kind::Video.into(), ..Default::default() };
    let answer = client.optimize_prompt(request).await.unwrap().into_inner();
    assert_eq!((answer.original_prompt.as_str(), answer.optimized_prompt.as_str()), ("一只狐狸", "一只狐狸"));
    assert!(!answer.optimized && answer.language == "zh" && answer.reason.contains("language models"), "{answer:?}");
    let wrong = OptimizePromptRequest { language: "de".to_owned(), model: "x".to_owned(), ..Default::default() };
    let fields = ["prompt", "kind", "language", "model"];
    assert_eq!(refusal(client.optimize_prompt(wrong).await, &"all wrong"), invalid(&fields));
}

#[tokio::test]
async fn the_command_line_talks() {
    let server = Setup::sample().start().await;
    let said = run(server.setup(), &["chat", "hello", "--session", "cli"]).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.out.starts_with("This is a sample answer.") && said.err.contains("tokens read"),
        "{}{}",
        said.out,
        said.err
    );
    let json = run(server.setup(), &["chat", "hello", "--json"]).await;
    assert!(json.out.lines().count() > 10 && json.out.contains("\"start\""), "{}", json.out);
    let usage = run(server.setup(), &["usage", "--kind", "text"]).await;
    assert_eq!(usage.code, Some(0), "{}", usage.err);
}
