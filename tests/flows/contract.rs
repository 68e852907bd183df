//! What is published is what is served: every route stands in its service's OpenAPI document, with its access, and the
//! documents keep what they promise their readers. That answers match is checked wherever a test receives one.

use std::collections::{BTreeSet, HashSet};

use common_http::{Access, Routes, Row, rows};
use serde_json::{Value, json};
use test_support::{Operation, PublishedContract, unknown_keywords};

type Table = fn(&mut Routes<'_>);

/// Where `errors.md` and the documents are.
const PROTO_DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto-docs");

fn services() -> [(&'static str, PublishedContract, Table); 3] {
    [
        (
            "auth",
            PublishedContract::read(auth_service::CONTRACT),
            auth_routes,
        ),
        (
            "accounting",
            PublishedContract::read(accounting_service::CONTRACT),
            accounting_service::routes::routes,
        ),
        (
            "proxy",
            PublishedContract::read(proxy_service::CONTRACT),
            proxy_service::routes,
        ),
    ]
}

/// With the routes that exist for tests only: they are published with a note.
fn auth_routes(routes: &mut Routes<'_>) {
    auth_service::routes(routes);
    auth_service::testing_routes(routes);
}

/// What an operation is called in a failure.
fn name(service: &str, operation: &Operation<'_>) -> String {
    format!(
        "{service}: {} {}",
        operation.method.to_uppercase(),
        operation.path
    )
}

#[test]
fn every_route_is_published_with_its_access_and_nothing_else_is() {
    for (service, contract, table) in services() {
        let line =
            |method: &str, path: &str, access: &str| format!("{} {path} ({access})", method.to_uppercase());
        let of_row = |row: Row| line(row.method.as_str(), &row.path, row.access.as_str());
        let served: BTreeSet<_> = rows(table).into_iter().map(of_row).collect();
        let of_operation = |operation: Operation<'_>| {
            let access = operation.body["x-access"].as_str().unwrap_or("no x-access");
            line(operation.method, operation.path, access)
        };
        let published: BTreeSet<_> = contract.operations().into_iter().map(of_operation).collect();
        let missing: Vec<_> = served.difference(&published).collect();
        let surplus: Vec<_> = published.difference(&served).collect();
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "{service}: not published {missing:#?}\npublished but not served {surplus:#?}"
        );
    }
}

#[test]
fn every_route_that_takes_api_keys_says_which() {
    for (service, contract, table) in services() {
        let line =
            |method: &str, path: &str, rule: &Value| format!("{} {path} {rule}", method.to_uppercase());
        let of_row = |row: Row| {
            let rule = json!({ "scopes": row.keys.scopes, "bound": row.keys.admits_bound });
            (!row.keys.scopes.is_empty()).then(|| line(row.method.as_str(), &row.path, &rule))
        };
        let served: BTreeSet<_> = rows(table).into_iter().filter_map(of_row).collect();
        let of_operation = |operation: Operation<'_>| {
            let rule = operation.body.get("x-api-keys")?;
            Some(line(operation.method, operation.path, rule))
        };
        let published: BTreeSet<_> = contract
            .operations()
            .into_iter()
            .filter_map(of_operation)
            .collect();
        assert_eq!(served, published, "{service}");
        assert_eq!(served.is_empty(), service == "auth");
    }
}

