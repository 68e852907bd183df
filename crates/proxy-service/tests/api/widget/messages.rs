//! What visitors say, and what they are answered.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{N8N_KEY, N8N_SECRET, SITE, WidgetApp, lines, refused, text_of};
use crate::turns::support::http::{Step, chunk, chunked, last_chunk};

#[actix_web::test]
async fn a_message_is_answered_whole_or_as_events() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    let said = visitor.say("hello").await.expect(200);
    assert_eq!(said.body["response"], "Hello world");
    let streamed = visitor.stream(&json!({ "message": "hello" })).await.expect(200);
    assert_eq!(text_of(&streamed.text), "Hello world");
    let request = visitor.request(Method::POST, "/api/v1/chat/message");
    let request = request
        .header("accept", "text/event-stream")
        .json(&json!({ "message": "hello" }));
    let streamed = app.client().send(request).await.expect(200);
    assert_eq!(text_of(&streamed.text), "Hello world");
}

#[actix_web::test]
async fn n8n_is_told_what_the_documents_say_and_nothing_of_the_session_that_opens_it() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    let text = "SELECT <b>price</b> -- wie viel?";
    visitor
        .stream(&json!({ "message": text, "context": { "language": "de", "unknown": 1 } }))
        .await
        .expect(200);
    let asked = &app.n8n.asked()[0];
    assert_eq!(asked.headers["authorization"], format!("Bearer {N8N_KEY}"));
    assert!(!asked.headers.contains_key("cookie") && !asked.headers.contains_key("origin"));
    assert_eq!(asked.body["message"], text);
    assert_eq!(
        asked.body["session"]["page_url"],
        "https://www.school.example/contact"
    );
    assert_eq!(asked.body["context"]["user_context"], json!({ "language": "de" }));
    let (_, secret) = visitor.cookie.split_once('=').unwrap();
    let everything = format!("{asked:?}");
    assert!(!everything.contains(secret) && !everything.contains(&visitor.token));

    let token = asked.body["jwt_token"].as_str().unwrap();
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&["n8n"]);
    rules.leeway = 0;
    let claims = decode::<Value>(token, &DecodingKey::from_secret(N8N_SECRET.as_bytes()), &rules)
        .unwrap()
        .claims;
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        30
    );
    visitor.stream(&json!({ "message": "again" })).await.expect(200);
    assert_ne!(
        app.n8n.asked()[1].body["jwt_token"],
        token,
        "one token for one message"
    );
}

#[actix_web::test]
async fn two_conversations_never_share_a_memory() {
    let app = WidgetApp::spawn().await;
    let (one, two) = (app.visitor().await, app.visitor().await);
    for (visitor, conversation) in [(&one, "a"), (&one, "b"), (&two, "a"), (&one, "a")] {
        let body = json!({ "message": "hello", "conversation_id": conversation });
        visitor.stream(&body).await.expect(200);
    }
    let asked = app.n8n.asked();
    let memory = |at: usize| asked[at].body["sessionId"].as_str().unwrap().to_owned();
    assert_eq!(memory(0), memory(3));
    assert!(memory(0) != memory(1) && memory(0) != memory(2) && memory(1) != memory(2));
    let history = one
        .get("/api/v1/chat/history?conversation_id=a")
        .await
        .expect(200);
    assert_eq!(history.body["total_count"], 4);
    let history = one.get("/api/v1/chat/history").await.expect(200);
    assert_eq!(
        history.body["total_count"], 0,
        "this conversation has another name"
    );
}

#[actix_web::test]
async fn nodes_that_speak_one_after_the_other_are_set_apart() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    let node = |text: &str| {
        format!(
            "{{\"type\":\"begin\"}}\n{{\"type\":\"item\",\"content\":\"{text}\"}}\n{{\"type\":\"end\"}}\n"
        )
    };
    let silent = "{\"type\":\"begin\"}\n{\"type\":\"end\"}\n";
    let body = format!("{silent}{}{silent}{}", node("One"), node("Two"));
    app.n8n.answer(vec![
        chunked("application/json"),
        chunk(body.as_bytes()),
        last_chunk(),
    ]);
    let streamed = visitor.stream(&json!({ "message": "hello" })).await.expect(200);
    assert_eq!(text_of(&streamed.text), "One\n\nTwo");
}

