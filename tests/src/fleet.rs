//! The three services as processes of their own, each with any number of replicas, as an operator runs them.

#![expect(clippy::expect_used, reason = "a test that cannot go on stops where it is")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use test_support::{ACCESS_SECRET, Client, REFRESH_SECRET, SERVICE_SECRET, TestMongo, TestPostgres};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::{
    flowise::{Behaviour, Options, StandInFlowise, chatflow},
    gateway::Behind,
    mailbox,
    platform::{ADMIN, PASSWORD},
    process::Process,
    programs::free_address,
};

/// How long something may take to come about.
const PATIENCE: Duration = Duration::from_secs(90);

/// One service with its replicas.
#[derive(Debug)]
pub struct Service {
    /// Its name, by which `run-service` starts it.
    pub name: &'static str,
    /// Where its replicas listen; they keep their addresses when they are restarted.
    pub addresses: Vec<SocketAddr>,
    replicas: Vec<Option<Process>>,
    variables: Vec<(String, String)>,
}

/// What the services keep.
#[derive(Debug)]
pub struct Databases {
    /// proxy-service's; auth-service's is beside it.
    pub mongo: TestMongo,
    /// accounting-service's.
    pub postgres: TestPostgres,
}

impl Databases {
    /// Makes empty ones.
    pub async fn create() -> Self {
        Self {
            mongo: TestMongo::create().await,
            postgres: TestPostgres::create("empty", async |_: &str| {}).await,
        }
    }

    /// Where auth-service's is.
    pub fn auth_uri(&self) -> String {
        let name = &self.mongo.name;
        self.mongo.uri.replace(name.as_str(), &format!("{name}_auth"))
    }
}

/// Everything, running.
#[derive(Debug)]
pub struct Fleet {
    program: &'static str,
    /// Who you are.
    pub auth: Service,
    /// The money.
    pub accounting: Service,
    /// The conversation.
    pub proxy: Service,
    /// Flowise's stand-in.
    pub flowise: StandInFlowise,
    databases: Databases,
    mail: tempfile::TempDir,
}

impl Fleet {
    /// Starts this many replicas of each service by `program` (`run-service`); `more` is told to all of them.
    pub async fn start(program: &'static str, replicas: usize, more: &[(&str, &str)]) -> Self {
        Self::start_on(Databases::create().await, program, replicas, more).await
    }

    /// The same on databases that are there.
    pub async fn start_on(
        databases: Databases,
        program: &'static str,
        replicas: usize,
        more: &[(&str, &str)],
    ) -> Self {
        let auth_uri = databases.auth_uri();
        let Databases { mongo, postgres } = &databases;
        let mail = tempfile::tempdir().expect("a folder can be made");
        let flowise = StandInFlowise::start(&Options {
            usual: Behaviour {
                token_delay_ms: Some(2),
                ..Behaviour::default()
            },
            ..Options::default()
        });
        let flowise = flowise.expect("the stand-in can listen");

        let auth = Addresses::new(replicas).await;
        let accounting = Addresses::new(replicas).await;
        let proxy = Addresses::new(replicas).await;
        let mut common = pairs(&[
            ("HOST", "127.0.0.1"),
            ("WORKERS", "1"),
            ("SHUTDOWN_DELAY_SECS", "0"),
            ("SHUTDOWN_GRACE_SECS", "20"),
            ("JWT_ACCESS_SECRET", ACCESS_SECRET),
            ("SERVICE_JWT_SECRET", SERVICE_SECRET),
            ("TRUSTED_PROXIES", "127.0.0.0/8"),
            ("EXTERNAL_AUTH_URL", &auth.url()),
            ("ACCOUNTING_SERVICE_URL", &accounting.url()),
        ]);
        common.extend(pairs(more));
        let with = |own: &[(&str, &str)]| [common.clone(), pairs(own)].concat();
        let auth = auth.service(
            "auth-service",
            with(&[
                ("MONGODB_URI", &auth_uri),
                ("JWT_REFRESH_SECRET", REFRESH_SECRET),
                ("BOOTSTRAP_ADMIN_USERNAME", ADMIN.0),
                ("BOOTSTRAP_ADMIN_EMAIL", ADMIN.1),
                ("BOOTSTRAP_ADMIN_PASSWORD", ADMIN.2),
                ("PROXY_SERVICE_URL", &proxy.url()),
                ("MAIL_DIR", &mail.path().display().to_string()),
            ]),
        );
        let accounting = accounting.service(
            "accounting-service",
            with(&[("DATABASE_URL", &postgres.url), ("DB_POOL_MAX", "4")]),
        );
        let proxy = proxy.service(
            "proxy-service",
            with(&[
                ("MONGODB_URI", &mongo.uri),
                ("MONGODB_DATABASE_NAME", &mongo.name),
                ("FLOWISE_API_URL", &flowise.url()),
                ("ENABLE_CHATFLOW_SYNC", "false"),
            ]),
        );
        let mut fleet = Self {
            program,
            auth,
            accounting,
            proxy,
            flowise,
            databases,
            mail,
        };
        for service in [&mut fleet.auth, &mut fleet.accounting, &mut fleet.proxy] {
            for index in 0..replicas {
                service.start(program, index).await;
            }
        }
        fleet
    }

