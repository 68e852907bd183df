//! Hundreds of clients leave at each stage, where a turn nobody waits for is aborted at once: what they pay is what the
//! payment table says, Flowise is told to stop, and nothing stays open.

use std::time::Instant;

use system_tests::{
    flowise::{Behaviour, Ending, Rule, chatflow},
    process::Process,
};

use crate::{
    chats::{CREDITS, Leaves, PROGRAM, all_seen, check_books, everybody_asks, people, platform_for_crowds},
    ledger::{size, variable},
};

/// What a stage is, what Flowise does in it, and what a turn that ends there costs.
struct Stage {
    name: &'static str,
    leaves: Leaves,
    behaviour: Behaviour,
    /// `None` where the turn's end and the client's race.
    cost: Option<i64>,
    /// Whether Flowise is in the middle of its answer when the client leaves.
    runs: bool,
}

fn stages() -> [Stage; 4] {
    let reply = |tokens: &str| Some(tokens.to_owned());
    [
        Stage {
            name: "before Flowise has answered",
            leaves: Leaves::AtTheHead,
            behaviour: Behaviour {
                hang_before_head: true,
                ..Behaviour::default()
            },
            cost: Some(0),
            runs: true,
        },
        Stage {
            name: "before the first word",
            leaves: Leaves::AtTheHead,
            behaviour: Behaviour {
                ending: Some((0, Ending::Hang)),
                ..Behaviour::default()
            },
            cost: Some(0),
            runs: true,
        },
        Stage {
            name: "in the middle",
            leaves: Leaves::AtTheFirstToken,
            behaviour: Behaviour {
                ending: Some((2, Ending::Hang)),
                ..Behaviour::default()
            },
            cost: Some(1),
            runs: true,
        },
        Stage {
            name: "after the last word",
            leaves: Leaves::AtTheLastToken,
            behaviour: Behaviour {
                reply: reply("first last"),
                ..Behaviour::default()
            },
            cost: Some(1),
            runs: false,
        },
    ]
}

#[actix_web::test]
async fn what_they_pay_is_what_the_table_says() {
    let clients = size("PROVE_LEAVERS", 20);
    let abort_millis: Option<u128> = variable("PROVE_ABORT_MILLIS");
    let mut platform = platform_for_crowds(&[("ABANDONED_TURN_DRAIN_SECS", "0")]).await;
    // The agentflow listens to an abort; a classic chain would run on.
    platform.chatflow_id = chatflow::LLM.to_owned();
    let people = people(&platform, clients).await;
    let proxy = Process::start(PROGRAM, "proxy-service", &platform.proxy_environment()).await;

    let mut paid = 0;
    for stage in stages() {
        platform.flowise.forget_rules();
        platform.flowise.tell(Rule::always(stage.behaviour));
        let before = platform.flowise.counts();
        let asked = u64::try_from(clients).unwrap();
        let turns = everybody_asks(&proxy, &people, clients, stage.leaves);
        let seen = all_seen(turns).await;
        let left = Instant::now();
        assert!(
            seen.iter().all(|(_, seen)| seen.status == Some(200)),
            "{}: {seen:?}",
            stage.name
        );
        // A turn whose client left before Flowise was asked does not ask it.
        platform
            .until("Flowise works on nothing any more", async || {
                platform.flowise.counts().running == 0
            })
            .await;
        let quiet = left.elapsed().as_millis();
        let captured = check_books(&platform, &people).await;
        let counts = platform.flowise.counts();
        let aborts = counts.abort_calls - before.abort_calls;
        println!(
            "{}: {clients} clients, {} asked Flowise, {aborts} aborts, silent after {quiet} ms, {} paid",
            stage.name,
            counts.predictions - before.predictions,
            captured - paid,
        );
        if let Some(limit) = abort_millis {
            assert!(quiet <= limit, "{}: {quiet} ms", stage.name);
        }
        if let Some(cost) = stage.cost {
            assert_eq!(
                captured - paid,
                cost * i64::try_from(clients).unwrap(),
                "{}",
                stage.name
            );
        }
        if stage.runs && stage.cost != Some(0) {
            // A run that had not begun to answer is aborted a second time, which may be counted in the next stage.
            assert!(aborts >= asked, "{}: every run is aborted: {aborts}", stage.name);
        }
        paid = captured;
    }
    assert_eq!(platform.open_holds().await, 0);
    assert!(paid < CREDITS);
    proxy.kill().await;
}
