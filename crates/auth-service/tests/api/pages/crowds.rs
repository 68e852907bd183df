//! Credits for a group and for everybody: looked at first, then given, and never twice.

use std::collections::BTreeSet;

use bson::doc;
use serde_json::{Value, json};
use wiremock::Request;

use super::{
    Browser, Page,
    neighbours::{Neighbours, Reply, alone, hidden, json_of, key_of, parameter},
};
use crate::support::TestApp;

const AT: &str = "/admin/credits/many";
const ALLOCATE: &str = "/api/credits/allocate";
const GROUP: &str = "/api/v1/admin/groups/g1";
const MEMBERS: &str = "/api/v1/admin/groups/g1/members";

async fn person(app: &TestApp, name: &str) -> String {
    let id = app.sign_up(name).await;
    app.update_user(&id, doc! { "isVerified": true }).await;
    id
}

fn group(name: &str) -> Value {
    json!({ "id": "g1", "name": name, "description": null, "created_at": "2026-03-01T00:00:00.000Z",
        "updated_at": "2026-03-01T00:00:00.000Z" })
}

fn member(id: &str) -> Value {
    json!({ "user_id": id, "username": "old name", "email": "x@example.com", "part": "member",
        "added_at": "2026-03-01T00:00:00.000Z" })
}

fn allocated(request: &Request) -> Reply {
    let allocation = json!({
        "id": "01934d7a-6c1e-7b52-9f0e-3c2b8d41a9e6", "userId": json_of(request)["userId"], "totalCredits": 50,
        "remainingCredits": 50, "expiresAt": "2026-12-21T08:00:00.000Z",
    });
    Reply::new(201, allocation)
}

/// Sends the form that the page shows, with what is hidden in it.
async fn go_on(root: &mut Browser, page: &Page) -> Page {
    let names = [
        "idempotency_key",
        "whom",
        "credits",
        "expiry_days",
        "notes",
        "people",
    ];
    let held: Vec<(&str, String)> = names
        .iter()
        .chain(
            ["place", "given", "refused"]
                .iter()
                .filter(|name| page.html.contains(&format!("name=\"{name}\""))),
        )
        .map(|name| (*name, hidden(&page.html, name)))
        .collect();
    let mut members: Vec<_> = held.iter().map(|(name, value)| (*name, value.as_str())).collect();
    members.push(("step", "give"));
    root.submit(AT, &page.token(), &members).await
}

/// Fills in the form; what comes is the page that asks whether it is right.
async fn ask(root: &mut Browser, whom: &str) -> Page {
    let page = root.open(AT).await.expect(200);
    let key = hidden(&page.html, "idempotency_key");
    let members = [
        ("idempotency_key", key.as_str()),
        ("whom", whom),
        ("credits", "50"),
        ("expiry_days", "7"),
        ("notes", "term"),
        ("step", "confirm"),
    ];
    let asked = root.submit(AT, &page.token(), &members).await.expect(200);
    assert_eq!(hidden(&asked.html, "idempotency_key"), key);
    asked
}

#[tokio::test]
async fn everybody_gets_credits_once_after_somebody_saw_how_many_they_are() {
    let neighbours = Neighbours::start().await;
    let (app, mut root) = neighbours.administrator().await;
    let ada = person(&app, "ada").await;
    let shut = person(&app, "shut").await;
    app.update_user(&shut, doc! { "isDisabled": true }).await;
    app.sign_up("unproven").await;
    neighbours.accounting.replies("POST", ALLOCATE, allocated).await;

    let sure = ask(&mut root, "everybody").await;
    sure.expect_text("<dt>People</dt><dd>2</dd>")
        .expect_text("<dt>Credits in all</dt><dd>100</dd>")
        .expect_text("Give 2 people 50 credits each");
    assert!(neighbours.accounting.asked_at("POST", ALLOCATE).await.is_empty());

    let done = go_on(&mut root, &sure).await.expect(200);
    done.expect_text("2 of 2 people have their credits; refused: 0.")
        .expect_text(&format!("/admin/credits/people/{ada}"));
    assert!(!done.html.contains("name=\"place\""), "that was everybody");
    go_on(&mut root, &sure).await.expect(200);
    let sent = neighbours.accounting.asked_at("POST", ALLOCATE).await;
    assert_eq!(sent.len(), 4);
    let key = hidden(&sure.html, "idempotency_key");
    let keys: BTreeSet<_> = sent.iter().map(key_of).collect();
    assert_eq!(keys.len(), 2, "the second time under the same keys");
    for one in &sent {
        let body = json_of(one);
        assert_eq!(key_of(one), format!("{key}:{}", body["userId"].as_str().unwrap()));
        assert_eq!(
            (&body["credits"], &body["expiryDays"], &body["notes"]),
            (&json!(50), &json!(7), &json!("term"))
        );
    }
    assert!(sent.iter().any(|one| json_of(one)["userId"] == ada.as_str()));
}

