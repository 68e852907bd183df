//! API keys: made, listed, revoked, verified; and accounts that only hold such.

use bson::doc;
use common_http::{ApiKeyGrant, ApiKeyVerification, RevocationsBody};
use common_jwt::{KeyScope, Role};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Answer, Client};

use crate::support::{PASSWORD, SignedIn, TestApp, email_of, eventually, text};

const KEYS: &str = "/api/keys";

async fn make(client: &Client, body: Value) -> Value {
    client.post(KEYS, &body).await.expect(201).body
}

async fn delete(client: &Client, path: &str) -> Answer {
    client.send(client.request(Method::DELETE, path)).await
}

async fn revoke(client: &Client, id: &str) -> Answer {
    delete(client, &format!("{KEYS}/{id}")).await
}

/// By an independent way: the hash as the shell would make it.
fn sha256(text: &str) -> String {
    hex::encode(aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        text.as_bytes(),
    ))
}

pub(crate) async fn verify(app: &TestApp, key: &str) -> Option<ApiKeyGrant> {
    let body = json!({ "hash": sha256(key) });
    let service = app.as_service("proxy-service");
    let answer = service.post("/internal/api-keys/verify", &body).await.expect(200);
    let verification: ApiKeyVerification = serde_json::from_value(answer.body).unwrap();
    verification.key
}

/// Waits until this service tells the others that `sid` is good for nothing: its feed follows what was written.
async fn is_told(app: &TestApp, sid: &str) {
    let service = app.as_service("proxy-service");
    eventually("the news in the feed", async || {
        let answer = service.get("/internal/revocations").await.expect(200);
        let body: RevocationsBody = serde_json::from_value(answer.body).unwrap();
        body.revocations.iter().any(|one| one.sid == sid).then_some(())
    })
    .await;
}

/// Whether `sid` was revoked, told already or not.
async fn is_revoked(app: &TestApp, sid: &str) -> bool {
    app.count("revocations", doc! { "_id": sid }).await == 1
}

async fn edit(root: &SignedIn, id: &str, body: Value) {
    let client = &root.client;
    let request = client.request(Method::PATCH, &format!("/api/admin/users/{id}"));
    client.send(request.json(&body)).await.expect(200);
}

#[tokio::test]
async fn a_key_is_shown_once_and_only_its_hash_is_kept() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let wish = json!({
        "name": "Notebook", "scopes": ["read", "chat"], "chatflows": ["flow-b", "flow-a"], "creditCap": 5,
        "rate": 30, "expiresAt": "2099-01-01T00:00:00Z", "userId": "somebody-else", "role": "admin",
    });
    // Too far ahead.
    let refused = ada.client.post(KEYS, &wish).await.expect(400);
    assert_eq!(refused.body["errors"][0]["field"], "expiresAt");
    let end = app.clock.now() + chrono::Duration::days(30);
    let mut wish = wish;
    wish["expiresAt"] = json!(end.to_rfc3339());

    let made = make(&ada.client, wish).await;

    let key = text(&made["key"]);
    assert!(key.starts_with("fg-") && key.len() == 46, "{key}");
    assert_eq!(made["prefix"], key[..10]);
    assert_eq!(made["scopes"], json!(["chat", "read"]));
    assert_eq!(made["chatflows"], json!(["flow-a", "flow-b"]));
    assert_eq!((&made["creditCap"], &made["rate"]), (&json!(5), &json!(30)));
    assert_eq!(made["createdBy"], ada.id.as_str());

    let list = ada.client.get(KEYS).await.expect(200);
    assert!(!list.text.contains(&key[10..]), "{}", list.text);
    assert_eq!(list.body["keys"][0]["id"], made["id"]);
    let row = app
        .collection("api_keys")
        .find_one(doc! {})
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.get_str("keyHash").unwrap(), sha256(&key));
    assert!(!format!("{row:?}").contains(&key[10..]));

    let grant = verify(&app, &key).await.unwrap();
    assert_eq!(grant.user_id, ada.id);
    assert_eq!(
        (grant.role, grant.credit_cap, grant.rate),
        (Role::EndUser, Some(5), Some(30))
    );
    assert_eq!(grant.scopes, [KeyScope::Chat, KeyScope::Read]);
    assert_eq!(grant.expires_at, Some(end.timestamp()));
    let used = ada.client.get(KEYS).await.expect(200).body;
    assert!(used["keys"][0]["lastUsedAt"].is_string(), "{used}");

    app.advance_secs(30 * 24 * 3_600 + 1);
    assert_eq!(verify(&app, &key).await, None, "it has expired");
}

