//! Who may begin a session, and who may use it.

use chrono::TimeDelta;
use common_http::Clock;
use reqwest::Method;
use serde_json::json;

use super::support::{FOREIGN, SITE, WidgetApp, cookie_of};

const CREATE: &str = "/api/v1/session/create";
const VALIDATE: &str = "/api/v1/session/validate";
const DESTROY: &str = "/api/v1/session/destroy";

#[actix_web::test]
async fn only_pages_of_allowed_origins_begin_sessions() {
    let app = WidgetApp::spawn().await;
    let client = app.client();
    let create = || client.request(Method::POST, CREATE);
    for request in [
        create(),
        create().header("origin", FOREIGN),
        create().header("origin", "null"),
        create().header("origin", "not an origin"),
        create()
            .header("origin", FOREIGN)
            .header("referer", format!("{}/widget/", app.own())),
        create().header("sec-fetch-site", "cross-site"),
        create()
            .header("sec-fetch-site", "cross-site")
            .header("referer", format!("{SITE}/")),
        create().header("referer", format!("{FOREIGN}/")),
    ] {
        app.create(request).await.expect_problem(403, "invalid_origin");
    }
    assert_eq!(app.count("visitor_sessions").await, 0);
    app.create(create().header("origin", SITE)).await.expect(200);
    app.create(create().header("origin", app.own())).await.expect(200);
}

#[actix_web::test]
async fn a_session_is_worth_nothing_from_another_origin() {
    let app = WidgetApp::spawn().await;
    let client = app.client();
    let on_site = app
        .create(client.request(Method::POST, CREATE).header("origin", SITE))
        .await
        .expect(200);
    let on_site = app.visitor_of(&on_site);
    let ours = app.visitor().await;
    let validate = || client.request(Method::GET, VALIDATE);

    for (visitor, good) in [(&on_site, SITE.to_owned()), (&ours, app.own())] {
        for (name, value) in [
            ("cookie", visitor.cookie.clone()),
            ("authorization", format!("Bearer {}", visitor.token)),
        ] {
            let from = |origin: &str| validate().header(name, value.as_str()).header("origin", origin);
            client.send(from(&good)).await.expect(200);
            client
                .send(from(FOREIGN))
                .await
                .expect_problem(403, "invalid_origin");
            client
                .send(from("null"))
                .await
                .expect_problem(403, "invalid_origin");
            let nowhere = validate().header(name, value.as_str());
            client.send(nowhere).await.expect_problem(403, "invalid_origin");
        }
    }
    let crossed = validate()
        .header("cookie", &on_site.cookie)
        .header("origin", app.own());
    client.send(crossed).await.expect_problem(403, "invalid_origin");
}

#[actix_web::test]
async fn a_ticket_is_good_for_a_minute_and_for_one_session() {
    let clock = Clock::manual(Clock::System.now());
    let app = WidgetApp::spawn_with(|embed, config| {
        embed.requires_ticket = true;
        config.clock = clock.clone();
    })
    .await;
    let create = async |ticket: &str, embed: &str| {
        let body = json!({ "ticket": ticket, "embed": embed });
        let request = app.request_of_our_page(Method::POST, CREATE);
        app.client().send(request.json(&body)).await
    };
    let now = clock.now();
    let ticket = WidgetApp::ticket("default", Some(SITE), now);
    create(&ticket, "another")
        .await
        .expect_problem(403, "invalid_ticket");
    let created = create(&ticket, "default").await.expect(200);
    create(&ticket, "default")
        .await
        .expect_problem(403, "invalid_ticket");
    create("forged", "default")
        .await
        .expect_problem(403, "invalid_ticket");
    create(&WidgetApp::ticket("default", Some(FOREIGN), now), "default")
        .await
        .expect_problem(403, "invalid_origin");
    create(&WidgetApp::ticket("nothing", None, now), "nothing")
        .await
        .expect_problem(404, "embed_not_found");

    let late = WidgetApp::ticket("default", Some(SITE), now);
    clock.advance(TimeDelta::seconds(60));
    create(&late, "default")
        .await
        .expect_problem(403, "invalid_ticket");

    let elsewhere = app.client().request(Method::POST, CREATE).header("origin", SITE);
    let body = json!({ "ticket": WidgetApp::ticket("default", Some(SITE), clock.now()) });
    app.client()
        .send(elsewhere.json(&body))
        .await
        .expect_problem(403, "invalid_origin");

    let visitor = app.visitor_of(&created);
    let valid = visitor.get(VALIDATE).await.expect(200);
    assert_eq!(valid.body["origin_domain"], "www.school.example");
    let another = visitor.request(Method::POST, CREATE).json(&json!({}));
    let another = app.client().send(another).await.expect(200);
    assert_ne!(
        another.body["session_id"], visitor.session_id,
        "a session is proof enough for another"
    );
}

