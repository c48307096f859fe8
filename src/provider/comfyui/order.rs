//! From an order to the graph that the server gets, its inputs uploaded before.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use http::Method;
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    domain::{
        names::SubmitKey,
        order::{InputRole, OptionName},
    },
    provider::{
        error::ProviderError,
        http::{
            ANSWER_CAP, Answer,
            inputs::{File, INPUT_CAP},
            outcome::{self, Call, Said},
        },
        port::{InputFile, Order},
    },
};

use super::{
    ComfyUi, refusal,
    workflow::{Slot, Workflow},
};

impl ComfyUi {
    /// Uploads an input and gives what the workflow calls it.
    async fn upload(&self, name: &str, file: &InputFile) -> Result<Value, ProviderError> {
        let call = Call::Prepare;
        let file = self.inputs.fetch(file, INPUT_CAP).await?;
        let request = self.request(Method::POST, &["upload", "image"]).multipart(self.form(name, file)?);
        let request = request.timeout(self.upload_timeout);
        let answer = self.http.exchange(call, request, ANSWER_CAP).await?;
        if !answer.status.is_success() {
            return Err(self.refused(call, &answer));
        }
        let said: Value = self.http.json(call, &answer)?;
        let text = |key: &str| said[key].as_str().filter(|text| !text.is_empty());
        let stored = text("name").ok_or_else(|| self.http.broken(call, "took an upload and did not name it"))?;
        Ok(match text("subfolder") {
            Some(subfolder) => Value::from(format!("{subfolder}/{stored}")),
            None => Value::from(stored),
        })
    }

    fn form(&self, name: &str, file: File) -> Result<Form, ProviderError> {
        let file_name = format!("{name}.{}", file.extension());
        let length = file.data.len() as u64;
        let part = Part::stream_with_length(file.data, length).file_name(file_name);
        let part = part
            .mime_str(&file.media_type)
            .map_err(|error| self.http.broken(Call::Prepare, "an input has an odd media type").caused_by(error))?;
        Ok(Form::new().part("image", part).text("subfolder", "filmgate").text("type", "input"))
    }

    /// Uploads the inputs and says where each goes.
    pub(super) async fn inputs(&self, order: &Order, key: SubmitKey) -> Result<Vec<(Slot, Value)>, ProviderError> {
        let mut n_seen: BTreeMap<InputRole, usize> = BTreeMap::new();
        let slots = order.inputs.iter().map(|input| {
            let n_in_role = n_seen.entry(input.role).or_default();
            *n_in_role += 1;
            (Slot::Input(input.role, *n_in_role - 1), &input.file)
        });
        let slots: Vec<_> = slots.collect();
        try_join_all(slots.into_iter().enumerate().map(async |(index, (slot, file))| {
            let uploaded = self.upload(&format!("{}-{index}", key.id()), file).await;
            Ok((slot, uploaded.map_err(|error| error.because_of(Some(format!("inputs[{index}]"))))?))
        }))
        .await
    }

    /// The graph of an order.
    pub(super) fn graph(
        &self,
        order: &Order,
        key: SubmitKey,
        workflow: &Workflow,
        inputs: Vec<(Slot, Value)>,
    ) -> Result<Value, String> {
        let mut values: BTreeMap<Slot, Value> = inputs.into_iter().collect();
        let option = |name: OptionName| order.options.get(&name);
        values.insert(Slot::Prompt, Value::from(order.prompt.as_str()));
        for (name, value) in &order.options {
            let spec = order.card.as_ref().and_then(|card| card.options.get(name));
            values.insert(Slot::Option(*name), spec.map_or_else(|| value.to_json(), |spec| spec.written(value)));
        }
        values.entry(Slot::Option(OptionName::Seed)).or_insert_with(|| Value::from(seed_of(key)));
        if let (Some(duration), Some(fps)) = (option(OptionName::Duration), option(OptionName::Fps)) {
            let frames = duration.as_f64().unwrap_or_default() * fps.as_f64().unwrap_or_default();
            values.extend([1, 4, 8].map(|step| (Slot::Frames(step), Value::from(n_frames(frames, step)))));
        }
        for (name, value) in &order.provider_options {
            values.insert(Slot::Own(name.clone()), value.clone());
        }
        match values.keys().find(|slot| !workflow.has(slot) && is_own_or_input(slot)) {
            Some(Slot::Own(name)) => Err(format!("has no {{{{option.{name}}}}} in the workflow {}", order.model)),
            Some(_) => Err(format!("has no place for one of the inputs in the workflow {}", order.model)),
            None => workflow.filled(&values),
        }
    }

    /// Why the server refused an order, with our field.
    pub(super) fn refused_order(&self, answer: &Answer, order: &Order, workflow: &Workflow) -> ProviderError {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status != 400 || !body["error"].is_object() {
            return self.refused(Call::Submit, answer);
        }
        let said = refusal::read(&body, workflow, &[&order.prompt]);
        let mut words = Said { detail: said.detail, field: said.field, ..Said::default() };
        words.retry_after = answer.retry_after;
        let mut error = outcome::refused(&self.id, Call::Submit, answer.status, words);
        error.kind = said.kind;
        error
    }
}

/// A seed that no other order has: the server answers what it has made before from its cache. Small enough for every JSON reader.
fn seed_of(key: SubmitKey) -> u64 {
    let digest = Sha256::digest(key.id());
    digest.iter().take(6).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

fn is_own_or_input(slot: &Slot) -> bool {
    match slot {
        Slot::Own(_) | Slot::Input(..) => true,
        Slot::Prompt | Slot::Option(_) | Slot::Frames(_) => false,
    }
}

/// The number of frames nearest to `frames` that is one more than a multiple of `step`; at a step of 1 any.
fn n_frames(frames: f64, step: u32) -> u64 {
    let step = f64::from(step);
    let nearest = if step > 1.0 { ((frames - 1.0) / step).round() * step + 1.0 } else { frames.round() };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and it is at least 1")]
    let whole = nearest.max(1.0) as u64;
    whole
}
