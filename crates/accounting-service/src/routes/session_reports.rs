//! Other people's streaming sessions, for supervisors.

use actix_web::{HttpResponse, web};
use chrono::TimeDelta;
use common_http::{Clock, Path, Query};

use super::{
    bodies::{ListRecentSessions, RecentFilterBody, RecentSessionsBody, SessionBody},
    request::OwnAccount,
};
use crate::{
    domain::{ids::UserId, ledger::Hold},
    error::{Error, Result},
    service::Accounts,
    store::{HoldPage, SessionStore},
};

/// The longest list of everybody's open sessions.
const ACTIVE_MAX: i64 = 10_000;

/// The documented lengths of lists of recent sessions: everybody's, and one person's.
const RECENT_MAX: i64 = 50;
const RECENT_OF_ONE_MAX: i64 = 20;

/// How far back they reach, in minutes: usually, and at most (a year).
const MINUTES_DEFAULT: u32 = 5;
const MINUTES_MAX: u32 = 525_600;

/// `GET /api/streaming-sessions/active/all`: everybody's open sessions.
pub(super) async fn list_all_active_sessions(
    _: OwnAccount,
    sessions: web::Data<SessionStore>,
) -> Result<HttpResponse> {
    let page = HoldPage {
        user_id: None,
        after: None,
        limit: ACTIVE_MAX,
    };
    Ok(bare_array(sessions.list_holds(&page).await?))
}

/// `GET /api/streaming-sessions/active/{userId}`: somebody's open sessions.
pub(super) async fn list_active_sessions_of(
    _: OwnAccount,
    user: Path<String>,
    accounts: web::Data<Accounts>,
    sessions: web::Data<SessionStore>,
) -> Result<HttpResponse> {
    let user_id = named(&user, &accounts).await?;
    Ok(bare_array(sessions.list_open(&user_id).await?))
}

/// `GET /api/streaming-sessions/recent`: what runs, and what ended lately.
pub(super) async fn list_recent_sessions(
    _: OwnAccount,
    query: Query<ListRecentSessions>,
    sessions: web::Data<SessionStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    recent(None, query.minutes, &sessions, &clock).await
}

/// `GET /api/streaming-sessions/recent/{userId}`: the same of one person.
pub(super) async fn list_recent_sessions_of(
    _: OwnAccount,
    user: Path<String>,
    query: Query<ListRecentSessions>,
    accounts: web::Data<Accounts>,
    sessions: web::Data<SessionStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let user_id = named(&user, &accounts).await?;
    recent(Some(user_id), query.minutes, &sessions, &clock).await
}

async fn recent(
    user_id: Option<UserId>,
    minutes: Option<u32>,
    sessions: &SessionStore,
    clock: &Clock,
) -> Result<HttpResponse> {
    let minutes = minutes.unwrap_or(MINUTES_DEFAULT);
    if !(1..=MINUTES_MAX).contains(&minutes) {
        return Err(Error::invalid(
            "minutes",
            format!("must be from 1 to {MINUTES_MAX}"),
        ));
    }
    let now = clock.now();
    let limit = if user_id.is_some() {
        RECENT_OF_ONE_MAX
    } else {
        RECENT_MAX
    };
    let since = now - TimeDelta::minutes(minutes.into());
    let listed = sessions.list_recent(user_id.as_ref(), since, limit).await?;
    Ok(HttpResponse::Ok().json(RecentSessionsBody {
        sessions: listed.into_iter().map(Into::into).collect(),
        timestamp: now.into(),
        filter: RecentFilterBody { user_id, minutes },
    }))
}

/// An id that nobody has used here has no sessions; a name or an address has to be somebody's.
async fn named(user: &str, accounts: &Accounts) -> Result<UserId> {
    match UserId::parse(user) {
        Some(id) => Ok(id),
        None => Ok(accounts.resolve(user).await?.id),
    }
}

fn bare_array(holds: Vec<Hold>) -> HttpResponse {
    let sessions: Vec<SessionBody> = holds.into_iter().map(Into::into).collect();
    HttpResponse::Ok().json(sessions)
}
