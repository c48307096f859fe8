//! `filmgate watch`: goes on watching a generation from anywhere.

use super::{
    ClientCommand, Context,
    exit::Exit,
    failure::Failure,
    follow::{Start, Until, follow},
    names::Collection,
    outcome,
    terminal::Format,
};
use crate::pb::v1::State;

/// Arguments of `filmgate watch`.
#[derive(Debug, clap::Args)]
#[command(after_help = Exit::help())]
pub(super) struct Watch {
    /// The generation.
    #[arg(value_name = "NAME")]
    name: String,
    /// Go on watching when it is unresolved, until the provider's word or the server gives it up.
    #[arg(long)]
    until_end: bool,
}

impl ClientCommand for Watch {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let until = if self.until_end { Until::End } else { Until::EndOrUnresolved };
        let name = Collection::Generations.name(&self.name)?;
        let generation = follow(context, Start::Name(name), until).await?;
        let exit = outcome::tell(context.terminal, &generation)?;
        let has_files = generation.state() == State::Succeeded && generation.expire_time.is_none();
        if has_files && context.terminal.format == Format::Text {
            context.terminal.line(&format!("  fetch it: filmgate download {}", generation.name))?;
        }
        Ok(exit)
    }
}
