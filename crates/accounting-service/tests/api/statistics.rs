//! `GET /api/usage/stats`, `/stats/{userId}` and `/system-stats`.

use common_jwt::Role;
use serde_json::{Value, json};
use test_support::Person;

use crate::support::TestApp;

const OWN: &str = "/api/usage/stats";
const SYSTEM: &str = "/api/usage/system-stats";

async fn record(app: &TestApp, person: &Person, service: &str, operation: &str, credits: i64) {
    let body = json!({ "userId": person.id, "service": service, "operation": operation, "credits": credits });
    app.proxy().post("/api/usage/record", &body).await.expect(201);
}

/// A turn that was held, answered and paid.
async fn chat(app: &TestApp, person: &Person, session: &str, chatflow: &str, credits: i64) {
    let hold = json!({
        "sessionId": session, "modelId": chatflow, "userId": person.id, "username": person.username,
        "email": person.email, "role": "enduser", "credits": credits,
    });
    let proxy = app.proxy();
    proxy
        .post("/api/streaming-sessions/initialize", &hold)
        .await
        .expect(201);
    let capture = json!({
        "sessionId": session, "userId": person.id, "actualCredits": credits,
        "usage": { "service": "chat", "operation": chatflow, "metadata": {} },
    });
    proxy
        .post("/api/streaming-sessions/finalize", &capture)
        .await
        .expect(200);
}

#[actix_web::test]
async fn captures_and_records_add_up() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let client = app.sign_in(&alice);
    record(&app, &alice, "search", "lookup", 2).await;
    chat(&app, &alice, "s-1", "flow-a", 3).await;
    app.advance_secs(86_400);
    chat(&app, &alice, "s-2", "flow-a", 4).await;
    let open = json!({ "sessionId": "s-3", "modelId": "nova", "estimatedTokens": 10_000 });
    let client = client.with_token(app.tokens().access(&alice));
    client
        .post("/api/streaming-sessions/initialize", &open)
        .await
        .expect(201);
    let stop = json!({ "sessionId": "s-3", "tokensGenerated": 2_000 });
    client
        .post("/api/streaming-sessions/abort", &stop)
        .await
        .expect(200);

    let answer = client.get(OWN).await.expect(200);

    insta::assert_json_snapshot!(
        answer.body,
        { ".recentActivity[].id" => "[id]", ".recentActivity[].userId" => "[alice]", ".recentActivity[].metadata" => "[metadata]" },
        @r#"
    {
      "byChatflow": {
        "flow-a": 7
      },
      "byDay": {
        "2027-01-15": 5,
        "2027-01-16": 5
      },
      "byModel": {
        "flow-a": 7,
        "nova": 1
      },
      "byService": {
        "chat": 7,
        "chat-streaming-aborted": 1,
        "search": 2
      },
      "recentActivity": [
        {
          "credits": 1,
          "id": "[id]",
          "metadata": "[metadata]",
          "operation": "nova",
          "service": "chat-streaming-aborted",
          "timestamp": "2027-01-16T08:00:00.000Z",
          "userId": "[alice]"
        },
        {
          "credits": 4,
          "id": "[id]",
          "metadata": "[metadata]",
          "operation": "flow-a",
          "service": "chat",
          "timestamp": "2027-01-16T08:00:00.000Z",
          "userId": "[alice]"
        },
        {
          "credits": 3,
          "id": "[id]",
          "metadata": "[metadata]",
          "operation": "flow-a",
          "service": "chat",
          "timestamp": "2027-01-15T08:00:00.000Z",
          "userId": "[alice]"
        },
        {
          "credits": 2,
          "id": "[id]",
          "metadata": "[metadata]",
          "operation": "lookup",
          "service": "search",
          "timestamp": "2027-01-15T08:00:00.000Z",
          "userId": "[alice]"
        }
      ],
      "totalCredits": 10,
      "totalRecords": 4
    }
    "#
    );
}

