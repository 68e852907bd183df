//! Guessing passwords is slowed, seen, and learns nothing; people get in.

use std::time::Duration;

use bson::doc;
use futures_util::{StreamExt as _, future::join_all, stream};
use serde_json::json;
use test_support::Answer;

use crate::{
    elsewhere::{LAPTOP, behind_a_proxy},
    support::{PASSWORD, TestApp, email_of, eventually},
};

const WRONG: &str = "another password 1";
const HERE: &str = "203.0.113.5";
const THERE: &str = "198.51.100.7";

fn retry_after(answer: &Answer) -> u64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

/// The number behind `r=` or `q=` in a header.
fn number_in(answer: &Answer, header: &str, key: &str) -> u32 {
    let value = answer.headers[header].to_str().unwrap();
    let mut parameters = value.split(';');
    let found = parameters.find_map(|parameter| parameter.strip_prefix(&format!("{key}=")));
    found.unwrap().parse().unwrap()
}

async fn fail(app: &TestApp, address: &str, login: &str) -> Answer {
    app.try_log_in_from(address, LAPTOP, login, WRONG).await
}

#[tokio::test]
async fn failures_are_counted_by_all_replicas_and_over_restarts() {
    let app = TestApp::spawn_with(behind_a_proxy).await;
    let replica = app.spawn_beside().await;
    app.user("ada", "enduser").await;
    for number in 0..5 {
        let app = if number % 2 == 0 { &app } else { &replica };
        fail(app, HERE, "ada")
            .await
            .expect_problem(401, "invalid_credentials");
    }
    let restarted = app.spawn_beside().await;

    for app in [&app, &replica, &restarted] {
        let refused = app.try_log_in_from(HERE, LAPTOP, " ADA ", PASSWORD).await;
        assert_eq!(retry_after(&refused), 1);
        refused.expect_problem(429, "too_many_attempts");
    }
    app.try_log_in_from(THERE, LAPTOP, "ada", PASSWORD)
        .await
        .expect(200);
    fail(&app, HERE, "bob")
        .await
        .expect_problem(401, "invalid_credentials");
}

#[tokio::test]
async fn waits_grow_to_the_configured_longest_and_a_right_password_ends_them() {
    let app = TestApp::spawn_with(|config| {
        config.limits.free_failures = 2;
        config.limits.wait_max = Duration::from_secs(4);
    })
    .await;
    app.user("ada", "enduser").await;
    app.try_log_in("ada", WRONG).await.expect(401);
    let mut waits = Vec::new();
    for _ in 0..5 {
        app.try_log_in("ada", WRONG)
            .await
            .expect_problem(401, "invalid_credentials");
        let refused = app
            .try_log_in("ada", PASSWORD)
            .await
            .expect_problem(429, "too_many_attempts");
        waits.push(retry_after(&refused));
        app.advance_secs(i64::try_from(retry_after(&refused)).unwrap());
    }
    assert_eq!(waits, [1, 2, 4, 4, 4]);

    app.try_log_in("ada", PASSWORD).await.expect(200);
    app.try_log_in("ada", WRONG).await.expect(401);
    app.try_log_in("ada", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn failures_are_forgotten_after_a_while() {
    let app = TestApp::spawn().await;
    app.user("ada", "enduser").await;
    for _ in 0..5 {
        app.try_log_in("ada", WRONG).await.expect(401);
    }
    app.try_log_in("ada", WRONG).await.expect(429);
    app.advance_secs(15 * 60);
    for _ in 0..5 {
        app.try_log_in("ada", WRONG).await.expect(401);
    }
    app.try_log_in("ada", WRONG).await.expect(429);
}

#[tokio::test]
async fn guesses_made_at_once_are_all_counted() {
    let app = TestApp::spawn().await;
    let replica = app.spawn_beside().await;
    app.user("ada", "enduser").await;

    let answers = join_all((0..120).map(|number| {
        let app = if number % 2 == 0 { &app } else { &replica };
        app.try_log_in("ada", WRONG)
    }))
    .await;

    let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
    assert!(
        (5..=37).contains(&looked_at),
        "{looked_at} of 120 guesses were looked at"
    );
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer.status.as_u16(), 401 | 429))
    );
    app.try_log_in("ada", PASSWORD)
        .await
        .expect_problem(429, "too_many_attempts");

    // Once waits have begun, one of many is looked at.
    app.advance_secs(60);
    let answers = join_all((0..20).map(|_| app.try_log_in("ada", WRONG))).await;
    let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(looked_at, 1);
}

