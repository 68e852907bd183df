//! Every replica of every service is replaced while people chat: nobody notices, and every turn is paid once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use system_tests::{
    fleet::{Fleet, Guest, until},
    gateway::Gateway,
    platform::ADMIN,
};
use test_support::Client;

const PEOPLE: usize = 4;
const CREDITS: i64 = 100_000;

/// How long a replica that stops still takes requests: longer than the gateway needs to notice.
const NOTICED_SECS: &str = "3";

/// Chats and looks around until told to stop; how many turns there were.
async fn use_the_platform(guest: Guest, stop: Arc<AtomicBool>, rounds: Arc<AtomicI64>) -> i64 {
    let mut turns = 0;
    while !stop.load(Ordering::Relaxed) {
        guest
            .chat(&[])
            .await
            .unwrap_or_else(|failure| panic!("after {turns} turns: {failure}"));
        turns += 1;
        guest.auth.get("/api/profile").await.expect(200);
        guest.accounting.get("/api/credits/balance").await.expect(200);
        guest
            .proxy
            .get("/api/v1/chatflows/my-chatflows")
            .await
            .expect(200);
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    turns
}

#[actix_web::test]
async fn replacing_every_replica_under_load_fails_no_request_and_loses_no_credit() {
    let mut fleet = Fleet::start(crate::PROGRAM, 2, &[("SHUTDOWN_DELAY_SECS", NOTICED_SECS)]).await;
    let gateway = Gateway::start(&fleet.behind(), None).await;
    let outside = Client::new(gateway.url());
    for address in [&fleet.auth, &fleet.accounting, &fleet.proxy]
        .map(|service| service.addresses.clone())
        .concat()
    {
        until("the gateway knows every replica", async || {
            gateway.sends_to(address).await
        })
        .await;
    }
    let admin = Guest::log_in(&outside, &outside, &outside, ADMIN.0, ADMIN.2).await;
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let mut people = Vec::new();
    for index in 0..PEOPLE {
        let guest = admin.admits(&format!("guest{index}"), CREDITS).await;
        let work = use_the_platform(guest.clone(), Arc::clone(&stop), Arc::clone(&rounds));
        people.push((guest, tokio::spawn(work)));
    }

    let (program, services) = fleet.services();
    for service in services {
        for index in 0..2 {
            let before = rounds.load(Ordering::Relaxed);
            Fleet::stop(service, index).await;
            until("people go on with one replica less", async || {
                rounds.load(Ordering::Relaxed) > before || people.iter().any(|(_, work)| work.is_finished())
            })
            .await;
            Fleet::restart(program, service, index).await;
            let address = service.addresses[index];
            until("the gateway uses it again", async || {
                gateway.sends_to(address).await
            })
            .await;
        }
    }

    stop.store(true, Ordering::Relaxed);
    for (guest, work) in people {
        let turns = work.await.expect("every request was answered well");
        assert!(turns > 0);
        until("every turn is paid for, once", async || {
            guest.balance().await == CREDITS - turns
        })
        .await;
    }
    assert_eq!(fleet.verify_ledger().await, Ok(()));
}
