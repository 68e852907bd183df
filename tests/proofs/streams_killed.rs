//! The proxy is killed with hundreds of live streams, again and again: each turn is settled once or voided, the history is
//! whole, and the books agree.

use std::time::Duration;

use system_tests::{
    flowise::{Behaviour, Rule},
    process::Process,
};

use crate::{
    chats::{
        Leaves, PROGRAM, all_seen, check_books, check_history, everybody_asks, people, platform_for_crowds,
    },
    ledger::{Dice, seed, size},
};

/// Forty words, so that some streams are at their end when the first ones are at their beginning.
fn answer() -> String {
    (0..39)
        .map(|word| format!("word{word} "))
        .chain(["last".to_owned()])
        .collect()
}

#[actix_web::test]
async fn each_turn_is_settled_once_and_the_history_is_whole() {
    let kills = size("PROVE_PROXY_KILLS", 3);
    let streams = size("PROVE_STREAMS", 24);
    let mut dice = Dice::new(seed(), 0);
    let platform = platform_for_crowds(&[("TURN_LEASE_SECS", "3")]).await;
    let people = people(&platform, streams).await;
    platform.flowise.tell(Rule::always(Behaviour {
        reply: Some(answer()),
        token_delay_ms: Some(25),
        ..Behaviour::default()
    }));

    let mut seen = Vec::new();
    for kill in 0..kills {
        let proxy = Process::start(PROGRAM, "proxy-service", &platform.proxy_environment()).await;
        let turns = everybody_asks(&proxy, &people, streams, Leaves::Never);
        // At any moment from the first hold to the last settlement.
        tokio::time::sleep(Duration::from_millis(
            u64::try_from(dice.between(20, 1_800)).unwrap(),
        ))
        .await;
        proxy.kill().await;
        let told = all_seen(turns).await;
        let (ended, begun) = (
            told.iter().filter(|(_, seen)| seen.ended).count(),
            told.iter().filter(|(_, seen)| !seen.text.is_empty()).count(),
        );
        println!("kill {kill}: {begun} of {streams} streams had begun, {ended} had ended");
        seen.extend(told);
    }

    let proxy = Process::start(PROGRAM, "proxy-service", &platform.proxy_environment()).await;
    let captured = check_books(&platform, &people).await;
    check_history(&platform, &seen, &answer()).await;
    let ended = seen.iter().filter(|(_, seen)| seen.ended).count();
    assert!(
        captured >= i64::try_from(ended).unwrap(),
        "whoever saw the end has paid"
    );
    let begun = seen.iter().filter(|(_, seen)| seen.session_id.is_some()).count();
    assert!(begun > 0, "streams were alive");
    let holds = platform
        .count("SELECT count(*) AS count FROM streaming_sessions")
        .await;
    let turns = platform.count_documents("turns", "state", "settled").await;
    println!("{turns} turns, {holds} holds, {captured} paid for, {ended} seen to their end");
    proxy.kill().await;
}
