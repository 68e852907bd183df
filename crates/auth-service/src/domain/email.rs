//! E-mail addresses that can be stored, compared and put into a mail's header without harm.

/// RFC 5321 section 4.5.3.1.
const BYTES_MAX: usize = 254;
const LOCAL_BYTES_MAX: usize = 64;

/// An address: ASCII, lower case, one `@`, nothing that could end a header line.
///
/// Letters beyond ASCII are refused: two addresses that look alike would be two people.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Reads an address as typed. The error completes the sentence "the address ...".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let address = normalise(text);
        if address.is_empty() {
            return Err("is required");
        }
        if address.len() > BYTES_MAX {
            return Err("is too long: an address has at most 254 characters");
        }
        match address.split_once('@') {
            Some((local, domain)) if is_local(local) && is_domain(domain) => Ok(Self(address)),
            _ => Err("is not an e-mail address"),
        }
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How addresses are compared: without the space around them, in lower case.
pub fn normalise(text: &str) -> String {
    text.trim().to_lowercase()
}

fn is_local(local: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    let dots_inside = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    !local.is_empty() && local.len() <= LOCAL_BYTES_MAX && dots_inside && local.bytes().all(allowed)
}

/// A host name, with or without a dot: `localhost` is where development systems send.
fn is_domain(domain: &str) -> bool {
    domain.split('.').all(|label| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let hyphens_inside = !label.starts_with('-') && !label.ends_with('-');
        !label.is_empty() && label.len() <= 63 && hyphens_inside && label.bytes().all(allowed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_in_lower_case_without_space() {
        let address = EmailAddress::parse("  Ada.Lovelace+x@Example.COM ").unwrap();
        assert_eq!(address.as_str(), "ada.lovelace+x@example.com");
        assert!(EmailAddress::parse("admin@localhost").is_ok());
    }

    #[test]
    fn what_is_no_address_or_could_forge_a_header_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        for text in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c.d",
            "a@b..c",
            ".a@b.c",
            "a..b@c.d",
            "a@-b.c",
            "a@b.c\r\nBcc: x@y.z",
            "a\0@b.c",
            "\u{430}da@example.com",
            "<a@b.c>",
            &long,
        ] {
            assert!(EmailAddress::parse(text).is_err(), "{text:?}");
        }
    }
}
