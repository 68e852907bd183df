//! Streams: how long until the first word, how many words a second pass, and what thousands of open ones take.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use serde_json::json;
use system_tests::{
    load::{Load, find, run},
    process::memory_bytes,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    processes::Stack,
    table::Table,
    turns::{Nginx, People, Turn},
};

/// Between two words of an open stream: two a second.
const WORD_EVERY: Duration = Duration::from_millis(500);

/// Connections over which words are relayed as fast as they come.
const RELAYING: usize = 16;

/// Words of a very long answer, in which the turn around it does not count.
const LONG_WORDS: u32 = 20_000;

/// Streams that are being opened at once.
const OPENING: usize = 100;

/// How long the opening of all of them may take.
const OPENING_TIMEOUT: Duration = Duration::from_mins(3);

const TOKEN: &[u8] = br#""event":"token""#;
const END: &[u8] = br#""event":"end""#;

/// Measures every row of this part; `open` streams at once.
pub(crate) async fn measure(
    stack: &Stack,
    people: &People,
    duration: Duration,
    open: usize,
    table: &mut Table,
) -> anyhow::Result<()> {
    let nginx = Nginx::start(stack).await;
    if let Err(error) = &nginx {
        table.note(format!("nginx could not be measured: {error:#}"));
    }
    let nginx = nginx.as_ref().ok().map(|nginx| nginx.address);
    first_word(stack, people, nginx, duration / 2, table).await?;
    words_relayed(stack, people, nginx, duration, table).await?;
    open_streams(stack, people, open, table).await
}

/// The time from the request to the first word, one stream at a time.
async fn first_word(
    stack: &Stack,
    people: &People,
    nginx: Option<SocketAddr>,
    duration: Duration,
    table: &mut Table,
) -> anyhow::Result<()> {
    let direct = first_words(
        stack.flowise,
        || people.direct(stack.flowise, "hello world"),
        duration,
    )
    .await?;
    let paid = first_words(
        stack.proxy,
        || people.paid(stack.proxy, 0, "hello world"),
        duration,
    )
    .await?;
    let mut beside = String::new();
    if let Some(address) = nginx {
        let through = first_words(address, || people.direct(address, "hello world"), duration).await?;
        beside = format!(", nginx in front {}", shown(&through));
    }
    let added = percentile(&paid, 50).saturating_sub(percentile(&direct, 50));
    table.note(format!(
        "first word, p50 / p99: stand-in directly {}{beside}, Flowgate in front {} (p50 added: {:.2} ms)",
        shown(&direct),
        shown(&paid),
        added.as_secs_f64() * 1e3
    ));
    Ok(())
}

async fn first_words(
    address: SocketAddr,
    request: impl Fn() -> Vec<u8>,
    duration: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let until = Instant::now() + duration;
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut times = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        stream.write_all(&request()).await?;
        let mut answer = Vec::new();
        let mut first = None;
        while !answer.ends_with(b"\r\n0\r\n\r\n") {
            anyhow::ensure!(stream.read_buf(&mut answer).await? > 0, "the connection broke");
            if first.is_none() && find(&answer, TOKEN).is_some() {
                first = Some(asked.elapsed());
            }
        }
        times.push(first.context("an answer without a word")?);
    }
    times.sort_unstable();
    Ok(times)
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

fn shown(sorted: &[Duration]) -> String {
    let ms = |percent| percentile(sorted, percent).as_secs_f64() * 1e3;
    format!("{:.2} / {:.2} ms", ms(50), ms(99))
}

