//! Tokens that an attacker would try, each wrong in one way (RFC 8725), out of a token that is good.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

/// What comes before the 32 bytes of an Ed25519 public key in DER (RFC 8410).
const PUBLIC_DER_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// A token that must be refused.
#[derive(Clone, Debug)]
pub struct Attack {
    /// What is wrong with it.
    pub what: String,
    /// The token.
    pub token: String,
}

/// Makes bad tokens out of a good one, with or without the key that signed it.
pub struct Forge {
    header: Value,
    claims: Value,
    key: Key,
}

enum Key {
    Secret(Vec<u8>),
    Ed25519(Ed25519KeyPair),
}

/// A new Ed25519 private key, as `openssl genpkey -algorithm ed25519` writes one.
pub fn ed25519_pem() -> String {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("a key can be made");
    format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(pkcs8))
}

/// A part of a token.
pub fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A part of a token, read without looking at the signature: 0 is the header, 1 the claims.
pub fn part_of(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).expect("the token has parts");
    let json = URL_SAFE_NO_PAD.decode(part).expect("the part is base64url");
    serde_json::from_slice(&json).expect("the part is JSON")
}

impl Forge {
    /// With the secret that signed `good`.
    pub fn with_secret(good: &str, secret: &str) -> Self {
        Self::new(good, Key::Secret(secret.as_bytes().to_vec()))
    }

    /// With the Ed25519 private key, as PEM, that signed `good`.
    pub fn with_ed25519(good: &str, pem: &str) -> Self {
        Self::new(good, Key::Ed25519(key_pair(pem)))
    }

    fn new(good: &str, key: Key) -> Self {
        Self {
            header: part_of(good, 0),
            claims: part_of(good, 1),
            key,
        }
    }

    /// The claims of the good token.
    pub fn claims(&self) -> &Value {
        &self.claims
    }

