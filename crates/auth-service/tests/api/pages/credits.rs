//! Somebody's credits, as administrators see and change them.

use serde_json::{Value, json};

use super::{
    Page,
    neighbours::{Neighbour, Neighbours, alone, hidden, json_of, key_of, parameter},
};

const ALLOCATE: &str = "/api/credits/allocate";
const REMOVE: &str = "/api/credits/remove";
const ALLOCATION: &str = "01934d7a-6c1e-7b52-9f0e-3c2b8d41a9e6";

fn allocated(user_id: &str) -> Value {
    json!({ "id": ALLOCATION, "userId": user_id, "totalCredits": 100, "remainingCredits": 100,
        "expiresAt": "2026-12-21T08:00:00.000Z" })
}

async fn owns(accounting: &Neighbour, user_id: &str) {
    let balance = json!({ "totalCredits": 987, "activeAllocations": [
        { "id": ALLOCATION, "credits": 987, "totalCredits": 1000, "remainingCredits": 987,
          "expiresAt": "2026-12-21T08:00:00.000Z", "allocatedAt": "2026-11-21T08:00:00.000Z" }] });
    let at = format!("/api/credits/balance/{user_id}");
    accounting.answers("GET", &at, 200, balance).await;
    let statement = json!({ "nextCursor": ALLOCATION, "transactions": [
        { "id": ALLOCATION, "type": "capture", "amount": -13, "balanceAfter": 987, "description": "<b>chat</b>",
          "actor": "service:proxy-service", "sessionId": null, "createdAt": "2026-11-21T08:00:02.611Z" }] });
    accounting
        .answers("GET", "/api/credits/transactions", 200, statement)
        .await;
}

fn key_in(page: &Page) -> String {
    hidden(&page.html, "idempotency_key")
}

#[tokio::test]
async fn a_person_is_found_and_their_credits_are_shown() {
    let neighbours = Neighbours::start().await;
    let (app, mut root) = neighbours.administrator().await;
    let ada = app.sign_up("ada").await;
    let at = format!("/admin/credits/people/{ada}");
    root.open("/admin/credits?q=ada%40")
        .await
        .expect(200)
        .expect_text(&at);
    root.open("/admin/credits?q=nobody")
        .await
        .expect(200)
        .expect_text("Nothing found.");
    owns(&neighbours.accounting, &ada).await;
    let page = root.open(&at).await.expect(200);
    page.expect_text("<strong>987</strong>")
        .expect_text("2026-12-21")
        .expect_text("&#60;b&#62;chat")
        .expect_text(&format!("{at}?cursor={ALLOCATION}"));
    root.open(&format!("{at}?cursor={ALLOCATION}")).await.expect(200);
    let questions = neighbours
        .accounting
        .asked_at("GET", "/api/credits/transactions")
        .await;
    let last = questions.last().unwrap();
    assert_eq!(parameter(last, "userId").as_deref(), Some(ada.as_str()));
    assert_eq!(parameter(last, "cursor").as_deref(), Some(ALLOCATION));
    let token = format!("Bearer {}", root.jar["__Host-access"]);
    assert!(
        questions
            .iter()
            .all(|one| one.headers["authorization"] == token.as_str())
    );
    assert_eq!(
        root.open(&format!("{at}/statement")).await.location(),
        format!("/api/credits/transactions?format=csv&userId={ada}")
    );
    for nobody in ["a".repeat(24), "..%2f..".to_owned(), "x".to_owned()] {
        root.open(&format!("/admin/credits/people/{nobody}"))
            .await
            .expect(404);
    }
}

#[tokio::test]
async fn who_never_had_credits_has_none() {
    let neighbours = Neighbours::start().await;
    let (app, mut root) = neighbours.administrator().await;
    let ada = app.sign_up("ada").await;
    let balance = format!("/api/credits/balance/{ada}");
    neighbours
        .accounting
        .refuses("GET", &balance, 404, "user_not_found")
        .await;
    neighbours
        .accounting
        .refuses("GET", "/api/credits/transactions", 404, "user_not_found")
        .await;
    root.open(&format!("/admin/credits/people/{ada}"))
        .await
        .expect(200)
        .expect_text("<strong>0</strong>")
        .expect_text("Nothing has happened yet.");
}