#[tokio::test]
async fn the_owner_is_told_and_the_trail_has_it() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let root = app.user("root1", "admin").await;
    let made = make(&ada.client, json!({ "name": "Notebook" })).await;
    let mail = app.mail(&email_of("ada"), "A new API key for your account").await;
    assert!(mail.contains(made["prefix"].as_str().unwrap()), "{mail}");
    assert!(
        !mail.contains(&text(&made["key"])[10..]) && !mail.contains("<b>"),
        "{mail}"
    );
    revoke(&ada.client, &text(&made["id"])).await.expect(200);
    app.audited("api_key_created", "ok", 1).await;
    app.audited("api_key_revoked", "ok", 1).await;
    let path = format!("/api/admin/users/{}/keys", ada.id);
    root.client
        .post(&path, &json!({ "name": "Given" }))
        .await
        .expect(201);
    app.audited("api_key_created", "ok", 2).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_wish_is_told_at_once_and_makes_nothing() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let bad = json!({
        "name": "", "scopes": ["admin"], "chatflows": ["$where"], "creditCap": 0, "rate": 0,
        "expiresAt": "1999-01-01T00:00:00Z",
    });
    let refused = ada.client.post(KEYS, &bad).await.expect(400);
    let errors = refused.body["errors"].as_array().unwrap().iter();
    let fields: Vec<_> = errors.map(|error| text(&error["field"])).collect();
    assert_eq!(
        fields,
        ["name", "scopes", "chatflows", "creditCap", "rate", "expiresAt"]
    );
    for bad in [
        json!({}),
        json!({ "name": 7 }),
        json!({ "name": "x", "scopes": [] }),
        json!({ "name": "x", "scopes": "chat" }),
        json!({ "name": "x", "creditCap": 1.5 }),
        json!({ "name": "x".repeat(101) }),
    ] {
        ada.client.post(KEYS, &bad).await.expect(400);
    }
    assert_eq!(app.count("api_keys", doc! {}).await, 0);
}

#[tokio::test]
async fn the_same_request_twice_makes_one_key() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let wish = json!({ "name": "Twice" });
    let answers = join_all((0..8).map(|_| ada.client.post(KEYS, &wish))).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(201), count(409)), (1, 7));
    assert_eq!(app.count("api_keys", doc! {}).await, 1);
    // The name is free again once the key is gone.
    let list = ada.client.get(KEYS).await.expect(200).body;
    revoke(&ada.client, &text(&list["keys"][0]["id"]))
        .await
        .expect(200);
    make(&ada.client, wish).await;
}

#[tokio::test]
async fn there_are_never_more_than_fifty() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    for number in 0..48 {
        make(&ada.client, json!({ "name": format!("key {number}") })).await;
    }
    let wishes: Vec<_> = (48..54)
        .map(|number| json!({ "name": format!("key {number}") }))
        .collect();
    let answers = join_all(wishes.iter().map(|wish| ada.client.post(KEYS, wish))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 2);
    let refused = answers.iter().find(|answer| answer.status == 409).unwrap();
    assert_eq!(refused.body["code"], "too_many_api_keys");
    assert_eq!(app.count("api_keys", doc! {}).await, 50);
}

