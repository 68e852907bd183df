//! Statements and receipts: every change of credits, explained.

use common_jwt::Role;
use serde_json::{Value, json};
use test_support::{Client, Person};

use crate::support::TestApp;

const INITIALIZE: &str = "/api/streaming-sessions/initialize";
const FINALIZE: &str = "/api/streaming-sessions/finalize";
const ABORT: &str = "/api/streaming-sessions/abort";
const TRANSACTIONS: &str = "/api/credits/transactions";

/// What the proxy does for one turn of `person` that costs `credits` of ten held.
async fn turn(app: &TestApp, person: &Person, session: &str, credits: i64) {
    let body = json!({ "sessionId": session, "modelId": "flow-1", "userId": person.id, "credits": 10 });
    app.proxy().post(INITIALIZE, &body).await.expect(201);
    let usage = json!({ "metadata": { "total_tokens": 321 } });
    let body = json!({ "sessionId": session, "actualCredits": credits, "usage": usage });
    app.proxy().post(FINALIZE, &body).await.expect(200);
}

async fn page(client: &Client, query: &str) -> (Vec<Value>, Option<String>) {
    let answer = client.get(&format!("{TRANSACTIONS}{query}")).await.expect(200);
    let lines = answer.body["transactions"].as_array().unwrap().clone();
    (lines, answer.body["nextCursor"].as_str().map(str::to_owned))
}

#[actix_web::test]
async fn a_statement_lists_every_change_latest_first() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let client = app.sign_in(&alice);
    turn(&app, &alice, "s-1", 4).await;
    client
        .post("/api/credits/deduct", &json!({ "credits": 6 }))
        .await
        .expect(200);

    let answer = client.get(TRANSACTIONS).await.expect(200);

    let redacted = |line: &Value| {
        let mut line = line.clone();
        assert!(line["id"].as_str().is_some_and(|id| id.len() == 36));
        line["id"] = json!("[id]");
        if line["actor"] != "service:proxy-service" {
            line["actor"] = json!("[person]");
        }
        line
    };
    let lines: Vec<_> = answer.body["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(redacted)
        .collect();
    let line = |kind: &str, amount: i64, balance: i64, description: Value, actor: &str, session: Value| {
        json!({
            "id": "[id]", "type": kind, "amount": amount, "balanceAfter": balance, "description": description,
            "actor": actor, "sessionId": session, "createdAt": "2027-01-15T08:00:00.000Z",
        })
    };
    let proxy = "service:proxy-service";
    assert_eq!(
        lines,
        [
            line("deduct", -6, 90, Value::Null, "[person]", Value::Null),
            line("capture", 6, 96, Value::Null, proxy, json!("s-1")),
            line("hold", -10, 90, json!("held for flow-1"), proxy, json!("s-1")),
            line("allocate", 100, 100, Value::Null, "[person]", Value::Null),
        ]
    );
    assert_eq!(answer.body["nextCursor"], Value::Null);
}

#[actix_web::test]
async fn pages_and_filters_never_lose_or_repeat_a_line() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    for index in 0..9 {
        app.advance_secs(3_600);
        app.sign_in(&alice)
            .post("/api/credits/deduct", &json!({ "credits": index + 1 }))
            .await
            .expect(200);
    }

    let client = app.sign_in(&alice);
    let (all, none) = page(&client, "").await;
    assert_eq!((all.len(), none), (10, None));
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (lines, next) = page(&client, &format!("?limit=3{cursor}")).await;
        assert!(lines.len() <= 3);
        seen.extend(lines);
        // What happens meanwhile belongs before the first page and moves nothing.
        client
            .post("/api/credits/deduct", &json!({ "credits": 1 }))
            .await
            .expect(200);
        let Some(next) = next else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, all);

    let (granted, _) = page(&client, "?kind=allocate").await;
    assert_eq!(granted.len(), 1);
    let (morning, _) = page(&client, "?from=2027-01-15T09:00:00Z&to=2027-01-15T12:00:00Z").await;
    assert_eq!(morning.len(), 3, "from its first moment, to the last before");
    assert_eq!(page(&client, "?to=2027-01-14").await.0.len(), 0);
    assert_eq!(page(&client, "?from=2027-01-15&to=2027-01-15").await.0.len(), 14);
}

