//! Ends of a period of time, as people write them in a query.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

/// Which end of the period it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The period begins then: a day counts from its first moment on.
    From,
    /// The period ends then: a day counts to its last moment.
    To,
}

/// The moment that `text` stands for: an RFC 3339 time, or a day (`2026-11-21`, UTC).
pub fn moment(text: &str, end: End) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    let day = match end {
        End::From => day,
        End::To => day.checked_add_days(Days::new(1))?,
    };
    Some(day.and_time(NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_times_exact() {
        let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
        assert_eq!(moment("2026-11-21", End::From), at("2026-11-21T00:00:00Z"));
        assert_eq!(moment("2026-11-21", End::To), at("2026-11-22T00:00:00Z"));
        let exact = "2026-11-21T10:00:00+02:00";
        assert_eq!(moment(exact, End::To), at("2026-11-21T08:00:00Z"));
        for bad in ["", "yesterday", "2026-13-01", "2026-11-21T10:00", "1e9"] {
            assert_eq!(moment(bad, End::From), None, "{bad:?}");
        }
    }
}
