//! The chat widget: visitors of other people's sites, and what they say.

pub(crate) mod histories;
pub(crate) mod protection;
pub(crate) mod talks;
pub(crate) mod visits;
