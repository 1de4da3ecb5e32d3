//! Programs in JavaScript that are written, deployed and seen to answer in the console:
//! with the editor component, and with the text area that stands in for it.

use e2e::{Daemon, Operator, guests};
use serde_json::json;
use wapo_rpc::AppAddress;
use wapo_rpc::message::{Blob, DeployArgs, Manifest, StringPair};
use wapod::Module;

use crate::audit;
use crate::page::{Page, key, worker};

/// The line in the editor that is marked as wrong.
const MARKED: &str = "document.querySelector('#script-component').shadowRoot.querySelector('.cm-wrong')?.textContent";

/// The page with a new program.
async fn page(daemon: &Daemon) -> Page {
    assert!(
        guests::root()
            .join("crates/wapod/console/built/editor.js")
            .exists(),
        "bundle the editor first: cargo xtask guests"
    );
    let page = Page::open(daemon).await;
    page.click("#apps-script").await;
    page
}

/// The page on a browser that does not get the editor component.
async fn page_without_component(daemon: &Daemon) -> Page {
    let page = Page::open(daemon).await;
    page.block("*/console/editor.js").await;
    page.click("#apps-script").await;
    page.until_shown("#script-area").await;
    page
}

/// What is said of the file that was blocked.
const BLOCKED: &str = "net::ERR_BLOCKED_BY_CLIENT";
/// What is said of a deployment that was refused.
const REFUSED: &str = "the server responded with a status of 400";

