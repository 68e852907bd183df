//! Invitations: made, mailed or handed over as a link that is shown once, revoked.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use common_http::{Clock, CurrentUser, Path};
use serde::Deserialize;

use crate::{
    domain::{
        email::EmailAddress,
        invitation::{DAYS_MAX, Invitation, USES_MAX},
        keyset::{Cursor, LIMIT_DEFAULT},
        origin::Origin,
    },
    error::{Error, Result},
    pages::{
        door::see_other,
        forms::Form,
        frame::{Frame, id_of},
        times::Shown,
    },
    service::invitations::{Invitations, NewInvitation},
};

#[derive(Template)]
#[template(path = "admin/invitations.html")]
struct ListPage<'a> {
    f: &'a Frame,
    invitations: Vec<Listed>,
    next: Option<String>,
    uses_max: u32,
    days_max: u32,
}

#[derive(Template)]
#[template(path = "admin/invitation.html")]
struct LinkPage<'a> {
    f: &'a Frame,
    link: &'a str,
    code: &'a str,
    uses: u32,
    until: Shown,
}

/// An invitation, as the list shows it.
struct Listed {
    id: String,
    /// Whom it is for: an address, or a remark.
    name: String,
    role: &'static str,
    state: &'static str,
    uses: u32,
    used: u32,
    until: Shown,
}

/// Where in the list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

impl Listed {
    fn new(invitation: Invitation, clock: &Clock) -> Self {
        let email = invitation.email.as_ref().map(EmailAddress::as_str);
        Self {
            name: [email, invitation.note.as_deref()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" · "),
            role: invitation.role.as_str(),
            state: invitation.state(clock.now()).as_str(),
            uses: invitation.uses,
            used: invitation.uses.saturating_sub(invitation.uses_left),
            until: invitation.expires_at.into(),
            id: invitation.id,
        }
    }
}

/// `GET /admin/invitations`: a page of them, newest first, and the form for another.
pub(super) async fn list(
    f: Frame,
    query: web::Query<ListQuery>,
    invitations: web::Data<Invitations>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    list_page(&f, StatusCode::OK, query.cursor.as_deref(), &invitations, &clock).await
}

async fn list_page(
    f: &Frame,
    status: StatusCode,
    cursor: Option<&str>,
    invitations: &Invitations,
    clock: &Clock,
) -> Result<HttpResponse> {
    let cursor = cursor.map(|text| Cursor::parse(text).ok_or(Error::InvalidCursor));
    let page = invitations
        .list_page(cursor.transpose()?.as_ref(), LIMIT_DEFAULT)
        .await?;
    let next = page.next.as_ref().map(Cursor::to_text);
    let listed = page.entries.into_iter().map(|one| Listed::new(one, clock));
    let page = ListPage {
        f,
        invitations: listed.collect(),
        next: next.map(|cursor| format!("/admin/invitations?cursor={cursor}")),
        uses_max: USES_MAX,
        days_max: DAYS_MAX,
    };
    Ok(f.show_as(status, &page))
}

/// `POST /admin/invitations`: mails it where there is an address; else the link is shown, now and never again.
pub(super) async fn create(
    f: Frame,
    admin: CurrentUser,
    form: Form,
    origin: Origin,
    invitations: web::Data<Invitations>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let made = async {
        let wish = wish_of(&form)?;
        invitations.create(wish, id_of(&admin)?, &origin).await
    };
    match made.await {
        Ok((_, None)) => Ok(see_other("/admin/invitations?done=invitation_mailed")),
        Ok((invitation, Some(code))) => Ok(f.show(&LinkPage {
            f: &f,
            link: &invitations.link(&code),
            code: code.text(),
            uses: invitation.uses,
            until: invitation.expires_at.into(),
        })),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            list_page(&f, status, None, &invitations, &clock).await
        }
    }
}

fn wish_of(form: &Form) -> Result<NewInvitation> {
    let number = |field: &str, message: &str| {
        let given = form.given(field);
        given
            .map(|text| text.parse::<u32>())
            .transpose()
            .map_err(|_error| Error::invalid(field, message))
    };
    Ok(NewInvitation {
        email: form.given("email"),
        uses: number("uses", "must be from 1 to 10,000")?,
        expires_in_days: number("expires_in_days", "must be from 1 to 365")?,
        role: form.given("role"),
        note: form.given("note"),
    })
}

/// `POST /admin/invitations/{invitation_id}/revoke`: good for nothing any more. Accounts that came of it stay.
pub(super) async fn revoke(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<String>,
    form: Form,
    origin: Origin,
    invitations: web::Data<Invitations>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    match invitations.revoke(&id, id_of(&admin)?, &origin).await {
        Ok(()) => Ok(see_other("/admin/invitations?done=invitation_revoked")),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            list_page(&f, status, None, &invitations, &clock).await
        }
    }
}
