//! An accounting-service in memory: it keeps the rules of holds, counts, and can be made to fail.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use common_http::Clock;
use common_jwt::{KeyRing, Verifier, VerifyingKey};
use serde_json::json;
use test_support::SERVICE_SECRET;

use super::{
    eventually,
    http::{Asked, Server, Step, whole},
};

/// Credits everybody has.
pub(crate) const BALANCE: i64 = 100;

/// The price of every model: thousandths of a credit for 1,000 tokens, read and written.
const RATES: i64 = 700;

/// What so many tokens cost.
pub(crate) fn cost(tokens: i64) -> i64 {
    (tokens * RATES + 1_999_999) / 2_000_000
}

/// What is held for an estimate of so many tokens: a fifth more than they cost.
pub(crate) fn hold_for(tokens: i64) -> i64 {
    (cost(tokens) * 6 + 4) / 5
}

/// What happens to calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They are answered.
    Normal,
    /// They fail with this status and change nothing.
    Status(u16),
    /// They take effect; the answer waits at the gate.
    Gate,
    /// They take effect and the answer is lost.
    LoseAnswer,
    /// The connection closes and nothing has changed.
    Cut,
}

/// A hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) user_id: String,
    pub(crate) model_id: String,
    pub(crate) credits: i64,
    pub(crate) state: HoldState,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldState {
    Open,
    Captured(i64),
    Voided,
}

impl HoldState {
    const fn paid(self) -> i64 {
        match self {
            Self::Captured(credits) => credits,
            Self::Open | Self::Voided => 0,
        }
    }
}

/// A fake accounting-service.
#[derive(Clone, Debug)]
pub(crate) struct FakeAccounting {
    pub(crate) server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    holds: HashMap<String, Hold>,
    asked: Vec<Asked>,
    hold_mode: Mode,
    settle_mode: Mode,
}

impl FakeAccounting {
    pub(crate) async fn start(clock: Clock) -> Self {
        let state = Arc::new(Mutex::new(State {
            holds: HashMap::new(),
            asked: Vec::new(),
            hold_mode: Mode::Normal,
            settle_mode: Mode::Normal,
        }));
        let answering = state.clone();
        let server = Server::start(move |asked| {
            let (state, clock) = (answering.clone(), clock.clone());
            async move {
                check_identity(&asked, &clock);
                state.lock().unwrap().answer(&asked)
            }
        })
        .await;
        Self { server, state }
    }

    pub(crate) fn on_hold(&self, mode: Mode) {
        self.state.lock().unwrap().hold_mode = mode;
    }

    pub(crate) fn on_settle(&self, mode: Mode) {
        self.state.lock().unwrap().settle_mode = mode;
    }

    /// Voids every open hold, as the sweep of forgotten holds does.
    pub(crate) fn expire_holds(&self) {
        for hold in self.state.lock().unwrap().holds.values_mut() {
            hold.state = HoldState::Voided;
        }
    }

    /// All holds ever made.
    pub(crate) fn holds(&self) -> Vec<Hold> {
        self.state.lock().unwrap().holds.values().cloned().collect()
    }

    /// The hold of this turn.
    pub(crate) fn hold_of(&self, turn_id: &str) -> Option<Hold> {
        self.state.lock().unwrap().holds.get(turn_id).cloned()
    }

    /// The one hold there is.
    #[track_caller]
    pub(crate) fn hold(&self) -> Hold {
        let holds = self.holds();
        assert_eq!(holds.len(), 1, "{holds:?}");
        holds[0].clone()
    }

    /// The requests to this path.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.asked()
            .iter()
            .filter(|asked| asked.path.ends_with(path))
            .count()
    }

    /// Lets one gate open.
    pub(crate) fn let_go(&self) {
        self.server.gate.add_permits(1);
    }

    /// Every request.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Waits until every hold is settled and no call is under way.
    pub(crate) async fn is_settled(&self) {
        let open = async || self.holds().iter().all(|hold| hold.state != HoldState::Open);
        eventually("every hold is settled", open).await;
    }
}

