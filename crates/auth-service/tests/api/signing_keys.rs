//! Private keys: signing with the one whose time has come, publishing all, and rotating them with the real program.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use auth_service::{App, PrivateKeys};
use chrono::{SecondsFormat, TimeDelta};
use common_jwt::SigningKey;
use serde_json::json;
use test_support::{ACCESS_SECRET, Forge, ed25519_pem, part_of};

use crate::support::{SignedIn, TestApp, eventually};

const PROGRAM: &str = env!("CARGO_BIN_EXE_auth-service");

/// A file in a folder of its own, removed with it.
struct KeyFile {
    folder: PathBuf,
    path: PathBuf,
}

impl KeyFile {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("flowgate-keys-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("keys.pem");
        Self { folder, path }
    }

    fn of(pem: &str) -> Self {
        let file = Self::new();
        file.write(pem);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.path, text).unwrap();
    }

    fn read(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    /// The names of its keys, in the order of the file.
    fn kids(&self) -> Vec<String> {
        let text = self.read();
        let pems = text.split_inclusive("-----END PRIVATE KEY-----\n");
        pems.map(|pem| kid(&pem[pem.find("-----BEGIN").unwrap()..]))
            .collect()
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn kid(pem: &str) -> String {
    SigningKey::ed25519_pem(pem.as_bytes()).unwrap().kid().to_owned()
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// `rotate-keys` on this file; what it says.
fn rotate(path: &Path, more: &[&str]) -> String {
    let arguments = [&["rotate-keys", "--file", path.to_str().unwrap()], more].concat();
    let output = run(&arguments, &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

async fn with_keys(file: &KeyFile, secret: Option<&str>) -> TestApp {
    TestApp::spawn_with(|config| {
        config.jwt_private_keys = Some(PrivateKeys::File(file.path.clone()));
        config.jwt_access_secret = secret.map(Into::into);
    })
    .await
}

async fn published(app: &TestApp) -> Vec<String> {
    let set = app.client.get("/.well-known/jwks.json").await.expect(200).body;
    let keys = set["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

async fn until_published(app: &TestApp, kids: &[String]) {
    eventually("the keys are taken over", async || {
        (published(app).await == kids).then_some(())
    })
    .await;
}

fn signer_of(user: &SignedIn) -> String {
    part_of(&user.access, 0)["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_private_key_signs_and_only_its_public_half_is_shown() {
    let pem = ed25519_pem();
    let file = KeyFile::of(&pem);
    let app = with_keys(&file, None).await;
    let ada = app.user("ada", "enduser").await;

    let header = part_of(&ada.access, 0);
    assert_eq!(
        header,
        json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid(&pem) })
    );
    assert_eq!(
        part_of(&ada.refresh, 0)["alg"],
        "HS256",
        "refresh tokens stay with their secret"
    );
    ada.client.get("/api/profile").await.expect(200);
    app.refresh(&ada.refresh).await.expect(200);

    let answer = app.client.get("/.well-known/jwks.json").await.expect(200);
    assert_eq!(answer.headers["cache-control"], "public, max-age=60");
    let keys = answer.body["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    for private in ["d", "k", "p", "q", "dp", "dq", "qi", "oth", "x5c"] {
        assert!(keys[0].get(private).is_none(), "{private}");
    }
    let secret = pem.lines().nth(1).unwrap();
    assert!(!answer.text.contains(secret) && !format!("{:?}", app.config).contains(secret));
}

#[tokio::test]
async fn a_shared_secret_is_not_published() {
    let app = TestApp::spawn().await;
    let answer = app.client.get("/.well-known/jwks.json").await.expect(200);
    assert_eq!(answer.body, json!({ "keys": [] }));
}

#[tokio::test]
async fn forged_tokens_are_refused_where_a_private_key_signs() {
    let pem = ed25519_pem();
    let file = KeyFile::of(&pem);
    let app = with_keys(&file, None).await;
    let root = app.user("root1", "admin").await;
    let forge = Forge::with_ed25519(&root.access, &pem);
    let control = app.client.with_token(forge.under(&json!({ "alg": "EdDSA" })));
    control.get("/api/admin/users").await.expect(200);

    for attack in forge.attacks(app.clock.now().timestamp(), "http://attacker.example") {
        let answer = app.client.with_token(&attack.token).get("/api/admin/users").await;
        assert!(
            matches!(answer.status.as_u16(), 401 | 431),
            "{}: {}",
            attack.what,
            answer.text
        );
    }
    let shared = Forge::with_secret(&root.access, ACCESS_SECRET);
    let shared = shared.under(&json!({ "alg": "HS256", "typ": "at+jwt" }));
    let shared = app.client.with_token(shared).get("/api/admin/users").await;
    shared.expect_problem(401, "invalid_token");
}

#[tokio::test]
async fn a_platform_moves_from_the_secret_to_a_key_without_signing_anybody_out() {
    let before = TestApp::spawn().await;
    let ada = before.user("ada", "enduser").await;
    let file = KeyFile::of(&ed25519_pem());
    let mut config = before.config.clone();
    config.jwt_private_keys = Some(PrivateKeys::File(file.path.clone()));
    let after = App::build(config).await.unwrap();
    let client = test_support::Client::new(format!("http://{}", after.address()));
    let lifecycle = after.lifecycle();
    tokio::spawn(after.run());

    client
        .with_token(&ada.access)
        .get("/api/profile")
        .await
        .expect(200);
    let refreshed = client
        .post("/api/auth/refresh", &json!({ "refreshToken": ada.refresh }))
        .await
        .expect(200);
    let access = refreshed.body["accessToken"].as_str().unwrap();
    assert_eq!(part_of(access, 0)["alg"], "EdDSA");
    client.with_token(access).get("/api/profile").await.expect(200);
    lifecycle.stop();
}

#[tokio::test]
async fn a_rotation_is_taken_over_by_the_service_that_runs() {
    let file = KeyFile::of(&ed25519_pem());
    let app = with_keys(&file, None).await;
    let before = app.user("ada", "enduser").await;
    let old = signer_of(&before);

    rotate(&file.path, &[]);
    let kids = file.kids();
    assert_eq!(kids[0], old);
    until_published(&app, &kids).await;
    let series = r#"auth_signing_keys_published{service="auth-service"}"#;
    assert!((app.metric(series).await - 2.0).abs() < 0.5);
    assert_eq!(
        signer_of(&app.log_in("ada").await),
        old,
        "the new key is known before it signs"
    );

    // The program counts from the real time, at which the test's clock began.
    app.clock.advance(TimeDelta::minutes(10));
    let after = app.log_in("ada").await;
    assert_eq!(signer_of(&after), kids[1]);
    for user in [&before, &after] {
        user.client.get("/api/profile").await.expect(200);
    }
}

#[tokio::test]
async fn a_broken_file_changes_nothing_but_a_metric() {
    let series = r#"auth_key_file_up{service="auth-service"}"#;
    let file = KeyFile::of(&ed25519_pem());
    let good = file.read();
    let app = with_keys(&file, None).await;
    let ada = app.user("ada", "enduser").await;
    let is = async |value: f64| (app.metric(series).await - value).abs() < 0.5;

    for broken in [
        "",
        "rubbish",
        good.split_once("-----END").unwrap().0,
        "x\n".repeat(40_000).as_str(),
    ] {
        file.write(broken);
        eventually("it is seen", async || is(0.0).await.then_some(())).await;
        ada.client.get("/api/profile").await.expect(200);
        assert_eq!(signer_of(&app.log_in("ada").await), signer_of(&ada));
        file.write(&good);
        eventually("it is mended", async || is(1.0).await.then_some(())).await;
    }
    std::fs::remove_file(&file.path).unwrap();
    eventually("it is seen", async || is(0.0).await.then_some(())).await;
    ada.client.get("/api/profile").await.expect(200);
}

#[test]
fn the_program_makes_rotates_and_cleans_a_file() {
    let file = KeyFile::new();

    let first = rotate(&file.path, &[]);
    let made = file.kids();
    assert!(
        first.contains(&made[0]) && first.contains("it is the first"),
        "{first}"
    );
    let permissions = std::fs::metadata(&file.path).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o600);

    let second = rotate(&file.path, &["--lead-secs", "600"]);
    let kids = file.kids();
    assert!(kids.len() == 2 && kids[0] == made[0], "{kids:?}");
    assert!(
        second.contains(&kids[1]) && second.contains("was added"),
        "{second}"
    );

    let third = rotate(&file.path, &[]);
    assert!(
        third.contains("nothing was done") && third.contains(&kids[1]),
        "{third}"
    );
    assert_eq!(file.kids(), kids, "asked twice, done once");

    let leaked = rotate(&file.path, &["--leaked"]);
    let left = file.kids();
    assert!(left.len() == 1 && !kids.contains(&left[0]), "{left:?}");
    assert!(kids.iter().all(|kid| leaked.contains(kid)), "{leaked}");
    let others = std::fs::read_dir(&file.folder).unwrap().count();
    assert_eq!(others, 1, "no draft is left");
    assert!(![first, second, third, leaked].concat().contains("PRIVATE"));
}

#[test]
fn however_many_rotate_at_once_the_file_stays_whole() {
    let file = KeyFile::new();
    // What somebody left who was killed while writing.
    std::fs::write(file.folder.join(".keys.pem.draft"), "half a").unwrap();

    let said = std::thread::scope(|scope| {
        let runs = [(); 6].map(|()| scope.spawn(|| rotate(&file.path, &[])));
        runs.map(|run| run.join().unwrap())
    });

    let count = |part: &str| said.iter().filter(|text| text.contains(part)).count();
    assert_eq!(
        (
            count("it is the first"),
            count("was added"),
            count("nothing was done")
        ),
        (1, 1, 4),
        "{said:?}"
    );
    assert_eq!(file.kids().len(), 2);
}

#[test]
fn keys_whose_tokens_have_expired_are_taken_out() {
    let at = |minutes: i64| {
        let time = common_http::Clock::System.now() - TimeDelta::minutes(minutes);
        time.to_rfc3339_opts(SecondsFormat::Secs, true)
    };
    let [oldest, old, current] = [(); 3].map(|()| ed25519_pem());
    let text = format!(
        "{oldest}# signs from: {}\n{old}# signs from: {}\n{current}",
        at(40),
        at(10)
    );
    let file = KeyFile::of(&text);
    let variables = [
        ("JWT_PRIVATE_KEY_FILE", file.path.to_str().unwrap()),
        ("JWT_ACCESS_EXPIRES_IN", "1h"),
    ];

    assert!(run(&["rotate-keys"], &variables).status.success());
    assert_eq!(
        file.kids().len(),
        4,
        "tokens of an hour may still be signed by all"
    );
    file.write(&text);
    assert!(run(&["rotate-keys"], &variables[..1]).status.success());
    let kids = file.kids();
    assert_eq!(kids.len(), 3);
    assert_eq!(kids[..2], [kid(&old), kid(&current)]);
}

#[test]
fn the_program_touches_nothing_that_it_does_not_understand() {
    let file = KeyFile::of("my notes, not keys\n");
    let output = run(&["rotate-keys", "--file", file.path.to_str().unwrap()], &[]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("left as it is"));
    assert_eq!(file.read(), "my notes, not keys\n");

    let output = run(&["rotate-keys"], &[]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("JWT_PRIVATE_KEY_FILE is not set"));
    let missing = file.folder.join("no/such/folder/keys.pem");
    assert!(
        !run(&["rotate-keys", "--file", missing.to_str().unwrap()], &[])
            .status
            .success()
    );
}

#[test]
fn a_configuration_of_private_keys_alone_is_complete() {
    let file = KeyFile::of(&ed25519_pem());
    let common = [
        ("MONGODB_URI", "mongodb://localhost/auth_db"),
        ("JWT_REFRESH_SECRET", "b7Xn2Qw9Lk4Vt6Yc1Mz8Rj5Hs3Pd0FgT"),
        ("SERVICE_JWT_SECRET", "u5Ke8Wr1Bn7Tc3Zx9Jm6Vq2Ly4Hg0DsP"),
        ("DISABLE_EMAIL", "true"),
    ];
    let check = |command: &str, own: &[(&str, &str)]| {
        let output = run(&[command], &[&common, own].concat());
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let path = file.path.to_str().unwrap();
    let in_one_line = file.read().replace('\n', "\\n");
    for command in ["check-config", "--check-config"] {
        assert_eq!(
            check(command, &[("JWT_PRIVATE_KEY_FILE", path)]),
            (true, String::new())
        );
        assert!(check(command, &[("JWT_PRIVATE_KEY", &in_one_line)]).0);
        for (own, part) in [
            (vec![], "JWT_ACCESS_SECRET"),
            (vec![("JWT_PRIVATE_KEY_FILE", "/no/such/file")], "cannot be read"),
            (vec![("JWT_PRIVATE_KEY", "rubbish")], "no private key"),
            (
                vec![("JWT_PRIVATE_KEY", &in_one_line), ("JWT_PRIVATE_KEY_FILE", path)],
                "keep one",
            ),
        ] {
            let (is_good, said) = check(command, &own);
            assert!(!is_good && said.contains(part), "{said}");
        }
    }
}
