//! The text of a rule.

use std::{fmt, path::Path, str::FromStr};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, CallbackFault, Count, Damage, Edit, JobFault, Operation, Played, Rule, Scope, TalkFault, Timing, What,
    When,
    terms::{Terms, duration, flag, number, required, split, status},
};
use crate::simulator::VENDORS;

/// The grammar for people, shown by `--help` and in errors.
pub(crate) const GRAMMAR: &str = r#"A fault rule is OPERATION:WHAT or OPERATION:WHEN:WHAT. Values may be "quoted".
OPERATION  create | get | list | cancel | download | file (uploads) | webhook | chat
WHEN       conditions joined by commas; all must hold
             first=N nth=N from=N every=N   which of the calls (one of them)
             per=job                        number the calls of each job apart
             chance=0.2                     by --seed
             vendor=NAME                    calls to this vendor; without it, to all
             prompt=TEXT model=NAME         the job's prompt contains TEXT; its model
WHAT, any call (effect=before: the call does nothing; effect=after: it does its work, then this)
  status=CODE[,retry_after=S][,retry_after_header=S][,retry_after_body=S][,effect=before|after]
  answer=FILE[,effect=...]   a recorded answer, JSON: {"status": 422, "headers": {...}, "body": {...}}
                             (or "text": "..." or "base64": "..." in place of body)
  drop[,effect=...]  hang[,effect=...]  html[=CODE][,effect=...]  forgotten (404)
  malformed (half of the true JSON)  slow=DURATION
  no_id  unknown_status[=WORD]  extra_fields  floats (integers as floats)
WHAT, download: empty  truncated  page (HTML with 200)  wrong_length
WHAT, create (the life of the job it makes)
  failed=TEXT  canceled  aborted  stuck=starting|processing  uncancellable  hold
  latency=DURATION  retention=DURATION  size=BYTES  expires=FETCHES[,status=403|404]
  output=url|array|object[.KEY...]|data_uri|base64|null|text|webm
WHAT, chat
  says=TEXT (the model says this, whatever was asked; JSON needs an object, see below)
  an answer in events: pace=DURATION (before each but the first)  cut=EVENTS (then the connection breaks)
WHAT, webhook: duplicate  late=DURATION  lost  forged  stale
Example: create:first=2:status=429,retry_after=1
In a scenario file and at /_control/faults a rule may also be an object, without a file:
  {"rule": "create:vendor=replicate,first=1", "answer": {"status": 422, "body": {...}}, "effect": "after"}
  {"rule": "chat:first=1", "says": "{\"city\": \"Bonn\"}"}"#;

/// A fault rule that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fault rule {rule:?}: {problem}")]
pub struct RuleError {
    rule: String,
    problem: String,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|problem| RuleError { rule: text.to_owned(), problem })
    }
}

/// A recorded answer and the calls that get it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Playing {
    /// `OPERATION` or `OPERATION:WHEN`.
    rule: String,
    answer: Played,
    effect: Option<String>,
}

/// What a model says, and when.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saying {
    /// As above.
    rule: String,
    says: String,
}

impl TryFrom<Value> for Rule {
    type Error = RuleError;

    fn try_from(written: Value) -> Result<Self, Self::Error> {
        if let Value::String(text) = &written {
            return text.parse();
        }
        let rule = written.get("rule").and_then(Value::as_str).unwrap_or_default().to_owned();
        let read = if written.get("says").is_some() {
            serde_json::from_value(written).map(say)
        } else {
            serde_json::from_value(written).map(play)
        };
        let read = read.map_err(|error| {
            format!("not text, {{\"rule\", \"answer\", \"effect\"}} or {{\"rule\", \"says\"}}: {error}")
        });
        read.flatten().map_err(|problem| RuleError { rule, problem })
    }
}

fn play(playing: Playing) -> Result<Rule, String> {
    let Playing { rule, answer, effect } = playing;
    let source = json!({ "rule": rule, "answer": answer, "effect": effect.as_deref().unwrap_or("before") });
    let what = What::Answer(timing(effect.as_deref())?, Answer::Played(answer));
    Rule::beside(&rule, source, what)
}

fn say(saying: Saying) -> Result<Rule, String> {
    let Saying { rule, says } = saying;
    let source = json!({ "rule": rule, "says": says });
    Rule::beside(&rule, source, What::Talk(TalkFault::Says(says)))
}

impl Rule {
    /// Of `OPERATION` or `OPERATION:WHEN`, where what happens stands beside it.
    fn beside(rule: &str, source: Value, what: What) -> Result<Self, String> {
        let clauses = split(rule, ':')?;
        let (operation, when) = match clauses.as_slice() {
            [operation] => (operation, None),
            [operation, when] => (operation, Some(when)),
            _ => return Err("beside an answer, expected OPERATION or OPERATION:WHEN".to_owned()),
        };
        Self::new(source, operation, when, what)
    }

