//! The published contract of a service: `GET /openapi.json` for programs, `GET /docs` for people.
//!
//! The documents are written by hand, as YAML, for their readers. A service embeds its own, and it is read once, at
//! start. The reader page is ours and comes from the service itself: it needs no network and loads nothing from others.

use actix_web::{HttpResponse, http::header, web};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde::{Serialize, Serializer, ser::Error as _};

use crate::access::{Access, Routes};

/// The page loads its own script, its own style and the document beside it, and talks to nobody.
const READER_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const READER_PAGE: &str = include_str!("../assets/reader/page.html");
const READER_SCRIPT: &str = include_str!("../assets/reader/reader.js");
const READER_STYLE: &str = include_str!("../assets/reader/reader.css");

/// The OpenAPI document of one service, as JSON with its members in the order they were written.
#[derive(Clone, Debug)]
pub struct Contract {
    json: Bytes,
}

impl Contract {
    /// Reads a document that is written as YAML.
    pub fn from_yaml(text: &str) -> anyhow::Result<Self> {
        let documents = Yaml::load_from_str(text).context("the contract is not valid YAML")?;
        ensure!(documents.len() == 1, "the contract is not one document");
        let json =
            serde_json::to_vec(&Node(&documents[0])).context("the contract cannot be written as JSON")?;
        Ok(Self { json: json.into() })
    }

    /// The document as JSON.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// Registers the document and its reader. The service gives `web::Data<Contract>` to its application.
    pub fn routes(routes: &mut Routes<'_>) {
        routes
            .get("/openapi.json", Access::Public, show_contract)
            .get("/docs", Access::Public, show_reader)
            .get("/docs/reader.js", Access::Public, show_reader_script)
            .get("/docs/reader.css", Access::Public, show_reader_style);
    }
}

/// YAML that has a counterpart in JSON. Aliases are resolved when the text is read.
struct Node<'a>(&'a Yaml<'a>);

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Yaml::Value(Scalar::Null) => serializer.serialize_unit(),
            Yaml::Value(Scalar::Boolean(value)) => serializer.serialize_bool(*value),
            Yaml::Value(Scalar::Integer(value)) => serializer.serialize_i64(*value),
            Yaml::Value(Scalar::FloatingPoint(value)) => serializer.serialize_f64(value.0),
            Yaml::Value(Scalar::String(value)) => serializer.serialize_str(value),
            Yaml::Sequence(items) => serializer.collect_seq(items.iter().map(Node)),
            Yaml::Mapping(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (Node(name), Node(value))))
            }
            Yaml::Representation(..) | Yaml::Tagged(..) | Yaml::Alias(_) | Yaml::BadValue => {
                Err(S::Error::custom("JSON has no such value"))
            }
        }
    }
}

/// `GET /openapi.json`.
async fn show_contract(contract: web::Data<Contract>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(contract.json.clone())
}

/// `GET /docs`: the reader.
async fn show_reader() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, READER_POLICY))
        .body(READER_PAGE)
}

async fn show_reader_script() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/javascript; charset=utf-8")
        .body(READER_SCRIPT)
}

async fn show_reader_style() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/css; charset=utf-8")
        .body(READER_STYLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_its_order_and_its_types() {
        let text = "openapi: 3.1.0\npaths:\n  /b: &it {type: [string, 'null'], n: 1, is: true}\n  /a: *it\n'200': ~\n";
        let contract = Contract::from_yaml(text).unwrap();
        let it = r#"{"type":["string","null"],"n":1,"is":true}"#;
        let json = format!(r#"{{"openapi":"3.1.0","paths":{{"/b":{it},"/a":{it}}},"200":null}}"#);
        assert_eq!(std::str::from_utf8(contract.json()).unwrap(), json);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for text in [
            "",
            "a: 1\n---\nb: 2\n",
            "a: [1",
            "a: 1\na: 2\n",
            "a: !odd 1\n",
            "? {b: 1}\n: 2\n",
        ] {
            assert!(Contract::from_yaml(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_reader_is_small_and_loads_nothing_from_others() {
        let all = [READER_PAGE, READER_SCRIPT, READER_STYLE].concat();
        assert!(all.len() < 15 * 1024, "{} bytes", all.len());
        assert!(!all.contains("http://") && !all.contains("https://") && !all.contains("innerHTML"));
    }
}
