//! Single calls about one generation: `get`, `cancel`, `resolve`, `delete`, `events`.

use super::{
    ClientCommand, Context, callbacks,
    connect::call,
    exit::Exit,
    failure::Failure,
    json,
    names::Collection,
    outcome,
    pages::collect,
    progress::state_word,
    terminal::{Format, Terminal},
    text,
};
use crate::pb::v1::{
    Artifact, AttemptOutcome, Callback, CancelGenerationRequest, DeleteGenerationRequest, Generation,
    GetGenerationRequest, GetGenerationResponse, ListGenerationEventsRequest, Resolution, ResolveGenerationRequest,
    generation::Spec,
};

/// Most events shown; a generation has a few dozen.
const MOST_EVENTS: usize = 10_000;

/// Arguments of `filmgate get`.
#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// The generation.
    #[arg(value_name = "NAME")]
    name: String,
}

/// Arguments of `filmgate cancel`.
#[derive(Debug, clap::Args)]
pub(super) struct Cancel {
    /// The generation.
    #[arg(value_name = "NAME")]
    name: String,
}

/// Arguments of `filmgate resolve`.
#[derive(Debug, clap::Args)]
pub(super) struct Resolve {
    /// The generation; it must be unresolved.
    #[arg(value_name = "NAME")]
    name: String,
    /// `failed` ends it, charged unknown. `resubmit` sends it again, accepting that the provider may be paid twice.
    #[arg(long = "as", value_name = "DECISION")]
    decision: Decision,
}

/// Arguments of `filmgate delete`.
#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    /// The generation; it must have ended.
    #[arg(value_name = "NAME")]
    name: String,
}

/// Arguments of `filmgate events`.
#[derive(Debug, clap::Args)]
pub(super) struct Events {
    /// The generation.
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Decision {
    Failed,
    Resubmit,
}

impl ClientCommand for Get {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let request = GetGenerationRequest { name: Collection::Generations.name(&self.name)? };
        let response = context.connection.generations().get_generation(call(request)).await?;
        let GetGenerationResponse { generation, callback } = response.into_inner();
        let generation = present(generation)?;
        match context.terminal.format {
            Format::Json => {
                let mut shown = json::of(&generation)?;
                if let Some(callback) = &callback {
                    shown["callback"] = json::of(callback)?;
                }
                context.terminal.json_line(&shown)?;
            }
            Format::Text => context.terminal.line(&details(&generation, callback.as_ref()))?,
        }
        Ok(Exit::Ok)
    }
}

impl ClientCommand for Cancel {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let request = CancelGenerationRequest { name: Collection::Generations.name(&self.name)? };
        let response = context.connection.generations().cancel_generation(call(request)).await?;
        tell_state(context.terminal, &present(response.into_inner().generation)?)
    }
}

impl ClientCommand for Resolve {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let resolution = match self.decision {
            Decision::Failed => Resolution::Failed,
            Decision::Resubmit => Resolution::Resubmit,
        };
        let name = Collection::Generations.name(&self.name)?;
        let request = ResolveGenerationRequest { name, resolution: resolution.into() };
        let response = context.connection.generations().resolve_generation(call(request)).await?;
        tell_state(context.terminal, &present(response.into_inner().generation)?)
    }
}

impl ClientCommand for Delete {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let name = Collection::Generations.name(&self.name)?;
        let request = DeleteGenerationRequest { name: name.clone() };
        context.connection.generations().delete_generation(call(request)).await?;
        if context.terminal.format == Format::Text {
            context.terminal.line(&format!("{name} deleted"))?;
        }
        Ok(Exit::Ok)
    }
}

