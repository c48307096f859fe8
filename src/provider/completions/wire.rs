//! An answer as it is written: whole, or a part of it in an event. Borrowed from the bytes, and lenient: an odd type reads as absent, so that
//! one field never costs the rest.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Fields that have no place of their own, as they are written.
pub(super) type Extra<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// An answer or a part of one.
#[derive(Debug, Default)]
pub(super) struct Page<'a> {
    pub(super) id: Text<'a>,
    /// Absent is something else than none.
    pub(super) choices: Option<Vec<Choice<'a>>>,
    pub(super) usage: Option<&'a RawValue>,
    pub(super) error: Option<&'a RawValue>,
    pub(super) extra: Extra<'a>,
}

/// One of several answers.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    pub(super) index: Number,
    pub(super) message: Message<'a>,
    pub(super) finish: Text<'a>,
    pub(super) extra: Extra<'a>,
}

/// What it says, or what it says next.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) content: Spoken<'a>,
    pub(super) refusal: Text<'a>,
    pub(super) reasoning_content: Spoken<'a>,
    pub(super) reasoning: Spoken<'a>,
    pub(super) tool_calls: Vec<Call<'a>>,
    /// The old form of one call.
    pub(super) function_call: Option<Function<'a>>,
    pub(super) extra: Extra<'a>,
}

/// A call of a tool, or more of one.
#[derive(Debug, Default)]
pub(super) struct Call<'a> {
    pub(super) index: Number,
    pub(super) id: Text<'a>,
    pub(super) function: Option<Function<'a>>,
}

/// What is called.
#[derive(Debug, Default)]
pub(super) struct Function<'a> {
    pub(super) name: Text<'a>,
    /// A text with JSON; of odd servers the JSON itself.
    pub(super) arguments: Option<&'a RawValue>,
}

/// A text; a number is one too, and whatever else is an empty one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Text<'a>(pub Cow<'a, str>);

/// A whole number, however it is written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(pub Option<u64>);

/// What is said: a text, or a list of parts, some of which may be thoughts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Spoken<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) thoughts: Cow<'a, str>,
}

impl<'a> Spoken<'a> {
    fn add(&mut self, more: Self) {
        join(&mut self.text, more.text);
        join(&mut self.thoughts, more.thoughts);
    }

    /// All of it.
    pub(super) fn into_all(mut self) -> Cow<'a, str> {
        join(&mut self.thoughts, self.text);
        self.thoughts
    }
}

impl Function<'_> {
    /// True if it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.name.0.is_empty() && self.arguments.is_none()
    }
}

fn join<'a>(text: &mut Cow<'a, str>, more: Cow<'a, str>) {
    if text.is_empty() {
        *text = more;
    } else if !more.is_empty() {
        text.to_mut().push_str(&more);
    }
}

/// A list, each item of which is there or not for itself; what is no list has none.
fn list<'de, A: MapAccess<'de>, T: Deserialize<'de>>(map: &mut A) -> Result<Option<Vec<T>>, A::Error> {
    let raw: &'de RawValue = map.next_value()?;
    if !raw.get().starts_with('[') {
        return Ok(None);
    }
    serde_json::from_str(raw.get()).map(Some).map_err(A::Error::custom)
}

/// Keeps a field that says something.
fn keep<'de, A: MapAccess<'de>>(extra: &mut Extra<'de>, key: Text<'de>, map: &mut A) -> Result<(), A::Error> {
    let raw: &'de RawValue = map.next_value()?;
    if !matches!(raw.get(), "null" | "[]" | "{}") {
        extra.push((key.0, raw));
    }
    Ok(())
}

/// What `map` says under a key that may be null.
fn said<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<&'de RawValue>, A::Error> {
    let raw: &'de RawValue = map.next_value()?;
    Ok(Some(raw).filter(|raw| raw.get() != "null"))
}

/// The visits that are answered with nothing.
macro_rules! nothing_of {
    ($($visit:ident($($value:ty)?)),+ $(,)?) => {
        $(fn $visit<E: Error>(self $(, _: $value)?) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        })+
    };
}

