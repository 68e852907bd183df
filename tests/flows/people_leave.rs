//! Somebody is deleted, or shut out: the other services hear of it, whatever is away at that moment, and forget.

use bson::{doc, oid::ObjectId};
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{
    flowise::{Behaviour, Ending, Rule},
    person::Person,
    platform::{PASSWORD, Platform, Service},
};

/// The collections of proxy-service with something about somebody, and the member that names them.
const ABOUT_SOMEBODY: [(&str, &str); 7] = [
    ("file_uploads", "user_id"),
    ("file_blobs", "user_id"),
    ("fs.files", "metadata.user_id"),
    ("chat_sessions", "user_id"),
    ("chat_messages", "user_id"),
    ("UserChatflow", "external_user_id"),
    ("users", "external_id"),
];

async fn traces_in_proxy(platform: &Platform, id: &str) -> u64 {
    let mut count = 0;
    for (collection, member) in ABOUT_SOMEBODY {
        count += platform.count_documents(collection, member, id).await;
    }
    count
}

async fn until_forgotten(platform: &Platform, person: &Person) {
    platform
        .until("the proxy has forgotten them", async || {
            traces_in_proxy(platform, &person.id).await == 0
        })
        .await;
    let named = format!(
        "SELECT count(*) AS count FROM user_accounts WHERE user_id = '{}' AND (email IS NOT NULL OR username <> user_id)",
        person.id
    );
    let left = format!(
        "SELECT coalesce(sum(remaining_credits), 0)::bigint AS count FROM credit_allocations WHERE user_id = '{}'",
        person.id
    );
    platform
        .until("accounting has forgotten them", async || {
            platform.count(&named).await == 0 && platform.count(&left).await == 0
        })
        .await;
    let verified = platform.verify_ledger().await;
    assert!(verified.is_ok(), "{verified:?}");
}

/// Uploads a small file.
async fn keep_a_file(person: &Person) {
    let form = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"notes.txt\"\r\n\r\nmine\r\n--XX--\r\n";
    let request = person
        .proxy
        .request(Method::POST, "/api/v1/chat/upload")
        .header("content-type", "multipart/form-data; boundary=XX")
        .body(form);
    person.proxy.send(request).await.expect(200);
}

async fn delete(platform: &Platform, person: &Person) {
    let path = format!("/api/admin/users/{}", person.id);
    let body = json!({});
    platform
        .as_admin(&platform.auth, Method::DELETE, &path, &body)
        .await
        .expect(200);
}

async fn edit(platform: &Platform, person: &Person, body: Value) {
    let path = format!("/api/admin/users/{}", person.id);
    platform
        .as_admin(&platform.auth, Method::PATCH, &path, &body)
        .await
        .expect(200);
}

#[actix_web::test]
async fn a_deleted_person_is_forgotten_everywhere_and_may_come_back_as_somebody_new() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 10).await;
    let bob = platform.chatter("bob", 10).await;
    alice.chat("hello world").await.expect_ended();
    bob.chat("hello world").await.expect_ended();
    keep_a_file(&alice).await;
    keep_a_file(&bob).await;
    assert!(traces_in_proxy(&platform, &alice.id).await > 6);
    assert_eq!(platform.count_documents("fs.chunks", "n", 0).await, 2);

    delete(&platform, &alice).await;

    until_forgotten(&platform, &alice).await;
    for (client, path) in [
        (&alice.auth, "/api/profile"),
        (&alice.proxy, "/api/v1/chat/sessions"),
        (&alice.accounting, "/api/credits/balance"),
    ] {
        platform
            .until("the token is good for nothing", async || {
                client.get(path).await.status == 401
            })
            .await;
    }
    assert!(traces_in_proxy(&platform, &bob.id).await > 6);
    assert_eq!(
        platform.count_documents("fs.chunks", "n", 0).await,
        1,
        "their files' bytes too"
    );
    assert_eq!(bob.balance().await, 9);
    let spent = format!(
        "SELECT count(*) AS count FROM usage_logs WHERE user_id = '{}'",
        alice.id
    );
    assert_eq!(platform.count(&spent).await, 1, "the history of the money stays");

    let again = platform.chatter("alice", 5).await;
    assert_ne!(again.id, alice.id);
    again.chat("hello world").await.expect_ended();
    assert_eq!(again.balance().await, 4);
    let by_email = json!({ "email": "alice@example.com", "credits": 3 });
    platform
        .as_admin(
            &platform.accounting,
            Method::POST,
            "/api/credits/allocate-by-email",
            &by_email,
        )
        .await
        .expect(201);
    assert_eq!(again.balance().await, 7);
    let to_the_old_id = json!({ "userId": alice.id, "credits": 3 });
    platform
        .as_admin(
            &platform.accounting,
            Method::POST,
            "/api/credits/allocate",
            &to_the_old_id,
        )
        .await
        .expect_problem(404, "user_not_found");
}

