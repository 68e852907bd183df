//! What providers, strangers and networks may try (security checks C1-C3, C10, C12, C14, C16, C17).

use std::time::Duration;

use bson::doc;
use serde_json::{Value, json};

use super::{School, add_provider, parameter, path_of, with_parameter};
use crate::{
    oidc::{CLIENT_ID, CLIENT_SECRET, Door, Lies, Signing, StandInProvider, Stranger, Trouble},
    support::TestApp,
};

/// Nobody was let in, and nobody was made.
async fn nothing_happened(school: &School) {
    assert_eq!(school.app.count("users", doc! {}).await, 1);
    assert_eq!(school.app.count("sessions", doc! {}).await, 1, "the admin's");
}

#[tokio::test]
async fn a_state_is_good_once_for_one_provider_in_one_browser() {
    let school = School::open().await;
    let issuer = school.idp.issuer();
    let other =
        json!({ "name": "other", "issuer": issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET });
    add_provider(&school.root, &other).await;
    let mut browser = school.browser();
    let url = browser.begin("school", "").await;
    let back = browser.visit(&url).await;

    // C1, C17: an attacker's answer in the victim's browser, without a cookie and with the victim's own.
    school
        .browser()
        .come_back(&back)
        .await
        .expect_problem(400, "invalid_state");
    let mut victim = school.browser();
    victim.begin("school", "").await;
    victim.come_back(&back).await.expect_problem(400, "invalid_state");
    for state in [None, Some(""), Some("x"), Some(&"0".repeat(64)[..])] {
        let changed = with_parameter(&back, "state", state);
        browser
            .come_back(&changed)
            .await
            .expect_problem(400, "invalid_state");
    }
    let mut elsewhere = back.clone();
    elsewhere.set_path("/api/v1/auth/oauth/other/callback");
    browser
        .come_back(&elsewhere)
        .await
        .expect_problem(400, "invalid_state");
    nothing_happened(&school).await;
    browser.come_back(&back).await.expect(200);
    browser
        .come_back(&back)
        .await
        .expect_problem(400, "invalid_state");

    let url = browser.begin("school", "").await;
    let back = browser.visit(&url).await;
    school.app.advance_secs(601);
    browser
        .come_back(&back)
        .await
        .expect_problem(400, "invalid_state");
}

#[tokio::test]
async fn of_many_who_come_back_with_one_state_at_once_one_gets_in() {
    let school = School::open().await;
    school.arrives("1001", "ada@example.com").await.expect(200);
    school.lies(|lies| lies.forgets_used_codes = true);
    let mut browser = school.browser();
    let url = browser.begin("school", "").await;
    let back = browser.visit(&url).await;
    let tries = futures_util::future::join_all((0..8).map(|_| browser.come_back(&back))).await;
    let in_count = tries.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(in_count, 1);
}

#[tokio::test]
async fn a_code_of_another_sign_in_is_worth_nothing() {
    let school = School::open().await;
    // C2, and an injected code: the attacker's browser brings the victim's code with a state of its own.
    let mut victim = school.browser();
    let stolen = victim.go("school").await;
    let mut attacker = school.browser();
    let own = attacker.go("school").await;
    let mixed = with_parameter(&own, "code", parameter(&stolen, "code").as_deref());
    attacker
        .come_back(&mixed)
        .await
        .expect_problem(400, "provider_refused");
    nothing_happened(&school).await;

    let mut browser = school.browser();
    let used = browser.go("school").await;
    browser.come_back(&used).await.expect(200);
    let fresh = browser.go("school").await;
    let replayed = with_parameter(&fresh, "code", parameter(&used, "code").as_deref());
    browser
        .come_back(&replayed)
        .await
        .expect_problem(400, "provider_refused");
    for code in [None, Some(""), Some(&"x".repeat(5_000)[..])] {
        let fresh = browser.go("school").await;
        let without = with_parameter(&fresh, "code", code);
        browser
            .come_back(&without)
            .await
            .expect_problem(400, "provider_refused");
    }
}

#[tokio::test]
async fn every_false_id_token_is_refused() {
    let school = School::open().await;
    let now = school.app.clock.now().timestamp();
    let claims = |claims: Value| Lies {
        claims,
        ..Lies::default()
    };
    let signing = |signing: Signing| Lies {
        signing,
        ..Lies::default()
    };
    for lies in [
        claims(json!({ "iss": "https://evil.example" })),
        claims(json!({ "iss": format!("{}/", school.idp.issuer()) })),
        claims(json!({ "aud": "another-client" })),
        claims(json!({ "aud": [CLIENT_ID, "another-client"] })),
        claims(json!({ "azp": "another-client" })),
        claims(json!({ "nonce": "0".repeat(64) })),
        claims(json!({ "nonce": null })),
        claims(json!({ "exp": now - 31 })),
        claims(json!({ "iat": now + 31 })),
        claims(json!({ "nbf": now + 31 })),
        claims(json!({ "sub": null })),
        claims(json!({ "sub": "" })),
        signing(Signing::None),
        signing(Signing::PublicKeyAsSecret),
        signing(Signing::ClientSecret),
        signing(Signing::OtherKey),
        signing(Signing::UnknownKey),
        signing(Signing::Critical),
    ] {
        let what = format!("{lies:?}");
        school.idp.lies(lies);
        let answer = school.browser().sign_in("school").await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["code"]),
            (401, &json!("identity_refused")),
            "{what}"
        );
        nothing_happened(&school).await;
    }
    school.lies(|_| {});
    school.browser().sign_in("school").await.expect(200);
}

