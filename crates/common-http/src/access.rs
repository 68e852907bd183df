//! Who may call which route: one table a service, checked before a body is read.
//!
//! A route exists only through [`Routes`], and there only with its [`Access`]; so nothing is open by omission, and
//! tests can walk the same table.

use std::{future::Future, pin::Pin, sync::Arc};

use actix_web::{
    App, Error, FromRequest, Handler, HttpMessage as _, HttpRequest, Responder,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header},
    middleware::{Next, from_fn},
    web,
};
use common_jwt::{AccessClaims, Invalid, KeyScope, Role, TokenType, Verifier};
use secrecy::SecretString;

use crate::{
    api_key_checks::ApiKeyChecks,
    api_keys::{API_KEY_BEGINNING, ApiKeyGrant},
    browser::SessionCookies,
    caller::{Caller, CallingService, CurrentUser},
    clock::Clock,
    key_feed::KeyFeed,
    problem::Problem,
    revocations::RevocationSet,
};

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, signed in or not.
    Public,
    /// Anybody; a valid token, when there is one, is read. A bad one counts as none.
    Optional,
    /// Any signed-in person.
    User,
    /// Any signed-in person, also one who has to choose another password before anything else is open to them.
    RestrictedUser,
    /// Supervisors and admins.
    Supervisor,
    /// Admins.
    Admin,
    /// Our own services.
    Service,
    /// Any signed-in person, for themselves, or one of our services.
    UserOrService,
    /// Supervisors, admins, or one of our services.
    SupervisorOrService,
    /// Admins, or one of our services.
    AdminOrService,
}

impl Access {
    /// The word for it in the published contracts (`x-access`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Optional => "optional",
            Self::User => "user",
            Self::RestrictedUser => "restrictedUser",
            Self::Supervisor => "supervisor",
            Self::Admin => "admin",
            Self::Service => "service",
            Self::UserOrService => "userOrService",
            Self::SupervisorOrService => "supervisorOrService",
            Self::AdminOrService => "adminOrService",
        }
    }

    /// The least role a person needs, or `None` when no person may call.
    const fn least_role(self) -> Option<Role> {
        match self {
            Self::User | Self::RestrictedUser | Self::UserOrService | Self::Optional | Self::Public => {
                Some(Role::EndUser)
            }
            Self::Supervisor | Self::SupervisorOrService => Some(Role::Supervisor),
            Self::Admin | Self::AdminOrService => Some(Role::Admin),
            Self::Service => None,
        }
    }

    const fn admits_services(self) -> bool {
        matches!(
            self,
            Self::Service
                | Self::UserOrService
                | Self::SupervisorOrService
                | Self::AdminOrService
                | Self::Optional
        )
    }
}

/// Which API keys of those who may call a route may be used for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyRule {
    /// One of these scopes is needed; no key will do where there are none.
    pub scopes: &'static [KeyScope],
    /// Whether keys that are bound to chatflows will do too.
    pub admits_bound: bool,
}

impl KeyRule {
    /// No key.
    pub const NONE: Self = Self {
        scopes: &[],
        admits_bound: false,
    };

    /// Keys for chatting.
    pub const CHAT: Self = Self::any_of(&[KeyScope::Chat]);

    /// Keys for chatting, or for reading.
    pub const CHAT_OR_READ: Self = Self::any_of(&[KeyScope::Chat, KeyScope::Read]);

    /// Keys for reading.
    pub const READ: Self = Self::any_of(&[KeyScope::Read]);

    const fn any_of(scopes: &'static [KeyScope]) -> Self {
        Self {
            scopes,
            admits_bound: true,
        }
    }

    /// The same where the route is about all chatflows at once: no key that is bound to some of them.
    #[must_use]
    pub const fn unbound(self) -> Self {
        Self {
            scopes: self.scopes,
            admits_bound: false,
        }
    }

    fn admits(self, key: &ApiKeyGrant) -> bool {
        key.has_any(self.scopes) && (self.admits_bound || key.chatflows.is_none())
    }
}

