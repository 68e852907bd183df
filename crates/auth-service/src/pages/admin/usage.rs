//! Reports on usage: how much, when, by whom, with what.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use chrono::{Datelike as _, Days, NaiveDate};
use common_http::{Clock, CurrentUser};
use serde::Deserialize;
use url::form_urlencoded;

use self::rows::{Grouped, Wanted};
use super::reports::{DAYS_MAX, DAYS_SHOWN, Period, Total, Turns, TurnsOf};
use crate::{
    error::Result,
    pages::{
        chart::{Chart, TICK_X},
        door::see_other,
        frame::Frame,
        neighbours::Neighbours,
    },
    store::users::UserStore,
};

mod rows;

/// By what a report may be read.
const GROUPINGS: [&str; 5] = ["day", "person", "chatflow", "group", "detail"];

/// The text about an address that makes no sense; no code of the API.
const UNREADABLE: &str = "bad_request";

#[derive(Template)]
#[template(path = "admin/usage.html")]
struct UsagePage<'a> {
    f: &'a Frame,
    asked: &'a Asked,
    presets: Vec<Preset>,
    report: Option<Report>,
}

/// A period that is asked for often.
struct Preset {
    text: &'static str,
    address: String,
    is_shown: bool,
}

/// What was asked for can be answered.
struct Report {
    by: &'static str,
    /// `None` where proxy-service is away.
    total: Option<Total>,
    /// By whose midnight days begin, for what proxy-service counts.
    zone: String,
    /// `None` where whoever knows is away.
    shown: Option<Grouped>,
    download: String,
    next: Option<String>,
}

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    from: String,
    to: String,
    by: String,
    cursor: Option<String>,
    page: Option<u32>,
}

impl Asked {
    fn by(&self) -> &'static str {
        let known = GROUPINGS.into_iter().find(|word| *word == self.by);
        known.unwrap_or(GROUPINGS[0])
    }

    /// The period, or the field that is wrong and the text that says why.
    fn period(&self, today: NaiveDate) -> std::result::Result<Period, (&'static str, &'static str)> {
        let day = |field, text: &str| match text.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).or(Err((field, "problem.not_a_day"))),
        };
        let to = day("to", &self.to)?.unwrap_or(today);
        let from = day("from", &self.from)?.unwrap_or(Period::up_to(to, DAYS_SHOWN).from);
        if from > to {
            return Err(("from", "problem.period_backwards"));
        }
        if (to - from).num_days() >= DAYS_MAX {
            return Err(("from", "problem.period_too_long"));
        }
        Ok(Period { from, to })
    }
}

/// The address of a report.
fn address(period: Period, by: &str, place: Option<(&str, &str)>) -> String {
    let (from, to) = (period.from.to_string(), period.to.to_string());
    let pairs = [("from", from.as_str()), ("to", to.as_str()), ("by", by)];
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs.into_iter().chain(place))
        .finish();
    format!("/admin/usage?{query}")
}

fn presets(today: NaiveDate, by: &str, shown: Option<Period>) -> Vec<Preset> {
    let month = today.with_day(1).unwrap_or(today);
    let before = month.checked_sub_days(Days::new(1)).unwrap_or(month);
    let periods = [
        ("usage.today", Period::up_to(today, 1)),
        ("usage.week", Period::up_to(today, 7)),
        ("usage.month", Period::up_to(today, DAYS_SHOWN)),
        (
            "usage.this_month",
            Period {
                from: month,
                to: today,
            },
        ),
        (
            "usage.last_month",
            Period {
                from: before.with_day(1).unwrap_or(before),
                to: before,
            },
        ),
        ("usage.year", Period::up_to(today, 365)),
    ];
    let preset = |(text, period)| Preset {
        text,
        address: address(period, by, None),
        is_shown: shown == Some(period),
    };
    periods.into_iter().map(preset).collect()
}

/// `GET /admin/usage`.
pub(super) async fn show(
    f: Frame,
    admin: CurrentUser,
    query: web::Query<Asked>,
    neighbours: web::Data<Neighbours>,
    users: web::Data<UserStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let today = clock.now().date_naive();
    let by = query.by();
    let period = match query.period(today) {
        Ok(period) => period,
        Err((field, text)) => {
            let f = f.asked_wrongly(field, text);
            let page = UsagePage {
                f: &f,
                asked: &query,
                presets: presets(today, by, None),
                report: None,
            };
            return Ok(f.show_as(StatusCode::BAD_REQUEST, &page));
        }
    };
    let asked = Asked {
        from: period.from.to_string(),
        to: period.to.to_string(),
        ..query.into_inner()
    };
    // What is away is asked once, not for each row.
    let total = Turns::total(&neighbours, &admin, period, None).await.ok();
    let wanted = Wanted {
        neighbours: &neighbours,
        counts_turns: total.is_some(),
        users: &users,
        admin: &admin,
        period,
        cursor: asked.cursor.as_deref(),
        page: asked.page.unwrap_or(1),
    };
    let (shown, next) = wanted
        .grouped(by)
        .await?
        .map_or((None, None), |(shown, next)| (Some(shown), next));
    let report = Report {
        by,
        zone: total
            .as_ref()
            .map_or_else(String::new, |turns| turns.time_zone.clone()),
        total: total.map(|turns| turns.total),
        shown,
        download: format!("/admin/usage/download?from={}&to={}", period.from, period.to),
        next: next.map(|(name, place)| address(period, by, Some((name, &place)))),
    };
    Ok(f.show(&UsagePage {
        f: &f,
        asked: &asked,
        presets: presets(today, by, Some(period)),
        report: Some(report),
    }))
}

/// `GET /admin/usage/download`: on to the whole report as a table, in a session that goes on.
pub(super) async fn download(f: Frame, query: web::Query<Asked>, clock: web::Data<Clock>) -> HttpResponse {
    match query.period(clock.now().date_naive()) {
        Ok(Period { from, to }) => see_other(&format!("/api/v1/reports/usage.csv?from={from}&to={to}")),
        Err(_) => f.show_problem(StatusCode::BAD_REQUEST, UNREADABLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_read_or_the_field_is_named() {
        let today: NaiveDate = "2026-11-22".parse().unwrap();
        let asked = |from: &str, to: &str| Asked {
            from: from.to_owned(),
            to: to.to_owned(),
            ..Asked::default()
        };
        let period = asked("", "").period(today).unwrap();
        assert_eq!(
            (period.from.to_string().as_str(), period.to),
            ("2026-10-24", today)
        );
        assert_eq!(
            asked("2026-11-22", "").period(today).unwrap(),
            Period::up_to(today, 1)
        );
        assert_eq!(asked("2025-11-22", "").period(today).unwrap().days().count(), 366);
        for (from, to, field) in [
            ("x", "", "from"),
            ("", "2026-13-01", "to"),
            ("2026-11-23", "", "from"),
            ("2025-11-21", "", "from"),
            ("-262143-01-01", "+262142-12-31", "from"),
        ] {
            assert_eq!(asked(from, to).period(today).unwrap_err().0, field, "{from} {to}");
        }
    }

    #[test]
    fn presets_know_months() {
        let of = |today: &str| {
            let presets = presets(today.parse().unwrap(), "day", None);
            presets
                .into_iter()
                .map(|preset| preset.address)
                .collect::<Vec<_>>()
        };
        let march = of("2028-03-01");
        assert!(march[3].contains("from=2028-03-01&to=2028-03-01"), "{march:?}");
        assert!(march[4].contains("from=2028-02-01&to=2028-02-29"), "{march:?}");
    }
}
