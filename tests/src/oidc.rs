//! A stand-in for a provider that people sign in with: OpenID Connect, plain OAuth 2.0 and GitHub's way in one. It checks
//! what honest providers check, and lies in whatever way a test asks for.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, http::header, web};
use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common_http::Clock;
use serde_json::{Value, json};

/// What clients are called here.
pub const CLIENT_ID: &str = "flowgate-at-the-stand-in";

/// What they prove that with. It has characters that a form must encode.
pub const CLIENT_SECRET: &str = "a secret: with % and + and \u{e9}";

/// More than any client should read.
const HUGE: usize = 2 << 20;

/// Somebody with an account here.
#[derive(Clone, Debug)]
pub struct Stranger {
    /// Who they are, for ever.
    pub subject: String,
    /// Their address.
    pub email: Option<String>,
    /// Whether the provider says that it has proven it; `None`: says nothing.
    pub email_verified: Option<bool>,
    /// What they call themselves.
    pub username: String,
}

impl Stranger {
    /// Somebody whose address was proven.
    pub fn new(subject: &str, email: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            email: Some(email.to_owned()),
            email_verified: Some(true),
            username: email.split('@').next().unwrap_or_default().to_owned(),
        }
    }
}

/// How ID tokens are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// With the published key, as it should be.
    #[default]
    Honest,
    /// Not at all: `alg: none`.
    None,
    /// By HMAC with the public key as the password.
    PublicKeyAsSecret,
    /// By HMAC with the client's secret.
    ClientSecret,
    /// With another key under the published key's name.
    OtherKey,
    /// With a key of a name that is not published.
    UnknownKey,
    /// With the published key, and a `crit` that nobody knows.
    Critical,
}

/// An address of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// The discovery document.
    Discovery,
    /// The keys.
    Keys,
    /// The exchange of codes.
    Token,
    /// Who is this?
    UserInfo,
}

/// How a door misbehaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It answers with more than anybody has to say.
    Huge,
    /// It sends the client elsewhere.
    RedirectTo(String),
    /// It does not answer.
    Silent,
    /// It answers with an error.
    Broken,
    /// It answers with something that is not JSON.
    NotJson,
}

/// Every lie that a test can ask for. The default is the truth.
#[derive(Clone, Debug, Default)]
pub struct Lies {
    /// Claims put into ID tokens in place of the true ones; null takes one out.
    pub claims: Value,
    /// How ID tokens are signed.
    pub signing: Signing,
    /// The issuer in the discovery document.
    pub discovered_issuer: Option<String>,
    /// The `iss` beside the code; an empty one is left out.
    pub answered_issuer: Option<String>,
    /// The subject at the userinfo door.
    pub userinfo_subject: Option<String>,
    /// Leaves the address out of ID tokens, as some do.
    pub email_at_userinfo_only: bool,
    /// What people's GitHub addresses are, as that list has them.
    pub github_emails: Option<Value>,
    /// Doors that misbehave.
    pub troubles: Vec<(Door, Trouble)>,
    /// Whether people say no.
    pub denies: bool,
    /// Whether a code can be exchanged again and again.
    pub forgets_used_codes: bool,
}

/// What a client asked for when it sent somebody here.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The parameters.
    pub parameters: HashMap<String, String>,
}

struct Grant {
    asked: HashMap<String, String>,
    person: Stranger,
}

struct State {
    base: String,
    key: EcdsaKeyPair,
    other_key: EcdsaKeyPair,
    rsa: Option<RsaKeyPair>,
    key_id: Mutex<String>,
    person: Mutex<Stranger>,
    lies: Mutex<Lies>,
    grants: Mutex<HashMap<String, Grant>>,
    tokens: Mutex<HashMap<String, Stranger>>,
    asked: Mutex<Vec<Asked>>,
    visits: Mutex<HashMap<&'static str, usize>>,
    number: Mutex<usize>,
    clock: Clock,
}

/// A provider that runs.
#[derive(Clone)]
pub struct StandInProvider {
    state: Arc<State>,
    _stopped_with_the_last_clone: Arc<Running>,
}

