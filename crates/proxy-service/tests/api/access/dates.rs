//! Assignments that begin and end.

use chrono::TimeDelta;
use common_http::{Clock, Timestamp};
use common_jwt::Role;
use serde_json::json;
use test_support::Person;

use super::people::{ids, spawn};
use crate::catalog::{
    fakes::{Directory, listed, synced},
    support::TestApp,
};

const USERS: &str = "/api/v1/admin/chatflows/flow/users";

#[actix_web::test]
async fn an_assignment_gives_access_from_its_start_until_its_end() {
    let now = Clock::System.now();
    let clock = Clock::manual(now);
    let hands = clock.clone();
    let app = TestApp::spawn_with(|config| config.clock = clock).await;
    let directory = Directory::mount(&app.behind.auth).await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    let ada = Person::new("ada", Role::EndUser);
    directory.add(&ada);
    let at = |minutes| Timestamp(now + TimeDelta::minutes(minutes)).to_string();
    let body = json!({ "email": ada.email, "starts_at": at(2), "ends_at": at(6) });
    app.admin().post(USERS, &body).await.expect(200);

    let listed = app.admin().get(USERS).await.expect(200);
    assert_eq!(listed.body[0]["starts_at"], at(2), "an admin sees who is to come");
    // Answers are remembered for seconds of real time, so each moment is looked at by the list, which remembers none.
    for (minutes, expected) in [(0, 0), (2, 1), (3, 1), (1, 0)] {
        hands.advance(TimeDelta::minutes(minutes));
        assert_eq!(
            ids(&app.client(&ada)).await.len(),
            expected,
            "after {minutes} minutes more"
        );
    }
    let denied = app.client(&ada).get("/api/v1/chatflows/flow").await;
    denied.expect_problem(403, "chatflow_access_denied");
    assert_eq!(
        app.admin().get(USERS).await.body,
        json!([]),
        "what is over is not listed"
    );

    let again = app
        .admin()
        .post(USERS, &json!({ "email": ada.email }))
        .await
        .expect(200);
    assert_eq!(again.body["status"], "Reactivated");
    app.client(&ada).get("/api/v1/chatflows/flow").await.expect(200);
}

#[actix_web::test]
async fn giving_again_changes_the_dates_only_when_it_names_any() {
    let (app, directory) = spawn().await;
    let ada = Person::new("ada", Role::EndUser);
    directory.add(&ada);
    let ends = Timestamp(Clock::System.now() + TimeDelta::days(9)).to_string();
    let later = Timestamp(Clock::System.now() + TimeDelta::days(10)).to_string();

    for (body, status, ends_at) in [
        (json!({ "ends_at": ends }), "Assigned", json!(ends)),
        (json!({}), "No Action", json!(ends)),
        (json!({ "ends_at": ends }), "No Action", json!(ends)),
        (json!({ "ends_at": later }), "Updated", json!(later)),
        (json!({ "ends_at": null }), "Updated", json!(null)),
    ] {
        let mut body = body;
        body["email"] = json!(ada.email);
        let answer = app.admin().post(USERS, &body).await.expect(200);
        assert_eq!(answer.body["status"], status, "{body}");
        assert_eq!(app.admin().get(USERS).await.body[0]["ends_at"], ends_at, "{body}");
    }
}

#[actix_web::test]
async fn dates_that_give_nothing_are_refused() {
    let (app, directory) = spawn().await;
    let ada = Person::new("ada", Role::EndUser);
    directory.add(&ada);
    let at = |days| Timestamp(Clock::System.now() + TimeDelta::days(days)).to_string();

    for window in [
        json!({ "ends_at": at(-1) }),
        json!({ "starts_at": at(3), "ends_at": at(2) }),
        json!({ "starts_at": "tomorrow" }),
        json!({ "ends_at": "2027-13-01T00:00:00Z" }),
        json!({ "ends_at": 7 }),
    ] {
        let mut body = window.clone();
        body["email"] = json!(ada.email);
        app.admin()
            .post(USERS, &body)
            .await
            .expect_problem(422, "validation_failed");
        let mut many = window;
        many["emails"] = json!([ada.email]);
        app.admin()
            .post(&format!("{USERS}/bulk-add"), &many)
            .await
            .expect_problem(422, "validation_failed");
    }
    assert_eq!(app.admin().get(USERS).await.body, json!([]));
}
