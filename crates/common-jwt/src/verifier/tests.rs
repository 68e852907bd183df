//! What the verifier lets through and, mostly, what it does not (RFC 8725).

use aws_lc_rs::{hmac, rand::SystemRandom, signature::Ed25519KeyPair};
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::JwkSet;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Audience, Role, Signer, SigningKey, TokenType, VerifyingKey};

const SECRET: &[u8] = b"3f9c1b7de24a58069bd1c7ef035a8a02";
const OTHER: &[u8] = b"d51e7c09fa3b2846c7e1095bd82f6a2b";
const NOW: i64 = 1_800_000_000;

fn at(secs: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(NOW + secs, 0).unwrap()
}

fn verifier() -> Verifier {
    Verifier::new(KeyRing::new([VerifyingKey::hs256(SECRET)]), "flowgate", "people")
}

fn claims() -> AccessClaims {
    AccessClaims {
        iss: "flowgate".to_owned(),
        aud: "people".into(),
        sub: "65f0c0ffee65f0c0ffee0001".to_owned(),
        sid: "session".to_owned(),
        jti: "token".to_owned(),
        iat: NOW,
        nbf: NOW,
        exp: NOW + 900,
        kind: TokenType::Access,
        username: "ada".to_owned(),
        email: "ada@example.com".to_owned(),
        role: Role::Admin,
        must_change_password: false,
    }
}

fn refresh_claims() -> RefreshClaims {
    RefreshClaims {
        iss: "flowgate".to_owned(),
        aud: "people".into(),
        sub: "65f0c0ffee65f0c0ffee0001".to_owned(),
        sid: "session".to_owned(),
        jti: "token".to_owned(),
        iat: NOW,
        exp: NOW + 900,
        kind: TokenType::Refresh,
    }
}

fn pending_claims() -> PendingClaims {
    PendingClaims {
        iss: "flowgate".to_owned(),
        aud: "people".into(),
        sub: "65f0c0ffee65f0c0ffee0001".to_owned(),
        jti: "token".to_owned(),
        password_version: 3,
        iat: NOW,
        exp: NOW + 300,
        kind: TokenType::Pending,
    }
}

fn service_claims() -> ServiceClaims {
    ServiceClaims {
        aud: "people".into(),
        sub: "proxy-service".to_owned(),
        iat: NOW,
        exp: NOW + 60,
        kind: TokenType::Service,
    }
}

