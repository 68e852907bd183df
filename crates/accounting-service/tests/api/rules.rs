//! `/api/admin/credit-rules`, and the credits that are granted by themselves.

use accounting_service::{config::RuleSeed, domain::rules};
use common_jwt::Role;
use futures_util::future::join_all;
use serde_json::{Value, json};
use test_support::Person;

use crate::support::{TestApp, eventually};

const PATH: &str = "/api/admin/credit-rules";

async fn make(app: &TestApp, rule: Value) -> Value {
    let admin = app.as_role(Role::Admin);
    admin.post(PATH, &rule).await.expect(201).body
}

fn welcome(role: &str, amount: i64) -> Value {
    json!({ "name": format!("welcome {role}"), "kind": "on_account_creation", "role": role, "amount": amount })
}

fn monthly(role: &str, amount: i64, day: i64) -> Value {
    json!({
        "name": format!("monthly {role}"), "kind": "monthly", "role": role, "amount": amount, "dayOfMonth": day,
        "expiryDays": 31,
    })
}

/// Sweeps of this many and more have come and gone: each one notes new accounts as welcomed.
async fn swept(app: &TestApp) {
    let somebody = app.sign_in(&Person::new("somebody", Role::Admin));
    somebody.get("/api/credits/balance").await.expect(200);
    let waiting = "SELECT count(*) FROM user_accounts WHERE known_since IS NOT NULL AND welcomed_at IS NULL";
    eventually("a sweep", async || app.number(waiting).await == 0).await;
}

async fn grants(app: &TestApp) -> i64 {
    app.number("SELECT count(*) FROM credit_rule_grants").await
}

