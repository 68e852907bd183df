//! Search in one's own messages.
//!
//! The messages are read, newest first, and compared here: a text index of the database knows no word of Chinese, finds
//! no parts of words, and cannot look into an answer, which is stored as events. What one search reads is bounded; it
//! goes on from there when it is asked to.

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;

use super::Conversations;
use crate::{
    domain::{
        page::Cursor,
        said::{quote, text_of},
    },
    error::Result,
};

/// Messages that one search reads.
const READ_MAX: usize = 2_000;

/// Bytes of them.
const BYTES_READ_MAX: usize = 8 << 20;

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search<'a> {
    pub(crate) wanted: &'a str,
    pub(crate) chatflow_id: Option<&'a str>,
    pub(crate) limit: usize,
    pub(crate) before: Option<Cursor>,
}

/// A message that says it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) message_id: String,
    pub(crate) session_id: String,
    pub(crate) chatflow_id: String,
    pub(crate) role: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) quotation: String,
}

impl Conversations {
    /// Messages of the person that say something, newest first, and where to search on, unless all were read.
    pub(crate) async fn search(
        &self,
        user_id: &str,
        search: Search<'_>,
    ) -> Result<(Vec<Found>, Option<Cursor>)> {
        let messages = self
            .messages
            .stream_back(user_id, search.chatflow_id, search.before)
            .await?;
        let mut messages = std::pin::pin!(messages);
        let (mut found, mut read, mut bytes) = (Vec::new(), 0, 0);
        while let Some(message) = messages.try_next().await? {
            let cursor = message.cursor();
            read += 1;
            bytes += message.content.len();
            let text = text_of(&message.role, &message.content);
            if let Some(quotation) = quote(&text, search.wanted) {
                found.push(Found {
                    message_id: message.id,
                    session_id: message.session_id,
                    chatflow_id: message.chatflow_id,
                    role: message.role,
                    created_at: message.created_at,
                    quotation,
                });
            }
            if found.len() >= search.limit || read >= READ_MAX || bytes >= BYTES_READ_MAX {
                return Ok((found, Some(cursor)));
            }
        }
        Ok((found, None))
    }
}
