//! Many at once: nobody overspends, nothing is lost, and `verify` would notice.

use common_jwt::Role;
use futures_util::{StreamExt as _, future::join_all, stream};
use serde_json::json;
use test_support::Person;

use crate::support::TestApp;

const INITIALIZE: &str = "/api/streaming-sessions/initialize";
const FINALIZE: &str = "/api/streaming-sessions/finalize";
const DEDUCT: &str = "/api/credits/deduct";

#[actix_web::test]
async fn two_hundred_holds_of_ten_race_for_five_hundred_credits_at_two_replicas() {
    let app = TestApp::spawn().await;
    let replica = app.replica().await;
    let alice = app.person_with(500).await;
    let proxies = [app.proxy(), replica.proxy()];

    let holds = (0..200).map(|index: usize| {
        let proxy = &proxies[index % 2];
        let body =
            json!({ "sessionId": format!("s-{index}"), "modelId": "m", "userId": alice.id, "credits": 10 });
        async move { proxy.post(INITIALIZE, &body).await }
    });
    let answers = join_all(holds).await;

    let (granted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(granted.len(), 50, "exactly as many as the balance covers");
    for answer in refused {
        answer.expect_problem(402, "insufficient_credits");
    }
    assert_eq!(app.balance(&alice).await, 0);
    app.assert_sound().await;

    let settled = granted.iter().enumerate().map(|(index, answer)| {
        let proxy = &proxies[index % 2];
        let body = json!({ "sessionId": answer.body["sessionId"], "actualCredits": 7 });
        async move { proxy.post(FINALIZE, &body).await }
    });
    for answer in join_all(settled).await {
        answer.expect(200);
    }
    assert_eq!(app.balance(&alice).await, 150);
    app.assert_sound().await;
}

#[actix_web::test]
async fn finalize_and_abort_of_one_session_race_and_one_wins() {
    let app = TestApp::spawn().await;
    let replica = app.replica().await;
    let alice = app.person_with(100).await;
    let body = json!({ "sessionId": "s", "modelId": "m", "estimatedTokens": 10_000 });
    app.sign_in(&alice).post(INITIALIZE, &body).await.expect(201);
    let clients = [app.sign_in(&alice), replica.sign_in(&alice)];

    let ends = (0..20).map(|index: usize| {
        let client = &clients[index % 2];
        async move {
            if index % 4 < 2 {
                client
                    .post(FINALIZE, &json!({ "sessionId": "s", "actualTokens": 1_000 }))
                    .await
            } else {
                client
                    .post("/api/streaming-sessions/abort", &json!({ "sessionId": "s" }))
                    .await
            }
        }
    });
    let answers = join_all(ends).await;

    let won = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 200) {
        answer.expect_problem(409, "session_settled");
    }
    app.assert_sound().await;
}

#[actix_web::test]
async fn many_accounts_at_two_replicas_end_where_sums_say() {
    let app = TestApp::spawn().await;
    let replica = app.replica().await;
    let people: Vec<_> = (0..8)
        .map(|index| Person::new(&format!("p{index}"), Role::EndUser))
        .collect();
    for person in &people {
        app.grant(person, 60, 30).await;
        app.grant(person, 40, 60).await;
    }
    let clients: Vec<_> = people
        .iter()
        .map(|person| [app.sign_in(person), replica.sign_in(person)])
        .collect();

    let spent: Vec<(usize, i64)> = stream::iter(0..400_usize)
        .map(|index| {
            let (person, credits) = (index % 8, i64::try_from(index % 7).unwrap() + 1);
            let client = &clients[person][index / 8 % 2];
            async move {
                let answer = client.post(DEDUCT, &json!({ "credits": credits })).await;
                assert!([200, 400].contains(&answer.status.as_u16()), "{}", answer.text);
                (person, if answer.status == 200 { credits } else { 0 })
            }
        })
        .buffer_unordered(48)
        .collect()
        .await;

    for (index, person) in people.iter().enumerate() {
        let total: i64 = spent
            .iter()
            .filter(|(who, _)| *who == index)
            .map(|(_, credits)| credits)
            .sum();
        assert_eq!(app.balance(person).await, 100 - total);
        assert!(total > 93, "refused only what was left could not cover");
    }
    app.assert_sound().await;
}

#[actix_web::test]
async fn commands_that_wait_together_are_committed_together() {
    let app = TestApp::spawn().await;
    let alice = app.person_with(10_000).await;
    let client = app.sign_in(&alice);

    let one = json!({ "credits": 1 });
    let deductions = (0..300).map(|_| client.post(DEDUCT, &one));
    for answer in stream::iter(deductions)
        .buffer_unordered(64)
        .collect::<Vec<_>>()
        .await
    {
        answer.expect(200);
    }

    let metrics = app.client.get("/metrics").await.text;
    let transactions = metrics
        .lines()
        .find_map(|line| line.strip_prefix("ledger_batch_size_count{service=\"accounting-service\"} "))
        .and_then(|count| count.parse::<u32>().ok())
        .unwrap();
    assert!(transactions < 290, "{transactions} transactions for 301 commands");
    assert_eq!(app.number("SELECT count(*) FROM credit_transactions").await, 301);
    assert_eq!(app.balance(&alice).await, 9_700);
    app.assert_sound().await;
}

