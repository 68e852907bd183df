//! Groups: who is in them, what they give, and how soon that acts.

use common_jwt::Role;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Client, Person};

use super::{
    people::{call, ids, spawn},
    user_sync::everybody,
};
use crate::catalog::{fakes::Directory, support::until};

const GROUPS: &str = "/api/v1/admin/groups";

/// A group of this name; its path.
pub(super) async fn group(admin: &Client, name: &str) -> String {
    let made = admin.post(GROUPS, &json!({ "name": name })).await.expect(201);
    format!("{GROUPS}/{}", made.body["id"].as_str().unwrap())
}

/// Puts somebody auth-service knows into a group.
pub(super) async fn join(admin: &Client, directory: &Directory, group: &str, person: &Person, part: &str) {
    directory.add(person);
    let body = json!({ "emails": [person.email], "part": part });
    let report = admin.post(&format!("{group}/members"), &body).await.expect(200);
    assert_eq!(report.body["added"], 1, "{}", report.text);
}

async fn give(admin: &Client, group: &str, flow: &str) {
    call(
        admin,
        Method::PUT,
        &format!("{group}/chatflows/{flow}"),
        &json!({}),
    )
    .await
    .expect(200);
}

async fn table(client: &Client, path: &str, text: &str) -> test_support::Answer {
    let request = client.request(Method::POST, path);
    client
        .send(request.header("content-type", "text/csv").body(text.to_owned()))
        .await
}

#[actix_web::test]
async fn a_group_gives_its_members_chatflows_and_takes_them_again() {
    let (app, directory) = spawn().await;
    let (admin, ada) = (app.admin(), Person::new("ada", Role::EndUser));
    let lead = Person::new("lead", Role::Supervisor);
    let class = group(&admin, "2B").await;
    join(&admin, &directory, &class, &ada, "member").await;
    join(&admin, &directory, &class, &lead, "lead").await;
    assert_eq!(ids(&app.client(&ada)).await, [""; 0]);

    give(&admin, &class, "flow").await;
    give(&admin, &class, "flow").await;
    assert_eq!(ids(&app.client(&ada)).await, ["flow"]);
    app.client(&ada).get("/api/v1/chatflows/flow").await.expect(200);
    assert_eq!(
        ids(&app.client(&lead)).await,
        [""; 0],
        "leading gives no chatflow"
    );

    let of_chatflow = admin.get("/api/v1/admin/chatflows/flow/groups").await.expect(200);
    assert_eq!(of_chatflow.body[0]["name"], "2B");
    let shown = admin.get(&class).await.expect(200).body;
    assert_eq!(
        (&shown["members"], &shown["leads"], &shown["chatflows"]),
        (&json!(1), &json!(1), &json!(1))
    );

    admin.delete(&format!("{class}/chatflows/flow")).await.expect(204);
    let denied = app.client(&ada).get("/api/v1/chatflows/flow").await;
    denied.expect_problem(403, "chatflow_access_denied");
    admin
        .delete(&format!("{class}/chatflows/flow"))
        .await
        .expect_problem(404, "grant_not_found");

    give(&admin, &class, "other").await;
    admin
        .delete(&format!("{class}/members/{}", ada.id))
        .await
        .expect(204);
    assert_eq!(ids(&app.client(&ada)).await, [""; 0]);
    admin
        .delete(&format!("{class}/members/{}", ada.id))
        .await
        .expect_problem(404, "member_not_found");
}

