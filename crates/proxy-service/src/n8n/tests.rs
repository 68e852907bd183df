//! The client against every recorded exchange, and against an n8n that misbehaves.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use common_http::Metrics;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::domain::n8n::Piece;

const SECRET: &str = "a secret of at least thirty-two bytes!";

/// What the server does with each connection, one after the other; the last goes on for all others.
#[derive(Clone, Debug)]
enum Deed {
    /// Answers these bytes and closes.
    Answer(Vec<u8>),
    /// Answers these bytes and says nothing more.
    AnswerAndHang(Vec<u8>),
    /// Closes without a byte of an answer.
    Close,
}

/// An n8n whose every byte a test decides.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Clone, Debug)]
struct Asked {
    head: String,
    body: Value,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl Server {
    async fn start(deeds: Vec<Deed>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let seen = asked.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let deed = deeds.get(number).or(deeds.last()).unwrap().clone();
                tokio::spawn(serve(socket, deed, seen.clone()));
            }
        });
        Self { address, asked }
    }

    async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        Self::start(vec![Deed::Answer(answer.into())]).await
    }

    fn backend(&self) -> N8nBackend {
        backend(self.address)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(mut socket: TcpStream, deed: Deed, seen: Arc<Mutex<Vec<Asked>>>) {
    let mut request = Vec::new();
    let asked = loop {
        if socket.read_buf(&mut request).await.unwrap_or_default() == 0 {
            return;
        }
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(request[..end].to_vec()).unwrap();
        let asked = Asked {
            head,
            body: Value::Null,
        };
        let length: usize = asked.header("content-length").unwrap().parse().unwrap();
        if request.len() == end + 4 + length {
            let body = serde_json::from_slice(&request[end + 4..]).unwrap();
            break Asked { body, ..asked };
        }
    };
    seen.lock().unwrap().push(asked);
    let (bytes, hangs) = match deed {
        Deed::Answer(bytes) => (bytes, false),
        Deed::AnswerAndHang(bytes) => (bytes, true),
        Deed::Close => (Vec::new(), false),
    };
    // A client that has read enough may be gone.
    let _ = socket.write_all(&bytes).await;
    if hangs {
        let _ = socket.read_buf(&mut request).await;
    }
    let _ = socket.shutdown().await;
}

fn backend(address: SocketAddr) -> N8nBackend {
    N8nBackend {
        webhook: format!("http://{address}/webhook/chat").parse().unwrap(),
        keys: Vec::new(),
        shown_nodes: Vec::new(),
    }
}

fn n8n_with(change: impl FnOnce(&mut N8nConfig)) -> N8n {
    let mut config = N8nConfig {
        token_secret: Some(SECRET.into()),
        ..N8nConfig::default()
    };
    change(&mut config);
    let metrics = AdmissionMetrics::new(&Metrics::new("test").unwrap()).unwrap();
    N8n::new(&config, Clock::System, &metrics).unwrap()
}

fn message(text: &str) -> N8nMessage<'_> {
    N8nMessage {
        text,
        session_id: "sess_1",
        origin_domain: "school.example",
        page_url: Some("https://school.example/maths"),
        client_ip: [203, 0, 113, 5].into(),
        user_agent: Some("Firefox"),
        fingerprint: Some("f1"),
        message_count: 3,
        context: None,
    }
}

