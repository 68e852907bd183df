//! Ledger commands over HTTP, beside pgbench doing one durable UPDATE and INSERT per transaction on the same server.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use chrono::Utc;
use common_jwt::{
    AUDIENCE_DEFAULT, AccessClaims, ISSUER_DEFAULT, Role, ServiceClaims, Signer, SigningKey, TokenType,
};
use serde_json::json;
use system_tests::load::{Caller, Load, run};
use tokio::process::Command;
use url::Url;
use uuid::Uuid;

use crate::{
    processes::Stack,
    table::Table,
    turns::{host_and_port, post},
};

/// Clients at once, for us and for pgbench.
const CLIENTS: usize = 64;

/// Accounts of the wide rows.
const ACCOUNTS: usize = 10_000;

/// What each account may spend: more than a run can.
const CREDITS: i64 = 100_000_000;

/// Measures every row of this part.
pub(crate) async fn measure(
    stack: &Stack,
    postgres_programs: &Path,
    postgres: &Url,
    duration: Duration,
    table: &mut Table,
) -> anyhow::Result<()> {
    fill_accounts(stack).await?;
    introduce_accounts(stack).await?;
    let load = Load {
        connections: CLIENTS,
        duration,
    };
    for (label, accounts) in [("one account", 1), ("10,000 accounts", ACCOUNTS)] {
        let baseline = match pgbench(stack, postgres_programs, postgres, accounts, duration).await {
            Ok(rate) => {
                table.add_rate(&format!("pgbench UPDATE+INSERT, {label}"), rate);
                Some(rate)
            }
            Err(error) => {
                table.note(format!("pgbench could not be measured: {error:#}"));
                None
            }
        };
        let token = service_token(stack)?;
        let holds = run(stack.accounting, load, |index| {
            Holds::new(stack, &token, index, Choice::Among(accounts))
        })
        .await?;
        let what = format!("holds and captures over HTTP, {label}");
        table.add(&what, &holds, baseline.map(|rate| ("pgbench", rate)));
    }
    let token = user_token(stack)?;
    let deducts = run(stack.accounting, load, |_| Deducts::new(stack.accounting, &token)).await?;
    table.add("deducts over HTTP, one account", &deducts, None);
    Ok(())
}

/// Gives every account its credits, a few at a time.
async fn fill_accounts(stack: &Stack) -> anyhow::Result<()> {
    let admin = stack.admin_token().await?;
    let load = Load {
        connections: 32,
        duration: Duration::from_mins(2),
    };
    let shared = Arc::new(AtomicUsize::new(0));
    let report = run(stack.accounting, load, |_| Allocations {
        address: stack.accounting,
        token: admin.clone(),
        next: shared.clone(),
    });
    let report = report.await?;
    anyhow::ensure!(
        report.succeeded == u64::try_from(ACCOUNTS)?,
        "{:?}",
        report.first_failure
    );
    Ok(())
}

/// Lets every account be named once: a name that is new is written down, and that is not what is measured.
async fn introduce_accounts(stack: &Stack) -> anyhow::Result<()> {
    let token = service_token(stack)?;
    let load = Load {
        connections: 32,
        duration: Duration::from_mins(2),
    };
    let next = Arc::new(AtomicUsize::new(0));
    let report = run(stack.accounting, load, |_| {
        Holds::new(stack, &token, 0, Choice::EachOnce(Arc::clone(&next)))
    });
    let report = report.await?;
    anyhow::ensure!(report.failed == 0, "{:?}", report.first_failure);
    Ok(())
}

fn account(index: usize) -> String {
    format!("{index:024x}")
}

struct Allocations {
    address: SocketAddr,
    token: String,
    next: Arc<AtomicUsize>,
}

impl Caller for Allocations {
    fn request(&mut self) -> Option<Vec<u8>> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "userId": account(index), "credits": CREDITS });
        (index < ACCOUNTS).then(|| post(self.address, "/api/credits/allocate", Some(&self.token), &body))
    }

    fn is_success(&mut self, status: u16, _: &[u8]) -> bool {
        status == 201
    }
}

/// A hold, its capture, the next hold ...: two commands a turn, as the proxy sends them.
struct Holds {
    address: SocketAddr,
    token: String,
    user_id: usize,
    choice: Choice,
    open: Option<String>,
}

/// Whose turn it is.
enum Choice {
    /// One of so many accounts, in an order that repeats late.
    Among(usize),
    /// Every account once, shared with the other connections.
    EachOnce(Arc<AtomicUsize>),
}

impl Choice {
    fn next(&self, last: usize) -> Option<usize> {
        match self {
            Self::Among(accounts) => Some((last + 104_729) % accounts),
            Self::EachOnce(next) => {
                Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < ACCOUNTS)
            }
        }
    }
}

impl Holds {
    fn new(stack: &Stack, token: &str, index: usize, choice: Choice) -> Self {
        Self {
            address: stack.accounting,
            token: token.to_owned(),
            user_id: index * 7919,
            choice,
            open: None,
        }
    }
}

