//! auth-service: pages of a million users, log-ins beside what bcrypt itself costs, refreshes, and what a flood of
//! log-ins does to everybody else.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use bson::{Document, doc, oid::ObjectId};
use mongodb::{Client, Collection};
use serde_json::{Value, json};
use system_tests::load::{Caller, Load, run};
use tokio::time::Instant;

use crate::{
    processes::Stack,
    table::{Measured, Table},
    turns::post,
};

/// Users written in one round trip.
const BATCH: usize = 10_000;

/// Clients at once where one waits for the other.
const CLIENTS: usize = 16;

/// Everybody's password, and its cost: the default.
const PASSWORD: &str = "seven green kites over Lantau";
const COST: u32 = 10;

/// How far into the list the deep page lies: nine tenths.
const DEEP: (usize, usize) = (9, 10);

/// Measures every row of this part, with `users` users in the database.
pub(crate) async fn measure(
    stack: &Stack,
    users: usize,
    duration: Duration,
    table: &mut Table,
) -> anyhow::Result<()> {
    if let Some(resident) = resident_kib(stack)? {
        table.note(format!(
            "auth-service, idle: {} MiB resident (aim: below 25)",
            resident / 1_024
        ));
    }
    let client = Client::with_uri_str(&stack.auth_mongodb).await?;
    let database = client
        .default_database()
        .context("the address names a database")?;
    log_ins(stack, &database.collection("users"), duration, table).await?;
    pages(stack, &database.collection("users"), users, duration, table).await
}

/// Log-ins, refreshes, and one route beside a flood of log-ins.
async fn log_ins(
    stack: &Stack,
    people: &Collection<Document>,
    duration: Duration,
    table: &mut Table,
) -> anyhow::Result<()> {
    let hash = tokio::task::spawn_blocking(|| bcrypt::hash(PASSWORD, COST)).await??;
    let people_docs = (0..CLIENTS).map(|number| person(&format!("client{number:02}"), &hash, "enduser", 0));
    people.insert_many(people_docs).await?;
    let bare = bare_bcrypt(hash, duration).await?;
    let alone = Measured {
        rate: bare,
        latencies: None,
    };
    table.add_measured("bcrypt alone, one thread", &alone);
    let load = Load {
        connections: CLIENTS,
        duration,
    };
    let log_ins = run(stack.auth, load, |index| Repeat::log_in(stack, index)).await?;
    table.add("log-ins", &log_ins, Some(("bcrypt alone", bare)));
    let mut refreshers = Vec::new();
    for index in 0..CLIENTS {
        let body = json!({ "username": format!("client{index:02}"), "password": PASSWORD });
        let answer = stack.call(stack.auth, "/api/auth/login", None, &body).await?;
        refreshers.push(
            answer["refreshToken"]
                .as_str()
                .context("no refresh token")?
                .to_owned(),
        );
    }
    let exchanges = run(stack.auth, load, |index| Refreshes {
        address: stack.auth,
        token: refreshers.get(index).cloned().unwrap_or_default(),
    });
    table.add("refreshes, one device each", &exchanges.await?, None);

    let one = Load {
        connections: 4,
        duration,
    };
    let token = stack.admin_token().await?;
    let profile = |_| Repeat::get(stack.auth, "/api/profile", &token);
    let idle = run(stack.auth, one, profile).await?;
    table.add("GET /api/profile, idle", &idle, None);
    let flood = run(stack.auth, load, |index| Repeat::log_in(stack, index));
    let (_, flooded) = tokio::try_join!(flood, run(stack.auth, one, profile))?;
    table.add("GET /api/profile, hash pool full", &flooded, None);
    let times = flooded.percentile(99).as_secs_f64() / idle.percentile(99).as_secs_f64();
    table.note(format!(
        "GET /api/profile beside a flood of log-ins: p99 {times:.1} x idle (aim: at most 3)"
    ));
    Ok(())
}

/// Pages of a list of so many.
async fn pages(
    stack: &Stack,
    people: &Collection<Document>,
    users: usize,
    duration: Duration,
    table: &mut Table,
) -> anyhow::Result<()> {
    let deep = fill(people, users).await?;
    let token = stack.admin_token().await?;
    let load = Load {
        connections: 2,
        duration,
    };
    let cursor = cursor_after(stack, &token, deep).await?;
    for (what, query) in [
        ("first page", "limit=50".to_owned()),
        ("deep page", format!("limit=50&cursor={cursor}")),
        ("names that begin so", "limit=50&q=pupil0042".to_owned()),
        ("one role", "limit=50&role=supervisor".to_owned()),
        ("one state", "limit=50&state=disabled".to_owned()),
    ] {
        let path = format!("/api/admin/users?{query}");
        let report = run(stack.auth, load, |_| Repeat::get(stack.auth, &path, &token)).await?;
        table.add(&format!("{users} users, {what}"), &report, None);
    }
    table.note("pages of users: each p99 is to stay below 30 ms".to_owned());
    Ok(())
}