struct Running(ServerHandle);

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody waits for it: the runtime may be ending.
        drop(self.0.stop(false));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StandInProvider {
    /// A provider whose tokens are of the time of `clock`, signed by ES256.
    pub fn start(clock: Clock) -> Self {
        Self::start_with(clock, false)
    }

    /// The same with RS256, which most providers use.
    pub fn start_with_rsa(clock: Clock) -> Self {
        Self::start_with(clock, true)
    }

    #[expect(clippy::expect_used, reason = "a test that has no provider cannot go on")]
    fn start_with(clock: Clock, has_rsa: bool) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address: SocketAddr = listener.local_addr().expect("it has an address");
        let generate =
            || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key can be made");
        let state = Arc::new(State {
            base: format!("http://{address}"),
            key: generate(),
            other_key: generate(),
            rsa: has_rsa.then(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key can be made")),
            key_id: Mutex::new("first".to_owned()),
            person: Mutex::new(Stranger::new("1001", "ada@example.com")),
            lies: Mutex::default(),
            grants: Mutex::default(),
            tokens: Mutex::default(),
            asked: Mutex::default(),
            visits: Mutex::default(),
            number: Mutex::default(),
            clock,
        });
        let shared = web::Data::from(Arc::clone(&state));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .route("/.well-known/openid-configuration", web::get().to(discovery))
                .route("/keys", web::get().to(keys))
                .route("/authorize", web::get().to(authorize))
                .route("/token", web::post().to(token))
                .route("/userinfo", web::get().to(userinfo))
                .route("/user", web::get().to(github_user))
                .route("/user/emails", web::get().to(github_emails))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)
        .expect("the port can be listened on")
        .run();
        let handle = server.handle();
        tokio::spawn(server);
        Self {
            state,
            _stopped_with_the_last_clone: Arc::new(Running(handle)),
        }
    }

    /// Its issuer, and the beginning of all its addresses.
    pub fn issuer(&self) -> &str {
        &self.state.base
    }

    /// Who signs in from now on.
    pub fn becomes(&self, person: Stranger) {
        *locked(&self.state.person) = person;
    }

    /// How it lies from now on.
    pub fn lies(&self, lies: Lies) {
        *locked(&self.state.lies) = lies;
    }

    /// Publishes its key under another name, as after a rotation.
    pub fn rotates_to(&self, key_id: &str) {
        key_id.clone_into(&mut locked(&self.state.key_id));
    }

    /// What clients asked for so far.
    pub fn asked(&self) -> Vec<Asked> {
        locked(&self.state.asked).clone()
    }

    /// How often a path was asked for.
    pub fn visits(&self, path: &str) -> usize {
        locked(&self.state.visits).get(path).copied().unwrap_or_default()
    }

    /// How often anything was asked for.
    pub fn all_visits(&self) -> usize {
        locked(&self.state.visits).values().sum()
    }
}

impl State {
    fn visited(&self, path: &'static str) {
        *locked(&self.visits).entry(path).or_default() += 1;
    }

    fn next(&self, what: &str) -> String {
        let mut number = locked(&self.number);
        *number += 1;
        format!("{what}-{number}")
    }

    fn jwk(&self) -> Value {
        let kid = locked(&self.key_id).clone();
        if let Some(rsa) = &self.rsa {
            let public = rsa.public_key();
            return json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
                "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
                "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()) });
        }
        let point = self.key.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
    }

    fn id_token(&self, grant: &Grant) -> Option<String> {
        let lies = locked(&self.lies).clone();
        let now = self.clock.now().timestamp();
        let mut claims = json!({
            "iss": self.base, "sub": grant.person.subject, "aud": CLIENT_ID, "iat": now, "exp": now + 300,
            "preferred_username": grant.person.username,
        });
        let members = claims.as_object_mut()?;
        if let Some(nonce) = grant.asked.get("nonce") {
            members.insert("nonce".to_owned(), nonce.as_str().into());
        }
        if !lies.email_at_userinfo_only {
            members.extend(email_claims(&grant.person));
        }
        for (name, value) in lies.claims.as_object().into_iter().flatten() {
            if value.is_null() {
                members.remove(name);
            } else {
                members.insert(name.clone(), value.clone());
            }
        }
        self.signed(&claims, lies.signing)
    }

