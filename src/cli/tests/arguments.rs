//! What clap does with the whole command line.

use clap::CommandFactory as _;

use super::{PATIENT, Press, filmgate};
use crate::cli::{Cli, Exit};

#[test]
fn the_definition_of_the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_of_the_contract_exists() {
    let commands: Vec<String> = Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let expected = [
        "serve",
        "generate",
        "image",
        "speech",
        "music",
        "chat",
        "estimate",
        "watch",
        "get",
        "list",
        "cancel",
        "resolve",
        "delete",
        "redeliver",
        "events",
        "download",
        "link",
        "upload",
        "sessions",
        "history",
        "models",
        "routes",
        "providers",
        "usage",
        "ledger",
        "check",
        "simulate",
    ];
    assert_eq!(commands, expected);
}

#[tokio::test]
async fn help_goes_to_stdout_and_documents_the_exit_codes() {
    let ended = filmgate(&["--help"], PATIENT, Press::Never).await;
    assert_eq!((ended.exit, ended.err.as_str()), (Exit::Ok, ""));
    assert!(ended.out.contains("Exit codes:") && ended.out.contains("130  interrupted"), "{}", ended.out);
}

#[tokio::test]
async fn mistakes_go_to_stderr_also_as_json() {
    let ended = filmgate(&["generate"], PATIENT, Press::Never).await;
    assert_eq!((ended.exit, ended.out.as_str()), (Exit::Usage, ""));
    assert!(ended.err.starts_with("error: the following required arguments"), "{}", ended.err);
    let ended = filmgate(&["generate", "--json"], PATIENT, Press::Never).await;
    assert_eq!(ended.json_err()[0]["error"]["exitCode"], 2);
}
