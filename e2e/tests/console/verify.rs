//! The page that verifies, with evidence and bills of a worker with the simulator.

use std::path::PathBuf;

use e2e::{Daemon, client};
use hyper::Method;
use serde_json::json;
use tempfile::TempDir;
use wapo_rpc::message::{AppEvidenceArgs, QueryArgs, UsageExportArgs, WorkerEvidenceArgs};
use wapo_rpc::statement::{self, ExportedReport};
use wapo_rpc::{AppAddress, Client, UserClient, usage_file};
use wapo_verify::evidence_file;
use wapod::AttestationMode;

use crate::audit;
use crate::page::{Page, key, origin};

/// What the verifier was given.
const NONCE: &[u8] = b"a nonce of the browser's user";

/// A worker with the simulator, the console's sample on it, and files about both.
struct Case {
    daemon: Daemon,
    page: Page,
    folder: TempDir,
    app: AppAddress,
}

/// Whether there can be a verifier here: rustup may not reach what it is compiled with,
/// and Debian's compiler has nothing for it. Then the page says that it has none.
fn can_have_verifier() -> bool {
    let built = e2e::guests::root().join("crates/wapod/console/built/verify.wasm");
    let mut rustc = std::process::Command::new("rustc");
    rustc.args([
        "--print",
        "target-libdir",
        "--target",
        "wasm32-unknown-unknown",
    ]);
    let library = rustc.output().map(|output| output.stdout);
    let library = library.is_ok_and(|path| {
        let path = String::from_utf8_lossy(&path);
        std::path::Path::new(path.trim()).is_dir()
    });
    library || built.exists()
}

/// A page without a verifier says so, and how to get one.
async fn has_none(page: Page, also: &[&str]) {
    page.until_shown("#verify-none").await;
    page.until_says("#verify-none", "cargo xtask verify-page")
        .await;
    page.close(&[also, &["status of 404"]].concat()).await;
}

impl Case {
    /// `None` where there is no verifier, which the page has said.
    async fn start() -> Option<Self> {
        let daemon = Daemon::with(|config| {
            config.admin_address = Some(([127, 0, 0, 1], 0).into());
            config.attestation.mode = AttestationMode::Simulator;
        })
        .await;
        let page = Page::with_sample(&daemon).await;
        let app = page.app().await.parse().expect("an address");
        let case = Self {
            daemon,
            page,
            folder: TempDir::new().expect("a folder"),
            app,
        };
        case.ask().await;
        case.page.go("/verify").await;
        if !can_have_verifier() {
            has_none(case.page, &[]).await;
            return None;
        }
        case.page
            .until("!document.querySelector('#verify-submit').disabled")
            .await;
        Some(case)
    }

