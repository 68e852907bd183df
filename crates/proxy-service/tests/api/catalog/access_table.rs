//! The whole table of routes: who gets past the door.

use common_http::{Access, Clock, Row, rows};
use common_jwt::Role;
use proxy_service::routes;
use test_support::{Client, Person};

use super::support::TestApp;

async fn status_and_code(client: &Client, row: &Row) -> (u16, String) {
    let path = row.path.replace(['{', '}'], "");
    let answer = client
        .send(client.request(row.method.as_str().parse().unwrap(), &path))
        .await;
    // OpenAI's door has its errors in an object.
    let error = if is_openai(row) {
        &answer.body["error"]
    } else {
        &answer.body
    };
    let code = error["code"].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), code)
}

fn is_openai(row: &Row) -> bool {
    row.path.starts_with("/v1/")
}

fn least_role(access: Access) -> Option<Role> {
    match access {
        Access::Public | Access::Optional => None,
        Access::User | Access::RestrictedUser | Access::UserOrService => Some(Role::EndUser),
        Access::Supervisor | Access::SupervisorOrService => Some(Role::Supervisor),
        Access::Admin | Access::AdminOrService => Some(Role::Admin),
        Access::Service => unreachable!("looked at by itself"),
    }
}

#[actix_web::test]
async fn every_route_is_closed_to_whoever_lacks_its_role() {
    let app = TestApp::spawn().await;
    let expired = {
        let mut claims = app.tokens.access_claims(&Person::new("late", Role::Admin));
        claims.exp = Clock::System.now().timestamp() - 31;
        app.tokens.sign(&claims)
    };
    let service_token = app.tokens.service("accounting-service", "proxy-service");

    for row in rows(routes) {
        if row.access == Access::Service {
            let let_in = app.anybody.with_token(&service_token);
            assert_eq!(status_and_code(&let_in, &row).await.0, 200, "{row:?}");
            let nobody = status_and_code(&app.anybody, &row).await;
            assert_eq!(nobody, (401, "missing_token".to_owned()), "{row:?}");
            for role in [Role::EndUser, Role::Supervisor, Role::Admin] {
                let person = app.client(&Person::new("somebody", role));
                let refused = status_and_code(&person, &row).await;
                assert_eq!(refused, (403, "forbidden".to_owned()), "{row:?} as {role}");
            }
            continue;
        }
        let Some(least) = least_role(row.access) else {
            continue;
        };
        // An answer to HEAD has no body that could name a code.
        let has_body = row.method.as_str() != "HEAD";
        // OpenAI's API has one word for whatever is wrong with a key.
        let code_of = |code| if is_openai(&row) { "invalid_api_key" } else { code };
        let refused = |status, code| {
            (
                status,
                if has_body {
                    code_of(code).to_owned()
                } else {
                    String::new()
                },
            )
        };
        assert_eq!(
            status_and_code(&app.anybody, &row).await,
            refused(401, "missing_token"),
            "{row:?}"
        );
        let admits_services = row.access == Access::AdminOrService;
        let bad = ["rubbish", &expired, &service_token];
        for token in bad.into_iter().take(if admits_services { 2 } else { 3 }) {
            let client = app.anybody.with_token(token);
            assert_eq!(
                status_and_code(&client, &row).await,
                refused(401, "invalid_token"),
                "{row:?}"
            );
        }
        if admits_services {
            let (status, _) = status_and_code(&app.anybody.with_token(&service_token), &row).await;
            assert!(!matches!(status, 401 | 403), "{row:?} as a service: {status}");
        }
        for role in [Role::EndUser, Role::Supervisor, Role::Admin] {
            let client = app.client(&Person::new("somebody", role));
            let (status, code) = status_and_code(&client, &row).await;
            assert_eq!(
                code == "forbidden",
                role < least,
                "{row:?} as {role}: {status} {code}"
            );
            assert_ne!(status, 401, "{row:?} as {role}");
        }
    }
}

