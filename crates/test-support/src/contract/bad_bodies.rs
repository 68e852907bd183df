//! Bodies that an operation must refuse, derived from what its contract says of the good ones.

use serde_json::{Value, json};

use super::{Operation, PublishedContract};

/// A body that is wrong in one place.
#[derive(Clone, Debug)]
pub struct BadBody {
    /// What is wrong with it, for the failure of a test.
    pub why: String,
    /// The body.
    pub body: Value,
}

impl PublishedContract {
    /// Every body that differs from the published example of `operation` in one member: a required one is missing, or
    /// one holds a type that the schema does not name, query operators of MongoDB among them. None when the operation
    /// takes no JSON.
    ///
    /// Panics when the operation takes JSON and publishes no example, or one that is no object.
    pub fn bad_bodies(&self, operation: &Operation<'_>) -> Vec<BadBody> {
        let request = self.resolve(&operation.body["requestBody"]);
        let Some(media) = request["content"].get("application/json") else {
            return Vec::new();
        };
        let name = format!("{} {}", operation.method, operation.path);
        let example = example_of(media).unwrap_or_else(|| panic!("{name} publishes no example of its body"));
        assert!(example.is_object(), "{name}: the example is no object");
        let schema = self.resolve(&media["schema"]);

        let mut bad = vec![
            BadBody {
                why: "a list instead of an object".to_owned(),
                body: json!([example]),
            },
            BadBody {
                why: "a text instead of an object".to_owned(),
                body: json!("x"),
            },
        ];
        for member in schema["required"].as_array().into_iter().flatten() {
            let member = member.as_str().expect("names are texts");
            let mut body = example.clone();
            body.as_object_mut().and_then(|body| body.remove(member));
            bad.push(BadBody {
                why: format!("{member} is missing"),
                body,
            });
        }
        for (member, schema) in schema["properties"].as_object().into_iter().flatten() {
            let allowed = self.types_of(schema);
            for value in wrong_values(&allowed) {
                let mut body = example.clone();
                body[member] = value.clone();
                bad.push(BadBody {
                    why: format!("{member} is {value}"),
                    body,
                });
            }
        }
        bad
    }

    /// The JSON types a schema admits; empty when it admits any.
    fn types_of(&self, schema: &Value) -> Vec<String> {
        let schema = self.resolve(schema);
        let of_value = |value: &Value| type_of(value).to_owned();
        if let Some(values) = schema["enum"].as_array() {
            return values.iter().map(of_value).collect();
        }
        if let Some(value) = schema.get("const") {
            return vec![of_value(value)];
        }
        if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
            return choices.iter().flat_map(|choice| self.types_of(choice)).collect();
        }
        match &schema["type"] {
            Value::String(one) => vec![one.clone()],
            Value::Array(many) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
        }
    }
}

fn example_of(media: &Value) -> Option<Value> {
    let first = || media["examples"].as_object()?.values().next()?.get("value");
    media.get("example").or_else(first).cloned()
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Values of the types that are not allowed; none when any is.
fn wrong_values(allowed: &[String]) -> Vec<Value> {
    if allowed.is_empty() {
        return Vec::new();
    }
    let is_allowed = |value: &Value| {
        let kind = type_of(value);
        allowed
            .iter()
            .any(|allowed| allowed == kind || (allowed == "integer" && kind == "number"))
    };
    [
        json!({ "$ne": null }),
        json!({ "$gt": "" }),
        json!(["x", { "$ne": 1 }]),
        json!(7),
        json!(true),
        json!("x"),
    ]
    .into_iter()
    .filter(|value| !is_allowed(value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = r"
paths:
  /users:
    post:
      requestBody:
        content:
          application/json:
            schema: {$ref: '#/components/schemas/NewUser'}
            example: {name: ada, age: 7}
components:
  schemas:
    NewUser:
      type: object
      required: [name]
      properties:
        name: {type: string}
        age: {type: [integer, 'null']}
        kind: {enum: [a, b]}
        note: {description: anything}
";

    #[test]
    fn each_member_is_missing_or_of_another_type_once() {
        let contract = PublishedContract::read(YAML);
        let bad = contract.bad_bodies(&contract.operations()[0]);
        let has = |why: &str| bad.iter().any(|bad| bad.why == why);

        assert!(has("name is missing") && !has("age is missing"));
        assert!(has("name is 7") && !has("age is 7"));
        assert!(has("kind is true") && !has("kind is \"x\""));
        assert!(!bad.iter().any(|bad| bad.why.starts_with("note")));
        assert_eq!(
            bad.iter().find(|bad| bad.why == "age is true").unwrap().body,
            json!({ "name": "ada", "age": true })
        );
    }
}
