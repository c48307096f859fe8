//! The body of the call, written from an order.

use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use crate::provider::{
    chat::{ChatMessage, ChatOrder, Part as Said, ResponseFormat, Speaker, Tool, ToolCall, ToolChoice},
    error::ProviderError,
    google::input::{Carried, carried},
    http::{base64, inputs::Inputs},
};

/// Fields that an order's own ones are written as.
const TYPED: [&str; 4] = ["contents", "systemInstruction", "tools", "toolConfig"];
/// The same within `generationConfig`.
const TYPED_CONFIG: [&str; 8] = [
    "temperature",
    "topP",
    "maxOutputTokens",
    "stopSequences",
    "seed",
    "responseMimeType",
    "responseJsonSchema",
    "responseSchema",
];
/// Google's own word for a call whose thoughts are not at hand, which its newer models otherwise refuse.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Why an order cannot be written.
#[derive(Debug)]
pub(super) enum Unwritable {
    /// The field at fault, and what is wrong with it.
    Field(String, String),
    /// A picture could not be fetched.
    Input(Box<ProviderError>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tools<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
    generation_config: Config<'a>,
    #[serde(flatten)]
    own: Map<String, Value>,
}

#[derive(Serialize)]
struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<Part<'a>>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_data: Option<Blob>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_data: Option<File>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_resolution: Option<Resolution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<Response<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    mime_type: String,
    data: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    file_uri: String,
}

#[derive(Serialize)]
struct Resolution {
    level: &'static str,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    name: &'a str,
    args: Box<RawValue>,
}

#[derive(Serialize)]
struct Response<'a> {
    id: &'a str,
    name: &'a str,
    response: Box<RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    function_calling_config: Calling<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Calling<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_function_names: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<&'a RawValue>,
    #[serde(flatten)]
    own: Map<String, Value>,
}

/// The body of the call that hands `order` over. Pictures that lie at an address are fetched: Google fetches none.
pub(super) async fn body(order: &ChatOrder, inputs: &Inputs) -> Result<Vec<u8>, Unwritable> {
    let (own, config) = own(order)?;
    if order.parallel_tool_calls == Some(false) {
        return Err(field("parallel_tool_calls", "cannot be kept to one call of a tool at a time; leave it out"));
    }
    let mut system = Vec::new();
    let mut contents: Vec<Content<'_>> = Vec::new();
    let mut of_tools = false;
    for (at, message) in order.messages.iter().enumerate() {
        if message.name.is_some() {
            return Err(field(&format!("messages[{at}].name"), "takes no names of those who speak; leave it out"));
        }
        let parts = parts(order, at, message, inputs).await?;
        let is_of_tool = message.speaker == Speaker::Tool;
        match (message.speaker, contents.last_mut()) {
            (Speaker::System, _) => system.extend(parts),
            // What tools answer to one message of the model belongs together.
            (Speaker::Tool, Some(last)) if of_tools => last.parts.extend(parts),
            (Speaker::Assistant, _) => contents.push(Content { role: Some("model"), parts }),
            (Speaker::User | Speaker::Tool, _) => contents.push(Content { role: Some("user"), parts }),
        }
        of_tools = is_of_tool;
    }
    let (response_mime_type, response_json_schema) = format(order.format.as_ref())?;
    let declarations: Vec<_> = order.tools.iter().map(declaration).collect();
    let body = Body {
        contents,
        system_instruction: (!system.is_empty()).then_some(Content { role: None, parts: system }),
        tools: if declarations.is_empty() { Vec::new() } else { vec![Tools { function_declarations: declarations }] },
        tool_config: tool_config(order),
        generation_config: Config {
            temperature: order.temperature,
            top_p: order.top_p,
            max_output_tokens: order.max_tokens,
            stop_sequences: &order.stop,
            seed: order.seed,
            response_mime_type,
            response_json_schema,
            own: config,
        },
        own,
    };
    serde_json::to_vec(&body).map_err(|error| field("messages", &format!("cannot be written as JSON: {error}")))
}

fn declaration(tool: &Tool) -> Declaration<'_> {
    Declaration {
        name: &tool.name,
        description: tool.description.as_deref(),
        parameters_json_schema: tool.parameters.as_deref(),
    }
}

fn field(field: &str, why: &str) -> Unwritable {
    Unwritable::Field(field.to_owned(), why.to_owned())
}

/// The vendor's own fields, and those of its `generationConfig`.
type Own = (Map<String, Value>, Map<String, Value>);

/// What `provider_options` say.
fn own(order: &ChatOrder) -> Result<Own, Unwritable> {
    let mut own = order.provider_options.clone();
    let config = match own.remove("generationConfig") {
        None => Map::new(),
        Some(Value::Object(config)) => config,
        Some(_) => return Err(field("provider_options.generationConfig", "must be an object")),
    };
    let typed = own.keys().find(|name| TYPED.contains(&name.as_str())).cloned();
    let within = config.keys().find(|name| TYPED_CONFIG.contains(&name.as_str()));
    match typed.or_else(|| within.map(|name| format!("generationConfig.{name}"))) {
        Some(name) => {
            let why = format!("has `{name}` among provider_options, which a field of the chat's own says");
            Err(field(&format!("provider_options.{name}"), &why))
        }
        None => Ok((own, config)),
    }
}

