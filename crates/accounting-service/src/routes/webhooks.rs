//! Messages that the webhook's receiver did not take.

use actix_web::{HttpResponse, web};
use common_http::{Clock, Path, Query};
use uuid::Uuid;

use super::{
    bodies::{DeadLettersBody, ListDeadLetters, RetriedBody},
    paging::PageSize,
};
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
    let size = PageSize::of(page.limit, LETTERS_USUAL, LETTERS_MAX)?;
    let mut letters = store.list_dead(page.cursor, size.to_read()).await?;
    Ok(HttpResponse::Ok().json(DeadLettersBody {
        next_cursor: size.cut(&mut letters, |letter| letter.id),
        dead_letters: letters.into_iter().map(Into::into).collect(),
    }))
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