#[tokio::test]
async fn a_revoked_key_is_dead_and_in_the_feed_on_every_replica() {
    let app = TestApp::spawn().await;
    let other = app.spawn_beside().await;
    let ada = app.user("ada", "enduser").await;
    let made = make(&ada.client, json!({ "name": "Notebook" })).await;
    let (id, key) = (text(&made["id"]), text(&made["key"]));
    let sid = verify(&other, &key).await.unwrap().sid;

    revoke(&ada.client, &id).await.expect(200);

    assert_eq!(verify(&app, &key).await, None);
    assert_eq!(verify(&other, &key).await, None);
    is_told(&other, &sid).await;
    assert_eq!(app.count("api_keys", doc! {}).await, 0);
    let again = revoke(&ada.client, &id).await.expect(404);
    assert_eq!(again.body["code"], "api_key_not_found");
}

#[tokio::test]
async fn a_revocation_that_broke_off_is_finished_by_the_next() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let made = make(&ada.client, json!({ "name": "Notebook" })).await;
    let sid = verify(&app, &text(&made["key"])).await.unwrap().sid;
    let marked = doc! { "$set": { "revokedAt": bson::DateTime::from_chrono(app.clock.now()) } };
    app.collection("api_keys")
        .update_one(doc! {}, marked)
        .await
        .unwrap();
    assert_eq!(verify(&app, &text(&made["key"])).await, None);
    assert_eq!(ada.client.get(KEYS).await.expect(200).body["keys"], json!([]));
    revoke(&ada.client, &text(&made["id"])).await.expect(200);
    assert_eq!(app.count("api_keys", doc! {}).await, 0);
    assert_eq!(app.count("revocations", doc! {}).await, 1);
    is_told(&app, &sid).await;
}

#[tokio::test]
async fn keys_of_others_are_nobodys_business() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let bob = app.user("bob", "supervisor").await;
    let root = app.user("root1", "admin").await;
    let made = make(&ada.client, json!({ "name": "Notebook" })).await;
    let id = text(&made["id"]);

    revoke(&bob.client, &id).await.expect(404);
    assert_eq!(bob.client.get(KEYS).await.expect(200).body["keys"], json!([]));
    let of_ada = format!("/api/admin/users/{}/keys", ada.id);
    bob.client.get(&of_ada).await.expect(403);
    bob.client
        .post(&of_ada, &json!({ "name": "x" }))
        .await
        .expect(403);
    delete(&bob.client, &format!("{of_ada}/{id}")).await.expect(403);
    app.client.get(KEYS).await.expect(401);
    // By way of somebody else's page the key is none either.
    let of_bob = format!("/api/admin/users/{}/keys", bob.id);
    delete(&root.client, &format!("{of_bob}/{id}")).await.expect(404);
    assert!(verify(&app, &text(&made["key"])).await.is_some());

    assert_eq!(
        root.client.get(&of_ada).await.expect(200).body["keys"][0]["id"],
        id
    );
    let given = root
        .client
        .post(&of_ada, &json!({ "name": "Given" }))
        .await
        .expect(201);
    assert_eq!(given.body["createdBy"], root.id.as_str());
    assert_eq!(
        verify(&app, &text(&given.body["key"])).await.unwrap().user_id,
        ada.id
    );
    delete(&root.client, &format!("{of_ada}/{id}")).await.expect(200);
    assert_eq!(verify(&app, &text(&made["key"])).await, None);
    let nobody = format!("/api/admin/users/{}/keys", "a".repeat(24));
    root.client.get(&nobody).await.expect(404);
    root.client
        .post(&nobody, &json!({ "name": "x" }))
        .await
        .expect(404);
    root.client.get("/api/admin/users/x/keys").await.expect(400);
}

