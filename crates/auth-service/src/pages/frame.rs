//! What every page has: language, name of the site, who is signed in, the token of its forms, what just happened; and how
//! it is sent.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    convert::Infallible,
    future::{Ready, ready},
};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError as _,
    cookie::time::Duration,
    dev::Payload,
    http::{StatusCode, header},
    web,
};
use askama::Template;
use common_http::{Caller, CurrentUser};
use common_jwt::Role;

use super::{
    assets::Assets,
    forms::{Form, Holder, visitor_cookie},
    neighbours::{Refusal, SaidNo},
    texts::Texts,
};
use crate::{
    domain::{sign_in_flow::parse_next, user::UserId},
    error::{Error, Result},
    routes::cookies::Cookies,
    service::settings::RuntimeSettings,
};

/// What a page may do: load what is ours, and be framed by nobody. Nothing inline, so nothing that gets into it runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: https:; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The text that says that another service is away; no code of the API.
const NEIGHBOUR_AWAY: &str = "neighbour_away";

/// How long a language is remembered.
pub(super) const LANGUAGE_KEPT: Duration = Duration::days(365);

/// How long a browser is known that nobody signs in with.
const VISITOR_KEPT: Duration = Duration::hours(12);

/// Around every page.
#[derive(Debug)]
pub(super) struct Frame {
    /// The texts.
    pub(super) texts: &'static Texts,
    /// What the platform is called.
    pub(super) site_name: String,
    /// Its picture.
    pub(super) logo_url: Option<String>,
    /// Where style and scripts are.
    pub(super) assets: String,
    /// Who is signed in.
    pub(super) person: Option<CurrentUser>,
    /// Where we are.
    pub(super) path: String,
    /// What just went well.
    pub(super) notice: Option<&'static str>,
    /// What did not.
    pub(super) trouble: Option<String>,
    errors: BTreeMap<String, String>,
    values: BTreeMap<String, String>,
    holder: Option<Holder>,
    new_visitor: Option<actix_web::cookie::Cookie<'static>>,
    asked_next: Option<String>,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    f: &'a Frame,
    status: u16,
    text: Cow<'a, str>,
}

impl Frame {
    /// For whoever asks.
    pub(super) fn new(request: &HttpRequest, caller: Option<&Caller>) -> Self {
        let texts = Texts::for_request(request);
        let settings = request
            .app_data::<web::Data<RuntimeSettings>>()
            .map(|settings| settings.current());
        let settings = settings.as_ref().map(|current| &current.settings);
        let assets = request.app_data::<web::Data<Assets>>();
        let query = web::Query::<BTreeMap<String, String>>::from_query(request.query_string());
        let query = query.map(web::Query::into_inner).unwrap_or_default();
        let holder = Holder::of(request, caller);
        let visitor = holder.as_ref().and_then(|holder| holder.new_visitor.as_ref());
        let cookies = request.app_data::<web::Data<Cookies>>();
        let new_visitor = visitor
            .zip(cookies)
            .map(|(visitor, cookies)| cookies.lax(visitor_cookie(cookies), visitor.text(), VISITOR_KEPT));
        Self {
            texts,
            site_name: settings.map_or_else(String::new, |settings| settings.site_name.clone()),
            logo_url: settings.and_then(|settings| settings.logo_url.clone()),
            assets: assets.map_or_else(String::new, |assets| assets.base()),
            person: match caller {
                Some(Caller::User(user)) => Some(user.clone()),
                Some(Caller::Service(_)) | None => None,
            },
            path: request.path().to_owned(),
            notice: query
                .get("done")
                .and_then(|name| texts.find(&format!("done.{name}"))),
            trouble: query
                .get("problem")
                .and_then(|code| texts.find(&format!("problem.{code}")))
                .map(str::to_owned),
            errors: BTreeMap::new(),
            values: BTreeMap::new(),
            asked_next: query.get("next").and_then(|next| own_path(next)),
            holder,
            new_visitor,
        }
    }

