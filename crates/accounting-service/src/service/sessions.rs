//! Streaming sessions: credits are held before a turn runs, and captured or given back when it has ended.
//!
//! A session belongs to who opened it, a person or a service, and only they can settle it: nobody can finalize at
//! nothing what another part of the platform has delivered.

use chrono::TimeDelta;
use common_http::Clock;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Prices,
    ledger::{Answer, Instruction, Ledger, Origin, Render},
};
use crate::{
    domain::{
        credits::{Amount, Credits},
        ids::{SESSION_ID_CHARS_MAX, SessionKey, UserId},
        ledger::{Command, Opening, Refusal},
        price::Tokens,
        text::Name,
        usage::UsageNote,
    },
    error::{Error, Result},
    store::{PriceRow, SessionStore},
};

/// Where the usage log says a finished turn was.
const SERVICE_FINALIZED: &str = "chat-streaming";

/// Where it says an aborted turn was.
const SERVICE_ABORTED: &str = "chat-streaming-aborted";

/// How much is to be held.
#[derive(Clone, Copy, Debug)]
pub enum HoldSize {
    /// What so many tokens are estimated to cost, and a fifth on top.
    Estimate(Tokens),
    /// Exactly so much.
    Flat(Amount),
}

/// A session to be opened.
#[derive(Clone, Debug)]
pub struct Initializing {
    /// Whose credits.
    pub user_id: UserId,
    /// The session's name.
    pub session_id: Name<SESSION_ID_CHARS_MAX>,
    /// What will use them.
    pub model_id: Name<100>,
    /// How many.
    pub size: HoldSize,
}

/// What a turn used.
#[derive(Clone, Copy, Debug)]
pub enum Spent {
    /// Tokens of the session's model.
    Tokens(Tokens),
    /// Credits.
    Credits(Credits),
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ran to its end.
    Finalized {
        /// Whether it answered.
        succeeded: bool,
    },
    /// It was stopped.
    Aborted,
}

/// What the settling service says of the use; the documented defaults where it says nothing.
#[derive(Clone, Debug, Default)]
pub struct GivenUsage {
    /// Which part of the platform was used.
    pub service: Option<String>,
    /// What was done there.
    pub operation: Option<String>,
    /// Whatever else is worth knowing.
    pub metadata: Map<String, Value>,
}

/// A session to be settled.
#[derive(Clone, Debug)]
pub struct Settling {
    /// The session's name.
    pub session_id: Name<SESSION_ID_CHARS_MAX>,
    /// Whose credits, when the caller knows.
    pub user_id: Option<UserId>,
    /// What was used.
    pub spent: Spent,
    /// How it ended.
    pub ending: Ending,
    /// How the use is logged.
    pub usage: GivenUsage,
}

/// Streaming sessions.
#[derive(Clone)]
pub struct Sessions {
    ledger: Ledger,
    store: SessionStore,
    prices: Prices,
    clock: Clock,
    hold_ttl: TimeDelta,
    open_holds_max: usize,
}

impl Sessions {
    /// Sessions whose holds last `hold_ttl`, at most `open_holds_max` of an account at once.
    pub fn new(
        ledger: Ledger,
        store: SessionStore,
        prices: Prices,
        clock: Clock,
        hold_ttl: TimeDelta,
        open_holds_max: usize,
    ) -> Self {
        Self {
            ledger,
            store,
            prices,
            clock,
            hold_ttl,
            open_holds_max,
        }
    }

