//! Signing in: the ways that lead somewhere.

use bson::doc;
use serde_json::json;

use super::{Browser, PUBLIC, School, add_provider, parameter, path_of};
use crate::{
    oidc::{CLIENT_ID, CLIENT_SECRET, StandInProvider, Stranger},
    support::{PASSWORD, TestApp, text},
};

#[tokio::test]
async fn somebody_new_signs_in_gets_an_account_and_is_the_same_next_time() {
    let app = TestApp::spawn().await;
    let idp = StandInProvider::start_with_rsa(app.clock.clone());
    let school = School::with(app, idp).await;
    let buttons = school
        .app
        .client
        .get("/api/v1/auth/oauth/providers")
        .await
        .expect(200);
    assert_eq!(buttons.body["providers"][0]["display_name"], "Our school");
    school.idp.becomes(Stranger::new("1001", "Ada@Example.com"));

    let first = school.browser().sign_in("school").await.expect(200);

    let person = &first.body["user"];
    assert_eq!(
        (&person["username"], &person["email"], &person["role"]),
        (&json!("Ada"), &json!("ada@example.com"), &json!("enduser"))
    );
    let ada = school.app.client.with_token(text(&first.body["access_token"]));
    let account = ada.get("/api/v1/auth/account").await.expect(200);
    assert_eq!(account.body["user"]["has_password"], false);
    let linked = &account.body["user"]["oauth_accounts"][0];
    assert_eq!(
        (&linked["provider"], &linked["provider_user_id"]),
        (&json!("school"), &json!("1001"))
    );
    let sessions = ada.get("/api/sessions").await.expect(200);
    assert_eq!(sessions.body["sessions"][0]["authMethod"], "oauth_school");
    school
        .app
        .refresh(&text(&first.body["refresh_token"]))
        .await
        .expect(200);
    // The address elsewhere changes, to that of somebody here even (C9).
    school.idp.becomes(Stranger::new("1001", "root1@example.com"));
    let second = school.browser().sign_in("school").await.expect(200);
    assert_eq!(second.body["user"], *person);
    assert_eq!(school.app.count("users", doc! {}).await, 2);
    school.app.audited("login", "ok", 3).await;
}

#[tokio::test]
async fn the_provider_is_asked_as_the_standards_want_it() {
    let school = School::open().await;
    school.browser().sign_in("school").await.expect(200);
    let again = school.browser().sign_in("school").await.expect(200);

    let asked = school.idp.asked();
    let (first, second) = (&asked[0].parameters, &asked[1].parameters);
    assert_eq!(first["code_challenge_method"], "S256");
    assert_eq!(
        first["redirect_uri"],
        format!("{PUBLIC}/api/v1/auth/oauth/school/callback")
    );
    assert!(first["scope"].split(' ').any(|word| word == "openid"));
    for fresh in ["state", "nonce", "code_challenge"] {
        assert!(
            first[fresh].len() >= 43 && first[fresh] != second[fresh],
            "{fresh}"
        );
    }
    assert!(!again.text.contains(CLIENT_SECRET));
    assert_eq!(school.idp.visits("/keys"), 1, "kept between sign-ins");
    assert_eq!(school.idp.visits("/.well-known/openid-configuration"), 1);
}

#[tokio::test]
async fn the_cookie_is_for_this_host_and_this_browser_alone() {
    let school = School::open().await;
    let answer = school
        .app
        .client
        .get("/api/v1/auth/oauth/school/authorize")
        .await
        .expect(200);
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    for part in ["__Host-oauth=", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"));

    let plain = school
        .app
        .spawn_beside_with(|config| config.secure_cookies = false)
        .await;
    let answer = plain
        .client
        .get("/api/v1/auth/oauth/school/authorize")
        .await
        .expect(200);
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.starts_with("oauthBrowser=") && cookie.contains("HttpOnly"),
        "{cookie}"
    );
}

#[tokio::test]
async fn two_tabs_sign_in_at_once_on_two_replicas() {
    let school = School::open().await;
    let other = school.app.spawn_beside().await;
    let mut browser = school.browser();
    let first = browser.begin("school", "").await;
    let second = browser.begin("school", "").await;
    let back = browser.visit(&second).await;
    browser.come_back(&back).await.expect(200);
    let back = browser.visit(&first).await;
    let elsewhere = Browser {
        app: &other,
        cookie: browser.cookie.clone(),
    };
    elsewhere.come_back(&back).await.expect(200);
    assert_eq!(school.app.count("users", doc! {}).await, 2);
}

