//! The handlers every service has in the same form.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, http::header, web};
use serde_json::json;

use crate::{access::RouteTable, metrics::Metrics, problem::Problem};

/// `GET /livez`: the process answers. Whether it can do its work is `/readyz`.
pub async fn show_liveness() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// `GET /metrics`: Prometheus' text format, version 0.0.4.
pub async fn show_metrics(metrics: web::Data<Metrics>) -> Result<HttpResponse, Problem> {
    let text = metrics.render().map_err(|error| {
        tracing::error!(%error, "metrics could not be rendered");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong on our side",
        )
    })?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(text))
}

/// What is not a route: 404, or 405 with `Allow` when only the method is wrong.
pub async fn no_such_route(request: HttpRequest) -> HttpResponse {
    use actix_web::ResponseError as _;

    let table = request.app_data::<web::Data<RouteTable>>();
    let methods = table
        .map(|table| table.methods(request.path()))
        .unwrap_or_default();
    if methods.is_empty() {
        return Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is nothing at this address",
        )
        .error_response();
    }
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this address has other methods",
    );
    let mut response = problem.error_response();
    let allow = methods
        .iter()
        .map(actix_web::http::Method::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if let Ok(value) = header::HeaderValue::from_str(&allow) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}
