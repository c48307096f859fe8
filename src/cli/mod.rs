//! The command line. It talks gRPC only, through the generated client: to a server named by `--server`, to the one that owns the data
//! folder, or to one that it starts for the command. Only `host.rs` knows the server's own parts.
//!
//! A command is a type of arguments with `ClientCommand::run`. It writes results to stdout and everything else to stderr, through
//! `Terminal`; it returns how to exit, and never ends the process itself.

mod callbacks;
mod chat;
mod check;
mod connect;
mod download;
mod exit;
mod failure;
mod follow;
mod generate;
mod generations;
mod host;
mod json;
mod kind;
mod link;
mod list;
mod models;
mod names;
mod outcome;
mod pages;
mod progress;
mod remedy;
mod save;
mod serve;
mod sessions;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod upload;
mod usage;
mod watch;

use std::ffi::OsString;

use clap::{Parser, Subcommand, error::ErrorKind};
use futures_util::future::{BoxFuture, FutureExt as _, Shared};

use self::{
    connect::{Connection, Tenant},
    failure::Failure,
    host::LocalSettings,
};
pub use self::{
    exit::Exit,
    follow::Patience,
    host::{Flush, Purpose, StartTelemetry},
    terminal::{Audience, Format, Terminal},
};
use crate::{config::Problem, simulator::SimulateArgs};

/// Where `--help` shows the flags of every command.
const GLOBAL: &str = "Global options";

/// One gRPC service in front of every generator of video, images, speech and music.
///
/// Without --server a command uses the server that owns the data folder; if none is running, it starts one for itself.
#[derive(Debug, Parser)]
#[command(name = "filmgate", version, after_help = Exit::help(), max_term_width = 120)]
struct Cli {
    /// Server to use: HOST:PORT, or a URL with http or https.
    #[arg(long, global = true, help_heading = GLOBAL, env = "FILMGATE_SERVER", value_name = "ADDR", hide_env_values = true)]
    server: Option<String>,
    /// Write JSON for programs: results one object a line on stdout, notices and errors as objects on stderr.
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
    /// Whose data it is about.
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "TENANT")]
    tenant: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(Box<serve::Serve>),
    /// Generate a video, watch it and save it.
    Generate(Box<Client<generate::Generate<generate::VideoFlags>>>),
    /// Make images and save them.
    Image(Box<Client<generate::Generate<generate::ImageFlags>>>),
    /// Have a text spoken and save it.
    Speech(Box<Client<generate::Generate<generate::SpeechFlags>>>),
    /// Make music and save it.
    Music(Box<Client<generate::Generate<generate::MusicFlags>>>),
    /// Talk with a language model.
    Chat(Client<chat::Chat>),
    /// Tell what an order would cost, without ordering.
    Estimate(Box<Client<generate::Estimate>>),
    /// Go on watching a generation.
    Watch(Client<watch::Watch>),
    /// Show a generation.
    Get(Client<generations::Get>),
    /// List generations, newest first.
    List(Client<list::List>),
    /// Ask for the end of a generation.
    Cancel(Client<generations::Cancel>),
    /// Decide about an unresolved generation.
    Resolve(Client<generations::Resolve>),
    /// Delete an ended generation with its artifacts.
    Delete(Client<generations::Delete>),
    /// Send the callback of an ended generation again.
    Redeliver(Client<callbacks::Redeliver>),
    /// Show the history of a generation.
    Events(Client<generations::Events>),
    /// Download an artifact, or all artifacts of a generation.
    Download(Client<download::Download>),
    /// Make a link under which anybody can download an artifact for a while.
    Link(Client<link::Link>),
    /// Store a file to be used as an input.
    Upload(Client<upload::Upload>),
    /// List sessions, newest first.
    Sessions(Client<sessions::Sessions>),
    /// Show the messages of a session.
    History(Client<sessions::History>),
    /// List the models that can be ordered.
    Models(Client<models::Models>),
    /// List the routes: names that stand for several models.
    Routes(Client<models::Routes>),
    /// List the providers with their state.
    Providers(Client<models::Providers>),
    /// Show what was spent, by whatever generations have in common, and how the budgets stand.
    Usage(Client<usage::Usage>),
    /// List the movements of money, newest first.
    Ledger(Client<usage::Ledger>),
    /// Name every problem of settings and machine with its fix; asks no provider anything.
    Check(Box<check::Check>),
    /// Serve the providers' contracts without the providers, for tests and trials.
    Simulate(Box<SimulateArgs>),
}

/// Arguments of a command that talks to a server.
#[derive(Debug, clap::Args)]
struct Client<A: clap::Args> {
    #[command(flatten)]
    command: A,
    #[command(flatten)]
    settings: LocalSettings,
}

/// A command that talks to a server.
trait ClientCommand: clap::Args {
    /// Does it. Dropped when a signal comes, so whatever must survive that is on the server.
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure>;
}

/// Ready when the person or the system wants the command to end, and from then on.
pub type Interrupt = Shared<BoxFuture<'static, ()>>;

/// What a command runs in.
pub struct Surroundings<'a> {
    /// Where it writes.
    pub terminal: &'a mut Terminal,
    /// When it ends early.
    pub interrupt: Interrupt,
    /// How telemetry is started before a server is.
    pub start_telemetry: StartTelemetry,
    /// How long it waits for a server that has gone.
    pub patience: Patience,
}

/// What a client command works with.
struct Context<'a> {
    terminal: &'a mut Terminal,
    connection: Connection,
    patience: Patience,
    /// What goes on without this command.
    following: Following,
}

/// What goes on when the command ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Following {
    /// Nothing.
    Nothing,
    /// An order under this request id, perhaps: its answer has not come.
    Request(String),
    /// This generation.
    Generation(String),
}

