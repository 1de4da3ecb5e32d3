//! The form that deploys an app.

use e2e::Daemon;

use crate::page::{Page, worker};

/// A file of the form's size and shape: what a compiler made.
fn hello_http() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hello.wasm");
    std::fs::write(&path, e2e::guest("hello-http").module.wasm()).expect("a file");
    let path = path.to_str().expect("a text").to_owned();
    (folder, path)
}

/// The form, with a file chosen.
async fn form_with(daemon: &Daemon, path: &str) -> Page {
    let page = Page::open(daemon).await;
    page.show("#/deploy").await;
    page.until_shown("#deploy-form").await;
    page.write("#deploy-file", path).await;
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_deployed_under_the_address_that_was_shown() {
    let (_folder, path) = hello_http();
    let daemon = worker().await;
    let page = form_with(&daemon, &path).await;
    page.until_says("#deploy-file-info", "hello.wasm").await;
    page.until("document.querySelector('#deploy-label').value === 'hello'")
        .await;
    let shown = "document.querySelector('#deploy-address code')?.title";
    let first = page.until(shown).await;
    // Whatever the address follows from changes it before anything is sent.
    page.write("#deploy-args", "one\ntwo").await;
    page.write("#deploy-env", "GREETING=Grüße").await;
    let other = format!("{shown} !== {first} && {shown}");
    let before = page.until(&other).await;
    page.screenshot("deploy").await;

    // A setting that is no part of the address.
    page.click("#deploy-more summary").await;
    page.click("#deploy-cors").await;
    page.write("#deploy-quotas", "cpu=0.5\ntimers = many").await;
    page.click("#deploy-submit").await;
    page.until_says("#deploy-error", "`many` is not a number")
        .await;
    page.clear("#deploy-quotas").await;
    page.write("#deploy-quotas", "cpu=0.5\n\ntimers = 77").await;
    page.click("#deploy-submit").await;
    page.until_shown("#deploy-result").await;
    let after = page
        .until("document.querySelector('#deploy-result code')?.title")
        .await;
    assert_eq!(before, after);
    page.screenshot("deployed").await;
    page.visit(
        "#deploy-result a.external",
        "document.body?.innerText.includes('Hello')",
        "deployed-answers",
    )
    .await;
    page.click("#deploy-result a.primary").await;
    page.until_state("#app-state", "running").await;
    page.until_says("#manifest-facts", "GREETING=Grüße").await;
    let origins = "[...document.querySelectorAll('#settings-facts > div')].find((row) => row.innerText.includes('other origins'))?.innerText.includes('may use it')";
    page.until(origins).await;
    for (name, limit) in [("cpu", "0.50"), ("timers", "77")] {
        let cell = format!("#quotas-rows [data-quota={name}] [data-name=Limit]");
        page.until_says(&cell, limit).await;
    }
    // The value that is none.
    page.close(&["the server responded with a status of 400"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_the_form_is_said_beside_it() {
    let daemon = worker().await;
    let page = Page::open(&daemon).await;
    page.show("#/deploy").await;
    page.click("#deploy-submit").await;
    page.until("document.querySelector('#deploy-error').innerText !== ''")
        .await;

    // A text is not a program.
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("readme.wasm");
    std::fs::write(&text, "no program").expect("a file");
    page.write("#deploy-file", text.to_str().expect("a text"))
        .await;
    page.until_says("#deploy-file-info", "not a WebAssembly file")
        .await;

    // The beginning of a program is none either; the worker says so.
    std::fs::write(&text, b"\0asm\x01\0\0\0\x05").expect("a file");
    page.write("#deploy-file", text.to_str().expect("a text"))
        .await;
    page.until("document.querySelector('#deploy-address code')?.title")
        .await;
    page.click("#deploy-submit").await;
    page.until_says("#deploy-error", "failed").await;
    page.screenshot("deploy-refused").await;

    page.click("#deploy-more summary").await;
    page.write("#deploy-quotas", "cpu").await;
    page.click("#deploy-submit").await;
    page.until_says("#deploy-error", "Quotas, line 1: write NAME=VALUE")
        .await;
    page.clear("#deploy-quotas").await;
    page.click("#deploy-more summary").await;

    // A setting in a part that was closed is opened and marked.
    page.click("#deploy-more summary").await;
    page.write("#deploy-memory", "lots").await;
    page.click("#deploy-more summary").await;
    page.click("#deploy-submit").await;
    page.until("document.activeElement.id === 'deploy-memory' && document.activeElement.getAttribute('aria-invalid')")
        .await;
    page.close(&["Failed to load resource: the server responded with a status of 400"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_for_connections_and_ports_are_written_shown_and_refused_when_wrong() {
    let (_folder, path) = hello_http();
    let daemon = worker().await;
    let page = form_with(&daemon, &path).await;
    page.until("document.querySelector('#deploy-address code')?.title")
        .await;
    page.click("#deploy-more summary").await;
    page.write("#deploy-egress", "api.internal:443\n10.0.0.0/8")
        .await;
    page.write("#deploy-egress-deny", "*:25\nnot a/rule").await;
    page.write("#deploy-ports", "3000..3100, 4000").await;
    page.click("#deploy-egress-only").await;
    page.click("#deploy-submit").await;
    page.until_says("#deploy-error", "not a/rule").await;
    page.clear("#deploy-egress-deny").await;
    page.write("#deploy-egress-deny", "*:25").await;
    page.click("#deploy-submit").await;
    page.until_shown("#deploy-result").await;
    page.click("#deploy-result a.primary").await;
    page.until_state("#app-state", "running").await;
    for (label, shown) in [
        (
            "May connect to",
            "nothing else than\napi.internal:443\n10.0.0.0/8",
        ),
        ("May not connect to", "*:25"),
        ("Ports it may listen on", "3000..3100,4000..4000"),
    ] {
        let row = "[...document.querySelectorAll('#settings-facts > div')]";
        let row = format!("{row}.find((row) => row.innerText.startsWith({label:?}))");
        page.until(format!("{row}?.innerText.includes({shown:?})"))
            .await;
    }
    page.until_says("#usage-facts", "Connections refused").await;
    page.close(&["Failed to load resource: the server responded with a status of 400"])
        .await;
}
