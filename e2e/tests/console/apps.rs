//! From the empty console to a running app, and what can be done to it.

use e2e::operator::manifest;
use e2e::{Operator, client, guest};

use crate::page::{Page, key, worker};

/// Remembers how many apps the worker's answers are about.
const LISTEN: &str = "window.told = []; const send = window.fetch;
    window.fetch = async (url, ...more) => {
        const answer = await send(url, ...more);
        if (String(url).includes('AppList')) {
            const { apps, is_delta } = await answer.clone().json();
            if (!is_delta) throw new Error('the whole list');
            window.told.push(apps.length);
        }
        return answer;
    };";

#[tokio::test(flavor = "multi_thread")]
async fn one_click_deploys_the_sample_and_its_links_answer() {
    let daemon = worker().await;
    let page = Page::open(&daemon).await;
    page.until_shown("#apps-empty").await;
    page.until_state("#connection", "ok").await;
    page.screenshot("empty").await;

    page.click("#apps-sample").await;
    page.until_state("#app-state", "running").await;
    page.until_shown("#instances-rows tr").await;
    page.screenshot("sample").await;

    let hello = "document.querySelector('h1')?.innerText === 'Hello from a WebAssembly program'";
    page.visit("#app-link-path", hello, "sample-answers-by-path")
        .await;
    let host =
        "location.hostname.endsWith('.localhost') && document.querySelector('h1')?.innerText";
    let said = page
        .visit("#app-link-host", host, "sample-answers-by-name")
        .await;
    assert_eq!(said, "Hello from a WebAssembly program");

    // A second click finds what is there instead of making another.
    page.show("#/deploy").await;
    page.click("#deploy-sample").await;
    page.until_state("#app-state", "running").await;
    page.show("#/apps").await;
    page.until("document.querySelectorAll('#apps-rows tr').length === 1")
        .await;
    page.until_says("#nav-count", "1").await;
    // The browser asks every site for one; the sample has none.
    page.close(&["/favicon.ico"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_resized_stopped_started_and_removed_after_questions() {
    let daemon = worker().await;
    let page = Page::with_sample(&daemon).await;
    let app = page.app().await;

    page.click("#app-actions [data-action=resize]").await;
    page.until_shown("#resize-dialog").await;
    page.until("document.activeElement.id === 'resize-count'")
        .await;
    page.type_text("1000").await;
    page.press(&[key::ENTER]).await;
    page.until_says("#resize-error", "whole number").await;
    page.clear("#resize-count").await;
    page.write("#resize-count", "3").await;
    page.screenshot("resize").await;
    page.click("#resize-ok").await;
    page.until("document.querySelectorAll('#instances-rows tr').length === 3")
        .await;
    page.until_says("#toasts", "3 instances").await;

    page.show("#/apps").await;
    let row = format!("#apps-rows tr[data-address='{app}']");
    page.click(&format!("{row} [data-action=stop]")).await;
    page.until_shown("#confirm-dialog").await;
    // What destroys is not what Enter does first.
    page.until("document.activeElement.id === 'confirm-cancel'")
        .await;
    page.press(&[key::ESCAPE]).await;
    page.until_hidden("#confirm-dialog").await;
    page.until_state(&format!("{row} .state"), "running").await;
    page.click(&format!("{row} [data-action=stop]")).await;
    page.click("#confirm-ok").await;
    page.until_state(&format!("{row} .state"), "stopped").await;
    page.screenshot("list").await;

    page.click(&format!("{row} [data-action=start]")).await;
    page.until_state(&format!("{row} .state"), "running").await;

    page.show(&format!("#/apps/{app}")).await;
    page.click("#app-actions [data-action=remove]").await;
    page.until_says("#confirm-address", &app).await;
    page.screenshot("remove").await;
    page.click("#confirm-ok").await;
    page.until_shown("#apps-empty").await;
    page.close(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_page_tells_and_acts() {
    let daemon = worker().await;
    let page = Page::with_sample(&daemon).await;
    page.show("#/worker").await;
    page.until_says(
        "#worker-ports-facts",
        &daemon.running().user_address().to_string(),
    )
    .await;
    // A worker of the tests has no budget.
    page.until_says("#worker-meters", "no limit").await;
    // A new session would orphan the usage of deployed apps.
    page.until("document.querySelector('#worker-session').disabled")
        .await;
    page.click("[aria-labelledby=worker-raw] summary").await;
    page.until_says("#worker-json", "\"max_instances\"").await;
    page.screenshot("worker").await;

    page.click("#worker-remove-all").await;
    page.click("#confirm-ok").await;
    page.until("!document.querySelector('#worker-session').disabled")
        .await;
    let before = page.text("#worker-identity-facts").await;
    page.click("#worker-session").await;
    page.click("#confirm-ok").await;
    page.until_says("#toasts", "new session").await;
    let changed =
        format!("document.querySelector('#worker-identity-facts').innerText !== {before:?}");
    page.until(&changed).await;
    page.close(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_given_to_an_app_and_taken_back() {
    let daemon = worker().await;
    let page = Page::with_sample(&daemon).await;
    page.until_shown("#domains-empty").await;
    page.click("#domains-add").await;
    page.until_says("#domains-error", "Write a domain").await;
    page.write("#domains-input", "shop.example.com").await;
    page.press(&[key::ENTER]).await;
    page.until_says("#domains-list", "shop.example.com").await;
    page.until_hidden("#domains-empty").await;
    page.screenshot("domains").await;
    page.click("#domains-list button").await;
    page.until_shown("#confirm-dialog").await;
    page.click("#confirm-ok").await;
    page.until_shown("#domains-empty").await;
    page.close(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_follows_what_others_do_and_asks_for_changes_only() {
    let operator = Operator::start().await;
    let deploy = async |label: &str, on_demand| {
        let change = |wanted: &mut wapo_rpc::message::DeployArgs| {
            manifest(wanted).label = label.to_owned();
            manifest(wanted).on_demand = on_demand;
        };
        operator.deploy_with(&guest("hello-http"), change).await
    };
    let first = deploy("first", false).await;
    let page = Page::open(operator.daemon()).await;
    page.until_says("#apps-rows", "first").await;
    page.script(LISTEN).await;
    let second = deploy("second", true).await;
    page.until_says("#apps-rows tr", "second").await;
    page.until_says("#nav-count", "2").await;
    // Nothing happens, and nothing is told.
    page.until("window.told.slice(-3).join() === '0,0,0'").await;
    let cell = |name| {
        format!(
            "document.querySelector(\"tr[data-address='0x{first}'] [data-name='{name}']\").innerText"
        )
    };
    let rate = cell("Requests/s");
    page.until(format!("{rate} === '0'")).await;
    client::get(&operator.app_url(first, "/"))
        .await
        .expect_status(200);
    page.until(format!("Number({rate}) > 0")).await;
    page.until("Number(document.querySelector('#sum-requests').innerText) > 0")
        .await;
    page.until(format!("{} === 'running'", cell("State"))).await;
    page.screenshot("changes").await;
    page.until(format!("{rate} === '0'")).await;
    page.until("document.querySelector('#sum-requests').innerText === '0'")
        .await;
    page.until("Math.max(...window.told) === 1").await;

    page.show(&format!("#/apps/0x{second}")).await;
    page.until_shown("#instances-empty").await;
    operator.remove(second).await;
    page.until_shown("#view-app-missing").await;
    // Time goes on for an app of which nothing is told.
    page.show(&format!("#/apps/0x{first}")).await;
    page.until_shown("#instances-rows tr").await;
    page.script("window.told = []; window.up = document.querySelector('#instances-rows tr').children[2].innerText")
        .await;
    page.until("document.querySelector('#instances-rows tr').children[2].innerText !== window.up")
        .await;
    page.until("window.told.length > 1 && Math.max(...window.told) === 0")
        .await;
    page.show("#/apps").await;
    page.until_says("#nav-count", "1").await;
    page.close(&[]).await;
}