fn signer(secret: &[u8]) -> Signer {
    Signer::new(SigningKey::hs256(secret))
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token of any header and claims with a good HMAC under `secret`: what an attacker can make who knows it.
fn forge(algorithm: hmac::Algorithm, header: &Value, claims: &Value, secret: &[u8]) -> String {
    let text = format!("{}.{}", encode(header), encode(claims));
    let signature = hmac::sign(&hmac::Key::new(algorithm, secret), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn with_header(header: &Value) -> String {
    forge(hmac::HMAC_SHA256, header, &json!(claims()), SECRET)
}

fn with_claim(member: &str, value: Value) -> String {
    let mut claims = json!(claims());
    claims[member] = value;
    forge(hmac::HMAC_SHA256, &json!({ "alg": "HS256" }), &claims, SECRET)
}

fn refused(token: &str) -> Invalid {
    verifier().access(token, at(0)).unwrap_err()
}

/// A new Ed25519 key as `openssl genpkey` writes one.
fn ed25519() -> SigningKey {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(pkcs8)
    );
    SigningKey::ed25519_pem(pem.as_bytes()).unwrap()
}

fn jwk_set(keys: &[&SigningKey]) -> JwkSet {
    JwkSet {
        keys: keys.iter().map(|key| key.public_jwk().unwrap().clone()).collect(),
    }
}

#[test]
fn every_kind_comes_back_as_it_was_signed() {
    let signer = signer(SECRET);
    let services = Verifier::for_services(KeyRing::new([VerifyingKey::hs256(SECRET)]), "people");

    assert_eq!(
        verifier().access(&signer.access(&claims()).unwrap(), at(0)),
        Ok(claims())
    );
    let refresh = signer.refresh(&refresh_claims()).unwrap();
    assert_eq!(verifier().refresh(&refresh, at(0)), Ok(refresh_claims()));
    let service = signer.service(&service_claims()).unwrap();
    assert_eq!(services.service(&service, at(0)), Ok(service_claims()));
}

#[test]
fn the_same_claims_give_the_same_bytes() {
    let first = signer(SECRET).refresh(&refresh_claims()).unwrap();
    assert_eq!(signer(SECRET).refresh(&refresh_claims()).unwrap(), first);
}

#[test]
fn the_header_is_that_of_its_kind() {
    let header = |token: String| -> Value {
        let json = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        serde_json::from_slice(&json).unwrap()
    };
    let access = header(signer(SECRET).access(&claims()).unwrap());
    assert_eq!(
        (&access["typ"], &access["alg"]),
        (&json!("at+jwt"), &json!("HS256"))
    );
    let refresh = header(signer(SECRET).refresh(&refresh_claims()).unwrap());
    assert_eq!(refresh["typ"], "JWT");
    let kid = access["kid"].as_str().unwrap();
    assert!(
        kid.len() >= 16
            && !SECRET
                .windows(4)
                .any(|part| kid.as_bytes().windows(4).any(|own| own == part))
    );
}

#[test]
fn no_kind_does_anothers_job() {
    let signer = signer(SECRET);
    let access = signer.access(&claims()).unwrap();
    let refresh = signer.refresh(&refresh_claims()).unwrap();
    let service = signer.service(&service_claims()).unwrap();
    let pending = signer.pending(&pending_claims()).unwrap();
    let services = Verifier::for_services(KeyRing::new([VerifyingKey::hs256(SECRET)]), "people");

    assert_eq!(verifier().pending(&pending, at(0)), Ok(pending_claims()));
    assert_eq!(verifier().pending(&pending, at(331)), Err(Invalid::Expired));
    assert!(verifier().access(&pending, at(0)).is_err());
    assert!(verifier().refresh(&pending, at(0)).is_err());
    assert!(services.service(&pending, at(0)).is_err());
    for other in [&access, &refresh, &service] {
        assert!(verifier().pending(other, at(0)).is_err());
    }
    assert_eq!(verifier().refresh(&access, at(0)), Err(Invalid::Kind));
    assert_eq!(services.service(&access, at(0)), Err(Invalid::Kind));
    for (what, result) in [
        ("refresh", verifier().access(&refresh, at(0))),
        ("service", verifier().access(&service, at(0))),
    ] {
        // A claim the other kind has is missing, before or beside the kind being wrong.
        assert!(
            matches!(result, Err(Invalid::Kind | Invalid::Malformed)),
            "{what}: {result:?}"
        );
    }
    assert!(verifier().refresh(&service, at(0)).is_err());
    assert_eq!(with_kind_only(), Invalid::Kind);
}

/// An access token in every claim but its kind.
fn with_kind_only() -> Invalid {
    refused(&with_claim("type", json!("refresh")))
}

#[test]
fn unsigned_tokens_are_refused_however_they_spell_it() {
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = json!({ "alg": alg });
        for signature in ["", "AAAA"] {
            let token = format!("{}.{}.{signature}", encode(&header), encode(&json!(claims())));
            assert_eq!(refused(&token), Invalid::UnknownKey, "{alg:?}");
        }
        assert_eq!(
            refused(&with_header(&header)),
            Invalid::UnknownKey,
            "{alg:?} with an HMAC"
        );
    }
    let good = signer(SECRET).access(&claims()).unwrap();
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    assert_eq!(refused(&format!("{unsigned}.")), Invalid::Signature);
}

#[test]
fn the_token_does_not_choose_its_algorithm() {
    for alg in [
        "HS384", "HS512", "RS256", "PS256", "ES256", "EdDSA", "hs256", "HS256 ",
    ] {
        assert_eq!(
            refused(&with_header(&json!({ "alg": alg }))),
            Invalid::UnknownKey,
            "{alg}"
        );
    }
    for (alg, algorithm) in [
        ("HS384", hmac::HMAC_SHA384),
        ("HS512", hmac::HMAC_SHA512),
        ("HS256", hmac::HMAC_SHA512),
    ] {
        let token = forge(algorithm, &json!({ "alg": alg }), &json!(claims()), SECRET);
        assert!(
            matches!(refused(&token), Invalid::UnknownKey | Invalid::Signature),
            "{alg}"
        );
    }
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let key = ed25519();
    let set = jwk_set(&[&key]);
    let verifier = Verifier::new(KeyRing::from_jwk_set(&set).unwrap(), "flowgate", "people");
    let jwk = json!(set.keys[0]);
    let x = jwk["x"].as_str().unwrap();
    let raw = URL_SAFE_NO_PAD.decode(x).unwrap();
    let kid = jwk["kid"].as_str().unwrap();

    for secret in [raw.as_slice(), x.as_bytes(), jwk.to_string().as_bytes(), b""] {
        for header in [
            json!({ "alg": "HS256", "kid": kid }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "EdDSA", "kid": kid }),
        ] {
            let token = forge(hmac::HMAC_SHA256, &header, &json!(claims()), secret);
            assert!(verifier.access(&token, at(0)).is_err(), "{header}");
        }
    }
}

