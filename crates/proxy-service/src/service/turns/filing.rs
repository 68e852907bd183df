//! The files of a turn: what is taken is kept with the question and goes to Flowise, what is refused is told to the
//! client and goes nowhere.

use common_http::Timestamp;
use serde_json::json;

use super::{Plan, Shared, talking::Talk};
use crate::{
    domain::{ask::Ask, failure::Failure},
    error::{Error, Result},
    service::files::{Attached, Gathered},
    store::files::Owner,
    upload_memory::Share,
};

impl Shared {
    /// Reads the files of a request. Where a refused file is not told of in between (`is_told`), or nothing is left to
    /// ask, the refusal is the answer.
    pub(super) async fn gather_files(
        &self,
        user_id: &str,
        ask: &mut Ask,
        is_told: bool,
        share: Share,
    ) -> Result<Gathered> {
        let uploads = std::mem::take(&mut ask.uploads);
        let gathered = self.files.gather(user_id, uploads, share).await?;
        let nothing_left = gathered.is_empty() && ask.text().trim().is_empty();
        match gathered.refusal() {
            Some(why) if nothing_left || !is_told => Err(Error::FileRefused(why)),
            Some(_) | None => Ok(gathered),
        }
    }

    /// Keeps the files of a stored turn and writes the events about them.
    pub(super) async fn attach_files(
        &self,
        plan: &Plan,
        files: Gathered,
        talk: &mut Talk,
    ) -> std::result::Result<Attached, Failure> {
        let attached = match talk.question {
            None => files.unkept(),
            Some(question) => {
                let message_id = question.id.to_hex();
                let owner = Owner {
                    message: Some(&message_id),
                    session: Some(&plan.seat.session_id),
                    chatflow: Some(&plan.chatflow.flowise_id),
                };
                let attaching = self.files.attach(&plan.talker.id, owner, files);
                let attached = talk.watch.guard(attaching).await?;
                attached.map_err(|error| {
                    tracing::error!(%error, turn_id = plan.turn_id, "the files of a question could not be kept");
                    Failure::Storage
                })?
            }
        };
        let now = Timestamp(self.clock.now());
        for (name, data) in [
            ("files_uploaded", attached.uploaded()),
            ("file_upload_error", attached.refused()),
        ] {
            if let Some(data) = data {
                let event = json!({ "event": name, "data": data, "timestamp": now });
                talk.writer.write(name, &event);
            }
        }
        Ok(attached)
    }
}
