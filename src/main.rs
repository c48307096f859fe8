//! The `filmgate` binary: hands over to the command line and ends with its exit code.

use std::{process::ExitCode, time::Duration};

use filmgate::{
    cli::{self, Exit, Flush, Patience, Purpose, Surroundings, Terminal},
    config::{self, Config},
    telemetry,
};

/// Measured against the system's allocator: less memory a stream, and it gives memory back.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Longest wait for what still runs when a command has ended, such as a read from a slow disk.
const LAST_WAIT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let mut terminal = Terminal::of_process();
    // While there is one thread: the environment is not safe to change later.
    if let Err(problem) = config::load_dotenv() {
        return cli::refuse(&mut terminal, problem).into();
    }
    #[cfg(feature = "failpoints")]
    if let Err(problem) = arm_failpoints() {
        return cli::refuse(&mut terminal, problem).into();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return Exit::Internal.into(),
    };
    let exit = runtime.block_on(async {
        let interrupt = cli::signals();
        let patience = Patience::default();
        let surroundings = Surroundings { terminal: &mut terminal, interrupt, start_telemetry, patience };
        cli::run(std::env::args_os(), surroundings).await
    });
    runtime.shutdown_timeout(LAST_WAIT);
    exit.into()
}

fn start_telemetry(config: &Config, purpose: Purpose) -> anyhow::Result<Flush> {
    let mut config = config.telemetry.clone();
    // A single command shows progress on stderr: the news that a server logs by default would only be noise in between.
    if purpose == Purpose::Command && config.log == "info" {
        "warn".clone_into(&mut config.log);
    }
    let guard = telemetry::init(&config)?;
    Ok(Box::pin(async move {
        // Nothing can be done about what was not sent in time.
        let _ = guard.flush(LAST_WAIT).await;
    }))
}

/// Arms what `FILMGATE_FAILPOINTS` names.
#[cfg(feature = "failpoints")]
fn arm_failpoints() -> Result<(), config::Problem> {
    use filmgate::failpoint::{VARIABLE, arm};

    #[expect(clippy::disallowed_methods, reason = "no setting: a release does not know it")]
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(()) };
    arm(&text).map_err(|message| config::Problem {
        setting: VARIABLE.to_owned(),
        message,
        fix: "give it as NAME[:NTH], several with commas between them, or unset it".to_owned(),
    })
}
