//! Streaming sessions: holds, and how they end.

use actix_web::{HttpResponse, web};
use common_http::Body;
use serde::{Serialize, ser::Error as _};

use super::{
    bodies::{
        AbortSession, FinalizeSession, FinalizedBody, InitializeSession, InitializedBody, PartialBody,
        SessionBody, UsageDetails,
    },
    request::{Arrival, OwnAccount, Party},
};
use crate::{
    domain::{
        ids::UserId,
        ledger::{Hold, Outcome},
        price::Tokens,
        text::Name,
    },
    error::{Error, Result},
    service::{
        Accounts, Answer, Ending, GivenUsage, HoldSize, Initializing, Render, Sessions, Settling, Spent,
    },
    store::{Identity, SessionStore},
};

/// `POST /api/streaming-sessions/initialize`: holds credits of the caller, or of whom a service names.
pub(super) async fn initialize_session(
    arrival: Arrival,
    party: Party,
    body: Body<InitializeSession>,
    accounts: web::Data<Accounts>,
    sessions: web::Data<Sessions>,
) -> Result<Answer> {
    let origin = arrival.origin(party.actor(), &body.0)?;
    let is_service = matches!(party, Party::Service(_));
    let size = match (body.0.credits.filter(|_| is_service), body.0.estimated_tokens) {
        (Some(credits), _) => HoldSize::Flat(credits),
        (None, Some(estimate)) => HoldSize::Estimate(estimate.tokens()),
        (None, None) => return Err(Error::invalid("estimatedTokens", "is required")),
    };
    let user_id = match party {
        Party::Person(account) => account.id,
        Party::Service(_) => ensure_named(&body.0, &accounts).await?,
    };
    let opening = Initializing {
        user_id,
        session_id: body.0.session_id,
        model_id: body.0.model_id,
        size,
    };
    sessions
        .initialize(opening, origin, of_hold(|hold| InitializedBody::from(hold)))
        .await
}

/// `POST /api/streaming-sessions/finalize`: the turn ran to its end.
pub(super) async fn finalize_session(
    arrival: Arrival,
    party: Party,
    body: Body<FinalizeSession>,
    sessions: web::Data<Sessions>,
) -> Result<Answer> {
    let origin = arrival.origin(party.actor(), &body.0)?;
    let is_service = matches!(party, Party::Service(_));
    let spent = match (body.0.actual_credits.filter(|_| is_service), body.0.actual_tokens) {
        (Some(credits), _) => Spent::Credits(credits),
        (None, Some(tokens)) => Spent::Tokens(tokens),
        (None, None) => return Err(Error::invalid("actualTokens", "is required")),
    };
    let settling = Settling {
        session_id: body.0.session_id,
        user_id: whose(party, body.0.user_id),
        spent,
        ending: Ending::Finalized {
            succeeded: body.0.success,
        },
        usage: given_usage(body.0.usage.filter(|_| is_service)),
    };
    sessions
        .settle(settling, origin, of_hold(|hold| FinalizedBody::from(hold)))
        .await
}

/// `POST /api/streaming-sessions/abort`: the turn was stopped; what had come until then is paid for.
pub(super) async fn abort_session(
    arrival: Arrival,
    party: Party,
    body: Body<AbortSession>,
    sessions: web::Data<Sessions>,
) -> Result<Answer> {
    let origin = arrival.origin(party.actor(), &body.0)?;
    let is_service = matches!(party, Party::Service(_));
    let tokens = body.0.tokens_generated.unwrap_or(Tokens::ZERO);
    let credits = body.0.credits.filter(|_| is_service);
    let settling = Settling {
        session_id: body.0.session_id,
        user_id: whose(party, body.0.user_id),
        spent: credits.map_or(Spent::Tokens(tokens), Spent::Credits),
        ending: Ending::Aborted,
        usage: given_usage(body.0.usage.filter(|_| is_service)),
    };
    sessions
        .settle(settling, origin, of_hold(|hold| PartialBody::from(hold)))
        .await
}

/// `GET /api/streaming-sessions/active`: the caller's open sessions, those that services opened for them included.
pub(super) async fn list_active_sessions(
    account: OwnAccount,
    sessions: web::Data<SessionStore>,
) -> Result<HttpResponse> {
    let open = sessions.list_open(&account.id).await?;
    let open: Vec<SessionBody> = open.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(open))
}

/// A person settles on their own account whatever the body says; a service may name the account to save a look-up.
fn whose(party: Party, named: Option<UserId>) -> Option<UserId> {
    match party {
        Party::Person(account) => Some(account.id),
        Party::Service(_) => named,
    }
}

/// The account a service opens a session for, created or brought up to date with what the service says of its owner. As
/// long as it does not say the role, nobody knows who that is.
async fn ensure_named(body: &InitializeSession, accounts: &Accounts) -> Result<UserId> {
    let id = body
        .user_id
        .clone()
        .ok_or_else(|| Error::invalid("userId", "is required"))?;
    match (&body.username, body.role) {
        (Some(username), Some(role)) => {
            let email = body.email.as_deref().unwrap_or_default();
            let identity = Identity::new(id.clone(), username, email, role);
            accounts.ensure(&identity).await?;
        }
        _ => accounts.ensure_id(&id).await?,
    }
    Ok(id)
}

fn given_usage(details: Option<UsageDetails>) -> GivenUsage {
    let details = details.unwrap_or_default();
    GivenUsage {
        service: details.service.map(Name::into_inner),
        operation: details.operation.map(Name::into_inner),
        metadata: details.metadata.0,
    }
}

/// Renders the hold that a command made or ended.
pub(super) fn of_hold<B: Serialize>(body: impl Fn(&Hold) -> B + Send + Sync + 'static) -> Render {
    Box::new(move |outcome: &Outcome| {
        let hold = outcome.hold.as_ref();
        let hold = hold.ok_or_else(|| serde_json::Error::custom("the command concerned no hold"))?;
        serde_json::to_string(&body(hold))
    })
}
