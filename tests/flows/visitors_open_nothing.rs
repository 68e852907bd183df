//! What a visitor of a chat widget holds opens no route for people or services, at any of the three: not even where an
//! operator signed it with the very secrets that people's and services' tokens are signed with.

use chrono::TimeDelta;
use common_http::{Access, Clock, rows};
use proxy_service::domain::{
    page_ticket::PageTickets,
    visitor::{Entry, Visitor, VisitorTokens},
};
use system_tests::platform::Platform;
use test_support::{ACCESS_SECRET, SERVICE_SECRET};

use crate::secrets_change::{call, tables};

#[actix_web::test]
async fn no_token_of_a_visitor_opens_a_route_of_any_service() {
    let platform = Platform::start().await;
    let (now, life) = (Clock::System.now(), TimeDelta::hours(24));
    let visitor = Visitor {
        session_id: "3f0c6a52-7d0e-4a1b-9c55-2b1f0e8d7a64".to_owned(),
        embed_id: "default".to_owned(),
        entry: Entry::App,
        page_url: None,
        fingerprint: String::new(),
        message_count: 0,
        created_at: now,
        expires_at: now + life,
    };
    let mut tokens = Vec::new();
    for secret in [ACCESS_SECRET, SERVICE_SECRET] {
        tokens.push(
            VisitorTokens::new(secret.as_bytes(), life)
                .mint(&visitor, now)
                .unwrap(),
        );
        tokens.push(
            PageTickets::new(secret.as_bytes(), life)
                .mint("default", None, now)
                .unwrap(),
        );
    }
    let mut tried = 0;
    for (service, table) in tables() {
        for row in rows(table) {
            if matches!(row.access, Access::Public | Access::Optional) {
                continue;
            }
            let token = &tokens[tried % tokens.len()];
            let answer = call(&platform, service, &row, token).await;
            assert_eq!(answer.status, 401, "{service} {} {}", row.method, row.path);
            tried += 1;
        }
    }
    assert!(tried > 150, "{tried}");
}
