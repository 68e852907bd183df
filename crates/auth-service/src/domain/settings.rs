//! What administrators change while the service runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{email::EmailAddress, user::SignInRule};

/// How long a replica may take to follow a change of another.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Domains that may be listed.
const DOMAINS_MAX: usize = 100;

/// Characters of a name or an address.
const TEXT_CHARS_MAX: usize = 200;

/// What a password may be asked to have at least; eight is the least anywhere, 72 bytes are all that can be checked.
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=64;

/// Who may make an account for themselves, by signing up or by way of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationRule {
    /// Everybody.
    Open,
    /// Who has an address at one of the listed domains.
    Domain,
    /// Who has an invitation.
    Invitation,
    /// Everybody; but an administrator has to approve them before they may sign in.
    Approval,
    /// Nobody: accounts are made by administrators.
    Closed,
}

/// What becomes of somebody who wants to make an account for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// They may.
    Welcome,
    /// They may, and wait for an administrator then.
    AwaitsApproval,
    /// Only with an invitation.
    InvitationNeeded,
    /// They may not.
    Refused,
}

const fn yes() -> bool {
    true
}

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Who may make an account for themselves.
    pub registration: RegistrationRule,
    /// The domains of `domain`, lower case.
    pub registration_domains: Vec<String>,
    /// Whether others than admins may sign in.
    pub user_sign_in: bool,
    /// Whether others than admins may sign in with a password.
    #[serde(default = "yes")]
    pub password_sign_in: bool,
    /// Bytes that a new password has at least.
    pub password_min_length: usize,
    /// Whether an address has to be proven before its owner may sign in.
    pub require_email_verification: bool,
    /// Whether somebody who comes from a provider is offered to link it to the account of the same address.
    pub auto_link_accounts: bool,
    /// What the platform is called.
    pub site_name: String,
    /// The picture on its pages.
    pub logo_url: Option<String>,
    /// The name that mails are from.
    pub mail_sender_name: Option<String>,
}

impl Settings {
    /// What holds before anybody changes anything.
    pub fn initial(rule: SignInRule) -> Self {
        Self {
            registration: RegistrationRule::Open,
            registration_domains: Vec::new(),
            user_sign_in: true,
            password_sign_in: true,
            password_min_length: 8,
            require_email_verification: rule == SignInRule::VerifiedOnly,
            auto_link_accounts: true,
            site_name: "Flowgate".to_owned(),
            logo_url: None,
            mail_sender_name: None,
        }
    }

    /// Everything wrong with them: members and what each must be.
    pub fn mistakes(&self) -> Vec<(&'static str, &'static str)> {
        let is_text = |text: &str| {
            (1..=TEXT_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control)
        };
        // An address at the domain is the shortest proof that it is one.
        let is_domain = |domain: &String| {
            EmailAddress::parse(&format!("a@{domain}")).is_ok_and(|_| *domain == domain.to_lowercase())
        };
        let is_picture =
            |url: &String| url.starts_with("https://") || (url.starts_with('/') && !url.starts_with("//"));
        let domains = &self.registration_domains;
        let checks = [
            (
                domains.len() <= DOMAINS_MAX && domains.iter().all(is_domain),
                (
                    "registration_domains",
                    "must be at most 100 domains in lower case",
                ),
            ),
            (
                self.registration != RegistrationRule::Domain || !domains.is_empty(),
                ("registration_domains", "are needed for registration by domain"),
            ),
            (
                PASSWORD_BYTES.contains(&self.password_min_length),
                ("password_min_length", "must be from 8 to 64"),
            ),
            (
                is_text(&self.site_name),
                ("site_name", "must have 1 to 200 characters"),
            ),
            (
                self.logo_url
                    .as_ref()
                    .is_none_or(|url| is_text(url) && is_picture(url)),
                ("logo_url", "must begin with https://, or be a path"),
            ),
            (
                self.mail_sender_name.as_deref().is_none_or(is_text),
                ("mail_sender_name", "must have 1 to 200 characters"),
            ),
        ];
        checks
            .into_iter()
            .filter(|(is_right, _)| !is_right)
            .map(|(_, mistake)| mistake)
            .collect()
    }

    /// What somebody is told who wants to make an account for themselves, with this address and no invitation.
    pub fn admission(&self, email: &str) -> Admission {
        let domain = email.rsplit_once('@').map(|(_, domain)| domain);
        let is_listed =
            domain.is_some_and(|domain| self.registration_domains.iter().any(|one| one == domain));
        match self.registration {
            RegistrationRule::Open => Admission::Welcome,
            RegistrationRule::Domain if is_listed => Admission::Welcome,
            RegistrationRule::Invitation => Admission::InvitationNeeded,
            RegistrationRule::Approval => Admission::AwaitsApproval,
            RegistrationRule::Domain | RegistrationRule::Closed => Admission::Refused,
        }
    }

    /// Whether invitations count. Administrators make them for those whom the rule would keep out or let wait; only where
    /// nobody makes an account for themselves they count for nothing.
    pub fn admits_invited(&self) -> bool {
        self.registration != RegistrationRule::Closed
    }

    /// Who may sign in, as far as addresses are concerned.
    pub fn sign_in_rule(&self) -> SignInRule {
        if self.require_email_verification {
            SignInRule::VerifiedOnly
        } else {
            SignInRule::Anybody
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_compared_whole() {
        let settings = Settings {
            registration: RegistrationRule::Domain,
            registration_domains: vec!["school.example".to_owned()],
            ..Settings::initial(SignInRule::VerifiedOnly)
        };
        assert!(settings.mistakes().is_empty());
        assert_eq!(settings.admission("ada@school.example"), Admission::Welcome);
        for email in [
            "ada@evil-school.example",
            "ada@sub.school.example",
            "school.example",
            "a@school.example@evil.example",
        ] {
            assert_eq!(settings.admission(email), Admission::Refused, "{email}");
        }
    }

    #[test]
    fn invitations_count_wherever_people_make_accounts_for_themselves() {
        use RegistrationRule::{Approval, Closed, Domain, Invitation, Open};
        let initial = Settings::initial(SignInRule::VerifiedOnly);
        for (registration, admission, admits_invited) in [
            (Open, Admission::Welcome, true),
            (Domain, Admission::Refused, true),
            (Invitation, Admission::InvitationNeeded, true),
            (Approval, Admission::AwaitsApproval, true),
            (Closed, Admission::Refused, false),
        ] {
            let settings = Settings {
                registration,
                ..initial.clone()
            };
            assert_eq!(
                settings.admission("ada@example.com"),
                admission,
                "{registration:?}"
            );
            assert_eq!(settings.admits_invited(), admits_invited, "{registration:?}");
        }
    }
}
