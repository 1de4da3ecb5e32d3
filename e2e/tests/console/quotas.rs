//! The quotas of an app: its use is shown, and one changes while it runs.

use crate::audit;
use crate::page::{Page, worker};

/// A cell of a quota's row.
fn cell(quota: &str, name: &str) -> String {
    format!("#quotas-rows [data-quota={quota}] [data-name={name}]")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_shown_and_changed_while_the_app_runs() {
    let daemon = worker().await;
    let page = Page::with_sample(&daemon).await;
    page.until_says(&cell("connections-in", "Limit"), "no limit")
        .await;
    page.until_says(&cell("requests", "Limit"), "4,096").await;
    page.until_says(&cell("memory", "Used"), "KiB").await;
    page.until("document.querySelectorAll('#quota-name option').length >= 15")
        .await;
    page.script("document.querySelector('#quota-name').value = 'cpu'")
        .await;
    page.write("#quota-value", "half").await;
    page.click("#quota-set").await;
    page.until_says("#quota-error", "`half` is not a number of cores")
        .await;
    page.until("document.activeElement.id === 'quota-value'")
        .await;
    page.clear("#quota-value").await;
    page.write("#quota-value", "0.5").await;
    page.click("#quota-set").await;
    page.until_says(&cell("cpu", "Limit"), "0.50").await;
    page.until_says(&cell("cpu", "From"), "the app").await;
    page.until_says("#toasts", "cpu of").await;
    page.until("document.querySelector('#quota-error').textContent === ''")
        .await;
    page.until_state("#app-state", "running").await;
    for (scheme, width) in [("light", 1280), ("dark", 400)] {
        page.prefer(scheme).await;
        page.resize(width, 1400).await;
        let what = format!("quotas-{scheme}");
        page.screenshot(&what).await;
        audit::contrast(&page, &what).await;
        audit::room(&page, &what).await;
        audit::names(&page, &what).await;
    }
    // The value that is none.
    page.close(&["/prpc/Operation.AppSettingsSet"]).await;
}
