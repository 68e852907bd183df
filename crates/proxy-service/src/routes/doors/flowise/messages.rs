//! What was said in a chat, what the person thinks of it, and its end.

use actix_web::{HttpResponse, web};
use common_http::{Body, CurrentUser, Path, Query, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    domain::said::text_of,
    error::{Error, Result},
    service::chats::{Chats, Spoken, Wanted},
    store::messages::{Rated, RatingChange},
};

/// Messages in one list.
const LISTED_MAX: i64 = 1_000;

/// Characters of what somebody thinks of an answer.
const CONTENT_CHARS_MAX: usize = 4_000;

/// Which messages are asked for; Flowise's other filters are ignored, and what is listed is never more than is one's own.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChatQuery {
    chat_id: Option<String>,
    session_id: Option<String>,
    order: Option<String>,
    page: Option<u32>,
    limit: Option<u32>,
}

impl From<ChatQuery> for Wanted {
    fn from(query: ChatQuery) -> Self {
        let limit = query.limit.filter(|limit| *limit > 0);
        let limit = limit.map_or(LISTED_MAX, |limit| i64::from(limit).min(LISTED_MAX));
        let pages_before = u64::from(query.page.unwrap_or_default().saturating_sub(1));
        let present = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            chat_id: present(query.chat_id),
            session_name: present(query.session_id),
            newest_first: query
                .order
                .is_some_and(|order| order.eq_ignore_ascii_case("desc")),
            // Far beyond anything that is there, and no number that a database refuses.
            offset: (pages_before * u64::try_from(limit).unwrap_or_default()).min(u64::from(u32::MAX)),
            limit,
        }
    }
}

/// `GET /api/v1/chatmessage/{flowise_id}`: the caller's own messages in a chatflow.
#[tracing::instrument(skip_all)]
pub(super) async fn list_chat_messages(
    user: CurrentUser,
    flowise_id: Path<String>,
    Query(query): Query<ChatQuery>,
    chats: web::Data<Chats>,
) -> Result<HttpResponse> {
    let spoken = chats.messages(&user, &flowise_id, query.into()).await?;
    let messages: Vec<Value> = spoken.iter().map(message_body).collect();
    Ok(HttpResponse::Ok().json(messages))
}

fn message_body(spoken: &Spoken) -> Value {
    let message = &spoken.message;
    let role = if message.role == "user" {
        "userMessage"
    } else {
        "apiMessage"
    };
    json!({
        "id": message.id,
        "role": role,
        "chatflowid": message.chatflow_id,
        "content": text_of(&message.role, &message.content),
        "chatType": "EXTERNAL",
        "chatId": spoken.chat_id,
        "sessionId": spoken.session_name,
        "createdDate": Timestamp(message.created_at),
    })
}

/// `PUT /api/v1/chatmessage/abort/{flowise_id}/{chat_id}`: no more of an answer. As Flowise, it says yes whatever there was.
#[tracing::instrument(skip_all)]
pub(super) async fn abort_chat(
    user: CurrentUser,
    path: Path<(String, String)>,
    chats: web::Data<Chats>,
) -> Result<HttpResponse> {
    let (flowise_id, chat_id) = &*path;
    chats.abort(&user, flowise_id, chat_id).await?;
    Ok(HttpResponse::Ok().json(json!({ "status": 200, "message": "Chat message aborted" })))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GiveFeedback {
    chatflowid: String,
    chat_id: String,
    message_id: String,
    rating: String,
    content: Option<String>,
}

/// `POST /api/v1/feedback`, with or without the chatflow behind it: what the caller thinks of an answer they got.
#[tracing::instrument(skip_all)]
pub(super) async fn give_feedback(
    user: CurrentUser,
    body: Body<GiveFeedback>,
    chats: web::Data<Chats>,
) -> Result<HttpResponse> {
    let body = body.into_inner();
    let rated = Rated {
        is_good: is_good(&body.rating)?,
        content: bounded(body.content.unwrap_or_default())?,
    };
    let rating = chats
        .rate(&user, &body.chatflowid, &body.chat_id, &body.message_id, rated)
        .await?;
    Ok(HttpResponse::Ok().json(json!({
        "chatflowid": body.chatflowid,
        "chatId": body.chat_id,
        "messageId": body.message_id,
        "rating": body.rating,
        "content": rating.rated.content,
        "id": rating.id,
        "createdDate": Timestamp(rating.at),
    })))
}

#[derive(Debug, Deserialize)]
pub(super) struct ChangeFeedback {
    rating: Option<String>,
    content: Option<String>,
}

/// `PUT /api/v1/feedback/{id}`: they think otherwise, or say why; what is not said stays as it was.
#[tracing::instrument(skip_all)]
pub(super) async fn change_feedback(
    user: CurrentUser,
    id: Path<String>,
    body: Body<ChangeFeedback>,
    chats: web::Data<Chats>,
) -> Result<HttpResponse> {
    let ChangeFeedback { rating, content } = body.into_inner();
    let id = Uuid::parse_str(&id).or(Err(Error::MessageNotFound))?;
    let change = RatingChange {
        is_good: rating.as_deref().map(is_good).transpose()?,
        content: content.map(bounded).transpose()?,
    };
    chats.rate_again(&user, &id.to_string(), &change).await?;
    Ok(HttpResponse::Ok().json(json!({ "status": "OK" })))
}

fn is_good(rating: &str) -> Result<bool> {
    match rating {
        "THUMBS_UP" => Ok(true),
        "THUMBS_DOWN" => Ok(false),
        _ => Err(Error::invalid("rating", "must be `THUMBS_UP` or `THUMBS_DOWN`")),
    }
}

fn bounded(content: String) -> Result<String> {
    if content.chars().nth(CONTENT_CHARS_MAX).is_some() {
        let message = format!("may have at most {CONTENT_CHARS_MAX} characters");
        return Err(Error::invalid("content", message));
    }
    Ok(content)
}
