//! Private keys are rotated while people work: nobody is refused. And verifiers go on, or begin, without auth-service.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use chrono::Duration;
use common_http::Clock;
use common_jwt::SigningKey;
use futures_util::future::join_all;
use serde_json::json;
use system_tests::{
    key_file::KeyFile,
    person::Person,
    platform::{PASSWORD, Platform, Wishes},
};
use test_support::part_of;

/// As `rotate-keys` leaves it between publishing a key and signing with it.
const LEAD: Duration = Duration::seconds(120);

struct Story {
    platform: Platform,
    keys: KeyFile,
    clock: Clock,
}

impl Story {
    async fn begin() -> Self {
        let clock = Clock::manual(Clock::System.now());
        let keys = KeyFile::create(clock.now());
        let wishes = Wishes {
            key_file: Some(keys.path()),
            clock: clock.clone(),
            ..Wishes::default()
        };
        Self {
            platform: Platform::start_as(wishes).await,
            keys,
            clock,
        }
    }

    /// Adds a key, waits until auth-service has published it, and lets the lead pass.
    async fn rotate(&mut self) {
        self.keys.add(self.clock.now() + LEAD);
        self.until_published().await;
        self.clock.advance(LEAD);
    }

    async fn until_published(&self) {
        let auth = self.platform.auth.client();
        self.platform
            .until("the keys are published", async || {
                let set = auth.get("/.well-known/jwks.json").await.expect(200).body;
                set["keys"].as_array().unwrap().len() == self.keys.count()
            })
            .await;
    }

    fn newest_kid(&self) -> String {
        let key = SigningKey::ed25519_pem(self.keys.newest().as_bytes()).unwrap();
        key.kid().to_owned()
    }
}

fn kid_of(token: &str) -> String {
    part_of(token, 0)["kid"].as_str().unwrap().to_owned()
}

/// What people who work all the while have seen.
#[derive(Default)]
struct Seen {
    rounds: AtomicU64,
    stop: AtomicBool,
    kids: Mutex<HashSet<String>>,
    refusals: Mutex<Vec<String>>,
}

impl Seen {
    /// Calls all three services and takes a new token each round.
    async fn work(self: Arc<Self>, mut person: Person) {
        while !self.stop.load(Ordering::Relaxed) {
            for (client, path) in [
                (&person.auth, "/api/dashboard"),
                (&person.accounting, "/api/credits/balance"),
                (&person.proxy, "/api/v1/chat/sessions"),
            ] {
                let answer = client.get(path).await;
                if answer.status != 200 {
                    self.refusals
                        .lock()
                        .unwrap()
                        .push(format!("{path}: {}", answer.text));
                }
            }
            let body = json!({ "refreshToken": person.refresh_token });
            let next = person
                .auth
                .post("/api/auth/refresh", &body)
                .await
                .expect(200)
                .body;
            let text = |member: &str| next[member].as_str().unwrap().to_owned();
            let access = text("accessToken");
            self.kids.lock().unwrap().insert(kid_of(&access));
            person.refresh_token = text("refreshToken");
            for client in [&mut person.auth, &mut person.accounting, &mut person.proxy] {
                *client = client.with_token(&access);
            }
            person.access_token = access;
            self.rounds.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn until_signed_by(&self, platform: &Platform, kid: &str) {
        platform
            .until("the new key signs", async || {
                self.kids.lock().unwrap().contains(kid)
            })
            .await;
        let rounds = self.rounds.load(Ordering::Relaxed);
        platform
            .until("work goes on", async || {
                self.rounds.load(Ordering::Relaxed) > rounds + 8
            })
            .await;
    }
}

#[actix_web::test]
async fn nobody_is_refused_while_keys_are_rotated() {
    let mut story = Story::begin().await;
    let first = story.platform.chatter("alice", 5).await;
    assert_eq!(kid_of(&first.access_token), story.newest_kid());
    let seen = Arc::new(Seen::default());
    let mut workers = Vec::new();
    for _ in 0..4 {
        let person = Person::log_in(&story.platform, "alice", PASSWORD).await;
        workers.push(tokio::spawn(Arc::clone(&seen).work(person)));
    }

    for _ in 0..3 {
        story.rotate().await;
        seen.until_signed_by(&story.platform, &story.newest_kid()).await;
    }
    seen.stop.store(true, Ordering::Relaxed);
    for worker in join_all(workers).await {
        worker.unwrap();
    }

    let refusals = std::mem::take(&mut *seen.refusals.lock().unwrap());
    assert!(refusals.is_empty(), "{refusals:?}");
    assert_eq!(seen.kids.lock().unwrap().len(), 4, "every key has signed");
    first.accounting.get("/api/credits/balance").await.expect(200);
    story.clock.advance(Duration::minutes(15));
    first
        .accounting
        .get("/api/credits/balance")
        .await
        .expect_problem(401, "invalid_token");

    story.keys.drop_oldest();
    story.until_published().await;
    let alice = Person::log_in(&story.platform, "alice", PASSWORD).await;
    alice.accounting.get("/api/credits/balance").await.expect(200);
}

#[actix_web::test]
async fn without_auth_service_known_keys_stay_good_and_nobody_is_called_a_forger() {
    let story = Story::begin().await;
    let platform = &story.platform;
    let alice = platform.chatter("alice", 5).await;
    alice.accounting.get("/api/credits/balance").await.expect(200);
    platform.auth.lifecycle.stop();
    platform
        .until("auth-service is gone", async || {
            tokio::net::TcpStream::connect(platform.auth.address)
                .await
                .is_err()
        })
        .await;

    alice.accounting.get("/api/credits/balance").await.expect(200);
    alice.proxy.get("/api/v1/chat/sessions").await.expect(200);

    for (service, path) in [
        (platform.another_accounting().await, "/api/credits/balance"),
        (platform.another_proxy().await, "/api/v1/chat/sessions"),
    ] {
        service.client().get("/livez").await.expect(200);
        let refused = service.client().with_token(&alice.access_token).get(path).await;
        assert!(refused.headers.contains_key("retry-after"));
        refused.expect_problem(503, "auth_unavailable");
        service
            .client()
            .with_token("a.b.c")
            .get(path)
            .await
            .expect_problem(401, "invalid_token");
        service.stop().await;
    }
}
