//! The doors for other products' clients beside the native route: what a door adds to what a paid turn adds anyway.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use system_tests::load::{Caller, Load, Report, find, run};
use uuid::Uuid;

use crate::{
    processes::Stack,
    table::Table,
    turns::{People, QUESTION, is_whole, post},
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
        let address = if self == Self::Direct {
            stack.flowise
        } else {
            stack.proxy
        };
        run(address, load, |index| Talk::new(self, address, people, index)).await
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

/// One connection, on which one conversation goes on: all ways have the same to look up and to write.
struct Talk {
    way: Way,
    address: SocketAddr,
    token: String,
    chatflow_id: String,
    /// What the client calls the conversation, where it has a name for it.
    name: String,
    /// What the native route calls it.
    session_id: String,
}

impl Talk {
    fn new(way: Way, address: SocketAddr, people: &People, index: usize) -> Self {
        Self {
            way,
            address,
            token: people.token(index).to_owned(),
            chatflow_id: people.chatflow_id().to_owned(),
            name: format!("lesson {}", Uuid::new_v4()),
            session_id: String::new(),
        }
    }
}

impl Caller for Talk {
    fn request(&mut self) -> Option<Vec<u8>> {
        let (chatflow_id, prediction) = (
            &self.chatflow_id,
            format!("/api/v1/prediction/{}", self.chatflow_id),
        );
        let (path, body) = match self.way {
            Way::Direct => (
                prediction.as_str(),
                json!({ "question": QUESTION, "streaming": true }),
            ),
            Way::Native => {
                let body =
                    json!({ "question": QUESTION, "chatflow_id": chatflow_id, "sessionId": self.session_id });
                ("/api/v1/chat/predict/stream/store", body)
            }
            Way::Flowise => {
                let body = json!({ "question": QUESTION, "streaming": true, "chatId": self.name });
                (prediction.as_str(), body)
            }
            Way::OpenAi => {
                let body = json!({
                    "model": chatflow_id, "stream": true, "messages": [{ "role": "user", "content": QUESTION }],
                    "metadata": { "session_id": self.name },
                });
                ("/v1/chat/completions", body)
            }
        };
        let token = (self.way != Way::Direct).then_some(self.token.as_str());
        Some(post(self.address, path, token, &body))
    }

    fn is_success(&mut self, status: u16, body: &[u8]) -> bool {
        if self.way == Way::OpenAi {
            return status == 200
                && find(body, br#""delta":{"content":""#).is_some()
                && find(body, b"data: [DONE]").is_some()
                && find(body, br#""error""#).is_none();
        }
        if self.way == Way::Native && self.session_id.is_empty() {
            // The first event of a stream is the conversation's id.
            let text = String::from_utf8_lossy(body);
            let id = text
                .split("\"data\":\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            id.unwrap_or_default().clone_into(&mut self.session_id);
        }
        is_whole(status, body)
    }
}
