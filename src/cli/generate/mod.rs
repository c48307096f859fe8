//! `filmgate generate`, `image`, `speech` and `music`: orders something, shows it coming, and saves it. And `filmgate estimate`: what that would cost.

mod estimate;
mod input;
mod options;
mod order;
mod value;

use std::path::PathBuf;

use serde_json::Value;

use self::options::Flags;
pub(super) use self::{
    estimate::Estimate,
    options::{ImageFlags, MusicFlags, SpeechFlags, VideoFlags},
};
use super::{
    ClientCommand, Context,
    download::{fetch, saved, saved_json},
    exit::Exit,
    failure::Failure,
    follow::{Start, Until, follow},
    outcome,
    save::{self, Destination},
    terminal::Format,
};
use crate::pb::v1::{Generation, State};

/// Arguments of `filmgate generate` and its kin.
#[derive(Debug, clap::Args)]
#[command(after_help = Exit::help())]
pub(super) struct Generate<F: Flags> {
    /// What to show, speak or play.
    #[arg(value_name = "PROMPT", required_unless_present = "inputs")]
    prompt: Option<String>,
    /// File to write, replacing it; or an existing folder. Without it: a new file in the current folder, named by the prompt.
    ///
    /// Several outputs are numbered: FILE, FILE-2, …. A name that is not given with -o never replaces a file.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    order: order::OrderArgs<F>,
}

impl<F: Flags> ClientCommand for Generate<F> {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let prompt = self.prompt.unwrap_or_default();
        // A folder that does not exist is found out before anything is paid.
        let destination = Destination::new(self.output.as_deref(), &save::slug(&prompt))?;
        let inputs = input::resolve(&self.order.inputs, &context.connection).await?;
        let order = self.order.request(prompt, inputs)?;
        let generation = follow(context, Start::Order(Box::new(order)), Until::EndOrUnresolved).await?;
        let exit = outcome::tell(context.terminal, &generation)?;
        if generation.state() == State::Succeeded {
            save_outputs(context, &generation, &destination).await?;
        }
        Ok(exit)
    }
}

/// Downloads every output. Programs read where it is on stderr, because stdout carries snapshots alone.
async fn save_outputs(
    context: &mut Context<'_>,
    generation: &Generation,
    destination: &Destination,
) -> Result<(), Failure> {
    for (index, artifact) in generation.artifacts.iter().enumerate() {
        let place = destination.place(index, &artifact.media_type)?;
        let path = fetch(context, artifact, place).await.map_err(|failure| {
            failure.with_next_step(format!("the output is safe on the server: filmgate download {}", artifact.name))
        })?;
        match context.terminal.format {
            Format::Text => context.terminal.line(&format!("saved {}", saved(&path, artifact)))?,
            Format::Json => {
                let value: Value = saved_json(&path, artifact)?;
                context.terminal.json_notice(&value);
            }
        }
    }
    Ok(())
}
