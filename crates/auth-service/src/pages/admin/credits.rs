//! Somebody's credits: found, shown, given, taken back. accounting-service keeps them; each change carries the key of
//! the form that asks for it.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use common_http::{CurrentUser, Path};
use reqwest::Method;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::json;
use uuid::Uuid;

use super::gift::{DAYS_DEFAULT, DAYS_MAX, Gift, NotDone, credits_of, key_of, notes_of};
use crate::{
    domain::{
        user::{User, UserId},
        user_list::{LIMIT_DEFAULT, Search, UserFilter},
    },
    error::{Error, Result},
    pages::{
        credits::{Balance, ENTRIES, Statement, StatementQuery},
        door::see_other,
        forms::Form,
        frame::Frame,
        neighbours::{Away, Neighbour, Neighbours, Refusal, SaidNo},
    },
    store::users::UserStore,
};

#[derive(Template)]
#[template(path = "admin/credits.html")]
struct FindPage<'a> {
    f: &'a Frame,
    asked: &'a Asked,
    people: Vec<User>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "admin/credits_of.html")]
struct PersonPage<'a> {
    f: &'a Frame,
    user: &'a User,
    balance: Option<Balance>,
    statement: Option<Statement>,
    key: Uuid,
    days_max: u32,
    days: String,
}

#[derive(Template)]
#[template(path = "admin/credits_take.html")]
struct TakePage<'a> {
    f: &'a Frame,
    user: &'a User,
    balance: Option<Balance>,
    key: Uuid,
}

/// Whom to look for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    q: String,
    cursor: Option<String>,
}

/// `GET /admin/credits`: whose credits?
pub(super) async fn find(
    f: Frame,
    asked: web::Query<Asked>,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    let filter = UserFilter {
        search: Search::parse(&asked.q).map_err(|message| Error::invalid("q", message))?,
        ..UserFilter::default()
    };
    let after = asked.cursor.as_deref();
    let after = after.map(|cursor| filter.position(cursor).ok_or(Error::InvalidCursor));
    let page = users
        .page(&filter, after.transpose()?.as_ref(), LIMIT_DEFAULT)
        .await?;
    let next = page.next.map(|next| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("q", &asked.q)
            .append_pair("cursor", &filter.cursor(&next))
            .finish();
        format!("/admin/credits?{query}")
    });
    Ok(f.show(&FindPage {
        f: &f,
        asked: &asked,
        people: page.users,
        next,
    }))
}

/// What pages about somebody's credits are made of.
type Sources = (web::Data<UserStore>, web::Data<Neighbours>);

async fn person(users: &UserStore, user_id: &str) -> Result<User> {
    let id = UserId::parse(user_id).ok_or(Error::UserNotFound)?;
    users.find(id).await?.ok_or(Error::UserNotFound)
}

/// What accounting-service knows; nothing yet of somebody who never had credits.
async fn known<T: DeserializeOwned + Default>(
    neighbours: &Neighbours,
    path: &str,
    admin: &CurrentUser,
) -> std::result::Result<T, Away> {
    let asked = neighbours.ask(Method::GET, Neighbour::Accounting, path, admin, None);
    match asked.await {
        Ok(answer) => Ok(answer),
        Err(Refusal::Said(said)) if said.code == "user_not_found" => Ok(T::default()),
        Err(_) => Err(Away),
    }
}

async fn balance_of(neighbours: &Neighbours, admin: &CurrentUser, id: UserId) -> Option<Balance> {
    let path = format!("/api/credits/balance/{id}");
    known(neighbours, &path, admin).await.ok()
}

/// `GET /admin/credits/people/{user_id}`: what they can spend, what ends when, what happened.
pub(super) async fn show(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    query: web::Query<StatementQuery>,
    (users, neighbours): Sources,
) -> Result<HttpResponse> {
    let user = person(&users, &user_id).await?;
    let shown = (f, StatusCode::OK, Uuid::new_v4());
    Ok(person_page(shown, &admin, &user, &query.after(), &neighbours).await)
}

async fn person_page(
    (f, status, key): (Frame, StatusCode, Uuid),
    admin: &CurrentUser,
    user: &User,
    after: &str,
    neighbours: &Neighbours,
) -> HttpResponse {
    let id = user.id;
    let path = format!("/api/credits/transactions?userId={id}&limit={ENTRIES}{after}");
    let (balance, statement) = futures_util::join!(
        balance_of(neighbours, admin, id),
        known::<Statement>(neighbours, &path, admin),
    );
    let page = PersonPage {
        f: &f,
        user,
        balance,
        statement: statement.ok(),
        key,
        days_max: DAYS_MAX,
        days: DAYS_DEFAULT.to_string(),
    };
    f.show_as(status, &page)
}

