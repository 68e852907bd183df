//! How many access tokens one core checks in a second. The aim for HS256 is 200,000, that is 5 µs a token.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up stops there")]

use std::hint::black_box;

use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::DateTime;
use common_jwt::{
    AccessClaims, JwkSet, KeyRing, Role, Signer, SigningKey, TokenType, Verifier, VerifyingKey,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const NOW: i64 = 1_800_000_000;

/// As long as real ones are.
fn claims() -> AccessClaims {
    AccessClaims {
        iss: "flowgate".to_owned(),
        aud: "flowgate".into(),
        sub: "673d9f2c8b1e4a0057c3d9a1".to_owned(),
        sid: "01934d79-b0a4-7d10-8f4e-9a1c77e02b35".to_owned(),
        jti: "0d4f2f6e-6a0b-4f0c-b1c6-3c0b8f6e2a11".to_owned(),
        iat: NOW,
        nbf: NOW,
        exp: NOW + 900,
        kind: TokenType::Access,
        username: "mei.lin".to_owned(),
        email: "mei.lin@school.example".to_owned(),
        must_change_password: false,
        role: Role::EndUser,
    }
}

fn ed25519() -> SigningKey {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(pkcs8)
    );
    SigningKey::ed25519_pem(pem.as_bytes()).unwrap()
}

fn verify(criterion: &mut Criterion) {
    let now = DateTime::from_timestamp(NOW, 0).unwrap();
    let secret = b"3f9c1b7de24a58069bd1c7ef035a8a02";
    // As during a rotation: the key is found among several.
    let secrets = KeyRing::new([b"another".as_slice(), secret].map(VerifyingKey::hs256));
    let (key, other) = (ed25519(), ed25519());
    let keys = [&other, &key]
        .map(|key| key.public_jwk().unwrap().clone())
        .to_vec();
    let published = KeyRing::from_jwk_set(&JwkSet { keys }).unwrap();

    let mut group = criterion.benchmark_group("verify an access token");
    group.throughput(Throughput::Elements(1));
    for (name, ring, signing) in [
        ("HS256", secrets, SigningKey::hs256(secret)),
        ("EdDSA", published, key),
    ] {
        let verifier = Verifier::new(ring, "flowgate", "flowgate");
        let token = Signer::new(signing).access(&claims()).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| verifier.access(black_box(&token), now).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
