//! A class is imported: its people sign in, have their credits once, and may chat, even when accounting was away.

use std::fmt::Write as _;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{
    person::Person,
    platform::{PASSWORD, Platform, Service},
};

const PUPILS: usize = 50;

fn class(chatflow_id: &str) -> String {
    let mut table = String::from("username;email;password;role;credits;chatflows\n");
    for number in 0..PUPILS {
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "pupil{number};pupil{number}@example.com;{PASSWORD};student;25;{chatflow_id}"
        );
    }
    table
}

/// By an auth-service that knows where the other two are.
async fn import(platform: &Platform, auth: &Service, table: &str) -> Value {
    let client = auth.client().with_token(platform.admin().await.access_token);
    let request = client.request(Method::POST, "/api/admin/users/import");
    let request = request.header("content-type", "text/csv").body(table.to_owned());
    client.send(request).await.expect(200).body
}

async fn balances(platform: &Platform) -> Vec<i64> {
    let balance = async |number| {
        Person::log_in(platform, &format!("pupil{number}"), PASSWORD)
            .await
            .balance()
            .await
    };
    join_all((0..PUPILS).map(balance)).await
}

#[actix_web::test]
async fn a_class_signs_in_is_paid_for_once_and_chats() {
    let platform = Platform::start().await;
    let (table, auth) = (class(&platform.chatflow_id), platform.another_auth().await);

    let first = import(&platform, &auth, &table).await;
    let second = import(&platform, &auth, &table).await;

    assert_eq!(
        (&first["summary"]["created"], &first["summary"]["giftsHandedOver"]),
        (&json!(PUPILS), &json!(PUPILS))
    );
    assert_eq!(
        (&second["summary"]["unchanged"], &second["results"][7]["credits"]),
        (&json!(PUPILS), &json!("handed_over"))
    );
    assert_eq!(balances(&platform).await, vec![25; PUPILS]);
    let pupil = Person::log_in(&platform, "pupil49", PASSWORD).await;
    let chatflows = pupil
        .proxy
        .get("/api/v1/chatflows/my-chatflows")
        .await
        .expect(200);
    assert_eq!(
        chatflows.body[0]["id"],
        platform.chatflow_id.as_str(),
        "{}",
        chatflows.text
    );
    let question = json!({ "chatflow_id": platform.chatflow_id, "question": "hello" });
    pupil
        .proxy
        .post("/api/v1/chat/predict", &question)
        .await
        .expect(200);
    assert!(platform.verify_ledger().await.is_ok());
}

#[actix_web::test]
async fn credits_that_could_not_be_given_are_given_when_accounting_is_back() {
    let platform = Platform::start().await;
    let (table, auth) = (class(&platform.chatflow_id), platform.another_auth().await);
    let address = platform.accounting.address;
    platform.accounting.lifecycle.stop();
    platform
        .until("accounting is gone", async || {
            tokio::net::TcpStream::connect(address).await.is_err()
        })
        .await;

    let imported = import(&platform, &auth, &table).await;
    assert_eq!(imported["summary"]["created"], PUPILS);
    assert!(
        imported["results"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["credits"] == "queued")
    );

    let back = platform.restart_accounting().await;
    platform
        .until("all credits are given", async || {
            platform
                .count("SELECT count(*) AS count FROM credit_allocations")
                .await
                >= 50
        })
        .await;
    assert_eq!(balances(&platform).await, vec![25; PUPILS]);
    assert!(platform.verify_ledger().await.is_ok());
    back.stop().await;
}
