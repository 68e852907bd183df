//! The chatflows a person may use.

use actix_web::{HttpRequest, HttpResponse, web};
use common_http::{CurrentUser, Path, Query, Routes, Timestamp};
use serde::Serialize;
use serde_json::json;

use super::{
    READING,
    doors::flowise::{ListedFlow, Page},
    paging::Paging,
};
use crate::{
    domain::chatflow::Chatflow,
    error::Result,
    service::{
        access::Access as ChatflowAccess,
        chatflows::{AssignedChatflow, Chatflows},
    },
};

pub(crate) fn table(routes: &mut Routes<'_>) {
    for base in ["/api/v1/chatflows", "/chatflows"] {
        routes
            .get(base, READING, list_flows)
            .get(&format!("{base}/"), READING, list_chatflows)
            .get(&format!("{base}/my-chatflows"), READING, list_my_chatflows)
            .get(&format!("{base}/{{flowise_id}}"), READING, show_chatflow)
            .get(
                &format!("{base}/{{flowise_id}}/config"),
                READING,
                show_chatflow_config,
            );
    }
    for base in super::CHAT {
        routes
            .get(&format!("{base}/chatflows"), READING, list_my_chatflows)
            .get(
                &format!("{base}/my-assigned-chatflows"),
                READING,
                list_assigned_ids,
            );
    }
}

#[derive(Serialize)]
struct ChatflowSummary {
    id: String,
    name: String,
    description: Option<String>,
    is_public: bool,
}

#[derive(Serialize)]
struct MyChatflow {
    id: String,
    name: String,
    description: Option<String>,
    category: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    deployed: bool,
    assigned_at: Option<Timestamp>,
    price: Option<i64>,
}

#[derive(Serialize)]
struct ChatflowBody<'a> {
    id: &'a str,
    name: &'a str,
    description: Option<&'a str>,
    category: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    deployed: bool,
    created: Option<Timestamp>,
    updated: Option<Timestamp>,
}

/// `GET /api/v1/chatflows/`: the caller's chatflows, in short.
async fn list_chatflows(
    user: CurrentUser,
    request: HttpRequest,
    query: Query<Paging>,
    chatflows: web::Data<Chatflows>,
) -> Result<HttpResponse> {
    let assigned = chatflows.assigned_to(&user).await?;
    answer(&request, &query, assigned, ChatflowSummary::from)
}

/// `GET /api/v1/chatflows`: the same with what clients of Flowise read beside it; they ask for pages in their own way.
async fn list_flows(
    user: CurrentUser,
    request: HttpRequest,
    query: Query<Paging>,
    page: Query<Page>,
    chatflows: web::Data<Chatflows>,
) -> Result<HttpResponse> {
    let assigned = chatflows.assigned_to(&user).await?;
    if page.is_given() {
        let flows = assigned.into_iter().map(ListedFlow::from).collect();
        return Ok(HttpResponse::Ok().json(page.answer(flows)));
    }
    answer(&request, &query, assigned, ListedFlow::from)
}

/// `GET /api/v1/chatflows/my-chatflows`: the list of the web client.
async fn list_my_chatflows(
    user: CurrentUser,
    request: HttpRequest,
    query: Query<Paging>,
    chatflows: web::Data<Chatflows>,
) -> Result<HttpResponse> {
    let assigned = chatflows.assigned_to(&user).await?;
    answer(&request, &query, assigned, MyChatflow::from)
}

/// All of them by name, or a page. One person has a handful; they were read whole.
fn answer<B: Serialize>(
    request: &HttpRequest,
    paging: &Paging,
    assigned: Vec<AssignedChatflow>,
    show: impl Fn(AssignedChatflow) -> B,
) -> Result<HttpResponse> {
    let keys = |one: &AssignedChatflow| vec![one.chatflow.name.clone(), one.chatflow.id.to_hex()];
    let Some(page) = paging.read(2)? else {
        let bodies: Vec<_> = assigned.into_iter().map(show).collect();
        return Ok(HttpResponse::Ok().json(bodies));
    };
    let is_behind = |one: &AssignedChatflow| page.after.as_ref().is_none_or(|after| keys(one) > *after);
    let rows = assigned.into_iter().filter(is_behind).collect();
    Ok(page.answer(request, rows, keys, show))
}

/// `GET /api/v1/chat/my-assigned-chatflows`: only the ids.
async fn list_assigned_ids(user: CurrentUser, chatflows: web::Data<Chatflows>) -> Result<HttpResponse> {
    let assigned = chatflows.assigned_to(&user).await?;
    let ids: Vec<_> = assigned
        .iter()
        .map(|assigned| &assigned.chatflow.flowise_id)
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "count": ids.len(), "assigned_chatflow_ids": ids })))
}

/// `GET /api/v1/chatflows/{flowise_id}`.
async fn show_chatflow(
    user: CurrentUser,
    flowise_id: Path<String>,
    access: web::Data<ChatflowAccess>,
) -> Result<HttpResponse> {
    let chatflow = access.chatflow_for(&user, &flowise_id).await?;
    Ok(HttpResponse::Ok().json(ChatflowBody::from(chatflow.as_ref())))
}

/// `GET /api/v1/chatflows/{flowise_id}/config`: how a chat window should show it.
async fn show_chatflow_config(
    user: CurrentUser,
    flowise_id: Path<String>,
    chatflows: web::Data<Chatflows>,
) -> Result<HttpResponse> {
    let config = chatflows.config_for(&user, &flowise_id).await?;
    Ok(HttpResponse::Ok().json(config))
}

impl From<AssignedChatflow> for ChatflowSummary {
    fn from(AssignedChatflow { chatflow, .. }: AssignedChatflow) -> Self {
        Self {
            id: chatflow.flowise_id,
            name: chatflow.name,
            description: chatflow.description,
            is_public: chatflow.is_public,
        }
    }
}

impl From<AssignedChatflow> for MyChatflow {
    fn from(
        AssignedChatflow {
            chatflow,
            assigned_at,
        }: AssignedChatflow,
    ) -> Self {
        Self {
            price: chatflow.price.flat(),
            id: chatflow.flowise_id,
            name: chatflow.name,
            description: chatflow.description,
            category: chatflow.category,
            kind: chatflow.kind,
            deployed: chatflow.deployed,
            assigned_at: assigned_at.map(Timestamp),
        }
    }
}

impl<'a> From<&'a Chatflow> for ChatflowBody<'a> {
    fn from(chatflow: &'a Chatflow) -> Self {
        Self {
            id: &chatflow.flowise_id,
            name: &chatflow.name,
            description: chatflow.description.as_deref(),
            category: chatflow.category.as_deref(),
            kind: &chatflow.kind,
            deployed: chatflow.deployed,
            created: chatflow.created_date.map(Timestamp),
            updated: chatflow.updated_date.map(Timestamp),
        }
    }
}
