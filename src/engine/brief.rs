//! The prompt really sent: the request's prompt with the conversation's context, and what identical orders have in common.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use crate::domain::{
    artifact::Kind,
    names::TenantId,
    order::{Candidate, Input, InputSource},
    session::{Message, Role},
};

/// How many messages a brief looks back on, the new one included.
pub(super) const CONTEXT: usize = 6;

/// Most characters of a brief with context.
const MOST: usize = 600;

/// The prompt with the last messages of its session, the new one included, as `prompt — Context: role: text | …`.
///
/// Cut at 600 characters (or the model's `most`, if that is less) plus `...`. The prompt itself is never cut: one that leaves no room goes alone.
/// A text to speak goes as it is, and where no prompt was given there is no brief.
pub(super) fn brief(kind: Kind, system: Option<&str>, prompt: &str, earlier: &[Message], most: usize) -> String {
    if prompt.is_empty() || !has_context(kind) {
        return prompt.to_owned();
    }
    let from = earlier.len().saturating_sub(CONTEXT - 1);
    let said = earlier[from..].iter().map(|message| (message.role, message.text.as_str()));
    let said = said.filter(|(_, text)| !text.is_empty());
    let said: Vec<String> = said
        .chain([(Role::User, prompt)])
        .map(|(role, text)| format!("{}: {}", role.as_str(), text.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    let with_context = format!("{prompt} — Context: {}", said.join(" | "));
    let most = MOST.min(most.saturating_sub(3));
    let body = if prompt.chars().count() + " — Context: ".chars().count() >= most {
        prompt.to_owned()
    } else if with_context.chars().count() > most {
        let cut: String = with_context.chars().take(most).collect();
        format!("{cut}...")
    } else {
        with_context
    };
    match system {
        Some(system) => format!("{system}\n\n{body}"),
        None => body,
    }
}

/// Whether what was said before belongs to an order of this kind; a text to speak is all there is to say.
pub(super) fn has_context(kind: Kind) -> bool {
    match kind {
        Kind::Video | Kind::Image | Kind::Music => true,
        Kind::Speech => false,
    }
}

/// What decides the result of an order at one of its models, but for the conversation and the model itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ordered<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) kind: Kind,
    pub(super) system: Option<&'a str>,
    pub(super) prompt: &'a str,
    pub(super) inputs: &'a [Input],
    pub(super) fallback_on_refusal: bool,
}

impl Ordered<'_> {
    /// Two orders with the same digest share one job and answer each other: tenant, models, normalised prompt, every resolved option, provider
    /// options, inputs, and what may follow a failure. The models of a route count in the order of the settings, so that a strategy which has
    /// come to prefer another one buys nothing twice.
    pub(super) fn digest(&self, candidates: &[Candidate]) -> String {
        let mut listed: Vec<&Candidate> = candidates.iter().filter(|candidate| !candidate.stand_in).collect();
        listed.sort_by_key(|candidate| candidate.listed);
        let stand_in = candidates.iter().any(|candidate| candidate.stand_in);
        let first = self.of(listed.first().copied(), stand_in, self.fallback_on_refusal);
        if listed.len() < 2 {
            return first;
        }
        let others: Vec<String> = listed.iter().skip(1).map(|other| self.of_one(other)).collect();
        hex::encode(Sha256::digest(json!([first, others]).to_string().as_bytes()))
    }

    /// Under which a result of this model answers whoever asks for this model, whatever might have followed a failure.
    pub(super) fn of_one(&self, candidate: &Candidate) -> String {
        self.of(Some(candidate), false, false)
    }

    fn of(&self, candidate: Option<&Candidate>, stand_in: bool, fallback_on_refusal: bool) -> String {
        let inputs: Vec<Value> = self
            .inputs
            .iter()
            .map(|input| match &input.source {
                // Inline bytes got an artifact named after their hash, so equal bytes are equal inputs.
                InputSource::Artifact(id) => json!([input.role, id.id()]),
                InputSource::Url(url) => json!([input.role, url.as_str()]),
            })
            .collect();
        let order = json!([
            self.tenant.id(),
            self.system,
            spoken_or_shown(self.kind, self.prompt),
            candidate.map(|candidate| candidate.model.to_string()),
            candidate.map(|candidate| serde_json::to_value(&candidate.options).unwrap_or_default()),
            candidate.map(|candidate| sorted(&Value::Object(candidate.provider_options.clone()))),
            inputs,
            stand_in,
            fallback_on_refusal,
            self.kind,
        ]);
        hex::encode(Sha256::digest(order.to_string().as_bytes()))
    }
}

/// A text is spoken with its capitals and pauses; to a picture they mean nothing.
fn spoken_or_shown(kind: Kind, prompt: &str) -> String {
    if has_context(kind) { normalised(prompt) } else { prompt.to_owned() }
}

