//! The usage log.

use actix_web::web;
use common_http::Body;

use super::{
    bodies::{RecordUsage, RecordedBody},
    request::{Arrival, Party},
};
use crate::{
    error::{Error, Result},
    service::{Accounts, Answer, Recording, Usage},
};

/// `POST /api/usage/record`: writes down the caller's usage, or that of whom a service names. Nothing is deducted.
pub(super) async fn record_usage(
    arrival: Arrival,
    party: Party,
    body: Body<RecordUsage>,
    accounts: web::Data<Accounts>,
    usage: web::Data<Usage>,
) -> Result<Answer> {
    let origin = arrival.origin(party.actor(), &body.0)?;
    let user_id = match party {
        Party::Person(account) => account.id,
        Party::Service(_) => {
            let id = body
                .0
                .user_id
                .ok_or_else(|| Error::invalid("userId", "is required"))?;
            accounts.ensure_id(&id).await?;
            id
        }
    };
    let recording = Recording {
        user_id,
        service: body.0.service.into_inner(),
        operation: body.0.operation.into_inner(),
        credits: body.0.credits,
        metadata: body.0.metadata.0,
    };
    usage
        .record(recording, origin, |record| {
            serde_json::to_string(&RecordedBody::from(record))
        })
        .await
}