#[test]
fn eddsa_tokens_are_verified_with_the_published_set() {
    let (key, other) = (ed25519(), ed25519());
    let token = Signer::new(key.clone()).access(&claims()).unwrap();
    let published = serde_json::to_string(&jwk_set(&[&other, &key])).unwrap();
    let set: JwkSet = serde_json::from_str(&published).unwrap();
    let verifier = Verifier::new(KeyRing::from_jwk_set(&set).unwrap(), "flowgate", "people");

    assert_eq!(verifier.access(&token, at(0)), Ok(claims()));
    let without = Verifier::new(
        KeyRing::from_jwk_set(&jwk_set(&[&other])).unwrap(),
        "flowgate",
        "people",
    );
    assert_eq!(without.access(&token, at(0)), Err(Invalid::UnknownKid));
    assert_eq!(self::verifier().access(&token, at(0)), Err(Invalid::UnknownKid));
}

#[test]
fn only_a_kid_that_could_be_published_is_worth_a_look() {
    let key = ed25519();
    let ring = KeyRing::from_jwk_set(&jwk_set(&[&key])).unwrap();
    let verifier = Verifier::new(ring.clone(), "flowgate", "people");
    let refusal = |header: &Value| {
        let token = format!("{}.{}.AAAA", encode(header), encode(&json!(claims())));
        verifier.access(&token, at(0)).unwrap_err()
    };

    let fresh = json!({ "alg": "EdDSA", "kid": ed25519().kid() });
    assert_eq!(refusal(&fresh), Invalid::UnknownKid);
    for kid in [
        "",
        "../../dev/null",
        "' OR 1=1--",
        "a b",
        "\u{0}",
        "k\u{e9}y",
        &"k".repeat(129),
    ] {
        assert_eq!(
            refusal(&json!({ "alg": "EdDSA", "kid": kid })),
            Invalid::UnknownKey,
            "{kid:.20}"
        );
    }
    for header in [
        json!({ "alg": "HS256", "kid": "fresh" }),
        json!({ "alg": "none", "kid": "fresh" }),
        json!({ "alg": "HS256", "kid": key.kid() }),
    ] {
        assert_eq!(refusal(&header), Invalid::UnknownKey, "{header}");
    }
    assert_eq!(
        refusal(&json!({ "alg": "EdDSA", "kid": key.kid() })),
        Invalid::Signature
    );
    assert_eq!(refusal(&json!({ "alg": "EdDSA" })), Invalid::Signature);
}