#[actix_web::test]
async fn queries_that_make_no_sense_are_refused() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.person_with(100).await, app.person_with(100).await);
    let client = app.sign_in(&alice);
    let (of_bob, _) = page(&app.sign_in(&bob), "").await;
    let foreign = format!("?cursor={}", of_bob[0]["id"].as_str().unwrap());

    for query in [
        "?limit=0",
        "?limit=1001",
        "?limit=-1",
        "?limit=ten",
        "?kind=theft",
        "?from=yesterday",
        "?to=2027-13-01",
        "?cursor=7",
        "?cursor=00000000-0000-0000-0000-000000000000",
        "?format=xml",
        &foreign,
    ] {
        let answer = client.get(&format!("{TRANSACTIONS}{query}")).await;
        answer.expect_problem(400, "validation_failed");
    }
}

#[actix_web::test]
async fn supervisors_read_anybodys_statement_and_others_only_their_own() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.person_with(100).await, app.person_with(50).await);
    app.balance(&alice).await;
    let named = format!("?userId={}", alice.id);

    for role in [Role::Supervisor, Role::Admin] {
        let (lines, _) = page(&app.as_role(role), &named).await;
        assert_eq!(lines[0]["amount"], 100);
        let by_address = format!("?userId={}", alice.email.replace('@', "%40"));
        assert_eq!(page(&app.as_role(role), &by_address).await.0, lines);
    }
    assert_eq!(page(&app.sign_in(&alice), &named).await.0.len(), 1, "her own");
    for path in [TRANSACTIONS, "/api/credits/holds", "/api/credits/receipts/s"] {
        let answer = app.sign_in(&bob).get(&format!("{path}{named}")).await;
        answer.expect_problem(403, "forbidden");
        let unknown = format!("{path}?userId={}", "f".repeat(24));
        let answer = app.sign_in(&bob).get(&unknown).await;
        answer.expect_problem(403, "forbidden");
        let answer = app.as_role(Role::Supervisor).get(&unknown).await;
        answer.expect_problem(404, "user_not_found");
    }
}

#[actix_web::test]
async fn a_statement_is_exported_as_a_table_that_runs_nothing() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;
    let admin = app.as_role(Role::Admin);
    for notes in [
        "=HYPERLINK(\"http://evil\",\"x\")",
        "two\nlines, and \"quotes\"",
        "@SUM(A1)",
        "harmless",
    ] {
        let body = json!({ "userId": alice.id, "credits": 1, "notes": notes });
        admin.post("/api/credits/allocate", &body).await.expect(201);
    }
    let client = app.sign_in(&alice);
    client
        .post("/api/credits/deduct", &json!({ "credits": 3 }))
        .await
        .expect(200);

    let request = client
        .request(reqwest::Method::GET, TRANSACTIONS)
        .header("accept", "text/csv");
    let by_header = client.send(request).await.expect(200);
    let by_query = client
        .get(&format!("{TRANSACTIONS}?format=csv&limit=1"))
        .await
        .expect(200);

    assert_eq!(
        by_header.text, by_query.text,
        "a table is whole, whatever the limit"
    );
    assert_eq!(by_query.headers["content-type"], "text/csv; charset=utf-8");
    assert!(
        by_query.headers["content-disposition"]
            .to_str()
            .unwrap()
            .starts_with("attachment")
    );
    let text = by_query.text;
    assert!(text.starts_with("id,type,amount,balanceAfter,description,actor,sessionId,createdAt\r\n"));
    assert!(text.contains(",deduct,-3,11,,user:"), "{text}");
    assert!(
        text.contains(",\"'=HYPERLINK(\"\"http://evil\"\",\"\"x\"\")\","),
        "{text}"
    );
    assert!(text.contains(",\"two\nlines, and \"\"quotes\"\"\","), "{text}");
    assert!(text.contains(",'@SUM(A1),"), "{text}");
    assert!(text.contains(",harmless,"), "{text}");
}

#[actix_web::test]
async fn a_long_statement_is_exported_whole() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10).await;
    let client = app.sign_in(&alice);
    client
        .post("/api/credits/deduct", &json!({ "credits": 1 }))
        .await
        .expect(200);
    // As many as three pages and a bit, in one statement.
    app.execute(
        "INSERT INTO credit_transactions (id, user_id, kind, amount, balance_after, actor, request_id, draws, created_at)
         SELECT gen_random_uuid(), user_id, 'set', 0, 9, actor, 'r', '[]', created_at
         FROM credit_transactions, generate_series(1, 3100) WHERE kind = 'deduct'",
    )
    .await;

    let text = client
        .get(&format!("{TRANSACTIONS}?format=csv"))
        .await
        .expect(200)
        .text;

    let mut ids: Vec<_> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap())
        .collect();
    assert_eq!(ids.len(), 3_102);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3_102);
    app.assert_sound().await;
}

