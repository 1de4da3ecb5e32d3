//! What `/metrics` and `Operation.Info` tell of the budgets: it moves with what is
//! taken, and goes back when that is given back.

use std::path::Path;

use e2e::operator::args;
use e2e::probe::{SCRATCH, Script};
use e2e::{Errno, Operator, Probe, client, ports, text_guest, within};
use hyper::Method;
use tokio::net::TcpStream;
use wapo_rpc::Encoding;
use wapo_rpc::message::{Blob, Budget, Empty, WorkerInfo};
use wapod::{AppConfig, Config, DescriptorLimits, Module};

use crate::compiling::bombs::large_program;

const DESCRIPTORS: DescriptorLimits = DescriptorLimits {
    total: 120,
    per_instance: 16,
};
const MEMORY_BYTES: u64 = 64 << 20;

/// A worker with little of everything.
async fn small_worker() -> Operator {
    Operator::with(|config| {
        config.guest_descriptors = Some(DESCRIPTORS);
        config.memory_budget_bytes = Some(MEMORY_BYTES);
        config.connections_max = 32;
    })
    .await
}

/// The value of a series, such as `wapo_apps`.
async fn figure(operator: &Operator, series: &str) -> u64 {
    let page = operator.send(Method::GET, "/metrics", &[], "").await.text();
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("{series} in {page}"));
    value.parse().unwrap_or_else(|_| panic!("{series} {value}"))
}

