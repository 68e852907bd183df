//! A person's own conversations over HTTP.

use actix_web::{HttpResponse, web};
use common_http::{Body, CurrentUser, Path, Query, Routes, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    CHATTING, CHATTING_ALL, READING, READING_ALL,
    exports::searched,
    files::{PublicBase, UploadBody},
    paging::Paging,
};
use crate::{
    error::{Error, Result},
    service::conversations::{Conversations, Said},
    store::sessions::{Session, Wanted},
};

/// Characters of a topic.
const TOPIC_CHARS_MAX: usize = 200;

/// This resource's rows.
pub(crate) fn table(routes: &mut Routes<'_>) {
    for prefix in super::CHAT {
        routes
            .get(&format!("{prefix}/sessions"), READING_ALL, list_sessions)
            .post(&format!("{prefix}/sessions"), CHATTING, create_session)
            .patch(&format!("{prefix}/sessions/{{id}}"), CHATTING, rename_session)
            .get(
                &format!("{prefix}/sessions/{{id}}/history"),
                READING,
                show_history,
            )
            .delete(&format!("{prefix}/sessions/{{id}}"), CHATTING, delete_session)
            .delete(&format!("{prefix}/history"), CHATTING_ALL, delete_history);
    }
}

#[derive(Serialize)]
struct SessionBody {
    session_id: String,
    chatflow_id: String,
    topic: Option<String>,
    created_at: Timestamp,
    first_message: Option<String>,
}

impl From<Session> for SessionBody {
    fn from(session: Session) -> Self {
        Self {
            session_id: session.id,
            chatflow_id: session.chatflow_id,
            topic: session.topic,
            created_at: Timestamp(session.created_at),
            first_message: session.first_message,
        }
    }
}

#[derive(Serialize)]
struct MessageBody {
    id: String,
    role: String,
    content: String,
    created_at: Timestamp,
    session_id: String,
    file_ids: Option<Vec<String>>,
    has_files: bool,
    uploads: Vec<UploadBody>,
}

impl MessageBody {
    fn new(Said { message, files }: Said, base: &PublicBase) -> Self {
        let ids: Vec<String> = files.iter().map(|file| file.id.clone()).collect();
        Self {
            id: message.id,
            role: message.role,
            content: message.content,
            created_at: Timestamp(message.created_at),
            session_id: message.session_id,
            has_files: !ids.is_empty(),
            file_ids: Some(ids).filter(|ids| !ids.is_empty()),
            uploads: files
                .into_iter()
                .map(|file| UploadBody::new(file, base))
                .collect(),
        }
    }
}

