//! Other ways to the same doors: pages of other origins, other spellings of a path, other methods, forged hosts.

use common_jwt::Role;
use reqwest::Method;
use serde_json::json;
use test_support::{Client, Person};

use super::fakes::{Directory, assign, listed, synced};
use super::support::TestApp;

const PAGE: &str = "https://chat.school.example";

#[actix_web::test]
async fn only_listed_pages_read_our_answers() {
    let app = TestApp::spawn_with(|config| config.cors_origins = vec![PAGE.to_owned()]).await;
    let get = async |path: &str, origin: &str| {
        let request = app.anybody.request(Method::GET, path).header("origin", origin);
        app.anybody.send(request).await
    };
    // A refusal has to be readable too: a page that cannot see the 401 cannot refresh its token.
    for path in ["/", "/api/v1/chat/sessions", "/nowhere"] {
        let listed = get(path, PAGE).await;
        assert_eq!(listed.headers["access-control-allow-origin"], PAGE, "{path}");
        for origin in [
            "https://evil.example",
            "null",
            "https://chat.school.example.evil.example",
            "http://chat.school.example",
        ] {
            let other = get(path, origin).await;
            assert!(
                !other.headers.contains_key("access-control-allow-origin"),
                "{origin} {path}"
            );
        }
    }

    let everybody = TestApp::spawn_with(|config| config.cors_origins = vec!["*".to_owned()]).await;
    let request = everybody
        .anybody
        .request(Method::GET, "/")
        .header("origin", "https://any.example");
    let answer = everybody.anybody.send(request).await.expect(200);
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert!(
        !answer.headers.contains_key("access-control-allow-credentials"),
        "every page, but never with cookies"
    );
}

#[actix_web::test]
async fn other_spellings_of_a_path_open_nothing() {
    let app = TestApp::spawn().await;
    let (pupil, admin) = (
        Person::new("pupil", Role::EndUser),
        Person::new("admin", Role::Admin),
    );
    // The contract is looked up by the path as it is sent, the routes by the path as it is meant.
    let unchecked = |token: Option<String>| {
        let client = Client::new(app.url());
        token.map_or(client.clone(), |token| client.with_token(token))
    };
    for path in [
        "//api/v1/admin/chatflows",
        "/api//v1/admin/chatflows",
        "/api/v1/admin/chatflows/",
        "/api/v1/admin/chatflows;x=1",
        "/API/v1/admin/chatflows",
        "/api/v1/Admin/chatflows",
        "/api/v1/admin/chatflows.",
        "/api/v1/%61dmin/chatflows",
        "/api/v1/chat/%2e%2e/admin/chatflows",
        "/api/v1/chat/..%2fadmin/chatflows",
        "/internal/people/1/data/",
    ] {
        for (token, statuses) in [(None, [401, 404]), (Some(app.tokens.access(&pupil)), [403, 404])] {
            let answer = unchecked(token).get(path).await;
            assert!(
                statuses.contains(&answer.status.as_u16()),
                "{path}: {}",
                answer.status
            );
            assert!(answer.body["code"].is_string(), "{path}");
        }
    }
    let listing = app.client(&admin);
    for (name, value) in [
        ("x-http-method-override", "GET"),
        ("x-method-override", "DELETE"),
        ("x-original-url", "/"),
        ("x-rewrite-url", "/"),
    ] {
        let get = |client: &Client| {
            client
                .request(Method::GET, "/api/v1/admin/chatflows")
                .header(name, value)
        };
        app.anybody
            .send(get(&app.anybody))
            .await
            .expect_problem(401, "missing_token");
        let pupil = app.client(&pupil);
        pupil.send(get(&pupil)).await.expect_problem(403, "forbidden");
        let listed = listing.send(get(&listing)).await.expect(200);
        assert_eq!(listed.body, json!([]), "{name}: still the list");
    }
    let unchecked = unchecked(Some(app.tokens.access(&admin)));
    for method in [Method::TRACE, Method::PUT] {
        let request = unchecked.request(method.clone(), "/api/v1/admin/chatflows");
        let answer = unchecked.send(request).await;
        assert!(
            matches!(answer.status.as_u16(), 404 | 405),
            "{method}: {}",
            answer.status
        );
        assert!(!answer.text.contains("flowise_id"), "{method}");
    }
}

/// Whatever a client writes into `Host`: no address in an answer begins with it.
#[actix_web::test]
async fn a_forged_host_is_nowhere_repeated() {
    let app = TestApp::spawn().await;
    let directory = Directory::mount(&app.behind.auth).await;
    synced(&app, vec![listed("flow", "Flow"), listed("other", "Other")]).await;
    let ada = Person::new("ada", Role::EndUser);
    for id in ["flow", "other"] {
        assign(&app, &directory, &ada, id).await;
    }
    let client = app.client(&ada);
    for path in [
        "/",
        "/info",
        "/health",
        "/nowhere",
        "/openapi.json",
        "/api/v1/chatflows",
        "/api/v1/chatflows/my-chatflows?limit=1",
        "/api/v1/chat/sessions",
    ] {
        let request = client
            .request(Method::GET, path)
            .header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("forwarded", "host=evil.example");
        let answer = client.send(request).await;
        assert!(!answer.text.contains("evil.example"), "{path}: {}", answer.text);
        for (name, value) in &answer.headers {
            assert!(
                !value.as_bytes().windows(12).any(|part| part == b"evil.example"),
                "{path}: {name}"
            );
        }
    }
}
