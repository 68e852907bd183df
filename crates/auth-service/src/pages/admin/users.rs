//! People: found, made, edited, shut out, helped.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use common_http::{Clock, CurrentUser, Path};
use common_jwt::Role;
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use crate::{
    domain::{
        email::EmailAddress,
        origin::Origin,
        user::{Edit, User, UserId, parse_role},
        user_list::{LIMIT_DEFAULT, Search, UserFilter, UserState},
        username::Username,
    },
    error::{Error, Result},
    pages::{
        devices::Signed,
        door::see_other,
        forms::Form,
        frame::{Frame, id_of},
        keys::KeysPart,
        times::Shown,
    },
    service::{
        accounts::{Accounts, NewAccount, NewServiceAccount, Verification},
        administration::Administration,
        api_keys::ApiKeys,
        approvals::Approvals,
        credentials::{Credentials, GivenPassword},
        deletion::Deletion,
        registration::Registration,
        resets::Resets,
        second_factors::SecondFactors,
        sessions::Sessions,
    },
    store::{sessions::SessionStore, users::UserStore},
};

#[derive(Template)]
#[template(path = "admin/users.html")]
struct ListPage<'a> {
    f: &'a Frame,
    query: &'a ListQuery,
    users: Vec<Listed>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "admin/user_new.html")]
struct NewPage<'a> {
    f: &'a Frame,
}

#[derive(Template)]
#[template(path = "admin/user.html")]
struct UserPage<'a> {
    f: &'a Frame,
    user: Listed,
    devices: Vec<Signed>,
    part: KeysPart,
    has_second_factor: bool,
    is_self: bool,
}

#[derive(Template)]
#[template(path = "admin/user_password.html")]
struct PasswordPage<'a> {
    f: &'a Frame,
    user: &'a User,
    password: &'a str,
}

/// What narrows the list down.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    state: String,
    cursor: Option<String>,
}

/// Somebody, as lists show them.
#[expect(
    clippy::struct_excessive_bools,
    reason = "states that have nothing to do with each other"
)]
struct Listed {
    id: String,
    username: String,
    full_name: String,
    email: String,
    role: &'static str,
    state: &'static str,
    is_verified: bool,
    is_disabled: bool,
    is_service_account: bool,
    must_change_password: bool,
    created_at: Shown,
}

impl From<User> for Listed {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            state: UserState::of(&user).map_or("waiting", UserState::as_str),
            role: user.role.as_str(),
            full_name: user.full_name.unwrap_or_default(),
            is_verified: user.is_verified,
            is_disabled: user.is_disabled,
            is_service_account: user.is_service_account,
            must_change_password: user.must_change_password,
            created_at: user.created_at.into(),
            username: user.username,
            email: user.email,
        }
    }
}

impl ListQuery {
    fn filter(&self) -> Result<UserFilter> {
        let search = Search::parse(&self.q);
        Ok(UserFilter {
            search: search.map_err(|message| Error::invalid("q", message))?,
            role: parse_role(&self.role),
            state: UserState::parse(&self.state),
        })
    }

    /// The same list from a cursor on.
    fn address(&self, cursor: &str) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("q", &self.q)
            .append_pair("role", &self.role)
            .append_pair("state", &self.state)
            .append_pair("cursor", cursor)
            .finish();
        format!("/admin/users?{query}")
    }
}

/// `GET /admin/users`: a page of people.
pub(super) async fn list(
    f: Frame,
    query: web::Query<ListQuery>,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    let filter = query.filter()?;
    let after = query
        .cursor
        .as_deref()
        .map(|cursor| filter.position(cursor).ok_or(Error::InvalidCursor));
    let page = users
        .page(&filter, after.transpose()?.as_ref(), LIMIT_DEFAULT)
        .await?;
    Ok(f.show(&ListPage {
        f: &f,
        query: &query,
        next: page.next.map(|next| query.address(&filter.cursor(&next))),
        users: page.users.into_iter().map(Listed::from).collect(),
    }))
}

/// `GET /admin/users/new`.
pub(super) async fn show_new(f: Frame) -> HttpResponse {
    f.show(&NewPage { f: &f })
}