#[derive(Deserialize)]
struct SessionQuery {
    q: Option<String>,
    chatflow_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct CreateSession {
    chatflow_id: String,
    topic: Option<String>,
}

#[derive(Deserialize)]
struct RenameSession {
    topic: String,
}

/// `GET /api/v1/chat/sessions`: the caller's conversations, newest first; all of them unless some are asked for.
#[tracing::instrument(skip_all)]
async fn list_sessions(
    user: CurrentUser,
    query: Query<SessionQuery>,
    conversations: web::Data<Conversations>,
) -> Result<HttpResponse> {
    let paging = Paging::new(query.limit.clone(), query.cursor.clone());
    let wanted = Wanted {
        chatflow_id: query.chatflow_id.as_deref(),
        text: query.q.as_deref().map(searched).transpose()?,
    };
    if !paging.is_given() && wanted.text.is_none() && wanted.chatflow_id.is_none() {
        let sessions = conversations.list(&user.id).await?;
        let sessions: Vec<SessionBody> = sessions.into_iter().map(SessionBody::from).collect();
        return Ok(HttpResponse::Ok().json(json!({ "sessions": sessions, "count": sessions.len() })));
    }
    let page = paging.read_timed()?;
    let (sessions, next) = conversations.list_page(&user.id, wanted, page).await?;
    let sessions: Vec<SessionBody> = sessions.into_iter().map(SessionBody::from).collect();
    Ok(HttpResponse::Ok().json(json!({
        "sessions": sessions,
        "count": sessions.len(),
        "next_cursor": next.map(|next| next.to_string()),
    })))
}

/// `POST /api/v1/chat/sessions`: a conversation that nothing was said in yet.
#[tracing::instrument(skip_all)]
async fn create_session(
    user: CurrentUser,
    body: Body<CreateSession>,
    conversations: web::Data<Conversations>,
) -> Result<HttpResponse> {
    let Body(CreateSession { chatflow_id, topic }) = body;
    let topic = topic.as_deref().map(named).transpose()?;
    let session = conversations.create(&user, &chatflow_id, topic).await?;
    Ok(HttpResponse::Created().json(json!({
        "session_id": session.id,
        "chatflow_id": session.chatflow_id,
        "user_id": user.id,
        "topic": session.topic,
        "created_at": Timestamp(session.created_at),
    })))
}

/// `PATCH /api/v1/chat/sessions/{id}`: another topic.
#[tracing::instrument(skip_all)]
async fn rename_session(
    user: CurrentUser,
    session_id: Path<String>,
    body: Body<RenameSession>,
    conversations: web::Data<Conversations>,
) -> Result<HttpResponse> {
    let topic = named(&body.0.topic)?;
    conversations.admit(&user, &session_id).await?;
    let session = conversations.rename(&user.id, &session_id, topic).await?;
    Ok(HttpResponse::Ok().json(SessionBody::from(session)))
}

fn named(topic: &str) -> Result<&str> {
    let topic = topic.trim();
    if topic.is_empty() || topic.chars().nth(TOPIC_CHARS_MAX).is_some() || topic.contains(char::is_control) {
        let message = format!("must have 1 to {TOPIC_CHARS_MAX} characters on one line");
        return Err(Error::invalid("topic", message));
    }
    Ok(topic)
}

/// `GET /api/v1/chat/sessions/{id}/history`: what was said in one of them, oldest first.
#[tracing::instrument(skip_all)]
async fn show_history(
    user: CurrentUser,
    session_id: Path<String>,
    paging: Query<Paging>,
    conversations: web::Data<Conversations>,
    base: web::Data<PublicBase>,
) -> Result<HttpResponse> {
    let bodies = |said: Vec<Said>| -> Vec<MessageBody> {
        said.into_iter()
            .map(|said| MessageBody::new(said, &base))
            .collect()
    };
    conversations.admit(&user, &session_id).await?;
    if !paging.is_given() {
        let history = bodies(conversations.history(&user.id, &session_id).await?);
        return Ok(HttpResponse::Ok().json(json!({ "history": history, "count": history.len() })));
    }
    let page = paging.read_timed()?;
    let (said, next) = conversations.history_page(&user.id, &session_id, page).await?;
    let history = bodies(said);
    Ok(HttpResponse::Ok().json(json!({
        "history": history,
        "count": history.len(),
        "next_cursor": next.map(|next| next.to_string()),
    })))
}

/// `DELETE /api/v1/chat/sessions/{id}`.
#[tracing::instrument(skip_all)]
async fn delete_session(
    user: CurrentUser,
    session_id: Path<String>,
    conversations: web::Data<Conversations>,
) -> Result<HttpResponse> {
    conversations.admit(&user, &session_id).await?;
    let deleted = conversations.delete(&user.id, &session_id).await?;
    Ok(HttpResponse::Ok().json(json!({
        "message": format!("Session {session_id} and its messages have been deleted."),
        "session_id": *session_id,
        "messages_deleted": deleted.messages,
        "user_id": user.id,
    })))
}

/// `DELETE /api/v1/chat/history`: everything the caller ever said here.
#[tracing::instrument(skip_all)]
async fn delete_history(user: CurrentUser, conversations: web::Data<Conversations>) -> Result<HttpResponse> {
    let deleted = conversations.delete_all(&user.id).await?;
    Ok(HttpResponse::Ok().json(json!({
        "message": "All chat history has been deleted.",
        "sessions_deleted": deleted.sessions,
        "messages_deleted": deleted.messages,
        "user_id": user.id,
    })))
}
