//! Rules of automatic credits: what is said of them, and what is answered.

use common_http::Timestamp;
use common_jwt::Role;
use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

use crate::{
    domain::{
        credits::Amount,
        expiry::ExpiryDays,
        rules::{DayOfMonth, Occasion, Rule, Terms},
        text::Name,
    },
    error::{Error, Result},
};

/// When a rule grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Once, to a new account.
    OnAccountCreation,
    /// On a day of every month.
    Monthly,
}

impl<'de> Deserialize<'de> for RuleKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "on_account_creation" => Ok(Self::OnAccountCreation),
            "monthly" => Ok(Self::Monthly),
            _ => {
                let expected = "on_account_creation or monthly";
                Err(de::Error::invalid_value(de::Unexpected::Other("text"), &expected))
            }
        }
    }
}

/// To whom a rule grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuleRole {
    /// To everybody.
    #[default]
    All,
    /// To people of a role.
    Of(Role),
}

/// Unlike elsewhere a role that we do not know is refused: credits must not go to others than was meant.
impl<'de> Deserialize<'de> for RuleRole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "all" {
            return Ok(Self::All);
        }
        let roles = [Role::EndUser, Role::Supervisor, Role::Admin];
        let role = roles.into_iter().find(|role| role.as_str() == text);
        role.map(Self::Of).ok_or_else(|| {
            let expected = "all, enduser, supervisor or admin";
            de::Error::invalid_value(de::Unexpected::Other("text"), &expected)
        })
    }
}

/// `POST /api/admin/credit-rules` and `PUT /api/admin/credit-rules/{id}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteRule {
    /// What people call it; no two rules have the same name.
    pub name: Name<100>,
    /// When it grants.
    pub kind: RuleKind,
    /// To whom.
    pub role: Option<RuleRole>,
    /// How much.
    pub amount: Amount,
    /// How long that lasts; 30 days when nothing is said.
    pub expiry_days: Option<ExpiryDays>,
    /// The day of a monthly one.
    pub day_of_month: Option<DayOfMonth>,
    /// Whether it grants at all.
    #[serde(default = "yes")]
    pub active: bool,
}

impl WriteRule {
    /// What the rule says.
    pub fn terms(self) -> Result<Terms> {
        let wrong_day = |message: &str| Error::invalid("dayOfMonth", message);
        let occasion = match (self.kind, self.day_of_month) {
            (RuleKind::OnAccountCreation, None) => Occasion::AccountCreation,
            (RuleKind::OnAccountCreation, Some(_)) => {
                return Err(wrong_day("must be left out unless kind is monthly"));
            }
            (RuleKind::Monthly, Some(day)) => Occasion::Monthly(day),
            (RuleKind::Monthly, None) => return Err(wrong_day("is required when kind is monthly")),
        };
        Ok(Terms {
            name: self.name,
            occasion,
            role: match self.role.unwrap_or_default() {
                RuleRole::All => None,
                RuleRole::Of(role) => Some(role),
            },
            amount: self.amount,
            expiry_days: self.expiry_days.unwrap_or_default(),
            active: self.active,
        })
    }
}

/// `GET /api/admin/credit-rules`.
#[derive(Debug, Serialize)]
pub struct RulesBody {
    /// All of them, oldest first.
    pub rules: Vec<RuleBody>,
}

/// A rule.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleBody {
    /// Its id.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// When it grants.
    pub kind: &'static str,
    /// To whom: a role, or `all`.
    pub role: &'static str,
    /// How much.
    pub amount: Amount,
    /// How long that lasts.
    pub expiry_days: ExpiryDays,
    /// The day of a monthly one.
    pub day_of_month: Option<DayOfMonth>,
    /// Whether it grants at all.
    pub active: bool,
    /// What was due earlier is not granted.
    pub active_since: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl From<Rule> for RuleBody {
    fn from(rule: Rule) -> Self {
        let terms = rule.terms;
        Self {
            id: rule.id,
            name: terms.name.into_inner(),
            kind: terms.occasion.as_str(),
            role: terms.role.map_or("all", Role::as_str),
            amount: terms.amount,
            expiry_days: terms.expiry_days,
            day_of_month: terms.occasion.day(),
            active: terms.active,
            active_since: rule.active_since.into(),
            created_at: rule.created_at.into(),
            updated_at: rule.updated_at.into(),
        }
    }
}

const fn yes() -> bool {
    true
}
