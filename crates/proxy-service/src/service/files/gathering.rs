//! The files of a chat request: read, told apart, kept with the question, and passed on to Flowise. Flowise gets what was
//! taken and nothing else.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Files,
    keeping::{KeptFile, ToKeep},
};
use crate::{
    domain::{
        ask::{FULL_TEXT, STORED_FILE, Upload},
        file_kind::{self, FileKind, HEAD_BYTES},
        refusal::Refusal,
    },
    error::{Error, Result},
    store::files::{Owner, StoredFile},
    upload_memory::Share,
};

/// Bytes of all files in one turn: what a chat request can carry.
const TURN_BYTES_MAX: u64 = 22 << 20;

/// The files of a chat request that is otherwise valid.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    taken: Vec<Taken>,
    refused: Vec<Refused>,
    /// The memory of all of it.
    share: Option<Share>,
}

/// A file that can be kept and sent.
#[derive(Debug)]
struct Taken {
    name: String,
    kind: FileKind,
    bytes: Vec<u8>,
    hash: String,
    upload: Upload,
    /// Where it was uploaded before.
    stored: Option<StoredFile>,
}

#[derive(Debug)]
struct Refused {
    name: String,
    why: Refusal,
}

/// What became of the files of a turn.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// What Flowise gets.
    pub(crate) uploads: Vec<Upload>,
    kept: Vec<KeptFile>,
    refused: Vec<Refused>,
    /// Held as long as the uploads are.
    _share: Option<Share>,
}

impl Gathered {
    /// The first refusal, where there is one.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refused.first().map(|refused| refused.why)
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// The files of a turn of which nothing is kept.
    pub(crate) fn unkept(self) -> Attached {
        Attached {
            uploads: self.taken.into_iter().map(|taken| taken.upload).collect(),
            kept: Vec::new(),
            refused: self.refused,
            _share: self.share,
        }
    }
}

impl Attached {
    /// The ids of the kept files.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.kept.iter().map(|file| file.id.clone()).collect()
    }

    /// The data of the `files_uploaded` event, where anything was kept.
    pub(crate) fn uploaded(&self) -> Option<Value> {
        let file = |file: &KeptFile| json!({ "file_id": file.id, "name": file.name, "size": file.size, "type": file.mime });
        let files: Vec<_> = self.kept.iter().map(file).collect();
        (!files.is_empty()).then(|| json!({ "file_count": files.len(), "files": files }))
    }

    /// The data of the `file_upload_error` event, where anything was refused.
    pub(crate) fn refused(&self) -> Option<Value> {
        let file = |file: &Refused| json!({ "name": file.name, "code": file.why.code(), "error": file.why.sentence() });
        let files: Vec<_> = self.refused.iter().map(file).collect();
        let sentence = |file: &Refused| format!("{}: {}", file.name, file.why.sentence());
        let sentences: Vec<_> = self.refused.iter().map(sentence).collect();
        (!files.is_empty()).then(|| json!({ "error": sentences.join(" "), "files": files }))
    }
}

impl Files {
    /// Reads the files of a chat request. A file that is not taken is left out and told about later; a file that is not
    /// the person's is an error.
    pub(crate) async fn gather(
        &self,
        user_id: &str,
        uploads: Vec<Upload>,
        mut share: Share,
    ) -> Result<Gathered> {
        let mut gathered = Gathered::default();
        let mut bytes = 0;
        for upload in uploads {
            let read = if upload.kind == STORED_FILE {
                let left = TURN_BYTES_MAX - bytes;
                self.recall(user_id, &upload.data, left, &mut share).await
            } else if upload.kind == FULL_TEXT {
                Ok(Ok(read_already(upload)))
            } else {
                decode(upload).await
            };
            let taken = match read? {
                Ok(taken) => taken,
                Err(refused) => {
                    self.metrics.refused(refused.why);
                    gathered.refused.push(refused);
                    continue;
                }
            };
            bytes += u64::try_from(taken.bytes.len()).unwrap_or(u64::MAX);
            if bytes > TURN_BYTES_MAX {
                return Err(too_much());
            }
            gathered.taken.push(taken);
        }
        gathered.share = Some(share);
        Ok(gathered)
    }

    /// Keeps the files of a question that is about to be asked.
    pub(crate) async fn attach(
        &self,
        user_id: &str,
        owner: Owner<'_>,
        gathered: Gathered,
    ) -> Result<Attached> {
        let mut attached = Attached {
            refused: gathered.refused,
            _share: gathered.share,
            ..Attached::default()
        };
        for taken in gathered.taken {
            match self.attach_one(user_id, owner, &taken).await {
                Ok(kept) => {
                    attached.kept.push(kept);
                    attached.uploads.push(taken.upload);
                }
                Err(Error::FileRefused(why)) => attached.refused.push(Refused {
                    name: taken.name,
                    why,
                }),
                Err(error) => return Err(error),
            }
        }
        Ok(attached)
    }

