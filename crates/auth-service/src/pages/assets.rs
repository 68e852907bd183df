//! Style and scripts of the pages, as they are compiled into the program, under addresses that never mean anything else.

use actix_web::{
    HttpRequest, HttpResponse, ResponseError as _,
    http::{StatusCode, header},
    web::{self, Bytes},
};
use aws_lc_rs::digest::{Context, SHA256};
use common_http::{Path, Problem};

const FILES: [(&str, &str, &str); 3] = [
    (
        "page.css",
        "text/css; charset=utf-8",
        include_str!("../../assets/page.css"),
    ),
    (
        "page.js",
        "text/javascript; charset=utf-8",
        include_str!("../../assets/page.js"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];

/// An address with a version never means anything else.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Another version than ours: a replica of another release was asked for it.
const ASK_FIRST: &str = "no-cache";

/// The files.
#[derive(Clone, Debug)]
pub(super) struct Assets {
    version: String,
}

impl Assets {
    /// Those of this program.
    pub(super) fn new() -> Self {
        let mut digest = Context::new(&SHA256);
        for (name, _, text) in FILES {
            digest.update(name.as_bytes());
            digest.update(text.as_bytes());
        }
        let mut version = hex::encode(digest.finish());
        version.truncate(16);
        Self { version }
    }

    /// What stands before a file's name.
    pub(super) fn base(&self) -> String {
        format!("/assets/{}", self.version)
    }
}

/// `GET /assets/{version}/{name}`.
pub(super) async fn show_asset(
    request: HttpRequest,
    path: Path<(String, String)>,
    assets: web::Data<Assets>,
) -> HttpResponse {
    let (version, name) = &*path;
    let Some((_, kind, text)) = FILES.into_iter().find(|(known, ..)| known == name) else {
        let problem = Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is nothing at this address",
        );
        return problem.error_response();
    };
    let tag = format!("\"{}\"", assets.version);
    let known = request.headers().get(header::IF_NONE_MATCH);
    let mut response = HttpResponse::Ok();
    response
        .content_type(kind)
        .insert_header((header::ETAG, tag.clone()))
        .insert_header((
            header::CACHE_CONTROL,
            if *version == assets.version {
                FOR_EVER
            } else {
                ASK_FIRST
            },
        ));
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return response.status(StatusCode::NOT_MODIFIED).finish();
    }
    response.body(Bytes::from_static(text.as_bytes()))
}