#[actix_web::test]
async fn the_newest_ten_records_come_first_and_belong_to_the_period() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(1).await;
    for number in 0..12 {
        record(&app, &alice, "search", &format!("n-{number}"), number).await;
        app.advance_secs(60);
    }
    let operations = async |path: &str| -> Vec<Value> {
        let answer = app.sign_in(&alice).get(path).await.expect(200);
        let recent = answer.body["recentActivity"].as_array().unwrap().clone();
        recent.into_iter().map(|usage| usage["credits"].clone()).collect()
    };

    assert_eq!(
        operations(OWN).await,
        (2..12).rev().map(Value::from).collect::<Vec<_>>()
    );
    let few = operations("/api/usage/stats?endDate=2027-01-15T08:02:00.000Z").await;
    assert_eq!(few, [2, 1, 0].map(Value::from), "both ends belong to the period");
    let one = "/api/usage/stats?startDate=2027-01-15T08:01:00Z&endDate=2027-01-15T08:01:00Z";
    assert_eq!(operations(one).await, [Value::from(1)]);
}

#[actix_web::test]
async fn whole_days_and_pieces_of_days_are_exact() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(1).await;
    // Noon stands at 08:00; one credit every hour over three days.
    for _ in 0..72 {
        record(&app, &alice, "chat", "flow-a", 1).await;
        app.advance_secs(3_600);
    }
    for (period, credits) in [
        ("", 72),
        ("?startDate=2027-01-15", 72),
        ("?startDate=2027-01-16", 56),
        ("?endDate=2027-01-15", 16),
        ("?startDate=2027-01-16&endDate=2027-01-17", 48),
        ("?startDate=2027-01-16T03:00:00Z&endDate=2027-01-17T21:00:00Z", 43),
        ("?startDate=2027-01-16T15:00:00Z&endDate=2027-01-17T02:00:00Z", 12),
        (
            "?startDate=2027-01-16T03:00:00Z&endDate=2027-01-16T04:59:59.999Z",
            2,
        ),
        ("?startDate=2027-01-16T01:00:00Z&endDate=2027-01-16T22:30:00Z", 22),
        ("?startDate=2027-01-19", 0),
        ("?endDate=1999-12-31", 0),
    ] {
        let own = app
            .sign_in(&alice)
            .get(&format!("{OWN}{period}"))
            .await
            .expect(200)
            .body;
        assert_eq!(own["totalCredits"], credits, "{period}");
        assert_eq!(own["totalRecords"], credits, "{period}");
        let system = app
            .as_role(Role::Admin)
            .get(&format!("{SYSTEM}{period}"))
            .await
            .expect(200)
            .body;
        assert_eq!(system["totalCredits"], credits, "{period}");
        let sum =
            |sums: &Value| -> i64 { sums.as_object().unwrap().values().filter_map(Value::as_i64).sum() };
        for sums in ["byUser", "byDay", "byService", "byModel", "byChatflow"] {
            assert_eq!(sum(&system[sums]), credits, "{period} {sums}");
        }
    }
}

#[actix_web::test]
async fn supervisors_see_anybody_and_nobody_adds_up_to_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(1).await;
    record(&app, &alice, "search", "lookup", 2).await;
    let supervisor = app.as_role(Role::Supervisor);

    let hers = supervisor
        .get(&format!("/api/usage/stats/{}", alice.id))
        .await
        .expect(200);
    assert_eq!(hers.body["totalCredits"], 2);
    for nobody in ["5f0a1b2c3d4e5f6a7b8c9d0e", "nobody", "%00"] {
        let answer = supervisor
            .get(&format!("/api/usage/stats/{nobody}"))
            .await
            .expect(200);
        insta::allow_duplicates! {
            insta::assert_json_snapshot!(answer.body, @r#"
            {
              "byChatflow": {},
              "byDay": {},
              "byModel": {},
              "byService": {},
              "recentActivity": [],
              "totalCredits": 0,
              "totalRecords": 0
            }
            "#);
        }
    }
}