/// What stands before a route: who may call it, and with which keys. An [`Access`] alone admits no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    access: Access,
    keys: KeyRule,
}

impl From<Access> for Gate {
    fn from(access: Access) -> Self {
        Self {
            access,
            keys: KeyRule::NONE,
        }
    }
}

impl Access {
    /// The same callers, also by way of their API keys.
    pub const fn or_key(self, keys: KeyRule) -> Gate {
        Gate { access: self, keys }
    }
}

/// One route and who may call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The method.
    pub method: Method,
    /// The path with its parameters in braces.
    pub path: String,
    /// Who may call it.
    pub access: Access,
    /// With which API keys.
    pub keys: KeyRule,
}

/// Registers routes with their access.
pub struct Routes<'a> {
    config: &'a mut web::ServiceConfig,
    rows: Vec<Row>,
}

impl<'a> Routes<'a> {
    /// Registers into an application's configuration.
    pub fn new(config: &'a mut web::ServiceConfig) -> Self {
        Self {
            config,
            rows: Vec::new(),
        }
    }

    /// `GET path`.
    pub fn get<F, Args>(&mut self, path: &str, gate: impl Into<Gate>, handler: F) -> &mut Self
    where
        F: Handler<Args, Output: Responder + 'static>,
        Args: FromRequest + 'static,
    {
        self.add(Method::GET, path, gate.into(), handler)
    }

    /// `HEAD path`, for what is worth asking about before it is fetched.
    pub fn head<F, Args>(&mut self, path: &str, gate: impl Into<Gate>, handler: F) -> &mut Self
    where
        F: Handler<Args, Output: Responder + 'static>,
        Args: FromRequest + 'static,
    {
        self.add(Method::HEAD, path, gate.into(), handler)
    }

    /// `POST path`.
    pub fn post<F, Args>(&mut self, path: &str, gate: impl Into<Gate>, handler: F) -> &mut Self
    where
        F: Handler<Args, Output: Responder + 'static>,
        Args: FromRequest + 'static,
    {
        self.add(Method::POST, path, gate.into(), handler)
    }

    /// `PUT path`.
    pub fn put<F, Args>(&mut self, path: &str, gate: impl Into<Gate>, handler: F) -> &mut Self
    where
        F: Handler<Args, Output: Responder + 'static>,
        Args: FromRequest + 'static,
    {
        self.add(Method::PUT, path, gate.into(), handler)
    }

    /// `PATCH path`.
    pub fn patch<F, Args>(&mut self, path: &str, gate: impl Into<Gate>, handler: F) -> &mut Self
    where
        F: Handler<Args, Output: Responder + 'static>,
        Args: FromRequest + 'static,
    {
        self.add(Method::PATCH, path, gate.into(), handler)
    }

    /// `DELETE path`.
    pub fn delete<F, Args>(&mut self, path: &str, gate: impl Into<Gate>, handler: F) -> &mut Self
    where
        F: Handler<Args, Output: Responder + 'static>,
        Args: FromRequest + 'static,
    {
        self.add(Method::DELETE, path, gate.into(), handler)
    }

    fn add<F, Args>(&mut self, method: Method, path: &str, gate: Gate, handler: F) -> &mut Self
    where
        F: Handler<Args, Output: Responder + 'static>,
        Args: FromRequest + 'static,
    {
        let guard = from_fn(move |request: ServiceRequest, next| admit(gate, request, next));
        self.config
            .route(path, web::method(method.clone()).to(handler).wrap(guard));
        self.rows.push(Row {
            method,
            path: path.to_owned(),
            access: gate.access,
            keys: gate.keys,
        });
        self
    }

    /// Closes the table: what is not in it is answered 404, or 405 when only the method is wrong.
    pub fn finish(self) {
        self.config.app_data(web::Data::new(RouteTable(self.rows)));
        self.config.default_service(web::to(crate::pages::no_such_route));
    }
}

/// The rows of one service, for the 405 answer.
pub(crate) struct RouteTable(Vec<Row>);