#[tokio::test]
async fn credits_are_given_once_however_often_the_form_is_sent() {
    let neighbours = Neighbours::start().await;
    let (app, mut root) = neighbours.administrator().await;
    let ada = app.sign_up("ada").await;
    neighbours
        .accounting
        .answers("POST", ALLOCATE, 201, allocated(&ada))
        .await;
    let at = format!("/admin/credits/people/{ada}");
    let page = root.open(&at).await.expect(200);
    let (token, key) = (page.token(), key_in(&page));
    let gift = [
        ("idempotency_key", key.as_str()),
        ("credits", "100"),
        ("expiry_days", "7"),
        ("notes", "for the \"play\""),
    ];
    for _ in 0..2 {
        let given = root.submit(&at, &token, &gift).await;
        assert_eq!(given.location(), format!("{at}?done=credits_given"));
    }
    let sent = neighbours.accounting.asked_at("POST", ALLOCATE).await;
    assert_eq!(sent.len(), 2);
    for one in &sent {
        assert_eq!(key_of(one), key);
        assert_eq!(
            json_of(one),
            json!({ "userId": ada, "credits": 100, "expiryDays": 7, "notes": "for the \"play\"" })
        );
    }
    let other = root.open(&at).await.expect(200);
    assert_ne!(key_in(&other), key, "each form has a key of its own");
}

#[tokio::test]
async fn what_the_form_says_wrong_is_told_at_its_fields_and_not_sent() {
    let neighbours = Neighbours::start().await;
    let (app, mut root) = neighbours.administrator().await;
    let ada = app.sign_up("ada").await;
    let at = format!("/admin/credits/people/{ada}");
    for (credits, days) in [
        ("0", "0"),
        ("-5", "-1"),
        ("1e3", "36501"),
        ("", ""),
        ("1000000000001", "x"),
    ] {
        let page = root.open(&at).await.expect(200);
        let (token, key) = (page.token(), key_in(&page));
        let gift = [
            ("idempotency_key", key.as_str()),
            ("credits", credits),
            ("expiry_days", days),
        ];
        let page = root.submit(&at, &token, &gift).await.expect(400);
        page.expect_text("credits-error").expect_text("expiry_days-error");
        assert_eq!(key_in(&page), key, "nothing was sent under it");
    }
    let long = "x".repeat(1_001);
    let gift = [("credits", "5"), ("expiry_days", "5"), ("notes", long.as_str())];
    root.fill(&at, &at, &gift)
        .await
        .expect(400)
        .expect_text("At most 1,000 visible characters, please.");
    // A form that was not shown has no key.
    let gift = [("credits", "5"), ("expiry_days", "5")];
    root.fill(&at, &at, &gift).await.expect(400);
    assert!(neighbours.accounting.asked_at("POST", ALLOCATE).await.is_empty());
}

