//! Visitors of an embed: where a request of theirs comes from, and what their session lets them do.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::origin::Origin;

/// Before the id of a session, where turns name people.
const TALKER_PREFIX: &str = "visitor:";

/// The first name of a visitor, and what comes after all of them.
pub const TALKERS_FIRST: &str = TALKER_PREFIX;
/// See [`TALKERS_FIRST`].
pub const TALKERS_END: &str = "visitor;";

/// Characters of an address of a page.
const PAGE_URL_BYTES_MAX: usize = 2_000;

/// The conversation of those who name none.
const CONVERSATION_DEFAULT: &str = "main";

/// Characters of the name of a conversation.
const CONVERSATION_BYTES_MAX: usize = 64;

/// No token of ours is near this.
const TOKEN_BYTES_MAX: usize = 2_048;

/// The namespace of the names under which upstreams know conversations.
const NAMES: Uuid = Uuid::from_u128(0x0b6f_3a55_7f0e_4f8d_9d8b_2f1c_77aa_9e31);

/// The only audience of visitors' tokens; no access token has it.
const AUDIENCE: &str = "flowgate-widget";

/// What the tokens say they are.
const TYPE: &str = "widget";

/// Somebody who talks to an embed, from one browser or app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// The session's id. Knowing it opens nothing.
    pub session_id: String,
    /// The embed it belongs to.
    pub embed_id: String,
    /// How it was begun, which says from where it may be used.
    pub entry: Entry,
    /// The page it was begun on.
    pub page_url: Option<String>,
    /// A hash of what the browser says of itself: a signal, never a proof.
    pub fingerprint: String,
    /// Messages so far.
    pub message_count: i64,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it ends, unless it is used again.
    pub expires_at: DateTime<Utc>,
}

/// How a session was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// On our own page, within another page where that is known.
    Page {
        /// The page around ours.
        parent: Option<Origin>,
    },
    /// By a script on a page of this origin.
    Site(Origin),
    /// By an app that has the embed's key.
    App,
}

impl Entry {
    /// The site that the visitor is on.
    pub fn site(&self) -> Option<&Origin> {
        match self {
            Self::Page { parent } => parent.as_ref(),
            Self::Site(origin) => Some(origin),
            Self::App => None,
        }
    }

    /// The word for it in the database.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Page { .. } => "page",
            Self::Site(_) => "site",
            Self::App => "app",
        }
    }

    /// Whether a request from there may use the session. A cookie travels by itself, so a browser has to prove where the
    /// request comes from; an app sends its token on purpose.
    pub fn admits(&self, from: &CameFrom) -> bool {
        match (self, from) {
            (Self::Page { .. }, CameFrom::Ourselves) | (Self::App, CameFrom::Nowhere) => true,
            (Self::Site(ours), CameFrom::Site(theirs)) => ours == theirs,
            (Self::Page { .. } | Self::Site(_) | Self::App, _) => false,
        }
    }
}

impl Visitor {
    /// The name under which turns know who talks.
    pub fn talker_id(&self) -> String {
        talker_id(&self.session_id)
    }

    /// The name of one of the session's conversations: nobody else's conversation has it, and upstreams know it by it.
    pub fn conversation_id(&self, named: Option<&str>) -> String {
        let name = format!(
            "{}:{}:{}",
            self.embed_id,
            self.session_id,
            named.unwrap_or(CONVERSATION_DEFAULT)
        );
        Uuid::new_v5(&NAMES, name.as_bytes()).to_string()
    }
}

/// The same for a session's id.
pub fn talker_id(session_id: &str) -> String {
    format!("{TALKER_PREFIX}{session_id}")
}

/// Whether a name in a turn is a visitor's. People's ids have no colon.
pub fn is_talker(user_id: &str) -> bool {
    user_id.starts_with(TALKER_PREFIX)
}

/// Whether a client may call a conversation so.
pub fn is_conversation_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=CONVERSATION_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// The address of the page that a visitor is on, without what only that page understands. What is none is left out.
pub fn page_url_of(text: &str) -> Option<String> {
    let mut url: Url = text.parse().ok()?;
    url.set_fragment(None);
    let is_page = matches!(url.scheme(), "http" | "https") && url.as_str().len() <= PAGE_URL_BYTES_MAX;
    is_page.then(|| url.to_string())
}