    /// A text.
    pub(super) fn t<'a>(&self, name: &'a str) -> Cow<'a, str> {
        self.texts.get(name)
    }

    /// A text with something in its places.
    pub(super) fn fill(&self, name: &str, parts: &[&str]) -> String {
        let text = self.texts.get(name).into_owned();
        parts.iter().fold(text, |text, part| text.replacen("{}", part, 1))
    }

    /// A text named by a word of another place, which is shown where there is none.
    pub(super) fn word(&self, kind: &str, word: &str) -> String {
        let text = self.texts.find(&format!("{kind}.{word}"));
        text.map_or_else(|| word.replace('_', " "), str::to_owned)
    }

    /// For the forms.
    pub(super) fn token(&self) -> &str {
        self.holder.as_ref().map_or("", Holder::token)
    }

    /// What was typed before.
    pub(super) fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// What was typed before, else this.
    pub(super) fn value_or<'a>(&'a self, name: &str, known: &'a str) -> &'a str {
        self.values.get(name).map_or(known, String::as_str)
    }

    /// Whether a box is to be ticked: as it was sent, if the form that has the field `beside` it was, else as it is.
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "templates pass what they have by reference"
    )]
    pub(super) fn ticked(&self, name: &str, beside: &str, is_on: &bool) -> bool {
        if self.values.contains_key(beside) {
            self.values.contains_key(name)
        } else {
            *is_on
        }
    }

    /// What is wrong with a field.
    pub(super) fn error(&self, name: &str) -> Option<&str> {
        self.errors.get(name).map(String::as_str)
    }

    /// Whether this is the part of the site one is in.
    pub(super) fn is_at(&self, beginning: &str) -> bool {
        let rest = self.path.strip_prefix(beginning);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether the administration is theirs.
    pub(super) fn is_admin(&self) -> bool {
        self.person
            .as_ref()
            .is_some_and(|person| person.role == Role::Admin && !person.must_change_password)
    }

    /// Every language.
    #[expect(clippy::unused_self, reason = "templates reach what they show by methods")]
    pub(super) fn languages(&self) -> &'static [Texts] {
        Texts::all()
    }

    /// Where one wants to be afterwards: a path of ours.
    pub(super) fn next(&self) -> Option<&str> {
        self.asked_next.as_deref()
    }

    /// The same, as it stands behind `next=`.
    pub(super) fn encoded_next(&self) -> Option<String> {
        let next = self.next()?;
        Some(url::form_urlencoded::byte_serialize(next.as_bytes()).collect())
    }

    /// The same page with what was typed and why it will not do. What only an operator can mend stays an error.
    pub(super) fn refused(mut self, form: &Form, error: Error) -> Result<(Self, StatusCode)> {
        let problem = error.problem();
        let status = error.status_code();
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            return Err(error);
        }
        self.values = form.shown();
        self.asked_next = form.given("next").and_then(|next| own_path(&next));
        if let Error::Invalid(errors) = &error {
            for error in errors {
                let text = self.texts.find(&format!("problem.{}", error.message));
                let text = text.map_or_else(|| self.said(&error.message), str::to_owned);
                self.errors.insert(snake(&error.field), text);
            }
            self.trouble = Some(self.t("problem.validation_failed").into_owned());
        } else {
            self.trouble = Some(self.said_of(problem.code(), problem.detail()));
        }
        Ok((self, status))
    }

    /// The same page where another service did not do what the form asks for.
    pub(super) fn refused_by(mut self, form: &Form, refusal: Refusal) -> (Self, StatusCode) {
        self.values = form.shown();
        let Refusal::Said(said) = refusal else {
            self.trouble = Some(self.t("problem.neighbour_away").into_owned());
            return (self, StatusCode::SERVICE_UNAVAILABLE);
        };
        for (field, message) in &said.fields {
            let text = self.said(message);
            // Where a form has one field for a whole list, the error of an entry stands there, too.
            if let Some((list, entry)) = field.split_once('.') {
                let number: Option<usize> = entry.parse().ok();
                let entry =
                    number.map_or_else(|| entry.to_owned(), |number| number.saturating_add(1).to_string());
                let text = self.fill("form.entry", &[&entry, &text]);
                self.errors.entry(snake(list)).or_insert(text);
            }
            self.errors.insert(snake(field), text);
        }
        self.trouble = Some(self.said_of(&said.code, &said.detail));
        let status = status_of(&said);
        (self, status)
    }

    /// The same page, whoever does not do what the form asks for.
    pub(super) fn hindered(self, form: &Form, hindrance: Hindrance) -> Result<(Self, StatusCode)> {
        match hindrance {
            Hindrance::Ours(error) => self.refused(form, error),
            Hindrance::Theirs(refusal) => Ok(self.refused_by(form, refusal)),
        }
    }

    /// The same page where what its address asks for will not do: `text` says why, at the field.
    pub(super) fn asked_wrongly(mut self, field: &str, text: &str) -> Self {
        let text = self.t(text).into_owned();
        self.errors.insert(field.to_owned(), text);
        self.trouble = Some(self.t("problem.validation_failed").into_owned());
        self
    }

    /// A sentence for a code: ours in this language, else what the API says.
    pub(super) fn said_of(&self, code: &str, detail: &str) -> String {
        let text = self.texts.find(&format!("problem.{code}"));
        text.map_or_else(|| detail.to_owned(), str::to_owned)
    }

    /// The API's messages complete "the field ...".
    fn said(&self, message: &str) -> String {
        self.fill("form.field_message", &[message])
    }

    /// An address, or the page that is shown without one.
    pub(super) fn next_or<'a>(&'a self, otherwise: &'a str) -> &'a str {
        self.asked_next.as_deref().unwrap_or(otherwise)
    }

    /// Sends the page.
    pub(super) fn show(&self, page: &impl Template) -> HttpResponse {
        self.show_as(StatusCode::OK, page)
    }

    /// Sends the page with another status.
    pub(super) fn show_as(&self, status: StatusCode, page: &impl Template) -> HttpResponse {
        let text = match page.render() {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%error, "a page could not be written");
                return HttpResponse::InternalServerError().finish();
            }
        };
        let mut response = HttpResponseBuilder::new(status);
        if let Some(visitor) = &self.new_visitor {
            response.cookie(visitor.clone());
        }
        response
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
            .insert_header((header::REFERRER_POLICY, "same-origin"))
            .insert_header((header::CONTENT_LANGUAGE, self.texts.code))
            .insert_header((header::VARY, "Cookie, Accept-Language"))
            .body(text)
    }

    /// Sends a page that says why another service's things cannot be shown.
    pub(super) fn show_refusal(&self, refusal: &Refusal) -> HttpResponse {
        match refusal {
            Refusal::Away => self.show_problem(StatusCode::SERVICE_UNAVAILABLE, NEIGHBOUR_AWAY),
            Refusal::Said(said) => self.show_problem(status_of(said), &said.code),
        }
    }

    /// Sends a page that says what went wrong.
    pub(super) fn show_problem(&self, status: StatusCode, code: &str) -> HttpResponse {
        let by_status = match status {
            StatusCode::NOT_FOUND => "problem.not_found",
            StatusCode::FORBIDDEN => "problem.forbidden",
            status if status.is_server_error() => "problem.internal",
            _ => "problem.bad_request",
        };
        let text = self.texts.find(&format!("problem.{code}"));
        let text = text.map_or_else(|| self.t(by_status), Cow::Borrowed);
        let page = ProblemPage {
            f: self,
            status: status.as_u16(),
            text,
        };
        self.show_as(status, &page)
    }
}

