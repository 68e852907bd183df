//! What clients of Flowise's API ask for around a turn: how a chatflow is to be shown, what was said in a chat and what
//! was thought of it, and the files of a chat. All of it for one person, about what is theirs.

use common_http::{Clock, CurrentUser};
use futures_util::stream;
use uuid::Uuid;

use super::{
    access::Access,
    chatflows::Chatflows,
    files::{Files, Incoming, KeptFile},
    turns::Turns,
};
use crate::{
    domain::{
        chatflow::ChatflowRecord,
        failure::Failure,
        file_kind::{self, HEAD_BYTES},
        refusal::Refusal,
        session_name::SessionName,
        upstream_ids::{address_of, memory_id},
    },
    error::{Error, Result},
    flowise::{Enclosed, Flowise, ReadFile, UploadRules},
    store::{
        files::StoredFile,
        messages::{Listed, MessageStore, Rated, Rating, RatingChange},
        sessions::{Session, SessionStore},
    },
};

/// Sessions that one name may stand for: a client may use one chat id in many.
const SESSIONS_MAX: i64 = 100;

/// Serves those clients.
#[derive(Clone)]
pub(crate) struct Chats {
    pub(crate) access: Access,
    pub(crate) chatflows: Chatflows,
    pub(crate) turns: Turns,
    pub(crate) flowise: Flowise,
    pub(crate) sessions: SessionStore,
    pub(crate) messages: MessageStore,
    pub(crate) files: Files,
    pub(crate) clock: Clock,
}

/// Which of a person's messages are listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) chat_id: Option<String>,
    pub(crate) session_name: Option<String>,
    pub(crate) newest_first: bool,
    pub(crate) offset: u64,
    pub(crate) limit: i64,
}

/// A message and the session it was said in.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    pub(crate) message: Listed,
    /// What the client calls the session, and the chat in it.
    pub(crate) session_name: String,
    pub(crate) chat_id: String,
}

/// A file that was sent to be read.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) name: String,
    pub(crate) declared: String,
    pub(crate) bytes: Vec<u8>,
}

impl Chats {
    /// A chatflow of the person's with its graph, and what may be uploaded to it.
    pub(crate) async fn settings(
        &self,
        user: &CurrentUser,
        flowise_id: &str,
    ) -> Result<(ChatflowRecord, UploadRules)> {
        self.access.chatflow_for(user, flowise_id).await?;
        let (record, rules) = futures_util::join!(
            self.chatflows.record(flowise_id),
            self.flowise.upload_rules(flowise_id)
        );
        // A chat window without uploads is better than none.
        Ok((record?, rules.unwrap_or_default()))
    }

    /// Whether the chatflow answers in a stream.
    pub(crate) async fn streams(&self, user: &CurrentUser, flowise_id: &str) -> Result<bool> {
        self.access.chatflow_for(user, flowise_id).await?;
        self.flowise.streams(flowise_id).await.map_err(Error::TurnFailed)
    }

    /// What may be uploaded to the chatflow.
    pub(crate) async fn upload_rules(&self, user: &CurrentUser, flowise_id: &str) -> Result<UploadRules> {
        self.access.chatflow_for(user, flowise_id).await?;
        let rules = self.flowise.upload_rules(flowise_id).await;
        rules.map_err(Error::TurnFailed)
    }

