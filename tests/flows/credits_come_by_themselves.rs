//! A rule gives new people credits: the first chat works though nobody has granted anything, and shows in the statistics.

use serde_json::json;
use system_tests::platform::Platform;

#[actix_web::test]
async fn a_new_person_chats_with_what_a_rule_gave_them() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let rule = json!({ "name": "Welcome", "kind": "on_account_creation", "role": "enduser", "amount": 2 });
    admin
        .accounting
        .post("/api/admin/credit-rules", &rule)
        .await
        .expect(201);
    let mia = platform.chatter("mia", 0).await;

    mia.chat("hello").await.expect_ended();
    mia.chat("and again").await.expect_ended();
    mia.chat_refused("once more")
        .await
        .expect_problem(402, "insufficient_credits");

    assert_eq!(mia.balance().await, 0);
    let own = mia.accounting.get("/api/usage/stats").await.expect(200).body;
    assert_eq!(own["totalCredits"], 2);
    assert_eq!(own["byChatflow"], json!({ platform.chatflow_id.clone(): 2 }));
    assert_eq!(own["recentActivity"].as_array().map(Vec::len), Some(2));
    let all = admin
        .accounting
        .get("/api/usage/system-stats")
        .await
        .expect(200)
        .body;
    assert_eq!(all["byUser"], json!({ mia.id.clone(): 2 }));
    platform.verify_ledger().await.expect("the books are right");
}
