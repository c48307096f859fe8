//! Prompts to be made better.

use super::{Violations, check_labels, unknown};
use crate::{
    chat::{Language, PromptRequest},
    domain::{
        artifact::Kind,
        catalog::{Catalog, ChatNeeds, NoCandidate},
        order::MAX_PROMPT,
    },
    door::{caller::Caller, refusal::Refusal},
    pb::v1,
};

const MAX_STYLE: usize = 256;

/// A request for a better prompt, or all that is wrong with it.
pub(in crate::door) fn prompt(
    request: v1::OptimizePromptRequest,
    caller: Caller,
    catalog: &Catalog,
) -> Result<PromptRequest, Refusal> {
    let v1::OptimizePromptRequest { prompt, kind, style, enhance_details, model, language, labels } = request;
    let mut violations = Violations::default();
    let prompt = prompt.trim().to_owned();
    let n_chars = prompt.chars().count();
    if !(1..=MAX_PROMPT).contains(&n_chars) {
        violations.add("prompt", format!("has {n_chars} characters; must have 1 to {MAX_PROMPT}"));
    }
    let kind = match v1::Kind::try_from(kind) {
        Ok(v1::Kind::Video) => Kind::Video,
        Ok(v1::Kind::Image) => Kind::Image,
        Ok(v1::Kind::Unspecified | v1::Kind::Speech | v1::Kind::Music | v1::Kind::Text) | Err(_) => {
            let known = [v1::Kind::Video, v1::Kind::Image].map(|kind| kind.as_str_name());
            violations.0.push(unknown("kind", kind, &known));
            Kind::Video
        }
    };
    let n_chars = style.chars().count();
    if n_chars > MAX_STYLE {
        violations.add("style", format!("has {n_chars} characters; at most {MAX_STYLE}"));
    }
    let code = Some(language).filter(|code| !code.is_empty());
    let language = code.as_deref().and_then(Language::from_code);
    if code.is_some() && language.is_none() {
        violations.add("language", "must be one of zh, en");
    }
    check_labels(&labels, &mut violations);
    // One that exists and cannot be asked is no mistake of the caller.
    if !model.is_empty()
        && let Err(NoCandidate::Violations(wrong)) = catalog.talker(&model, &ChatNeeds::default())
    {
        violations.0.extend(wrong);
    }
    violations.none()?;
    Ok(PromptRequest {
        tenant: caller.tenant,
        source: caller.source,
        prompt,
        kind,
        style: Some(style.trim().to_owned()).filter(|style| !style.is_empty()),
        enhance: enhance_details.unwrap_or(true),
        model,
        language,
        labels,
        trace: caller.trace,
    })
}
