//! `POST /v1/responses`.

use actix_web::{HttpRequest, HttpResponse, web};
use common_http::CurrentUser;

use super::{Frame, Ready, translated};
use crate::{
    domain::openai::{
        response::{ResponseAsk, ResponseRequest, response},
        response_stream::ResponseStream,
    },
    error::Result,
    routes::chat_body::ChatBody,
    service::turns::Turns,
};

/// One turn, answered whole or as events.
#[tracing::instrument(skip_all)]
pub(super) async fn create_response(
    user: CurrentUser,
    request: HttpRequest,
    body: ChatBody<ResponseRequest>,
    turns: web::Data<Turns>,
) -> Result<HttpResponse> {
    let model = body.request.model.clone();
    let ResponseAsk {
        asked,
        session,
        stream,
        echo,
    } = body.request.ask()?;
    let frame = Frame {
        user,
        request: &request,
        share: body.share,
        model,
        session,
        stream,
    };
    let ready = Ready::new(frame, asked).await?;
    if stream {
        return translated::stream(ready, &turns, |head| ResponseStream::new(head, echo)).await;
    }
    let (head, answer, is_replay) = ready.answer(&turns).await?;
    Ok(translated::whole(&head, is_replay).json(response(&head, &echo, &answer)))
}
