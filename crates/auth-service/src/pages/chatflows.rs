//! What somebody may ask: the chatflows that they, or a group of theirs, were given. proxy-service knows.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use common_http::{CurrentUser, Query};
use serde::Deserialize;

use super::{
    frame::Frame,
    neighbours::{Neighbour, Neighbours, Refusal, Rows},
};

/// Chatflows on one page.
const CHATFLOWS: usize = 50;

#[derive(Template)]
#[template(path = "chatflows.html")]
struct MinePage<'a> {
    f: &'a Frame,
    /// `None` where proxy-service is away.
    chatflows: Option<Vec<Mine>>,
    next: Option<String>,
}

/// One of them.
#[derive(Deserialize)]
struct Mine {
    id: String,
    name: String,
    description: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    /// Of a question; `None` where it depends on what the answer takes.
    price: Option<u64>,
}

/// Where in the list.
#[derive(Debug, Deserialize)]
pub(super) struct MineQuery {
    cursor: Option<String>,
}

impl Mine {
    /// Where it is asked.
    fn address(&self) -> String {
        with_query("/chat", &[("chatflow", &self.id)])
    }

    fn costs(&self, f: &Frame) -> String {
        match self.price {
            Some(0) => f.t("chatflows.free").into_owned(),
            Some(credits) => f.fill("chatflows.costs", &[&credits.to_string()]),
            None => f.t("chatflows.by_usage").into_owned(),
        }
    }
}

/// `GET /my-chatflows`. `/chatflows` is an address of the API, which older clients know.
pub(super) async fn list_mine(
    f: Frame,
    user: CurrentUser,
    Query(query): Query<MineQuery>,
    neighbours: web::Data<Neighbours>,
) -> HttpResponse {
    let path = paged(
        "/api/v1/chatflows/my-chatflows",
        CHATFLOWS,
        query.cursor.as_deref(),
    );
    let listed = neighbours.list::<Mine>(Neighbour::Proxy, &path, &user).await;
    let (status, chatflows, next) = match listed {
        Ok(Rows { rows, next }) => {
            let next = next.map(|cursor| with_query("/my-chatflows", &[("cursor", &cursor)]));
            (StatusCode::OK, Some(rows), next)
        }
        Err(Refusal::Away) => (StatusCode::SERVICE_UNAVAILABLE, None, None),
        Err(refusal) => return f.show_refusal(&refusal),
    };
    let page = MinePage {
        f: &f,
        chatflows,
        next,
    };
    f.show_as(status, &page)
}

/// The address of a page of a list of proxy-service.
pub(super) fn paged(path: &str, limit: usize, cursor: Option<&str>) -> String {
    let limit = limit.to_string();
    let mut pairs = vec![("limit", limit.as_str())];
    pairs.extend(cursor.map(|cursor| ("cursor", cursor)));
    with_query(path, &pairs)
}

/// A path with these behind it, encoded.
pub(super) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    format!("{path}?{query}")
}