/// What was said, and how it ended.
async fn ask(n8n: &N8n, backend: &N8nBackend, text: &str) -> (String, Result<(), Failure>) {
    let mut said = String::new();
    let mut admitted = n8n.admission(backend).enter().await.unwrap();
    let mut answer = match n8n.ask(&mut admitted, backend, &message(text)).await {
        Ok(answer) => answer,
        Err(failure) => return (said, Err(failure)),
    };
    loop {
        let next = answer.next(|piece| match piece {
            Piece::Begin => said.push('('),
            Piece::Item(text) => said.push_str(&text),
            Piece::End => said.push(')'),
            Piece::Failed => said.push('!'),
        });
        match next.await {
            Ok(true) => {}
            Ok(false) => return (said, answer.verdict()),
            Err(failure) => return (said, Err(failure)),
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings/n8n")
}

fn recorded(case: &str) -> Vec<u8> {
    std::fs::read(folder().join(case).join("response.http")).unwrap()
}

/// An answer with this head and body.
fn answer(head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A stream of these lines, without its last chunk.
fn stream(lines: &[&str]) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for line in lines {
        bytes.extend(format!("{:x}\r\n{line}\n\r\n", line.len() + 1).into_bytes());
    }
    bytes
}

#[tokio::test]
async fn every_recorded_exchange_comes_to_its_end() {
    let n8n = n8n_with(|config| {
        config.header_timeout = Duration::from_millis(200);
        config.idle_timeout = Duration::from_millis(200);
        config.error_grace = Duration::ZERO;
        config.admission.breaker.failures = 1_000;
    });
    let mut cases = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let case = entry.unwrap().file_name().into_string().unwrap();
        let meta = std::fs::read(folder().join(&case).join("meta.json")).unwrap();
        let meta: Value = serde_json::from_slice(&meta).unwrap();
        // An answer to HEAD has no body, whatever its length says.
        if case == "method-head" {
            continue;
        }
        let deed = match meta["end"].as_str().unwrap() {
            "complete" | "server closed" => Deed::Answer(recorded(&case)),
            _ => Deed::AnswerAndHang(recorded(&case)),
        };
        let is_endless = matches!(deed, Deed::AnswerAndHang(_));
        let server = Server::start(vec![deed]).await;
        let (said, outcome) = ask(&n8n, &server.backend(), "hello world").await;
        let expected = match meta["status"].as_u64() {
            Some(200) => None,
            Some(204) => Some(Failure::Empty),
            Some(500) => Some(Failure::Failed),
            Some(_) => Some(Failure::Refused),
            None => Some(Failure::IdleTimeout),
        };
        match expected {
            Some(failure) => assert_eq!((said.as_str(), outcome), ("", Err(failure)), "{case}"),
            None if is_endless && said.ends_with('!') => {
                assert_eq!(outcome, Err(Failure::Reported), "{case}");
            }
            None if is_endless => assert_eq!(outcome, Err(Failure::IdleTimeout), "{case}"),
            None => assert_ne!(outcome, Err(Failure::Broken), "{case} {said}"),
        }
        assert!(
            !said.contains("sk-mock") && !said.contains("session ID"),
            "{case}: {said}"
        );
        cases += 1;
    }
    assert!(cases > 90, "the recordings are missing");
}

#[tokio::test]
async fn a_workflow_gets_the_documented_body_and_a_token_it_can_check() {
    let server = Server::answering(recorded("stream-agent")).await;
    let n8n = n8n_with(|_| {});
    let backend = N8nBackend {
        keys: vec![Some("the-key".into())],
        ..server.backend()
    };
    let context: Map<String, Value> = [("language".to_owned(), json!("de"))].into_iter().collect();
    let mut admitted = n8n.admission(&backend).enter().await.unwrap();
    let text = "<b>SELECT 1</b> 你好\u{2028}";
    let message = N8nMessage {
        context: Some(&context),
        ..message(text)
    };
    n8n.ask(&mut admitted, &backend, &message).await.unwrap();

    let asked = server.asked().remove(0);
    assert!(asked.head.starts_with("POST /webhook/chat HTTP/1.1"));
    assert_eq!(asked.header("authorization"), Some("Bearer the-key"));
    assert_eq!(asked.header("accept-encoding"), Some("identity"));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("cookie"), None);
    let body = &asked.body;
    for member in ["message", "chatInput"] {
        assert_eq!(body[member], text, "the text goes on as it was written");
    }
    for member in ["session_id", "sessionId"] {
        assert_eq!(body[member], "sess_1");
    }
    assert_eq!(body["session"]["client_ip"], "203.0.113.5");
    assert_eq!(body["session"]["origin_domain"], "school.example");
    assert_eq!(body["context"]["user_context"], json!({ "language": "de" }));
    assert_eq!(
        body["context"]["security_context"],
        json!({ "fingerprint": "f1", "verified": true })
    );

    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&["n8n"]);
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    let token = body["jwt_token"].as_str().unwrap();
    let claims = decode::<Value>(token, &key, &rules).unwrap().claims;
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        30
    );
    assert_eq!(claims["type"], "n8n_chat");
    assert_eq!(claims["session_id"], "sess_1");
    assert_eq!(claims["page_url"], "https://school.example/maths");
    assert!(claims.get("message_history").is_none());

    let mut admitted = n8n.admission(&backend).enter().await.unwrap();
    n8n.ask(&mut admitted, &backend, &message).await.unwrap();
    let second = server.asked()[1].body["jwt_token"].as_str().unwrap().to_owned();
    let second = decode::<Value>(&second, &key, &rules).unwrap().claims;
    assert_ne!(
        second["jti"], claims["jti"],
        "each message has a token of its own"
    );
}

