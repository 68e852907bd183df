//! The platform's web client runs against us as it is: its calls, in its order, read as it reads them.

mod browser;

use std::time::Duration;

use common_http::Clock;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{
    flowise::{Behaviour, Ending, Refusal, Rule, chatflow},
    platform::{ADMIN, PASSWORD, Platform, Wishes},
};
use test_support::Client;

use self::browser::{API, Browser, PAGE, Shown};

/// One red pixel, as the page puts it into a message.
const PICTURE: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";

async fn platform(clock: Clock) -> Platform {
    let variables = [
        ("CORS_ORIGIN", PAGE),
        ("PUBLIC_BASE_URL", API),
        ("FLOWISE_HEADER_TIMEOUT_SECS", "1"),
        ("FLOWISE_IDLE_TIMEOUT_SECS", "1"),
        // What one story does to Flowise in a minute would be enough to leave it alone.
        ("UPSTREAM_BREAKER_FAILURES", "1000"),
    ];
    let proxy_variables = variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    Platform::start_as(Wishes {
        proxy_variables,
        clock,
        ..Wishes::default()
    })
    .await
}

fn ids(list: &Value, member: &str) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    items
        .map(|item| item[member].as_str().unwrap().to_owned())
        .collect()
}

#[actix_web::test]
async fn somebody_signs_in_chats_with_a_picture_comes_back_and_signs_out() {
    let platform = platform(Clock::System).await;
    platform.chatter("mei", 10).await;
    let page = Browser::open(&platform);

    let refused = page.sign_in("mei", "not it").await.unwrap_err();
    assert_eq!(refused, "Invalid credentials", "it stands under the form");
    page.sign_in("mei", PASSWORD).await.unwrap();
    assert_eq!(page.kept().user["role"], "enduser");
    let me = page.get("/api/v1/chat/get_current_user").await.expect(200);
    assert_eq!(me.body["username"], "mei");
    let credits = page.get("/api/v1/chat/credits").await.expect(200);
    assert_eq!(
        (&credits.body["credits"], &credits.body["totalCredits"]),
        (&json!(10), &json!(10))
    );

    // The chat page asks for both at once.
    let (courses, sessions) = tokio::join!(
        page.get("/api/v1/chatflows/my-chatflows"),
        page.get("/api/v1/chat/sessions")
    );
    let courses = courses.expect(200).body;
    assert_eq!(ids(&courses, "id"), [platform.chatflow_id.as_str()]);
    assert!(courses[0]["name"].is_string());
    assert_eq!(sessions.expect(200).body["sessions"], json!([]));

    let picture = json!([{ "data": PICTURE, "type": "file", "name": "照片.png", "mime": "image/png" }]);
    let shown = page
        .ask(&platform.chatflow_id, "", "what is this?", Some(picture))
        .await
        .unwrap();
    assert_eq!(shown.text, "Mock reply to: what is this?");
    assert!(!shown.is_streaming);
    let session = shown.session.expect("a new conversation has an id");

    let sessions = page.get("/api/v1/chat/sessions").await.expect(200).body["sessions"].clone();
    assert_eq!(ids(&sessions, "session_id"), [session.as_str()]);
    assert_eq!(
        (&sessions[0]["topic"], &sessions[0]["chatflow_id"]),
        (&json!("what is this?"), &json!(platform.chatflow_id))
    );
    assert!(
        sessions[0]["created_at"].as_str().unwrap().ends_with('Z'),
        "browsers take other times for local ones"
    );
    let history = page.history(&session).await;
    let [(asker, question, uploads), (_, answer, none)] = &history[..] else {
        panic!("{history:?}")
    };
    assert_eq!((asker.as_str(), question.as_str()), ("user", "what is this?"));
    assert_eq!((answer.as_str(), none.len()), ("Mock reply to: what is this?", 0));
    let upload = &uploads[0];
    assert_eq!(
        (
            &upload["name"],
            &upload["mime"],
            &upload["type"],
            &upload["is_image"]
        ),
        (
            &json!("照片.png"),
            &json!("image/png"),
            &json!("file"),
            &json!(true)
        )
    );
    assert!(upload["file_id"].is_string() && upload["size"].as_u64().unwrap() > 0);
    // Each picture is fetched twice, once more when it is opened, and a file under its other address.
    for url in ["url", "url", "url", "download_url", "thumbnail_url"] {
        let fetched = page.fetch(&upload[url]).await;
        assert_eq!(fetched.status(), 200, "{url}");
        assert!(
            fetched.headers()["cache-control"]
                .to_str()
                .unwrap()
                .starts_with("private, max-age=")
        );
        assert!(
            fetched.headers().contains_key("etag"),
            "the second time nothing has to be sent"
        );
        assert!(!fetched.bytes().await.unwrap().is_empty());
    }
    let path = format!("/api/v1/chat/files/{}", upload["file_id"].as_str().unwrap());
    let nobody = Client::new(platform.proxy.url());
    let asked = nobody.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(asked.status(), 401, "this one call has no token");

    let shown = page
        .ask(&platform.chatflow_id, &session, "and now?", None)
        .await
        .unwrap();
    assert!(!shown.is_streaming && shown.text.contains("and now?"));
    assert_eq!(shown.session.as_deref(), Some(session.as_str()));
    assert_eq!(page.history(&session).await.len(), 4);
    assert_eq!(page.get("/api/v1/chat/credits").await.body["credits"], 8);

    let left = page.kept();
    page.sign_out().await;
    page.call(Method::GET, "/api/v1/chat/sessions", None)
        .await
        .expect(401);
    let again = json!({ "refresh_token": left.refresh_token });
    page.call(Method::POST, "/api/v1/chat/refresh", Some(&again))
        .await
        .expect(401);
}