    /// Opens a session and holds credits for it.
    pub async fn initialize(&self, opening: Initializing, origin: Origin, render: Render) -> Result<Answer> {
        let (price_id, estimated, credits) = match opening.size {
            HoldSize::Flat(credits) => (None, credits.into(), credits),
            HoldSize::Estimate(tokens) => {
                let row = self.prices.find(&opening.model_id).await?;
                let estimated = row.price().cost(tokens);
                let hold = row.price().hold(estimated);
                (
                    Some(row.id),
                    estimated,
                    hold.ok_or_else(|| Error::invalid("estimatedTokens", "cost more than can be held"))?,
                )
            }
        };
        let opening_of = |key| Opening {
            id: Uuid::now_v7(),
            key,
            model_id: opening.model_id.to_string(),
            price_id,
            estimated,
            credits,
            expires_at: self.clock.now() + self.hold_ttl,
            open_holds_max: self.open_holds_max,
        };
        let key = SessionKey::new(origin.actor.clone(), opening.session_id.clone());
        self.ledger
            .submit(Instruction {
                user_id: opening.user_id.clone(),
                command: Command::Hold {
                    opening: opening_of(key),
                },
                description: Some(format!("held for {}", opening.model_id)),
                origin,
                status: 201,
                render,
            })
            .await
    }

    /// Ends a session: what was used is kept, up to what is held, and the rest goes back.
    pub async fn settle(&self, settling: Settling, origin: Origin, render: Render) -> Result<Answer> {
        let key = SessionKey::new(origin.actor.clone(), settling.session_id);
        let mut usage = usage_note(settling.usage, settling.ending, settling.spent);
        let (user_id, credits) = match (settling.user_id, settling.spent) {
            (Some(user_id), Spent::Credits(credits)) => (user_id, credits),
            (user_id, spent) => {
                let hold = self.store.find(&key).await?.ok_or(Refusal::SessionNotFound)?;
                let credits = match spent {
                    Spent::Credits(credits) => credits,
                    Spent::Tokens(tokens) => {
                        // What was agreed on when it began, whatever it costs by now.
                        let price = match hold.price_id {
                            Some(id) => self.prices.find_by_id(id).await?,
                            // Credits were named, or it was opened by the version before this one.
                            None => self.prices.find_at(&hold.model_id, hold.started_at).await?,
                        };
                        remember_price(&mut usage, &price);
                        price.price().cost(tokens)
                    }
                };
                (user_id.unwrap_or(hold.user_id), credits)
            }
        };
        let command = if settling.ending == Ending::Aborted && credits == Credits::ZERO {
            Command::Void { key }
        } else {
            Command::Capture {
                key,
                credits,
                succeeded: settling.ending == (Ending::Finalized { succeeded: true }),
                usage,
            }
        };
        self.ledger
            .submit(Instruction {
                user_id,
                command,
                description: None,
                origin,
                status: 200,
                render,
            })
            .await
    }

    /// Gives back a hold by its id, whoever opened it.
    pub async fn void(&self, id: Uuid, origin: Origin, render: Render) -> Result<Answer> {
        let hold = self.store.find_by_id(id).await?.ok_or(Error::HoldNotFound)?;
        self.ledger
            .submit(Instruction {
                user_id: hold.user_id,
                command: Command::Void { key: hold.key },
                description: Some("given back by an admin".to_owned()),
                origin,
                status: 200,
                render,
            })
            .await
    }
}

/// Writes down what the use was paid at.
fn remember_price(usage: &mut UsageNote, price: &PriceRow) {
    let remembered = serde_json::json!({
        "id": price.id,
        "modelId": price.model_id,
        "inputRate": price.input_rate,
        "outputRate": price.output_rate,
    });
    usage.metadata.insert("price".to_owned(), remembered);
}

fn usage_note(given: GivenUsage, ending: Ending, spent: Spent) -> UsageNote {
    let aborted = ending == Ending::Aborted;
    let mut metadata = given.metadata;
    if let Spent::Tokens(tokens) = spent {
        let member = if aborted { "partialTokens" } else { "tokens" };
        metadata.insert(member.to_owned(), tokens.get().into());
    }
    let documented = if aborted {
        SERVICE_ABORTED
    } else {
        SERVICE_FINALIZED
    };
    UsageNote {
        id: Uuid::now_v7(),
        service: given.service.unwrap_or_else(|| documented.to_owned()),
        operation: given.operation,
        metadata,
    }
}
