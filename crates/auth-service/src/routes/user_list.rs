//! The list of users: whole, as the documented routes give it, or a page at a time.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{HeaderValue, LINK},
    web,
};
use bytes::Bytes;
use common_http::Query;
use common_jwt::Role;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::{
    domain::{
        user::User,
        user_list::{LIMIT_DEFAULT, LIMIT_MAX, Position, Search, UserFilter, UserState},
    },
    error::{Error, Result},
    routes::bodies::UserBody,
    store::users::{UserStore, pages::UserPage},
};

/// Users written in one piece of an answer.
const PIECE: usize = 100;

/// What narrows the list down. Without any of these the list is whole.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ListQuery {
    limit: Option<usize>,
    cursor: Option<String>,
    q: Option<String>,
    role: Option<String>,
    state: Option<String>,
}

/// A page of `GET /api/admin/users`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UserPageBody {
    users: Vec<UserBody>,
    next_cursor: Option<String>,
}

/// What a query asks for, found acceptable.
struct PageRequest {
    filter: UserFilter,
    after: Option<Position>,
    limit: usize,
}

/// `GET /api/admin/users`: everybody, or a page.
pub(crate) async fn list_users(
    Query(query): Query<ListQuery>,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    let Some(request) = query.page()? else {
        return Ok(streamed(
            r#"{"users":["#,
            users.list().await?,
            UserBody::from,
            "]}",
        ));
    };
    let page = request.read(&users).await?;
    Ok(HttpResponse::Ok().json(UserPageBody {
        next_cursor: page.next.map(|next| request.filter.cursor(&next)),
        users: page.users.into_iter().map(UserBody::from).collect(),
    }))
}

/// `GET /api/users`: the same as a bare array; the next page stands in the header `Link`.
pub(crate) async fn list_users_bare(
    request: HttpRequest,
    Query(query): Query<ListQuery>,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    let Some(page_request) = query.page()? else {
        return Ok(streamed("[", users.list().await?, UserBody::from, "]"));
    };
    let page = page_request.read(&users).await?;
    let mut response = HttpResponse::Ok();
    if let Some(next) = &page.next {
        let cursor = page_request.filter.cursor(next);
        if let Ok(link) = HeaderValue::try_from(next_link(&request, &cursor)) {
            response.insert_header((LINK, link));
        }
    }
    Ok(response.json(page.users.into_iter().map(UserBody::from).collect::<Vec<_>>()))
}

/// The same address with another cursor (RFC 8288).
fn next_link(request: &HttpRequest, cursor: &str) -> String {
    let pairs = form_urlencoded::parse(request.query_string().as_bytes());
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs.filter(|(name, _)| name != "cursor"))
        .append_pair("cursor", cursor)
        .finish();
    format!("<{}?{query}>; rel=\"next\"", request.path())
}

impl ListQuery {
    /// The page that is asked for; `None` when the whole list is.
    fn page(self) -> Result<Option<PageRequest>> {
        let Self {
            limit,
            cursor,
            q,
            role,
            state,
        } = self;
        let is_whole =
            limit.is_none() && cursor.is_none() && q.is_none() && role.is_none() && state.is_none();
        if is_whole {
            return Ok(None);
        }
        let limit = limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Error::invalid("limit", "must be from 1 to 200"));
        }
        let search = Search::parse(q.as_deref().unwrap_or_default());
        let filter = UserFilter {
            search: search.map_err(|message| Error::invalid("q", message))?,
            role: role.as_deref().map(role_of).transpose()?,
            state: state.as_deref().map(state_of).transpose()?,
        };
        let after = cursor.map(|cursor| filter.position(&cursor).ok_or(Error::InvalidCursor));
        Ok(Some(PageRequest {
            after: after.transpose()?,
            filter,
            limit,
        }))
    }
}

impl PageRequest {
    async fn read(&self, users: &UserStore) -> Result<UserPage> {
        users.page(&self.filter, self.after.as_ref(), self.limit).await
    }
}

fn role_of(text: &str) -> Result<Role> {
    crate::domain::user::parse_role(text)
        .ok_or_else(|| Error::invalid("role", "must be admin, supervisor, enduser or user"))
}

fn state_of(text: &str) -> Result<UserState> {
    UserState::parse(text).ok_or_else(|| Error::invalid("state", "must be active, disabled or unverified"))
}

/// Writes users as they are read, so that a list of a million costs no more memory than one of a hundred. When the
/// database fails half way the connection is cut: the client sees an incomplete answer, not a short list.
pub(crate) fn streamed<T: Serialize + 'static>(
    before: &'static str,
    users: impl Stream<Item = Result<User>> + 'static,
    show: fn(User) -> T,
    after: &'static str,
) -> HttpResponse {
    let mut is_first = true;
    let pieces = users.map_ok(show).try_chunks(PIECE).map(move |piece| {
        let users = piece.map_err(|error| error.1)?;
        let mut text = Vec::new();
        for user in users {
            if !std::mem::take(&mut is_first) {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, &user).map_err(std::io::Error::from)?;
        }
        Ok(Bytes::from(text))
    });
    let edge =
        |text: &'static str| stream::once(std::future::ready(Ok::<_, actix_web::Error>(Bytes::from(text))));
    let whole = edge(before).chain(pieces).chain(edge(after));
    HttpResponse::Ok()
        .content_type("application/json")
        .streaming(Box::pin(whole))
}
