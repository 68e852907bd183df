//! Conversations made, named, listed in pages, searched and taken away.

use bson::doc;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    FLOW, TestApp, User,
    files::{png, upload},
    flowise::{begin_stream, end_stream, token},
};
use proxy_service::CONTRACT;
use test_support::Client;

const SESSIONS: &str = "/api/v1/chat/sessions";
const SEARCH: &str = "/api/v1/chat/history/search";
const EXPORT: &str = "/api/v1/chat/history/export";

async fn asks(user: &User, question: &str) -> String {
    let events = user.chat(&json!({ "question": question })).await;
    events[0]["data"].as_str().unwrap().to_owned()
}

fn topics(body: &Value) -> Vec<&str> {
    let sessions = body["sessions"].as_array().unwrap();
    sessions
        .iter()
        .map(|session| session["topic"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_may_be_made_before_anything_is_said() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let made = alice
        .client
        .post(SESSIONS, &json!({ "chatflow_id": FLOW }))
        .await
        .expect(201)
        .body;
    let session_id = made["session_id"].as_str().unwrap();
    assert_eq!(
        (&made["chatflow_id"], &made["user_id"], &made["topic"]),
        (&json!(FLOW), &json!(alice.person.id), &Value::Null)
    );
    let events = alice
        .chat(&json!({ "sessionId": session_id, "question": "first words" }))
        .await;
    assert_eq!(events[0]["data"], session_id);
    alice
        .chat(&json!({ "sessionId": session_id, "question": "second words" }))
        .await;
    let listed = alice.client.get(SESSIONS).await.expect(200).body;
    assert_eq!(listed["sessions"][0]["topic"], "first words");
    assert_eq!(listed["sessions"][0]["first_message"], "first words");

    let named = json!({ "chatflow_id": FLOW, "topic": " Biology " });
    let made = alice.client.post(SESSIONS, &named).await.expect(201).body;
    alice
        .chat(&json!({ "sessionId": made["session_id"], "question": "hi" }))
        .await;
    let listed = alice.client.get(SESSIONS).await.expect(200).body;
    assert_eq!(listed["sessions"][0]["topic"], "Biology", "a name is kept");

    let stranger = app.stranger("mallory");
    for (user, body, status, code) in [
        (
            &stranger,
            json!({ "chatflow_id": FLOW }),
            403,
            "chatflow_access_denied",
        ),
        (
            &alice,
            json!({ "chatflow_id": "x" }),
            403,
            "chatflow_access_denied",
        ),
        (&alice, json!({}), 422, "validation_failed"),
        (
            &alice,
            json!({ "chatflow_id": FLOW, "topic": "" }),
            422,
            "validation_failed",
        ),
        (
            &alice,
            json!({ "chatflow_id": FLOW, "topic": "a\nb" }),
            422,
            "validation_failed",
        ),
    ] {
        user.client
            .post(SESSIONS, &body)
            .await
            .expect_problem(status, code);
    }
    assert_eq!(app.count("chat_sessions").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_renamed_by_whose_it_is() {
    let app = TestApp::spawn().await;
    let (alice, mallory) = (app.user("alice").await, app.user("mallory").await);
    let path = format!("{SESSIONS}/{}", asks(&alice, "hello").await);
    let rename = async |user: &User, body: &Value| {
        let request = user.client.request(Method::PATCH, &path).json(body);
        user.client.send(request).await
    };
    let renamed = rename(&alice, &json!({ "topic": "我的生物課" }))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&renamed["topic"], &renamed["first_message"]),
        (&json!("我的生物課"), &json!("hello"))
    );
    rename(&mallory, &json!({ "topic": "mine" }))
        .await
        .expect_problem(404, "session_not_found");
    for bad in [
        json!({}),
        json!({ "topic": "" }),
        json!({ "topic": "x".repeat(201) }),
        json!({ "topic": { "$ne": 1 } }),
    ] {
        rename(&alice, &bad)
            .await
            .expect_problem(422, "validation_failed");
    }
    let nobody = Client::new(&app.replica.base).checking(CONTRACT);
    nobody
        .send(
            nobody
                .request(Method::PATCH, &path)
                .json(&json!({ "topic": "x" })),
        )
        .await
        .expect_problem(401, "missing_token");
    assert_eq!(topics(&alice.client.get(SESSIONS).await.body), ["我的生物課"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_messages_come_in_pages() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut session_id = String::new();
    for n in 0..5 {
        session_id = asks(&alice, &format!("question {n} of (a+b)*")).await;
    }
    asks(&app.user("bob").await, "question of bob").await;
    let whole = alice.client.get(SESSIONS).await.expect(200).body;
    assert_eq!(
        whole.as_object().unwrap().len(),
        2,
        "the documented shape: {whole}"
    );

    let (mut seen, mut path) = (Vec::new(), format!("{SESSIONS}?limit=2"));
    loop {
        let page = alice.client.get(&path).await.expect(200).body;
        seen.extend(topics(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        assert_eq!(page["count"], 2);
        path = format!("{SESSIONS}?limit=2&cursor={next}");
    }
    assert_eq!(seen, topics(&whole));

    for (query, count) in [
        ("q=QUESTION%203", 1),
        ("q=(a%2Bb)*", 5),
        ("q=.*", 0),
        (&*format!("chatflow_id={FLOW}"), 5),
        ("chatflow_id=other", 0),
    ] {
        let found = alice
            .client
            .get(&format!("{SESSIONS}?{query}"))
            .await
            .expect(200)
            .body;
        assert_eq!(found["count"], count, "{query}");
        assert_eq!(found["next_cursor"], Value::Null);
    }
    let history = format!("{SESSIONS}/{session_id}/history");
    let first = alice
        .client
        .get(&format!("{history}?limit=1"))
        .await
        .expect(200)
        .body;
    assert_eq!(first["history"][0]["role"], "user");
    let next = first["next_cursor"].as_str().unwrap();
    let second = alice
        .client
        .get(&format!("{history}?limit=1&cursor={next}"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&second["history"][0]["role"], &second["next_cursor"]),
        (&json!("assistant"), &Value::Null)
    );
    for path in [
        format!("{SESSIONS}?limit=0"),
        format!("{SESSIONS}?limit=501"),
        format!("{SESSIONS}?limit=x"),
        format!("{SESSIONS}?cursor=x"),
        format!("{SESSIONS}?q="),
        format!("{history}?cursor=1-2"),
        format!("{SEARCH}?q={}", "x".repeat(201)),
        SEARCH.to_owned(),
    ] {
        alice
            .client
            .get(&path)
            .await
            .expect_problem(422, "validation_failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_history_is_searched() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let answer = [
        begin_stream(&[token("粒線體把糖變成"), token("能量。")]),
        end_stream(),
    ]
    .concat();
    app.flowise.answer(answer);
    let session_id = asks(&alice, "What does a Mitochondrion do?").await;
    asks(&alice, "something else").await;
    asks(&bob, "mitochondrion of bob").await;

    let search = async |q: &str| {
        let found = alice.client.get(&format!("{SEARCH}?{q}")).await.expect(200).body;
        found["results"].as_array().unwrap().clone()
    };
    let found = search("q=mitochondrion").await;
    assert_eq!(found.len(), 1, "nobody else's: {found:?}");
    assert_eq!(found[0]["session_id"], session_id);
    assert_eq!(found[0]["snippet"], "What does a Mitochondrion do?");
    let found = search("q=變成能量").await;
    assert_eq!(found.len(), 2, "across the events of an answer");
    assert_eq!(
        (&found[0]["role"], &found[0]["snippet"]),
        (&json!("assistant"), &json!("粒線體把糖變成能量。"))
    );
    assert!(
        search("q=token").await.is_empty(),
        "how an answer is stored is no part of it"
    );
    assert!(search("q=mitochondrion&chatflow_id=other").await.is_empty());

    let page = alice
        .client
        .get(&format!("{SEARCH}?q=能量&limit=1"))
        .await
        .expect(200)
        .body;
    let next = page["next_cursor"].as_str().unwrap();
    let rest = alice
        .client
        .get(&format!("{SEARCH}?q=能量&cursor={next}"))
        .await
        .expect(200)
        .body;
    assert_eq!((&rest["count"], &rest["next_cursor"]), (&json!(1), &Value::Null));
    let nobody = Client::new(&app.replica.base).checking(CONTRACT);
    for path in [
        format!("{SEARCH}?q=x"),
        EXPORT.to_owned(),
        format!("{SESSIONS}/{session_id}/export"),
    ] {
        nobody.get(&path).await.expect_problem(401, "missing_token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_taken_away_whole() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let answer = [
        begin_stream(&[token("\"quoted\"\n"), token("# 你好")]),
        end_stream(),
    ]
    .concat();
    app.flowise.answer(answer);
    let (session_id, file_id) = alice.chat_with(&upload("cell.png", "image/png", &png())).await;
    let more = (0..120_i64).map(|n| {
        let at = bson::DateTime::from_millis(bson::DateTime::now().timestamp_millis() + 1_000 + n);
        doc! {
            "session_id": &session_id, "user_id": &alice.person.id, "chatflow_id": FLOW, "role": "user",
            "content": format!("question {n}"), "created_at": at,
        }
    });
    let messages = app.mongo.database.collection("chat_messages");
    messages.insert_many(more).await.unwrap();
    asks(&alice, "another").await;
    asks(&bob, "bob's own").await;

    let all = alice.client.get(EXPORT).await.expect(200);
    assert_eq!(
        all.headers["content-disposition"],
        "attachment; filename=\"conversations.json\""
    );
    assert!(!all.text.contains("bob's own"));
    let sessions = all.body["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    let messages = sessions[0]["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 122, "more than one page");
    assert_eq!(messages[0]["files"][0]["file_id"], file_id);
    assert_eq!(messages[1]["text"], "\"quoted\"\n# 你好");
    assert_eq!(messages[121]["text"], "question 119");

    let one = format!("{SESSIONS}/{session_id}/export");
    let text = alice
        .client
        .get(&format!("{one}?format=markdown"))
        .await
        .expect(200);
    assert_eq!(text.headers["content-type"], "text/markdown; charset=utf-8");
    assert!(text.text.starts_with("# hello world\n"), "{}", &text.text[..40]);
    assert!(text.text.contains("\n- File: cell.png (image/png, "));
    assert_eq!(text.text.matches("\n## You, ").count(), 121);
    assert_eq!(
        alice.client.get(&one).await.expect(200).body["sessions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    alice
        .client
        .get(&format!("{one}?format=pdf"))
        .await
        .expect_problem(422, "validation_failed");
    bob.client
        .get(&one)
        .await
        .expect_problem(404, "session_not_found");
    let nothing = app.user("carol").await.client.get(EXPORT).await.expect(200).body;
    assert_eq!(nothing["sessions"], json!([]));
}

/// A message cannot be written into the history of somebody else, nor read or searched through a session id that two share.
#[tokio::test(flavor = "multi_thread")]
async fn rows_under_the_same_session_id_stay_apart() {
    let app = TestApp::spawn().await;
    let (alice, mallory) = (app.user("alice").await, app.user("mallory").await);
    let session_id = asks(&alice, "hello").await;
    // As the older service let anybody write.
    let injected = doc! {
        "session_id": &session_id, "user_id": &mallory.person.id, "chatflow_id": FLOW, "role": "user",
        "content": "injected", "created_at": bson::DateTime::now(),
    };
    let messages = app.mongo.database.collection("chat_messages");
    messages.insert_one(injected).await.unwrap();
    let history = alice
        .client
        .get(&format!("{SESSIONS}/{session_id}/history"))
        .await
        .expect(200);
    assert_eq!(history.body["count"], 2);
    assert!(
        !alice
            .client
            .get(EXPORT)
            .await
            .expect(200)
            .text
            .contains("injected")
    );
    alice
        .client
        .delete(&format!("{SESSIONS}/{session_id}"))
        .await
        .expect(200);
    assert_eq!(
        app.count("chat_messages").await,
        1,
        "what is somebody else's is not deleted either"
    );
}

/// What a model writes may be a whole web page. Here it is data: never markup, in no answer of ours.
#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_a_page_is_data() {
    const PAGE: &str = "</script><img src=x onerror=alert(1)><svg onload=alert(2)>";
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    app.flowise
        .answer([begin_stream(&[token(PAGE)]), end_stream()].concat());
    let session_id = asks(&alice, PAGE).await;
    for path in [
        SESSIONS.to_owned(),
        format!("{SESSIONS}/{session_id}/history"),
        format!("{SESSIONS}/{session_id}/export"),
        format!("{SEARCH}?q=onerror"),
    ] {
        let answer = alice.client.get(&path).await.expect(200);
        assert!(answer.text.contains("onerror"), "{path}");
        assert_eq!(answer.headers["content-type"], "application/json", "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
    }
    let text = alice
        .client
        .get(&format!("{SESSIONS}/{session_id}/export?format=markdown"))
        .await;
    assert_eq!(text.headers["content-type"], "text/markdown; charset=utf-8");
    assert!(
        text.headers["content-disposition"]
            .to_str()
            .unwrap()
            .starts_with("attachment")
    );
}
