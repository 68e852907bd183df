//! Credits that are granted by themselves: to whom, how many, and when.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, Utc};
use common_jwt::Role;
use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

use super::{
    calendar::midnight,
    credits::{Amount, integer},
    expiry::ExpiryDays,
    text::Name,
};

/// The period of grants that are made once in the life of an account.
const CREATION: &str = "creation";

/// A day of a month, from 1 to 31; a shorter month has its last day instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct DayOfMonth(i16);

impl DayOfMonth {
    /// A day, unless no month has it.
    pub fn new(day: i16) -> Option<Self> {
        (1..=31).contains(&day).then_some(Self(day))
    }

    /// The number.
    pub const fn get(self) -> i16 {
        self.0
    }

    /// The day in the month that begins with `first`.
    fn within(self, first: NaiveDate) -> NaiveDate {
        let exact = u32::try_from(self.0).ok().and_then(|day| first.with_day(day));
        let last = || {
            first
                .checked_add_months(Months::new(1))?
                .checked_sub_days(Days::new(1))
        };
        exact.or_else(last).unwrap_or(first)
    }
}

impl<'de> Deserialize<'de> for DayOfMonth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let day = integer(deserializer, 1, 31)?;
        i16::try_from(day).map(Self).map_err(de::Error::custom)
    }
}

/// When a rule grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Once, when it becomes known who an account's owner is.
    AccountCreation,
    /// On this day of every month.
    Monthly(DayOfMonth),
}

impl Occasion {
    /// The name that is stored and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccountCreation => "on_account_creation",
            Self::Monthly(_) => "monthly",
        }
    }

    /// The day, of a monthly one.
    pub const fn day(self) -> Option<DayOfMonth> {
        match self {
            Self::AccountCreation => None,
            Self::Monthly(day) => Some(day),
        }
    }
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What people call it.
    pub name: Name<100>,
    /// When it grants.
    pub occasion: Occasion,
    /// To whom; `None` to all.
    pub role: Option<Role>,
    /// How much.
    pub amount: Amount,
    /// How long that lasts.
    pub expiry_days: ExpiryDays,
    /// Whether it grants at all.
    pub active: bool,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its id.
    pub id: Uuid,
    /// What it says.
    pub terms: Terms,
    /// What was due earlier is not granted.
    pub active_since: DateTime<Utc>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

/// What is granted once: a rule's grant for a period, to one user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleClaim {
    /// The rule.
    pub rule_id: Uuid,
    /// The period.
    pub period: String,
}

/// A monthly grant that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueGrant {
    /// What is granted once.
    pub claim: RuleClaim,
    /// Since when it is due: accounts that were known by then get it.
    pub due: DateTime<Utc>,
}

impl Terms {
    /// Whether a rule that said `self` grants to others or at other times when it says `next`.
    pub fn grants_otherwise(&self, next: &Self) -> bool {
        self.occasion != next.occasion || self.role != next.role || (!self.active && next.active)
    }
}

impl Rule {
    /// Whether it is for people of this role.
    pub fn is_for(&self, role: Role) -> bool {
        self.terms.active && self.terms.role.is_none_or(|wanted| wanted == role)
    }

    /// What it grants to an account of whose owner it has been known since `known_since` that they are a `role`.
    pub fn welcome(&self, role: Role, known_since: DateTime<Utc>) -> Option<RuleClaim> {
        let applies = self.terms.occasion == Occasion::AccountCreation
            && self.is_for(role)
            && self.active_since <= known_since;
        applies.then(|| self.claim(CREATION.to_owned()))
    }

    /// The monthly grant whose day came last before `now`, if that was not before the rule. Days that were missed before
    /// that one are not made up for.
    pub fn due(&self, now: DateTime<Utc>) -> Option<DueGrant> {
        let Occasion::Monthly(day) = self.terms.occasion else {
            return None;
        };
        let this_month = now.date_naive().with_day(1)?;
        let last_month = this_month.checked_sub_months(Months::new(1))?;
        let (month, due) = [this_month, last_month]
            .into_iter()
            .map(|month| (month, midnight(day.within(month))))
            .find(|(_, due)| *due <= now)?;
        let is_due = self.terms.active && due >= midnight(self.active_since.date_naive());
        is_due.then(|| DueGrant {
            claim: self.claim(month.format("%Y-%m").to_string()),
            due,
        })
    }

