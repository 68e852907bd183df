//! A browser sends cookies along with whatever page makes it send a request. So a request that changes something and
//! is authorised by nothing but a cookie must come from a page of ours.
//!
//! `SameSite=Strict` keeps the cookies back already; this also holds where a browser or a sibling domain does not.

use std::sync::Arc;

use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{StatusCode, header},
    middleware::Next,
    web,
};
use common_http::Problem;
use url::Url;

use crate::routes::cookies::{ACCESS_COOKIE, REFRESH_COOKIE};

/// The pages that may use our cookies.
#[derive(Clone, Debug)]
pub(crate) struct OurOrigins(Arc<[String]>);

impl OurOrigins {
    /// The listed origins and that of the public address. `*` is not among them: it admits pages without cookies.
    pub(crate) fn new(listed: &[String], public_url: &Url) -> Self {
        let public = public_url.origin().ascii_serialization();
        let listed = listed.iter().filter(|origin| *origin != "*").cloned();
        Self(listed.chain([public]).collect())
    }

    fn contains(&self, origin: &str, host: Option<&str>) -> bool {
        let is_same_host = origin
            .split_once("://")
            .is_some_and(|(_, authority)| Some(authority) == host);
        is_same_host || self.0.iter().any(|ours| ours == origin)
    }
}

/// Refuses what a foreign page makes a browser send; for `actix_web::middleware::from_fn`.
pub(crate) async fn refuse_foreign_pages<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if is_from_foreign_page(request.request()) {
        let problem = Problem::new(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            "this page may not act with the cookies of another",
        );
        let response = HttpResponse::from_error(problem);
        return Ok(request.into_response(response).map_into_right_body());
    }
    next.call(request).await.map(ServiceResponse::map_into_left_body)
}

fn is_from_foreign_page(request: &HttpRequest) -> bool {
    let has_cookie = || {
        [ACCESS_COOKIE, REFRESH_COOKIE]
            .iter()
            .any(|name| request.cookie(name).is_some())
    };
    if request.method().is_safe() || request.headers().contains_key(header::AUTHORIZATION) || !has_cookie() {
        return false;
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        // Not a browser: browsers name the origin of every request that changes something.
        return false;
    };
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let ours = request.app_data::<web::Data<OurOrigins>>();
    !origin
        .to_str()
        .is_ok_and(|origin| ours.is_some_and(|ours| ours.contains(origin, host)))
}
