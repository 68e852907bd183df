//! Who reads the stream of which `chatId`. As at Flowise there is one table for all chatflows, and what any run with an id
//! writes goes to the newest reader of that id.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Writes that may wait for a reader.
const WRITES_MAX: usize = 1_024;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Chats {
    readers: Mutex<HashMap<String, mpsc::Sender<Bytes>>>,
}

impl Chats {
    /// Takes an id over: the body of whoever read it before ends without a word.
    pub(super) fn open(&self, chat_id: &str) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(WRITES_MAX);
        self.lock().insert(chat_id.to_owned(), sender);
        receiver
    }

    /// Writes to whoever reads this id now, or to nobody.
    pub(super) async fn write(&self, chat_id: &str, bytes: Bytes) {
        let reader = self.lock().get(chat_id).cloned();
        if let Some(reader) = reader {
            // A client that has gone does not end the run.
            let _ = reader.send(bytes).await;
        }
    }

    /// Ends the body of whoever reads this id now, as the end of any run with it does.
    pub(super) fn close(&self, chat_id: &str) {
        self.lock().remove(chat_id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<Bytes>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
