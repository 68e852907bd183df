//! Stores a file within its person's quota, so that a crash at any point leaves something that `tidying` finds.

use bson::oid::ObjectId;
use uuid::Uuid;

use super::Files;
use crate::{
    domain::{file_kind::FileKind, refusal::Refusal},
    error::{Error, Result},
    store::{
        blobs::Content,
        files::{NewFile, Owner},
    },
};

/// Bytes of one file, as the documented client limits them.
pub(crate) const FILE_BYTES_MAX: u64 = 10 << 20;

/// A file that is kept.
#[derive(Clone, Debug)]
pub(crate) struct KeptFile {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) mime: &'static str,
    pub(crate) size: u64,
}

/// A file that has its place and whose bytes are being stored.
pub(super) struct Announced {
    pub(super) id: String,
    pub(super) user_id: String,
    pub(super) blob: ObjectId,
}

/// What is to be kept.
pub(super) struct ToKeep<'a> {
    pub(super) user_id: &'a str,
    pub(super) name: &'a str,
    pub(super) kind: FileKind,
    pub(super) size: u64,
    pub(super) hash: Option<&'a str>,
    pub(super) owner: Owner<'a>,
}

impl Files {
    /// Keeps bytes that are in memory.
    pub(super) async fn keep(&self, file: &ToKeep<'_>, bytes: &[u8], hash: &str) -> Result<KeptFile> {
        let announced = self.announce(file).await?;
        let stored = self.store_bytes(&announced, bytes, hash).await;
        self.settle(announced, stored, hash).await.map(|id| KeptFile {
            id,
            name: file.name.to_owned(),
            mime: file.kind.mime,
            size: file.size,
        })
    }

    /// Takes a place within the quota. Whoever announces last sees all the others, so that two uploads at once never
    /// pass together where only one fits.
    pub(super) async fn announce(&self, file: &ToKeep<'_>) -> Result<Announced> {
        let announced = Announced {
            // Random: who may read a file is checked, and still nobody should guess that there is one.
            id: Uuid::new_v4().to_string(),
            user_id: file.user_id.to_owned(),
            blob: ObjectId::new(),
        };
        let row = NewFile {
            id: &announced.id,
            user_id: file.user_id,
            name: file.name,
            mime: file.kind.mime,
            size: file.size,
            hash: file.hash,
            blob: announced.blob,
            owner: file.owner,
        };
        self.rows.insert(&row, self.clock.now()).await?;
        if let Err(error) = self.check_quota(file.user_id).await {
            self.give_up(&announced).await;
            return Err(error);
        }
        Ok(announced)
    }

    pub(super) async fn check_quota(&self, user_id: &str) -> Result<()> {
        let kept = self.rows.count(user_id).await?;
        if kept.files > self.limits.files_max || kept.bytes > self.limits.bytes_max {
            self.metrics.refused(Refusal::Quota);
            return Err(Error::FileRefused(Refusal::Quota));
        }
        Ok(())
    }

    async fn store_bytes(&self, announced: &Announced, bytes: &[u8], hash: &str) -> Result<ObjectId> {
        let content = announced.content(hash);
        if let Some(blob) = self.blobs.refer(content, &announced.id).await? {
            self.metrics.deduplicated();
            return Ok(blob);
        }
        let now = self.clock.now();
        self.blobs.write(announced.blob, bytes, content, now).await?;
        Ok(self.blobs.insert(content, &announced.id, announced.blob).await?)
    }

    /// Makes an announced file one, or takes it back.
    pub(super) async fn settle(
        &self,
        announced: Announced,
        stored: Result<ObjectId>,
        hash: &str,
    ) -> Result<String> {
        let settled = async {
            let blob = stored?;
            if self.rows.confirm(&announced.id, blob, self.clock.now()).await? {
                return Ok(());
            }
            // It took so long that it was given up, perhaps before the blob referred to it.
            let content = announced.content(hash);
            self.blobs.release(content, &announced.id, blob).await?;
            Err(Error::FileNotFound)
        };
        match settled.await {
            Ok(()) => {
                self.metrics.kept();
                Ok(announced.id)
            }
            Err(error) => {
                self.give_up(&announced).await;
                Err(error)
            }
        }
    }

    /// Takes back a file that was announced. When this fails too, `tidying` does it.
    pub(super) async fn give_up(&self, announced: &Announced) {
        if let Err(error) = self.delete(&announced.user_id, &announced.id).await {
            tracing::warn!(%error, "a file that could not be kept is removed later");
        }
    }
}

impl Announced {
    pub(super) fn content<'a>(&'a self, hash: &'a str) -> Content<'a> {
        Content {
            user_id: &self.user_id,
            hash,
        }
    }
}
