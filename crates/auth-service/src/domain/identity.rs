//! Who somebody is elsewhere, and who that makes them here.

use chrono::{DateTime, Utc};

use super::{email::EmailAddress, username::Username};

/// What OpenID Connect allows for a subject.
pub const SUBJECT_BYTES_MAX: usize = 255;

/// Characters of a name here.
const NAME_CHARS_MAX: usize = 30;
const NAME_CHARS_MIN: usize = 3;

/// An identity that is linked to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its own id.
    pub id: String,
    /// The provider it was linked with.
    pub provider_id: String,
    /// In whose name the subject is unique.
    pub issuer: String,
    /// Who the person is there, for ever.
    pub subject: String,
    /// The address it had there when it was linked, for the owner to tell it from others.
    pub email: Option<String>,
    /// When it was linked.
    pub connected_at: DateTime<Utc>,
}

/// What a provider has just said about somebody, and was found true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedIdentity {
    /// In whose name.
    pub issuer: String,
    /// Who they are there.
    pub subject: String,
    /// An address that the provider has proven to be theirs.
    pub verified_email: Option<EmailAddress>,
    /// Some address that may or may not be theirs: to be shown, never to be matched.
    pub email: Option<String>,
    /// What they may want to be called here, the best first.
    pub names: Vec<String>,
}

impl VerifiedIdentity {
    /// Whether this is that linked identity. Nothing but issuer and subject says who somebody is.
    pub fn is(&self, identity: &Identity) -> bool {
        self.issuer == identity.issuer && self.subject == identity.subject
    }

    /// The `number`th name to try for a new account: what the provider calls the person, then the same with a number.
    pub fn username(&self, number: u32) -> Option<Username> {
        let local = self
            .verified_email
            .as_ref()
            .and_then(|email| email.as_str().split('@').next());
        let names = self.names.iter().map(String::as_str).chain(local);
        let base = names
            .map(cleaned)
            .find(|name| name.chars().count() >= NAME_CHARS_MIN);
        let base = base.unwrap_or_else(|| "user".to_owned());
        let suffix = if number == 0 {
            String::new()
        } else {
            number.to_string()
        };
        let room = NAME_CHARS_MAX.saturating_sub(suffix.len());
        let name: String = base.chars().take(room).chain(suffix.chars()).collect();
        Username::parse(&name).ok()
    }
}

/// Letters, digits and `._-` of a name, or of an address before its `@`; the rest would be hard to type.
fn cleaned(name: &str) -> String {
    let local = name.split('@').next().unwrap_or_default();
    local
        .chars()
        .filter(|character| character.is_ascii_alphanumeric() || "._-".contains(*character))
        .take(NAME_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(names: &[&str], email: Option<&str>) -> VerifiedIdentity {
        VerifiedIdentity {
            issuer: "https://idp.example".to_owned(),
            subject: "1".to_owned(),
            verified_email: email.map(|email| EmailAddress::parse(email).unwrap()),
            email: None,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn names_are_taken_as_they_come_and_then_numbered() {
        let ada = identity(&["ada.lovelace", "Ada"], None);
        assert_eq!(ada.username(0).unwrap().as_str(), "ada.lovelace");
        assert_eq!(ada.username(7).unwrap().as_str(), "ada.lovelace7");
        let long = identity(&["a".repeat(200).as_str()], None);
        assert_eq!(long.username(12).unwrap().as_str().len(), 30);
    }

    #[test]
    fn without_a_usable_name_the_address_gives_one() {
        let nameless = identity(&["田中", "<>"], Some("sakura@school.example"));
        assert_eq!(nameless.username(0).unwrap().as_str(), "sakura");
        assert_eq!(identity(&[], None).username(3).unwrap().as_str(), "user3");
        assert_eq!(
            identity(&["a\u{202e}da@school"], None)
                .username(0)
                .unwrap()
                .as_str(),
            "ada"
        );
    }
}
