//! JSON that is written as it is read, so that a large answer costs no more memory than a small one. When the source
//! fails half way the connection is cut: the client sees an incomplete answer, not a short list.

use std::future::ready;

use actix_web::Error;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

/// Items written in one piece.
const PIECE: usize = 100;

/// A piece of JSON as it stands.
pub fn json_text(text: impl Into<Bytes>) -> impl Stream<Item = Result<Bytes, Error>> {
    stream::once(ready(Ok(text.into())))
}

/// An array of these items.
pub fn json_array<T, E>(items: impl Stream<Item = Result<T, E>>) -> impl Stream<Item = Result<Bytes, Error>>
where
    T: Serialize,
    E: Into<Error>,
{
    let mut is_first = true;
    let pieces = items.try_chunks(PIECE).map(move |piece| {
        let items = piece.map_err(|error| {
            let error = error.1.into();
            tracing::error!(%error, "an answer broke off: its source failed");
            error
        })?;
        let mut text = Vec::new();
        for item in items {
            if !std::mem::take(&mut is_first) {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, &item).map_err(std::io::Error::from)?;
        }
        Ok(Bytes::from(text))
    });
    json_text("[").chain(pieces).chain(json_text("]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text_of(items: Vec<Result<u32, std::io::Error>>) -> Result<String, Error> {
        let pieces: Vec<Bytes> = json_array(stream::iter(items)).try_collect().await?;
        Ok(String::from_utf8(pieces.concat()).unwrap())
    }

    #[actix_web::test]
    async fn arrays_of_any_length_are_whole_or_an_error() {
        for count in [0, 1, 99, 100, 101, 250] {
            let text = text_of((0..count).map(Ok).collect()).await.unwrap();
            let read: Vec<u32> = serde_json::from_str(&text).unwrap();
            assert!(read.into_iter().eq(0..count), "{count}");
        }
        let broken = vec![Ok(1), Err(std::io::Error::other("gone"))];
        assert!(text_of(broken).await.is_err());
    }
}
