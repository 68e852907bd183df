//! What the service reasons about: pure types and rules. No driver, no HTTP, no clock.

pub mod csv;
pub mod device;
pub mod distinct;
pub mod email;
pub mod import;
pub mod keyset;
pub mod known_devices;
pub mod network;
pub mod origin;
pub mod password;
pub mod readable;
pub mod reset;
pub mod roles;
pub mod second_factor;
pub mod session;
pub mod signing_keys;
pub mod spraying;
pub mod throttle;
pub mod user;
pub mod user_list;
pub mod username;
pub mod verification;