#[tokio::test]
async fn a_group_is_read_page_by_page_and_shut_accounts_are_passed_over() {
    let neighbours = Neighbours::start().await;
    let (app, mut root) = neighbours.administrator().await;
    let (ada, mei, shut) = (
        person(&app, "ada").await,
        person(&app, "mei").await,
        person(&app, "shut").await,
    );
    app.update_user(&shut, doc! { "isDisabled": true }).await;
    let hostile = "<i>4B</i>";
    neighbours
        .proxy
        .answers("GET", "/api/v1/admin/groups", 200, json!([group(hostile)]))
        .await;
    let mut counted = group(hostile);
    for (what, count) in [("members", 4), ("leads", 0), ("chatflows", 0)] {
        counted[what] = json!(count);
    }
    neighbours.proxy.answers("GET", GROUP, 200, counted).await;
    let (first, second) = (
        json!([member(&ada), member(&shut), member(&"f".repeat(24))]),
        json!([member(&mei)]),
    );
    let members = move |request: &Request| match parameter(request, "cursor") {
        None => Reply::page(first.clone(), Some("more%3D")),
        Some(cursor) => {
            assert_eq!(cursor, "more=");
            Reply::page(second.clone(), None)
        }
    };
    neighbours.proxy.replies("GET", MEMBERS, members).await;
    neighbours.accounting.replies("POST", ALLOCATE, allocated).await;
    let form = root.open(AT).await.expect(200);
    form.expect_text(r#"<option value="group:g1">&#60;i&#62;4B"#);

    let sure = ask(&mut root, "group:g1").await;
    sure.expect_text("<dt>People</dt><dd>2</dd>")
        .expect_text("&#60;i&#62;4B");
    assert!(!sure.html.contains(hostile));
    let half = go_on(&mut root, &sure).await.expect(200);
    half.expect_text("1 of 2 people have their credits; refused: 0.")
        .expect_text("data-go-on");
    assert_eq!(hidden(&half.html, "place"), "more=");
    let done = go_on(&mut root, &half).await.expect(200);
    done.expect_text("2 of 2 people have their credits; refused: 0.");
    let sent = neighbours.accounting.asked_at("POST", ALLOCATE).await;
    let given: Vec<_> = sent.iter().map(|one| json_of(one)["userId"].clone()).collect();
    assert_eq!(given, [json!(ada), json!(mei)]);
}

#[tokio::test]
async fn what_became_of_each_person_is_told() {
    let neighbours = Neighbours::start().await;
    let (app, mut root) = neighbours.administrator().await;
    let rich = person(&app, "rich").await;
    let answers = move |request: &Request| {
        if json_of(request)["userId"] == rich.as_str() {
            return Reply::problem(400, "balance_too_large");
        }
        allocated(request)
    };
    neighbours.accounting.replies("POST", ALLOCATE, answers).await;
    let sure = ask(&mut root, "everybody").await;
    go_on(&mut root, &sure)
        .await
        .expect(200)
        .expect_text("1 of 2 people have their credits; refused: 1.")
        .expect_text("They would have more credits than can be counted.");
}

#[tokio::test]
async fn it_stops_when_accounting_is_away_and_goes_on_from_there() {
    let neighbours = Neighbours::start().await;
    let (app, mut root) = neighbours.administrator().await;
    person(&app, "ada").await;
    neighbours
        .accounting
        .refuses("POST", ALLOCATE, 503, "unavailable")
        .await;
    let sure = ask(&mut root, "everybody").await;
    let stopped = go_on(&mut root, &sure).await.expect(503);
    stopped
        .expect_text("nothing is done twice")
        .expect_text("0 of 2 people have their credits; refused: 0.");
    assert!(!stopped.html.contains("data-go-on"), "not by itself");
    assert_eq!(
        hidden(&stopped.html, "idempotency_key"),
        hidden(&sure.html, "idempotency_key")
    );
    neighbours.accounting.forgets().await;
    neighbours.accounting.replies("POST", ALLOCATE, allocated).await;
    go_on(&mut root, &stopped)
        .await
        .expect(200)
        .expect_text("2 of 2 people have their credits; refused: 0.");
}

#[tokio::test]
async fn a_crowd_that_is_none_gets_nothing() {
    let neighbours = Neighbours::start().await;
    let (_app, mut root) = neighbours.administrator().await;
    neighbours
        .proxy
        .refuses("GET", GROUP, 404, "group_not_found")
        .await;
    for (whom, text) in [
        ("", "Please fill this in."),
        ("group:../../users", "Please fill this in."),
        ("group:g1", "There is no such group."),
    ] {
        let page = root.open(AT).await.expect(200);
        let key = hidden(&page.html, "idempotency_key");
        let members = [
            ("idempotency_key", key.as_str()),
            ("whom", whom),
            ("credits", "5"),
            ("expiry_days", "5"),
            ("step", "give"),
        ];
        let page = root.submit(AT, &page.token(), &members).await.expect(400);
        page.expect_text(text).expect_text("whom-error");
    }
    assert!(neighbours.accounting.is_unasked().await);

    let (_app, mut root) = alone().await;
    let page = root.open(AT).await.expect(200);
    page.expect_text("Groups cannot be shown at the moment.");
    let key = hidden(&page.html, "idempotency_key");
    let members = [
        ("idempotency_key", key.as_str()),
        ("whom", "group:g1"),
        ("credits", "5"),
        ("expiry_days", "5"),
    ];
    root.submit(AT, &page.token(), &members)
        .await
        .expect(503)
        .expect_text("does not answer at the moment");
}