#[actix_web::test]
async fn a_receipt_says_what_a_turn_held_cost_and_gave_back() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);
    let first = app.grant(&alice, 3, 1).await;
    let second = app.grant(&alice, 20, 30).await;
    turn(&app, &alice, "s-1", 4).await;

    let receipt = app
        .sign_in(&alice)
        .get("/api/credits/receipts/s-1")
        .await
        .expect(200);

    let expected = json!({
        "sessionId": "s-1", "userId": alice.id, "status": "captured", "model": "flow-1", "tokens": 321,
        "held": 10, "captured": 4, "returned": 6, "writtenOff": 0,
        "allocations": [
            { "id": first["id"], "held": 3, "captured": 3, "returned": 0, "expiresAt": first["expiresAt"] },
            { "id": second["id"], "held": 7, "captured": 1, "returned": 6, "expiresAt": second["expiresAt"] },
        ],
        "heldAt": "2027-01-15T08:00:00.000Z", "settledAt": "2027-01-15T08:00:00.000Z",
    });
    assert_eq!(receipt.body, expected);
    for client in [app.as_role(Role::Supervisor), app.proxy()] {
        let path = format!("/api/credits/receipts/s-1?userId={}", alice.id);
        assert_eq!(client.get(&path).await.expect(200).body, expected);
    }
    let own = app.proxy().get("/api/credits/receipts/s-1").await.expect(200);
    assert_eq!(own.body, expected, "whoever opened a session has its receipt");
}

#[actix_web::test]
async fn receipts_of_open_voided_and_late_holds_tell_it_as_it_is() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);
    app.grant(&alice, 30, 1).await;
    let open = json!({ "sessionId": "late", "modelId": "m", "userId": alice.id, "credits": 10 });
    app.proxy().post(INITIALIZE, &open).await.expect(201);
    let own = json!({ "sessionId": "own", "modelId": "m", "estimatedTokens": 10_000 });
    let client = app.sign_in(&alice);
    client.post(INITIALIZE, &own).await.expect(201);
    client
        .post(ABORT, &json!({ "sessionId": "own", "tokensGenerated": 0 }))
        .await
        .expect(200);

    let running = client.get("/api/credits/receipts/late").await.expect(200).body;
    assert_eq!(
        (
            &running["status"],
            &running["returned"],
            &running["settledAt"],
            &running["tokens"]
        ),
        (&json!("open"), &json!(0), &Value::Null, &Value::Null)
    );
    assert_eq!(running["allocations"][0]["captured"], 0);
    let voided = client.get("/api/credits/receipts/own").await.expect(200).body;
    assert_eq!(
        (&voided["status"], &voided["captured"], &voided["returned"]),
        (&json!("voided"), &json!(0), &json!(5))
    );

    app.clock.advance(chrono::TimeDelta::days(1));
    crate::support::eventually("the expiry", async || {
        let client = app.sign_in(&alice);
        client.get("/api/credits/receipts/late").await.body["status"] == "expired"
    })
    .await;
    let late = app
        .sign_in(&alice)
        .get("/api/credits/receipts/late")
        .await
        .expect(200)
        .body;
    assert_eq!((&late["returned"], &late["writtenOff"]), (&json!(10), &json!(10)));
}

#[actix_web::test]
async fn somebody_elses_receipt_is_as_one_that_does_not_exist() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.person_with(100).await, app.person_with(100).await);
    turn(&app, &alice, "s-1", 4).await;
    let bob = app.sign_in(&bob);

    let foreign = bob.get("/api/credits/receipts/s-1").await;
    let unknown = bob.get("/api/credits/receipts/s-2").await;

    let foreign = foreign.expect_problem(404, "session_not_found");
    let unknown = unknown.expect_problem(404, "session_not_found");
    assert_eq!(foreign.body["detail"], unknown.body["detail"]);
    app.client
        .with_token(app.tokens().service("auth-service", "accounting-service"))
        .get("/api/credits/receipts/s-1")
        .await
        .expect_problem(404, "session_not_found");
}
