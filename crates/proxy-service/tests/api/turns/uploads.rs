//! Files that are sent by themselves, to be used by a later message.

use bson::{Document, doc};
use serde_json::{Value, json};

use super::support::{
    TestApp, User, eventually,
    files::{form, png, upload},
    names,
};

const UPLOAD: &str = "/api/v1/chat/upload";
const FILES: &str = "/api/v1/chat/files";

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_used_by_a_later_message() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let session_id = alice.chat(&json!({})).await[0]["data"]
        .as_str()
        .unwrap()
        .to_owned();
    let sent = alice
        .send_file("照片.png", "image/png", &png(), &session_id)
        .await
        .expect(200)
        .body;
    let file_id = sent["file_id"].clone();
    assert!(sent["message"].is_string());
    let listed = alice.client.get(&format!("{FILES}/session/{session_id}")).await;
    assert_eq!(listed.body["files"][0]["file_id"], file_id);

    let stored = json!({ "type": "stored-file", "data": file_id });
    for turn in 0..2 {
        let events = alice
            .chat(&json!({ "sessionId": session_id, "uploads": [stored] }))
            .await;
        assert_eq!(names(&events)[..2], ["files_uploaded", "session_id"]);
        let used = &events[0]["data"]["files"][0]["file_id"];
        assert_eq!(
            *used == file_id,
            turn == 0,
            "a later message has a file of its own"
        );
        let asked = app.flowise.predictions();
        assert_eq!(
            asked.last().unwrap()["uploads"],
            json!([upload("照片.png", "image/png", &png())])
        );
    }
    assert_eq!(app.stored().await, [2, 1, 1, 1]);
    let history = alice
        .client
        .get(&format!("/api/v1/chat/sessions/{session_id}/history"))
        .await;
    assert_eq!(history.body["history"][2]["file_ids"], json!([file_id]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_any_size_up_to_the_limit_arrives_as_it_was_sent() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for size in [0, 1, 261_119, 261_120, 261_121, 10 << 20] {
        let bytes = vec![b'x'; size];
        let sent = alice
            .send_file("a.txt", "text/plain", &bytes, "")
            .await
            .expect(200);
        assert_eq!(sent.body["size"], size);
        let path = format!("{FILES}/{}", sent.body["file_id"].as_str().unwrap());
        assert_eq!(alice.read(&path, &[]).await.bytes().await.unwrap(), bytes);
        alice.client.delete(&path).await.expect(200);
    }
    let bytes = vec![b'x'; (10 << 20) + 1];
    alice
        .send_file("a.txt", "text/plain", &bytes, "")
        .await
        .expect_problem(413, "file_too_large");
    assert_eq!(app.stored().await, [0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_form_is_refused_and_leaves_nothing() {
    let app = TestApp::spawn().await;
    let (alice, mallory) = (app.user("alice").await, app.user("mallory").await);
    let session_id = alice.chat(&json!({})).await[0]["data"]
        .as_str()
        .unwrap()
        .to_owned();
    let refused = async |user: &User, body: &str, status: u16, code: &str| {
        let body = body.replace('\n', "\r\n").into_bytes();
        user.send_form("multipart/form-data; boundary=XX", body)
            .await
            .expect_problem(status, code)
    };
    let file = "--XX\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\n\nhello\n";
    let session = format!("--XX\nContent-Disposition: form-data; name=\"session_id\"\n\n{session_id}\n");
    refused(&alice, &format!("{session}--XX--\n"), 422, "validation_failed").await;
    refused(&alice, file, 400, "malformed_multipart").await;
    refused(&alice, "nonsense", 400, "malformed_multipart").await;
    refused(
        &mallory,
        &format!("{session}{file}--XX--\n"),
        404,
        "session_not_found",
    )
    .await;
    refused(
        &mallory,
        &format!("{file}{session}--XX--\n"),
        404,
        "session_not_found",
    )
    .await;
    let long = format!(
        "{file}--XX\nContent-Disposition: form-data; name=\"x\"\n\n{}\n--XX--\n",
        "y".repeat(999)
    );
    refused(&alice, &long, 400, "malformed_multipart").await;
    let (_, body) = form("a.exe", "image/png", b"MZ\x90\0\x03\0", "");
    alice
        .send_form("multipart/form-data; boundary=XX", body)
        .await
        .expect_problem(415, "file_type_refused");
    alice
        .client
        .post(UPLOAD, &json!({}))
        .await
        .expect_problem(415, "unsupported_media_type");
    assert_eq!(app.stored().await, [0, 0, 0, 0]);

    // The session may also stand behind the file.
    let body = format!("{file}{session}--XX--\n")
        .replace('\n', "\r\n")
        .into_bytes();
    alice
        .send_form("multipart/form-data; boundary=XX", body)
        .await
        .expect(200);
    assert_eq!(
        app.only("file_uploads").await.get_str("session_id").unwrap(),
        session_id
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_any_kind_are_kept_as_names() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (sent, kept) in [
        ("../../etc/passwd", "passwd"),
        ("C:\\\\x\\\\report.txt", "report.txt"),
        ("exe\u{202e}txt.md", "exetxt.md"),
        ("CON", "CON"),
        ("生物.txt", "生物.txt"),
    ] {
        let body = alice
            .send_file(sent, "text/plain", b"x", "")
            .await
            .expect(200)
            .body;
        assert_eq!(body["name"], kept);
        let id = body["file_id"].as_str().unwrap();
        assert!(uuid::Uuid::parse_str(id).is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_at_once_never_pass_a_limit_together() {
    let app = TestApp::spawn_with(|config| config.file_limits.bytes_max = 1_000).await;
    let alice = app.user("alice").await;
    let uploads = (0..8_u8).map(|n| {
        let (alice, bytes) = (alice.clone(), vec![b'a' + n; 400]);
        async move {
            alice
                .send_file("a.txt", "text/plain", &bytes, "")
                .await
                .status
                .as_u16()
        }
    });
    let statuses = futures_util::future::join_all(uploads).await;
    let taken = statuses.iter().filter(|status| **status == 200).count();
    assert!(taken <= 2, "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [200, 413].contains(status)),
        "{statuses:?}"
    );
    let taken = u64::try_from(taken).unwrap();
    assert_eq!(app.stored().await, [taken; 4]);
}

/// Equal files that come and go at the same time: no file is ever without its bytes, and in the end nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn equal_files_may_come_and_go_at_once() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let work = (0..8).map(|_| {
        let alice = alice.clone();
        async move {
            for _ in 0..5 {
                let sent = alice
                    .send_file("a.txt", "text/plain", b"the same", "")
                    .await
                    .expect(200);
                let path = format!("{FILES}/{}", sent.body["file_id"].as_str().unwrap());
                assert_eq!(
                    alice.read(&path, &[]).await.bytes().await.unwrap(),
                    &b"the same"[..]
                );
                alice.client.delete(&path).await.expect(200);
            }
        }
    });
    futures_util::future::join_all(work).await;
    assert_eq!(app.stored().await, [0, 0, 0, 0]);
}

/// What processes leave behind that die in the middle of something.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_half_done_is_tidied_up() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let kept = alice
        .send_file("a.txt", "text/plain", b"kept", "")
        .await
        .expect(200)
        .body;
    let files = app.mongo.database.collection::<Document>("file_uploads");
    let hours = |hours: i64| {
        bson::DateTime::from_millis(bson::DateTime::now().timestamp_millis() - hours * 3_600_000)
    };
    let mut ids = Vec::new();
    for (text, change) in [
        (
            "never finished",
            doc! { "stage": "pending", "staged_at": hours(1) },
        ),
        (
            "never removed",
            doc! { "stage": "deleting", "staged_at": hours(1) },
        ),
        ("never used", doc! { "uploaded_at": hours(25) }),
        (
            "without its question",
            doc! { "message_id": bson::oid::ObjectId::new().to_hex(), "uploaded_at": hours(2) },
        ),
    ] {
        let sent = alice
            .send_file("a.txt", "text/plain", text.as_bytes(), "")
            .await
            .expect(200)
            .body;
        let id = sent["file_id"].as_str().unwrap().to_owned();
        files
            .update_one(doc! { "file_id": &id }, doc! { "$set": change })
            .await
            .unwrap();
        ids.push(id);
    }
    let leases = app.mongo.database.collection::<Document>("leases");
    leases.drop().await.unwrap();
    let replica = super::support::Replica::start(app.config.clone()).await;
    // Whoever deletes is left alone with it for a minute; only then others go on with it.
    eventually("unfinished files are given up", async || {
        let doomed = doc! { "stage": "deleting", "file_id": { "$in": &ids } };
        files.count_documents(doomed).await.unwrap() + 1 >= 4
            && files.count_documents(doc! { "file_id": &ids[1] }).await.unwrap() == 0
    })
    .await;
    drop(replica);
    files
        .update_many(
            doc! { "stage": "deleting" },
            doc! { "$set": { "staged_at": hours(1) } },
        )
        .await
        .unwrap();
    leases.drop().await.unwrap();
    let _replica = super::support::Replica::start(app.config.clone()).await;
    eventually("their bytes are removed", async || {
        app.stored().await == [1, 1, 1, 1]
    })
    .await;
    let path = format!("{FILES}/{}", kept["file_id"].as_str().unwrap());
    assert_eq!(alice.read(&path, &[]).await.bytes().await.unwrap(), &b"kept"[..]);
    assert_ne!(kept["file_id"], Value::Null);
}
