//! A service as a process of its own, which can be killed.

#![expect(clippy::expect_used, reason = "a test that cannot go on stops where it is")]

use std::{net::SocketAddr, process::Stdio, time::Duration};

use test_support::Client;
use tokio::process::{Child, Command};

use crate::programs::free_address;

/// How long it may take to get ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running process; killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl Process {
    /// Starts `program service` with these variables on a free port, and waits until it is ready.
    pub async fn start(program: &str, service: &str, variables: &[(String, String)]) -> Self {
        Self::start_at(free_address(), program, service, variables).await
    }

    /// The same, with what it logs in this file.
    pub async fn start_logging(
        program: &str,
        service: &str,
        variables: &[(String, String)],
        log: &std::path::Path,
    ) -> Self {
        let file = std::fs::File::create(log).expect("a log can be made");
        Self::spawn(free_address(), program, service, variables, file.into()).await
    }

    /// The same on a port of the caller's choosing, such as that of one that was killed.
    pub async fn start_at(
        address: SocketAddr,
        program: &str,
        service: &str,
        variables: &[(String, String)],
    ) -> Self {
        Self::spawn(address, program, service, variables, Stdio::null()).await
    }

    async fn spawn(
        address: SocketAddr,
        program: &str,
        service: &str,
        variables: &[(String, String)],
        log: Stdio,
    ) -> Self {
        let child = Command::new(program)
            .arg(service)
            .env_clear()
            .envs(variables.iter().cloned())
            .env("PORT", address.port().to_string())
            .stdout(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the service can be started");
        let process = Self { address, child };
        let ready = async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ready)
            .await
            .expect("the service gets ready");
        process
    }

    /// A client without a token.
    pub fn client(&self) -> Client {
        Client::new(format!("http://{}", self.address))
    }

    /// The memory it has, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let pid = self.child.id().expect("the process runs");
        memory_bytes(pid).expect("the process runs")
    }

    /// SIGTERM, as whoever replaces a replica sends it; waits until the process has ended well.
    pub async fn terminate(mut self) {
        let pid = self.child.id().expect("the process runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await;
        assert!(sent.expect("kill can be run").success(), "the signal was sent");
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended
            .expect("it ends within its grace")
            .expect("it can be waited for");
        assert!(status.success(), "{status}");
    }

    /// SIGKILL: no destructor runs, nothing is flushed.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the process can be killed");
    }
}

/// The memory a process of this machine has, in bytes; `None` where it does not run.
pub fn memory_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}
