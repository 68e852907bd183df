//! Files: dropped, pasted, chosen; shown in small and in large; refused with a reason.

use serde_json::json;

use super::desk::Desk;

/// Draws a picture and lets it fall on the page, as from a folder.
pub(crate) const DROP_PICTURE: &str = "
    const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 400 });
    const pen = canvas.getContext('2d');
    const sky = pen.createLinearGradient(0, 0, 0, 400);
    sky.addColorStop(0, '#8fb8de'); sky.addColorStop(1, '#f6d6ad');
    pen.fillStyle = sky; pen.fillRect(0, 0, 640, 400);
    pen.fillStyle = '#f2a541'; pen.beginPath(); pen.arc(470, 150, 60, 0, 7); pen.fill();
    pen.fillStyle = '#2f5d50'; pen.beginPath(); pen.moveTo(0, 400); pen.lineTo(210, 130); pen.lineTo(420, 400); pen.fill();
    pen.fillStyle = '#3f7a69'; pen.beginPath(); pen.moveTo(250, 400); pen.lineTo(440, 220); pen.lineTo(640, 400); pen.fill();
    return new Promise((resolve) => canvas.toBlob((blob) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([blob], 'mountains.png', { type: 'image/png' }));
        for (const type of ['dragenter', 'dragover', 'drop']) {
            if (type === 'drop') window.wasShown = document.querySelector('#drop').checkVisibility();
            document.querySelector('#main').dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
        }
        resolve();
    }, 'image/png'));";

/// Pastes files of these names and contents, where a number is that many bytes.
const PASTE: &str = "
    const clipboardData = new DataTransfer();
    for (const [name, content] of arguments[0]) {
        const data = typeof content === 'number' ? new Uint8Array(content) : content;
        clipboardData.items.add(new File([data], name, { type: 'application/octet-stream' }));
    }
    document.querySelector('#input').dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));";

const READY: &str = "document.querySelector('#attachments li')?.dataset.state === 'ready'";

#[actix_web::test]
async fn a_picture_is_dropped_asked_about_and_looked_at() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    desk.open().await;
    browser.run(DROP_PICTURE).await;
    assert_eq!(
        browser.run("return window.wasShown").await,
        true,
        "the page says that it takes it"
    );
    browser.until(READY).await;
    assert!(browser.text("#attachments").await.contains("mountains.png"));
    let preview = "return document.querySelector('#attachments img').naturalWidth";
    assert_eq!(browser.run(preview).await, 640);
    desk.ask("What is on it?").await;
    assert_eq!(
        browser
            .run("return document.querySelectorAll('#attachments li').length")
            .await,
        0
    );
    browser
        .until("document.querySelector('.mine .thumbnail img')?.naturalWidth > 0")
        .await;
    let asked = desk.platform.flowise.predictions();
    let asked = serde_json::to_string(&asked.last().unwrap().body).unwrap();
    assert!(asked.contains("mountains.png"), "the chatflow got it");

    browser.click(".thumbnail").await;
    browser
        .until("document.querySelector('dialog[open] img')?.naturalWidth === 640")
        .await;
    browser.press(system_tests::browser::ESCAPE).await;
    browser
        .until("!document.querySelector('dialog') && document.activeElement.className === 'thumbnail'")
        .await;

    browser.reload().await;
    desk.until_ready().await;
    browser
        .until("document.querySelector('.mine .thumbnail img')?.naturalWidth > 0")
        .await;
    let strangers = "return performance.getEntriesByType('resource').filter((entry) => new URL(entry.name).origin !== location.origin).length";
    assert_eq!(browser.run(strangers).await, 0);
}

#[actix_web::test]
async fn what_is_refused_is_said_before_anything_is_asked() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    desk.open().await;
    let trouble = "document.querySelector('#fileTrouble').innerText";
    for (files, said) in [
        (
            json!([["large.bin", 11 << 20]]),
            "large.bin has 11 MB, but a file may have 10 MB at most.",
        ),
        (json!([["nothing.txt", ""]]), "nothing.txt is empty."),
        (
            json!([["game.exe", "MZ\u{0}\u{1}\u{2}\u{3}program"]]),
            "game.exe: Files of this kind are not accepted.",
        ),
    ] {
        browser.run_with(PASTE, json!([files])).await;
        browser.until(&format!("{trouble} === {}", json!(said))).await;
        browser
            .until("document.querySelectorAll('#attachments li').length === 0")
            .await;
    }
    let many: Vec<_> = (0..11)
        .map(|number| json!([format!("{number}.txt"), "a text"]))
        .collect();
    browser.run_with(PASTE, json!([many])).await;
    browser
        .until(&format!("{trouble} === 'A message may have 10 files.'"))
        .await;
    browser
        .until("document.querySelectorAll('#attachments li[data-state=ready]').length === 10")
        .await;
    let kept = async || desk.person.proxy.get("/api/v1/chat/files").await.expect(200).body["files"].clone();
    assert_eq!(kept().await, 10);
    for left in (0..10).rev() {
        browser.click("#attachments button").await;
        browser
            .until(&format!(
                "document.querySelectorAll('#attachments li').length === {left}"
            ))
            .await;
    }
    desk.platform
        .until("what was taken back is gone", async || kept().await == 0)
        .await;
    browser.until("document.activeElement.id === 'input'").await;
}

#[actix_web::test]
async fn a_file_is_chosen_from_a_folder() {
    let desk = Desk::start().await;
    let browser = &desk.browser;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes <b>.txt");
    std::fs::write(&path, "Bring the receipt.").unwrap();
    desk.open().await;
    browser.write("#files", &path.display().to_string()).await;
    browser.until(READY).await;
    desk.ask("Read this").await;
    let shown = browser.text(".mine .file").await;
    assert!(
        shown.contains("notes <b>.txt") && shown.contains("18 bytes"),
        "{shown}"
    );
    let link = browser
        .run("return document.querySelector('.mine .file').getAttribute('href')")
        .await;
    assert!(link.as_str().unwrap().starts_with("/api/v1/chat/files/"));
}
