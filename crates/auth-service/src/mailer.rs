//! Mails: written off the request path, tried again when the server is away, never shown in a log.

mod addresses;
mod administration;
mod api_keys;
mod identities;
mod letters;
mod new_device;
mod passwords;
mod registration;
mod second_factors;

use std::{path::PathBuf, pin::pin, time::Duration};

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, MultiPart},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use prometheus::IntCounterVec;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

pub(crate) use self::registration::invitation_link;
use crate::{
    config::{MailRoute, Smtp},
    domain::{
        user::{NO_MAILBOX, User},
        verification::Code,
    },
    service::settings::RuntimeSettings,
};

/// Mails waiting to be sent. A mail takes a few kilobytes.
const QUEUE_MAX: usize = 2_000;

/// Connections to the mail server, and mails being tried at once.
const AT_ONCE_MAX: usize = 4;

/// How long to wait before each further try.
const RETRY_AFTER: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];

const SMTP_TIMEOUT: Duration = Duration::from_secs(15);

/// A mail to one person. No `Debug`: it holds a code.
pub(crate) struct Mail {
    to: String,
    subject: &'static str,
    text: SecretString,
    html: SecretString,
}

/// Takes mails to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Mailer {
    queue: mpsc::Sender<Mail>,
    outcomes: IntCounterVec,
}

/// Sends what a [`Mailer`] takes.
pub(crate) struct Postman {
    queue: mpsc::Receiver<Mail>,
    route: Route,
    from: Mailbox,
    settings: RuntimeSettings,
    outcomes: IntCounterVec,
}

enum Route {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Folder(PathBuf),
    Nowhere,
}

/// A mail could not be sent.
struct Failure {
    error: anyhow::Error,
    may_succeed_later: bool,
}

impl Mail {
    /// Tells a user their verification code.
    ///
    /// The text part is ASCII, whatever the user is called, so that it stands in the mail as it is: scripts read the
    /// code from there.
    pub(crate) fn verification(user: &User, code: &Code, life: chrono::Duration, public_url: &Url) -> Self {
        let (code, minutes) = (code.digits(), life.num_minutes().max(1));
        let text = format!(
            "Your verification code: {code}\r\n\r\n\
             Enter it at {public_url} within {minutes} minutes.\r\n\r\n\
             If you did not sign up, ignore this mail: without the code nothing happens.\r\n"
        );
        let html = format!(
            "<p>Hello {name},</p>\r\n<p>your verification code: <strong>{code}</strong></p>\r\n\
             <p>Enter it at <a href=\"{url}\">{url}</a> within {minutes} minutes.</p>\r\n\
             <p>If you did not sign up, ignore this mail: without the code nothing happens.</p>\r\n",
            name = escape(&user.username),
            url = escape(public_url.as_str()),
        );
        Self {
            to: user.email.clone(),
            subject: "Verify your e-mail address",
            text: text.into(),
            html: html.into(),
        }
    }
}

impl Mailer {
    /// A mailer and what has to run for it.
    pub(crate) fn new(
        route: &MailRoute,
        from: &str,
        settings: RuntimeSettings,
        outcomes: IntCounterVec,
    ) -> anyhow::Result<(Self, Postman)> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let from = from.parse().context("EMAIL_FROM is not an e-mail address")?;
        let route = match route {
            MailRoute::Smtp(smtp) => Route::Smtp(smtp_transport(smtp)?),
            MailRoute::Folder(folder) => {
                std::fs::create_dir_all(folder).context("MAIL_DIR cannot be made")?;
                Route::Folder(folder.clone())
            }
            MailRoute::Nowhere => Route::Nowhere,
        };
        let mailer = Self {
            queue: sender,
            outcomes: outcomes.clone(),
        };
        let postman = Postman {
            queue: receiver,
            route,
            from,
            settings,
            outcomes,
        };
        Ok((mailer, postman))
    }

    /// Waits until many mails more would not be lost.
    pub(crate) async fn has_room(&self) {
        // What is reserved is given back at once: it only shows that there is room.
        let _ = self.queue.reserve_many(QUEUE_MAX / 2).await;
    }

    /// Takes a mail. When the queue is full it is lost, counted and logged; whoever waits for it asks again.
    ///
    /// Service accounts may have no mailbox at all (RFC 2606, section 2).
    pub(crate) fn send(&self, mail: Mail) {
        if mail.to.ends_with(NO_MAILBOX) {
            return;
        }
        if self.queue.try_send(mail).is_err() {
            self.outcomes.with_label_values(&["dropped"]).inc();
            tracing::error!("a mail was dropped: the queue is full or closed");
        }
    }
}

impl Postman {
    /// Sends mails until `stop`, then those already taken, without waiting between tries.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Self {
            mut queue,
            route,
            from,
            settings,
            outcomes,
        } = self;
        let stopped = pin!(stop.cancelled());
        let mut stopped = Some(stopped);
        let mails = stream::poll_fn(|context| {
            let has_stopped = stopped
                .as_mut()
                .is_some_and(|stopped| stopped.as_mut().poll(context).is_ready());
            if has_stopped {
                stopped = None;
                queue.close();
            }
            queue.poll_recv(context)
        });
        let deliver = |mail| async {
            let from = sender(&from, &settings);
            let outcome = route.deliver_with_retries(&from, mail, &stop).await;
            outcomes.with_label_values(&[outcome]).inc();
        };
        mails.for_each_concurrent(AT_ONCE_MAX, deliver).await;
    }
}

