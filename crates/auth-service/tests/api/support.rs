//! A service of a test's own, on a database of its own, with a clock that stands still until it is moved.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::{Duration, Instant},
};

use auth_service::{App, CONTRACT, Config, LimitsConfig, MailRoute, domain::user::SignInRule};
use bson::{Document, doc, oid::ObjectId};
use common_http::{Clock, Lifecycle, TrustedProxies};
use common_jwt::{AUDIENCE_DEFAULT, AccessClaims, ISSUER_DEFAULT, KeyRing, Verifier, VerifyingKey};
use mongodb::Collection;
use secrecy::SecretString;
use serde_json::{Value, json};
use test_support::{ACCESS_SECRET, Answer, Client, REFRESH_SECRET, SERVICE_SECRET, TestMongo, TestTokens};

/// A password that obeys the rules.
pub(crate) const PASSWORD: &str = "plenty of trees 9";

/// Whatever has to happen in the background must have happened by then.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestApp {
    pub(crate) client: Client,
    pub(crate) base: String,
    pub(crate) mongo: TestMongo,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) mail_dir: PathBuf,
}

/// Somebody who is signed in.
#[derive(Clone)]
pub(crate) struct SignedIn {
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) client: Client,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl TestApp {
    pub(crate) async fn spawn() -> Self {
        Self::spawn_with(|_| {}).await
    }

    pub(crate) async fn spawn_with(change: impl FnOnce(&mut Config)) -> Self {
        let mongo = TestMongo::create().await;
        let mail_dir = std::env::temp_dir().join(format!("{}-mails", mongo.name));
        let clock = Clock::manual(Clock::System.now());
        let mut config = Config {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            workers: 2,
            mongodb_uri: SecretString::from(mongo.uri.clone()),
            jwt_private_keys: None,
            jwt_access_secret: Some(SecretString::from(ACCESS_SECRET)),
            jwt_access_secret_previous: None,
            jwt_refresh_secret: SecretString::from(REFRESH_SECRET),
            service_jwt_secret: SecretString::from(SERVICE_SECRET),
            jwt_issuer: ISSUER_DEFAULT.to_owned(),
            jwt_audience: AUDIENCE_DEFAULT.to_owned(),
            access_life: Duration::from_mins(15),
            refresh_life: Duration::from_hours(7 * 24),
            session_life: Duration::from_hours(30 * 24),
            refresh_grace: Duration::from_secs(10),
            sessions_per_user_max: 10,
            limits: LimitsConfig::default(),
            audit_retention: Duration::from_hours(365 * 24),
            sign_in_rule: SignInRule::VerifiedOnly,
            verification_code_life: Duration::from_mins(15),
            password_reset_life: Duration::from_mins(30),
            invitation_life: Duration::from_hours(7 * 24),
            data_encryption_key: None,
            totp_issuer: "Flowgate".to_owned(),
            testing_endpoints: false,
            private_providers: true,
            provider_timeout: Duration::from_secs(8),
            bcrypt_cost: 4,
            hashing_threads: 2,
            hash_queue_max: 256,
            role_map: auth_service::domain::roles::RoleMap::default(),
            user_changes_kept: Duration::from_hours(90 * 24),
            bootstrap_admin: None,
            mail: MailRoute::Folder(mail_dir.clone()),
            mail_from: "Flowgate <noreply@example.com>".to_owned(),
            public_url: "https://chat.example.com".parse().unwrap(),
            proxy_url: None,
            accounting_url: None,
            import_bytes_max: 32 << 20,
            cors_origins: vec!["https://app.example.com".to_owned()],
            secure_cookies: true,
            trusted_proxies: TrustedProxies::default(),
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::from_secs(5),
            log_level: None,
            clock: clock.clone(),
        };
        change(&mut config);
        Self::start(mongo, config, mail_dir).await
    }

    /// A replica: another service on the same database.
    pub(crate) async fn spawn_beside(&self) -> Self {
        self.spawn_beside_with(|_| {}).await
    }

    pub(crate) async fn spawn_beside_with(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.config.clone();
        change(&mut config);
        Self::start(self.mongo.clone(), config, self.mail_dir.clone()).await
    }

    async fn start(mongo: TestMongo, config: Config, mail_dir: PathBuf) -> Self {
        let app = App::build(config.clone()).await.unwrap();
        let base = format!("http://{}", app.address());
        let lifecycle = app.lifecycle();
        tokio::spawn(app.run());
        Self {
            client: Client::new(&base).checking(CONTRACT),
            base,
            mongo,
            clock: config.clock.clone(),
            config,
            lifecycle,
            mail_dir,
        }
    }

    pub(crate) fn advance_secs(&self, secs: i64) {
        self.clock.advance(chrono::Duration::seconds(secs));
    }

    pub(crate) fn tokens(&self) -> TestTokens {
        TestTokens::at(self.clock.now())
    }

    /// As another service of ours.
    pub(crate) fn as_service(&self, name: &str) -> Client {
        self.client
            .with_token(self.tokens().service(name, "auth-service"))
    }

    pub(crate) async fn sign_up(&self, username: &str) -> String {
        let body = json!({ "username": username, "email": email_of(username), "password": PASSWORD });
        let answer = self.client.post("/api/auth/signup", &body).await.expect(201);
        answer.body["userId"].as_str().unwrap().to_owned()
    }

    /// Signed up, verified as the administration scripts do it, and signed in.
    pub(crate) async fn user(&self, username: &str, role: &str) -> SignedIn {
        let id = self.sign_up(username).await;
        self.update_user(&id, doc! { "isVerified": true, "role": role })
            .await;
        self.log_in(username).await
    }

    pub(crate) async fn log_in(&self, username: &str) -> SignedIn {
        let answer = self.try_log_in(username, PASSWORD).await.expect(200);
        SignedIn::from_answer(self, username, &answer)
    }

    pub(crate) async fn try_log_in(&self, login: &str, password: &str) -> Answer {
        let body = json!({ "username": login, "password": password });
        self.client.post("/api/auth/login", &body).await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        let body = json!({ "refreshToken": token });
        self.client.post("/api/auth/refresh", &body).await
    }

    pub(crate) async fn update_user(&self, id: &str, set: Document) {
        let filter = doc! { "_id": ObjectId::parse_str(id).unwrap() };
        let updated = self
            .users()
            .update_one(filter, doc! { "$set": set })
            .await
            .unwrap();
        assert_eq!(updated.matched_count, 1);
    }

    pub(crate) async fn find_user(&self, id: &str) -> Option<Document> {
        let filter = doc! { "_id": ObjectId::parse_str(id).unwrap() };
        self.users().find_one(filter).await.unwrap()
    }

    pub(crate) fn users(&self) -> Collection<Document> {
        self.mongo.database.collection("users")
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.mongo.database.collection(name)
    }

    pub(crate) async fn count(&self, collection: &str, filter: Document) -> u64 {
        self.collection(collection).count_documents(filter).await.unwrap()
    }

    /// All mails to this address so far, oldest first.
    pub(crate) fn mails_to(&self, email: &str) -> Vec<String> {
        let files = std::fs::read_dir(&self.mail_dir)
            .unwrap()
            .map(|file| file.unwrap().path());
        let mut files: Vec<_> = files
            .filter(|file| file.extension().is_some_and(|end| end == "eml"))
            .collect();
        files.sort();
        let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
        texts
            .filter(|text| text.contains(&format!("To: {email}\r\n")))
            .collect()
    }

    /// The code in the `number`th mail to this address, once that has been sent.
    pub(crate) async fn code(&self, email: &str, number: usize) -> String {
        let mail = eventually("a mail with a code", async || {
            self.mails_to(email).into_iter().nth(number - 1)
        })
        .await;
        let (_, after) = mail.split_once("verification code: ").unwrap();
        after.chars().take(6).collect()
    }

    /// The text of the newest mail to this address whose subject contains `subject`, once it has been sent.
    pub(crate) async fn mail(&self, email: &str, subject: &str) -> String {
        eventually(&format!("a mail {subject}"), async || {
            let mails = self.mails_to(email).into_iter().rev();
            let line = |mail: &String| {
                mail.lines()
                    .any(|line| line.starts_with("Subject: ") && line.contains(subject))
            };
            mails.into_iter().find(line)
        })
        .await
    }

    /// Asks for a link to choose a password, and reads the token once the `number`th such mail has been sent.
    pub(crate) async fn reset_token(&self, email: &str, number: usize) -> String {
        let body = json!({ "email": email });
        self.client
            .post("/api/auth/forgot-password", &body)
            .await
            .expect(200);
        let mails = eventually("a mail with a link", async || {
            let mails = self.mails_to(email);
            let with_link: Vec<_> = mails
                .into_iter()
                .filter(|mail| mail.contains("Subject: Choose a new password"))
                .collect();
            (with_link.len() >= number).then_some(with_link)
        })
        .await;
        token_of(&mails[number - 1])
    }

    pub(crate) async fn redeem(&self, token: &str, password: &str) -> Answer {
        let body = json!({ "token": token, "newPassword": password });
        self.client.post("/api/auth/reset-password", &body).await
    }

    /// Waits until this many audit events of this kind stand.
    pub(crate) async fn audited(&self, action: &str, outcome: &str, count: u64) {
        let filter = doc! { "action": action, "outcome": outcome };
        eventually(&format!("{count} events {action} {outcome}"), async || {
            (self.count("audit_events", filter.clone()).await == count).then_some(())
        })
        .await;
    }

    /// The value of one series of `/metrics`; 0 where it does not exist.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = self.client.get("/metrics").await.expect(200).text;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.lifecycle.stop();
    }
}

