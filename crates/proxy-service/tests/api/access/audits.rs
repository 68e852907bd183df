//! Assignments that give nobody anything.

use bson::{Document, doc, oid::ObjectId};
use common_jwt::Role;
use serde_json::{Value, json};
use test_support::Person;

use super::people::{ids, known_by_id, nobody_by_id, spawn};
use crate::catalog::{
    fakes::{Directory, listed, synced},
    support::TestApp,
};

const AUDIT: &str = "/api/v1/admin/chatflows/audit-users";
const CLEAN_UP: &str = "/api/v1/admin/chatflows/cleanup-users";

/// One assignment that holds, and one of each kind that does not. Returns who may chat.
async fn stage(app: &TestApp, directory: &Directory) -> Person {
    nobody_by_id(app).await;
    let [fine, shut] = ["fine", "shut"].map(|name| Person::new(name, Role::EndUser));
    for person in [&fine, &shut] {
        directory.add(person);
        let admin = app.admin();
        let body = json!({ "email": person.email });
        admin
            .post("/api/v1/admin/chatflows/flow/users", &body)
            .await
            .expect(200);
    }
    directory.switch_off(&shut);
    let admin = app.admin();
    admin
        .post(
            "/api/v1/admin/users/sync-by-email",
            &json!({ "email": shut.email }),
        )
        .await
        .expect(200);
    admin
        .post(
            "/api/v1/admin/chatflows/other/users",
            &json!({ "email": fine.email }),
        )
        .await
        .expect(200);
    app.behind.flowise.reset().await;
    synced(app, vec![listed("flow", "Flow"), listed("third", "Third")]).await;
    let rows = app.behind.mongo.database.collection::<Document>("UserChatflow");
    let row = |user: &str, chatflow: &str| doc! { "external_user_id": user, "chatflow_id": chatflow, "is_active": true };
    let flow = rows
        .find_one(doc! { "external_user_id": &shut.id })
        .await
        .unwrap()
        .unwrap();
    let flow = flow.get_str("chatflow_id").unwrap();
    let gone = "cccccccccccccccccccccccc";
    rows.insert_many([
        row(gone, flow),
        row(&fine.id, &ObjectId::new().to_hex()),
        row(&fine.id, "no id at all"),
    ])
    .await
    .unwrap();
    fine
}

fn issues(details: &Value) -> Vec<String> {
    let mut issues: Vec<_> = details
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["issue_type"].as_str().unwrap().to_owned())
        .collect();
    issues.sort_unstable();
    issues
}

const ISSUES: [&str; 5] = [
    "chatflow_deleted",
    "chatflow_not_found",
    "chatflow_not_found",
    "user_inactive",
    "user_not_found",
];

#[actix_web::test]
async fn an_audit_names_what_is_wrong_and_changes_nothing() {
    let (app, directory) = spawn().await;
    stage(&app, &directory).await;

    let audit = app.admin().get(AUDIT).await.expect(200).body;

    assert_eq!(
        ["total_assignments", "valid_assignments", "invalid_assignments"]
            .map(|name| audit[name].as_i64().unwrap()),
        [6, 1, 5]
    );
    assert_eq!(issues(&audit["invalid_assignment_details"]), ISSUES);
    let of_flow = app
        .admin()
        .get(&format!("{AUDIT}?chatflow_id=flow"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        issues(&of_flow["invalid_assignment_details"]),
        ["user_inactive", "user_not_found"]
    );
    app.admin()
        .get(&format!("{AUDIT}?chatflow_id=unknown"))
        .await
        .expect_problem(404, "chatflow_not_found");
}

#[actix_web::test]
async fn cleaning_up_is_a_rehearsal_unless_it_is_said_not_to_be() {
    for (action, left) in [("deactivate_invalid", 6), ("delete_invalid", 1)] {
        let (app, directory) = spawn().await;
        let fine = stage(&app, &directory).await;
        let rows = app.behind.mongo.database.collection::<Document>("UserChatflow");
        let rehearsal = app
            .admin()
            .post(CLEAN_UP, &json!({ "action": action }))
            .await
            .expect(200)
            .body;
        assert_eq!(
            (&rehearsal["dry_run"], &rehearsal["records_deactivated"]),
            (&json!(true), &json!(0))
        );
        assert_eq!(issues(&rehearsal["invalid_assignments_found"]), ISSUES);
        assert_eq!(rows.count_documents(doc! { "is_active": true }).await.unwrap(), 6);

        let body = json!({ "action": action, "dry_run": false });
        let done = app.admin().post(CLEAN_UP, &body).await.expect(200).body;

        let changed =
            done["records_deactivated"].as_i64().unwrap() + done["records_deleted"].as_i64().unwrap();
        assert_eq!(changed, 5, "{done}");
        assert_eq!(rows.count_documents(doc! { "is_active": true }).await.unwrap(), 1);
        assert_eq!(rows.count_documents(doc! {}).await.unwrap(), left);
        assert_eq!(ids(&app.client(&fine)).await, ["flow"]);
    }
}

#[actix_web::test]
async fn people_who_have_no_copy_are_asked_for() {
    let (app, _) = spawn().await;
    let ada = Person::new("ada", Role::EndUser);
    known_by_id(&app, &ada).await;
    nobody_by_id(&app).await;
    let flows = app.behind.mongo.database.collection::<Document>("Chatflow");
    let flow = flows
        .find_one(doc! { "flowise_id": "flow" })
        .await
        .unwrap()
        .unwrap();
    let rows = app.behind.mongo.database.collection::<Document>("UserChatflow");
    let row = doc! { "external_user_id": &ada.id, "chatflow_id": flow.get_object_id("_id").unwrap().to_hex(), "is_active": true };
    rows.insert_one(row).await.unwrap();

    let audit = app.admin().get(AUDIT).await.expect(200).body;

    assert_eq!(audit["invalid_assignments"], 0, "{audit}");
    for body in [
        json!({ "action": "drop" }),
        json!({ "chatflow_ids": "flow" }),
        json!({ "dry_run": "no" }),
    ] {
        app.admin()
            .post(CLEAN_UP, &body)
            .await
            .expect_problem(422, "validation_failed");
    }
}
