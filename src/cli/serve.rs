//! `filmgate serve` and `filmgate simulate`: run until a signal.

use super::{
    Interrupt,
    exit::Exit,
    failure::Failure,
    host::{self, StartTelemetry},
    terminal::Terminal,
};
use crate::{
    config::Settings,
    simulator::{self, SimulateArgs},
};

/// Arguments of `filmgate serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: Settings,
}

/// Serves until a signal. Where it listens is logged by the server itself.
pub(super) async fn serve(serve: Serve, start_telemetry: StartTelemetry) -> Result<Exit, Failure> {
    let mut signals = host::signals()?;
    match host::serve(serve.settings, start_telemetry, &mut signals).await? {
        Some(host) => Ok(host.run(signals).await),
        None => Ok(Exit::Ok),
    }
}

/// Serves the vendors' contracts until a signal.
pub(super) async fn simulate(
    args: SimulateArgs,
    terminal: &mut Terminal,
    interrupt: Interrupt,
) -> Result<Exit, Failure> {
    let fail = |error: &dyn std::fmt::Display| Failure::new(Exit::Internal, format!("the simulator ended: {error}"));
    let bound = simulator::bind(args).map_err(|error| fail(&error))?;
    terminal.notice(&format!("simulating providers on http://{}", bound.addr()));
    bound.serve(interrupt).await.map_err(|error| fail(&error))?;
    Ok(Exit::Ok)
}