    /// What the person said and was told in a chatflow.
    pub(crate) async fn messages(
        &self,
        user: &CurrentUser,
        flowise_id: &str,
        wanted: Wanted,
    ) -> Result<Vec<Spoken>> {
        self.access.chatflow_for(user, flowise_id).await?;
        let sessions = match (&wanted.chat_id, &wanted.session_name) {
            (None, None) => None,
            (chat_id, name) => {
                let mut ids = match chat_id {
                    Some(chat_id) => Some(self.sessions_of_chat(&user.id, flowise_id, chat_id).await?),
                    None => None,
                };
                if let Some(name) = name {
                    let named = possible_ids(&user.id, flowise_id, name);
                    ids = Some(match ids {
                        Some(ids) => ids.into_iter().filter(|id| named.contains(id)).collect(),
                        None => named,
                    });
                }
                ids
            }
        };
        let listed = self.messages.list_in(
            &user.id,
            flowise_id,
            sessions.as_deref(),
            wanted.newest_first,
            (wanted.offset, wanted.limit),
        );
        let listed = listed.await?;
        let mut ids: Vec<&str> = listed.iter().map(|message| message.session_id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        let sessions = self.sessions.list_named(&user.id, &ids).await?;
        let spoken = listed.into_iter().map(|message| {
            let session = sessions.iter().find(|session| session.id == message.session_id);
            let (name, chat_id) = session.map_or(
                (message.session_id.as_str(), message.session_id.as_str()),
                Session::called,
            );
            Spoken {
                session_name: name.to_owned(),
                chat_id: chat_id.to_owned(),
                message,
            }
        });
        Ok(spoken.collect())
    }

    /// Ends what runs in a chat of the person's. Where nothing does, that is well, too.
    pub(crate) async fn abort(&self, user: &CurrentUser, flowise_id: &str, chat_id: &str) -> Result<()> {
        admit(user, flowise_id)?;
        let running = self.turns.list_running(user).await?;
        let mut here = running
            .into_iter()
            .filter(|turn| turn.chatflow_id == flowise_id)
            .peekable();
        if here.peek().is_none() {
            return Ok(());
        }
        let mut sessions = self.sessions_of_chat(&user.id, flowise_id, chat_id).await?;
        // One that is just beginning is not written down yet.
        sessions.extend(possible_ids(&user.id, flowise_id, chat_id));
        for turn in here.filter(|turn| sessions.contains(&turn.session_id)) {
            self.turns.stop_turn(user, &turn.id).await?;
        }
        Ok(())
    }

    /// Notes what the person thinks of an answer of theirs; says it twice, the second holds.
    pub(crate) async fn rate(
        &self,
        user: &CurrentUser,
        flowise_id: &str,
        chat_id: &str,
        message_id: &str,
        rated: Rated,
    ) -> Result<Rating> {
        self.access.chatflow_for(user, flowise_id).await?;
        let sessions = self.sessions_of_chat(&user.id, flowise_id, chat_id).await?;
        let rating = Rating {
            id: Uuid::new_v4().to_string(),
            rated,
            at: self.clock.now(),
        };
        let noted = self
            .messages
            .rate(&user.id, &sessions, message_id, &rating)
            .await?;
        noted.then_some(rating).ok_or(Error::MessageNotFound)
    }

    /// Changes it.
    pub(crate) async fn rate_again(
        &self,
        user: &CurrentUser,
        rating_id: &str,
        change: &RatingChange,
    ) -> Result<()> {
        let changed = self.messages.change_rating(&user.id, rating_id, change).await?;
        changed.then_some(()).ok_or(Error::MessageNotFound)
    }

    /// Keeps files of a chat and has Flowise read them: what stands in them comes back, to be sent along with a question.
    pub(crate) async fn attach(
        &self,
        user: &CurrentUser,
        flowise_id: &str,
        name: &SessionName,
        sent: Vec<Sent>,
    ) -> Result<Vec<ReadFile>> {
        self.access.chatflow_for(user, flowise_id).await?;
        let session_id = self.turns.session_named(&user.id, flowise_id, name).await?;
        let mut kept = Vec::new();
        let outcome = self
            .keep_and_read(user, flowise_id, &session_id, sent, &mut kept)
            .await;
        if outcome.is_err() {
            for file in kept {
                self.files.delete(&user.id, &file.id).await?;
            }
        }
        outcome
    }

    async fn keep_and_read(
        &self,
        user: &CurrentUser,
        flowise_id: &str,
        session_id: &str,
        sent: Vec<Sent>,
        kept: &mut Vec<KeptFile>,
    ) -> Result<Vec<ReadFile>> {
        let mut enclosed = Vec::new();
        for file in sent {
            let head = file.bytes.get(..HEAD_BYTES).unwrap_or(&file.bytes);
            let kind = file_kind::sniff(head, &file.name, &file.declared);
            let kind = kind.ok_or(Error::FileRefused(Refusal::Type))?;
            let incoming = Incoming {
                user_id: &user.id,
                session_id: Some(session_id),
                name: &file.name,
                declared: &file.declared,
            };
            let bytes = bytes::Bytes::from(file.bytes);
            let pieces = stream::iter([Ok(bytes.clone())]);
            kept.push(self.files.receive(incoming, pieces).await?);
            enclosed.push(Enclosed {
                name: kind.matching_name(&file.name),
                mime: kind.mime,
                bytes,
            });
        }
        let chat_id = memory_id(&user.id, flowise_id, session_id);
        let read = self
            .flowise
            .read_files(flowise_id, &chat_id, address_of(&user.id), &enclosed)
            .await;
        // Flowise says that it failed of every file that it, or the chatflow, does not take.
        read.map_err(|failure| {
            if failure == Failure::Failed {
                Error::FileRefused(Refusal::Type)
            } else {
                Error::TurnFailed(failure)
            }
        })
    }

    /// A file of the person's in a chat, by its name.
    pub(crate) async fn file(
        &self,
        user: &CurrentUser,
        flowise_id: &str,
        chat_id: &str,
        name: &str,
    ) -> Result<StoredFile> {
        admit(user, flowise_id)?;
        let mut sessions = self.sessions_of_chat(&user.id, flowise_id, chat_id).await?;
        // Files may come before anything is said.
        sessions.extend(possible_ids(&user.id, flowise_id, chat_id));
        for session_id in &sessions {
            let files = self.files.store().list_of_session(&user.id, session_id).await?;
            if let Some(file) = files.into_iter().find(|file| file.name == name) {
                return Ok(file);
            }
        }
        Err(Error::FileNotFound)
    }

    async fn sessions_of_chat(&self, user_id: &str, flowise_id: &str, chat_id: &str) -> Result<Vec<String>> {
        let sessions = self
            .sessions
            .list_of_chat(user_id, flowise_id, chat_id, SESSIONS_MAX)
            .await?;
        Ok(sessions.into_iter().map(|session| session.id).collect())
    }
}

/// Refuses a chatflow that the caller's API key is not for.
fn admit(user: &CurrentUser, flowise_id: &str) -> Result<()> {
    user.may_use_chatflow(flowise_id)
        .then_some(())
        .ok_or(Error::ChatflowAccessDenied)
}

/// The ids that the session a client calls so may have.
fn possible_ids(user_id: &str, flowise_id: &str, name: &str) -> Vec<String> {
    let Some(name) = SessionName::parse(name) else {
        return Vec::new();
    };
    let mut ids = vec![name.session_id(user_id, flowise_id)];
    ids.extend(name.own_id());
    ids
}
