//! Which of the calls of an answer a part belongs to. Servers tell it by an index, by an id, by both, or not at all.

use std::borrow::Cow;

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::provider::chat::ToolCallDelta;

use super::wire::{Call, Function};

/// The calls of one answer so far.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Known>);

#[derive(Debug)]
struct Known {
    index: Option<u64>,
    id: String,
    is_named: bool,
}

impl Calls {
    /// True if there is any.
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// What `call` adds, with our index.
    pub(super) fn add(&mut self, call: &Call<'_>) -> ToolCallDelta {
        let none = Function::default();
        let function = call.function.as_ref().unwrap_or(&none);
        let (known, is_new) = self.find(call, function);
        let id = match is_new {
            // Whoever answers the call has to name it.
            true if call.id.0.is_empty() => format!("call_{}", Uuid::new_v4().simple()),
            true => call.id.0.clone().into_owned(),
            false => String::new(),
        };
        let position = known.unwrap_or(self.0.len());
        if is_new {
            self.0.push(Known { index: call.index.0, id: id.clone(), is_named: false });
        }
        let mut name = String::new();
        if let Some(known) = self.0.get_mut(position)
            && !known.is_named
            && !function.name.0.is_empty()
        {
            known.is_named = true;
            name = function.name.0.clone().into_owned();
        }
        let index = u32::try_from(position).unwrap_or(u32::MAX);
        ToolCallDelta { index, id, name, arguments: function.arguments.map(text).unwrap_or_default() }
    }

    /// Which one it is, and whether it is a new one.
    fn find(&self, call: &Call<'_>, function: &Function<'_>) -> (Option<usize>, bool) {
        let (id, is_named) = (&*call.id.0, !function.name.0.is_empty());
        let same_id = || self.0.iter().position(|known| !id.is_empty() && known.id == id);
        let found = match call.index.0 {
            // Some give all their calls one index, and each its own id and name.
            Some(index) => self.0.iter().rposition(|known| {
                known.index == Some(index) && (id.is_empty() || known.id == id || !known.is_named || !is_named)
            }),
            None if !id.is_empty() => same_id(),
            None if is_named => None,
            None => self.0.len().checked_sub(1),
        };
        (found, found.is_none())
    }
}

/// Arguments as JSON text, also where they are the JSON itself.
fn text(arguments: &RawValue) -> String {
    let written = arguments.get();
    if !written.starts_with('"') {
        return written.to_owned();
    }
    // The JSON was read before, so that only a lone surrogate can be wrong with it.
    serde_json::from_str::<Cow<'_, str>>(written).map(Cow::into_owned).unwrap_or_default()
}
