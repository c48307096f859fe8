//! A vendor's HTTP contract as the settings describe it. Every slip of it is told with its key when the settings are judged, not when an
//! order is under way.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    domain::failure::Charged,
    provider::{error::SetupError, values::Values},
};

use super::{
    pointer::{Places, Pointer},
    template::{self, PathTemplate, Slot},
};

/// Everything about one vendor's API.
#[derive(Debug, Clone)]
pub(super) struct Description {
    pub(super) auth: Auth,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) submit: Submit,
    pub(super) poll: Option<Request>,
    pub(super) result: Option<Request>,
    pub(super) cancel: Option<Request>,
    pub(super) list: Option<List>,
    pub(super) status: Option<StatusWords>,
    pub(super) outputs: Outputs,
    pub(super) progress: ProgressPlaces,
    pub(super) errors: Errors,
    pub(super) usage: UsagePlaces,
}

/// How a call names the account's key.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    /// The header; `Authorization` without it.
    pub(super) header: Option<String>,
    /// The word before the key; `Bearer` in `Authorization`, none elsewhere.
    pub(super) scheme: Option<String>,
    /// The query's parameter, in the place of a header.
    pub(super) query: Option<String>,
}

/// How an order is handed over.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Submit {
    #[serde(default)]
    pub(super) method: Option<Verb>,
    pub(super) path: PathTemplate,
    /// What every order has beside the fields of the card.
    #[serde(default)]
    pub(super) body: Map<String, Value>,
    /// Where in the body the card's fields go, with dots between nested names; at the top without it.
    #[serde(default)]
    pub(super) fields_at: String,
    #[serde(default)]
    pub(super) encoding: Encoding,
    #[serde(default)]
    pub(super) inputs: Inputs,
    /// Where the answer names the job. Without it the answer holds the outputs.
    #[serde(default)]
    pub(super) job: Option<Pointer>,
    /// A header that carries the submit's mark.
    #[serde(default)]
    pub(super) idempotency_header: Option<String>,
}

/// How a body is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    #[default]
    Json,
    /// `multipart/form-data`; inputs are its files.
    Multipart,
}

/// How an input is passed in a JSON body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Inputs {
    /// Bytes as a data URI; an address as it is.
    #[default]
    DataUri,
    /// Always as bare base64.
    Base64,
    /// Addresses only.
    Url,
}

/// A call about a job.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    #[serde(default)]
    pub(super) method: Option<Verb>,
    pub(super) path: PathTemplate,
    #[serde(default)]
    pub(super) body: Option<Value>,
}

/// How to look for a job whose answer was lost.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(default)]
    pub(super) method: Option<Verb>,
    pub(super) path: PathTemplate,
    #[serde(default)]
    pub(super) body: Option<Value>,
    /// The list of jobs in the answer.
    pub(super) items: Pointer,
    /// Within one of them: its id.
    pub(super) job: Pointer,
    /// Within one of them: the submit's mark.
    pub(super) mark: Pointer,
    /// Within one of them: when it was made, as RFC 3339 or in seconds or milliseconds since 1970.
    #[serde(default)]
    pub(super) created: Option<Pointer>,
}

/// A method of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl From<Verb> for Method {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Get => Self::GET,
            Verb::Post => Self::POST,
            Verb::Put => Self::PUT,
            Verb::Patch => Self::PATCH,
            Verb::Delete => Self::DELETE,
        }
    }
}

/// Where the status stands, and what its words mean. Any other word is a job at work.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusWords {
    pub(super) at: Pointer,
    #[serde(default)]
    pub(super) waiting: Vec<String>,
    #[serde(default)]
    pub(super) running: Vec<String>,
    pub(super) succeeded: Vec<String>,
    pub(super) failed: Vec<String>,
    #[serde(default)]
    pub(super) cancelled: Vec<String>,
}

/// Where the outputs are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outputs {
    #[serde(default)]
    pub(super) at: Places,
    #[serde(default, rename = "as")]
    pub(super) form: OutputForm,
    /// The path of the one output, where no answer names it.
    #[serde(default)]
    pub(super) path: Option<PathTemplate>,
    /// Hosts besides that of `base_url` that are given the key when an output is fetched.
    #[serde(default)]
    pub(super) key_hosts: Vec<String>,
}

/// What stands where an output does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutputForm {
    /// An address, also one relative to `base_url`, or a data URI.
    #[default]
    Url,
    /// Base64, bare or as a data URI.
    Base64,
    /// The whole answer is the file.
    Body,
}