#[test]
fn keys_are_exchanged_while_the_verifier_is_in_use() {
    let (old, new) = (ed25519(), ed25519());
    let ring = SharedKeyRing::from(KeyRing::from_jwk_set(&jwk_set(&[&old])).unwrap());
    let verifier = Verifier::new(ring.clone(), "flowgate", "people");
    let user = verifier.clone();
    let [old_token, new_token] = [&old, &new].map(|key| Signer::new(key.clone()).access(&claims()).unwrap());
    assert!(user.access(&old_token, at(0)).is_ok());

    ring.replace(KeyRing::from_jwk_set(&jwk_set(&[&old, &new])).unwrap());
    assert!(user.access(&old_token, at(0)).is_ok() && user.access(&new_token, at(0)).is_ok());

    ring.replace(KeyRing::from_jwk_set(&jwk_set(&[&new])).unwrap());
    assert_eq!(user.access(&old_token, at(0)), Err(Invalid::UnknownKid));
    let both = ring.current().with(&KeyRing::new([VerifyingKey::hs256(SECRET)]));
    assert_eq!((both.len(), both.is_empty(), ring.current().len()), (2, false, 1));
}

#[test]
fn a_published_key_has_no_private_part_and_names_itself() {
    let key = ed25519();
    let jwk = json!(key.public_jwk().unwrap());
    for private in ["d", "k", "p", "q", "dp", "dq", "qi", "oth"] {
        assert!(jwk.get(private).is_none(), "{jwk}");
    }
    assert_eq!((&jwk["kty"], &jwk["crv"]), (&json!("OKP"), &json!("Ed25519")));
    assert_eq!((&jwk["use"], &jwk["alg"]), (&json!("sig"), &json!("EdDSA")));
    assert_eq!(jwk["kid"].as_str().unwrap().len(), 43, "an RFC 7638 thumbprint");
    assert!(SigningKey::hs256(SECRET).public_jwk().is_none());
}

#[test]
fn keys_that_are_not_ed25519_are_not_read() {
    for pem in [
        "",
        "rubbish",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ] {
        assert!(SigningKey::ed25519_pem(pem.as_bytes()).is_err(), "{pem:?}");
    }
    let jwk = json!(ed25519().public_jwk().unwrap());
    for (member, value) in [("kid", Value::Null), ("crv", json!("P-256")), ("x", json!("!!"))] {
        let mut bent = jwk.clone();
        bent[member] = value;
        let set = serde_json::from_value::<JwkSet>(json!({ "keys": [bent] }));
        assert!(
            set.map_or(true, |set| KeyRing::from_jwk_set(&set).is_err()),
            "{member}"
        );
    }
    let octet = json!({ "keys": [{ "kty": "oct", "kid": "k", "k": "AAAA", "alg": "HS256" }] });
    let octet = serde_json::from_value(octet).unwrap();
    assert!(
        KeyRing::from_jwk_set(&octet).is_err(),
        "a shared secret has no place in a published set"
    );
}

#[test]
fn headers_that_ask_for_more_are_refused() {
    for (member, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("enc", json!("A256GCM")),
    ] {
        let header = json!({ "alg": "HS256", member: value });
        assert_eq!(
            refused(&with_header(&header)),
            Invalid::UnsupportedHeader,
            "{header}"
        );
    }
    for (member, value) in [
        ("alg", json!(null)),
        ("alg", json!(1)),
        ("kid", json!(1)),
        ("kid", json!(["a"])),
    ] {
        let mut header = json!({ "alg": "HS256" });
        header[member] = value;
        assert_eq!(refused(&with_header(&header)), Invalid::Malformed, "{header}");
    }
    let pointers = json!({ "alg": "HS256", "jku": "https://evil.example", "jwk": { "kty": "oct", "k": "AAAA" }, "x5u": "x" });
    assert!(
        verifier().access(&with_header(&pointers), at(0)).is_ok(),
        "pointers are not even looked at"
    );
}

