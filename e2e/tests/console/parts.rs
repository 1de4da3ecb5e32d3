//! The parts of an app's page: log, query, usage.

use e2e::{Daemon, client};

use crate::page::{Page, key, worker};

/// Sends requests to an app through the gateway.
async fn request(daemon: &Daemon, app: &str, count: usize) {
    let gateway = daemon.running().user_address();
    let app = app.trim_start_matches("0x");
    for _ in 0..count {
        let url = format!("http://{gateway}/app/{app}/from-outside");
        client::get(&url).await.expect_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_followed() {
    let daemon = worker().await;
    let page = Page::with_sample(&daemon).await;
    let app = page.app().await;
    page.click("#app-nav-log").await;
    page.until_says("#log-lines .line", "ready for requests")
        .await;
    page.until_says("#log-status", "following").await;
    let lines = "document.querySelectorAll('#log-lines .line').length";
    let before = page.until(lines).await.as_u64().expect("a number");

    request(&daemon, &app, 3).await;
    page.until(&format!("{lines} >= {}", before + 3)).await;
    page.screenshot("log").await;

    // Paused, the lines wait; then they come.
    page.click("#log-pause").await;
    let paused = page.until(lines).await.as_u64().expect("a number");
    request(&daemon, &app, 2).await;
    page.until_says("#log-status", "2 new lines").await;
    assert_eq!(page.until(lines).await, paused);
    page.click("#log-pause").await;
    page.until(&format!("{lines} === {}", paused + 2)).await;

    page.write("#log-filter", "ready for").await;
    page.until(&format!("{lines} === 1")).await;
    page.clear("#log-filter").await;
    page.click("#log-clear").await;
    page.until(&format!("{lines} === 0")).await;
    request(&daemon, &app, 1).await;
    page.until(&format!("{lines} >= 1")).await;
    page.close(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_answered() {
    let daemon = worker().await;
    let page = Page::with_sample(&daemon).await;
    page.click("#app-nav-query").await;
    page.write("#query-path", "/echo").await;
    page.write("#query-payload", "Grüße, Wörld").await;
    page.click("#query-send").await;
    page.until_says("#query-output", "Grüße, Wörld").await;
    page.screenshot("query").await;

    // Bytes that are no text, sent with the keyboard.
    page.click("input[name=query-kind][value=hex]").await;
    page.clear("#query-payload").await;
    page.write("#query-payload", "0xfffe00").await;
    page.press(&[key::CONTROL, key::ENTER]).await;
    page.until_says("#query-output", "ff fe 00").await;

    page.clear("#query-payload").await;
    page.write("#query-payload", "0xf").await;
    page.until_says("#query-error", "Payload").await;
    page.close(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_counted_and_drawn() {
    let daemon = worker().await;
    let page = Page::with_sample(&daemon).await;
    let app = page.app().await;
    page.until_says("#manifest-facts", "none yet").await;
    request(&daemon, &app, 20).await;
    page.until_says("#usage-facts", "20").await;
    let drawn = "[...document.querySelectorAll('#app-charts svg .chart-line')].filter((line) => /M.*L.*L/.test(line.getAttribute('d'))).length === 4";
    page.until(drawn).await;
    // The peak has been seen, and is in the words for those who cannot see it.
    page.until("/at most [1-9]/.test(document.querySelector('#app-charts svg').getAttribute('aria-label'))")
        .await;
    page.until_says("#manifest-facts", " ago").await;
    page.screenshot("usage").await;
    page.close(&[]).await;
}
