//! Random commands on many accounts over HTTP, against an independent model of each account: every answer, and in the
//! end every allocation, has to be the same.

use std::collections::HashMap;

use common_jwt::Role;
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl as _;
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Answer, Client, Person, TestPostgres};

use crate::{
    ledger::{Books, Dice, proxy, seed, signed_in, size},
    model::{Model, TooFew},
};

/// Accounts that are worked on at once.
const AT_ONCE: usize = 48;

/// One account and whoever acts on it.
struct Account {
    at: Client,
    owner: Person,
    admin: Person,
    model: Model,
    dice: Dice,
    /// How many commands it has seen.
    count: usize,
}

impl Account {
    fn admin(&self) -> Client {
        signed_in(&self.at, &self.admin)
    }

    /// One random command: what the service answers has to be what the model says.
    async fn step(&mut self) {
        self.count += 1;
        let credits = self.dice.between(1, 40);
        let days = self.dice.between(1, 300);
        match self.dice.below(20) {
            0..5 => {
                let body = json!({ "userId": self.owner.id, "credits": credits, "expiryDays": days });
                self.admin()
                    .post("/api/credits/allocate", &body)
                    .await
                    .expect(201);
                self.model.grant(credits, days);
            }
            5..8 => {
                let client = signed_in(&self.at, &self.owner);
                let answer = client
                    .post("/api/credits/deduct", &json!({ "credits": credits }))
                    .await;
                let expected = self.model.spend(credits);
                self.compare(answer, "remainingBalance", credits, expected);
            }
            8..13 => {
                let session = format!("{}-{}", self.owner.id, self.count);
                let body = json!({ "sessionId": session, "modelId": "m", "userId": self.owner.id, "credits": credits });
                let answer = proxy(&self.at)
                    .post("/api/streaming-sessions/initialize", &body)
                    .await;
                match self.model.hold(credits) {
                    Ok(hold) => {
                        answer.expect(201);
                        self.settle(hold, &session).await;
                    }
                    Err(TooFew { available }) => {
                        let refused = answer.expect_problem(402, "insufficient_credits");
                        assert_eq!(refused.body["available"], available);
                    }
                }
            }
            13..15 => {
                let body = json!({ "userId": self.owner.id, "credits": credits });
                let client = self.admin();
                let request = client.request(Method::DELETE, "/api/credits/remove").json(&body);
                let answer = client.send(request).await;
                let expected = self.model.spend(credits);
                self.compare(answer, "newCredits", credits, expected);
            }
            15..18 => {
                let raise = self.dice.below(2) == 0;
                let adjustment = if raise { credits } else { -credits };
                let body = json!({ "userId": self.owner.id, "adjustment": adjustment, "expiryDays": days });
                let answer = self.admin().put("/api/credits/adjust", &body).await;
                let expected = if raise {
                    self.model.grant(credits, days);
                    Ok(())
                } else {
                    self.model.spend(credits)
                };
                self.compare(answer, "newCredits", credits, expected);
            }
            _ => {
                let target = if self.dice.below(4) == 0 { 0 } else { credits };
                let body = json!({ "userId": self.owner.id, "credits": target, "expiryDays": days });
                let answer = self.admin().post("/api/credits/set", &body).await;
                self.model.set(target, days);
                self.compare(answer, "newCredits", credits, Ok(()));
            }
        }
    }

    /// Captures, voids or leaves the hold open, and sometimes settles it twice.
    async fn settle(&mut self, hold: usize, session: &str) {
        let (path, credits) = match self.dice.below(5) {
            0 => return,
            1 => ("abort", 0),
            _ => ("finalize", self.dice.below(50)),
        };
        let member = if path == "abort" {
            "credits"
        } else {
            "actualCredits"
        };
        let body = json!({ "sessionId": session, "userId": self.owner.id, member: credits });
        let path = format!("/api/streaming-sessions/{path}");
        let answer = proxy(&self.at).post(&path, &body).await.expect(200);
        let (kept, back) = self.model.settle(hold, credits).unwrap();
        let paid = answer
            .body
            .get("actualCredits")
            .or(answer.body.get("partialCredits"));
        assert_eq!((paid, &answer.body["refund"]), (Some(&json!(kept)), &json!(back)));
        if self.dice.below(4) == 0 {
            let again = proxy(&self.at).post(&path, &body).await.expect(200);
            assert_eq!(again.body, answer.body);
            assert_eq!(self.model.settle(hold, credits), None);
        }
    }

    fn compare(&self, answer: Answer, member: &str, credits: i64, expected: Result<(), TooFew>) {
        match expected {
            Ok(()) => assert_eq!(answer.expect(200).body[member], self.model.balance()),
            Err(TooFew { available }) => {
                let refused = answer.expect_problem(400, "insufficient_credits");
                assert_eq!(
                    (&refused.body["required"], &refused.body["available"]),
                    (&Value::from(credits), &Value::from(available))
                );
            }
        }
    }
}

#[derive(QueryableByName)]
struct Left {
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = BigInt)]
    remaining: i64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_commands_do_what_an_independent_model_says() {
    let (accounts, commands) = (size("PROVE_ACCOUNTS", 400), size("PROVE_COMMANDS", 5_000));
    let seed = seed();
    let database = TestPostgres::create("empty", async |_: &str| {}).await;
    let books = Books { url: database.url };
    let replicas = [books.serve().await, books.serve().await];
    let clients = [replicas[0].client(), replicas[1].client()];
    let admin = Person::new("admin", Role::Admin);

    let done: Vec<(String, Model)> = stream::iter(0..accounts)
        .map(|index| {
            let (at, admin) = (clients[index % 2].clone(), admin.clone());
            let share = commands / accounts + usize::from(index < commands % accounts);
            async move {
                let mut owner = Person::new("", Role::EndUser);
                owner.username = format!("p-{index}");
                owner.email = format!("p-{index}@example.com");
                let dice = Dice::new(seed, index);
                let mut account = Account {
                    at,
                    owner,
                    admin,
                    model: Model::default(),
                    dice,
                    count: 0,
                };
                let body = json!({ "userId": account.owner.id, "credits": 50 });
                account
                    .admin()
                    .post("/api/credits/allocate", &body)
                    .await
                    .expect(201);
                account.model.grant(50, 30);
                for _ in 0..share {
                    account.step().await;
                }
                (account.owner.id, account.model)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;

    let query = "SELECT user_id, remaining_credits AS remaining FROM credit_allocations
                 WHERE remaining_credits > 0 ORDER BY user_id, expires_at, id";
    let rows: Vec<Left> = diesel::sql_query(query)
        .load(&mut books.connect().await)
        .await
        .unwrap();
    let mut found: HashMap<String, Vec<i64>> = HashMap::new();
    for row in rows {
        found.entry(row.user_id).or_default().push(row.remaining);
    }
    let differences = done
        .iter()
        .filter(|(id, model)| found.get(id).cloned().unwrap_or_default() != model.remaining());
    assert_eq!(differences.count(), 0, "accounts whose allocations differ");
    books.assert_sound().await;
}