#[actix_web::test]
async fn everybody_is_ranked_page_by_page() {
    let app = TestApp::spawn().await;
    let mut people = Vec::new();
    for credits in [5, 1, 3, 3, 2] {
        let person = Person::new("pupil", Role::EndUser);
        record(&app, &person, "chat", "flow-a", credits).await;
        people.push((std::cmp::Reverse(credits), person.id));
    }
    people.sort();
    let admin = app.as_role(Role::Admin);

    let mut ranked = Vec::new();
    let mut path = format!("{SYSTEM}?limit=2");
    loop {
        let answer = admin.get(&path).await.expect(200);
        assert_eq!(answer.body["totalCredits"], 14, "the same on every page");
        // The order of an object's members is lost on `Value`; a page's users all come before those of the next.
        let users = answer.body["byUser"].as_object().unwrap();
        assert!(users.len() <= 2);
        let mut page: Vec<_> = users
            .iter()
            .map(|(id, credits)| (std::cmp::Reverse(credits.as_i64().unwrap()), id.clone()))
            .collect();
        page.sort();
        let first = page.first().map(|(_, id)| answer.text.find(id.as_str()).unwrap());
        let last = page.last().map(|(_, id)| answer.text.find(id.as_str()).unwrap());
        assert!(first <= last, "the first user of the ranking stands first");
        ranked.extend(page);
        match answer.body["nextCursor"].as_str() {
            Some(cursor) => path = format!("{SYSTEM}?limit=2&cursor={cursor}"),
            None => break,
        }
    }

    assert_eq!(ranked, people);
}

#[actix_web::test]
async fn what_cannot_be_asked_is_refused() {
    let app = TestApp::spawn().await;
    let admin = app.as_role(Role::Admin);
    for path in [
        "/api/usage/stats?startDate=yesterday",
        "/api/usage/stats?endDate=2026-02-30",
        "/api/usage/stats?startDate=2026-11-22&endDate=2026-11-21",
        "/api/usage/stats?startDate=1700000000",
        "/api/usage/stats?startDate=2026-11-21T08:00:00",
        "/api/usage/stats?startDate=99999-01-01",
        "/api/usage/stats/5f0a1b2c3d4e5f6a7b8c9d0e?startDate=x",
        "/api/usage/system-stats?startDate=x",
        "/api/usage/system-stats?limit=0",
        "/api/usage/system-stats?limit=1001",
        "/api/usage/system-stats?limit=-1",
        "/api/usage/system-stats?limit=many",
        "/api/usage/system-stats?cursor=x",
        "/api/usage/system-stats?cursor=1.x",
        "/api/usage/system-stats?cursor=x.5f0a1b2c3d4e5f6a7b8c9d0e",
    ] {
        admin.get(path).await.expect_problem(400, "validation_failed");
    }
}

#[actix_web::test]
async fn no_number_of_records_makes_a_sum_overflow() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(1).await;
    record(&app, &alice, "chat", "flow-a", 1_000_000_000_000).await;
    app.execute("UPDATE usage_daily SET credits = 9223372036854775807")
        .await;
    app.execute("UPDATE usage_totals SET credits = 9223372036854775807")
        .await;

    record(&app, &alice, "chat", "flow-a", 1_000_000_000_000).await;

    let own = app.sign_in(&alice).get(OWN).await.expect(200);
    assert_eq!(own.body["totalCredits"], i64::MAX);
    assert_eq!(own.body["totalRecords"], 2);
}

#[actix_web::test]
async fn a_chatflow_is_named_by_metadata_or_by_the_chat() {
    let app = TestApp::spawn().await;
    let client = app.as_role(Role::EndUser);
    for (service, metadata) in [
        ("chat", json!({})),
        ("summaries", json!({ "chatflowId": "flow-b" })),
        ("summaries", json!({ "chatflowId": 7 })),
        ("summaries", json!({ "chatflowId": "x".repeat(101) })),
        ("chat", json!({ "chatflowId": "" })),
    ] {
        let body = json!({ "service": service, "operation": "flow-a", "credits": 1, "metadata": metadata });
        client.post("/api/usage/record", &body).await.expect(201);
    }
    let answer = client.get(OWN).await.expect(200);
    assert_eq!(answer.body["byChatflow"], json!({ "flow-a": 2, "flow-b": 1 }));
    assert_eq!(answer.body["byModel"], json!({ "flow-a": 2 }));
}