#[actix_web::test]
async fn whoever_deletes_themselves_is_forgotten_too() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 10).await;
    alice.chat("hello world").await.expect_ended();

    let request = alice.auth.request(Method::DELETE, "/api/profile");
    let request = request.json(&json!({ "password": PASSWORD }));
    alice.auth.send(request).await.expect(200);

    until_forgotten(&platform, &alice).await;
}

#[actix_web::test]
async fn a_turn_that_runs_is_paid_for_before_its_person_is_forgotten() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 10).await;
    platform.flowise.tell(Rule::once(Behaviour {
        ending: Some((2, Ending::Hang)),
        ..Behaviour::default()
    }));
    let running = alice.send("", "hello world").await;
    platform
        .flowise
        .wait_until(|counts| counts.hanging > 0)
        .await
        .expect("the turn hangs in its middle");

    delete(&platform, &alice).await;
    let credits = format!(
        "SELECT coalesce(sum(remaining_credits), 0)::bigint AS count FROM credit_allocations WHERE user_id = '{}'",
        alice.id
    );
    platform
        .until("what is not held is removed", async || {
            platform.count(&credits).await == 0
        })
        .await;
    platform
        .until("access has ended", async || {
            platform
                .count_documents("UserChatflow", "external_user_id", &alice.id)
                .await
                == 0
        })
        .await;
    assert_eq!(platform.open_holds().await, 1, "the turn goes on");
    assert!(
        platform
            .count_documents("chat_messages", "user_id", &alice.id)
            .await
            > 0
    );
    platform.flowise.release();

    let text = running.text().await.unwrap();
    assert!(text.contains("\"end\""), "{text}");
    platform.until_all_is_settled().await;
    let paid = format!(
        "SELECT captured_credits AS count FROM streaming_sessions WHERE user_id = '{}'",
        alice.id
    );
    assert_eq!(platform.count(&paid).await, 1);
    until_forgotten(&platform, &alice).await;
}

#[actix_web::test]
async fn credits_that_come_back_from_a_hold_go_as_well() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 10).await;
    platform.flowise.tell(Rule::once(Behaviour {
        hang_before_head: true,
        ..Behaviour::default()
    }));
    let running = tokio::spawn({
        let alice = alice.clone();
        async move { alice.send("", "hello world").await.text().await }
    });
    platform
        .flowise
        .wait_until(|counts| counts.hanging > 0)
        .await
        .expect("the turn waits for its first word");

    delete(&platform, &alice).await;
    let removed = format!(
        "SELECT count(*) AS count FROM credit_transactions WHERE user_id = '{}' AND kind = 'remove'",
        alice.id
    );
    platform
        .until("what is not held is removed", async || {
            platform.count(&removed).await == 1
        })
        .await;
    let hold = platform.open_hold().await;
    let void = json!({ "sessionId": hold, "userId": alice.id });
    let proxy = platform.accounting.client().with_token(
        test_support::TestTokens::at(common_http::Clock::System.now())
            .service("proxy-service", "accounting-service"),
    );
    proxy
        .post("/api/streaming-sessions/abort", &void)
        .await
        .expect(200);
    platform
        .until("what came back is removed", async || {
            platform.count(&removed).await == 2
        })
        .await;
    platform.flowise.release();
    running.await.unwrap().unwrap();
    until_forgotten(&platform, &alice).await;
}

#[actix_web::test]
async fn services_that_were_away_catch_up() {
    let mut platform = Platform::start().await;
    let (alice, bob) = (
        platform.chatter("alice", 10).await,
        platform.chatter("bob", 10).await,
    );
    for person in [&alice, &bob] {
        person.chat("hello world").await.expect_ended();
    }
    let admin = platform.admin().await;

    platform.proxy.lifecycle.stop();
    platform.accounting.lifecycle.stop();
    let is_away = async |service: &Service| {
        let health = format!("{}/livez", service.url());
        reqwest::get(health).await.is_err()
    };
    for service in [&platform.proxy, &platform.accounting] {
        platform
            .until("the service has ended", async || is_away(service).await)
            .await;
    }
    let path = format!("/api/admin/users/{}", alice.id);
    admin.auth.delete(&path).await.expect(200);
    platform.accounting = platform.restart_accounting().await;
    platform.proxy = platform.another_proxy().await;
    until_forgotten(&platform, &alice).await;

    platform.auth.lifecycle.stop();
    platform
        .until("auth has ended", async || is_away(&platform.auth).await)
        .await;
    platform.auth = platform.restart_auth().await;
    delete(&platform, &bob).await;
    until_forgotten(&platform, &bob).await;
}