/// Very long answers as fast as the stand-in can say them.
async fn words_relayed(
    stack: &Stack,
    people: &People,
    nginx: Option<SocketAddr>,
    duration: Duration,
    table: &mut Table,
) -> anyhow::Result<()> {
    let load = Load {
        connections: RELAYING,
        duration,
    };
    let asked = "hello";
    let reply = "word ".repeat(usize::try_from(LONG_WORDS)?);
    let rule = json!({ "behaviour": { "reply": reply } });
    stack.control(&json!({ "rules": [rule] })).await?;
    let direct = run(stack.flowise, load, |_| {
        Turn::new(people.direct(stack.flowise, asked))
    })
    .await?;
    table.add("long answers, stand-in directly", &direct, None);
    let mut baseline = ("direct", direct.rate());
    if let Some(address) = nginx {
        let through = run(address, load, |_| Turn::new(people.direct(address, asked))).await?;
        table.add(
            "long answers, nginx in front, buffering off",
            &through,
            Some(baseline),
        );
        baseline = ("nginx", through.rate());
    }
    let paid = run(stack.proxy, load, |index| {
        Turn::new(people.paid(stack.proxy, index, asked))
    })
    .await?;
    table.add("long answers, Flowgate in front", &paid, Some(baseline));
    table.note(format!(
        "words relayed: Flowgate {:.0} a second, {:.2} of {} (aim: at least half of nginx)",
        paid.rate() * f64::from(LONG_WORDS),
        paid.rate() / baseline.1,
        baseline.0
    ));
    stack.control(&json!({ "rules": [] })).await
}

/// What one open stream came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// Every word and the end.
    Whole,
    /// Less.
    Lost,
}

/// Many streams at once, each with two words a second.
async fn open_streams(stack: &Stack, people: &People, open: usize, table: &mut Table) -> anyhow::Result<()> {
    let pid = stack.proxy_process.context("the proxy runs")?;
    let memory = || memory_bytes(pid).context("the proxy runs");
    // As long as opening them all may reasonably take, and a while in which they are all open.
    let words = 40 + open / 50;
    let reply = "word ".repeat(words);
    let wait = u64::try_from(WORD_EVERY.as_millis())?;
    let rule = json!({ "behaviour": { "reply": reply, "token_delay_ms": wait } });
    stack.control(&json!({ "rules": [rule] })).await?;

    let before = memory()?;
    let (opened, mut count) = watch::channel(0_usize);
    let mut streams = JoinSet::new();
    let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(OPENING));
    let began = Instant::now();
    for index in 0..open {
        let slot = slots.clone().acquire_owned().await?;
        let request = people.paid(stack.proxy, index, "hello");
        let (address, opened) = (stack.proxy, opened.clone());
        streams.spawn(async move {
            let came = one_stream(address, &request, words, || {
                drop(slot);
                opened.send_modify(|count| *count += 1);
            });
            came.await.unwrap_or(Came::Lost)
        });
    }
    let all_open = timeout(OPENING_TIMEOUT, count.wait_for(|count| *count == open)).await;
    let took = began.elapsed();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let during = memory()?;
    let still_open = streams.len();
    let mut whole = 0;
    while let Some(came) = streams.join_next().await {
        whole += usize::from(came? == Came::Whole);
    }
    stack.control(&json!({ "rules": [] })).await?;

    let each = during.saturating_sub(before) / u64::try_from(open.max(1))?;
    table.note(format!(
        "{open} streams at two words a second: all open after {:.1} s{}, {:.1} KiB each (aim: at most 40), {} lost; the \
         proxy had {} MiB before and {} MiB with {still_open} open",
        took.as_secs_f64(),
        if all_open.is_ok() { "" } else { " (not all!)" },
        f64::from(u32::try_from(each)?) / 1024.0,
        open - whole,
        before >> 20,
        during >> 20,
    ));
    Ok(())
}

/// Reads one stream to its end; `opened` is called at its first word.
async fn one_stream(
    address: SocketAddr,
    request: &[u8],
    words: usize,
    opened: impl FnOnce(),
) -> anyhow::Result<Came> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    let mut opened = Some(opened);
    let (mut seen, mut ended) = (0, false);
    let mut rest: Vec<u8> = Vec::new();
    while !ended && stream.read_buf(&mut rest).await? > 0 {
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            seen += usize::from(find(&line, TOKEN).is_some());
            ended |= find(&line, END).is_some();
        }
        if seen > 0
            && let Some(opened) = opened.take()
        {
            opened();
        }
    }
    Ok(if ended && seen == words {
        Came::Whole
    } else {
        Came::Lost
    })
}