#[tokio::test]
async fn what_accounting_refuses_stands_at_its_field_and_the_next_try_is_another() {
    let neighbours = Neighbours::start().await;
    let (app, mut root) = neighbours.administrator().await;
    let ada = app.sign_up("ada").await;
    let accounting = &neighbours.accounting;
    accounting
        .finds_wrong("POST", ALLOCATE, "expiryDays", "must be <less>")
        .await;
    let at = format!("/admin/credits/people/{ada}");
    let page = root.open(&at).await.expect(200);
    let (token, key) = (page.token(), key_in(&page));
    let gift = [
        ("idempotency_key", key.as_str()),
        ("credits", "100"),
        ("expiry_days", "9"),
    ];
    let page = root.submit(&at, &token, &gift).await.expect(400);
    page.expect_text("expiry_days-error")
        .expect_text("must be &#60;less&#62;")
        .expect_text(r#"value="100""#);
    assert_ne!(key_in(&page), key);

    accounting
        .refuses("POST", ALLOCATE, 422, "idempotency_key_reused")
        .await;
    root.submit(&at, &token, &gift)
        .await
        .expect(422)
        .expect_text("This form was sent before with something else in it.");
}

#[tokio::test]
async fn without_an_answer_the_same_form_can_be_sent_again() {
    let (app, mut root) = alone().await;
    let ada = app.sign_up("ada").await;
    let at = format!("/admin/credits/people/{ada}");
    let page = root.open(&at).await.expect(200);
    page.expect_text("The credits cannot be shown at the moment.");
    let (token, key) = (page.token(), key_in(&page));
    let gift = [
        ("idempotency_key", key.as_str()),
        ("credits", "100"),
        ("expiry_days", "9"),
    ];
    let page = root.submit(&at, &token, &gift).await.expect(503);
    page.expect_text("nothing is done twice")
        .expect_text(r#"value="100""#);
    assert_eq!(key_in(&page), key);
}

#[tokio::test]
async fn credits_are_taken_back_with_a_tick() {
    let neighbours = Neighbours::start().await;
    let (app, mut root) = neighbours.administrator().await;
    let ada = app.sign_up("ada").await;
    owns(&neighbours.accounting, &ada).await;
    let at = format!("/admin/credits/people/{ada}/take");
    let page = root.open(&at).await.expect(200);
    let (token, key) = (page.token(), key_in(&page));
    let wish = [
        ("idempotency_key", key.as_str()),
        ("credits", "40"),
        ("notes", "by mistake"),
    ];
    let page = root.submit(&at, &token, &wish).await.expect(400);
    page.expect_text("Tick this to go on.")
        .expect_text(r#"value="40""#);
    assert!(neighbours.accounting.asked_at("DELETE", REMOVE).await.is_empty());

    neighbours
        .accounting
        .refuses("DELETE", REMOVE, 400, "insufficient_credits")
        .await;
    let sure: Vec<_> = wish.into_iter().chain([("understood", "on")]).collect();
    root.submit(&at, &token, &sure)
        .await
        .expect(400)
        .expect_text("They do not have so many credits.");
    neighbours.accounting.forgets().await;
    let corrected = json!({ "userId": ada, "previousCredits": 987, "newCredits": 947, "removedCredits": 40,
        "message": "done" });
    neighbours
        .accounting
        .answers("DELETE", REMOVE, 200, corrected)
        .await;
    let answered = root.submit(&at, &token, &sure).await;
    assert_eq!(
        answered.location(),
        format!("/admin/credits/people/{ada}?done=credits_taken")
    );
    let sent = neighbours.accounting.asked_at("DELETE", REMOVE).await;
    assert_eq!((sent.len(), key_of(&sent[0])), (1, key));
    assert_eq!(
        json_of(&sent[0]),
        json!({ "userId": ada, "credits": 40, "notes": "by mistake" })
    );
}

#[tokio::test]
async fn what_is_left_of_one_allocation_is_taken_back() {
    let neighbours = Neighbours::start().await;
    let (app, mut root) = neighbours.administrator().await;
    let ada = app.sign_up("ada").await;
    owns(&neighbours.accounting, &ada).await;
    let at = format!("/admin/credits/people/{ada}");
    let one = format!("/api/credits/allocations/{ALLOCATION}");
    let withdrawn = json!({ "id": ALLOCATION, "userId": ada, "totalCredits": 1000, "remainingCredits": 0,
        "removedCredits": 987, "expiresAt": "2026-12-21T08:00:00.000Z", "message": "done" });
    neighbours
        .accounting
        .answers("DELETE", &one, 200, withdrawn)
        .await;
    let page = root.open(&at).await.expect(200);
    page.expect_text("Take back these 987");
    let (token, key) = (page.token(), key_in(&page));
    let members = [("idempotency_key", key.as_str())];
    let action = format!("{at}/allocations/{ALLOCATION}/withdraw");
    let answered = root.submit(&action, &token, &members).await;
    assert_eq!(answered.location(), format!("{at}?done=credits_taken"));
    assert_eq!(
        key_of(&neighbours.accounting.asked_at("DELETE", &one).await[0]),
        key
    );

    // What is no id is no part of a path.
    for id in ["..", "x%2f..%2f..%2fremove", "all"] {
        let action = format!("{at}/allocations/{id}/withdraw");
        let page = root.submit(&action, &token, &members).await;
        assert_eq!(page.status, 404, "{id}");
    }
    assert_eq!(neighbours.accounting.asked("DELETE").await.len(), 1);
}
