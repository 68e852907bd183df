//! What usage adds up to.

use actix_web::{HttpResponse, web};
use common_http::{Path, Query};

use super::{
    bodies::{AskStatistics, AskSystemStatistics, RankCursor, SystemStatisticsBody, UserStatisticsBody},
    paging::PageSize,
    request::{OwnAccount, bound},
};
use crate::{
    domain::{calendar::Period, ids::UserId},
    error::{Error, Result},
    store::{Ranking, StatisticsStore},
};

/// The most users one answer ranks, and the usual number.
const USERS_MAX: u16 = 1_000;

/// `GET /api/usage/stats`: the caller's own usage.
pub(super) async fn show_own_statistics(
    account: OwnAccount,
    asked: Query<AskStatistics>,
    statistics: web::Data<StatisticsStore>,
) -> Result<HttpResponse> {
    let period = period(asked.start_date.as_deref(), asked.end_date.as_deref())?;
    let (sums, recent) = statistics.of_user(&account.id, &period).await?;
    Ok(HttpResponse::Ok().json(UserStatisticsBody::new(sums, recent)))
}

/// `GET /api/usage/stats/{userId}`: somebody's usage; that of nobody adds up to nothing.
pub(super) async fn show_statistics_of(
    _: OwnAccount,
    user: Path<String>,
    asked: Query<AskStatistics>,
    statistics: web::Data<StatisticsStore>,
) -> Result<HttpResponse> {
    let period = period(asked.start_date.as_deref(), asked.end_date.as_deref())?;
    let (sums, recent) = match UserId::parse(&user) {
        Some(id) => statistics.of_user(&id, &period).await?,
        None => Default::default(),
    };
    Ok(HttpResponse::Ok().json(UserStatisticsBody::new(sums, recent)))
}

/// `GET /api/usage/system-stats`: everybody's usage, and who used the most.
pub(super) async fn show_system_statistics(
    asked: Query<AskSystemStatistics>,
    statistics: web::Data<StatisticsStore>,
) -> Result<HttpResponse> {
    let period = period(asked.start_date.as_deref(), asked.end_date.as_deref())?;
    let size = PageSize::of(asked.limit, USERS_MAX, USERS_MAX)?;
    let after = match asked.cursor.as_deref().map(str::parse::<RankCursor>) {
        None => None,
        Some(Ok(cursor)) => Some(cursor.0),
        Some(Err(_)) => return Err(Error::invalid("cursor", "is not one of ours")),
    };
    let ranking = Ranking {
        after,
        limit: size.to_read(),
    };
    let (sums, mut users) = statistics.of_all(&period, &ranking).await?;
    let next_cursor = size.cut(&mut users, |last| RankCursor(last.clone()).to_string());
    Ok(HttpResponse::Ok().json(SystemStatisticsBody::new(sums, users, next_cursor)))
}

fn period(start: Option<&str>, end: Option<&str>) -> Result<Period> {
    let (start, end) = (bound("startDate", start)?, bound("endDate", end)?);
    Period::between(start, end).ok_or_else(|| Error::invalid("endDate", "must not lie before startDate"))
}
