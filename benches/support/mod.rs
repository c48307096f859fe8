//! What the benchmarks share: processes to measure, a load generator, and the form of a report.
//!
//! The number that counts in a report is a ratio to a peer that ran beside it, never a figure of one machine. A benchmark fails only when it
//! could not measure; a missed bar is a line in its report.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports on standard output")]
#![allow(dead_code, clippy::allow_attributes, reason = "every benchmark uses its own part of this")]

pub(crate) mod database;
pub(crate) mod durable;
pub(crate) mod gateways;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod simulator;
pub(crate) mod upstream;

use std::fmt::Display;

use tikv_jemallocator::Jemalloc;

/// Peers and load run with the allocator that the server has.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// The core of callers, and of what they are answered with behind a server.
pub(crate) const CALLERS: usize = 0;
/// The core of the one server under measurement.
pub(crate) const SERVER: usize = 1;

/// A report: a title, rows of figures under headings, and verdicts.
#[derive(Debug)]
pub(crate) struct Report {
    headings: Vec<&'static str>,
}

impl Report {
    /// Prints the title and the headings; the first heading is that of the rows' names.
    pub(crate) fn new(title: impl Display, headings: &[&'static str]) -> Self {
        println!("{title}");
        let report = Self { headings: headings.to_vec() };
        report.line(headings);
        report
    }

    /// Prints one row, a figure a heading.
    pub(crate) fn row(&self, cells: &[String]) {
        debug_assert_eq!(cells.len(), self.headings.len());
        self.line(cells);
    }

    /// Prints what was found against what was promised: `what: found (bar …: reached)`.
    pub(crate) fn verdict(&self, what: impl Display, found: f64, unit: &str, bar: Bar) {
        let (sign, limit, reached) = match bar {
            Bar::AtLeast(limit) => ("≥", limit, found >= limit),
            Bar::AtMost(limit) => ("≤", limit, found <= limit),
        };
        println!("  → {what}: {found:.2}{unit} (bar {sign} {limit}: {})", if reached { "reached" } else { "MISSED" });
    }

    /// Prints a figure without a bar.
    pub(crate) fn note(&self, text: impl Display) {
        println!("  → {text}");
    }

    fn line(&self, cells: &[impl AsRef<str>]) {
        let mut text = String::from("  ");
        for (index, cell) in cells.iter().enumerate() {
            let cell = cell.as_ref();
            // Names to the left, figures to the right.
            text.push_str(&if index == 0 { format!("{cell:<38}") } else { format!("{cell:>14}") });
        }
        println!("{}", text.trim_end());
    }
}

/// What is promised.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    /// No less than this.
    AtLeast(f64),
    /// No more than this.
    AtMost(f64),
}

/// The number after cargo's own `--bench`, or this.
pub(crate) fn argument(index: usize, default: u64) -> u64 {
    std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).nth(index).unwrap_or(default)
}

/// The one in the middle; 0 of none.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Mebibytes in words.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// Milliseconds in words.
pub(crate) fn ms(time: std::time::Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}
