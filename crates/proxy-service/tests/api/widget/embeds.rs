//! Embeds, for administrators.

use common_jwt::Role;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Person, TestTokens};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path_regex};

use super::support::{N8N_KEY, OWNER, SITE, WidgetApp};

const EMBEDS: &str = "/api/v1/embeds";
const KEY: &str = "a-key-that-must-never-be-seen-again";

struct Known {
    app: WidgetApp,
    _auth: MockServer,
}

/// The service beside an auth-service that knows everybody but one.
async fn spawn() -> Known {
    let auth = MockServer::start().await;
    let user = json!({ "user": {
        "_id": OWNER, "username": "owner", "email": "owner@school.example", "role": "enduser", "isVerified": true,
    } });
    Mock::given(path_regex(OWNER))
        .respond_with(ResponseTemplate::new(200).set_body_json(user))
        .mount(&auth)
        .await;
    Mock::given(path_regex("users"))
        .respond_with(ResponseTemplate::new(404).set_body_json(json!({ "code": "user_not_found" })))
        .with_priority(10)
        .mount(&auth)
        .await;
    let app = WidgetApp::spawn_with(|_, config| config.auth_url = auth.uri().parse().unwrap()).await;
    Known { app, _auth: auth }
}

impl Known {
    fn webhook(&self) -> String {
        format!("http://{}/webhook/site", self.app.n8n.server.address)
    }

    fn body(&self) -> Value {
        json!({
            "id": "site",
            "name": "The web site",
            "owner_id": OWNER,
            "allowed_origins": [SITE, "https://*.school.example"],
            "backend": { "type": "n8n", "webhook_url": self.webhook(), "api_key": KEY },
            "price": 2,
            "texts": { "en": { "header.title": "Ask </script><img src=x onerror=alert(1)>" } },
        })
    }
}