#[tokio::test]
async fn a_key_opens_no_route_of_this_service() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let wish = json!({ "name": "All", "scopes": ["chat", "read", "admin"] });
    let made = make(&root.client, wish).await;
    let client = app.client.with_token(text(&made["key"]));
    let mut tried = 0;
    for row in common_http::rows(auth_service::routes) {
        use common_http::Access::{Optional, Public};
        if matches!(row.access, Public | Optional) {
            continue;
        }
        tried += 1;
        let path: String = row
            .path
            .split('/')
            .map(|part| if part.starts_with('{') { "a" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        let request = client.request(row.method.as_str().parse().unwrap(), &path);
        let answer = app.client.send(request).await;
        // Browsers are sent to sign in.
        assert!(
            matches!(answer.status.as_u16(), 401 | 403 | 303),
            "{} {path}: {}",
            row.method,
            answer.text
        );
    }
    assert!(tried > 60, "{tried}");
    assert_eq!(app.count("api_keys", doc! {}).await, 1);
}

#[tokio::test]
async fn only_services_verify_and_only_hashes() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let path = "/internal/api-keys/verify";
    let body = json!({ "hash": "a".repeat(64) });
    app.client.post(path, &body).await.expect(401);
    root.client.post(path, &body).await.expect(403);
    let service = app.as_service("proxy-service");
    assert_eq!(
        service.post(path, &body).await.expect(200).body["key"],
        Value::Null
    );
    for bad in [
        json!({}),
        json!({ "hash": "fg-abc" }),
        json!({ "hash": { "$ne": "" } }),
    ] {
        service.post(path, &bad).await.expect(400);
    }
}

#[tokio::test]
async fn keys_follow_the_rights_of_their_owner() {
    let app = TestApp::spawn().await;
    let (root, ada) = (app.user("root1", "admin").await, app.user("ada", "admin").await);
    let wish = json!({ "name": "All", "scopes": ["chat", "admin"] });
    let key = text(&make(&ada.client, wish).await["key"]);
    let plain = text(&make(&ada.client, json!({ "name": "Plain" })).await["key"]);
    let before = verify(&app, &key).await.unwrap();
    assert_eq!(before.role, Role::Admin);
    assert_eq!(verify(&app, &plain).await.unwrap().role, Role::EndUser);

    edit(&root, &ada.id, json!({ "role": "enduser" })).await;
    let demoted = verify(&app, &key).await.unwrap();
    assert_eq!(
        (demoted.role, demoted.scopes),
        (Role::EndUser, vec![KeyScope::Chat])
    );
    is_told(&app, &before.sid).await;
    assert!(!is_revoked(&app, &demoted.sid).await);

    edit(&root, &ada.id, json!({ "isActive": false })).await;
    assert_eq!(verify(&app, &key).await, None);
    is_told(&app, &demoted.sid).await;

    edit(&root, &ada.id, json!({ "isActive": true })).await;
    let open = verify(&app, &key).await.unwrap();
    assert!(!is_revoked(&app, &open.sid).await, "it is good at once");

    let give = format!("/api/admin/users/{}/reset-password", ada.id);
    root.client
        .post(&give, &json!({ "generateRandom": true }))
        .await
        .expect(200);
    assert_eq!(
        verify(&app, &key).await,
        None,
        "they have to choose a password first"
    );
    is_told(&app, &open.sid).await;
}

#[tokio::test]
async fn keys_are_ones_data_and_go_with_the_account() {
    let app = TestApp::spawn().await;
    let (root, ada) = (app.user("root1", "admin").await, app.user("ada", "enduser").await);
    let made = make(&ada.client, json!({ "name": "Notebook" })).await;
    let key = text(&made["key"]);
    let sid = verify(&app, &key).await.unwrap().sid;
    let data = ada.client.get("/api/profile/export").await.expect(200);
    assert_eq!(data.body["apiKeys"][0]["name"], "Notebook");
    assert!(!data.text.contains(&sha256(&key)) && !data.text.contains(&key[10..]));

    // Nobody is signed in any more: only the key is left.
    app.collection("sessions")
        .delete_many(doc! { "userId": bson::oid::ObjectId::parse_str(&ada.id).unwrap() })
        .await
        .unwrap();
    delete(&root.client, &format!("/api/admin/users/{}", ada.id))
        .await
        .expect(200);

    assert_eq!(verify(&app, &key).await, None);
    is_told(&app, &sid).await;
    assert_eq!(app.count("api_keys", doc! {}).await, 0);
}

