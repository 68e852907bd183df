//! A durable PostgreSQL of a test's own, which can be killed as by a power cut of its processes.

#![expect(clippy::expect_used, reason = "a test that cannot go on stops where it is")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Starts the server of a folder, or starts it again, and prints its address; the scripts know where PostgreSQL is and
/// whom it runs as.
const START: &str = r#"
    set -euo pipefail
    . scripts/lib.sh
    . scripts/databases/postgres.sh
    start_postgres "$1" durable
    postgres_url "$1""#;

const STOP: &str = r#"
    set -euo pipefail
    . scripts/lib.sh
    . scripts/databases/postgres.sh
    stop_postgres "$1" fast"#;

/// The cluster. Its data is gone when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// The address of its database.
    pub url: String,
    folder: PathBuf,
}

impl Cluster {
    /// Makes and starts one.
    pub fn start() -> Self {
        let name = format!("test.cluster-{}", uuid::Uuid::new_v4().simple());
        let folder = root().join(".flowgate").join(name);
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let mut cluster = Self {
            url: String::new(),
            folder,
        };
        cluster.url = cluster.run(START);
        cluster
    }

    /// Starts it again after it was killed, at the same address.
    pub fn restart(&self) {
        let url = self.run(START);
        assert_eq!(url, self.url, "the server keeps its port");
    }

    /// SIGKILL to the server and every process of it, at once: nothing is flushed.
    pub fn kill(&self) {
        let pid = std::fs::read_to_string(self.folder.join("postgres.pid"));
        let pid = pid.expect("the server has been started");
        let server: u32 = pid
            .lines()
            .next()
            .and_then(|line| line.parse().ok())
            .expect("a process id");
        let backends = children(server);
        for pid in [server].into_iter().chain(backends.iter().copied()) {
            // One that has ended by itself needs no killing.
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).output();
        }
        while is_running(server) || backends.iter().any(|pid| is_running(*pid)) {
            std::thread::yield_now();
        }
        // Where nobody collects dead processes, as in many containers, the next server would take its predecessor for
        // alive and not start.
        let home = std::fs::read_to_string(self.folder.join("postgres.home"));
        let home = home.expect("the server has a home");
        let lock = Path::new(home.trim()).join("data/postmaster.pid");
        std::fs::remove_file(lock).expect("the dead server's lock can be removed");
    }

    fn run(&self, script: &str) -> String {
        let output = Command::new("bash")
            .args(["-c", script, "cluster"])
            .arg(&self.folder)
            .current_dir(root())
            .output()
            .expect("bash can be run");
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{problem}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new("bash")
            .args(["-c", STOP, "cluster"])
            .arg(&self.folder)
            .current_dir(root())
            .output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The fields of `/proc/<pid>/stat` behind the name, which may hold spaces: state, parent, ...
fn stat(pid: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn is_running(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z")
}

fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("processes are listed");
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent))
        .collect()
}