impl RouteTable {
    /// The methods that `path` answers to.
    pub(crate) fn methods(&self, path: &str) -> Vec<Method> {
        let matches = |row: &&Row| actix_web::dev::ResourceDef::new(row.path.as_str()).is_match(path);
        self.0
            .iter()
            .filter(matches)
            .map(|row| row.method.clone())
            .collect()
    }
}

/// The rows that `configure` registers, for tests and for the published contract.
pub fn rows(configure: impl FnOnce(&mut Routes<'_>)) -> Vec<Row> {
    let mut rows = Vec::new();
    let _app = App::new().configure(|config| {
        let mut routes = Routes::new(config);
        configure(&mut routes);
        rows = routes.rows;
    });
    rows
}

/// A further look at a person whose token is valid, where the service that checks has it at hand (auth-service asks its
/// own sessions, which know of a logout before any feed does).
pub type SessionCheck =
    Arc<dyn Fn(CurrentUser) -> Pin<Box<dyn Future<Output = Result<(), Problem>>>> + Send + Sync>;

/// Tells who is calling.
#[derive(Clone)]
pub struct Authenticator {
    /// Checks access tokens.
    pub people: Verifier,
    /// Where its keys come from, where they are published; asked when a token names one that is not known.
    pub key_feed: Option<KeyFeed>,
    /// Checks service tokens addressed to this service.
    pub services: Verifier,
    /// Sessions that have ended.
    pub revocations: RevocationSet,
    /// The time.
    pub clock: Clock,
    /// The cookie that older clients send the access token in, from wherever, where the service sets one.
    pub older_cookie: Option<&'static str>,
    /// A further look at people.
    pub session_check: Option<SessionCheck>,
    /// Checks API keys, where the service takes any.
    pub api_keys: Option<ApiKeyChecks>,
}

impl Authenticator {
    /// The claims of a valid access token. Only a token that names a key we have not heard of waits, for one look.
    pub async fn access(&self, token: &str) -> Result<AccessClaims, Invalid> {
        let now = self.clock.now();
        match (self.people.access(token, now), &self.key_feed) {
            (Err(Invalid::UnknownKid), Some(feed)) if feed.look().await => self.people.access(token, now),
            (Err(Invalid::UnknownKid), Some(_)) => Err(Invalid::NoKeys),
            (result, _) => result,
        }
    }

    /// The person behind an access token.
    pub async fn person(&self, token: &str) -> Result<CurrentUser, Problem> {
        let claims = self.access(token).await.map_err(|reason| {
            tracing::debug!(%reason, "access token refused");
            if reason == Invalid::NoKeys {
                no_keys()
            } else {
                invalid_token()
            }
        })?;
        if self.revocations.contains(&claims.sid) {
            return Err(revoked_token());
        }
        debug_assert_eq!(claims.kind, TokenType::Access);
        Ok(CurrentUser {
            id: claims.sub,
            session_id: claims.sid,
            username: claims.username,
            email: claims.email,
            role: claims.role,
            must_change_password: claims.must_change_password,
            expires_at: chrono::DateTime::from_timestamp(claims.exp, 0).unwrap_or_default(),
            access_token: SecretString::from(token),
            key: None,
        })
    }

    /// The person behind an API key that may be used here.
    async fn owner_of_key(&self, rule: KeyRule, key: &str) -> Result<CurrentUser, Problem> {
        let Some(checks) = &self.api_keys else {
            return Err(invalid_token());
        };
        // Where no key is taken it is a token of another kind, and nobody is asked about it.
        if rule == KeyRule::NONE {
            return Err(invalid_token());
        }
        let grant = checks.check(key).await?;
        if !rule.admits(&grant) {
            return Err(key_not_admitted());
        }
        Ok(CurrentUser::by_key(grant, key))
    }

    /// The service behind a service token.
    pub fn service(&self, token: &str) -> Result<CallingService, Problem> {
        let claims = self.services.service(token, self.clock.now()).map_err(|reason| {
            tracing::debug!(%reason, "service token refused");
            invalid_token()
        })?;
        Ok(CallingService { name: claims.sub })
    }

    /// The caller of a route with this access, or why not.
    async fn identify(&self, gate: Gate, request: &HttpRequest) -> Result<Option<Caller>, Problem> {
        let access = gate.access;
        let token = match self.token(request)? {
            Some(token) => token,
            None if access == Access::Optional => return Ok(None),
            None => return Err(missing_token()),
        };
        if access.admits_services()
            && let Ok(service) = self.service(&token)
        {
            return Ok(Some(Caller::Service(service)));
        }
        let is_in_header = request.headers().contains_key(header::AUTHORIZATION);
        if is_in_header && token.starts_with(API_KEY_BEGINNING) {
            let user = self.owner_of_key(gate.keys, &token).await?;
            if let Some(check) = &self.session_check {
                check(user.clone()).await?;
            }
            return Ok(Some(Caller::User(user)));
        }
        let Some(least_role) = access.least_role() else {
            let person = self.person(&token).await;
            return Err(person.map_or_else(|problem| problem, |_| forbidden()));
        };
        let mut user = self.person(&token).await?;
        if let Some(check) = &self.session_check {
            check(user.clone()).await?;
        }
        if user.must_change_password && access != Access::RestrictedUser {
            if access != Access::Optional {
                return Err(password_change_required());
            }
            // Known, so that they can sign out, and without any right that comes from a role.
            user.role = Role::EndUser;
        }
        if user.role < least_role {
            return Err(forbidden());
        }
        Ok(Some(Caller::User(user)))
    }

    /// The token the request carries: `Authorization: Bearer`, else the cookie of our pages, else that of older clients.
    /// Never the query string.
    fn token(&self, request: &HttpRequest) -> Result<Option<String>, Problem> {
        let mut headers = request.headers().get_all(header::AUTHORIZATION);
        let (first, second) = (headers.next(), headers.next());
        if second.is_some() {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "ambiguous_credentials",
                "there is more than one Authorization header",
            ));
        }
        let bearer = first.and_then(|value| value.to_str().ok()).and_then(bearer);
        let older = || Some(request.cookie(self.older_cookie?)?.value().to_owned());
        let cookie = || SessionCookies::access_token(request).or_else(older);
        // A header of another scheme, or one that cannot be read, is an attempt to be somebody; cookies do not mend it.
        match (bearer, first) {
            (Some(token), _) => Ok(Some(token.to_owned())),
            (None, Some(_)) => Ok(older()),
            (None, None) => Ok(cookie()),
        }
    }
}

