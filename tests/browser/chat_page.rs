//! The chat page, as people with an account use it.

mod accessibility;
mod asking;
mod desk;
mod history;
mod pictures;
mod sessions;
mod troubles;
mod uploads;

pub(crate) use self::uploads::DROP_PICTURE;
