//! The collections in which something about a person stands, to be read for that person.

use crate::store::{
    assignments::AssignmentStore, files::FileStore, groups::GroupStore, messages::MessageStore,
    people::PersonStore, sessions::SessionStore, usage_days::UsageDayStore,
};

/// What is read.
#[derive(Clone)]
pub(crate) struct PersonalData {
    pub(crate) people: PersonStore,
    pub(crate) assignments: AssignmentStore,
    pub(crate) groups: GroupStore,
    pub(crate) usage: UsageDayStore,
    pub(crate) sessions: SessionStore,
    pub(crate) messages: MessageStore,
    pub(crate) files: FileStore,
}
