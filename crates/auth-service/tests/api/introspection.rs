//! What a token is worth (RFC 7662), and giving one back (RFC 7009).

use bson::doc;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{ACCESS_SECRET, Answer, Client, Forge};

use crate::support::{SignedIn, TestApp, email_of};

async fn introspect(app: &TestApp, token: &str) -> Value {
    let body = json!({ "token": token });
    let service = app.as_service("proxy-service");
    service.post("/api/auth/introspect", &body).await.expect(200).body
}

async fn revoke(app: &TestApp, token: &str) -> Answer {
    let body = json!({ "token": token });
    app.client.post("/api/auth/revoke", &body).await
}

async fn post_form(client: &Client, path: &str, form: impl Into<String>) -> Answer {
    let request = client.request(Method::POST, path).body(form.into());
    client
        .send(request.header("content-type", "application/x-www-form-urlencoded"))
        .await
}

async fn is_signed_in(user: &SignedIn) -> bool {
    user.client.get("/api/profile").await.status == 200
}

#[tokio::test]
async fn good_tokens_are_told_with_all_they_say() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "supervisor").await;
    let claims = ada.claims(&app);

    let access = introspect(&app, &ada.access).await;
    let refresh = introspect(&app, &ada.refresh).await;

    assert_eq!(
        access,
        json!({
            "active": true, "sub": ada.id, "username": "ada", "email": email_of("ada"), "role": "supervisor",
            "sid": claims.sid, "jti": claims.jti, "iss": "flowgate", "aud": "flowgate",
            "iat": claims.iat, "nbf": claims.nbf, "exp": claims.exp, "token_type": "Bearer", "type": "access",
        })
    );
    for (member, value) in [
        ("type", json!("refresh")),
        ("token_type", json!("refresh_token")),
        ("sid", json!(claims.sid)),
        ("sub", json!(ada.id)),
        ("exp", json!(claims.iat + 7 * 86_400)),
    ] {
        assert_eq!(refresh[member], value, "{member}");
    }
    assert_ne!(refresh["jti"], access["jti"]);
    app.refresh(&ada.refresh).await.expect(200);
}

#[tokio::test]
async fn of_everything_else_nothing_is_told() {
    let app = TestApp::spawn().await;
    let (ada, bob, eve) = (
        app.user("ada", "enduser").await,
        app.user("bob", "enduser").await,
        app.user("eve", "enduser").await,
    );
    let gone = app.user("gone", "enduser").await;
    app.client
        .post("/api/auth/logout", &json!({ "refreshToken": ada.refresh }))
        .await
        .expect(200);
    app.update_user(&bob.id, doc! { "isDisabled": true }).await;
    app.users().delete_one(doc! { "username": "gone" }).await.unwrap();
    let next = app.refresh(&eve.refresh).await.expect(200);
    let next = next.body["refreshToken"].as_str().unwrap().to_owned();
    app.refresh(&next).await.expect(200);

    let nothing = json!({ "active": false });
    for (what, token) in [
        ("signed out", &ada.access),
        ("signed out", &ada.refresh),
        ("closed", &bob.access),
        ("closed", &bob.refresh),
        ("deleted", &gone.access),
        ("deleted", &gone.refresh),
        ("exchanged", &eve.refresh),
        (
            "a service's",
            &app.tokens().service("proxy-service", "auth-service"),
        ),
        ("rubbish", &"rubbish".to_owned()),
        ("empty", &String::new()),
        ("spaces", &"  ".to_owned()),
        ("64 kB", &"x".repeat(64_000)),
        ("NUL", &"\u{0}".to_owned()),
    ] {
        assert_eq!(introspect(&app, token).await, nothing, "{what}");
    }
    assert!(is_signed_in(&eve).await, "to ask about a used token ends nothing");
    for attack in
        Forge::with_secret(&eve.access, ACCESS_SECRET).attacks(app.clock.now().timestamp(), "http://x")
    {
        assert_eq!(introspect(&app, &attack.token).await, nothing, "{}", attack.what);
    }
    app.advance_secs(15 * 60 + 31);
    assert_eq!(introspect(&app, &eve.access).await, nothing, "expired");
    let series = r#"auth_introspections_total{outcome="active",service="auth-service"}"#;
    assert!(app.metric(series).await < 0.5);
    assert!(app.metric(&series.replace("\"active\"", "\"inactive\"")).await > 100.0);
}