    /// Any header and claims under a genuine signature.
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        self.key.sign(&format!("{}.{}", encoded(header), encoded(claims)))
    }

    /// The good claims under another header, with a genuine signature.
    pub fn under(&self, header: &Value) -> String {
        self.signed(header, &self.claims)
    }

    /// One member of the header changed, with a genuine signature.
    pub fn header(&self, member: &str, value: Value) -> String {
        let mut header = self.header.clone();
        header[member] = value;
        self.under(&header)
    }

    /// One claim changed, with a genuine signature.
    pub fn claim(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        self.signed(&self.header, &claims)
    }

    /// One claim missing, with a genuine signature.
    pub fn without(&self, name: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().expect("claims are an object").remove(name);
        self.signed(&self.header, &claims)
    }

    /// Every attack on a single token. `now` is the service's time in seconds; headers that point to keys elsewhere
    /// point to `attacker`, which must never be asked.
    pub fn attacks(&self, now: i64, attacker: &str) -> Vec<Attack> {
        let mut attacks = Vec::new();
        let mut add = |what: String, token: String| attacks.push(Attack { what, token });
        self.unsigned(&mut add);
        self.other_algorithms(&mut add);
        self.other_keys(attacker, &mut add);
        self.odd_headers(&mut add);
        self.bent_claims(now, &mut add);
        self.no_tokens(&mut add);
        attacks
    }

    fn unsigned(&self, add: &mut impl FnMut(String, String)) {
        for alg in ["none", "None", "NONE", "nOnE", ""] {
            let mut header = self.header.clone();
            header["alg"] = json!(alg);
            let body = format!("{}.{}", encoded(&header), encoded(&self.claims));
            add(format!("alg {alg:?}, no signature"), format!("{body}."));
            add(format!("alg {alg:?}, a short signature"), format!("{body}.AAAA"));
            add(format!("alg {alg:?}, a good signature"), self.under(&header));
            let bare = format!("{}.{}.", encoded(&json!({ "alg": alg })), encoded(&self.claims));
            add(format!("alg {alg:?}, no kid"), bare);
        }
        let good = self.under(&self.header);
        let (body, _) = good.rsplit_once('.').expect("a token has dots");
        add("the signature cut off".to_owned(), format!("{body}."));
        for (claim, value) in [
            ("role", "admin"),
            ("sub", "ffffffffffffffffffffffff"),
            ("sid", "other"),
        ] {
            let mut edited = self.claims.clone();
            edited[claim] = json!(value);
            if edited == self.claims {
                edited[claim] = json!("supervisor");
            }
            let signature = good.rsplit('.').next().unwrap_or_default();
            let token = format!("{}.{}.{signature}", encoded(&self.header), encoded(&edited));
            add(format!("{claim} edited under the old signature"), token);
        }
    }

    fn other_algorithms(&self, add: &mut impl FnMut(String, String)) {
        let own = self.header["alg"].as_str().unwrap_or_default();
        for alg in [
            "HS256", "HS384", "HS512", "RS256", "PS256", "ES256", "EdDSA", "hs256", "eddsa", "HS256 ",
        ] {
            if alg != own {
                add(
                    format!("alg {alg:?} over a good signature"),
                    self.header("alg", json!(alg)),
                );
            }
        }
        add("alg is null".to_owned(), self.header("alg", Value::Null));
        for (name, key) in self.key.as_seen_from_outside() {
            for (alg, algorithm) in [
                ("HS256", hmac::HMAC_SHA256),
                ("HS384", hmac::HMAC_SHA384),
                ("HS512", hmac::HMAC_SHA512),
                ("EdDSA", hmac::HMAC_SHA256),
            ] {
                for header in [
                    json!({ "alg": alg, "kid": self.header["kid"] }),
                    json!({ "alg": alg }),
                ] {
                    let body = format!("{}.{}", encoded(&header), encoded(&self.claims));
                    let signature = hmac::sign(&hmac::Key::new(algorithm, &key), body.as_bytes());
                    let token = format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature));
                    add(format!("{header} signed with {name}"), token);
                }
            }
        }
    }

    /// Tokens signed by the attacker, whose headers say where the key is to be found.
    fn other_keys(&self, attacker: &str, add: &mut impl FnMut(String, String)) {
        let own = Key::Ed25519(key_pair(&ed25519_pem()));
        let (_, public) = own.as_seen_from_outside().remove(0);
        let x = URL_SAFE_NO_PAD.encode(&public);
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "mine" });
        let pointers = [
            ("jku", json!(format!("{attacker}/jwks.json"))),
            ("x5u", json!(format!("{attacker}/chain.pem"))),
            ("jwk", jwk.clone()),
            ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
            ("x5c", json!([STANDARD.encode(&public)])),
        ];
        for (member, value) in pointers {
            for kid in [json!("mine"), self.header["kid"].clone()] {
                let mut header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid });
                header[member] = value.clone();
                let body = format!("{}.{}", encoded(&header), encoded(&self.claims));
                add(format!("own key by {member}"), own.sign(&body));
            }
        }
        let kids = [
            json!("another"),
            json!(""),
            json!("../../dev/null"),
            json!("/proc/self/environ"),
            json!("' OR 1=1--"),
            json!("\u{0}"),
            json!(format!("{attacker}/key")),
            json!("k".repeat(129)),
            json!("k".repeat(10_000)),
            json!(1),
            json!(["a"]),
            json!({ "$ne": null }),
        ];
        for kid in kids {
            let text = kid.to_string();
            let shown = text.get(..text.len().min(40)).unwrap_or("long");
            add(format!("kid {shown}"), self.header("kid", kid.clone()));
            let header = json!({ "alg": "EdDSA", "kid": kid });
            let body = format!("{}.{}", encoded(&header), encoded(&self.claims));
            add(format!("own key as kid {shown}"), own.sign(&body));
        }
    }

    fn odd_headers(&self, add: &mut impl FnMut(String, String)) {
        for (member, value) in [
            ("crit", json!(["exp"])),
            ("crit", json!(["b64"])),
            ("crit", json!([])),
            ("b64", json!(false)),
            ("enc", json!("A256GCM")),
        ] {
            add(format!("{member}: {value}"), self.header(member, value.clone()));
        }
        let jwe = |header: Value| format!("{}.AAAA.AAAA.AAAA.AAAA", encoded(&header));
        add("JWE".to_owned(), jwe(json!({ "alg": "dir", "enc": "A256GCM" })));
        add(
            "JWE with zip".to_owned(),
            jwe(json!({ "alg": "dir", "enc": "A256GCM", "zip": "DEF" })),
        );
        add(
            "PBES2 with two thousand million rounds".to_owned(),
            jwe(
                json!({ "alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2c": 2_147_483_648_u64, "p2s": "AAAA" }),
            ),
        );
        add(
            "PBES2 in three parts".to_owned(),
            format!(
                "{}.AAAA.",
                encoded(&json!({ "alg": "PBES2-HS512+A256KW", "p2c": 2_147_483_648_u64 }))
            ),
        );
        let nested = URL_SAFE_NO_PAD.encode("[".repeat(2_000));
        add("a header of brackets".to_owned(), format!("{nested}.e30.AAAA"));
    }

    fn bent_claims(&self, now: i64, add: &mut impl FnMut(String, String)) {
        let mut bent = vec![
            ("exp", json!(now - 31)),
            ("exp", json!("9999999999")),
            ("exp", json!(1e308)),
            ("exp", json!(1e18)),
            ("exp", json!(9_999_999_999.5)),
            ("exp", json!(-1)),
            ("exp", json!(i64::MIN)),
            ("exp", Value::Null),
            ("exp", json!([9_999_999_999_u64])),
            ("nbf", json!(now + 31)),
            ("nbf", json!(i64::MAX)),
            ("iss", json!("somebody else")),
            ("iss", json!(["flowgate"])),
            ("aud", json!("somebody else")),
            ("aud", json!(["a", "b"])),
            ("aud", json!([])),
            ("sub", json!("")),
        ];
        bent.extend(
            ["refresh", "service", "Access", "verify", "reset", "widget"].map(|kind| ("type", json!(kind))),
        );
        for (name, value) in bent {
            add(format!("{name}: {value}"), self.claim(name, value.clone()));
        }
        for name in ["exp", "nbf", "iss", "aud", "sub", "sid", "jti", "type", "role"] {
            add(format!("no {name}"), self.without(name));
        }
    }

    fn no_tokens(&self, add: &mut impl FnMut(String, String)) {
        let good = self.under(&self.header);
        let long = "x".repeat(64_000);
        for (what, token) in [
            ("rubbish", "rubbish".to_owned()),
            ("two parts", "a.b".to_owned()),
            ("dots", "..".to_owned()),
            ("64 kB", long.clone()),
            ("64 kB behind a good one", format!("{good}{long}")),
            ("64 kB of claims", self.claim("username", json!(long))),
            ("two good ones in a row", format!("{good}.{good}")),
            ("padding", good.replacen('.', "=.", 1)),
        ] {
            add(what.to_owned(), token);
        }
    }
}