    async fn attach_one(&self, user_id: &str, owner: Owner<'_>, taken: &Taken) -> Result<KeptFile> {
        let size = u64::try_from(taken.bytes.len()).unwrap_or(u64::MAX);
        if let Some(stored) = &taken.stored
            && self.rows.attach(&stored.id, user_id, owner).await?
        {
            return Ok(KeptFile {
                id: stored.id.clone(),
                name: taken.name.clone(),
                mime: taken.kind.mime,
                size,
            });
        }
        // A file that belongs to an earlier message is a file of its own in this one; its bytes are the same.
        let file = ToKeep {
            user_id,
            name: &taken.name,
            kind: taken.kind,
            size,
            hash: Some(&taken.hash),
            owner,
        };
        self.keep(&file, &taken.bytes, &taken.hash).await
    }

    /// A file that was uploaded before, when it has at most `left` bytes and there is memory for it: the request that
    /// names it is small.
    async fn recall(
        &self,
        user_id: &str,
        id: &str,
        left: u64,
        share: &mut Share,
    ) -> Result<std::result::Result<Taken, Refused>> {
        let file = self.find(user_id, id).await?;
        let blob = file.blob.ok_or(Error::FileDataNotFound)?;
        if file.size > left {
            return Err(too_much());
        }
        share.add(file.size.div_ceil(3) * 4)?;
        // Not one byte more than there is room for, whatever the row says.
        let bytes = self
            .blobs
            .read_whole(blob, file.size.min(super::keeping::FILE_BYTES_MAX))
            .await?;
        let bytes = bytes.ok_or(Error::FileDataNotFound)?;
        let kind = FileKind::stored(&file.mime);
        let read = tokio::task::spawn_blocking(move || {
            let upload = Upload {
                data: STANDARD.encode(&bytes),
                kind: if kind.mime.starts_with("audio/") {
                    "audio"
                } else {
                    "file"
                }
                .to_owned(),
                name: file.name.clone(),
                mime: kind.mime.to_owned(),
            };
            let mut taken = take(upload, kind, bytes);
            taken.name.clone_from(&file.name);
            taken.stored = Some(file);
            taken
        });
        Ok(Ok(read.await.or(Err(Error::Busy))?))
    }
}

fn too_much() -> Error {
    Error::invalid("uploads", "may have at most 22 MiB together")
}

/// Decodes and tells what it is: for 10 MiB too much work for a thread that serves requests.
async fn decode(upload: Upload) -> Result<std::result::Result<Taken, Refused>> {
    let work = tokio::task::spawn_blocking(move || {
        let base64 = upload.data.rsplit(',').next().unwrap_or_default();
        let bytes = STANDARD.decode(base64);
        let bytes = bytes.map_err(|error| Error::invalid("uploads", error.to_string()))?;
        let head = bytes.get(..HEAD_BYTES).unwrap_or(&bytes);
        let Some(kind) = file_kind::sniff(head, &upload.name, &upload.mime) else {
            return Ok(Err(Refused {
                name: upload.name,
                why: Refusal::Type,
            }));
        };
        let mut upload = upload;
        let start = upload.data.len() - upload.data.rsplit(',').next().unwrap_or_default().len();
        upload.data.drain(..start);
        Ok(Ok(take(upload, kind, bytes)))
    });
    work.await.or(Err(Error::Busy))?
}

/// A file that was read before: Flowise gets its text as it is.
fn read_already(upload: Upload) -> Taken {
    let bytes = upload.data.clone().into_bytes();
    Taken {
        name: upload.name.clone(),
        kind: FileKind::stored("text/plain"),
        hash: hex::encode(Sha256::digest(&bytes)),
        bytes,
        upload,
        stored: None,
    }
}

/// Makes of an upload, whose data is base64 alone, what Flowise takes: one prefix, the type that the content has, and a
/// name that fits it.
fn take(upload: Upload, kind: FileKind, bytes: Vec<u8>) -> Taken {
    let name = upload.name.clone();
    Taken {
        hash: hex::encode(Sha256::digest(&bytes)),
        upload: Upload {
            data: format!("data:{};base64,{}", kind.mime, upload.data),
            kind: upload.kind,
            name: kind.matching_name(&name),
            mime: kind.mime.to_owned(),
        },
        name,
        kind,
        bytes,
        stored: None,
    }
}
