//! How fast people may ask, counted here or in Redis.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use common_http::TrustedProxies;
use common_jwt::Role;
use proxy_service::{LimitsConfig, domain::pace::Pace};
use reqwest::Method;
use test_support::{Answer, Client, Person};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::broadcast,
};

use crate::catalog::support::{Behind, Replica, TestApp, no_limits, until};

/// So slow that nothing comes back while a test runs.
const fn pace(burst: u32) -> Pace {
    Pace { per_sec: 1, burst }
}

/// Limits with this many requests a second in reserve only for addresses.
fn of_addresses(burst: u32) -> LimitsConfig {
    LimitsConfig {
        address: pace(burst),
        ..no_limits()
    }
}

async fn from(client: &Client, address: &str) -> Answer {
    let request = client.request(Method::GET, "/info");
    client.send(request.header("x-forwarded-for", address)).await
}

/// How many of `count` requests pass.
async fn passed(client: &Client, address: &str, count: usize) -> usize {
    let mut passed = 0;
    for _ in 0..count {
        passed += usize::from(from(client, address).await.status == 200);
    }
    passed
}

#[actix_web::test]
async fn an_address_is_told_what_is_left_and_when_to_come_back() {
    let app = TestApp::spawn_with(|config| config.limits = of_addresses(3)).await;
    for left in [2, 1, 0] {
        let answer = app.anybody.get("/info").await.expect(200);
        assert_eq!(answer.headers["ratelimit-policy"], "\"address\";q=3;w=3");
        let told = answer.headers["ratelimit"].to_str().unwrap();
        assert!(told.starts_with(&format!("\"address\";r={left};t=")), "{told}");
    }
    let refused = app.anybody.get("/info").await.expect_problem(429, "rate_limited");
    assert_eq!(refused.headers["retry-after"], "1");
    assert!(
        refused.headers["ratelimit"]
            .to_str()
            .unwrap()
            .starts_with("\"address\";r=0;t=")
    );
    // Every route is behind the same door, except those that orchestrators and Prometheus decide by.
    app.anybody
        .post("/api/v1/chat/authenticate", &serde_json::json!({}))
        .await
        .expect_problem(429, "rate_limited");
    for path in ["/livez", "/readyz", "/health", "/metrics"] {
        app.anybody.get(path).await.expect(200);
    }
    let metrics = app.anybody.get("/metrics").await.text;
    assert!(
        metrics.contains("rate_limited_total{limit=\"address\",service=\"proxy-service\"} 2"),
        "{metrics}"
    );
}

#[actix_web::test]
async fn a_forged_address_changes_nothing_and_a_trusted_proxy_is_believed() {
    let forged = TestApp::spawn_with(|config| config.limits = of_addresses(2)).await;
    let mut statuses = Vec::new();
    for number in 0..3 {
        statuses.push(
            from(&forged.anybody, &format!("203.0.113.{number}"))
                .await
                .status
                .as_u16(),
        );
    }
    assert_eq!(statuses, [200, 200, 429]);

    let behind_proxy = TestApp::spawn_with(|config| {
        config.limits = of_addresses(2);
        config.trusted_proxies = TrustedProxies(vec!["127.0.0.0/8".parse().unwrap()]);
    })
    .await;
    let client = &behind_proxy.anybody;
    assert_eq!(passed(client, "203.0.113.1", 3).await, 2);
    assert_eq!(passed(client, "203.0.113.2", 3).await, 2, "another customer");
    assert_eq!(
        passed(client, "8.8.8.8, 203.0.113.1", 1).await,
        0,
        "what the customer wrote himself is not believed"
    );
    assert_eq!(passed(client, "2001:db8::1", 3).await, 2);
    assert_eq!(
        passed(client, "2001:db8::2", 1).await,
        0,
        "one customer has many IPv6 addresses"
    );
}

#[actix_web::test]
async fn a_class_of_two_hundred_behind_one_address_gets_through() {
    let app = TestApp::spawn_with(|config| {
        config.limits = LimitsConfig {
            address: Pace {
                per_sec: 200,
                burst: 5_000,
            },
            user: Pace {
                per_sec: 50,
                burst: 1_000,
            },
            redis_url: None,
        };
    })
    .await;
    let pupils: Vec<_> = (0..200)
        .map(|number| app.client(&Person::new(&format!("p{number}"), Role::EndUser)))
        .collect();
    let asked = pupils.iter().map(async |pupil| {
        let mut passed = 0;
        for path in ["/api/v1/chatflows/my-chatflows", "/api/v1/chat/sessions", "/info"] {
            passed += usize::from(pupil.get(path).await.status == 200);
        }
        passed
    });
    let passed: usize = futures_util::future::join_all(asked).await.into_iter().sum();
    assert_eq!(passed, 600);
}

