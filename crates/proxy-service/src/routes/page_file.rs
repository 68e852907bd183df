//! Files of pages, as they are compiled into the program: no path of a request ever reaches a file system.

use std::{borrow::Cow, io::Write as _};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{self, HeaderName},
    },
    web::Bytes,
};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};

/// An address with a version never means anything else.
pub(super) const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// What a browser asks for again before it uses it.
const ASK_FIRST: &str = "no-cache";

/// One file, plain and compressed.
#[derive(Clone, Debug)]
pub(super) struct File {
    content_type: &'static str,
    tag: String,
    plain: Bytes,
    gzipped: Bytes,
}

impl File {
    pub(super) fn new(name: &str, text: impl Into<Cow<'static, str>>) -> Self {
        let content_type = match name.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            Some((_, "json")) => "application/json",
            _ => "text/html; charset=utf-8",
        };
        let plain = match text.into() {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        Self {
            content_type,
            tag: hex::encode(&Sha256::digest(&plain)[..10]),
            gzipped: gzipped(&plain),
            plain,
        }
    }

    /// The answer to a request for it: nothing but headers where the browser has it already.
    pub(super) fn answer(&self, request: &HttpRequest, mut response: HttpResponseBuilder) -> HttpResponse {
        let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        let encodings = text(header::ACCEPT_ENCODING).unwrap_or_default();
        let accepts_gzip = encodings
            .split(',')
            .any(|encoding| encoding.trim().eq_ignore_ascii_case("gzip"));
        // Each form is a representation of its own (RFC 9110 section 8.8.3.3).
        let tag = format!("\"{}{}\"", self.tag, if accepts_gzip { "-gz" } else { "" });
        response
            .content_type(self.content_type)
            .insert_header((header::ETAG, tag.clone()))
            .append_header((header::VARY, "Accept-Encoding"));
        let known = text(header::IF_NONE_MATCH).unwrap_or_default();
        if known
            .split(',')
            .any(|known| known.trim().trim_start_matches("W/") == tag)
        {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        let body = if accepts_gzip {
            response.insert_header((header::CONTENT_ENCODING, "gzip"));
            &self.gzipped
        } else {
            &self.plain
        };
        response.body(body.clone())
    }

    /// What it says.
    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.plain).unwrap()
    }

    /// How many bytes go over the wire.
    #[cfg(test)]
    pub(super) fn weight(&self) -> usize {
        self.gzipped.len()
    }
}

/// What these files are called together: other contents have another name.
pub(super) fn version_of(parts: &[(&str, &str)]) -> String {
    let mut digest = Sha256::new();
    for (name, text) in parts {
        digest.update(name);
        digest.update(text);
    }
    hex::encode(&digest.finalize()[..8])
}

/// How long a file may be kept that was asked for under a version: under another one it is another replica's, and only good
/// for now.
pub(super) fn kept_under(version: &str, own: &str) -> &'static str {
    if version == own { FOR_EVER } else { ASK_FIRST }
}

/// Text that stays text in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

fn gzipped(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Memory cannot refuse.
    match encoder.write_all(bytes).and_then(|()| encoder.finish()) {
        Ok(gzipped) => Bytes::from(gzipped),
        Err(error) => {
            tracing::error!(%error, "a file of a page could not be compressed");
            Bytes::new()
        }
    }
}