/// The credentials of the Bearer scheme; scheme names are case-insensitive (RFC 9110 section 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Refusals are answers, not errors: an error would leave the request's context before it is rendered.
async fn admit<B: MessageBody>(
    gate: Gate,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let access = gate.access;
    if access == Access::Public {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    // The answer remembers the problem, for whoever shows it in another form.
    let refuse =
        |request: ServiceRequest, problem: Problem| Ok(request.error_response(problem).map_into_right_body());
    let Some(authenticator) = request.app_data::<web::Data<Authenticator>>().cloned() else {
        return refuse(request, forbidden());
    };
    match authenticator.identify(gate, request.request()).await {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
        }
        Ok(None) => {}
        Err(_) if access == Access::Optional => {}
        Err(problem) => return refuse(request, problem),
    }
    next.call(request).await.map(ServiceResponse::map_into_left_body)
}

fn missing_token() -> Problem {
    Problem::unauthorized("missing_token", "an access token is needed")
}

fn invalid_token() -> Problem {
    Problem::unauthorized("invalid_token", "the access token is not valid or has expired")
}

fn key_not_admitted() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "api_key_not_admitted",
        "this is not open to API keys, or not to this one",
    )
}

/// Neither the caller's fault nor for long: the keys are fetched as soon as auth-service can be reached.
fn no_keys() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "auth_unavailable",
        "access tokens cannot be checked yet; try again in a moment",
    )
    .retry_after(1)
}

fn revoked_token() -> Problem {
    Problem::unauthorized("session_revoked", "this session has ended; sign in again")
}

fn password_change_required() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "password_change_required",
        "the password has to be changed first",
    )
}

fn forbidden() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        "your role does not allow this",
    )
}
