//! How much a message looks like a machine's or an advertiser's, and a session like somebody else's.
//!
//! Points, not verdicts: each sign has ordinary causes, and what a site's visitors write about (SQL, code, prices, short
//! greetings, shouting) is never a sign enough. What follows from a score is the operator's to say.

/// More than this, and a message is a machine's.
pub const BOT_ABOVE: u32 = 50;
/// More than this, and it is an advertisement.
pub const SPAM_ABOVE: u32 = 40;
/// More than this, and operators are told of a session.
pub const RISK_ALERT_ABOVE: u32 = 50;
/// More than this, and a session may be ended.
pub const RISK_END_ABOVE: u32 = 75;

/// Shares are taken of texts of at least so many characters: in shorter ones they say nothing.
const SHARE_CHARS_MIN: usize = 20;
/// Of a long text only so many characters are compared: every language has few letters.
const VARIETY_CHARS_MAX: usize = 40;
/// Messages of the first hour that one person writes.
const FIRST_HOUR_MESSAGES: u64 = 100;

const BOT_AGENTS: [&str; 13] = [
    "bot",
    "crawl",
    "spider",
    "scrap",
    "curl/",
    "wget/",
    "python-requests",
    "python-urllib",
    "httpx",
    "go-http-client",
    "okhttp",
    "headless",
    "phantomjs",
];

const TEST_PHRASES: [&str; 8] = [
    "test",
    "testing",
    "test test",
    "test message",
    "this is a test",
    "asdf",
    "qwerty",
    "lorem ipsum",
];

const ADVERTISED: [&str; 16] = [
    "viagra",
    "cialis",
    "casino",
    "jackpot",
    "lottery",
    "forex",
    "payday loan",
    "make money fast",
    "earn money online",
    "work from home",
    "click here",
    "act now",
    "limited offer",
    "free money",
    "crypto giveaway",
    "buy followers",
];

/// What a message and its sender show.
#[derive(Clone, Copy, Debug)]
pub struct Signs<'a> {
    /// The message.
    pub text: &'a str,
    /// What the sender's program calls itself.
    pub user_agent: Option<&'a str>,
    /// The session.
    pub session: SessionSigns,
}

/// What a session shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionSigns {
    /// It goes on from another address.
    pub address_changed: bool,
    /// It goes on in another browser.
    pub browser_changed: bool,
    /// Many sessions were begun from its address. So they are in a school.
    pub is_one_of_many: bool,
    /// Messages before this one.
    pub messages: u64,
    /// How long ago it began.
    pub age_secs: u64,
}

/// Points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threat {
    /// That a machine writes.
    pub bot: u32,
    /// That it is an advertisement.
    pub spam: u32,
    /// That the session is not its owner's any more.
    pub risk: u32,
}

impl Threat {
    /// Counts the signs.
    pub fn of(signs: &Signs<'_>) -> Self {
        Self {
            bot: bot(signs.text, signs.user_agent.unwrap_or_default()),
            spam: spam(signs.text),
            risk: risk(&signs.session),
        }
    }

    /// What there is too much of, by bounded names.
    pub fn kinds(self) -> impl Iterator<Item = &'static str> {
        let kinds = [
            ("bot", self.bot > BOT_ABOVE),
            ("spam", self.spam > SPAM_ABOVE),
            ("session", self.risk > RISK_ALERT_ABOVE),
        ];
        kinds
            .into_iter()
            .filter(|(_, is_so)| *is_so)
            .map(|(kind, _)| kind)
    }

    /// Whether the message itself looks wrong, not only its session.
    pub fn is_of_text(self) -> bool {
        self.bot > BOT_ABOVE || self.spam > SPAM_ABOVE
    }

    /// Whether there is too much of anything.
    pub fn is_suspicious(self) -> bool {
        self.kinds().next().is_some()
    }
}

fn points(signs: &[(bool, u32)]) -> u32 {
    signs
        .iter()
        .filter(|(is_so, _)| *is_so)
        .map(|(_, points)| points)
        .sum()
}

