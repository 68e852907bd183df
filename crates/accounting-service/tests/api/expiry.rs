//! Credits and holds at the very moment at which they end, with a clock that the test moves.

use chrono::{DateTime, TimeDelta, Utc};
use common_jwt::Role;
use serde_json::json;
use test_support::Person;

use crate::support::{TestApp, eventually, noon};

const INITIALIZE: &str = "/api/streaming-sessions/initialize";
const FINALIZE: &str = "/api/streaming-sessions/finalize";
const DEDUCT: &str = "/api/credits/deduct";

/// Moves the clock to so many milliseconds before or after `moment`.
fn at(app: &TestApp, moment: DateTime<Utc>, millis: i64) {
    app.clock
        .advance(moment - app.clock.now() + TimeDelta::milliseconds(millis));
}

/// A service whose sweeps do not interfere.
async fn without_sweeps() -> TestApp {
    TestApp::spawn_with(|config| config.hold_sweep = std::time::Duration::from_hours(1)).await
}

#[actix_web::test]
async fn credits_can_be_spent_until_the_moment_they_expire_and_not_in_it() {
    for (millis, spendable) in [(-1, true), (0, false), (1, false)] {
        let app = without_sweeps().await;
        let alice = Person::new("alice", Role::EndUser);
        app.grant(&alice, 10, 1).await;
        at(&app, noon() + TimeDelta::days(1), millis);
        let client = app.sign_in(&alice);

        let shown = client.get("/api/credits/balance").await.expect(200);
        assert_eq!(
            shown.body["totalCredits"],
            if spendable { 10 } else { 0 },
            "{millis}"
        );
        let hold = json!({ "sessionId": "s", "modelId": "m", "estimatedTokens": 1_000 });
        let (held, spent) = (
            client.post(INITIALIZE, &hold).await,
            client.post(DEDUCT, &json!({ "credits": 1 })).await,
        );
        if spendable {
            held.expect(201);
            spent.expect(200);
        } else {
            held.expect_problem(402, "insufficient_credits");
            let spent = spent.expect_problem(400, "insufficient_credits");
            assert_eq!(spent.body["available"], 0, "{millis}");
        }
        app.assert_sound().await;
    }
}

#[actix_web::test]
async fn what_returns_is_spendable_or_written_off_to_the_millisecond() {
    for (millis, returned) in [(-1, true), (0, false), (1, false)] {
        let app = without_sweeps().await;
        let alice = Person::new("alice", Role::EndUser);
        app.grant(&alice, 10, 1).await;
        app.grant(&alice, 5, 30).await;
        at(&app, noon() + TimeDelta::days(1), -60_000);
        let body = json!({ "sessionId": "s", "modelId": "m", "userId": alice.id, "credits": 12 });
        app.proxy().post(INITIALIZE, &body).await.expect(201);
        at(&app, noon() + TimeDelta::days(1), millis);

        let body = json!({ "sessionId": "s", "actualCredits": 4 });
        let settled = app.proxy().post(FINALIZE, &body).await.expect(200);

        assert_eq!(settled.body["refund"], 8, "{millis}");
        assert_eq!(
            app.balance(&alice).await,
            if returned { 11 } else { 5 },
            "{millis}"
        );
        let kinds = "SELECT coalesce(-sum(amount), 0) FROM credit_transactions WHERE kind = 'write_off'";
        assert_eq!(app.number(kinds).await, if returned { 0 } else { 6 }, "{millis}");
        app.assert_sound().await;
    }
}

#[actix_web::test]
async fn a_hold_is_due_at_its_time_and_not_before() {
    for (millis, status) in [(-1, "open"), (0, "expired"), (1, "expired")] {
        let app = TestApp::spawn().await;
        let alice = app.person_with(10).await;
        let body = json!({ "sessionId": "s", "modelId": "m", "userId": alice.id, "credits": 10 });
        app.proxy().post(INITIALIZE, &body).await.expect(201);
        // The sweep has looked at this moment once a later hold, made overdue already, has been expired.
        let marker = app.person_with(1).await;
        at(&app, noon() + TimeDelta::minutes(15), millis);
        let body = json!({ "sessionId": "marker", "modelId": "m", "userId": marker.id, "credits": 1 });
        app.proxy().post(INITIALIZE, &body).await.expect(201);
        app.execute(
            "UPDATE streaming_sessions SET expires_at = to_timestamp(86400) WHERE session_id = 'marker'",
        )
        .await;
        let swept =
            "SELECT count(*) FROM streaming_sessions WHERE session_id = 'marker' AND status = 'expired'";
        eventually("the sweep", async || app.number(swept).await == 1).await;

        let found =
            format!("SELECT count(*) FROM streaming_sessions WHERE session_id = 's' AND status = '{status}'");
        eventually("the status", async || app.number(&found).await == 1).await;
        if status == "open" {
            let body = json!({ "sessionId": "s", "actualCredits": 4 });
            app.proxy().post(FINALIZE, &body).await.expect(200);
        }
        app.assert_sound().await;
    }
}

#[actix_web::test]
async fn credits_of_somebody_who_never_comes_back_are_written_off_once() {
    let app = TestApp::spawn().await;
    let replica = app.replica().await;
    let people: Vec<_> = (0..70)
        .map(|index| Person::new(&format!("p{index}"), Role::EndUser))
        .collect();
    for person in &people {
        app.grant(person, 10, 1).await;
        app.grant(person, 3, 2).await;
    }

    app.advance_secs(86_400);
    let written_off = "SELECT coalesce(-sum(amount), 0) FROM credit_transactions WHERE kind = 'write_off'";
    eventually("the first day's end", async || {
        app.number(written_off).await == 700
    })
    .await;
    app.advance_secs(86_400);
    eventually("the second", async || app.number(written_off).await == 910).await;

    let rows = "SELECT count(*) FROM credit_transactions WHERE kind = 'write_off' AND actor = 'system' AND amount < 0";
    assert_eq!(app.number(rows).await, 140);
    assert_eq!(
        app.number("SELECT sum(remaining_credits) FROM credit_allocations")
            .await,
        0
    );
    drop(replica);
    app.assert_sound().await;
}

#[actix_web::test]
async fn an_entry_says_what_expired_before_the_next_thing_happened() {
    let app = without_sweeps().await;
    let alice = Person::new("alice", Role::EndUser);
    app.grant(&alice, 10, 1).await;
    app.grant(&alice, 20, 30).await;
    app.advance_secs(86_400);
    let client = app.sign_in(&alice);

    client.post(DEDUCT, &json!({ "credits": 21 })).await.expect(400);
    let rows = app.rows().await;
    assert_eq!(app.rows().await, rows, "a refusal writes nothing off either");
    client.post(DEDUCT, &json!({ "credits": 5 })).await.expect(200);

    let statement = client.get("/api/credits/transactions").await.expect(200).body;
    let lines: Vec<_> = statement["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            (
                line["type"].as_str().unwrap(),
                line["amount"].as_i64().unwrap(),
                line["balanceAfter"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            ("deduct", -5, 15),
            ("write_off", -10, 20),
            ("allocate", 20, 30),
            ("allocate", 10, 10)
        ]
    );
    app.assert_sound().await;
}
