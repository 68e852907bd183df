//! Where one is signed in, and signing out there.

use actix_web::{HttpResponse, web};
use askama::Template;
use common_http::{Clock, CurrentUser, Path};

use super::{
    door::see_other,
    forms::Form,
    frame::{Frame, id_of},
    sign_in::set,
    times::Shown,
};
use crate::{
    domain::{origin::Origin, session::Session},
    error::Result,
    routes::cookies::Cookies,
    service::sessions::Sessions,
    store::sessions::SessionStore,
};

#[derive(Template)]
#[template(path = "devices.html")]
struct DevicesPage<'a> {
    f: &'a Frame,
    devices: Vec<Signed>,
}

/// A session as people know it.
pub(super) struct Signed {
    pub(super) id: String,
    pub(super) device: String,
    pub(super) address: String,
    pub(super) since: Shown,
    pub(super) last_seen: Shown,
    pub(super) is_this: bool,
}

impl Signed {
    /// This session, for whoever looks from `current`.
    pub(super) fn new(session: Session, current: &str) -> Self {
        Self {
            device: session.origin.device().to_string(),
            address: session.origin.address.to_string(),
            since: session.created_at.into(),
            last_seen: session.last_seen_at.into(),
            is_this: session.id == current,
            id: session.id,
        }
    }
}

/// `GET /account/devices`.
pub(super) async fn list(
    f: Frame,
    user: CurrentUser,
    sessions: web::Data<SessionStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let found = sessions.list_of(id_of(&user)?, clock.now()).await?;
    let devices = found
        .into_iter()
        .map(|session| Signed::new(session, &user.session_id));
    Ok(f.show(&DevicesPage {
        f: &f,
        devices: devices.collect(),
    }))
}

/// `POST /account/devices/{session_id}`: signs out there; here, when it is this one.
pub(super) async fn sign_out(
    user: CurrentUser,
    Path(session_id): Path<String>,
    _form: Form,
    origin: Origin,
    sessions: web::Data<Sessions>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    sessions.end_own(&session_id, id_of(&user)?, &origin).await?;
    if session_id != user.session_id {
        return Ok(see_other("/account/devices?done=device_signed_out"));
    }
    let mut response = see_other("/login?done=signed_out");
    for cookie in cookies.no_session() {
        set(&mut response, &cookie);
    }
    Ok(response)
}

/// `POST /account/devices/others`: signs out everywhere else.
pub(super) async fn sign_out_others(
    user: CurrentUser,
    _form: Form,
    origin: Origin,
    sessions: web::Data<Sessions>,
) -> Result<HttpResponse> {
    sessions
        .end_others(&user.session_id, id_of(&user)?, &origin)
        .await?;
    Ok(see_other("/account/devices?done=others_signed_out"))
}
