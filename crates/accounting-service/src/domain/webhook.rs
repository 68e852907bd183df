//! Webhooks in the form of Standard Webhooks: who signs, what is signed, and how patient the sender is.

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::TimeDelta;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

/// What a secret begins with.
const SECRET_PREFIX: &str = "whsec_";

/// How long a secret is, decoded (Standard Webhooks: 192 to 512 bits).
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The pause after the first failure; each one after it is four times as long.
const PAUSE_SECS: i64 = 5;

/// The longest pause.
const PAUSE_SECS_MAX: i64 = 6 * 60 * 60;

/// Signs messages with every secret that is in use: while one replaces another, both sign.
#[derive(Clone)]
pub struct WebhookSigner {
    keys: Vec<hmac::Key>,
}

impl std::fmt::Debug for WebhookSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WebhookSigner of {} secrets", self.keys.len())
    }
}

/// The secrets cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be whsec_ and 24 to 64 random bytes in base64; several with commas between them")]
pub struct BadSecret;

impl WebhookSigner {
    /// A signer with the secrets in `text`, which are separated by commas.
    pub fn parse(text: &SecretString) -> Result<Self, BadSecret> {
        let keys = text.expose_secret().split(',').map(|secret| {
            let encoded = secret.trim().strip_prefix(SECRET_PREFIX).ok_or(BadSecret)?;
            let bytes = STANDARD.decode(encoded).or(Err(BadSecret))?;
            if !SECRET_BYTES.contains(&bytes.len()) {
                return Err(BadSecret);
            }
            Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
        });
        Ok(Self {
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// The header `webhook-signature`: one signature for each secret.
    pub fn sign(&self, id: &str, timestamp: i64, payload: &str) -> String {
        let signed = format!("{id}.{timestamp}.{payload}");
        let signatures = self
            .keys
            .iter()
            .map(|key| format!("v1,{}", STANDARD.encode(hmac::sign(key, signed.as_bytes()))));
        signatures.collect::<Vec<_>>().join(" ")
    }
}

/// How long to wait after the failed attempt number `attempt`: from half of four times the last pause to all of it, so
/// that messages which failed together do not come back together.
pub fn pause_after(attempt: u32, message: Uuid) -> TimeDelta {
    let whole = (0..attempt.saturating_sub(1)).fold(PAUSE_SECS, |pause, _| (pause * 4).min(PAUSE_SECS_MAX));
    let mut seed = message.into_bytes().to_vec();
    seed.extend(attempt.to_be_bytes());
    let hash = digest::digest(&digest::SHA256, &seed);
    let luck = hash.as_ref().first().copied().unwrap_or_default();
    let millis = whole * 1_000;
    TimeDelta::milliseconds(millis / 2 + millis / 2 * i64::from(luck) / 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(text: &str) -> Result<WebhookSigner, BadSecret> {
        WebhookSigner::parse(&SecretString::from(text))
    }

    #[test]
    fn signatures_are_those_of_the_standards_example() {
        let signer = signer("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = signer.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_secret_in_use_signs() {
        let (old, new) = (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        );
        let alone = |secret| signer(secret).unwrap().sign("id", 1, "{}");
        let both = signer(&format!("{new}, {old}")).unwrap().sign("id", 1, "{}");
        assert_eq!(both, format!("{} {}", alone(new), alone(old)));
    }

    #[test]
    fn secrets_of_another_form_are_refused() {
        for text in [
            "",
            "secret",
            "whsec_",
            "whsec_c2hvcnQ=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw,",
            "whsec_!!!!9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            assert!(signer(text).is_err(), "{text:?}");
        }
        let long = STANDARD.encode([7; 65]);
        assert!(signer(&format!("whsec_{long}")).is_err());
    }

    #[test]
    fn pauses_grow_fourfold_with_luck_up_to_six_hours() {
        let mut whole = 5;
        for attempt in 1..20 {
            for _ in 0..50 {
                let pause = pause_after(attempt, Uuid::new_v4());
                assert!(
                    pause >= TimeDelta::milliseconds(whole * 500),
                    "{attempt}: {pause}"
                );
                assert!(pause <= TimeDelta::seconds(whole), "{attempt}: {pause}");
            }
            whole = (whole * 4).min(6 * 60 * 60);
        }
    }
}
