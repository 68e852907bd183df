//! Credits for new accounts, as older deployments ask for them.

use common_config::{Env, Invalid};
use common_jwt::Role;

use crate::domain::{
    credits::Amount,
    expiry::ExpiryDays,
    rules::{Occasion, Terms},
    text::Name,
};

/// How long credits last that come from a variable: a school year.
const EXPIRY_DAYS: i64 = 365;

/// A rule to be made at the first start.
#[derive(Clone, Debug)]
pub struct RuleSeed {
    /// The variable that asks for it.
    pub variable: &'static str,
    /// What it says.
    pub terms: Terms,
}

/// Reads every variable before failing. 0 and nothing ask for no rule.
pub(super) fn seeds(env: &Env) -> Result<Vec<RuleSeed>, Invalid> {
    let read = |variable: &'static str, role| {
        let amount = env.var(variable).within(0..=1_000_000_000_000_i64, 0);
        amount.map(|amount| seed(variable, role, amount))
    };
    let teachers = read("DEFAULT_TEACHER_CREDITS", Role::Supervisor);
    let students = read("DEFAULT_STUDENT_CREDITS", Role::EndUser);
    let admins = read("DEFAULT_ADMIN_CREDITS", Role::Admin);
    Ok([teachers?, students?, admins?].into_iter().flatten().collect())
}

fn seed(variable: &'static str, role: Role, amount: i64) -> Option<RuleSeed> {
    let terms = Terms {
        name: Name::parse(variable)?,
        occasion: Occasion::AccountCreation,
        role: Some(role),
        amount: Amount::new(amount)?,
        expiry_days: ExpiryDays::new(EXPIRY_DAYS)?,
        active: true,
    };
    Some(RuleSeed { variable, terms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_set_asks_for_a_rule() {
        assert!(seeds(&Env::default()).unwrap().is_empty());
        let env = Env::from_pairs([
            ("DEFAULT_STUDENT_CREDITS", "1000"),
            ("DEFAULT_ADMIN_CREDITS", "0"),
        ]);
        let read = seeds(&env).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].terms.role, Some(Role::EndUser));
        assert_eq!(read[0].terms.amount.get(), 1_000);
        let bad = Env::from_pairs([("DEFAULT_TEACHER_CREDITS", "-5")]);
        assert!(seeds(&bad).is_err());
    }
}