/// `POST /admin/users/new`.
pub(super) async fn create(
    f: Frame,
    admin: CurrentUser,
    form: Form,
    origin: Origin,
    registration: web::Data<Registration>,
    accounts: web::Data<Accounts>,
) -> Result<HttpResponse> {
    match try_create(&admin, &form, &origin, &registration, &accounts).await {
        Ok(user) => Ok(see_other(&format!("/admin/users/{}?done=user_created", user.id))),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            Ok(f.show_as(status, &NewPage { f: &f }))
        }
    }
}

async fn try_create(
    admin: &CurrentUser,
    form: &Form,
    origin: &Origin,
    registration: &Registration,
    accounts: &Accounts,
) -> Result<User> {
    let role = role_of(form)?;
    if role == Role::Admin {
        return Err(Error::AdminNotCreatable);
    }
    if form.is_on("is_service_account") {
        if form.given("password").is_some() {
            return Err(Error::invalid(
                "password",
                "must be left out: a service account has none",
            ));
        }
        let account = NewServiceAccount::parse(form.required("username")?, form.given("email").as_deref())?;
        return accounts
            .create_service_account(account, role, id_of(admin)?, origin)
            .await;
    }
    let password = form.required_secret("password")?;
    let account = NewAccount::parse(form.required("username")?, form.required("email")?, password)?;
    let verification = if form.is_on("is_verified") {
        Verification::Vouched
    } else {
        Verification::Pending
    };
    registration
        .create_for(account, role, verification, id_of(admin)?, origin)
        .await
}

fn role_of(form: &Form) -> Result<Role> {
    parse_role(form.text("role"))
        .ok_or_else(|| Error::invalid("role", "must be admin, supervisor or enduser"))
}

/// `GET /admin/users/{user_id}`.
pub(super) async fn show(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    reading: Reading,
) -> Result<HttpResponse> {
    let id = known(&user_id)?;
    reading.page(&f, StatusCode::OK, id, &admin).await
}

/// What the page of a person is read from.
pub(super) struct Reading {
    users: web::Data<UserStore>,
    sessions: web::Data<SessionStore>,
    second_factors: web::Data<SecondFactors>,
    keys: web::Data<ApiKeys>,
    clock: web::Data<Clock>,
}

impl actix_web::FromRequest for Reading {
    type Error = actix_web::Error;
    type Future = futures_util::future::LocalBoxFuture<'static, std::result::Result<Self, actix_web::Error>>;

    fn from_request(request: &actix_web::HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        use futures_util::FutureExt as _;
        let request = request.clone();
        async move {
            Ok(Self {
                users: web::Data::extract(&request).await?,
                sessions: web::Data::extract(&request).await?,
                second_factors: web::Data::extract(&request).await?,
                keys: web::Data::extract(&request).await?,
                clock: web::Data::extract(&request).await?,
            })
        }
        .boxed_local()
    }
}

impl Reading {
    async fn page(
        &self,
        f: &Frame,
        status: StatusCode,
        id: UserId,
        admin: &CurrentUser,
    ) -> Result<HttpResponse> {
        let user = self.users.find(id).await?.ok_or(Error::UserNotFound)?;
        let sessions = self.sessions.list_of(id, self.clock.now()).await?;
        let devices = sessions
            .into_iter()
            .map(|session| Signed::new(session, &admin.session_id));
        let keys = self.keys.list(id).await?;
        let base = format!("/admin/users/{id}/keys");
        let page = UserPage {
            f,
            part: KeysPart::new(base, keys, user.role, self.clock.now()),
            has_second_factor: self.second_factors.status(id).await?.is_enabled,
            is_self: user.id.to_string() == admin.id,
            user: user.into(),
            devices: devices.collect(),
        };
        Ok(f.show_as(status, &page))
    }

    /// Back to the person's page: with the news, or with what was wrong.
    pub(super) async fn answer(
        &self,
        f: Frame,
        form: &Form,
        admin: &CurrentUser,
        id: UserId,
        done: &str,
        result: Result<()>,
    ) -> Result<HttpResponse> {
        match result {
            Ok(()) => Ok(see_other(&format!("/admin/users/{id}?done={done}"))),
            Err(Error::UserNotFound) => Err(Error::UserNotFound),
            Err(error) => {
                let (f, status) = f.refused(form, error)?;
                self.page(&f, status, id, admin).await
            }
        }
    }
}

pub(super) fn known(user_id: &str) -> Result<UserId> {
    UserId::parse(user_id).ok_or(Error::UserNotFound)
}