#[tokio::test]
async fn a_web_client_elsewhere_gets_a_code_and_no_token_in_an_address() {
    let school = School::open().await;
    let verifier = "a-verifier-of-the-web-client-of-43-characters";
    let challenge = challenge_of(verifier);
    let next = "https%3A%2F%2Fapp.example.com%2Fdone%3Fa%3Db";
    // The client has no cookies here: it asks with its own HTTP, and opens a browser.
    let asked = format!(
        "/api/v1/auth/oauth/school/authorize?next={next}&code_challenge={challenge}&code_challenge_method=S256"
    );
    let answer = school.app.client.get(&asked).await.expect(200);
    assert!(!answer.headers.contains_key("set-cookie"));
    let browser = school.browser();
    let back = browser
        .visit(answer.body["authorization_url"].as_str().unwrap())
        .await;

    let sent_on = browser.come_back(&back).await.expect(303);

    let sent_on: url::Url = sent_on.headers["location"].to_str().unwrap().parse().unwrap();
    assert!(
        sent_on
            .as_str()
            .starts_with("https://app.example.com/done?a=b&code="),
        "{sent_on}"
    );
    let code = parameter(&sent_on, "code").unwrap();
    let token = "/api/v1/auth/oauth/token";
    let wrong = json!({ "code": code, "code_verifier": format!("{verifier}x") });
    school
        .app
        .client
        .post(token, &wrong)
        .await
        .expect_problem(400, "invalid_sign_in_code");
    // Presented once, by whomever, it is worth nothing more.
    let right = json!({ "code": code, "code_verifier": verifier });
    school
        .app
        .client
        .post(token, &right)
        .await
        .expect_problem(400, "invalid_sign_in_code");

    let answer = school.app.client.get(&asked).await.expect(200);
    let back = browser
        .visit(answer.body["authorization_url"].as_str().unwrap())
        .await;
    let sent_on = browser.come_back(&back).await.expect(303);
    let sent_on: url::Url = sent_on.headers["location"].to_str().unwrap().parse().unwrap();
    let right = json!({ "code": parameter(&sent_on, "code"), "code_verifier": verifier });
    let known = school.app.client.post(token, &right).await.expect(200);
    assert_eq!(known.body["user"]["email"], "ada@example.com");
    school
        .app
        .client
        .post(token, &right)
        .await
        .expect_problem(400, "invalid_sign_in_code");
}

#[tokio::test]
async fn a_page_of_ours_is_sent_on_with_a_code_or_with_an_error() {
    let school = School::open().await;
    let mut browser = school.browser();
    let url = browser.begin("school", "?next=/account").await;
    let back = browser.visit(&url).await;
    let sent_on = browser.come_back(&back).await.expect(303);
    let sent_on = sent_on.headers["location"].to_str().unwrap().to_owned();
    let code = sent_on.strip_prefix("/account?code=").unwrap();

    let other = school.browser();
    other
        .post("/api/v1/auth/oauth/token", &json!({ "code": code }))
        .await
        .expect_problem(400, "invalid_sign_in_code");
    school.lies(|lies| lies.denies = true);
    let url = browser.begin("school", "?next=/account").await;
    let back = browser.visit(&url).await;
    let sent_on = browser.come_back(&back).await.expect(303);
    assert_eq!(sent_on.headers["location"], "/account?error=provider_refused");
    school.lies(|_| {});
    let url = browser.begin("school", "?next=/account").await;
    let back = browser.visit(&url).await;
    let sent_on = browser.come_back(&back).await.expect(303);
    let sent_on = sent_on.headers["location"].to_str().unwrap().to_owned();
    let code = json!({ "code": sent_on.strip_prefix("/account?code=").unwrap() });
    browser.post("/api/v1/auth/oauth/token", &code).await.expect(200);

    let url = browser.begin("school", "?next=/account").await;
    let back = browser.visit(&url).await;
    let sent_on = browser.come_back(&back).await.expect(303);
    let sent_on = sent_on.headers["location"].to_str().unwrap().to_owned();
    let code = json!({ "code": sent_on.strip_prefix("/account?code=").unwrap() });
    school.app.advance_secs(61);
    browser
        .post("/api/v1/auth/oauth/token", &code)
        .await
        .expect_problem(400, "invalid_sign_in_code");
}