impl SignedIn {
    pub(crate) fn from_answer(app: &TestApp, username: &str, answer: &Answer) -> Self {
        let access = text(&answer.body["accessToken"]);
        Self {
            id: text(&answer.body["user"]["id"]),
            username: username.to_owned(),
            client: app.client.with_token(&access),
            refresh: text(&answer.body["refreshToken"]),
            access,
        }
    }

    pub(crate) fn claims(&self, app: &TestApp) -> AccessClaims {
        claims_of(app, &self.access)
    }
}

pub(crate) fn claims_of(app: &TestApp, access: &str) -> AccessClaims {
    let ring = KeyRing::new([VerifyingKey::hs256(ACCESS_SECRET.as_bytes())]);
    let verifier = Verifier::new(ring, ISSUER_DEFAULT, AUDIENCE_DEFAULT);
    verifier.access(access, app.clock.now()).unwrap()
}

/// The token in the link of a mail. Long lines are broken with `=` there.
pub(crate) fn token_of(mail: &str) -> String {
    let whole = mail.replace("=\r\n", "").replace("=3D", "=");
    let (_, after) = whole.split_once("/reset-password?token=").unwrap();
    after.chars().take_while(char::is_ascii_hexdigit).collect()
}

pub(crate) fn email_of(username: &str) -> String {
    format!("{username}@example.com")
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The cookies an answer sets.
pub(crate) fn cookies_of(answer: &Answer) -> Vec<String> {
    let cookies = answer.headers.get_all("set-cookie").iter();
    cookies
        .map(|cookie| cookie.to_str().unwrap().to_owned())
        .collect()
}

/// Waits for something that happens in the background.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