/// `POST /admin/users/{user_id}`: name, address, role, whether the account is open and its address proven.
pub(super) async fn edit(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    form: Form,
    origin: Origin,
    administration: web::Data<Administration>,
    reading: Reading,
) -> Result<HttpResponse> {
    let id = known(&user_id)?;
    let edited = async {
        let edit = Edit {
            username: Some(
                Username::parse(form.required("username")?)
                    .map_err(|message| Error::invalid("username", message))?,
            ),
            email: Some(
                EmailAddress::parse(form.required("email")?)
                    .map_err(|message| Error::invalid("email", message))?,
            ),
            role: form.given("role").map(|_| role_of(&form)).transpose()?,
            is_active: Some(form.is_on("is_active")),
            is_verified: Some(form.is_on("is_verified")),
        };
        administration.edit(id, edit, id_of(&admin)?, &origin).await
    };
    let result = edited.await.map(drop);
    reading.answer(f, &form, &admin, id, "saved", result).await
}

/// `POST /admin/users/{user_id}/password`: one by chance, shown once, to be changed at the next sign-in.
pub(super) async fn give_password(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    form: Form,
    origin: Origin,
    credentials: web::Data<Credentials>,
    reading: Reading,
) -> Result<HttpResponse> {
    let id = known(&user_id)?;
    match credentials
        .give(id, GivenPassword::Random, id_of(&admin)?, &origin)
        .await
    {
        Ok((user, password)) => {
            let password = password.unwrap_or_default();
            Ok(f.show(&PasswordPage {
                f: &f,
                user: &user,
                password: password.expose_secret(),
            }))
        }
        Err(error) => reading.answer(f, &form, &admin, id, "saved", Err(error)).await,
    }
}

/// `POST /admin/users/{user_id}/approve`: somebody who made an account for themselves may sign in.
pub(super) async fn approve(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    form: Form,
    origin: Origin,
    approvals: web::Data<Approvals>,
    reading: Reading,
) -> Result<HttpResponse> {
    let id = known(&user_id)?;
    let result = approvals.approve(id, id_of(&admin)?, &origin).await.map(drop);
    reading.answer(f, &form, &admin, id, "approved", result).await
}

/// `POST /admin/users/{user_id}/invitation`: mails the link to choose a password.
pub(super) async fn invite(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    form: Form,
    origin: Origin,
    resets: web::Data<Resets>,
    reading: Reading,
) -> Result<HttpResponse> {
    let id = known(&user_id)?;
    let result = resets.invite_by_id(id, id_of(&admin)?, &origin).await;
    reading.answer(f, &form, &admin, id, "invited", result).await
}

/// `POST /admin/users/{user_id}/two-factor`: for somebody who lost their phone.
pub(super) async fn remove_second_factor(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    form: Form,
    origin: Origin,
    second_factors: web::Data<SecondFactors>,
    reading: Reading,
) -> Result<HttpResponse> {
    let id = known(&user_id)?;
    let result = second_factors.remove(id, id_of(&admin)?, &origin).await;
    reading
        .answer(f, &form, &admin, id, "two_factor_off", result)
        .await
}

/// `POST /admin/users/{user_id}/sessions`: signs somebody out everywhere.
pub(super) async fn end_sessions(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    form: Form,
    origin: Origin,
    sessions: web::Data<Sessions>,
    reading: Reading,
) -> Result<HttpResponse> {
    let id = known(&user_id)?;
    let result = sessions
        .end_all_as_admin(id, id_of(&admin)?, &origin)
        .await
        .map(drop);
    reading
        .answer(f, &form, &admin, id, "sessions_ended", result)
        .await
}

/// `POST /admin/users/{user_id}/delete`: with a tick, since it cannot be undone.
pub(super) async fn delete(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    form: Form,
    origin: Origin,
    deletion: web::Data<Deletion>,
    reading: Reading,
) -> Result<HttpResponse> {
    let id = known(&user_id)?;
    let deleted = async {
        if !form.is_on("understood") {
            return Err(Error::invalid("understood", "tick_to_delete"));
        }
        deletion.delete(id, id_of(&admin)?, &origin).await
    };
    match deleted.await {
        Ok(_) => Ok(see_other("/admin/users?done=user_deleted")),
        Err(error) => reading.answer(f, &form, &admin, id, "saved", Err(error)).await,
    }
}