#[tokio::test]
async fn a_class_that_shares_an_account_signs_in_at_once() {
    let app = TestApp::spawn_with(|config| config.sessions_per_user_max = 50).await;
    app.user("class2b", "enduser").await;

    let answers = join_all((0..30).map(|_| app.try_log_in("class2b", PASSWORD))).await;

    for answer in answers {
        answer.expect(200);
    }
}

#[tokio::test]
async fn one_password_at_many_accounts_meets_the_limit_of_the_network() {
    let app = TestApp::spawn_with(|config| {
        behind_a_proxy(config);
        config.limits.login_failures = 40;
    })
    .await;
    app.user("ada", "enduser").await;
    for number in 0..40 {
        let answer = fail(&app, HERE, &format!("pupil{number}")).await.expect(401);
        assert_eq!(number_in(&answer, "ratelimit", "r"), 39 - number);
        assert_eq!(number_in(&answer, "ratelimit-policy", "q"), 40);
        assert_eq!(number_in(&answer, "ratelimit-policy", "w"), 900);
    }

    // Whoever writes more addresses into the header is still at the one that the trusted proxy saw.
    for (number, forged) in [HERE, "1.2.3.4, 203.0.113.5", "127.0.0.1, 10.0.0.9, 203.0.113.5"]
        .into_iter()
        .enumerate()
    {
        let refused = fail(&app, forged, &format!("next{number}")).await;
        assert_eq!(number_in(&refused, "ratelimit", "r"), 0);
        assert_eq!(retry_after(&refused), 23, "40 in 900 seconds");
        refused.expect_problem(429, "rate_limited");
    }
    app.try_log_in_from(THERE, LAPTOP, "ada", PASSWORD)
        .await
        .expect(200);
    let limited = app
        .metric(r#"auth_rate_limited_total{limit="login-failures",service="auth-service"}"#)
        .await;
    assert!((limited - 3.0).abs() < 0.1, "{limited}");

    app.advance_secs(23);
    app.try_log_in_from(HERE, LAPTOP, "ada", PASSWORD)
        .await
        .expect(200);
}

#[tokio::test]
async fn without_a_trusted_proxy_nobody_chooses_their_address() {
    let app = TestApp::spawn_with(|config| config.limits.login_failures = 5).await;
    app.user("ada", "enduser").await;
    for number in 0..5 {
        fail(&app, &format!("203.0.113.{number}"), &format!("pupil{number}"))
            .await
            .expect(401);
    }
    fail(&app, "203.0.113.77", "another")
        .await
        .expect_problem(429, "rate_limited");
    let event =
        doc! { "action": "login", "outcome": "invalid_credentials", "address": { "$ne": "127.0.0.1" } };
    assert_eq!(app.count("audit_events", event).await, 0);
}

#[tokio::test]
async fn an_ipv6_customer_has_one_limit() {
    let app = TestApp::spawn_with(|config| {
        behind_a_proxy(config);
        config.limits.login_failures = 5;
    })
    .await;
    for number in 0..5 {
        fail(
            &app,
            &format!("2001:db8:1:2:{number}::1"),
            &format!("pupil{number}"),
        )
        .await
        .expect(401);
    }
    fail(&app, "2001:db8:1:2:ffff::1", "another")
        .await
        .expect_problem(429, "rate_limited");
    fail(&app, "2001:db8:1:3::1", "another").await.expect(401);
}

#[tokio::test]
async fn sign_ins_that_succeed_and_waits_cost_the_network_nothing() {
    let app = TestApp::spawn_with(|config| {
        config.limits.login_failures = 8;
        config.limits.free_failures = 2;
    })
    .await;
    app.user("ada", "enduser").await;
    for _ in 0..12 {
        app.try_log_in("ada", PASSWORD).await.expect(200);
    }
    for _ in 0..2 {
        app.try_log_in("ada", WRONG).await.expect(401);
    }
    for _ in 0..12 {
        app.try_log_in("ada", WRONG)
            .await
            .expect_problem(429, "too_many_attempts");
    }
    let answer = app.try_log_in("bob", WRONG).await.expect(401);
    assert_eq!(
        number_in(&answer, "ratelimit", "r"),
        5,
        "three of eight are spent"
    );
}

#[tokio::test]
async fn a_class_of_two_hundred_behind_one_address_gets_in() {
    let app = TestApp::spawn().await;
    app.user("ada", "enduser").await;
    let hash = app.find_user(&app.log_in("ada").await.id).await.unwrap();
    let hash = hash.get_str("password").unwrap().to_owned();
    let pupils = (0..200).map(|number| {
        let name = format!("pupil{number}");
        doc! { "username": &name, "email": email_of(&name), "password": &hash, "isVerified": true }
    });
    app.users().insert_many(pupils).await.unwrap();

    let pupil = async |number: i32| {
        let name = format!("pupil{number}");
        for _ in 0..2 {
            app.try_log_in(&name, WRONG)
                .await
                .expect_problem(401, "invalid_credentials");
        }
        app.try_log_in(&name, PASSWORD).await.expect(200);
    };
    stream::iter(0..200)
        .map(pupil)
        .buffer_unordered(20)
        .collect::<()>()
        .await;
}

#[tokio::test]
async fn what_anybody_can_ask_for_has_a_limit_for_each_network() {
    let app = TestApp::spawn_with(|config| {
        behind_a_proxy(config);
        config.limits.sign_ups = 2;
        config.limits.mails = 2;
        config.limits.codes = 2;
    })
    .await;
    for (path, name) in [
        ("/api/auth/signup", "sign-up"),
        ("/api/auth/resend-verification", "mails"),
        ("/api/auth/verify-email", "codes"),
    ] {
        let ask = async |address: &str| {
            let body = json!({
                "username": "ada", "email": "ada@example.com", "password": "short", "token": "000000",
            });
            let request = app.client.request(reqwest::Method::POST, path);
            app.client
                .send(request.header("x-forwarded-for", address).json(&body))
                .await
        };
        for left in [1, 0] {
            let answer = ask(HERE).await;
            assert!(
                matches!(answer.status.as_u16(), 200 | 400),
                "{path}: {}",
                answer.text
            );
            assert_eq!(number_in(&answer, "ratelimit", "r"), left);
            assert!(
                answer.headers["ratelimit-policy"]
                    .to_str()
                    .unwrap()
                    .starts_with(&format!("\"{name}\";q=2"))
            );
        }
        let refused = ask(HERE).await;
        assert_eq!(retry_after(&refused), 450);
        refused.expect_problem(429, "rate_limited");
        assert_ne!(ask(THERE).await.status, 429);
        app.advance_secs(450);
        assert_ne!(ask(HERE).await.status, 429);
    }
    let unlimited = app.client.get("/health").await.expect(200);
    assert!(!unlimited.headers.contains_key("ratelimit"));
}

#[tokio::test]
async fn spraying_from_everywhere_is_seen_by_every_replica_and_reported_once() {
    let app = TestApp::spawn_with(|config| {
        behind_a_proxy(config);
        config.limits.spraying_accounts = 100;
    })
    .await;
    let replica = app.spawn_beside().await;
    let root = app.user("root1", "admin").await;
    let guess = async |number: i32| {
        let app = if number % 2 == 0 { &app } else { &replica };
        let address = format!("10.{}.{}.1", number / 250, number % 250);
        fail(app, &address, &format!("pupil{number}"))
            .await
            .expect_problem(401, "invalid_credentials");
    };
    stream::iter(0..150)
        .map(guess)
        .buffer_unordered(20)
        .collect::<()>()
        .await;

    eventually("both replicas have told all they saw", async || {
        let mut told = 0;
        let mut minutes = app.collection("failed_sign_ins").find(doc! {}).await.unwrap();
        while minutes.advance().await.unwrap() {
            told += minutes
                .deserialize_current()
                .unwrap()
                .get_i64("failures")
                .unwrap();
        }
        (told == 150).then_some(())
    })
    .await;
    let gauge = r#"auth_failed_accounts{service="auth-service"}"#;
    for app in [&app, &replica] {
        eventually("the gauge shows about 150", async || {
            (130.0..=170.0).contains(&app.metric(gauge).await).then_some(())
        })
        .await;
    }
    let suspected = r#"auth_password_spraying_suspected_total{service="auth-service"}"#;
    let events = async || {
        let answer = root.client.get("/api/admin/audit?action=password_spraying").await;
        answer.expect(200).body["events"].as_array().unwrap().clone()
    };
    let found = eventually("an event", async || {
        Some(events().await).filter(|found| !found.is_empty())
    })
    .await;
    assert_eq!((found.len(), &found[0]["outcome"]), (1, &json!("suspected")));
    let sum = app.metric(suspected).await + replica.metric(suspected).await;
    assert!((sum - 1.0).abs() < 0.1, "{sum}");

    app.advance_secs(11 * 60);
    for app in [&app, &replica] {
        eventually("the gauge falls", async || {
            (app.metric(gauge).await < 0.5).then_some(())
        })
        .await;
    }
    assert_eq!(events().await.len(), 1);
}

#[tokio::test]
async fn what_is_counted_names_nobody() {
    let app = TestApp::spawn_with(behind_a_proxy).await;
    fail(&app, HERE, "correct horse typed as name").await.expect(401);
    eventually("failures are told", async || {
        (app.count("failed_sign_ins", doc! {}).await == 1).then_some(())
    })
    .await;

    for name in ["throttles", "failed_sign_ins", "audit_events"] {
        let mut rows = app.collection(name).find(doc! {}).await.unwrap();
        while rows.advance().await.unwrap() {
            let row = rows.deserialize_current().unwrap().to_string();
            assert!(!row.contains("correct horse"), "{name}: {row}");
            // The trail is kept to be read, and ages by another index.
            let is_trail = name == "audit_events";
            assert_eq!(row.contains(HERE), is_trail, "{name}: {row}");
            assert_eq!(row.contains("expiresAt"), !is_trail, "{name}: {row}");
        }
    }
}

#[tokio::test]
async fn every_wrong_sign_in_costs_the_same_work() {
    let app = TestApp::spawn_with(|config| config.bcrypt_cost = 6).await;
    let with_hash = async |name: &str, hash: Option<String>, disabled: bool| {
        let mut user =
            doc! { "username": name, "email": email_of(name), "isVerified": true, "isDisabled": disabled };
        if let Some(hash) = hash {
            user.insert("password", hash);
        }
        app.users().insert_one(user).await.unwrap();
    };
    let hash = |cost| Some(bcrypt::hash(PASSWORD, cost).unwrap());
    with_hash("today", hash(6), false).await;
    with_hash("cheap", hash(4), false).await;
    with_hash("shut", hash(6), true).await;
    with_hash("cheapshut", hash(5), true).await;
    with_hash("none", None, false).await;
    with_hash("broken", Some("$2b$99$rubbish".to_owned()), false).await;
    let work = async |login: &str, password: &str| {
        let series = r#"auth_password_check_rounds_total{service="auth-service"}"#;
        let before = app.metric(series).await;
        let answer = app.try_log_in(login, password).await;
        answer.expect_problem(401, "invalid_credentials");
        format!("{}", app.metric(series).await - before)
    };

    let long = "x".repeat(50_000);
    for (login, password) in [
        ("today", WRONG),
        ("cheap", WRONG),
        ("shut", PASSWORD),
        ("shut", WRONG),
        ("cheapshut", PASSWORD),
        ("none", PASSWORD),
        ("broken", PASSWORD),
        ("nobody", PASSWORD),
        ("today", &long),
        ("nobody", &long),
        ("today", "nul\0byte"),
    ] {
        assert_eq!(work(login, password).await, "64", "{login}");
    }

    // A hash that costs more than today's: from the first look on, all cost as much.
    with_hash("dear", hash(7), false).await;
    for login in ["dear", "cheap", "nobody", "none"] {
        assert_eq!(work(login, WRONG).await, "128", "{login}");
    }
}