impl Route {
    /// Delivers a mail; says how that ended, as the metric names it.
    async fn deliver_with_retries(
        &self,
        from: &Mailbox,
        mail: Mail,
        stop: &CancellationToken,
    ) -> &'static str {
        if matches!(self, Self::Nowhere) {
            return "disabled";
        }
        let message = match compose(from, &mail) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(%error, "a mail could not be written");
                return "failed";
            }
        };
        let mut waits = RETRY_AFTER.into_iter();
        loop {
            let Err(failure) = self.deliver(&message).await else {
                return "sent";
            };
            let wait = waits
                .next()
                .filter(|_| failure.may_succeed_later && !stop.is_cancelled());
            let Some(wait) = wait else {
                tracing::error!(error = format!("{:#}", failure.error), "a mail was not sent");
                return "failed";
            };
            tracing::warn!(
                error = format!("{:#}", failure.error),
                "a mail was not sent yet; trying again"
            );
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn deliver(&self, message: &Message) -> Result<(), Failure> {
        match self {
            Self::Smtp(transport) => match transport.send(message.clone()).await {
                Ok(_) => Ok(()),
                Err(error) => Err(Failure {
                    may_succeed_later: !error.is_permanent(),
                    error: error.into(),
                }),
            },
            Self::Folder(folder) => write_to(folder, &message.formatted())
                .await
                .map_err(|error| Failure {
                    error,
                    may_succeed_later: true,
                }),
            Self::Nowhere => Ok(()),
        }
    }
}

/// Whom a mail is from: the configured address, under the name that administrators want.
fn sender(from: &Mailbox, settings: &RuntimeSettings) -> Mailbox {
    let name = settings.current().settings.mail_sender_name.clone();
    Mailbox::new(name.or_else(|| from.name.clone()), from.email.clone())
}

/// A mail as it goes over the wire. Every header is built from a checked type, so no text can add one.
fn compose(from: &Mailbox, mail: &Mail) -> anyhow::Result<Message> {
    let to: Address = mail.to.parse()?;
    let parts = MultiPart::alternative_plain_html(
        mail.text.expose_secret().to_owned(),
        mail.html.expose_secret().to_owned(),
    );
    let message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(mail.subject)
        .message_id(None)
        .multipart(parts)?;
    Ok(message)
}

/// One file a mail, named so that they sort by time; it appears whole or not at all.
async fn write_to(folder: &std::path::Path, bytes: &[u8]) -> anyhow::Result<()> {
    let name = uuid::Uuid::now_v7();
    let draft = folder.join(format!(".{name}.part"));
    tokio::fs::write(&draft, bytes).await?;
    tokio::fs::rename(&draft, folder.join(format!("{name}.eml"))).await?;
    Ok(())
}

fn smtp_transport(smtp: &Smtp) -> anyhow::Result<AsyncSmtpTransport<Tokio1Executor>> {
    let parameters = TlsParameters::new(smtp.host.clone()).context("SMTP_HOST is not a host name")?;
    // Without SMTP_SECURE the connection is upgraded where the server offers it, as the documented service does.
    let tls = if smtp.secure {
        Tls::Wrapper(parameters)
    } else {
        Tls::Opportunistic(parameters)
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(smtp.host.clone())
        .port(smtp.port)
        .tls(tls)
        .timeout(Some(SMTP_TIMEOUT));
    if let Some((user, password)) = &smtp.credentials {
        let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
        transport = transport.credentials(credentials);
    }
    Ok(transport.build())
}

/// Makes text harmless inside HTML, between tags and in quoted attributes.
fn escape(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut escaped, character| {
            match character {
                '&' => escaped.push_str("&amp;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '"' => escaped.push_str("&quot;"),
                '\'' => escaped.push_str("&#39;"),
                other => escaped.push(other),
            }
            escaped
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::user::UserId;

    fn user(username: &str, email: &str) -> User {
        User {
            id: UserId::generate(),
            username: username.to_owned(),
            email: email.to_owned(),
            password_hash: String::new(),
            full_name: None,
            is_verified: false,
            is_disabled: false,
            is_service_account: false,
            awaits_approval: false,
            must_change_password: false,
            password_version: 0,
            role: common_jwt::Role::EndUser,
            created_at: chrono::DateTime::UNIX_EPOCH,
            updated_at: chrono::DateTime::UNIX_EPOCH,
            version: 0,
            identities: Vec::new(),
        }
    }

    fn mail_to(username: &str, email: &str) -> Mail {
        let url = "https://chat.example.com".parse().unwrap();
        Mail::verification(
            &user(username, email),
            &Code::new(4_711),
            chrono::Duration::minutes(15),
            &url,
        )
    }

    fn formatted(mail: &Mail) -> anyhow::Result<String> {
        let from = "noreply@example.com".parse().unwrap();
        Ok(String::from_utf8(compose(&from, mail)?.formatted()).unwrap())
    }

    #[test]
    fn the_code_stands_in_plain_text_whatever_the_user_is_called() {
        for name in ["ada", "田中さくら", "Ödön"] {
            let text = formatted(&mail_to(name, "ada@example.com")).unwrap();
            assert!(text.contains("verification code: 004711\r\n"), "{text}");
            assert!(text.contains("Subject: Verify"), "{text}");
        }
    }

    #[test]
    fn names_are_text_and_nothing_else() {
        let mail = mail_to("<img src=x>&\"'", "ada@example.com");
        let html = mail.html.expose_secret();
        assert!(html.contains("&lt;img src=x&gt;&amp;&quot;&#39;"), "{html}");
        assert!(!html.contains("<img"));
    }

    #[test]
    fn an_address_that_would_add_a_header_is_not_written_to() {
        for email in ["a@b.c\r\nBcc: x@y.z", "a@b.c, x@y.z", "\"a\r\nBcc: x\"@b.c"] {
            assert!(formatted(&mail_to("ada", email)).is_err(), "{email:?}");
        }
    }
}