/// Where a request comes from, as far as browsers tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameFrom {
    /// One of our own pages.
    Ourselves,
    /// A page of this origin.
    Site(Origin),
    /// A page that hides where it is from, or one that asks in a way that no script of ours does.
    Hidden,
    /// No browser, or one that tells nothing.
    Nowhere,
}

/// What a browser says about where a request comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// `Referer`.
    pub referer: Option<&'a str>,
    /// `Host`: what the browser believes to talk to.
    pub host: Option<&'a str>,
    /// Where the operator says that we are.
    pub public: Option<&'a Origin>,
}

impl Told<'_> {
    /// Where the request comes from. Scripts cannot write these headers; same-origin `EventSource` requests have no
    /// `Origin`, so the other two are looked at as well.
    pub fn came_from(&self) -> CameFrom {
        if let Some(origin) = self.origin {
            return match Origin::parse(origin) {
                Ok(origin) if self.is_ours(&origin) => CameFrom::Ourselves,
                Ok(origin) => CameFrom::Site(origin),
                Err(_) => CameFrom::Hidden,
            };
        }
        match self.fetch_site {
            Some("same-origin") => return CameFrom::Ourselves,
            Some("none") => return CameFrom::Nowhere,
            Some(_) => return CameFrom::Hidden,
            None => {}
        }
        match self.page() {
            Some(page) if Origin::of(&page).is_ok_and(|origin| self.is_ours(&origin)) => CameFrom::Ourselves,
            Some(_) => CameFrom::Hidden,
            None => CameFrom::Nowhere,
        }
    }

    /// The page that asks, where the browser tells.
    pub fn page(&self) -> Option<Url> {
        self.referer?.parse().ok()
    }

    fn is_ours(&self, origin: &Origin) -> bool {
        let is_host = self
            .host
            .is_some_and(|host| host.eq_ignore_ascii_case(origin.authority()));
        is_host || self.public == Some(origin)
    }
}

/// A visitor's token is forged, too old, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token of the session is not valid")]
pub struct BadToken;

/// Makes visitors' tokens and reads them. A token names a session; only the session says what it may do.
#[derive(Clone)]
pub struct VisitorTokens {
    signing: EncodingKey,
    checking: DecodingKey,
    life: TimeDelta,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    aud: String,
    #[serde(rename = "type")]
    kind: String,
    jti: String,
    session_id: String,
    origin_domain: Option<String>,
    fingerprint: String,
    created_at: i64,
    iat: i64,
    exp: i64,
}

impl VisitorTokens {
    /// Tokens under this key that are good for `life`.
    pub fn new(key: &[u8], life: TimeDelta) -> Self {
        Self {
            signing: EncodingKey::from_secret(key),
            checking: DecodingKey::from_secret(key),
            life,
        }
    }

    /// A token of this session.
    pub fn mint(&self, visitor: &Visitor, now: DateTime<Utc>) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = Claims {
            aud: AUDIENCE.to_owned(),
            kind: TYPE.to_owned(),
            jti: Uuid::new_v4().to_string(),
            session_id: visitor.session_id.clone(),
            origin_domain: visitor.entry.site().map(|site| site.host().to_owned()),
            fingerprint: visitor.fingerprint.clone(),
            created_at: visitor.created_at.timestamp(),
            iat: now.timestamp(),
            exp: (now + self.life).timestamp(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
    }

    /// The id of the session that a token is of.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<String, BadToken> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(BadToken);
        }
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[AUDIENCE]);
        // The library reads the machine's clock; time is an argument here.
        rules.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.checking, &rules);
        let claims = claims.or(Err(BadToken))?.claims;
        if claims.kind == TYPE && now.timestamp() < claims.exp {
            Ok(claims.session_id)
        } else {
            Err(BadToken)
        }
    }
}

