//! Every lie an ID token can tell.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::json;

use super::*;

const NONCE: &str = "a nonce";

struct Issuer {
    key: EcdsaKeyPair,
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn good_claims() -> Value {
    json!({
        "iss": "https://idp.example", "sub": "ada", "aud": "us", "nonce": NONCE,
        "iat": now().timestamp(), "exp": now().timestamp() + 300, "email": "ada@example.com",
    })
}

impl Issuer {
    fn new() -> Self {
        Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        }
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": "one",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(json!({ "keys": [self.jwk()] })).unwrap()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "ES256", "kid": "one" }), claims)
    }

    fn verify(&self, token: &str) -> Result<IdToken, Refused> {
        let nonce_hash = hash_of(NONCE);
        let expected = Expected {
            issuer: "https://idp.example",
            client_id: "us",
            nonce_hash: &nonce_hash,
        };
        verify(token, &self.keys(), &expected, now())
    }
}

#[test]
fn a_good_token_says_who_somebody_is() {
    let issuer = Issuer::new();
    let token = issuer.verify(&issuer.token(&good_claims())).unwrap();
    assert_eq!(token.subject, "ada");
    assert_eq!(token.claims["email"], "ada@example.com");
    let several = json!({ "aud": ["us", "others"], "azp": "us" });
    assert!(issuer.verify(&issuer.token(&with(&several))).is_ok());
}

/// The good claims with others in their place; null takes one out.
fn with(changes: &Value) -> Value {
    let mut claims = good_claims();
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    claims
}

#[test]
fn every_false_claim_is_found() {
    let issuer = Issuer::new();
    let time = now().timestamp();
    for (changes, refused) in [
        (json!({ "iss": "https://idp.example/" }), Refused::Issuer),
        (json!({ "iss": "https://evil.example" }), Refused::Issuer),
        (json!({ "iss": null }), Refused::Malformed),
        (json!({ "aud": "them" }), Refused::Audience),
        (json!({ "aud": ["them"] }), Refused::Audience),
        (json!({ "aud": ["us", "them"] }), Refused::Audience),
        (json!({ "aud": ["us", "them"], "azp": "them" }), Refused::Audience),
        (json!({ "azp": "them" }), Refused::Audience),
        (json!({ "aud": null }), Refused::Malformed),
        (json!({ "exp": time - 31 }), Refused::Time),
        (json!({ "exp": null }), Refused::Malformed),
        (json!({ "exp": 1e308 }), Refused::Malformed),
        (json!({ "exp": "soon" }), Refused::Malformed),
        (json!({ "iat": time + 31 }), Refused::Time),
        (json!({ "iat": time - 601 }), Refused::Time),
        (json!({ "nbf": time + 31 }), Refused::Time),
        (json!({ "nonce": "another" }), Refused::Nonce),
        (json!({ "nonce": null }), Refused::Malformed),
        (json!({ "sub": "" }), Refused::Malformed),
        (json!({ "sub": "x".repeat(256) }), Refused::Malformed),
        (json!({ "sub": 7 }), Refused::Malformed),
    ] {
        let token = issuer.token(&with(&changes));
        assert_eq!(issuer.verify(&token).err(), Some(refused), "{changes}");
    }
}

#[test]
fn nobody_else_signs_for_the_issuer() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let claims = good_claims();
    let jwk = issuer.jwk();
    for (header, refused) in [
        (json!({ "alg": "ES256", "kid": "one" }), Refused::Signature),
        (
            json!({ "alg": "ES256", "kid": "one", "jwk": other.jwk() }),
            Refused::Signature,
        ),
        (json!({ "alg": "ES256", "kid": "two" }), Refused::UnknownKey),
        (json!({ "alg": "ES384", "kid": "one" }), Refused::UnknownKey),
        (json!({ "alg": "RS256", "kid": "one" }), Refused::UnknownKey),
        (json!({ "alg": "none" }), Refused::UnknownKey),
        (
            json!({ "alg": "ES256", "kid": "one", "crit": ["exp"] }),
            Refused::Header,
        ),
        (
            json!({ "alg": "ES256", "kid": "one", "b64": false }),
            Refused::Header,
        ),
        (json!({ "kid": "one" }), Refused::Malformed),
    ] {
        let token = other.sign(&header, &claims);
        assert_eq!(issuer.verify(&token).err(), Some(refused), "{header}");
    }
    // The public key as the password of an HMAC.
    let message = format!(
        "{}.{}",
        encoded(&json!({ "alg": "HS256", "kid": "one" })),
        encoded(&claims)
    );
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, jwk.to_string().as_bytes());
    let tag = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes()));
    assert_eq!(
        issuer.verify(&format!("{message}.{tag}")).err(),
        Some(Refused::UnknownKey)
    );
    let unsigned = format!("{}.{}.", encoded(&json!({ "alg": "none" })), encoded(&claims));
    assert_eq!(issuer.verify(&unsigned).err(), Some(Refused::UnknownKey));
}

#[test]
fn what_is_no_token_is_refused_unread() {
    let issuer = Issuer::new();
    let good = issuer.token(&good_claims());
    for text in [
        "",
        ".",
        "..",
        "a.b.c",
        &format!("{good}.x.y"),
        &"x".repeat(70_000),
        &good[1..],
    ] {
        assert_eq!(issuer.verify(text).err(), Some(Refused::Malformed), "{text:.40}");
    }
}

#[test]
fn shared_secrets_and_keys_for_encryption_are_no_keys() {
    let issuer = Issuer::new();
    let mut encryption = issuer.jwk();
    encryption["use"] = json!("enc");
    let keys = KeySet::parse(json!({ "keys": [
        { "kty": "oct", "k": "c2VjcmV0", "kid": "one" }, encryption, 7, { "kty": "RSA", "kid": "one" },
    ] }))
    .unwrap();
    let nonce_hash = hash_of(NONCE);
    let expected = Expected {
        issuer: "https://idp.example",
        client_id: "us",
        nonce_hash: &nonce_hash,
    };
    let token = issuer.token(&good_claims());
    assert_eq!(
        verify(&token, &keys, &expected, now()).err(),
        Some(Refused::UnknownKey)
    );
}
