//! The recorded exchanges, and what must become of each, worked out anew from its bytes.

use std::path::Path;

use serde_json::Value;

/// One exchange.
pub(crate) struct Recording {
    pub(crate) case: String,
    /// The status; `None` where Flowise never answered.
    pub(crate) status: Option<u16>,
    pub(crate) media_type: String,
    /// What came back, byte for byte.
    pub(crate) response: Vec<u8>,
    /// The body without chunks.
    pub(crate) body: Vec<u8>,
}

/// What must become of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The events a client sees, without the one that names the session.
    pub(crate) names: Vec<String>,
    /// The text of the answer.
    pub(crate) text: String,
    /// Why it is not whole.
    pub(crate) failure: Option<&'static str>,
}

impl Expected {
    /// The payment table.
    pub(crate) fn is_paid(&self) -> bool {
        self.failure.is_none() || !self.text.is_empty()
    }

    fn fail(mut self, code: &'static str) -> Self {
        self.names.extend(["error", "token", "end"].map(str::to_owned));
        self.failure = Some(code);
        self
    }

    fn end(mut self) -> Self {
        self.names.push("end".to_owned());
        self
    }
}

/// Every recording.
pub(crate) fn all() -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings/flowise");
    let mut all: Vec<Recording> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| Recording::read(&entry.unwrap().path()))
        .collect();
    all.sort_by(|one, other| one.case.cmp(&other.case));
    assert!(all.len() > 100, "the recordings are missing");
    all
}

/// One of them.
pub(crate) fn recording(case: &str) -> Recording {
    all()
        .into_iter()
        .find(|recording| recording.case == case)
        .unwrap()
}

impl Recording {
    fn read(folder: &Path) -> Self {
        let file = |name: &str| std::fs::read(folder.join(name)).unwrap_or_default();
        let meta: Value = serde_json::from_slice(&file("meta.json")).unwrap();
        let response = file("response.http");
        let head = String::from_utf8_lossy(&response).to_lowercase();
        let media_type = head.lines().find_map(|line| line.strip_prefix("content-type: "));
        let media_type = media_type.unwrap_or_default().split(';').next().unwrap();
        Self {
            case: folder.file_name().unwrap().to_string_lossy().into_owned(),
            status: meta["status"]
                .as_u64()
                .map(|status| u16::try_from(status).unwrap()),
            media_type: media_type.to_owned(),
            response,
            body: file("body"),
        }
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.media_type == "text/event-stream"
    }

    /// What must become of a turn that is answered with it.
    pub(crate) fn expected(&self) -> Expected {
        match (self.status, &*self.media_type) {
            (None, _) => Expected::default().fail("upstream_header_timeout"),
            (Some(200), "text/event-stream") => expected_of_stream(&self.body),
            (Some(200), "application/json") => expected_of_json(&self.body),
            (Some(200), _) => Expected::default().fail("upstream_not_an_answer"),
            (Some(429), _) => Expected::default().fail("upstream_rate_limited"),
            (Some(500), "application/json") => Expected::default().fail("upstream_failed"),
            (Some(500..), _) => Expected::default().fail("upstream_unavailable"),
            (Some(_), _) => Expected::default().fail("upstream_refused"),
        }
    }

    /// What of it must never be seen: ids of Flowise's, texts of errors, settings of models.
    pub(crate) fn inside(&self) -> Vec<String> {
        let mut inside = Vec::new();
        let body = String::from_utf8_lossy(&self.body);
        let frames = body.split("\n\n").filter_map(|frame| frame.split_once("data:"));
        let events = frames.filter_map(|(_, json)| serde_json::from_str::<Value>(json).ok());
        for event in events.chain(serde_json::from_slice::<Value>(&self.body).ok()) {
            if event["event"] == "error" {
                inside.extend(event["data"].as_str().map(str::to_owned));
            }
            collect(&event, &mut inside);
        }
        inside
    }
}

fn collect(value: &Value, inside: &mut Vec<String>) {
    const MEMBERS: [&str; 8] = [
        "chatId",
        "sessionId",
        "executionId",
        "basepath",
        "credential",
        "modelName",
        "message",
        "stack",
    ];
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if let (true, Some(text)) = (MEMBERS.contains(&&**name), value.as_str()) {
                    inside.push(text.to_owned());
                }
                collect(value, inside);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, inside)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    inside.retain(|text| text.len() > 3);
}

/// What must become of a stream of which these bytes have come.
pub(crate) fn expected_of_stream(body: &[u8]) -> Expected {
    let mut expected = Expected::default();
    let mut is_failed = false;
    let mut rest = body;
    while let Some(end) = rest.windows(2).position(|window| window == b"\n\n") {
        let frame = std::str::from_utf8(&rest[..end]).unwrap();
        rest = &rest[end + 2..];
        let Some((_, json)) = frame.split_once("data:") else {
            continue;
        };
        let event: Value = serde_json::from_str(json).unwrap();
        match event["event"].as_str().unwrap() {
            "end" if is_failed => return expected.fail("upstream_error"),
            "end" => return expected.end(),
            "error" | "abort" => is_failed = true,
            "agentFlowExecutedData" => {}
            name => {
                if name == "token" {
                    expected.text.push_str(event["data"].as_str().unwrap());
                }
                expected.names.push(name.to_owned());
            }
        }
    }
    expected.fail(if is_failed {
        "upstream_error"
    } else {
        "upstream_broken"
    })
}

fn expected_of_json(body: &[u8]) -> Expected {
    let mut expected = Expected::default();
    let Ok(Value::Object(answer)) = serde_json::from_slice(body) else {
        return expected.fail("upstream_not_an_answer");
    };
    match answer.get("text").and_then(Value::as_str) {
        Some(text) if !text.is_empty() => text.clone_into(&mut expected.text),
        _ if answer.contains_key("error") || answer.get("success") == Some(&Value::Bool(false)) => {
            return expected.fail("upstream_error");
        }
        _ => return expected.fail("upstream_empty"),
    }
    expected.names.push("token".to_owned());
    for name in [
        "sourceDocuments",
        "usedTools",
        "artifacts",
        "fileAnnotations",
        "agentReasoning",
        "action",
    ] {
        if answer.get(name).is_some_and(|member| !member.is_null()) {
            expected.names.push(name.to_owned());
        }
    }
    expected.names.push("metadata".to_owned());
    expected.end()
}

/// The body of an answer of which these bytes have come; `None` before its head is whole.
pub(crate) fn body_of(received: &[u8]) -> Option<Vec<u8>> {
    let head = received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let mut rest = &received[head..];
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        rest = &rest[line + 2..];
        let come = size.min(rest.len());
        body.extend_from_slice(&rest[..come]);
        rest = rest.get(size + 2..).unwrap_or_default();
    }
    Some(body)
}
