//! The second factor: codes of an authenticator app (TOTP, RFC 6238) and recovery codes for when the app is lost.

use chrono::{DateTime, Duration, Utc};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use totp_rs::{Algorithm, Builder, Totp, TotpError};

use super::readable;

/// RFC 4226 section 4 recommends 160 bits.
pub const SECRET_BYTES: usize = 20;

/// What every authenticator app can do.
const ALGORITHM: Algorithm = Algorithm::SHA1;
const DIGITS: u8 = 6;
const STEP_SECS: u64 = 30;

/// Steps that the phone's clock may be early or late.
const SKEW: u16 = 1;

/// Recovery codes handed out together.
pub const RECOVERY_CODES: usize = 10;

/// Symbols of a recovery code: 60 bits.
const RECOVERY_SYMBOLS: usize = 12;

/// How long a secret that was shown waits for its first code.
pub const SETUP_LIFE: Duration = Duration::hours(1);

/// Wrong codes in a row that cost nothing.
pub const FREE_GUESSES: i32 = 5;

/// The longest wait between two guesses. Whoever guesses knows the password; with three of a million codes good at a
/// time, a day of guessing succeeds once in a thousand. Recovery codes are not slowed, so the owner always gets in.
const WAIT_MAX: Duration = Duration::minutes(5);

/// After this long without a wrong code all is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::hours(24);

/// What somebody offers as their second factor.
#[derive(Clone, Debug)]
pub enum Proof {
    /// Six digits of the authenticator app.
    Totp(SecretString),
    /// One of the codes that were handed out.
    Recovery(SecretString),
}

/// Wrong codes in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guesses {
    /// How many.
    pub count: i32,
    /// When the last one came.
    pub last_at: Option<DateTime<Utc>>,
}

impl Guesses {
    /// How long the next guess has to wait; not at all when it may come now.
    pub fn wait(self, now: DateTime<Utc>) -> Option<Duration> {
        let last_at = self.last_at.filter(|last_at| now < *last_at + FORGOTTEN_AFTER)?;
        let excess = u32::try_from(self.count.checked_sub(FREE_GUESSES)?).ok()?;
        let doubled = Duration::seconds(1_i64.checked_shl(excess.min(32)).unwrap_or(i64::from(u32::MAX)));
        let wait = last_at + doubled.min(WAIT_MAX) - now;
        (wait > Duration::zero()).then_some(wait)
    }

    /// With one more guess, which comes now.
    pub fn with_one_more(self, now: DateTime<Utc>) -> Self {
        let is_forgotten = self
            .last_at
            .is_none_or(|last_at| now >= last_at + FORGOTTEN_AFTER);
        Self {
            count: if is_forgotten {
                1
            } else {
                self.count.saturating_add(1)
            },
            last_at: Some(now),
        }
    }
}

/// The step whose code this is, at `now` or one step to either side. Space between the digits does not count.
pub fn matching_step(secret: &SecretSlice<u8>, code: &SecretString, now: DateTime<Utc>) -> Option<i64> {
    let totp = totp(secret, "", "").ok()?;
    let digits: String = code.expose_secret().chars().filter(|one| *one != ' ').collect();
    let step = totp.check(&digits, u64::try_from(now.timestamp()).ok()?)?;
    i64::try_from(step).ok()
}

/// The secret as people type it where no camera is at hand, and the address that the QR code holds.
pub fn for_the_app(
    secret: &SecretSlice<u8>,
    issuer: &str,
    account: &str,
) -> Result<(SecretString, SecretString), TotpError> {
    let totp = totp(secret, issuer, account)?;
    let uri = totp.to_url()?;
    Ok((totp.secret().to_base32().into(), uri.into()))
}

