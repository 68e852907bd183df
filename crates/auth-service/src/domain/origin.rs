//! Where a request comes from, as sessions and audit events keep it.

use std::net::IpAddr;

use super::device::Device;

/// What is kept of a `User-Agent`; the rest is noise or an attack on the database.
const USER_AGENT_CHARS_MAX: usize = 256;

/// A client.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Its address, behind the proxies we trust.
    pub address: IpAddr,
    /// What it calls itself.
    pub user_agent: Option<String>,
}

impl Origin {
    /// A client at `address` that sent this `User-Agent`.
    pub fn new(address: IpAddr, user_agent: Option<&str>) -> Self {
        let user_agent = user_agent.map(|text| text.chars().take(USER_AGENT_CHARS_MAX).collect());
        Self { address, user_agent }
    }

    /// What the client seems to be.
    pub fn device(&self) -> Device {
        Device::read(self.user_agent.as_deref())
    }
}
