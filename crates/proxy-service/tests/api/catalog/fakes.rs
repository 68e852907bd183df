//! What auth-service and Flowise answer in these tests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use test_support::Person;
use wiremock::{
    Mock, MockServer, Request, Respond, ResponseTemplate,
    matchers::{header, method, path, path_regex},
};

use super::support::{FLOWISE_KEY, TestApp};

/// The list of a real Flowise 3.1.4, its graphs trimmed.
pub(crate) const RECORDED_LIST: &str =
    include_str!("../../../../../tests/recordings/flowise/chatflows-full-key/body");

/// The web page that Flowise answers with status 200 where no route is.
pub(crate) const RECORDED_PAGE: &str =
    include_str!("../../../../../tests/recordings/flowise/unknown-route-key/body");

/// What Flowise says to a wrong key, with status 401.
pub(crate) const RECORDED_REFUSAL: &str =
    include_str!("../../../../../tests/recordings/flowise/chatflows-bad-key/body");

/// People auth-service knows. Its answer to a look-up is the documented one.
#[derive(Clone, Default)]
pub(crate) struct Directory(Arc<Mutex<HashMap<String, Value>>>);

impl Directory {
    /// Mounts the look-up by address.
    pub(crate) async fn mount(server: &MockServer) -> Self {
        let directory = Self::default();
        Mock::given(method("GET"))
            .and(path_regex("^/api/admin/users/by-email/.+$"))
            .respond_with(directory.clone())
            .mount(server)
            .await;
        directory
    }

    pub(crate) fn add(&self, person: &Person) {
        self.insert(person, true);
    }

    pub(crate) fn switch_off(&self, person: &Person) {
        self.insert(person, false);
    }

    fn insert(&self, person: &Person, is_verified: bool) {
        let user = json!({
            "_id": person.id, "username": person.username, "email": person.email, "role": person.role,
            "isVerified": is_verified, "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z", "__v": 0,
        });
        self.0.lock().unwrap().insert(person.email.clone(), user);
    }
}

impl Respond for Directory {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        if !request.headers.contains_key("authorization") {
            return problem(401, "missing_token", "an access token is needed");
        }
        let email = request.url.path().rsplit('/').next().unwrap();
        match self.0.lock().unwrap().get(email) {
            Some(user) => ResponseTemplate::new(200).set_body_json(json!({ "user": user })),
            None => problem(404, "user_not_found", "there is no such user"),
        }
    }
}

/// An error body as our services write it.
pub(crate) fn problem(status: u16, code: &str, detail: &str) -> ResponseTemplate {
    let body =
        json!({ "status": status, "code": code, "detail": detail, "error": detail, "message": detail });
    ResponseTemplate::new(status).set_body_raw(body.to_string(), "application/problem+json")
}

/// Flowise's catalog, which a test changes as an author would. With pages it answers as version 3.1 does.
#[derive(Clone)]
pub(crate) struct FlowiseCatalog {
    chatflows: Arc<Mutex<Vec<Value>>>,
    pages: bool,
}

impl FlowiseCatalog {
    /// Mounts the list.
    pub(crate) async fn mount(server: &MockServer, chatflows: Vec<Value>, pages: bool) -> Self {
        let catalog = Self {
            chatflows: Arc::new(Mutex::new(chatflows)),
            pages,
        };
        Mock::given(method("GET"))
            .and(path("/api/v1/chatflows"))
            .and(header("authorization", format!("Bearer {FLOWISE_KEY}")))
            .respond_with(catalog.clone())
            .mount(server)
            .await;
        catalog
    }

    pub(crate) fn set(&self, chatflows: Vec<Value>) {
        *self.chatflows.lock().unwrap() = chatflows;
    }
}

impl Respond for FlowiseCatalog {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let chatflows = self.chatflows.lock().unwrap().clone();
        if !self.pages {
            return ResponseTemplate::new(200).set_body_json(chatflows);
        }
        let query: HashMap<_, _> = request.url.query_pairs().into_owned().collect();
        let number = |name: &str| query[name].parse::<usize>().unwrap();
        let (page, limit) = (number("page"), number("limit"));
        let data: Vec<_> = chatflows.iter().skip((page - 1) * limit).take(limit).collect();
        ResponseTemplate::new(200).set_body_json(json!({ "data": data, "total": chatflows.len() }))
    }
}

/// The recorded list, entry by entry.
pub(crate) fn recorded() -> Vec<Value> {
    serde_json::from_str(RECORDED_LIST).unwrap()
}

/// A chatflow as Flowise lists it.
pub(crate) fn listed(id: &str, name: &str) -> Value {
    let mut chatflow = recorded().remove(1);
    chatflow["id"] = json!(id);
    chatflow["name"] = json!(name);
    chatflow
}

/// Mounts a catalog and takes it over.
pub(crate) async fn synced(app: &TestApp, chatflows: Vec<Value>) -> FlowiseCatalog {
    let catalog = FlowiseCatalog::mount(&app.behind.flowise, chatflows, true).await;
    let answer = app
        .admin()
        .post("/api/v1/admin/chatflows/sync", &json!({}))
        .await
        .expect(200);
    assert_eq!(answer.body["errors"], 0, "{}", answer.text);
    catalog
}

/// Gives the chatflow to this person, whom auth-service knows.
pub(crate) async fn assign(app: &TestApp, directory: &Directory, person: &Person, flowise_id: &str) {
    directory.add(person);
    let path = format!("/api/v1/admin/chatflows/{flowise_id}/users");
    app.admin()
        .post(&path, &json!({ "email": person.email }))
        .await
        .expect(200);
}
