//! What the window shows when it is refused: a sentence, and room for the next question.

use serde_json::json;
use system_tests::flowise::chatflow;
use test_support::Answer;

use super::{
    school::{ROOT, School, key_of},
    site::SITE_HOST,
};

/// Fails the test unless the window shows a sentence for people, and nothing that still turns.
async fn expect_sentence(school: &School, said: &str) {
    assert!(!said.is_empty() && !said.contains(['{', '}', '<', '"']), "{said}");
    let turns =
        format!("return {ROOT}.querySelector('[data-testid=loading-spinner], .typing-bubble') !== null");
    assert_eq!(school.browser.run(&turns).await, false, "{said}");
    assert_eq!(school.said().await.pop().unwrap().0, "host");
}

#[actix_web::test]
async fn a_wrong_key_is_told_and_the_right_one_helps() {
    let school = School::start(5).await;
    school.site.sign_in(&format!("fg-{}", "x".repeat(43)));
    school.visit().await;
    let said = school.ask("one").await;
    expect_sentence(&school, &said).await;
    assert!(said.contains("the API key is not valid"), "{said}");
    assert!(school.platform.flowise.predictions().is_empty());
    school.browser.picture("flowise-embed-wrong-key").await;

    school.site.sign_in(&school.key.0);
    assert_eq!(school.ask("two").await, "Mock reply to: two");
    school.platform.until_all_is_settled().await;
    assert_eq!(school.pupil.balance().await, 4);
}

#[actix_web::test]
async fn a_key_that_is_revoked_meanwhile_is_told() {
    let school = School::start(5).await;
    school.visit().await;
    assert_eq!(school.ask("one").await, "Mock reply to: one");
    let (key, id) = &school.key;
    let revoke = school
        .pupil
        .auth
        .request(reqwest::Method::DELETE, &format!("/api/keys/{id}"));
    school.pupil.auth.send(revoke).await.expect(200);
    let holder = school.platform.proxy.client().with_token(key);
    let is_dead = |answer: Answer| answer.status == 401;
    school
        .platform
        .until("the key is dead", async || {
            is_dead(holder.get("/api/v1/ping").await)
        })
        .await;

    let said = school.ask("two").await;
    expect_sentence(&school, &said).await;
    school.browser.picture("flowise-embed-revoked").await;
    assert_eq!(school.platform.flowise.predictions().len(), 1);

    let (another, _) = key_of(&school.pupil, json!({ "name": "Another" })).await;
    school.site.sign_in(&another);
    assert_eq!(school.ask("three").await, "Mock reply to: three");
    assert_eq!(school.sessions().await.len(), 1);
}

#[actix_web::test]
async fn whoever_cannot_pay_is_told() {
    let school = School::start(1).await;
    school.visit().await;
    assert_eq!(school.ask("one").await, "Mock reply to: one");
    school.platform.until_all_is_settled().await;
    let said = school.ask("two").await;
    expect_sentence(&school, &said).await;
    assert!(said.to_lowercase().contains("credits"), "{said}");
    school.browser.picture("flowise-embed-no-credits").await;
    assert_eq!(school.platform.flowise.predictions().len(), 1);

    let grant = json!({ "userId": school.pupil.id, "credits": 2 });
    let accounting = &school.platform.accounting;
    let granted =
        school
            .platform
            .as_admin(accounting, reqwest::Method::POST, "/api/credits/allocate", &grant);
    granted.await.expect(201);
    assert_eq!(school.ask("three").await, "Mock reply to: three");
    // What is refused in a stream is no error of the page.
    assert_eq!(school.refused().await, json!([]));
    assert_eq!(school.troubles().await, Vec::<String>::new());
}

#[actix_web::test]
async fn a_chatflow_that_is_not_the_pupils_is_not_there() {
    let school = School::start(5).await;
    school.site.show(&school.chat, chatflow::LLM, |tag| tag);
    school.visit().await;
    assert_eq!(school.ask("one").await, "Error: Chatflow not found");
    expect_sentence(&school, "Chatflow not found").await;
    assert!(school.platform.flowise.predictions().is_empty());
}

#[actix_web::test]
async fn a_page_of_another_site_hears_nothing() {
    let school = School::start(5).await;
    school
        .browser
        .open(&school.site.origin("elsewhere.example"))
        .await;
    school.open_window().await;
    let said = school.ask("one").await;
    expect_sentence(&school, &said).await;
    assert!(school.platform.flowise.predictions().is_empty());
    assert_eq!(school.pupil.balance().await, 5);
    let troubles = school.troubles().await.join("\n");
    assert!(troubles.contains("blocked by CORS policy"), "{troubles}");

    school.visit().await;
    assert_eq!(
        school.ask("two").await,
        "Mock reply to: two",
        "{SITE_HOST} is welcome"
    );
}