    fn claim(&self, period: String) -> RuleClaim {
        RuleClaim {
            rule_id: self.id,
            period,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn rule(occasion: Occasion, role: Option<Role>, active_since: &str) -> Rule {
        Rule {
            id: Uuid::nil(),
            terms: Terms {
                name: Name::parse("pupils").unwrap(),
                occasion,
                role,
                amount: Amount::new(100).unwrap(),
                expiry_days: ExpiryDays::default(),
                active: true,
            },
            active_since: at(active_since),
            created_at: at(active_since),
            updated_at: at(active_since),
        }
    }

    /// The period and the day, with a space between them.
    fn due(day: i16, active_since: &str, now: &str) -> Option<String> {
        let occasion = Occasion::Monthly(DayOfMonth::new(day).unwrap());
        let due = rule(occasion, None, active_since).due(at(now))?;
        Some(format!("{} {}", due.claim.period, due.due.date_naive()))
    }

    #[test]
    fn a_month_has_one_day_however_short_it_is() {
        let long_ago = "2020-01-01T00:00:00Z";
        for (day, now, expected) in [
            (1, "2026-11-21T08:00:00Z", "2026-11 2026-11-01"),
            (21, "2026-11-21T00:00:00Z", "2026-11 2026-11-21"),
            (21, "2026-11-20T23:59:59.999Z", "2026-10 2026-10-21"),
            (31, "2026-11-29T12:00:00Z", "2026-10 2026-10-31"),
            (31, "2026-11-30T00:00:00Z", "2026-11 2026-11-30"),
            (31, "2027-02-27T23:00:00Z", "2027-01 2027-01-31"),
            (31, "2027-02-28T00:00:00Z", "2027-02 2027-02-28"),
            (30, "2028-02-29T00:00:00Z", "2028-02 2028-02-29"),
            (29, "2028-02-28T00:00:00Z", "2028-01 2028-01-29"),
            (31, "2027-01-01T00:00:00Z", "2026-12 2026-12-31"),
        ] {
            assert_eq!(
                due(day, long_ago, now).as_deref(),
                Some(expected),
                "{day} on {now}"
            );
        }
    }

    #[test]
    fn what_was_due_before_the_rule_is_not_granted() {
        let due = |day, now| due(day, "2026-11-21T10:00:00Z", now).unwrap_or_default();
        assert_eq!(due(20, "2026-11-21T10:00:00Z"), "");
        assert_eq!(
            due(21, "2026-11-21T10:00:00Z"),
            "2026-11 2026-11-21",
            "today counts"
        );
        assert_eq!(due(20, "2026-12-19T10:00:00Z"), "");
        assert_eq!(due(20, "2026-12-20T00:00:00Z"), "2026-12 2026-12-20");
    }

    #[test]
    fn of_days_that_were_missed_only_the_last_is_made_up_for() {
        let made = "2026-01-01T00:00:00Z";
        let last = due(15, made, "2026-06-20T00:00:00Z");
        assert_eq!(last.as_deref(), Some("2026-06 2026-06-15"));
    }

    #[test]
    fn new_accounts_get_what_is_for_their_role() {
        let made = "2026-11-21T10:00:00Z";
        let pupils = rule(Occasion::AccountCreation, Some(Role::EndUser), made);
        let all = rule(Occasion::AccountCreation, None, made);
        assert!(pupils.welcome(Role::EndUser, at(made)).is_some());
        assert!(pupils.welcome(Role::Supervisor, at(made)).is_none());
        assert!(all.welcome(Role::Supervisor, at(made)).is_some());
        assert!(
            all.welcome(Role::Admin, at("2026-11-21T09:59:59Z")).is_none(),
            "known before"
        );
        let mut off = all;
        off.terms.active = false;
        assert!(off.welcome(Role::EndUser, at(made)).is_none());
        assert!(off.due(at(made)).is_none());
    }

    #[test]
    fn a_change_of_the_amount_is_no_reason_to_begin_anew() {
        let terms = rule(Occasion::AccountCreation, None, "2026-11-21T10:00:00Z").terms;
        let mut more = terms.clone();
        more.amount = Amount::new(500).unwrap();
        assert!(!terms.grants_otherwise(&more));
        more.role = Some(Role::Admin);
        assert!(terms.grants_otherwise(&more));
    }
}
