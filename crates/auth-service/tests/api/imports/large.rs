//! Large tables: in little memory, one at a time, and again after they broke off.

use std::fmt::Write as _;

use bson::doc;
use futures_util::StreamExt as _;
use reqwest::Method;

use super::{admin, import};
use crate::support::{PASSWORD, eventually};

/// A school district; what is promised is five times as much, which a debug build takes a minute for.
const MANY: usize = 20_000;

fn table(rows: usize, password: &str) -> String {
    let mut table = String::from("username;email;password;role\r\n");
    for number in 0..rows {
        // Writing to a string cannot fail.
        let _ = write!(
            table,
            "pupil{number};pupil{number}@example.com;{password};student\r\n"
        );
    }
    table
}

#[tokio::test]
async fn a_large_table_is_imported_whole_and_again_without_effect() {
    let (app, root) = admin().await;
    let table = table(MANY, "");

    let first = import(&root, "?invite=false", table.clone()).await.expect(200);
    let second = import(&root, "?invite=false", table).await.expect(200);

    assert_eq!(first.body["summary"]["created"], MANY);
    assert_eq!(second.body["summary"]["unchanged"], MANY);
    let users = u64::try_from(MANY).unwrap() + 1;
    assert_eq!(app.count("users", doc! {}).await, users);
    assert_eq!(
        app.count("audit_events", doc! { "action": "user_created" }).await,
        users
    );
}

#[tokio::test]
async fn a_client_that_leaves_half_way_finds_the_rest_done_by_a_repeat() {
    let (app, root) = admin().await;
    let table = table(300, PASSWORD);
    let request = root
        .client
        .request(Method::POST, "/api/admin/users/import")
        .header("content-type", "text/csv");
    let mut answer = request.body(table.clone()).send().await.unwrap().bytes_stream();
    let mut seen = 0;
    while seen < 20 {
        seen += answer.next().await.unwrap().unwrap().len();
    }
    drop(answer);

    let repeated = eventually("the first import has ended", async || {
        let answer = import(&root, "", table.clone()).await;
        (answer.status != 409).then_some(answer)
    })
    .await;

    let summary = &repeated.expect(200).body["summary"];
    let count = |status: &str| summary[status].as_u64().unwrap();
    assert_eq!(count("created") + count("unchanged"), 300, "{summary}");
    assert_eq!(app.count("users", doc! {}).await, 301);
    app.log_in("pupil299").await;
}

#[tokio::test]
async fn one_table_at_a_time_is_imported() {
    let (app, root) = admin().await;
    let request = root
        .client
        .request(Method::POST, "/api/admin/users/import")
        .header("content-type", "text/csv");
    // A table that does not end yet holds the turn. It is more than all buffers on the way take, so that what was sent
    // of it was read.
    let (rows, body) = tokio::sync::mpsc::channel::<std::io::Result<String>>(1);
    let body = futures_util::stream::unfold(body, |mut body| async { Some((body.recv().await?, body)) });
    let running = tokio::spawn(request.body(reqwest::Body::wrap_stream(body)).send());
    rows.send(Ok("username,email\nada,ada@example.com\n".to_owned()))
        .await
        .unwrap();
    for _ in 0..20 {
        rows.send(Ok("#a remark\n".repeat(100_000))).await.unwrap();
    }

    let refused = import(&root, "?dry_run=true", "username,email\n").await;

    assert!(refused.headers.contains_key("retry-after"));
    refused.expect_problem(409, "import_running");
    assert_eq!(
        app.count("users", doc! {}).await,
        1,
        "nothing is done before all has arrived"
    );

    drop(rows);
    let answer = running.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains("\"created\":1"));
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let (app, root) = admin().await;
    let request = root
        .client
        .request(Method::POST, "/api/admin/users/import")
        .header("content-type", "text/csv");
    let pieces = [
        Ok("username,email\nada,ada@example.com\n"),
        Err(std::io::Error::other("gone")),
    ];
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));

    request.body(body).send().await.unwrap_err();

    let answer = eventually("the turn is free again", async || {
        let answer = import(&root, "", "username,email\nbob,bob@example.com\n").await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.body["summary"]["created"], 1);
    assert_eq!(app.count("users", doc! { "username": "ada" }).await, 0);
}
