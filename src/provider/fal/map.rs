//! From fal's answers about a job to our progress. Pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    domain::{
        artifact::Kind,
        card::ModelCard,
        failure::{Charged, Failure, FailurePhase, FailureReason},
        money::Usage,
        names::ProviderId,
        order::InputRole,
        price::PriceUnit,
    },
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        http::{
            Answer,
            text::{SHOWN_CHARS, shortened, shown},
        },
        port::{CancelOutcome, Order, Progress, RemoteOutput, Status, Ticket},
    },
};

use super::{
    fault::{Fault, units},
    output::{self, File},
    wire::StatusPage,
};

/// Most characters kept of a status word.
const PHASE_CHARS: usize = 64;
/// Most bytes kept of a log.
const LOG_TAIL: usize = 4096;

/// What a ticket remembers, because fal's answers about a job do not say it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct JobData {
    /// What was ordered.
    pub(super) kind: Option<Kind>,
    /// The model it was ordered of.
    pub(super) model: String,
    /// What its addresses begin with: `owner/app`.
    pub(super) app: String,
    /// Roles of the order's inputs.
    pub(super) inputs: Vec<InputRole>,
}

impl JobData {
    pub(super) fn new(order: &Order, app: String) -> Self {
        Self { kind: Some(order.kind), model: order.model.clone(), app, inputs: roles(order) }
    }

    /// Of a ticket; empty if that is of another form.
    pub(super) fn of(ticket: &Ticket) -> Self {
        serde_json::from_value(ticket.data.clone()).unwrap_or_default()
    }
}

/// The roles of an order's inputs.
pub(super) fn roles(order: &Order) -> Vec<InputRole> {
    order.inputs.iter().map(|input| input.role).collect()
}

/// How far a job is that has not ended.
pub(super) fn unfinished(provider: &ProviderId, page: &StatusPage) -> Result<Progress, ProviderError> {
    let status = match page.word().as_str() {
        "IN_QUEUE" => Status::Waiting,
        "NOT_FOUND" => {
            return Err(ProviderError::new(provider, ErrorKind::TicketUnknown, Effect::None, "does not know the job"));
        }
        // A word of tomorrow is taken for a job at work, which our own deadline bounds.
        _ => Status::Running,
    };
    Ok(progress(page, status))
}

fn progress(page: &StatusPage, status: Status) -> Progress {
    let log = page.log();
    let is_waiting = matches!(status, Status::Waiting);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and it is not negative"
    )]
    let position = page.queue_position.filter(|_| is_waiting).map(|before| (before as u32).saturating_add(1));
    Progress {
        status,
        phase: page.status.as_deref().map(|word| shortened(word, PHASE_CHARS)),
        percent: None,
        queue_position: position,
        log_tail: (!log.is_empty()).then(|| tail(&log).to_owned()),
        usage: Usage { compute_seconds: page.inference_seconds(), ..Usage::default() },
        poll_after: None,
    }
}

/// What the answer to a cancel says; nothing of an answer that refuses the call itself.
pub(super) fn cancelled(answer: &Answer) -> Option<CancelOutcome> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let word = body["status"].as_str().unwrap_or_default().to_ascii_uppercase();
    match (answer.status.as_u16(), word.as_str()) {
        (_, "ALREADY_COMPLETED") => Some(CancelOutcome::TooLate),
        // Taken out of the queue: it never ran, and waiting is free.
        (200..300, "OK") => Some(CancelOutcome::Stopped(Charged::No)),
        // The next poll says more.
        (200..300, _) => Some(CancelOutcome::Requested),
        (400 | 409, _) => Some(CancelOutcome::TooLate),
        _ => None,
    }
}

/// A job that has ended, as its status tells.
#[derive(Debug)]
pub(super) struct Ended<'a> {
    pub(super) provider: &'a ProviderId,
    pub(super) page: &'a StatusPage,
    pub(super) card: Option<&'a Arc<ModelCard>>,
    pub(super) data: &'a JobData,
    /// Whether a text starting with `http:` is a file.
    pub(super) plain_http: bool,
}

/// What the result of an ended job says.
#[derive(Debug)]
pub(super) enum Read {
    /// How it ended.
    Progress(Box<Progress>),
    /// There is nothing to have.
    Error(ProviderError),
    /// The call was refused, which tells nothing of the job.
    Refused,
    /// It is outside the contract.
    Broken(&'static str),
}

impl Ended<'_> {
    /// Reads the answer to the question for the result, which is what the model answered, its errors included.
    pub(super) fn progress(&self, answer: &Answer) -> Read {
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let has_failed = self.page.has_failed();
        match (answer.status.as_u16(), body) {
            (200..300, Some(body)) if !has_failed => self.output(answer, &body),
            (200..300, None) if !has_failed => Read::Broken("answered with a result that is not JSON"),
            (200..300, _) => self.failed(&Fault::default()),
            (_, body) => self.refused(answer, &body.unwrap_or_default(), has_failed),
        }
    }