/// The page also knows how to send a file by itself, though no button of it does; another client may.
#[actix_web::test]
async fn a_file_is_sent_by_itself_and_used_by_the_next_message() {
    let platform = platform(Clock::System).await;
    let mei = platform.chatter("mei", 10).await;
    let page = Browser::open(&platform);
    page.sign_in("mei", PASSWORD).await.unwrap();
    let form = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n\
                notes\r\n--XX\r\nContent-Disposition: form-data; name=\"session_id\"\r\n\r\n\r\n--XX--\r\n";
    let request = mei
        .proxy
        .request(Method::POST, "/api/v1/chat/upload")
        .header("content-type", "multipart/form-data; boundary=XX")
        .header("origin", PAGE);

    let sent = mei.proxy.send(request.body(form)).await.expect(200);

    assert_eq!(sent.headers["access-control-allow-origin"], PAGE);
    assert!(sent.body["message"].is_string());
    let stored = json!([{ "data": sent.body["file_id"], "type": "stored-file", "name": "a.txt", "mime": "text/plain" }]);
    let shown = page
        .ask(&platform.chatflow_id, "", "read it", Some(stored))
        .await
        .unwrap();
    let history = page.history(&shown.session.unwrap()).await;
    assert_eq!(history[0].2[0]["file_id"], sent.body["file_id"]);
}

