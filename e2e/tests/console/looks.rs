//! What the console looks like: dark, light, narrow, and by keyboard.

use crate::audit;
use crate::page::{Page, key, worker};

/// Shows every page and part that there is, and looks at each with `look`.
async fn tour(page: &Page, app: &str, suffix: &str) {
    let app = format!("#/apps/{app}");
    let (log, query) = (format!("{app}/log"), format!("{app}/query"));
    let stops = [
        ("apps", "#/apps", "#apps-rows tr"),
        ("app", app.as_str(), "#instances-rows tr"),
        ("log", &log, "#log-lines .line"),
        ("query", &query, "#query-form"),
        ("deploy", "#/deploy", "#deploy-form"),
        ("script", "#/script", "#script-component"),
        ("worker", "#/worker", "#worker-meters .meter-fill"),
        (
            "missing",
            &format!("#/apps/0x{:064}", 0),
            "#view-app-missing",
        ),
    ];
    for (name, hash, sign) in stops {
        page.show(hash).await;
        page.until_shown(sign).await;
        if name == "deploy" {
            page.script("document.querySelector('#deploy-more').open = true")
                .await;
        }
        let what = format!("{name}-{suffix}");
        page.screenshot(&what).await;
        audit::contrast(page, &what).await;
        audit::room(page, &what).await;
        audit::names(page, &what).await;
    }
    page.click("a[data-nav=apps]").await;
    page.click("[data-action=remove]").await;
    page.until_shown("#confirm-dialog").await;
    let what = format!("question-{suffix}");
    page.screenshot(&what).await;
    audit::contrast(page, &what).await;
    audit::room(page, &what).await;
    page.click("#confirm-cancel").await;
    page.until_hidden("#confirm-dialog").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_can_be_read_in_light_and_dark_wide_and_narrow() {
    let daemon = worker().await;
    let page = Page::with_sample(&daemon).await;
    let app = page.app().await;
    for scheme in ["light", "dark"] {
        page.prefer(scheme).await;
        page.resize(1280, 900).await;
        tour(&page, &app, scheme).await;
        page.resize(400, 860).await;
        tour(&page, &app, &format!("{scheme}-narrow")).await;
    }
    page.close(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_deployed_asked_and_removed_with_the_keyboard_alone() {
    let daemon = worker().await;
    let page = Page::open(&daemon).await;
    page.until_shown("#apps-empty").await;

    page.press(&[key::TAB]).await;
    page.until("document.activeElement.id === 'skip'").await;
    page.press(&[key::ENTER]).await;
    page.until("document.activeElement.id === 'main'").await;
    page.tab_to("#apps-sample").await;
    page.press(&[key::ENTER]).await;
    page.until_state("#app-state", "running").await;

    page.tab_to("#app-nav-query").await;
    page.press(&[key::ENTER]).await;
    page.until_shown("#query-form").await;
    page.tab_to("#query-path").await;
    page.type_text("/by-hand").await;
    page.tab_to("#query-payload").await;
    page.type_text("typed").await;
    page.press(&[key::CONTROL, key::ENTER]).await;
    page.until_says("#query-output", "typed").await;

    page.script("document.querySelector('#skip').focus()").await;
    page.tab_to("#app-actions [data-action=stop]").await;
    page.press(&[key::ENTER]).await;
    page.until_shown("#confirm-dialog").await;
    // Tab stays in the question, in both directions.
    for keys in [&[key::TAB][..], &[key::TAB], &[key::SHIFT, key::TAB]] {
        page.press(keys).await;
        page.until("document.activeElement.closest('#confirm-dialog')?.id")
            .await;
    }
    page.tab_to("#confirm-ok").await;
    page.press(&[key::ENTER]).await;
    page.until_state("#app-state", "stopped").await;
    // The button went away; the focus is on one of its neighbours.
    page.until("document.activeElement.matches('#app-actions button')")
        .await;

    page.tab_to("#app-actions [data-action=remove]").await;
    page.press(&[key::ENTER]).await;
    page.tab_to("#confirm-ok").await;
    page.press(&[key::ENTER]).await;
    page.until_shown("#apps-empty").await;
    page.close(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn safe_mode_is_said_on_every_page() {
    let daemon = e2e::Daemon::with(|config| {
        config.admin_address = Some(([127, 0, 0, 1], 0).into());
        config.safe_mode = true;
    })
    .await;
    let page = Page::open(&daemon).await;
    for (name, hash, sign) in [
        ("apps", "#/apps", "#apps-empty"),
        ("worker", "#/worker", "#worker-meters .meter"),
    ] {
        page.show(hash).await;
        page.until_shown(sign).await;
        page.until_shown("#safe-mode").await;
        let what = format!("safe-mode-{name}");
        page.screenshot(&what).await;
        audit::contrast(&page, &what).await;
        audit::room(&page, &what).await;
    }
    page.close(&[]).await;
}
