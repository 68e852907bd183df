//! What forms send. Each carries a token that only the page shown to this very session could know, so that no other page
//! can send it, whatever a browser does with cookies.

use std::collections::BTreeMap;

use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload, http::StatusCode, web};
use common_http::{Caller, FormOrJson, Problem, is_from_own_page};
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use secrecy::SecretString;

use crate::{
    config::Config,
    domain::one_time::OneTime,
    error::{Error, Result},
    routes::cookies::Cookies,
    service::{federation::random, keyed_hash::KeyedHash},
};

/// The member of a form that holds the token.
pub(super) const TOKEN: &str = "form_token";

/// Names a browser whose user is not signed in yet.
const VISITOR: &str = "__Host-visitor";
const VISITOR_WITHOUT_TLS: &str = "flowgateVisitor";

/// Makes and checks tokens.
#[derive(Clone, Debug)]
pub(super) struct FormTokens(KeyedHash);

/// Whom a page is shown to, as far as forms are concerned.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    token: String,
    /// To be kept by a browser that we see for the first time.
    pub(super) new_visitor: Option<OneTime>,
}

impl FormTokens {
    /// Tokens under a key of their own.
    pub(super) fn new(config: &Config) -> Self {
        Self(KeyedHash::new(config, "form tokens"))
    }

    fn of_session(&self, session_id: &str) -> String {
        self.0.name(&["session", session_id])
    }

    fn of_visitor(&self, visitor: &OneTime) -> String {
        self.0.name(&["visitor", visitor.text()])
    }
}

impl Holder {
    /// Whoever sends this request.
    pub(super) fn of(request: &HttpRequest, caller: Option<&Caller>) -> Option<Self> {
        let tokens = request.app_data::<web::Data<FormTokens>>()?;
        if let Some(Caller::User(user)) = caller {
            return Some(Self {
                token: tokens.of_session(&user.session_id),
                new_visitor: None,
            });
        }
        let known = visitor_of(request);
        let new_visitor = known.is_none().then(random);
        let visitor = known.as_ref().or(new_visitor.as_ref())?;
        Some(Self {
            token: tokens.of_visitor(visitor),
            new_visitor,
        })
    }

    /// For the forms of the page.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Compares in a time that tells nothing.
    fn is_right(&self, sent: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.token.as_bytes(), sent.as_bytes()).is_ok()
    }
}

/// The cookie's name: over TLS nobody but this very host can set it.
pub(super) fn visitor_cookie(cookies: &Cookies) -> &'static str {
    if cookies.names().secure {
        VISITOR
    } else {
        VISITOR_WITHOUT_TLS
    }
}

fn visitor_of(request: &HttpRequest) -> Option<OneTime> {
    let cookies = request.app_data::<web::Data<Cookies>>()?;
    OneTime::parse(request.cookie(visitor_cookie(cookies))?.value())
}

/// A form that a page of ours sent.
#[derive(Debug)]
pub(super) struct Form(BTreeMap<String, String>);

impl Form {
    /// A text without the space around it; empty where there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |text| text.trim())
    }

    /// A text that has to be there.
    pub(super) fn required(&self, name: &str) -> Result<&str> {
        let text = self.text(name);
        if text.is_empty() {
            return Err(Error::invalid(name, "is required"));
        }
        Ok(text)
    }

    /// A text, or nothing where it is empty.
    pub(super) fn given(&self, name: &str) -> Option<String> {
        Some(self.text(name))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }

    /// A secret as it was typed.
    pub(super) fn secret(&self, name: &str) -> SecretString {
        SecretString::from(self.0.get(name).map_or("", String::as_str))
    }

    /// A secret that has to be there.
    pub(super) fn required_secret(&self, name: &str) -> Result<SecretString> {
        if self.0.get(name).is_none_or(String::is_empty) {
            return Err(Error::invalid(name, "is required"));
        }
        Ok(self.secret(name))
    }

    /// Whether a box is ticked.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What a page may show again: nothing that is secret.
    pub(super) fn shown(&self) -> BTreeMap<String, String> {
        let is_secret = |name: &str| {
            ["password", "code", "secret", "token", "repeat", "api_key"]
                .iter()
                .any(|word| name.contains(word))
        };
        let shown = self.0.iter().filter(|(name, _)| !is_secret(name));
        shown.map(|(name, text)| (name.clone(), text.clone())).collect()
    }
}

impl FromRequest for Form {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let caller = Caller::extract(&request).into_inner().ok();
        if request.content_type() != "application/x-www-form-urlencoded" {
            let problem = Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the body must be a form (application/x-www-form-urlencoded)",
            );
            return std::future::ready(Err(problem)).boxed_local();
        }
        let reading = FormOrJson::<BTreeMap<String, String>>::from_request(&request, payload);
        async move {
            let FormOrJson(members) = reading.await?;
            let sent = members.get(TOKEN).map_or("", String::as_str);
            check(&request, caller.as_ref(), sent)?;
            Ok(Self(members))
        }
        .boxed_local()
    }
}

/// Whether a form that holds this token is one of ours.
pub(super) fn check(request: &HttpRequest, caller: Option<&Caller>, sent: &str) -> Result<(), Problem> {
    let holder = Holder::of(request, caller);
    let is_right = holder.is_some_and(|holder| holder.new_visitor.is_none() && holder.is_right(sent));
    if is_right && is_from_own_page(request) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "invalid_form_token",
        "this form was not made for you, or is too old; open the page again",
    ))
}