#[actix_web::test]
async fn the_documented_and_the_older_paths_are_all_there() {
    let table = rows(routes);
    let has = |method: &str, path: &str, access: Access| {
        table
            .iter()
            .any(|row| row.method.as_str() == method && row.path == path && row.access == access)
    };
    for path in ["/", "/health", "/info", "/collections/status"] {
        assert!(has("GET", path, Access::Public), "{path}");
    }
    for base in ["/api/v1/chat", "/chat"] {
        assert!(has("POST", &format!("{base}/authenticate"), Access::Public));
        assert!(has("POST", &format!("{base}/refresh"), Access::Public));
        // Signing out is open to who has to change their password first.
        assert!(has("POST", &format!("{base}/revoke"), Access::RestrictedUser));
        for (method, path) in [
            ("GET", "credits"),
            ("GET", "chatflows"),
            ("GET", "my-assigned-chatflows"),
            ("GET", "get_current_user"),
            ("POST", "predict"),
            ("POST", "predict/stream"),
            ("POST", "predict/stream/store"),
            ("POST", "upload"),
            ("GET", "sessions"),
            ("POST", "sessions"),
            ("GET", "sessions/{id}/history"),
            ("DELETE", "sessions/{id}"),
            ("DELETE", "history"),
            ("GET", "files/session/{session_id}"),
            ("GET", "files/message/{message_id}"),
            ("GET", "files/{file_id}"),
            ("HEAD", "files/{file_id}"),
            ("GET", "files/{file_id}/thumbnail"),
            ("DELETE", "files/{file_id}"),
        ] {
            assert!(
                has(method, &format!("{base}/{path}"), Access::User),
                "{method} {base}/{path}"
            );
        }
    }
    for base in ["/api/v1/chatflows", "/chatflows"] {
        for path in ["", "/", "/my-chatflows", "/{flowise_id}", "/{flowise_id}/config"] {
            assert!(has("GET", &format!("{base}{path}"), Access::User), "{base}{path}");
        }
    }
    for base in ["/api/v1/admin", "/api/admin"] {
        for (method, path) in [
            ("POST", "chatflows/sync"),
            ("GET", "chatflows"),
            ("GET", "chatflows/stats"),
            ("GET", "chatflows/audit-users"),
            ("POST", "chatflows/cleanup-users"),
            ("GET", "chatflows/{flowise_id}"),
            ("PATCH", "chatflows/{flowise_id}"),
            ("DELETE", "chatflows/{flowise_id}"),
            ("GET", "chatflows/{flowise_id}/users"),
            ("POST", "chatflows/{flowise_id}/users"),
            ("DELETE", "chatflows/{flowise_id}/users"),
            ("POST", "chatflows/{flowise_id}/users/{user_id}"),
            ("DELETE", "chatflows/{flowise_id}/users/{user_id}"),
            ("POST", "chatflows/add-users-by-email"),
            ("POST", "users/sync-by-email"),
            ("POST", "users/sync"),
            ("GET", "users"),
            ("GET", "users/{user_id}/chatflows"),
        ] {
            assert!(
                has(method, &format!("{base}/{path}"), Access::Admin),
                "{method} {base}/{path}"
            );
        }
        let bulk = format!("{base}/chatflows/{{flowise_id}}/users/bulk-add");
        assert!(has("POST", &bulk, Access::AdminOrService));
    }
}

#[actix_web::test]
async fn the_public_pages_tell_nothing_of_what_stands_behind() {
    let app = TestApp::spawn().await;

    let greeting = app.anybody.get("/").await.expect(200);
    assert_eq!(greeting.body["message"], "Flowise Proxy Service");
    assert_eq!(greeting.body["status"], "running");
    let info = app.anybody.get("/info").await.expect(200);
    assert_eq!(
        info.body["endpoints"]["authentication"],
        "/api/v1/chat/authenticate"
    );

    for answer in [greeting, info] {
        for server in [&app.behind.flowise, &app.behind.auth, &app.behind.accounting] {
            assert!(
                !answer.text.contains(&server.address().port().to_string()),
                "{}",
                answer.text
            );
        }
    }
}
