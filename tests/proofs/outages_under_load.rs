//! Redis, MongoDB, accounting-service and Flowise are each taken away from a proxy that is busy, and given back: people are told the
//! right thing meanwhile, the proxy goes on without a restart, and nothing is left behind.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use system_tests::{
    flowise::{Behaviour, Rule},
    link::Link,
    person::Person,
    process::Process,
};
use test_support::redis_url;
use tokio::task::JoinHandle;

use crate::{
    chats::{Leaves, PROGRAM, Seen, chat, check_books, check_history, people, platform_for_crowds},
    ledger::size,
};

/// Ten words, half a second.
const ANSWER: &str = "one two three four five six seven eight nine last";

/// The metric that says whether Redis counts for all replicas.
const COUNT_TOGETHER: &str = "rate_limit_shared_up";

/// What was told how often: statuses with codes.
type Told = BTreeMap<String, usize>;

/// People who ask one question after the other.
struct Crowd {
    stop: Arc<AtomicBool>,
    /// Counts the times that something went or was back.
    now: Arc<AtomicUsize>,
    /// By the time at which was asked.
    told: Arc<Mutex<BTreeMap<usize, Told>>>,
    clients: Vec<JoinHandle<Vec<(Person, Seen)>>>,
}

impl Crowd {
    fn gather(proxy: &Process, people: &[Person], clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (now, told) = (
            Arc::<AtomicUsize>::default(),
            Arc::<Mutex<BTreeMap<usize, Told>>>::default(),
        );
        let clients = people.iter().cycle().take(clients).cloned().map(|person| {
            let (client, stop, now, told) = (proxy.client(), stop.clone(), now.clone(), told.clone());
            tokio::spawn(async move {
                let mut all = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let asked = now.load(Ordering::Relaxed);
                    let seen = chat(&client, &person, "hello", Leaves::Never).await;
                    *told
                        .lock()
                        .unwrap()
                        .entry(asked)
                        .or_default()
                        .entry(outcome(&seen))
                        .or_default() += 1;
                    if seen.status != Some(200) {
                        // Whoever is refused does not knock without a pause.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    all.push((person.clone(), seen));
                }
                all
            })
        });
        Self {
            clients: clients.collect(),
            stop,
            now,
            told,
        }
    }

    /// Something goes, or is back.
    fn begin_next_time(&self) {
        self.now.fetch_add(1, Ordering::Relaxed);
    }

    /// What was told since the last look to those who asked in this time or the one before. Who asked earlier may have
    /// met something else that was away.
    fn told(&self) -> Told {
        let all = std::mem::take(&mut *self.told.lock().unwrap());
        let recent = self.now.load(Ordering::Relaxed).saturating_sub(1)..;
        let mut told = Told::new();
        for (_, answers) in all.into_iter().filter(|(asked, _)| recent.contains(asked)) {
            for (answer, count) in answers {
                *told.entry(answer).or_default() += count;
            }
        }
        told
    }

    async fn stop(self) -> Vec<(Person, Seen)> {
        self.stop.store(true, Ordering::Relaxed);
        let all = join_all(self.clients).await;
        all.into_iter().flat_map(Result::unwrap).collect()
    }
}

fn outcome(seen: &Seen) -> String {
    let status = seen
        .status
        .map_or("no answer".to_owned(), |status| status.to_string());
    match (&seen.code, seen.ended) {
        (Some(code), _) => format!("{status} {code}"),
        (None, true) => format!("{status} answered"),
        (None, false) => format!("{status} cut off"),
    }
}

/// What may be told while something is away. A turn that was running when it went may tell what it found; of Redis nobody
/// is to notice anything.
fn allowed(what: &str, told: &str) -> bool {
    if told == "200 answered" {
        return true;
    }
    match what {
        "MongoDB" => ["503 database_unavailable", "200 storage_unavailable"].contains(&told),
        "accounting-service" => told == "503 accounting_unavailable",
        "Flowise" => told.starts_with("200 upstream_") || told.starts_with("503 upstream_"),
        _ => false,
    }
}

/// Whether it is what somebody is told who only now begins to ask.
fn is_told_to_newcomers(what: &str, told: &str) -> bool {
    match what {
        "Redis" => told == "200 answered",
        "MongoDB" => told == "503 database_unavailable",
        _ => told != "200 answered" && allowed(what, told),
    }
}

async fn metric(proxy: &Process, name: &str) -> i64 {
    let text = proxy.client().get("/metrics").await.text;
    let line = text
        .lines()
        .find(|line| line.starts_with(name) && !line.starts_with('#'));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_default()
}

fn address_in(variables: &[(String, String)], name: &str) -> SocketAddr {
    let value = variables
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value);
    address_of(value.unwrap())
}

