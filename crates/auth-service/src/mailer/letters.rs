//! What all mails look like: a greeting, sentences, and at most one address to open.

use url::Url;

use super::{Mail, escape};
use crate::domain::{origin::Origin, user::User};

/// One paragraph of a mail. The text part is ASCII, so sentences are.
pub(super) enum Paragraph {
    /// A sentence or two.
    Text(String),
    /// Something that stands on a line of its own.
    Line(String),
    /// An address of ours that can be opened.
    Link(String),
}

impl Mail {
    /// A mail to a user at the address they have.
    pub(super) fn letter(user: &User, subject: &'static str, paragraphs: &[Paragraph]) -> Self {
        Self::letter_to(&user.email, user, subject, paragraphs)
    }

    /// A mail to a user at another address.
    ///
    /// The text part leaves the name out: it may be of any script, and ASCII stands in a mail as it is.
    pub(super) fn letter_to(to: &str, user: &User, subject: &'static str, paragraphs: &[Paragraph]) -> Self {
        let greeting = format!("<p>Hello {},</p>", escape(&user.username));
        Self::letter_greeting(to, &greeting, subject, paragraphs)
    }

    /// A mail with this greeting, which is HTML.
    pub(super) fn letter_greeting(
        to: &str,
        greeting: &str,
        subject: &'static str,
        paragraphs: &[Paragraph],
    ) -> Self {
        let mut text = String::new();
        let mut html = format!("{greeting}\r\n");
        for paragraph in paragraphs {
            let (plain, rich) = match paragraph {
                Paragraph::Text(words) => (words, format!("<p>{}</p>", escape(words))),
                Paragraph::Line(words) => (words, format!("<p><strong>{}</strong></p>", escape(words))),
                Paragraph::Link(url) => (
                    url,
                    format!("<p><a href=\"{url}\">{url}</a></p>", url = escape(url)),
                ),
            };
            text.push_str(plain);
            text.push_str("\r\n\r\n");
            html.push_str(&rich);
            html.push_str("\r\n");
        }
        Self {
            to: to.to_owned(),
            subject,
            text: text.trim_end().to_owned().into(),
            html: html.into(),
        }
    }
}

pub(super) fn text(words: impl Into<String>) -> Paragraph {
    Paragraph::Text(words.into())
}

/// A page of the web client. Only `PUBLIC_URL` says where that is, never a request.
pub(super) fn page(public_url: &Url, path: &str) -> String {
    format!("{}/{path}", public_url.as_str().trim_end_matches('/'))
}

/// From where somebody did something.
pub(super) fn from_where(origin: &Origin) -> Paragraph {
    text(format!(
        "This came from the address {}.",
        origin.address.to_canonical()
    ))
}

/// What administrators and providers call things, as the text part of a mail can show it.
pub(super) fn ascii(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_ascii_graphic() || character == ' ' {
                character
            } else {
                '?'
            }
        })
        .take(100)
        .collect()
}

/// A length of time as people say it.
pub(super) fn in_words(life: chrono::Duration) -> String {
    match (life.num_days(), life.num_hours(), life.num_minutes()) {
        (days @ 2.., _, _) => format!("{days} days"),
        (_, hours @ 2.., _) => format!("{hours} hours"),
        (_, _, minutes) => format!("{} minutes", minutes.max(1)),
    }
}

/// What to do when it was somebody else.
pub(super) fn if_it_was_not_you(public_url: &Url) -> Paragraph {
    let page = page(public_url, "forgot-password");
    text(format!(
        "If this was not you, choose a new password at {page} at once and tell your administrator."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_said_as_people_do() {
        for (minutes, words) in [
            (0, "1 minutes"),
            (30, "30 minutes"),
            (90, "90 minutes"),
            (120, "2 hours"),
            (7 * 24 * 60, "7 days"),
        ] {
            assert_eq!(in_words(chrono::Duration::minutes(minutes)), words);
        }
    }
}
