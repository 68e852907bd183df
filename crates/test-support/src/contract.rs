//! A published contract, and whether answers keep it.

mod bad_bodies;
mod schema;

use common_http::Contract;
use reqwest::Method;
use serde_json::Value;

pub use self::{bad_bodies::BadBody, schema::unknown_keywords};
use crate::Answer;

/// The methods an operation can have.
const METHODS: [&str; 6] = ["get", "head", "post", "put", "patch", "delete"];

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
        if method == "head" {
            return Ok(());
        }
        let Some(item) = self.item_of(path) else {
            return expect_code(answer, 404, &["not_found"]);
        };
        let Some(operation) = item.get(&method) else {
            return expect_code(answer, 405, &["method_not_allowed"]);
        };
        let response = &operation["responses"][status.to_string()];
        // What stands before every route can answer for every route.
        let everywhere = &self.document["x-everywhere"][status.to_string()];
        let checks = [response, everywhere]
            .into_iter()
            .filter(|response| !response.is_null())
            .map(|response| self.check_response(self.resolve(response), answer));
        let checks: Vec<_> = checks.collect();
        if checks.is_empty() {
            return Err(format!("status {status} is not in the contract"));
        }
        checks.into_iter().reduce(Result::or).unwrap_or(Ok(()))
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
        let requested: Vec<_> = path.split('/').map(decoded).collect();
        let parameters = |template: &str| {
            let segments: Vec<_> = template.split('/').collect();
            let fits = segments.len() == requested.len()
                && segments.iter().zip(&requested).all(|(segment, requested)| {
                    *segment == requested || (segment.starts_with('{') && !requested.is_empty())
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
}

/// A segment without its percent-encoding: `%61` is another spelling of `a` (RFC 3986 section 2.3).
fn decoded(segment: &str) -> String {
    let mut parts = segment.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let split = part.split_at_checked(2);
        let byte = split.and_then(|(digits, rest)| Some((u8::from_str_radix(digits, 16).ok()?, rest)));
        let (byte, rest) = byte.unwrap_or((b'%', part));
        bytes.push(byte);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
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
    User: {type: object, required: [id]}
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

    fn check(method: &Method, path: &str, answer: &Answer) -> Result<(), String> {
        PublishedContract::read(YAML).check(method, path, answer)
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
            check(&Method::GET, "/people/7", &problem("user_not_found")),
            Ok(())
        );
        assert!(check(&Method::GET, "/people/7", &problem("session_not_found")).is_err());
        assert!(check(&Method::GET, "/users/7", &answer(500, "application/json", "{}")).is_err());
        assert!(check(&Method::GET, "/users/7", &answer(200, "text/html", "<p>")).is_err());
        assert!(check(&Method::GET, "/users/7", &answer(200, "application/json", "{")).is_err());
        for path in ["/users/me", "/%75sers/m%65"] {
            let checked = check(&Method::GET, path, &answer(200, "text/plain", "me"));
            assert_eq!(checked, Ok(()), "{path}");
        }
        assert_eq!(check(&Method::DELETE, "/users/7", &answer(204, "", "")), Ok(()));
        assert!(check(&Method::DELETE, "/users/7", &answer(204, "text/plain", "gone")).is_err());
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
                check(&Method::GET, path, &problem(404, "not_found")),
                Ok(()),
                "{path}"
            );
            assert!(check(&Method::GET, path, &answer(200, "", "")).is_err(), "{path}");
        }
        assert_eq!(
            check(&Method::PUT, "/users/7", &problem(405, "method_not_allowed")),
            Ok(())
        );
        assert!(check(&Method::PUT, "/users/7", &answer(200, "", "")).is_err());
    }
}
