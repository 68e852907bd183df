//! Secrets, passwords, questions and files are in no log and in no file of the repository.

use std::process::Command;

use reqwest::Method;
use serde_json::json;
use system_tests::{
    platform::{PASSWORD, Platform},
    process::Process,
    programs::root,
};
use test_support::{ACCESS_SECRET, REFRESH_SECRET, SERVICE_SECRET};

const PROGRAM: &str = env!("CARGO_BIN_EXE_run-service");
const FLOWISE_KEY: &str = "flowise-key-7c1b0e94";
const QUESTION: &str = "my grandmother's illness";
const FILE_TEXT: &str = "a private letter";
/// `FILE_TEXT` as it is sent.
const FILE_DATA: &str = "YSBwcml2YXRlIGxldHRlcg==";

/// Everything that people and services tell the proxy, in a good hour and in a bad one, while it logs all it can.
#[actix_web::test]
async fn the_log_holds_no_secret_no_question_and_no_file() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 5).await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("proxy.log");
    let variables =
        platform.proxy_environment_with(&[("FLOWISE_API_KEY", FLOWISE_KEY), ("LOG_LEVEL", "trace")]);
    let proxy = Process::start_logging(PROGRAM, "proxy-service", &variables, &log).await;
    let anybody = proxy.client();
    let client = anybody.with_token(&alice.access_token);
    let ask = async || {
        let body = json!({
            "chatflow_id": platform.chatflow_id, "question": QUESTION,
            "uploads": [{ "type": "file", "name": "letter.txt", "mime": "text/plain", "data": FILE_DATA }],
        });
        client
            .post("/api/v1/chat/predict/stream/store", &body)
            .await
            .status
    };
    let sign_in = async |password: &str| {
        let body = json!({ "username": "alice", "password": password });
        anybody.post("/api/v1/chat/authenticate", &body).await
    };

    let signed_in = sign_in(PASSWORD).await.expect(200);
    sign_in("a mistyped passphrase").await.expect(401);
    assert_eq!(ask().await, 200);
    for path in [
        "/api/v1/chat/credits",
        "/api/v1/chat/sessions",
        "/api/v1/chat/history/search?q=grandmother",
    ] {
        client.get(path).await.expect(200);
    }
    let malformed = client
        .request(Method::POST, "/api/v1/chat/predict")
        .body(format!("{{\"question\":\"{QUESTION}"));
    client
        .send(malformed.header("content-type", "application/json"))
        .await
        .expect(400);
    let refresh = json!({ "refresh_token": signed_in.body["refresh_token"] });
    let refreshed = anybody.post("/api/v1/chat/refresh", &refresh).await.expect(200);
    platform.auth.lifecycle.stop();
    platform.accounting.lifecycle.stop();
    for away in [platform.auth.address, platform.accounting.address] {
        platform
            .until("both are away", async || {
                tokio::net::TcpStream::connect(away).await.is_err()
            })
            .await;
    }
    sign_in(PASSWORD).await.expect(503);
    assert_eq!(ask().await, 503);
    proxy.terminate().await;

    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.lines().count() > 3, "it logs: {log}");
    let text = |token: &serde_json::Value| token.as_str().unwrap().to_owned();
    for (what, secret) in [
        ("the password", PASSWORD.to_owned()),
        (
            "what may be nearly the password",
            "mistyped passphrase".to_owned(),
        ),
        ("the access token", alice.access_token.clone()),
        ("another access token", text(&signed_in.body["access_token"])),
        ("a refresh token", text(&signed_in.body["refresh_token"])),
        ("its successor", text(&refreshed.body["refresh_token"])),
        ("Flowise's key", FLOWISE_KEY.to_owned()),
        ("a signing secret", ACCESS_SECRET.to_owned()),
        ("the services' secret", SERVICE_SECRET.to_owned()),
        ("the refresh tokens' secret", REFRESH_SECRET.to_owned()),
        (
            "where the database is, with what opens it",
            platform.mongo().uri.clone(),
        ),
        ("the question", QUESTION.to_owned()),
        ("what was searched for", "grandmother".to_owned()),
        ("the answer", "Mock reply to".to_owned()),
        ("the file", FILE_TEXT.to_owned()),
        ("the file as it was sent", FILE_DATA.to_owned()),
    ] {
        assert!(!log.contains(&secret), "the log holds {what}");
    }
}

/// Files that git knows, with their texts; what is not text holds no password that somebody could read.
fn files_of_the_repository() -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output();
    let names = String::from_utf8(listed.expect("git can be run").stdout).unwrap();
    let read = |name: &str| Some((name.to_owned(), std::fs::read_to_string(root().join(name)).ok()?));
    names.split_terminator('\0').filter_map(read).collect()
}

#[test]
fn the_repository_holds_no_password_of_a_database_and_no_key() {
    let files = files_of_the_repository();
    assert!(files.len() > 500, "{}", files.len());
    let mut examined = 0;
    for (name, text) in &files {
        let schemes = [
            "mongodb://",
            "mongodb+srv://",
            "postgres://",
            "postgresql://",
            "redis://",
            "rediss://",
        ];
        let addresses = schemes.into_iter().flat_map(|scheme| text.split(scheme).skip(1));
        for rest in addresses {
            examined += 1;
            let end = rest.find(|c: char| c.is_whitespace() || "\"'`/<>,)".contains(c));
            let authority = &rest[..end.unwrap_or(rest.len())];
            let Some((login, _)) = authority.rsplit_once('@') else {
                continue;
            };
            let password = login.split_once(':').map_or("", |(_, password)| password);
            let is_filled_in_later =
                password.contains(['$', '{', '%', '…']) || ["", "password", "secret"].contains(&password);
            assert!(is_filled_in_later, "{name}: {authority}");
        }
        for key in [
            "-----BEGIN PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\n",
            "AKIA",
        ] {
            let found = text
                .split(key)
                .skip(1)
                .any(|rest| rest.bytes().take(16).all(|byte| byte.is_ascii_alphanumeric()));
            assert!(!found, "{name} holds a key");
        }
    }
    assert!(examined > 10, "addresses of databases are found: {examined}");
}

/// What is copied to begin with has to be filled in: a secret that stands in an example is known to everybody.
#[test]
fn examples_give_nobody_a_secret() {
    let examples: Vec<_> = files_of_the_repository()
        .into_iter()
        .filter(|(name, _)| name.ends_with(".env.example") || name.ends_with("env.example"))
        .collect();
    assert!(examples.len() >= 2, "{}", examples.len());
    for (name, text) in examples {
        for line in text.lines() {
            let Some((variable, value)) = line.trim_start_matches(['#', ' ']).split_once('=') else {
                continue;
            };
            let is_secret = [
                "_SECRET",
                "_PASSWORD",
                "_API_KEY",
                "_PRIVATE_KEY",
                "_ENCRYPTION_KEY",
            ]
            .iter()
            .any(|end| variable.ends_with(end));
            assert!(!is_secret || value.trim().is_empty(), "{name}: {line}");
        }
    }
}
