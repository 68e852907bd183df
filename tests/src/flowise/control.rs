//! `/_control`: what the handle does, for those in another process.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::{
    behaviour::Rule,
    counts::Counts,
    server::{SeenRequest, State},
};

/// How many of the newest requests are shown.
const SHOWN: usize = 50;

#[derive(Serialize)]
struct Shown {
    counts: Counts,
    rules: Vec<Rule>,
    requests: Vec<SeenRequest>,
}

/// What a `PUT` may change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// The rules from now on, instead of those before.
    rules: Option<Vec<Rule>>,
    /// Lets go on what hangs.
    #[serde(default)]
    release: bool,
}

pub(super) async fn show(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(look(&state))
}

pub(super) async fn change(state: web::Data<State>, change: web::Json<Change>) -> HttpResponse {
    let change = change.into_inner();
    if let Some(rules) = change.rules {
        state.replace_rules(rules);
    }
    if change.release {
        state.release();
    }
    HttpResponse::Ok().json(look(&state))
}

fn look(state: &State) -> Shown {
    let mut requests = state.seen();
    let older = requests.len().saturating_sub(SHOWN);
    Shown {
        counts: state.counts(),
        rules: state.rules(),
        requests: requests.split_off(older),
    }
}
