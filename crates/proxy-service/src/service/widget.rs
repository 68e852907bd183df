//! The chat widget: visitors of other people's sites, and what they say.

pub(crate) mod visits;
