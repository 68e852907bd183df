//! Accounts made by an administrator before their owner comes.

use actix_web::{HttpResponse, web};
use common_http::{Body, Clock};

use super::bodies::{AccountBody, CreateAccount};
use crate::{domain::text::Name, error::Result, service::Accounts, store::Identity};

/// `POST /api/admin/users`: makes the account of a user id. The owner's tokens have the last word on the rest.
pub(super) async fn create_account(
    body: Body<CreateAccount>,
    accounts: web::Data<Accounts>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let body = body.0;
    let given = body.username.map(Name::into_inner);
    let username = given.unwrap_or_else(|| body.email.local_part().to_owned());
    let identity = Identity {
        id: body.sub,
        username,
        email: Some(body.email.clone()),
        role: body.role,
    };
    let now = clock.now();
    accounts.create(&identity, now).await?;
    Ok(HttpResponse::Created().json(AccountBody {
        user_id: identity.id.clone(),
        sub: identity.id,
        email: body.email.as_str().to_owned(),
        username: identity.username,
        role: identity.role,
        created_at: now.into(),
        updated_at: now.into(),
    }))
}
