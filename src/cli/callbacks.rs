//! `redeliver`, and what `get` shows of a callback.

use super::{
    ClientCommand, Context, connect::call, exit::Exit, failure::Failure, json, names::Collection, terminal::Format,
    text,
};
use crate::pb::v1::{Callback, CallbackError, CallbackState, RedeliverCallbackRequest};

/// Arguments of `filmgate redeliver`.
#[derive(Debug, clap::Args)]
pub(super) struct Redeliver {
    /// The generation; it must have ended and have a callback address.
    #[arg(value_name = "NAME")]
    name: String,
}

impl ClientCommand for Redeliver {
    async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let name = Collection::Generations.name(&self.name)?;
        let request = RedeliverCallbackRequest { name: name.clone() };
        let response = context.connection.generations().redeliver_callback(call(request)).await?;
        let callback = response.into_inner().callback;
        let callback =
            callback.ok_or_else(|| Failure::new(Exit::Internal, "the server answered without a callback"))?;
        match context.terminal.format {
            Format::Json => context.terminal.json_line(&json::of(&callback)?)?,
            Format::Text => context.terminal.line(&format!("{name}: callback {}", told(&callback)))?,
        }
        Ok(Exit::Ok)
    }
}

/// A callback in one line: how far it is, where it goes, and what came of the last try.
pub(super) fn told(callback: &Callback) -> String {
    let state = text::word(callback.state().as_str_name(), "CALLBACK_STATE_");
    let mut parts = vec![format!("{state} to {}", callback.url)];
    match callback.n_tries {
        0 => {}
        1 => parts.push("1 try".to_owned()),
        n_tries => parts.push(format!("{n_tries} tries")),
    }
    match (callback.last_error(), callback.last_status) {
        (CallbackError::Unspecified, _) => {}
        (CallbackError::Status, Some(status)) => parts.push(format!("answered with status {status}")),
        (error, _) => parts.push(text::word(error.as_str_name(), "CALLBACK_ERROR_").replace('_', " ")),
    }
    let time = match callback.state() {
        CallbackState::Pending => ("next", text::time(callback.next_time.as_ref())),
        CallbackState::Delivered => ("at", text::time(callback.delivered_time.as_ref())),
        CallbackState::Failed | CallbackState::Unspecified => ("", String::new()),
    };
    if !time.1.is_empty() {
        parts.push(format!("{} {}", time.0, time.1));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_told_in_one_line() {
        let time = Some(prost_types::Timestamp { seconds: 1_760_000_000, nanos: 0 });
        let callback = Callback {
            url: "https://a.example/x".to_owned(),
            state: CallbackState::Pending.into(),
            ..Callback::default()
        };
        assert_eq!(told(&callback), "pending to https://a.example/x");
        let refused = Callback {
            n_tries: 2,
            last_status: Some(500),
            last_error: CallbackError::Status.into(),
            next_time: time,
            ..callback.clone()
        };
        assert_eq!(
            told(&refused),
            "pending to https://a.example/x, 2 tries, answered with status 500, next 2025-10-09 08:53:20Z"
        );
        let failed = Callback {
            n_tries: 1,
            state: CallbackState::Failed.into(),
            last_error: CallbackError::AddressNotAllowed.into(),
            ..callback.clone()
        };
        assert_eq!(told(&failed), "failed to https://a.example/x, 1 try, address not allowed");
        let delivered = Callback { state: CallbackState::Delivered.into(), delivered_time: time, ..callback };
        assert_eq!(told(&delivered), "delivered to https://a.example/x, at 2025-10-09 08:53:20Z");
    }
}