impl ClientCommand for Events {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let name = Collection::Generations.name(&self.name)?;
        let connection = &context.connection;
        let events = collect(MOST_EVENTS, async |page| {
            let request =
                ListGenerationEventsRequest { name: name.clone(), page_size: page.size, page_token: page.token };
            let response = connection.generations().list_generation_events(call(request)).await?.into_inner();
            Ok((response.events, response.next_page_token))
        });
        context.terminal.rows(&events.await?, ["#", "TIME", "EVENT", "STATE", "MESSAGE"], |event| {
            let time = text::time(event.create_time.as_ref());
            [event.number.to_string(), time, event.r#type.clone(), state_word(event.state()), event.message.clone()]
        })?;
        Ok(Exit::Ok)
    }
}

/// The generation of an answer; every such answer has one.
fn present(generation: Option<Generation>) -> Result<Generation, Failure> {
    generation.ok_or_else(|| Failure::new(Exit::Internal, "the server answered without a generation"))
}

/// One line about where it is now.
fn tell_state(terminal: &mut Terminal, generation: &Generation) -> Result<Exit, Failure> {
    match terminal.format {
        Format::Json => terminal.json_line(&json::of(generation)?)?,
        Format::Text => terminal.line(&format!("{} {}", generation.name, state_word(generation.state())))?,
    }
    Ok(Exit::Ok)
}

/// Everything about a generation that a person asks for.
fn details(generation: &Generation, callback: Option<&Callback>) -> String {
    let prompt = match &generation.spec {
        Some(Spec::Video(video)) => text::short(&video.prompt, 200),
        Some(Spec::Image(image)) => text::short(&image.prompt, 200),
        Some(Spec::Speech(speech)) => text::short(&speech.prompt, 200),
        Some(Spec::Music(music)) => text::short(&music.prompt, 200),
        None => String::new(),
    };
    let labels: Vec<String> = generation.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let sample = if generation.sample { "yes: a stand-in, not generated for this prompt" } else { "" };
    let mut facts = vec![
        ("name", generation.name.clone()),
        ("state", state_word(generation.state())),
        ("phase", generation.phase.clone()),
        ("progress", generation.progress_percent.map(|percent| format!("{percent} %")).unwrap_or_default()),
        ("sample", sample.to_owned()),
        ("session", generation.session.clone()),
        ("prompt", prompt),
        ("model", generation.model.clone()),
        ("cost", outcome::cost(generation)),
        ("created", text::time(generation.create_time.as_ref())),
        ("ended", text::time(generation.end_time.as_ref())),
        ("expired", text::time(generation.expire_time.as_ref())),
        ("took", text::duration(generation.generation_time.as_ref())),
        ("labels", labels.join(", ")),
        ("request id", generation.request_id.clone()),
    ];
    for attempt in &generation.attempts {
        let outcome = text::word(AttemptOutcome::as_str_name(&attempt.outcome()), "ATTEMPT_OUTCOME_");
        let charged = outcome::charged_word(attempt.charged());
        let parts = [
            attempt.model.as_str(),
            &outcome,
            &format!("charged {charged}"),
            &attempt.provider_job_id,
            &attempt.message,
        ];
        facts.push(("attempt", parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")));
    }
    for change in &generation.adjustments {
        facts.push(("adjusted", format!("{}: {} -> {} ({})", change.field, change.asked, change.used, change.why)));
    }
    facts.extend(generation.artifacts.iter().map(|artifact| ("artifact", artifact_line(artifact))));
    if let Some(failure) = &generation.failure {
        facts.push(("failure", format!("{} ({})", failure.message, outcome::reason_word(failure.reason()))));
        facts.push(("charged", outcome::charged_word(failure.charged()).to_owned()));
        facts.push(("what to do", failure.next_step.clone()));
    }
    if let Some(unresolved) = &generation.unresolved {
        let reason = outcome::reason_word(unresolved.reason());
        facts.push(("unresolved", format!("{} ({reason})", unresolved.message)));
        facts.push(("given up", text::time(unresolved.give_up_time.as_ref())));
    }
    facts.extend(callback.map(|callback| ("callback", callbacks::told(callback))));
    text::facts(&facts)
}

fn artifact_line(artifact: &Artifact) -> String {
    format!("{} ({}, {})", artifact.name, artifact.media_type, text::bytes(artifact.size_bytes))
}
