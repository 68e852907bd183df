//! Open holds in lists, and giving one back by hand.

use common_jwt::Role;
use serde_json::{Value, json};
use test_support::{Client, Person};

use crate::support::{TestApp, post_with_key};

const INITIALIZE: &str = "/api/streaming-sessions/initialize";
const FINALIZE: &str = "/api/streaming-sessions/finalize";
const HOLDS: &str = "/api/credits/holds";

async fn hold(app: &TestApp, person: &Person, session: &str) {
    let body = json!({ "sessionId": session, "modelId": "flow-1", "userId": person.id, "credits": 7 });
    app.proxy().post(INITIALIZE, &body).await.expect(201);
    app.advance_secs(1);
}

async fn sessions(client: &Client, query: &str) -> (Vec<String>, Value) {
    let answer = client.get(&format!("{HOLDS}{query}")).await.expect(200).body;
    let holds = answer["holds"].as_array().unwrap();
    let name = |hold: &Value| hold["sessionId"].as_str().unwrap().to_owned();
    (holds.iter().map(name).collect(), answer["nextCursor"].clone())
}

#[actix_web::test]
async fn people_see_their_own_holds_and_supervisors_anybodys() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.person_with(100).await, app.person_with(100).await);
    hold(&app, &alice, "a-1").await;
    hold(&app, &bob, "b-1").await;
    hold(&app, &alice, "a-2").await;
    app.proxy()
        .post(FINALIZE, &json!({ "sessionId": "a-1", "actualCredits": 1 }))
        .await
        .expect(200);

    let listed = app.sign_in(&alice).get(HOLDS).await.expect(200).body;
    let mut only = listed["holds"][0].clone();
    only["id"] = json!("[id]");
    assert_eq!(
        only,
        json!({
            "id": "[id]", "sessionId": "a-2", "userId": alice.id, "openedBy": "service:proxy-service", "model": "flow-1",
            "held": 7, "heldAt": "2027-01-15T08:00:02.000Z", "expiresAt": "2027-01-15T08:15:02.000Z",
        })
    );
    assert_eq!(listed["holds"].as_array().unwrap().len(), 1);
    let supervisor = app.as_role(Role::Supervisor);
    assert_eq!(
        sessions(&supervisor, "").await.0,
        [""; 0],
        "her own, of which there are none"
    );
    assert_eq!(
        sessions(&supervisor, &format!("?userId={}", bob.id)).await.0,
        ["b-1"]
    );
    assert_eq!(sessions(&supervisor, "?all=true").await.0, ["b-1", "a-2"]);
    app.sign_in(&alice)
        .get(&format!("{HOLDS}?all=true"))
        .await
        .expect_problem(403, "forbidden");
    for query in ["?limit=0", "?limit=1001", "?limit=x", "?cursor=7", "?all=maybe"] {
        supervisor
            .get(&format!("{HOLDS}{query}"))
            .await
            .expect_problem(400, "validation_failed");
    }
}

#[actix_web::test]
async fn pages_of_holds_are_whole_also_when_some_end_meanwhile() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    for index in 0..7 {
        hold(&app, &alice, &format!("s-{index}")).await;
    }
    let supervisor = app.as_role(Role::Supervisor);

    let (first, cursor) = sessions(&supervisor, "?all=true&limit=3").await;
    assert_eq!(first, ["s-0", "s-1", "s-2"]);
    app.proxy()
        .post(FINALIZE, &json!({ "sessionId": "s-2", "actualCredits": 1 }))
        .await
        .expect(200);
    let next = format!("?all=true&limit=3&cursor={}", cursor.as_str().unwrap());
    let (second, cursor) = sessions(&supervisor, &next).await;
    assert_eq!(second, ["s-3", "s-4", "s-5"]);
    let next = format!("?all=true&limit=3&cursor={}", cursor.as_str().unwrap());
    assert_eq!(
        sessions(&supervisor, &next).await,
        (vec!["s-6".to_owned()], Value::Null)
    );
}

#[actix_web::test]
async fn an_admin_gives_a_hold_back_once() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;
    hold(&app, &alice, "s-1").await;
    let admin = app.as_role(Role::Admin);
    let listed = admin.get(&format!("{HOLDS}?all=true")).await.expect(200).body;
    let id = listed["holds"][0]["id"].as_str().unwrap().to_owned();
    let void = format!("{HOLDS}/{id}/void");

    app.as_role(Role::Supervisor)
        .post(&void, &json!({}))
        .await
        .expect_problem(403, "forbidden");
    let first = post_with_key(&admin, &void, "k-1", &json!({})).await.expect(200);
    assert_eq!(
        first.body,
        json!({ "id": id, "sessionId": "s-1", "userId": alice.id, "status": "voided", "refund": 7 })
    );
    let again = post_with_key(&admin, &void, "k-1", &json!({})).await.expect(200);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(app.balance(&alice).await, 10);

    let late = json!({ "sessionId": "s-1", "actualCredits": 3 });
    app.proxy()
        .post(FINALIZE, &late)
        .await
        .expect_problem(409, "session_settled");
    for id in ["7", "00000000-0000-0000-0000-000000000000"] {
        admin
            .post(&format!("{HOLDS}/{id}/void"), &json!({}))
            .await
            .expect_problem(404, "hold_not_found");
    }
    hold(&app, &alice, "s-2").await;
    let body = json!({ "sessionId": "s-2", "actualCredits": 3 });
    app.proxy().post(FINALIZE, &body).await.expect(200);
    let id = app
        .text("SELECT id::text FROM streaming_sessions WHERE session_id = 's-2'")
        .await;
    admin
        .post(&format!("{HOLDS}/{id}/void"), &json!({}))
        .await
        .expect_problem(409, "session_settled");
    app.assert_sound().await;
}
