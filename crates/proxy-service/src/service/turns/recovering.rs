//! What is left of a turn whose process died: its conversation is put in order, as much of the answer as was written down
//! goes into the history, and whoever still reads is told that no more comes.

use chrono::{DateTime, Utc};
use common_http::Timestamp;
use serde_json::json;

use super::Shared;
use crate::{
    domain::{
        event_id::NUMBER_MAX,
        failure::Failure,
        framing::{EventWriter, Framing},
        transcript::{Inside, Transcript},
    },
    store::{messages::Place, turn_events::Piece, writer::WriteError},
};

impl Shared {
    /// A question and the conversation that it begins are written side by side, and the process may have died between the
    /// two. To be done as long as no other turn can begin in the conversation.
    pub(super) async fn mend_session(
        &self,
        place: Place<'_>,
        began_at: DateTime<Utc>,
    ) -> Result<(), WriteError> {
        if let Some(question) = self.messages.find_said(place, "user").await? {
            let (text, at) = (&question.content, question.created_at);
            let written = self
                .sessions
                .insert(place.session, place.user, place.chatflow, None, text, at);
            return match written.await {
                Ok(()) | Err(WriteError::Duplicate(_)) => Ok(()),
                Err(error) => Err(error),
            };
        }
        if self
            .messages
            .find_newest(place.user, place.session)
            .await?
            .is_none()
        {
            self.sessions
                .delete_begun(place.session, place.user, began_at)
                .await?;
        }
        Ok(())
    }

    /// Stores the part of the answer that was written down, unless that was done before.
    pub(super) async fn recover(&self, place: Place<'_>, began_at: DateTime<Utc>) {
        if let Err(error) = self.try_recover(place, began_at).await {
            tracing::warn!(%error, turn_id = place.turn, "what was left of an answer could not be stored");
        }
    }

    async fn try_recover(&self, place: Place<'_>, began_at: DateTime<Utc>) -> Result<(), WriteError> {
        let mut transcript = Transcript::new(place.session).showing(Inside::Shown);
        let mut writer = EventWriter::unnumbered(Framing::Lines);
        let mut seen = 0;
        loop {
            let before = seen;
            for piece in self.events.list_after(place.turn, seen).await? {
                if piece.ends {
                    return Ok(());
                }
                if piece.first > seen + 1 {
                    break;
                }
                for line in piece.lines.lines() {
                    transcript.accept(line.as_bytes(), &mut writer);
                }
                writer.take();
                seen = piece.last;
            }
            if seen == before {
                break;
            }
        }
        if seen == 0 {
            // A turn without events, or one that nobody was told of.
            return Ok(());
        }
        let now = self.clock.now();
        let is_open = self.messages.find_said(place, "user").await?.is_some()
            && self.messages.find_said(place, "assistant").await?.is_none();
        if is_open && transcript.has_content() {
            let (content, notes) = (transcript.content(), transcript.notes());
            self.messages
                .insert_answer(place, &content, &notes, began_at, now)
                .await?;
        }
        let sentence = Failure::Broken.sentence();
        let error = json!({
            "event": "error", "data": sentence, "code": Failure::Broken.code(), "timestamp": Timestamp(now),
        });
        let mut writer = EventWriter::unnumbered(Framing::Lines);
        writer.write("error", &error);
        writer.write(
            "token",
            &json!({ "event": "token", "data": format!("\n\n{sentence}") }),
        );
        writer.write("end", &json!({ "event": "end", "data": "[DONE]" }));
        let piece = Piece {
            first: seen + 1,
            last: NUMBER_MAX,
            lines: String::from_utf8_lossy(&writer.take().lines).into_owned(),
            ends: true,
        };
        self.events.insert(place, &piece, now).await
    }
}