#[actix_web::test]
async fn a_deletion_that_broke_off_anywhere_is_finished_everywhere() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 10).await;
    alice.chat("hello world").await.expect_ended();
    let long_ago = bson::DateTime::from_millis(bson::DateTime::now().timestamp_millis() - 600_000);
    let id = ObjectId::parse_str(&alice.id).unwrap();
    platform
        .leave_in_auth(
            "deletions",
            doc! { "_id": id, "at": long_ago, "actor": ObjectId::new() },
        )
        .await;

    let started = platform.another_auth().await;

    until_forgotten(&platform, &alice).await;
    platform
        .until("the session has ended", async || {
            alice.auth.get("/api/profile").await.status == 401
        })
        .await;
    started.stop().await;
}

#[actix_web::test]
async fn whoever_is_shut_out_or_demoted_is_so_on_every_service() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 10).await;
    edit(&platform, &alice, json!({ "role": "supervisor" })).await;
    let alice = Person::log_in(&platform, "alice", PASSWORD).await;
    alice.auth.get("/api/admin/reports").await.expect(200);
    alice
        .accounting
        .get("/api/credits/allocations/all")
        .await
        .expect(200);
    let until_out = async |person: &Person| {
        for (client, path) in [
            (&person.auth, "/api/profile"),
            (&person.proxy, "/api/v1/chat/sessions"),
            (&person.accounting, "/api/credits/balance"),
        ] {
            platform
                .until("the feed tells", async || client.get(path).await.status == 401)
                .await;
        }
    };

    edit(&platform, &alice, json!({ "role": "enduser" })).await;
    until_out(&alice).await;
    let alice = Person::log_in(&platform, "alice", PASSWORD).await;
    alice
        .accounting
        .get("/api/credits/allocations/all")
        .await
        .expect_problem(403, "forbidden");

    edit(&platform, &alice, json!({ "isActive": false })).await;
    until_out(&alice).await;
    platform
        .until("the proxy's copy is shut", async || {
            let shut = platform.mongo().database.collection::<bson::Document>("users");
            let shut = shut.count_documents(doc! { "external_id": &alice.id, "is_active": false });
            shut.await.unwrap() == 1
        })
        .await;

    edit(
        &platform,
        &alice,
        json!({ "isActive": true, "username": "alice2", "email": "alice2@example.com" }),
    )
    .await;
    let alice = Person::log_in(&platform, "alice2", PASSWORD).await;
    platform
        .until("the copies are renewed", async || {
            platform
                .count_documents("users", "email", "alice2@example.com")
                .await
                == 1
                && platform
                    .count("SELECT count(*) AS count FROM user_accounts WHERE email = 'alice2@example.com'")
                    .await
                    == 1
        })
        .await;
    alice.chat("hello world").await.expect_ended();
}

#[actix_web::test]
async fn a_person_reads_what_all_three_services_keep_about_them() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 10).await;
    let bob = platform.chatter("bob", 10).await;
    alice.chat("hello world").await.expect_ended();
    bob.chat("a secret of bob's").await.expect_ended();
    let auth = platform.another_auth().await;

    let client = auth.client().with_token(&alice.access_token);
    let file = client.get("/api/profile/export").await.expect(200);

    let (conversations, credits) = (&file.body["conversations"]["data"], &file.body["credits"]["data"]);
    assert_eq!(file.body["account"]["_id"], alice.id.as_str());
    assert_eq!(
        conversations["messages"].as_array().unwrap().len(),
        2,
        "{conversations}"
    );
    assert_eq!(conversations["messages"][0]["content"], "hello world");
    assert_eq!(conversations["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(conversations["assignments"][0]["isActive"], true);
    assert_eq!(credits["account"]["email"], "alice@example.com");
    assert_eq!(credits["allocations"][0]["remainingCredits"], 9);
    let kinds = credits["ledger"].as_array().unwrap().iter();
    let kinds: Vec<_> = kinds.filter_map(|entry| entry["kind"].as_str()).collect();
    assert_eq!(kinds, ["allocate", "hold", "capture"]);
    assert_eq!(credits["usage"].as_array().unwrap().len(), 1);
    assert!(!file.text.contains(&bob.id) && !file.text.contains("secret of bob"));
    auth.stop().await;
}