#[actix_web::test]
async fn a_chatflow_of_flowise_answers_in_the_same_form() {
    let app = WidgetApp::spawn_with_flowise().await;
    let visitor = app.visitor().await;
    let streamed = visitor
        .stream(&json!({ "message": "hello world" }))
        .await
        .expect(200);
    assert_eq!(text_of(&streamed.text), "Mock reply to: hello world");
    let said = visitor.say("hello world").await.expect(200);
    assert_eq!(said.body["response"], "Mock reply to: hello world");
    let asked = app.app.flowise.predictions();
    assert_eq!(
        asked[0]["overrideConfig"]["sessionId"],
        asked[1]["overrideConfig"]["sessionId"]
    );
    assert!(!asked[0].to_string().contains(&visitor.session_id));
}

#[actix_web::test]
async fn what_goes_wrong_in_a_stream_is_said_in_a_sentence_and_ends_it() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    let broken = |items: &[&str]| {
        let mut steps = lines(items);
        steps.pop();
        [steps, vec![Step::Close]].concat()
    };
    for (steps, begins) in [
        (refused(500), ""),
        (broken(&["Half an"]), "Half an"),
        (vec![chunked("application/json"), last_chunk()], ""),
    ] {
        app.n8n.answer(steps);
        let streamed = visitor.stream(&json!({ "message": "hello" })).await.expect(200);
        let text = text_of(&streamed.text);
        assert!(
            text.starts_with(begins) && text.len() > begins.len() + 10,
            "{text}"
        );
        assert!(!text.to_lowercase().contains("credit"), "{text}");
    }
    app.n8n.answer(refused(500));
    let said = visitor.say("hello").await;
    assert_eq!(said.status, 503, "{}", said.text);
}

#[actix_web::test]
async fn an_old_key_is_tried_while_n8n_does_not_know_the_new_one() {
    let app = WidgetApp::spawn_with(|embed, _| {
        if let proxy_service::domain::embed::Backend::N8n(webhook) = &mut embed.backend {
            webhook.previous_api_key = Some(("the-old-key".into(), chrono::DateTime::<chrono::Utc>::MAX_UTC));
        }
    })
    .await;
    let visitor = app.visitor().await;
    app.n8n.answer(refused(403));
    let streamed = visitor.stream(&json!({ "message": "hello" })).await.expect(200);
    assert!(text_of(&streamed.text).contains("could not answer"));
    let keys: Vec<_> = app
        .n8n
        .asked()
        .iter()
        .map(|asked| asked.headers["authorization"].clone())
        .collect();
    assert_eq!(
        keys,
        [format!("Bearer {N8N_KEY}"), "Bearer the-old-key".to_owned()]
    );
}

#[actix_web::test]
async fn bad_messages_cost_nothing_and_reach_nobody() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    for body in [
        json!({ "message": "" }),
        json!({ "message": " \u{0} \n" }),
        json!({ "message": "x".repeat(10_001) }),
        json!({ "message": { "$ne": null } }),
        json!({}),
        json!({ "message": "hello", "conversation_id": "../etc" }),
        json!({ "message": "hello", "context": { "custom_data": "x".repeat(6_000) } }),
        json!({ "message": "hello", "context": [] }),
    ] {
        let request = visitor.request(Method::POST, "/api/v1/chat/stream").json(&body);
        app.client()
            .send(request)
            .await
            .expect_problem(422, "validation_failed");
    }
    visitor
        .get("/api/v1/chat/stream")
        .await
        .expect_problem(422, "validation_failed");
    assert!(app.n8n.asked().is_empty() && app.app.accounting.holds().is_empty());
    assert_eq!(app.count("turns").await, 0);
    let long = visitor
        .stream(&json!({ "message": "ж".repeat(1_000) }))
        .await
        .expect(200);
    assert_eq!(text_of(&long.text), "Hello world");
}