    fn new(source: Value, operation: &str, when: Option<&String>, what: What) -> Result<Self, String> {
        let operation = self::operation(operation)?;
        let when = when.map(|clause| conditions(Terms::read(clause)?)).transpose()?.unwrap_or_default();
        agree(operation, &when, &what)?;
        Ok(Self { source, operation, when, what })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Value::String(text) => f.write_str(text),
            other => other.fmt(f),
        }
    }
}

fn parse(text: &str) -> Result<Rule, String> {
    let clauses = split(text, ':')?;
    let (operation, when, what) = match clauses.as_slice() {
        [operation, what] => (operation, None, what),
        [operation, when, what] => (operation, Some(when), what),
        _ => return Err("expected OPERATION:WHAT or OPERATION:WHEN:WHAT".to_owned()),
    };
    self::operation(operation)?;
    Rule::new(json!(text), operation, when, self::what(Terms::read(what)?)?)
}

fn operation(word: &str) -> Result<Operation, String> {
    Ok(match word.trim() {
        "create" => Operation::Create,
        "chat" => Operation::Chat,
        "get" => Operation::Get,
        "list" => Operation::List,
        "cancel" => Operation::Cancel,
        "download" => Operation::Download,
        "file" => Operation::File,
        "webhook" => Operation::Webhook,
        other => {
            return Err(format!(
                "unknown operation {other:?}; allowed: create, get, list, cancel, download, file, webhook, chat"
            ));
        }
    })
}

fn conditions(mut terms: Terms) -> Result<When, String> {
    let mut counts = Vec::new();
    for (key, count) in [
        ("first", Count::First as fn(u64) -> Count),
        ("nth", Count::Nth),
        ("from", Count::From),
        ("every", Count::Every),
    ] {
        if let Some(n) = terms.number::<u64>(key)? {
            if n == 0 {
                return Err(format!("{key} counts from 1"));
            }
            counts.push(count(n));
        }
    }
    if counts.len() > 1 {
        return Err("first, nth, from and every exclude each other".to_owned());
    }
    let scope = match terms.value("per").as_deref() {
        None => Scope::Rule,
        Some("job") => Scope::Job,
        Some(other) => return Err(format!("per={other}: only per=job is known")),
    };
    let chance = terms.number::<f64>("chance")?;
    if chance.is_some_and(|chance| !(0.0..=1.0).contains(&chance)) {
        return Err("chance is between 0 and 1".to_owned());
    }
    let vendor = terms.value("vendor");
    if let Some(name) = &vendor
        && !VENDORS.iter().any(|(known, _)| known == name)
    {
        let known: Vec<_> = VENDORS.iter().map(|(name, _)| *name).collect();
        return Err(format!("vendor={name}: known are {}", known.join(", ")));
    }
    let (prompt, model) = (terms.value("prompt"), terms.value("model"));
    let when = When { count: counts.pop(), scope, chance, vendor, prompt, model };
    terms.done()?;
    Ok(when)
}

fn what(mut terms: Terms) -> Result<What, String> {
    let (word, value) = terms.head()?;
    let what = match word.as_str() {
        "answer" | "status" | "drop" | "hang" | "html" | "forgotten" | "malformed" => answer(&word, value, &mut terms)?,
        "slow" => What::Slow(duration(&word, value)?),
        "no_id" => flag(&word, value, What::Edit(Edit::NoId))?,
        "unknown_status" => What::Edit(Edit::StatusWord(value.unwrap_or_else(|| "pondering".to_owned()))),
        "extra_fields" => flag(&word, value, What::Edit(Edit::ExtraFields))?,
        "floats" => flag(&word, value, What::Edit(Edit::Floats))?,
        "empty" => flag(&word, value, What::Damage(Damage::Empty))?,
        "truncated" => flag(&word, value, What::Damage(Damage::Truncated))?,
        "page" => flag(&word, value, What::Damage(Damage::Page))?,
        "wrong_length" => flag(&word, value, What::Damage(Damage::WrongLength))?,
        "duplicate" => flag(&word, value, What::Callback(CallbackFault::Duplicate))?,
        "late" => What::Callback(CallbackFault::Late(duration(&word, value)?)),
        "lost" => flag(&word, value, What::Callback(CallbackFault::Lost))?,
        "forged" => flag(&word, value, What::Callback(CallbackFault::Forged))?,
        "says" => What::Talk(TalkFault::Says(required(&word, value)?)),
        "pace" => What::Talk(TalkFault::Pace(duration(&word, value)?)),
        "cut" => What::Talk(TalkFault::Cut(number(&word, &required(&word, value)?)?)),
        "stale" => flag(&word, value, What::Callback(CallbackFault::Stale))?,
        _ => What::Job(job(&word, value, &mut terms)?),
    };
    terms.done()?;
    Ok(what)
}