/// `GET /admin/credits/people/{user_id}/statement`: on to the whole statement as a table, in a session that goes on.
pub(super) async fn download(
    Path(user_id): Path<String>,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    let user = person(&users, &user_id).await?;
    let address = format!("/api/credits/transactions?format=csv&userId={}", user.id);
    Ok(see_other(&address))
}

/// `POST /admin/credits/people/{user_id}`: gives them credits.
pub(super) async fn give(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    form: Form,
    (users, neighbours): Sources,
) -> Result<HttpResponse> {
    let user = person(&users, &user_id).await?;
    let id = user.id.to_string();
    let given = async {
        let gift = Gift::read(&form)?;
        let key = gift.key.to_string();
        Ok(gift.give(&neighbours, &admin, &id, &key).await?)
    };
    match given.await {
        Ok(()) => Ok(see_other(&format!(
            "/admin/credits/people/{id}?done=credits_given"
        ))),
        Err(not_done) => {
            let shown = NotDone::show(not_done, f, &form)?;
            Ok(person_page(shown, &admin, &user, "", &neighbours).await)
        }
    }
}

/// `GET /admin/credits/people/{user_id}/take`.
pub(super) async fn show_take(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    (users, neighbours): Sources,
) -> Result<HttpResponse> {
    let user = person(&users, &user_id).await?;
    let shown = (f, StatusCode::OK, Uuid::new_v4());
    Ok(take_page(shown, &admin, &user, &neighbours).await)
}

async fn take_page(
    (f, status, key): (Frame, StatusCode, Uuid),
    admin: &CurrentUser,
    user: &User,
    neighbours: &Neighbours,
) -> HttpResponse {
    let page = TakePage {
        f: &f,
        user,
        balance: balance_of(neighbours, admin, user.id).await,
        key,
    };
    f.show_as(status, &page)
}

/// `POST /admin/credits/people/{user_id}/take`: takes credits back, those that end first; with a tick.
pub(super) async fn take(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    form: Form,
    (users, neighbours): Sources,
) -> Result<HttpResponse> {
    let user = person(&users, &user_id).await?;
    let id = user.id.to_string();
    match try_take(&form, &admin, &id, &neighbours).await {
        Ok(()) => Ok(see_other(&format!(
            "/admin/credits/people/{id}?done=credits_taken"
        ))),
        Err(not_done) => {
            let shown = not_done.show(f, &form)?;
            Ok(take_page(shown, &admin, &user, &neighbours).await)
        }
    }
}

async fn try_take(
    form: &Form,
    admin: &CurrentUser,
    id: &str,
    neighbours: &Neighbours,
) -> std::result::Result<(), NotDone> {
    let mut errors = Vec::new();
    let (credits, notes) = (credits_of(form, &mut errors), notes_of(form, &mut errors));
    if !form.is_on("understood") {
        errors.push(crate::error::field_error("understood", "tick_to_delete"));
    }
    if !errors.is_empty() {
        return Err(Error::Invalid(errors).into());
    }
    let body = json!({ "userId": id, "credits": credits, "notes": notes });
    let path = "/api/credits/remove";
    let key = key_of(form)?.to_string();
    neighbours
        .ask_once::<IgnoredAny>(
            Method::DELETE,
            Neighbour::Accounting,
            path,
            admin,
            Some(&body),
            &key,
        )
        .await?;
    Ok(())
}

/// `POST /admin/credits/people/{user_id}/allocations/{allocation_id}/withdraw`: takes back what is left of one.
pub(super) async fn withdraw(
    f: Frame,
    admin: CurrentUser,
    Path((user_id, allocation_id)): Path<(String, String)>,
    form: Form,
    (users, neighbours): Sources,
) -> Result<HttpResponse> {
    let user = person(&users, &user_id).await?;
    let withdrawn = async {
        let key = key_of(&form)?.to_string();
        let id = Uuid::parse_str(&allocation_id).map_err(|_error| unknown_allocation())?;
        let path = format!("/api/credits/allocations/{id}");
        neighbours
            .ask_once::<IgnoredAny>(Method::DELETE, Neighbour::Accounting, &path, &admin, None, &key)
            .await?;
        Ok(())
    };
    match withdrawn.await {
        Ok(()) => Ok(see_other(&format!(
            "/admin/credits/people/{}?done=credits_taken",
            user.id
        ))),
        Err(not_done) => {
            let shown = NotDone::show(not_done, f, &form)?;
            Ok(person_page(shown, &admin, &user, "", &neighbours).await)
        }
    }
}

/// What is no id is asked nobody for.
fn unknown_allocation() -> Refusal {
    Refusal::Said(SaidNo {
        status: reqwest::StatusCode::NOT_FOUND,
        code: "allocation_not_found".to_owned(),
        detail: "there is no such allocation".to_owned(),
        fields: Vec::new(),
    })
}
