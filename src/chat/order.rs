//! What is sent: the earlier turns of the session, what is new, and pictures as the port takes them.

use bytes::BytesMut;
use futures_util::TryStreamExt;

use super::{AskedMessage, AskedPart, Chat, ChatRequest, Error, Speaker};
use crate::{
    domain::{
        catalog::Talker,
        names::TenantId,
        order::Violation,
        session::{Message, Role},
    },
    engine::{self, request::AskedSource},
    provider::{
        chat::{ChatMessage, ChatOrder, Part},
        port::InputFile,
    },
    store::port::Page,
};

/// Most earlier turns that are sent.
const MOST_TURNS: u64 = 200;
/// Most bytes of a picture: it is in memory while it is handed over.
const MOST_BYTES: u64 = 32 << 20;

/// The order for a request.
///
/// # Errors
/// A picture is not there or is none, or the store cannot be read.
pub(super) async fn order(chat: &Chat, request: &ChatRequest, talker: &Talker) -> Result<ChatOrder, Error> {
    let mut fresh = Vec::with_capacity(request.messages.len());
    let mut violations = Vec::new();
    for message in &request.messages {
        fresh.push(said(chat, &request.tenant, message, &mut violations).await?);
    }
    if !violations.is_empty() {
        return Err(Error::Invalid(violations));
    }
    // Instructions come first for every model.
    let n_instructions = fresh.iter().take_while(|message| message.speaker == Speaker::System).count();
    let said_now = fresh.split_off(n_instructions);
    let earlier = earlier(chat, request).await?;
    let messages = fresh.into_iter().chain(earlier).chain(said_now).collect();
    Ok(ChatOrder {
        model: talker.model.name.clone(),
        card: talker.card.clone(),
        messages,
        temperature: request.temperature,
        top_p: request.top_p,
        max_tokens: request.max_tokens,
        stop: request.stop.clone(),
        seed: request.seed,
        tools: request.tools.clone(),
        tool_choice: request.tool_choice.clone(),
        parallel_tool_calls: request.parallel_tool_calls,
        format: request.format.clone(),
        provider_options: request.provider_options.clone(),
        stream: request.stream,
    })
}

/// The last turns of the session, oldest first. What generations said of themselves belongs to the conversation.
async fn earlier(chat: &Chat, request: &ChatRequest) -> Result<Vec<ChatMessage>, Error> {
    let Some(id) = &request.session else { return Ok(Vec::new()) };
    let store = chat.engine().store();
    let Some(session) = store.session(&request.tenant, id).await? else { return Ok(Vec::new()) };
    let after = session.n_messages.saturating_sub(MOST_TURNS);
    let page = Page { after: Some(after), limit: usize::try_from(MOST_TURNS).unwrap_or(usize::MAX) };
    let turns = store.messages(&request.tenant, id, page).await?;
    Ok(turns.into_iter().filter(|(_, turn)| !turn.text.is_empty()).map(|(_, turn)| again(turn)).collect())
}

fn again(turn: Message) -> ChatMessage {
    let speaker = match turn.role {
        Role::User => Speaker::User,
        Role::Assistant => Speaker::Assistant,
        Role::System => Speaker::System,
    };
    let content = vec![Part::Text(turn.text)];
    ChatMessage { speaker, content, tool_calls: Vec::new(), tool_call_id: None, name: None }
}

async fn said(
    chat: &Chat,
    tenant: &TenantId,
    message: &AskedMessage,
    violations: &mut Vec<Violation>,
) -> Result<ChatMessage, Error> {
    let mut content = Vec::with_capacity(message.content.len());
    for part in &message.content {
        match part {
            AskedPart::Text(text) => content.push(Part::Text(text.clone())),
            AskedPart::Image { source, field, detail } => match picture(chat, tenant, source).await? {
                Ok(file) => content.push(Part::Image { file, detail: detail.clone() }),
                Err(wrong) => violations.push(Violation { field: field.clone(), ..wrong }),
            },
        }
    }
    Ok(ChatMessage {
        speaker: message.speaker,
        content,
        tool_calls: message.tool_calls.clone(),
        tool_call_id: message.tool_call_id.clone(),
        name: message.name.clone(),
    })
}

/// A picture, or what is wrong with it; in which field the caller knows.
async fn picture(chat: &Chat, tenant: &TenantId, source: &AskedSource) -> Result<Result<InputFile, Violation>, Error> {
    let wrong = |why: String| Violation::new("", why);
    match source {
        AskedSource::Url(url) => Ok(Ok(InputFile::Url(url.clone()))),
        AskedSource::Bytes(data) => {
            let found = infer::get(data).filter(|found| found.matcher_type() == infer::MatcherType::Image);
            let file =
                found.map(|found| InputFile::Bytes { media_type: found.mime_type().to_owned(), data: data.clone() });
            Ok(file.ok_or_else(|| wrong("is no picture that filmgate knows".to_owned())))
        }
        AskedSource::Artifact(id) => {
            let Some(artifact) = chat.engine().store().artifact(tenant, id).await? else {
                return Ok(Err(Violation::unknown("", format!("there is no {id}"))));
            };
            let media_type = artifact.facts.media_type.clone();
            if !media_type.starts_with("image/") {
                return Ok(Err(wrong(format!("{id} is {media_type}, no picture"))));
            }
            if artifact.size > MOST_BYTES {
                return Ok(Err(wrong(format!("{id} has {} bytes; a picture has at most {MOST_BYTES}", artifact.size))));
            }
            let read = async {
                let stream = chat.engine().read(&artifact, 0..artifact.size).await?;
                let gather = |mut all: BytesMut, chunk: bytes::Bytes| async move {
                    all.extend_from_slice(&chunk);
                    Ok::<_, engine::Error>(all)
                };
                stream.try_fold(BytesMut::new(), gather).await
            };
            let data = read.await.map_err(|error| Error::Storage(Box::new(error)))?;
            Ok(Ok(InputFile::Bytes { media_type, data: data.freeze() }))
        }
    }
}