    /// Asks the worker for `worker.json`, `app.json` and `bill.jsonl`.
    async fn ask(&self) {
        let users = self.daemon.running().user_url();
        let users = UserClient::new(users.trim_end_matches('/')).expect("a URL");
        let nonce = NONCE.to_vec();
        let worker = users.worker_evidence(WorkerEvidenceArgs { nonce }).await;
        let worker = worker.expect("evidence").evidence;
        self.write(
            "worker.json",
            evidence_file::write(evidence_file::WORKER, &worker),
        );
        let asked = AppEvidenceArgs {
            address: self.app.0.to_vec(),
            nonce: NONCE.to_vec(),
        };
        let app = users.app_evidence(asked).await.expect("evidence").evidence;
        self.write("app.json", evidence_file::write(evidence_file::APP, &app));
        self.write("app.scale", &app);
        let asked = QueryArgs {
            address: self.app.0.to_vec(),
            path: "/hello".to_owned(),
            payload: b"a question".to_vec(),
            ..QueryArgs::default()
        };
        let answer = users.signed_query(&asked, "0123456789abcdef").await;
        let mut answer = answer.expect("an answer");
        answer.evidence = app.clone();
        self.write("answer.json", serde_json::to_vec(&answer).expect("JSON"));
        answer.answer.body[0] ^= 1;
        self.write("other.json", serde_json::to_vec(&answer).expect("JSON"));
        let operator = Client::new(&origin(&self.daemon), None).expect("a URL");
        let asked = UsageExportArgs {
            settle: true,
            ..UsageExportArgs::default()
        };
        let bill = operator.usage_export(asked).await.expect("a bill");
        let key = bill.pubkey.as_slice().try_into().expect("a key");
        let mut text = usage_file::header(key, None);
        for report in &bill.reports {
            let report: ExportedReport = statement::decode(report).expect("a report");
            text += &usage_file::line(&report);
        }
        self.write("bill.jsonl", text);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).expect("writes");
    }

    /// Writes a copy of a file in which one digit from the end is another one.
    fn damage(&self, name: &str, copy: &str) {
        let mut content = std::fs::read(self.path(name)).expect("reads");
        let digit = content.iter().rposition(u8::is_ascii_hexdigit);
        let digit = &mut content[digit.expect("a digit")];
        *digit = if *digit == b'0' { b'1' } else { b'0' };
        self.write(copy, content);
    }

    /// Loads the page anew and gives it files.
    async fn choose(&self, names: &[&str]) {
        self.page.go("/verify").await;
        self.add(names).await;
        let count = names.len();
        self.page
            .until(format!(
                "document.querySelectorAll('#verify-list li').length === {count}"
            ))
            .await;
        self.page
            .until("!document.querySelector('#verify-submit').disabled")
            .await;
    }

    async fn add(&self, names: &[&str]) {
        let paths: Vec<_> = names.iter().map(|name| self.path(name)).collect();
        let paths: Vec<_> = paths.iter().filter_map(|path| path.to_str()).collect();
        self.page.write("#verify-files", &paths.join("\n")).await;
    }

    async fn verify(&self) {
        self.page.click("#verify-submit").await;
    }

    async fn good(&self, says: &str) {
        self.page.until_says("#verify-verdict-title", "Good").await;
        self.page.until_says("#verify-checks", says).await;
    }

    /// Refused, for a check that failed with these words.
    async fn refused(&self, check: &str, says: &str) {
        let page = &self.page;
        page.until_says("#verify-verdict-title", "Refused").await;
        page.until_says("#verify-verdict-text", check).await;
        page.until_says("#verify-checks li[data-outcome=failed]", says)
            .await;
    }

    /// No verdict, and why.
    async fn error(&self, says: &str) {
        self.page.until_says("#verify-error", says).await;
        self.page.until_hidden("#verify-result").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_verified_in_the_browser_and_a_changed_byte_refused() {
    let Some(case) = Case::start().await else {
        return;
    };
    let page = &case.page;
    case.choose(&["app.json"]).await;
    case.verify().await;
    // The simulator counts only for who says so.
    case.refused("quote.kind", "no hardware stands behind it")
        .await;
    page.click("#verify-simulator").await;
    page.until_hidden("#verify-result").await;
    case.verify().await;
    case.good("NO HARDWARE").await;
    page.until_says(
        "#verify-checks",
        "What it would prove: The evidence was made after",
    )
    .await;
    page.until_says("#verify-verdict-time", "by this browser’s clock")
        .await;
    let year = page
        .script("return String(new Date().getUTCFullYear())")
        .await;
    let year = year.as_str().expect("a year");
    page.until_says("#verify-verdict-time", year).await;
    page.write("#verify-nonce", &hex::encode(NONCE)).await;
    page.write("#verify-app", &case.app.to_string()).await;
    case.verify().await;
    case.good("app.address").await;
    page.clear("#verify-nonce").await;
    page.write("#verify-nonce", "00ff").await;
    case.verify().await;
    case.refused("worker.nonce", "and yours is 00ff").await;

    case.damage("app.json", "changed.json");
    case.choose(&["changed.json"]).await;
    page.click("#verify-simulator").await;
    case.verify().await;
    case.refused("app.signature", "not signed by the worker")
        .await;
    case.choose(&["worker.json"]).await;
    page.click("#verify-simulator").await;
    page.write("#verify-at", "2020-01-01T00:00:00Z").await;
    case.verify().await;
    case.refused("quote.collateral", "of the future").await;
    page.until_says("#verify-verdict-time", "the time that you gave")
        .await;
    // What has no mark of its kind is said by its owner.
    case.choose(&["app.scale"]).await;
    case.verify().await;
    case.error("app.scale: Say what it is.").await;
    page.script("const role = document.querySelector('#verify-list select'); role.value = 'app'; role.dispatchEvent(new Event('change', { bubbles: true }))").await;
    page.click("#verify-simulator").await;
    case.verify().await;
    case.good("app.signature").await;
    case.page.close(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_and_a_bill_are_verified_in_the_browser() {
    let Some(case) = Case::start().await else {
        return;
    };
    let page = &case.page;
    let policy =
        |address: &str| format!("accept_simulator = true\n[[apps]]\naddress = \"{address}\"\n");
    case.write("policy.toml", policy(&case.app.to_string()));
    case.choose(&["app.json", "policy.toml"]).await;
    case.verify().await;
    case.good("is in the policy").await;
    case.write("policy.toml", policy(&"00".repeat(32)));
    case.choose(&["app.json", "policy.toml"]).await;
    case.verify().await;
    case.refused("app.program", "no entry of the policy").await;
    case.write("policy.toml", "[[app]]\n");
    case.choose(&["app.json", "policy.toml"]).await;
    case.verify().await;
    case.error("unknown field").await;

    case.choose(&["bill.jsonl"]).await;
    case.verify().await;
    case.good("signatures are good").await;
    page.write("#verify-last", "1000").await;
    case.verify().await;
    case.refused("usage.end", "1000").await;
    case.choose(&["bill.jsonl", "worker.json"]).await;
    page.click("#verify-simulator").await;
    case.verify().await;
    case.good("worker.binding").await;
    case.damage("bill.jsonl", "changed.jsonl");
    case.choose(&["changed.jsonl"]).await;
    case.verify().await;
    page.until_says("#verify-verdict-title", "Refused").await;
    case.page.close(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_answer_is_verified_in_the_browser() {
    let Some(case) = Case::start().await else {
        return;
    };
    let page = &case.page;
    case.choose(&["answer.json"]).await;
    page.click("#verify-simulator").await;
    page.write("#verify-app", &case.app.to_string()).await;
    case.verify().await;
    case.good("answer.signature").await;
    page.until_says("#verify-verdict-text", "This answer").await;
    page.script("document.querySelector('#verify-facts-part details').open = true")
        .await;
    page.until_says("#verify-facts", "\"kind\": \"app\"").await;
    case.choose(&["other.json"]).await;
    page.click("#verify-simulator").await;
    case.verify().await;
    case.refused("answer.body", "another one was signed").await;
    page.click("#verify-simulator").await;
    case.verify().await;
    case.refused("quote.kind", "no hardware").await;
    case.page.close(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_are_text_and_end_nothing() {
    let Some(case) = Case::start().await else {
        return;
    };
    let page = &case.page;
    let markup = "<img src=x onerror=alert(1)>";
    let content = format!(r#"{{"kind":"{markup}","version":1,"evidence":"0x"}}"#);
    page.script_with(
        "const [name, content] = arguments; const given = new DataTransfer();
         given.items.add(new File([content], name));
         document.querySelector('#verify-drop').dispatchEvent(
           new DragEvent('drop', { dataTransfer: given, bubbles: true, cancelable: true }));",
        json!([markup, content]),
    )
    .await;
    page.until_says("#verify-list .file-name", markup).await;
    page.script("const role = document.querySelector('#verify-list select'); role.value = 'worker'; role.dispatchEvent(new Event('change', { bubbles: true }))").await;
    case.verify().await;
    case.error(markup).await;
    assert_eq!(page.script("return document.images.length").await, 0);

    // Too long: it is not read.
    case.write("long.json", vec![b'{'; 2 * 1024 * 1024]);
    case.write("deep.toml", format!("apps = {}", "[".repeat(900_000)));
    case.choose(&["long.json"]).await;
    page.until_says("#verify-list", "too long for “Policy”")
        .await;
    case.verify().await;
    case.error("too long").await;
    case.choose(&["app.json", "deep.toml"]).await;
    case.verify().await;
    case.error("the policy cannot be read").await;
    // A file that went away in between.
    case.choose(&["app.json", "worker.json"]).await;
    case.verify().await;
    case.error("one thing is verified at a time").await;
    case.write(
        "gone.json",
        std::fs::read(case.path("app.json")).expect("reads"),
    );
    case.choose(&["gone.json"]).await;
    std::fs::remove_file(case.path("gone.json")).expect("removes");
    case.verify().await;
    case.error("choose it again").await;
    case.page.close(&["ERR_FILE_NOT_FOUND"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_that_breaks_off_is_no_verdict_and_harms_no_other() {
    let Some(case) = Case::start().await else {
        return;
    };
    let page = &case.page;
    // For want of memory.
    case.choose(&["app.json"]).await;
    page.click("#verify-simulator").await;
    page.script(
        "window.Real = Worker;
         window.Worker = class extends Real {
           postMessage({ module }) { super.postMessage({ module, message: { length: 0xfffffff0 } }); }
         };",
    )
    .await;
    case.verify().await;
    case.error("The verifier broke off, and nothing was verified: unreachable")
        .await;
    page.script("window.Worker = class extends Real { constructor(_, how) { super('/console/no.js', how); } }")
        .await;
    case.verify().await;
    case.error("its thread cannot be started").await;
    // One that does not come to an end, with a timeout of 120 ms; what is changed meanwhile
    // has no verdict.
    page.script(
        "window.later = window.setTimeout;
         window.setTimeout = (what, ms) => later(what, ms / 1000);
         window.Worker = class extends Real { postMessage() {} };",
    )
    .await;
    case.verify().await;
    case.error("it took longer than 120 s").await;
    page.script(
        "window.setTimeout = window.later;
         window.Worker = class extends Real {
           postMessage(...all) { later(() => super.postMessage(...all), 1000); }
         };",
    )
    .await;
    case.verify().await;
    page.until_says("#verify-step", "Checking").await;
    page.write("#verify-nonce", "00").await;
    case.error("Something was changed meanwhile").await;
    page.clear("#verify-nonce").await;
    page.script("window.Worker = Real").await;
    case.verify().await;
    case.good("app.signature").await;
    case.page.close(&["/console/no.js"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_the_page_and_only_it_may_compile_wasm() {
    let Some(case) = Case::start().await else {
        return;
    };
    let page = &case.page;
    case.choose(&["app.json"]).await;
    page.click("#verify-simulator").await;
    let asked =
        "return performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)";
    let before = page.script(asked).await;
    for path in before.as_array().expect("a list") {
        let path = path.as_str().expect("a path");
        assert!(path.starts_with("/console/"), "{path}");
    }
    page.noted("performance").await;
    case.verify().await;
    case.good("app.signature").await;
    // All that was asked for since: the file of the thread, without anything in it.
    for line in page.noted("performance").await {
        let event: serde_json::Value =
            serde_json::from_str(line["message"].as_str().expect("a text")).expect("JSON");
        if event["message"]["method"] == "Network.requestWillBeSent" {
            let request = &event["message"]["params"]["request"];
            let url = request["url"].as_str().expect("a URL");
            assert!(url.ends_with("/console/verify-worker.js"), "{url}");
            assert_eq!(request["method"], "GET");
        }
    }
    let kept = page.script("return [localStorage.length, sessionStorage.length, document.cookie]");
    assert_eq!(kept.await, json!([0, 0, ""]));

    let compile = "WebAssembly.compile(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0))";
    let try_it = format!(
        "window.tried = ''; {compile}.then(() => {{ window.tried = 'may' }}, () => {{ window.tried = 'may not' }})"
    );
    page.script(&try_it).await;
    page.until("window.tried === 'may'").await;
    page.go("/").await;
    page.until_shown("#apps-rows tr").await;
    page.script(&try_it).await;
    page.until("window.tried === 'may not'").await;

    let origin = origin(&case.daemon);
    for (path, may) in [
        ("/verify", true),
        ("/", false),
        ("/console/verify.js", false),
        ("/console/verify-worker.js", false),
        ("/console/verify.wasm", false),
        ("/health", false),
        ("/nothing", false),
    ] {
        let answer = client::get(&format!("{origin}{path}")).await;
        let policy = answer.header("content-security-policy").expect("a policy");
        assert_eq!(
            policy.contains("'wasm-unsafe-eval'"),
            may,
            "{path}: {policy}"
        );
        assert!(!policy.contains("'unsafe-eval'") && !policy.contains("inline"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    // The user port is the operator's word and its apps' origin.
    let users = case.daemon.running().user_url();
    let answer = client::get(&format!("{}/verify", users.trim_end_matches('/'))).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    let posted = client::send(Method::POST, &format!("{origin}/verify"), Vec::new()).await;
    assert_eq!(posted.status, 405);
    case.page.close(&["wasm-unsafe-eval", "unsafe-eval"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_read_and_used_with_the_keyboard_light_dark_and_narrow() {
    let Some(case) = Case::start().await else {
        return;
    };
    let page = &case.page;
    page.press(&[key::TAB]).await;
    page.until("document.activeElement.id === 'skip'").await;
    page.tab_to("#verify-files").await;
    case.add(&["app.json"]).await;
    page.until_shown("#verify-list li").await;
    page.tab_to("#verify-list select").await;
    page.tab_to("#verify-simulator").await;
    page.press(&[' ']).await;
    page.tab_to("#verify-nonce").await;
    page.type_text(&hex::encode(NONCE)).await;
    page.tab_to("#verify-submit").await;
    page.press(&[key::ENTER]).await;
    case.good("app.signature").await;
    // The verdict has the focus.
    page.until("document.activeElement.id === 'verify-verdict'")
        .await;
    page.tab_to("#verify-facts-part summary").await;
    page.press(&[key::ENTER]).await;
    page.until_says("#verify-facts", "code_hash").await;
    looks(&case, "good").await;
    page.click("#verify-simulator").await;
    case.verify().await;
    case.refused("quote.kind", "no hardware").await;
    looks(&case, "refused").await;
    case.add(&["bill.jsonl"]).await;
    page.until_shown("#verify-bill").await;
    page.until_hidden("#verify-result").await;
    looks(&case, "form").await;
    page.tab_to("#verify-list li:last-child button").await;
    page.press(&[key::ENTER]).await;
    page.until_hidden("#verify-bill").await;
    case.page.close(&[]).await;
}

/// The page in both colours and widths.
async fn looks(case: &Case, what: &str) {
    let page = &case.page;
    for scheme in ["light", "dark"] {
        page.prefer(scheme).await;
        for (width, height, suffix) in [(1280, 900, ""), (400, 860, "-narrow")] {
            page.resize(width, height).await;
            let what = format!("verify-{what}-{scheme}{suffix}");
            page.screenshot(&what).await;
            audit::contrast(page, &what).await;
            audit::room(page, &what).await;
            audit::names(page, &what).await;
        }
    }
    page.resize(1280, 900).await;
}

/// Without a token the console asks for one; the page needs none, and shows none.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_there_without_a_token() {
    let daemon = Daemon::with(|config| {
        config.admin_address = Some(([127, 0, 0, 1], 0).into());
        config.admin_token = Some(wapod::AdminToken("the-right-one".to_owned()));
    })
    .await;
    let page = Page::open(&daemon).await;
    page.until_shown("#token-dialog").await;
    page.go("/verify").await;
    if !can_have_verifier() {
        return has_none(page, &["status of 401"]).await;
    }
    page.until("!document.querySelector('#verify-submit').disabled")
        .await;
    let vectors = e2e::guests::root().join("crates/wapo-verify/tests/vectors");
    let files = ["tdx_quote.hex", "tdx_quote_collateral.json"];
    let files = files.map(|name| vectors.join(name).display().to_string());
    page.write("#verify-files", &files.join("\n")).await;
    page.until("document.querySelectorAll('#verify-list li').length === 2")
        .await;
    page.write("#verify-at", "2025-06-20T12:00:00Z").await;
    page.click("#verify-submit").await;
    page.until_says("#verify-verdict-title", "Good").await;
    page.until_says("#verify-verdict-text", "This quote").await;
    page.close(&["status of 401"]).await;
}
