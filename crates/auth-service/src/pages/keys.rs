//! API keys: one's own, and those of the person an administrator looks at.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use chrono::{DateTime, NaiveDate, Utc};
use common_http::{Clock, CurrentUser, Path};
use common_jwt::{KeyScope, Role};

use super::{
    door::see_other,
    forms::Form,
    frame::{Frame, id_of},
    times::Shown,
};
use crate::{
    domain::{
        api_key::{ApiKey, KeyWish},
        origin::Origin,
    },
    error::Result,
    service::api_keys::ApiKeys,
};

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage<'a> {
    f: &'a Frame,
    part: KeysPart,
}

#[derive(Template)]
#[template(path = "key_made.html")]
struct MadePage<'a> {
    f: &'a Frame,
    name: &'a str,
    secret: &'a str,
}

/// Somebody's keys, and the form for another.
pub(super) struct KeysPart {
    /// What the addresses of the forms begin with.
    pub(super) base: String,
    pub(super) keys: Vec<ShownKey>,
    /// Whether the owner is an admin, so that a key may be one's too.
    pub(super) may_administer: bool,
}

/// A key as people know it.
pub(super) struct ShownKey {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) prefix: String,
    pub(super) scopes: Vec<&'static str>,
    pub(super) chatflows: Option<Vec<String>>,
    pub(super) credit_cap: Option<i64>,
    pub(super) rate: Option<u32>,
    pub(super) is_expired: bool,
    pub(super) expires_at: Option<Shown>,
    pub(super) last_used_at: Option<Shown>,
    pub(super) since: Shown,
}

impl KeysPart {
    /// These keys of somebody with this role.
    pub(super) fn new(base: String, keys: Vec<ApiKey>, role: Role, now: DateTime<Utc>) -> Self {
        Self {
            base,
            keys: keys.into_iter().map(|key| ShownKey::new(key, now)).collect(),
            may_administer: role == Role::Admin,
        }
    }
}

impl ShownKey {
    fn new(key: ApiKey, now: DateTime<Utc>) -> Self {
        Self {
            is_expired: key.is_expired(now),
            scopes: key.terms.scopes.iter().map(|scope| scope.as_str()).collect(),
            id: key.id,
            name: key.terms.name,
            prefix: key.prefix,
            chatflows: key.terms.chatflows,
            credit_cap: key.terms.credit_cap,
            rate: key.terms.rate,
            expires_at: key.terms.expires_at.map(Into::into),
            last_used_at: key.last_used_at.map(Into::into),
            since: key.created_at.into(),
        }
    }
}

/// What the form says of a key. A number that is none is passed on as one that is not acceptable, so that everything
/// wrong is told at once.
pub(super) fn wish_of(form: &Form) -> KeyWish {
    let number = |name| form.given(name).map(|text| text.parse().unwrap_or(0));
    let scopes = KeyScope::ALL.into_iter().map(KeyScope::as_str);
    let ticked = scopes.filter(|scope| form.is_on(&format!("scope_{scope}")));
    let ids = form.given("chatflows").map(|text| {
        let ids = text.split([',', ' ', '\r', '\n', '\t']);
        ids.filter(|id| !id.is_empty()).map(str::to_owned).collect()
    });
    KeyWish {
        name: form.text("name").to_owned(),
        scopes: Some(ticked.map(str::to_owned).collect()),
        chatflows: ids,
        credit_cap: number("credit_cap"),
        rate: number("rate"),
        expires_at: form.given("expires_at").map(|text| end_of_day(&text)),
    }
}

/// Days are meant with their end. What is no day is refused as it is.
fn end_of_day(text: &str) -> String {
    match text.parse::<NaiveDate>() {
        Ok(day) => format!("{day}T23:59:59Z"),
        Err(_) => text.to_owned(),
    }
}

/// `GET /account/keys`.
pub(super) async fn list(
    f: Frame,
    user: CurrentUser,
    keys: web::Data<ApiKeys>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    page(&f, StatusCode::OK, &user, &keys, &clock).await
}

async fn page(
    f: &Frame,
    status: StatusCode,
    user: &CurrentUser,
    keys: &ApiKeys,
    clock: &Clock,
) -> Result<HttpResponse> {
    let found = keys.list(id_of(user)?).await?;
    let part = KeysPart::new("/account/keys".to_owned(), found, user.role, clock.now());
    Ok(f.show_as(status, &KeysPage { f, part }))
}

/// `POST /account/keys`: the answer is the one page that shows the key.
pub(super) async fn create(
    f: Frame,
    user: CurrentUser,
    form: Form,
    origin: Origin,
    keys: web::Data<ApiKeys>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let id = id_of(&user)?;
    match keys.create(id, wish_of(&form), id, &origin).await {
        Ok((key, secret)) => Ok(f.show(&MadePage {
            f: &f,
            name: &key.terms.name,
            secret: secret.text(),
        })),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            page(&f, status, &user, &keys, &clock).await
        }
    }
}

/// `POST /account/keys/{key_id}`: revokes it.
pub(super) async fn revoke(
    user: CurrentUser,
    Path(key_id): Path<String>,
    _form: Form,
    origin: Origin,
    keys: web::Data<ApiKeys>,
) -> Result<HttpResponse> {
    let id = id_of(&user)?;
    keys.revoke(&key_id, id, id, &origin).await?;
    Ok(see_other("/account/keys?done=key_revoked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_with_its_last_second() {
        assert_eq!(end_of_day("2027-03-01"), "2027-03-01T23:59:59Z");
        assert_eq!(end_of_day("soon"), "soon");
    }
}