#[tokio::test]
async fn a_client_that_receives_the_answer_itself_is_one_that_an_admin_listed() {
    let school = School::open().await;
    let own = "http://127.0.0.1:8765/back";
    let asked = "/api/v1/auth/oauth/school/authorize?redirect_uri=http%3A%2F%2F127.0.0.1%3A8765%2Fback";
    school
        .app
        .client
        .get(asked)
        .await
        .expect_problem(400, "validation_failed");
    school.edit(&json!({ "redirect_uris": [own] })).await.expect(200);
    for near in ["%2F", "%3Fx", "x"] {
        let near = format!("{asked}{near}");
        school
            .app
            .client
            .get(&near)
            .await
            .expect_problem(400, "validation_failed");
    }
    let verifier = "b".repeat(64);
    let asked = format!("{asked}&code_challenge={}", challenge_of(&verifier));
    let answer = school.app.client.get(&asked).await.expect(200);
    let browser = school.browser();
    let back = browser
        .visit(answer.body["authorization_url"].as_str().unwrap())
        .await;
    assert!(back.as_str().starts_with(own));

    let path = "/api/v1/auth/oauth/school/callback";
    let mut body = json!({ "state": parameter(&back, "state"), "code": parameter(&back, "code"), "iss": parameter(&back, "iss") });
    browser
        .post(path, &body)
        .await
        .expect_problem(400, "invalid_state");
    body["code_verifier"] = json!("c".repeat(64));
    browser
        .post(path, &body)
        .await
        .expect_problem(400, "invalid_state");
    body["code_verifier"] = json!(verifier);
    let known = browser.post(path, &body).await.expect(200);
    assert_eq!(known.body["user"]["email"], "ada@example.com");
    browser
        .post(path, &body)
        .await
        .expect_problem(400, "invalid_state");
}

#[tokio::test]
async fn what_is_asked_for_has_to_be_sound() {
    let school = School::open().await;
    let challenge = challenge_of(&"v".repeat(50));
    for query in [
        "next=//evil.example",
        "next=/%5Cevil.example",
        "next=https:evil.example",
        "next=javascript:alert(1)",
        "next=https%3A%2F%2Fevil.example%2F",
        "redirect_uri=https%3A%2F%2Fevil.example%2F",
        "code_challenge=short",
        &format!("code_challenge={challenge}"),
        &format!("next=/a&code_challenge={challenge}&code_challenge_method=plain"),
    ] {
        let path = format!("/api/v1/auth/oauth/school/authorize?{query}");
        school
            .app
            .client
            .get(&path)
            .await
            .expect_problem(400, "validation_failed");
    }
    let nobody = "/api/v1/auth/oauth/nobody/authorize";
    school
        .app
        .client
        .get(nobody)
        .await
        .expect_problem(404, "provider_not_found");
    assert_eq!(school.app.count("sign_in_flows", doc! {}).await, 0);
}

#[tokio::test]
async fn plain_oauth_asks_who_somebody_is() {
    let school = School::open().await;
    let issuer = school.idp.issuer();
    let body = json!({
        "name": "club", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "scope": "profile",
        "authorize_url": format!("{issuer}/authorize"), "token_url": format!("{issuer}/token"),
        "userinfo_url": format!("{issuer}/userinfo"),
    });
    add_provider(&school.root, &body).await;

    let known = school.browser().sign_in("club").await.expect(200);

    assert_eq!(known.body["user"]["email"], "ada@example.com");
    // The same subject of another provider is somebody else (C8).
    let other = school
        .browser()
        .sign_in("school")
        .await
        .expect_problem(409, "link_required");
    assert_eq!(other.body["proofs"], json!(["session", "mail"]));
    school.idp.becomes(Stranger {
        subject: String::new(),
        ..Stranger::new("", "nobody@example.com")
    });
    school
        .browser()
        .sign_in("club")
        .await
        .expect_problem(401, "identity_refused");
}

