//! The worker goes away and comes back.

use std::net::SocketAddr;

use e2e::Daemon;

use crate::page::Page;

#[tokio::test(flavor = "multi_thread")]
async fn the_console_says_that_the_worker_is_gone_and_goes_on_when_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = |admin: SocketAddr| {
        let folder = folder.path().to_owned();
        Daemon::with(move |config| {
            config.admin_address = Some(admin);
            config.data_dir = Some(folder);
        })
    };
    let daemon = start(([127, 0, 0, 1], 0).into()).await;
    let page = Page::with_sample(&daemon).await;
    page.click("#app-nav-log").await;
    page.until_says("#log-lines .line", "ready for requests")
        .await;
    let admin = daemon.running().admin_address().expect("an admin port");

    daemon.shutdown().await;
    page.until_state("#connection", "lost").await;
    page.until_says("#banner", "cannot be reached").await;
    page.screenshot("outage").await;

    let daemon = start(admin).await;
    page.click("#banner-retry").await;
    page.until_state("#connection", "ok").await;
    page.until_hidden("#banner").await;
    page.until_state("#app-state", "running").await;
    // The stream is opened again by itself, and what the new start logs is seen.
    page.until_says("#log-status", "following").await;
    page.until(
        "document.querySelector('#log-lines').innerText.match(/ready for requests/g)?.length === 2",
    )
    .await;
    page.close(&[
        "ERR_CONNECTION_REFUSED",
        "ERR_INCOMPLETE_CHUNKED_ENCODING",
        "ERR_CONNECTION_RESET",
        "ERR_EMPTY_RESPONSE",
    ])
    .await;
    drop(daemon);
}
