//! How the platform is: whether all of it is there, and how much it is used.

use std::{collections::BTreeMap, time::Duration};

use actix_web::{HttpResponse, web};
use askama::Template;
use bson::doc;
use chrono::NaiveDate;
use common_http::{Clock, CurrentUser};
use mongodb::Database;

use super::reports::{Period, Spent, Turns};
use crate::{
    error::Result,
    pages::{
        chart::{Chart, TICK_X, figure},
        frame::Frame,
        neighbours::{Away, Neighbour, Neighbours},
    },
    service::approvals::Approvals,
    store::{audit::AuditStore, sessions::SessionStore, users::UserStore},
};

/// The database has this long to answer.
const PING: Duration = Duration::from_secs(2);

/// Those who wait are counted up to here.
const WAITING_MAX: u64 = 1_000;

#[derive(Template)]
#[template(path = "admin/overview.html")]
struct OverviewPage<'a> {
    f: &'a Frame,
    waiting: u64,
    sessions: u64,
    people: u64,
    parts: Vec<Part>,
    measures: [Measure; 4],
}

/// A part of the platform.
struct Part {
    name: &'static str,
    /// `None` where we were not told its address.
    is_ready: Option<bool>,
}

/// Something that is counted by the day.
struct Measure {
    id: &'static str,
    title: &'static str,
    /// By whose midnight days begin.
    zone: String,
    /// `None` where whoever counts it is away.
    seen: Option<Seen>,
}

/// What was counted.
struct Seen {
    today: String,
    week: String,
    month: String,
    chart: Chart,
}

impl Measure {
    fn new(id: &'static str, title: &'static str, zone: String, days: Option<Vec<(String, u64)>>) -> Self {
        let seen = days.map(|days| {
            let last = |count: usize| {
                let values = days.iter().rev().take(count).map(|(_, value)| *value);
                figure(values.fold(0, u64::saturating_add))
            };
            Seen {
                today: last(1),
                week: last(7),
                month: last(30),
                chart: Chart::new(days),
            }
        });
        Self {
            id,
            title,
            zone,
            seen,
        }
    }

    /// Of something that we count ourselves.
    fn ours(
        id: &'static str,
        title: &'static str,
        period: Period,
        counted: Result<BTreeMap<NaiveDate, u64>>,
    ) -> Self {
        let counted = counted.map(|counted| {
            let of = |day: NaiveDate| counted.get(&day).copied().unwrap_or(0);
            period.days().map(|day| (day.to_string(), of(day))).collect()
        });
        if let Err(error) = &counted {
            tracing::warn!(?error, id, "the overview goes without a count");
        }
        Self::new(id, title, "UTC".to_owned(), counted.ok())
    }
}

/// What is read for the page here.
type Stores = (
    web::Data<SessionStore>,
    web::Data<UserStore>,
    web::Data<AuditStore>,
    web::Data<Approvals>,
);

/// `GET /admin`: whether everything is there, and what is done with it.
pub(super) async fn show(
    f: Frame,
    admin: CurrentUser,
    database: web::Data<Database>,
    neighbours: web::Data<Neighbours>,
    (sessions, users, audit, approvals): Stores,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let now = clock.now();
    let period = Period::shown(now);
    let (parts, made, signed_in, turns, credits) = futures_util::join!(
        parts(&database, &neighbours),
        users.count_created_by_day(period.begins_at()),
        audit.count_by_day("login", "ok", period.begins_at()),
        Turns::each_day(&neighbours, &admin),
        Spent::ask(&neighbours, &admin, period, 1, None),
    );
    let (turns, zone) = turns.map_or_else(|Away| (None, "UTC".to_owned()), |(days, zone)| (Some(days), zone));
    let credits = credits.ok().map(|spent| spent.each_day(period));
    let measures = [
        Measure::ours("people", "overview.new_people", period, made),
        Measure::ours("sign-ins", "overview.sign_ins", period, signed_in),
        Measure::new("turns", "overview.turns", zone, turns),
        Measure::new("credits", "overview.credits", "UTC".to_owned(), credits),
    ];
    Ok(f.show(&OverviewPage {
        f: &f,
        waiting: approvals.count(WAITING_MAX).await?,
        sessions: sessions.count_live(None, now).await?,
        people: users.count().await?,
        parts,
        measures,
    }))
}

async fn parts(database: &Database, neighbours: &Neighbours) -> Vec<Part> {
    let ping = tokio::time::timeout(PING, database.run_command(doc! { "ping": 1 }));
    let (mongodb, proxy, accounting) = futures_util::join!(
        ping,
        neighbours.is_ready(Neighbour::Proxy),
        neighbours.is_ready(Neighbour::Accounting),
    );
    let mongodb = Some(matches!(mongodb, Ok(Ok(_))));
    let parts = [
        ("auth-service", Some(true)),
        ("proxy-service", proxy),
        ("accounting-service", accounting),
        ("MongoDB", mongodb),
    ];
    let parts = parts.into_iter().map(|(name, is_ready)| Part { name, is_ready });
    parts.collect()
}
