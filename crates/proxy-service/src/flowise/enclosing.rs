//! Files that Flowise reads before a question, and what may be sent to a chatflow at all.

use std::net::Ipv6Addr;

use bytes::Bytes;
use common_http::RequestContext;
use reqwest::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use super::{FORWARDED_FOR, Flowise, SHORT_ANSWER_BYTES_MAX, SHORT_TIMEOUT, failure_of};
use crate::{domain::failure::Failure, upstream::read_json};

/// A file to be read.
#[derive(Clone, Debug)]
pub(crate) struct Enclosed {
    pub(crate) name: String,
    pub(crate) mime: &'static str,
    pub(crate) bytes: Bytes,
}

/// What stands in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReadFile {
    name: String,
    mime_type: String,
    size: u64,
    content: String,
}

/// What a chatflow takes. Files for its documents are none of it, whatever Flowise says: they would be everybody's, and the
/// path that takes them does not exist here.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct UploadRules {
    is_speech_to_text_enabled: bool,
    is_image_upload_allowed: bool,
    #[serde(rename = "isRAGFileUploadAllowed", skip_deserializing)]
    is_rag_file_upload_allowed: bool,
    img_upload_size_and_types: Vec<SizeAndTypes>,
    #[serde(skip_deserializing)]
    file_upload_size_and_types: Vec<SizeAndTypes>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct SizeAndTypes {
    file_types: Vec<String>,
    max_upload_size: Value,
}

impl Flowise {
    /// What may be uploaded to a chatflow. The call needs no key.
    pub(crate) async fn upload_rules(&self, flow_id: &str) -> Result<UploadRules, Failure> {
        let request = self
            .http
            .get(format!("{}/chatflows-uploads/{flow_id}", self.api))
            .timeout(SHORT_TIMEOUT);
        let request = RequestContext::current().propagate(request);
        let response = request.send().await.map_err(|error| failure_of(&error))?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Failed);
        }
        let rules = read_json(response, SHORT_ANSWER_BYTES_MAX).await;
        rules.or(Err(Failure::NotAnAnswer))
    }

    /// Has files of a chat read; they are kept there, too, until Flowise is told otherwise.
    pub(crate) async fn read_files(
        &self,
        flow_id: &str,
        chat_id: &str,
        address: Ipv6Addr,
        files: &[Enclosed],
    ) -> Result<Vec<ReadFile>, Failure> {
        let boundary = format!("flowgate-{}", Uuid::new_v4().simple());
        let request = self
            .http
            .post(format!("{}/attachments/{flow_id}/{chat_id}", self.api))
            .header(FORWARDED_FOR, address.to_string())
            .header(
                header::CONTENT_TYPE,
                format!("multipart/form-data; boundary={boundary}"),
            )
            .body(form(&boundary, files));
        let sent = timeout(self.idle_timeout, self.authorized(request).send()).await;
        let response = sent
            .or(Err(Failure::IdleTimeout))?
            .map_err(|error| failure_of(&error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => return Err(Failure::RateLimited),
            StatusCode::INTERNAL_SERVER_ERROR => return Err(Failure::Failed),
            status if status.is_server_error() => return Err(Failure::Unavailable),
            _ => return Err(Failure::Refused),
        }
        let body = self.read_whole(response).await?;
        serde_json::from_slice(&body).or(Err(Failure::NotAnAnswer))
    }
}

/// A form with these files.
fn form(boundary: &str, files: &[Enclosed]) -> Vec<u8> {
    let mut form = Vec::new();
    for file in files {
        // Names were cleaned of what a header does not hold; quotes are all that is left to be escaped.
        let name = file.name.replace('"', "%22");
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\
             Content-Type: {}\r\n\r\n",
            file.mime
        );
        form.extend_from_slice(head.as_bytes());
        form.extend_from_slice(&file.bytes);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    form
}
