//! Faults: what goes wrong, at which call, and when.
//!
//! A rule is one line of text (see [`grammar`]); the set in force is replaced as a whole and keeps its own counts, so
//! the same rules and seed over the same order of calls always do the same.

mod grammar;
mod played;
mod terms;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

pub(crate) use grammar::GRAMMAR;
pub use grammar::RuleError;
pub(crate) use played::Played;

/// One fault rule: at this operation, when these conditions hold, do that.
///
/// As text it is one line. As JSON or TOML it may also be a recorded answer with the calls that get it:
/// `{"rule": "create:first=1", "answer": {"status": 422, "body": {…}}, "effect": "before"}`.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(try_from = "serde_json::Value")]
pub struct Rule {
    /// What it was read from: its text, or the object.
    pub(crate) source: serde_json::Value,
    operation: Operation,
    when: When,
    what: What,
}

/// A kind of call, seen from the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Make a job.
    Create,
    /// Say something in answer to a conversation.
    Chat,
    /// Read one job.
    Get,
    /// Read a page of jobs.
    List,
    /// Stop a job.
    Cancel,
    /// Fetch an output file.
    Download,
    /// Upload, read or delete an input file.
    File,
    /// Call back: one event of one job, on its way out.
    Webhook,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct When {
    count: Option<Count>,
    scope: Scope,
    /// 0..=1, drawn from the seed.
    chance: Option<f64>,
    /// The vendor is this.
    vendor: Option<String>,
    /// The job's prompt contains this.
    prompt: Option<String>,
    /// The job's model is this.
    model: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    First(u64),
    Nth(u64),
    From(u64),
    Every(u64),
}

/// Which calls are numbered together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Scope {
    /// All calls that satisfy the rule's other conditions.
    #[default]
    Rule,
    /// All calls of this operation to one job.
    Job,
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
enum What {
    Slow(Duration),
    Answer(Timing, Answer),
    Edit(Edit),
    Damage(Damage),
    Job(JobFault),
    Callback(CallbackFault),
    Talk(TalkFault),
}

/// Whether the call has its effect first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timing {
    /// The call does nothing.
    Before,
    /// The call does its work; only the answer is lost or spoilt.
    After,
}

/// An answer other than the true one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// A problem document; the two waits are in seconds.
    Status { code: u16, header_wait: Option<u32>, body_wait: Option<u32> },
    /// A gateway's HTML page with this status.
    Html(u16),
    /// A recorded one.
    Played(Played),
    /// The connection is closed without an answer.
    Drop,
    /// No answer until the simulator stops.
    Hang,
    /// The true answer's first half.
    Malformed,
    /// 404: the vendor no longer knows the job.
    Forgotten,
}

/// A change to an otherwise true answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Edit {
    NoId,
    StatusWord(String),
    ExtraFields,
    Floats,
}

/// A spoilt output file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// 200 and no bytes.
    Empty,
    /// 200 and the first half, consistently announced.
    Truncated,
    /// 200 and an HTML page.
    Page,
    /// Announces twice the bytes it sends, then closes.
    WrongLength,
}

/// A job that lives otherwise than it should. Chosen when the job is made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum JobFault {
    Failed(String),
    Canceled,
    Aborted,
    StuckStarting,
    StuckProcessing,
    Uncancellable,
    Hold,
    Latency(Duration),
    Retention(Duration),
    Output(crate::simulator::output::Shape),
    /// The output file is at least this many bytes.
    Size(u64),
    /// The first link serves this many downloads, then answers `status`; links from a later poll work.
    Expires {
        fetches: u64,
        status: u16,
    },
}

/// A callback that goes out otherwise than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallbackFault {
    Duplicate,
    Late(Duration),
    Lost,
    Forged,
    Stale,
}

/// A conversation's answer that is not as it should be, or does not come so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TalkFault {
    /// The model says this instead.
    Says(String),
    /// A pause before each event but the first.
    Pace(Duration),
    /// The connection breaks after so many events.
    Cut(usize),
}

/// What a rule may look at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Subject<'a> {
    /// The desk fills it in.
    pub(crate) vendor: &'a str,
    pub(crate) prompt: &'a str,
    pub(crate) model: &'a str,
    /// Number of this call among those of its operation to this job, from 1; 0 without a job.
    pub(crate) nth_of_job: u64,
}

/// All that is to go wrong with one call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub(crate) delay: Duration,
    /// Of several rules the first wins.
    pub(crate) answer: Option<(Timing, Answer)>,
    pub(crate) edits: Vec<Edit>,
    pub(crate) damage: Option<Damage>,
    pub(crate) job: Vec<JobFault>,
    pub(crate) callback: Vec<CallbackFault>,
    pub(crate) talk: Vec<TalkFault>,
}

impl Faults {
    /// The answer that replaces the call, when it is to have no effect.
    pub(crate) fn instead(&self) -> Option<&Answer> {
        self.answer.as_ref().filter(|(timing, _)| *timing == Timing::Before).map(|(_, answer)| answer)
    }

    /// The answer that replaces the true one after the call had its effect.
    pub(crate) fn afterwards(&self) -> Option<&Answer> {
        self.answer.as_ref().filter(|(timing, _)| *timing == Timing::After).map(|(_, answer)| answer)
    }

    fn add(&mut self, what: &What) {
        match what {
            What::Slow(delay) => self.delay += *delay,
            What::Answer(timing, answer) => {
                self.answer.get_or_insert_with(|| (*timing, answer.clone()));
            }
            What::Edit(edit) => self.edits.push(edit.clone()),
            What::Damage(damage) => {
                self.damage.get_or_insert(*damage);
            }
            What::Job(fault) => self.job.push(fault.clone()),
            What::Callback(fault) => self.callback.push(*fault),
            What::Talk(fault) => self.talk.push(fault.clone()),
        }
    }
}