/// Where it is told how far a job is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProgressPlaces {
    pub(super) percent: Option<Pointer>,
    /// The value of `percent` that means done; 100 without it.
    pub(super) scale: Option<f64>,
    pub(super) queue_position: Option<Pointer>,
    /// What the first in the queue is called; 1 without it.
    pub(super) queue_from: Option<u32>,
    pub(super) logs: Option<Pointer>,
    /// Seconds after which the vendor wants to be asked again.
    pub(super) poll_after: Option<Pointer>,
}

/// Where it is told what went wrong, and what the words mean.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Errors {
    pub(super) message: Places,
    pub(super) code: Places,
    /// The field of the order at fault, in the vendor's words.
    pub(super) field: Places,
    /// Codes, or parts of messages, of a content refusal.
    pub(super) content: Vec<String>,
    /// Of values that the vendor does not take.
    pub(super) invalid: Vec<String>,
    /// Of an account without credit.
    pub(super) credit: Vec<String>,
    /// Of a passing trouble before any work.
    pub(super) busy: Vec<String>,
    /// Statuses of 500 and above with which the vendor itself, in JSON, says that the work failed.
    pub(super) failed_status: Vec<u16>,
    /// Whether a job that failed was charged; unknown without it.
    pub(super) charged: Option<Charged>,
}

/// Where it is told what was used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsagePlaces {
    pub(super) output_seconds: Option<Pointer>,
    pub(super) outputs: Option<Pointer>,
    pub(super) compute_seconds: Option<Pointer>,
    pub(super) characters: Option<Pointer>,
    pub(super) megapixels: Option<Pointer>,
    pub(super) tokens: Option<Pointer>,
    pub(super) audio: Option<Pointer>,
    /// The price in US dollars.
    pub(super) charged_usd: Option<Pointer>,
}

impl Description {
    /// Of the settings, all of them checked; nothing without `submit`.
    pub(super) fn read(id: &str, values: &Values) -> Result<Option<Self>, SetupError> {
        let Some(submit) = section(id, values, "submit")? else { return Ok(None) };
        let description = Self {
            submit,
            auth: section(id, values, "auth")?.unwrap_or_default(),
            headers: section(id, values, "headers")?.unwrap_or_default(),
            poll: section(id, values, "poll")?,
            result: section(id, values, "result")?,
            cancel: section(id, values, "cancel")?,
            list: section(id, values, "list")?,
            status: section(id, values, "status")?,
            outputs: section(id, values, "outputs")?.unwrap_or_default(),
            progress: section(id, values, "progress")?.unwrap_or_default(),
            errors: section(id, values, "errors")?.unwrap_or_default(),
            usage: section(id, values, "usage")?.unwrap_or_default(),
        };
        description.check().map_err(|(key, why)| SetupError::new(id, format!("{key}: {why}")))?;
        Ok(Some(description))
    }

    /// Whether an order names its model.
    pub(super) fn names_model(&self) -> bool {
        self.submit.mentions(Slot::Model)
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        self.check_slots()?;
        self.check_parts()?;
        self.check_names()
    }

    /// What is needed only together, or not at all.
    fn check_parts(&self) -> Result<(), (&'static str, String)> {
        let wrong = |key, why: &str| Err((key, why.to_owned()));
        let queues = self.submit.job.is_some();
        if queues && self.poll.is_none() {
            return wrong("poll", "is needed, because submit.job says that there is a job to ask about");
        }
        if queues && self.status.is_none() {
            return wrong("status", "is needed, because submit.job says that there is a job to ask about");
        }
        for (key, is_set) in [
            ("poll", self.poll.is_some()),
            ("result", self.result.is_some()),
            ("cancel", self.cancel.is_some()),
            ("list", self.list.is_some()),
            ("outputs.path", self.outputs.path.is_some()),
        ] {
            if is_set && !queues {
                return wrong(key, "needs submit.job, the place of the job's id in the answer to an order");
            }
        }
        let is_body = self.outputs.form == OutputForm::Body;
        let n_ways =
            usize::from(!self.outputs.at.is_empty()) + usize::from(self.outputs.path.is_some()) + usize::from(is_body);
        if n_ways != 1 {
            return wrong("outputs", "needs exactly one of at (a place), path, or as = \"body\"");
        }
        if is_body && queues && self.result.is_none() {
            return wrong(
                "outputs.as",
                "\"body\" of a vendor with jobs needs result, the call that answers with the file",
            );
        }
        if let Some(status) = &self.status
            && (status.succeeded.is_empty() || status.failed.is_empty())
        {
            return wrong("status", "needs at least one word in each of succeeded and failed");
        }
        if self.list.is_some() && !self.submit.mentions(Slot::Mark) && self.submit.idempotency_header.is_none() {
            return wrong(
                "list.mark",
                "finds nothing, because no order carries a mark; put \"{mark}\" into submit.body",
            );
        }
        if self.errors.failed_status.iter().any(|status| !(500..600).contains(status)) {
            return wrong("errors.failed_status", "takes statuses from 500 to 599; lower ones are no doubt");
        }
        if self.progress.scale.is_some_and(|scale| !scale.is_finite() || scale <= 0.0) {
            return wrong("progress.scale", "must be above 0");
        }
        Ok(())
    }

