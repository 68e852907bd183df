//! What people see of the chatflows they may use.

use bson::{Document, doc};
use common_jwt::Role;
use serde_json::json;
use test_support::Person;

use super::fakes::{Directory, assign, listed, recorded, synced};
use super::support::TestApp;

const MINE: &str = "/api/v1/chatflows/my-chatflows";
const CHAIN: &str = "26806ff8-5cd7-41b2-8a3d-5dd901f928d0";
const PUBLIC: &str = "12e0dda4-37db-4dd6-aff1-48d2dca5d4e8";

#[actix_web::test]
async fn people_see_exactly_what_is_assigned_to_them() {
    let app = TestApp::spawn().await;
    let directory = Directory::mount(&app.behind.auth).await;
    synced(&app, recorded()).await;
    let (ada, bob) = (Person::new("ada", Role::EndUser), Person::new("bob", Role::Admin));
    assign(&app, &directory, &ada, PUBLIC).await;
    assign(&app, &directory, &ada, CHAIN).await;
    let client = app.client(&ada);

    let mine = client.get(MINE).await.expect(200);
    assert_eq!(mine.body.as_array().unwrap().len(), 2);
    assert!(
        mine.body[0]["assigned_at"].as_str().unwrap().ends_with('Z'),
        "{}",
        mine.text
    );
    let mut first = mine.body[0].clone();
    first["assigned_at"].take();
    assert_eq!(
        first,
        json!({
            "id": CHAIN, "name": "conversation chain", "description": null, "category": null, "type": "CHATFLOW",
            "deployed": false, "assigned_at": null, "price": 1,
        })
    );
    for path in [
        "/chatflows/my-chatflows",
        "/api/v1/chat/chatflows",
        "/chat/chatflows",
    ] {
        assert_eq!(client.get(path).await.expect(200).body, mine.body, "{path}");
    }

    let short = json!([
        { "id": CHAIN, "name": "conversation chain", "description": null, "is_public": false },
        { "id": PUBLIC, "name": "conversation chain, public", "description": null, "is_public": true },
    ]);
    for path in ["/api/v1/chatflows/", "/chatflows/"] {
        assert_eq!(client.get(path).await.expect(200).body, short, "{path}");
    }
    // Without a slash, as Flowise has its list, there is what its clients read, too.
    let listed = |id: &str, name: &str, is_public: bool| {
        json!({
            "id": id, "name": name, "description": null, "is_public": is_public, "isPublic": is_public, "deployed": false,
            "category": null, "type": "CHATFLOW", "createdDate": "2026-11-21T05:28:48.000Z",
            "updatedDate": "2026-11-21T05:28:48.000Z",
        })
    };
    let full = [
        listed(CHAIN, "conversation chain", false),
        listed(PUBLIC, "conversation chain, public", true),
    ];
    assert_eq!(
        client.get("/api/v1/chatflows").await.expect(200).body,
        json!(full)
    );
    let ids = client.get("/api/v1/chat/my-assigned-chatflows").await.expect(200);
    assert_eq!(
        ids.body,
        json!({ "assigned_chatflow_ids": [CHAIN, PUBLIC], "count": 2 })
    );

    let nothing = app.client(&bob);
    assert_eq!(
        nothing.get(MINE).await.expect(200).body,
        json!([]),
        "no role grants a chat"
    );
    let ids = nothing
        .get("/api/v1/chat/my-assigned-chatflows")
        .await
        .expect(200);
    assert_eq!(ids.body, json!({ "assigned_chatflow_ids": [], "count": 0 }));
}

#[actix_web::test]
async fn one_chatflow_is_shown_to_whoever_may_use_it() {
    let app = TestApp::spawn().await;
    let directory = Directory::mount(&app.behind.auth).await;
    synced(&app, recorded()).await;
    let ada = Person::new("ada", Role::EndUser);
    assign(&app, &directory, &ada, PUBLIC).await;
    assign(&app, &directory, &ada, CHAIN).await;
    let client = app.client(&ada);

    let one = client
        .get(&format!("/api/v1/chatflows/{PUBLIC}"))
        .await
        .expect(200);
    assert_eq!(
        one.body,
        json!({
            "id": PUBLIC, "name": "conversation chain, public", "description": null, "category": null,
            "type": "CHATFLOW", "deployed": false,
            "created": "2026-11-21T05:28:48.000Z", "updated": "2026-11-21T05:28:48.000Z",
        })
    );
    let config = client
        .get(&format!("/api/v1/chatflows/{PUBLIC}/config"))
        .await
        .expect(200);
    assert_eq!(
        config.body,
        json!({ "welcomeMessage": "Hello from the public bot" })
    );
    let none = client.get(&format!("/api/v1/chatflows/{CHAIN}/config")).await;
    none.expect_problem(404, "chatflow_config_not_found");
}

