//! What administrators change about somebody's balance. Nothing is deleted: each change is a row of the ledger.

use actix_web::web;
use common_http::Body;

use super::{
    bodies::{AdjustCredits, CorrectedBody, RemoveCredits, SetCredits},
    request::{Arrival, OwnAccount},
};
use crate::{
    domain::{
        credits::Amount,
        ledger::{Adjustment, Command},
    },
    error::Result,
    service::{Accounts, Allowances, Answer, Credits},
};

/// `POST /api/credits/set`: replaces what somebody can spend. Credits held by running turns stay theirs.
pub(super) async fn set_credits(
    arrival: Arrival,
    actor: OwnAccount,
    body: Body<SetCredits>,
    accounts: web::Data<Accounts>,
    allowances: web::Data<Allowances>,
    credits: web::Data<Credits>,
) -> Result<Answer> {
    let origin = arrival.origin(actor.actor(), &body.0)?;
    let body = body.0;
    let user_id = accounts.resolve(&body.user_id).await?.id;
    let asked = origin.clone();
    let target = Amount::new(body.credits.get())
        .map(|amount| {
            credits.grant(
                amount,
                body.expiry_days,
                body.notes.as_ref(),
                actor.id.to_string(),
            )
        })
        .transpose()?;
    let owner = user_id.clone();
    let render = Box::new(move |outcome: &_| {
        serde_json::to_string(&CorrectedBody::new(owner.clone(), outcome, "Credits set"))
    });
    let granted = target.as_ref().map(|grant| grant.credits);
    let set = credits.correct(user_id, Command::Set { target }, body.notes, origin, render);
    allowances.grant(actor.capped(), granted, &asked, set).await
}

/// `DELETE /api/credits/remove`: takes credits away, soonest expiry first; all of them or none.
pub(super) async fn remove_credits(
    arrival: Arrival,
    actor: OwnAccount,
    body: Body<RemoveCredits>,
    accounts: web::Data<Accounts>,
    credits: web::Data<Credits>,
) -> Result<Answer> {
    let origin = arrival.origin(actor.actor(), &body.0)?;
    let body = body.0;
    let user_id = accounts.resolve(&body.user_id).await?.id;
    let (owner, removed) = (user_id.clone(), body.credits);
    let render = Box::new(move |outcome: &_| {
        serde_json::to_string(&CorrectedBody {
            removed_credits: Some(removed),
            ..CorrectedBody::new(owner.clone(), outcome, "Credits removed")
        })
    });
    let command = Command::Remove { credits: removed };
    credits
        .correct(user_id, command, body.notes, origin, render)
        .await
}

/// `PUT /api/credits/adjust`: more or fewer credits.
pub(super) async fn adjust_credits(
    arrival: Arrival,
    actor: OwnAccount,
    body: Body<AdjustCredits>,
    accounts: web::Data<Accounts>,
    allowances: web::Data<Allowances>,
    credits: web::Data<Credits>,
) -> Result<Answer> {
    let origin = arrival.origin(actor.actor(), &body.0)?;
    let body = body.0;
    let user_id = accounts.resolve(&body.user_id).await?.id;
    let asked = origin.clone();
    let (owner, difference) = (user_id.clone(), body.adjustment);
    let render = Box::new(move |outcome: &_| {
        serde_json::to_string(&CorrectedBody {
            adjustment: Some(difference),
            ..CorrectedBody::new(owner.clone(), outcome, "Credits adjusted")
        })
    });
    let amount = difference.amount();
    let adjustment = if difference.is_raise() {
        Adjustment::Raise(credits.grant(
            amount,
            body.expiry_days,
            body.notes.as_ref(),
            actor.id.to_string(),
        )?)
    } else {
        Adjustment::Lower(amount)
    };
    let granted = difference.is_raise().then_some(amount);
    let adjust = credits.correct(user_id, Command::Adjust(adjustment), body.notes, origin, render);
    allowances.grant(actor.capped(), granted, &asked, adjust).await
}
