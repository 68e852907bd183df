//! Starting on the data of an older deployment.

use bson::{DateTime, Document, doc, oid::ObjectId};
use common_jwt::Role;
use mongodb::IndexModel;
use serde_json::json;
use test_support::Person;

use super::support::{Behind, Replica};
use common_http::Clock;
use test_support::TestTokens;

fn at(millis: i64) -> DateTime {
    DateTime::from_millis(millis)
}

#[actix_web::test]
async fn an_older_database_is_taken_over_without_its_duplicates() {
    let behind = Behind::start().await;
    let (users, chatflows, assignments) = (
        behind.mongo.database.collection::<Document>("users"),
        behind.mongo.database.collection::<Document>("Chatflow"),
        behind.mongo.database.collection::<Document>("UserChatflow"),
    );
    let ada = Person::new("ada", Role::EndUser);
    let bob = Person::new("bob", Role::EndUser);
    let copy = |person: &Person, email: &str, updated: i64| {
        doc! {
            "external_id": &person.id, "username": &person.username, "email": email, "role": "enduser", "is_active": true,
            "created_at": at(1), "updated_at": at(updated),
        }
    };
    users
        .create_index(IndexModel::builder().keys(doc! { "external_id": 1 }).build())
        .await
        .unwrap();
    let stray = || doc! { "_id": ObjectId::new().to_hex(), "username": "admin", "credits": 5 };
    users
        .insert_many([
            copy(&ada, "ada@old.example", 10),
            copy(&ada, "ada@new.example", 20),
            copy(&bob, "bob@example.com", 10),
            stray(),
            stray(),
            doc! { "username": "nobody", "email": "n@example.com", "external_id": null },
            doc! { "username": "nobody", "email": "n@example.com", "external_id": null },
        ])
        .await
        .unwrap();
    let flow = ObjectId::new();
    chatflows
        .insert_one(doc! {
            "_id": flow, "flowise_id": "flow", "name": "Flow", "description": null, "deployed": true, "is_public": false,
            "category": null, "type": "CHATFLOW", "api_key_id": null, "flow_data": { "nodes": [] }, "chatbot_config": null,
            "api_config": null, "analytic_config": null, "speech_to_text_config": null, "created_date": at(1),
            "updated_date": at(2), "synced_at": at(3), "sync_status": "active", "sync_error": null,
        })
        .await
        .unwrap();
    let row = |person: &Person, active: bool, assigned: i64| {
        doc! {
            "external_user_id": &person.id, "chatflow_id": flow.to_hex(), "is_active": active, "assigned_at": at(assigned),
            "assigned_by": "admin",
        }
    };
    assignments
        .insert_many([
            row(&ada, false, 5),
            row(&ada, true, 7),
            row(&ada, true, 6),
            row(&bob, false, 1),
            row(&bob, false, 2),
        ])
        .await
        .unwrap();

    let replica = Replica::start(behind.config()).await;
    let _second = Replica::start(behind.config()).await;

    let tokens = TestTokens::at(Clock::System.now());
    let mine = replica
        .client()
        .with_token(tokens.access(&ada))
        .get("/api/v1/chatflows/my-chatflows")
        .await
        .expect(200);
    assert_eq!(mine.body[0]["id"], "flow");
    assert_eq!(
        mine.body[0]["assigned_at"], "1970-01-01T00:00:00.006Z",
        "of the active ones the oldest"
    );
    let bobs = replica
        .client()
        .with_token(tokens.access(&bob))
        .get("/api/v1/chatflows/my-chatflows")
        .await;
    assert_eq!(bobs.expect(200).body, json!([]));
    let admin = replica
        .client()
        .with_token(tokens.access(&Person::new("admin", Role::Admin)));
    let people = admin.get("/api/v1/admin/chatflows/flow/users").await.expect(200);
    assert_eq!(people.body.as_array().unwrap().len(), 1);
    assert_eq!(people.body[0]["email"], "ada@new.example");
    assert_eq!(assignments.count_documents(doc! {}).await.unwrap(), 2);
    assert_eq!(
        users
            .count_documents(doc! { "external_id": &ada.id })
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        users.count_documents(doc! {}).await.unwrap(),
        6,
        "what is nobody's copy stays"
    );

    assert!(
        users.insert_one(copy(&ada, "x@example.com", 30)).await.is_err(),
        "nothing can be there twice again"
    );
    assert!(assignments.insert_one(row(&ada, true, 9)).await.is_err());
}