fn address_of(url: &str) -> SocketAddr {
    let url: url::Url = url.parse().unwrap();
    let (host, port) = (url.host_str().unwrap(), url.port().unwrap());
    SocketAddr::new(host.parse().unwrap(), port)
}

#[actix_web::test]
async fn people_are_told_the_right_thing_and_nothing_is_left_behind() {
    let away = Duration::from_millis(u64::try_from(size("PROVE_OUTAGE_MILLIS", 1_500)).unwrap());
    let clients = size("PROVE_OUTAGE_CLIENTS", 12);
    let open_secs = size("PROVE_BREAKER_OPEN_SECS", 2);
    let platform = platform_for_crowds(&[
        ("TURN_LEASE_SECS", "5"),
        ("UPSTREAM_BREAKER_OPEN_SECS", &open_secs.to_string()),
    ])
    .await;
    let people = people(&platform, clients).await;
    platform.flowise.tell(Rule::always(Behaviour {
        reply: Some(ANSWER.to_owned()),
        token_delay_ms: Some(50),
        ..Behaviour::default()
    }));
    let variables = platform.proxy_environment();
    let link = |name| Link::to(address_in(&variables, name)).unwrap();
    let mut links = [
        ("Redis", Link::to(address_of(&redis_url())).unwrap()),
        ("accounting-service", link("ACCOUNTING_SERVICE_URL")),
        ("Flowise", link("FLOWISE_API_URL")),
        ("MongoDB", link("MONGODB_URI")),
    ];
    let url = |index: usize| format!("http://{}", links[index].1.address);
    // A database of Redis that no other test counts in.
    let redis = format!("redis://{}/1", links[0].1.address);
    let mongodb = format!("mongodb://{}/?directConnection=true", links[3].1.address);
    let changes = [
        ("REDIS_URL", redis),
        ("ACCOUNTING_SERVICE_URL", url(1)),
        ("FLOWISE_API_URL", url(2)),
        ("MONGODB_URI", mongodb),
    ];
    let changes = changes.each_ref().map(|(name, value)| (*name, value.as_str()));
    let variables = platform.proxy_environment_with(&changes);
    let proxy = Process::start(PROGRAM, "proxy-service", &variables).await;

    let crowd = Crowd::gather(&proxy, &people, clients);
    tokio::time::sleep(away).await;
    let usual = crowd.told();
    println!("usually: {usual:?}");
    assert!(usual.keys().all(|told| told == "200 answered"), "{usual:?}");
    let memory = proxy.memory_bytes();
    assert_eq!(metric(&proxy, COUNT_TOGETHER).await, 1, "Redis counts");
    for (what, link) in &mut links {
        link.pull_out().await;
        crowd.begin_next_time();
        let newcomer = proxy.client();
        let asks = people
            .iter()
            .map(|person| chat(&newcomer, person, "hello", Leaves::Never));
        let (newcomers, ()) = tokio::join!(join_all(asks), tokio::time::sleep(away));
        let counts_together = metric(&proxy, COUNT_TOGETHER).await == 1;
        assert_eq!(counts_together, *what != "Redis", "without {what}");
        let meanwhile = crowd.told();
        link.put_back().unwrap();
        println!("without {what}: {meanwhile:?}");
        let wrong: Vec<_> = meanwhile.keys().filter(|told| !allowed(what, told)).collect();
        assert!(wrong.is_empty(), "without {what}: {wrong:?}");
        let newcomers: Vec<String> = newcomers.iter().map(outcome).collect();
        assert!(
            newcomers.iter().all(|told| is_told_to_newcomers(what, told)),
            "without {what}: {newcomers:?}"
        );
        let back = async {
            while !crowd.told().contains_key("200 answered") {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        // A circuit breaker that has opened tries again after a while.
        let back = tokio::time::timeout(Duration::from_secs(90), back).await;
        assert!(back.is_ok(), "{what} is back and nobody is answered");
        crowd.begin_next_time();
        crowd.told();
    }
    let seen = crowd.stop().await;
    let captured = check_books(&platform, &people).await;

    check_history(&platform, &seen, ANSWER).await;
    for name in ["turns_active", "outbox_backlog"] {
        platform
            .until("nothing is left", async || metric(&proxy, name).await == 0)
            .await;
    }
    assert_eq!(metric(&proxy, COUNT_TOGETHER).await, 1, "Redis counts again");
    let grown = proxy.memory_bytes().saturating_sub(memory) >> 20;
    println!(
        "{} turns, {captured} paid for, memory grew by {grown} MiB",
        seen.len()
    );
    assert!(grown < 64, "memory grew by {grown} MiB");
    proxy.kill().await;
}
