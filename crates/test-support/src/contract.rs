//! A published contract, and whether answers keep it.
//!
//! The checker knows the part of JSON Schema that our documents use. [`PublishedContract::unknown_keywords`] finds
//! what it does not know, so that nothing in a document is silently left unchecked.

use common_http::Contract;
use regex_lite::Regex;
use reqwest::Method;
use serde_json::{Map, Value};

use crate::Answer;

/// What the checker checks.
const CHECKED: [&str; 16] = [
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "items",
    "maximum",
    "maxItems",
    "maxLength",
    "minimum",
    "minItems",
    "minLength",
    "oneOf",
    "pattern",
    "properties",
];

/// What says nothing about validity, or is checked with another keyword.
const NOTES: [&str; 9] = [
    "default",
    "deprecated",
    "description",
    "example",
    "examples",
    "format",
    "required",
    "title",
    "type",
];

/// The methods an operation can have.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// One operation of a contract.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// In lower case.
    pub method: &'a str,
    /// The path with its parameters in braces.
    pub path: &'a str,
    /// The path item it stands in, for the parameters that are shared.
    pub item: &'a Value,
    /// The operation itself.
    pub body: &'a Value,
    /// Whether the path is another name of a path that is written elsewhere.
    pub is_alias: bool,
}

/// The OpenAPI document of one service.
#[derive(Clone, Debug)]
pub struct PublishedContract {
    document: Value,
}

impl PublishedContract {
    /// Reads a document as the service does.
    pub fn read(yaml: &str) -> Self {
        let contract = Contract::from_yaml(yaml).expect("the contract is YAML");
        let document = serde_json::from_slice(contract.json()).expect("the contract is JSON");
        Self { document }
    }

