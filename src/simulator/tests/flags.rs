use std::{net::Ipv4Addr, time::Duration};

use clap::{Args as _, Command, FromArgMatches as _};

use crate::simulator::{SimulateArgs, bind};

fn command() -> Command {
    SimulateArgs::augment_args(Command::new("simulate"))
}

#[test]
fn flags_are_read_and_help_has_the_grammar() {
    let flags = ["simulate", "--listen", "127.0.0.1:0", "--latency", "250ms", "--fault", "get:drop"];
    let args = SimulateArgs::from_arg_matches(&command().get_matches_from(flags)).unwrap();
    assert_eq!(args.listen.port(), 0);
    assert_eq!(args.latency, Some(Duration::from_millis(250)));
    assert_eq!(args.faults, ["get:drop".parse().unwrap()]);
    assert!(command().render_help().to_string().contains("OPERATION:WHEN:WHAT"));
}

#[test]
fn a_bad_rule_is_refused_on_the_command_line_with_its_reason() {
    let error = command().try_get_matches_from(["simulate", "--fault", "get:dorp"]).unwrap_err();
    assert!(error.to_string().contains("dorp"), "{error}");
}

#[test]
fn a_taken_address_is_an_error() {
    let args = SimulateArgs { listen: (Ipv4Addr::LOCALHOST, 0).into(), ..SimulateArgs::default() };
    let bound = bind(args.clone()).unwrap();
    assert!(bind(SimulateArgs { listen: bound.addr(), ..args }).is_err());
}
