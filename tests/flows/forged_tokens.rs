//! Section A of the security checks: no token but a genuine one opens anything, at any of the three services, whether
//! a shared secret signs or a private key.

use common_http::Clock;
use reqwest::Method;
use system_tests::{
    key_file::KeyFile,
    person::Person,
    platform::{Platform, Wishes},
};
use test_support::{ACCESS_SECRET, Client, Forge, SERVICE_SECRET, TestTokens};
use wiremock::MockServer;

/// A route of each service that everybody who is signed in may call.
const PATHS: [&str; 3] = ["/api/dashboard", "/api/v1/chat/sessions", "/api/credits/balance"];

fn clients(person: &Person) -> [(&Client, &str); 3] {
    let [auth, proxy, accounting] = PATHS;
    [
        (&person.auth, auth),
        (&person.proxy, proxy),
        (&person.accounting, accounting),
    ]
}

/// Refused, without a 5xx, and without repeating what was sent.
async fn refused_everywhere(person: &Person, what: &str, token: &str) {
    for (client, path) in clients(person) {
        let answer = client.with_token(token).get(path).await;
        let status = answer.status.as_u16();
        assert!(
            matches!(status, 401 | 431),
            "{what} at {path}: {status} {}",
            answer.text
        );
        let repeats = token.len() > 20 && answer.text.contains(token);
        assert!(!repeats, "{what} at {path}: {}", answer.text);
    }
}

async fn accepted_everywhere(person: &Person, token: &str) {
    for (client, path) in clients(person) {
        client.with_token(token).get(path).await.expect(200);
    }
}

async fn withstands(platform: &Platform, clock: &Clock, forge: impl Fn(&str) -> Forge) {
    let alice = platform.chatter("alice", 5).await;
    let forge = forge(&alice.access_token);
    let attacker = MockServer::start().await;
    let now = clock.now();

    for attack in forge.attacks(now.timestamp(), &attacker.uri()) {
        refused_everywhere(&alice, &attack.what, &attack.token).await;
    }
    let tokens = TestTokens::at(now);
    for (what, token) in [
        ("a refresh token", alice.refresh_token.clone()),
        (
            "a service token for another",
            tokens.service("proxy-service", "elsewhere"),
        ),
        (
            "a token under the secret of services",
            Forge::with_secret(&alice.access_token, SERVICE_SECRET)
                .under(&serde_json::json!({ "alg": "HS256", "typ": "at+jwt" })),
        ),
    ] {
        refused_everywhere(&alice, what, &token).await;
    }

    assert!(attacker.received_requests().await.unwrap().is_empty());
    accepted_everywhere(&alice, &alice.access_token).await;
}

#[actix_web::test]
async fn no_forged_token_opens_anything_where_a_secret_signs() {
    let clock = Clock::manual(Clock::System.now());
    let platform = Platform::start_as(Wishes {
        clock: clock.clone(),
        ..Wishes::default()
    })
    .await;
    withstands(&platform, &clock, |good| Forge::with_secret(good, ACCESS_SECRET)).await;
}

#[actix_web::test]
async fn no_forged_token_opens_anything_where_a_private_key_signs() {
    let clock = Clock::manual(Clock::System.now());
    let keys = KeyFile::create(clock.now());
    let platform = Platform::start_as(Wishes {
        key_file: Some(keys.path()),
        clock: clock.clone(),
        ..Wishes::default()
    })
    .await;
    withstands(&platform, &clock, |good| Forge::with_ed25519(good, keys.newest())).await;
}

#[actix_web::test]
async fn a_token_is_read_from_one_header_and_never_from_an_address() {
    let platform = Platform::start().await;
    let (alice, bob) = (
        platform.chatter("alice", 5).await,
        platform.chatter("bob", 5).await,
    );
    for ((client, path), service) in
        clients(&alice)
            .into_iter()
            .zip([&platform.auth, &platform.proxy, &platform.accounting])
    {
        for name in ["token", "access_token", "accessToken", "authorization"] {
            let address = format!("{path}?{name}={}", alice.access_token);
            service
                .client()
                .get(&address)
                .await
                .expect_problem(401, "missing_token");
        }
        for second in [&bob.access_token, &alice.access_token] {
            let twice = client
                .request(Method::GET, path)
                .header("authorization", format!("Bearer {second}"));
            client
                .send(twice)
                .await
                .expect_problem(400, "ambiguous_credentials");
        }
    }
}

#[actix_web::test]
async fn a_token_is_worth_nothing_anywhere_once_its_time_is_over() {
    let clock = Clock::manual(Clock::System.now());
    let platform = Platform::start_as(Wishes {
        clock: clock.clone(),
        ..Wishes::default()
    })
    .await;
    let alice = platform.chatter("alice", 5).await;

    clock.advance(chrono::Duration::seconds(15 * 60 + 30));
    accepted_everywhere(&alice, &alice.access_token).await;
    clock.advance(chrono::Duration::seconds(1));
    refused_everywhere(&alice, "expired beyond the leeway", &alice.access_token).await;
}

#[actix_web::test]
async fn a_token_that_was_given_back_is_refused_everywhere() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 5).await;
    let body = serde_json::json!({ "token": alice.access_token });
    platform
        .auth
        .client()
        .post("/api/auth/revoke", &body)
        .await
        .expect(200);

    for (client, path) in clients(&alice) {
        platform
            .until("the feed tells of it", async || {
                client.get(path).await.status == 401
            })
            .await;
        client.get(path).await.expect_problem(401, "session_revoked");
    }
}