#[tokio::test]
async fn an_answer_of_another_provider_is_noticed() {
    let school = School::open().await;
    let evil = StandInProvider::start(school.app.clock.clone());
    // C12: the honest provider's answer says whose it is.
    for issuer in [evil.issuer(), ""] {
        school.lies(|lies| lies.answered_issuer = Some(issuer.to_owned()));
        school
            .browser()
            .sign_in("school")
            .await
            .expect_problem(400, "issuer_mismatch");
    }
    assert_eq!(school.idp.visits("/token"), 0, "no code was sent anywhere");
    // And whoever publishes another's metadata is not believed.
    let body = json!({ "name": "evil", "issuer": evil.issuer(), "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET });
    add_provider(&school.root, &body).await;
    evil.lies(Lies {
        discovered_issuer: Some(school.idp.issuer().to_owned()),
        ..Lies::default()
    });
    let path = "/api/v1/auth/oauth/evil/authorize";
    school
        .app
        .client
        .get(path)
        .await
        .expect_problem(502, "provider_unreachable");
    nothing_happened(&school).await;
}

#[tokio::test]
async fn userinfo_about_somebody_else_is_refused() {
    let school = School::open().await;
    school.lies(|lies| {
        lies.email_at_userinfo_only = true;
        lies.userinfo_subject = Some("somebody-else".to_owned());
    });
    school
        .browser()
        .sign_in("school")
        .await
        .expect_problem(401, "identity_refused");
    nothing_happened(&school).await;
    school.lies(|lies| lies.email_at_userinfo_only = true);
    let known = school.browser().sign_in("school").await.expect(200);
    assert_eq!(known.body["user"]["email"], "ada@example.com");
}

#[tokio::test]
async fn new_keys_are_looked_for_once_a_minute() {
    let school = School::open().await;
    school.browser().sign_in("school").await.expect(200);
    school.lies(|lies| lies.signing = Signing::UnknownKey);
    for _ in 0..5 {
        school
            .browser()
            .sign_in("school")
            .await
            .expect_problem(401, "identity_refused");
    }
    assert_eq!(
        school.idp.visits("/keys"),
        1,
        "they were read less than a minute ago"
    );
    school.app.advance_secs(61);
    for _ in 0..5 {
        school
            .browser()
            .sign_in("school")
            .await
            .expect_problem(401, "identity_refused");
    }
    assert_eq!(school.idp.visits("/keys"), 2);
    school.lies(|_| {});
    school.idp.rotates_to("second");
    school.app.advance_secs(61);
    school.browser().sign_in("school").await.expect(200);
    assert_eq!(school.idp.visits("/keys"), 3);
}

#[tokio::test]
async fn doors_that_misbehave_hold_nobody_up_and_lead_nowhere() {
    let app = TestApp::spawn_with(|config| config.provider_timeout = Duration::from_millis(300)).await;
    let idp = StandInProvider::start(app.clock.clone());
    let school = School::with(app, idp).await;
    let inside = StandInProvider::start(school.app.clock.clone());
    for door in [Door::Discovery, Door::Keys, Door::Token, Door::UserInfo] {
        for trouble in [
            Trouble::Huge,
            Trouble::RedirectTo(format!("{}/userinfo", inside.issuer())),
            Trouble::Silent,
            Trouble::Broken,
            Trouble::NotJson,
        ] {
            // Whatever was read before counts no more.
            school.app.advance_secs(3_601);
            let what = format!("{door:?} {trouble:?}");
            school.lies(|lies| {
                lies.troubles = vec![(door, trouble)];
                lies.email_at_userinfo_only = true;
            });
            let mut browser = school.browser();
            let begun = browser.get("/api/v1/auth/oauth/school/authorize").await;
            let answer = if door == Door::Discovery {
                begun
            } else {
                browser.sign_in("school").await
            };
            assert_eq!(
                (answer.status.as_u16(), &answer.body["code"]),
                (502, &json!("provider_unreachable")),
                "{what}"
            );
            assert!(!answer.text.contains("inside"), "{what}: {}", answer.text);
        }
    }
    assert_eq!(inside.all_visits(), 0, "no redirect was followed");
    nothing_happened(&school).await;
    school.lies(|_| {});
    school.app.advance_secs(6);
    school.browser().sign_in("school").await.expect(200);
}

#[tokio::test]
async fn providers_inside_the_network_are_refused() {
    let app = TestApp::spawn_with(|config| config.private_providers = false).await;
    let root = app.user("root1", "admin").await;
    let path = "/api/v1/admin/oauth-providers";
    for address in [
        "http://login.example.com",
        "https://127.0.0.1",
        "https://localhost",
        "https://169.254.169.254/latest",
        "https://10.0.0.7",
        "https://[::1]",
        "https://[fd00::1]",
        "https://[::ffff:10.0.0.1]",
        "https://0x7f000001",
        "https://2130706433",
        "https://user@login.example.com",
        "file:///etc/passwd",
        "https://",
        "gopher://x",
    ] {
        let oidc = json!({ "name": "a", "issuer": address, "client_id": "x", "client_secret": "y" });
        root.client
            .post(path, &oidc)
            .await
            .expect_problem(400, "validation_failed");
        for field in ["authorize_url", "token_url", "userinfo_url"] {
            let mut plain = json!({
                "name": "a", "kind": "oauth2", "client_id": "x", "client_secret": "y",
                "authorize_url": "https://8.8.8.8/a", "token_url": "https://8.8.8.8/t", "userinfo_url": "https://8.8.8.8/u",
            });
            plain[field] = json!(address);
            let refused = root
                .client
                .post(path, &plain)
                .await
                .expect_problem(400, "validation_failed");
            assert_eq!(refused.body["errors"][0]["field"], field, "{address}");
        }
    }
    assert_eq!(app.count("sign_in_providers", doc! {}).await, 0);
}

/// A name that means a public address when it is typed in and an inside one later: the connection looks for itself.
#[tokio::test]
async fn a_name_that_leads_inside_later_is_not_followed() {
    let lenient = TestApp::spawn().await;
    let idp = StandInProvider::start(lenient.clock.clone());
    let school = School::with(lenient, idp).await;
    let port = school.idp.issuer().rsplit(':').next().unwrap().to_owned();
    // As if its name had been public when the admin typed it.
    let issuer = format!("https://localhost:{port}");
    let rows = school.app.collection("sign_in_providers");
    rows.update_one(doc! {}, doc! { "$set": { "issuer": issuer } })
        .await
        .unwrap();
    let strict = school
        .app
        .spawn_beside_with(|config| config.private_providers = false)
        .await;
    let path = "/api/v1/auth/oauth/school/authorize";
    strict
        .client
        .get(path)
        .await
        .expect_problem(502, "provider_unreachable");
    assert_eq!(school.idp.all_visits(), 0);
}

#[tokio::test]
async fn who_says_no_there_is_not_signed_in_here() {
    let school = School::open().await;
    school.lies(|lies| lies.denies = true);
    let answer = school
        .browser()
        .sign_in("school")
        .await
        .expect_problem(400, "provider_refused");
    assert!(
        !answer.text.contains("access_denied"),
        "nothing of the address is repeated"
    );
    // A code beside an error is no code.
    school.lies(|_| {});
    let mut browser = school.browser();
    let back = browser.go("school").await;
    let both = format!("{}&error=access_denied", path_of(&back));
    browser.get(&both).await.expect_problem(400, "provider_refused");
    nothing_happened(&school).await;
}

#[tokio::test]
async fn an_unproven_address_opens_no_account() {
    let school = School::open().await;
    let victim = school.app.user("victim", "enduser").await;
    for email_verified in [Some(false), None] {
        school.idp.becomes(Stranger {
            email_verified,
            ..Stranger::new("666", "victim@example.com")
        });
        // C4
        school
            .browser()
            .sign_in("school")
            .await
            .expect_problem(403, "verified_email_needed");
    }
    for email in [
        None,
        Some("not an address"),
        Some("victim@example.com\nx"),
        Some("v\u{456}ctim@example.com"),
    ] {
        school.idp.becomes(Stranger {
            email: email.map(str::to_owned),
            ..Stranger::new("667", "x@example.com")
        });
        school
            .browser()
            .sign_in("school")
            .await
            .expect_problem(403, "verified_email_needed");
    }
    assert!(school.identities_of(&victim.id).await.is_empty());
    // Only where an administrator vouches for the provider does silence count as a yes.
    school.edit(&json!({ "trust_email": true })).await.expect(200);
    school.idp.becomes(Stranger {
        email_verified: Some(false),
        ..Stranger::new("668", "x@example.com")
    });
    school
        .browser()
        .sign_in("school")
        .await
        .expect_problem(403, "verified_email_needed");
    school.idp.becomes(Stranger {
        email_verified: None,
        ..Stranger::new("668", "x@example.com")
    });
    school.browser().sign_in("school").await.expect(200);
}