    /// The whole document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Every operation, those under aliases included.
    pub fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.document["paths"].as_object().into_iter().flatten();
        paths
            .flat_map(|(path, item)| {
                let is_alias = item.get("$ref").is_some();
                let item = self.resolve(item);
                METHODS.into_iter().filter_map(move |method| {
                    Some(Operation {
                        method,
                        path,
                        item,
                        body: item.get(method)?,
                        is_alias,
                    })
                })
            })
            .collect()
    }

    /// What `$ref` points at, or the value itself.
    pub fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.resolve(self.target(reference).expect("references lead somewhere")),
            None => value,
        }
    }

    /// What a reference of this document points at.
    pub fn target(&self, reference: &str) -> Option<&Value> {
        self.document.pointer(reference.strip_prefix('#')?)
    }

    /// Says what is wrong with an answer to `method path`, if anything is.
    pub fn check(&self, method: &Method, path: &str, answer: &Answer) -> Result<(), String> {
        let method = method.as_str().to_lowercase();
        if !METHODS.contains(&method.as_str()) {
            return Ok(());
        }
        let status = answer.status.as_u16();
        let Some(item) = self.item_of(path) else {
            return expect_code(answer, 404, &["not_found"]);
        };
        let Some(operation) = item.get(&method) else {
            return expect_code(answer, 405, &["method_not_allowed"]);
        };
        let response = &operation["responses"][status.to_string()];
        if response.is_null() {
            return Err(format!("status {status} is not in the contract"));
        }
        self.check_response(self.resolve(response), answer)
    }

    fn check_response(&self, response: &Value, answer: &Answer) -> Result<(), String> {
        let Some(content) = response.get("content").and_then(Value::as_object) else {
            return if answer.text.is_empty() {
                Ok(())
            } else {
                Err("the contract promises no body".to_owned())
            };
        };
        let media_type = answer
            .headers
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .unwrap_or_default()
            .trim();
        let Some(media) = content.get(media_type) else {
            return Err(format!("the contract does not promise {media_type:?}"));
        };
        if !media_type.ends_with("json") {
            return Ok(());
        }
        let body =
            serde_json::from_str(&answer.text).map_err(|error| format!("the body is no JSON: {error}"))?;
        self.check_value(&media["schema"], &body, "body")?;
        match response.get("x-codes").and_then(Value::as_array) {
            Some(codes) if !codes.contains(&body["code"]) => {
                Err(format!("the contract does not name the code {}", body["code"]))
            }
            _ => Ok(()),
        }
    }

    /// The path item of a path as it was requested: the template with the fewest parameters.
    fn item_of(&self, path: &str) -> Option<&Value> {
        let requested: Vec<_> = path.split('/').collect();
        let parameters = |template: &str| {
            let segments: Vec<_> = template.split('/').collect();
            let fits = segments.len() == requested.len()
                && segments.iter().zip(&requested).all(|(segment, requested)| {
                    segment == requested || (segment.starts_with('{') && !requested.is_empty())
                });
            fits.then(|| segments.iter().filter(|segment| segment.starts_with('{')).count())
        };
        let paths = self.document["paths"].as_object()?;
        let (_, item) = paths
            .iter()
            .filter_map(|(template, item)| Some((parameters(template)?, item)))
            .min_by_key(|(parameters, _)| *parameters)?;
        Some(self.resolve(item))
    }

    /// Says where `value` does not keep `schema`, if it does not.
    pub fn check_value(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let schema = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => return Err(format!("{at} must not be there")),
            schema => schema.as_object().ok_or_else(|| format!("{at} has no schema"))?,
        };
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target = self
                .target(reference)
                .ok_or_else(|| format!("{reference} leads nowhere"))?;
            self.check_value(target, value, at)?;
        }
        check_type(schema, value, at)?;
        check_bounds(schema, value, at)?;
        self.check_choices(schema, value, at)?;
        if let Value::Object(members) = value {
            self.check_members(schema, members, at)?;
        }
        if let (Value::Array(items), Some(item)) = (value, schema.get("items")) {
            for (number, value) in items.iter().enumerate() {
                self.check_value(item, value, &format!("{at}.{number}"))?;
            }
        }
        Ok(())
    }

    fn check_choices(&self, schema: &Map<String, Value>, value: &Value, at: &str) -> Result<(), String> {
        let list = |keyword| schema.get(keyword).and_then(Value::as_array).map(Vec::as_slice);
        for part in list("allOf").unwrap_or_default() {
            self.check_value(part, value, at)?;
        }
        for (keyword, most) in [("anyOf", usize::MAX), ("oneOf", 1)] {
            let Some(parts) = list(keyword) else { continue };
            let results: Vec<_> = parts
                .iter()
                .map(|part| self.check_value(part, value, at))
                .collect();
            let fitting = results.iter().filter(|result| result.is_ok()).count();
            if !(1..=most).contains(&fitting) {
                let reasons: Vec<_> = results.into_iter().filter_map(Result::err).collect();
                return Err(format!(
                    "{at} fits {fitting} of {keyword}: {}",
                    reasons.join("; ")
                ));
            }
        }
        Ok(())
    }

    fn check_members(
        &self,
        schema: &Map<String, Value>,
        members: &Map<String, Value>,
        at: &str,
    ) -> Result<(), String> {
        let required = schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                return Err(format!("{at}.{name} is missing"));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, value) in members {
            let at = format!("{at}.{name}");
            match properties.and_then(|properties| properties.get(name)) {
                Some(property) => self.check_value(property, value, &at)?,
                None => match schema.get("additionalProperties") {
                    Some(other) => self.check_value(other, value, &at)?,
                    None => {}
                },
            }
        }
        Ok(())
    }

    /// Keywords of `schema` and of all inside it that the checker does not know.
    pub fn unknown_keywords(&self, schema: &Value) -> Vec<String> {
        let Some(schema) = schema.as_object() else {
            return Vec::new();
        };
        let own = schema
            .keys()
            .filter(|keyword| !CHECKED.contains(&keyword.as_str()) && !NOTES.contains(&keyword.as_str()))
            .cloned();
        let lists = ["allOf", "anyOf", "oneOf"]
            .into_iter()
            .filter_map(|keyword| schema.get(keyword)?.as_array());
        let single = ["items", "additionalProperties"]
            .into_iter()
            .filter_map(|keyword| schema.get(keyword));
        let members = schema.get("properties").and_then(Value::as_object);
        let inside = lists
            .flatten()
            .chain(single)
            .chain(members.into_iter().flat_map(Map::values));
        own.chain(inside.flat_map(|inside| self.unknown_keywords(inside)))
            .collect()
    }
}

