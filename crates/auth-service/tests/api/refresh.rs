//! Rotation, grace and reuse of refresh tokens (decision D3).

use std::collections::BTreeSet;

use bson::{doc, oid::ObjectId};
use common_jwt::Role;
use futures_util::future::join_all;
use serde_json::json;
use test_support::Answer;

use crate::support::{TestApp, claims_of, cookies_of, text};

fn refresh_token(answer: &Answer) -> String {
    text(&answer.body["refreshToken"])
}

fn access_token(answer: &Answer) -> String {
    text(&answer.body["accessToken"])
}

#[tokio::test]
async fn a_refresh_gives_the_next_pair_of_the_same_session() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    app.advance_secs(60);

    let answer = app.refresh(&ada.refresh).await.expect(200);

    assert!(answer.body["message"].is_string());
    assert_ne!(refresh_token(&answer), ada.refresh);
    let (before, after) = (ada.claims(&app), claims_of(&app, &access_token(&answer)));
    assert_eq!(before.sid, after.sid);
    assert_ne!(before.jti, after.jti);
    assert_eq!(after.iat, before.iat + 60);
    let cookies = cookies_of(&answer);
    assert!(cookies[0].starts_with(&format!("accessToken={};", access_token(&answer))));
    assert!(cookies[1].starts_with(&format!("refreshToken={};", refresh_token(&answer))));
    app.refresh(&refresh_token(&answer)).await.expect(200);
}

#[tokio::test]
async fn the_cookie_counts_before_the_body_and_needs_none() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let bob = app.user("bob", "enduser").await;
    let request = || {
        let request = app.client.request(reqwest::Method::POST, "/api/auth/refresh");
        request.header("cookie", format!("refreshToken={}", ada.refresh))
    };

    let both = app
        .client
        .send(request().json(&json!({ "refreshToken": bob.refresh })))
        .await
        .expect(200);
    assert_eq!(claims_of(&app, &access_token(&both)).sub, ada.id);
    let alone = app.client.send(request()).await.expect(200);
    assert_eq!(refresh_token(&alone), refresh_token(&both), "within the grace");
}

