//! Following published keys: what a verifying service does when keys come, go, or cannot be had.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails there")]

use std::time::{Duration, Instant};

use actix_web::ResponseError as _;
use chrono::TimeDelta;
use common_http::{Authenticator, Clock, KeyFeed, Metrics, RevocationSet};
use common_jwt::{
    AUDIENCE_DEFAULT, ISSUER_DEFAULT, Invalid, JwkSet, KeyRing, Role, SharedKeyRing, Signer, SigningKey,
    Verifier, VerifyingKey,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use test_support::{ACCESS_SECRET, Person, SERVICE_SECRET, TestTokens, ed25519_pem};
use tokio_util::sync::CancellationToken;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

/// Whatever has to happen in the background must have happened by then.
const PATIENCE: Duration = Duration::from_secs(20);

fn ed25519() -> SigningKey {
    SigningKey::ed25519_pem(ed25519_pem().as_bytes()).unwrap()
}

fn set_of(keys: &[&SigningKey]) -> Value {
    json!(JwkSet {
        keys: keys.iter().map(|key| key.public_jwk().unwrap().clone()).collect(),
    })
}

/// A service that verifies, beside an issuer that counts.
struct Following {
    issuer: MockServer,
    authenticator: Authenticator,
    clock: Clock,
    metrics: Metrics,
    stop: CancellationToken,
}

impl Following {
    async fn start(answer: ResponseTemplate) -> Self {
        Self::start_with(answer, KeyRing::default()).await
    }

    async fn start_with(answer: ResponseTemplate, configured: KeyRing) -> Self {
        let issuer = MockServer::start().await;
        let clock = Clock::manual(Clock::System.now());
        let metrics = Metrics::new("test").unwrap();
        let ring = SharedKeyRing::from(configured);
        let url = format!("{}/.well-known/jwks.json", issuer.uri());
        let feed = KeyFeed::new(&url, ring.clone(), clock.clone(), &metrics).unwrap();
        let following = Self {
            authenticator: Authenticator {
                people: Verifier::new(ring, ISSUER_DEFAULT, AUDIENCE_DEFAULT),
                key_feed: Some(feed.clone()),
                services: Verifier::for_services(
                    KeyRing::new([VerifyingKey::hs256(SERVICE_SECRET.as_bytes())]),
                    "test",
                ),
                revocations: RevocationSet::default(),
                clock: clock.clone(),
                older_cookie: None,
                session_check: None,
                api_keys: None,
            },
            issuer,
            clock,
            metrics,
            stop: CancellationToken::new(),
        };
        following.answer(answer).await;
        tokio::spawn(feed.follow(following.stop.clone()));
        following
    }

    /// What the issuer answers from now on.
    async fn answer(&self, answer: ResponseTemplate) {
        self.issuer.reset().await;
        Mock::given(path("/.well-known/jwks.json"))
            .respond_with(answer)
            .mount(&self.issuer)
            .await;
    }

    async fn publish(&self, keys: &[&SigningKey]) {
        self.answer(ResponseTemplate::new(200).set_body_json(set_of(keys)))
            .await;
    }

    /// Requests since the last answer was set.
    async fn fetches(&self) -> usize {
        self.issuer.received_requests().await.unwrap().len()
    }

    fn token(&self, key: &SigningKey) -> String {
        let claims = TestTokens::at(self.clock.now()).access_claims(&Person::new("ada", Role::EndUser));
        Signer::new(key.clone()).access(&claims).unwrap()
    }

    async fn access(&self, token: &str) -> Result<(), Invalid> {
        self.authenticator.access(token).await.map(|_| ())
    }

    fn metric(&self, name: &str) -> Option<i64> {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    async fn until(&self, what: &str, name: &str, value: i64) {
        let deadline = Instant::now() + PATIENCE;
        while self.metric(name) != Some(value) {
            assert!(Instant::now() < deadline, "did not happen: {what}");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[actix_web::test]
async fn tokens_of_every_published_key_are_good_and_of_no_other() {
    let (old, new, foreign) = (ed25519(), ed25519(), ed25519());
    let following = Following::start(ResponseTemplate::new(200).set_body_json(set_of(&[&old, &new]))).await;
    following.until("the keys are fetched", "keys_known", 2).await;

    assert_eq!(following.access(&following.token(&old)).await, Ok(()));
    assert_eq!(following.access(&following.token(&new)).await, Ok(()));
    assert_eq!(following.fetches().await, 1, "a known key never causes a fetch");
    assert_eq!(
        following.access(&following.token(&foreign)).await,
        Err(Invalid::UnknownKid)
    );
    assert_eq!(following.metric("key_feed_up"), Some(1));
}

#[actix_web::test]
async fn unknown_keys_cause_one_fetch_a_minute_however_many_ask() {
    let known = ed25519();
    let following = Following::start(ResponseTemplate::new(200).set_body_json(set_of(&[&known]))).await;
    following.until("the keys are fetched", "keys_known", 1).await;
    let strange: Vec<_> = (0..40).map(|_| following.token(&ed25519())).collect();

    for (minute, fetches) in [(0, 2), (59, 2), (1, 3), (60, 4)] {
        following.clock.advance(TimeDelta::seconds(minute));
        for result in join_all(strange.iter().map(|token| following.access(token))).await {
            assert_eq!(result, Err(Invalid::UnknownKid));
        }
        assert_eq!(following.fetches().await, fetches);
    }
}

#[actix_web::test]
async fn kids_that_cannot_be_keys_cause_no_fetch() {
    let known = ed25519();
    let following = Following::start(ResponseTemplate::new(200).set_body_json(set_of(&[&known]))).await;
    following.until("the keys are fetched", "keys_known", 1).await;
    let good = following.token(&known);
    let (_, rest) = good.split_once('.').unwrap();

    for kid in ["../../dev/null", "' OR 1=1--", "", &"k".repeat(10_000)] {
        for alg in ["EdDSA", "HS256", "none"] {
            let header = test_support::encoded(&json!({ "alg": alg, "kid": kid }));
            assert!(following.access(&format!("{header}.{rest}")).await.is_err());
        }
    }
    assert_eq!(following.fetches().await, 1);
}

#[actix_web::test]
async fn whoever_comes_with_a_fresh_key_waits_for_it_and_gets_in() {
    let (old, fresh) = (ed25519(), ed25519());
    let following = Following::start(ResponseTemplate::new(200).set_body_json(set_of(&[&old]))).await;
    following.until("the keys are fetched", "keys_known", 1).await;
    following.publish(&[&old, &fresh]).await;
    let token = following.token(&fresh);

    let all = join_all((0..20).map(|_| following.access(&token))).await;

    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(following.fetches().await, 1);
    assert_eq!(following.access(&following.token(&old)).await, Ok(()));
}

#[actix_web::test]
async fn known_keys_stay_good_while_the_issuer_is_away_or_talks_nonsense() {
    let key = ed25519();
    let following = Following::start(ResponseTemplate::new(200).set_body_json(set_of(&[&key]))).await;
    following.until("the keys are fetched", "keys_known", 1).await;
    let octet = json!({ "keys": [{ "kty": "oct", "kid": "k", "k": "AAAA", "alg": "HS256" }] });
    let many: Vec<_> = (0..17).map(|_| ed25519()).collect();
    let many: Vec<_> = many.iter().collect();

    for nonsense in [
        ResponseTemplate::new(503),
        ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:9/keys"),
        ResponseTemplate::new(200).set_body_string("<html>"),
        ResponseTemplate::new(200).set_body_json(octet),
        ResponseTemplate::new(200).set_body_json(set_of(&many)),
        ResponseTemplate::new(200).set_body_string(format!("{{\"keys\":[]{}}}", " ".repeat(70_000))),
    ] {
        following.answer(nonsense).await;
        following.clock.advance(TimeDelta::seconds(60));
        assert_eq!(
            following.access(&following.token(&ed25519())).await,
            Err(Invalid::UnknownKid)
        );
        assert_eq!(following.metric("key_feed_up"), Some(0));
        assert_eq!(following.access(&following.token(&key)).await, Ok(()));
    }

    following.publish(&[&key]).await;
    following.until("it is back", "key_feed_up", 1).await;
}

#[actix_web::test]
async fn before_the_first_fetch_nobody_is_called_a_forger() {
    let key = ed25519();
    let shared = KeyRing::new([VerifyingKey::hs256(ACCESS_SECRET.as_bytes())]);
    let following = Following::start_with(ResponseTemplate::new(503), shared).await;
    let token = following.token(&key);

    let problem = following.authenticator.person(&token).await.unwrap_err();
    assert_eq!(
        (problem.status_code().as_u16(), problem.code()),
        (503, "auth_unavailable")
    );
    assert!(problem.error_response().headers().contains_key("retry-after"));
    let rubbish = following.authenticator.person("a.b.c").await.unwrap_err();
    assert_eq!(
        (rubbish.status_code().as_u16(), rubbish.code()),
        (401, "invalid_token")
    );
    let person = Person::new("ada", Role::EndUser);
    let shared = TestTokens::at(following.clock.now()).access(&person);
    assert_eq!(
        following.access(&shared).await,
        Ok(()),
        "configured keys need no issuer"
    );

    following.publish(&[&key]).await;
    following.until("the issuer is there", "keys_known", 1).await;
    assert_eq!(following.access(&token).await, Ok(()));
    assert_eq!(
        following.access(&shared).await,
        Ok(()),
        "both at once, while a platform moves over"
    );
}
