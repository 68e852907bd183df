//! From when until when something is given.

use chrono::{DateTime, Utc};

/// A span of time that may be open at either end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The first moment it holds; `None`: it always has.
    pub starts_at: Option<DateTime<Utc>>,
    /// The first moment it holds no longer; `None`: it never ends.
    pub ends_at: Option<DateTime<Utc>>,
}

/// Why a window gives nothing to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// It ends before it starts, or in the same moment.
    EndsFirst,
    /// It has ended already.
    IsOver,
}

impl Empty {
    /// Completes a sentence about the end.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::EndsFirst => "must be later than starts_at",
            Self::IsOver => "has passed already",
        }
    }
}

impl Window {
    /// Refuses a window that nobody could ever use from `now` on.
    pub fn check(self, now: DateTime<Utc>) -> Result<Self, Empty> {
        match (self.starts_at, self.ends_at) {
            (Some(starts_at), Some(ends_at)) if ends_at <= starts_at => Err(Empty::EndsFirst),
            (_, Some(ends_at)) if ends_at <= now => Err(Empty::IsOver),
            _ => Ok(self),
        }
    }

    /// Whether it holds at `now`.
    pub fn holds(self, now: DateTime<Utc>) -> bool {
        self.starts_at.is_none_or(|at| at <= now) && !self.is_over(now)
    }

    /// Whether it holds no longer, and never will.
    pub fn is_over(self, now: DateTime<Utc>) -> bool {
        self.ends_at.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_window_holds_from_its_start_until_just_before_its_end() {
        let start = DateTime::UNIX_EPOCH;
        let end = start + TimeDelta::days(1);
        let window = Window {
            starts_at: Some(start),
            ends_at: Some(end),
        };
        let tick = TimeDelta::milliseconds(1);
        let holds = |at| window.holds(at);
        assert_eq!(
            [start - tick, start, end - tick, end].map(holds),
            [false, true, true, false]
        );
        assert!(Window::default().holds(start));
    }

    #[test]
    fn windows_that_give_nothing_are_refused() {
        let now = DateTime::UNIX_EPOCH;
        let (before, after) = (Some(now - TimeDelta::hours(1)), Some(now + TimeDelta::hours(1)));
        let check = |starts_at, ends_at| Window { starts_at, ends_at }.check(now).map(|_| ());
        assert_eq!(check(None, None), Ok(()));
        assert_eq!(check(before, after), Ok(()));
        assert_eq!(check(after, None), Ok(()));
        assert_eq!(check(after, after), Err(Empty::EndsFirst));
        assert_eq!(check(after, before), Err(Empty::EndsFirst));
        assert_eq!(check(None, before), Err(Empty::IsOver));
        assert_eq!(check(None, Some(now)), Err(Empty::IsOver));
    }
}