#[tokio::test]
async fn a_service_account_only_holds_keys() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let users = "/api/admin/users";
    let wish = json!({ "username": "reports", "isServiceAccount": true });
    let made = root.client.post(users, &wish).await.expect(201).body;
    let id = text(&made["userId"]);
    root.client.post(users, &wish).await.expect(400);
    let with_password = json!({ "username": "reports2", "isServiceAccount": true, "password": PASSWORD });
    root.client.post(users, &with_password).await.expect(400);
    let admin = json!({ "username": "reports3", "isServiceAccount": true, "role": "admin" });
    root.client.post(users, &admin).await.expect(403);
    for lacking in [
        json!({ "username": "person1", "email": "p@example.com" }),
        json!({ "username": "person1", "password": PASSWORD }),
        json!({ "username": "person1", "password": PASSWORD, "isServiceAccount": "true", "email": null }),
    ] {
        root.client.post(users, &lacking).await.expect(400);
    }
    assert_eq!(app.users().count_documents(doc! {}).await.unwrap(), 2);

    let shown = root.client.get(&format!("{users}/{id}")).await.expect(200).body;
    assert_eq!(shown["user"]["isServiceAccount"], true);
    let list = root.client.get(users).await.expect(200).body;
    let listed = list["users"].as_array().unwrap();
    let is_service = |user: &&Value| user["isServiceAccount"] == true;
    assert_eq!(listed.iter().filter(is_service).count(), 1);
    let public = app
        .as_service("proxy-service")
        .get(&format!("/api/auth/users/{id}"))
        .await;
    assert_eq!(public.expect(200).body["active"], true, "it may use things");

    // No way in: not with a password, not by a link, not by an administrator's.
    let email = text(&shown["user"]["email"]);
    for password in ["", "!", PASSWORD] {
        let status = app.try_log_in("reports", password).await.status;
        assert!(matches!(status.as_u16(), 400 | 401), "{status}");
    }
    let forgot = json!({ "email": email });
    app.client
        .post("/api/auth/forgot-password", &forgot)
        .await
        .expect(200);
    for (path, body) in [
        ("reset-password", json!({ "generateRandom": true })),
        ("invitation", json!({})),
    ] {
        let answer = root.client.post(&format!("{users}/{id}/{path}"), &body).await;
        assert_eq!(answer.expect(409).body["code"], "service_account");
    }
    assert_eq!(app.count("password_resets", doc! {}).await, 0);
    // Even a password that somebody writes into the database opens nothing.
    let hash = app
        .find_user(&root.id)
        .await
        .unwrap()
        .get_str("password")
        .unwrap()
        .to_owned();
    app.update_user(&id, doc! { "password": hash }).await;
    let refused = app.try_log_in("reports", PASSWORD).await;
    assert_eq!(refused.status, 401, "{}", refused.text);
    assert_eq!(
        app.count(
            "sessions",
            doc! { "userId": bson::oid::ObjectId::parse_str(&id).unwrap() }
        )
        .await,
        0
    );

    let keys = format!("{users}/{id}/keys");
    let key = root
        .client
        .post(&keys, &json!({ "name": "Nightly" }))
        .await
        .expect(201)
        .body;
    let grant = verify(&app, &text(&key["key"])).await.unwrap();
    assert_eq!((grant.user_id, grant.username), (id, "reports".to_owned()));
}
