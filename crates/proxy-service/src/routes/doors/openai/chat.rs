//! `POST /v1/chat/completions`.

use actix_web::{HttpRequest, HttpResponse, web};
use common_http::CurrentUser;

use super::{Frame, Ready, translated};
use crate::{
    domain::openai::{
        chat::{ChatAsk, ChatCompletionRequest, chat_completion},
        chat_stream::ChatStream,
    },
    error::Result,
    routes::chat_body::ChatBody,
    service::turns::Turns,
};

/// One turn, answered whole or in chunks.
#[tracing::instrument(skip_all)]
pub(super) async fn create_chat_completion(
    user: CurrentUser,
    request: HttpRequest,
    body: ChatBody<ChatCompletionRequest>,
    turns: web::Data<Turns>,
) -> Result<HttpResponse> {
    let model = body.request.model.clone();
    let ChatAsk { asked, session, wish } = body.request.ask()?;
    let frame = Frame {
        user,
        request: &request,
        share: body.share,
        model,
        session,
        stream: wish.stream,
    };
    let ready = Ready::new(frame, asked).await?;
    if wish.stream {
        return translated::stream(ready, &turns, |head| ChatStream::new(head, wish)).await;
    }
    let (head, answer, is_replay) = ready.answer(&turns).await?;
    Ok(translated::whole(&head, is_replay).json(chat_completion(&head, &answer, wish)))
}
