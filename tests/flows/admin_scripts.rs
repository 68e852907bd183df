//! The administration scripts that schools run today, call by call. Each reads only what is checked here of an answer,
//! and writes to auth-service's MongoDB where they do.

use bson::{Document, doc};
use mongodb::Collection;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::platform::{ADMIN, Platform};
use test_support::{Answer, Client};

const PASSWORD: &str = "Kite-over-Lantau-7";

/// What the scripts do with a token: they read its claims without checking anything.
fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).expect("a token has three parts");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload);
    serde_json::from_slice(&bytes.expect("base64")).expect("claims are JSON")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// A collection of auth-service's database, as `pymongo` and `mongosh` reach it.
fn auth_db(platform: &Platform, collection: &str) -> Collection<Document> {
    let mongo = platform.mongo();
    let database = mongo.database.client().database(&format!("{}_auth", mongo.name));
    database.collection(collection)
}

async fn log_in(platform: &Platform, login: &str, password: &str) -> Answer {
    // The CSV script sends the address beside the name.
    let body = json!({ "username": login, "email": "ignored@example.com", "password": password });
    platform.auth.client().post("/api/auth/login", &body).await
}

/// The two services as whoever has this access token.
struct Script {
    auth: Client,
    accounting: Client,
}

impl Script {
    async fn log_in(platform: &Platform, login: &str, password: &str) -> Self {
        let answer = log_in(platform, login, password).await.expect(200);
        let token = text(&answer.body["accessToken"]);
        Self {
            auth: platform.auth.client().with_token(&token),
            accounting: platform.accounting.client().with_token(&token),
        }
    }
}

async fn delete_with_body(client: &Client, path: &str, body: &Value) -> Answer {
    client.send(client.request(Method::DELETE, path).json(body)).await
}

/// `create_users.py` and `automated_setup.py`: the first admin is made by writing to MongoDB.
#[actix_web::test]
async fn the_first_admin_is_made_in_the_database() {
    let platform = Platform::start().await;
    let auth = platform.auth.client();
    for service in [&platform.auth, &platform.accounting] {
        service.client().get("/health").await.expect(200);
    }

    let body = json!({ "username": "principal", "email": "principal@school.example", "password": PASSWORD });
    auth.post("/api/auth/signup", &body).await.expect(201);
    let again = auth.post("/api/auth/signup", &body).await.expect(400);
    assert!(again.body["error"].as_str().unwrap().contains("already exists"));
    let promoted = auth_db(&platform, "users")
        .update_one(
            doc! { "username": "principal" },
            doc! { "$set": { "role": "admin", "isVerified": true } },
        )
        .await
        .expect("mongosh may write");
    assert_eq!((promoted.matched_count, promoted.modified_count), (1, 1));

    let answer = log_in(&platform, "principal", PASSWORD).await.expect(200);
    let token = text(&answer.body["accessToken"]);
    assert_eq!(claims(&token)["role"], "admin");
    let principal = Script::log_in(&platform, "principal", PASSWORD).await;
    let body = json!({
        "username": "clerk", "email": "clerk@school.example", "password": PASSWORD,
        "role": "supervisor", "skipVerification": true,
    });
    let made = principal.auth.post("/api/admin/users", &body).await.expect(201);
    assert!(made.body["userId"].is_string());

    // Credits for an id that accounting-service has never seen.
    let grant = json!({ "userId": answer.body["user"]["id"], "credits": 5000 });
    principal
        .accounting
        .post("/api/credits/allocate", &grant)
        .await
        .expect(201);
}

/// `list_users.py`, `test_login.py`, `get_token.py`, `verify_token.py`, `JWT_verification.py`.
#[actix_web::test]
async fn whoever_is_signed_in_can_look_around() {
    let platform = Platform::start().await;
    let answer = log_in(&platform, ADMIN.0, ADMIN.2).await.expect(200);
    let admin = Script::log_in(&platform, ADMIN.1, ADMIN.2).await;

    let claims = claims(&text(&answer.body["accessToken"]));
    for claim in ["sub", "username", "email", "role", "exp", "iat"] {
        assert!(!claims[claim].is_null(), "{claim}");
    }
    assert_eq!(
        (&claims["type"], &claims["sub"]),
        (&json!("access"), &answer.body["user"]["id"])
    );
    for path in [
        "/api/profile",
        "/api/dashboard",
        "/api/admin/users",
        "/api/health",
    ] {
        admin.auth.get(path).await.expect(200);
    }
    let users = admin.auth.get("/api/admin/users").await.expect(200);
    let user = &users.body["users"][0];
    for member in ["_id", "username", "email", "role", "isVerified", "createdAt"] {
        assert!(!user[member].is_null(), "{member}");
    }
    let changed = format!("{}x", text(&answer.body["accessToken"]));
    let forged = platform.accounting.client().with_token(changed);
    forged.get("/api/credits/balance").await.expect(401);
}