fn check_identity(asked: &Asked, clock: &Clock) {
    let ring = KeyRing::new([VerifyingKey::hs256(SERVICE_SECRET.as_bytes())]);
    let token = asked.headers["authorization"].strip_prefix("Bearer ").unwrap();
    let claims = Verifier::for_services(ring, "accounting-service").service(token, clock.now());
    assert_eq!(claims.unwrap().sub, "proxy-service");
    assert!(asked.headers.contains_key("idempotency-key"));
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Vec<Step> {
        let is_hold = asked.path.ends_with("/initialize");
        let mode = if is_hold { self.hold_mode } else { self.settle_mode };
        self.asked.push(asked.clone());
        match mode {
            Mode::Cut => return vec![Step::Close],
            Mode::Status(409) => return problem(409, "idempotency_in_progress"),
            Mode::Status(status) => return problem(status, "internal"),
            Mode::Normal | Mode::Gate | Mode::LoseAnswer => {}
        }
        let id = asked.body["sessionId"].as_str().unwrap().to_owned();
        let user_id = asked.body["userId"].as_str().unwrap().to_owned();
        let answer = match asked.path.rsplit('/').next().unwrap() {
            "initialize" => self.initialize(&id, user_id, asked),
            "finalize" => {
                let used = match (
                    asked.body["actualCredits"].as_i64(),
                    asked.body["actualTokens"].as_i64(),
                ) {
                    (Some(credits), None) => credits,
                    (None, Some(tokens)) => cost(tokens),
                    neither => panic!("not one of the two: {neither:?}"),
                };
                let held = self.holds.get(&id).map_or(0, |hold| hold.credits);
                self.settle(&id, HoldState::Captured(used.min(held)))
            }
            "abort" => self.settle(&id, HoldState::Voided),
            path => panic!("no such route: {path}"),
        };
        match mode {
            Mode::LoseAnswer => vec![Step::Close],
            Mode::Gate => [vec![Step::Gate], answer].concat(),
            Mode::Normal | Mode::Status(_) | Mode::Cut => answer,
        }
    }

    fn initialize(&mut self, id: &str, user_id: String, asked: &Asked) -> Vec<Step> {
        let credits = match (
            asked.body["credits"].as_i64(),
            asked.body["estimatedTokens"].as_i64(),
        ) {
            (Some(credits), None) => credits,
            (None, Some(tokens)) => hold_for(tokens),
            neither => panic!("not one of the two: {neither:?}"),
        };
        assert!(credits > 0 && asked.body["username"].is_string() && asked.body["role"].is_string());
        let in_use: i64 = self
            .holds
            .values()
            .filter(|hold| hold.user_id == user_id)
            .map(|hold| match hold.state {
                HoldState::Open => hold.credits,
                HoldState::Captured(_) | HoldState::Voided => hold.state.paid(),
            })
            .sum();
        let available = BALANCE - in_use;
        if credits > available {
            let body = json!({ "code": "insufficient_credits", "required": credits, "available": available });
            return whole(402, "application/problem+json", &body.to_string());
        }
        let hold = Hold {
            user_id,
            model_id: asked.body["modelId"].as_str().unwrap().to_owned(),
            credits,
            state: HoldState::Open,
        };
        self.holds.entry(id.to_owned()).or_insert(hold);
        let body = json!({ "sessionId": id, "allocatedCredits": credits, "status": "active" });
        whole(201, "application/json", &body.to_string())
    }

    fn settle(&mut self, id: &str, to: HoldState) -> Vec<Step> {
        let Some(hold) = self.holds.get_mut(id) else {
            return problem(404, "session_not_found");
        };
        if hold.state != HoldState::Open && hold.state != to {
            let body = json!({ "code": "session_settled", "actualCredits": hold.state.paid() });
            return whole(409, "application/problem+json", &body.to_string());
        }
        hold.state = to;
        let refund = hold.credits - to.paid();
        let paid = if to == HoldState::Voided {
            "partialCredits"
        } else {
            "actualCredits"
        };
        let body = json!({ "sessionId": id, paid: to.paid(), "refund": refund });
        whole(200, "application/json", &body.to_string())
    }
}

fn problem(status: u16, code: &str) -> Vec<Step> {
    whole(
        status,
        "application/problem+json",
        &json!({ "code": code }).to_string(),
    )
}
