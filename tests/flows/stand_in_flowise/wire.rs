//! HTTP by hand: recorded requests are sent as the bytes they are, and answers are read with their chunks.

use serde_json::Value;
use system_tests::flowise::StandInFlowise;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// The pieces of a chunked body; none for a body of known length.
    pub(super) chunks: Vec<String>,
    pub(super) body: String,
}

impl Answer {
    /// Reads a whole answer; `None` when more bytes belong to it.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let header = |name: &str| {
            headers
                .iter()
                .find(|(found, _)| found == name)
                .map(|(_, value)| value)
        };

        if header("transfer-encoding").is_none() {
            let length: usize = header("content-length")?.parse().ok()?;
            let body = rest.get(..length)?.to_owned();
            return Some(Self {
                status,
                headers,
                chunks: Vec::new(),
                body,
            });
        }
        let mut chunks = Vec::new();
        let mut rest = rest;
        loop {
            let (size, after) = rest.split_once("\r\n")?;
            let size = usize::from_str_radix(size, 16).ok()?;
            if size == 0 {
                return Some(Self {
                    status,
                    headers,
                    body: chunks.concat(),
                    chunks,
                });
            }
            chunks.push(after.get(..size)?.to_owned());
            rest = after.get(size + 2..)?;
        }
    }
}

/// One connection to the stand-in.
pub(super) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(flowise: &StandInFlowise) -> Self {
        let stream = TcpStream::connect(flowise.address())
            .await
            .expect("the stand-in listens");
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, request: &str) {
        self.stream
            .write_all(request.as_bytes())
            .await
            .expect("the request is sent");
    }

    /// The whole answer; fails when the connection ends before it does.
    pub(super) async fn answer(&mut self) -> Answer {
        loop {
            if let Some(answer) = Answer::parse(&self.read) {
                return answer;
            }
            let read = self.stream.read_buf(&mut self.read).await.expect("bytes");
            assert_ne!(read, 0, "ended after {}", String::from_utf8_lossy(&self.read));
        }
    }

    /// Everything up to the end of the connection.
    pub(super) async fn until_closed(&mut self) -> String {
        // A reset is an end as well.
        let _ = self.stream.read_to_end(&mut self.read).await;
        String::from_utf8(std::mem::take(&mut self.read)).expect("text")
    }

    /// Reads until `text` has come.
    pub(super) async fn until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.read).contains(text) {
            let read = self.stream.read_buf(&mut self.read).await.expect("bytes");
            assert_ne!(read, 0, "ended without {text}");
        }
    }

    /// Whether a byte of an answer is there now.
    pub(super) fn has_answer(&self) -> bool {
        self.stream.try_read(&mut [0]).is_ok()
    }

    pub(super) async fn ask(mut self, request: &str) -> Answer {
        self.send(request).await;
        self.answer().await
    }
}

/// A request for a prediction.
pub(super) fn prediction(chatflow: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST /api/v1/prediction/{chatflow} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The text that the tokens of a stream make.
pub(super) fn tokens(stream: &str) -> String {
    events(stream)
        .iter()
        .filter(|event| event["event"] == "token")
        .filter_map(|event| event["data"].as_str())
        .collect()
}

/// The events of a stream.
pub(super) fn events(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data:"));
    data.map(|json| serde_json::from_str(json).expect("an event is JSON"))
        .collect()
}
