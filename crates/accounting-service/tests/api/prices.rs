//! `/api/prices`: what models cost, and have cost.

use common_jwt::Role;
use futures_util::future::join_all;
use serde_json::{Value, json};
use test_support::Client;

use crate::support::{TestApp, eventually};

const PATH: &str = "/api/prices";

async fn cost(client: &Client, model: &str, tokens: i64) -> i64 {
    let body = json!({ "modelId": model, "tokens": tokens });
    let answer = client.post("/api/credits/calculate", &body).await.expect(200);
    answer.body["credits"].as_i64().unwrap()
}

#[actix_web::test]
async fn everybody_may_know_the_documented_prices() {
    let app = TestApp::spawn().await;
    for client in [app.as_role(Role::EndUser), app.proxy()] {
        let answer = client.get(PATH).await.expect(200);
        insta::allow_duplicates! {
            insta::assert_json_snapshot!(answer.body["prices"][0], { ".id" => "[id]" }, @r#"
            {
              "id": "[id]",
              "inputRate": 250,
              "modelId": "amazon.nova-lite-v1:0",
              "outputRate": 800,
              "validFrom": "2000-01-01T00:00:00.000Z",
              "validUntil": null
            }
            "#);
        }
        assert_eq!(answer.body["prices"].as_array().unwrap().len(), 5);
        assert_eq!(answer.body["nextCursor"], Value::Null);
    }
    let first = app.proxy().get("/api/prices?limit=2").await.expect(200).body;
    assert_eq!(first["nextCursor"], "amazon.nova-micro-v1:0");
    let second = app
        .proxy()
        .get("/api/prices?limit=3&cursor=amazon.nova-micro-v1:0")
        .await
        .expect(200)
        .body;
    assert_eq!(second["prices"][0]["modelId"], "amazon.titan-text-express-v1");
    assert_eq!(second["nextCursor"], Value::Null);
}

#[actix_web::test]
async fn one_price_is_shown_to_whom_it_concerns_and_only_if_the_model_has_one() {
    let app = TestApp::spawn().await;
    let admin = app.as_role(Role::Admin);
    let new = json!({ "modelId": "vendor/nova:1", "inputRate": 7, "outputRate": 9 });
    let made = admin.post(PATH, &new).await.expect(201).body;
    let path = "/api/prices/vendor%2Fnova:1";
    for client in [app.as_role(Role::EndUser), app.proxy()] {
        assert_eq!(client.get(path).await.expect(200).body, made);
        let default = client.get("/api/prices/default").await.expect(200).body;
        assert_eq!(default["modelId"], "default");
        for unknown in ["nobody", "%00", &"m".repeat(101)] {
            client
                .get(&format!("{PATH}/{unknown}"))
                .await
                .expect_problem(404, "price_not_found");
        }
    }
    let changed = admin
        .put(path, &json!({ "inputRate": 8, "outputRate": 9 }))
        .await
        .expect(200);
    assert_eq!(app.proxy().get(path).await.expect(200).body, changed.body);

    admin.delete(path).await.expect(204);
    app.proxy().get(path).await.expect_problem(404, "price_not_found");
}

#[actix_web::test]
async fn a_price_is_set_changed_and_ended_and_its_history_kept() {
    let app = TestApp::spawn().await;
    let admin = app.as_role(Role::Admin);
    assert_eq!(cost(&admin, "vendor/nova:1", 10_000).await, 4, "the default");

    let new = json!({ "modelId": "vendor/nova:1", "inputRate": 1_000, "outputRate": 1_000 });
    let made = admin.post(PATH, &new).await.expect(201).body;
    assert_eq!(cost(&admin, "vendor/nova:1", 10_000).await, 10);
    admin.post(PATH, &new).await.expect_problem(409, "price_exists");
    app.advance_secs(60);
    let path = "/api/prices/vendor%2Fnova:1";
    let rates = json!({ "inputRate": 3_000, "outputRate": 1_000 });
    let changed = admin.put(path, &rates).await.expect(200).body;
    assert_eq!(cost(&admin, "vendor/nova:1", 10_000).await, 20);
    let same = admin.put(path, &rates).await.expect(200).body;
    assert_eq!(same, changed, "the same rates change nothing");
    app.advance_secs(60);
    admin.delete(path).await.expect(204);
    assert_eq!(cost(&admin, "vendor/nova:1", 10_000).await, 4);
    admin.delete(path).await.expect_problem(404, "price_not_found");
    admin
        .put(path, &rates)
        .await
        .expect_problem(404, "price_not_found");

    let history = admin.get(&format!("{path}/history")).await.expect(200).body;
    let history = history["prices"].as_array().unwrap().clone();
    assert_eq!(history.len(), 2);
    assert_eq!(
        (&history[0]["id"], &history[1]["id"]),
        (&changed["id"], &made["id"])
    );
    assert_eq!(history[1]["validUntil"], history[0]["validFrom"]);
    assert_eq!(history[0]["validUntil"], "2027-01-15T08:02:00.000Z");
    admin
        .get("/api/prices/nobody/history")
        .await
        .expect_problem(404, "price_not_found");
}

#[actix_web::test]
async fn a_turn_is_paid_at_the_price_that_was_valid_when_it_began_and_remembers_it() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(100).await;
    let (client, admin) = (app.sign_in(&alice), app.as_role(Role::Admin));
    let open = json!({ "sessionId": "s", "modelId": "amazon.nova-lite-v1:0", "estimatedTokens": 100_000 });
    client
        .post("/api/streaming-sessions/initialize", &open)
        .await
        .expect(201);
    app.advance_secs(1);
    let rates = json!({ "inputRate": 25, "outputRate": 80 });
    admin
        .put("/api/prices/amazon.nova-lite-v1:0", &rates)
        .await
        .expect(200);

    let end = json!({ "sessionId": "s", "actualTokens": 10_000 });
    let paid = client
        .post("/api/streaming-sessions/finalize", &end)
        .await
        .expect(200);

    assert_eq!(paid.body["actualCredits"], 6, "as it was agreed");
    let usage = client.get("/api/usage/stats").await.expect(200).body;
    let price = &usage["recentActivity"][0]["metadata"]["price"];
    assert_eq!(
        (&price["inputRate"], &price["outputRate"]),
        (&json!(250), &json!(800))
    );
    let history = admin
        .get("/api/prices/amazon.nova-lite-v1:0/history")
        .await
        .expect(200)
        .body;
    assert_eq!(price["id"], history["prices"][1]["id"]);
    app.assert_sound().await;
}

