//! Invitations: what administrators give to people who may make an account where not everybody may.

use actix_web::{HttpResponse, web};
use common_http::{Body, Clock, CurrentUser, Path, Query, Timestamp};
use common_jwt::Role;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{email::EmailAddress, invitation::Invitation, keyset::Cursor, origin::Origin, user::UserId},
    error::{Error, Result},
    routes::{bodies::Done, paging::Paging},
    service::invitations::{Invitations, NewInvitation},
};

/// `POST /api/v1/admin/invitations`.
#[derive(Deserialize)]
pub(crate) struct CreateInvitation {
    email: Option<String>,
    uses: Option<u32>,
    expires_in_days: Option<u32>,
    role: Option<String>,
    note: Option<String>,
}

#[derive(Serialize)]
struct InvitationBody<'a> {
    id: &'a str,
    state: &'static str,
    email: Option<&'a str>,
    role: Role,
    note: Option<&'a str>,
    uses: u32,
    uses_left: u32,
    expires_at: Timestamp,
    created_at: Timestamp,
    created_by: String,
}

/// The code is told here and never again.
#[derive(Serialize)]
struct Created<'a> {
    message: &'static str,
    invitation: InvitationBody<'a>,
    code: Option<&'a str>,
}

#[derive(Serialize)]
struct InvitationPage<'a> {
    invitations: Vec<InvitationBody<'a>>,
    #[serde(rename = "nextCursor")]
    next_cursor: Option<String>,
}

/// `POST /api/v1/admin/invitations`: makes one; mails it where there is an address.
pub(crate) async fn create_invitation(
    admin: CurrentUser,
    Body(body): Body<CreateInvitation>,
    origin: Origin,
    invitations: web::Data<Invitations>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let (invitation, code) = invitations.create(body.into(), actor, &origin).await?;
    Ok(HttpResponse::Created().json(Created {
        message: if code.is_some() {
            "Invitation created; its code is not shown again"
        } else {
            "Invitation created and mailed"
        },
        invitation: InvitationBody::new(&invitation, &clock),
        code: code.as_ref().map(|code| code.text()),
    }))
}

/// `GET /api/v1/admin/invitations`: a page of them, newest first.
pub(crate) async fn list_invitations(
    Query(paging): Query<Paging>,
    invitations: web::Data<Invitations>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let (limit, after) = paging.read()?;
    let page = invitations.list_page(after.as_ref(), limit).await?;
    let bodies = page.entries.iter().map(|one| InvitationBody::new(one, &clock));
    Ok(HttpResponse::Ok().json(InvitationPage {
        invitations: bodies.collect(),
        next_cursor: page.next.as_ref().map(Cursor::to_text),
    }))
}

/// `DELETE /api/v1/admin/invitations/{invitation_id}`: makes it good for nothing.
pub(crate) async fn revoke_invitation(
    admin: CurrentUser,
    Path(id): Path<String>,
    origin: Origin,
    invitations: web::Data<Invitations>,
) -> Result<HttpResponse> {
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    invitations.revoke(&id, actor, &origin).await?;
    Ok(HttpResponse::Ok().json(Done {
        message: "Invitation revoked",
    }))
}

impl From<CreateInvitation> for NewInvitation {
    fn from(body: CreateInvitation) -> Self {
        Self {
            email: body.email,
            uses: body.uses,
            expires_in_days: body.expires_in_days,
            role: body.role,
            note: body.note,
        }
    }
}

impl<'a> InvitationBody<'a> {
    fn new(invitation: &'a Invitation, clock: &Clock) -> Self {
        Self {
            id: &invitation.id,
            state: invitation.state(clock.now()).as_str(),
            email: invitation.email.as_ref().map(EmailAddress::as_str),
            role: invitation.role,
            note: invitation.note.as_deref(),
            uses: invitation.uses,
            uses_left: invitation.uses_left,
            expires_at: invitation.expires_at.into(),
            created_at: invitation.created_at.into(),
            created_by: invitation.created_by.to_string(),
        }
    }
}