fn bot(text: &str, user_agent: &str) -> u32 {
    let agent = user_agent.to_lowercase();
    let said = text.trim().to_lowercase();
    let said = said.trim_end_matches(['.', '!', '?', ' ']);
    points(&[
        (BOT_AGENTS.iter().any(|name| agent.contains(name)), 40),
        (said.chars().count() < 5, 10),
        (is_monotonous(text), 20),
        (TEST_PHRASES.contains(&said), 30),
    ])
}

/// Whether the text is few characters again and again.
fn is_monotonous(text: &str) -> bool {
    let mut some: Vec<char> = text.chars().take(VARIETY_CHARS_MAX).collect();
    let count = some.len();
    some.sort_unstable();
    some.dedup();
    count >= SHARE_CHARS_MIN && some.len() * 10 < count * 3
}

fn spam(text: &str) -> u32 {
    let lower = text.to_lowercase();
    let links = lower.matches("http://").count() + lower.matches("https://").count() + bare_links(&lower);
    let (mut cased, mut capitals, mut all, mut marks) = (0_usize, 0_usize, 0_usize, 0_usize);
    for character in text.chars() {
        all += 1;
        cased += usize::from(character.is_uppercase() || character.is_lowercase());
        capitals += usize::from(character.is_uppercase());
        marks += usize::from(!character.is_alphanumeric() && !character.is_whitespace());
    }
    let advertised = ADVERTISED.iter().filter(|word| lower.contains(*word)).count();
    points(&[
        (links > 2, 30),
        (cased >= SHARE_CHARS_MIN && capitals * 2 > cased, 20),
        (advertised > 2, 25),
        (all >= SHARE_CHARS_MIN && marks * 10 > all * 3, 15),
    ])
}

/// Addresses that are written without a scheme.
fn bare_links(lower: &str) -> usize {
    lower.matches("www.").count() - lower.matches("://www.").count()
}

