//! The language models of the catalog: which one a chat goes to, and whether it can do what is asked.

use std::sync::Arc;

use super::{Catalog, MOST_EXAMPLES, MOST_NAMES, NoCandidate, ProviderEntry, SAMPLE, refused, unknown};
use crate::domain::{
    chat::ChatCard,
    names::{ModelName, ProviderId},
    order::Violation,
};

/// What of a chat decides whether a model can do it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChatNeeds {
    /// The first field that holds a picture.
    pub image: Option<String>,
    /// Whether tools may be wanted.
    pub tools: bool,
    /// Whether the answer must keep to a schema.
    pub json_schema: bool,
    /// Most tokens of the answer, as asked.
    pub max_tokens: Option<u32>,
}

/// The model that a chat goes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Talker {
    /// The model, by its own name.
    pub model: ModelName,
    /// Its card; absent for a model nobody described.
    pub card: Option<Arc<ChatCard>>,
}

impl Catalog {
    /// The card of a language model, by name or alias.
    pub fn chat_card(&self, model: &ModelName) -> Option<&Arc<ChatCard>> {
        self.providers.get(&model.provider)?.chat_card(&model.name)
    }

    /// The model that a chat naming `text` goes to: `provider/name`, a name or alias alone, or empty for the default.
    ///
    /// # Errors
    /// There is no such model, it cannot do what is needed, or its provider is not configured.
    pub fn talker(&self, text: &str, needs: &ChatNeeds) -> Result<Talker, NoCandidate> {
        let named = if text.is_empty() { self.default_chat.clone() } else { self.named_chat(text) };
        let Some(model) = named else {
            let none = || refused("model", "must be set: there is no default model".to_owned());
            return Err(if text.is_empty() { none() } else { self.no_talker(text) });
        };
        let Some(entry) = self.providers.get(&model.provider) else { return Err(self.no_talker(text)) };
        if let Some(how) = &entry.missing {
            return Err(NoCandidate::NotConfigured { provider: model.provider, how: how.clone() });
        }
        let Some(card) = entry.chat_card(&model.name) else {
            // A model without a card takes what its provider takes.
            let is_open = entry.open_chat && self.card(&model).is_none();
            return if is_open { Ok(Talker { model, card: None }) } else { Err(self.no_talker(text)) };
        };
        let violations = self.unfit(card, needs);
        if !violations.is_empty() {
            return Err(NoCandidate::Violations(violations));
        }
        let model = ModelName { provider: model.provider, name: card.name.clone() };
        Ok(Talker { model, card: Some(Arc::clone(card)) })
    }

    /// `provider/name` if there is such a provider, else the first provider with a language model of that name or alias: those configured
    /// here before the others, and the sample after all.
    pub fn named_chat(&self, text: &str) -> Option<ModelName> {
        let full = text.parse::<ModelName>().ok().filter(|model| self.providers.contains_key(&model.provider));
        full.or_else(|| {
            let mut providers: Vec<_> = self.providers.iter().collect();
            providers.sort_by_key(|(id, entry)| (entry.missing.is_some(), id.id() == SAMPLE));
            let found = providers.into_iter().find_map(|(id, entry)| Some((id, entry.chat_card(text)?)));
            found.map(|(id, card)| ModelName { provider: id.clone(), name: card.name.clone() })
        })
    }

    /// The language models of configured providers that a refusal may name.
    fn usable_chat(&self) -> impl Iterator<Item = (&ProviderId, &Arc<ChatCard>)> {
        let usable = self.providers.iter().filter(|(_, entry)| entry.missing.is_none());
        usable.flat_map(|(id, entry)| entry.chat_cards.iter().map(move |card| (id, card)))
    }

    /// What is said of a name that no language model has: perhaps another model has it.
    fn no_talker(&self, text: &str) -> NoCandidate {
        let other = self.named(text, None).and_then(|model| Some((self.card(&model)?.kind, model)));
        match other {
            Some((kind, model)) => {
                let why = format!("{model} makes {kind} and cannot be talked with; {}", self.talkers());
                refused("model", why)
            }
            None => unknown("model", format!("unsupported model {text:?}; {}", self.talkers())),
        }
    }

    /// Which models can be talked with, in words.
    fn talkers(&self) -> String {
        let names: Vec<String> = self.usable_chat().map(|(id, card)| format!("{id}/{}", card.name)).collect();
        let (some, others) = names.split_at(names.len().min(MOST_NAMES));
        let more =
            if others.is_empty() { String::new() } else { format!(" and {} more, see ListModels", others.len()) };
        format!("supported for text: {}{more}", some.join(", "))
    }

