//! Files as people send them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bson::{Document, doc};
use reqwest::{Method, Response, header};
use serde_json::{Value, json};
use test_support::Answer;

use super::{TestApp, User, names};

/// A picture of 3 x 2 pixels.
pub(crate) fn png() -> Vec<u8> {
    let hex = "89504e470d0a1a0a0000000d49484452000000030000000208020000001216f14d0000001049444154789c6338c1c505410c\
               70160038180529068af6940000000049454e44ae426082";
    let digits: String = hex.chars().filter(|c| !c.is_whitespace()).collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// A file in a chat request, as the existing client sends it.
pub(crate) fn upload(name: &str, mime: &str, bytes: &[u8]) -> Value {
    let data = format!("data:{mime};base64,{}", STANDARD.encode(bytes));
    json!({ "type": "file", "name": name, "mime": mime, "data": data })
}

/// A form as browsers send it.
pub(crate) fn form(name: &str, mime: &str, bytes: &[u8], session_id: &str) -> (String, Vec<u8>) {
    let head = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"session_id\"\r\n\r\n{session_id}\r\n--XX\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {mime}\r\n\r\n"
    );
    let body = [head.as_bytes(), bytes, b"\r\n--XX--\r\n"].concat();
    ("multipart/form-data; boundary=XX".to_owned(), body)
}

impl User {
    /// Uploads a file by itself.
    pub(crate) async fn send_file(&self, name: &str, mime: &str, bytes: &[u8], session_id: &str) -> Answer {
        let (content_type, body) = form(name, mime, bytes, session_id);
        self.send_form(&content_type, body).await
    }

    pub(crate) async fn send_form(&self, content_type: &str, body: Vec<u8>) -> Answer {
        let request = self
            .client
            .request(Method::POST, "/api/v1/chat/upload")
            .header(header::CONTENT_TYPE, content_type)
            .body(body);
        self.client.send(request).await
    }

    /// Asks with one file and gives the session's and the file's id.
    pub(crate) async fn chat_with(&self, upload: &Value) -> (String, String) {
        let events = self.chat(&json!({ "uploads": [upload] })).await;
        assert_eq!(
            names(&events)[..2],
            ["files_uploaded", "session_id"],
            "{events:?}"
        );
        let id = |value: &Value| value.as_str().unwrap().to_owned();
        (
            id(&events[1]["data"]),
            id(&events[0]["data"]["files"][0]["file_id"]),
        )
    }

    /// A file's content and everything about it.
    pub(crate) async fn read(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = self.client.request(Method::GET, path);
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap()
    }
}

impl TestApp {
    /// How many files, blobs and chunks there are.
    pub(crate) async fn stored(&self) -> [u64; 4] {
        [
            self.count("file_uploads").await,
            self.count("file_blobs").await,
            self.count("fs.files").await,
            self.count("fs.chunks").await,
        ]
    }

    /// The one document of a collection.
    pub(crate) async fn only(&self, collection: &str) -> Document {
        assert_eq!(self.count(collection).await, 1, "{collection}");
        let collection = self.mongo.database.collection::<Document>(collection);
        collection.find_one(doc! {}).await.unwrap().unwrap()
    }
}
