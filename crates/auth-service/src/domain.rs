//! What the service reasons about: pure types and rules. No driver, no HTTP, no clock.

pub mod email;
pub mod origin;
pub mod password;
pub mod readable;
pub mod reset;
pub mod roles;
pub mod second_factor;
pub mod session;
pub mod signing_keys;
pub mod user;
pub mod username;
pub mod verification;