/// Waits for the value of a series.
async fn until(operator: &Operator, series: &str, is_it: impl Fn(u64) -> bool) -> u64 {
    within(series, async {
        loop {
            let value = figure(operator, series).await;
            if is_it(value) {
                return value;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
}

fn of_guests(what: &str, budget: &str) -> String {
    format!("wapo_guest_budget_{what}{{budget=\"{budget}\"}}")
}

fn of_daemon(what: &str, budget: &str) -> String {
    format!("wapo_daemon_budget_{what}{{budget=\"{budget}\"}}")
}

fn of_port(port: &str, budget: &str) -> String {
    format!("wapo_client_budget_used{{port=\"{port}\",budget=\"{budget}\"}}")
}

/// A series of an app that has a name.
fn of_app(what: &str, probe: &Probe, name: &str) -> String {
    let address = probe.app().handle().address();
    format!("wapo_app_{what}{{app=\"{address}\",name=\"{name}\"}}")
}

/// A guest that grows its memory by so many pages in its first poll, and stays.
fn growing(label: &str, pages: u32) -> AppConfig {
    let mut config = text_guest(&format!(
        r#"(module (memory (export "memory") 1)
             (func (export "wapo_poll") (result i32)
               (drop (memory.grow (i32.const {pages}))) (i32.const 0)))"#
    ));
    label.clone_into(&mut config.label);
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_of_guests_are_shown_until_they_are_given_back() {
    let operator = small_worker().await;
    let (used, refused) = (
        of_guests("used", "descriptors"),
        of_guests("refused_total", "descriptors"),
    );
    assert_eq!(figure(&operator, &used).await, 0);
    let max = of_guests("max", "descriptors");
    assert_eq!(figure(&operator, &max).await, DESCRIPTORS.total);
    let per_instance = figure(&operator, "wapo_instance_descriptors_max").await;
    assert_eq!(per_instance, DESCRIPTORS.per_instance);

    let port = ports::free();
    let probe = Probe::on(operator.daemon(), |app| {
        "holder".clone_into(&mut app.label);
        app.listen_ports = ports::only(port);
    })
    .await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    // A listener has two.
    assert_eq!(figure(&operator, &used).await, 2);
    let mut clients = Vec::new();
    for _ in 2..DESCRIPTORS.per_instance {
        clients.push(TcpStream::connect(&address).await.unwrap());
        assert!(probe.tcp_accept_no_addr(listener).await.is_ok());
    }
    assert_eq!(figure(&operator, &used).await, DESCRIPTORS.per_instance);
    let of_app = of_app("descriptors", &probe, "holder");
    assert_eq!(figure(&operator, &of_app).await, DESCRIPTORS.per_instance);
    assert_eq!(figure(&operator, &refused).await, 0);
    let another = probe.tcp_listen(&format!("127.0.0.2:{port}"), None).await;
    assert_eq!(another, Err(Errno::Limited));
    assert_eq!(figure(&operator, &refused).await, 1);

    // Those of the daemon are counted apart, and stay within what is kept for it.
    let own = figure(&operator, &of_daemon("used", "descriptors")).await;
    let kept = figure(&operator, &of_daemon("max", "descriptors")).await;
    assert!(own > 0 && own <= kept, "{own} of {kept}");
    probe.app().stop().await;
    until(&operator, &used, |used| used == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_guests_is_shown_until_it_is_given_back() {
    let operator = small_worker().await;
    let (used, refused) = (
        of_guests("used", "memory_bytes"),
        of_guests("refused_total", "memory_bytes"),
    );
    let max = figure(&operator, &of_guests("max", "memory_bytes")).await;
    assert_eq!(max, MEMORY_BYTES);
    let before = figure(&operator, &used).await;
    let instances = of_guests("used", "instances");
    assert_eq!(figure(&operator, &instances).await, 0);
    let first = operator.daemon().deploy(growing("first", 512)).await;
    first.is_running().await;
    let held = figure(&operator, &used).await;
    assert!(held >= before + (32 << 20), "{held}");
    assert_eq!(figure(&operator, &instances).await, 1);
    assert_eq!(figure(&operator, &refused).await, 0);
    let second = operator.daemon().deploy(growing("second", 600)).await;
    second.is_running().await;
    assert_eq!(figure(&operator, &refused).await, 1, "its growth");
    let left = figure(&operator, &used).await;
    assert!(left < held + (1 << 20), "{left}");
    first.stop().await;
    until(&operator, &used, |used| used < before + (1 << 20)).await;
    second.stop().await;
    until(&operator, &used, |used| used == before).await;
    until(&operator, &instances, |instances| instances == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_keeps_for_an_app_is_shown() {
    const BLOB_BYTES: usize = 1 << 20;
    let operator = small_worker().await;
    let blob = Blob {
        hash: "sha256:".to_owned(),
        body: vec![7; BLOB_BYTES],
    };
    let name = operator.blob_put(blob).await.unwrap().hash;
    let probe = Probe::on(operator.daemon(), |app| "keeper".clone_into(&mut app.label)).await;
    // An answer that the guest leaves where it is.
    let len = u32::try_from(name.len()).unwrap();
    let script = Script::new().write(SCRATCH, name.as_bytes());
    let script = script.slow(244, [SCRATCH, len, 0, 0]);
    assert!(probe.run(&script).await.result().is_ok());
    let of_app = of_app("host_memory_bytes", &probe, "keeper");
    let kept = figure(&operator, &of_app).await;
    assert!(kept >= BLOB_BYTES as u64, "{kept}");
    // A small answer takes its place.
    assert!(probe.slow_only(242, [0; 4]).await.is_ok());
    assert!(figure(&operator, &of_app).await < BLOB_BYTES as u64 / 2);
}

/// With a folder of its own for compiled modules, so that nothing is there yet.
fn nothing_compiled(folder: &Path) -> impl FnOnce(&mut Config) {
    let folder = folder.to_owned();
    move |config| {
        config.data_dir = Some(folder);
        config.module_cache = None;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_that_are_compiled_and_that_wait_are_shown() {
    const AT_A_TIME: u32 = 2;
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::with(nothing_compiled(folder.path())).await;
    let series = |budget| of_daemon("used", budget);
    let max = figure(&operator, &of_daemon("max", "compilations")).await;
    assert_eq!(max, u64::from(AT_A_TIME));
    let programs = (0..=AT_A_TIME).map(|more| {
        let wasm = large_program(2_000 + more, 60, "wapo_poll");
        AppConfig::new(Module::new(wasm))
    });
    let programs: Vec<_> = programs.collect();
    for program in &programs {
        operator.put_code(program).await;
    }
    let deploying = programs.iter().enumerate().map(|(number, program)| {
        let wanted = args(program);
        let mut manifest = wanted.manifest.clone().unwrap();
        manifest.label = format!("program-{number}");
        let wanted = wapo_rpc::message::DeployArgs {
            manifest: Some(manifest),
            ..wanted
        };
        operator.app_deploy(wanted)
    });
    let watching = async {
        until(&operator, &series("compile_queue"), |waiting| waiting == 1).await;
        let bytes = figure(&operator, &series("compile_queue_bytes")).await;
        let working = figure(&operator, &series("compilations")).await;
        (bytes, working)
    };
    let all = futures_util::future::join_all(deploying);
    let (deployed, (bytes, working)) = tokio::join!(all, watching);
    // The first may have ended between the two looks, and the last begun.
    assert!(bytes > 0 || working > 0, "{bytes} {working}");
    for one in deployed {
        one.unwrap();
    }
    for budget in ["compilations", "compile_queue", "compile_queue_bytes"] {
        until(&operator, &series(budget), |left| left == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_both_ports_are_shown_until_they_end() {
    let operator = small_worker().await;
    let admin = operator.daemon().running().admin_address().unwrap();
    for (port, address) in [("user", operator.gateway()), ("admin", admin)] {
        let series = of_port(port, "connections");
        // The test's own requests have some connections, which come and go.
        let (clients, own) = (20, 5);
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(TcpStream::connect(address).await.unwrap());
        }
        until(&operator, &series, |used| used >= clients).await;
        drop(connections);
        until(&operator, &series, |used| used <= own).await;
    }
}

/// A budget of the worker's report.
fn find<'a>(info: &'a WorkerInfo, scope: &str, name: &str) -> &'a Budget {
    let mut budgets = info.budgets.iter();
    let found = budgets.find(|one| one.scope == scope && one.name == name);
    found.unwrap_or_else(|| panic!("{scope} {name} in {:?}", info.budgets))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_report_has_every_budget_and_the_public_one_none() {
    let operator = small_worker().await;
    let info = operator.info(Empty {}).await.unwrap();
    let page = operator.send(Method::GET, "/metrics", &[], "").await.text();
    for one in &info.budgets {
        assert!(!one.title.is_empty(), "{one:?}");
        let series = match one.scope.as_str() {
            "guests" => of_guests("max", &one.name),
            "daemon" => of_daemon("max", &one.name),
            port => of_port(port, &one.name).replace("used", "max"),
        };
        let line = format!("{series} {}\n", one.max);
        assert!(page.contains(&line), "{line} in {page}");
    }
    let in_page = |line: &&str| line.starts_with("wapo_") && line.contains("_budget_max{");
    let shown = page.lines().filter(in_page).count();
    assert_eq!(info.budgets.len(), shown, "no more and no less");
    assert_eq!(find(&info, "guests", "memory_bytes").max, MEMORY_BYTES);
    let descriptors = find(&info, "guests", "descriptors");
    assert_eq!((descriptors.used, descriptors.max), (0, DESCRIPTORS.total));
    assert!(find(&info, "daemon", "descriptors").used > 0);
    assert!(find(&info, "admin", "connections").used > 0);
    let of_users = find(&info, "user", "body_bytes");
    assert_eq!(of_users.max, wapod::limits::BODIES_BYTES_MAX);

    let answer = client::get(&operator.user_url("/prpc/User.Info")).await;
    let seen: WorkerInfo = Encoding::Json.decode(&answer.body).unwrap();
    assert!(seen.budgets.is_empty(), "{:?}", seen.budgets);
    // Without a limit there is none, in either place.
    let operator = Operator::start().await;
    let info = operator.info(Empty {}).await.unwrap();
    assert_eq!(find(&info, "guests", "memory_bytes").max, 0);
    let page = operator.send(Method::GET, "/metrics", &[], "").await.text();
    let line = format!("{} +Inf\n", of_guests("max", "memory_bytes"));
    assert!(page.contains(&line), "{page}");
}