/// The teacher's CSV flow: `manage_users_csv.py`, `verify_all_users.py`, `init_users_in_accounting.py`,
/// `sync_credits.py`, twice; then everybody is deleted again.
#[actix_web::test]
async fn a_teachers_csv_is_worked_through() {
    let platform = Platform::start().await;
    let rows = [
        ("t.wong", "T.Wong@School.example", "teacher", 50),
        ("mia", "mia+2b@school.example", "student", 10),
        ("noah", "noah@school.example", "student", 0),
    ];
    for run in 1..=2 {
        let admin = Script::log_in(&platform, ADMIN.0, ADMIN.2).await;
        create_missing(&admin, &rows, run).await;
        verify_all(&platform, &rows).await;
        for (username, ..) in &rows {
            let pupil = Script::log_in(&platform, username, PASSWORD).await;
            pupil.accounting.get("/api/credits/balance").await.expect(200);
        }
        for (_, email, _, credits) in &rows {
            sync_credits(&admin, email, *credits).await;
        }
    }

    let admin = Script::log_in(&platform, ADMIN.0, ADMIN.2).await;
    delete_all(&admin, &rows).await;
    log_in(&platform, "mia", PASSWORD).await.expect(401);
}

async fn create_missing(admin: &Script, rows: &[(&str, &str, &str, i64)], run: usize) {
    for (username, email, role, _) in rows {
        let users = admin.auth.get("/api/users").await.expect(200);
        let users = users.body.as_array().expect("a bare list").clone();
        let is_there = users
            .iter()
            .any(|user| user["email"].as_str() == Some(&email.to_lowercase()));
        assert_eq!(is_there, run == 2);
        if is_there {
            continue;
        }
        let body = json!({
            "username": username, "email": email, "password": PASSWORD, "role": role, "fullName": "Somebody",
        });
        let made = admin.auth.post("/api/auth/signup", &body).await.expect(201);
        assert!(made.body["_id"].is_string() && made.body["userId"].is_string());
    }
}

/// Matches the addresses as the CSV has them; whoever is written in capitals is missed, so the script's users are told
/// to write small letters.
async fn verify_all(platform: &Platform, rows: &[(&str, &str, &str, i64)]) {
    for (_, email, role, _) in rows {
        let updated = auth_db(platform, "users")
            .update_one(
                doc! { "email": email.to_lowercase() },
                doc! { "$set": { "isVerified": true, "role": *role } },
            )
            .await
            .expect("pymongo may write");
        assert_eq!(updated.matched_count, 1);
    }
}

/// The column `credits` is the balance to reach.
async fn sync_credits(admin: &Script, email: &str, target: i64) {
    let encoded: String = url::form_urlencoded::byte_serialize(email.as_bytes()).collect();
    let path = format!("/api/admin/users/by-email/{encoded}");
    let user = admin.auth.get(&path).await.expect(200);
    let id = text(&user.body["user"]["_id"]);
    let balance = admin
        .accounting
        .get(&format!("/api/credits/balance/{id}"))
        .await
        .expect(200);
    let current = balance.body["totalCredits"].as_i64().expect("a number");
    let notes = "synced from the list";
    if target > current {
        let grant = json!({ "email": email, "credits": target - current, "notes": notes });
        admin
            .accounting
            .post("/api/credits/allocate-by-email", &grant)
            .await
            .expect(201);
    }
    let balance = admin
        .accounting
        .get(&format!("/api/credits/balance/{id}"))
        .await
        .expect(200);
    assert_eq!(balance.body["totalCredits"], target);
}

async fn delete_all(admin: &Script, rows: &[(&str, &str, &str, i64)]) {
    let users = admin.auth.get("/api/admin/users").await.expect(200);
    let users = users.body["users"].as_array().expect("a list").clone();
    for (_, email, ..) in rows {
        let user = users
            .iter()
            .find(|user| user["email"] == email.to_lowercase())
            .expect("was created");
        let id = text(&user["_id"]);
        let path = format!("/api/credits/balance/{id}");
        let credits = admin.accounting.get(&path).await.expect(200).body["totalCredits"].clone();
        if credits.as_i64() > Some(0) {
            let body = json!({ "userId": id, "credits": credits, "notes": "deleted by the list" });
            let removed = delete_with_body(&admin.accounting, "/api/credits/remove", &body).await;
            assert_eq!(removed.expect(200).body["removedCredits"], credits);
        }
        let deleted = admin
            .auth
            .delete(&format!("/api/admin/users/{id}"))
            .await
            .expect(200);
        assert!(deleted.body["user"]["username"].is_string());
    }
    admin
        .accounting
        .get(&format!("/api/credits/balance/{}", "f".repeat(24)))
        .await
        .expect(404);
}

