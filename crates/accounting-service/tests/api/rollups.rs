//! The sums of usage: kept by whoever writes usage, checked by `verify`, made anew by `rebuild-rollups`.

use accounting_service::rebuild::rebuild_rollups;
use common_jwt::Role;
use futures_util::future::join_all;
use secrecy::SecretString;
use serde_json::json;
use test_support::Person;

use crate::support::TestApp;

async fn rebuild(app: &TestApp) -> (bool, String) {
    let mut out = Vec::new();
    let url = SecretString::from(app.database.url.as_str());
    let done = rebuild_rollups(&url, &mut out).await.unwrap();
    (done, String::from_utf8(out).unwrap())
}

/// Usage of several people on several days.
async fn used() -> (TestApp, Vec<Person>) {
    let app = TestApp::spawn().await;
    let people: Vec<_> = (0..3).map(|_| Person::new("pupil", Role::EndUser)).collect();
    for day in 0..8 {
        let person = &people[day % people.len()];
        let body = json!({
            "userId": person.id, "service": "chat", "operation": format!("flow-{}", day % 2), "credits": day,
        });
        app.proxy().post("/api/usage/record", &body).await.expect(201);
        app.advance_secs(5 * 86_400);
    }
    (app, people)
}

#[actix_web::test]
async fn verify_notices_a_sum_that_is_wrong_and_a_rebuild_puts_it_right() {
    let (app, people) = used().await;
    app.assert_sound().await;
    let before = app
        .as_role(Role::Admin)
        .get("/api/usage/system-stats")
        .await
        .expect(200)
        .body;
    for damage in [
        "UPDATE usage_daily SET credits = credits + 1 WHERE day = (SELECT min(day) FROM usage_daily)",
        "DELETE FROM usage_daily",
        "UPDATE usage_monthly SET records = 0",
        "DELETE FROM usage_user_days",
        "DELETE FROM usage_totals",
        "UPDATE usage_totals SET shard = 7, credits = 0, records = 5",
        "INSERT INTO usage_totals VALUES ('2020-02-02', 'chat', 'm', 'c', 3, 1, 1)",
        "INSERT INTO usage_daily VALUES ('5f0a1b2c3d4e5f6a7b8c9d0e', '2030-02-02', 'chat', 'm', 'c', 1, 1)",
        "INSERT INTO usage_monthly VALUES ('2031-02-01', '5f0a1b2c3d4e5f6a7b8c9d0e', 1, 1)",
        // Sums of nobody's, behind every account there is.
        "INSERT INTO usage_daily VALUES ('ffffffffffffffffffffffff', '2030-02-02', 'chat', 'm', 'c', 1, 1)",
        "INSERT INTO usage_user_days VALUES ('2030-02-02', 'ffffffffffffffffffffffff', 1, 1)",
        "INSERT INTO usage_monthly VALUES ('2031-02-01', 'ffffffffffffffffffffffff', 1, 1)",
    ] {
        app.execute(damage).await;
        let (holds, report) = app.verify().await;
        assert!(!holds, "{damage}: {report}");

        let (done, report) = rebuild(&app).await;

        assert!(done, "{damage}: {report}");
        app.assert_sound().await;
        let after = app
            .as_role(Role::Admin)
            .get("/api/usage/system-stats")
            .await
            .expect(200)
            .body;
        assert_eq!(after, before, "{damage}");
        let (_, again) = rebuild(&app).await;
        assert!(
            again.contains("0 sums of users and 0 totals"),
            "{damage}: {again}"
        );
    }
    assert_eq!(people.len(), before["byUser"].as_object().unwrap().len());
}

#[actix_web::test]
async fn a_rebuild_disturbs_nobody_who_is_writing() {
    let (app, people) = used().await;
    let replica = app.replica().await;
    app.execute("UPDATE usage_totals SET credits = credits + 1000")
        .await;
    app.execute("DELETE FROM usage_daily WHERE credits > 3").await;

    let write = async |app: &TestApp| {
        for number in 0..60 {
            let person = &people[number % people.len()];
            let body = json!({ "userId": person.id, "service": "chat", "operation": "flow-0", "credits": 1 });
            app.proxy().post("/api/usage/record", &body).await.expect(201);
        }
    };
    let rebuilds = async {
        for _ in 0..3 {
            assert!(rebuild(&app).await.0);
        }
    };
    futures_util::join!(write(&app), write(&replica), rebuilds);

    app.assert_sound().await;
}

#[actix_web::test]
async fn two_rebuilds_at_once_correct_once() {
    let (app, _) = used().await;
    app.execute("UPDATE usage_totals SET credits = 0").await;

    let reports = join_all((0..4).map(|_| rebuild(&app))).await;

    assert!(reports.iter().any(|(done, _)| *done), "{reports:?}");
    app.assert_sound().await;
}

#[actix_web::test]
async fn replicas_that_write_the_same_sums_at_once_lose_nothing() {
    let app = TestApp::spawn().await;
    let replica = app.replica().await;
    let people: Vec<_> = (0..8).map(|_| Person::new("pupil", Role::EndUser)).collect();
    for person in &people {
        app.grant(person, 1_000, 30).await;
    }
    let turn = async |app: &TestApp, number: usize| {
        let person = &people[number % people.len()];
        let (session, proxy) = (format!("s-{number}"), app.proxy());
        let hold = json!({ "sessionId": session, "modelId": "flow-a", "userId": person.id, "credits": 3 });
        proxy
            .post("/api/streaming-sessions/initialize", &hold)
            .await
            .expect(201);
        let capture = json!({
            "sessionId": session, "userId": person.id, "actualCredits": 2, "usage": { "service": "chat" },
        });
        proxy
            .post("/api/streaming-sessions/finalize", &capture)
            .await
            .expect(200);
        let note = json!({ "userId": person.id, "service": "chat", "operation": "flow-a", "credits": 1 });
        proxy.post("/api/usage/record", &note).await.expect(201);
    };

    let turns = (0..160).map(|number| turn(if number % 2 == 0 { &app } else { &replica }, number));
    join_all(turns).await;

    app.assert_sound().await;
    let system = app
        .as_role(Role::Admin)
        .get("/api/usage/system-stats")
        .await
        .expect(200)
        .body;
    assert_eq!(
        (system["totalRecords"].as_i64(), system["totalCredits"].as_i64()),
        (Some(320), Some(480))
    );
    assert_eq!(system["byChatflow"], json!({ "flow-a": 480 }));
}

#[actix_web::test]
async fn a_refused_record_adds_to_no_sum() {
    let app = TestApp::spawn().await;
    let client = app.as_role(Role::EndUser);
    let body = json!({ "service": "chat", "operation": "o".repeat(101), "credits": 1 });
    client
        .post("/api/usage/record", &body)
        .await
        .expect_problem(400, "validation_failed");
    for sums in ["usage_daily", "usage_user_days", "usage_monthly", "usage_totals"] {
        assert_eq!(app.number(&format!("SELECT count(*) FROM {sums}")).await, 0);
    }
}
