//! What the operator is told by webhook, and when. Messages name users by id only: what else is known of them is not
//! sent to places that must then be asked to forget it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    credits::Credits,
    ids::UserId,
    ledger::{Hold, HoldStatus, Kind, Outcome},
};

/// A fact that the operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An account fell below the threshold.
    CreditLow {
        /// Whose.
        user_id: UserId,
        /// What can be spent.
        balance: Credits,
        /// What it fell below.
        threshold: Credits,
    },
    /// Credits expire soon.
    AllocationExpiring {
        /// The allocation.
        allocation_id: Uuid,
        /// Whose.
        user_id: UserId,
        /// What is left in it.
        remaining: Credits,
        /// When.
        expires_at: DateTime<Utc>,
    },
    /// Nobody settled a hold.
    HoldExpired(Box<Hold>),
}

impl Notice {
    /// The type of the message.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::CreditLow { .. } => "credit.low",
            Self::AllocationExpiring { .. } => "allocation.expiring",
            Self::HoldExpired(_) => "hold.expired",
        }
    }

    /// What it is about.
    pub fn subject(&self) -> String {
        match self {
            Self::CreditLow { user_id, .. } => user_id.to_string(),
            Self::AllocationExpiring { allocation_id, .. } => allocation_id.to_string(),
            Self::HoldExpired(hold) => hold.id.to_string(),
        }
    }

    /// The message as it is signed and sent: `{"type", "timestamp", "data"}`.
    pub fn payload(&self, now: DateTime<Utc>) -> String {
        let data = match self {
            Self::CreditLow {
                user_id,
                balance,
                threshold,
            } => json!({ "userId": user_id, "balance": balance, "threshold": threshold }),
            Self::AllocationExpiring {
                allocation_id,
                user_id,
                remaining,
                expires_at,
            } => json!({
                "allocationId": allocation_id,
                "userId": user_id,
                "remainingCredits": remaining,
                "expiresAt": written(*expires_at),
            }),
            Self::HoldExpired(hold) => json!({
                "holdId": hold.id,
                "sessionId": hold.key.session_id,
                "owner": hold.key.owner.as_str(),
                "userId": hold.user_id,
                "modelId": hold.model_id,
                "heldCredits": hold.held,
                "startedAt": written(hold.started_at),
                "expiresAt": written(hold.expires_at),
            }),
        };
        let message: Value = json!({ "type": self.kind(), "timestamp": written(now), "data": data });
        message.to_string()
    }
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Which outcomes of the ledger are worth a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Below this an account runs low; 0 never.
    pub low_threshold: Credits,
}

/// What a batch of commands leaves to be told, by account: only how it ended counts.
#[derive(Debug, Default)]
pub struct Noticed {
    /// Accounts that have got enough again.
    pub recovered: BTreeSet<UserId>,
    /// Accounts that have spent and are below the threshold.
    pub low: BTreeMap<UserId, Notice>,
    /// Holds that nobody settled.
    pub expired: Vec<Notice>,
}

impl Watch {
    /// Notes what a command did. An account recovers when credits are granted, not when a hold returns: a balance that
    /// swings around the threshold with every turn is told of once. An account that was closed has nobody to be told of.
    pub fn look(&self, noticed: &mut Noticed, user_id: &UserId, outcome: &Outcome) {
        let Some(entry) = &outcome.entry else {
            return;
        };
        let expired = outcome
            .hold
            .iter()
            .filter(|hold| hold.status == HoldStatus::Expired);
        let expired = expired.map(|hold| Notice::HoldExpired(Box::new(hold.clone())));
        noticed.expired.extend(expired);
        if outcome.closed {
            return;
        }
        let is_low = outcome.balance_after < self.low_threshold;
        let (grants, spends) = match entry.kind {
            Kind::Allocate => (true, false),
            Kind::Set | Kind::Adjust => (true, true),
            Kind::Deduct | Kind::Hold | Kind::Remove | Kind::WriteOff => (false, true),
            Kind::Capture | Kind::Void | Kind::Expire => (false, false),
        };
        if !is_low {
            noticed.low.remove(user_id);
            if grants {
                noticed.recovered.insert(user_id.clone());
            }
        } else if spends || noticed.low.contains_key(user_id) {
            let low = Notice::CreditLow {
                user_id: user_id.clone(),
                balance: outcome.balance_after,
                threshold: self.low_threshold,
            };
            noticed.low.insert(user_id.clone(), low);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ledger::Entry;

    const WATCH: Watch = Watch {
        low_threshold: Credits::ZERO,
    };

    fn user() -> UserId {
        UserId::parse(&"a".repeat(24)).unwrap()
    }

    fn outcome(kind: Kind, balance: i64) -> Outcome {
        let balance_after = Credits::new(balance).unwrap();
        Outcome {
            entry: Some(Entry {
                kind,
                amount: 0,
                balance_after,
                movements: Vec::new(),
                hold_id: None,
            }),
            lapsed_before: None,
            lapsed_after: None,
            balance_before: balance_after,
            balance_after,
            granted: None,
            hold: None,
            usage: None,
            closed: false,
        }
    }

    fn watch(commands: &[(Kind, i64)]) -> Noticed {
        let watch = Watch {
            low_threshold: Credits::new(10).unwrap(),
        };
        let mut noticed = Noticed::default();
        for (kind, balance) in commands {
            watch.look(&mut noticed, &user(), &outcome(*kind, *balance));
        }
        noticed
    }

    #[test]
    fn spending_below_the_threshold_is_told_and_reaching_it_is_not() {
        assert!(watch(&[(Kind::Deduct, 10)]).low.is_empty());
        assert_eq!(watch(&[(Kind::Deduct, 9)]).low.len(), 1);
        let low = watch(&[(Kind::Hold, 9), (Kind::Hold, 3), (Kind::Capture, 4)]).low;
        let told: Vec<_> = low
            .values()
            .map(|notice| notice.payload(DateTime::UNIX_EPOCH))
            .collect();
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("\"balance\":4"), "as it ended: {}", told[0]);
        assert!(
            watch(&[(Kind::Hold, 9), (Kind::Void, 10)]).low.is_empty(),
            "it ended well"
        );
        assert!(
            watch(&[(Kind::Allocate, 5)]).low.is_empty(),
            "a small gift is no alarm"
        );
    }

    #[test]
    fn only_a_grant_recovers() {
        assert!(watch(&[(Kind::Void, 50)]).recovered.is_empty());
        assert!(watch(&[(Kind::Allocate, 9)]).recovered.is_empty());
        assert_eq!(watch(&[(Kind::Allocate, 10)]).recovered.len(), 1);
        let both = watch(&[(Kind::Deduct, 2), (Kind::Set, 12), (Kind::Hold, 8)]);
        assert_eq!((both.recovered.len(), both.low.len()), (1, 1), "told once more");
    }

    #[test]
    fn without_a_threshold_nobody_runs_low() {
        let mut noticed = Noticed::default();
        WATCH.look(&mut noticed, &user(), &outcome(Kind::Deduct, 0));
        assert!(noticed.low.is_empty());
    }
}
