//! Accounts made by an administrator before their owner comes, and closed when they have left.

use actix_web::{HttpResponse, web};
use common_http::{Body, Clock, Path};

use super::{
    bodies::{AccountBody, ClosedBody, CreateAccount},
    request::{Arrival, OwnAccount},
};
use crate::{
    domain::{ledger::Outcome, text::Name},
    error::Result,
    service::{Accounts, Answer, Credits},
    store::Identity,
};

/// `POST /api/admin/users`: makes the account of a user id. The owner's tokens have the last word on the rest.
pub(super) async fn create_account(
    _: OwnAccount,
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

/// `DELETE /api/users/{id}` and `/api/credits/user/{id}`: takes all credits of somebody away, blanks what is known of them
/// and closes the account. The ledger stays. Scripts name the user by id, address or name.
pub(super) async fn close_account(
    arrival: Arrival,
    admin: OwnAccount,
    user: Path<String>,
    accounts: web::Data<Accounts>,
    credits: web::Data<Credits>,
) -> Result<Answer> {
    let origin = arrival.origin(admin.actor(), &user.0)?;
    let user_id = accounts.resolve(&user).await?.id;
    let owner = user_id.clone();
    let render = Box::new(move |outcome: &Outcome| {
        serde_json::to_string(&ClosedBody {
            user_id: owner.clone(),
            removed_credits: outcome.taken(),
            message: "Accounting data removed",
        })
    });
    let answer = credits.close(user_id.clone(), origin, render).await?;
    accounts.forget(&user_id).await;
    Ok(answer)
}
