//! `filmgate link`: an address under which anybody can download an artifact for a while.

use std::time::Duration;

use super::{
    ClientCommand, Context, connect::call, exit::Exit, failure::Failure, json, names::Collection, terminal::Format,
    text,
};
use crate::pb::v1::CreateArtifactLinkRequest;

/// Arguments of `filmgate link`. An artifact in a folder is served by the server, which must run when the link is used.
#[derive(Debug, clap::Args)]
pub(super) struct Link {
    /// The artifact: its name, or the bare id.
    #[arg(value_name = "ARTIFACT")]
    artifact: String,
    /// How long it works, from 1s to 7d. Default: 1h.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// Name under which browsers save the file. Default: they show it.
    #[arg(long, value_name = "NAME")]
    file_name: Option<String>,
}

impl ClientCommand for Link {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let ttl = self.ttl.map(prost_types::Duration::try_from).transpose();
        let request = CreateArtifactLinkRequest {
            name: Collection::Artifacts.name(&self.artifact)?,
            ttl: ttl.map_err(|_| Failure::usage("--ttl is too long; at most 7d"))?,
            file_name: self.file_name.unwrap_or_default(),
        };
        let link = context.connection.artifacts().create_artifact_link(call(request)).await?.into_inner();
        match context.terminal.format {
            Format::Json => context.terminal.json_line(&json::of(&link)?)?,
            // The address alone on stdout, for pipes.
            Format::Text => {
                context.terminal.line(&link.url)?;
                context.terminal.notice(&format!("it works until {}", text::time(link.expire_time.as_ref())));
            }
        }
        Ok(Exit::Ok)
    }
}
