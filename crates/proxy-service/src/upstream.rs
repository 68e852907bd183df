//! Reads answers of the services behind us: JSON, of bounded size, or an error that names no address.

use std::time::Duration;

use reqwest::{Response, StatusCode, header};
use serde::de::DeserializeOwned;

/// A connection that takes longer to open will not open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Flowise closes connections that were idle for 5 s; one that is closing must not get a request.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Why an answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No connection, or it broke, or it took too long.
    #[error("the service behind cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// Another status than the one that was hoped for.
    #[error("the service behind answered {0}")]
    Status(StatusCode),
    /// Something else than JSON, such as a web page with status 200.
    #[error("the service behind answered something that is not JSON")]
    NotJson,
    /// More bytes than we are ready to hold.
    #[error("the service behind answered more than {0} bytes")]
    TooLarge(usize),
    /// JSON of another shape.
    #[error("the service behind answered JSON of another shape")]
    Shape(#[source] serde_json::Error),
    /// Our own token could not be made.
    #[error("the service token could not be signed")]
    Token(#[from] common_jwt::SigningError),
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        // The address may hold an id, or credentials of the operator.
        Self::Unreachable(error.without_url())
    }
}

/// A client for short calls. It follows no redirect: nobody behind us has reason to send one, and it would carry our
/// credentials along.
pub(crate) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// The bytes of an answer that says it is JSON.
pub(crate) async fn read_json_bytes(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let media_type = content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !(essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json")) {
        return Err(Failure::NotJson);
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > bytes_max {
            return Err(Failure::TooLarge(bytes_max));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// A small JSON answer.
pub(crate) async fn read_json<T: DeserializeOwned>(
    response: Response,
    bytes_max: usize,
) -> Result<T, Failure> {
    let bytes = read_json_bytes(response, bytes_max).await?;
    serde_json::from_slice(&bytes).map_err(Failure::Shape)
}
