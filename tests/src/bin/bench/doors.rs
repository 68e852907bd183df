//! The doors for other products' clients beside the native route: what a door adds to what a paid turn adds anyway.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use system_tests::load::{Caller, Load, Report, find, run};

use crate::{
    processes::Stack,
    table::Table,
    turns::{People, QUESTION, Turn, post},
};

/// Rounds: each way is measured once in every one of them, so that what else the machine does falls on all alike.
const ROUNDS: u32 = 6;

/// What a door may add to the time that a turn through the native route takes beyond Flowise's own.
const AIM: f64 = 1.1;

/// A way to have a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    Native,
    Flowise,
    OpenAi,
}

const WAYS: [Way; 4] = [Way::Direct, Way::Native, Way::Flowise, Way::OpenAi];

impl Way {
    fn label(self) -> &'static str {
        match self {
            Self::Direct => "stand-in directly",
            Self::Native => "native route",
            Self::Flowise => "Flowise's door",
            Self::OpenAi => "OpenAI's door",
        }
    }

    async fn run(self, stack: &Stack, people: &People, load: Load) -> anyhow::Result<Report> {
        match self {
            Self::Direct => {
                let turn = |_| Turn::new(people.direct(stack.flowise, QUESTION));
                run(stack.flowise, load, turn).await
            }
            Self::Native => {
                let turn = |index| Turn::new(people.paid(stack.proxy, index, QUESTION));
                run(stack.proxy, load, turn).await
            }
            Self::Flowise => {
                let turn = |index| Turn::new(people.through_flowise_door(stack.proxy, index, QUESTION));
                run(stack.proxy, load, turn).await
            }
            Self::OpenAi => {
                let turn = |index| Completion::new(people, stack.proxy, index);
                run(stack.proxy, load, turn).await
            }
        }
    }
}

/// Measures every row of this part.
pub(crate) async fn measure(
    stack: &Stack,
    people: &People,
    duration: Duration,
    table: &mut Table,
) -> anyhow::Result<()> {
    for connections in [1, 16] {
        let load = Load {
            connections,
            duration: duration / ROUNDS,
        };
        let mut reports: [Report; WAYS.len()] = Default::default();
        for _ in 0..ROUNDS {
            for (way, report) in WAYS.into_iter().zip(&mut reports) {
                report.append(way.run(stack, people, load).await?);
            }
        }
        let [direct, native, ..] = &reports;
        for (way, report) in WAYS.into_iter().zip(&reports) {
            let baseline = (way != Way::Direct).then(|| ("native", native.rate()));
            let what = format!("turns, {}, {connections} at a time", way.label());
            table.add(&what, report, baseline);
        }
        for (way, report) in WAYS.into_iter().zip(&reports).skip(2) {
            let ratio = |percent| added(direct, report, percent) / added(direct, native, percent);
            table.note(format!(
                "added latency, {}, {connections} at a time: p50 {:.2} x, p90 {:.2} x that of the native route (aim: at most {AIM})",
                way.label(),
                ratio(50),
                ratio(90),
            ));
        }
    }
    Ok(())
}

/// Seconds beyond Flowise's own.
fn added(direct: &Report, report: &Report, percent: usize) -> f64 {
    report
        .percentile(percent)
        .saturating_sub(direct.percentile(percent))
        .as_secs_f64()
}

/// One connection of a client of OpenAI's, each turn in a conversation of its own, as on the other ways.
struct Completion {
    request: Box<dyn Fn(u64) -> Vec<u8> + Send>,
    turns: u64,
}

impl Completion {
    fn new(people: &People, address: SocketAddr, index: usize) -> Self {
        let (token, model) = (people.token(index).to_owned(), people.chatflow_id().to_owned());
        let run = uuid::Uuid::new_v4();
        let request = move |turn| {
            let body = json!({
                "model": model, "stream": true, "messages": [{ "role": "user", "content": QUESTION }],
                "metadata": { "session_id": format!("{run} {turn}") },
            });
            post(address, "/v1/chat/completions", Some(&token), &body)
        };
        Self {
            request: Box::new(request),
            turns: 0,
        }
    }
}

impl Caller for Completion {
    fn request(&mut self) -> Option<Vec<u8>> {
        self.turns += 1;
        Some((self.request)(self.turns))
    }

    fn is_success(&mut self, status: u16, body: &[u8]) -> bool {
        status == 200
            && find(body, br#""delta":{"content":""#).is_some()
            && find(body, b"data: [DONE]").is_some()
            && find(body, br#""error""#).is_none()
    }
}
