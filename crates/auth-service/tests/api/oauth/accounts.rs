//! What is kept about linked identities goes with the person, and is told to them.

use bson::doc;
use serde_json::json;

use super::School;
use crate::support::text;

#[tokio::test]
async fn identities_are_in_the_export_and_go_with_the_account() {
    let school = School::open().await;
    let ada = school.app.user("ada", "enduser").await;
    school.link(&ada, "1001").await.expect(200);

    let export = ada.client.get("/api/profile/export").await.expect(200);
    let linked = &export.body["identities"][0];
    assert_eq!(
        (&linked["subject"], &linked["email"]),
        (&json!("1001"), &json!("elsewhere@example.org"))
    );

    school
        .arrives("2002", "ada@example.com")
        .await
        .expect_problem(409, "link_required");
    assert_eq!(school.app.count("pending_links", doc! {}).await, 1);
    let gone = format!("/api/admin/users/{}", ada.id);
    school.root.client.delete(&gone).await.expect(200);
    assert_eq!(school.app.count("pending_links", doc! {}).await, 0);
    // Whoever comes back is new.
    let known = school.arrives("1001", "ada@example.com").await.expect(200);
    assert_ne!(text(&known.body["user"]["id"]), ada.id);
}
