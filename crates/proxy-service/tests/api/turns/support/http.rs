//! A small HTTP/1.1 server whose every byte a test decides: cut anywhere, held back, or never sent.

use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
}

/// What a server does on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits until the test lets it go on, or the other side leaves.
    Gate,
    /// Sends the bytes again and again until the other side leaves.
    Flood(Vec<u8>),
    /// Says nothing more until the other side leaves.
    Hang,
    /// Closes the connection.
    Close,
}

/// A running server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) gate: Arc<Semaphore>,
    /// Connections the other side left while an answer was under way.
    pub(crate) left: Arc<AtomicUsize>,
    /// Bytes sent.
    pub(crate) sent: Arc<AtomicUsize>,
}

impl Server {
    /// Answers every request with the steps `answer` gives.
    pub(crate) async fn start<F>(answer: impl Fn(Asked) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = Vec<Step>> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            gate: Arc::new(Semaphore::new(0)),
            left: Arc::default(),
            sent: Arc::default(),
        };
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (answer, server) = (answer.clone(), accepting.clone());
                tokio::spawn(async move {
                    let mut socket = socket;
                    let mut buffer = Vec::new();
                    while let Some(asked) = read(&mut socket, &mut buffer).await {
                        for step in answer(asked).await {
                            if server.take(&mut socket, step).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    async fn take(&self, socket: &mut TcpStream, step: Step) -> Result<(), ()> {
        let mut byte = [0; 1];
        let gone = |()| {
            self.left.fetch_add(1, Ordering::SeqCst);
            Err(())
        };
        match step {
            Step::Send(bytes) => {
                let sent = socket.write_all(&bytes).await;
                self.sent.fetch_add(bytes.len(), Ordering::SeqCst);
                sent.or_else(|_| gone(()))
            }
            Step::Gate => tokio::select! {
                permit = self.gate.acquire() => {
                    permit.unwrap().forget();
                    Ok(())
                }
                _ = socket.read(&mut byte) => gone(()),
            },
            Step::Flood(bytes) => loop {
                if socket.write_all(&bytes).await.is_err() {
                    return gone(());
                }
                self.sent.fetch_add(bytes.len(), Ordering::SeqCst);
            },
            Step::Hang => {
                let _ = socket.read(&mut byte).await;
                gone(())
            }
            Step::Close => Err(()),
        }
    }
}

async fn read(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Asked> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let body_end = head_end + 4 + length;
    while buffer.len() < body_end {
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = serde_json::from_slice(&buffer[head_end + 4..body_end]).unwrap_or_default();
    buffer.drain(..body_end);
    Some(Asked {
        method,
        path,
        headers,
        body,
    })
}

/// A whole answer.
pub(crate) fn whole(status: u16, content_type: &str, body: &str) -> Vec<Step> {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    vec![Step::Send([head.as_bytes(), body.as_bytes()].concat())]
}

/// The head of a chunked answer.
pub(crate) fn chunked(content_type: &str) -> Step {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n");
    Step::Send(head.into_bytes())
}

/// One chunk of it.
pub(crate) fn chunk(bytes: &[u8]) -> Step {
    Step::Send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
}

/// Its end.
pub(crate) fn last_chunk() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}
