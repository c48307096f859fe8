//! A callback: the report of a generation's end to an address of its caller, tried until somebody takes it.

use jiff::Timestamp;
use url::{Position, Url};

/// How far a callback is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackState {
    /// Nobody has taken it yet; it is due at some time.
    Pending,
    /// It was taken.
    Delivered,
    /// It was given up.
    Failed,
}

impl CallbackState {
    const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// From the stable word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Why a try failed. Never in the words of whoever was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackError {
    /// It was answered with something else than 2xx.
    Status,
    /// There was no connection, or it broke before an answer.
    Unreachable,
    /// There was no answer in time.
    Timeout,
    /// The address may not be called.
    AddressNotAllowed,
    /// There is no secret to sign with.
    NoSecret,
    /// It could not be made: a defect.
    Internal,
}

impl CallbackError {
    const ALL: [Self; 6] =
        [Self::Status, Self::Unreachable, Self::Timeout, Self::AddressNotAllowed, Self::NoSecret, Self::Internal];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::NoSecret => "no_secret",
            Self::Internal => "internal",
        }
    }

    /// From the stable word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.as_str() == word)
    }
}

/// A callback as it is now. Its address is the generation's `callback_url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// How far it is.
    pub state: CallbackState,
    /// Tries since `since`.
    pub n_tries: u32,
    /// When it first fell due: at the end of the generation, or when it was last asked for again.
    pub since: Timestamp,
    /// HTTP status of the last answer.
    pub last_status: Option<u16>,
    /// Why the last try failed.
    pub last_error: Option<CallbackError>,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// When it was taken.
    pub delivered_at: Option<Timestamp>,
}

impl Callback {
    /// Due at once and not tried yet.
    pub fn due(now: Timestamp) -> Self {
        Self {
            state: CallbackState::Pending,
            n_tries: 0,
            since: now,
            last_status: None,
            last_error: None,
            next_at: Some(now),
            delivered_at: None,
        }
    }

    /// Of a generation that has not ended.
    pub fn waiting(created_at: Timestamp) -> Self {
        Self { next_at: None, ..Self::due(created_at) }
    }

    /// After one more try that ended at `now`.
    pub fn tried(&self, tried: Tried, now: Timestamp) -> Self {
        let n_tries = self.n_tries.saturating_add(1);
        match tried {
            Tried::Delivered { status } => Self {
                state: CallbackState::Delivered,
                n_tries,
                since: self.since,
                last_status: Some(status),
                last_error: None,
                next_at: None,
                delivered_at: Some(now),
            },
            Tried::Failed { status, error, next_at } => Self {
                state: if next_at.is_some() { CallbackState::Pending } else { CallbackState::Failed },
                n_tries,
                since: self.since,
                last_status: status,
                last_error: Some(error),
                next_at,
                delivered_at: None,
            },
        }
    }
}

/// How a try went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// It was taken with this status.
    Delivered {
        /// 2xx.
        status: u16,
    },
    /// It was not.
    Failed {
        /// The answer's status, if there was one.
        status: Option<u16>,
        /// Why.
        error: CallbackError,
        /// When it is tried next; none gives it up.
        next_at: Option<Timestamp>,
    },
}

/// The host of an address with its port, unless that is the usual one: what one slow receiver is told from others by.
pub fn host(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_with_an_unusual_port_and_nothing_else() {
        let check = |url: &str, expected: &str| assert_eq!(host(&Url::parse(url).unwrap()), expected);
        check("https://Example.com/a?b", "example.com");
        check("https://example.com:443/", "example.com");
        check("http://[::1]:8080/a", "[::1]:8080");
    }

    #[test]
    fn every_word_is_read_back() {
        for state in CallbackState::ALL {
            assert_eq!(CallbackState::from_word(state.as_str()), Some(state));
        }
        for error in CallbackError::ALL {
            assert_eq!(CallbackError::from_word(error.as_str()), Some(error));
        }
        assert_eq!(CallbackState::from_word("lost"), None);
    }

    #[test]
    fn a_failed_try_is_pending_until_it_is_given_up() {
        let now = Timestamp::constant(1_700_000_000, 0);
        let failed = |next_at| Tried::Failed { status: Some(500), error: CallbackError::Status, next_at };
        let callback = Callback::due(now).tried(failed(Some(now)), now);
        assert_eq!((callback.state, callback.n_tries, callback.next_at), (CallbackState::Pending, 1, Some(now)));
        let given_up = callback.tried(failed(None), now);
        assert_eq!((given_up.state, given_up.n_tries), (CallbackState::Failed, 2));
        let delivered = callback.tried(Tried::Delivered { status: 204 }, now);
        assert_eq!((delivered.state, delivered.last_error), (CallbackState::Delivered, None));
        assert_eq!((delivered.delivered_at, delivered.last_status), (Some(now), Some(204)));
    }
}
