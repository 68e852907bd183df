//! A stretch of time that somebody asks about, and how it is put together from months, days and moments.

use std::ops::{Range, Sub};

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, NaiveTime, TimeDelta, Utc};

/// Where a period begins or ends, as clients write it: a day as a whole, or a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// All of a UTC day.
    Day(NaiveDate),
    /// A moment.
    Moment(DateTime<Utc>),
}

impl Bound {
    /// Reads `2026-11-21`, or RFC 3339. Years have four digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_year = |date: NaiveDate| (1..=9999).contains(&date.year());
        if text.len() == 10 {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            return is_year(date).then_some(Self::Day(date));
        }
        let moment = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
        is_year(moment.date_naive()).then_some(Self::Moment(moment))
    }

    /// The first moment of the day, or the moment.
    pub fn begins(self) -> DateTime<Utc> {
        match self {
            Self::Day(day) => midnight(day),
            Self::Moment(moment) => moment,
        }
    }

    /// The first moment after the day, or the moment.
    pub fn is_over(self) -> DateTime<Utc> {
        match self {
            Self::Day(day) => midnight(next_day(day)),
            Self::Moment(moment) => moment,
        }
    }
}

/// From a moment on until before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period(Range<DateTime<Utc>>);

/// Something that is added (1) or taken away again (-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<T> {
    /// The stretch.
    pub span: Range<T>,
    /// Which of both.
    pub sign: i64,
}

/// A period as whole cells and what is to be added to them or taken away: at most two parts, each half a cell or less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aligned<C, P> {
    /// The cells, which may be none.
    pub cells: Range<C>,
    /// The rest.
    pub parts: Vec<Part<P>>,
}

impl Period {
    /// The period from `start` to `end`, both included; without one of them it is open on that side. `None` when it
    /// would end before it begins.
    pub fn between(start: Option<Bound>, end: Option<Bound>) -> Option<Self> {
        let from = match start {
            None => midnight(NaiveDate::from_ymd_opt(1, 1, 1)?),
            Some(bound) => bound.begins(),
        };
        let until = match end {
            None => midnight(NaiveDate::from_ymd_opt(10_000, 1, 1)?),
            Some(bound @ Bound::Day(_)) => bound.is_over(),
            // The database counts microseconds.
            Some(Bound::Moment(moment)) => moment + TimeDelta::microseconds(1),
        };
        (from < until).then_some(Self(from..until))
    }

    /// The moments.
    pub fn span(&self) -> Range<DateTime<Utc>> {
        self.0.clone()
    }

    /// The period in whole days, with moments at its ends.
    pub fn in_days(&self) -> Aligned<NaiveDate, DateTime<Utc>> {
        let day = |moment: DateTime<Utc>| {
            let date = moment.date_naive();
            midnight(date)..midnight(next_day(date))
        };
        let (cells, parts) = align(self.span(), day);
        Aligned {
            cells: cells.start.date_naive()..cells.end.date_naive(),
            parts,
        }
    }
}

/// Whole days in whole months, with days at its ends. A month is named by its first day.
pub fn in_months(days: Range<NaiveDate>) -> Aligned<NaiveDate, NaiveDate> {
    let month = |day: NaiveDate| {
        let first = day.with_day(1).unwrap_or(day);
        first..first.checked_add_months(Months::new(1)).unwrap_or(first)
    };
    let (cells, parts) = align(days, month);
    Aligned { cells, parts }
}

/// The start of a UTC day.
pub fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn next_day(day: NaiveDate) -> NaiveDate {
    day.checked_add_days(Days::new(1)).unwrap_or(day)
}