#[tokio::test]
async fn a_message_is_repeated_only_where_nobody_heard_it() {
    let n8n = n8n_with(|_| {});
    // A port that nobody listens on, until somebody does.
    let address = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(
        ask(&n8n, &backend(address), "hi").await.1,
        Err(Failure::Unreachable)
    );

    for deeds in [
        vec![Deed::Close],
        vec![Deed::Answer(b"HTTP/1.1 200 OK\r\nContent-".to_vec())],
    ] {
        let server = Server::start(deeds).await;
        assert_eq!(ask(&n8n, &server.backend(), "hi").await.1, Err(Failure::Broken));
        assert_eq!(server.asked().len(), 1, "it may have been heard");
    }
    for case in ["err-lastnode", "unknown-path", "bad-json", "err-before"] {
        let server = Server::answering(recorded(case)).await;
        assert!(ask(&n8n, &server.backend(), "hi").await.1.is_err());
        assert_eq!(server.asked().len(), 1, "{case}");
    }
}

#[tokio::test]
async fn the_old_key_is_tried_where_n8n_does_not_know_the_new_one_yet() {
    let n8n = n8n_with(|_| {});
    let server = Server::start(vec![
        Deed::Answer(recorded("header-bad")),
        Deed::Answer(recorded("header-good")),
    ])
    .await;
    let backend = N8nBackend {
        keys: vec![Some("new".into()), Some("old".into())],
        ..server.backend()
    };
    assert_eq!(ask(&n8n, &backend, "hi").await.1, Ok(()));
    let keys: Vec<_> = server
        .asked()
        .iter()
        .map(|asked| asked.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["Bearer new", "Bearer old"]);

    for case in ["header-bad", "basic-missing", "jwt-expired"] {
        let server = Server::answering(recorded(case)).await;
        let refused = ask(
            &n8n,
            &N8nBackend {
                keys: backend.keys.clone(),
                ..server.backend()
            },
            "hi",
        )
        .await;
        assert_eq!(refused, (String::new(), Err(Failure::Refused)), "{case}");
        assert_eq!(server.asked().len(), 2);
    }
}

#[tokio::test]
async fn a_stream_that_never_ends_is_ended() {
    let n8n = n8n_with(|config| {
        config.idle_timeout = Duration::from_millis(100);
        config.error_grace = Duration::ZERO;
    });
    let begin = "{\"type\":\"begin\"}";
    let item = "{\"type\":\"item\",\"content\":\"Hel\"}";
    let error = "{\"type\":\"error\",\"content\":\"key sk-1\"}";
    for (lines, expected) in [
        (vec![begin, item, error], ("(Hel)!", Err(Failure::Reported))),
        (vec![begin, item], ("(Hel", Err(Failure::IdleTimeout))),
        (vec![], ("", Err(Failure::IdleTimeout))),
    ] {
        let server = Server::start(vec![Deed::AnswerAndHang(stream(&lines))]).await;
        let (said, outcome) = ask(&n8n, &server.backend(), "hi").await;
        assert_eq!((said.as_str(), outcome), expected);
    }
    // Broken after an error is as good as ended; without one it is broken.
    let server = Server::answering(stream(&[begin, item, error])).await;
    assert_eq!(ask(&n8n, &server.backend(), "hi").await.1, Err(Failure::Reported));
    let server = Server::answering(stream(&[begin, item])).await;
    assert_eq!(ask(&n8n, &server.backend(), "hi").await.1, Err(Failure::Broken));
}

