//! A form is taken from the page that was shown to this very session, and from nowhere else.

use common_http::rows;
use reqwest::Method;

use super::{Browser, signed_in};
use crate::support::TestApp;

/// A path of this pattern. The form is looked at before whatever is named by it.
fn path_of(pattern: &str) -> String {
    let named = |part: &str| match part {
        "{user_id}" => "a".repeat(24),
        "{session_id}" => "01934d7a-6c1e-7b52-9f0e-3c2b8d41a9e6".to_owned(),
        part if part.starts_with('{') => "none".to_owned(),
        part => part.to_owned(),
    };
    pattern.split('/').map(named).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn no_form_is_taken_without_the_token_of_this_session() {
    let app = TestApp::spawn().await;
    let (_, mut root) = signed_in(&app, "root1", "admin").await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    let hers = ada.open("/account").await.token();
    let visitors = Browser::new(&app).open("/login").await.token();
    let all = rows(auth_service::routes);
    let first = |path: &str| path.split('/').nth(1).unwrap_or_default().to_owned();
    let pages = [
        "login", "logout", "register", "verify", "forgot", "reset", "language", "account", "admin",
    ];
    let forms: Vec<_> = all
        .iter()
        .filter(|row| row.method == "POST" && pages.contains(&first(&row.path).as_str()))
        .collect();
    assert!(forms.len() > 30, "{}", forms.len());
    for row in forms {
        let path = path_of(&row.path);
        for token in ["", "0123456789abcdef0123456789abcdef", &hers, &visitors] {
            let page = root
                .submit(&path, token, &[("password", "x"), ("understood", "on")])
                .await;
            assert_eq!(page.status, 403, "{path} with {token:?}: {}", page.html);
            page.expect_text("This form was too old or not made for you.");
        }
        let json = root
            .request(Method::POST, &path)
            .header("sec-fetch-site", "same-origin");
        let json = json.json(&serde_json::json!({}));
        root.send(json).await.expect(415);
    }
    root.open("/admin").await.expect(200);
}

#[tokio::test]
async fn somebody_who_is_not_signed_in_has_a_token_of_their_own() {
    let app = TestApp::spawn().await;
    let (mut one, mut other) = (Browser::new(&app), Browser::new(&app));
    let token = one.open("/forgot").await.token();
    other.open("/forgot").await;
    other
        .submit("/forgot", &token, &[("email", "a@example.com")])
        .await
        .expect(403);
    assert_eq!(
        one.submit("/forgot", &token, &[("email", "a@example.com")])
            .await
            .location(),
        "/forgot?done=reset_sent"
    );
    // Signing in makes another of it.
    app.user("ada", "enduser").await;
    one.sign_in("ada").await.location();
    one.submit("/account/profile", &token, &[("username", "eve")])
        .await
        .expect(403);
}

#[tokio::test]
async fn what_was_typed_stays_but_no_password() {
    let app = TestApp::spawn().await;
    let mut browser = Browser::new(&app);
    let members = [
        ("username", "a<b>\"c"),
        ("email", "not an address"),
        ("password", "topsecret9"),
        ("password_repeat", "topsecret9"),
    ];
    let page = browser.fill("/register", "/register", &members).await.expect(400);
    page.expect_text("a&#60;b&#62;&#34;c")
        .expect_text("This is not an e-mail address.");
    page.expect_text(r#"aria-describedby="email-error""#);
    assert!(!page.html.contains("topsecret9"));
    let differ = [
        ("username", "ada"),
        ("email", "ada@example.com"),
        ("password", "plenty of trees 9"),
        ("password_repeat", "other"),
    ];
    browser
        .fill("/register", "/register", &differ)
        .await
        .expect(400)
        .expect_text("The two are not the same.");
}

#[tokio::test]
async fn a_form_that_is_too_large_is_refused() {
    let app = TestApp::spawn().await;
    let mut browser = Browser::new(&app);
    let large = "x".repeat(110 * 1024);
    browser
        .fill("/forgot", "/forgot", &[("email", &large)])
        .await
        .expect(413);
}