fn risk(session: &SessionSigns) -> u32 {
    points(&[
        (session.address_changed, 30),
        (session.browser_changed, 20),
        (session.is_one_of_many, 40),
        (
            session.messages > FIRST_HOUR_MESSAGES && session.age_secs <= 3_600,
            25,
        ),
        (session.age_secs > 48 * 3_600, 15),
    ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

    fn of(text: &str, user_agent: &str) -> Threat {
        Threat::of(&Signs {
            text,
            user_agent: Some(user_agent),
            session: SessionSigns::default(),
        })
    }

    /// What people write on web sites, in the six languages of the widget.
    const ORDINARY: [&str; 48] = [
        "hi",
        "Hi!",
        "ok",
        "?",
        "👍",
        "test",
        "No.",
        "yes please",
        "Can I select another size and update my order?",
        "How do I create an account -- and can I delete it later?",
        "SELECT name FROM users WHERE id = 1; -- returns nothing, why?",
        "DROP TABLE students; is a joke about SQL, isn't it?",
        "INSERT INTO ORDERS (ID, NAME) VALUES (1, 'X'); WHY DOES THIS FAIL?",
        "fn main() { println!(\"{}\", 1 + 1); }",
        "for (let i = 0; i < 10; i++) { a[i] += b[i] * (c - d); }",
        "<div onclick=\"x()\">why is this not red?</div>",
        "My script tag <script src='a.js'></script> does not load",
        "{\"a\": [1, 2, {\"b\": null}], \"c\": \"d\"}",
        "Is it $1,299.99 or €1.199,00 (incl. 19% VAT) + £5 shipping?",
        "Order #4711: 2 x 19.90 = 39.80, paid 40.00, change 0.20",
        "I HAVE BEEN WAITING FOR THREE WEEKS NOW!!!",
        "See https://example.com/a and https://example.com/b please",
        "My e-mail is jane.doe+shop@example.co.uk, phone +44 (0)20 7946 0958",
        "Solve x^2 - 5x + 6 = 0 and show (x - 2)(x - 3) = 0",
        "Where is the casino in your hotel?",
        "hahahahahahahahahahaha",
        "您好，请问这件商品还有货吗？",
        "你好",
        "退货",
        "我的订单号是202611210001，什么时候发货？",
        "价格是￥199.00还是￥299.00？",
        "为什么？？？",
        "Hola, ¿cuánto cuesta el envío a España?",
        "¿Puedo cambiar la talla?",
        "¡Gracias!",
        "¿CUÁNDO LLEGA MI PEDIDO NÚMERO 12345?",
        "Guten Tag, wie lange dauert die Lieferung nach Österreich?",
        "Danke",
        "Was kostet das? 19,99 € oder 24,99 €?",
        "Ich möchte meine Bestellung (Nr. 4711) stornieren.",
        "Bonjour, où se trouve votre magasin à Montréal ?",
        "Merci !",
        "Quel est le délai de livraison ?",
        "C'est combien, l'abonnement « pro » à 12,50 € / mois ?",
        "Здравствуйте, сколько стоит доставка?",
        "Привет",
        "Спасибо!",
        "ПОЧЕМУ МОЙ ЗАКАЗ ДО СИХ ПОР НЕ ПРИШЁЛ?",
    ];

    #[test]
    fn ordinary_sentences_are_never_suspicious() {
        for text in ORDINARY {
            let threat = of(text, BROWSER);
            assert!(!threat.is_suspicious(), "{text}: {threat:?}");
        }
    }

    #[test]
    fn machines_and_advertisements_are() {
        let kinds = |threat: Threat| threat.kinds().collect::<Vec<_>>();
        assert_eq!(kinds(of("test", "python-requests/2.32")), ["bot"]);
        assert_eq!(kinds(of("asdf", "curl/8.5.0")), ["bot"]);
        assert_eq!(
            of("How long does delivery take?", "curl/8.5.0").bot,
            40,
            "a program may ask"
        );
        let links = "http://a.example www.b.example https://c.example ";
        assert_eq!(
            kinds(of(
                &format!("{links} casino jackpot LOTTERY, click here"),
                BROWSER
            )),
            ["spam"]
        );
        assert_eq!(
            kinds(of(
                &format!("{links} WIN THE GREAT BIG PRIZE OF THE DAY NOW, ALL OF YOU PEOPLE"),
                BROWSER
            )),
            ["spam"]
        );
        assert_eq!(of(links, BROWSER).spam, 30, "links alone are not enough");
    }

    #[test]
    fn a_session_is_a_risk_by_what_comes_together() {
        let risk_of = |session| risk(&session);
        let moved = SessionSigns {
            address_changed: true,
            browser_changed: true,
            ..SessionSigns::default()
        };
        assert_eq!(risk_of(SessionSigns::default()), 0);
        assert_eq!(
            risk_of(moved),
            50,
            "a phone that leaves the house and is updated is no alert"
        );
        let talkative = SessionSigns {
            messages: 101,
            age_secs: 3_000,
            ..moved
        };
        assert_eq!(risk_of(talkative), 75);
        assert_eq!(
            risk_of(SessionSigns {
                is_one_of_many: true,
                ..talkative
            }),
            115
        );
        let old = SessionSigns {
            messages: 1_000,
            age_secs: 49 * 3_600,
            ..SessionSigns::default()
        };
        assert_eq!(risk_of(old), 15);
    }

    proptest! {
        #[test]
        fn words_of_people_put_together_in_any_way_are_ordinary(
            words in prop::collection::vec(prop::sample::select(
                "how do I select update create delete drop where from order price size table script insert the my in and or \
                 wie kann ich bitte Preis où est le prix combien dónde está el precio цена заказ доставка 价格 多少 你好"
                    .split_whitespace().collect::<Vec<_>>()), 1..40),
            mark in prop::sample::select(vec!["", "?", "!", ".", " -- thanks", " #1", " 19,99 €"]),
        ) {
            let text = format!("{}{mark}", words.join(" "));
            let threat = of(&text, BROWSER);
            prop_assert!(!threat.is_suspicious(), "{}: {:?}", text, threat);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), agent in any::<String>()) {
            let _ = of(&text, &agent);
        }
    }
}