fn expect_code(answer: &Answer, status: u16, codes: &[&str]) -> Result<(), String> {
    let code = answer.body["code"].as_str().unwrap_or_default();
    if answer.status.as_u16() == status && codes.contains(&code) {
        return Ok(());
    }
    Err(format!(
        "not in the contract, so {status} {codes:?} is due, not {} {code:?}",
        answer.status
    ))
}

fn check_type(schema: &Map<String, Value>, value: &Value, at: &str) -> Result<(), String> {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    let fits = match schema.get("type") {
        None => true,
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is),
        Some(name) => name.as_str().is_some_and(is),
    };
    if !fits {
        return Err(format!("{at} is {value}, not {}", schema["type"]));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{at} is {value}, not {}", schema["const"]));
    }
    let choices = schema.get("enum").and_then(Value::as_array);
    if choices.is_some_and(|choices| !choices.contains(value)) {
        return Err(format!("{at} is {value}, none of {}", schema["enum"]));
    }
    Ok(())
}

fn check_bounds(schema: &Map<String, Value>, value: &Value, at: &str) -> Result<(), String> {
    let within = |size: Option<f64>, min: &str, max: &str| {
        let bound = |keyword| schema.get(keyword).and_then(Value::as_f64);
        let Some(size) = size else { return Ok(()) };
        if bound(min).is_some_and(|min| size < min) || bound(max).is_some_and(|max| size > max) {
            return Err(format!("{at} is {value}, beyond {min} or {max}"));
        }
        Ok(())
    };
    let count = |count: usize| u32::try_from(count).ok().map(f64::from);
    within(value.as_f64(), "minimum", "maximum")?;
    within(
        value.as_array().and_then(|items| count(items.len())),
        "minItems",
        "maxItems",
    )?;
    within(
        value.as_str().and_then(|text| count(text.chars().count())),
        "minLength",
        "maxLength",
    )?;
    if let (Some(text), Some(pattern)) = (value.as_str(), schema.get("pattern").and_then(Value::as_str)) {
        let pattern = Regex::new(pattern).map_err(|error| format!("{at} has a bad pattern: {error}"))?;
        if !pattern.is_match(text) {
            return Err(format!("{at} is {value}, which {pattern} does not match"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use reqwest::{StatusCode, header::HeaderMap};
    use serde_json::json;

    use super::*;

    const YAML: &str = r"
paths:
  /users/{id}:
    get:
      responses:
        '200': {content: {application/json: {schema: {$ref: '#/components/schemas/User'}}}}
        '404': {$ref: '#/components/responses/Missing'}
    delete:
      responses:
        '204': {description: gone}
  /users/me:
    get:
      responses:
        '200': {content: {text/plain: {schema: {type: string}}}}
  /people/{id}: {$ref: '#/paths/~1users~1{id}'}
components:
  responses:
    Missing:
      x-codes: [user_not_found]
      content: {application/problem+json: {schema: {type: object, required: [code]}}}
  schemas:
    User:
      type: object
      required: [id, tags]
      properties:
        id: {type: integer, minimum: 1}
        name: {type: [string, 'null'], minLength: 2, pattern: '^[a-z]+$'}
        tags: {type: array, maxItems: 2, items: {enum: [a, b]}}
        friend: {$ref: '#/components/schemas/User'}
        pay: {oneOf: [{const: free}, {type: object, required: [credits], properties: {credits: {type: integer}}}]}
      additionalProperties: false
";

    fn answer(status: u16, media_type: &str, text: &str) -> Answer {
        let mut headers = HeaderMap::new();
        if !media_type.is_empty() {
            headers.insert("content-type", media_type.parse().unwrap());
        }
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            text: text.to_owned(),
            body: serde_json::from_str(text).unwrap_or_default(),
        }
    }

    fn check(method: Method, path: &str, answer: &Answer) -> Result<(), String> {
        PublishedContract::read(YAML).check(&method, path, answer)
    }

    fn check_user(user: &Value) -> Result<(), String> {
        let answer = answer(200, "application/json; charset=utf-8", &user.to_string());
        check(Method::GET, "/users/7", &answer)
    }

    #[test]
    fn bodies_that_keep_their_schema_pass() {
        for user in [
            json!({ "id": 1, "tags": [] }),
            json!({ "id": 7, "tags": ["a", "b"], "name": "ada", "pay": "free" }),
            json!({ "id": 7, "tags": [], "name": null, "pay": { "credits": 1 }, "friend": { "id": 8, "tags": [] } }),
        ] {
            assert_eq!(check_user(&user), Ok(()), "{user}");
        }
    }

    #[test]
    fn bodies_that_break_it_do_not_and_the_place_is_named() {
        for (user, place) in [
            (json!([]), "body is []"),
            (json!({ "id": 1 }), "body.tags is missing"),
            (json!({ "id": 0, "tags": [] }), "body.id is 0"),
            (json!({ "id": 1.5, "tags": [] }), "body.id is 1.5"),
            (json!({ "id": "1", "tags": [] }), "body.id"),
            (json!({ "id": 1, "tags": ["c"] }), "body.tags.0"),
            (json!({ "id": 1, "tags": ["a", "a", "a"] }), "maxItems"),
            (json!({ "id": 1, "tags": [], "name": "x" }), "minLength"),
            (json!({ "id": 1, "tags": [], "name": "Ada" }), "does not match"),
            (
                json!({ "id": 1, "tags": [], "age": 3 }),
                "body.age must not be there",
            ),
            (
                json!({ "id": 1, "tags": [], "friend": { "id": 1 } }),
                "body.friend.tags is missing",
            ),
            (json!({ "id": 1, "tags": [], "pay": 3 }), "fits 0 of oneOf"),
        ] {
            let reason = check_user(&user).unwrap_err();
            assert!(reason.contains(place), "{user}: {reason}");
        }
    }

    #[test]
    fn statuses_media_types_and_codes_are_those_of_the_contract() {
        let problem = |code| {
            answer(
                404,
                "application/problem+json",
                &json!({ "code": code }).to_string(),
            )
        };
        assert_eq!(
            check(Method::GET, "/people/7", &problem("user_not_found")),
            Ok(())
        );
        assert!(check(Method::GET, "/people/7", &problem("session_not_found")).is_err());
        assert!(check(Method::GET, "/users/7", &answer(500, "application/json", "{}")).is_err());
        assert!(check(Method::GET, "/users/7", &answer(200, "text/html", "<p>")).is_err());
        assert!(check(Method::GET, "/users/7", &answer(200, "application/json", "{")).is_err());
        assert_eq!(
            check(Method::GET, "/users/me", &answer(200, "text/plain", "me")),
            Ok(())
        );
        assert_eq!(check(Method::DELETE, "/users/7", &answer(204, "", "")), Ok(()));
        assert!(check(Method::DELETE, "/users/7", &answer(204, "text/plain", "gone")).is_err());
    }

    #[test]
    fn what_is_not_published_is_not_found() {
        let problem = |status, code| {
            answer(
                status,
                "application/problem+json",
                &json!({ "code": code }).to_string(),
            )
        };
        for path in ["/user/7", "/users/", "/users/7/8"] {
            assert_eq!(
                check(Method::GET, path, &problem(404, "not_found")),
                Ok(()),
                "{path}"
            );
            assert!(check(Method::GET, path, &answer(200, "", "")).is_err(), "{path}");
        }
        assert_eq!(
            check(Method::PUT, "/users/7", &problem(405, "method_not_allowed")),
            Ok(())
        );
        assert!(check(Method::PUT, "/users/7", &answer(200, "", "")).is_err());
    }

    #[test]
    fn keywords_that_would_go_unchecked_are_found() {
        let contract = PublishedContract::read(YAML);
        let schema =
            json!({ "type": "array", "items": { "properties": { "a": { "not": {}, "multipleOf": 2 } } } });
        assert_eq!(contract.unknown_keywords(&schema), ["multipleOf", "not"]);
        assert!(
            contract
                .unknown_keywords(&contract.document()["components"]["schemas"]["User"])
                .is_empty()
        );
    }
}
