//! The feed of ended sessions.

use std::time::Duration;

use common_http::{Clock, Metrics, RevocationFeed, RevocationSet, RevocationsBody, ServiceTokens};
use futures_util::FutureExt as _;
use secrecy::SecretString;
use serde_json::json;
use test_support::SERVICE_SECRET;
use tokio_util::sync::CancellationToken;

use crate::support::{SignedIn, TestApp, eventually};

async fn poll(app: &TestApp, since: &str, wait: u64) -> RevocationsBody {
    let path = format!("/internal/revocations?since={since}&wait={wait}");
    let answer = app.as_service("proxy-service").get(&path).await.expect(200);
    serde_json::from_value(answer.body).unwrap()
}

async fn log_out(app: &TestApp, session: &SignedIn) {
    let body = json!({ "refreshToken": session.refresh });
    app.client.post("/api/auth/logout", &body).await.expect(200);
}

fn sids(body: &RevocationsBody) -> Vec<&str> {
    body.revocations.iter().map(|one| one.sid.as_str()).collect()
}

#[tokio::test]
async fn a_sign_out_is_told_once_with_when_it_can_be_forgotten() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let sid = ada.claims(&app).sid;
    let empty = poll(&app, "", 0).await;
    assert!(empty.revocations.is_empty());

    log_out(&app, &ada).await;
    let told = poll(&app, &empty.cursor, 20).await;

    assert_eq!(sids(&told), [sid.as_str()]);
    assert_eq!(told.revocations[0].expires_at, app.clock.now().timestamp() + 900);
    assert!(poll(&app, &told.cursor, 0).await.revocations.is_empty());
    assert_eq!(
        sids(&poll(&app, "", 0).await),
        [sid.as_str()],
        "a follower that starts anew is told all"
    );
    assert_eq!(sids(&poll(&app, "not-a-cursor", 0).await), [sid.as_str()]);
}

#[tokio::test]
async fn a_poll_that_waits_ends_with_the_news() {
    let app = TestApp::spawn().await;
    let ada = app.user("ada", "enduser").await;
    let cursor = poll(&app, "", 0).await.cursor;

    let mut waiting = Box::pin(poll(&app, &cursor, 25));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), &mut waiting)
            .await
            .is_err(),
        "nothing to tell yet"
    );
    log_out(&app, &ada).await;

    assert_eq!(sids(&waiting.await), [ada.claims(&app).sid.as_str()]);
}

#[tokio::test]
async fn any_replica_answers_any_cursor() {
    let app = TestApp::spawn().await;
    let replica = app.spawn_beside().await;
    let sessions = [
        app.user("ada", "enduser").await,
        app.log_in("ada").await,
        app.log_in("ada").await,
    ];

    log_out(&app, &sessions[0]).await;
    let first = poll(&replica, "", 0).now_or_never();
    assert!(first.is_none(), "it goes over the network");
    let mut cursor = String::new();
    let mut told = Vec::new();
    for (number, session) in sessions.iter().enumerate() {
        let (here, there) = if number % 2 == 0 {
            (&app, &replica)
        } else {
            (&replica, &app)
        };
        log_out(here, session).await;
        let sid = session.claims(&app).sid;
        while !told.contains(&sid) {
            let body = poll(there, &cursor, 20).await;
            cursor = body.cursor;
            told.extend(body.revocations.into_iter().map(|one| one.sid));
        }
    }
    let nothing = poll(&app, &cursor, 0).await;
    assert!(nothing.revocations.is_empty() || nothing.cursor != cursor);
}

#[tokio::test]
async fn the_follower_of_the_other_services_follows() {
    let app = TestApp::spawn_with(|config| config.clock = Clock::System).await;
    let set = RevocationSet::default();
    let tokens = ServiceTokens::new("proxy-service", &SecretString::from(SERVICE_SECRET));
    let metrics = Metrics::new("test").unwrap();
    let feed = RevocationFeed::new(&app.base, tokens, set.clone(), Clock::System, &metrics).unwrap();
    let stop = CancellationToken::new();
    let following = tokio::spawn(feed.follow(stop.clone()));
    let ada = app.user("ada", "enduser").await;
    let other = app.log_in("ada").await;

    log_out(&app, &ada).await;

    let sid = ada.claims(&app).sid;
    eventually("the revocation reaches the follower", async || {
        set.contains(&sid).then_some(())
    })
    .await;
    assert!(!set.contains(&other.claims(&app).sid));
    stop.cancel();
    following.await.unwrap();
}

#[tokio::test]
async fn what_can_be_in_no_token_any_more_is_not_told() {
    let app = TestApp::spawn().await;
    let (ada, bob) = (app.user("ada", "enduser").await, app.user("bob", "enduser").await);
    let before = poll(&app, "", 0).await.cursor;
    log_out(&app, &ada).await;
    poll(&app, &before, 20).await;
    app.advance_secs(15 * 60 + 31);
    let bob = bob.username;
    let bob = app.log_in(&bob).await;
    let told = bob.claims(&app).sid;
    log_out(&app, &bob).await;

    let only = eventually("the old one is forgotten", async || {
        let body = poll(&app, "", 0).await;
        (sids(&body) == [told.as_str()]).then_some(body)
    });
    only.await;
}

#[tokio::test]
async fn the_feed_ends_its_polls_when_the_service_stops() {
    let app = TestApp::spawn().await;
    let cursor = poll(&app, "", 0).await.cursor;
    let mut waiting = Box::pin(poll(&app, &cursor, 25));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), &mut waiting)
            .await
            .is_err()
    );

    app.lifecycle.stop();

    assert!(waiting.await.revocations.is_empty());
}

#[tokio::test]
async fn questions_the_feed_does_not_understand_are_refused() {
    let app = TestApp::spawn().await;
    let service = app.as_service("proxy-service");
    for query in ["wait=-1", "wait=x", "wait=1&wait=2"] {
        service
            .get(&format!("/internal/revocations?{query}"))
            .await
            .expect_problem(400, "validation_failed");
    }
    let other = app
        .client
        .with_token(app.tokens().service("proxy-service", "accounting-service"));
    other
        .get("/internal/revocations")
        .await
        .expect_problem(401, "invalid_token");
}
