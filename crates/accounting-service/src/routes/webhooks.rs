//! Messages that the webhook's receiver did not take.

use actix_web::{HttpResponse, web};
use common_http::{Clock, Path, Query};
use uuid::Uuid;

use super::bodies::{DeadLettersBody, ListDeadLetters, RetriedBody};
use crate::{
    error::{Error, Result},
    store::WebhookStore,
};

/// The longest page.
const LETTERS_MAX: u16 = 500;

/// The usual page.
const LETTERS_USUAL: u16 = 100;

/// `GET /api/admin/webhooks/dead-letters`: what was given up, latest first.
pub(super) async fn list_dead_letters(
    page: Query<ListDeadLetters>,
    store: web::Data<WebhookStore>,
) -> Result<HttpResponse> {
    let limit = page.limit.unwrap_or(LETTERS_USUAL);
    if !(1..=LETTERS_MAX).contains(&limit) {
        return Err(Error::invalid(
            "limit",
            format!("must be from 1 to {LETTERS_MAX}"),
        ));
    }
    // One more than asked for tells whether there is another page.
    let letters = store.list_dead(page.cursor, i64::from(limit) + 1).await?;
    Ok(HttpResponse::Ok().json(DeadLettersBody::new(letters, limit.into())))
}

/// `POST /api/admin/webhooks/dead-letters/{id}/retry`: sends it again, with all its attempts.
pub(super) async fn retry_dead_letter(
    id: Path<String>,
    store: web::Data<WebhookStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let id = Uuid::try_parse(&id).or(Err(Error::DeadLetterNotFound))?;
    if !store.retry(id, clock.now()).await? {
        return Err(Error::DeadLetterNotFound);
    }
    let status = "waiting";
    Ok(HttpResponse::Accepted().json(RetriedBody { id, status }))
}