/// `quickAddCredit.py`, `quickSetCredit.py`, `quickCheckCredit.py` and `quickRemoveAllUser.py`.
#[actix_web::test]
async fn credits_are_managed_by_the_quick_scripts() {
    let platform = Platform::start().await;
    let admin = Script::log_in(&platform, ADMIN.0, ADMIN.2).await;
    let body = json!({
        "username": "quick", "email": "quick@school.example", "password": PASSWORD, "skipVerification": true,
    });
    admin.auth.post("/api/admin/users", &body).await.expect(201);
    auth_db(&platform, "users")
        .update_one(
            doc! { "username": "quick" },
            doc! { "$set": { "role": "student" } },
        )
        .await
        .expect("the CSV flow writes roles");
    let user = admin
        .auth
        .get("/api/admin/users/by-email/quick%40school.example")
        .await
        .expect(200);
    let id = text(&user.body["user"]["_id"]);

    let account =
        json!({ "sub": id, "email": "quick@school.example", "role": "student", "username": "quick" });
    admin
        .accounting
        .post("/api/admin/users", &account)
        .await
        .expect(201);
    admin
        .accounting
        .post("/api/admin/users", &account)
        .await
        .expect(409);
    let grant = json!({ "email": "quick@school.example", "credits": 100, "expiryDays": 365 });
    admin
        .accounting
        .post("/api/credits/allocate-by-email", &grant)
        .await
        .expect(201);
    let set = json!({ "userId": id, "credits": 60, "notes": "quick set" });
    admin.accounting.post("/api/credits/set", &set).await.expect(200);
    for who in ["quick%40school.example", "quick"] {
        let balance = admin
            .accounting
            .get(&format!("/api/credits/balance/{who}"))
            .await
            .expect(200);
        assert_eq!(balance.body["totalCredits"], 60);
        let allocation = &balance.body["activeAllocations"][0];
        assert_eq!(allocation["remainingCredits"], 60);
        assert!(allocation["expiresAt"].is_string());
    }

    admin.auth.delete(&format!("/api/users/{id}")).await.expect(200);
    admin.auth.delete(&format!("/api/users/{id}")).await.expect(404);
    log_in(&platform, "quick", PASSWORD).await.expect(401);
}

/// `deploy_test.py`: one long run through everything.
#[actix_web::test]
async fn a_deployment_is_tested() {
    let platform = Platform::start().await;
    let auth = platform.auth.client();
    let body = json!({
        "username": "deploy", "email": "deploy@school.example", "password": PASSWORD, "role": "admin",
    });
    let made = auth.post("/api/auth/signup", &body).await.expect(201);
    let id = text(&made.body["userId"]);
    log_in(&platform, "deploy", PASSWORD).await.expect(401);
    // It looks for this sentence in the mail.
    let mail = platform.mail_to("deploy@school.example").await;
    let (_, code) = mail.split_once("verification code: ").expect("the sentence");
    let verified = auth
        .post(
            "/api/auth/verify-email",
            &json!({ "token": code.get(..6).unwrap() }),
        )
        .await
        .expect(200);
    assert_eq!(verified.body["message"], "Email verified successfully");

    let answer = log_in(&platform, "deploy@school.example", PASSWORD)
        .await
        .expect(200);
    assert_eq!(
        answer.body["user"]["role"], "enduser",
        "the role in the body is not honoured"
    );
    let refresh = json!({ "refreshToken": answer.body["refreshToken"] });
    let refreshed = auth.post("/api/auth/refresh", &refresh).await.expect(200);
    let person = auth.with_token(text(&refreshed.body["accessToken"]));
    let renamed = person
        .put("/api/profile", &json!({ "username": "deploy2" }))
        .await
        .expect(200);
    assert_eq!(renamed.body["user"]["username"], "deploy2");
    let change = json!({ "currentPassword": PASSWORD, "newPassword": "Another-Kite-8" });
    person.post("/api/change-password", &change).await.expect(200);

    let admin = Script::log_in(&platform, ADMIN.0, ADMIN.2).await;
    let path = format!("/api/admin/users/{id}/role");
    let changed = admin
        .auth
        .put(&path, &json!({ "role": "supervisor" }))
        .await
        .expect(200);
    assert_eq!(changed.body["user"]["role"], "supervisor");
    for role in ["user", "supervisor"] {
        let body = json!({
            "username": format!("made-{role}"), "email": format!("{role}@school.example"), "password": PASSWORD,
            "role": role, "skipVerification": true,
        });
        admin.auth.post("/api/admin/users", &body).await.expect(201);
    }
    let batch = json!({ "users": [
        { "username": "batch1", "email": "batch1@school.example", "role": "enduser", "password": "ignored" },
        { "username": "batch2", "email": "batch2@school.example" },
    ] });
    let made = admin
        .auth
        .post("/api/admin/users/batch", &batch)
        .await
        .expect(201);
    assert_eq!(
        made.body["summary"],
        json!({ "total": 2, "successful": 2, "failed": 0 })
    );
    let reset = json!({ "generateRandom": true });
    let path = format!("/api/admin/users/{id}/reset-password");
    let reset = admin.auth.post(&path, &reset).await.expect(200);
    log_in(&platform, "deploy2", &text(&reset.body["generatedPassword"]))
        .await
        .expect(200);

    let deleted = admin
        .auth
        .delete(&format!("/api/admin/users/{id}"))
        .await
        .expect(200);
    assert_eq!(deleted.body["user"]["email"], "deploy@school.example");
    let all = delete_with_body(&admin.auth, "/api/admin/users", &json!({ "confirmDelete": "no" })).await;
    all.expect(400);
    let phrase = json!({ "confirmDelete": "DELETE_ALL_USERS", "preserveAdmins": true });
    let all = delete_with_body(&admin.auth, "/api/admin/users", &phrase)
        .await
        .expect(200);
    assert!(
        all.body["message"].as_str().unwrap().starts_with('4'),
        "{}",
        all.text
    );
    let out = admin.auth.post("/api/auth/logout", &json!({})).await.expect(200);
    assert_eq!(out.body["message"], "Logout successful");
}

