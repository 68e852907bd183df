//! The program's commands, as the program.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
};

use bson::doc;
use secrecy::ExposeSecret as _;
use test_support::{ACCESS_SECRET, REFRESH_SECRET, SERVICE_SECRET};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use crate::support::{PASSWORD, TestApp, eventually};

fn command(app: &TestApp, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth-service"));
    command
        .args(arguments)
        .env_clear()
        .env("MONGODB_URI", app.config.mongodb_uri.expose_secret())
        .env("JWT_ACCESS_SECRET", ACCESS_SECRET)
        .env("JWT_REFRESH_SECRET", REFRESH_SECRET)
        .env("SERVICE_JWT_SECRET", SERVICE_SECRET)
        .env("DISABLE_EMAIL", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(app: &TestApp, arguments: &[&str]) -> (Output, String, String) {
    let output = command(app, arguments).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

fn file(app: &TestApp, name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("{}-{name}", app.mongo.name));
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_table_is_imported_without_a_service_and_the_service_invites() {
    let app = TestApp::spawn().await;
    let table = file(
        &app,
        "good.csv",
        &format!("username,email,password\nada,ada@example.com,{PASSWORD}\nbob,bob@example.com,\n"),
    );
    let table = table.to_str().unwrap();

    let (dry, out, _) = run(&app, &["import", "--dry-run", table]).await;
    assert!(dry.status.success());
    assert!(out.contains("nothing was changed: 2 could be created"), "{out}");
    assert_eq!(app.count("users", doc! {}).await, 0);

    let (done, out, err) = run(&app, &["import", table]).await;
    assert!(done.status.success(), "{err}");
    assert_eq!(out, "2 rows: 2 created, 1 invited, 0 unchanged, 0 failed\n");
    app.log_in("ada").await;
    // The program goes by the machine's clock, which runs; the service's stands still.
    app.advance_secs(300);
    eventually("the running service invites", async || {
        app.mails_to("bob@example.com").pop()
    })
    .await;

    let (again, out, _) = run(&app, &["import", "--no-invite", table]).await;
    assert!(again.status.success());
    assert_eq!(out, "2 rows: 0 created, 0 invited, 2 unchanged, 0 failed\n");
}

#[tokio::test]
async fn failed_rows_are_named_and_change_the_status() {
    let app = TestApp::spawn().await;
    let table = file(
        &app,
        "bad.csv",
        "username,email\nada,ada@example.com\nx,\"e\u{1b}[31m@\"\n",
    );
    let table = table.to_str().unwrap();

    let (atomic, out, err) = run(&app, &["import", "--atomic", table]).await;
    assert_eq!(atomic.status.code(), Some(1));
    assert!(
        out.contains("nothing was changed") && err.contains("line 3: "),
        "{out}{err}"
    );
    assert!(!err.contains('\u{1b}'), "a table does not steer the terminal");
    assert_eq!(app.count("users", doc! {}).await, 0);

    let (partial, out, _) = run(&app, &["import", "--no-invite", table]).await;
    assert_eq!(partial.status.code(), Some(1));
    assert_eq!(out, "2 rows: 1 created, 0 invited, 0 unchanged, 1 failed\n");
    let (missing, _, err) = run(&app, &["import", "/nowhere.csv"]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(err.contains("/nowhere.csv cannot be read"), "{err}");
}

#[tokio::test]
async fn a_table_comes_through_standard_input_and_is_finished_after_a_kill() {
    let app = TestApp::spawn().await;
    let mut table = String::from("username,email\n");
    table.extend((0..12_000).map(|number| format!("pupil{number},pupil{number}@example.com\n")));
    let path = file(&app, "long.csv", &table);

    let mut killed = command(&app, &["import", path.to_str().unwrap()])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(killed.stderr.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    assert_eq!(first, "5000 of 12000 rows");
    killed.kill().await.unwrap();

    let mut repeat = command(&app, &["import", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = repeat.stdin.take().unwrap();
    stdin.write_all(table.as_bytes()).await.unwrap();
    drop(stdin);
    let output = repeat.wait_with_output().await.unwrap();

    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{out}");
    assert!(
        out.starts_with("12000 rows: ") && out.contains(" 0 failed"),
        "{out}"
    );
    assert_eq!(app.count("users", doc! {}).await, 12_000);
}

#[tokio::test]
async fn an_admin_is_made_and_nobody_is_promoted() {
    let app = TestApp::spawn().await;
    app.sign_up("ada").await;
    let secret = file(&app, "password", &format!("{PASSWORD}\n"));
    let create = async |more: &[&str]| {
        let arguments = [
            &[
                "create-admin",
                "--username",
                "root1",
                "--email",
                "root1@example.com",
            ],
            more,
        ]
        .concat();
        run(&app, &arguments).await
    };

    let (no_terminal, _, err) = create(&[]).await;
    assert_eq!(no_terminal.status.code(), Some(1));
    assert!(err.contains("no terminal"), "{err}");
    let (made, out, err) = create(&["--password-file", secret.to_str().unwrap()]).await;
    assert!(made.status.success(), "{err}");
    assert!(!out.contains(PASSWORD) && !err.contains(PASSWORD));
    let root = app.log_in("root1").await;
    root.client.get("/api/admin/users?limit=1").await.expect(200);

    let (again, _, err) = create(&["--generate"]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(err.contains("already exists"), "{err}");
    let promoted = [
        "create-admin",
        "--username",
        "other",
        "--email",
        "ada@example.com",
        "--generate",
    ];
    let (promoted, _, err) = run(&app, &promoted).await;
    assert_eq!(promoted.status.code(), Some(1));
    assert!(err.contains("already exists"), "{err}");
    assert_eq!(app.count("users", doc! { "role": "admin" }).await, 1);

    let generated = [
        "create-admin",
        "--username",
        "root2",
        "--email",
        "root2@example.com",
        "--generate",
    ];
    let (generated, out, _) = run(&app, &generated).await;
    assert!(generated.status.success());
    let (_, password) = out.trim_end().split_once("password: ").unwrap();
    app.try_log_in("root2", password).await.expect(200);
}