    /// The newest mail to this address that holds this text, once there is one.
    pub async fn mail_to(&self, address: &str, text: &str) -> String {
        let find = || mailbox::find(self.mail.path(), address, text);
        until("the mail arrives", async || find().is_some()).await;
        find().expect("it has arrived")
    }

    /// Where a gateway finds the services.
    pub fn behind(&self) -> Behind {
        Behind {
            auth: self.auth.addresses.clone(),
            proxy: self.proxy.addresses.clone(),
            accounting: self.accounting.addresses.clone(),
        }
    }

    /// Stops a replica as SIGTERM does, and waits until it has ended.
    pub async fn stop(service: &mut Service, index: usize) {
        let replica = service.replicas[index].take().expect("the replica runs");
        replica.terminate().await;
    }

    /// Starts a replica that was stopped.
    pub async fn restart(program: &'static str, service: &mut Service, index: usize) {
        service.start(program, index).await;
    }

    /// The services with the program that starts them.
    pub fn services(&mut self) -> (&'static str, [&mut Service; 3]) {
        (
            self.program,
            [&mut self.auth, &mut self.accounting, &mut self.proxy],
        )
    }

    /// Stops everything, and leaves what it kept.
    pub async fn stop_all(mut self) -> Databases {
        for service in [&mut self.proxy, &mut self.accounting, &mut self.auth] {
            for index in 0..service.replicas.len() {
                Self::stop(service, index).await;
            }
        }
        self.databases
    }

    /// What the ledger's invariants say.
    pub async fn verify_ledger(&self) -> Result<(), String> {
        let url = secrecy::SecretString::from(self.databases.postgres.url.as_str());
        let mut report = Vec::new();
        let holds = accounting_service::verify::verify(&url, &mut report).await;
        if holds.expect("the ledger can be read") {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&report).into_owned())
        }
    }
}

impl Service {
    /// A client of one replica, without a token.
    pub fn client(&self, index: usize) -> Client {
        Client::new(format!("http://{}", self.addresses[index]))
    }

    async fn start(&mut self, program: &str, index: usize) {
        let process = Process::start_at(self.addresses[index], program, self.name, &self.variables).await;
        let url = format!("http://{}/readyz", self.addresses[index]);
        until("the replica is ready", async || {
            reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        self.replicas[index] = Some(process);
    }
}

/// Waits for a condition; a test that waits in vain fails with `what`.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "in vain: {what}");
}

/// Where the replicas of a service will be, and one address for all of them.
struct Addresses {
    replicas: Vec<SocketAddr>,
    shared: SocketAddr,
}

impl Addresses {
    async fn new(count: usize) -> Self {
        let replicas: Vec<_> = (0..count).map(|_| free_address()).collect();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let shared = listener.local_addr().expect("it is bound");
        tokio::spawn(spread(listener, replicas.clone()));
        Self { replicas, shared }
    }

    fn url(&self) -> String {
        format!("http://{}", self.shared)
    }

