//! The program's own commands, as operators run them: `verify` and `export-ledger`.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::TestApp;

struct Ran {
    code: i32,
    out: String,
    problem: String,
}

async fn run(database_url: &str, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_accounting-service"))
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", database_url)
        .output()
        .await
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        problem: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A service with a few entries: a grant, a hold and its capture, and a deduction.
async fn with_entries() -> TestApp {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let body = json!({ "sessionId": "=s,1", "modelId": "m", "userId": alice.id, "credits": 10 });
    app.proxy()
        .post("/api/streaming-sessions/initialize", &body)
        .await
        .expect(201);
    let body = json!({ "sessionId": "=s,1", "actualCredits": 4 });
    app.proxy()
        .post("/api/streaming-sessions/finalize", &body)
        .await
        .expect(200);
    app.sign_in(&alice)
        .post("/api/credits/deduct", &json!({ "credits": 1 }))
        .await
        .expect(200);
    app.person_with(5).await;
    app
}

#[actix_web::test]
async fn verify_says_by_its_exit_code_whether_the_books_are_right() {
    let app = with_entries().await;
    let sound = run(&app.database.url, &["verify"]).await;
    assert_eq!(sound.code, 0, "{}", sound.out);
    assert!(sound.out.contains("all invariants hold"), "{}", sound.out);
    for invariant in ["I1", "I2", "I3", "I4", "I5", "I6", "I7"] {
        assert!(
            sound.out.lines().any(|line| line.starts_with(invariant)),
            "{}",
            sound.out
        );
    }

    let allocation = app
        .text("SELECT id FROM credit_allocations ORDER BY remaining_credits DESC LIMIT 1")
        .await;
    let tamper = format!("UPDATE credit_allocations SET remaining_credits = 7 WHERE id = '{allocation}'");
    app.execute(&tamper).await;
    let broken = run(&app.database.url, &["verify"]).await;
    assert_eq!(broken.code, 1, "{}", broken.out);
    let example = format!("not so: allocation {allocation}");
    assert!(broken.out.contains(&example), "{}", broken.out);

    let away = run("postgres://nobody@127.0.0.1:9/nothing", &["verify"]).await;
    assert_eq!(away.code, 2, "{}", away.out);
    assert!(away.problem.contains("cannot be reached"), "{}", away.problem);
}

#[actix_web::test]
async fn the_ledger_is_exported_as_lines_and_as_a_table() {
    let app = with_entries().await;

    let lines = run(&app.database.url, &["export-ledger", "--format", "jsonl"]).await;
    assert_eq!(lines.code, 0, "{}", lines.problem);
    let entries: Vec<Value> = lines
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(entries.len(), 5);
    let sum: i64 = entries
        .iter()
        .map(|entry| entry["amount"].as_i64().unwrap())
        .sum();
    assert_eq!(sum, 100);
    let hold = entries.iter().find(|entry| entry["type"] == "hold").unwrap();
    assert_eq!(hold["sessionId"], "=s,1");
    assert_eq!(hold["draws"][0]["credits"], -10);

    let table = run(&app.database.url, &["export-ledger"]).await.out;
    assert!(
        table.starts_with("id,userId,type,amount,balanceAfter,"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 6);
    assert!(table.contains(",\"'=s,1\","), "{table}");

    let user = hold["userId"].as_str().unwrap();
    let one = run(&app.database.url, &["export-ledger", "--user", user])
        .await
        .out;
    assert_eq!(one.lines().count(), 5);
    let wrong = run(&app.database.url, &["export-ledger", "--user", "alice"]).await;
    assert_ne!(wrong.code, 0);
}

#[actix_web::test]
async fn the_service_verifies_itself_and_tells_prometheus() {
    let app = TestApp::spawn_with(|config| {
        config.verify_every = Some(std::time::Duration::from_millis(50));
    })
    .await;
    app.person_with(100).await;
    let gauge = |violations: i64| {
        format!("ledger_invariant_violations{{invariant=\"I1\",service=\"accounting-service\"}} {violations}")
    };
    let shows = async |line: &str| app.client.get("/metrics").await.text.contains(line);
    crate::support::eventually("a clean audit", async || shows(&gauge(0)).await).await;

    app.execute("UPDATE credit_allocations SET remaining_credits = 7")
        .await;
    // The account's sum and the allocation's draws.
    crate::support::eventually("the violation", async || shows(&gauge(2)).await).await;
    let at = format!(
        "ledger_verified_timestamp_seconds{{service=\"accounting-service\"}} {}",
        app.clock.now().timestamp()
    );
    assert!(shows(&at).await);
}