#[actix_web::test]
async fn a_removed_group_gives_nothing_and_leaves_nothing() {
    let (app, directory) = spawn().await;
    let (admin, ada) = (app.admin(), Person::new("ada", Role::EndUser));
    let class = group(&admin, "2B").await;
    join(&admin, &directory, &class, &ada, "member").await;
    give(&admin, &class, "flow").await;
    assert_eq!(ids(&app.client(&ada)).await, ["flow"]);

    admin.delete(&class).await.expect(204);

    assert_eq!(ids(&app.client(&ada)).await, [""; 0]);
    for collection in ["groups", "group_members", "group_chatflows"] {
        let rows = app.behind.mongo.database.collection::<bson::Document>(collection);
        assert_eq!(
            rows.count_documents(bson::doc! {}).await.unwrap(),
            0,
            "{collection}"
        );
    }
    for path in [
        class.clone(),
        format!("{class}/members"),
        format!("{class}/chatflows"),
    ] {
        admin.get(&path).await.expect_problem(404, "group_not_found");
    }
    admin.delete(&class).await.expect_problem(404, "group_not_found");
}

#[actix_web::test]
async fn a_change_acts_on_every_replica_within_five_seconds() {
    let (app, directory) = spawn().await;
    let (admin, ada) = (app.admin(), Person::new("ada", Role::EndUser));
    let class = group(&admin, "2B").await;
    join(&admin, &directory, &class, &ada, "member").await;
    give(&admin, &class, "flow").await;
    let second = app.second_replica().await;
    let there = second.client().with_token(app.tokens.access(&ada));
    there.get("/api/v1/chatflows/flow").await.expect(200);

    admin
        .delete(&format!("{class}/members/{}", ada.id))
        .await
        .expect(204);

    let denied = app.client(&ada).get("/api/v1/chatflows/flow").await;
    denied.expect_problem(403, "chatflow_access_denied");
    // What the other replica remembers is forgotten by its age; it never is asked to.
    until(async || there.get("/api/v1/chatflows/flow").await.status == 403).await;
}

#[actix_web::test]
async fn names_are_unique_and_groups_can_be_renamed() {
    let (app, _) = spawn().await;
    let admin = app.admin();
    let (one, other) = (group(&admin, "2B").await, group(&admin, "3C").await);
    admin
        .post(GROUPS, &json!({ "name": " 2B " }))
        .await
        .expect_problem(409, "group_name_taken");
    call(&admin, Method::PATCH, &other, &json!({ "name": "2B" }))
        .await
        .expect_problem(409, "group_name_taken");

    let body = json!({ "name": "3B", "description": "next year" });
    let renamed = call(&admin, Method::PATCH, &one, &body).await.expect(200);
    assert_eq!(
        (&renamed.body["name"], &renamed.body["description"]),
        (&json!("3B"), &json!("next year"))
    );
    let plain = call(&admin, Method::PATCH, &one, &json!({ "description": "" }))
        .await
        .expect(200);
    assert_eq!(plain.body["description"], Value::Null);

    for body in [
        json!({}),
        json!({ "name": "" }),
        json!({ "name": "x".repeat(101) }),
        json!({ "name": { "$ne": "" } }),
        json!({ "name": "fine", "description": "x".repeat(1_001) }),
    ] {
        admin
            .post(GROUPS, &body)
            .await
            .expect_problem(422, "validation_failed");
    }
    let names: Vec<_> = admin
        .get(GROUPS)
        .await
        .body
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].clone())
        .collect();
    assert_eq!(names, ["3B", "3C"].map(Value::from));
}

