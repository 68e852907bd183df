//! Visitors and signed-in people are never taken for each other.

use common_http::{Access, rows};
use common_jwt::Role;
use reqwest::Method;
use serde_json::json;
use test_support::{Client, Person, TestTokens};

use super::support::WidgetApp;

const MESSAGE: &str = "/api/v1/chat/message";

#[actix_web::test]
async fn nothing_a_visitor_holds_opens_a_route_for_people_or_services() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    visitor.say("hello").await.expect(200);
    let n8n_token = app.n8n.asked()[0].body["jwt_token"].as_str().unwrap().to_owned();
    let (_, secret) = visitor.cookie.split_once('=').unwrap();
    let ticket = WidgetApp::ticket("default", None, app.app.config.clock.now());
    let client = Client::new(app.own());
    let mut looked_at = 0;
    for row in rows(proxy_service::routes) {
        if matches!(row.access, Access::Public | Access::Optional) {
            continue;
        }
        let path = row.path.replace(['{', '}'], "");
        for token in [
            &visitor.token,
            &n8n_token,
            &ticket,
            &secret.to_owned(),
            &visitor.session_id,
        ] {
            let request = client
                .request(row.method.as_str().parse().unwrap(), &path)
                .bearer_auth(token)
                .header("cookie", &visitor.cookie);
            let answer = client.send(request.json(&json!({}))).await;
            assert_eq!(answer.status, 401, "{} {path}: {}", row.method, answer.text);
            looked_at += 1;
        }
    }
    assert!(looked_at > 300, "{looked_at}");
}

#[actix_web::test]
async fn signed_in_people_have_no_visitors_routes() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    for role in [Role::EndUser, Role::Admin] {
        let person = Person::new("mei", role);
        let token = TestTokens::at(app.app.config.clock.now()).access(&person);
        let body = json!({ "message": "hello" });
        for (method, path) in [
            (Method::POST, MESSAGE),
            (Method::POST, "/api/v1/chat/stream"),
            (Method::GET, "/api/v1/chat/stream?message=hello"),
            (Method::GET, "/api/v1/chat/history"),
        ] {
            let alone = app
                .request_of_our_page(method.clone(), path)
                .bearer_auth(&token)
                .json(&body);
            app.client()
                .send(alone)
                .await
                .expect_problem(403, "visitors_only");
            let both = visitor.request(method, path).bearer_auth(&token).json(&body);
            app.client()
                .send(both)
                .await
                .expect_problem(400, "ambiguous_credentials");
        }
    }
    assert!(app.n8n.asked().is_empty());
}

#[actix_web::test]
async fn whoever_is_signed_in_to_our_pages_may_try_a_widget() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    let person = Person::new("mei", Role::Admin);
    let token = TestTokens::at(app.app.config.clock.now()).access(&person);
    let cookies = format!("flowgateAccess={token}; {}", visitor.cookie);
    let request = app.request_of_our_page(Method::POST, MESSAGE);
    let request = request
        .header("cookie", cookies)
        .header("sec-fetch-site", "same-origin");

    let body = json!({ "message": "hello" });
    let answer = app.client().send(request.json(&body)).await.expect(200);

    assert_eq!(answer.body["session_id"], visitor.session_id.as_str());
}

#[actix_web::test]
async fn two_credentials_that_differ_are_refused() {
    let app = WidgetApp::spawn().await;
    let (one, two) = (app.visitor().await, app.visitor().await);
    let body = json!({ "message": "hello" });
    for token in [two.token.as_str(), "expired.or.forged"] {
        let mixed = one.request(Method::POST, MESSAGE).bearer_auth(token).json(&body);
        app.client()
            .send(mixed)
            .await
            .expect_problem(400, "ambiguous_credentials");
    }
    let twice = one
        .request(Method::POST, MESSAGE)
        .bearer_auth(&one.token)
        .bearer_auth(&two.token);
    app.client()
        .send(twice.json(&body))
        .await
        .expect_problem(400, "ambiguous_credentials");
    let same = one
        .request(Method::POST, MESSAGE)
        .bearer_auth(&one.token)
        .json(&body);
    app.client().send(same).await.expect(200);
    let query = format!("{MESSAGE}?token={}&session_id={}", one.token, one.session_id);
    let query = app.request_of_our_page(Method::POST, &query).json(&body);
    app.client()
        .send(query)
        .await
        .expect_problem(401, "session_invalid");
}
