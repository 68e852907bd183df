//! Limits of visitors: I6 of the security checks, blocks, and messages that look wrong.

use common_http::TrustedProxies;
use proxy_service::{ProtectionConfig, ThreatResponse};
use reqwest::Method;
use serde_json::json;
use test_support::Answer;

use super::support::{Visitor, WidgetApp};

/// The widget with these limits, behind a proxy that says for whom it calls.
async fn app(protection: ProtectionConfig, per_minute: Option<u32>) -> WidgetApp {
    WidgetApp::spawn_with(|embed, config| {
        embed.limits.per_minute = per_minute;
        config.widget.protection = protection;
        config.trusted_proxies = TrustedProxies(vec!["127.0.0.0/8".parse().unwrap()]);
    })
    .await
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers[name].to_str().unwrap()
}

/// A visitor asks for their session, as somebody at this address.
async fn validate(visitor: &Visitor<'_>, address: &str) -> Answer {
    let request = visitor.request(Method::GET, "/api/v1/session/validate");
    visitor
        .app
        .client()
        .send(request.header("x-forwarded-for", address))
        .await
}

#[actix_web::test]
async fn an_address_is_told_what_is_left_and_kept_out_when_it_goes_on() {
    let limits = ProtectionConfig {
        address_per_minute: 4,
        ..ProtectionConfig::default()
    };
    let app = app(limits, None).await;
    let visitor = app.visitor().await;
    for left in ["3", "2", "1", "0"] {
        let answer = validate(&visitor, "203.0.113.1").await.expect(200);
        assert_eq!(header(&answer, "x-ratelimit-limit"), "4");
        assert_eq!(header(&answer, "x-ratelimit-remaining"), left);
        let reset: i64 = header(&answer, "x-ratelimit-reset").parse().unwrap();
        assert!(reset > app.app.config.clock.now().timestamp());
        assert!(header(&answer, "ratelimit").contains(&format!("\"widget-address-minute\";r={left};")));
        assert!(header(&answer, "ratelimit-policy").contains("\"widget-address-hour\";q=1000;w=3600"));
    }
    for _ in 0..3 {
        let refused = validate(&visitor, "203.0.113.1").await;
        let refused = refused.expect_problem(429, "rate_limited");
        assert_eq!(header(&refused, "x-ratelimit-remaining"), "0");
        let wait: u64 = header(&refused, "retry-after").parse().unwrap();
        assert_eq!(refused.body["retry_after"], wait);
    }
    let blocked = validate(&visitor, "203.0.113.1").await;
    let blocked = blocked.expect_problem(429, "temporarily_blocked");
    assert!((200..=300).contains(&blocked.body["retry_after"].as_u64().unwrap()));
    let told = blocked.headers.get("ratelimit");
    assert!(told.is_none_or(|told| !told.to_str().unwrap().contains("block")));

    validate(&visitor, "203.0.113.2").await.expect(200);
    let forged = validate(&visitor, "203.0.113.9, 203.0.113.1").await;
    forged.expect_problem(429, "temporarily_blocked");
    assert_eq!(app.app.metric("widget_blocks_total", "spree").await, 1);
}

#[actix_web::test]
async fn a_session_and_an_embed_have_limits_of_their_own_and_nothing_is_asked_beyond_them() {
    let limits = ProtectionConfig {
        session_per_minute: 2,
        ..ProtectionConfig::default()
    };
    let app = app(limits, Some(3)).await;
    let (one, two) = (app.visitor().await, app.visitor().await);
    one.say("one").await.expect(200);
    one.say("two").await.expect(200);
    let refused = one.say("three").await.expect_problem(429, "rate_limited");
    assert_eq!(header(&refused, "x-ratelimit-limit"), "2");
    let streamed = one.stream(&json!({ "message": "three" })).await;
    streamed.expect_problem(429, "rate_limited");
    two.say("one").await.expect(200);
    let refused = two.say("two").await.expect_problem(429, "rate_limited");
    assert!(
        header(&refused, "ratelimit").contains("\"embed-minute\";r=0;"),
        "{refused:?}"
    );
    assert_eq!(app.n8n.asked().len(), 3);
    assert_eq!(app.count("turns").await, 3, "who is refused leaves nothing");
}

#[actix_web::test]
async fn what_looks_like_a_machines_is_asked_or_refused_as_the_operator_wants() {
    for (response, status) in [(ThreatResponse::Log, 200), (ThreatResponse::Block, 400)] {
        let limits = ProtectionConfig {
            response,
            ..ProtectionConfig::default()
        };
        let app = app(limits, None).await;
        let visitor = app.visitor().await;
        let says = async |message: &str| {
            let request = visitor.request(Method::POST, "/api/v1/chat/message");
            let request = request.header("user-agent", "python-requests/2.32");
            app.client()
                .send(request.json(&json!({ "message": message })))
                .await
        };
        let answer = says("test").await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        if status == 400 {
            answer.expect_problem(400, "message_refused");
        }
        says("SELECT price FROM menu; -- how much is <b>this</b>?")
            .await
            .expect(200);
        assert_eq!(app.app.metric("widget_threats_total", "bot").await, 1);
    }
}

#[actix_web::test]
async fn more_visitors_than_usual_chat_from_one_address_where_the_operator_lets_them() {
    let limits = ProtectionConfig {
        address_per_minute: 2_000,
        address_per_hour: 40_000,
        ..ProtectionConfig::default()
    };
    let app = app(limits, None).await;
    let (visitor, client) = (app.visitor().await, app.client());
    for _ in 0..70 {
        let request = visitor.request(Method::GET, "/api/v1/session/validate");
        client.send(request).await.expect(200);
    }
}
