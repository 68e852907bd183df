//! Conversations to take away, written while they are read: however long they are, a piece of them is in memory.

use std::fmt::Write as _;

use bytes::Bytes;
use common_http::Timestamp;
use futures_util::{Stream, TryStreamExt as _, stream};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Conversations, Said};
use crate::{
    domain::{page::TimedPage, said::text_of},
    error::{Error, Result},
    store::sessions::Session,
};

/// Pieces that wait for a slow reader.
const PIECES: usize = 4;

/// Messages in one piece.
const PAGE: usize = 50;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For programs.
    Json,
    /// For people.
    Markdown,
}

/// Whoever was to read it has gone, or it cannot be read.
enum Broken {
    Gone,
    Failed(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

struct Export {
    conversations: Conversations,
    user_id: String,
    format: Format,
    pieces: mpsc::Sender<Result<Bytes>>,
    is_first: bool,
}

impl Conversations {
    /// One of the person's conversations.
    pub(crate) async fn export(
        &self,
        user_id: &str,
        session_id: &str,
        format: Format,
    ) -> Result<impl Stream<Item = Result<Bytes>> + use<>> {
        let session = self.sessions.find(session_id, user_id).await?;
        let session = session.ok_or(Error::SessionNotFound)?;
        Ok(self.write(user_id, format, Some(session)))
    }

    /// All of them.
    pub(crate) fn export_all(
        &self,
        user_id: &str,
        format: Format,
    ) -> impl Stream<Item = Result<Bytes>> + use<> {
        self.write(user_id, format, None)
    }

    fn write(
        &self,
        user_id: &str,
        format: Format,
        only: Option<Session>,
    ) -> impl Stream<Item = Result<Bytes>> + use<> {
        let (sender, receiver) = mpsc::channel(PIECES);
        let export = Export {
            conversations: self.clone(),
            user_id: user_id.to_owned(),
            format,
            pieces: sender.clone(),
            is_first: true,
        };
        // Ends with its reader, who is the only one to take pieces.
        tokio::spawn(async move {
            if let Err(Broken::Failed(error)) = export.run(only).await {
                tracing::error!(%error, "an export broke off");
                let _ = sender.send(Err(error)).await;
            }
        });
        stream::unfold(receiver, async |mut receiver| {
            Some((receiver.recv().await?, receiver))
        })
    }
}

impl Export {
    async fn run(mut self, only: Option<Session>) -> std::result::Result<(), Broken> {
        let now = Timestamp(self.conversations.clock.now());
        if self.format == Format::Json {
            self.send(format!(r#"{{"exported_at":"{now}","sessions":["#))
                .await?;
        }
        if let Some(session) = only {
            self.write_session(&session).await?;
        } else {
            let sessions = self.conversations.sessions.stream_of(&self.user_id);
            let mut sessions = std::pin::pin!(sessions.await.map_err(Error::from)?);
            while let Some(session) = sessions.try_next().await.map_err(Error::from)? {
                self.write_session(&session).await?;
            }
        }
        if self.format == Format::Json {
            self.send("]}".to_owned()).await?;
        }
        Ok(())
    }

    async fn write_session(&mut self, session: &Session) -> std::result::Result<(), Broken> {
        let is_first = std::mem::take(&mut self.is_first);
        let created_at = Timestamp(session.created_at);
        let topic = session.topic.as_deref().unwrap_or("Conversation");
        let begin = match self.format {
            Format::Json => {
                let head = json!({
                    "session_id": session.id,
                    "chatflow_id": session.chatflow_id,
                    "topic": session.topic,
                    "created_at": created_at,
                });
                let head = head.to_string();
                let open = head.strip_suffix('}').unwrap_or(&head);
                format!("{}{open},\"messages\":[", if is_first { "" } else { "," })
            }
            Format::Markdown => {
                let rule = if is_first { "" } else { "\n---\n\n" };
                format!("{rule}# {}\n\n{created_at}\n", one_line(topic))
            }
        };
        self.send(begin).await?;
        let (mut after, mut is_first) = (None, true);
        loop {
            let wanted = TimedPage { limit: PAGE, after };
            let page = self
                .conversations
                .history_page(&self.user_id, &session.id, wanted);
            let (page, next) = page.await?;
            let mut text = String::new();
            for said in &page {
                match self.format {
                    Format::Json => {
                        text.push_str(if is_first { "" } else { "," });
                        text.push_str(&as_json(said));
                    }
                    Format::Markdown => as_markdown(said, &mut text),
                }
                is_first = false;
            }
            self.send(text).await?;
            after = next;
            if after.is_none() {
                break;
            }
        }
        if self.format == Format::Json {
            self.send("]}".to_owned()).await?;
        }
        Ok(())
    }

    async fn send(&self, piece: String) -> std::result::Result<(), Broken> {
        let sent = self.pieces.send(Ok(Bytes::from(piece))).await;
        sent.or(Err(Broken::Gone))
    }
}

fn as_json(said: &Said) -> String {
    let message = &said.message;
    let file = |file: &crate::store::files::StoredFile| json!({ "file_id": file.id, "name": file.name, "mime": file.mime, "size": file.size });
    let message = json!({
        "id": message.id,
        "role": message.role,
        "text": text_of(&message.role, &message.content),
        "created_at": Timestamp(message.created_at),
        "files": said.files.iter().map(file).collect::<Vec<_>>(),
    });
    message.to_string()
}

fn as_markdown(said: &Said, text: &mut String) {
    let message = &said.message;
    let who = if message.role == "user" {
        "You"
    } else {
        "Assistant"
    };
    let at = Timestamp(message.created_at);
    // Writing to a text does not fail.
    let _ = write!(
        text,
        "\n## {who}, {at}\n\n{}\n",
        text_of(&message.role, &message.content)
    );
    for file in &said.files {
        let _ = write!(
            text,
            "\n- File: {} ({}, {} bytes)\n",
            one_line(&file.name),
            file.mime,
            file.size
        );
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
