//! What somebody may ask.

use serde_json::{Value, json};

use super::{Browser, neighbours::Neighbour, signed_in};
use crate::support::TestApp;

const LIST: &str = "/api/v1/chatflows/my-chatflows";

fn chatflow(id: &str, name: &str, price: impl Into<Value>) -> Value {
    json!({ "id": id, "name": name, "description": null, "category": "science", "type": "AGENTFLOW", "deployed": true,
        "assigned_at": "2026-09-01T07:12:44.015Z", "price": price.into() })
}

#[tokio::test]
async fn everybody_sees_what_they_were_given_and_what_it_costs() {
    let proxy = Neighbour::proxy().await;
    let mut first = chatflow("f-1", "Biology <2B>", 3);
    first["description"] = json!("<script>alert(1)</script>");
    let rows = [
        first,
        chatflow("f-2", "Free", 0),
        chatflow("f-3", "Long", Value::Null),
    ];
    proxy.lists(LIST, None, &rows, Some("WyJhIl0")).await;
    proxy
        .lists(LIST, Some("WyJhIl0"), &[chatflow("f-4", "The last", 1)], None)
        .await;
    let app = proxy.app().await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    let page = ada.open("/my-chatflows").await.expect(200);
    page.expect_text("Biology &#60;2B&#62;")
        .expect_text(r#"href="/chat?chatflow=f-1""#)
        .expect_text("&#60;script&#62;alert(1)")
        .expect_text("Credits for each question: 3")
        .expect_text("Costs nothing")
        .expect_text("By usage")
        .expect_text("Agentflow")
        .expect_text(r#"href="/chat""#)
        .expect_text(r#"<a href="/my-chatflows" aria-current="page">"#);
    assert!(!page.html.contains("<script>alert"));
    page.expect_text("/my-chatflows?cursor=WyJhIl0");
    ada.open("/my-chatflows?cursor=WyJhIl0")
        .await
        .expect(200)
        .expect_text("The last");

    let token = format!("Bearer {}", ada.jar["__Host-access"]);
    let asked = proxy.asked("GET").await;
    assert!(
        asked
            .iter()
            .all(|request| request.headers["authorization"] == token.as_str())
    );
}

#[tokio::test]
async fn a_cursor_that_was_made_up_reaches_no_other_address() {
    let proxy = Neighbour::proxy().await;
    proxy.lists(LIST, None, &[], None).await;
    let app = proxy.app().await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    ada.open("/my-chatflows")
        .await
        .expect(200)
        .expect_text("No chatflow has been given to you yet.");
    ada.open("/my-chatflows?cursor=%26limit%3D9%2F..%2F..%23")
        .await
        .expect(200);
    let asked = proxy.asked("GET").await;
    let last = &asked.last().unwrap().url;
    assert_eq!(last.path(), LIST);
    let pairs: Vec<_> = last.query_pairs().into_owned().collect();
    assert_eq!(pairs[0], ("limit".to_owned(), "50".to_owned()));
    assert_eq!(pairs[1], ("cursor".to_owned(), "&limit=9/../..#".to_owned()));

    proxy
        .finds_wrong("GET", LIST, "cursor", "is not one of this list")
        .await;
    ada.open("/my-chatflows?cursor=x").await.expect(422);
}

#[tokio::test]
async fn the_page_says_so_where_the_list_cannot_be_had() {
    let proxy = Neighbour::proxy().await;
    proxy.refuses("GET", LIST, 503, "database_unavailable").await;
    let app = proxy.app().await;
    let (_, mut ada) = signed_in(&app, "ada", "enduser").await;
    ada.open("/my-chatflows")
        .await
        .expect(503)
        .expect_text("Your chatflows cannot be shown at the moment.");

    let alone = TestApp::spawn().await;
    let (_, mut bob) = signed_in(&alone, "bob", "enduser").await;
    bob.open("/my-chatflows").await.expect(503);
    assert_eq!(
        Browser::new(&app).open("/my-chatflows").await.location(),
        "/login?next=%2Fmy-chatflows"
    );
}