/// Why a form was not done: by us, or by another service.
#[derive(Debug)]
pub(super) enum Hindrance {
    /// What we found ourselves.
    Ours(Error),
    /// What the other one says.
    Theirs(Refusal),
}

impl From<Error> for Hindrance {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<Refusal> for Hindrance {
    fn from(refusal: Refusal) -> Self {
        Self::Theirs(refusal)
    }
}

/// A path of ours, as it may stand behind `next`.
pub(super) fn own_path(text: &str) -> Option<String> {
    parse_next(text, &[])
}

/// Whose page it is. The row has let nobody else in.
pub(super) fn id_of(user: &CurrentUser) -> Result<UserId> {
    UserId::parse(&user.id).ok_or(Error::UserNotFound)
}

fn status_of(said: &SaidNo) -> StatusCode {
    StatusCode::from_u16(said.status.as_u16()).unwrap_or(StatusCode::BAD_REQUEST)
}

/// Fields of the API's bodies are `camelCase`, those of forms `snake_case`.
fn snake(field: &str) -> String {
    field.chars().fold(String::new(), |mut text, character| {
        if character.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(character.to_ascii_lowercase());
        text
    })
}

impl FromRequest for Frame {
    type Error = Infallible;
    type Future = Ready<std::result::Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = Caller::extract(request).into_inner().ok();
        ready(Ok(Self::new(request, caller.as_ref())))
    }
}
