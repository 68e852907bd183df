//! Errors as this API has them: `{"error": {"message", "type", "param", "code"}}`, made of our problem bodies.

use serde_json::{Map, Value, json};

/// The kind of whatever its clients have to mend.
const INVALID: &str = "invalid_request_error";

/// An error object.
pub fn object(message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Value {
    json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
}

/// What one of our problems is here: its status and its body. Clients of this API decide by status first: 400 is never sent
/// again, 402 neither (429, which OpenAI has for an empty account, would be), 429 and 5xx are.
pub fn of_problem(status: u16, problem: &Map<String, Value>) -> (u16, Value) {
    let text = |member: &str| problem.get(member).and_then(Value::as_str);
    let code = text("code").unwrap_or("internal");
    let (status, kind, code) = match (status, code) {
        (_, "chatflow_access_denied") => (404, INVALID, "model_not_found"),
        (401, _) => (401, INVALID, "invalid_api_key"),
        (402, _) => (402, "insufficient_quota", "insufficient_quota"),
        (403, code) => (403, "permission_error", code),
        (422, "validation_failed") => (400, INVALID, "invalid_value"),
        (429, "rate_limited" | "temporarily_blocked") => (429, "rate_limit_error", "rate_limit_exceeded"),
        (429, code) => (429, "rate_limit_error", code),
        (500.., code) => (status, "server_error", code),
        (_, code) => (status, INVALID, code),
    };
    let wrong = problem.get("errors").and_then(|errors| errors.get(0));
    let wrong = wrong.and_then(|first| first["field"].as_str().zip(first["message"].as_str()));
    let message = match (code, wrong) {
        ("model_not_found", _) => "The model does not exist, or you may not use it.".to_owned(),
        (_, Some((param, message))) => format!("{param} {message}."),
        (_, None) => text("detail").unwrap_or("The request failed.").to_owned(),
    };
    let param = wrong.map(|(param, _)| param);
    (status, object(&message, kind, param, Some(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, problem: &Value) -> (u16, Value) {
        let (status, body) = of_problem(status, problem.as_object().unwrap());
        (status, body["error"].clone())
    }

    #[test]
    fn problems_become_what_these_clients_know() {
        for (status, code, expected) in [
            (
                401,
                "missing_token",
                (401, "invalid_request_error", "invalid_api_key"),
            ),
            (
                401,
                "invalid_token",
                (401, "invalid_request_error", "invalid_api_key"),
            ),
            (
                402,
                "insufficient_credits",
                (402, "insufficient_quota", "insufficient_quota"),
            ),
            (
                403,
                "password_change_required",
                (403, "permission_error", "password_change_required"),
            ),
            (
                403,
                "chatflow_access_denied",
                (404, "invalid_request_error", "model_not_found"),
            ),
            (404, "not_found", (404, "invalid_request_error", "not_found")),
            (
                409,
                "turn_running",
                (409, "invalid_request_error", "turn_running"),
            ),
            (
                429,
                "rate_limited",
                (429, "rate_limit_error", "rate_limit_exceeded"),
            ),
            (
                429,
                "daily_cap_reached",
                (429, "rate_limit_error", "daily_cap_reached"),
            ),
            (503, "upstream_busy", (503, "server_error", "upstream_busy")),
        ] {
            let (seen, error) = error(status, &json!({ "code": code, "detail": "No." }));
            let seen = (
                seen,
                error["type"].as_str().unwrap(),
                error["code"].as_str().unwrap(),
            );
            assert_eq!(seen, expected, "{code}");
            assert!(error["param"].is_null() && error["message"].is_string());
        }
    }

    #[test]
    fn a_member_that_is_wrong_is_named() {
        let problem = json!({
            "code": "validation_failed",
            "detail": "n: must be 1",
            "errors": [{ "field": "n", "message": "must be 1" }],
        });
        let expected = json!({
            "message": "n must be 1.", "type": "invalid_request_error", "param": "n", "code": "invalid_value",
        });
        assert_eq!(error(422, &problem), (400, expected));
    }
}
