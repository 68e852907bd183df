//! Usage by day, for supervisors.

use bson::doc;
use common_jwt::Role;
use serde_json::{Value, json};
use test_support::{Client, Person, TestTokens};

use crate::turns::support::{
    FLOW, PRICE, Replica, TestApp, User, eventually, flowise::recorded_stream, http::whole,
};

const USAGE: &str = "/api/v1/reports/usage";

fn signed_in(app: &TestApp, person: &Person) -> Client {
    let token = TestTokens::at(app.config.clock.now()).access(person);
    app.stranger("nobody").client.with_token(token)
}

/// A group, led by the first, with the others as members.
async fn class(app: &TestApp, id: &str, lead: &Person, members: &[&User]) {
    let now = bson::DateTime::now();
    let database = &app.mongo.database;
    database
        .collection("groups")
        .insert_one(doc! { "_id": id, "name": id, "created_at": now, "updated_at": now })
        .await
        .unwrap();
    let row = |user_id: &str, part: &str| doc! { "group_id": id, "user_id": user_id, "part": part, "added_at": now };
    let mut rows = vec![row(&lead.id, "lead")];
    rows.extend(members.iter().map(|user| row(&user.person.id, "member")));
    database
        .collection("group_members")
        .insert_many(rows)
        .await
        .unwrap();
}

/// Waits until so many turns stand in the reports.
async fn reported(app: &TestApp, turns: i64) {
    let admin = signed_in(app, &Person::new("admin", Role::Admin));
    let all = async || admin.get(USAGE).await.body["total"]["turns"] == turns;
    eventually("every turn is reported", all).await;
}

