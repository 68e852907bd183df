//! A load generator: HTTP/1.1 over kept-open connections, one request at a time on each.
//!
//! It writes prepared bytes and reads just enough of an answer to know that it is whole, so that on a small machine it
//! takes little of the time it measures.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};

/// An answer larger than this is a mistake of the benchmark.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// How many connections, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Connections, each with one request under way.
    pub connections: usize,
    /// How long requests are begun.
    pub duration: Duration,
}

/// One connection's part: what it sends, and what it expects.
pub trait Caller: Send + 'static {
    /// The next request, whole; `None` when this connection has nothing more to ask.
    fn request(&mut self) -> Option<Vec<u8>>;
    /// Whether the answer is the one a client wants.
    fn is_success(&mut self, status: u16, body: &[u8]) -> bool;
}

/// What a run measured.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Answers as wanted.
    pub succeeded: u64,
    /// Other answers, and connections that broke.
    pub failed: u64,
    /// The first answer that was not wanted, to tell why.
    pub first_failure: Option<String>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    latencies_us: Vec<u64>,
}

impl Report {
    /// Answers as wanted per second.
    pub fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.succeeded).unwrap_or(u32::MAX)) / self.elapsed.as_secs_f64()
    }

    /// The latency that `percent` of the answers did not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let index = (self.latencies_us.len() * percent / 100).min(self.latencies_us.len().saturating_sub(1));
        Duration::from_micros(self.latencies_us.get(index).copied().unwrap_or_default())
    }

    /// Takes in what was measured after it, as if both were one run.
    pub fn append(&mut self, other: Self) {
        self.elapsed += other.elapsed;
        self.merge(other);
        self.latencies_us.sort_unstable();
    }

    /// Takes in what was measured beside it.
    fn merge(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.latencies_us.extend(other.latencies_us);
    }
}

/// Runs `load` against `address`; `caller` makes each connection's part.
pub async fn run<C: Caller>(
    address: SocketAddr,
    load: Load,
    caller: impl Fn(usize) -> C,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let deadline = started + load.duration;
    let mut connections = JoinSet::new();
    for index in 0..load.connections {
        connections.spawn(connection(address, deadline, caller(index)));
    }
    let mut report = Report::default();
    while let Some(part) = connections.join_next().await {
        report.merge(part??);
    }
    report.elapsed = started.elapsed();
    report.latencies_us.sort_unstable();
    Ok(report)
}

async fn connection<C: Caller>(
    address: SocketAddr,
    deadline: Instant,
    mut caller: C,
) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut stream = connect(address).await?;
    let mut answer = Vec::with_capacity(16 << 10);
    while Instant::now() < deadline {
        let Some(request) = caller.request() else {
            break;
        };
        let sent = Instant::now();
        answer.clear();
        match exchange(&mut stream, &request, &mut answer).await {
            Ok((status, body)) if caller.is_success(status, answer.get(body..).unwrap_or_default()) => {
                report.succeeded += 1;
                report
                    .latencies_us
                    .push(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            Ok(_) => {
                report.failed += 1;
                report
                    .first_failure
                    .get_or_insert_with(|| String::from_utf8_lossy(&answer).into_owned());
            }
            Err(error) => {
                report.failed += 1;
                report.first_failure.get_or_insert_with(|| error.to_string());
                stream = connect(address).await?;
            }
        }
    }
    Ok(report)
}

async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a request and reads its answer into `answer`; tells the status and where the body begins.
async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    answer: &mut Vec<u8>,
) -> anyhow::Result<(u16, usize)> {
    stream.write_all(request).await?;
    let mut head = None;
    loop {
        anyhow::ensure!(
            stream.read_buf(answer).await? > 0,
            "the connection was closed within an answer"
        );
        anyhow::ensure!(answer.len() <= ANSWER_BYTES_MAX, "the answer is too large");
        if head.is_none() {
            head = Head::parse(answer)?;
        }
        if let Some(head) = &head
            && head.is_whole(answer)
        {
            return Ok((head.status, head.length));
        }
    }
}

/// An answer's head.
struct Head {
    status: u16,
    /// Of the head itself, in bytes.
    length: usize,
    /// `None`: chunked.
    content_length: Option<usize>,
}

impl Head {
    fn parse(answer: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = find(answer, b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(answer.get(..end).unwrap_or_default())?;
        let status = text.split(' ').nth(1).unwrap_or_default().parse()?;
        let content_length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().ok())?
        });
        Ok(Some(Self {
            status,
            length: end + 4,
            content_length,
        }))
    }

    /// Requests are never pipelined, so a chunked answer is over when what was read ends with the last chunk.
    fn is_whole(&self, answer: &[u8]) -> bool {
        match self.content_length {
            Some(length) => answer.len() >= self.length + length,
            None => answer.ends_with(b"\r\n0\r\n\r\n"),
        }
    }
}

/// Where `needle` begins in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