fn totp(secret: &SecretSlice<u8>, issuer: &str, account: &str) -> Result<Totp, TotpError> {
    Builder::new()
        .with_algorithm(ALGORITHM)
        .with_digits(DIGITS)
        .with_skew(SKEW)
        .with_step_duration(STEP_SECS)
        .with_secret(secret.expose_secret().to_vec())
        .with_account_name(account)
        .with_issuer((!issuer.is_empty()).then_some(issuer))
        .build()
}

/// A new recovery code as it is shown.
pub fn recovery_code(random: impl FnMut() -> u8) -> String {
    readable::text(random, RECOVERY_SYMBOLS)
}

/// A recovery code as it is hashed, however it was typed; `None` when it cannot be one.
pub fn typed_recovery_code(typed: &SecretString) -> Option<SecretString> {
    readable::normalised(typed.expose_secret(), RECOVERY_SYMBOLS).map(SecretString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> SecretSlice<u8> {
        SecretSlice::from(b"12345678901234567890".to_vec())
    }

    fn time(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(secs, 0).unwrap()
    }

    fn step(code: &str, secs: i64) -> Option<i64> {
        matching_step(&secret(), &SecretString::from(code), time(secs))
    }

    /// RFC 6238 appendix B, the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (secs, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(step(code, secs), Some(secs / 30), "{secs}");
        }
    }

    #[test]
    fn a_code_is_good_one_step_early_and_late_and_names_its_own_step() {
        let own = 1_234_567_890 / 30;
        for shift in [-30, 0, 30] {
            assert_eq!(step("005924", 1_234_567_890 + shift), Some(own), "{shift}");
        }
        for shift in [-60, 60] {
            assert_eq!(step("005924", 1_234_567_890 + shift), None, "{shift}");
        }
        assert_eq!(step("005 924", 1_234_567_890), Some(own));
        for code in ["", "5924", "+05924", "0059240", "00592a", "٠٠٥٩٢٤", "005924\n"] {
            assert_eq!(step(code, 1_234_567_890), None, "{code:?}");
        }
    }

    #[test]
    fn the_app_is_told_everything() {
        let (text, uri) = for_the_app(&secret(), "Flow & Gate", "ada+x@example.com").unwrap();
        assert_eq!(text.expose_secret(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let uri: url::Url = uri.expose_secret().parse().unwrap();
        assert_eq!((uri.scheme(), uri.host_str()), ("otpauth", Some("totp")));
        let query = |name: &str| {
            let mut pairs = uri.query_pairs();
            pairs
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        };
        assert_eq!(query("secret").as_deref(), Some(text.expose_secret()));
        assert_eq!(query("issuer").as_deref(), Some("Flow & Gate"));
    }

    #[test]
    fn guesses_are_slowed_and_forgotten() {
        let start = time(1_000_000);
        let mut guesses = Guesses::default();
        for _ in 0..FREE_GUESSES {
            assert_eq!(guesses.wait(start), None);
            guesses = guesses.with_one_more(start);
        }
        let mut waits = Vec::new();
        for _ in 0..11 {
            waits.push(guesses.wait(start).unwrap().num_seconds());
            guesses = guesses.with_one_more(start);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(guesses.wait(start + WAIT_MAX), None);
        assert_eq!(guesses.with_one_more(start + FORGOTTEN_AFTER).count, 1);
        assert_eq!(
            Guesses {
                count: i32::MAX,
                last_at: Some(start)
            }
            .wait(start),
            Some(WAIT_MAX)
        );
    }

    #[test]
    fn recovery_codes_are_read_however_they_are_typed() {
        let shown = recovery_code(|| 17);
        assert_eq!(shown.len(), 14);
        let typed = |text: &str| typed_recovery_code(&SecretString::from(text));
        let plain = typed(&shown).unwrap();
        assert_eq!(plain.expose_secret().len(), RECOVERY_SYMBOLS);
        let upper = typed(&format!(" {} ", shown.to_uppercase())).unwrap();
        assert_eq!(upper.expose_secret(), plain.expose_secret());
        assert!(typed("123456").is_none());
    }
}
