//! Problems as this door's clients know them: in Flowise's most common form, or in words for a window that shows no other.

use actix_web::{
    dev::RequestHead,
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
};
use serde_json::{Map, Value, json};

use super::events::write_failure;
use crate::{error::Error, routes::doors::Refused};

/// Sentences for people are as long as they are; what somebody sent is not repeated at length.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// What is said of a chatflow that is not there, or not theirs.
const NOT_THERE: &str = "Chatflow not found";

/// What a client accepts that reads events and nothing else.
const EVENTS: &str = "text/event-stream";

/// A problem in Flowise's most common form. Its clients know a chatflow that is not there, not one that is not theirs.
pub(in crate::routes::doors) fn refusal(
    status: StatusCode,
    problem: &Map<String, Value>,
) -> (StatusCode, Value) {
    let (status, message) = told(status, problem);
    let body = json!({
        "statusCode": status.as_u16(),
        "success": false,
        "message": message,
        "stack": {},
        // Flowise has no such member; programs that know it decide by it.
        "code": text(problem, "code"),
    });
    (status, body)
}

/// Whether a prediction is asked for by somebody who accepts events and nothing else, as Flowise's chat window does.
pub(in crate::routes::doors) fn reads_events_only(request: &RequestHead) -> bool {
    let accepted = request.headers.get(header::ACCEPT).map(HeaderValue::as_bytes);
    request.method == Method::POST
        && request.uri.path().starts_with("/api/v1/prediction/")
        && accepted.is_some_and(|accepted| accepted.trim_ascii().eq_ignore_ascii_case(EVENTS.as_bytes()))
}

/// A problem for somebody who reads events. Of these three statuses Flowise's window shows the body as it is, as Flowise
/// sends bare text with them; of any other that is no stream it shows nothing, as if nothing had been asked. So the rest
/// is told as Flowise tells what fails in a stream: a 200, an `error` event, and the end.
pub(in crate::routes::doors) fn refusal_in_words(
    status: StatusCode,
    problem: &Map<String, Value>,
) -> Refused {
    let (status, message) = told(status, problem);
    let shows_text = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    if shows_text.contains(&status) {
        return Refused {
            status,
            content_type: "text/plain; charset=utf-8",
            body: message,
        };
    }
    Refused {
        status: StatusCode::OK,
        content_type: EVENTS,
        body: write_failure(&message),
    }
}

/// The status here, and the sentence for people.
fn told(status: StatusCode, problem: &Map<String, Value>) -> (StatusCode, String) {
    let (status, message) = match text(problem, "code") {
        code if code == Error::ChatflowAccessDenied.code() => (StatusCode::NOT_FOUND, NOT_THERE),
        _ if status == StatusCode::UNPROCESSABLE_ENTITY => (StatusCode::BAD_REQUEST, text(problem, "detail")),
        _ => (status, text(problem, "detail")),
    };
    (status, message.chars().take(MESSAGE_CHARS_MAX).collect())
}

fn text<'a>(problem: &'a Map<String, Value>, member: &str) -> &'a str {
    problem.get(member).and_then(Value::as_str).unwrap_or_default()
}
