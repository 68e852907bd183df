//! Reads a table of people: a body of `text/csv`, bounded.

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest,
    dev::{Decompress, Payload},
    web::{Bytes, BytesMut},
};
use common_http::Problem;
use futures_util::{FutureExt as _, StreamExt as _, future::LocalBoxFuture};

use super::chat_body::share_of;
use crate::{
    error::{Error, Result},
    upload_memory::Share,
};

/// Bytes of a table, counted after decompression: 100,000 rows of ordinary length.
const TABLE_BYTES_MAX: usize = 8 << 20;

/// A table and the memory it has.
#[derive(Debug)]
pub(crate) struct TableBody {
    pub(crate) table: Bytes,
    _share: Share,
}

impl FromRequest for TableBody {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let share = share_of(request);
        let (request, payload) = (request.clone(), payload.take());
        async move {
            let read = read(&request, payload, share?).await;
            read.map_err(|error| error.problem())
        }
        .boxed_local()
    }
}

async fn read(request: &HttpRequest, payload: Payload, mut share: Share) -> Result<TableBody> {
    if !request.content_type().eq_ignore_ascii_case("text/csv") {
        return Err(Error::NotCsv);
    }
    let mut chunks = Decompress::from_headers(payload, request.headers());
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            tracing::debug!(%error, "a table broke off");
            Error::BodyUnreadable
        })?;
        let length = bytes.len() + chunk.len();
        if length > TABLE_BYTES_MAX {
            return Err(Error::BodyTooLarge {
                limit_bytes: TABLE_BYTES_MAX,
            });
        }
        share.reach(u64::try_from(length).unwrap_or(u64::MAX))?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(TableBody {
        table: bytes.freeze(),
        _share: share,
    })
}
