//! Values in words, for people.

use std::time::Duration;

/// `$0.25`, `$0.000123`: at least cents, and as many digits as it takes to be exact.
pub(super) fn dollars(micro_usd: i64) -> String {
    let sign = if micro_usd < 0 { "-" } else { "" };
    let micro = micro_usd.unsigned_abs();
    let fraction = format!("{:06}", micro % 1_000_000);
    let digits = fraction.trim_end_matches('0').len().max(2);
    format!("{sign}${}.{}", micro / 1_000_000, &fraction[..digits])
}

/// `812 B`, `1.4 MB`.
pub(super) fn bytes(n_bytes: i64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    // Rounding far below what is shown.
    let n_bytes = n_bytes.max(0) as f64;
    match units.into_iter().find(|(_, size)| n_bytes >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", n_bytes / size),
        None => format!("{n_bytes} B"),
    }
}

/// `2026-11-20 10:31:07Z`; empty when absent.
pub(super) fn time(time: Option<&prost_types::Timestamp>) -> String {
    time.and_then(|time| jiff::Timestamp::from_second(time.seconds).ok())
        .map(|time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
        .unwrap_or_default()
}

/// `2.5 s`, `3 min 20 s`; empty when absent or negative.
pub(super) fn duration(duration: Option<&prost_types::Duration>) -> String {
    duration.and_then(|duration| Duration::try_from(*duration).ok()).map(span).unwrap_or_default()
}

/// `2.5 s`, `3 min 20 s`, `2 h 5 min`.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => {
            let tenths = format!("{:.1}", duration.as_secs_f64());
            format!("{} s", tenths.strip_suffix(".0").unwrap_or(&tenths))
        }
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// The value's name in the contract without its prefix, in lower case: `STATE_RUNNING` is `running`.
pub(super) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

/// At most `most` characters, with `…` for what was cut.
pub(super) fn short(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Rows below a heading, in columns.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heading.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let body = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(heading)).chain(body).collect::<Vec<_>>().join("\n")
}

/// `label  value` lines; a line with an empty value is left out.
pub(super) fn facts<L: AsRef<str>>(facts: &[(L, String)]) -> String {
    let told = facts.iter().map(|(label, value)| (label.as_ref(), value));
    let told: Vec<_> = told.filter(|(_, value)| !value.is_empty()).collect();
    let width = told.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    told.iter().map(|(label, value)| format!("{label:<width$}  {value}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_to_the_last_digit() {
        for (micro_usd, text) in
            [(0, "$0.00"), (250_000, "$0.25"), (1_500_000, "$1.50"), (123, "$0.000123"), (-10_000, "-$0.01")]
        {
            assert_eq!(dollars(micro_usd), text);
        }
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(1_400_000), "1.4 MB");
        assert_eq!(span(Duration::from_millis(2500)), "2.5 s");
        assert_eq!(span(Duration::from_secs(5)), "5 s");
        assert_eq!(span(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(span(Duration::from_secs(7500)), "2 h 5 min");
        assert_eq!(time(Some(&prost_types::Timestamp { seconds: 0, nanos: 0 })), "1970-01-01 00:00:00Z");
        assert_eq!(duration(None), "");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "bcd".to_owned()], ["long".to_owned(), String::new()]];
        assert_eq!(table(["X", "Y"], &rows), "X     Y\na     bcd\nlong");
    }

    #[test]
    fn long_text_is_cut_to_one_line() {
        assert_eq!(short("two\nlines", 20), "two lines");
        assert_eq!(short("abcdef", 4), "abc…");
    }

    #[test]
    fn facts_without_a_value_are_left_out() {
        assert_eq!(facts(&[("name", "x".to_owned()), ("long label", String::new())]), "name  x");
    }
}
