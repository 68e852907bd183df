//! Statistics over a usage log of many rows: how long an administrator and a user wait.

use std::{net::SocketAddr, time::Duration};

use chrono::{Datelike as _, Days, NaiveDate};
use diesel::sql_types::{BigInt, Date};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use system_tests::load::{Caller, Load, run};

use crate::{ledger::now, processes::Stack, table::Table};

/// Days that the log covers, up to today.
const DAYS: u32 = 365;

/// Chatflows that were chatted with.
const CHATFLOWS: i64 = 20;

/// How much there is to be summed up.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// Rows of the usage log.
    pub(crate) rows: i64,
    /// Users they are spread over.
    pub(crate) users: i64,
}

const ACCOUNTS: &str = "
    INSERT INTO user_accounts (user_id, username, role, created_at, updated_at)
    SELECT lpad(to_hex(n), 24, '0'), 'user ' || n, 'enduser', now(), now() FROM generate_series(1, $1) n
    ON CONFLICT DO NOTHING";

/// One day's usage; the roll-ups are kept by the service's own trigger.
const USAGE: &str = "
    INSERT INTO usage_logs (id, user_id, service, operation, credits, metadata, \"timestamp\")
    SELECT gen_random_uuid(), lpad(to_hex(1 + (n * 7919 + $4) % $2), 24, '0'), 'chat', 'flow-' || (n * 31 % $3),
           1 + n % 7, '{\"success\": true}', ($1::timestamp + n * interval '1 day' / $5) AT TIME ZONE 'UTC'
    FROM generate_series(0, $5 - 1) n";

/// Measures every row of this part.
pub(crate) async fn measure(
    stack: &Stack,
    size: Size,
    duration: Duration,
    table: &mut Table,
) -> anyhow::Result<()> {
    let today = chrono::DateTime::from_timestamp(now(), 0)
        .unwrap_or_default()
        .date_naive();
    fill(stack, size, today).await?;
    let admin = stack.admin_token().await?;
    let day = |days: u64| today.checked_sub_days(Days::new(days)).unwrap_or(today);
    let month = today.with_day(1).unwrap_or(today);
    let system = "/api/usage/system-stats";
    let somebody = format!("/api/usage/stats/{:024x}", 7);
    for (label, path) in [
        ("of all, all time", system.to_owned()),
        ("of all, this month", format!("{system}?startDate={month}")),
        (
            "of all, 30 days",
            format!("{system}?startDate={}&endDate={today}", day(30)),
        ),
        (
            "of all, 100 days cut at both ends",
            format!(
                "{system}?startDate={}T09:30:00Z&endDate={}T16:45:00Z",
                day(150),
                day(50)
            ),
        ),
        ("of one user, all time", somebody.clone()),
        (
            "of one user, 100 days cut at both ends",
            format!(
                "{somebody}?startDate={}T09:30:00Z&endDate={}T16:45:00Z",
                day(150),
                day(50)
            ),
        ),
    ] {
        let load = Load {
            connections: 1,
            duration,
        };
        let report = run(stack.accounting, load, |_| {
            Asking::new(stack.accounting, &path, &admin)
        })
        .await?;
        table.add(&format!("statistics {label}"), &report, None);
    }
    table.note(format!(
        "statistics: {} rows of usage by {} users over {DAYS} days; to be below 50 ms",
        size.rows, size.users
    ));
    Ok(())
}

async fn fill(stack: &Stack, size: Size, today: NaiveDate) -> anyhow::Result<()> {
    let mut connection = AsyncPgConnection::establish(stack.accounting_database.as_str()).await?;
    diesel::sql_query(ACCOUNTS)
        .bind::<BigInt, _>(size.users)
        .execute(&mut connection)
        .await?;
    let per_day = (size.rows / i64::from(DAYS)).max(1);
    let first = today
        .checked_sub_days(Days::new(u64::from(DAYS) - 1))
        .unwrap_or(today);
    for day in first.iter_days().take_while(|day| *day <= today) {
        diesel::sql_query(USAGE)
            .bind::<Date, _>(day)
            .bind::<BigInt, _>(size.users)
            .bind::<BigInt, _>(CHATFLOWS)
            .bind::<BigInt, _>(i64::from(day.ordinal()) * 13)
            .bind::<BigInt, _>(per_day)
            .execute(&mut connection)
            .await?;
    }
    connection.batch_execute("VACUUM ANALYZE").await?;
    Ok(())
}

struct Asking {
    request: Vec<u8>,
}

impl Asking {
    fn new(address: SocketAddr, path: &str, token: &str) -> Self {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
        Self {
            request: head.into_bytes(),
        }
    }
}

impl Caller for Asking {
    fn request(&mut self) -> Option<Vec<u8>> {
        Some(self.request.clone())
    }

    fn is_success(&mut self, status: u16, _: &[u8]) -> bool {
        status == 200
    }
}
