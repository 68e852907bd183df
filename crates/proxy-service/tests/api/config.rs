//! What the service is told at its start: what it refuses to start with, and what older deployments may leave as it is.

use std::time::Duration;

use common_config::Env;
use proxy_service::Config;

const SECRET: &str = "c4f0b8d2e6a19375c4f0b8d2e6a19375";
const OTHER: &str = "0d9c41b7e83f2a5c6d70e18b94fa3327";

/// What has to be said, with these variables said otherwise; an empty one is not said at all.
fn read(changes: &[(&str, &str)]) -> Result<Config, String> {
    let mut variables = vec![
        ("MONGODB_URI", "mongodb://mongodb:27017/flowise_proxy"),
        ("JWT_ACCESS_SECRET", SECRET),
        ("SERVICE_JWT_SECRET", OTHER),
        ("FLOWISE_API_URL", "http://flowise:3000"),
    ];
    variables.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    variables.extend(changes);
    let env = Env::from_pairs(variables);
    Config::from_env(&env).map_err(|_told| env.mistakes().join("; "))
}

#[test]
fn without_good_secrets_nothing_starts() {
    assert!(read(&[]).is_ok());
    for (name, bad) in [
        ("JWT_ACCESS_SECRET", "dev-secret-key-change-in-production"),
        ("JWT_ACCESS_SECRET", "your-super-secret-jwt-key-of-some-length"),
        ("JWT_ACCESS_SECRET", "short"),
        ("JWT_ACCESS_SECRET", ""),
        ("JWT_ACCESS_SECRET_PREVIOUS", "short"),
        ("JWT_ACCESS_SECRET", OTHER),
        ("SERVICE_JWT_SECRET", "changemechangemechangemechangeme"),
        ("SERVICE_JWT_SECRET", ""),
        ("MONGODB_URI", ""),
        ("FLOWISE_API_URL", ""),
        ("FLOWISE_API_URL", "flowise"),
    ] {
        let why = read(&[(name, bad)]).expect_err(&format!("{name}={bad}"));
        assert!(why.contains(name), "{name}={bad}: {why}");
        assert!(
            bad.is_empty() || bad.len() < 10 || !why.contains(bad),
            "{why} repeats the secret"
        );
    }
}

/// Variables that once opened doors or wiped data: nobody reads them any more, whatever they say.
#[test]
fn no_variable_shows_the_inside_or_forgets_what_was_kept() {
    let usual = format!("{:?}", read(&[]).unwrap());
    for name in [
        "DEBUG",
        "FORCE_COLLECTION_SETUP",
        "FAIL_ON_COLLECTION_SETUP_ERROR",
        "JWT_ALGORITHM",
    ] {
        for value in ["true", "1", "none"] {
            assert_eq!(
                format!("{:?}", read(&[(name, value)]).unwrap()),
                usual,
                "{name}={value}"
            );
        }
    }
    for secret in [SECRET, OTHER, "mongodb://"] {
        assert!(
            !usual.contains(secret),
            "what is printed of the configuration holds no secret"
        );
    }
}

#[test]
fn addresses_may_end_as_older_deployments_write_them() {
    for (name, older, written) in [
        ("EXTERNAL_AUTH_URL", "AUTH_API_URL", "http://auth-service:3000"),
        (
            "ACCOUNTING_SERVICE_URL",
            "ACCOUNTING_API_URL",
            "http://accounting-service:3001",
        ),
    ] {
        for name in [name, older] {
            for end in ["", "/", "/api", "/api/"] {
                let config = read(&[(name, &format!("{written}{end}"))]).unwrap();
                let url = if written.contains("auth") {
                    config.auth_url
                } else {
                    config.accounting_url
                };
                assert_eq!(url.as_str(), format!("{written}/"), "{name} with {end}");
            }
        }
    }
    let config = read(&[("MONGODB_URI", ""), ("MONGODB_URL", "mongodb://older:27017")]);
    assert!(config.is_ok(), "{config:?}");
}

#[test]
fn the_catalog_is_read_every_three_minutes_unless_somebody_says_otherwise() {
    for (variables, secs) in [
        (&[][..], 180),
        (&[("CHATFLOW_SYNC_INTERVAL_HOURS", "0.05")], 180),
        (&[("CHATFLOW_SYNC_INTERVAL_HOURS", "2")], 7_200),
        (&[("CHATFLOW_SYNC_INTERVAL_MINUTES", "60")], 3_600),
    ] {
        let config = read(variables).unwrap();
        assert_eq!(
            config.chatflow_sync_interval,
            Duration::from_secs(secs),
            "{variables:?}"
        );
        assert!(config.chatflow_sync);
    }
}

/// Nobody may be waited for without an end, and nothing may grow without one.
#[test]
fn every_wait_and_every_size_has_an_end() {
    let config = read(&[]).unwrap();
    let minute = Duration::from_mins(1);
    assert!(config.flowise.connect_timeout <= minute && config.flowise.header_timeout <= minute);
    assert!(
        config.streaming_max <= Duration::from_mins(15)
            && config.flowise.idle_timeout <= config.streaming_max
    );
    assert!(
        config.heartbeat < minute,
        "proxies cut connections that are silent for a minute"
    );
    assert!(config.limits.address.per_sec > 0 && config.limits.user.per_sec > 0);
    assert!(config.prompt_chars_max <= 32_000 && config.running_turns_per_user_max <= 20);
    for (name, endless) in [
        ("MAX_STREAMING_DURATION", "10000000"),
        ("FLOWISE_HEADER_TIMEOUT_SECS", "10000"),
        ("FLOWISE_IDLE_TIMEOUT_SECS", "0"),
        ("STREAM_HEARTBEAT_SECS", "3600"),
    ] {
        let why = read(&[(name, endless)]).expect_err(name);
        assert!(why.contains(name), "{why}");
    }
}

#[test]
fn pages_of_other_origins_are_named_under_either_name() {
    let origins = |variables: &[(&str, &str)]| read(variables).unwrap().cors_origins;
    assert!(
        origins(&[]).is_empty(),
        "no page of another origin unless it is named"
    );
    for name in ["CORS_ORIGIN", "CORS_ALLOW_ORIGINS"] {
        let named = origins(&[(name, "http://localhost:3082, https://chat.school.example")]);
        assert_eq!(named, ["http://localhost:3082", "https://chat.school.example"]);
    }
}
