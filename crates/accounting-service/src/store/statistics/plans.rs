//! Statistics read sums, and of the log no more than the hours at a period's ends: counted by PostgreSQL itself.

use diesel::OptionalExtension as _;
use diesel_async::{AsyncConnection as _, SimpleAsyncConnection as _};
use secrecy::SecretString;
use test_support::TestPostgres;

use super::*;
use crate::{domain::calendar::Bound, store::migrate};

const USERS: i64 = 100;
/// Rows that the planner may look up at the ends of an index, to know what it holds.
const PROBES: i64 = 20;
/// One record an hour each.
const HOURS: i64 = 24 * 40;

/// The planner is told of every row, once: a sample now and then would give other plans now and then.
const FILL: &str = "
    ALTER TABLE usage_logs SET (autovacuum_enabled = off);
    INSERT INTO user_accounts (user_id, username, role, created_at, updated_at)
    SELECT lpad(to_hex(n), 24, '0'), 'p' || n, 'enduser', now(), now() FROM generate_series(1, 100) n;
    INSERT INTO usage_logs (id, user_id, service, operation, credits, metadata, \"timestamp\")
    SELECT gen_random_uuid(), user_id, 'chat', 'flow-' || (hour % 5), 1, '{}',
           '2026-01-10T00:30:00Z'::timestamptz + hour * interval '1 hour'
    FROM generate_series(0, 24 * 40 - 1) hour, user_accounts ORDER BY hour;
    SET default_statistics_target = 1000;
    ANALYZE";

/// How many rows of the log this connection has read lately.
const ROWS_READ: &str = "
    SELECT (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint AS rows_read
    FROM pg_stat_xact_user_tables WHERE relname = 'usage_logs'";

#[derive(QueryableByName)]
struct Read {
    #[diesel(sql_type = BigInt)]
    rows_read: i64,
}

async fn filled() -> AsyncPgConnection {
    let database = TestPostgres::create("accounting_empty", async |_: &str| {}).await;
    migrate(&SecretString::from(database.url.as_str())).await.unwrap();
    let mut connection = database.connect().await;
    connection.batch_execute(FILL).await.unwrap();
    connection
}

/// What a query answers, and how many rows of the log it reads for it.
async fn read<T>(connection: &mut AsyncPgConnection, query: Bindable<'_>) -> (Vec<T>, i64)
where
    T: QueryableByName<Pg> + Send + 'static,
{
    connection
        .transaction::<_, diesel::result::Error, _>(async |connection| {
            // The counter may still hold what an earlier transaction has read.
            let before: Option<Read> = sql_query(ROWS_READ).get_result(connection).await.optional()?;
            let rows = query.load(connection).await?;
            let after: Option<Read> = sql_query(ROWS_READ).get_result(connection).await.optional()?;
            let count = |read: Option<Read>| read.map_or(0, |read| read.rows_read);
            Ok((rows, count(after) - count(before)))
        })
        .await
        .unwrap()
}

fn period(start: &str, end: &str) -> Period {
    Period::between(Bound::parse(start), Bound::parse(end)).unwrap()
}

#[tokio::test]
async fn whole_days_are_answered_without_the_log_and_cut_days_from_their_hours() {
    let mut connection = filled().await;
    let somebody = UserId::parse(&format!("{:024x}", 7)).unwrap();
    let everybody = Ranking {
        after: None,
        limit: 1_000,
    };
    // From and to, the hours in between, and how many of them have to be read in the log: those of a piece of a day, or
    // those that the piece lacks of a whole one.
    for (start, end, hours, hours_read) in [
        ("", "", HOURS, 0),
        ("2026-01-15", "2026-02-05", 22 * 24, 0),
        (
            "2026-01-15T20:00:00Z",
            "2026-02-05T02:59:59Z",
            20 * 24 + 4 + 3,
            4 + 3,
        ),
        (
            "2026-01-15T03:00:00Z",
            "2026-02-05T21:59:59Z",
            20 * 24 + 21 + 22,
            3 + 2,
        ),
        ("2026-01-15T04:00:00Z", "2026-01-15T21:59:59Z", 18, 4 + 2),
        ("2026-01-15T09:00:00Z", "2026-01-15T11:59:59Z", 3, 3),
    ] {
        let period = period(start, end);

        let (sums, rows) = read(&mut connection, sums_of_user(&somebody, &period)).await;
        let sums = statistics(sums);
        assert_eq!((sums.records, sums.credits), (hours, hours), "{start} to {end}");
        assert_eq!(sums.by_day.values().sum::<i64>(), hours);
        assert!(rows <= hours_read + PROBES, "{start} to {end}, one user: {rows}");

        let (sums, rows) = read(&mut connection, sums_of_all(&period)).await;
        assert_eq!(statistics(sums).credits, hours * USERS, "{start} to {end}");
        assert!(
            rows <= hours_read * USERS + PROBES,
            "{start} to {end}, all users: {rows}"
        );

        let (users, rows) = read::<RankedUser>(&mut connection, ranked(&period, &everybody)).await;
        assert_eq!(users.len(), 100);
        assert!(users.iter().all(|user| user.credits == hours), "{start} to {end}");
        assert!(
            rows <= hours_read * USERS + PROBES,
            "{start} to {end}, ranking: {rows}"
        );
    }
}

#[tokio::test]
async fn the_last_records_are_found_without_reading_the_others() {
    let mut connection = filled().await;
    let somebody = UserId::parse(&format!("{:024x}", 7)).unwrap();
    let period = period("", "");

    let (records, rows) = read::<LoggedUsage>(&mut connection, recent(&somebody, &period)).await;

    assert_eq!(records.len(), 10);
    assert!(records.is_sorted_by(|one, next| one.timestamp > next.timestamp));
    assert!(rows <= 10 + PROBES, "{rows}");
}
