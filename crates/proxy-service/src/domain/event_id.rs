//! The name of one event of one turn, by which a reader who lost the connection says how far it came.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// Digits of the largest number.
const DIGITS_MAX: usize = 10;

/// The largest number, which no turn reaches by counting: the last event of a turn whose process died has it, so that it
/// comes after every event that anybody may have seen.
pub const NUMBER_MAX: u64 = 9_999_999_999;

/// One event of one turn: `<turn>:<number>`. The first event has number 1; 0 is before all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    /// The turn, by its canonical id.
    pub turn: String,
    /// Which of its events.
    pub number: u64,
}

/// The text names no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of an event, `<turn>:<number>`")]
pub struct NoEventId;

impl EventId {
    /// Names an event.
    pub fn new(turn: &str, number: u64) -> Self {
        Self {
            turn: turn.to_owned(),
            number,
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.turn, self.number)
    }
}

impl FromStr for EventId {
    type Err = NoEventId;

    fn from_str(text: &str) -> Result<Self, NoEventId> {
        let (turn, number) = text.split_once(':').ok_or(NoEventId)?;
        let turn = Uuid::parse_str(turn).or(Err(NoEventId))?;
        let digits = !number.is_empty()
            && number.len() <= DIGITS_MAX
            && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|_| digits).ok_or(NoEventId)?;
        Ok(Self::new(&turn.to_string(), number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: &str = "0193a5f0-7c1e-7d11-9d4c-3b0f2a6c1e55";

    #[test]
    fn an_id_is_read_as_it_was_written() {
        for number in [0, 1, NUMBER_MAX] {
            let id = EventId::new(TURN, number);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn anything_else_names_no_event() {
        for text in [
            "",
            "1",
            ":1",
            "x:1",
            &format!("{TURN}:"),
            &format!("{TURN}:-1"),
            &format!("{TURN}:+1"),
            &format!("{TURN}:99999999999"),
            &format!("{TURN}:1:2"),
        ] {
            assert_eq!(text.parse::<EventId>(), Err(NoEventId), "{text:?}");
        }
    }
}
