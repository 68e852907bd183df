//! Other people's programs that a deployment consists of, started for real: Traefik, Prometheus.

#![expect(clippy::expect_used, reason = "a test that cannot go on stops where it is")]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::{Child, Command};

/// How long a program may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// The repository's folder.
pub fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).to_owned()
}

/// A file of the repository.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Where the program is; it is fetched when it is nowhere on this machine.
pub async fn path_of(name: &str) -> PathBuf {
    let script = root().join("scripts/programs.sh");
    let output = Command::new(script)
        .args(["path", name])
        .stderr(Stdio::inherit())
        .output();
    let output = output.await.expect("scripts/programs.sh can be run");
    assert!(output.status.success(), "{name} is needed for this test");
    let path = String::from_utf8(output.stdout).expect("a path is text");
    PathBuf::from(path.trim())
}

/// An address that nobody listens on.
pub fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0));
    listener
        .and_then(|listener| listener.local_addr())
        .expect("a port is free")
}

/// A running program; killed when it is dropped, with its folder.
#[derive(Debug)]
pub struct Program {
    _child: Child,
    _folder: tempfile::TempDir,
}

impl Program {
    /// Starts `command`, whose files are in `folder`, and waits until `ready` answers 200.
    pub async fn start(mut command: Command, folder: tempfile::TempDir, ready: &str) -> Self {
        let log = folder.path().join("log");
        let file = std::fs::File::create(&log).expect("a file can be made");
        let errors = file.try_clone().expect("a file can be shared");
        command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the program can be started");
        let is_ready = async || {
            let answer = reqwest::get(ready).await;
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        let waited = tokio::time::timeout(PATIENCE, async {
            while !is_ready().await {
                let ended = child.try_wait().expect("the program can be asked for");
                let log = || std::fs::read_to_string(&log).unwrap_or_default();
                assert!(ended.is_none(), "it has ended: {}", log());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let is_ready = waited.await.is_ok();
        let said = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        assert!(is_ready, "it does not get ready: {said}");
        Self {
            _child: child,
            _folder: folder,
        }
    }
}