fn answer(word: &str, value: Option<String>, terms: &mut Terms) -> Result<What, String> {
    let timing = timing(terms.value("effect").as_deref())?;
    Ok(match word {
        "status" => {
            let both = terms.number("retry_after")?;
            let answer = Answer::Status {
                code: status(word, value)?,
                header_wait: terms.number("retry_after_header")?.or(both),
                body_wait: terms.number("retry_after_body")?.or(both),
            };
            What::Answer(timing, answer)
        }
        "answer" => What::Answer(timing, Answer::Played(Played::read(Path::new(&required(word, value)?))?)),
        "html" if value.is_none() => What::Answer(timing, Answer::Html(502)),
        "html" => What::Answer(timing, Answer::Html(status(word, value)?)),
        "drop" => flag(word, value, What::Answer(timing, Answer::Drop))?,
        "hang" => flag(word, value, What::Answer(timing, Answer::Hang))?,
        "forgotten" => flag(word, value, What::Answer(timing, Answer::Forgotten))?,
        // Half of the true answer exists only once the call has had its effect.
        _ => flag(word, value, What::Answer(Timing::After, Answer::Malformed))?,
    })
}

fn timing(word: Option<&str>) -> Result<Timing, String> {
    match word {
        None | Some("before") => Ok(Timing::Before),
        Some("after") => Ok(Timing::After),
        Some(other) => Err(format!("effect={other}: before or after")),
    }
}

fn job(word: &str, value: Option<String>, terms: &mut Terms) -> Result<JobFault, String> {
    Ok(match word {
        "failed" => JobFault::Failed(required(word, value)?),
        "canceled" => flag(word, value, JobFault::Canceled)?,
        "aborted" => flag(word, value, JobFault::Aborted)?,
        "stuck" => match required(word, value)?.as_str() {
            "starting" => JobFault::StuckStarting,
            "processing" => JobFault::StuckProcessing,
            other => return Err(format!("stuck={other}: starting or processing")),
        },
        "uncancellable" => flag(word, value, JobFault::Uncancellable)?,
        "hold" => flag(word, value, JobFault::Hold)?,
        "latency" => JobFault::Latency(duration(word, value)?),
        "retention" => JobFault::Retention(duration(word, value)?),
        "output" => JobFault::Output(required(word, value)?.parse()?),
        "size" => JobFault::Size(number(word, &required(word, value)?)?),
        "expires" => JobFault::Expires {
            fetches: number(word, &required(word, value)?)?,
            status: match terms.value("status") {
                Some(code) => status("status", Some(code))?,
                None => 403,
            },
        },
        other => return Err(format!("unknown fault {other:?}; `filmgate simulate --help` lists them")),
    })
}