/// Reads an object field by field; what is none of them is skipped or kept as `$rest` says. What is no object is empty.
macro_rules! object {
    ($name:ident, |$this:ident, $map:ident, $key:ident| { $($($known:literal)|+ => $read:expr,)+ _ => $rest:expr, }) => {
        impl<'de> Deserialize<'de> for $name<'de> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields<'de>(PhantomData<&'de ()>);
                impl<'de> Visitor<'de> for Fields<'de> {
                    type Value = $name<'de>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    nothing_of!(visit_unit(), visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));

                    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                        while list.next_element::<IgnoredAny>()?.is_some() {}
                        Ok(Self::Value::default())
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut $map: A) -> Result<Self::Value, A::Error> {
                        let mut $this = $name::default();
                        while let Some($key) = $map.next_key::<Text<'de>>()? {
                            match &*$key.0 {
                                $($($known)|+ => $read,)+
                                _ => $rest,
                            }
                        }
                        Ok($this)
                    }
                }
                deserializer.deserialize_any(Fields(PhantomData))
            }
        }
    };
}

object!(Page, |page, map, key| {
    "id" => page.id = map.next_value()?,
    "choices" => page.choices = list(&mut map)?,
    "usage" => page.usage = said(&mut map)?,
    "error" => page.error = said(&mut map)?,
    "object" | "created" | "model" | "obfuscation" => drop(map.next_value::<IgnoredAny>()?),
    _ => keep(&mut page.extra, key, &mut map)?,
});

object!(Choice, |choice, map, key| {
    "index" => choice.index = map.next_value()?,
    "delta" | "message" => choice.message = map.next_value()?,
    "finish_reason" => choice.finish = map.next_value()?,
    _ => keep(&mut choice.extra, key, &mut map)?,
});

object!(Message, |message, map, key| {
    "role" => drop(map.next_value::<IgnoredAny>()?),
    "content" => message.content = map.next_value()?,
    "refusal" => message.refusal = map.next_value()?,
    "reasoning_content" => message.reasoning_content = map.next_value()?,
    "reasoning" => message.reasoning = map.next_value()?,
    "tool_calls" => message.tool_calls = list(&mut map)?.unwrap_or_default(),
    "function_call" => message.function_call = map.next_value()?,
    _ => keep(&mut message.extra, key, &mut map)?,
});

object!(Call, |call, map, key| {
    "index" => call.index = map.next_value()?,
    "id" => call.id = map.next_value()?,
    "function" => call.function = map.next_value()?,
    _ => drop(map.next_value::<IgnoredAny>()?),
});

object!(Function, |function, map, key| {
    "name" => function.name = map.next_value()?,
    "arguments" => function.arguments = said(&mut map)?,
    _ => drop(map.next_value::<IgnoredAny>()?),
});

/// Of lists and objects, which are read to their end.
macro_rules! nothing_of_containers {
    () => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<'de>(PhantomData<&'de ()>);
        impl<'de> Visitor<'de> for Any<'de> {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            nothing_of!(visit_unit(), visit_bool(bool), visit_i64(i64), visit_f64(f64));
            nothing_of_containers!();
        }
        deserializer.deserialize_any(Any(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Number(Some(number)))
            }

            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from float saturates")]
            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Number((number >= 0.0).then_some(number as u64)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Number(text.trim().parse().ok()))
            }

            nothing_of!(visit_unit(), visit_bool(bool), visit_i64(i64));
            nothing_of_containers!();
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for Spoken<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<'de>(PhantomData<&'de ()>);
        impl<'de> Visitor<'de> for Any<'de> {
            type Value = Spoken<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or its parts")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Spoken { text: Cow::Borrowed(text), ..Spoken::default() })
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Spoken { text: Cow::Owned(text.to_owned()), ..Spoken::default() })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut spoken = Spoken::default();
                while let Some(part) = list.next_element()? {
                    spoken.add(part);
                }
                Ok(spoken)
            }

            // A part: `{"type": "text", "text": …}`, or Mistral's `{"type": "thinking", "thinking": […]}`.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut spoken = Spoken::default();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    match &*key.0 {
                        "text" => spoken.add(map.next_value()?),
                        "thinking" => join(&mut spoken.thoughts, map.next_value::<Spoken<'de>>()?.into_all()),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(spoken)
            }

            nothing_of!(visit_unit(), visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64));
        }
        deserializer.deserialize_any(Any(PhantomData))
    }
}