#[actix_web::test]
async fn a_refused_command_and_a_poisoned_one_fail_alone() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.person_with(1_000).await, app.person_with(5).await);
    // Something only the database knows to be wrong.
    let poison = "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF new.amount = -13 THEN RAISE EXCEPTION 'poison' USING ERRCODE = 'check_violation'; END IF; RETURN new; END $$";
    app.execute(poison).await;
    app.execute(
        "CREATE TRIGGER poison BEFORE INSERT ON credit_transactions FOR EACH ROW EXECUTE FUNCTION poison()",
    )
    .await;
    let (rich, poor) = (app.sign_in(&alice), app.sign_in(&bob));

    let sent = (0..90).map(|index| {
        let (rich, poor) = (&rich, &poor);
        async move {
            match index % 3 {
                0 => (200, rich.post(DEDUCT, &json!({ "credits": 1 })).await),
                1 => (400, poor.post(DEDUCT, &json!({ "credits": 6 })).await),
                _ => (500, rich.post(DEDUCT, &json!({ "credits": 13 })).await),
            }
        }
    });
    for (expected, answer) in join_all(sent).await {
        assert_eq!(answer.status, expected, "{}", answer.text);
        assert!(!answer.text.contains("poison"), "the inside is not shown");
    }

    assert_eq!((app.balance(&alice).await, app.balance(&bob).await), (970, 5));
    app.assert_sound().await;
}

#[actix_web::test]
async fn the_ledger_is_append_only() {
    let app = TestApp::spawn().await;
    app.person_with(10).await;
    let mut connection = app.database.connect().await;
    for sql in [
        "UPDATE credit_transactions SET amount = 0",
        "DELETE FROM credit_transactions",
        "TRUNCATE credit_transactions CASCADE",
    ] {
        let error = diesel_async::RunQueryDsl::execute(diesel::sql_query(sql), &mut connection)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("append-only"), "{sql}: {error}");
    }
}

#[actix_web::test]
async fn the_tables_refuse_what_the_rules_would_never_do() {
    let app = TestApp::spawn().await;
    app.person_with(10).await;
    let mut connection = app.database.connect().await;
    for sql in [
        "UPDATE credit_allocations SET remaining_credits = -1",
        "UPDATE credit_allocations SET remaining_credits = 11",
        "UPDATE credit_allocations SET user_id = 'ffffffffffffffffffffffff'",
        "DELETE FROM user_accounts",
    ] {
        diesel_async::RunQueryDsl::execute(diesel::sql_query(sql), &mut connection)
            .await
            .unwrap_err();
    }
}

#[actix_web::test]
async fn verify_finds_each_kind_of_tampering() {
    let break_trigger = "ALTER TABLE credit_transactions DISABLE TRIGGER credit_transactions_append_only";
    let tampering: &[(&str, &[&str])] = &[
        (
            "I1",
            &["UPDATE credit_allocations SET remaining_credits = remaining_credits - 1"],
        ),
        (
            "I1",
            &[
                break_trigger,
                "DELETE FROM credit_transactions WHERE kind = 'deduct'",
            ],
        ),
        (
            "I2",
            &[
                "ALTER TABLE credit_allocations DROP CONSTRAINT credit_allocations_check",
                "UPDATE credit_allocations SET remaining_credits = total_credits + 1",
            ],
        ),
        (
            "I3",
            &[
                break_trigger,
                "UPDATE credit_transactions SET kind = 'expire' WHERE kind = 'void'",
            ],
        ),
        (
            "I3",
            &["UPDATE streaming_sessions SET status = 'expired' WHERE status = 'voided'"],
        ),
        (
            "I4",
            &[
                "UPDATE streaming_sessions SET captured_credits = captured_credits - 1 WHERE status = 'captured'",
            ],
        ),
        (
            "I5",
            &[
                "UPDATE idempotency_keys SET command_id = (SELECT min(command_id::text)::uuid FROM idempotency_keys)",
            ],
        ),
        (
            "I6",
            &["UPDATE idempotency_keys SET command_id = gen_random_uuid()"],
        ),
        ("I7", &["DELETE FROM usage_logs"]),
        ("I7", &["UPDATE usage_logs SET credits = credits + 1"]),
    ];
    for (invariant, statements) in tampering {
        let app = TestApp::spawn().await;
        let alice = app.person_with(100).await;
        let client = app.sign_in(&alice);
        for key in ["k-1", "k-2"] {
            crate::support::post_with_key(&client, DEDUCT, key, &json!({ "credits": 5 }))
                .await
                .expect(200);
        }
        for id in ["captured", "voided", "open"] {
            let body = json!({ "sessionId": id, "modelId": "m", "estimatedTokens": 10_000 });
            client.post(INITIALIZE, &body).await.expect(201);
        }
        client
            .post(
                FINALIZE,
                &json!({ "sessionId": "captured", "actualTokens": 5_000 }),
            )
            .await
            .expect(200);
        client
            .post("/api/streaming-sessions/abort", &json!({ "sessionId": "voided" }))
            .await
            .expect(200);
        app.assert_sound().await;

        for statement in *statements {
            app.execute(statement).await;
        }

        let (holds, report) = app.verify().await;
        assert!(!holds, "{statements:?} went unnoticed:\n{report}");
        let noticed = report.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(invariant) && words.nth(1).is_some_and(|violations| violations != "0")
        });
        assert!(noticed, "{statements:?} is not {invariant}:\n{report}");
    }
}