#[actix_web::test]
async fn each_person_has_a_bucket_of_their_own_and_admins_none() {
    let app = TestApp::spawn_with(|config| {
        config.limits = LimitsConfig {
            user: pace(2),
            ..no_limits()
        };
    })
    .await;
    let (ada, ben) = (
        Person::new("ada", Role::EndUser),
        Person::new("ben", Role::Supervisor),
    );
    for person in [&ada, &ben] {
        let client = app.client(person);
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(client.get("/api/v1/chat/get_current_user").await.status.as_u16());
        }
        assert_eq!(statuses, [200, 200, 429], "{}", person.username);
    }
    // Another device of the same person is the same person.
    app.client(&Person {
        session_id: "another".to_owned(),
        ..ada
    })
    .get("/api/v1/chat/get_current_user")
    .await
    .expect_problem(429, "rate_limited");
    for _ in 0..5 {
        app.admin().get("/api/v1/chat/get_current_user").await.expect(200);
    }
}

/// A door to Redis that a test shuts: nothing gets through, and what was open is cut.
struct Door {
    address: SocketAddr,
    is_open: Arc<AtomicBool>,
    shut: broadcast::Sender<()>,
}

impl Door {
    async fn open() -> Self {
        let redis: url::Url = test_support::redis_url().parse().unwrap();
        let redis = format!("{}:{}", redis.host_str().unwrap(), redis.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self {
            address: listener.local_addr().unwrap(),
            is_open: Arc::new(AtomicBool::new(true)),
            shut: broadcast::channel(1).0,
        };
        let (is_open, shut) = (door.is_open.clone(), door.shut.clone());
        actix_web::rt::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (redis, is_open, mut shut) = (redis.clone(), is_open.clone(), shut.subscribe());
                actix_web::rt::spawn(async move {
                    if !is_open.load(Ordering::SeqCst) {
                        return;
                    }
                    let mut server = TcpStream::connect(redis).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = shut.recv() => {}
                    }
                });
            }
        });
        door
    }

    fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    fn set(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::SeqCst);
        if !is_open {
            let _ = self.shut.send(());
        }
    }
}

async fn counting(client: &Client) -> String {
    let ready = client.get("/readyz?verbose").await.expect(200);
    ready.body["checks"]["rate_limits"].as_str().unwrap().to_owned()
}

/// An address that no other test, and no earlier run on the same Redis, has used.
fn fresh_address() -> String {
    let bits = uuid::Uuid::new_v4().as_u128();
    std::net::Ipv6Addr::from_bits(bits | (1 << 120)).to_string()
}

#[actix_web::test]
async fn replicas_that_share_a_redis_count_together() {
    let behind = Behind::start().await;
    let mut config = behind.config();
    config.trusted_proxies = TrustedProxies(vec!["127.0.0.0/8".parse().unwrap()]);
    config.limits = LimitsConfig {
        redis_url: Some(test_support::redis_url().into()),
        ..of_addresses(6)
    };
    let (one, other) = (Replica::start(config.clone()).await, Replica::start(config).await);
    let (one, other) = (one.client(), other.client());
    let address = fresh_address();

    let both = passed(&one, &address, 4).await + passed(&other, &address, 4).await;

    assert_eq!(both, 6);
    assert_eq!(counting(&one).await, "shared");
    let metrics = one.get("/metrics").await.text;
    assert!(
        metrics.contains("rate_limit_shared_up{service=\"proxy-service\"} 1"),
        "{metrics}"
    );
}

#[actix_web::test]
async fn while_redis_is_away_each_replica_counts_for_itself_and_says_so() {
    let door = Door::open().await;
    let behind = Behind::start().await;
    let mut config = behind.config();
    config.trusted_proxies = TrustedProxies(vec!["127.0.0.0/8".parse().unwrap()]);
    config.limits = LimitsConfig {
        redis_url: Some(door.url().into()),
        ..of_addresses(3)
    };
    let replica = Replica::start(config).await;
    let client = replica.client();
    assert_eq!(passed(&client, &fresh_address(), 5).await, 3);
    assert_eq!(counting(&client).await, "shared");

    door.set(false);
    // Nobody is kept out because Redis is away, and nobody is let in without bounds.
    assert_eq!(passed(&client, &fresh_address(), 5).await, 3);
    assert_eq!(counting(&client).await, "local: redis is away");
    let metrics = client.get("/metrics").await.text;
    assert!(
        metrics.contains("rate_limit_shared_up{service=\"proxy-service\"} 0"),
        "{metrics}"
    );

    door.set(true);
    until(async || {
        from(&client, &fresh_address()).await.expect(200);
        counting(&client).await == "shared"
    })
    .await;
}

#[actix_web::test]
async fn a_redis_that_is_not_there_at_the_start_keeps_nobody_out() {
    let app = TestApp::spawn_with(|config| {
        config.limits = LimitsConfig {
            redis_url: Some("redis://127.0.0.1:9".into()),
            ..of_addresses(3)
        };
    })
    .await;
    for _ in 0..3 {
        app.anybody.get("/info").await.expect(200);
    }
    app.anybody.get("/info").await.expect_problem(429, "rate_limited");
    assert_eq!(counting(&app.anybody).await, "local: redis is away");
}
