//! Limits of visitors, counted here and in Redis.

use common_http::Metrics;
use test_support::redis_url;
use uuid::Uuid;

use super::*;
use crate::{config::LimitsConfig, domain::pace::Pace, service::limits::Limits};

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

fn config() -> ProtectionConfig {
    ProtectionConfig {
        address_per_minute: 6,
        address_per_hour: 1_000,
        session_per_minute: 3,
        domain_per_minute: 1_000,
        response: ThreatResponse::Log,
    }
}

fn protection(config: ProtectionConfig, is_shared: bool) -> Protection {
    let free = Pace { per_sec: 0, burst: 1 };
    let limits = LimitsConfig {
        address: free,
        user: free,
        redis_url: is_shared.then(|| redis_url().into()),
    };
    let metrics = Metrics::new("test").unwrap();
    let limits = Limits::new(&limits, &metrics).unwrap();
    Protection::new(config, limits, Clock::System, &metrics).unwrap()
}

/// An address that no other test has used, nor an earlier run on the same Redis.
fn fresh_address() -> IpAddr {
    let bits = Uuid::new_v4().as_u128();
    std::net::Ipv6Addr::from_bits(bits | (1 << 120)).into()
}

fn speaker(session_id: &str, address: IpAddr) -> Speaker<'_> {
    Speaker {
        address,
        user_agent: Some(BROWSER),
        session_id,
        since: Clock::System.now(),
        messages: 0,
        browser_changed: false,
        site: None,
        embed_id: session_id,
        limits: MessageLimits::default(),
    }
}

fn code(ruling: &Ruling) -> &'static str {
    ruling.outcome.as_ref().err().map_or("ok", Error::code)
}

/// What `count` requests one after the other are answered.
async fn knock(protection: &Protection, address: IpAddr, count: usize) -> Vec<&'static str> {
    let mut codes = Vec::new();
    for _ in 0..count {
        codes.push(code(&protection.of_request(address, None).await));
    }
    codes
}

#[tokio::test]
async fn an_address_passes_up_to_its_limit_and_is_kept_out_when_it_goes_on() {
    for is_shared in [false, true] {
        let (protection, address) = (protection(config(), is_shared), fresh_address());
        let codes = knock(&protection, address, 12).await;
        assert_eq!(codes[..6], ["ok"; 6]);
        // Half of the limit more, and it is blocked.
        assert_eq!(codes[6..10], ["rate_limited"; 4]);
        assert_eq!(codes[10..], ["temporarily_blocked"; 2], "shared: {is_shared}");
        let ruling = protection.of_request(address, None).await;
        let Err(Error::Blocked { retry_after_secs }) = ruling.outcome else {
            panic!("{ruling:?}");
        };
        assert!((290..=300).contains(&retry_after_secs), "{retry_after_secs}");
        assert!(
            ruling.told.iter().all(|told| told.limit != Limit::Block),
            "blocks are not shown among the limits"
        );
        assert_eq!(
            knock(&protection, fresh_address(), 1).await,
            ["ok"],
            "nobody else is"
        );
        assert_eq!(protection.blocks.with_label_values(&["spree"]).get(), 1);
    }
}

#[tokio::test]
async fn an_address_that_is_over_its_limit_again_and_again_is_kept_out_for_longer() {
    let (protection, address) = (protection(config(), false), fresh_address());
    let whose = customer(address).to_string();
    // Ten minutes of this hour it was over its limit already.
    let violations = Rate::within(VIOLATIONS_MAX, HOUR_SECS);
    for _ in 0..VIOLATIONS_MAX {
        let violation = Draw::new(Limit::Block, &format!("violation:{whose}"), violations);
        assert!(protection.take(violation).await);
    }
    knock(&protection, address, 7).await;
    let ruling = protection.of_request(address, None).await;
    let Err(Error::Blocked { retry_after_secs }) = ruling.outcome else {
        panic!("{ruling:?}");
    };
    assert!((1_790..=1_800).contains(&retry_after_secs), "{retry_after_secs}");
    assert_eq!(protection.blocks.with_label_values(&["offender"]).get(), 1);
}

