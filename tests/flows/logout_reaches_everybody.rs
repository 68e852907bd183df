//! A logout ends the session at every service, and reuse of an old refresh token does too.

use serde_json::json;
use system_tests::platform::Platform;

#[actix_web::test]
async fn a_logged_out_token_is_refused_everywhere() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 3).await;
    let bystander = platform.chatter("bob", 3).await;

    let logout = json!({ "refreshToken": alice.refresh_token });
    platform
        .auth
        .client()
        .post("/api/auth/logout", &logout)
        .await
        .expect(200);

    alice.auth.get("/api/profile").await.expect(401);
    let refused = async |client: &test_support::Client, path: &str| client.get(path).await.status == 401;
    let paths = [
        (&alice.proxy, "/api/v1/chat/sessions"),
        (&alice.accounting, "/api/credits/balance"),
    ];
    for (client, path) in paths {
        platform
            .until("the feed tells of the logout", async || {
                refused(client, path).await
            })
            .await;
    }
    bystander.proxy.get("/api/v1/chat/sessions").await.expect(200);
    bystander.accounting.get("/api/credits/balance").await.expect(200);
}

#[actix_web::test]
async fn a_refresh_through_the_proxy_keeps_the_person() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 3).await;
    let body = json!({ "refresh_token": alice.refresh_token });
    let refreshed = platform
        .proxy
        .client()
        .post("/api/v1/chat/refresh", &body)
        .await
        .expect(200);
    assert_eq!(refreshed.body["user"]["id"], alice.id, "{}", refreshed.text);
    assert_eq!(refreshed.body["token_type"], "bearer");
    let again = platform
        .proxy
        .client()
        .post("/api/v1/chat/refresh", &body)
        .await
        .expect(200);
    assert_eq!(
        again.body["refresh_token"], refreshed.body["refresh_token"],
        "within the grace, the same successor"
    );
}
