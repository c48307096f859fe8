//! From an order to the provider's own fields, by the card. Pure.
//!
//! Invariant: every option and input of the order is in the result, or the order is refused: nothing is dropped in silence.

use serde_json::{Map, Value};

use crate::domain::{
    card::{ModelCard, Size},
    order::OptionName,
};

use super::port::Order;

/// The fields of an order, with `files` in the place of its inputs, in their order.
///
/// # Errors
/// In words, if the card does not know an option or input; the catalog lets no such order pass.
pub fn of(order: &Order, files: Vec<Value>) -> Result<Map<String, Value>, String> {
    let Some(card) = &order.card else { return undescribed(order, &files) };
    let mut fields = Map::new();
    for (key, value) in &card.fixed {
        fields.insert(key.clone(), serde_json::to_value(value).map_err(|error| error.to_string())?);
    }
    // What is set by hand comes before what the order says, so that no typed field can be overridden in silence.
    fields.extend(order.provider_options.clone());
    let prompt = if order.prompt.is_empty() { card.prompt.default.as_deref() } else { Some(order.prompt.as_str()) };
    if let Some(prompt) = prompt.filter(|_| !card.prompt.field.is_empty()) {
        put(&mut fields, &card.prompt.field, Value::from(prompt))?;
    }
    options(order, card, &mut fields)?;
    for (role, file) in order.inputs.iter().map(|input| input.role).zip(files) {
        let spec = card.inputs.get(&role).ok_or_else(|| format!("{} takes no {role}", card.name))?;
        if spec.max == 1 && !spec.list {
            put(&mut fields, &spec.field, file)?;
            continue;
        }
        match place(&mut fields, &spec.field)? {
            Value::Array(list) => list.push(file),
            other => *other = Value::Array(vec![file]),
        }
    }
    Ok(fields)
}

fn options(order: &Order, card: &ModelCard, fields: &mut Map<String, Value>) -> Result<(), String> {
    let size = card.size.as_ref().zip(Size::of(&order.options));
    if let Some((spec, size)) = size
        && let Some(field) = &spec.field
    {
        put(fields, field, Value::from(spec.written(size)))?;
    }
    for (&name, value) in &order.options {
        if size.is_some() && matches!(name, OptionName::Width | OptionName::Height) {
            continue;
        }
        let spec = card.options.get(&name).ok_or_else(|| format!("{} takes no {name}", card.name))?;
        put(fields, spec.field(name), spec.written(value))?;
    }
    Ok(())
}

/// The request's field whose value went to the provider's field `theirs`, such as `input.seconds` or `images[0]`.
pub fn field_of_request(theirs: &str, card: Option<&ModelCard>) -> Option<String> {
    let theirs = theirs.split('[').next()?;
    let first = theirs.split('.').next().filter(|first| !first.is_empty())?;
    // Of a nested field the vendor may name the outer one only, or one below.
    let is_it = |field: &str| {
        field == theirs || field == first || field.strip_prefix(theirs).is_some_and(|rest| rest.starts_with('.'))
    };
    let Some(card) = card else {
        return Some(if theirs == "prompt" {
            "prompt".to_owned()
        } else {
            format!("options.provider_options.{first}")
        });
    };
    if is_it(&card.prompt.field) {
        return Some("prompt".to_owned());
    }
    if let Some((name, _)) = card.options.iter().find(|(name, spec)| is_it(spec.field(**name))) {
        return Some(format!("options.{name}"));
    }
    if card.size.as_ref().and_then(|size| size.field.as_deref()).is_some_and(is_it) {
        return Some("options.width".to_owned());
    }
    if card.inputs.values().any(|spec| is_it(&spec.field)) {
        return Some("inputs".to_owned());
    }
    Some(format!("options.provider_options.{first}"))
}

