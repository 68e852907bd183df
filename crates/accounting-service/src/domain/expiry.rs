//! How long granted credits last.

use serde::{Deserialize, Deserializer, Serialize};

use super::credits::integer;

/// A hundred years.
const DAYS_MAX: i64 = 36_500;

/// A number of days of 24 hours, from 1 to 36,500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ExpiryDays(i64);

impl ExpiryDays {
    /// A number of days, unless there are none or too many.
    pub fn new(days: i64) -> Option<Self> {
        (1..=DAYS_MAX).contains(&days).then_some(Self(days))
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// A month, as documented.
impl Default for ExpiryDays {
    fn default() -> Self {
        Self(30)
    }
}

impl<'de> Deserialize<'de> for ExpiryDays {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        integer(deserializer, 1, DAYS_MAX).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_bounded() {
        for text in ["1", "30", "365", "3650", "36500"] {
            assert!(serde_json::from_str::<ExpiryDays>(text).is_ok(), "{text}");
        }
        for text in ["0", "-1", "36501", "1000000000", "1.5", "\"30\"", "true"] {
            assert!(serde_json::from_str::<ExpiryDays>(text).is_err(), "{text}");
        }
    }
}