#[actix_web::test]
async fn the_history_is_the_visitors_own_and_oldest_first() {
    let app = WidgetApp::spawn().await;
    let (visitor, other) = (app.visitor().await, app.visitor().await);
    visitor.say("first").await.expect(200);
    visitor.stream(&json!({ "message": "second" })).await.expect(200);
    app.app.is_quiet().await;

    let history = visitor.get("/api/v1/chat/history").await.expect(200);
    let said: Vec<_> = history.body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            (
                message["role"].as_str().unwrap(),
                message["content"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("user", "first"),
            ("assistant", "Hello world"),
            ("user", "second"),
            ("assistant", "Hello world")
        ]
    );
    assert_eq!(history.body["session_id"], visitor.session_id);
    let page = visitor
        .get("/api/v1/chat/history?limit=1&offset=2")
        .await
        .expect(200);
    assert_eq!(page.body["messages"][0]["content"], "second");
    assert_eq!(page.body["total_count"], 4);
    visitor
        .get("/api/v1/chat/history?limit=0")
        .await
        .expect_problem(422, "validation_failed");

    let named = format!("/api/v1/chat/history/{}", visitor.session_id);
    visitor.get(&named).await.expect(200);
    other.get(&named).await.expect_problem(404, "session_not_found");
    visitor
        .get("/api/v1/chat/history/guessed")
        .await
        .expect_problem(404, "session_not_found");
    assert_eq!(
        other.get("/api/v1/chat/history").await.expect(200).body["total_count"],
        0
    );
}

#[actix_web::test]
async fn a_repeated_message_is_answered_again_and_paid_for_once() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    let ask = async || {
        let request = visitor
            .request(Method::POST, "/api/v1/chat/stream")
            .header("idempotency-key", "one");
        app.client()
            .send(request.json(&json!({ "message": "hello" })))
            .await
            .expect(200)
    };
    assert_eq!(text_of(&ask().await.text), "Hello world");
    app.app.is_quiet().await;
    assert_eq!(text_of(&ask().await.text), "Hello world");
    assert_eq!((app.n8n.asked().len(), app.app.accounting.holds().len()), (1, 1));
}

#[actix_web::test]
async fn sites_read_answers_only_where_an_embed_allows_them() {
    let app = WidgetApp::spawn().await;
    let client = app.client();
    let preflight = |origin: &str, path: &str, method: &str| {
        client
            .request(Method::OPTIONS, path)
            .header("origin", origin)
            .header("access-control-request-method", method)
    };
    let plain = test_support::Client::new(app.own());
    for (origin, allowed) in [(SITE, true), (super::support::FOREIGN, false), ("null", false)] {
        for (path, method) in [("/api/v1/session/create", "POST"), ("/api/v1/chat/stream", "GET")] {
            let answer = plain.send(preflight(origin, path, method)).await;
            let named = answer
                .headers
                .get("access-control-allow-origin")
                .map(|value| value.to_str().unwrap());
            assert_eq!(named, allowed.then_some(origin), "{path}");
            assert_eq!(
                answer.headers.contains_key("access-control-allow-credentials"),
                allowed
            );
        }
    }
    let created = app
        .create(
            client
                .request(Method::POST, "/api/v1/session/create")
                .header("origin", SITE),
        )
        .await;
    assert_eq!(created.headers["access-control-allow-origin"], SITE);
    assert_eq!(created.headers["access-control-allow-credentials"], "true");
    let refused = client
        .request(Method::POST, "/api/v1/session/create")
        .header("origin", super::support::FOREIGN);
    let refused = app.create(refused).await.expect_problem(403, "invalid_origin");
    assert!(!refused.headers.contains_key("access-control-allow-origin"));
}
