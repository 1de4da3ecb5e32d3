//! What an instance costs the process besides memory: mappings and files. The
//! numbers behind the checks at start.

use std::fs;
use std::time::Duration;

use wapod::limits::{DAEMON_FILES, DAEMON_MAPPINGS, MAPPINGS_PER_INSTANCE};
use wapod::{AppConfig, Config, Module, Phase, Running, Server};

/// Instances that are started for a mean.
const INSTANCES: usize = 50;

const TIME_LIMIT: Duration = Duration::from_secs(30);

/// A program that waits, with data and a table of its own as compilers make them.
const GUEST: &str = r#"(module
    (import "wapo" "ocall" (func (param i32 i32 i32 i32 i32 i32) (result i64)))
    (memory (export "memory") 17)
    (table 64 funcref)
    (data (i32.const 1024) "some data of the program")
    (func (export "wapo_poll") (result i32)
        (i32.store (i32.const 70000) (i32.const 1))
        (i32.const 0)))"#;

fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    maps.lines().count()
}

fn files() -> usize {
    fs::read_dir("/proc/self/fd").expect("files").count()
}

/// Starts one more app of a module, and waits until it runs.
async fn start(running: &Running, module: &Module, number: usize) {
    let mut app = AppConfig::new(module.clone());
    app.label = format!("app-{number}");
    let app = running.start_app(app).await.expect("starts");
    let mut status = app.status();
    let runs = status.wait_for(|status| status.phase == Phase::Running);
    let runs = tokio::time::timeout(TIME_LIMIT, runs).await;
    runs.expect("in time").expect("the app runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_costs_no_more_mappings_and_files_than_is_reckoned() {
    let running = Server::start(Config {
        instances_max: 64,
        ..Config::default()
    })
    .await
    .expect("starts");
    let module = Module::new(wat::parse_str(GUEST).expect("a module"));
    let mut before = (0, 0);
    for number in 0..=INSTANCES {
        if number == 1 {
            before = (mappings(), files());
        }
        start(&running, &module, number).await;
    }
    let instances = INSTANCES as u64;
    let maps = (mappings() - before.0) as u64;
    assert!(maps <= MAPPINGS_PER_INSTANCE * instances, "{maps} mappings");
    let files = (files() - before.1) as u64;
    assert!(files <= instances, "{files} files");
    assert!(before.0 as u64 <= DAEMON_MAPPINGS, "{} mappings", before.0);
    assert!(before.1 as u64 <= DAEMON_FILES, "{} files", before.1);
    running.shutdown().await;
}

/// Memory of this process that is resident, in bytes.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    let kib: u64 = number.and_then(|text| text.parse().ok()).expect("a number");
    kib * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_without_the_pool_takes_only_what_it_touches() {
    const SLACK_BYTES: u64 = 256 << 20;
    let running = Server::start(Config {
        allocation: wapod::Allocation::Enclave,
        memory_max_bytes: 1 << 30,
        instances_max: 64,
        ..Config::default()
    })
    .await
    .expect("starts");
    let module = Module::new(wat::parse_str(GUEST).expect("a module"));
    let before = resident_bytes();
    for number in 0..4 {
        start(&running, &module, number).await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < SLACK_BYTES, "{grown} bytes for four idle instances");
    running.shutdown().await;
}