#[actix_web::test]
async fn a_table_of_people_joins_row_by_row() {
    let (app, directory) = spawn().await;
    let (admin, ada, ben) = (
        app.admin(),
        Person::new("ada", Role::EndUser),
        Person::new("ben", Role::Supervisor),
    );
    directory.add(&ada);
    directory.add(&ben);
    let class = group(&admin, "2B").await;
    let text = format!(
        "\u{feff}E-Mail;Part\r\n{};\r\nnobody@example.com;\r\n{};lead\r\nnot an address;\r\n{};boss\r\n",
        ada.email, ben.email, ada.email
    );

    let report = table(&admin, &format!("{class}/members/import"), &text)
        .await
        .expect(200);

    assert_eq!(
        (
            &report.body["people"],
            &report.body["added"],
            &report.body["failed"]
        ),
        (&json!(5), &json!(2), &json!(3))
    );
    let mut lines: Vec<_> = report.body["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["line"].as_u64().unwrap())
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, [3, 5, 6]);
    let again = table(&admin, &format!("{class}/members/import"), &text)
        .await
        .expect(200);
    assert_eq!(
        (&again.body["added"], &again.body["unchanged"]),
        (&json!(0), &json!(2))
    );
    let leads = admin.get(&format!("{class}/members?part=lead")).await.expect(200);
    assert_eq!(leads.body[0]["user_id"], ben.id);

    for (text, status, code) in [
        ("name\nada\n", 422, "validation_failed"),
        ("", 422, "validation_failed"),
    ] {
        table(&admin, &format!("{class}/members/import"), text)
            .await
            .expect_problem(status, code);
    }
    admin
        .post(&format!("{class}/members/import"), &json!({}))
        .await
        .expect_problem(415, "unsupported_media_type");
    let huge = "x".repeat((8 << 20) + 1);
    table(&admin, &format!("{class}/members/import"), &huge)
        .await
        .expect_problem(413, "body_too_large");
}

#[actix_web::test]
async fn a_table_gives_a_chatflow_with_dates() {
    let (app, directory) = spawn().await;
    let (admin, ada) = (app.admin(), Person::new("ada", Role::EndUser));
    directory.add(&ada);
    let text = format!(
        "email,ends_at\n{},2999-12-31\nnobody@example.com,\n{},2001-01-01\n",
        ada.email, "late@example.com"
    );
    directory.add(&Person {
        email: "late@example.com".to_owned(),
        ..Person::new("late", Role::EndUser)
    });

    let report = table(&admin, "/api/v1/admin/chatflows/flow/users/import", &text)
        .await
        .expect(200);

    assert_eq!(
        (&report.body["added"], &report.body["failed"]),
        (&json!(1), &json!(2))
    );
    let users = admin.get("/api/v1/admin/chatflows/flow/users").await.expect(200);
    assert_eq!(users.body.as_array().unwrap().len(), 1);
    assert_eq!(users.body[0]["ends_at"], "3000-01-01T00:00:00.000Z");
    table(&admin, "/api/v1/admin/chatflows/unknown/users/import", &text)
        .await
        .expect_problem(404, "chatflow_not_found");
}

#[actix_web::test]
async fn everybody_with_a_role_is_given_something() {
    let (app, _) = spawn().await;
    let admin = app.admin();
    let people = everybody(&app, 450).await;
    let class = group(&admin, "all").await;

    let joined = admin
        .post(&format!("{class}/members/by-role"), &json!({ "role": "enduser" }))
        .await
        .expect(200);
    assert_eq!(joined.body["added"], 450, "{}", joined.text);
    let given = admin
        .post(
            "/api/v1/admin/chatflows/flow/users/by-role",
            &json!({ "role": "enduser" }),
        )
        .await
        .expect(200);
    assert_eq!(given.body["added"], 450);
    assert_eq!(ids(&app.client(&people[449])).await, ["flow"]);
    admin
        .post(&format!("{class}/members/by-role"), &json!({ "role": "teacher" }))
        .await
        .expect_problem(422, "validation_failed");
}

#[actix_web::test]
async fn groups_are_the_admins_business() {
    let (app, _) = spawn().await;
    let class = group(&app.admin(), "2B").await;
    let supervisor: Client = app.client(&Person::new("boss", Role::Supervisor));
    supervisor.get(&class).await.expect_problem(403, "forbidden");
    let body = json!({ "user_ids": ["aaaaaaaaaaaaaaaaaaaaaaaa"], "part": "lead" });
    supervisor
        .post(&format!("{class}/members"), &body)
        .await
        .expect_problem(403, "forbidden");
    assert_eq!(app.admin().get(&format!("{class}/members")).await.body, json!([]));
}