#[actix_web::test]
async fn a_rule_is_made_changed_and_ended() {
    let app = TestApp::spawn().await;
    let admin = app.as_role(Role::Admin);
    let made = make(&app, monthly("enduser", 200, 1)).await;
    insta::assert_json_snapshot!(made, { ".id" => "[id]" }, @r#"
    {
      "active": true,
      "activeSince": "2027-01-15T08:00:00.000Z",
      "amount": 200,
      "createdAt": "2027-01-15T08:00:00.000Z",
      "dayOfMonth": 1,
      "expiryDays": 31,
      "id": "[id]",
      "kind": "monthly",
      "name": "monthly enduser",
      "role": "enduser",
      "updatedAt": "2027-01-15T08:00:00.000Z"
    }
    "#);
    let path = format!("{PATH}/{}", made["id"].as_str().unwrap());
    assert_eq!(admin.get(&path).await.expect(200).body, made);

    app.advance_secs(60);
    let mut next = monthly("enduser", 300, 1);
    let more = admin.put(&path, &next).await.expect(200).body;
    assert_eq!(
        (&more["amount"], &more["activeSince"]),
        (&json!(300), &made["activeSince"])
    );
    next["role"] = json!("all");
    let others = admin.put(&path, &next).await.expect(200).body;
    assert_eq!(
        others["activeSince"], "2027-01-15T08:01:00.000Z",
        "it begins anew"
    );
    assert_eq!(admin.get(PATH).await.expect(200).body["rules"], json!([others]));

    admin
        .post(PATH, &monthly("enduser", 1, 1))
        .await
        .expect_problem(409, "rule_exists");
    admin.delete(&path).await.expect(204);
    for answer in [
        admin.get(&path).await,
        admin.delete(&path).await,
        admin.put(&path, &next).await,
        admin.get(&format!("{PATH}/x")).await,
    ] {
        answer.expect_problem(404, "rule_not_found");
    }
    assert_eq!(admin.get(PATH).await.expect(200).body, json!({ "rules": [] }));
    make(&app, monthly("enduser", 1, 1)).await;
}

#[actix_web::test]
async fn bad_rules_are_refused() {
    let app = TestApp::spawn().await;
    let admin = app.as_role(Role::Admin);
    let made = make(&app, welcome("all", 1)).await;
    let path = format!("{PATH}/{}", made["id"].as_str().unwrap());
    for (member, value) in [
        ("name", json!("")),
        ("name", json!("x".repeat(101))),
        ("name", json!(null)),
        ("kind", json!("weekly")),
        ("kind", json!(null)),
        ("role", json!("teacher")),
        ("role", json!(7)),
        ("amount", json!(0)),
        ("amount", json!(-1)),
        ("amount", json!(1.5)),
        ("amount", json!("10")),
        ("amount", json!(1_000_000_000_001_i64)),
        ("expiryDays", json!(0)),
        ("expiryDays", json!(36_501)),
        ("expiryDays", json!("30")),
        ("dayOfMonth", json!(0)),
        ("dayOfMonth", json!(32)),
        ("dayOfMonth", json!(null)),
        ("dayOfMonth", json!("1")),
        ("active", json!("yes")),
        ("kind", json!("on_account_creation")),
    ] {
        let mut body = monthly("enduser", 200, 1);
        body[member] = value.clone();
        for answer in [admin.post(PATH, &body).await, admin.put(&path, &body).await] {
            answer.expect_problem(400, "validation_failed");
        }
    }
    assert_eq!(admin.get(&path).await.expect(200).body, made);
    app.execute(
        "INSERT INTO credit_rules (id, name, kind, amount, expiry_days, active, active_since, created_by, created_at, updated_at)
         SELECT gen_random_uuid(), 'r' || n, 'on_account_creation', 1, 1, false, now(), 'system', now(), now()
         FROM generate_series(1, 99) n",
    )
    .await;
    admin
        .post(PATH, &monthly("enduser", 1, 1))
        .await
        .expect_problem(409, "too_many_rules");
}

#[actix_web::test]
async fn a_new_account_has_its_credits_at_its_first_request() {
    let app = TestApp::spawn().await;
    make(&app, welcome("enduser", 100)).await;
    make(&app, welcome("all", 5)).await;
    make(&app, welcome("admin", 999)).await;
    let alice = Person::new("alice", Role::EndUser);

    assert_eq!(app.balance(&alice).await, 105);

    swept(&app).await;
    assert_eq!(app.balance(&alice).await, 105);
    let entries = format!(
        "SELECT count(*) FROM credit_transactions
         WHERE user_id = '{}' AND kind = 'allocate' AND actor = 'system' AND description LIKE 'automatic: welcome%'",
        alice.id
    );
    assert_eq!(app.number(&entries).await, 2);
    app.assert_sound().await;
}

#[actix_web::test]
async fn first_requests_at_once_to_two_replicas_grant_once() {
    let app = TestApp::spawn().await;
    let replica = app.replica().await;
    make(&app, welcome("enduser", 100)).await;
    let people: Vec<_> = (0..5).map(|_| Person::new("pupil", Role::EndUser)).collect();

    let requests = (0..100).map(|index| {
        let app = if index % 2 == 0 { &app } else { &replica };
        let client = app.sign_in(&people[index % people.len()]);
        async move { client.get("/api/credits/balance").await.expect(200) }
    });
    join_all(requests).await;

    swept(&app).await;
    for person in &people {
        assert_eq!(app.balance(person).await, 100);
    }
    assert_eq!(grants(&app).await, 5);
    app.assert_sound().await;
}

#[actix_web::test]
async fn an_account_that_is_only_an_id_waits_until_it_is_known_who_that_is() {
    let app = TestApp::spawn().await;
    make(&app, welcome("supervisor", 70)).await;
    let teacher = Person::new("teacher", Role::Supervisor);
    app.grant(&teacher, 1, 30).await;
    let note = json!({ "userId": teacher.id, "service": "s", "operation": "o", "credits": 0 });
    app.proxy().post("/api/usage/record", &note).await.expect(201);
    let hold = |session: &str, role: Value| {
        json!({
            "sessionId": session, "modelId": "m", "userId": teacher.id, "username": "teacher", "role": role, "credits": 1,
        })
    };
    app.proxy()
        .post("/api/streaming-sessions/initialize", &hold("s-1", Value::Null))
        .await
        .expect(201);
    swept(&app).await;
    assert_eq!(grants(&app).await, 0, "nobody has said who that is");

    app.proxy()
        .post(
            "/api/streaming-sessions/initialize",
            &hold("s-2", json!("supervisor")),
        )
        .await
        .expect(201);
    assert_eq!(grants(&app).await, 1, "now somebody has");
}

#[actix_web::test]
async fn a_change_of_role_is_no_new_account() {
    let app = TestApp::spawn().await;
    make(&app, welcome("enduser", 10)).await;
    make(&app, welcome("supervisor", 70)).await;
    let mut person = Person::new("climber", Role::EndUser);
    assert_eq!(app.balance(&person).await, 10);
    person.role = Role::Supervisor;
    assert_eq!(app.balance(&person).await, 10);
    swept(&app).await;
    assert_eq!(app.balance(&person).await, 10);
}

#[actix_web::test]
async fn who_was_known_before_a_rule_is_not_new_and_an_inactive_rule_grants_nothing() {
    let app = TestApp::spawn().await;
    let alice = Person::new("alice", Role::EndUser);
    assert_eq!(app.balance(&alice).await, 0);
    app.advance_secs(1);
    make(&app, welcome("all", 10)).await;
    let mut off = welcome("enduser", 10);
    off["active"] = json!(false);
    make(&app, off).await;
    let bob = Person::new("bob", Role::EndUser);
    assert_eq!(app.balance(&bob).await, 10);
    swept(&app).await;
    assert_eq!(app.balance(&alice).await, 0);
}

#[actix_web::test]
async fn the_monthly_day_comes_once_for_everybody_who_was_known_by_then() {
    // The clock stands at 15 January, 08:00.
    let app = TestApp::spawn().await;
    let replica = app.replica().await;
    let people: Vec<_> = (0..150).map(|_| Person::new("pupil", Role::EndUser)).collect();
    join_all(people.iter().map(|person| app.balance(person))).await;
    let teacher = Person::new("teacher", Role::Supervisor);
    app.balance(&teacher).await;
    make(&app, monthly("enduser", 200, 31)).await;
    swept(&app).await;
    assert_eq!(grants(&app).await, 0, "its day has not come");

    // 31 January, 09:00.
    app.advance_secs(16 * 86_400 + 3_600);
    let late = Person::new("late", Role::EndUser);
    app.balance(&late).await;
    let finished = "SELECT count(*) FROM credit_rule_periods WHERE period = '2027-01'";
    eventually("January", async || app.number(finished).await == 1).await;
    assert_eq!(grants(&app).await, 150);
    assert_eq!(app.balance(&people[0]).await, 200);
    assert_eq!((app.balance(&late).await, app.balance(&teacher).await), (0, 0));

    // 28 February, 09:00: the month has no 31st.
    app.advance_secs(28 * 86_400);
    let february = "SELECT count(*) FROM credit_rule_grants WHERE period = '2027-02'";
    eventually("February", async || app.number(february).await == 151).await;
    assert_eq!(
        app.balance(&people[0]).await,
        400,
        "what January granted lasts 31 days"
    );
    drop(replica);
    app.assert_sound().await;
}

#[actix_web::test]
async fn of_months_that_were_missed_the_last_is_made_up_for_also_when_it_was_cut_short() {
    let app = TestApp::spawn().await;
    let people: Vec<_> = (0..10).map(|_| Person::new("pupil", Role::EndUser)).collect();
    join_all(people.iter().map(|person| app.balance(person))).await;
    let rule = make(&app, monthly("all", 7, 20)).await;
    // What a round that broke off in April has left: one of them has the credits.
    let done = &people[3];
    let allocation = app.grant(done, 7, 300).await;
    assert!(allocation["id"].is_string());
    app.execute(&format!(
        "INSERT INTO credit_rule_grants SELECT '{}', '2027-04', '{}', gen_random_uuid(), now()",
        rule["id"].as_str().unwrap(),
        done.id
    ))
    .await;
    // 20 April, 08:00.
    app.advance_secs(95 * 86_400);

    let finished = "SELECT count(*) FROM credit_rule_periods WHERE period = '2027-04'";
    eventually("April", async || app.number(finished).await == 1).await;

    for person in &people {
        assert_eq!(app.balance(person).await, 7, "once, and only for April");
    }
    assert_eq!(
        app.number("SELECT count(DISTINCT period) FROM credit_rule_grants")
            .await,
        1
    );
}

#[actix_web::test]
async fn a_grant_that_the_ledger_refuses_does_not_stop_the_others() {
    let app = TestApp::spawn().await;
    let (rich, poor) = (
        Person::new("rich", Role::EndUser),
        Person::new("poor", Role::EndUser),
    );
    app.balance(&poor).await;
    app.balance(&rich).await;
    for _ in 0..1_000 {
        app.grant(&rich, 1_000_000_000_000, 300).await;
    }
    make(&app, monthly("enduser", 200, 16)).await;
    app.advance_secs(86_400);
    let finished = "SELECT count(*) FROM credit_rule_periods";
    eventually("the day", async || app.number(finished).await == 1).await;
    assert_eq!(app.balance(&poor).await, 200);
    assert_eq!(app.balance(&rich).await, 1_000_000_000_000_000);
    let metrics = app.client.get("/metrics").await.text;
    for line in [
        "automatic_grants_total{kind=\"monthly\",outcome=\"granted\",service=\"accounting-service\"} 1",
        "automatic_grants_total{kind=\"monthly\",outcome=\"refused\",service=\"accounting-service\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[actix_web::test]
async fn variables_make_a_rule_once() {
    let seed = RuleSeed {
        variable: "DEFAULT_STUDENT_CREDITS",
        terms: rules::Terms {
            name: accounting_service::domain::text::Name::parse("DEFAULT_STUDENT_CREDITS").unwrap(),
            occasion: rules::Occasion::AccountCreation,
            role: Some(Role::EndUser),
            amount: accounting_service::domain::credits::Amount::new(1_000).unwrap(),
            expiry_days: accounting_service::domain::expiry::ExpiryDays::new(365).unwrap(),
            active: true,
        },
    };
    let seeds = vec![seed];
    let app = TestApp::spawn_with(|config| config.rule_seeds = seeds.clone()).await;
    let alice = Person::new("alice", Role::EndUser);
    assert_eq!(app.balance(&alice).await, 1_000);
    let admin = app.as_role(Role::Admin);
    let rules = admin.get(PATH).await.expect(200).body;
    assert_eq!(rules["rules"].as_array().unwrap().len(), 1);
    let path = format!("{PATH}/{}", rules["rules"][0]["id"].as_str().unwrap());
    admin.delete(&path).await.expect(204);

    let again = app
        .replica_with(|config| {
            config.rule_seeds = seeds.clone();
        })
        .await;

    let rules = again.as_role(Role::Admin).get(PATH).await.expect(200).body;
    assert_eq!(
        rules,
        json!({ "rules": [] }),
        "what an admin deleted stays deleted"
    );
}