#[tokio::test]
async fn a_workflow_that_goes_on_after_an_error_is_heard_out() {
    let n8n = n8n_with(|_| {});
    let lines = ["begin", "error", "begin"].map(|kind| format!("{{\"type\":\"{kind}\"}}"));
    let mut bytes = stream(&[
        &lines[0],
        &lines[1],
        &lines[2],
        "{\"type\":\"item\",\"content\":\"Sorry\"}",
        "{\"type\":\"end\"}",
    ]);
    bytes.extend(b"0\r\n\r\n");
    let server = Server::answering(bytes).await;
    assert_eq!(
        ask(&n8n, &server.backend(), "hi").await,
        ("()!(Sorry)".to_owned(), Ok(()))
    );
}

#[tokio::test]
async fn what_is_no_answer_or_too_large_is_told_apart() {
    let n8n = n8n_with(|config| config.event_bytes_max = 1_024);
    let long = format!("{{\"output\":\"{}\"}}", "x".repeat(2_000));
    let page = "<!DOCTYPE html><html>n8n.io</html>";
    for (bytes, failure) in [
        (
            answer("200 OK\r\nContent-Type: application/json", &long),
            Failure::TooLarge,
        ),
        (
            answer("200 OK\r\nContent-Type: text/html", page),
            Failure::NotAnAnswer,
        ),
        (
            answer("200 OK\r\nContent-Type: image/png", "png"),
            Failure::NotAnAnswer,
        ),
        (
            answer(
                "200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip",
                "{}",
            ),
            Failure::NotAnAnswer,
        ),
        (
            answer("302 Found\r\nLocation: http://127.0.0.1:1/", ""),
            Failure::Refused,
        ),
        (answer("429 Too Many Requests", ""), Failure::RateLimited),
        (
            answer("502 Bad Gateway\r\nContent-Type: text/html", page),
            Failure::Unavailable,
        ),
        (answer("200 OK", ""), Failure::Empty),
    ] {
        let server = Server::answering(bytes).await;
        assert_eq!(
            ask(&n8n, &server.backend(), "hi").await,
            (String::new(), Err(failure))
        );
    }
}

#[tokio::test]
async fn a_message_larger_than_n8n_takes_is_not_sent() {
    let n8n = n8n_with(|_| {});
    let server = Server::answering(recorded("stream-agent")).await;
    let text = "x".repeat(9 << 20);
    assert_eq!(ask(&n8n, &server.backend(), &text).await.1, Err(Failure::Refused));
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn one_n8n_that_is_away_closes_itself_and_no_other() {
    let n8n = n8n_with(|config| config.admission.breaker.failures = 1);
    let (away, well) = (
        Server::start(vec![Deed::Close]).await,
        Server::answering(recorded("last-node")).await,
    );
    assert_eq!(ask(&n8n, &away.backend(), "hi").await.1, Err(Failure::Broken));

    assert!(n8n.admission(&away.backend()).enter().await.is_err());
    let another_hook = N8nBackend {
        webhook: away.backend().webhook.join("/webhook/other").unwrap(),
        ..away.backend()
    };
    assert!(
        n8n.admission(&another_hook).enter().await.is_err(),
        "the same n8n"
    );
    assert_eq!(ask(&n8n, &well.backend(), "hi").await.1, Ok(()));
    let standings: Vec<_> = n8n
        .standings()
        .into_iter()
        .map(|(name, standing)| (name, standing.circuit))
        .collect();
    assert_eq!(standings, [("n8n-1", "open"), ("n8n-2", "closed")]);
}

#[test]
fn a_great_many_webhooks_make_a_bounded_number_of_names() {
    let n8n = n8n_with(|_| {});
    for port in 1..1_000 {
        n8n.admission(&backend(SocketAddr::from(([127, 0, 0, 1], port))));
    }
    let standings = n8n.standings();
    assert_eq!(standings.len(), 17);
    assert_eq!(standings.last().unwrap().0, "n8n-others");
}
