//! Many devices whose clients all refresh at once, at two replicas.

use std::collections::BTreeSet;

use bson::doc;
use futures_util::{StreamExt as _, future::join_all, stream};
use serde_json::json;
use test_support::Client;

use crate::support::{SignedIn, TestApp, text};

const SESSIONS: usize = 200;
const REFRESHES: usize = 50;

async fn refresh(client: &Client, token: &str) -> test_support::Answer {
    let body = json!({ "refreshToken": token });
    client.post("/api/auth/refresh", &body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_is_lost_within_the_grace_and_reuse_ends_one_only() {
    let app = TestApp::spawn_with(|config| config.sessions_per_user_max = 1_000).await;
    let replica = app.spawn_beside().await;
    app.user("ada", "enduser").await;
    app.collection("sessions").delete_many(doc! {}).await.unwrap();
    let sign_in = |_| app.log_in("ada");
    let sessions: Vec<SignedIn> = stream::iter(0..SESSIONS)
        .map(sign_in)
        .buffer_unordered(10)
        .collect()
        .await;
    // These clients do not check the contract: ten thousand answers of one kind.
    let replicas = [Client::new(&app.base), Client::new(&replica.base)];

    let storm = async |session: &SignedIn| {
        let answers = (0..REFRESHES).map(|number| refresh(&replicas[number % 2], &session.refresh));
        let answers = join_all(answers).await;
        let successors: BTreeSet<_> = answers
            .into_iter()
            .map(|answer| text(&answer.expect(200).body["refreshToken"]))
            .collect();
        assert_eq!(successors.len(), 1, "all get the same successor");
        successors.into_iter().next().unwrap()
    };
    let successors: Vec<String> = stream::iter(&sessions).map(storm).buffered(2).collect().await;

    assert_eq!(
        app.count("sessions", doc! {}).await,
        u64::try_from(SESSIONS).unwrap()
    );
    assert_eq!(successors.iter().collect::<BTreeSet<_>>().len(), SESSIONS);
    app.advance_secs(11);
    let mut reused = 0;
    for (number, session) in sessions.iter().enumerate() {
        if number % 2 == 0 {
            refresh(&replicas[0], &session.refresh)
                .await
                .expect_problem(401, "invalid_refresh_token");
            reused += 1;
        }
    }
    for (number, successor) in successors.iter().enumerate() {
        let answer = refresh(&replicas[1], successor).await;
        let expected = if number % 2 == 0 { 401 } else { 200 };
        assert_eq!(answer.status, expected, "session {number}: {}", answer.text);
    }
    let ended = doc! { "action": "session_ended", "outcome": "reuse" };
    assert_eq!(app.count("audit_events", ended).await, reused);
    let left = u64::try_from(SESSIONS).unwrap() - reused;
    assert_eq!(app.count("sessions", doc! {}).await, left);
}
