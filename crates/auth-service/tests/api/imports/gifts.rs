//! What an import gives through the other services: once, however often anything is tried.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bson::doc;
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path, path_regex},
};

use super::import;
use crate::support::{SignedIn, TestApp, eventually};

const TABLE: &str = "username,email,credits,chatflows\n\
                     ada,ada@example.com,250,a1|b2\n\
                     bob,bob@example.com,,b2\n\
                     eve,eve@example.com,7,\n\
                     tom,tom@example.com,,\n";

/// Accounting and proxy, which may be out of order.
struct Neighbours {
    server: MockServer,
    is_down: Arc<AtomicBool>,
    refusals: Arc<AtomicUsize>,
}

impl Neighbours {
    async fn start() -> Self {
        let server = MockServer::start().await;
        let (is_down, refusals) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (down, refused) = (Arc::clone(&is_down), Arc::clone(&refusals));
        let answer = move |good: ResponseTemplate| {
            let (down, refused) = (Arc::clone(&down), Arc::clone(&refused));
            move |_: &Request| {
                if down.load(Ordering::SeqCst) {
                    refused.fetch_add(1, Ordering::SeqCst);
                    return ResponseTemplate::new(503);
                }
                good.clone()
            }
        };
        let allocated = ResponseTemplate::new(201).set_body_json(json!({ "id": "x" }));
        Mock::given(method("POST"))
            .and(path("/api/credits/allocate"))
            .respond_with(answer(allocated))
            .mount(&server)
            .await;
        let assigned = json!({ "successful_assignments": [], "failed_assignments": [] });
        Mock::given(method("POST"))
            .and(path_regex("^/api/v1/admin/chatflows/[a-z0-9]+/users/bulk-add$"))
            .respond_with(answer(ResponseTemplate::new(200).set_body_json(assigned)))
            .mount(&server)
            .await;
        Self {
            server,
            is_down,
            refusals,
        }
    }

    async fn app(&self) -> (TestApp, SignedIn) {
        let url: url::Url = self.server.uri().parse().unwrap();
        let app = TestApp::spawn_with(|config| {
            config.accounting_url = Some(url.clone());
            config.proxy_url = Some(url.clone());
        })
        .await;
        let root = app.user("root1", "admin").await;
        (app, root)
    }

    /// Requests that were answered well, as (path, idempotency key, body).
    async fn given(&self) -> Vec<(String, String, Value)> {
        let requests = self.server.received_requests().await.unwrap();
        let given = requests
            .iter()
            .skip(self.refusals.load(Ordering::SeqCst))
            .map(|request| {
                let key = request
                    .headers
                    .get("idempotency-key")
                    .map(|key| key.to_str().unwrap().to_owned());
                (
                    request.url.path().to_owned(),
                    key.unwrap_or_default(),
                    request.body_json().unwrap(),
                )
            });
        given.collect()
    }
}

#[tokio::test]
async fn new_people_get_their_credits_and_chatflows_at_once_and_once() {
    let neighbours = Neighbours::start().await;
    let (app, root) = neighbours.app().await;

    let answer = import(&root, "?invite=false", TABLE).await.expect(200);

    let results = &answer.body["results"];
    assert_eq!(
        (&results[0]["credits"], &results[0]["chatflows"]),
        (&json!("handed_over"), &json!("handed_over"))
    );
    assert_eq!(
        (&results[1]["credits"], &results[1]["chatflows"]),
        (&Value::Null, &json!("handed_over"))
    );
    assert_eq!(results[3].get("credits"), None);
    assert_eq!(answer.body["summary"]["giftsHandedOver"], 3);
    let given = neighbours.given().await;
    assert_eq!(given.len(), 4, "two allocations, two chatflows: {given:?}");
    let ada = results[0]["userId"].as_str().unwrap();
    let credits = given.iter().find(|(_, _, body)| body["userId"] == ada).unwrap();
    assert_eq!(
        (credits.1.as_str(), &credits.2["credits"]),
        (format!("import:{ada}").as_str(), &json!(250))
    );
    let b2 = given.iter().find(|(path, ..)| path.contains("/b2/")).unwrap();
    assert_eq!(b2.2["emails"], json!(["ada@example.com", "bob@example.com"]));
    for request in neighbours.server.received_requests().await.unwrap() {
        let token = request.headers["authorization"].to_str().unwrap().to_owned();
        assert!(
            token.starts_with("Bearer ") && !token.contains(&root.access),
            "our own token, not the admin's"
        );
    }

    let again = import(&root, "", TABLE).await.expect(200);

    assert_eq!(again.body["summary"]["unchanged"], 4);
    assert_eq!(again.body["results"][0]["credits"], "handed_over");
    assert_eq!(neighbours.given().await.len(), 4, "nothing is given again");
    assert_eq!(
        app.count("onboarding", doc! { "giftsDueAt": { "$exists": true } })
            .await,
        0
    );
}

