//! Days, for what counts by the day: caps and reports. A day begins at midnight of one configured time zone.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

/// Whose midnight begins a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayZone(Tz);

/// What names no time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time zone of the IANA database, such as UTC or Asia/Hong_Kong")]
pub struct UnknownZone;

impl Default for DayZone {
    fn default() -> Self {
        Self(Tz::UTC)
    }
}

impl FromStr for DayZone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        name.parse().map(Self).or(Err(UnknownZone))
    }
}

impl fmt::Display for DayZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl DayZone {
    /// The day it is at `now`.
    pub fn day_of(self, now: DateTime<Utc>) -> NaiveDate {
        now.with_timezone(&self.0).date_naive()
    }

    /// When the day after that of `now` begins.
    pub fn next_day_at(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let Some(next) = self.day_of(now).checked_add_days(Days::new(1)) else {
            return now + TimeDelta::days(1);
        };
        // Where the clocks are put forward at midnight, the day begins an hour later.
        let hours = (0..24).filter_map(|hour| NaiveTime::from_hms_opt(hour, 0, 0));
        let begins = hours.filter_map(|time| self.0.from_local_datetime(&next.and_time(time)).earliest());
        begins
            .map(|begin| begin.with_timezone(&Utc))
            .next()
            .unwrap_or(now + TimeDelta::days(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_ends_at_midnight_of_the_zone() {
        for (zone, now, day, next) in [
            (
                "UTC",
                "2026-11-20T23:59:59.999Z",
                "2026-11-20",
                "2026-11-21T00:00:00Z",
            ),
            (
                "Asia/Hong_Kong",
                "2026-11-20T15:59:59Z",
                "2026-11-20",
                "2026-11-20T16:00:00Z",
            ),
            (
                "Asia/Hong_Kong",
                "2026-11-20T16:00:00Z",
                "2026-11-21",
                "2026-11-21T16:00:00Z",
            ),
            // A day of 25 hours, and one of 23.
            (
                "Europe/Berlin",
                "2026-10-24T22:00:00Z",
                "2026-10-25",
                "2026-10-25T23:00:00Z",
            ),
            (
                "Europe/Berlin",
                "2026-03-28T23:00:00Z",
                "2026-03-29",
                "2026-03-29T22:00:00Z",
            ),
            // Midnight is left out.
            (
                "Africa/Cairo",
                "2026-04-23T20:00:00Z",
                "2026-04-23",
                "2026-04-23T22:00:00Z",
            ),
        ] {
            let zone: DayZone = zone.parse().unwrap();
            assert_eq!(zone.day_of(at(now)).to_string(), day, "{zone} {now}");
            assert_eq!(zone.next_day_at(at(now)), at(next), "{zone} {now}");
        }
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for name in ["", "Nowhere/Land", "UTC+8", "../etc/passwd"] {
            assert_eq!(name.parse::<DayZone>(), Err(UnknownZone), "{name:?}");
        }
    }
}
