//! A backup by the script goes back by the script, into new databases, and people find everything as it was.

use std::{path::Path, process::Stdio};

use serde_json::Value;
use system_tests::{
    fleet::{Databases, Fleet, Guest},
    platform::{ADMIN, PASSWORD},
    programs::root,
};
use test_support::Client;
use tokio::process::Command;

/// Runs a script on these databases, outside of containers.
async fn run(script: &str, folder: &Path, databases: &Databases) -> (bool, String) {
    let mut command = Command::new(root().join("scripts").join(script));
    let program = |service: &str| format!("{} {service}", crate::PROGRAM);
    command
        .arg(folder)
        .env("DIRECT", "yes")
        .env("AUTH_SERVICE", program("auth-service"))
        .env("PROXY_SERVICE", program("proxy-service"))
        .env("AUTH_MONGODB_URI", databases.auth_uri())
        .env("PROXY_MONGODB_URI", &databases.mongo.uri)
        .env("MONGODB_DATABASE_NAME", &databases.mongo.name)
        .env("DATABASE_URL", &databases.postgres.url)
        .stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

struct Clients {
    auth: Client,
    accounting: Client,
    proxy: Client,
}

impl Clients {
    fn of(fleet: &Fleet) -> Self {
        Self {
            auth: fleet.auth.client(0),
            accounting: fleet.accounting.client(0),
            proxy: fleet.proxy.client(0),
        }
    }

    async fn log_in(&self, name: &str, password: &str) -> Guest {
        Guest::log_in(&self.auth, &self.accounting, &self.proxy, name, password).await
    }
}

async fn sessions(guest: &Guest) -> Value {
    guest.proxy.get("/api/v1/chat/sessions").await.expect(200).body
}

#[actix_web::test]
async fn a_backup_goes_back_into_new_databases_and_nothing_is_missing() {
    let fleet = Fleet::start(crate::PROGRAM, 1, &[]).await;
    let admin = Clients::of(&fleet).log_in(ADMIN.0, ADMIN.2).await;
    let guest = admin.admits("keeper", 100).await;
    guest.chat(&[]).await.unwrap();
    guest.chat(&[]).await.unwrap();
    let (balance, before) = (guest.balance().await, sessions(&guest).await);
    assert_eq!(balance, 98);
    let old = fleet.stop_all().await;
    let backups = tempfile::tempdir().unwrap();

    let (saved, said) = run("backup.sh", backups.path(), &old).await;
    assert!(saved, "{said}");
    let backup = std::fs::read_dir(backups.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let (again, said) = run("restore.sh", &backup, &old).await;
    assert!(
        !again && said.contains("not empty"),
        "nothing is overwritten: {said}"
    );
    let new = Databases::create().await;
    let (restored, said) = run("restore.sh", &backup, &new).await;
    assert!(restored, "{said}");

    let fleet = Fleet::start_on(new, crate::PROGRAM, 1, &[]).await;
    let guest = Clients::of(&fleet).log_in("keeper", PASSWORD).await;
    assert_eq!(guest.balance().await, balance);
    assert_eq!(sessions(&guest).await, before);
    guest.chat(&[]).await.unwrap();
    assert_eq!(guest.balance().await, balance - 1);
    assert_eq!(fleet.verify_ledger().await, Ok(()));
}

#[actix_web::test]
async fn a_backup_that_is_damaged_is_refused_before_anything_is_written() {
    let databases = Databases::create().await;
    let fleet = Fleet::start_on(databases, crate::PROGRAM, 1, &[]).await;
    let old = fleet.stop_all().await;
    let backups = tempfile::tempdir().unwrap();
    let (saved, said) = run("backup.sh", backups.path(), &old).await;
    assert!(saved, "{said}");
    let backup = std::fs::read_dir(backups.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let part = backup.join("accounting.dump");
    let mut bytes = std::fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&part, bytes).unwrap();

    let new = Databases::create().await;
    let (restored, said) = run("restore.sh", &backup, &new).await;

    assert!(!restored && said.contains("accounting.dump"), "{said}");
    let names = new.mongo.database.list_collection_names().await.unwrap();
    assert!(names.is_empty(), "{names:?}");
}