    fn signed(&self, claims: &Value, signing: Signing) -> Option<String> {
        let kid = locked(&self.key_id).clone();
        let alg = if self.rsa.is_some() { "RS256" } else { "ES256" };
        let header = match signing {
            Signing::Honest => json!({ "typ": "JWT", "alg": alg, "kid": kid }),
            Signing::None => json!({ "alg": "none" }),
            Signing::PublicKeyAsSecret | Signing::ClientSecret => json!({ "alg": "HS256", "kid": kid }),
            Signing::OtherKey => json!({ "alg": "ES256", "kid": kid }),
            Signing::UnknownKey => json!({ "alg": alg, "kid": "never published" }),
            Signing::Critical => json!({ "alg": alg, "kid": kid, "crit": ["ext"], "ext": true }),
        };
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encoded(&header), encoded(claims));
        let by_hmac = |secret: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
        };
        let random = SystemRandom::new();
        let by = |key: &EcdsaKeyPair| Some(key.sign(&random, message.as_bytes()).ok()?.as_ref().to_vec());
        let signature = match signing {
            Signing::None => Vec::new(),
            Signing::PublicKeyAsSecret => by_hmac(self.jwk().to_string().as_bytes()),
            Signing::ClientSecret => by_hmac(CLIENT_SECRET.as_bytes()),
            Signing::OtherKey => by(&self.other_key)?,
            Signing::Honest | Signing::UnknownKey | Signing::Critical => match &self.rsa {
                Some(rsa) => {
                    let mut signature = vec![0; rsa.public_modulus_len()];
                    rsa.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)
                        .ok()?;
                    signature
                }
                None => by(&self.key)?,
            },
        };
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What a door does in place of its work, if it is to misbehave.
    async fn trouble(&self, door: Door) -> Option<HttpResponse> {
        let trouble = locked(&self.lies)
            .troubles
            .iter()
            .find_map(|(where_, trouble)| (*where_ == door).then(|| trouble.clone()))?;
        Some(match trouble {
            Trouble::Huge => HttpResponse::Ok().json(json!({ "keys": "x".repeat(HUGE) })),
            Trouble::RedirectTo(url) => HttpResponse::Found()
                .insert_header((header::LOCATION, url))
                .finish(),
            Trouble::Silent => std::future::pending().await,
            Trouble::Broken => HttpResponse::InternalServerError().json(json!({ "secret": "of the inside" })),
            Trouble::NotJson => HttpResponse::Ok().body("<html>"),
        })
    }

    fn person_of(&self, request: &HttpRequest) -> Option<Stranger> {
        let given = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
        let token = given.strip_prefix("Bearer ")?;
        locked(&self.tokens).get(token).cloned()
    }
}

fn email_claims(person: &Stranger) -> serde_json::Map<String, Value> {
    let mut claims = serde_json::Map::new();
    if let Some(email) = &person.email {
        claims.insert("email".to_owned(), email.as_str().into());
    }
    if let Some(is_verified) = person.email_verified {
        claims.insert("email_verified".to_owned(), is_verified.into());
    }
    claims
}

async fn discovery(state: web::Data<State>) -> HttpResponse {
    state.visited("/.well-known/openid-configuration");
    if let Some(trouble) = state.trouble(Door::Discovery).await {
        return trouble;
    }
    let lie = locked(&state.lies).discovered_issuer.clone();
    let base = &state.base;
    HttpResponse::Ok().json(json!({
        "issuer": lie.unwrap_or_else(|| base.clone()),
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "userinfo_endpoint": format!("{base}/userinfo"),
        "jwks_uri": format!("{base}/keys"),
        "authorization_response_iss_parameter_supported": true,
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
    }))
}

async fn keys(state: web::Data<State>) -> HttpResponse {
    state.visited("/keys");
    if let Some(trouble) = state.trouble(Door::Keys).await {
        return trouble;
    }
    HttpResponse::Ok().json(json!({ "keys": [state.jwk()] }))
}