#[tokio::test]
async fn fifty_refreshes_of_one_token_at_once_give_one_successor() {
    let app = TestApp::spawn().await;
    let replica = app.spawn_beside().await;
    let ada = app.user("ada", "enduser").await;

    let answers = join_all((0..50).map(|number| {
        let app = if number % 2 == 0 { &app } else { &replica };
        app.refresh(&ada.refresh)
    }))
    .await;

    let successors: BTreeSet<_> = answers
        .into_iter()
        .map(|answer| refresh_token(&answer.expect(200)))
        .collect();
    assert_eq!(successors.len(), 1);
    let successor = successors.first().unwrap();
    app.refresh(successor).await.expect(200);
    assert_eq!(app.count("sessions", doc! {}).await, 1);
    let rotated = app
        .metric(r#"auth_refreshes_total{outcome="rotated",service="auth-service"}"#)
        .await;
    let elsewhere = replica
        .metric(r#"auth_refreshes_total{outcome="rotated",service="auth-service"}"#)
        .await;
    assert!(
        (rotated + elsewhere - 2.0).abs() < 0.1,
        "one rotation of each token, not {rotated} and {elsewhere}"
    );
}

#[tokio::test]
async fn the_grace_does_not_slide() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let first = refresh_token(&app.refresh(&ada.refresh).await.expect(200));

    app.advance_secs(5);
    assert_eq!(refresh_token(&app.refresh(&ada.refresh).await.expect(200)), first);
    app.advance_secs(4);
    assert_eq!(refresh_token(&app.refresh(&ada.refresh).await.expect(200)), first);
    app.advance_secs(2);

    app.refresh(&ada.refresh)
        .await
        .expect_problem(401, "invalid_refresh_token");
    app.refresh(&first)
        .await
        .expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn a_repeat_is_no_repeat_once_the_successor_is_used() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let first = refresh_token(&app.refresh(&ada.refresh).await.expect(200));
    let second = refresh_token(&app.refresh(&first).await.expect(200));

    app.refresh(&ada.refresh)
        .await
        .expect_problem(401, "invalid_refresh_token");

    app.refresh(&second)
        .await
        .expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn without_a_grace_a_repeat_ends_the_session() {
    let app = TestApp::spawn_with(|config| config.refresh_grace = std::time::Duration::ZERO).await;
    let ada = app.user("ada", "enduser").await;
    let next = refresh_token(&app.refresh(&ada.refresh).await.expect(200));

    app.refresh(&ada.refresh)
        .await
        .expect_problem(401, "invalid_refresh_token");

    app.refresh(&next)
        .await
        .expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn reuse_ends_that_session_and_no_other_and_is_seen() {
    let app = TestApp::spawn().await;
    let stolen = app.user("ada", "enduser").await;
    let other = app.log_in("ada").await;
    let next = app.refresh(&stolen.refresh).await.expect(200);
    app.advance_secs(11);

    app.refresh(&stolen.refresh)
        .await
        .expect_problem(401, "invalid_refresh_token");

    app.refresh(&refresh_token(&next))
        .await
        .expect_problem(401, "invalid_refresh_token");
    for access in [stolen.access, access_token(&next)] {
        app.client
            .with_token(access)
            .get("/api/profile")
            .await
            .expect_problem(401, "session_revoked");
    }
    other.client.get("/api/profile").await.expect(200);
    app.refresh(&other.refresh).await.expect(200);

    let seen = app
        .metric(r#"auth_refreshes_total{outcome="reuse_detected",service="auth-service"}"#)
        .await;
    assert!((seen - 1.0).abs() < 0.1, "{seen}");
    let subject = ObjectId::parse_str(&other.id).unwrap();
    let audited = doc! { "action": "session_ended", "outcome": "reuse", "subject": subject };
    assert_eq!(app.count("audit_events", audited).await, 1);
}

#[tokio::test]
async fn a_session_ends_at_its_greatest_age_however_often_it_goes_on() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let mut token = ada.refresh;
    for _ in 0..5 {
        app.advance_secs(6 * 86_400 - 1);
        token = refresh_token(&app.refresh(&token).await.expect(200));
    }

    app.advance_secs(5);
    app.refresh(&token)
        .await
        .expect_problem(401, "invalid_refresh_token");
    assert_eq!(app.count("sessions", doc! {}).await, 0);
}

#[tokio::test]
async fn a_refresh_token_left_alone_expires() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    app.advance_secs(7 * 86_400 + 31);
    app.refresh(&ada.refresh)
        .await
        .expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn claims_are_those_of_the_user_now() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "admin").await;
    app.update_user(&ada.id, doc! { "role": "supervisor", "username": "renamed" })
        .await;

    let answer = app.refresh(&ada.refresh).await.expect(200);

    let claims = claims_of(&app, &access_token(&answer));
    assert_eq!(
        (claims.role, claims.username.as_str()),
        (Role::Supervisor, "renamed")
    );
    app.update_user(&ada.id, doc! { "role": "enduser" }).await;
    let repeated = app.refresh(&ada.refresh).await.expect(200);
    assert_eq!(claims_of(&app, &access_token(&repeated)).role, Role::EndUser);
}

#[tokio::test]
async fn whoever_may_not_sign_in_any_more_may_not_go_on() {
    for set in [doc! { "isVerified": false }, doc! { "isDisabled": true }, doc! {}] {
        let app = TestApp::spawn().await;
        let ada = app.user("ada", "enduser").await;
        let next = refresh_token(&app.refresh(&ada.refresh).await.expect(200));
        if set.is_empty() {
            app.users().delete_many(doc! {}).await.unwrap();
        } else {
            app.update_user(&ada.id, set.clone()).await;
        }

        // Also within the grace, where the token itself would still be good for a repeat.
        app.refresh(&ada.refresh)
            .await
            .expect_problem(401, "invalid_refresh_token");
        app.refresh(&next)
            .await
            .expect_problem(401, "invalid_refresh_token");

        ada.client
            .get("/api/profile")
            .await
            .expect_problem(401, "session_revoked");
        assert_eq!(app.count("sessions", doc! {}).await, 0, "{set}");
    }
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let service = app.tokens().service("proxy-service", "auth-service");
    // The signature's first letter: each of its bits counts, those of the last letter do not.
    let (signed, signature) = ada.refresh.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{signed}.{other}{}", &signature[1..]);

    for token in [
        ada.access.clone(),
        service,
        forged,
        "rubbish".to_owned(),
        "x".repeat(60_000),
    ] {
        app.refresh(&token)
            .await
            .expect_problem(401, "invalid_refresh_token");
    }
    for body in [
        json!({}),
        json!({ "refreshToken": "" }),
        json!({ "refreshToken": null }),
    ] {
        app.client
            .post("/api/auth/refresh", &body)
            .await
            .expect_problem(400, "refresh_token_missing");
    }
    for body in [
        json!({ "refreshToken": 7 }),
        json!({ "refreshToken": { "$gt": "" } }),
        json!([]),
    ] {
        app.client
            .post("/api/auth/refresh", &body)
            .await
            .expect_problem(400, "validation_failed");
    }
    app.refresh(&ada.refresh).await.expect(200);
}

#[tokio::test]
async fn two_replicas_see_the_same_sessions() {
    let app = TestApp::spawn().await;
    let replica = app.spawn_beside().await;
    let ada = app.user("ada", "enduser").await;

    let next = refresh_token(&replica.refresh(&ada.refresh).await.expect(200));
    assert_eq!(
        refresh_token(&app.refresh(&ada.refresh).await.expect(200)),
        next,
        "a repeat at the other replica"
    );
    app.client
        .post("/api/auth/logout", &json!({ "refreshToken": next }))
        .await
        .expect(200);

    replica
        .refresh(&next)
        .await
        .expect_problem(401, "invalid_refresh_token");
    let there = replica.client.with_token(&ada.access);
    there
        .get("/api/profile")
        .await
        .expect_problem(401, "session_revoked");
}