#[actix_web::test]
async fn calls_that_find_the_token_expired_refresh_side_by_side_and_nobody_is_signed_out() {
    let clock = Clock::manual(Clock::System.now());
    let platform = platform(clock.clone()).await;
    platform.chatter("mei", 10).await;
    let page = Browser::open(&platform);
    page.sign_in("mei", PASSWORD).await.unwrap();
    let first = page.kept();

    clock.advance(chrono::Duration::minutes(16));
    let (courses, sessions, credits) = tokio::join!(
        page.get("/api/v1/chatflows/my-chatflows"),
        page.get("/api/v1/chat/sessions"),
        page.get("/api/v1/chat/credits"),
    );
    for answer in [&courses, &sessions, &credits] {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let second = page.kept();
    assert_ne!(second.refresh_token, first.refresh_token);
    assert_eq!(second.user["role"], "enduser", "the menu stays what it was");
    assert_eq!(second.user["id"], first.user["id"]);

    clock.advance(chrono::Duration::minutes(16));
    let shown = page
        .ask(&platform.chatflow_id, "", "still there?", None)
        .await
        .unwrap();
    assert!(!shown.is_streaming && shown.text.contains("still there?"));
    assert_eq!(
        page.get("/api/v1/chat/credits").await.body["credits"],
        9,
        "the refused call was free"
    );
    assert_eq!(platform.flowise.predictions().len(), 1);
}

#[actix_web::test]
async fn an_admin_works_through_the_page_and_nobody_else_does() {
    let platform = platform(Clock::System).await;
    platform.chatter("mei", 10).await;
    let page = Browser::open(&platform);
    page.sign_in("mei", PASSWORD).await.unwrap();
    let refused = page.get("/api/v1/admin/chatflows").await.expect(403);
    assert!(refused.body["message"].is_string());
    page.sign_in(ADMIN.0, ADMIN.2).await.unwrap();
    assert_eq!(page.kept().user["role"], "admin");

    let (list, stats) = tokio::join!(
        page.get("/api/v1/admin/chatflows"),
        page.get("/api/v1/admin/chatflows/stats")
    );
    let list = list.expect(200).body;
    assert!(list.as_array().unwrap().len() > 3);
    for row in list.as_array().unwrap() {
        for member in ["flowise_id", "name", "sync_status", "type"] {
            assert!(row[member].is_string(), "{member}: {row}");
        }
        assert!(row["deployed"].is_boolean() && row["is_public"].is_boolean());
        assert_eq!(
            row["flow_data"],
            Value::Null,
            "the graphs of all chatflows are megabytes"
        );
    }
    assert!(stats.expect(200).body.is_object());
    let one = format!("/api/v1/admin/chatflows/{}", chatflow::TOOL);
    assert_eq!(
        page.get(&one).await.expect(200).body["flowise_id"],
        chatflow::TOOL
    );

    let class: Vec<String> = (0..8)
        .map(|number| format!("pupil{number}@example.com"))
        .collect();
    let admin = platform.admin().await;
    for email in &class {
        let name = email.split('@').next().unwrap();
        let user =
            json!({ "username": name, "email": email, "password": PASSWORD, "skipVerification": true });
        admin.auth.post("/api/admin/users", &user).await.expect(201);
    }
    let users = format!("{one}/users");
    // "Assign all" is a call for each address, all at once, and after each the list again. Impatient people press twice.
    let assign = |email: String| {
        let (page, users) = (&page, &users);
        async move {
            page.insist(Method::POST, users, Some(&json!({ "email": email })))
                .await
                .expect(200);
            page.get(users).await.expect(200)
        }
    };
    join_all(class.iter().chain(&class).cloned().map(assign)).await;
    let listed = page.get(&users).await.expect(200).body;
    let mut emails = ids(&listed, "email");
    emails.sort_unstable();
    assert_eq!(emails, class, "each once");
    for person in listed.as_array().unwrap() {
        assert!(person["external_user_id"].is_string() && person["username"].is_string());
        assert!(person["assigned_at"].is_string());
    }
    let removed = json!({ "email": class[0] });
    page.insist(Method::DELETE, &users, Some(&removed))
        .await
        .expect(200);
    assert_eq!(
        page.get(&users).await.body.as_array().unwrap().len(),
        7,
        "the button works"
    );
    let bulk = json!({ "emails": class });
    let added = page
        .insist(Method::POST, &format!("{users}/bulk-add"), Some(&bulk))
        .await
        .expect(200);
    assert_eq!(added.body["successful_assignments"].as_array().unwrap().len(), 8);
    let synced = "/api/v1/admin/users/sync-by-email";
    page.insist(Method::POST, synced, Some(&removed))
        .await
        .expect(200);
    let sync = page
        .insist(Method::POST, "/api/v1/admin/chatflows/sync", Some(&json!({})))
        .await;
    assert_eq!(sync.expect(200).body["errors"], 0);

    let pupil = Browser::open(&platform);
    pupil.sign_in("pupil0", PASSWORD).await.unwrap();
    let mine = pupil.get("/api/v1/chatflows/my-chatflows").await.expect(200);
    assert_eq!(ids(&mine.body, "id"), [chatflow::TOOL]);
}

/// The input box opens again only at `end`, and all the page shows of an error is what stands in tokens.
#[actix_web::test]
async fn whatever_goes_wrong_the_page_is_not_left_waiting() {
    let platform = platform(Clock::System).await;
    platform.chatter("mei", 10).await;
    let page = Browser::open(&platform);
    page.sign_in("mei", PASSWORD).await.unwrap();
    let refuse = |refusal| Behaviour {
        refuse: Some(refusal),
        ..Behaviour::default()
    };
    let ending = |ending| Behaviour {
        ending: Some((2, ending)),
        ..Behaviour::default()
    };
    for (behaviour, costs) in [
        (refuse(Refusal::Error("model is gone".to_owned())), 0),
        (refuse(Refusal::WebPage), 0),
        (refuse(Refusal::Close), 0),
        (
            Behaviour {
                hang_before_head: true,
                ..Behaviour::default()
            },
            0,
        ),
        (
            Behaviour {
                answers_json: true,
                ..Behaviour::default()
            },
            1,
        ),
        (
            Behaviour {
                reply: Some("{\"} \\\" 你好 }{".to_owned()),
                ..Behaviour::default()
            },
            1,
        ),
        (ending(Ending::Error("inside".to_owned())), 1),
        (ending(Ending::Cut), 1),
        (ending(Ending::Stop), 1),
        (ending(Ending::Hang), 1),
    ] {
        let before = credits(&page).await;
        platform.flowise.tell(Rule::once(behaviour.clone()));
        let asked = page.ask(&platform.chatflow_id, "", "hello world", None);
        let Shown {
            text,
            is_streaming,
            session,
        } = tokio::time::timeout(Duration::from_secs(30), asked)
            .await
            .expect("the stream closes")
            .unwrap();
        assert!(!is_streaming, "{behaviour:?}");
        assert!(!text.trim().is_empty() && session.is_some(), "{behaviour:?}");
        assert!(!text.contains("127.0.0.1") && !text.contains("inside"), "{text}");
        assert_eq!(before - credits(&page).await, costs, "{behaviour:?}");
    }

    while credits(&page).await > 0 {
        page.ask(&platform.chatflow_id, "", "again", None).await.unwrap();
    }
    assert_eq!(
        page.ask(&platform.chatflow_id, "", "once more", None)
            .await
            .unwrap_err(),
        402
    );
    assert_eq!(
        page.ask(chatflow::TOOL, "", "not mine", None).await.unwrap_err(),
        403
    );
}

async fn credits(page: &Browser) -> i64 {
    page.get("/api/v1/chat/credits").await.expect(200).body["credits"]
        .as_i64()
        .unwrap()
}
