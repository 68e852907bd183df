//! Takes in an upload of its own, piece by piece: no more of it is in memory than one chunk.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt as _};
use sha2::{Digest as _, Sha256};

use super::{
    Files,
    keeping::{Announced, FILE_BYTES_MAX, KeptFile, ToKeep},
};
use crate::{
    domain::{
        file_kind::{self, FileKind, HEAD_BYTES},
        refusal::Refusal,
    },
    error::{Error, Result},
    store::{blobs::CHUNK_BYTES, files::Owner},
};

/// What a client says of the file it uploads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) user_id: &'a str,
    pub(crate) session_id: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) declared: &'a str,
}

/// Bytes on their way into the database.
struct Pouring {
    buffer: BytesMut,
    hash: Sha256,
    length: u64,
    chunks: i32,
}

impl Files {
    /// Whether the person may upload into this session.
    pub(crate) async fn check_session(&self, user_id: &str, session_id: &str) -> Result<()> {
        if self.sessions.is_owned(session_id, user_id).await? {
            Ok(())
        } else {
            Err(Error::SessionNotFound)
        }
    }

    /// Gives an uploaded file to one of the person's sessions.
    pub(crate) async fn move_to_session(&self, user_id: &str, id: &str, session_id: &str) -> Result<()> {
        let owner = Owner {
            session: Some(session_id),
            ..Owner::default()
        };
        if self.rows.attach(id, user_id, owner).await? {
            Ok(())
        } else {
            Err(Error::FileNotFound)
        }
    }

    /// Stores a file as it comes, to be used by a later turn.
    pub(crate) async fn receive(
        &self,
        incoming: Incoming<'_>,
        pieces: impl Stream<Item = Result<Bytes>>,
    ) -> Result<KeptFile> {
        let mut pieces = std::pin::pin!(pieces);
        let mut pouring = Pouring::new();
        let has_more = pouring.fill(&mut pieces).await.inspect_err(|e| self.count(e))?;
        let head = pouring.buffer.get(..HEAD_BYTES).unwrap_or(&pouring.buffer);
        let Some(kind) = file_kind::sniff(head, incoming.name, incoming.declared) else {
            self.metrics.refused(Refusal::Type);
            return Err(Error::FileRefused(Refusal::Type));
        };
        let file = incoming.to_keep(kind, pouring.length);
        let announced = self.announce(&file).await?;
        let poured = self.pour(&announced, &mut pouring, has_more, &mut pieces).await;
        let hash = hex::encode(pouring.hash.clone().finalize());
        let stored = match poured.inspect_err(|e| self.count(e)) {
            Ok(()) => self.finish(&announced, &pouring, &hash).await,
            Err(error) => Err(error),
        };
        let id = self.settle(announced, stored, &hash).await?;
        Ok(KeptFile {
            id,
            name: incoming.name.to_owned(),
            mime: kind.mime,
            size: pouring.length,
        })
    }

    async fn pour(
        &self,
        announced: &Announced,
        pouring: &mut Pouring,
        mut has_more: bool,
        pieces: &mut (impl Stream<Item = Result<Bytes>> + Unpin),
    ) -> Result<()> {
        loop {
            while pouring.buffer.len() >= CHUNK_BYTES || (!has_more && !pouring.buffer.is_empty()) {
                let size = pouring.buffer.len().min(CHUNK_BYTES);
                let chunk = pouring.buffer.split_to(size);
                self.blobs
                    .write_chunk(announced.blob, pouring.chunks, &chunk)
                    .await?;
                pouring.chunks += 1;
            }
            if !has_more {
                return Ok(());
            }
            has_more = pouring.fill(pieces).await?;
        }
    }

    async fn finish(
        &self,
        announced: &Announced,
        pouring: &Pouring,
        hash: &str,
    ) -> Result<bson::oid::ObjectId> {
        let content = announced.content(hash);
        self.rows
            .note_content(&announced.id, hash, pouring.length)
            .await?;
        self.check_quota(&announced.user_id).await?;
        if let Some(blob) = self.blobs.refer(content, &announced.id).await? {
            self.metrics.deduplicated();
            self.blobs.delete_bytes(announced.blob).await?;
            return Ok(blob);
        }
        let length = i64::try_from(pouring.length).unwrap_or(i64::MAX);
        let now = self.clock.now();
        self.blobs.finish(announced.blob, length, content, now).await?;
        Ok(self.blobs.insert(content, &announced.id, announced.blob).await?)
    }

    fn count(&self, error: &Error) {
        if let Error::FileRefused(why) = error {
            self.metrics.refused(*why);
        }
    }
}

impl<'a> Incoming<'a> {
    fn to_keep(self, kind: FileKind, size: u64) -> ToKeep<'a> {
        ToKeep {
            user_id: self.user_id,
            name: self.name,
            kind,
            size,
            hash: None,
            owner: Owner {
                session: self.session_id,
                ..Owner::default()
            },
        }
    }
}

impl Pouring {
    fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            hash: Sha256::new(),
            length: 0,
            chunks: 0,
        }
    }

    /// Reads until there is a whole chunk; `false` when there is no more.
    async fn fill(&mut self, pieces: &mut (impl Stream<Item = Result<Bytes>> + Unpin)) -> Result<bool> {
        while self.buffer.len() < CHUNK_BYTES {
            let Some(piece) = pieces.try_next().await? else {
                return Ok(false);
            };
            self.length += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            if self.length > FILE_BYTES_MAX {
                return Err(Error::FileRefused(Refusal::TooLarge));
            }
            self.hash.update(&piece);
            self.buffer.extend_from_slice(&piece);
        }
        Ok(true)
    }
}
