//! `GET /api/v1/chat/credits`.

use common_jwt::Role;
use serde_json::json;
use test_support::Person;
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{bearer_token, method, path},
};

use super::fakes::problem;
use super::support::TestApp;

#[actix_web::test]
async fn credits_are_read_with_the_callers_own_token_under_both_names() {
    let app = TestApp::spawn().await;
    let ada = Person::new("ada", Role::EndUser);
    let token = app.tokens.access(&ada);
    Mock::given(method("GET"))
        .and(path("/api/credits/total-balance"))
        .and(bearer_token(&token))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "totalCredits": 4_211 })))
        .mount(&app.behind.accounting)
        .await;

    for path in ["/api/v1/chat/credits", "/chat/credits"] {
        let answer = app.anybody.with_token(&token).get(path).await.expect(200);
        assert_eq!(answer.body, json!({ "credits": 4_211, "totalCredits": 4_211 }));
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
}

#[actix_web::test]
async fn accounting_that_is_away_is_not_an_empty_account() {
    let app = TestApp::spawn().await;
    for answer in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(404).set_body_json(json!({ "message": "no" })),
        ResponseTemplate::new(200).set_body_raw("<html>", "text/html"),
        ResponseTemplate::new(200).set_body_json(json!({ "totalCredits": "many" })),
        ResponseTemplate::new(307).insert_header("location", "http://127.0.0.1:1/"),
    ] {
        app.behind.accounting.reset().await;
        Mock::given(method("GET"))
            .respond_with(answer)
            .mount(&app.behind.accounting)
            .await;
        let ada = app.client(&Person::new("ada", Role::EndUser));

        let refused = ada
            .get("/api/v1/chat/credits")
            .await
            .expect_problem(503, "accounting_unavailable");

        assert!(refused.headers.contains_key("retry-after"));
        assert!(!refused.text.contains("127.0.0.1"), "{}", refused.text);
    }
}

#[actix_web::test]
async fn accounting_that_cannot_be_reached_is_not_an_empty_account() {
    let app =
        TestApp::spawn_with(|config| config.accounting_url = "http://127.0.0.1:1/".parse().unwrap()).await;
    let ada = app.client(&Person::new("ada", Role::EndUser));

    ada.get("/api/v1/chat/credits")
        .await
        .expect_problem(503, "accounting_unavailable");
}

#[actix_web::test]
async fn a_session_that_accounting_knows_to_be_over_is_over() {
    let app = TestApp::spawn().await;
    Mock::given(method("GET"))
        .respond_with(problem(
            401,
            "session_revoked",
            "this session has ended; sign in again",
        ))
        .mount(&app.behind.accounting)
        .await;
    let ada = app.client(&Person::new("ada", Role::EndUser));

    ada.get("/api/v1/chat/credits")
        .await
        .expect_problem(401, "invalid_token");
}