/// NFKC, trimmed, lower case, white space folded.
fn normalised(prompt: &str) -> String {
    let lower = prompt.nfkc().collect::<String>().to_lowercase();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The same value with the keys of every object in order, as text.
pub(super) fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let fields: Vec<String> =
                keys.into_iter().map(|key| format!("{}:{}", Value::from(key.as_str()), sorted(&map[key]))).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::Map;

    use super::*;

    fn message(role: Role, text: &str) -> Message {
        Message {
            role,
            text: text.to_owned(),
            meta: Map::new(),
            created_at: Timestamp::UNIX_EPOCH,
            generation: None,
            chat: None,
        }
    }

    #[test]
    fn a_brief_holds_the_last_six_messages_the_new_one_included() {
        let earlier: Vec<Message> = (0..16).map(|n| message(Role::User, &format!("turn {n}"))).collect();
        let brief = brief(Kind::Video, None, "a cat", &earlier, 32_000);
        assert_eq!(
            brief,
            "a cat — Context: user: turn 11 | user: turn 12 | user: turn 13 | user: turn 14 | user: turn 15 | user: a cat"
        );
    }

    #[test]
    fn a_brief_with_context_is_cut_at_600_characters() {
        let earlier = vec![message(Role::Assistant, &"é".repeat(900))];
        let brief = brief(Kind::Video, None, "a cat", &earlier, 32_000);
        assert_eq!(brief.chars().count(), 603);
        assert!(brief.starts_with("a cat — Context: assistant: é") && brief.ends_with("..."));
    }

    #[test]
    fn the_prompt_itself_is_never_cut() {
        let prompt = "x".repeat(5_000);
        assert_eq!(brief(Kind::Video, None, &prompt, &[message(Role::User, "before")], 5_000), prompt);
        assert_eq!(brief(Kind::Video, Some("Be calm."), "a", &[], 14), "Be calm.\n\na");
    }

    #[test]
    fn a_text_to_speak_goes_as_it_is_and_no_prompt_is_no_brief() {
        let earlier = [message(Role::User, "before"), message(Role::User, "")];
        assert_eq!(brief(Kind::Speech, Some("Be calm."), "Hello,  you.", &earlier, 9), "Hello,  you.");
        assert_eq!(brief(Kind::Video, Some("Be calm."), "", &earlier, 900), "");
        assert_eq!(brief(Kind::Music, None, "a", &earlier, 900), "a — Context: user: before | user: a");
    }

    #[test]
    fn prompts_that_differ_in_case_and_space_only_are_the_same() {
        assert_eq!(normalised("A  Cat "), normalised("a cat"));
        assert_eq!(normalised("ｃａｔ"), "cat");
        assert_ne!(normalised("a cat"), normalised("a cat!"));
    }

    #[test]
    fn the_order_of_keys_says_nothing() {
        let (left, right): (Value, Value) = (
            serde_json::from_str(r#"{"a":{"x":1,"y":2},"b":3}"#).unwrap(),
            serde_json::from_str(r#"{"b":3,"a":{"y":2,"x":1}}"#).unwrap(),
        );
        assert_eq!(sorted(&left), sorted(&right));
    }

    #[test]
    fn a_route_is_the_same_order_however_its_strategy_arranges_it_and_no_order_of_one_model() {
        let candidate = |model: &str, listed| Candidate {
            model: model.parse().unwrap(),
            listed,
            ..crate::domain::life::tests::drafted(1).candidates.remove(0)
        };
        let (one, other) = (candidate("a/one", 0), candidate("b/other", 1));
        let tenant = TenantId::default_tenant();
        let ordered = Ordered {
            tenant: &tenant,
            kind: Kind::Video,
            system: None,
            prompt: "a cat",
            inputs: &[],
            fallback_on_refusal: false,
        };
        let route = ordered.digest(&[one.clone(), other.clone()]);
        assert_eq!(route, ordered.digest(&[other.clone(), one.clone()]), "arranged anew");
        let settings_changed = [Candidate { listed: 1, ..one.clone() }, Candidate { listed: 0, ..other.clone() }];
        assert_ne!(route, ordered.digest(&settings_changed));
        assert_ne!(route, ordered.digest(std::slice::from_ref(&one)));
        assert_eq!(ordered.of_one(&one), ordered.digest(std::slice::from_ref(&one)));
        let may_be_refused = Ordered { fallback_on_refusal: true, ..ordered };
        assert_ne!(route, may_be_refused.digest(&[one.clone(), other]));
        assert_eq!(may_be_refused.of_one(&one), ordered.of_one(&one), "a result is a result");
    }
}