async fn parts<'a>(
    order: &'a ChatOrder,
    at: usize,
    message: &'a ChatMessage,
    inputs: &Inputs,
) -> Result<Vec<Part<'a>>, Unwritable> {
    if message.speaker == Speaker::Tool {
        return Ok(vec![answer_of_tool(order, at, message)?]);
    }
    let mut parts = Vec::with_capacity(message.content.len() + message.tool_calls.len());
    for said in &message.content {
        parts.push(match said {
            Said::Text(text) => Part { text: Some(text), ..Part::default() },
            Said::Image { file, detail } => {
                let media_resolution = match detail.as_deref() {
                    Some("low") => Some(Resolution { level: "MEDIA_RESOLUTION_LOW" }),
                    Some("high") => Some(Resolution { level: "MEDIA_RESOLUTION_HIGH" }),
                    Some(_) | None => None,
                };
                let carried = carried(inputs, file).await.map_err(|error| {
                    Unwritable::Input(Box::new(error.because_of(Some(format!("messages[{at}].content")))))
                })?;
                let (inline_data, file_data) = match carried {
                    Carried::Bytes { media_type, data } => {
                        (Some(Blob { mime_type: media_type, data: base64::encode(&data) }), None)
                    }
                    Carried::Object(file_uri) => (None, Some(File { file_uri })),
                };
                Part { inline_data, file_data, media_resolution, ..Part::default() }
            }
        });
    }
    let needs_signature = !["gemini-1", "gemini-2"].iter().any(|older| order.model.starts_with(older));
    for (nth, ToolCall { id, name, arguments }) in message.tool_calls.iter().enumerate() {
        let written = if arguments.trim().is_empty() { "{}" } else { arguments };
        let args = object(written).ok_or_else(|| {
            field(&format!("messages[{at}].tool_calls[{nth}].arguments_json"), "must be a JSON object")
        })?;
        let thought_signature = (needs_signature && nth == 0).then_some(NO_SIGNATURE);
        parts.push(Part { function_call: Some(Call { id, name, args }), thought_signature, ..Part::default() });
    }
    Ok(parts)
}

/// What a tool answered; it names the tool, which our message does not.
fn answer_of_tool<'a>(order: &'a ChatOrder, at: usize, message: &'a ChatMessage) -> Result<Part<'a>, Unwritable> {
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    let mut calls = order.messages[..at].iter().rev().flat_map(|before| &before.tool_calls);
    let call = calls.find(|call| call.id == id);
    let name = call.map(|call| call.name.as_str()).ok_or_else(|| {
        field(&format!("messages[{at}].tool_call_id"), "must name a call in an earlier message of the assistant")
    })?;
    let texts = message.content.iter().filter_map(|part| match part {
        Said::Text(text) => Some(text.as_str()),
        Said::Image { .. } => None,
    });
    let text: String = texts.collect();
    let response = object(&text).or_else(|| {
        let wrapped = serde_json::to_string(&Map::from_iter([("result".to_owned(), Value::from(text))])).ok()?;
        RawValue::from_string(wrapped).ok()
    });
    let response = response.ok_or_else(|| field(&format!("messages[{at}].content"), "cannot be written as JSON"))?;
    Ok(Part { function_response: Some(Response { id, name, response }), ..Part::default() })
}

/// `text` as it is, if it is a JSON object.
fn object(text: &str) -> Option<Box<RawValue>> {
    let raw = RawValue::from_string(text.trim().to_owned()).ok()?;
    raw.get().starts_with('{').then_some(raw)
}

fn tool_config(order: &ChatOrder) -> Option<ToolConfig<'_>> {
    let is_strict = order.tools.iter().any(|tool| tool.strict == Some(true));
    let (mode, allowed_function_names) = match order.tool_choice.as_ref() {
        None | Some(ToolChoice::Auto) if is_strict => ("VALIDATED", Vec::new()),
        None => return None,
        Some(ToolChoice::Auto) => ("AUTO", Vec::new()),
        Some(ToolChoice::None) => ("NONE", Vec::new()),
        Some(ToolChoice::Required) => ("ANY", Vec::new()),
        Some(ToolChoice::Tool(name)) => ("ANY", vec![name.as_str()]),
    };
    Some(ToolConfig { function_calling_config: Calling { mode, allowed_function_names } })
}

/// The media type and the schema of the answer.
fn format(format: Option<&ResponseFormat>) -> Result<(Option<&'static str>, Option<&RawValue>), Unwritable> {
    const JSON: Option<&str> = Some("application/json");
    match format {
        None | Some(ResponseFormat::Text) => Ok((None, None)),
        Some(ResponseFormat::JsonObject) => Ok((JSON, None)),
        Some(ResponseFormat::JsonSchema { description: Some(_), .. }) => {
            Err(field("response_format.description", "has no place for it; say it in the schema's own `description`"))
        }
        // Its answers always keep to the schema, and a schema has no name there.
        Some(ResponseFormat::JsonSchema { schema, .. }) => Ok((JSON, Some(schema))),
    }
}

/// What Google calls a field, in our words.
pub(super) fn field_at_fault(theirs: &str) -> Option<String> {
    let folded: String = theirs.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect();
    let fields = [
        ("temperature", "temperature"),
        ("topp", "top_p"),
        ("maxoutputtokens", "max_tokens"),
        ("stopsequences", "stop"),
        ("seed", "seed"),
        ("responsejsonschema", "response_format"),
        ("responsemimetype", "response_format"),
        ("toolconfig", "tool_choice"),
        ("tools", "tools"),
        ("systeminstruction", "messages"),
        ("contents", "messages"),
        ("model", "model"),
    ];
    fields.iter().find(|(known, _)| folded.contains(known)).map(|(_, ours)| (*ours).to_owned())
}
