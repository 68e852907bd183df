//! Other people's sessions, as supervisors see them.

use common_jwt::Role;
use serde_json::{Value, json};
use test_support::Person;

use crate::support::TestApp;

const INITIALIZE: &str = "/api/streaming-sessions/initialize";
const FINALIZE: &str = "/api/streaming-sessions/finalize";
const ABORT: &str = "/api/streaming-sessions/abort";
const ACTIVE: &str = "/api/streaming-sessions/active";
const RECENT: &str = "/api/streaming-sessions/recent";

async fn open(app: &TestApp, person: &Person, session: &str) {
    let body = json!({ "sessionId": session, "modelId": "m", "estimatedTokens": 1_000 });
    app.sign_in(person).post(INITIALIZE, &body).await.expect(201);
}

fn names(sessions: &Value) -> Vec<&str> {
    let sessions = sessions.as_array().unwrap();
    sessions
        .iter()
        .map(|session| session["sessionId"].as_str().unwrap())
        .collect()
}

#[actix_web::test]
async fn everybodys_open_sessions_and_somebodys_are_bare_arrays() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.person_with(100).await, app.person_with(100).await);
    open(&app, &alice, "a-1").await;
    app.advance_secs(1);
    open(&app, &bob, "b-1").await;
    open(&app, &bob, "b-2").await;
    app.sign_in(&bob)
        .post(ABORT, &json!({ "sessionId": "b-2" }))
        .await
        .expect(200);

    for role in [Role::Supervisor, Role::Admin] {
        let client = app.as_role(role);
        let all = client.get(&format!("{ACTIVE}/all")).await.expect(200).body;
        assert_eq!(names(&all), ["a-1", "b-1"]);
        assert_eq!(all[0]["userId"], alice.id);
        let of_bob = client.get(&format!("{ACTIVE}/{}", bob.id)).await.expect(200).body;
        assert_eq!(names(&of_bob), ["b-1"]);
        let nobody = format!("{ACTIVE}/{}", "f".repeat(24));
        assert_eq!(client.get(&nobody).await.expect(200).body, json!([]));
        client
            .get(&format!("{ACTIVE}/nobody"))
            .await
            .expect_problem(404, "user_not_found");
    }
    app.sign_in(&alice)
        .get(&format!("{ACTIVE}/{}", alice.id))
        .await
        .expect_problem(403, "forbidden");
}

#[actix_web::test]
async fn recent_sessions_come_running_then_completed_then_failed() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.person_with(1_000).await, app.person_with(1_000).await);
    for session in ["old", "completed", "failed", "aborted", "later", "running"] {
        open(&app, &alice, session).await;
    }
    open(&app, &bob, "bobs").await;
    let client = app.sign_in(&alice);
    let finalize = async |session: &str, success: bool| {
        let body = json!({ "sessionId": session, "actualTokens": 1_000, "success": success });
        client.post(FINALIZE, &body).await.expect(200);
    };
    finalize("old", true).await;
    app.advance_secs(301);
    finalize("completed", true).await;
    finalize("failed", false).await;
    app.advance_secs(1);
    client
        .post(ABORT, &json!({ "sessionId": "aborted" }))
        .await
        .expect(200);
    finalize("later", true).await;
    let supervisor = app.as_role(Role::Supervisor);

    let recent = supervisor.get(RECENT).await.expect(200).body;
    let listed = names(&recent["sessions"]);
    let (running, ended) = listed.split_at(2);
    let mut running = running.to_vec();
    running.sort_unstable();
    assert_eq!(running, ["bobs", "running"]);
    assert_eq!(ended, ["later", "completed", "aborted", "failed"]);
    assert_eq!(recent["filter"], json!({ "minutes": 5 }));
    assert_eq!(recent["timestamp"], "2027-01-15T08:05:02.000Z");
    let states: Vec<_> = recent["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        states,
        ["active", "active", "completed", "completed", "failed", "failed"]
    );

    let path = format!("{RECENT}/{}?minutes=10", alice.id);
    let of_alice = supervisor.get(&path).await.expect(200).body;
    assert_eq!(
        names(&of_alice["sessions"]),
        ["running", "later", "completed", "old", "aborted", "failed"]
    );
    assert_eq!(of_alice["filter"], json!({ "userId": alice.id, "minutes": 10 }));
}

#[actix_web::test]
async fn lists_of_recent_sessions_are_as_long_as_documented() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(1_000).await;
    for index in 0..60 {
        open(&app, &alice, &format!("s-{index}")).await;
    }
    let supervisor = app.as_role(Role::Supervisor);

    let all = supervisor.get(RECENT).await.expect(200).body;
    assert_eq!(names(&all["sessions"]).len(), 50);
    let of_one = supervisor
        .get(&format!("{RECENT}/{}", alice.id))
        .await
        .expect(200)
        .body;
    assert_eq!(names(&of_one["sessions"]).len(), 20);
    for minutes in ["0", "-5", "soon", "1.5", "525601", "99999999999"] {
        supervisor
            .get(&format!("{RECENT}?minutes={minutes}"))
            .await
            .expect_problem(400, "validation_failed");
    }
}