/// Covers `span` with whole cells. At each end there may be a piece of a cell: it is added when it is less than half of
/// the cell, else the cell is counted whole and what is too much of it is taken away.
fn align<T>(span: Range<T>, cell: impl Fn(T) -> Range<T>) -> (Range<T>, Vec<Part<T>>)
where
    T: Copy + Ord + Sub<Output = TimeDelta>,
{
    let mut parts = Vec::new();
    let mut put = |span: Range<T>, sign| {
        if span.start < span.end {
            parts.push(Part { span, sign });
        }
    };
    let is_small = |piece: &Range<T>, cell: &Range<T>| (piece.end - piece.start) * 2 <= cell.end - cell.start;
    let first = cell(span.start);
    if first.end >= span.end {
        if first != span && is_small(&span, &first) {
            put(span.clone(), 1);
            return (first.start..first.start, parts);
        }
        put(first.start..span.start, -1);
        put(span.end..first.end, -1);
        return (first, parts);
    }
    let mut cells = span.clone();
    let head = span.start..first.end;
    if head != first {
        if is_small(&head, &first) {
            cells.start = first.end;
            put(head, 1);
        } else {
            cells.start = first.start;
            put(first.start..span.start, -1);
        }
    }
    let last = cell(span.end);
    let tail = last.start..span.end;
    if tail.start < tail.end {
        if is_small(&tail, &last) {
            cells.end = last.start;
            put(tail, 1);
        } else {
            cells.end = last.end;
            put(span.end..last.end, -1);
        }
    }
    (cells, parts)
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::Config};

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn days_and_moments_are_read_and_nothing_else_is() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 21).unwrap();
        assert_eq!(Bound::parse("2026-11-21"), Some(Bound::Day(day)));
        let moment = Some(Bound::Moment(at("2026-11-21T08:00:00Z")));
        assert_eq!(Bound::parse("2026-11-21T08:00:00.000Z"), moment);
        assert_eq!(Bound::parse("2026-11-21T09:00:00+01:00"), moment);
        for text in [
            "",
            "today",
            "2026-02-30",
            "2026-13-01",
            "21.11.2026",
            "2026-1-1",
            "0000-01-01",
            "+12026-01-01",
            "12026-01-01",
            "1700000000",
            "2026-11-21T08:00:00",
            "2026-11-21 ",
        ] {
            assert_eq!(Bound::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn both_ends_belong_to_a_period() {
        let (first, last) = (Bound::parse("2026-11-01"), Bound::parse("2026-11-30"));
        let november = Period::between(first, last).unwrap();
        assert_eq!(
            november.span(),
            at("2026-11-01T00:00:00Z")..at("2026-12-01T00:00:00Z")
        );
        assert_eq!(Period::between(last, first), None);
        let noon = Bound::parse("2026-11-01T12:00:00Z");
        let instant = Period::between(noon, noon).unwrap();
        assert!(instant.span().contains(&at("2026-11-01T12:00:00Z")));
        assert!(Period::between(None, None).is_some());
    }

    #[test]
    fn a_period_of_whole_months_needs_nothing_finer() {
        let period = Period::between(Bound::parse("2026-02-01"), Bound::parse("2026-11-30")).unwrap();
        let days = period.in_days();
        assert_eq!(days.parts, []);
        let months = in_months(days.cells);
        assert_eq!(months.parts, []);
        assert_eq!(months.cells.start.to_string(), "2026-02-01");
        assert_eq!(months.cells.end.to_string(), "2026-12-01");
        let always = Period::between(None, None).unwrap().in_days();
        assert_eq!(in_months(always.cells).parts, []);
    }

    /// How often a point is counted.
    fn count<T: PartialOrd>(cells: &Range<T>, parts: &[Part<T>], point: &T) -> i64 {
        let parts = parts.iter().filter(|part| part.span.contains(point));
        i64::from(cells.contains(point)) + parts.map(|part| part.sign).sum::<i64>()
    }

    proptest! {
        #![proptest_config(Config::with_cases(2_000))]

        #[test]
        fn every_moment_is_counted_once_inside_and_never_outside(
            start in 0_i64..90_000_000, length in 1_i64..20_000_000, offset in -10_000_000_i64..30_000_000,
        ) {
            let base = at("2025-12-01T00:00:00Z");
            let from = base + TimeDelta::seconds(start);
            let until = from + TimeDelta::seconds(length);
            let period = Period(from..until);
            let point = from + TimeDelta::seconds(offset);

            let days = period.in_days();
            let in_days = count(&(midnight(days.cells.start)..midnight(days.cells.end)), &days.parts, &point);
            prop_assert_eq!(in_days, i64::from(period.span().contains(&point)));
            prop_assert!(days.parts.len() <= 2);
            for part in &days.parts {
                prop_assert!(part.span.end - part.span.start <= TimeDelta::hours(12));
            }

            if days.cells.start < days.cells.end {
                let months = in_months(days.cells.clone());
                let day = point.date_naive();
                let in_months = count(&months.cells, &months.parts, &day);
                prop_assert_eq!(in_months, i64::from(days.cells.contains(&day)));
                prop_assert!(months.parts.len() <= 2);
            }
        }
    }
}