#[tokio::test]
async fn a_replaced_refresh_token_is_worth_something_for_the_grace() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    app.refresh(&ada.refresh).await.expect(200);

    assert_eq!(introspect(&app, &ada.refresh).await["active"], true);
    app.advance_secs(10);
    assert_eq!(introspect(&app, &ada.refresh).await["active"], false);
    assert!(is_signed_in(&ada).await);
}

#[tokio::test]
async fn only_services_may_ask() {
    let app = TestApp::spawn().await;
    let root = app.user("root1", "admin").await;
    let body = json!({ "token": root.access });
    let ask = async |client: &Client| client.post("/api/auth/introspect", &body).await;
    ask(&app.client).await.expect_problem(401, "missing_token");
    ask(&root.client).await.expect_problem(403, "forbidden");
    let elsewhere = app.tokens().service("proxy-service", "accounting-service");
    ask(&app.client.with_token(elsewhere))
        .await
        .expect_problem(401, "invalid_token");
}

#[tokio::test]
async fn whoever_holds_a_token_may_give_it_back() {
    let app = TestApp::spawn().await;
    let by_access = app.user("ada", "enduser").await;
    let by_refresh = app.log_in("ada").await;
    let other = app.log_in("ada").await;
    let exchanged = app.log_in("ada").await;
    let next = app.refresh(&exchanged.refresh).await.expect(200).body;

    for token in [&by_access.access, &by_refresh.refresh, &exchanged.refresh] {
        for _ in 0..2 {
            assert_eq!(revoke(&app, token).await.expect(200).body, json!({}));
        }
    }

    for gone in [&by_access, &by_refresh, &exchanged] {
        assert!(!is_signed_in(gone).await);
        app.refresh(&gone.refresh).await.expect(401);
    }
    app.refresh(next["refreshToken"].as_str().unwrap())
        .await
        .expect(401);
    assert!(is_signed_in(&other).await, "another device stays");
    let ended = doc! { "action": "session_ended", "outcome": "logout", "address": "127.0.0.1" };
    assert_eq!(app.count("audit_events", ended).await, 3, "each once");
    let series = r#"auth_token_revocations_total{outcome="ended",service="auth-service"}"#;
    assert!(app.metric(series).await > 2.0);
}

#[tokio::test]
async fn what_is_worth_nothing_is_given_back_with_the_same_answer() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let forge = Forge::with_secret(&ada.access, ACCESS_SECRET);
    let long = "x".repeat(64_000);
    let expired = forge.claim("exp", json!(app.clock.now().timestamp() - 31));
    let edited = format!("{}x", ada.refresh);
    let service = app.tokens().service("proxy-service", "auth-service");
    for token in [
        "", "rubbish", "a.b.c", "\u{0}", &long, &expired, &edited, &service,
    ] {
        assert_eq!(revoke(&app, token).await.expect(200).body, json!({}));
    }
    for attack in forge.attacks(app.clock.now().timestamp(), "http://x") {
        revoke(&app, &attack.token).await.expect(200);
    }
    assert!(is_signed_in(&ada).await);
    app.refresh(&ada.refresh).await.expect(200);
}

#[tokio::test]
async fn both_take_forms_and_json_and_nothing_else() {
    let app = TestApp::spawn().await;
    let service = app.as_service("proxy-service");
    for (client, path) in [
        (&service, "/api/auth/introspect"),
        (&app.client, "/api/auth/revoke"),
    ] {
        let form = "token=a.b.c&token_type_hint=refresh_token&else=%F0%9F%90%8D";
        post_form(client, path, form).await.expect(200);
        for form in [
            "",
            "token_type_hint=access_token",
            "token=a&token=b",
            "tok%65n=a&token=b",
        ] {
            post_form(client, path, form)
                .await
                .expect_problem(400, "validation_failed");
        }
        for body in [
            json!({}),
            json!({ "token": null }),
            json!({ "token": ["a"] }),
            json!({ "token": { "$ne": null } }),
            json!({ "token": "a.b.c", "token_type_hint": ["access_token"] }),
            json!(["a"]),
        ] {
            client
                .post(path, &body)
                .await
                .expect_problem(400, "validation_failed");
        }
        let text = client
            .request(Method::POST, path)
            .header("content-type", "text/plain");
        client
            .send(text.body("token=a"))
            .await
            .expect_problem(415, "unsupported_media_type");
        post_form(client, path, format!("token={}", "x".repeat(110_000)))
            .await
            .expect_problem(413, "body_too_large");
    }
}
