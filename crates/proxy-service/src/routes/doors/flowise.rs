//! The door for clients of Flowise: its routes, its bodies, its streams and its errors (`proto-docs/clients.md`).
//!
//! Behind it stands Flowise, but nothing that comes in here reaches it as it came. Paths of Flowise's API that are not in
//! this table do not exist.

mod answer;
mod body;
mod events;
mod files;
mod flows;
mod messages;
mod prediction;
mod refusal;

use common_http::{Access, KeyRule, Routes};

use crate::routes::{CHATTING, READING};

pub(in crate::routes) use self::flows::{ListedFlow, Page};
pub(super) use self::refusal::{reads_events_only, refusal, refusal_in_words};

/// What the paths of this door begin with; `/api/v1/chatflows` is a route of our own, too, and has our errors.
const PATHS: [&str; 10] = [
    "prediction",
    "public-chatbotConfig",
    "chatflows-streaming",
    "chatflows-uploads",
    "attachments",
    "get-upload-file",
    "feedback",
    "chatmessage",
    "ping",
    "version",
];

/// This door's rows.
pub(super) fn table(routes: &mut Routes<'_>) {
    let path = |rest: &str| format!("/api/v1/{rest}");
    routes
        .post(&path("prediction/{flowise_id}"), CHATTING, prediction::predict)
        .get(
            &path("public-chatbotConfig/{flowise_id}"),
            READING,
            flows::show_chatbot_config,
        )
        // Flowise's SDK for Python asks this without its key, and gives up when it is refused. Its chat window asks with a
        // key, and shows nothing of a chatflow that cannot stream unless it is told.
        .get(
            &path("chatflows-streaming/{flowise_id}"),
            Access::Optional.or_key(KeyRule::CHAT_OR_READ),
            flows::show_whether_it_streams,
        )
        .get(
            &path("chatflows-uploads/{flowise_id}"),
            READING,
            flows::show_uploads,
        )
        .post(
            &path("attachments/{flowise_id}/{chat_id}"),
            CHATTING,
            files::attach_files,
        )
        .get(&path("get-upload-file"), READING, files::show_upload)
        .post(&path("feedback"), CHATTING, messages::give_feedback)
        .post(&path("feedback/{id}"), CHATTING, messages::give_feedback)
        .put(&path("feedback/{id}"), CHATTING, messages::change_feedback)
        .get(
            &path("chatmessage/{flowise_id}"),
            READING,
            messages::list_chat_messages,
        )
        .put(
            &path("chatmessage/abort/{flowise_id}/{chat_id}"),
            CHATTING,
            messages::abort_chat,
        )
        .get(&path("ping"), READING, flows::ping)
        .get(&path("version"), READING, flows::show_version);
}

/// Whether a path belongs to this door.
pub(super) fn has(path: &str) -> bool {
    let rest = path.strip_prefix("/api/v1/").unwrap_or_default();
    let first = rest.split('/').next().unwrap_or_default();
    PATHS.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_first_words_are_paths_of_this_door() {
        for path in [
            "/api/v1/prediction/x",
            "/api/v1/ping",
            "/api/v1/chatmessage/abort/a/b",
        ] {
            assert!(has(path), "{path}");
        }
        for path in [
            "/api/v1/chatflows",
            "/api/v1/chat/predict",
            "/api/v1/predictions",
            "/prediction/x",
            "/",
        ] {
            assert!(!has(path), "{path}");
        }
    }
}