#[actix_web::test]
async fn an_embed_is_made_shown_changed_and_deleted_and_its_keys_are_never_shown() {
    let known = spawn().await;
    let (admin, one) = (known.app.admin(), format!("{EMBEDS}/site"));
    let created = admin.post(EMBEDS, &known.body()).await.expect(201);
    assert_eq!(
        created.body["requires_ticket"], true,
        "the safe way is the default"
    );
    assert_eq!(created.body["backend"]["has_api_key"], true);
    admin
        .post(EMBEDS, &known.body())
        .await
        .expect_problem(409, "embed_id_taken");
    let patch = async |body: Value| {
        let request = admin.request(Method::PATCH, &one).json(&body);
        admin.send(request).await
    };
    let changed = patch(json!({ "budget": { "credits_per_day": 9 }, "is_active": false }))
        .await
        .expect(200);
    assert_eq!(
        changed.body["budget"],
        json!({ "credits_per_day": 9, "credits_per_month": null })
    );
    assert_eq!(changed.body["name"], "The web site");
    let rotated = patch(json!({ "backend": { "type": "n8n", "api_key": "another-key" } }))
        .await
        .expect(200);
    assert!(rotated.body["backend"]["previous_api_key_until"].is_string());

    let listed = admin.get(EMBEDS).await.expect(200);
    let ids: Vec<_> = listed.body["embeds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|embed| &embed["id"])
        .collect();
    assert_eq!(ids, ["default", "site"]);
    let shown = admin.get(&one).await.expect(200);
    for text in [
        &created.text,
        &changed.text,
        &rotated.text,
        &listed.text,
        &shown.text,
    ] {
        for secret in [KEY, "another-key", N8N_KEY] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let stored = known.app.dump("embeds").await;
    assert!(
        !stored.contains(KEY) && !stored.contains("another-key"),
        "{stored}"
    );

    admin.delete(&one).await.expect(200);
    admin.delete(&one).await.expect_problem(404, "embed_not_found");
    admin.get(&one).await.expect_problem(404, "embed_not_found");
}

#[actix_web::test]
async fn a_made_embed_answers_with_its_own_key_and_at_its_own_price() {
    let known = spawn().await;
    let app = &known.app;
    let mut body = known.body();
    body["requires_ticket"] = json!(false);
    app.admin().post(EMBEDS, &body).await.expect(201);
    let request = app.client().request(Method::POST, "/api/v1/session/create");
    let request = request
        .header("origin", app.own())
        .json(&json!({ "embed": "site" }));
    let visitor = app.visitor_of(&app.client().send(request).await.expect(200));
    visitor.say("hello").await.expect(200);
    assert_eq!(
        app.n8n.asked()[0].headers["authorization"],
        format!("Bearer {KEY}")
    );
    assert_eq!(app.app.accounting.hold().credits, 2);

    let off = app
        .admin()
        .request(Method::PATCH, "/api/v1/embeds/site")
        .json(&json!({ "is_active": false }));
    app.admin().send(off).await.expect(200);
    visitor.say("hello").await.expect_problem(404, "embed_not_found");
}

#[actix_web::test]
async fn what_is_wrong_with_an_embed_is_said_and_changes_nothing() {
    let known = spawn().await;
    let admin = known.app.admin();
    for (member, value, field) in [
        ("name", json!(""), "name"),
        ("owner_id", json!("owner"), "owner_id"),
        ("allowed_origins", json!(["*"]), "allowed_origins.0"),
        (
            "backend",
            json!({ "type": "n8n", "webhook_url": "http://169.254.169.254/" }),
            "backend.webhook_url",
        ),
        ("backend", json!({ "type": "smtp" }), "backend.type"),
        ("backend", json!({ "type": "flowise" }), "backend.chatflow_id"),
        ("price", json!(-1), "price"),
        ("id", json!("../x"), "id"),
        (
            "theme",
            json!({ "primaryColor": "red;background:url(//evil)" }),
            "theme.primaryColor",
        ),
    ] {
        let mut body = known.body();
        body[member] = value;
        let refused = admin
            .post(EMBEDS, &body)
            .await
            .expect_problem(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["field"], field, "{}", refused.text);
    }
    let mut body = known.body();
    body["owner_id"] = json!("000000000000000000000000");
    admin
        .post(EMBEDS, &body)
        .await
        .expect_problem(404, "user_not_found");
    assert_eq!(known.app.count("embeds").await, 0);
    for (method, path) in [
        (Method::PATCH, "/api/v1/embeds/default"),
        (Method::DELETE, "/api/v1/embeds/default"),
    ] {
        let request = admin.request(method, path).json(&json!({ "name": "Mine" }));
        admin.send(request).await.expect_problem(409, "embed_configured");
    }
}

#[actix_web::test]
async fn embeds_are_for_administrators() {
    let known = spawn().await;
    let tokens = TestTokens::at(known.app.app.config.clock.now());
    for role in [Role::EndUser, Role::Supervisor] {
        let client = known
            .app
            .client()
            .with_token(tokens.access(&Person::new("mei", role)));
        client.get(EMBEDS).await.expect_problem(403, "forbidden");
        client
            .post(EMBEDS, &known.body())
            .await
            .expect_problem(403, "forbidden");
        client
            .get("/api/v1/embeds/default")
            .await
            .expect_problem(403, "forbidden");
        client
            .get("/api/v1/embeds/default/usage")
            .await
            .expect_problem(403, "forbidden");
        client
            .post("/api/v1/embeds/default/key", &json!({}))
            .await
            .expect_problem(403, "forbidden");
    }
    known
        .app
        .client()
        .get(EMBEDS)
        .await
        .expect_problem(401, "missing_token");
}

#[actix_web::test]
async fn a_rotated_key_for_apps_works_beside_the_new_one_for_a_while() {
    let known = spawn().await;
    let (app, admin) = (&known.app, known.app.admin());
    admin.post(EMBEDS, &known.body()).await.expect(201);
    let rotate = async || {
        let rotated = admin
            .post("/api/v1/embeds/site/key", &json!({}))
            .await
            .expect(201);
        rotated.body["key"].as_str().unwrap().to_owned()
    };
    let begin = async |key: &str| {
        let request = app.client().request(Method::POST, "/api/v1/session/create");
        let request = request
            .header("x-embed-key", key)
            .json(&json!({ "embed": "site" }));
        app.client().send(request).await
    };
    let first = rotate().await;
    begin(&first).await.expect(200);
    let second = rotate().await;
    begin(&first).await.expect(200);
    begin(&second).await.expect(200);
    rotate().await;
    begin(&first).await.expect_problem(403, "invalid_origin");
    let stored = app.dump("embeds").await;
    assert!(!stored.contains(&second), "{stored}");
}