#[tokio::test]
async fn who_was_there_before_is_given_nothing() {
    let neighbours = Neighbours::start().await;
    let (app, root) = neighbours.app().await;
    app.sign_up("ada").await;

    let answer = import(&root, "", "username,email,credits\nada,ada@example.com,5\n")
        .await
        .expect(200);

    let result = &answer.body["results"][0];
    assert_eq!(
        (&result["status"], result.get("credits")),
        (&json!("unchanged"), None)
    );
    assert!(
        result["message"]
            .as_str()
            .unwrap()
            .contains("only with a new one")
    );
    let dry = import(&root, "?dry_run=true", TABLE).await.expect(200);
    assert_eq!(dry.body["summary"]["valid"], 3);
    assert_eq!(neighbours.given().await, []);
}

#[tokio::test]
async fn what_could_not_be_given_is_given_later_and_once() {
    let neighbours = Neighbours::start().await;
    let (app, root) = neighbours.app().await;
    neighbours.is_down.store(true, Ordering::SeqCst);

    let answer = import(&root, "?invite=false", TABLE).await.expect(200);

    let results = &answer.body["results"];
    assert_eq!(
        (&results[0]["status"], &results[0]["credits"]),
        (&json!("created"), &json!("queued"))
    );
    assert_eq!(answer.body["summary"]["giftsQueued"], 3);
    let again = import(&root, "", TABLE).await.expect(200);
    assert_eq!(again.body["results"][0]["credits"], "queued");
    app.advance_secs(300);
    eventually("the backlog is seen", async || {
        let series = r#"auth_onboarding_open{what="gifts",service="auth-service"}"#;
        (app.metric(series).await >= 3.0
            && app
                .metric(r#"auth_onboarding_oldest_seconds{service="auth-service"}"#)
                .await
                >= 300.0)
            .then_some(())
    })
    .await;

    neighbours.is_down.store(false, Ordering::SeqCst);
    app.advance_secs(3_600);
    eventually("all is given", async || {
        app.advance_secs(60);
        (app.count("onboarding", doc! { "giftsDueAt": { "$exists": true } })
            .await
            == 0)
            .then_some(())
    })
    .await;

    let given = neighbours.given().await;
    let credits = given
        .iter()
        .filter(|(path, ..)| path == "/api/credits/allocate")
        .count();
    assert_eq!(credits, 2, "{given:?}");
    let root = app.log_in("root1").await;
    let again = import(&root, "", TABLE).await.expect(200);
    assert_eq!(again.body["results"][0]["credits"], "handed_over");
    assert_eq!(again.body["results"][0]["chatflows"], "handed_over");
}

#[tokio::test]
async fn credits_that_may_have_been_given_a_day_ago_are_not_given_again() {
    let neighbours = Neighbours::start().await;
    let (app, root) = neighbours.app().await;
    neighbours.is_down.store(true, Ordering::SeqCst);
    import(
        &root,
        "?invite=false",
        "username,email,credits\nada,ada@example.com,5\n",
    )
    .await
    .expect(200);
    assert_eq!(
        app.count("onboarding", doc! { "unclearSince": { "$exists": true } })
            .await,
        1,
        "a 503 tells nothing"
    );

    neighbours.is_down.store(false, Ordering::SeqCst);
    let before = neighbours.server.received_requests().await.unwrap().len();
    app.advance_secs(24 * 3_600);

    eventually("it is given up", async || {
        (app.count("onboarding", doc! { "isUnclear": true }).await == 1).then_some(())
    })
    .await;
    assert_eq!(neighbours.server.received_requests().await.unwrap().len(), before);
    let root = app.log_in("root1").await;
    let again = import(&root, "", "username,email,credits\nada,ada@example.com,5\n")
        .await
        .expect(200);
    assert_eq!(again.body["results"][0]["credits"], "queued");
}

#[tokio::test]
async fn a_promise_to_somebody_who_was_never_made_is_forgotten() {
    let neighbours = Neighbours::start().await;
    let (app, _) = neighbours.app().await;
    // What a crash between the promise and the account leaves behind.
    let now = bson::DateTime::from_chrono(app.clock.now());
    let orphan = doc! {
        "_id": bson::oid::ObjectId::new(), "email": "ghost@example.com", "credits": 5_i64, "creditsOpen": 5_i64,
        "chatflows": ["a1"], "chatflowsOpen": ["a1"], "actor": null, "createdAt": now, "tries": 0,
        "giftsDueAt": now, "invitationDueAt": now,
    };
    app.collection("onboarding").insert_one(orphan).await.unwrap();

    app.advance_secs(20 * 60);

    eventually("it is forgotten", async || {
        (app.count("onboarding", doc! {}).await == 0).then_some(())
    })
    .await;
    assert_eq!(neighbours.given().await, []);
}
