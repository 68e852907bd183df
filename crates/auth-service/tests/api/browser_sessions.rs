//! The session in a browser: two cookies that no script reads, taken from our own pages only.

use bson::doc;
use reqwest::Method;
use test_support::Answer;

use crate::support::{SignedIn, TestApp, cookies_of};

/// A browser's cookies for somebody who is signed in.
fn jar(who: &SignedIn) -> String {
    format!("__Host-access={}; __Host-refresh={}", who.access, who.refresh)
}

/// Where a page of ours sends it from.
const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

async fn posted(app: &TestApp, path: &str, jar: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = app.client.request(Method::POST, path).header("cookie", jar);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.client.send(request).await
}

/// The cookies that an answer sets, as the browser sends them back.
fn next_jar(answer: &Answer) -> String {
    let cookies = cookies_of(answer);
    let pairs = cookies.iter().map(|cookie| cookie.split(';').next().unwrap());
    pairs.collect::<Vec<_>>().join("; ")
}

async fn profile(app: &TestApp, jar: &str) -> Answer {
    let request = app.client.request(Method::GET, "/api/profile");
    let request = request.header("cookie", jar).header(OWN.0, OWN.1);
    app.client.send(request).await
}

#[tokio::test]
async fn a_page_of_ours_continues_the_session() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    profile(&app, &jar(&ada)).await.expect(200);

    let answer = posted(&app, "/session/refresh", &jar(&ada), &[OWN])
        .await
        .expect(204);
    let cookies = cookies_of(&answer);
    assert_eq!(cookies.len(), 2);
    assert!(cookies[0].starts_with("__Host-access=") && cookies[0].contains("Max-Age=900"));
    assert!(cookies[1].starts_with("__Host-refresh=") && cookies[1].contains("Max-Age=604800"));
    for cookie in &cookies {
        for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
    }
    assert!(answer.text.is_empty(), "no token is where a script could read it");
    profile(&app, &next_jar(&answer)).await.expect(200);
}

#[tokio::test]
async fn no_other_page_can_use_it() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "cross-site"), ("origin", &app.base)],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        // May call with tokens of its own, and has no part in our cookies.
        &[("origin", "https://app.example.com")],
        &[],
    ] {
        for path in ["/session/refresh", "/session/end"] {
            let answer = posted(&app, path, &jar(&ada), headers).await;
            let answer = answer.expect_problem(401, "invalid_refresh_token");
            assert_eq!(cookies_of(&answer), Vec::<String>::new(), "{path} {headers:?}");
        }
    }
    assert_eq!(app.count("sessions", doc! {}).await, 1);
    // Nothing was used up. Where a browser names no site, the origin has to be ours.
    let answer = posted(&app, "/session/refresh", &jar(&ada), &[("origin", &app.base)]).await;
    answer.expect(204);
}

#[tokio::test]
async fn tabs_that_refresh_at_once_stay_signed_in() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let old = jar(&ada);
    let tabs = (0..5).map(|_| posted(&app, "/session/refresh", &old, &[OWN]));
    let answers = futures_util::future::join_all(tabs).await;
    let refresh_of = |answer: &Answer| cookies_of(answer)[1].clone();
    let first = refresh_of(&answers[0].clone().expect(204));
    for answer in answers {
        assert_eq!(
            refresh_of(&answer.clone().expect(204)),
            first,
            "the same successor for all"
        );
        profile(&app, &next_jar(&answer)).await.expect(200);
    }
    assert_eq!(app.count("sessions", doc! {}).await, 1);
}

#[tokio::test]
async fn a_copy_that_comes_back_late_ends_the_session() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let elsewhere = app.log_in("ada").await;
    let new = next_jar(
        &posted(&app, "/session/refresh", &jar(&ada), &[OWN])
            .await
            .expect(204),
    );
    app.advance_secs(11);
    let copy = posted(&app, "/session/refresh", &jar(&ada), &[OWN]).await;
    copy.expect_problem(401, "invalid_refresh_token");
    posted(&app, "/session/refresh", &new, &[OWN])
        .await
        .expect_problem(401, "invalid_refresh_token");
    profile(&app, &new).await.expect(401);
    profile(&app, &jar(&elsewhere)).await.expect(200);
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_when_it_is_old() {
    let app = TestApp::spawn().await;
    let idle = app.user("ada", "enduser").await;
    app.advance_secs(7 * 86_400 + 31);
    let answer = posted(&app, "/session/refresh", &jar(&idle), &[OWN]).await;
    answer.expect_problem(401, "invalid_refresh_token");

    let busy = app.log_in("ada").await;
    let mut jar = jar(&busy);
    for _ in 0..4 {
        app.advance_secs(6 * 86_400);
        jar = next_jar(&posted(&app, "/session/refresh", &jar, &[OWN]).await.expect(204));
    }
    app.advance_secs(6 * 86_400 + 31);
    let answer = posted(&app, "/session/refresh", &jar, &[OWN]).await;
    answer.expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn signing_out_ends_it_everywhere_and_clears_the_cookies() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let answer = posted(&app, "/session/end", &jar(&ada), &[OWN]).await.expect(204);
    for cookie in cookies_of(&answer) {
        assert!(cookie.contains("Max-Age=0"), "{cookie}");
    }
    profile(&app, &jar(&ada)).await.expect(401);
    ada.client
        .get("/api/profile")
        .await
        .expect_problem(401, "session_revoked");
    // Twice, and with nothing, is the same.
    posted(&app, "/session/end", &jar(&ada), &[OWN]).await.expect(204);
    posted(&app, "/session/end", "a=b", &[OWN]).await.expect(204);

    // The access token does where the other has been lost.
    let bob = app.user("bob", "enduser").await;
    let access = format!("__Host-access={}", bob.access);
    posted(&app, "/session/end", &access, &[OWN]).await.expect(204);
    bob.client
        .get("/api/profile")
        .await
        .expect_problem(401, "session_revoked");
}

#[tokio::test]
async fn without_tls_the_cookies_have_other_names_and_with_it_those_count_for_nothing() {
    let app = TestApp::spawn_with(|config| config.secure_cookies = false).await;
    let ada = app.user("ada", "enduser").await;
    let plain = jar(&ada)
        .replace("__Host-access", "flowgateAccess")
        .replace("__Host-refresh", "flowgateRefresh");
    let answer = posted(&app, "/session/refresh", &plain, &[OWN]).await.expect(204);
    let cookies = cookies_of(&answer);
    assert!(cookies[0].starts_with("flowgateAccess=") && !cookies[0].contains("Secure"));
    assert!(cookies[1].starts_with("flowgateRefresh=") && !cookies[1].contains("Secure"));

    let secure = app.spawn_beside_with(|config| config.secure_cookies = true).await;
    let answer = posted(&secure, "/session/refresh", &next_jar(&answer), &[OWN]).await;
    answer.expect_problem(401, "invalid_refresh_token");
}
