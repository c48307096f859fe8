//! The live view of a generation: a bar for a person, a line a change for a log, a snapshot a line for a program.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use super::{
    failure::Failure,
    json,
    terminal::{Audience, Format, Terminal, clean},
    text,
};
use crate::pb::v1::{Generation, State};

/// How often the bar moves while nothing is heard.
const TICK: Duration = Duration::from_millis(120);

/// Shows snapshots as they come.
#[derive(Debug)]
pub(super) enum Progress {
    /// Every snapshot that differs from the last, on stdout.
    Json {
        /// The last one shown.
        last: Option<Box<Generation>>,
    },
    /// A line on stderr whenever it would say something new.
    Lines {
        /// The last one shown.
        last: String,
    },
    /// A bar on stderr; gone when the view is dropped.
    Bar(ProgressBar),
}

impl Progress {
    /// The view that fits `terminal`.
    pub(super) fn new(terminal: &Terminal) -> Self {
        match (terminal.format, terminal.audience) {
            (Format::Json, _) => Self::Json { last: None },
            (Format::Text, Audience::Log) => Self::Lines { last: String::new() },
            (Format::Text, Audience::Person) => {
                let bar = ProgressBar::new(100).with_style(waiting()).with_finish(ProgressFinish::AndClear);
                bar.enable_steady_tick(TICK);
                Self::Bar(bar)
            }
        }
    }

    /// Shows `generation` as it is at `now`.
    pub(super) fn show(
        &mut self,
        terminal: &mut Terminal,
        generation: &Generation,
        now: jiff::Timestamp,
    ) -> Result<(), Failure> {
        match self {
            Self::Json { last } => {
                if last.as_deref() != Some(generation) {
                    terminal.json_line(&json::of(generation)?)?;
                    *last = Some(Box::new(generation.clone()));
                }
            }
            Self::Lines { last } => {
                // An expected end that moves with the clock is not a change worth a line in a log.
                let line = words(generation, None);
                if *last != line {
                    terminal.notice(&line);
                    *last = line;
                }
            }
            Self::Bar(bar) => {
                match generation.progress_percent {
                    Some(percent) => {
                        bar.set_style(measured());
                        bar.set_position(percent.min(100).into());
                    }
                    None => bar.set_style(waiting()),
                }
                bar.set_message(clean(&words(generation, Some(now))));
            }
        }
        Ok(())
    }

    /// Tells something on stderr without damaging the bar.
    pub(super) fn notice(&self, terminal: &mut Terminal, text: &str) {
        match self {
            Self::Json { .. } | Self::Lines { .. } => terminal.notice(text),
            Self::Bar(bar) => bar.suspend(|| terminal.notice(text)),
        }
    }
}

/// The state of `generation` on one line; with the time left if `now` is given.
fn words(generation: &Generation, now: Option<jiff::Timestamp>) -> String {
    let state = state_word(generation.state());
    let mut words = vec![state.clone()];
    if let Some(percent) = generation.progress_percent {
        words.push(format!("{percent} %"));
    }
    if let Some(position) = generation.queue_position {
        words.push(format!("number {position} in the queue"));
    }
    if !generation.phase.is_empty() && generation.phase.to_lowercase() != state {
        words.push(text::short(&generation.phase, 60));
    }
    if !generation.model.is_empty() {
        words.push(generation.model.clone());
    }
    if let (Some(now), Some(eta)) = (now, &generation.eta) {
        let left = eta.seconds - now.as_second();
        if let Ok(left) = u64::try_from(left) {
            words.push(format!("about {} left", text::span(Duration::from_secs(left))));
        }
    }
    words.join(", ")
}

/// `running`, `unresolved`, …
pub(super) fn state_word(state: State) -> String {
    text::word(state.as_str_name(), "STATE_")
}

fn waiting() -> ProgressStyle {
    style("{spinner} {elapsed} {wide_msg}")
}

fn measured() -> ProgressStyle {
    style("{spinner} {elapsed} [{bar:30}] {wide_msg}")
}

/// A wrong template costs the bar its looks, never the command.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_state_progress_queue_phase_model_and_time_left() {
        let generation = Generation {
            state: State::Running.into(),
            phase: "rendering frames".to_owned(),
            progress_percent: Some(42),
            queue_position: Some(3),
            model: "replicate/x".to_owned(),
            eta: Some(prost_types::Timestamp { seconds: 95, nanos: 0 }),
            ..Generation::default()
        };
        let now = jiff::Timestamp::from_second(30).unwrap();
        assert_eq!(
            words(&generation, Some(now)),
            "running, 42 %, number 3 in the queue, rendering frames, replicate/x, about 1 min 5 s left"
        );
        assert_eq!(words(&generation, None), "running, 42 %, number 3 in the queue, rendering frames, replicate/x");
    }

    #[test]
    fn an_expected_end_in_the_past_and_a_phase_that_repeats_the_state_are_left_out() {
        let generation = Generation {
            state: State::Queued.into(),
            phase: "Queued".to_owned(),
            eta: Some(prost_types::Timestamp { seconds: 10, nanos: 0 }),
            ..Generation::default()
        };
        assert_eq!(words(&generation, jiff::Timestamp::from_second(30).ok()), "queued");
    }

    #[test]
    fn the_templates_of_the_bar_are_valid() {
        for template in ["{spinner} {elapsed} {wide_msg}", "{spinner} {elapsed} [{bar:30}] {wide_msg}"] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
