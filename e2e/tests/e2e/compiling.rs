//! Compiling: what is refused before it, what it may take, what it leaves.

#[path = "../../../crates/wapo-host/tests/support/bombs.rs"]
pub(crate) mod bombs;

use std::path::Path;
use std::time::Duration;

use bombs::large_program;
use e2e::operator::args;
use e2e::{App, Daemon, Operator, text_guest, within};
use wapo_rpc::client::Client;
use wapo_rpc::message::Empty;
use wapod::{AppConfig, AppError, Compiler, Config, ExitReason, Module};

const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const POLL: &str = r#"(func (export "wapo_poll") (result i32) (i32.const 1))"#;

/// Growth of the daemon's memory that is allowed, whatever is deployed.
const GROWTH_KIB_MAX: u64 = 64 * 1024;

/// With a data folder, and a cache of compiled modules of its own in it.
fn own_cache(folder: &Path) -> impl FnOnce(&mut Config) {
    let folder = folder.to_owned();
    move |config| {
        config.data_dir = Some(folder);
        config.module_cache = None;
    }
}

fn compiled_files(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("modules")).map_or(0, Iterator::count)
}

fn app(wasm: Vec<u8>) -> AppConfig {
    AppConfig::new(Module::new(wasm))
}

fn text_of(refused: Result<App, AppError>) -> String {
    match refused {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.to_string(),
    }
}

/// Memory of this process, which is the daemon's here.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_tells_is_refused_before_it_is_compiled() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::with(|config| {
        own_cache(folder.path())(config);
        // Nothing can be compiled: what is refused, was not.
        config.compiler = Compiler::command(vec!["/nowhere".into()]);
    })
    .await;
    let memory = format!(r#"(module (memory (export "memory") 2064) {POLL})"#);
    let data = format!(r#"(module {MEMORY} (data (i32.const 65530) "0123456789") {POLL})"#);
    let table = format!("(module {MEMORY} {POLL} (table 100001 funcref))");
    for (config, words) in [
        (app(large_program(30_000, 60, "_start")), "WASI command"),
        (text_guest(&memory), "129 MiB"),
        (text_guest(&memory), "-m"),
        (text_guest(&data), "data segment 0"),
        (text_guest(&table), "100000 are allowed"),
    ] {
        let text = text_of(daemon.try_deploy(config).await);
        assert!(text.contains(words), "{words}: {text}");
    }
    // What an app may have counts, not only what the worker allows.
    let mut config = text_guest(&format!(r#"(module (memory (export "memory") 32) {POLL})"#));
    config.memory_max_bytes = Some(1 << 20);
    let text = text_of(daemon.try_deploy(config).await);
    assert!(text.contains("2 MiB") && text.contains("1 MiB"), "{text}");
    assert_eq!(compiled_files(folder.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_thousand_functions_in_a_table_run() {
    let daemon = Daemon::start().await;
    let app = app(large_program(40_000, 1, "wapo_poll"));
    let limit = Duration::from_secs(300);
    let started = tokio::time::timeout(limit, daemon.running().start_app(app)).await;
    let app = started.expect("in time").unwrap();
    assert_eq!(within("its end", app.exited()).await, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn external_references_work() {
    let daemon = Daemon::start().await;
    let app = daemon
        .deploy(text_guest(&format!(
            r#"(module {MEMORY} (table 10 externref)
                (func $is_null (param externref) (result i32) local.get 0 ref.is_null)
                (func (export "wapo_poll") (result i32) ref.null extern call $is_null))"#
        )))
        .await;
    assert_eq!(app.exited().await, ExitReason::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn compile_bombs_cost_the_worker_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::with(own_cache(folder.path())).await;
    // One of each kind, and harmless ones, so that all code paths have run.
    let bombs = bombs::all();
    daemon
        .try_deploy(text_guest(&format!("(module {MEMORY} {POLL})")))
        .await
        .unwrap();
    let before = resident_kib();
    let files = compiled_files(folder.path());
    for (kind, wasm) in bombs {
        let text = text_of(daemon.try_deploy(app(wasm)).await);
        assert!(text.contains("too costly to compile"), "{kind}: {text}");
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB");
    assert_eq!(compiled_files(folder.path()), files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_meets_a_limit_of_the_compiler_is_told_which() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::with(|config| {
        own_cache(folder.path())(config);
        let Compiler::Child(child) = &mut config.compiler else {
            panic!("the tests have a compiler of their own");
        };
        child.memory_max_bytes = 48 << 20;
    })
    .await;
    let wasm = large_program(20_000, 100, "wapo_poll");
    let before = resident_kib();
    let limit = Duration::from_secs(300);
    let started = tokio::time::timeout(limit, daemon.running().start_app(app(wasm))).await;
    let error = started.expect("in time").map(drop).unwrap_err().to_string();
    assert!(error.contains("more than 48 MiB to compile"), "{error}");
    let grown = resident_kib().saturating_sub(before);
    assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB");
    assert_eq!(compiled_files(folder.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_worker_does_not_wait_for_the_compiler() {
    let operator = Operator::with(|config| config.module_cache = None).await;
    let admin = operator.daemon().running().admin_address().unwrap();
    let client = Client::new(&format!("http://{admin}"), None).unwrap();
    let app = app(large_program(15_000, 80, "wapo_poll"));
    operator.put_code(&app).await;
    let deploying = tokio::spawn(async move { client.app_deploy(args(&app)).await });
    let compiling = async {
        loop {
            let info = operator.info(Empty::default()).await.unwrap();
            let load = info.module_loader_info;
            if load.is_some_and(|load| load.compiling_tasks == 1) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the compiler", compiling).await;
    operator.shutdown().await;
    let outcome = within("the deployment's end", deploying).await.unwrap();
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("the worker is stopping"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_code_that_no_app_refers_to_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let modules = folder.path().join("modules");
    std::fs::create_dir_all(&modules).unwrap();
    let left_over = format!("{}.wapoc", "ab".repeat(40));
    for name in [left_over.as_str(), "cd.tmp-1-ff", "notes.txt"] {
        std::fs::write(modules.join(name), "left").unwrap();
    }
    let operator = Operator::with(own_cache(folder.path())).await;
    assert_eq!(
        compiled_files(folder.path()),
        1,
        "the file of another program stays"
    );
    let daemon = operator.daemon();
    let one = daemon
        .deploy(text_guest(&format!("(module {MEMORY} {POLL})")))
        .await;
    let other = format!("(module {MEMORY} {POLL} (func (result i32) (i32.const 7)))");
    let other = daemon.deploy(text_guest(&other)).await;
    assert_eq!(compiled_files(folder.path()), 3);
    daemon
        .running()
        .stop_app(one.handle().address())
        .await
        .unwrap();
    assert_eq!(compiled_files(folder.path()), 2);
    drop((one, other));
    operator.shutdown().await;
    let _operator = Operator::with(own_cache(folder.path())).await;
    assert_eq!(
        compiled_files(folder.path()),
        2,
        "what an app refers to stays"
    );
}