/// `workflow_test_Auth_Acc.py` and `test_get_user_by_email.py`.
#[actix_web::test]
async fn the_two_services_are_tested_together() {
    let platform = Platform::start().await;
    let admin = Script::log_in(&platform, ADMIN.0, ADMIN.2).await;
    let auth = platform.auth.client();
    let body = json!({ "username": "flow", "email": "flow+x.y@school.example", "password": PASSWORD });
    let made = auth.post("/api/auth/signup", &body).await.expect(201);
    let id = text(&made.body["userId"]);
    // Without the development switch there is no such path; the script then reads the mail.
    auth.get(&format!("/api/testing/verification-token/{id}"))
        .await
        .expect(404);
    let mail = platform.mail_to("flow+x.y@school.example").await;
    let (_, code) = mail.split_once("verification code: ").expect("the sentence");
    auth.post(
        "/api/auth/verify-email",
        &json!({ "token": code.get(..6).unwrap() }),
    )
    .await
    .expect(200);

    let grant = json!({ "userId": id, "credits": 100 });
    let granted = admin
        .accounting
        .post("/api/credits/allocate", &grant)
        .await
        .expect(201);
    assert!(!granted.body["id"].is_null());
    let flow = Script::log_in(&platform, "flow", PASSWORD).await;
    let balance = flow.accounting.get("/api/credits/balance").await.expect(200);
    assert_eq!(balance.body["totalCredits"], 100);

    for (email, status) in [
        ("flow%2Bx.y%40school.example", 200),
        ("FLOW%2Bx.y%40school.example", 200),
        ("nobody%40school.example", 404),
        ("not-an-address", 404),
        ("%40", 404),
    ] {
        let path = format!("/api/admin/users/by-email/{email}");
        admin.auth.get(&path).await.expect(status);
        flow.auth.get(&path).await.expect(403);
        auth.get(&path).await.expect(401);
    }
}

/// `remove_all_users.py`: what it deletes is gone at once, without a restart.
#[actix_web::test]
async fn users_are_removed_behind_the_services_back() {
    let platform = Platform::start().await;
    let answer = log_in(&platform, ADMIN.0, ADMIN.2).await.expect(200);
    let admin = platform
        .auth
        .client()
        .with_token(text(&answer.body["accessToken"]));
    admin.get("/api/profile").await.expect(200);

    for collection in ["users", "tokens", "verifications"] {
        let all = auth_db(&platform, collection).delete_many(doc! {}).await;
        all.expect("mongosh may delete");
    }

    let refresh = json!({ "refreshToken": answer.body["refreshToken"] });
    platform
        .auth
        .client()
        .post("/api/auth/refresh", &refresh)
        .await
        .expect(401);
    admin.get("/api/profile").await.expect(401);
    log_in(&platform, ADMIN.0, ADMIN.2).await.expect(401);
}