#[test]
fn a_kid_only_picks_among_our_keys() {
    let long = "k".repeat(10_000);
    for kid in ["", "another", "../../dev/null", "' OR 1=1--", "\u{0}", &long] {
        let token = with_header(&json!({ "alg": "HS256", "kid": kid }));
        assert!(
            matches!(refused(&token), Invalid::UnknownKey | Invalid::Malformed),
            "{kid:.20}"
        );
    }
    assert!(
        verifier()
            .access(&with_header(&json!({ "alg": "HS256" })), at(0))
            .is_ok(),
        "none names all"
    );
}

#[test]
fn a_retired_key_verifies_until_it_is_taken_away() {
    let old = signer(SECRET).access(&claims()).unwrap();
    let new = signer(OTHER).access(&claims()).unwrap();
    let ring = KeyRing::new([VerifyingKey::hs256(OTHER), VerifyingKey::hs256(SECRET)]);
    let rotating = Verifier::new(ring, "flowgate", "people");

    assert!(rotating.access(&old, at(0)).is_ok() && rotating.access(&new, at(0)).is_ok());
    assert_eq!(verifier().access(&new, at(0)), Err(Invalid::UnknownKey));
    // Without a kid every key is tried.
    let nameless = forge(
        hmac::HMAC_SHA256,
        &json!({ "alg": "HS256" }),
        &json!(claims()),
        SECRET,
    );
    assert!(rotating.access(&nameless, at(0)).is_ok());
    let foreign = forge(
        hmac::HMAC_SHA256,
        &json!({ "alg": "HS256" }),
        &json!(claims()),
        b"neither of them",
    );
    assert_eq!(rotating.access(&foreign, at(0)), Err(Invalid::Signature));
}

#[test]
fn edited_claims_break_the_signature() {
    let token = signer(SECRET).access(&claims()).unwrap();
    let parts: Vec<_> = token.split('.').collect();
    let mut edited = claims();
    edited.role = Role::Supervisor;
    let edited = format!("{}.{}.{}", parts[0], encode(&json!(edited)), parts[2]);
    assert_eq!(refused(&edited), Invalid::Signature);
}

#[test]
fn issuer_and_audience_have_to_be_ours() {
    for value in [json!("somebody else"), json!("Flowgate"), json!("")] {
        assert_eq!(
            refused(&with_claim("iss", value.clone())),
            Invalid::Issuer,
            "{value}"
        );
    }
    for value in [json!("proxy"), json!(""), json!([]), json!(["a", "b"])] {
        assert_eq!(
            refused(&with_claim("aud", value.clone())),
            Invalid::Audience,
            "{value}"
        );
    }
    for member in ["iss", "aud"] {
        for value in [Value::Null, json!(1), json!({ "people": true }), json!([1])] {
            assert_eq!(
                refused(&with_claim(member, value.clone())),
                Invalid::Malformed,
                "{member} {value}"
            );
        }
    }
    let listed = verifier()
        .access(&with_claim("aud", json!(["other", "people"])), at(0))
        .unwrap();
    assert_eq!(
        listed.aud,
        Audience::Many(vec!["other".to_owned(), "people".to_owned()])
    );
}

#[test]
fn times_count_to_the_second_with_the_leeway() {
    let token = signer(SECRET).access(&claims()).unwrap();
    for (secs, expected) in [
        (-LEEWAY_SECS - 1, Some(Invalid::NotYetValid)),
        (-LEEWAY_SECS, None),
        (900 + LEEWAY_SECS, None),
        (900 + LEEWAY_SECS + 1, Some(Invalid::Expired)),
    ] {
        assert_eq!(verifier().access(&token, at(secs)).err(), expected, "{secs}");
    }
    // A refresh token has no `nbf`; it is not good before it was issued either.
    let refresh = signer(SECRET).refresh(&refresh_claims()).unwrap();
    assert_eq!(verifier().refresh(&refresh, at(-31)), Err(Invalid::NotYetValid));
}