/// A replica may have looked the price up just before it changed.
#[actix_web::test]
async fn what_is_held_at_a_price_is_paid_at_it_on_every_replica() {
    let app = TestApp::spawn().await;
    let replica = app.replica().await;
    let alice = app.person_with(10_000).await;
    let there = replica.sign_in(&alice);
    for (index, rate) in [2_000, 200, 2_000, 200].into_iter().enumerate() {
        cost(&there, "default", 10_000).await;
        let rates = json!({ "inputRate": rate, "outputRate": rate });
        app.as_role(Role::Admin)
            .put("/api/prices/default", &rates)
            .await
            .expect(200);
        let session = format!("s-{index}");
        let open = json!({ "sessionId": session, "modelId": "m", "estimatedTokens": 1_000_000 });
        let held = there
            .post("/api/streaming-sessions/initialize", &open)
            .await
            .expect(201);
        let held = held.body["allocatedCredits"].as_i64().unwrap();

        let end = json!({ "sessionId": session, "actualTokens": 1_000_000 });
        let paid = app
            .sign_in(&alice)
            .post("/api/streaming-sessions/finalize", &end)
            .await
            .expect(200);

        let paid = paid.body["actualCredits"].as_i64().unwrap();
        assert_eq!(held, (paid * 6 + 4) / 5, "the estimate came true");
    }
    app.assert_sound().await;
}

#[actix_web::test]
async fn a_change_reaches_every_replica() {
    let app = TestApp::spawn().await;
    let replica = app.replica().await;
    let other = replica.as_role(Role::EndUser);
    assert_eq!(cost(&other, "default", 10_000).await, 4);

    let rates = json!({ "inputRate": 2_000, "outputRate": 2_000 });
    app.as_role(Role::Admin)
        .put("/api/prices/default", &rates)
        .await
        .expect(200);

    eventually("the new price", async || {
        cost(&other, "default", 10_000).await == 20
    })
    .await;
}

#[actix_web::test]
async fn admins_who_change_a_price_at_once_leave_one_valid() {
    let app = TestApp::spawn().await;
    let replica = app.replica().await;
    let (one, two) = (app.as_role(Role::Admin), replica.as_role(Role::Admin));
    let change = async |index: i64| {
        let admin = if index % 2 == 0 { &one } else { &two };
        let rates = json!({ "inputRate": index, "outputRate": 1 });
        admin.put("/api/prices/default", &rates).await.expect(200);
    };
    join_all((1..20).map(change)).await;

    let valid = "SELECT count(*) FROM prices WHERE model_id = 'default' AND valid_until IS NULL";
    assert_eq!(app.number(valid).await, 1);
    let gaps =
        "SELECT count(*) FROM (SELECT valid_until, lead(valid_from) OVER (ORDER BY valid_from, id) AS next
                                      FROM prices WHERE model_id = 'default') p
                WHERE valid_until IS DISTINCT FROM next";
    assert_eq!(app.number(gaps).await, 0);
}

#[actix_web::test]
async fn bad_prices_are_refused_and_change_nothing() {
    let app = TestApp::spawn().await;
    let admin = app.as_role(Role::Admin);
    for body in [
        json!({}),
        json!({ "modelId": "m", "inputRate": 1 }),
        json!({ "modelId": "", "inputRate": 1, "outputRate": 1 }),
        json!({ "modelId": "m".repeat(101), "inputRate": 1, "outputRate": 1 }),
        json!({ "modelId": "m", "inputRate": -1, "outputRate": 1 }),
        json!({ "modelId": "m", "inputRate": 0.5, "outputRate": 1 }),
        json!({ "modelId": "m", "inputRate": "1", "outputRate": 1 }),
        json!({ "modelId": "m", "inputRate": 1, "outputRate": 1_000_000_001 }),
        json!({ "modelId": "m", "inputRate": 0, "outputRate": 0 }),
    ] {
        admin
            .post(PATH, &body)
            .await
            .expect_problem(400, "validation_failed");
        if body["modelId"] == "m" {
            admin
                .put("/api/prices/default", &body)
                .await
                .expect_problem(400, "validation_failed");
        }
    }
    admin
        .delete("/api/prices/default")
        .await
        .expect_problem(409, "default_price");
    for path in [
        "/api/prices?limit=0",
        "/api/prices?limit=1001",
        "/api/prices/default/history?limit=x",
    ] {
        admin.get(path).await.expect_problem(400, "validation_failed");
    }
    let rates = json!({ "inputRate": 1, "outputRate": 1 });
    for path in ["/api/prices/%00", &format!("/api/prices/{}", "m".repeat(101))] {
        admin
            .put(path, &rates)
            .await
            .expect_problem(404, "price_not_found");
    }
    assert_eq!(app.number("SELECT count(*) FROM prices").await, 5);
}
