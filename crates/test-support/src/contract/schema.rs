//! The part of JSON Schema that our documents use.
//!
//! [`unknown_keywords`] finds what is not checked here, so that nothing in a document is silently
//! left unchecked.

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::PublishedContract;

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

impl PublishedContract {
    /// Says where `value` does not keep `schema`, if it does not.
    pub fn check_value(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        if let Value::Bool(allowed) = schema {
            return allowed
                .then_some(())
                .ok_or_else(|| format!("{at} must not be there"));
        }
        let schema = schema.as_object().ok_or_else(|| format!("{at} has no schema"))?;
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
            let property = properties.and_then(|properties| properties.get(name));
            if let Some(schema) = property.or_else(|| schema.get("additionalProperties")) {
                self.check_value(schema, value, &format!("{at}.{name}"))?;
            }
        }
        Ok(())
    }
}

/// Keywords of `schema` and of all inside it that the checker does not know.
pub fn unknown_keywords(schema: &Value) -> Vec<String> {
    let Some(schema) = schema.as_object() else {
        return Vec::new();
    };
    let own = schema
        .keys()
        .filter(|keyword| !CHECKED.contains(&keyword.as_str()) && !NOTES.contains(&keyword.as_str()))
        .cloned();
    let lists = ["allOf", "anyOf", "oneOf"].into_iter();
    let lists = lists.filter_map(|keyword| schema.get(keyword)?.as_array());
    let single = ["items", "additionalProperties"].into_iter();
    let single = single.filter_map(|keyword| schema.get(keyword));
    let members = schema.get("properties").and_then(Value::as_object);
    let members = members.into_iter().flat_map(Map::values);
    let inside = lists.flatten().chain(single).chain(members);
    own.chain(inside.flat_map(unknown_keywords)).collect()
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
    use serde_json::json;

    use super::*;

    const YAML: &str = r"
components:
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

    fn check_user(user: &Value) -> Result<(), String> {
        let contract = PublishedContract::read(YAML);
        let schema = json!({ "$ref": "#/components/schemas/User" });
        contract.check_value(&schema, user, "body")
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
    fn keywords_that_would_go_unchecked_are_found() {
        let contract = PublishedContract::read(YAML);
        let schema =
            json!({ "type": "array", "items": { "properties": { "a": { "not": {}, "multipleOf": 2 } } } });
        assert_eq!(unknown_keywords(&schema), ["multipleOf", "not"]);
        let user = &contract.document()["components"]["schemas"]["User"];
        assert_eq!(unknown_keywords(user), [""; 0]);
    }
}
