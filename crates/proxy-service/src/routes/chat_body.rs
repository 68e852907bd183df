//! Reads a chat request, which may be large: only when there is memory for it, and only for so long.

use std::time::Duration;

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use common_http::{Caller, Problem, read_json};
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::{
    domain::ask::ChatRequest,
    error::Error,
    upload_memory::{CHAT_BYTES_MAX, Share, UploadMemory},
};

/// How long a request may take to arrive: what has arrived of it has its memory meanwhile.
const READ_TIMEOUT: Duration = Duration::from_mins(5);

/// A chat request, of ours or of another API, and the memory it has.
#[derive(Debug)]
pub(crate) struct ChatBody<T = ChatRequest> {
    pub(crate) request: T,
    pub(crate) share: Share,
}

impl<T: DeserializeOwned + 'static> FromRequest for ChatBody<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let share = share_of(request);
        let (request, payload) = (request.clone(), payload.take());
        async move {
            let mut share = share?;
            let room = |bytes| share.reach(bytes).map_err(|error| error.problem());
            let reading = read_json(&request, payload, CHAT_BYTES_MAX, room);
            let read = timeout(READ_TIMEOUT, reading).await;
            let request = read.map_err(|_late| Error::UploadTooSlow.problem())??;
            Ok(Self { request, share })
        }
        .boxed_local()
    }
}

/// The caller's share, empty yet.
pub(super) fn share_of(request: &HttpRequest) -> Result<Share, Problem> {
    let memory = request.app_data::<web::Data<UploadMemory>>();
    let memory = memory.ok_or_else(|| Error::Overloaded.problem())?;
    Ok(match Caller::extract(request).into_inner()? {
        Caller::User(user) => memory.share(&user.id),
        Caller::Service(service) => memory.share(&service.name),
    })
}
