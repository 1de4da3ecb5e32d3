//! The verifier as the browser has it says the same as the native one, byte by byte, and
//! asks for nothing.
//!
//! Runs `crates/wapod/console/built/verify.wasm` in an interpreter, with the messages of
//! published quotes and of the simulator's evidence.

mod support;

#[path = "../../wapo-verify/tests/support/bills.rs"]
mod bills;
#[path = "../../wapo-verify/tests/support/mod.rs"]
mod evidence;

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use bills::Worker;
use evidence::{
    NONCE, NOW_S, Published, SGX, SNP, TDX, TDX_LONG, TDX_OUTDATED, app_claims, app_evidence,
    default_simulator, worker_claims, worker_evidence,
};
use parity_scale_codec::Encode as _;
use serde_json::Value;
use support::{accepting, head, message, with};
use wapo_verify::evidence_file::{self, APP, WORKER};
use wasmi::{Engine, Linker, Module, Store};

/// The verifier; `None` where this machine's compiler has no standard library for it, which
/// rustup may not reach.
static MODULE: LazyLock<Option<Module>> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wapod/console/built/verify.wasm");
    let mut rustc = Command::new("rustc");
    rustc.args([
        "--print",
        "target-libdir",
        "--target",
        "wasm32-unknown-unknown",
    ]);
    let library = rustc.output().expect("rustc runs").stdout;
    let library = String::from_utf8(library).expect("a path");
    if !file.exists() && !Path::new(library.trim()).is_dir() {
        return None;
    }
    let wasm = std::fs::read(&file);
    let wasm = wasm.unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask guests` builds it",
            file.display()
        )
    });
    Some(Module::new(&Engine::default(), &wasm).expect("a module"))
});

/// The answer to a message by an instance of its own, as the page asks for it.
fn answer(module: &Module, message: &[u8]) -> String {
    let mut store = Store::new(module.engine(), ());
    let instance = Linker::new(module.engine())
        .instantiate_and_start(&mut store, module)
        .expect("an instance");
    let memory = instance.get_memory(&store, "memory").expect("memory");
    let input = instance.get_typed_func::<u32, u32>(&store, "input");
    let verify = instance.get_typed_func::<(), u32>(&store, "verify");
    let output = instance.get_typed_func::<(), u32>(&store, "output");
    let length = u32::try_from(message.len()).expect("short");
    let at = input.expect("input").call(&mut store, length);
    let at = at.expect("room") as usize;
    memory.write(&mut store, at, message).expect("in memory");
    let length = verify.expect("verify").call(&mut store, ());
    let mut answer = vec![0; length.expect("an answer") as usize];
    let at = output.expect("output").call(&mut store, ());
    let at = at.expect("a place") as usize;
    memory.read(&store, at, &mut answer).expect("in memory");
    String::from_utf8(answer).expect("text")
}

/// Asserts that both say the same, and gives it.
#[track_caller]
fn both(message: &[u8]) -> Value {
    let native = wapo_verify_page::answered(message);
    if let Some(module) = &*MODULE {
        assert_eq!(answer(module, message), native);
    }
    serde_json::from_str(&native).expect("JSON")
}

#[test]
fn the_verifier_of_the_page_imports_nothing() {
    let imports = MODULE.iter().flat_map(Module::imports);
    assert_eq!(imports.count(), 0);
}

#[test]
fn published_quotes_have_the_same_verdict_in_the_page() {
    let quote = |published: &Published, beside: &str| {
        let (quote, content, now) = published.vector();
        let files = [("quote", "q", quote), (beside, "b", content)];
        let verdict = both(&message(head(now), &files));
        let mut changed = quote.to_vec();
        changed[100] ^= 1;
        let files = [("quote", "q", &changed[..]), files[1]];
        assert_eq!(both(&message(head(now), &files))["good"], false);
        both(&message(head(4_000_000_000), &files));
        verdict["good"].as_bool().expect("a verdict")
    };
    // Of platforms that are out of date, without a policy that takes them.
    assert!(!quote(&SGX, "collateral"));
    assert!(!quote(&TDX_OUTDATED, "collateral"));
    assert!(quote(&TDX, "collateral"));
    assert!(quote(&SNP, "chip-certificates"));
    quote(&TDX_LONG, "collateral");
}

#[test]
fn evidence_and_bills_have_the_same_verdict_in_the_page() {
    let worker = worker_evidence(&default_simulator(), &worker_claims());
    let app = app_evidence(worker.clone(), &app_claims());
    let (worker, mut app) = (evidence_file::write(WORKER, &worker.encode()), app.encode());
    let demands = || with(accepting(NOW_S), "nonce", hex::encode(NONCE));
    let worker = ("worker", "w", worker.as_bytes());
    assert_eq!(both(&message(demands(), &[worker]))["good"], true);
    assert_eq!(both(&message(head(NOW_S), &[worker]))["good"], false);
    let text = evidence_file::write(APP, &app);
    let files = [("app", "a", text.as_bytes())];
    assert_eq!(both(&message(demands(), &files))["good"], true);
    let last = app.len() - 1;
    app[last] ^= 1;
    let files = [("app", "a", &app[..])];
    assert_eq!(both(&message(demands(), &files))["good"], false);

    let bill = Worker::usual(3).whole();
    let files = [("usage", "u", bill.as_bytes()), worker];
    assert_eq!(both(&message(demands(), &files))["good"], true);
    let changed = bill.replacen("\"seq\":2", "\"seq\":3", 1);
    let files = [("usage", "u", changed.as_bytes()), worker];
    assert_eq!(both(&message(demands(), &files))["good"], false);
}

#[test]
fn deep_nesting_does_not_end_the_page_s_verifier() {
    let deep = "[".repeat(900_000);
    let json = format!("{{\"kind\":{deep}");
    let toml = format!("apps = {deep}");
    let quote: (&str, &str, &[u8]) = ("quote", "q", SGX.vector().0);
    for files in [
        vec![("worker", "w", json.as_bytes())],
        vec![("usage", "u", json.as_bytes())],
        vec![quote, ("policy", "p.json", deep.as_bytes())],
        vec![quote, ("policy", "p.toml", toml.as_bytes())],
        vec![quote, ("collateral", "c", &deep.as_bytes()[..200_000])],
    ] {
        both(&message(head(NOW_S), &files));
    }
}
