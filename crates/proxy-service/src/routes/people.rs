//! What is kept about a person, for auth-service, which hands it to that person.

use actix_web::{HttpResponse, web};
use bytes::Bytes;
use chrono::NaiveDate;
use common_http::{Access, Path, Routes, Timestamp, json_array, json_text};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use crate::{
    domain::{group::Membership, usage::UsageDay},
    error::{Error, Result},
    service::personal_data::PersonalData,
    store::{assignments::KeptAssignment, files::StoredFile, messages::Message, sessions::Session},
};

/// This resource's rows.
pub(crate) fn table(routes: &mut Routes<'_>) {
    routes.get(
        "/internal/people/{user_id}/data",
        Access::Service,
        show_personal_data,
    );
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CopyBody {
    username: String,
    email: String,
    role: String,
    is_active: bool,
    copied_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AssignmentBody {
    chatflow_id: String,
    is_active: bool,
    assigned_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MembershipBody {
    group_id: String,
    part: &'static str,
    added_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageBody {
    day: NaiveDate,
    chatflow_id: String,
    turns: i64,
    failed: i64,
    credits: i64,
    tokens: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionBody {
    id: String,
    chatflow_id: String,
    topic: Option<String>,
    created_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageBody {
    id: String,
    session_id: String,
    role: String,
    content: String,
    created_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileBody {
    id: String,
    session_id: Option<String>,
    message_id: Option<String>,
    name: String,
    mime: String,
    size: u64,
    uploaded_at: Timestamp,
}

/// `GET /internal/people/{user_id}/data`: everything, written as it is read.
pub(crate) async fn show_personal_data(
    Path(user_id): Path<String>,
    data: web::Data<PersonalData>,
) -> Result<HttpResponse> {
    let copies = data.people.list_by_external_ids(&[&user_id]).await?;
    let copies = copies.into_iter().map(|person| CopyBody {
        username: person.known.username,
        email: person.known.email,
        role: person.known.role,
        is_active: person.known.is_active,
        copied_at: person.updated_at.map(Timestamp),
    });
    let copies = serde_json::to_vec(&copies.collect::<Vec<_>>()).unwrap_or_default();
    let assignments = data
        .assignments
        .stream_of(&user_id)
        .await?
        .map_ok(AssignmentBody::from);
    let memberships = data.groups.stream_memberships(&user_id).await?;
    let memberships = memberships.map_ok(MembershipBody::from);
    let usage = data.usage.stream_of(&user_id).await?.map_ok(UsageBody::from);
    let sessions = data.sessions.stream_of(&user_id).await?.map_ok(SessionBody::from);
    let messages = data.messages.stream_of(&user_id).await?.map_ok(MessageBody::from);
    let files = data.files.stream_of(&user_id).await?.map_ok(FileBody::from);
    let whole = json_text(r#"{"copies":"#)
        .chain(json_text(copies))
        .chain(json_text(r#","assignments":"#))
        .chain(array(assignments))
        .chain(json_text(r#","groups":"#))
        .chain(array(memberships))
        .chain(json_text(r#","usage":"#))
        .chain(array(usage))
        .chain(json_text(r#","sessions":"#))
        .chain(array(sessions))
        .chain(json_text(r#","messages":"#))
        .chain(array(messages))
        .chain(json_text(r#","files":"#))
        .chain(array(files))
        .chain(json_text("}"));
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .streaming(Box::pin(whole)))
}

fn array<T: Serialize>(
    items: impl Stream<Item = mongodb::error::Result<T>>,
) -> impl Stream<Item = std::result::Result<Bytes, actix_web::Error>> {
    json_array(items.map_err(Error::from))
}

impl From<KeptAssignment> for AssignmentBody {
    fn from(kept: KeptAssignment) -> Self {
        Self {
            chatflow_id: kept.chatflow_id,
            is_active: kept.is_active,
            assigned_at: kept.assigned_at.map(Timestamp),
            revoked_at: kept.revoked_at.map(Timestamp),
            starts_at: kept.window.starts_at.map(Timestamp),
            ends_at: kept.window.ends_at.map(Timestamp),
        }
    }
}

impl From<Membership> for MembershipBody {
    fn from(membership: Membership) -> Self {
        Self {
            group_id: membership.group_id,
            part: membership.part.as_str(),
            added_at: Timestamp(membership.added_at),
        }
    }
}

impl From<UsageDay> for UsageBody {
    fn from(row: UsageDay) -> Self {
        Self {
            day: row.day,
            chatflow_id: row.chatflow_id,
            turns: row.usage.turns,
            failed: row.usage.failed,
            credits: row.usage.credits,
            tokens: row.usage.tokens,
        }
    }
}

impl From<Session> for SessionBody {
    fn from(session: Session) -> Self {
        Self {
            id: session.id,
            chatflow_id: session.chatflow_id,
            topic: session.topic,
            created_at: Timestamp(session.created_at),
        }
    }
}

impl From<StoredFile> for FileBody {
    fn from(file: StoredFile) -> Self {
        Self {
            id: file.id,
            session_id: file.session_id,
            message_id: file.message_id,
            name: file.name,
            mime: file.mime,
            size: file.size,
            uploaded_at: Timestamp(file.uploaded_at),
        }
    }
}

impl From<Message> for MessageBody {
    fn from(message: Message) -> Self {
        Self {
            id: message.id,
            session_id: message.session_id,
            role: message.role,
            content: message.content,
            created_at: Timestamp(message.created_at),
        }
    }
}