/// Refuses what could never happen: a rule that silently does nothing would let a test pass for the wrong reason.
fn agree(operation: Operation, when: &When, what: &What) -> Result<(), String> {
    let fits = match what {
        What::Slow(_) => true,
        What::Answer(_, Answer::Malformed) => !matches!(operation, Operation::Download | Operation::Webhook),
        What::Answer(..) => operation != Operation::Webhook,
        What::Edit(_) => !matches!(operation, Operation::Download | Operation::File | Operation::Webhook),
        What::Damage(_) => operation == Operation::Download,
        What::Job(_) => operation == Operation::Create,
        What::Callback(_) => operation == Operation::Webhook,
        What::Talk(_) => operation == Operation::Chat,
    };
    if !fits {
        return Err("this fault cannot happen at this operation".to_owned());
    }
    let has_job = matches!(operation, Operation::Get | Operation::Cancel | Operation::Download | Operation::Webhook);
    if when.scope == Scope::Job && !has_job {
        return Err("per=job needs an operation on a job: get, cancel, download or webhook".to_owned());
    }
    if matches!(operation, Operation::List | Operation::File) && (when.prompt.is_some() || when.model.is_some()) {
        return Err("this operation has no job, so no prompt and no model".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Operation, When, What) {
        let rule: Rule = text.parse().unwrap();
        (rule.operation, rule.when, rule.what)
    }

    #[test]
    fn the_example_reads_as_it_says() {
        let (operation, when, what) = read("create:first=2:status=429,retry_after=1");
        assert_eq!(operation, Operation::Create);
        assert_eq!(when.count, Some(Count::First(2)));
        let answer = Answer::Status { code: 429, header_wait: Some(1), body_wait: Some(1) };
        assert_eq!(what, What::Answer(Timing::Before, answer));
    }

    #[test]
    fn a_wait_can_be_in_the_header_or_the_body_alone() {
        let (_, _, what) = read("create:status=429,retry_after_body=7,effect=after");
        let answer = Answer::Status { code: 429, header_wait: None, body_wait: Some(7) };
        assert_eq!(what, What::Answer(Timing::After, answer));
    }

    #[test]
    fn quotes_protect_colons_and_commas() {
        let (_, when, what) = read(r#"create:prompt="a:b, c":failed="Prediction failed: flagged, (E005)""#);
        assert_eq!(when.prompt.as_deref(), Some("a:b, c"));
        assert_eq!(what, What::Job(JobFault::Failed("Prediction failed: flagged, (E005)".to_owned())));
    }

    #[test]
    fn every_fault_of_the_help_text_is_read() {
        for text in [
            "get:drop",
            "create:hang,effect=after",
            "get:html",
            "get:html=503",
            "get:forgotten",
            "list:malformed",
            "get:slow=200ms",
            "get:no_id",
            "get:unknown_status",
            "get:unknown_status=queued",
            "get:extra_fields",
            "get:floats",
            "download:empty",
            "download:truncated",
            "download:page",
            "download:wrong_length",
            "create:canceled",
            "create:aborted",
            "create:stuck=starting",
            "create:stuck=processing",
            "create:uncancellable",
            "create:hold",
            "create:latency=1m",
            "create:retention=1s",
            "create:size=500000000",
            "create:expires=0",
            "create:expires=2,status=404",
            "create:output=object.artifact.url",
            "create:output=base64",
            "webhook:duplicate",
            "webhook:late=5s",
            "webhook:lost",
            "webhook:forged",
            "webhook:stale",
            "file:status=413",
            "chat:drop,effect=after",
            "chat:malformed",
            "chat:pace=1s",
            "chat:says=\"\"",
            "chat:prompt=x:cut=3",
            "cancel:nth=1,per=job:status=500,effect=after",
        ] {
            assert!(text.parse::<Rule>().is_ok(), "{text}: {:?}", text.parse::<Rule>());
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_reason() {
        let check = |text: &str, expected: &str| {
            let error = text.parse::<Rule>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("create", "expected OPERATION:WHAT");
        check("creates:drop", "unknown operation");
        check("create:explode", "unknown fault");
        check("create:first=2,nth=3:drop", "exclude each other");
        check("create:first=0:drop", "counts from 1");
        check("create:first=x:drop", "not a number");
        check("create:chance=2:drop", "between 0 and 1");
        check("create:drop,when=now", "unknown or incomplete");
        check("create:drop=3", "takes no value");
        check("create:status=200", "400 to 599");
        check("create:expires=1,status=200", "400 to 599");
        check("get:hold", "cannot happen");
        check("create:truncated", "cannot happen");
        check("create:cut=1", "cannot happen");
        check("chat:hold", "cannot happen");
        check("create:per=job:drop", "per=job needs");
        check("list:prompt=x:drop", "no job");
        check("create:prompt=\"x:drop", "not closed");
        check("create:first=1,first=2:drop", "given twice");
        check("create:vendor=acme:drop", "known are ark, backend");
        check("create:answer=/nowhere/at/all.json", "/nowhere/at/all.json");
    }

    #[test]
    fn a_recorded_answer_comes_from_a_file_or_from_the_rule_itself() {
        let recorded = json!({ "status": 422, "headers": { "x-request-id": "7" }, "body": { "detail": [1] } });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), recorded.to_string()).unwrap();
        let (_, _, from_file) = read(&format!("get:answer=\"{}\",effect=after", file.path().display()));
        let written = json!({ "rule": "get:first=1", "answer": recorded, "effect": "after" });
        let rule: Rule = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(rule.what, from_file);
        assert_eq!(rule.when.count, Some(Count::First(1)));
        assert_eq!(rule.source, written);
    }

    #[test]
    fn what_a_model_says_may_hold_anything() {
        let written = json!({ "rule": "chat:first=1", "says": "{\"a\": \"b:c,d\"}" });
        let rule: Rule = serde_json::from_value(written.clone()).unwrap();
        assert_eq!((rule.operation, &rule.source), (Operation::Chat, &written));
        assert_eq!(rule.what, What::Talk(TalkFault::Says("{\"a\": \"b:c,d\"}".to_owned())));
        for wrong in [json!({ "rule": "get", "says": "x" }), json!({ "rule": "chat", "says": 5 })] {
            assert!(serde_json::from_value::<Rule>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_recorded_answer_is_refused_with_its_reason() {
        let check = |written: Value, expected: &str| {
            let error = serde_json::from_value::<Rule>(written).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(json!({ "rule": "get:nth=1:drop", "answer": {} }), "beside an answer");
        check(json!({ "rule": "webhook", "answer": {} }), "cannot happen");
        check(json!({ "rule": "get", "answer": {}, "effect": "later" }), "before or after");
        check(json!({ "rule": "get", "answer": { "status": 99 } }), "200 to 599");
        check(json!({ "rule": "get" }), "missing field `answer`");
    }
}