#[tokio::test]
async fn of_github_only_proven_addresses_count() {
    let school = School::open().await;
    let issuer = school.idp.issuer();
    let body = json!({
        "preset": "github", "name": "hub", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
        "authorize_url": format!("{issuer}/authorize"), "token_url": format!("{issuer}/token"),
        "userinfo_url": format!("{issuer}/user"),
    });
    add_provider(&school.root, &body).await;
    school.idp.becomes(Stranger::new("583231", "root1@example.com"));
    school.lies(|lies| {
        lies.github_emails = Some(json!([
            { "email": "root1@example.com", "primary": true, "verified": false },
            { "email": "octo@example.com", "primary": false, "verified": true },
        ]));
    });
    let known = school.browser().sign_in("hub").await.expect(200);
    assert_eq!(known.body["user"]["email"], "octo@example.com");
    let ids = school
        .identities_of(known.body["user"]["id"].as_str().unwrap())
        .await;
    assert_eq!(ids[0]["provider_user_id"], "583231");
    // Another server counts from one as well: its 583231 is somebody else.
    let mut another = body.clone();
    another["name"] = json!("enterprise");
    add_provider(&school.root, &another).await;
    school
        .browser()
        .sign_in("enterprise")
        .await
        .expect_problem(409, "link_required");

    school.idp.becomes(Stranger::new("583232", "mona@example.com"));
    school.lies(|lies| {
        lies.github_emails =
            Some(json!([{ "email": "mona@example.com", "primary": true, "verified": false }]));
    });
    school
        .browser()
        .sign_in("hub")
        .await
        .expect_problem(403, "verified_email_needed");
}

#[tokio::test]
async fn a_second_factor_here_is_asked_for_still() {
    let school = School::open().await;
    let ada = school.app.user("ada", "enduser").await;
    school.link(&ada, "1001").await.expect(200);
    let (phone, _) = crate::second_factors::enable(&school.app, &ada).await;
    school.idp.becomes(Stranger::new("1001", "elsewhere@example.org"));

    let half = school.browser().sign_in("school").await.expect(200);

    assert_eq!(half.body["totp_required"], true);
    assert!(half.body.get("access_token").is_none());
    let body = json!({ "pendingToken": half.body["pending_token"], "code": phone.code(&school.app, 0) });
    let whole = school
        .app
        .client
        .post("/api/auth/verify-2fa", &body)
        .await
        .expect(200);
    let whole = school.app.client.with_token(text(&whole.body["accessToken"]));
    let sessions = whole.get("/api/sessions").await.expect(200);
    let methods: Vec<_> = sessions.body["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["authMethod"])
        .collect();
    assert!(methods.contains(&&json!("oauth_school+totp")), "{methods:?}");
}

#[tokio::test]
async fn who_is_shut_out_stays_out() {
    let school = School::open().await;
    let known = school.arrives("1001", "ada@example.com").await.expect(200);
    let id = text(&known.body["user"]["id"]);
    school.app.update_user(&id, doc! { "isDisabled": true }).await;
    school
        .browser()
        .sign_in("school")
        .await
        .expect_problem(401, "invalid_credentials");
    school
        .app
        .update_user(&id, doc! { "isDisabled": false, "isVerified": false })
        .await;
    school
        .browser()
        .sign_in("school")
        .await
        .expect_problem(401, "email_not_verified");
    school.app.update_user(&id, doc! { "isVerified": true }).await;
    school.edit(&json!({ "is_active": false })).await.expect(200);
    school
        .app
        .client
        .get("/api/v1/auth/oauth/school/authorize")
        .await
        .expect_problem(404, "provider_not_found");
    let buttons = school
        .app
        .client
        .get("/api/v1/auth/oauth/providers")
        .await
        .expect(200);
    assert_eq!(buttons.body["providers"], json!([]));
    assert!(
        school
            .app
            .try_log_in("ada", PASSWORD)
            .await
            .status
            .is_client_error(),
        "there is no password"
    );
}

#[tokio::test]
async fn an_answer_of_a_provider_that_was_shut_meanwhile_counts_no_more() {
    let school = School::open().await;
    let mut browser = school.browser();
    let url = browser.begin("school", "").await;
    let back = browser.visit(&url).await;
    school.edit(&json!({ "is_active": false })).await.expect(200);
    browser
        .get(&path_of(&back))
        .await
        .expect_problem(400, "invalid_state");
}

fn challenge_of(verifier: &str) -> String {
    auth_service::domain::one_time::challenge_of(verifier)
}