/// Everybody agrees at once, unless they say no.
async fn authorize(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    state.visited("/authorize");
    let asked: HashMap<String, String> = url::form_urlencoded::parse(request.query_string().as_bytes())
        .into_owned()
        .collect();
    locked(&state.asked).push(Asked {
        parameters: asked.clone(),
    });
    let is_ours = asked.get("client_id").is_some_and(|id| id == CLIENT_ID);
    let Some(redirect_uri) = asked.get("redirect_uri").filter(|_| is_ours).cloned() else {
        return HttpResponse::BadRequest().finish();
    };
    let lies = locked(&state.lies).clone();
    let code = state.next("code");
    let person = locked(&state.person).clone();
    let mut answer = url::form_urlencoded::Serializer::new(String::new());
    if lies.denies {
        answer.append_pair("error", "access_denied");
    } else {
        answer.append_pair("code", &code);
    }
    if let Some(state) = asked.get("state") {
        answer.append_pair("state", state);
    }
    let issuer = lies.answered_issuer.unwrap_or_else(|| state.base.clone());
    if !issuer.is_empty() {
        answer.append_pair("iss", &issuer);
    }
    locked(&state.grants).insert(code, Grant { asked, person });
    HttpResponse::Found()
        .insert_header((header::LOCATION, format!("{redirect_uri}?{}", answer.finish())))
        .finish()
}

async fn token(
    request: HttpRequest,
    form: web::Form<HashMap<String, String>>,
    state: web::Data<State>,
) -> HttpResponse {
    state.visited("/token");
    if let Some(trouble) = state.trouble(Door::Token).await {
        return trouble;
    }
    if !knows_secret(&request, &form) {
        return HttpResponse::Unauthorized().json(json!({ "error": "invalid_client" }));
    }
    let refused = || HttpResponse::BadRequest().json(json!({ "error": "invalid_grant" }));
    let code = form.get("code").cloned().unwrap_or_default();
    let Some(grant) = locked(&state.grants).remove(&code) else {
        return refused();
    };
    let challenge = form
        .get("code_verifier")
        .map(|verifier| URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())));
    let is_the_asker = challenge.as_ref() == grant.asked.get("code_challenge")
        && grant
            .asked
            .get("code_challenge_method")
            .is_some_and(|method| method == "S256")
        && form.get("redirect_uri") == grant.asked.get("redirect_uri");
    if !is_the_asker {
        return refused();
    }
    let access = state.next("access");
    locked(&state.tokens).insert(access.clone(), grant.person.clone());
    let mut answer = json!({ "access_token": access, "token_type": "Bearer", "expires_in": 300 });
    if grant
        .asked
        .get("scope")
        .is_some_and(|scope| scope.split(' ').any(|word| word == "openid"))
        && let Some(members) = answer.as_object_mut()
    {
        members.insert("id_token".to_owned(), state.id_token(&grant).into());
    }
    if locked(&state.lies).forgets_used_codes {
        locked(&state.grants).insert(code, grant);
    }
    HttpResponse::Ok().json(answer)
}

/// Whether the client is who it says, by header or by form.
fn knows_secret(request: &HttpRequest, form: &HashMap<String, String>) -> bool {
    let encoded = |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let pair = format!("{}:{}", encoded(CLIENT_ID), encoded(CLIENT_SECRET));
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let given = request.headers().get(header::AUTHORIZATION);
    let in_form = form
        .get("client_secret")
        .is_some_and(|secret| secret == CLIENT_SECRET);
    given.is_some_and(|given| given.as_bytes() == basic.as_bytes()) || in_form
}

async fn userinfo(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    state.visited("/userinfo");
    if let Some(trouble) = state.trouble(Door::UserInfo).await {
        return trouble;
    }
    let Some(person) = state.person_of(&request) else {
        return HttpResponse::Unauthorized().finish();
    };
    let subject = locked(&state.lies).userinfo_subject.clone();
    let mut answer = email_claims(&person);
    answer.insert("sub".to_owned(), subject.unwrap_or(person.subject).into());
    answer.insert("preferred_username".to_owned(), person.username.into());
    HttpResponse::Ok().json(answer)
}

async fn github_user(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    state.visited("/user");
    let Some(person) = state.person_of(&request) else {
        return HttpResponse::Unauthorized().finish();
    };
    let id: u64 = person.subject.parse().unwrap_or_default();
    HttpResponse::Ok().json(json!({ "id": id, "login": person.username, "email": person.email }))
}

async fn github_emails(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    state.visited("/user/emails");
    let Some(person) = state.person_of(&request) else {
        return HttpResponse::Unauthorized().finish();
    };
    let listed = locked(&state.lies).github_emails.clone();
    let own =
        json!([{ "email": person.email, "primary": true, "verified": person.email_verified == Some(true) }]);
    HttpResponse::Ok().json(listed.unwrap_or(own))
}
