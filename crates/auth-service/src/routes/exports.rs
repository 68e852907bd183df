//! The table of people going out. It can be imported again; no password is in it, nor any hash of one.

use actix_web::{HttpResponse, http::header, web};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use common_http::{Clock, CurrentUser, Query};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;

use crate::{
    domain::{
        csv::{BYTE_ORDER_MARK, write_row},
        origin::Origin,
        user::UserId,
        user_list::UserState,
    },
    error::{Error, Result},
    store::{
        audit::{AuditEvent, AuditStore},
        users::{UserStore, bulk::StoredUser},
    },
};

/// Users written in one piece of the answer.
const PIECE: usize = 200;

/// The columns of an import, as far as they are known, and what else is known of an account.
const HEADER: [&str; 9] = [
    "action",
    "username",
    "email",
    "role",
    "fullName",
    "id",
    "state",
    "createdAt",
    "updatedAt",
];

/// How to write the table.
#[derive(Debug, Deserialize)]
pub(crate) struct ExportQuery {
    /// With a byte order mark, by which spreadsheets know UTF-8.
    #[serde(default)]
    bom: bool,
    /// `,` where nothing is said.
    separator: Option<String>,
}

/// `GET /api/admin/users/export`: everybody, written while they are read.
pub(crate) async fn export_users(
    admin: CurrentUser,
    Query(query): Query<ExportQuery>,
    origin: Origin,
    users: web::Data<UserStore>,
    audit: web::Data<AuditStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let separator = query.separator()?;
    let everybody = users.list_stored().await?;
    let event = AuditEvent {
        action: "users_exported",
        outcome: "ok",
        actor: UserId::parse(&admin.id),
        subject: None,
        session_id: None,
        origin: Some(&origin),
    };
    audit.record(event, clock.now()).await;

    let mut head = String::new();
    if query.bom {
        head.push(BYTE_ORDER_MARK);
    }
    write_row(&mut head, HEADER, separator);
    let pieces = everybody.try_chunks(PIECE).map(move |piece| {
        let mut text = String::new();
        for user in piece.map_err(|error| error.1)? {
            write_user(&mut text, &user, separator);
        }
        Ok::<_, actix_web::Error>(Bytes::from(text))
    });
    let head = stream::once(std::future::ready(Ok(Bytes::from(head))));
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8; header=present")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"users.csv\""))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(Box::pin(head.chain(pieces))))
}

fn write_user(text: &mut String, stored: &StoredUser, separator: char) {
    let user = &stored.user;
    let cells = [
        "create",
        &user.username,
        &user.email,
        &stored.role_word,
        user.full_name.as_deref().unwrap_or_default(),
        &user.id.to_string(),
        UserState::of(user).map_or("waiting", UserState::as_str),
        &text_of(user.created_at),
        &text_of(user.updated_at),
    ];
    write_row(text, cells, separator);
}

fn text_of(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl ExportQuery {
    fn separator(&self) -> Result<char> {
        match self.separator.as_deref() {
            None | Some(",") => Ok(','),
            Some(";") => Ok(';'),
            Some("\t" | "tab") => Ok('\t'),
            Some(_) => Err(Error::invalid("separator", "must be , or ; or tab")),
        }
    }
}