    fn refused(&self, answer: &Answer, body: &Value, has_failed: bool) -> Read {
        let fault = Fault::of(answer, body);
        let status = answer.status.as_u16();
        if fault.is_too_early() {
            return Read::Progress(Box::new(progress(self.page, Status::Running)));
        }
        match status {
            // Our key, or how often we ask; a failure that is known already needs no result.
            401..=403 | 408 | 429 if !has_failed => Read::Refused,
            401..=403 | 408 | 429 => self.failed(&Fault::default()),
            404 | 410 if !has_failed && !fault.is_no_path() => {
                let what = "completed, and its result was no longer kept when it was asked for";
                Read::Error(ProviderError::new(self.provider, ErrorKind::NoOutput, Effect::None, what))
            }
            404 | 410 if has_failed && !fault.is_no_path() => self.failed(&Fault::default()),
            // A gateway's own page tells nothing of the job.
            500.. if !has_failed && !fault.is_told() => Read::Refused,
            _ => self.failed(&fault),
        }
    }

    fn failed(&self, fault: &Fault) -> Read {
        let fault = fault.or_told(&self.page.error, self.page.error_type.as_deref());
        if fault.is_cancelled() || matches!(self.page.word().as_str(), "CANCELED" | "CANCELLED") {
            let has_run = self.page.inference_seconds().is_some_and(|seconds| seconds > 0.0);
            let charged = if has_run { fault.billed() } else { Charged::No };
            return Read::Progress(Box::new(progress(self.page, Status::Cancelled(charged))));
        }
        let (reason, retryable) = fault.reason();
        let message = fault.text().and_then(|text| shown(&text, &[]));
        let message = message.unwrap_or_else(|| "failed without saying why".to_owned());
        let field = fault.field(self.card, &self.data.inputs);
        let mut failure = Failure::new(reason, FailurePhase::Provider, fault.charged(), message);
        failure.retryable = retryable;
        self.ended_as(Status::Failed(failure.at(self.provider).because_of(field)), None)
    }

    fn output(&self, answer: &Answer, body: &Value) -> Read {
        let mut files = output::files(body, self.data.kind, self.plain_http);
        let mut usage = self.usage(answer, body, &files);
        let flags = output::blacked_out(body);
        if !flags.is_empty() && flags.iter().all(|is_black| *is_black) {
            let charged = Fault::of(answer, body).billed();
            let message = "its safety checker found the output unsafe and blacked it out";
            let failure = Failure::new(FailureReason::ProviderRefusedContent, FailurePhase::Provider, charged, message);
            return self.ended_as(Status::Failed(failure.at(self.provider)), Some(usage));
        }
        if files.is_empty() {
            let what = shortened(&format!("completed with nothing to download: {}", output::shape(body)), SHOWN_CHARS);
            return Read::Error(ProviderError::new(self.provider, ErrorKind::NoOutput, Effect::None, what));
        }
        let mut note = None;
        if flags.len() == files.len() && flags.contains(&true) {
            let n_all = files.len();
            let mut clean = flags.iter().map(|is_black| !is_black);
            files.retain(|_| clean.next().unwrap_or(true));
            note = Some(format!(
                "{} of {n_all} outputs withheld: the safety checker blacked them out",
                n_all - files.len()
            ));
        }
        usage.outputs = usage.outputs.or_else(|| u32::try_from(files.len()).ok());
        let links: Vec<RemoteOutput> = files.into_iter().map(|file| file.output).collect();
        let Read::Progress(mut progress) = self.ended_as(Status::Done(links), Some(usage)) else {
            return Read::Broken("answered with a result of another form");
        };
        progress.log_tail = note.or(progress.log_tail);
        Read::Progress(progress)
    }

    fn ended_as(&self, status: Status, usage: Option<Usage>) -> Read {
        let mut progress = progress(self.page, status);
        progress.usage = usage.unwrap_or(progress.usage);
        Read::Progress(Box::new(progress))
    }

    /// Blacked out pictures count: they were made.
    fn usage(&self, answer: &Answer, body: &Value, files: &[File]) -> Usage {
        let sum =
            |of: fn(&File) -> Option<f64>| files.iter().map(of).sum::<Option<f64>>().filter(|_| !files.is_empty());
        let told_seconds = super::wire::number_of(&body["duration"]);
        let is_still = self.data.kind == Some(Kind::Image);
        let by_megapixel =
            |card: &&Arc<ModelCard>| card.price.as_ref().is_some_and(|price| price.unit == PriceUnit::Megapixel);
        // fal counts in the unit of its price.
        let billed = units(&answer.headers).filter(|_| self.card.filter(by_megapixel).is_some());
        Usage {
            output_seconds: sum(|file| file.duration).or(told_seconds).filter(|_| !is_still),
            outputs: u32::try_from(files.len()).ok().filter(|count| *count > 0),
            compute_seconds: self.page.inference_seconds(),
            megapixels: billed.or_else(|| sum(|file| file.megapixels).filter(|_| is_still)),
            ..Usage::default()
        }
    }
}

fn tail(log: &str) -> &str {
    &log[log.ceil_char_boundary(log.len().saturating_sub(LOG_TAIL))..]
}
