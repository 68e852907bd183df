//! The session in the browser, through the real gateway: its tokens are in cookies that no script can read, are renewed in
//! silence, and end.

use serde_json::json;
use system_tests::gateway::{Behind, Gateway};

use super::desk::{COOKIE, Desk};

const REFRESH_COOKIE: &str = "flowgateRefresh";

/// The same desk behind Traefik, where all pages have one address.
async fn behind_the_gateway() -> (Desk, Gateway) {
    let mut desk = Desk::start().await;
    let behind = Behind {
        auth: vec![desk.platform.auth.address],
        proxy: vec![desk.platform.proxy.address],
        accounting: vec![desk.platform.accounting.address],
    };
    let gateway = Gateway::start(&behind, None).await;
    desk.page = format!("http://{}/chat", gateway.web);
    desk.browser
        .set_cookie(REFRESH_COOKIE, &desk.person.refresh_token)
        .await;
    (desk, gateway)
}

#[actix_web::test]
async fn the_session_is_renewed_in_silence_and_read_by_no_script() {
    let (desk, _gateway) = behind_the_gateway().await;
    let browser = &desk.browser;
    desk.open().await;
    desk.ask("Before").await;
    browser.remove_cookie(COOKIE).await;
    let answer = desk.ask("After").await;
    assert!(answer.contains("After"));
    assert_eq!(
        browser.run("return [document.cookie, Object.values({ ...localStorage, ...sessionStorage }).join().includes('eyJ')]").await,
        json!(["", false])
    );
    let refreshes = "return performance.getEntriesByType('resource').filter((entry) => entry.name.endsWith('/session/refresh')).length";
    assert_eq!(browser.run(refreshes).await, 1, "once");

    // All that a page asks for while it opens is answered by one renewal, too.
    browser.remove_cookie(COOKIE).await;
    browser.reload().await;
    desk.until_ready().await;
    browser
        .until("document.querySelectorAll('.message').length === 4")
        .await;
    assert_eq!(browser.run(refreshes).await, 1);
}

#[actix_web::test]
async fn who_signs_out_is_out() {
    let (desk, gateway) = behind_the_gateway().await;
    let browser = &desk.browser;
    desk.open().await;
    browser.click("#personButton").await;
    browser.click("[role=menu] [role=menuitem]:last-child").await;
    browser.until("location.pathname === '/login'").await;
    browser.open(&format!("http://{}/chat", gateway.web)).await;
    browser.until("location.pathname === '/login'").await;
    assert_eq!(
        browser
            .run("return new URLSearchParams(location.search).get('next')")
            .await,
        "/chat"
    );
    let refresh = json!({ "refresh_token": desk.person.refresh_token });
    let refused = desk
        .platform
        .proxy
        .client()
        .post("/api/v1/chat/refresh", &refresh)
        .await;
    assert_eq!(refused.status, 401, "at the server, too");
}
