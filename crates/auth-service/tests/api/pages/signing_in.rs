//! Into the account: with a password, a second step, a mailed code, a mailed link.

use bson::doc;
use reqwest::Method;

use super::{Browser, signed_in};
use crate::{
    second_factors::Phone,
    support::{PASSWORD, TestApp, token_of},
};

#[tokio::test]
async fn one_registers_proves_the_address_and_signs_in() {
    let app = TestApp::spawn().await;
    let mut browser = Browser::new(&app);
    let members = [
        ("username", "ada"),
        ("email", "ada@example.com"),
        ("password", PASSWORD),
        ("password_repeat", PASSWORD),
    ];
    let made = browser.fill("/register", "/register", &members).await;
    assert_eq!(made.location(), "/verify?email=ada%40example.com&done=registered");
    let early = browser.sign_in("ada").await;
    assert_eq!(early.location(), "/verify?problem=email_not_verified");

    let code = app.code("ada@example.com", 1).await;
    let wrong = [("email", "ada@example.com"), ("code", "000000")];
    browser
        .fill("/verify", "/verify", &wrong)
        .await
        .expect(400)
        .expect_text("The code is wrong or too old.");
    let right = [("email", "ada@example.com"), ("code", code.as_str())];
    assert_eq!(
        browser.fill("/verify", "/verify", &right).await.location(),
        "/login?done=verified"
    );
    browser
        .open("/login?done=verified")
        .await
        .expect_text("Your address is confirmed.");
    assert_eq!(browser.sign_in("ada").await.location(), "/");
    browser.open("/").await.expect(200).expect_text("Hello, ada");
    // Whoever is signed in has no need of the log-in page.
    assert_eq!(
        browser.open("/login?next=%2Fcredits").await.location(),
        "/credits"
    );
}