/// Adds so many users; returns the id of the one that lies deep in the list.
async fn fill(people: &Collection<Document>, users: usize) -> anyhow::Result<ObjectId> {
    let mut deep = ObjectId::new();
    for start in (0..users).step_by(BATCH) {
        let batch: Vec<_> = (start..users.min(start + BATCH))
            .map(|number| {
                let role = if number % 500 == 0 {
                    "supervisor"
                } else {
                    "enduser"
                };
                person(&format!("pupil{number:07}"), "!", role, number)
            })
            .collect();
        if start <= users / DEEP.1 * DEEP.0 {
            deep = batch
                .first()
                .context("a batch is not empty")?
                .get_object_id("_id")?;
        }
        people.insert_many(batch).ordered(false).await?;
    }
    Ok(deep)
}

fn person(username: &str, hash: &str, role: &str, number: usize) -> Document {
    let now = bson::DateTime::now();
    let mut user = doc! {
        "_id": ObjectId::new(), "username": username, "email": format!("{username}@example.com"), "password": hash,
        "isVerified": true, "role": role, "createdAt": now, "updatedAt": now, "__v": 0,
    };
    if number % 1_000 == 7 {
        user.insert("isDisabled", true);
    }
    user
}

/// A cursor that leads past this user: the service's own, with another place in it.
async fn cursor_after(stack: &Stack, token: &str, id: ObjectId) -> anyhow::Result<String> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    let client = reqwest::Client::builder()
        .timeout(Duration::from_mins(1))
        .build()?;
    let url = format!("http://{}/api/admin/users?limit=1", stack.auth);
    let page: Value = client.get(url).bearer_auth(token).send().await?.json().await?;
    let cursor = URL_SAFE_NO_PAD.decode(page["nextCursor"].as_str().context("no cursor")?)?;
    let mut cursor: Value = serde_json::from_slice(&cursor)?;
    cursor[2]["i"] = json!(id.to_hex());
    Ok(URL_SAFE_NO_PAD.encode(cursor.to_string()))
}

/// Passwords per second that one thread checks when it does nothing else.
async fn bare_bcrypt(hash: String, duration: Duration) -> anyhow::Result<f64> {
    tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let mut checked = 0_u32;
        while started.elapsed() < duration {
            anyhow::ensure!(bcrypt::verify(PASSWORD, &hash)?, "the password does not match");
            checked += 1;
        }
        Ok(f64::from(checked) / started.elapsed().as_secs_f64())
    })
    .await?
}

/// What the program holds in memory, where the system tells.
fn resident_kib(stack: &Stack) -> anyhow::Result<Option<u64>> {
    let Some(id) = stack.auth_process else {
        return Ok(None);
    };
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok()))
}

/// The same request again and again.
struct Repeat {
    request: Vec<u8>,
}

impl Repeat {
    fn get(address: SocketAddr, path: &str, token: &str) -> Self {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
        Self {
            request: head.into_bytes(),
        }
    }

    fn log_in(stack: &Stack, index: usize) -> Self {
        let body = json!({ "username": format!("client{index:02}"), "password": PASSWORD });
        Self {
            request: post(stack.auth, "/api/auth/login", None, &body),
        }
    }
}

impl Caller for Repeat {
    fn request(&mut self) -> Option<Vec<u8>> {
        Some(self.request.clone())
    }

    fn is_success(&mut self, status: u16, _: &[u8]) -> bool {
        status == 200
    }
}

/// One device that goes on exchanging its token.
struct Refreshes {
    address: SocketAddr,
    token: String,
}

impl Caller for Refreshes {
    fn request(&mut self) -> Option<Vec<u8>> {
        let body = json!({ "refreshToken": self.token });
        Some(post(self.address, "/api/auth/refresh", None, &body))
    }

    fn is_success(&mut self, status: u16, body: &[u8]) -> bool {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        match answer["refreshToken"].as_str() {
            Some(token) if status == 200 => token.clone_into(&mut self.token),
            _ => return false,
        }
        true
    }
}