#[test]
fn times_of_a_wrong_kind_or_missing_are_malformed() {
    for member in ["exp", "nbf", "iat"] {
        for value in [
            Value::Null,
            json!("1800000900"),
            json!(1e308),
            json!(1_800_000_900.5),
            json!([1]),
            json!(u64::MAX),
        ] {
            assert_eq!(
                refused(&with_claim(member, value.clone())),
                Invalid::Malformed,
                "{member} {value}"
            );
        }
    }
    assert_eq!(refused(&with_claim("exp", json!(-1))), Invalid::Expired);
    assert_eq!(refused(&with_claim("exp", json!(i64::MIN))), Invalid::Expired);
    assert_eq!(refused(&with_claim("nbf", json!(i64::MAX))), Invalid::NotYetValid);
    assert!(
        verifier()
            .access(&with_claim("exp", json!(i64::MAX)), at(0))
            .is_ok(),
        "no overflow"
    );
    assert_eq!(refused(&with_claim("sub", json!(""))), Invalid::Malformed);
    for member in [
        "sub", "sid", "jti", "type", "username", "email", "role", "exp", "nbf", "iat", "iss", "aud",
    ] {
        let mut claims = json!(claims());
        claims.as_object_mut().unwrap().remove(member);
        let token = forge(hmac::HMAC_SHA256, &json!({ "alg": "HS256" }), &claims, SECRET);
        assert_eq!(refused(&token), Invalid::Malformed, "without {member}");
    }
}

#[test]
fn what_is_no_token_is_refused_unread() {
    let good = signer(SECRET).access(&claims()).unwrap();
    let long = format!("{good}{}", "A".repeat(64 * 1024));
    let padded = good.replacen('.', "=.", 1);
    let twice = format!("{good}.{good}");
    let spaced = format!(" {good}");
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "\u{0}.\u{0}.\u{0}",
        &long,
        &padded,
        &twice,
        &spaced,
    ] {
        assert_eq!(refused(token), Invalid::Malformed, "{token:.40}");
    }
    let bomb = format!(
        "{}.{}.",
        encode(&json!({ "alg": "PBES2-HS256+A128KW", "p2c": i32::MAX })),
        "A".repeat(3_000)
    );
    assert_eq!(refused(&bomb), Invalid::UnknownKey);
    let nested = format!("{}.{}.", URL_SAFE_NO_PAD.encode("[".repeat(2_000)), "e30");
    assert_eq!(refused(&nested), Invalid::Malformed);
}

#[test]
fn secrets_and_keys_are_not_shown() {
    let shown = format!("{:?} {:?} {:?}", signer(SECRET), verifier(), ed25519());
    assert!(
        !shown.contains("3f9c1b7de24a") && !shown.contains("PRIVATE"),
        "{shown}"
    );
}

#[test]
fn roles_travel_by_name_and_unknown_ones_grant_nothing() {
    let token = with_claim("role", json!("owner"));
    assert_eq!(verifier().access(&token, at(0)).unwrap().role, Role::EndUser);
    assert_eq!(json!(claims())["role"], "admin");
    assert_eq!(json!(claims())["type"], "access");
}

proptest! {
    #[test]
    fn no_text_is_a_token_and_none_panics(text in ".{0,200}", tail in "[A-Za-z0-9_.-]{0,200}") {
        prop_assert!(verifier().access(&text, at(0)).is_err());
        prop_assert!(verifier().access(&tail, at(0)).is_err());
    }

    #[test]
    fn one_changed_character_is_enough(position in 0_usize..1_000, replacement in "[A-Za-z0-9_-]") {
        let token = signer(SECRET).access(&claims()).unwrap();
        let position = position % token.len();
        let mut changed = token.clone();
        changed.replace_range(position..=position, &replacement);
        // The last character of a part may carry bits that mean nothing; then it must be refused or be the same token.
        let result = verifier().access(&changed, at(0));
        prop_assert!(result.is_err() || changed == token, "{changed}");
    }
}