fn rows(body: &Value) -> Vec<(String, i64, i64, i64)> {
    let rows = body["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        let number = |name: &str| row[name].as_i64().unwrap();
        (
            row["user_id"].as_str().unwrap().to_owned(),
            number("turns"),
            number("failed"),
            number("credits"),
        )
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_sees_the_members_of_the_groups_they_lead_and_nobody_else() {
    let app = TestApp::spawn().await;
    let (alice, bob, carol) = (
        app.user("alice").await,
        app.user("bob").await,
        app.user("carol").await,
    );
    let (ho, lee) = (
        Person::new("ho", Role::Supervisor),
        Person::new("lee", Role::Supervisor),
    );
    class(&app, "one", &ho, &[&alice, &bob]).await;
    class(&app, "two", &lee, &[&carol]).await;
    for user in [&alice, &alice, &bob, &carol] {
        user.chat(&json!({})).await;
    }
    app.flowise.answer(whole(500, "application/json", "{}"));
    alice.chat(&json!({})).await;
    app.is_quiet().await;
    reported(&app, 5).await;

    let (ho, lee) = (signed_in(&app, &ho), signed_in(&app, &lee));
    let seen = ho.get(USAGE).await.expect(200).body;
    let mut expected = vec![
        (alice.person.id.clone(), 3, 1, 2 * PRICE),
        (bob.person.id.clone(), 1, 0, PRICE),
    ];
    expected.sort_unstable();
    assert_eq!(rows(&seen), expected);
    assert_eq!(seen["total"]["credits"], 3 * PRICE);
    let today = json!({ "day": seen["to"], "turns": 4, "failed": 1, "credits": 3 * PRICE, "tokens": seen["total"]["tokens"] });
    assert_eq!(seen["by_day"], json!([today]));
    assert_eq!(seen["rows"][0]["chatflow_name"], "A chatflow");
    assert_eq!(
        rows(&lee.get(USAGE).await.expect(200).body),
        [(carol.person.id.clone(), 1, 0, PRICE)]
    );
    let names = |body: &Value| {
        body.as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&ho.get("/api/v1/reports/groups").await.expect(200).body),
        ["one"]
    );

    for path in [
        format!("{USAGE}?group_id=two"),
        format!("{USAGE}.csv?group_id=two"),
        format!("{USAGE}?group_id=nowhere"),
    ] {
        ho.get(&path).await.expect_problem(404, "group_not_found");
    }
    for path in [
        format!("{USAGE}?user_id={}", carol.person.id),
        format!("{USAGE}?user_id=aaaaaaaaaaaaaaaaaaaaaaaa"),
    ] {
        ho.get(&path).await.expect_problem(404, "member_not_found");
    }
    // Who leads nothing sees nobody, and a pupil may not even ask.
    let nobody = signed_in(&app, &Person::new("new", Role::Supervisor));
    assert_eq!(rows(&nobody.get(USAGE).await.expect(200).body), []);
    alice.client.get(USAGE).await.expect_problem(403, "forbidden");
    // A pupil who is called a lead is no supervisor.
    let narrowed = ho
        .get(&format!("{USAGE}?user_id={}&chatflow_id={FLOW}", bob.person.id))
        .await;
    assert_eq!(
        rows(&narrowed.expect(200).body),
        [(bob.person.id.clone(), 1, 0, PRICE)]
    );
    assert_eq!(
        rows(
            &ho.get(&format!("{USAGE}?chatflow_id=other"))
                .await
                .expect(200)
                .body
        ),
        []
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_report_each_turn_once() {
    let app = TestApp::spawn_with(|config| config.running_turns_per_user_max = 100).await;
    app.set_chatflow(doc! { "price": 0_i64 }).await;
    let second = Replica::start(app.config.clone()).await;
    let alice = app.user("alice").await;
    let there = app.at(&second, &alice);
    app.flowise.answer(recorded_stream("predict-chat-stream"));
    for _ in 0..5 {
        let nothing = json!({});
        futures_util::join!(
            alice.chat(&nothing),
            there.chat(&nothing),
            alice.chat(&nothing),
            there.chat(&nothing)
        );
    }
    reported(&app, 20).await;
    let turns = app.mongo.database.collection::<bson::Document>("turns");
    assert_eq!(
        turns.count_documents(doc! { "usage_due": true }).await.unwrap(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_the_table_have_the_same_rows() {
    let app = TestApp::spawn().await;
    let people = [
        app.user("=alice").await,
        app.user("bob").await,
        app.user("carol").await,
    ];
    let database = &app.mongo.database;
    for user in &people {
        let copy = doc! { "external_id": &user.person.id, "username": &user.person.username, "email": &user.person.email, "is_active": true };
        database.collection("users").insert_one(copy).await.unwrap();
        user.chat(&json!({})).await;
    }
    app.is_quiet().await;
    reported(&app, 3).await;
    let admin = signed_in(&app, &Person::new("admin", Role::Admin));

    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin
            .get(&format!("{USAGE}?limit=1&cursor={cursor}"))
            .await
            .expect(200)
            .body;
        assert_eq!(page["total"]["turns"], 3);
        paged.extend(rows(&page));
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(paged, rows(&admin.get(USAGE).await.body));

    let table = admin.get(&format!("{USAGE}.csv")).await.expect(200);
    assert!(
        table.headers["content-disposition"]
            .to_str()
            .unwrap()
            .starts_with("attachment; filename=\"usage-")
    );
    let lines: Vec<_> = table.text.trim_start_matches('\u{feff}').lines().collect();
    assert!(lines[0].starts_with("day,user_id,username,"));
    assert_eq!(lines.len(), 4);
    assert!(
        table.text.contains(",'=alice,'=alice@example.com,"),
        "{}",
        table.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_make_no_sense_are_refused() {
    let app = TestApp::spawn().await;
    let admin = signed_in(&app, &Person::new("admin", Role::Admin));
    for query in [
        "from=yesterday",
        "to=2026-02-30",
        "from=2026-02-02&to=2026-02-01",
        "from=2024-01-01&to=2026-01-01",
        "limit=0",
        "limit=501",
        "cursor=%7B%22%24gt%22%3A%22%22%7D",
    ] {
        admin
            .get(&format!("{USAGE}?{query}"))
            .await
            .expect_problem(422, "validation_failed");
    }
    admin
        .get(&format!("{USAGE}?group_id=nowhere"))
        .await
        .expect_problem(404, "group_not_found");
}
