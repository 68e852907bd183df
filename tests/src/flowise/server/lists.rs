//! Everything but predictions: health, version, chatflows, and what no route knows.

use actix_web::{HttpRequest, HttpResponse, http::Method, web};
use bytes::Bytes;
use serde::Deserialize;
use uuid::Uuid;

use super::{State, error, json, replay};
use crate::flowise::{catalogue::Flow, chatflow, recordings};

pub(super) async fn ping(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    state.remember(&request, b"");
    replay(&recordings::PING)
}

pub(super) async fn version(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    state.remember(&request, b"");
    replay(&recordings::VERSION)
}

/// What a list of chatflows may be asked. Flowise reads anything as a number and takes what is none for absent.
#[derive(Deserialize)]
pub(super) struct Wanted {
    page: Option<String>,
    limit: Option<String>,
    #[serde(rename = "type")]
    type_name: Option<String>,
}

pub(super) async fn list_chatflows(
    request: HttpRequest,
    state: web::Data<State>,
    wanted: web::Query<Wanted>,
) -> HttpResponse {
    state.remember(&request, b"");
    if let Some(refusal) = state.refuse_without_key(&request) {
        return refusal;
    }
    let number = |text: &Option<String>| {
        text.as_deref()
            .and_then(|text| text.parse::<i64>().ok())
            .unwrap_or(0)
    };
    let (number_of_page, limit) = (number(&wanted.page), number(&wanted.limit));
    if number_of_page < 0 {
        return replay(&recordings::CHATFLOWS_BAD_PAGE);
    }
    if limit < 0 {
        return error(412, "Error: limit cannot be negative!");
    }

    let is_shown = |flow: &&Flow| {
        wanted
            .type_name
            .as_deref()
            .is_none_or(|wanted| wanted == flow.type_name)
    };
    let flows: Vec<&str> = state
        .catalogue
        .flows
        .iter()
        .filter(is_shown)
        .map(|flow| flow.json)
        .collect();
    match (usize::try_from(number_of_page), usize::try_from(limit)) {
        (Ok(number @ 1..), Ok(limit @ 1..)) => {
            let shown: Vec<&str> = flows
                .iter()
                .skip((number - 1).saturating_mul(limit))
                .take(limit)
                .copied()
                .collect();
            json(
                200,
                format!("{{\"data\":[{}],\"total\":{}}}", shown.join(","), flows.len()),
            )
        }
        _ => json(200, format!("[{}]", flows.join(","))),
    }
}

pub(super) async fn find_chatflow(
    request: HttpRequest,
    state: web::Data<State>,
    id: web::Path<String>,
) -> HttpResponse {
    state.remember(&request, b"");
    if let Some(refusal) = state.refuse_without_key(&request) {
        return refusal;
    }
    match state.catalogue.find(&id) {
        Some(flow) => json(200, flow.json),
        None if Uuid::parse_str(&id).is_err() => replay(&recordings::CHATFLOW_GET_BAD_UUID),
        None => error(404, &format!("Chatflow {id} not found in the database!")),
    }
}

pub(super) async fn can_stream(
    request: HttpRequest,
    state: web::Data<State>,
    id: web::Path<String>,
) -> HttpResponse {
    state.remember(&request, b"");
    match state.catalogue.find(&id) {
        Some(flow) => json(200, format!("{{\"isStreaming\":{}}}", flow.can_stream())),
        None => error(
            500,
            &format!("Error: chatflowsService.checkIfChatflowIsValidForStreaming - Chatflow {id} not found"),
        ),
    }
}

/// What Flowise says of a flow whose model looks at pictures.
const TAKES_PICTURES: &str = concat!(
    r#"{"isSpeechToTextEnabled":false,"isImageUploadAllowed":true,"isRAGFileUploadAllowed":false,"#,
    r#""imgUploadSizeAndTypes":[{"fileTypes":["image/gif","image/jpeg","image/png","image/webp"],"maxUploadSize":5}],"#,
    r#""fileUploadSizeAndTypes":[]}"#
);

pub(super) async fn show_uploads(
    request: HttpRequest,
    state: web::Data<State>,
    id: web::Path<String>,
) -> HttpResponse {
    state.remember(&request, b"");
    if *id == chatflow::LLM {
        json(200, TAKES_PICTURES)
    } else {
        replay(&recordings::CHATFLOWS_UPLOADS)
    }
}

/// Reads the recorded note in whatever it is given.
pub(super) async fn read_files(request: HttpRequest, state: web::Data<State>, body: Bytes) -> HttpResponse {
    state.remember(&request, &body);
    replay(&recordings::ATTACHMENT_OK)
}

/// What no route knows is the web application, after the key was checked; and a prediction without an id is a 412.
pub(super) async fn unknown_route(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    state.remember(&request, b"");
    let is_prediction = request.path().starts_with("/api/v1/prediction");
    if is_prediction {
        return if request.method() == Method::POST {
            replay(&recordings::BAD_NO_ID)
        } else {
            replay(&recordings::BAD_METHOD_GET)
        };
    }
    match state.refuse_without_key(&request) {
        Some(refusal) => refusal,
        None => replay(&recordings::UNKNOWN_ROUTE_KEY),
    }
}
