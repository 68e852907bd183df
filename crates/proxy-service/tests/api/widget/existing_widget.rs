//! The calls of the widget that other platforms have, in its order, and what it needs of their answers.

use reqwest::Method;

use super::support::{WidgetApp, cookie_of, data_of, text_of};

const STREAM: &str = "/api/v1/chat/stream?message=When%20is%20the%20open%20day%3F&page_url=https%3A%2F%2Fwww.school.example%2F";

/// A same-origin `EventSource`: it has no `Origin`, and the browser tells otherwise where it is from.
fn event_source(app: &WidgetApp, cookie: &str) -> reqwest::RequestBuilder {
    app.client()
        .request(Method::GET, STREAM)
        .header("accept", "text/event-stream")
        .header("sec-fetch-site", "same-origin")
        .header("referer", format!("{}/widget/modern-widget.html", app.own()))
        .header("cookie", cookie)
}

#[actix_web::test]
async fn the_existing_widget_gets_a_session_and_an_answer_with_its_cookie_only() {
    let app = WidgetApp::spawn().await;

    let created = app
        .create(app.request_of_our_page(Method::POST, "/api/v1/session/create"))
        .await
        .expect(200);
    let set_cookie = created.headers["set-cookie"].to_str().unwrap();
    assert!(set_cookie.starts_with("chat_session_id="), "{set_cookie}");
    assert!(
        set_cookie.ends_with("; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"),
        "{set_cookie}"
    );
    assert!(created.body["n8n_token"].is_null());
    let session_id = created.body["session_id"].as_str().unwrap();
    assert!(
        !set_cookie.contains(session_id),
        "whoever knows the id has not the cookie"
    );

    let stream = app
        .client()
        .send(event_source(&app, &cookie_of(&created)))
        .await
        .expect(200);
    assert_eq!(stream.headers["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(stream.headers["x-accel-buffering"], "no");
    assert!(
        stream.headers["cache-control"]
            .to_str()
            .unwrap()
            .contains("no-transform")
    );
    assert!(
        !stream.text.contains("event:"),
        "events have no names: {}",
        stream.text
    );
    assert!(
        stream.text.starts_with("retry: "),
        "it is not asked twice: {}",
        stream.text
    );
    assert_eq!(text_of(&stream.text), "Hello world");
    assert_eq!(data_of(&stream.text).first().unwrap(), r#"{"type":"begin"}"#);
}

#[actix_web::test]
async fn a_page_of_ours_whose_session_is_over_gets_another_one_by_itself() {
    let app = WidgetApp::spawn().await;
    for cookie in ["", "chat_session_id=gone"] {
        let stream = app.client().send(event_source(&app, cookie)).await.expect(200);
        assert_eq!(text_of(&stream.text), "Hello world");
        let renewed = cookie_of(&stream);
        let again = app.client().send(event_source(&app, &renewed)).await.expect(200);
        assert!(!again.headers.contains_key("set-cookie"), "it has one");
    }
    assert_eq!(app.count("visitor_sessions").await, 2);

    let strange = app
        .client()
        .request(Method::GET, STREAM)
        .header("cookie", "chat_session_id=gone");
    app.client()
        .send(strange)
        .await
        .expect_problem(403, "invalid_origin");
    let asked_before = app.n8n.asked().len();
    let foreign = event_source(&app, "").header("origin", super::support::FOREIGN);
    app.client()
        .send(foreign)
        .await
        .expect_problem(403, "invalid_origin");
    assert_eq!(app.n8n.asked().len(), asked_before);
}

#[actix_web::test]
async fn where_tickets_are_wanted_nothing_begins_by_itself() {
    let app = WidgetApp::spawn_with(|embed, _| embed.requires_ticket = true).await;
    app.client()
        .send(event_source(&app, "chat_session_id=gone"))
        .await
        .expect_problem(401, "session_invalid");
    app.create(app.request_of_our_page(Method::POST, "/api/v1/session/create"))
        .await
        .expect_problem(403, "invalid_ticket");
    assert_eq!(app.count("visitor_sessions").await, 0);
}

#[actix_web::test]
async fn on_https_the_cookie_reaches_frames_on_other_sites() {
    let app = WidgetApp::spawn_with(|_, config| {
        config.public_base_url = Some("https://chat.school.example".parse().unwrap());
    })
    .await;
    let request = app.client().request(Method::POST, "/api/v1/session/create");
    let created = app
        .create(request.header("origin", "https://chat.school.example"))
        .await
        .expect(200);
    let cookie = created.headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.ends_with("; HttpOnly; Secure; SameSite=None; Partitioned"),
        "{cookie}"
    );
}
