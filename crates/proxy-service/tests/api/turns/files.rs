//! Files in chat requests: kept with the question, passed on to Flowise, read by nobody but their owner.

use bson::doc;
use common_jwt::Role;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Client, Person, TestTokens};

use super::support::{
    FLOW, STORE, TestApp, User,
    files::{png, upload},
    flowise::{begin_stream, recorded_stream, token},
    http::Step,
    names,
};
use proxy_service::CONTRACT;

const FILES: &str = "/api/v1/chat/files";

async fn history(user: &User, session_id: &str) -> Value {
    let path = format!("/api/v1/chat/sessions/{session_id}/history");
    user.client.get(&path).await.expect(200).body["history"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_to_flowise_and_stands_in_the_history() {
    let app = TestApp::spawn_with(|config| {
        config.public_base_url = Some("https://chat.school.example/".parse().unwrap());
    })
    .await;
    let alice = app.user("alice").await;
    let doubled = format!(
        "data:image/png;base64,{}",
        upload("x", "image/png", &png())["data"].as_str().unwrap()
    );
    let mut picture = upload("照片.png", "image/png", &png());
    picture["data"] = json!(doubled);
    let (session_id, file_id) = alice.chat_with(&picture).await;

    let asked = &app.flowise.predictions()[0]["uploads"];
    assert_eq!(
        *asked,
        json!([upload("照片.png", "image/png", &png())]),
        "one prefix"
    );
    let said = history(&alice, &session_id).await;
    assert_eq!(said[0]["file_ids"], json!([file_id]));
    assert_eq!(said[0]["has_files"], true);
    let base = format!("https://chat.school.example{FILES}/{file_id}");
    let shown = &said[0]["uploads"][0];
    let mut expected = json!({
        "file_id": file_id, "name": "照片.png", "mime": "image/png", "size": png().len(), "type": "file",
        "url": base, "download_url": format!("{base}?download=true"), "is_image": true,
        "thumbnail_url": format!("{base}/thumbnail"),
    });
    expected["uploaded_at"] = shown["uploaded_at"].clone();
    assert_eq!(*shown, expected);
    assert_eq!(said[1]["uploads"], json!([]));
    assert_eq!(said[1]["file_ids"], Value::Null);

    let question = app.messages().await.remove(0);
    assert!(question.get_bool("has_files").unwrap());
    for path in [
        format!("{FILES}/session/{session_id}"),
        format!("{FILES}/message/{}", said[0]["id"].as_str().unwrap()),
    ] {
        let listed = alice.client.get(&path).await.expect(200).body;
        assert_eq!(listed["files"][0]["file_id"], file_id);
        assert_eq!(listed["files"][0]["original_name"], "照片.png");
        assert_eq!(listed["files"][0]["processed"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_whole_and_in_parts() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let text: Vec<u8> = (0..600_000_u32)
        .map(|n| b'a' + u8::try_from(n % 26).unwrap())
        .collect();
    let (_, file_id) = alice.chat_with(&upload("筆記 1.txt", "text/plain", &text)).await;
    let path = format!("{FILES}/{file_id}");

    let whole = alice.read(&path, &[]).await;
    assert_eq!(whole.status(), 200);
    let headers = whole.headers().clone();
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "600000"),
        ("accept-ranges", "bytes"),
        ("cache-control", "private, max-age=3600"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        (
            "content-disposition",
            "inline; filename=\"__ 1.txt\"; filename*=UTF-8''%E7%AD%86%E8%A8%98%201.txt",
        ),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    assert!(headers["vary"].to_str().unwrap().contains("Authorization"));
    assert_eq!(whole.bytes().await.unwrap(), text);
    let download = alice.read(&format!("{path}?download=true"), &[]).await;
    let how = download.headers()["content-disposition"].to_str().unwrap();
    assert!(how.starts_with("attachment;"), "{how}");

    // Across the border of chunks, from the end, and one byte.
    for (range, from, to) in [
        ("bytes=261119-261121", 261_119, 261_122),
        ("bytes=-5", 599_995, 600_000),
        ("bytes=0-0", 0, 1),
        ("bytes=522240-", 522_240, 600_000),
        ("bytes=0-9999999", 0, 600_000),
    ] {
        let part = alice.read(&path, &[("range", range)]).await;
        assert_eq!(part.status(), 206, "{range}");
        let expected = format!("bytes {from}-{}/600000", to - 1);
        assert_eq!(part.headers()["content-range"], expected.as_str());
        assert_eq!(part.bytes().await.unwrap(), text[from..to], "{range}");
    }
    let beyond = alice.read(&path, &[("range", "bytes=600000-")]).await;
    assert_eq!(beyond.status(), 416);
    assert_eq!(beyond.headers()["content-range"], "bytes */600000");
    let problem: Value = beyond.json().await.unwrap();
    assert_eq!(problem["code"], "range_not_satisfiable");

    let tag = headers["etag"].to_str().unwrap();
    let known = alice
        .read(&path, &[("if-none-match", &format!("\"x\", W/{tag}"))])
        .await;
    assert_eq!(known.status(), 304);
    assert_eq!(known.headers()["etag"], tag);
    assert!(known.bytes().await.unwrap().is_empty());
    for (same, status) in [(tag, 206), ("\"older\"", 200)] {
        let part = alice
            .read(&path, &[("range", "bytes=0-1"), ("if-range", same)])
            .await;
        assert_eq!(part.status(), status, "{same}");
    }
    let head = alice.client.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-length"]),
        (200, &"600000".parse().unwrap())
    );
    assert!(head.bytes().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reaches_a_file() {
    let app = TestApp::spawn().await;
    let (alice, mallory) = (app.user("alice").await, app.user("mallory").await);
    let (session_id, file_id) = alice.chat_with(&upload("a.png", "image/png", &png())).await;
    let message_id = history(&alice, &session_id).await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let admin = Person::new("root", Role::Admin);
    let admin = Client::new(&app.replica.base)
        .checking(CONTRACT)
        .with_token(TestTokens::at(app.config.clock.now()).access(&admin));
    let nobody = Client::new(&app.replica.base).checking(CONTRACT);

    let file = format!("{FILES}/{file_id}");
    let random = format!("{FILES}/{}", uuid::Uuid::new_v4());
    for client in [&mallory.client, &admin] {
        for path in [&file, &random] {
            let answer = client.get(path).await.expect_problem(404, "file_not_found");
            assert_eq!(answer.body["detail"], "File not found or access denied");
            let thumbnail = format!("{path}/thumbnail");
            client.get(&thumbnail).await.expect_problem(404, "file_not_found");
            client.delete(path).await.expect_problem(404, "file_not_found");
            let head = client.request(Method::HEAD, path).send().await.unwrap();
            assert_eq!(head.status(), 404);
        }
        let of_session = format!("{FILES}/session/{session_id}");
        client
            .get(&of_session)
            .await
            .expect_problem(404, "session_not_found");
        let of_message = format!("{FILES}/message/{message_id}");
        assert_eq!(client.get(&of_message).await.expect(200).body["files"], json!([]));
        assert_eq!(client.get(FILES).await.expect(200).body["files"], 0);
    }
    for path in [
        file.clone(),
        format!("{file}/thumbnail"),
        format!("{FILES}/session/{session_id}"),
        format!("{FILES}/message/{message_id}"),
        FILES.to_owned(),
    ] {
        nobody.get(&path).await.expect_problem(401, "missing_token");
    }
    nobody.delete(&file).await.expect_problem(401, "missing_token");
    nobody
        .post("/api/v1/chat/upload", &json!({}))
        .await
        .expect_problem(401, "missing_token");
    let stolen = json!({ "uploads": [{ "type": "stored-file", "data": file_id }] });
    mallory
        .client
        .post(STORE, &User::body(&stolen))
        .await
        .expect_problem(404, "file_not_found");
    assert_eq!(alice.read(&file, &[]).await.bytes().await.unwrap(), png());
    assert_eq!(app.accounting.holds().len(), 1, "a refused turn holds nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_bytes_are_stored_once_a_person_and_go_with_the_last_file() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let picture = upload("a.png", "image/png", &png());
    let (first_session, first) = alice.chat_with(&picture).await;
    let (_, second) = alice.chat_with(&upload("b.png", "image/png", &png())).await;
    assert_ne!(first, second);
    assert_eq!(app.stored().await, [2, 1, 1, 1]);
    bob.chat_with(&picture).await;
    assert_eq!(app.stored().await, [3, 2, 2, 2], "people share nothing");

    let path = |id: &str| format!("{FILES}/{id}");
    let deleted = alice.client.delete(&path(&first)).await.expect(200).body;
    assert_eq!(
        deleted,
        json!({ "message": "File deleted successfully", "file_id": first })
    );
    alice
        .client
        .delete(&path(&first))
        .await
        .expect_problem(404, "file_not_found");
    assert_eq!(
        alice.read(&path(&second), &[]).await.bytes().await.unwrap(),
        png()
    );
    let said = history(&alice, &first_session).await;
    assert_eq!(
        (&said[0]["uploads"], &said[0]["has_files"]),
        (&json!([]), &json!(false))
    );
    alice.client.delete(&path(&second)).await.expect(200);
    assert_eq!(
        app.stored().await,
        [1, 1, 1, 1],
        "bytes and chunks are gone, and bob's are not"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_with_their_conversations() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let (first, _) = alice.chat_with(&upload("a.txt", "text/plain", b"one")).await;
    alice.chat_with(&upload("a.txt", "text/plain", b"one")).await;
    alice.chat_with(&upload("b.txt", "text/plain", b"two")).await;
    let path = format!("/api/v1/chat/sessions/{first}");
    alice.client.delete(&path).await.expect(200);
    assert_eq!(
        app.stored().await,
        [2, 2, 2, 2],
        "the same bytes belong to another file"
    );
    alice.client.delete("/api/v1/chat/history").await.expect(200);
    assert_eq!(app.stored().await, [0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_file_is_told_and_never_sent_to_flowise() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let program = upload("game.png", "image/png", b"MZ\x90\0\x03\0\0\0");
    let notes = upload("notes.csv", "text/csv", b"name,points\n");
    let events = alice.chat(&json!({ "uploads": [program, notes] })).await;
    assert_eq!(
        names(&events)[..3],
        ["files_uploaded", "file_upload_error", "session_id"]
    );
    assert_eq!(events[0]["data"]["file_count"], 1);
    assert_eq!(events[0]["data"]["files"][0]["type"], "text/csv");
    assert_eq!(
        events[1]["data"],
        json!({
            "error": "game.png: Files of this kind are not accepted.",
            "files": [{
                "name": "game.png", "code": "file_type_refused", "error": "Files of this kind are not accepted.",
            }],
        })
    );
    assert_eq!(app.flowise.predictions()[0]["uploads"], json!([notes]));
    assert_eq!(app.metric("files_received_total", "file_type_refused").await, 1);

    // Without a stream that could tell, and without anything left to ask, it is the answer.
    for (path, changes) in [
        ("/api/v1/chat/predict", json!({ "uploads": [program] })),
        (STORE, json!({ "uploads": [program], "question": " " })),
    ] {
        alice
            .client
            .post(path, &User::body(&changes))
            .await
            .expect_problem(415, "file_type_refused");
    }
    let events = alice
        .client
        .post(
            "/api/v1/chat/predict/stream",
            &User::body(&json!({ "uploads": [program] })),
        )
        .await
        .expect(200);
    assert!(
        events.text.starts_with("{\"data\":{\"error\":\"game.png")
            || events.text.contains("file_upload_error")
    );
    assert_eq!(app.flowise.predictions()[1].get("uploads"), None);
    assert_eq!(app.accounting.holds().len(), 2);
    app.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_it_is_called_is_only_downloaded() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (name, content, mime) in [
        ("page.html", &b"<html><script>alert(1)</script>"[..], "text/html"),
        (
            "photo.png",
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
            "image/svg+xml",
        ),
        ("photo.jpg", b"GIF89a\x01\0\x01\0\0\0\0;", "image/gif"),
    ] {
        let (_, file_id) = alice.chat_with(&upload(name, "image/png", content)).await;
        let shown = alice.read(&format!("{FILES}/{file_id}"), &[]).await;
        let header = |name: &str| shown.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with(mime), "{name}");
        assert!(header("content-disposition").starts_with("attachment;"), "{name}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("content-security-policy"), "default-src 'none'; sandbox");
    }
    let asked = app.flowise.predictions();
    assert_eq!(
        asked[2]["uploads"][0]["name"], "photo.jpg.gif",
        "Flowise compares ending and type"
    );
    assert_eq!(asked[2]["uploads"][0]["mime"], "image/gif");
}

#[tokio::test(flavor = "multi_thread")]
async fn thumbnails_fit_and_are_remembered_by_browsers() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let (_, file_id) = alice.chat_with(&upload("a.png", "image/png", &png())).await;
    let path = format!("{FILES}/{file_id}/thumbnail");
    let shown = alice.read(&format!("{path}?size=2"), &[]).await;
    assert_eq!(shown.status(), 200);
    assert_eq!(shown.headers()["content-type"], "image/jpeg");
    assert_eq!(shown.headers()["cache-control"], "private, max-age=3600");
    assert_eq!(
        shown.headers()["content-disposition"],
        "inline; filename=\"thumb_a.png\""
    );
    let tag = shown.headers()["etag"].to_str().unwrap().to_owned();
    assert!(shown.bytes().await.unwrap().starts_with(b"\xFF\xD8\xFF"));
    let known = alice
        .read(&format!("{path}?size=2"), &[("if-none-match", &tag)])
        .await;
    assert_eq!(known.status(), 304);
    assert_eq!(
        alice.read(&path, &[("if-none-match", &tag)]).await.status(),
        200,
        "another size"
    );
    for size in ["0", "1025", "-1", "x"] {
        let answer = alice.client.get(&format!("{path}?size={size}")).await;
        answer.expect_problem(422, "validation_failed");
    }
    // A picture that cannot be decoded is shown as it is.
    let broken = b"\x89PNG\r\n\x1A\nbroken";
    let (_, broken_id) = alice.chat_with(&upload("b.png", "image/png", broken)).await;
    let shown = alice.read(&format!("{FILES}/{broken_id}/thumbnail"), &[]).await;
    assert_eq!(shown.headers()["content-type"], "image/png");
    assert_eq!(shown.bytes().await.unwrap(), &broken[..]);
    let (_, text_id) = alice.chat_with(&upload("c.txt", "text/plain", b"text")).await;
    alice
        .client
        .get(&format!("{FILES}/{text_id}/thumbnail"))
        .await
        .expect_problem(400, "not_an_image");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_storage_takes_no_more_and_says_so() {
    let app = TestApp::spawn_with(|config| config.file_limits.files_max = 2).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let file = |n: u8| upload(&format!("{n}.txt"), "text/plain", &[b'a' + n]);
    let events = alice
        .chat(&json!({ "uploads": [file(0), file(1), file(2)] }))
        .await;
    assert_eq!(events[0]["data"]["file_count"], 2);
    assert_eq!(events[1]["data"]["files"][0]["code"], "file_quota_exceeded");
    assert_eq!(
        app.flowise.predictions()[0]["uploads"].as_array().unwrap().len(),
        2
    );
    alice
        .send_file("x.txt", "text/plain", b"more", "")
        .await
        .expect_problem(413, "file_quota_exceeded");
    assert_eq!(
        app.stored().await,
        [2, 2, 2, 2],
        "nothing is left of what was refused"
    );
    bob.chat_with(&file(0)).await;
    let usage = alice.client.get(FILES).await.expect(200).body;
    assert_eq!(
        usage,
        json!({
            "files": 2, "bytes": 2, "files_max": 2, "bytes_max": 104_857_600, "file_bytes_max": 10_485_760,
        })
    );
    let id = events[0]["data"]["files"][0]["file_id"].as_str().unwrap();
    alice.client.delete(&format!("{FILES}/{id}")).await.expect(200);
    alice.chat_with(&file(3)).await;
}

/// What an older service stored: its ids are those of the bytes, and equal files share one.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_older_deployments_are_read_and_deleted() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let database = &app.mongo.database;
    let blob = bson::oid::ObjectId::new();
    let now = bson::DateTime::now();
    let file =
        doc! { "_id": blob, "length": 3_i64, "chunkSize": 261_120, "uploadDate": now, "filename": "舊.txt" };
    database.collection("fs.files").insert_one(file).await.unwrap();
    let data = bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic,
        bytes: b"old".to_vec(),
    };
    let chunk = doc! { "files_id": blob, "n": 0, "data": data };
    database.collection("fs.chunks").insert_one(chunk).await.unwrap();
    let sessions = [uuid::Uuid::new_v4().to_string(), uuid::Uuid::new_v4().to_string()];
    for session_id in &sessions {
        let message = bson::oid::ObjectId::new();
        let session = doc! {
            "session_id": session_id, "user_id": &alice.person.id, "chatflow_id": FLOW, "topic": "old",
            "created_at": now, "last_activity_at": bson::Bson::Null,
        };
        database
            .collection("chat_sessions")
            .insert_one(session)
            .await
            .unwrap();
        let question = doc! {
            "_id": message, "session_id": session_id, "user_id": &alice.person.id, "chatflow_id": FLOW, "role": "user",
            "content": "see", "file_ids": [blob.to_hex()], "has_files": true, "created_at": now,
        };
        database
            .collection("chat_messages")
            .insert_one(question)
            .await
            .unwrap();
        let row = doc! {
            "file_id": blob.to_hex(), "original_name": "舊.txt", "mime_type": "text/plain", "message_id": message.to_hex(),
            "session_id": session_id, "user_id": &alice.person.id, "chatflow_id": FLOW, "file_size": 3,
            "upload_type": "file", "file_hash": "abc", "processed": true, "uploaded_at": now,
            "metadata": { "deduplicated": true },
        };
        database.collection("file_uploads").insert_one(row).await.unwrap();
    }
    assert_eq!(
        history(&alice, &sessions[0]).await[0]["uploads"][0]["name"],
        "舊.txt"
    );
    let path = format!("{FILES}/{}", blob.to_hex());
    let shown = alice.read(&path, &[]).await;
    assert_eq!(
        (shown.status().as_u16(), shown.bytes().await.unwrap().as_ref()),
        (200, &b"old"[..])
    );
    let session = format!("/api/v1/chat/sessions/{}", sessions[0]);
    alice.client.delete(&session).await.expect(200);
    assert_eq!(
        alice.read(&path, &[]).await.status(),
        200,
        "the other conversation has it too"
    );
    alice.client.delete(&path).await.expect(200);
    assert_eq!(app.stored().await, [0, 0, 0, 0]);
}

/// A failed answer leaves no files that nobody can see or delete.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_an_answer_that_failed_stay_with_their_question() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for steps in [
        recorded_stream("model-fail401-chat-stream"),
        [begin_stream(&[token("half of it")]), vec![Step::Close]].concat(),
    ] {
        app.flowise.answer(steps);
        let (session_id, file_id) = alice.chat_with(&upload("a.png", "image/png", &png())).await;
        app.is_quiet().await;

        let said = history(&alice, &session_id).await;
        assert_eq!(said[0]["file_ids"], json!([file_id]));
        let files = app.mongo.database.collection::<bson::Document>("file_uploads");
        let row = files
            .find_one(doc! { "file_id": &file_id })
            .await
            .unwrap()
            .unwrap();
        assert_eq!(said[0]["id"], row.get_str("message_id").unwrap());
        assert_eq!(alice.read(&format!("{FILES}/{file_id}"), &[]).await.status(), 200);
        let session = format!("/api/v1/chat/sessions/{session_id}");
        alice.client.delete(&session).await.expect(200);
        assert_eq!(app.stored().await, [0, 0, 0, 0]);
    }
}
