//! What the vendor's answers come to: a job, its end, its outputs, or an error of the call.

use std::sync::Arc;

use http::Method;
use serde_json::Value;
use url::Url;

use crate::{
    domain::{
        failure::{Charged, Failure, FailurePhase, FailureReason},
        money::Usage,
        names::SubmitKey,
    },
    provider::{
        error::{Effect, ErrorKind, ProviderError},
        http::{
            Answer,
            outcome::{self, Call, Said},
            text,
        },
        port::{Order, Progress, RemoteOutput, Status, Submitted, Ticket},
    },
};

use super::{
    HttpJson,
    description::OutputForm,
    filling,
    read::{self, Stand},
};

impl HttpJson {
    /// What the answer to an order says: a job to follow, or its end.
    pub(super) fn taken(&self, order: &Order, key: SubmitKey, answer: &Answer) -> Result<Submitted, ProviderError> {
        let description = &self.description;
        let is_body = description.outputs.form == OutputForm::Body && description.submit.job.is_none();
        if is_body && serde_json::from_slice::<Value>(&answer.body).is_err() && !text::is_html(&answer.body) {
            return Ok(Submitted::Done(vec![RemoteOutput::Inline(answer.body.clone())], Usage::default()));
        }
        let said: Value = self.http.json(Call::Submit, answer)?;
        let hidden = self.hidden(&order.prompt);
        let stand = description.status.as_ref().and_then(|words| read::stand(words, &said)).map(|(stand, _)| stand);
        let job = description.submit.job.as_ref().and_then(|place| place.text(&said));
        let ended = |failure: Failure| {
            let job = job.clone().unwrap_or_else(|| key.id());
            Submitted::Pending(self.ticket(job, &order.model, Some(&failure)))
        };
        if stand == Some(Stand::Failed) || stand == Some(Stand::Cancelled) {
            let field = self.field(&said, order.card.as_deref());
            return Ok(ended(read::failure(&self.id, &description.errors, &said, field, &hidden)));
        }
        if let Some(job) = job {
            return Ok(Submitted::Pending(self.ticket(job, &order.model, None)));
        }
        let outputs = if is_body { Vec::new() } else { read::outputs(description, &self.base, &said) };
        match (outputs.is_empty(), description.submit.job.is_some()) {
            (false, _) => Ok(Submitted::Done(outputs, read::usage(&description.usage, &said))),
            (true, true) => Err(self.nameless(order, &said, &hidden)),
            (true, false) => Ok(ended(self.nothing(&said, &hidden))),
        }
    }

    /// The answer to an order that names no job: an error under the status of a success where its words say so, for then the vendor itself
    /// says that it did not begin.
    fn nameless(&self, order: &Order, said: &Value, hidden: &[&str]) -> ProviderError {
        let errors = &self.description.errors;
        let Some(kind) = read::meaning(errors, said) else {
            let why = "took the order and named no job";
            return ProviderError::new(&self.id, ErrorKind::NoJobId, Effect::Maybe, why);
        };
        let why = read::message(errors, said, hidden).unwrap_or_else(|| "without saying why".to_owned());
        self.error(kind, format!("refused the order: {why}")).because_of(self.field(said, order.card.as_deref()))
    }

    /// An answer that says neither what was made nor that it failed.
    fn nothing(&self, said: &Value, hidden: &[&str]) -> Failure {
        let errors = &self.description.errors;
        if read::message(errors, said, hidden).is_some() {
            return read::failure(&self.id, errors, said, None, hidden);
        }
        let why = "answered without an output where outputs.at says";
        Failure::new(FailureReason::NoDownloadableOutput, FailurePhase::Provider, Charged::Unknown, why).at(&self.id)
    }

    /// The outputs of a job that succeeded, and the answer that tells of them.
    pub(super) async fn made(&self, ticket: &Ticket, said: Value) -> Result<(Vec<RemoteOutput>, Value), ProviderError> {
        let description = &self.description;
        let mut said = said;
        if let Some(result) = &description.result {
            let answer = self.about(result, Method::GET, ticket).await?;
            if !answer.status.is_success() {
                return Err(self.refused(Call::Job, &answer, None));
            }
            if description.outputs.form == OutputForm::Body {
                return Ok((vec![RemoteOutput::Inline(answer.body)], said));
            }
            said = self.http.json(Call::Job, &answer)?;
        }
        let outputs = match &description.outputs.path {
            Some(path) => {
                let path = path.filled(filling(ticket));
                let url = Url::parse(&format!("{}{path}", self.base.as_str().trim_end_matches('/')));
                url.ok().map(RemoteOutput::Link).into_iter().collect()
            }
            None => read::outputs(description, &self.base, &said),
        };
        if outputs.is_empty() {
            let why = "succeeded without an output where outputs.at says";
            return Err(self.error(ErrorKind::NoOutput, why));
        }
        Ok((outputs, said))
    }

    /// Some vendors tell of a failed job by the status of the answer; only where the words say so it is believed.
    pub(super) fn failed_by_status(&self, ticket: &Ticket, answer: &Answer) -> Result<Progress, ProviderError> {
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let may_be = matches!(answer.status.as_u16(), 400 | 409 | 410 | 422);
        match read::meaning(&self.description.errors, &said) {
            Some(kind) if may_be && kind != ErrorKind::Overloaded => {
                Ok(Progress::of(Status::Failed(self.failure(ticket, &said))))
            }
            Some(_) | None => Err(self.refused(Call::Job, answer, None)),
        }
    }

    /// An answer about a job without a status; only where the words of an error say that it failed is that believed.
    pub(super) fn without_status(&self, ticket: &Ticket, said: &Value) -> Result<Progress, ProviderError> {
        match read::meaning(&self.description.errors, said) {
            Some(kind) if kind != ErrorKind::Overloaded => Ok(Progress::of(Status::Failed(self.failure(ticket, said)))),
            Some(kind) => Err(self.error(kind, "says that it is busy")),
            None => Err(self.http.broken(Call::Job, "answered without a status where status.at says")),
        }
    }

    pub(super) fn failure(&self, ticket: &Ticket, said: &Value) -> Failure {
        let model = ticket.data["model"].as_str();
        let card = self.cards.iter().find(|card| Some(card.name.as_str()) == model);
        let field = self.field(said, card.map(Arc::as_ref));
        read::failure(&self.id, &self.description.errors, said, field, &self.hidden(""))
    }

    /// The error of a bad answer, in our words and with our field.
    pub(super) fn refused(&self, call: Call, answer: &Answer, order: Option<&Order>) -> ProviderError {
        let errors = &self.description.errors;
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let hidden = self.hidden(order.map(|order| order.prompt.as_str()).unwrap_or_default());
        let mut words = Said::of(answer, &said, &hidden);
        words.detail = read::message(errors, &said, &hidden).or(words.detail);
        words.field = order.and_then(|order| self.field(&said, order.card.as_deref()));
        let mut error = outcome::refused(&self.id, call, answer.status, words);
        if let (Call::Submit | Call::Prepare, Some(kind)) = (call, read::meaning(errors, &said)) {
            // The vendor itself says that it did not begin.
            (error.kind, error.effect) = (kind, Effect::None);
        }
        error
    }
}