impl std::fmt::Debug for VisitorTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VisitorTokens(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::parse(text).unwrap()
    }

    #[test]
    fn a_request_comes_from_where_the_browser_says() {
        let public = origin("https://chat.school.example");
        let told = |origin, fetch_site, referer| Told {
            origin,
            fetch_site,
            referer,
            host: Some("localhost:8000"),
            public: Some(&public),
        };
        let site = || CameFrom::Site(origin("https://evil.example"));
        let table = [
            (
                told(Some("http://localhost:8000"), None, None),
                CameFrom::Ourselves,
            ),
            (
                told(Some("https://chat.school.example"), None, None),
                CameFrom::Ourselves,
            ),
            (
                told(Some("https://evil.example"), Some("same-origin"), None),
                site(),
            ),
            (
                told(Some("null"), None, Some("http://localhost:8000/widget/")),
                CameFrom::Hidden,
            ),
            (told(None, Some("same-origin"), None), CameFrom::Ourselves),
            (
                told(None, Some("cross-site"), Some("http://localhost:8000/widget/")),
                CameFrom::Hidden,
            ),
            (told(None, Some("same-site"), None), CameFrom::Hidden),
            (told(None, Some("none"), None), CameFrom::Nowhere),
            (
                told(None, None, Some("http://localhost:8000/widget/chat.html?embed=a")),
                CameFrom::Ourselves,
            ),
            (
                told(None, None, Some("https://evil.example/http://localhost:8000/")),
                CameFrom::Hidden,
            ),
            (told(None, None, Some("rubbish")), CameFrom::Nowhere),
            (told(None, None, None), CameFrom::Nowhere),
        ];
        for (told, expected) in table {
            assert_eq!(told.came_from(), expected, "{told:?}");
        }
    }

    #[test]
    fn a_session_is_used_from_where_it_was_begun_and_nowhere_else() {
        let school = || origin("https://school.example");
        let page = Entry::Page {
            parent: Some(school()),
        };
        let everywhere = [
            CameFrom::Ourselves,
            CameFrom::Site(school()),
            CameFrom::Site(origin("https://evil.example")),
            CameFrom::Hidden,
            CameFrom::Nowhere,
        ];
        let admitted = |entry: &Entry| everywhere.each_ref().map(|from| entry.admits(from));
        assert_eq!(admitted(&page), [true, false, false, false, false]);
        assert_eq!(
            admitted(&Entry::Site(school())),
            [false, true, false, false, false]
        );
        assert_eq!(admitted(&Entry::App), [false, false, false, false, true]);
    }

    fn visitor(session_id: &str) -> Visitor {
        Visitor {
            session_id: session_id.to_owned(),
            embed_id: "site".to_owned(),
            entry: Entry::App,
            page_url: None,
            fingerprint: String::new(),
            message_count: 0,
            created_at: DateTime::UNIX_EPOCH,
            expires_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn conversations_of_one_session_and_of_two_are_different() {
        let (one, two) = (visitor("one"), visitor("two"));
        assert_eq!(one.conversation_id(None), one.conversation_id(Some("main")));
        assert_ne!(one.conversation_id(Some("a")), one.conversation_id(Some("b")));
        assert_ne!(one.conversation_id(Some("a")), two.conversation_id(Some("a")));
        assert!(is_talker(&one.talker_id()) && !is_talker("673d9f2c8b1e4a0057c3d9a1"));
        for name in ["", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(!is_conversation_name(name), "{name}");
        }
    }

    #[test]
    fn of_a_page_its_address_is_kept() {
        assert_eq!(
            page_url_of("https://a.example/x?y#z").as_deref(),
            Some("https://a.example/x?y")
        );
        assert_eq!(page_url_of("javascript:alert(1)"), None);
    }

    #[test]
    fn a_token_is_good_for_its_time_and_its_kind() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let tokens = VisitorTokens::new(b"one key of thirty-two bytes or more", TimeDelta::hours(24));
        let token = tokens.mint(&visitor("s"), now).unwrap();
        assert_eq!(
            tokens.verify(&token, now + TimeDelta::hours(23)).as_deref(),
            Ok("s")
        );
        assert_eq!(tokens.verify(&token, now + TimeDelta::hours(24)), Err(BadToken));
        let others = VisitorTokens::new(b"another key of thirty-two bytes", TimeDelta::hours(24));
        assert_eq!(others.verify(&token, now), Err(BadToken));
        let ticket = crate::domain::page_ticket::PageTickets::new(
            b"one key of thirty-two bytes or more",
            TimeDelta::hours(24),
        );
        let ticket = ticket.mint("site", None, now).unwrap();
        assert_eq!(tokens.verify(&ticket, now), Err(BadToken), "a ticket is no token");
    }
}
