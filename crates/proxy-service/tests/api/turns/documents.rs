//! The files of a school: tables, documents and names in any script.

use super::support::{
    TestApp, User,
    files::{png, upload},
};

const FILES: &str = "/api/v1/chat/files";

async fn name_in_history(user: &User, session_id: &str) -> serde_json::Value {
    let path = format!("/api/v1/chat/sessions/{session_id}/history");
    let history = user.client.get(&path).await.expect(200);
    history.body["history"][0]["uploads"][0]["name"].clone()
}

/// Tables, documents and names in any script: what browsers say of them is not always what they are.
#[tokio::test(flavor = "multi_thread")]
async fn documents_of_a_school_are_taken_and_shown_under_their_names() {
    const WORD: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (name, declared, content, mime) in [
        (
            "成績.csv",
            "text/csv",
            "姓名,分數\n小明,90\n".as_bytes().to_vec(),
            "text/csv; charset=utf-8",
        ),
        (
            "class.csv",
            "application/vnd.ms-excel",
            b"name,points\n".to_vec(),
            "text/csv; charset=utf-8",
        ),
        ("作文.docx", WORD, docx(), WORD),
        ("essay.docx", "application/zip", docx(), WORD),
        (
            "essay \"final\"; x=y.docx",
            "application/octet-stream",
            docx(),
            WORD,
        ),
    ] {
        let (session_id, file_id) = alice.chat_with(&upload(name, declared, &content)).await;
        let asked = app.flowise.predictions().pop().unwrap();
        assert_eq!(asked["uploads"][0]["name"], name, "{name}");
        assert_eq!(name_in_history(&alice, &session_id).await, name);
        let shown = alice.read(&format!("{FILES}/{file_id}"), &[]).await;
        assert_eq!(
            (shown.status().as_u16(), &shown.headers()["content-type"]),
            (200, &mime.parse().unwrap())
        );
        assert_eq!(shown.bytes().await.unwrap(), content, "{name}");
    }
    let (_, picture) = alice.chat_with(&upload("照片 1.png", "image/png", &png())).await;
    let thumbnail = alice.read(&format!("{FILES}/{picture}/thumbnail"), &[]).await;
    assert_eq!(thumbnail.status(), 200);
    let name = thumbnail.headers()["content-disposition"].to_str().unwrap();
    assert!(
        name.ends_with("filename*=UTF-8''thumb_%E7%85%A7%E7%89%87%201.png"),
        "{name}"
    );
}

/// The names of the parts of a Word document, which is all that tells it from other archives.
fn docx() -> Vec<u8> {
    let part = |name: &str| {
        let mut header = b"PK\x03\x04".to_vec();
        header.extend([0; 22]);
        header.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        header.extend([0; 2]);
        header.extend(name.as_bytes());
        header
    };
    ["[Content_Types].xml", "_rels/.rels", "word/document.xml"]
        .map(part)
        .concat()
}
