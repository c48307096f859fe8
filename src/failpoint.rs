//! Named places where a test makes the process die as if the power went: SIGKILL, nothing flushed, nothing said.
//!
//! Only a build with the feature `failpoints` has them, and no release build can. There `FILMGATE_FAILPOINTS=NAME[:NTH][,…]` names the places
//! that kill, the first time they are reached or the NTH. Between `send.before` and `receive.before` a request is on its way and no line of ours
//! runs: a test that wants a death there lets the simulator hold its answer, and kills from outside.

use std::{fmt, str::FromStr};

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!(
    "the feature `failpoints` lets a variable kill the process: it is for tests, and never for a release build"
);

/// A place on the way of a generation, in the order in which it passes them: on each side of every step that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The request is valid and not stored.
    OrderBefore,
    /// It is stored, and nobody has been told.
    OrderAfter,
    /// It has its place at the provider; that it will be sent is not stored.
    IntentBefore,
    /// The intent is stored.
    IntentAfter,
    /// The adapter is about to be called.
    SendBefore,
    /// The vendor has begun to answer.
    ReceiveBefore,
    /// The vendor's answer was read and understood.
    ReceiveAfter,
    /// The outputs that came with the answer are stored, and no record refers to them.
    AnswerBefore,
    /// They cannot be looked at quickly, and a record refers to them.
    AnswerAfter,
    /// There is a ticket and it is not stored.
    TicketBefore,
    /// The ticket is stored.
    TicketAfter,
    /// The vendor is about to be asked about its job.
    PollBefore,
    /// It has answered.
    PollAfter,
    /// It says that the job is done, which is not stored.
    TerminalBefore,
    /// Fetching its outputs takes long or fails, and that they are ready is stored.
    TerminalAfter,
    /// An output is open and nothing of it has been read.
    SpoolBefore,
    /// All its bytes are in the spool.
    SpoolAfter,
    /// It was looked at and found good.
    BlobBefore,
    /// It is a blob, and no record refers to that.
    BlobAfter,
    /// All blobs are there; the end is not stored.
    SettleBefore,
    /// The end is stored, with all that follows from it.
    SettleAfter,
    /// Those who watch are about to be told.
    NotifyBefore,
    /// They were told.
    NotifyAfter,
}

impl Point {
    /// Every point, in order.
    pub const ALL: [Self; 23] = [
        Self::OrderBefore,
        Self::OrderAfter,
        Self::IntentBefore,
        Self::IntentAfter,
        Self::SendBefore,
        Self::ReceiveBefore,
        Self::ReceiveAfter,
        Self::AnswerBefore,
        Self::AnswerAfter,
        Self::TicketBefore,
        Self::TicketAfter,
        Self::PollBefore,
        Self::PollAfter,
        Self::TerminalBefore,
        Self::TerminalAfter,
        Self::SpoolBefore,
        Self::SpoolAfter,
        Self::BlobBefore,
        Self::BlobAfter,
        Self::SettleBefore,
        Self::SettleAfter,
        Self::NotifyBefore,
        Self::NotifyAfter,
    ];

    /// Its name in `FILMGATE_FAILPOINTS`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OrderBefore => "order.before",
            Self::OrderAfter => "order.after",
            Self::IntentBefore => "intent.before",
            Self::IntentAfter => "intent.after",
            Self::SendBefore => "send.before",
            Self::ReceiveBefore => "receive.before",
            Self::ReceiveAfter => "receive.after",
            Self::AnswerBefore => "answer.before",
            Self::AnswerAfter => "answer.after",
            Self::TicketBefore => "ticket.before",
            Self::TicketAfter => "ticket.after",
            Self::PollBefore => "poll.before",
            Self::PollAfter => "poll.after",
            Self::TerminalBefore => "terminal.before",
            Self::TerminalAfter => "terminal.after",
            Self::SpoolBefore => "spool.before",
            Self::SpoolAfter => "spool.after",
            Self::BlobBefore => "blob.before",
            Self::BlobAfter => "blob.after",
            Self::SettleBefore => "settle.before",
            Self::SettleAfter => "settle.after",
            Self::NotifyBefore => "notify.before",
            Self::NotifyAfter => "notify.after",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No such point.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no failpoint {name:?}; there are {}", Point::ALL.map(Point::name).join(", "))]
pub struct UnknownPoint {
    name: String,
}

impl FromStr for Point {
    type Err = UnknownPoint;

    fn from_str(name: &str) -> Result<Self, UnknownPoint> {
        Self::ALL.into_iter().find(|point| point.name() == name).ok_or_else(|| UnknownPoint { name: name.to_owned() })
    }
}

/// The process has come to `point`, and ends here if it is armed.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_point: Point) {}

#[cfg(feature = "failpoints")]
pub use armed::{VARIABLE, arm, reach};

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    /// Which points kill: `NAME[:NTH]`, several with commas between them.
    pub const VARIABLE: &str = "FILMGATE_FAILPOINTS";

    /// The armed points, each with how often it may still be reached before it kills.
    static ARMED: OnceLock<Vec<(Point, AtomicU32)>> = OnceLock::new();

    /// Arms the points that `text`, the variable's value, names. Only the first call has an effect.
    ///
    /// # Errors
    /// What is wrong with the text, with the names that are allowed.
    pub fn arm(text: &str) -> Result<(), String> {
        let points = text.split(',').map(read).collect::<Result<_, _>>()?;
        ARMED.get_or_init(|| points);
        Ok(())
    }

    fn read(text: &str) -> Result<(Point, AtomicU32), String> {
        let (name, nth) = text.trim().split_once(':').unwrap_or_else(|| (text.trim(), "1"));
        let point = name.parse::<Point>().map_err(|error| error.to_string())?;
        match nth.parse::<u32>() {
            Ok(nth @ 1..) => Ok((point, AtomicU32::new(nth - 1))),
            Ok(0) | Err(_) => Err(format!("{nth:?} is no whole number from 1, as in {name}:2")),
        }
    }

    /// The process has come to `point`, and ends here if it is armed.
    pub fn reach(point: Point) {
        let armed = ARMED.get().and_then(|armed| armed.iter().find(|(armed, _)| *armed == point));
        // Threads may come here together: one of them takes the last step, and those behind it are dead as well.
        if let Some((_, left)) = armed
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
        {
            // It cannot fail: every process may signal itself. If it did, the test would see another end than it waits for.
            let _ = kill_process(getpid(), Signal::KILL);
            std::process::abort();
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_is_no_point_is_refused_with_the_list() {
            let refused = arm("order.before,submit.during").unwrap_err();
            assert!(
                refused.starts_with("there is no failpoint \"submit.during\"; there are order.before, "),
                "{refused}"
            );
            assert!(refused.ends_with(", notify.after"), "{refused}");
            for text in ["order.before:0", "order.before:x", "order.before:"] {
                assert!(arm(text).unwrap_err().contains("no whole number from 1"), "{text}");
            }
            assert!(ARMED.get().is_none());
        }

        #[test]
        fn a_point_is_armed_for_the_first_time_or_the_nth() {
            let read = |text| read(text).map(|(point, left)| (point, left.into_inner()));
            assert_eq!(read("poll.after"), Ok((Point::PollAfter, 0)));
            assert_eq!(read(" poll.after:3"), Ok((Point::PollAfter, 2)));
        }
    }
}