#[actix_web::test]
async fn apps_begin_sessions_with_the_embeds_key_and_without_a_browser() {
    let app = WidgetApp::spawn_with(|embed, _| {
        embed.app_key.rotate("first", chrono::DateTime::UNIX_EPOCH);
    })
    .await;
    let client = app.client();
    let create = |key: &str| client.request(Method::POST, CREATE).header("x-embed-key", key);
    app.create(create("wrong"))
        .await
        .expect_problem(403, "invalid_origin");
    app.create(create("first").header("origin", FOREIGN))
        .await
        .expect_problem(403, "invalid_origin");
    let created = app.create(create("first")).await.expect(200);
    let visitor = app.visitor_of(&created);

    let bearer = || client.with_token(&visitor.token);
    bearer().get(VALIDATE).await.expect(200);
    let said = bearer()
        .post("/api/v1/chat/message", &json!({ "message": "hello" }))
        .await
        .expect(200);
    assert_eq!(said.body["response"], "Hello world");
    let from_a_page = bearer().request(Method::GET, VALIDATE).header("origin", SITE);
    client
        .send(from_a_page)
        .await
        .expect_problem(403, "invalid_origin");
}

#[actix_web::test]
async fn validate_says_what_the_documented_one_says() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    let valid = visitor.get(VALIDATE).await.expect(200);
    assert_eq!(valid.body["session_id"], visitor.session_id);
    assert_eq!(valid.body["valid"], true);
    assert_eq!(valid.body["internal_token_valid"], false, "none was sent");
    assert!(valid.body["fresh_n8n_token"].is_null());
    let both = visitor.request(Method::GET, VALIDATE).bearer_auth(&visitor.token);
    let both = app.client().send(both).await.expect(200);
    assert_eq!(both.body["internal_token_valid"], true);
    for request in [
        app.request_of_our_page(Method::GET, VALIDATE),
        app.request_of_our_page(Method::GET, VALIDATE)
            .header("cookie", "chat_session_id=guessed"),
        app.request_of_our_page(Method::GET, VALIDATE)
            .header("cookie", format!("chat_session_id={}", visitor.session_id)),
        app.request_of_our_page(Method::GET, VALIDATE)
            .bearer_auth("forged"),
    ] {
        app.client()
            .send(request)
            .await
            .expect_problem(401, "session_invalid");
    }
}

#[actix_web::test]
async fn a_session_lasts_as_long_as_it_is_used() {
    let clock = Clock::manual(Clock::System.now());
    let app = WidgetApp::spawn_with(|_, config| config.clock = clock.clone()).await;
    let visitor = app.visitor().await;
    for _ in 0..3 {
        clock.advance(TimeDelta::hours(23));
        let valid = visitor.get(VALIDATE).await.expect(200);
        assert_eq!(
            cookie_of(&valid),
            visitor.cookie,
            "the cookie is renewed, not replaced"
        );
    }
    let soon = visitor.get(VALIDATE).await.expect(200);
    assert!(!soon.headers.contains_key("set-cookie"), "not at every request");
    clock.advance(TimeDelta::hours(24));
    visitor.get(VALIDATE).await.expect_problem(401, "session_invalid");
}

#[actix_web::test]
async fn ending_a_session_forgets_what_was_said() {
    let app = WidgetApp::spawn().await;
    let (visitor, other) = (app.visitor().await, app.visitor().await);
    visitor.say("a secret").await.expect(200);
    other.say("hello").await.expect(200);
    app.app.is_quiet().await;
    assert_eq!(app.count("chat_messages").await, 4);

    let end = || visitor.request(Method::DELETE, DESTROY);
    let foreign = app
        .client()
        .request(Method::DELETE, DESTROY)
        .header("cookie", &visitor.cookie);
    app.client()
        .send(foreign.header("origin", FOREIGN))
        .await
        .expect_problem(403, "invalid_origin");
    let ended = app.client().send(end()).await.expect(200);
    assert!(
        ended.headers["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert_eq!(app.count("chat_messages").await, 2);
    assert!(!app.dump("chat_messages").await.contains("a secret"));
    assert_eq!(app.count("visitor_sessions").await, 1);
    app.client().send(end()).await.expect(200);
    visitor.get(VALIDATE).await.expect_problem(401, "session_invalid");
    visitor.say("again").await.expect_problem(401, "session_invalid");
    let none = app.request_of_our_page(Method::DELETE, DESTROY);
    app.client().send(none).await.expect_problem(400, "no_session");
}

#[actix_web::test]
async fn nothing_in_the_database_opens_a_session() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    let (_, secret) = visitor.cookie.split_once('=').unwrap();
    let stored = app.dump("visitor_sessions").await;
    assert!(stored.contains(&visitor.session_id));
    assert!(
        !stored.contains(secret) && !stored.contains(&visitor.token),
        "{stored}"
    );
}

#[actix_web::test]
async fn statistics_are_for_administrators() {
    let app = WidgetApp::spawn().await;
    let visitor = app.visitor().await;
    visitor.say("hello").await.expect(200);
    let stats = app.admin().get("/api/v1/session/stats").await.expect(200);
    assert_eq!(
        (&stats.body["active_sessions"], &stats.body["messages_today"]),
        (&json!(1), &json!(2))
    );
    visitor
        .get("/api/v1/session/stats")
        .await
        .expect_problem(401, "missing_token");
}