#[test]
fn every_operation_says_what_readers_need() {
    for (service, contract, _) in services() {
        let tags: HashSet<_> = contract.document()["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| &tag["name"])
            .collect();
        let mut ids = HashSet::new();
        for operation in contract
            .operations()
            .into_iter()
            .filter(|operation| !operation.is_alias)
        {
            let (name, body) = (name(service, &operation), operation.body);
            assert!(
                ids.insert(body["operationId"].as_str().expect(&name)),
                "{name}: operationId is not unique"
            );
            assert!(
                body["summary"].as_str().is_some_and(|text| !text.is_empty()),
                "{name}: no summary"
            );
            let own_tags = body["tags"].as_array().expect(&name);
            assert!(
                own_tags.len() == 1 && tags.contains(&own_tags[0]),
                "{name}: one tag of the list"
            );
            for (status, response) in body["responses"].as_object().expect(&name) {
                let response = contract.resolve(response);
                assert!(
                    response["description"].is_string(),
                    "{name}: {status} is not described"
                );
                let is_problem = response["content"].get("application/problem+json").is_some();
                let codes = response.get("x-codes").and_then(Value::as_array);
                assert_eq!(
                    is_problem,
                    codes.is_some_and(|codes| !codes.is_empty()),
                    "{name}: {status} and its codes"
                );
            }
            let declared: BTreeSet<_> = [&operation.item["parameters"], &body["parameters"]]
                .into_iter()
                .filter_map(Value::as_array)
                .flatten()
                .map(|parameter| contract.resolve(parameter))
                .filter(|parameter| parameter["in"] == "path")
                .filter_map(|parameter| parameter["name"].as_str())
                .collect();
            let in_path = operation.path.split(['{', '}']).skip(1).step_by(2).collect();
            assert_eq!(declared, in_path, "{name}: path parameters");
        }
    }
}

/// What each kind of access implies: the refusals, and the tokens.
#[test]
fn access_implies_refusals_and_security() {
    let kinds: [(Access, &[&str], Value); 10] = [
        (Access::Public, &[], json!([])),
        (Access::Optional, &[], json!(["", "accessToken"])),
        (Access::User, &["401"], json!(["accessToken"])),
        (Access::RestrictedUser, &["401"], json!(["accessToken"])),
        (Access::Supervisor, &["401", "403"], json!(["accessToken"])),
        (Access::Admin, &["401", "403"], json!(["accessToken"])),
        (Access::Service, &["401", "403"], json!(["serviceToken"])),
        (
            Access::UserOrService,
            &["401"],
            json!(["accessToken", "serviceToken"]),
        ),
        (
            Access::SupervisorOrService,
            &["401", "403"],
            json!(["accessToken", "serviceToken"]),
        ),
        (
            Access::AdminOrService,
            &["401", "403"],
            json!(["accessToken", "serviceToken"]),
        ),
    ];
    for (service, contract, _) in services() {
        for operation in contract.operations() {
            let (name, body) = (name(service, &operation), operation.body);
            let kind = kinds
                .iter()
                .find(|(access, _, _)| body["x-access"] == access.as_str());
            let (_, refusals, tokens) = kind.expect(&name);
            for status in *refusals {
                assert!(!body["responses"][status].is_null(), "{name}: no {status}");
            }
            let security = body
                .get("security")
                .unwrap_or(&contract.document()["security"])
                .as_array()
                .expect(&name);
            let schemes = security
                .iter()
                .map(|one| one.as_object().unwrap().keys().next().map_or("", String::as_str));
            // Other ways to say who one is, and who is no person.
            let others = ["accessCookie", "visitorCookie", "visitorToken"];
            let schemes: Vec<_> = schemes.filter(|scheme| !others.contains(scheme)).collect();
            assert_eq!(json!(schemes), *tokens, "{name}: security");
            let succeeds = body["responses"]
                .as_object()
                .unwrap()
                .keys()
                .any(|status| status.starts_with('2'));
            assert!(succeeds, "{name}: no success");
        }
    }
}

/// Calls `visit` for `value` and everything inside it.
fn walk<'a>(value: &'a Value, visit: &mut impl FnMut(&'a Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(members) => members.values().for_each(|member| walk(member, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_everything_shared_is_used() {
    for (service, contract, _) in services() {
        let mut used = HashSet::new();
        walk(contract.document(), &mut |value| {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                assert!(
                    contract.target(reference).is_some(),
                    "{service}: {reference} leads nowhere"
                );
                used.insert(reference.to_owned());
            }
        });
        for (kind, components) in contract.document()["components"].as_object().unwrap() {
            for component in components
                .as_object()
                .unwrap()
                .keys()
                .filter(|_| kind != "securitySchemes")
            {
                let reference = format!("#/components/{kind}/{component}");
                assert!(used.contains(&reference), "{service}: nobody uses {reference}");
            }
        }
    }
}

/// Every body of a document: its schema, and the examples beside it.
fn bodies(contract: &PublishedContract) -> Vec<(String, &Value, Vec<&Value>)> {
    let mut bodies = Vec::new();
    for operation in contract.operations() {
        let request = operation
            .body
            .get("requestBody")
            .map(|body| ("request".to_owned(), body));
        let responses = operation.body["responses"].as_object().into_iter().flatten();
        let responses = responses.map(|(status, response)| (status.clone(), response));
        for (place, body) in request.into_iter().chain(responses) {
            for (media_type, media) in contract.resolve(body)["content"]
                .as_object()
                .into_iter()
                .flatten()
            {
                let named = media["examples"]
                    .as_object()
                    .into_iter()
                    .flat_map(serde_json::Map::values);
                let named = named.map(|example| &contract.resolve(example)["value"]);
                let examples = media.get("example").into_iter().chain(named).collect();
                let place = format!("{} {} {place} {media_type}", operation.method, operation.path);
                bodies.push((place, &media["schema"], examples));
            }
        }
    }
    bodies
}

#[test]
fn every_example_keeps_its_schema() {
    for (service, contract, _) in services() {
        for (place, schema, examples) in bodies(&contract) {
            for example in examples {
                let checked = contract.check_value(schema, example, "example");
                assert_eq!(checked, Ok(()), "{service}: {place}");
            }
        }
    }
}

#[test]
fn every_json_body_has_a_schema_that_is_checked_and_an_example() {
    for (service, contract, _) in services() {
        for (place, schema, examples) in bodies(&contract) {
            assert!(schema.is_object(), "{service}: {place} has no schema");
            assert_eq!(unknown_keywords(schema), [""; 0], "{service}: {place}");
            let needs_example = place.ends_with(" application/json") && !place.contains("/openapi.json");
            assert!(
                !needs_example || !examples.is_empty(),
                "{service}: {place} has no example"
            );
        }
        for (name, schema) in contract.document()["components"]["schemas"].as_object().unwrap() {
            assert_eq!(unknown_keywords(schema), [""; 0], "{service}: {name}");
        }
    }
}

#[test]
fn every_code_is_explained() {
    let errors = std::fs::read_to_string(format!("{PROTO_DOCS}/errors.md")).unwrap();
    for (service, contract, _) in services() {
        walk(contract.document(), &mut |value| {
            for code in value
                .get("x-codes")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let code = code.as_str().unwrap();
                assert!(
                    errors.contains(&format!("`{code}`")),
                    "{service}: errors.md does not explain `{code}`"
                );
            }
        });
    }
}

#[test]
fn the_documents_agree_on_what_they_share() {
    let all = services();
    let (_, first, _) = &all[0];
    for (service, contract, _) in &all {
        let document = contract.document();
        assert_eq!(document["openapi"], "3.1.0", "{service}");
        assert_eq!(
            document["info"]["version"],
            env!("CARGO_PKG_VERSION"),
            "{service}"
        );
        for shared in ["Problem", "FieldError", "Timestamp"] {
            let schema =
                |contract: &PublishedContract| contract.document()["components"]["schemas"][shared].clone();
            assert_eq!(schema(contract), schema(first), "{service}: {shared}");
        }
    }
}
