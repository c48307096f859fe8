//! `filmgate chat`: one question, answered on stdout as it is said.

use std::path::PathBuf;

use super::{
    ClientCommand, Context, connect::call, exit::Exit, failure::Failure, json, names::Collection, terminal::Format,
    upload,
};
use crate::pb::v1::{
    ChatEnd, ChatImage, ChatMessage, ChatPart, ChatRequest, ChatRole, chat_image::Source, chat_part::Part,
    chat_response::Event,
};

/// Most bytes of a picture that go inside the request.
const INLINE_BYTES: u64 = 2 << 20;

/// Arguments of `filmgate chat`.
#[derive(Debug, clap::Args)]
pub(super) struct Chat {
    /// What to say to the model.
    #[arg(value_name = "TEXT")]
    text: String,
    /// Language model: PROVIDER/NAME, or a name or alias alone.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Instructions for the model.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Session to keep the turns in, made if it is new; its earlier turns are sent along.
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// Picture to look at; may be repeated.
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
}

impl ClientCommand for Chat {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let session = self.session.as_deref().map(|session| Collection::Sessions.name(session)).transpose()?;
        let mut content = vec![ChatPart { part: Some(Part::Text(self.text)) }];
        for path in &self.images {
            content.push(picture(path, context).await?);
        }
        let message = |role: ChatRole, content| ChatMessage { role: role.into(), content, ..ChatMessage::default() };
        let system = self.system.map(|text| message(ChatRole::System, vec![ChatPart { part: Some(Part::Text(text)) }]));
        let request = ChatRequest {
            messages: system.into_iter().chain([message(ChatRole::User, content)]).collect(),
            model: self.model.unwrap_or_default(),
            session: session.unwrap_or_default(),
            ..ChatRequest::default()
        };
        let mut answer = context.connection.chats().chat(call(request)).await?.into_inner();
        while let Some(said) = answer.message().await? {
            if context.terminal.format == Format::Json {
                context.terminal.json_line(&json::of(&said)?)?;
                continue;
            }
            match said.event {
                Some(Event::Start(start)) if start.sample => {
                    context.terminal.notice("a sample answers: nobody has read the message");
                }
                Some(Event::Start(_)) | None => {}
                Some(Event::Delta(delta)) => context.terminal.part(&[delta.text, delta.refusal].concat())?,
                Some(Event::End(end)) => {
                    context.terminal.line("")?;
                    context.terminal.notice(&used(&end));
                }
            }
        }
        Ok(Exit::Ok)
    }
}

async fn picture(path: &PathBuf, context: &Context<'_>) -> Result<ChatPart, Failure> {
    let fail = |error: std::io::Error| Failure::file(path, "read", &error);
    let n_bytes = tokio::fs::metadata(path).await.map_err(fail)?.len();
    let source = if n_bytes > INLINE_BYTES {
        Source::Artifact(upload::send(&context.connection, path, "").await?.name)
    } else {
        Source::Data(tokio::fs::read(path).await.map_err(fail)?.into())
    };
    Ok(ChatPart { part: Some(Part::Image(ChatImage { source: Some(source), detail: String::new() })) })
}

/// What an answer took, in words.
fn used(end: &ChatEnd) -> String {
    let tokens = match &end.usage {
        Some(usage) => format!("{} tokens read, {} written", usage.input_tokens, usage.output_tokens),
        None => "tokens unknown".to_owned(),
    };
    match end.cost_micro_usd {
        Some(cost) => format!("{tokens}, {}", super::text::dollars(cost)),
        None => format!("{tokens}, cost unknown"),
    }
}