#[tokio::test]
async fn who_is_refused_by_one_limit_takes_nothing_of_the_others() {
    for is_shared in [false, true] {
        let protection = protection(config(), is_shared);
        let (loud, quiet, embed) = (
            Uuid::new_v4().to_string(),
            Uuid::new_v4().to_string(),
            Uuid::new_v4().to_string(),
        );
        let of = |session| Speaker {
            embed_id: &embed,
            limits: MessageLimits {
                per_minute: Some(5),
                per_hour: Some(100),
                per_day: None,
            },
            ..speaker(session, fresh_address())
        };
        let mut codes = Vec::new();
        for session in [&loud, &loud, &loud, &loud, &loud, &loud, &quiet, &quiet, &quiet] {
            let ruling = protection.of_message(&of(session), "How are you?").await;
            codes.push((code(&ruling), refused_by(&ruling.told)));
        }
        assert_eq!(codes[..3], [("ok", None); 3]);
        assert_eq!(codes[3..6], [("rate_limited", Some(Limit::WidgetSession)); 3]);
        assert_eq!(
            codes[6..8],
            [("ok", None); 2],
            "the embed had two left, shared: {is_shared}"
        );
        assert_eq!(codes[8], ("rate_limited", Some(Limit::EmbedMinute)));
    }
}

#[tokio::test]
async fn a_class_of_two_hundred_behind_one_address_gets_through_where_the_operator_lets_it() {
    let config = ProtectionConfig {
        address_per_minute: 2_000,
        address_per_hour: 20_000,
        ..config()
    };
    let (protection, address) = (protection(config, false), fresh_address());
    for pupil in 0..200 {
        let session = format!("pupil-{pupil}");
        protection.note_session(address).await;
        for _ in 0..3 {
            assert_eq!(
                code(&protection.of_request(address, Some("school.example")).await),
                "ok"
            );
            let ruling = protection
                .of_message(&speaker(&session, address), "Was ist ein Baum?")
                .await;
            assert_eq!(code(&ruling), "ok");
        }
    }
    assert_eq!(protection.threats.with_label_values(&["session"]).get(), 0);
}

#[tokio::test]
async fn sites_have_a_limit_of_their_own_and_zero_is_none() {
    let config = ProtectionConfig {
        address_per_minute: 0,
        address_per_hour: 0,
        domain_per_minute: 2,
        ..config()
    };
    let protection = protection(config, false);
    let mut codes = Vec::new();
    for site in [
        Some("a.example"),
        Some("a.example"),
        Some("a.example"),
        Some("b.example"),
        None,
    ] {
        codes.push(code(&protection.of_request(fresh_address(), site).await));
    }
    assert_eq!(codes, ["ok", "ok", "rate_limited", "ok", "ok"]);
}

#[tokio::test]
async fn what_looks_wrong_is_logged_or_refused_as_the_operator_wants() {
    let curl = |session| Speaker {
        user_agent: Some("curl/8.5.0"),
        ..speaker(session, fresh_address())
    };
    let logging = protection(config(), false);
    assert_eq!(code(&logging.of_message(&curl("one"), "test").await), "ok");
    assert_eq!(logging.threats.with_label_values(&["bot"]).get(), 1);

    let blocking = protection(
        ProtectionConfig {
            response: ThreatResponse::Block,
            ..config()
        },
        false,
    );
    assert_eq!(
        code(&blocking.of_message(&curl("two"), "test").await),
        "message_refused"
    );
    let question = "How do I select and update a row -- or drop a table?";
    assert_eq!(code(&blocking.of_message(&curl("two"), question).await), "ok");
}

#[tokio::test]
async fn a_session_that_looks_like_somebody_elses_is_ended_where_the_operator_wants_it() {
    let blocking = ProtectionConfig {
        response: ThreatResponse::Block,
        ..config()
    };
    let protection = protection(blocking, false);
    let session = "moved";
    assert_eq!(
        code(
            &protection
                .of_message(&speaker(session, fresh_address()), "Hello")
                .await
        ),
        "ok"
    );
    let elsewhere = fresh_address();
    for _ in 0..6 {
        protection.note_session(elsewhere).await;
    }
    let thief = Speaker {
        browser_changed: true,
        ..speaker(session, elsewhere)
    };
    let ruling = protection.of_message(&thief, "Hello").await;
    assert!(
        matches!(
            ruling.outcome,
            Err(Error::Blocked {
                retry_after_secs: 3_600
            })
        ),
        "{ruling:?}"
    );
    assert_eq!(
        code(&protection.of_message(&speaker(session, elsewhere), "Hello").await),
        "temporarily_blocked"
    );
    assert_eq!(
        code(&protection.of_message(&speaker("other", elsewhere), "Hello").await),
        "ok"
    );
}
