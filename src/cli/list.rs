//! `filmgate list`: generations, newest first.

use super::{
    ClientCommand, Context, connect::call, exit::Exit, failure::Failure, kind::KindArg, names::Collection, outcome,
    pages::collect, progress::state_word, text,
};
use crate::pb::v1::{self, Generation, ListGenerationsRequest, State, generation::Spec};

/// Arguments of `filmgate list`.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only this state; repeatable.
    #[arg(long = "state", value_name = "STATE", value_parser = parse_state)]
    states: Vec<State>,
    /// Only this session's.
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// Only this kind.
    #[arg(long)]
    kind: Option<KindArg>,
    /// Most rows shown.
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    limit: usize,
}

impl ClientCommand for List {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let session = self.session.map(|session| Collection::Sessions.name(&session)).transpose()?;
        let connection = &context.connection;
        let rows = collect(self.limit, async |page| {
            let request = ListGenerationsRequest {
                page_size: page.size,
                page_token: page.token,
                states: self.states.iter().map(|state| (*state).into()).collect(),
                session: session.clone().unwrap_or_default(),
                kind: self.kind.map_or(v1::Kind::Unspecified, v1::Kind::from).into(),
            };
            let response = connection.generations().list_generations(call(request)).await?.into_inner();
            Ok((response.generations, response.next_page_token))
        });
        let heading = ["NAME", "STATE", "CREATED", "MODEL", "COST", "PROMPT"];
        context.terminal.rows(&rows.await?, heading, cells)?;
        Ok(Exit::Ok)
    }
}

fn cells(generation: &Generation) -> [String; 6] {
    let prompt = match &generation.spec {
        Some(Spec::Video(video)) => text::short(&video.prompt, 40),
        Some(Spec::Image(image)) => text::short(&image.prompt, 40),
        Some(Spec::Speech(speech)) => text::short(&speech.prompt, 40),
        Some(Spec::Music(music)) => text::short(&music.prompt, 40),
        None => String::new(),
    };
    let sample = if generation.sample { " (sample)" } else { "" };
    [
        generation.name.clone(),
        state_word(generation.state()) + sample,
        text::time(generation.create_time.as_ref()),
        generation.model.clone(),
        outcome::cost(generation),
        prompt,
    ]
}

/// `running`, `unresolved`, …: the contract's states without their prefix.
fn parse_state(text: &str) -> Result<State, String> {
    let name = format!("STATE_{}", text.to_uppercase());
    State::from_str_name(&name).filter(|state| *state != State::Unspecified).ok_or_else(|| {
        "expected queued, running, storing, cancelling, unresolved, succeeded, failed or cancelled".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_can_be_asked_for_by_its_word() {
        let states = (1..=8).map(|number| State::try_from(number).unwrap());
        for state in states {
            assert_eq!(parse_state(&state_word(state)), Ok(state));
        }
        assert!(State::try_from(9).is_err(), "a new state needs a word in the message");
        assert!(parse_state("unspecified").is_err() && parse_state("done").is_err());
    }
}
