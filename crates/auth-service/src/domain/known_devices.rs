//! Which devices and networks somebody has signed in from, and whether a sign-in from a new one is worth a mail.

use chrono::{DateTime, Duration, Utc};

/// Devices and networks that are remembered of one person; the one not used for longest goes.
const SEEN_MAX: usize = 50;

/// What was not used for this long is new again.
const SEEN_FOR: Duration = Duration::days(180);

/// Mails to one person within [`MAIL_WINDOW`].
const MAILS_MAX: u32 = 5;

/// How long mails are counted.
const MAIL_WINDOW: Duration = Duration::hours(1);

/// How long a record without any sign-in is kept. Longer than its entries: somebody who comes back after a long time is
/// told of it.
pub const KEPT_FOR: Duration = Duration::days(400);

/// Something a person was seen with, as a keyed hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The hash.
    pub key: String,
    /// When last.
    pub at: DateTime<Utc>,
}

/// What is remembered of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownDevices {
    /// Newest first.
    pub seen: Vec<Seen>,
    /// When counting of mails began.
    pub mails_since: DateTime<Utc>,
    /// Mails since.
    pub mails: u32,
}

/// What is new about a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Novelty {
    /// The device was not seen before.
    pub device: bool,
    /// The network was not seen before.
    pub network: bool,
    /// Whether a mail may go out about it.
    pub may_mail: bool,
}

impl KnownDevices {
    /// Remembers a sign-in with these two; says what is new about it, if anything is.
    pub fn note(&mut self, device: &str, network: &str, now: DateTime<Utc>) -> Option<Novelty> {
        self.seen.retain(|seen| seen.at > now - SEEN_FOR);
        let is_new = |key: &str| self.seen.iter().all(|seen| seen.key != key);
        let (device_is_new, network_is_new) = (is_new(device), is_new(network));

        self.seen.retain(|seen| seen.key != device && seen.key != network);
        let both = [device, network].map(|key| Seen {
            key: key.to_owned(),
            at: now,
        });
        self.seen.splice(0..0, both);
        self.seen.truncate(SEEN_MAX);

        (device_is_new || network_is_new).then(|| Novelty {
            device: device_is_new,
            network: network_is_new,
            may_mail: self.count_mail(now),
        })
    }

    fn count_mail(&mut self, now: DateTime<Utc>) -> bool {
        if now >= self.mails_since + MAIL_WINDOW {
            (self.mails_since, self.mails) = (now, 0);
        }
        let may_mail = self.mails < MAILS_MAX;
        self.mails += u32::from(may_mail);
        may_mail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap() + Duration::hours(hours)
    }

    #[test]
    fn what_was_seen_is_not_new() {
        let mut known = KnownDevices::default();
        assert!(known.note("phone", "home", time(0)).is_some());
        assert_eq!(known.note("phone", "home", time(1)), None);
        let travels = known.note("phone", "hotel", time(2)).unwrap();
        assert_eq!((travels.device, travels.network), (false, true));
        let buys = known.note("laptop", "home", time(3)).unwrap();
        assert_eq!((buys.device, buys.network), (true, false));
        assert_eq!(known.note("laptop", "hotel", time(4)), None);
    }

    #[test]
    fn what_is_not_used_for_long_is_new_again() {
        let mut known = KnownDevices::default();
        known.note("phone", "home", time(0));
        assert_eq!(known.note("phone", "home", time(179 * 24)), None);
        assert!(known.note("phone", "home", time((179 + 180) * 24)).is_some());
    }

    #[test]
    fn neither_the_record_nor_the_mails_grow_without_end() {
        let mut known = KnownDevices::default();
        let mut mails = 0;
        for number in 0..200 {
            let novelty = known.note(&format!("device-{number}"), "home", time(0)).unwrap();
            mails += u32::from(novelty.may_mail);
        }
        assert_eq!((known.seen.len(), mails), (SEEN_MAX, MAILS_MAX));
        assert!(known.note("another", "home", time(1)).unwrap().may_mail);
    }
}
