//! A person's own conversations over HTTP.

use actix_web::{HttpResponse, web};
use common_http::{Access, CurrentUser, Path, Routes, Timestamp};
use serde::Serialize;
use serde_json::json;

use super::files::{PublicBase, UploadBody};
use crate::{
    error::Result,
    service::conversations::{Conversations, Said},
    store::sessions::Session,
};

/// This resource's rows.
pub(crate) fn table(routes: &mut Routes<'_>) {
    for prefix in super::CHAT {
        routes
            .get(&format!("{prefix}/sessions"), Access::User, list_sessions)
            .get(
                &format!("{prefix}/sessions/{{id}}/history"),
                Access::User,
                show_history,
            )
            .delete(&format!("{prefix}/sessions/{{id}}"), Access::User, delete_session)
            .delete(&format!("{prefix}/history"), Access::User, delete_history);
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
            uploads: files.into_iter().map(|file| UploadBody::new(file, base)).collect(),
        }
    }
}

/// `GET /api/v1/chat/sessions`: the caller's conversations, newest first.
#[tracing::instrument(skip_all)]
async fn list_sessions(user: CurrentUser, conversations: web::Data<Conversations>) -> Result<HttpResponse> {
    let sessions = conversations.list(&user.id).await?;
    let sessions: Vec<SessionBody> = sessions.into_iter().map(SessionBody::from).collect();
    Ok(HttpResponse::Ok().json(json!({ "sessions": sessions, "count": sessions.len() })))
}

/// `GET /api/v1/chat/sessions/{id}/history`: what was said in one of them, oldest first.
#[tracing::instrument(skip_all)]
async fn show_history(
    user: CurrentUser,
    session_id: Path<String>,
    conversations: web::Data<Conversations>,
    base: web::Data<PublicBase>,
) -> Result<HttpResponse> {
    let said = conversations.history(&user.id, &session_id).await?;
    let history: Vec<MessageBody> = said.into_iter().map(|said| MessageBody::new(said, &base)).collect();
    Ok(HttpResponse::Ok().json(json!({ "history": history, "count": history.len() })))
}

/// `DELETE /api/v1/chat/sessions/{id}`.
#[tracing::instrument(skip_all)]
async fn delete_session(
    user: CurrentUser,
    session_id: Path<String>,
    conversations: web::Data<Conversations>,
) -> Result<HttpResponse> {
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
