//! What a changed password, one that has to be changed, and a second factor mean at every service.

use common_http::{Access, Clock, Routes, rows};
use common_jwt::Role;
use serde_json::json;
use system_tests::{
    person::Person,
    platform::{PASSWORD, Platform},
};
use test_support::{Client, TestTokens};
use totp_rs::{Builder, Secret, Totp};

const OLD: &str = "given by the school 1";
const NEW: &str = "seven green kites 4";

/// A route of each service that every signed-in person may call.
const OWN: [(&str, &str); 3] = [
    ("auth", "/api/dashboard"),
    ("accounting", "/api/credits/balance"),
    ("proxy", "/api/v1/chat/sessions"),
];

fn at(platform: &Platform, service: &str) -> Client {
    match service {
        "auth" => platform.auth.client(),
        "accounting" => platform.accounting.client(),
        _ => platform.proxy.client(),
    }
}

/// Somebody whose password an administrator has just reset.
async fn with_given_password(platform: &Platform, name: &str) -> Person {
    let person = platform.chatter(name, 3).await;
    let admin = platform.admin().await;
    let path = format!("/api/admin/users/{}/reset-password", person.id);
    let body = json!({ "newPassword": OLD });
    admin.auth.post(&path, &body).await.expect(200);
    person
}

/// The token is refused by every service, at once or as soon as the feed tells.
async fn refused_everywhere(platform: &Platform, token: &str) {
    for (service, path) in OWN {
        let client = at(platform, service).with_token(token);
        platform
            .until("the session has ended everywhere", async || {
                client.get(path).await.status == 401
            })
            .await;
    }
}

#[actix_web::test]
async fn a_given_password_opens_nothing_before_it_is_changed() {
    let platform = Platform::start().await;
    let before = with_given_password(&platform, "alice").await;
    refused_everywhere(&platform, &before.access_token).await;

    let body = json!({ "username": "alice", "password": OLD });
    let path = "/api/v1/chat/authenticate";
    let answer = platform.proxy.client().post(path, &body).await.expect(200);
    assert_eq!(answer.body["mustChangePassword"], true, "{}", answer.text);
    let token = answer.body["access_token"].as_str().unwrap();
    for (service, path) in OWN {
        at(&platform, service)
            .with_token(token)
            .get(path)
            .await
            .expect_problem(403, "password_change_required");
    }
    let refresh = json!({ "refresh_token": answer.body["refresh_token"] });
    let refreshed = platform
        .proxy
        .client()
        .post("/api/v1/chat/refresh", &refresh)
        .await
        .expect(200);
    assert_eq!(refreshed.body["mustChangePassword"], true);

    let auth = platform.auth.client().with_token(token);
    let change = json!({ "currentPassword": OLD, "newPassword": NEW });
    let changed = auth.post("/api/change-password", &change).await.expect(200);

    let fresh = changed.body["accessToken"].as_str().unwrap();
    for (service, path) in OWN {
        at(&platform, service)
            .with_token(fresh)
            .get(path)
            .await
            .expect(200);
    }
    refused_everywhere(&platform, token).await;
    Person::log_in(&platform, "alice", NEW).await;
}

#[actix_web::test]
async fn every_route_of_every_service_is_closed_to_who_must_change_the_password() {
    let platform = Platform::start().await;
    let tokens = TestTokens::at(Clock::System.now());
    let mut claims = tokens.access_claims(&test_support::Person::new("alice", Role::Admin));
    claims.must_change_password = true;
    let token = tokens.sign(&claims);
    let mut tried = 0;
    for (service, table) in tables() {
        // The tables of auth-service look the session up first; its own tests have one that exists.
        if service == "auth" {
            continue;
        }
        for row in rows(table) {
            let is_for_people = !matches!(
                row.access,
                Access::Public | Access::Optional | Access::Service | Access::RestrictedUser
            );
            if is_for_people {
                let answer = call(&platform, service, &row, &token).await;
                if row.method == "HEAD" {
                    assert_eq!(answer.status, 403, "{} {}", row.method, row.path);
                } else {
                    // The doors of other products' APIs have their errors in another form, and the same code.
                    let answer = answer.expect(403);
                    let error = &answer.body["error"];
                    let problem = if error.is_object() { error } else { &answer.body };
                    assert_eq!(problem["code"], "password_change_required", "{}", row.path);
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 60, "{tried}");
}

#[actix_web::test]
async fn a_pending_token_opens_no_route_of_any_service() {
    let platform = Platform::start().await;
    let alice = platform.chatter("alice", 3).await;
    let phone = enable(&alice).await;
    let body = json!({ "username": "alice", "password": PASSWORD });
    let path = "/api/v1/chat/authenticate";
    let refused = platform.proxy.client().post(path, &body).await;
    let refused = refused.expect_problem(401, "totp_required");
    let token = refused.body["pending_token"].as_str().unwrap();

    let mut tried = 0;
    for (service, table) in tables() {
        for row in rows(table) {
            if matches!(row.access, Access::Public | Access::Optional) {
                continue;
            }
            let answer = call(&platform, service, &row, token).await;
            assert_eq!(answer.status, 401, "{service} {} {}", row.method, row.path);
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried}");

    // The next step's code is good already, and that of this step is used up.
    let now = u64::try_from(Clock::System.now().timestamp()).unwrap();
    let mut with_code = body.clone();
    with_code["totp_code"] = json!(phone.generate(now + 30).to_string());
    let answer = platform.proxy.client().post(path, &with_code).await.expect(200);
    let token = answer.body["access_token"].as_str().unwrap();
    for (service, path) in OWN {
        at(&platform, service)
            .with_token(token)
            .get(path)
            .await
            .expect(200);
    }
    platform
        .proxy
        .client()
        .post(path, &with_code)
        .await
        .expect_problem(401, "invalid_second_factor");
}

type Table = fn(&mut Routes<'_>);

pub(crate) fn tables() -> [(&'static str, Table); 3] {
    [
        ("auth", auth_service::routes),
        ("accounting", accounting_service::routes::routes),
        ("proxy", proxy_service::routes),
    ]
}

/// Calls a route with an id of nobody wherever its path has a parameter.
pub(crate) async fn call(
    platform: &Platform,
    service: &str,
    row: &common_http::Row,
    token: &str,
) -> test_support::Answer {
    let path: String = row
        .path
        .split(['{', '}'])
        .enumerate()
        .map(|(index, part)| {
            if index % 2 == 0 {
                part
            } else {
                "aaaaaaaaaaaaaaaaaaaaaaaa"
            }
        })
        .collect();
    let client = at(platform, service).with_token(token);
    let request = client.request(row.method.as_str().parse().unwrap(), &path);
    client.send(request.json(&json!({}))).await
}

/// Sets a second factor up, and returns what the phone knows.
async fn enable(person: &Person) -> Totp {
    let body = json!({ "password": PASSWORD });
    let setup = person.auth.post("/api/2fa/setup", &body).await.expect(200);
    let secret = Secret::try_from_base32(setup.body["secret"].as_str().unwrap()).unwrap();
    let phone = Builder::new()
        .with_secret(secret)
        .with_account_name("alice")
        .build()
        .unwrap();
    let now = u64::try_from(Clock::System.now().timestamp()).unwrap();
    let body = json!({ "code": phone.generate(now).to_string() });
    person.auth.post("/api/2fa/enable", &body).await.expect(200);
    phone
}