/// Replaces the text where the focus is, by keys.
async fn retype(page: &Page, text: &str) {
    page.press(&[key::CONTROL, 'a']).await;
    for line in text.split_inclusive('\n') {
        page.type_text(line.trim_end_matches('\n')).await;
        if line.ends_with('\n') {
            page.press(&[key::ENTER]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_written_deployed_and_seen_to_answer() {
    let daemon = worker().await;
    let page = page(&daemon).await;
    page.until_shown("#script-component").await;
    page.click("#script-deploy").await;
    page.until_says("#script-output", "Hello! You asked for /")
        .await;
    page.until_says("#script-status", "Status 200, text/plain")
        .await;
    page.until_says("#script-lines", "a request for /").await;
    page.clear("#script-path").await;
    page.write("#script-path", "/json").await;
    page.click("#script-ask-now").await;
    page.until_says("#script-output", r#"{"method":"GET","pathname":"/json"}"#)
        .await;
    page.screenshot("script-answers").await;
    page.visit(
        "#script-link-host",
        "document.body?.innerText.includes('Hello! You asked for /')",
        "script-link",
    )
    .await;

    // Another text takes the place of what runs, and the page is about that.
    let address = "location.hash.split('/')[2]";
    let first = page.until(address).await;
    page.click("#script-component").await;
    retype(
        &page,
        "export default { fetch: () => new Response(\"second\") };",
    )
    .await;
    page.press(&[key::CONTROL, key::ENTER]).await;
    page.until_says("#script-step", "in place of what ran before")
        .await;
    page.until_says("#script-output", "second").await;
    page.until(format!("{address} !== {first}")).await;
    let count = "document.querySelector('#nav-count').textContent === '1'";
    page.until(count).await;

    // The same text again is what runs already.
    page.click("#script-deploy").await;
    page.until_says("#script-output", "second").await;
    page.close(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_program_is_shown_at_its_line() {
    let daemon = worker().await;
    let page = page(&daemon).await;
    page.until_shown("#script-component").await;
    page.click("#script-deploy").await;
    page.until_says("#script-output", "Hello!").await;

    // A mistake leaves what runs as it is.
    page.click("#script-component").await;
    retype(&page, "export const a = 1;\nlet b = ;").await;
    page.press(&[key::CONTROL, key::ENTER]).await;
    page.until_says("#script-wrong", "app.js, line 2: SyntaxError")
        .await;
    page.until(format!("{MARKED}?.includes('let b = ;')")).await;
    page.screenshot("script-wrong").await;
    audit::contrast(&page, "script-wrong").await;
    page.click("#script-ask-now").await;
    page.until_says("#script-output", "Hello!").await;
    page.press(&[key::CONTROL, key::ENTER]).await;
    page.click("#script-go").await;
    page.until("document.activeElement.id === 'script-component'")
        .await;

    // A mistake that shows with the first request is found in the log.
    retype(&page, "export default { fetch() { return nothing(); } };").await;
    page.press(&[key::CONTROL, key::ENTER]).await;
    page.until_says("#script-status", "Status 500").await;
    page.until_says("#script-wrong", "app.js, line 1: ReferenceError")
        .await;
    page.close(&[REFUSED]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_never_ran_is_mended_in_place() {
    let daemon = worker().await;
    let page = page(&daemon).await;
    page.until_shown("#script-component").await;
    page.click("#script-component").await;
    retype(&page, "let b = ;").await;
    page.click("#script-deploy").await;
    page.until_says("#script-wrong", "app.js, line 1: SyntaxError")
        .await;
    page.click("#script-component").await;
    retype(
        &page,
        "addEventListener(\"fetch\", (e) => e.respondWith(new Response(\"mended\")));",
    )
    .await;
    page.press(&[key::CONTROL, key::ENTER]).await;
    page.until_says("#script-output", "mended").await;
    page.until("document.querySelector('#script-wrong').textContent === ''")
        .await;
    page.until("document.querySelector('#nav-count').textContent === '1'")
        .await;
    page.close(&[REFUSED]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_editor_component_a_text_area_does_the_same() {
    let daemon = worker().await;
    let page = page_without_component(&daemon).await;
    page.prefer("dark").await;
    page.resize(400, 860).await;
    page.clear("#script-name").await;
    page.write("#script-name", "area").await;
    page.click("#script-area").await;
    retype(&page, "export const a = 1;\nlet b = ;").await;
    page.press(&[key::CONTROL, key::ENTER]).await;
    page.until_says("#script-wrong", "app.js, line 2: SyntaxError")
        .await;
    page.click("#script-go").await;
    let at = "document.activeElement.id === 'script-area' && document.activeElement.selectionStart >= 20";
    page.until(at).await;
    page.screenshot("script-area-wrong").await;
    retype(
        &page,
        "export default { fetch: () => new Response(\"from an area\") };",
    )
    .await;
    page.press(&[key::CONTROL, key::ENTER]).await;
    page.until_says("#script-output", "from an area").await;
    page.screenshot("script-area-answers").await;
    for what in ["script-area"] {
        audit::contrast(&page, what).await;
        audit::room(&page, what).await;
        audit::names(&page, what).await;
    }
    page.close(&[BLOCKED, REFUSED]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_written_and_deployed_with_the_keyboard_alone() {
    let daemon = worker().await;
    let page = Page::open(&daemon).await;
    page.until_shown("#apps-empty").await;
    page.tab_to("a[data-nav=script]").await;
    page.press(&[key::ENTER]).await;
    page.until_shown("#script-component").await;
    page.tab_to("#script-name").await;
    retype(&page, "by-hand").await;
    page.tab_to("#script-component").await;
    retype(
        &page,
        "export default { fetch: () => new Response(\"typed\") };",
    )
    .await;
    // Tab leaves the editor, in both directions.
    page.press(&[key::SHIFT, key::TAB]).await;
    page.until("document.activeElement.id === 'script-name'")
        .await;
    page.tab_to("#script-deploy").await;
    page.press(&[key::ENTER]).await;
    page.until_says("#script-output", "typed").await;
    page.tab_to("#script-path").await;
    page.press(&[key::ENTER]).await;
    page.until_says("#script-status", "Status 200").await;
    page.tab_to("#script-app").await;
    page.press(&[key::ENTER]).await;
    page.until_state("#app-state", "running").await;
    page.tab_to("#app-edit").await;
    page.press(&[key::ENTER]).await;
    page.until_shown("#script-component").await;

    // Those who cannot see the editor hear what it is.
    let role = "document.querySelector('#script-component').shadowRoot.querySelector('[role=textbox][aria-multiline=true]')?.getAttribute('aria-label') === 'Program in JavaScript'";
    page.until(role).await;
    page.close(&[]).await;
}

/// A program of two files, deployed as `wapo deploy` does it.
async fn two_files(operator: &Operator) -> AppAddress {
    let engine = wapod::javascript::engine().expect("cargo xtask guests builds it");
    let main = "import word from './lib/word.js';\nexport default { fetch: (_, env) => new Response([word, env.A, scriptArgs].join(' ')) };\n";
    let word = "export default 'one';\n";
    let put = async |text: &str| {
        let blob = Module::new(text.as_bytes().to_vec());
        let body = text.as_bytes().to_vec();
        let stored = operator.blob_put(Blob {
            hash: blob.hash(),
            body,
        });
        stored.await.expect("a blob").hash
    };
    let (main, word) = (put(main).await, put(word).await);
    let list = json!({"version": 1, "entry": "main.js", "files": {"main.js": main, "lib/word.js": word}, "imports": {}});
    let list = put(&list.to_string()).await;
    let pair = |key: &str| StringPair {
        key: key.to_owned(),
        value: String::new(),
    };
    let manifest = Manifest {
        version: 1,
        code_hash: engine.hash(),
        args: ["--program", &list, "--", "x", "y"]
            .map(str::to_owned)
            .to_vec(),
        env_vars: vec![StringPair {
            key: "A".to_owned(),
            value: "b".to_owned(),
        }],
        label: "files".to_owned(),
        max_query_size: 1 << 20,
        required_blobs: vec![pair(&list), pair(&main), pair(&word)],
        ..Manifest::default()
    };
    let args = DeployArgs {
        manifest: Some(manifest),
        reuse_instances: true,
        ..DeployArgs::default()
    };
    let deployed = operator.try_deploy(args).await.expect("it runs");
    AppAddress::from_bytes(&deployed.address).expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_deployed_is_opened_and_edited() {
    let operator =
        Operator::with(|config| config.admin_address = Some(([127, 0, 0, 1], 0).into())).await;
    let app = two_files(&operator).await;
    let page = Page::open(operator.daemon()).await;
    page.show(&format!("#/apps/0x{app}")).await;
    page.click("#app-edit").await;
    let text = "document.querySelector('#script-component')?.shadowRoot.querySelector('.cm-content')?.innerText";
    page.until(format!("{text}?.includes('./lib/word.js')"))
        .await;
    page.until("document.querySelector('#script-name').value === 'files'")
        .await;
    page.script("const select = document.querySelector('#script-file'); select.value = 'lib/word.js'; select.dispatchEvent(new Event('change'))")
        .await;
    page.until(format!("{text}?.includes(\"export default 'one'\")"))
        .await;
    page.screenshot("script-files").await;
    page.click("#script-component").await;
    retype(&page, "export default 'two';").await;
    page.press(&[key::CONTROL, key::ENTER]).await;
    // Its environment and arguments are as they were, and so is the other file.
    page.until_says("#script-output", "two b x,y").await;
    assert_eq!(operator.apps().await.len(), 1);

    // What is not deployed is not given up without a question.
    page.click("#script-component").await;
    page.type_text("//").await;
    page.click("#script-new").await;
    page.until_shown("#confirm-dialog").await;
    page.click("#confirm-cancel").await;
    page.until(format!("{text}?.includes('two')")).await;
    page.click("#script-new").await;
    page.click("#confirm-ok").await;
    page.until(format!("{text}?.includes('Answers web requests')"))
        .await;

    // Another program of the name that an app has asks first.
    page.clear("#script-name").await;
    page.write("#script-name", "files").await;
    page.click("#script-deploy").await;
    page.until_says("#confirm-title", "Replace files?").await;
    page.click("#confirm-cancel").await;
    page.until_hidden("#confirm-dialog").await;
    // Who goes to another page has not agreed.
    page.click("#script-deploy").await;
    page.until_shown("#confirm-dialog").await;
    page.script("location.hash = '#/apps'").await;
    page.until_hidden("#confirm-dialog").await;
    assert_eq!(operator.apps().await.len(), 1);
    page.close(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_an_engine_says_how_to_get_one() {
    let daemon = worker().await;
    let page = Page::open(&daemon).await;
    // The worker's answers without what it says of its engine.
    page.script(
        "const real = window.fetch;
        window.fetch = async (url, ...rest) => {
          const answer = await real(url, ...rest);
          if (!String(url).includes('Operation.Info')) return answer;
          return Response.json({ ...await answer.json(), javascript_engine: '' });
        };",
    )
    .await;
    page.click("#apps-script").await;
    page.until_says("#script-no-engine", "cargo xtask engine")
        .await;
    page.until("document.querySelector('#script-deploy').disabled")
        .await;
    page.screenshot("script-no-engine").await;
    audit::contrast(&page, "script-no-engine").await;
    page.close(&[]).await;
}
