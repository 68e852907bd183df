//! Ledger commands (hold, capture, deduct) over HTTP, beside pgbench doing one durable UPDATE and INSERT per transaction
//! on the same server.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::Utc;
use common_jwt::{
    AUDIENCE_DEFAULT, AccessClaims, ISSUER_DEFAULT, Role, ServiceClaims, Signer, SigningKey, TokenType,
};
use serde_json::json;
use system_tests::load::{Caller, Load, run};
use url::Url;
use uuid::Uuid;

use crate::{pgbench::Pgbench, processes::Stack, table::Table, turns::post};

/// Accounts of the wide rows.
const ACCOUNTS: usize = 10_000;

/// Of ten commands so many go to one account of ten, where the load is skewed.
const HOT_OF_TEN: usize = 9;

/// What each account may spend: more than a run can.
const CREDITS: i64 = 100_000_000;

/// Measures every row of this part.
pub(crate) async fn measure(
    stack: &Stack,
    postgres_programs: &Path,
    postgres: &Url,
    clients: &[usize],
    duration: Duration,
    table: &mut Table,
) -> anyhow::Result<()> {
    fill_accounts(stack).await?;
    introduce_accounts(stack).await?;
    let tokens = Tokens::sign(stack)?;
    let pgbench = Pgbench {
        stack,
        programs: postgres_programs,
        postgres,
        duration,
    };
    for spread in [Spread::One, Spread::Even, Spread::Skewed] {
        for &connections in clients {
            let label = format!("{}, {connections} clients", spread.label());
            let baseline = match pgbench.run(&spread.script(), ACCOUNTS, connections).await {
                Ok(run) => {
                    table.add_measured(&format!("pgbench, {label}"), &run);
                    Some(run.rate)
                }
                Err(error) => {
                    table.note(format!("pgbench could not be measured: {error:#}"));
                    None
                }
            };
            let load = Load {
                connections,
                duration,
            };
            let commands = run(stack.accounting, load, |index| {
                Commands::new(stack, &tokens, index, Choice::Among(spread))
            })
            .await?;
            table.add(
                &format!("commands, {label}"),
                &commands,
                baseline.map(|rate| ("pgbench", rate)),
            );
        }
    }
    Ok(())
}

/// Which accounts commands go to.
#[derive(Clone, Copy)]
enum Spread {
    One,
    Even,
    Skewed,
}

