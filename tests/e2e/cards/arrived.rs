//! What the simulated vendor got, order by order.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{Expected, Placed};

/// Values of a body by their paths.
type Leaves = BTreeMap<String, String>;

/// Some of them.
type Changes<'a> = Vec<(&'a String, &'a String)>;

/// Every job of one vendor.
pub(super) struct Arrived {
    by_mark: HashMap<String, Leaves>,
    by_id: HashMap<String, Leaves>,
}

impl Arrived {
    pub(super) fn new(jobs: &Value) -> Self {
        let (mut by_mark, mut by_id) = (HashMap::new(), HashMap::new());
        for job in jobs.as_array().unwrap() {
            let mut leaves = Leaves::new();
            for part in ["path", "model", "body", "input"] {
                flatten(part, &job[part], &mut leaves);
            }
            by_id.insert(job["id"].as_str().unwrap_or_default().to_owned(), leaves.clone());
            let mark = leaves.values().find_map(|text| mark(text).map(str::to_owned));
            if let Some(mark) = mark {
                leaves.values_mut().for_each(|text| *text = text.replace(&mark, "MARK"));
                by_mark.insert(mark, leaves);
            }
        }
        Self { by_mark, by_id }
    }

    fn of(&self, placed: &Placed) -> Option<&Leaves> {
        let by_id = |attempt: &filmgate::pb::v1::Attempt| self.by_id.get(&attempt.provider_job_id);
        self.by_mark.get(&placed.mark).or_else(|| placed.generation.attempts.iter().find_map(by_id))
    }

    /// Orders of one model with different wishes that the vendor cannot tell apart.
    pub(super) fn doubles(&self, all: &[Expected]) -> Vec<String> {
        let mut seen: HashMap<(&str, Changes<'_>), &str> = HashMap::new();
        let mut doubles = Vec::new();
        for Expected { what, placed, plain, .. } in all {
            let Some((model, _)) = what.split_once(':') else { continue };
            let Some([plain, again]) = plain else { continue };
            let (Some(sent), Some(plain), Some(again)) = (self.of(placed), self.of(plain), self.of(again)) else {
                continue;
            };
            let changed = changed(sent, plain, again, None);
            if changed.is_empty() {
                continue;
            }
            if let Some(other) = seen.insert((model, changed), what) {
                doubles.push(format!("{what} is sent as {other} is"));
            }
        }
        doubles
    }

    /// What is wrong with what was sent, if anything.
    pub(super) fn problem(&self, expected: &Expected) -> Option<String> {
        let Expected { what, placed, plain, holds, n_outputs: _ } = expected;
        let Some(sent) = self.of(placed) else { return Some(format!("{what}: nothing arrived: {placed:?}")) };
        let Some([plain, again]) = plain else {
            // It cannot be left out, so there is nothing to compare with.
            return (!sent.values().any(|text| is_file(text))).then(|| format!("{what}: is dropped: {sent:?}"));
        };
        let (Some(plain), Some(again)) = (self.of(plain), self.of(again)) else {
            return Some(format!("{what}: nothing plain arrived"));
        };
        let changed = changed(sent, plain, again, holds.as_deref());
        let gone = plain.keys().any(|path| again.contains_key(path) && !sent.contains_key(path));
        if changed.is_empty() && !gone {
            return Some(format!("{what}: is dropped: {}", short(sent)));
        }
        let holds = holds.as_deref()?;
        (!changed.iter().any(|(_, text)| text.contains(holds))).then(|| format!("{what}: is sent as {}", short(sent)))
    }
}

/// What differs from the plain order. What is drawn by chance tells nothing, unless it is what was asked for.
fn changed<'a>(sent: &'a Leaves, plain: &Leaves, again: &Leaves, holds: Option<&str>) -> Changes<'a> {
    let differs = |(path, text): &(&String, &String)| {
        plain.get(*path) != Some(text)
            && (plain.get(*path) == again.get(*path) || holds.is_some_and(|holds| *text == holds))
    };
    sent.iter().filter(differs).collect()
}

fn short(leaves: &Leaves) -> String {
    let words = leaves.iter().map(|(path, text)| format!("{path}={}", text.chars().take(60).collect::<String>()));
    words.collect::<Vec<_>>().join(" ")
}

/// The word by which an order is known.
fn mark(text: &str) -> Option<&str> {
    text.match_indices("fox").find_map(|(at, _)| {
        let mark = text.get(at..at + 9)?;
        let is_mark = mark.ends_with('x') && mark[3..8].bytes().all(|byte| byte.is_ascii_digit());
        is_mark.then_some(mark)
    })
}

/// A file, in any of the ways in which vendors take them.
fn is_file(text: &str) -> bool {
    text.starts_with("http") || text.starts_with("data:") || text.starts_with("filmgate/") || text.len() > 1000
}

fn flatten(path: &str, value: &Value, leaves: &mut Leaves) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| flatten(&format!("{path}.{name}"), value, leaves));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| flatten(&format!("{path}.{at}"), item, leaves));
        }
        Value::String(text) => drop(leaves.insert(path.to_owned(), text.clone())),
        Value::Bool(_) | Value::Number(_) => drop(leaves.insert(path.to_owned(), value.to_string())),
    }
}