#[actix_web::test]
async fn a_foreign_chatflow_and_one_that_does_not_exist_look_alike() {
    let app = TestApp::spawn().await;
    synced(&app, recorded()).await;
    let long = "x".repeat(2_000);

    for role in [Role::EndUser, Role::Supervisor, Role::Admin] {
        let client = app.client(&Person::new("bob", role));
        for suffix in ["", "/config"] {
            let mut bodies = Vec::new();
            for id in [
                PUBLIC,
                "00000000-0000-4000-8000-000000000000",
                "a%2F..%2Fb",
                &long,
            ] {
                let refused = client.get(&format!("/api/v1/chatflows/{id}{suffix}")).await;
                let mut refused = refused.expect_problem(403, "chatflow_access_denied");
                assert_eq!(refused.body["detail"], "Access denied to this chatflow");
                refused.body["request_id"].take();
                bodies.push(refused.body);
            }
            assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
        }
    }
}

#[actix_web::test]
async fn somebody_who_was_never_looked_up_sees_what_was_assigned_by_id() {
    let app = TestApp::spawn().await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    let ada = Person::new("ada", Role::EndUser);
    let chatflow = app.admin().get("/api/v1/admin/chatflows/flow").await.expect(200);
    let assignments = app.behind.mongo.database.collection::<Document>("UserChatflow");
    let assigned = |chatflow_id: &str| {
        doc! { "external_user_id": &ada.id, "chatflow_id": chatflow_id, "is_active": true }
    };
    // The second names no chatflow, as older data does; it must not spoil the list.
    let rows = [
        assigned(chatflow.body["_id"].as_str().unwrap()),
        assigned("not-an-object-id"),
    ];
    assignments.insert_many(rows).await.unwrap();

    let mine = app.client(&ada).get(MINE).await.expect(200);

    assert_eq!(mine.body.as_array().unwrap().len(), 1, "{}", mine.text);
    assert_eq!(mine.body[0]["id"], "flow");
    assert_eq!(mine.body[0]["assigned_at"], json!(null));
    app.client(&ada).get("/api/v1/chatflows/flow").await.expect(200);
    let users = app
        .admin()
        .get("/api/v1/admin/chatflows/flow/users")
        .await
        .expect(200);
    assert_eq!(
        users.body[0]["external_user_id"], ada.id,
        "administrators see them too"
    );
}

#[actix_web::test]
async fn somebody_switched_off_loses_everything_at_once() {
    let app = TestApp::spawn().await;
    let directory = Directory::mount(&app.behind.auth).await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    let ada = Person::new("ada", Role::EndUser);
    assign(&app, &directory, &ada, "flow").await;
    let client = app.client(&ada);
    client.get("/api/v1/chatflows/flow").await.expect(200);

    directory.switch_off(&ada);
    let body = json!({ "email": ada.email });
    app.admin()
        .post("/api/v1/admin/users/sync-by-email", &body)
        .await
        .expect(200);

    client
        .get("/api/v1/chatflows/flow")
        .await
        .expect_problem(403, "chatflow_access_denied");
    assert_eq!(client.get(MINE).await.expect(200).body, json!([]));

    directory.add(&ada);
    app.admin()
        .post("/api/v1/admin/users/sync-by-email", &body)
        .await
        .expect(200);
    client.get("/api/v1/chatflows/flow").await.expect(200);
}

#[actix_web::test]
async fn a_chatflow_in_error_is_closed() {
    let app = TestApp::spawn().await;
    let directory = Directory::mount(&app.behind.auth).await;
    synced(&app, vec![listed("flow", "Flow")]).await;
    let ada = Person::new("ada", Role::EndUser);
    assign(&app, &directory, &ada, "flow").await;
    let chatflows = app.behind.mongo.database.collection::<Document>("Chatflow");
    let error = doc! { "$set": { "sync_status": "error", "sync_error": "broken" } };
    chatflows
        .update_one(doc! { "flowise_id": "flow" }, error)
        .await
        .unwrap();

    app.client(&ada)
        .get("/api/v1/chatflows/flow")
        .await
        .expect_problem(403, "chatflow_access_denied");
    assert_eq!(app.client(&ada).get(MINE).await.expect(200).body, json!([]));
    let stats = app.admin().get("/api/v1/admin/chatflows/stats").await.expect(200);
    assert_eq!(stats.body["error"], 1);
}
