//! OpenAI's API: chatflows are models, and whoever has a client for it points that client here.
//!
//! What its requests and answers are in our terms is `domain/openai`; the turn is the one that all doors have.

mod chat;
mod headers;
mod models;
mod responses;
mod translated;

use actix_web::{HttpRequest, http::StatusCode, web};
use common_http::{Clock, CurrentUser, Routes};
use serde_json::{Map, Value};

pub(crate) use self::headers::openai_headers;
use crate::{
    domain::{
        door::Door,
        openai::{
            Invalid,
            answer::{Answer, Head},
            conversation::{Asked, Params},
            fault,
        },
        session_name::SessionName,
    },
    error::{Error, Result},
    routes::{CHATTING, READING, predict::idempotency_key},
    service::{
        models::Models,
        turns::{Answered, Asking, Delivery, Turns},
    },
    upload_memory::Share,
};

/// This door's rows.
pub(super) fn table(routes: &mut Routes<'_>) {
    routes
        .get("/v1/models", READING, models::list_models)
        .get("/v1/models/{model}", READING, models::show_model)
        .post("/v1/chat/completions", CHATTING, chat::create_chat_completion)
        .post("/v1/responses", CHATTING, responses::create_response);
}

/// Whether a path belongs to this door.
pub(super) fn has(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

/// A problem as clients of this API know errors.
pub(super) fn refusal(status: StatusCode, problem: &Map<String, Value>) -> (StatusCode, Value) {
    let (code, body) = fault::of_problem(status.as_u16(), problem);
    (StatusCode::from_u16(code).unwrap_or(status), body)
}

/// A request whose turn can begin.
struct Ready {
    asking: Asking,
    /// Where in the request everything stands.
    params: Params,
    /// The model as the client called it.
    model: String,
    created: i64,
}

/// What a request says beside what is asked.
struct Frame<'a> {
    user: CurrentUser,
    request: &'a HttpRequest,
    share: Share,
    model: String,
    session: Option<SessionName>,
    stream: bool,
}

impl Ready {
    /// Finds the model and makes one of our own requests of what is asked. What names a session is kept with it; what does
    /// not stands alone, and nothing of it is.
    async fn new(frame: Frame<'_>, asked: Asked) -> Result<Self> {
        let Frame {
            user,
            request,
            share,
            model,
            session,
            stream,
        } = frame;
        let key = idempotency_key(request)?;
        let chatflow = service::<Models>(request)?.find(&user, &model).await?;
        let created = service::<Clock>(request)?.now().timestamp();
        let (request, params) = asked.into_request(&chatflow.flowise_id, None);
        let asking = Asking {
            user,
            request,
            share,
            key,
            door: Door::OpenAi,
            delivery: match (session.is_some(), stream) {
                (true, true) => Delivery::Stored,
                (true, false) => Delivery::StoredWhole,
                (false, true) => Delivery::Stream,
                (false, false) => Delivery::Whole,
            },
            session,
            as_json: false,
        };
        Ok(Self {
            asking,
            params,
            model,
            created,
        })
    }

    /// Runs the turn to its end. Says whether the answer is that of an earlier request.
    async fn answer(self, turns: &Turns) -> Result<(Head, Answer, bool)> {
        let Self {
            asking,
            params,
            model,
            created,
        } = self;
        let answered = turns
            .answer(asking)
            .await
            .map_err(|error| named(error, &params))?;
        let (turn_id, answer, is_replay) = match answered {
            Answered::Now(whole) => {
                let answer = Answer::new(whole.text, &whole.notes, whole.usage.map(Into::into));
                (whole.turn_id, answer, false)
            }
            Answered::Replay(known) => {
                let text = known.answer.unwrap_or_default().text;
                (known.id, Answer::new(text, "", None), true)
            }
        };
        let head = Head {
            turn_id,
            model,
            created,
        };
        Ok((head, answer, is_replay))
    }
}

/// One of the services that handlers have.
fn service<T: 'static>(request: &HttpRequest) -> Result<&web::Data<T>> {
    request.app_data::<web::Data<T>>().ok_or(Error::Stopping)
}

/// An error about one of our own requests, told about the request that became it.
fn named(error: Error, params: &Params) -> Error {
    if let Error::Invalid(wrong) = &error
        && let Some(param) = params.of(&wrong.field)
    {
        return Error::invalid(param, &wrong.message);
    }
    error
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(invalid.param, invalid.message)
    }
}