#[tokio::test]
async fn one_comes_to_where_one_wanted_to_be_and_to_nobody_elses_site() {
    let app = TestApp::spawn().await;
    app.user("ada", "enduser").await;
    for (next, location) in [
        ("/account/devices?a=b", "/account/devices?a=b"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("https://chat.example.com/", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ] {
        let mut browser = Browser::new(&app);
        let members = [("username", "ada"), ("password", PASSWORD), ("next", next)];
        assert_eq!(
            browser.fill("/login", "/login", &members).await.location(),
            location,
            "{next}"
        );
    }
}

#[tokio::test]
async fn a_wrong_password_says_no_more_than_the_api_does() {
    let app = TestApp::spawn().await;
    app.user("ursula", "enduser").await;
    let mut browser = Browser::new(&app);
    let mut pages = Vec::new();
    for username in ["ursula", "nobody"] {
        let members = [("username", username), ("password", "wrong password 1")];
        let page = browser.fill("/login", "/login", &members).await.expect(401);
        page.expect_text("User name or password is wrong.");
        pages.push(page.html.replace(username, "X"));
    }
    assert_eq!(pages[0], pages[1]);
    assert!(!browser.jar.contains_key("__Host-access"));
}

#[tokio::test]
async fn the_session_is_new_and_the_one_before_is_over() {
    let app = TestApp::spawn().await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    let before = ada.jar.clone();
    // The log-in page sends her on; a form that is sent in spite of that makes a new session of the old.
    let token = ada.open("/account").await.token();
    let members = [("username", "ada"), ("password", PASSWORD)];
    ada.submit("/login", &token, &members).await.location();
    assert_ne!(ada.jar["__Host-refresh"], before["__Host-refresh"]);
    assert_eq!(app.count("sessions", doc! {}).await, 1);
}

#[tokio::test]
async fn the_second_step_is_asked_for_and_its_token_is_in_no_page() {
    let app = TestApp::spawn().await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    let setup = ada
        .fill(
            "/account/two-factor",
            "/account/two-factor",
            &[("password", PASSWORD)],
        )
        .await
        .expect(200);
    setup.expect_text("data:image/svg+xml;base64,");
    let (_, after) = setup.html.split_once(r#"<code class="secret">"#).unwrap();
    let secret = after.split('<').next().unwrap().to_owned();
    let token = setup.token();
    ada.submit("/account/two-factor/enable", &token, &[("code", "000000")])
        .await
        .expect(400);
    let code = Phone::new(&secret).code(&app, 0);
    let on = ada
        .submit("/account/two-factor/enable", &token, &[("code", &code)])
        .await
        .expect(200);
    assert_eq!(on.html.matches("<li><code>").count(), 10);
    let (_, after) = on.html.split_once("<li><code>").unwrap();
    let recovery = after.split('<').next().unwrap().to_owned();

    let mut phone = Browser::new(&app);
    let members = [("username", "ada"), ("password", PASSWORD), ("next", "/credits")];
    let asked = phone.fill("/login", "/login", &members).await;
    assert_eq!(asked.location(), "/login/code?next=%2Fcredits");
    assert!(!phone.jar.contains_key("__Host-access"));
    let page = phone.open("/login/code?next=%2Fcredits").await.expect(200);
    assert!(!page.html.contains(&phone.jar["__Host-pending"]));
    let token = page.token();
    let wrong = [("code", "000000"), ("next", "/credits")];
    phone.submit("/login/code", &token, &wrong).await.expect(401);
    let right = [("code", recovery.as_str()), ("next", "/credits")];
    assert_eq!(
        phone.submit("/login/code", &token, &right).await.location(),
        "/credits"
    );
    assert!(phone.jar.contains_key("__Host-access") && !phone.jar.contains_key("__Host-pending"));
    // Nothing to finish: back to the beginning.
    let mut other = Browser::new(&app);
    assert_eq!(
        other.open("/login/code").await.location(),
        "/login?problem=invalid_pending_token"
    );
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_way_of_a_mail() {
    let app = TestApp::spawn().await;
    app.user("ada", "enduser").await;
    let mut browser = Browser::new(&app);
    let asked = browser
        .fill("/forgot", "/forgot", &[("email", "ada@example.com")])
        .await;
    assert_eq!(asked.location(), "/forgot?done=reset_sent");
    let mail = app.mail("ada@example.com", "Choose a new password").await;
    let link = format!("/reset-password?token={}", token_of(&mail));
    let token = token_of(&mail);
    let weak = [
        ("reset_token", token.as_str()),
        ("new_password", "short"),
        ("password_repeat", "short"),
    ];
    let page = browser.fill(&link, "/reset", &weak).await.expect(400);
    page.expect_text(&token).expect_text("At least 8 characters");
    let good = [
        ("reset_token", token.as_str()),
        ("new_password", "a new one 77"),
        ("password_repeat", "a new one 77"),
    ];
    let changed = browser.fill(&link, "/reset", &good).await;
    assert_eq!(changed.location(), "/login?done=password_changed");
    let again = browser.fill(&link, "/reset", &good).await.expect(400);
    again.expect_text("The link is not valid any more.");
    let members = [("username", "ada"), ("password", "a new one 77")];
    assert_eq!(browser.fill("/login", "/login", &members).await.location(), "/");
}

#[tokio::test]
async fn whoever_must_change_the_password_sees_nothing_else() {
    let app = TestApp::spawn().await;
    let (id, mut ada) = signed_in(&app, "ada", "enduser").await;
    app.update_user(&id, doc! { "mustChangePassword": true }).await;
    let mut ada2 = Browser::new(&app);
    assert_eq!(ada2.sign_in("ada").await.location(), "/account/password");
    for path in ["/account", "/credits", "/account/devices"] {
        assert_eq!(ada2.open(path).await.location(), "/account/password", "{path}");
    }
    assert_eq!(ada2.open("/").await.location(), "/account/password");
    let members = [
        ("current_password", PASSWORD),
        ("new_password", "a new one 77"),
        ("password_repeat", "a new one 77"),
    ];
    let changed = ada2
        .fill("/account/password", "/account/password", &members)
        .await;
    assert_eq!(changed.location(), "/account?done=password_changed");
    ada2.open("/account?done=password_changed")
        .await
        .expect(200)
        .expect_text("Your password has been changed.");
    // Everywhere else it is over.
    assert_eq!(ada.open("/account").await.location(), "/login?next=%2Faccount");
}

#[tokio::test]
async fn signing_out_is_a_form_and_ends_the_session() {
    let app = TestApp::spawn().await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    let kept = ada.jar.clone();
    assert_eq!(
        ada.fill("/account", "/logout", &[]).await.location(),
        "/login?done=signed_out"
    );
    assert!(!ada.jar.contains_key("__Host-access"));
    ada.jar = kept;
    assert_eq!(ada.open("/account").await.location(), "/login?next=%2Faccount");
    let get = ada.request(Method::GET, "/logout");
    ada.send(get).await.expect(405);
}

#[tokio::test]
async fn pages_follow_the_settings() {
    let app = TestApp::spawn().await;
    let (_, mut root) = signed_in(&app, "root1", "admin").await;
    let closed = [
        ("version", "0"),
        ("site_name", "Harbour School"),
        ("registration", "closed"),
        ("registration_domains", ""),
        ("password_min_length", "12"),
        ("require_email_verification", "on"),
        ("user_sign_in", "on"),
        ("password_sign_in", "on"),
    ];
    let version = root.open("/admin/settings").await.expect(200).html;
    let (_, after) = version.split_once(r#"name="version" value=""#).unwrap();
    let version = after.split('"').next().unwrap().to_owned();
    let mut members = closed.to_vec();
    members[0].1 = &version;
    let saved = root.fill("/admin/settings", "/admin/settings", &members).await;
    assert_eq!(saved.location(), "/admin/settings?done=saved");
    // Sent once more, it is about settings that are no longer those.
    root.fill("/admin/settings", "/admin/settings", &members)
        .await
        .expect(409)
        .expect_text("Somebody else has changed");
    let mut stranger = Browser::new(&app);
    let page = stranger.open("/login").await.expect(200);
    page.expect_text("Sign in to Harbour School");
    assert!(!page.html.contains(r#"href="/register""#));
    stranger
        .open("/register")
        .await
        .expect(200)
        .expect_text("Accounts are made by administrators here.");
}
