//! The stories that the platform as a whole must get right, one file each.

#![expect(clippy::expect_used, reason = "a test that cannot go on stops where it is")]

mod contract;
mod stand_in_flowise;