impl Key {
    fn sign(&self, body: &str) -> String {
        let signature = match self {
            Self::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                URL_SAFE_NO_PAD.encode(hmac::sign(&key, body.as_bytes()))
            }
            Self::Ed25519(pair) => URL_SAFE_NO_PAD.encode(pair.sign(body.as_bytes())),
        };
        format!("{body}.{signature}")
    }

    /// What anybody knows of the key, in every form it may be taken for a shared secret; the raw bytes first.
    fn as_seen_from_outside(&self) -> Vec<(&'static str, Vec<u8>)> {
        let Self::Ed25519(pair) = self else {
            return vec![("nothing", Vec::new()), ("a well-known word", b"secret".to_vec())];
        };
        let raw = pair.public_key().as_ref().to_vec();
        let der = [PUBLIC_DER_PREFIX.as_slice(), &raw].concat();
        let x = URL_SAFE_NO_PAD.encode(&raw);
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(&der)
        );
        let jwk = json!({ "crv": "Ed25519", "kty": "OKP", "x": x }).to_string();
        vec![
            ("the public key's bytes", raw),
            ("the public key's DER", der),
            ("the public key's PEM", pem.trim_end().as_bytes().to_vec()),
            ("the public key's PEM with its line end", pem.into_bytes()),
            ("the public key's x", x.into_bytes()),
            ("the public JWK", jwk.into_bytes()),
            ("nothing", Vec::new()),
        ]
    }
}

fn key_pair(pem: &str) -> Ed25519KeyPair {
    let (_, after) = pem.split_once(PEM_BEGIN).expect("the PEM begins");
    let (body, _) = after.split_once(PEM_END).expect("the PEM ends");
    let der = STANDARD
        .decode(body.replace(['\n', '\r'], ""))
        .expect("the PEM is base64");
    Ed25519KeyPair::from_pkcs8(&der).expect("the PEM holds an Ed25519 key")
}