    /// What a model cannot do of what is needed, each with models that can.
    fn unfit(&self, card: &ChatCard, needs: &ChatNeeds) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut lacks = |field: &str, what: &str, can: fn(&ChatCard) -> bool| {
            let names = self.usable_chat().filter(|(id, card)| id.id() != SAMPLE && can(card));
            let names: Vec<String> = names.map(|(id, card)| format!("{id}/{}", card.name)).collect();
            let (some, others) = names.split_at(names.len().min(MOST_EXAMPLES));
            let more = if others.is_empty() { "" } else { " and others, see ListModels" };
            let models =
                if some.is_empty() { String::new() } else { format!(". Models that do: {}{more}", some.join(", ")) };
            violations.push(Violation::new(field, format!("{} does not {what}{models}", card.name)));
        };
        if let Some(field) = needs.image.as_ref().filter(|_| !card.images) {
            lacks(field, "look at pictures", |card| card.images);
        }
        if needs.tools && !card.tools {
            lacks("tools", "want tools called", |card| card.tools);
        }
        if needs.json_schema && !card.json_schema {
            lacks("response_format.type", "keep to a JSON Schema", |card| card.json_schema);
        }
        if let (Some(asked), Some(most)) = (needs.max_tokens, card.max_output_tokens)
            && u64::from(asked) > most
        {
            violations.push(Violation::new("max_tokens", format!("{} answers with at most {most}", card.name)));
        }
        violations
    }
}

impl ProviderEntry {
    /// The card of one of its language models, by name or alias.
    pub fn chat_card(&self, name: &str) -> Option<&Arc<ChatCard>> {
        self.chat_cards.iter().find(|card| card.name == name || card.aliases.iter().any(|alias| alias == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(toml: &str) -> Arc<ChatCard> {
        Arc::new(toml::from_str(toml).unwrap())
    }

    fn catalog() -> Catalog {
        let entry = |cards: &[&str], missing: Option<&str>, open_chat| ProviderEntry {
            chat_cards: cards.iter().map(|toml| card(toml)).collect(),
            cards: vec![Arc::new(toml::from_str("name = 'pictures'\nkind = 'image'").unwrap())],
            missing: missing.map(str::to_owned),
            open_chat,
            ..ProviderEntry::default()
        };
        let wide = "name = 'wide'\naliases = ['w']\nimages = true\ntools = true\njson_schema = true";
        let id = |id| ProviderId::from_id(id).unwrap();
        let providers = [
            (id("closed"), entry(&["name = 'narrow'\nmax_output_tokens = 10", wide], None, false)),
            (id("keyless"), entry(&["name = 'away'", "name = 'narrow'"], Some("set KEY"), false)),
            (id("open"), entry(&[], None, true)),
        ];
        let default_chat = "closed/narrow".parse().ok();
        Catalog { providers: providers.into(), default_chat, ..Catalog::default() }
    }

    fn found(text: &str) -> Result<String, String> {
        match catalog().talker(text, &ChatNeeds::default()) {
            Ok(talker) => Ok(talker.model.to_string()),
            Err(NoCandidate::Violations(all)) => Err(format!("{}: {}", all[0].field, all[0].description)),
            Err(NoCandidate::NotConfigured { provider, how }) => Err(format!("{provider}: {how}")),
        }
    }

    #[test]
    fn a_model_is_found_by_its_full_name_its_alias_or_by_default() {
        for (text, model) in [
            ("", "closed/narrow"),
            ("narrow", "closed/narrow"),
            ("w", "closed/wide"),
            ("closed/w", "closed/wide"),
            ("open/any/thing", "open/any/thing"),
        ] {
            assert_eq!(found(text).as_deref(), Ok(model), "{text}");
        }
        assert_eq!(found("away").unwrap_err(), "keyless: set KEY");
        for (text, why) in [
            ("nothing", "closed/narrow, closed/wide"),
            ("closed/nothing", "supported for text"),
            ("closed/pictures", "makes image"),
            ("nobody/x", "supported for text"),
        ] {
            let refused = found(text).unwrap_err();
            assert!(refused.starts_with("model: ") && refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn what_a_model_cannot_do_is_told_with_models_that_can() {
        let needs = ChatNeeds {
            image: Some("messages[0].content[1].image.uri".to_owned()),
            tools: true,
            json_schema: true,
            max_tokens: Some(11),
        };
        let Err(NoCandidate::Violations(all)) = catalog().talker("narrow", &needs) else { panic!("accepted") };
        let fields: Vec<&str> = all.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["messages[0].content[1].image.uri", "tools", "response_format.type", "max_tokens"]);
        assert!(all[..3].iter().all(|violation| violation.description.contains("closed/wide")), "{all:?}");
        assert!(catalog().talker("wide", &needs).is_ok() && catalog().talker("open/x", &needs).is_ok());
    }
}