impl Following {
    /// How to come back to it.
    fn hint(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Request(id) => Some(format!("the order may have been accepted: repeat it with --request-id {id}")),
            Self::Generation(name) => Some(format!("it goes on without you: filmgate watch {name}")),
        }
    }
}

/// Reads `args` (the program's name first), runs the command, and tells how to exit.
pub async fn run(args: impl IntoIterator<Item = OsString>, surroundings: Surroundings<'_>) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    // clap reads flags only as a whole, but its own errors should obey --json too.
    if args.iter().any(|arg| arg == "--json") {
        surroundings.terminal.format = Format::Json;
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return told(surroundings.terminal, &error),
    };
    let Surroundings { terminal, interrupt, start_telemetry, patience } = surroundings;
    let surroundings = Surroundings { terminal: &mut *terminal, interrupt, start_telemetry, patience };
    match dispatch(cli, surroundings).await {
        Ok(exit) => exit,
        Err(failure) => {
            terminal.failure(&failure);
            failure.exit
        }
    }
}

/// Tells a problem that was found before any command could run.
pub fn refuse(terminal: &mut Terminal, problem: Problem) -> Exit {
    let failure = Failure::settings(vec![problem]);
    terminal.failure(&failure);
    failure.exit
}

/// The interrupt of a real process: Ctrl-C, or the system's request to end.
pub fn signals() -> Interrupt {
    let signals = async {
        #[cfg(unix)]
        if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
        // Without signals a command ends when it is done.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    signals.boxed().shared()
}

async fn dispatch(cli: Cli, surroundings: Surroundings<'_>) -> Result<Exit, Failure> {
    let tenant = Tenant::new(cli.tenant.as_deref())?;
    let server = Server { address: cli.server.filter(|server| !server.is_empty()), tenant };
    match cli.command {
        Command::Serve(args) => Box::pin(serve::serve(*args, surroundings.start_telemetry)).await,
        Command::Simulate(args) => {
            Box::pin(serve::simulate(*args, surroundings.terminal, surroundings.interrupt)).await
        }
        Command::Check(args) => check::check(*args, server.tenant, surroundings.terminal).await,
        Command::Generate(client) => server.run(*client, surroundings).await,
        Command::Image(client) => server.run(*client, surroundings).await,
        Command::Speech(client) => server.run(*client, surroundings).await,
        Command::Music(client) => server.run(*client, surroundings).await,
        Command::Chat(client) => server.run(client, surroundings).await,
        Command::Estimate(client) => server.run(*client, surroundings).await,
        Command::Watch(client) => server.run(client, surroundings).await,
        Command::Get(client) => server.run(client, surroundings).await,
        Command::List(client) => server.run(client, surroundings).await,
        Command::Cancel(client) => server.run(client, surroundings).await,
        Command::Resolve(client) => server.run(client, surroundings).await,
        Command::Delete(client) => server.run(client, surroundings).await,
        Command::Redeliver(client) => server.run(client, surroundings).await,
        Command::Events(client) => server.run(client, surroundings).await,
        Command::Download(client) => server.run(client, surroundings).await,
        Command::Link(client) => server.run(client, surroundings).await,
        Command::Upload(client) => server.run(client, surroundings).await,
        Command::Sessions(client) => server.run(client, surroundings).await,
        Command::History(client) => server.run(client, surroundings).await,
        Command::Usage(client) => server.run(client, surroundings).await,
        Command::Ledger(client) => server.run(client, surroundings).await,
        Command::Models(client) => server.run(client, surroundings).await,
        Command::Routes(client) => server.run(client, surroundings).await,
        Command::Providers(client) => server.run(client, surroundings).await,
    }
}

/// Which server, and on whose behalf.
struct Server {
    address: Option<String>,
    tenant: Tenant,
}

impl Server {
    /// Connects, runs the command until it is done or interrupted, and ends what was started for it.
    async fn run<A: ClientCommand>(self, client: Client<A>, surroundings: Surroundings<'_>) -> Result<Exit, Failure> {
        let Surroundings { terminal, interrupt, start_telemetry, patience } = surroundings;
        let Client { command, settings } = client;
        let (connection, telemetry) = match &self.address {
            Some(address) => (Connection::to(address, self.tenant).await?, None),
            None => {
                let local = Box::pin(host::connect(settings, self.tenant, start_telemetry)).await?;
                (local.connection, Some(local.telemetry))
            }
        };
        let mut context = Context { terminal, connection, patience, following: Following::Nothing };
        let result = tokio::select! {
            biased;
            () = interrupt => None,
            result = Box::pin(command.run(&mut context)) => Some(result),
        };
        let result = result.unwrap_or_else(|| {
            context.terminal.notice("interrupted");
            if let Some(hint) = context.following.hint() {
                context.terminal.notice(&hint);
            }
            Ok(Exit::Interrupted)
        });
        // A second Ctrl-C does not wait for an orderly end: everything that matters is stored.
        tokio::select! {
            () = context.connection.close() => {}
            () = signals() => {}
        }
        if let Some(flush) = telemetry {
            flush.await;
        }
        result
    }
}

/// Tells what clap has to say: help to stdout, mistakes to stderr.
fn told(terminal: &mut Terminal, error: &clap::Error) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match terminal.line(error.render().to_string().trim_end()) {
                Ok(()) => Exit::Ok,
                Err(failure) => failure.exit,
            }
        }
        _ => {
            let text = error.render().to_string();
            terminal.failure(&Failure::usage(text.trim_start_matches("error: ").trim_end()));
            Exit::Usage
        }
    }
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("patience", &self.patience).finish_non_exhaustive()
    }
}