/// The rules in force, with their counts.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    seed: u64,
    rules: Vec<(Rule, AtomicU64)>,
}

impl Rules {
    pub(crate) fn new(rules: impl IntoIterator<Item = Rule>, seed: u64) -> Self {
        Self { seed, rules: rules.into_iter().map(|rule| (rule, AtomicU64::new(0))).collect() }
    }

    /// The rules as they were written, in order.
    pub(crate) fn sources(&self) -> Vec<&serde_json::Value> {
        self.rules.iter().map(|(rule, _)| &rule.source).collect()
    }

    /// Counts this call and says what goes wrong with it.
    pub(crate) fn judge(&self, operation: Operation, subject: Subject<'_>) -> Faults {
        let mut faults = Faults::default();
        for (index, (rule, calls)) in self.rules.iter().enumerate() {
            if rule.operation != operation || !rule.when.concerns(subject) {
                continue;
            }
            let nth_of_rule = calls.fetch_add(1, Ordering::Relaxed) + 1;
            let nth = match rule.when.scope {
                Scope::Rule => nth_of_rule,
                Scope::Job => subject.nth_of_job,
            };
            if rule.when.count.is_none_or(|count| count.includes(nth))
                && rule.when.chance.is_none_or(|chance| draw(self.seed, index, nth_of_rule) < chance)
            {
                faults.add(&rule.what);
            }
        }
        faults
    }
}

impl When {
    fn concerns(&self, subject: Subject<'_>) -> bool {
        self.vendor.as_deref().is_none_or(|vendor| subject.vendor == vendor)
            && self.prompt.as_deref().is_none_or(|marker| subject.prompt.contains(marker))
            && self.model.as_deref().is_none_or(|model| subject.model == model)
    }
}

impl Count {
    fn includes(self, nth: u64) -> bool {
        match self {
            Self::First(n) => nth <= n,
            Self::Nth(n) => nth == n,
            Self::From(n) => nth >= n,
            Self::Every(n) => nth.is_multiple_of(n),
        }
    }
}

/// A number in 0..1 fixed by its arguments, so that a run can be repeated whatever else draws numbers.
fn draw(seed: u64, rule: usize, nth: u64) -> f64 {
    let mixed = seed ^ (rule as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ nth.wrapping_mul(0xD1B5_4A32_D192_ED03);
    fastrand::Rng::with_seed(mixed).f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Rules {
        Rules::new(texts.iter().map(|text| text.parse().unwrap()), 1)
    }

    fn hits(rules: &Rules, operation: Operation, n_calls: u64) -> Vec<u64> {
        (1..=n_calls).filter(|_| rules.judge(operation, Subject::default()).answer.is_some()).collect()
    }

    #[test]
    fn counts_choose_the_calls() {
        let check = |text: &str, expected: &[u64]| {
            assert_eq!(hits(&rules(&[text]), Operation::Get, 7), expected, "{text}");
        };
        check("get:drop", &[1, 2, 3, 4, 5, 6, 7]);
        check("get:first=2:drop", &[1, 2]);
        check("get:nth=3:drop", &[3]);
        check("get:from=6:drop", &[6, 7]);
        check("get:every=3:drop", &[3, 6]);
        check("create:drop", &[]);
    }

    #[test]
    fn a_job_scope_counts_the_calls_to_that_job() {
        let rules = rules(&["get:from=2,per=job:forgotten"]);
        let judge = |nth_of_job| rules.judge(Operation::Get, Subject { nth_of_job, ..Subject::default() });
        assert!(judge(1).answer.is_none());
        assert!(judge(1).answer.is_none(), "the first call to a second job is not its second");
        assert_eq!(judge(2).answer, Some((Timing::Before, Answer::Forgotten)));
    }

    #[test]
    fn only_calls_that_concern_the_rule_are_counted() {
        let rules = rules(&["create:prompt=[bad],nth=2:drop"]);
        let judge = |prompt| rules.judge(Operation::Create, Subject { prompt, ..Subject::default() }).answer.is_some();
        assert!(!judge("a [bad] fox"));
        assert!(!judge("a fox"));
        assert!(judge("another [bad] fox"));
    }

    #[test]
    fn a_rule_for_one_vendor_leaves_the_others_alone() {
        let rules = rules(&["create:vendor=replicate,nth=1:drop"]);
        let judge = |vendor| rules.judge(Operation::Create, Subject { vendor, ..Subject::default() }).answer.is_some();
        assert!(!judge("example"));
        assert!(judge("replicate"));
    }

    #[test]
    fn chance_repeats_with_its_seed_and_is_near_its_value() {
        let run = |seed| {
            let rules = Rules::new(["get:chance=0.3:drop".parse().unwrap()], seed);
            hits(&rules, Operation::Get, 10_000)
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!((2_700..3_300).contains(&run(7).len()), "{}", run(7).len());
    }

    #[test]
    fn the_first_answer_wins_and_edits_add_up() {
        let faults = rules(&["get:drop", "get:hang", "get:floats", "get:no_id", "get:slow=1s", "get:slow=2s"])
            .judge(Operation::Get, Subject::default());
        assert_eq!(faults.answer, Some((Timing::Before, Answer::Drop)));
        assert_eq!(faults.edits, [Edit::Floats, Edit::NoId]);
        assert_eq!(faults.delay, Duration::from_secs(3));
    }
}