impl Caller for Holds {
    fn request(&mut self) -> Option<Vec<u8>> {
        if let Some(session_id) = self.open.take() {
            let user_id = account(self.user_id);
            let body = json!({
                "sessionId": session_id, "userId": user_id, "actualCredits": 1, "success": true,
                "usage": { "service": "chat", "operation": "bench", "metadata": {} },
            });
            return Some(post(
                self.address,
                "/api/streaming-sessions/finalize",
                Some(&self.token),
                &body,
            ));
        }
        self.user_id = self.choice.next(self.user_id)?;
        let (session_id, user_id) = (Uuid::new_v4().to_string(), account(self.user_id));
        let body = json!({
            "sessionId": session_id, "userId": user_id, "username": "bench", "email": format!("{user_id}@example.com"),
            "role": "enduser", "modelId": "bench", "credits": 1,
        });
        self.open = Some(session_id);
        Some(post(
            self.address,
            "/api/streaming-sessions/initialize",
            Some(&self.token),
            &body,
        ))
    }

    fn is_success(&mut self, status: u16, _: &[u8]) -> bool {
        let success = matches!(status, 200 | 201);
        if !success {
            self.open = None;
        }
        success
    }
}

struct Deducts {
    request: Vec<u8>,
}

impl Deducts {
    fn new(address: SocketAddr, token: &str) -> Self {
        Self {
            request: post(
                address,
                "/api/credits/deduct",
                Some(token),
                &json!({ "credits": 1 }),
            ),
        }
    }
}

impl Caller for Deducts {
    fn request(&mut self) -> Option<Vec<u8>> {
        Some(self.request.clone())
    }

    fn is_success(&mut self, status: u16, _: &[u8]) -> bool {
        status == 200
    }
}

/// Good for the longest row; accounting reads only that it is signed, in time and for it.
fn service_token(stack: &Stack) -> anyhow::Result<String> {
    let now = now();
    let signer = Signer::new(SigningKey::hs256(stack.service_secret.as_bytes()));
    Ok(signer.service(&ServiceClaims {
        aud: "accounting-service".into(),
        sub: "proxy-service".to_owned(),
        iat: now,
        exp: now + 600,
        kind: TokenType::Service,
    })?)
}

fn user_token(stack: &Stack) -> anyhow::Result<String> {
    let now = now();
    let signer = Signer::new(SigningKey::hs256(stack.access_secret.as_bytes()));
    Ok(signer.access(&AccessClaims {
        iss: ISSUER_DEFAULT.to_owned(),
        aud: AUDIENCE_DEFAULT.into(),
        sub: account(0),
        sid: Uuid::new_v4().to_string(),
        jti: Uuid::new_v4().to_string(),
        iat: now,
        nbf: now,
        exp: now + 600,
        kind: TokenType::Access,
        username: "bench".to_owned(),
        email: "bench@example.com".to_owned(),
        role: Role::EndUser,
        must_change_password: false,
    })?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark has no clock but the machine's"
)]
pub(crate) fn now() -> i64 {
    Utc::now().timestamp()
}

/// Transactions per second of pgbench with one durable UPDATE and INSERT each.
async fn pgbench(
    stack: &Stack,
    programs: &Path,
    postgres: &Url,
    accounts: usize,
    duration: Duration,
) -> anyhow::Result<f64> {
    let (host, port) = host_and_port(postgres);
    let script = stack.work.join("pgbench.sql");
    std::fs::write(
        &script,
        "\\set id random(1, :accounts)\nBEGIN;\nUPDATE bench_accounts SET balance = balance - 1 WHERE id = :id;\n\
         INSERT INTO bench_ledger (account_id, amount) VALUES (:id, -1);\nCOMMIT;\n",
    )?;
    let setup = format!(
        "DROP TABLE IF EXISTS bench_accounts, bench_ledger; \
         CREATE TABLE bench_accounts (id bigint PRIMARY KEY, balance bigint NOT NULL); \
         CREATE TABLE bench_ledger (id bigserial PRIMARY KEY, account_id bigint NOT NULL, amount bigint NOT NULL, \
         created_at timestamptz NOT NULL DEFAULT now()); \
         INSERT INTO bench_accounts SELECT g, 1000000000 FROM generate_series(1, {ACCOUNTS}) g; \
         ANALYZE bench_accounts;"
    );
    {
        use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
        let mut connection = AsyncPgConnection::establish(postgres.as_str()).await?;
        connection.batch_execute(&setup).await?;
    }
    let output = Command::new(programs.join("pgbench"))
        .args([
            "-h", &host, "-p", &port, "-U", "postgres", "-n", "-M", "prepared", "-j", "2",
        ])
        .args(["-c", &CLIENTS.to_string(), "-T", &duration.as_secs().to_string()])
        .args(["-D", &format!("accounts={accounts}"), "-f"])
        .arg(&script)
        .arg(postgres.path().trim_start_matches('/'))
        .output()
        .await
        .context("pgbench is not installed")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .find(|line| line.starts_with("tps = "))
        .context("pgbench printed no rate")?;
    let rate = line
        .trim_start_matches("tps = ")
        .split(' ')
        .next()
        .unwrap_or_default();
    Ok(rate.parse()?)
}
