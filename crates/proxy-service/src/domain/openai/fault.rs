//! Errors as this API has them: `{"error": {"message", "type", "param", "code"}}`, made of our problem bodies.

use serde_json::{Value, json};

/// An answer that says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The status; a few differ from ours.
    pub status: u16,
    /// The body.
    pub body: Value,
    /// Whether its clients should try again by themselves (`x-should-retry`); `None` leaves it to them.
    pub retry: Option<bool>,
}

/// The body.
pub fn object(message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Value {
    json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
}

/// What one of our problems is here. Clients of this API decide by status first: 400 is never sent again, 402 neither
/// (429, which OpenAI has for an empty account, would be), 429 and 5xx are.
pub fn of_problem(status: u16, problem: &Value) -> Fault {
    let code = problem["code"].as_str().unwrap_or("internal");
    let detail = problem["detail"].as_str().unwrap_or("the request failed");
    let (status, kind, code) = match (status, code) {
        (_, "chatflow_access_denied") => (404, "invalid_request_error", "model_not_found"),
        (401, _) => (401, "invalid_request_error", "invalid_api_key"),
        (402, _) => (402, "insufficient_quota", "insufficient_quota"),
        (403, code) => (403, "permission_error", code),
        (422, "validation_failed") => (400, "invalid_request_error", "invalid_value"),
        (429, "rate_limited" | "temporarily_blocked") => (429, "rate_limit_error", "rate_limit_exceeded"),
        (429, code) => (429, "rate_limit_error", code),
        (500.., code) => (status, "server_error", code),
        (_, code) => (status, "invalid_request_error", code),
    };
    let first = &problem["errors"][0];
    let param = first["field"].as_str();
    let message = match (code, first["message"].as_str()) {
        ("model_not_found", _) => "The model does not exist, or you may not use it.",
        (_, Some(message)) => message,
        (_, None) => detail,
    };
    let message = match param {
        Some(param) if code == "invalid_value" => format!("{param} {message}."),
        _ => message.to_owned(),
    };
    let retry = match code {
        // It will be the same until the next day.
        "daily_cap_reached" | "idempotency_key_reused" => Some(false),
        _ => None,
    };
    Fault {
        status,
        body: object(&message, kind, param, Some(code)),
        retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, problem: &Value) -> (u16, Value) {
        let fault = of_problem(status, problem);
        (fault.status, fault.body["error"].clone())
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

    #[test]
    fn what_will_not_change_is_not_tried_again() {
        assert_eq!(
            of_problem(429, &json!({ "code": "daily_cap_reached" })).retry,
            Some(false)
        );
        assert_eq!(of_problem(429, &json!({ "code": "rate_limited" })).retry, None);
    }
}