    fn service(self, name: &'static str, variables: Vec<(String, String)>) -> Service {
        Service {
            name,
            replicas: self.replicas.iter().map(|_| None).collect(),
            addresses: self.replicas,
            variables,
        }
    }
}

/// What a name with several addresses does: the next replica that takes the connection has it.
async fn spread(listener: TcpListener, replicas: Vec<SocketAddr>) {
    let turn = Arc::new(AtomicUsize::new(0));
    while let Ok((mut client, _)) = listener.accept().await {
        let (replicas, turn) = (replicas.clone(), Arc::clone(&turn));
        tokio::spawn(async move {
            let first = turn.fetch_add(1, Ordering::Relaxed);
            for offset in 0..replicas.len() {
                let replica = replicas[(first + offset) % replicas.len()];
                if let Ok(mut server) = TcpStream::connect(replica).await {
                    // A connection that breaks is for its two ends to notice.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    return;
                }
            }
        });
    }
}

/// A person, behind a gateway or in front of the services themselves.
#[derive(Clone, Debug)]
pub struct Guest {
    /// auth-service, with the token.
    pub auth: Client,
    /// accounting-service, with the token.
    pub accounting: Client,
    /// proxy-service, with the token.
    pub proxy: Client,
    /// What continues the session.
    pub refresh_token: String,
}

impl Guest {
    /// Signs in; the three clients may be one gateway's.
    pub async fn log_in(
        auth: &Client,
        accounting: &Client,
        proxy: &Client,
        name: &str,
        password: &str,
    ) -> Self {
        let body = json!({ "username": name, "password": password });
        let answer = auth.post("/api/auth/login", &body).await.expect(200);
        let text = |member: &Value| member.as_str().expect("a text").to_owned();
        let token = text(&answer.body["accessToken"]);
        Self {
            auth: auth.with_token(&token),
            accounting: accounting.with_token(&token),
            proxy: proxy.with_token(&token),
            refresh_token: text(&answer.body["refreshToken"]),
        }
    }

    /// As the administrator: reads the chatflows, and makes somebody with credits who may use the echoing one.
    pub async fn admits(&self, name: &str, credits: i64) -> Self {
        let sync = self.proxy.post("/api/v1/admin/chatflows/sync", &json!({})).await;
        sync.expect(200);
        let email = format!("{name}@example.com");
        let user =
            json!({ "username": name, "email": email, "password": PASSWORD, "skipVerification": true });
        let created = self.auth.post("/api/admin/users", &user).await.expect(201);
        let grant = json!({ "userId": created.body["userId"], "credits": credits });
        self.accounting
            .post("/api/credits/allocate", &grant)
            .await
            .expect(201);
        let path = format!("/api/v1/admin/chatflows/{}/users", chatflow::CHAT);
        self.proxy
            .post(&path, &json!({ "email": email }))
            .await
            .expect(200);
        Self::log_in(&self.auth, &self.accounting, &self.proxy, name, PASSWORD).await
    }

    /// Asks once, with these headers, and returns the status and the whole stream.
    pub async fn chat(&self, headers: &[(&str, &str)]) -> Result<String, String> {
        let question = format!("hello {}", Uuid::new_v4().simple());
        let body = json!({ "chatflow_id": chatflow::CHAT, "sessionId": "", "question": question });
        let mut request = self
            .proxy
            .request(reqwest::Method::POST, "/api/v1/chat/predict/stream/store")
            .json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request
            .send()
            .await
            .map_err(|error| format!("no answer: {error:?}"))?;
        let status = response.status();
        let text = response
            .text()
            .await
            .map_err(|error| format!("cut off: {error:?}"))?;
        if status == 200 && text.contains("\"event\":\"end\"") && !text.contains("\"event\":\"error\"") {
            Ok(text)
        } else {
            Err(format!("{status} {text}"))
        }
    }

    /// What may be spent.
    pub async fn balance(&self) -> i64 {
        let answer = self
            .accounting
            .get("/api/credits/total-balance")
            .await
            .expect(200);
        answer.body["totalCredits"].as_i64().expect("a whole number")
    }
}

fn pairs(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