impl Spread {
    const fn label(self) -> &'static str {
        match self {
            Self::One => "one account",
            Self::Even => "10,000 accounts",
            Self::Skewed => "90/10 skew",
        }
    }

    /// The account that the `turn`th draw of a sequence without order names.
    fn account(self, turn: usize) -> usize {
        let draw = turn.wrapping_mul(104_729);
        match self {
            Self::One => 0,
            Self::Even => draw % ACCOUNTS,
            Self::Skewed if turn % 10 < HOT_OF_TEN => draw % (ACCOUNTS / 10),
            Self::Skewed => ACCOUNTS / 10 + draw % (ACCOUNTS - ACCOUNTS / 10),
        }
    }

    /// The same in the words of pgbench.
    fn script(self) -> String {
        let hot = ACCOUNTS / 10;
        match self {
            Self::One => "\\set id 1\n".to_owned(),
            Self::Even => format!("\\set id random(1, {ACCOUNTS})\n"),
            Self::Skewed => format!(
                "\\set ten random(1, 10)\n\\set id case when :ten <= {HOT_OF_TEN} then random(1, {hot}) \
                 else random({}, {ACCOUNTS}) end\n",
                hot + 1
            ),
        }
    }
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
    let tokens = Tokens::sign(stack)?;
    let load = Load {
        connections: 32,
        duration: Duration::from_mins(2),
    };
    let next = Arc::new(AtomicUsize::new(0));
    let report = run(stack.accounting, load, |_| {
        Commands::new(stack, &tokens, 0, Choice::EachOnce(Arc::clone(&next)))
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

/// What speaks for whom: the proxy's token, and one of each account's owner.
#[derive(Clone)]
struct Tokens {
    service: Arc<str>,
    people: Arc<[String]>,
}

impl Tokens {
    fn sign(stack: &Stack) -> anyhow::Result<Self> {
        let people: anyhow::Result<Vec<_>> = (0..ACCOUNTS).map(|index| user_token(stack, index)).collect();
        Ok(Self {
            service: service_token(stack)?.into(),
            people: people?.into(),
        })
    }
}

/// A hold, its capture, a deduct, the next hold ...: the commands of a turn as the proxy sends them, and one of the
/// account's owner.
struct Commands {
    address: SocketAddr,
    tokens: Tokens,
    turn: usize,
    choice: Choice,
    account: usize,
    step: Step,
}

/// What comes next.
enum Step {
    Hold,
    Capture { session_id: String },
    Deduct,
}

/// Whose turn it is.
enum Choice {
    /// As the spread says.
    Among(Spread),
    /// Every account once, shared with the other connections.
    EachOnce(Arc<AtomicUsize>),
}

impl Choice {
    fn next(&self, turn: usize) -> Option<usize> {
        match self {
            Self::Among(spread) => Some(spread.account(turn)),
            Self::EachOnce(next) => {
                Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < ACCOUNTS)
            }
        }
    }
}

impl Commands {
    fn new(stack: &Stack, tokens: &Tokens, index: usize, choice: Choice) -> Self {
        Self {
            address: stack.accounting,
            tokens: tokens.clone(),
            turn: index * 7919,
            choice,
            account: 0,
            step: Step::Hold,
        }
    }

    fn hold(&mut self) -> Option<Vec<u8>> {
        self.turn += 1;
        self.account = self.choice.next(self.turn)?;
        let (session_id, user_id) = (Uuid::new_v4().to_string(), account(self.account));
        let body = json!({
            "sessionId": session_id, "userId": user_id, "username": "bench", "email": format!("{user_id}@example.com"),
            "role": "enduser", "modelId": "bench", "credits": 1,
        });
        self.step = Step::Capture { session_id };
        Some(self.post("/api/streaming-sessions/initialize", &body))
    }

    fn capture(&mut self, session_id: &str) -> Vec<u8> {
        self.step = Step::Deduct;
        let body = json!({
            "sessionId": session_id, "userId": account(self.account), "actualCredits": 1, "success": true,
            "usage": { "service": "chat", "operation": "bench", "metadata": {} },
        });
        self.post("/api/streaming-sessions/finalize", &body)
    }

    fn post(&self, path: &str, body: &serde_json::Value) -> Vec<u8> {
        post(self.address, path, Some(&self.tokens.service), body)
    }
}

impl Caller for Commands {
    fn request(&mut self) -> Option<Vec<u8>> {
        match std::mem::replace(&mut self.step, Step::Hold) {
            Step::Hold => self.hold(),
            Step::Capture { session_id } => Some(self.capture(&session_id)),
            Step::Deduct => {
                let token = self.tokens.people.get(self.account)?;
                let body = json!({ "credits": 1 });
                Some(post(self.address, "/api/credits/deduct", Some(token), &body))
            }
        }
    }

    fn is_success(&mut self, status: u16, _: &[u8]) -> bool {
        let success = matches!(status, 200 | 201);
        if !success {
            self.step = Step::Hold;
        }
        success
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
        exp: now + 3_600,
        kind: TokenType::Service,
    })?)
}

fn user_token(stack: &Stack, index: usize) -> anyhow::Result<String> {
    let now = now();
    let signer = Signer::new(SigningKey::hs256(stack.access_secret.as_bytes()));
    Ok(signer.access(&AccessClaims {
        iss: ISSUER_DEFAULT.to_owned(),
        aud: AUDIENCE_DEFAULT.into(),
        sub: account(index),
        sid: Uuid::new_v4().to_string(),
        jti: Uuid::new_v4().to_string(),
        iat: now,
        nbf: now,
        exp: now + 3_600,
        kind: TokenType::Access,
        username: "bench".to_owned(),
        email: format!("{}@example.com", account(index)),
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