/// A model that nobody described takes the prompt and the provider's own options; a typed option would be a guess.
fn undescribed(order: &Order, files: &[Value]) -> Result<Map<String, Value>, String> {
    if !order.options.is_empty() || !files.is_empty() {
        return Err(format!("{} has no card, so it takes the prompt and provider_options only", order.model));
    }
    let mut fields = order.provider_options.clone();
    fields.insert("prompt".to_owned(), Value::from(order.prompt.as_str()));
    Ok(fields)
}

/// Puts `value` at `path`, which has dots between the names of nested fields.
pub fn put(fields: &mut Map<String, Value>, path: &str, value: Value) -> Result<(), String> {
    *place(fields, path)? = value;
    Ok(())
}

fn place<'a>(fields: &'a mut Map<String, Value>, path: &str) -> Result<&'a mut Value, String> {
    let Some((first, rest)) = path.split_once('.') else { return Ok(fields.entry(path).or_insert(Value::Null)) };
    match fields.entry(first).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(inner) => place(inner, rest),
        _ => Err(format!("{first} must be an object, for {path} is set in it")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        domain::{
            artifact::Kind,
            order::{InputRole, OptionValue, Options},
        },
        provider::port::{InputFile, OrderInput},
    };

    fn order(card: &str) -> Order {
        let card: ModelCard = toml::from_str(card).unwrap();
        Order {
            kind: Kind::Video,
            model: card.name.clone(),
            card: Some(Arc::new(card)),
            prompt: "a fox".to_owned(),
            options: Options::new(),
            provider_options: Map::new(),
            inputs: Vec::new(),
            webhook: None,
        }
    }

    fn input(role: InputRole) -> OrderInput {
        OrderInput { role, file: InputFile::Url("https://h.example/a.png".parse().unwrap()) }
    }

    #[test]
    fn a_card_names_every_field() {
        let mut order = order(
            r#"name = "m"
            kind = "video"
            prompt = { field = "input.text" }
            size = { field = "size" }
            fixed = { model_id = "m-1", quality = "std" }
            [options.duration]
            field = "input.seconds"
            format = "{}s"
            [options.audio]
            field = "sound"
            values = { true = "on", false = "off" }
            [inputs.reference]
            field = "input.images"
            max = 3
            [inputs.first_frame]
            field = "image""#,
        );
        order.options = Options::from([
            (OptionName::Duration, OptionValue::Int(5)),
            (OptionName::Audio, OptionValue::Bool(true)),
            (OptionName::Width, OptionValue::Int(1280)),
            (OptionName::Height, OptionValue::Int(720)),
        ]);
        order.provider_options = Map::from_iter([("quality".to_owned(), json!("pro"))]);
        order.inputs = [InputRole::Reference, InputRole::FirstFrame, InputRole::Reference].map(input).to_vec();
        let fields = of(&order, vec![json!("a"), json!("b"), json!("c")]).unwrap();
        let expected = json!({
            "model_id": "m-1", "quality": "pro", "size": "1280x720", "sound": "on", "image": "b",
            "input": { "text": "a fox", "seconds": "5s", "images": ["a", "c"] },
        });
        assert_eq!(Value::Object(fields), expected);
    }

    #[test]
    fn a_prompt_that_is_left_out_is_the_cards_or_none() {
        let check = |card: &str, expected: Value| {
            let order = Order { prompt: String::new(), ..order(card) };
            assert_eq!(Value::Object(of(&order, Vec::new()).unwrap()), expected);
        };
        check("name = 'm'\nkind = 'video'\nprompt = { min = 0, default = 'smooth' }", json!({ "prompt": "smooth" }));
        check("name = 'm'\nkind = 'video'\nprompt = { min = 0, max = 0, field = '' }", json!({}));
    }

    #[test]
    fn what_the_card_does_not_know_is_refused() {
        let mut order = order("name = 'm'\nkind = 'video'");
        order.options = Options::from([(OptionName::Seed, OptionValue::Int(5))]);
        assert!(of(&order, Vec::new()).unwrap_err().contains("seed"));
        order.options.clear();
        order.inputs = vec![input(InputRole::Mask)];
        assert!(of(&order, vec![json!("a")]).unwrap_err().contains("MASK"));
    }
}
