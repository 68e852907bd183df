//! What handlers want to know of a request beside its body: whose account, and whether it was sent before.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, Responder,
    body::BoxBody,
    dev::Payload,
    http::{StatusCode, header},
    web,
};
use common_http::{Caller, CurrentUser, Problem, RequestContext};
use common_jwt::Role;
use futures_util::future::{FutureExt as _, LocalBoxFuture};
use serde::Serialize;

use crate::{
    domain::{
        calendar::Bound,
        idempotency::{IdempotencyKey, KEY_BYTES_MAX},
        ids::{Actor, UserId},
    },
    error::{Error, Result},
    service::{Accounts, Answer, Limits, Origin},
    store::Identity,
};

/// The header that tells a repeated request from a new one.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// On an answer that was given before.
const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";

/// The user id behind a token. Ours always carry one.
fn id_of(user: &CurrentUser) -> std::result::Result<UserId, Problem> {
    UserId::parse(&user.id)
        .ok_or_else(|| Problem::unauthorized("invalid_token", "the access token names no user of ours"))
}

/// What it takes to know a caller.
struct Known {
    accounts: web::Data<Accounts>,
    limits: web::Data<Limits>,
}

impl Known {
    fn of(request: &HttpRequest) -> Result<Self> {
        let accounts = request.app_data().cloned().ok_or(Error::Unavailable)?;
        let limits = request.app_data().cloned().ok_or(Error::Unavailable)?;
        Ok(Self { accounts, limits })
    }
}

/// The caller's own account, which exists from their first request on.
pub(super) struct OwnAccount {
    pub(super) id: UserId,
    pub(super) role: Role,
}

impl OwnAccount {
    /// Makes sure that `user` is not too fast, and that their account exists and is up to date.
    async fn of(
        user: &CurrentUser,
        accounts: &Accounts,
        limits: &Limits,
    ) -> std::result::Result<Self, actix_web::Error> {
        let (id, role) = (id_of(user)?, user.role);
        limits.admit(&id, role).await?;
        let identity = Identity::new(id.clone(), &user.username, &user.email, role);
        accounts.ensure(&identity).await?;
        Ok(Self { id, role })
    }

    /// Who is kept to the caps of supervisors, if the caller is.
    pub(super) fn capped(&self) -> Option<&UserId> {
        (self.role < Role::Admin).then_some(&self.id)
    }

    /// Refuses whoever may not see other people's accounts.
    pub(super) fn supervises(&self) -> Result<()> {
        if self.role < Role::Supervisor {
            return Err(Error::Forbidden);
        }
        Ok(())
    }

    /// Whose account is asked about: the caller's own, or, for supervisors, that of whom they name.
    pub(super) async fn subject(&self, named: Option<&str>, accounts: &Accounts) -> Result<UserId> {
        match named {
            Some(name) if UserId::parse(name).as_ref() != Some(&self.id) => {
                self.supervises()?;
                Ok(accounts.resolve(name).await?.id)
            }
            _ => Ok(self.id.clone()),
        }
    }

    /// The owner as the ledger names them.
    pub(super) fn actor(&self) -> Actor {
        Actor::user(&self.id)
    }
}

impl FromRequest for OwnAccount {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, std::result::Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let user = CurrentUser::from_request(request, payload).into_inner();
        let known = Known::of(request);
        async move {
            let known = known?;
            Self::of(&user?, &known.accounts, &known.limits).await
        }
        .boxed_local()
    }
}

/// Either a person with their account, or one of our services.
pub(super) enum Party {
    Person(OwnAccount),
    Service(Actor),
}

impl Party {
    /// The caller as the ledger names them.
    pub(super) fn actor(&self) -> Actor {
        match self {
            Self::Person(account) => account.actor(),
            Self::Service(actor) => actor.clone(),
        }
    }

    /// Who is kept to the caps of supervisors, if the caller is.
    pub(super) fn capped(&self) -> Option<&UserId> {
        match self {
            Self::Person(account) => account.capped(),
            Self::Service(_) => None,
        }
    }

    /// The caller as an allocation names its giver: a user id, or an actor that is none.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Person(account) => account.id.to_string(),
            Self::Service(actor) => actor.to_string(),
        }
    }
}

impl FromRequest for Party {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, std::result::Result<Self, actix_web::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let caller = Caller::from_request(request, payload).into_inner();
        let known = Known::of(request);
        async move {
            let known = known?;
            match caller? {
                Caller::User(user) => Ok(Self::Person(
                    OwnAccount::of(&user, &known.accounts, &known.limits).await?,
                )),
                Caller::Service(service) => Ok(Self::Service(Actor::service(&service.name))),
            }
        }
        .boxed_local()
    }
}

/// Where a request arrived, and the key it may carry.
pub(super) struct Arrival {
    route: String,
    key: Option<String>,
}

impl Arrival {
    /// The request as the ledger remembers it: from `actor`, meaning `body`.
    pub(super) fn origin(self, actor: Actor, body: &impl Serialize) -> Result<Origin> {
        let idempotency = match self.key {
            Some(key) => Some(IdempotencyKey::new(&actor, &self.route, key, body)?),
            None => None,
        };
        Ok(Origin {
            actor,
            request_id: RequestContext::current().request_id().to_owned(),
            idempotency,
        })
    }
}

impl FromRequest for Arrival {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let route = format!(
            "{} {}",
            request.method(),
            request.match_pattern().unwrap_or_default()
        );
        ready(idempotency_key(request).map(|key| Self { route, key }))
    }
}

fn idempotency_key(request: &HttpRequest) -> Result<Option<String>> {
    let refused = || {
        let message = format!("must be one header of 1 to {KEY_BYTES_MAX} printable ASCII characters");
        Error::invalid("Idempotency-Key", message)
    };
    let mut headers = request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(first) = headers.next() else {
        return Ok(None);
    };
    let key = first.to_str().or(Err(refused()))?;
    if headers.next().is_some() || !(1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Err(refused());
    }
    Ok(Some(key.to_owned()))
}

/// The end of a period that a parameter gives. An empty one was left out: forms send them so.
pub(super) fn bound(field: &str, text: Option<&str>) -> Result<Option<Bound>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let bound = Bound::parse(text);
    bound
        .map(Some)
        .ok_or_else(|| Error::invalid(field, "must be a date such as 2026-11-21, or a time of RFC 3339"))
}

impl Responder for Answer {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = HttpResponse::build(status);
        response.insert_header(header::ContentType::json());
        if self.replayed {
            response.insert_header((IDEMPOTENCY_REPLAYED, "true"));
        }
        response.body(self.body)
    }
}