    /// What cannot be filled in where it stands.
    fn check_slots(&self) -> Result<(), (&'static str, String)> {
        let of_job = "must hold {job}, or every job looks the same";
        if self.submit.mentions(Slot::Job) {
            return Err(("submit", "cannot hold {job}, which only the answer names".to_owned()));
        }
        template::check(&Value::Object(self.submit.body.clone())).map_err(|why| ("submit.body", why))?;
        let about_job = [("poll", &self.poll), ("result", &self.result), ("cancel", &self.cancel)];
        for (key, request) in about_job.into_iter().filter_map(|(key, it)| Some((key, it.as_ref()?))) {
            let body = request.body.clone().unwrap_or_default();
            template::check(&body).map_err(|why| (key, why))?;
            if !request.path.has(Slot::Job) && !template::mentions(&body, Slot::Job) {
                return Err((key, of_job.to_owned()));
            }
            if request.path.has(Slot::Mark) || template::mentions(&body, Slot::Mark) {
                return Err((key, "cannot hold {mark}, which is for the order".to_owned()));
            }
        }
        if let Some(list) = &self.list {
            template::check(&list.body.clone().unwrap_or_default()).map_err(|why| ("list.body", why))?;
            if list.path.has(Slot::Job) {
                return Err(("list.path", "cannot hold {job}, which is what is looked for".to_owned()));
            }
        }
        match &self.outputs.path {
            Some(path) if !path.has(Slot::Job) => Err(("outputs.path", of_job.to_owned())),
            Some(_) | None => Ok(()),
        }
    }

    /// Names and values that are none of HTTP.
    fn check_names(&self) -> Result<(), (&'static str, String)> {
        let is_name = |name: &str| HeaderName::try_from(name).is_ok();
        let header = "must be the name of a header";
        if self.auth.query.is_some() && (self.auth.header.is_some() || self.auth.scheme.is_some()) {
            return Err(("auth", "needs one of header and query, not both".to_owned()));
        }
        if self.auth.header.as_deref().is_some_and(|name| !is_name(name)) {
            return Err(("auth.header", header.to_owned()));
        }
        if self.auth.scheme.as_deref().is_some_and(|scheme| HeaderValue::try_from(scheme).is_err()) {
            return Err(("auth.scheme", "must be a word of visible characters".to_owned()));
        }
        if self.submit.idempotency_header.as_deref().is_some_and(|name| !is_name(name)) {
            return Err(("submit.idempotency_header", header.to_owned()));
        }
        match self.headers.iter().find(|(name, value)| !is_name(name) || HeaderValue::try_from(*value).is_err()) {
            Some((name, _)) => Err(("headers", format!("{name} is no header, or its value has odd characters"))),
            None => Ok(()),
        }
    }
}

impl Submit {
    fn mentions(&self, slot: Slot) -> bool {
        self.path.has(slot) || self.body.values().any(|value| template::mentions(value, slot))
    }
}

/// A section of the settings. Of an error the key is told, and no value, which may be a secret.
fn section<T: DeserializeOwned>(id: &str, values: &Values, key: &str) -> Result<Option<T>, SetupError> {
    let Some(value) = values.nested(key) else { return Ok(None) };
    let read = serde_path_to_error::deserialize(value.clone()).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { key.to_owned() } else { format!("{key}.{path}") };
        // TOML's messages quote wrong values in double quotes and names of keys in back ticks.
        let why = error.inner().message().split('"').step_by(2).collect::<Vec<_>>().join("…");
        SetupError::new(id, format!("{place}: {why}"))
    })?;
    Ok(Some(read))
}
