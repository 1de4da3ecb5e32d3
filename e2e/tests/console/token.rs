//! A worker that wants a token.

use e2e::Daemon;
use e2e::certificates::self_signed;
use wapod::AdminToken;

use crate::page::{Page, key};

/// What the browser notes when the worker asks for the token.
const ASKED: &str = "status of 401";

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_asked_for_kept_and_forgotten() {
    let daemon = Daemon::with(|config| {
        config.admin_address = Some(([127, 0, 0, 1], 0).into());
        config.admin_token = Some(AdminToken("the-right-one".to_owned()));
    })
    .await;
    let page = Page::open(&daemon).await;
    page.until_shown("#token-dialog").await;
    page.until_says("#token-text", "WAPOD_ADMIN_TOKEN").await;
    page.screenshot("token").await;

    page.write("#token-input", "a wrong one").await;
    page.click("#token-ok").await;
    page.until_says("#token-error", "no spaces").await;
    page.clear("#token-input").await;
    page.write("#token-input", "a-wrong-one").await;
    page.click("#token-ok").await;
    page.until_says("#token-error", "refused").await;

    page.write("#token-input", "the-right-one").await;
    page.press(&[key::ENTER]).await;
    page.until_hidden("#token-dialog").await;
    page.until_state("#connection", "ok").await;
    // Calls, uploads and the stream of the log show it.
    page.click("#apps-sample").await;
    page.until_state("#app-state", "running").await;
    page.click("#app-nav-log").await;
    page.until_says("#log-lines .line", "ready for requests")
        .await;

    // It outlives the page, but only in its tab.
    page.go("/#/apps").await;
    page.script("location.reload()").await;
    page.until_state("#connection", "ok").await;
    let kept = page.script("return [localStorage.length, document.cookie]");
    assert_eq!(kept.await, serde_json::json!([0, ""]));

    page.click("#token-forget").await;
    page.until_shown("#token-dialog").await;
    page.press(&[key::ESCAPE]).await;
    page.until_says("#banner", "admin token").await;
    page.screenshot("token-forgotten").await;
    page.click("#banner-retry").await;
    page.until_shown("#token-dialog").await;
    page.write("#token-input", "the-right-one").await;
    page.click("#token-ok").await;
    page.until_hidden("#banner").await;
    page.close(&[ASKED]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_works_over_https() {
    let folder = tempfile::tempdir().expect("folder");
    let file = |name: &str| folder.path().join(name);
    let daemon = Daemon::with(|config| {
        config.admin_address = Some(([127, 0, 0, 1], 0).into());
        config.admin_tls = Some(self_signed("127.0.0.1").write(&file("admin.pem")));
        config.user_tls = Some(self_signed("127.0.0.1").write(&file("user.pem")));
        config.admin_token = Some(AdminToken("the-right-one".to_owned()));
    })
    .await;
    let page = Page::open(&daemon).await;
    page.until_shown("#token-dialog").await;
    page.write("#token-input", "the-right-one").await;
    page.press(&[key::ENTER]).await;
    page.until_state("#connection", "ok").await;
    page.click("#apps-sample").await;
    page.until_state("#app-state", "running").await;
    let link = page
        .script("return document.querySelector('#app-links a').href")
        .await;
    let link = link.as_str().expect("a link").to_owned();
    assert!(link.starts_with("https://"), "{link}");
    page.click("#app-nav-log").await;
    page.until_says("#log-lines .line", "ready for requests")
        .await;
    page.close(&[ASKED]).await;
}
