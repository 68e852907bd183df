//! Reads a table of people: a body of `text/csv`, bounded.

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest,
    dev::{Decompress, Payload},
    web::{Bytes, BytesMut},
};
use futures_util::{FutureExt as _, StreamExt as _, future::LocalBoxFuture};

use crate::error::{Error, Result};

/// Bytes of a table, counted after decompression: 100,000 rows of ordinary length.
const TABLE_BYTES_MAX: usize = 8 << 20;

/// A table.
#[derive(Debug)]
pub(crate) struct TableBody(pub(crate) Bytes);

impl FromRequest for TableBody {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        async move {
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
                if bytes.len() + chunk.len() > TABLE_BYTES_MAX {
                    return Err(Error::BodyTooLarge {
                        limit_bytes: TABLE_BYTES_MAX,
                    });
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(Self(bytes.freeze()))
        }
        .boxed_local()
    }
}
