//! What the service reasons about: pure types and rules. No driver, no HTTP, no clock.

pub mod csv;
pub mod email;
pub mod import;
pub mod origin;
pub mod password;
pub mod readable;
pub mod reset;
pub mod second_factor;
pub mod session;
pub mod user;
pub mod user_list;
pub mod username;
pub mod verification;
