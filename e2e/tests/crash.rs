//! `kill -9` at any moment, and everything that was confirmed is still there.
//!
//! A test binary of its own: it needs a daemon in another process. Four rounds,
//! or as many as `WAPO_CRASH_ROUNDS` says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::operator::{address, args, manifest};
use e2e::{guest, within};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use wapo_rpc::client::Client;
use wapo_rpc::message::*;
use wapo_rpc::statement::{self, AppMetrics, AppsMetrics, VersionedAppsMetrics};
use wapo_rpc::{AppAddress, usage_file};
use wapo_verify::usage;

const ROUNDS: u32 = 4;

/// The daemon, in a folder that is its argument.
const PROGRAM: &str = env!("CARGO_BIN_EXE_e2e-daemon");

/// A daemon in another process.
struct Process {
    child: Child,
    client: Client,
    /// Where apps are served.
    user: String,
}

impl Process {
    async fn start(folder: &Path) -> Self {
        // A file that may not grow any more is an error and not the end.
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$1\"", PROGRAM])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within("the daemon", lines.next_line()).await.unwrap();
        let line = line.expect("the daemon starts");
        let (admin, user) = line.split_once(' ').unwrap();
        let client = Client::new(&format!("http://{admin}"), None).unwrap();
        let ready = async {
            while !client.health().await.is_ok_and(|health| health.ready) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        within("the daemon to be ready", ready).await;
        let user = user.to_owned();
        Self {
            child,
            client,
            user,
        }
    }

    /// As `kill -9` does.
    async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// What the worker has confirmed, in all its lives.
#[derive(Default)]
struct Confirmed {
    /// Apps that must be there, each with its deployment's session.
    apps: BTreeMap<AppAddress, Vec<u8>>,
    removed: BTreeSet<AppAddress>,
    secrets: BTreeMap<AppAddress, String>,
    blobs: BTreeSet<String>,
    /// The last signed bill of each deployment.
    bills: BTreeMap<[u8; 32], AppMetrics>,
    last_number: u64,
}

type Shared = Arc<Mutex<Confirmed>>;

/// Makes calls until the first one fails, which is when the daemon is killed.
async fn deploy_and_remove(client: Client, shared: Shared, round: u32, who: u32) {
    let app = guest("sdk-suite");
    for number in 0.. {
        let mut wanted = args(&app);
        manifest(&mut wanted).label = format!("{round} {who} {number}");
        manifest(&mut wanted).on_demand = true;
        let Ok(deployed) = client.app_deploy(wanted).await else {
            return;
        };
        let target = address(&deployed);
        shared.lock().unwrap().apps.insert(target, deployed.session);
        let value = format!("secret {round} {who} {number}");
        let secret = SecretSetArgs {
            address: target.0.to_vec(),
            name: "TOKEN".to_owned(),
            value: value.clone().into_bytes(),
        };
        if client.secret_set(secret).await.is_err() {
            return;
        }
        shared.lock().unwrap().secrets.insert(target, value);
        if number % 5 == 0 && ask(&client, target, "/tip/1").await.is_err() {
            return;
        }
        if number % 2 == 0 {
            {
                let mut confirmed = shared.lock().unwrap();
                confirmed.apps.remove(&target);
                confirmed.secrets.remove(&target);
            }
            if client.app_remove(target.into()).await.is_err() {
                return;
            }
            let mut confirmed = shared.lock().unwrap();
            confirmed.removed.insert(target);
        }
    }
}

async fn put_blobs(client: Client, shared: Shared) {
    loop {
        let body: Vec<u8> = std::iter::repeat_with(rand::random).take(20_000).collect();
        let blob = Blob {
            hash: String::new(),
            body,
        };
        let Ok(stored) = client.blob_put(blob).await else {
            return;
        };
        shared.lock().unwrap().blobs.insert(stored.hash);
    }
}

async fn read_bills(client: Client, shared: Shared, anchor: AppAddress) {
    loop {
        if ask(&client, anchor, "/tip/1").await.is_err() {
            return;
        }
        let Some(pages) = bills(&client).await else {
            return;
        };
        shared.lock().unwrap().note(pages);
    }
}

async fn ask(client: &Client, app: AppAddress, path: &str) -> Result<Vec<u8>, String> {
    let args = QueryArgs {
        address: app.0.to_vec(),
        path: path.to_owned(),
        ..QueryArgs::default()
    };
    let answer = within(path, client.app_query(args)).await;
    answer
        .map(|answer| answer.output)
        .map_err(|error| error.to_string())
}

/// Reports on all apps; none when the daemon is gone.
async fn bills(client: &Client) -> Option<Vec<AppsMetrics>> {
    let (mut pages, mut cursor) = (Vec::new(), 0);
    loop {
        let asked = Addresses {
            addresses: Vec::new(),
            cursor,
        };
        let report = client.app_metrics(asked).await.ok()?;
        let VersionedAppsMetrics::V0(page) = statement::decode(&report.encoded_metrics).unwrap();
        pages.push(page);
        cursor = report.next_cursor;
        if cursor == 0 {
            return Some(pages);
        }
    }
}

impl Confirmed {
    /// Checks new bills against the last ones, and keeps them.
    fn note(&mut self, pages: Vec<AppsMetrics>) {
        for page in pages {
            assert!(
                page.token.sn > self.last_number,
                "{} after {}",
                page.token.sn,
                self.last_number
            );
            self.last_number = page.token.sn;
            for bill in page.apps.iter() {
                if let Some(last) = self.bills.get(&bill.session) {
                    assert_grown(last, bill);
                }
                self.bills.insert(bill.session, *bill);
            }
        }
    }
}

fn assert_grown(last: &AppMetrics, bill: &AppMetrics) {
    assert_eq!(last.address, bill.address);
    let numbers = |bill: &AppMetrics| {
        [
            bill.running_time_ms,
            bill.gas_consumed,
            bill.network_ingress,
            bill.network_egress,
            bill.storage_read,
            bill.storage_write,
            bill.tip,
            bill.starts,
        ]
    };
    for (before, after) in numbers(last).into_iter().zip(numbers(bill)) {
        assert!(before <= after, "{last:?} then {bill:?}");
    }
    assert!(last.memory_used <= bill.memory_used && last.storage_used <= bill.storage_used);
}

/// What never changes: the worker, its session, the anchor and its secret.
#[derive(PartialEq, Debug)]
struct Identity {
    worker: Vec<u8>,
    session: Vec<u8>,
    secret: Vec<u8>,
}

async fn identity(client: &Client, anchor: AppAddress) -> Identity {
    let info = client.info(Empty {}).await.unwrap();
    Identity {
        worker: info.pubkey,
        session: info.session,
        secret: ask(client, anchor, "/secret/path").await.unwrap(),
    }
}

async fn check(client: &Client, shared: &Shared) {
    let pages = bills(client).await.unwrap();
    let list = client.app_list(AppListArgs::default()).await.unwrap().apps;
    let here: BTreeSet<_> = list
        .iter()
        .map(|app| AppAddress::from_bytes(&app.address).unwrap())
        .collect();
    let (blobs, secrets) = {
        let mut confirmed = shared.lock().unwrap();
        let sessions: BTreeSet<_> = pages
            .iter()
            .flat_map(|page| page.apps.iter().map(|bill| bill.session.to_vec()))
            .collect();
        for (app, session) in &confirmed.apps {
            assert!(here.contains(app), "{app} was deployed");
            assert!(sessions.contains(session), "{app} is the same deployment");
        }
        for app in &confirmed.removed {
            assert!(!here.contains(app), "{app} was removed");
        }
        for session in confirmed.bills.keys() {
            assert!(sessions.contains(session.as_slice()), "a bill is missing");
        }
        confirmed.note(pages);
        (confirmed.blobs.clone(), confirmed.secrets.clone())
    };
    for blob in blobs {
        let mut content = Vec::new();
        let read = client.download_blob(&blob, &mut content).await;
        assert_eq!(read.unwrap(), 20_000, "{blob}");
    }
    for (app, value) in secrets.iter().rev().take(3) {
        let seen = ask(client, *app, "/env/TOKEN").await.unwrap();
        assert_eq!(seen, value.as_bytes());
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "how long to try is up to the runner of the tests"
)]
fn rounds() -> u32 {
    let text = std::env::var("WAPO_CRASH_ROUNDS").ok();
    text.map_or(ROUNDS, |text| text.parse().expect("a number of rounds"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::default();
    let app = guest("sdk-suite");
    let mut first = Process::start(folder.path()).await;
    let code = Blob {
        hash: String::new(),
        body: app.module.wasm().to_vec(),
    };
    first.client.blob_put(code).await.unwrap();
    let anchor = address(&first.client.app_deploy(args(&app)).await.unwrap());
    let expected = identity(&first.client, anchor).await;
    first.kill().await;
    for round in 0..rounds() {
        let mut process = Process::start(folder.path()).await;
        check(&process.client, &shared).await;
        assert_eq!(identity(&process.client, anchor).await, expected);
        let mut load = tokio::task::JoinSet::new();
        let client = || process.client.clone();
        for who in 0..3 {
            load.spawn(deploy_and_remove(client(), Arc::clone(&shared), round, who));
        }
        load.spawn(put_blobs(client(), Arc::clone(&shared)));
        load.spawn(read_bills(client(), Arc::clone(&shared), anchor));
        let moment = 100 + rand::random::<u64>() % 600;
        tokio::time::sleep(Duration::from_millis(moment)).await;
        process.kill().await;
        let ended = within("the callers", load.join_all()).await;
        assert_eq!(ended.len(), 5);
    }
    let mut last = Process::start(folder.path()).await;
    check(&last.client, &shared).await;
    {
        let confirmed = shared.lock().unwrap();
        assert!(!confirmed.apps.is_empty() && !confirmed.removed.is_empty());
        assert!(!confirmed.blobs.is_empty() && !confirmed.bills.is_empty());
    }
    last.kill().await;
}

/// The bill of one app.
async fn bill(client: &Client, app: AppAddress) -> AppMetrics {
    let asked = Addresses {
        addresses: vec![app.0.to_vec()],
        cursor: 0,
    };
    let report = client.app_metrics(asked).await.unwrap();
    let VersionedAppsMetrics::V0(page) = statement::decode(&report.encoded_metrics).unwrap();
    page.apps[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replaced_app_used_while_it_left_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path()).await;
    put_code(&process.client).await;
    let app = guest("sdk-suite");
    let old = address(&process.client.app_deploy(args(&app)).await.unwrap());
    // It is never answered, so the old one has something to wait for.
    let url = format!("http://{}/app/{old}/never", process.user);
    let asking = tokio::spawn(async move {
        let asked = e2e::client::exchange(hyper::Method::GET, &url, Vec::new());
        asked.await.map(drop)
    });
    let find = async |wanted: AppAddress| {
        let list = process.client.app_list(AppListArgs::default()).await;
        let mut apps = list.unwrap().apps.into_iter();
        apps.find(|app| app.address == wanted.0)
    };
    let asked = async {
        while find(old)
            .await
            .is_none_or(|app| app.instance_list[0].requests != 1)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the request", asked).await;
    let client = process.client.clone();
    let replacing = tokio::spawn(async move {
        let mut wanted = args(&app);
        manifest(&mut wanted).label = "new".to_owned();
        wanted.replaces = old.0.to_vec();
        wanted.settle_ms = 1;
        client.app_deploy(wanted).await
    });
    let exchanged = async {
        while find(old).await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the exchange", exchanged).await;
    let first = bill(&process.client, old).await;
    let told = async {
        loop {
            let told = bill(&process.client, old).await;
            if told.running_time_ms >= first.running_time_ms + 500 {
                return told;
            }
        }
    };
    let told = within("a bill that grows", told).await;
    assert!(!replacing.is_finished(), "the old one leaves still");
    process.kill().await;
    replacing.abort();
    asking.abort();
    for _ in 0..2 {
        let mut process = Process::start(folder.path()).await;
        let after = bill(&process.client, old).await;
        assert_grown(&told, &after);
        // What runs on is others' time.
        assert!(
            after.running_time_ms < told.running_time_ms + 5_000,
            "{after:?}"
        );
        process.kill().await;
    }
}

/// Deploys apps of some size until the worker cannot write one down, and gives
/// those that are there.
async fn deploy_until_refused(client: &Client) -> Vec<AppAddress> {
    let mut deployed = Vec::new();
    for number in 0..2000 {
        let mut wanted = args(&guest("sdk-suite"));
        manifest(&mut wanted).label = format!("many {number}");
        manifest(&mut wanted).on_demand = true;
        manifest(&mut wanted).args = vec!["x".repeat(15_000)];
        match client.app_deploy(wanted).await {
            Ok(answer) => deployed.push(address(&answer)),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("cannot write the worker's state"), "{error}");
                assert!(error.contains("make room"), "{error}");
                return deployed;
            }
        }
    }
    panic!("the state can grow")
}

async fn put_code(client: &Client) {
    let app = guest("sdk-suite");
    let blob = Blob {
        hash: app.module.hash(),
        body: app.module.wasm().to_vec(),
    };
    client.blob_put(blob).await.unwrap();
}

async fn addresses(client: &Client) -> BTreeSet<AppAddress> {
    let list = client.app_list(AppListArgs::default()).await.unwrap();
    let address = |app: &AppInfo| AppAddress::from_bytes(&app.address).unwrap();
    list.apps.iter().map(address).collect()
}

/// Needs no permission: the system refuses to let files grow.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_grow_is_an_error_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path()).await;
    put_code(&process.client).await;
    let limit = |bytes: &str| {
        let id = process.child.id().unwrap().to_string();
        let limited = std::process::Command::new("prlimit")
            .args(["--pid", &id, &format!("--fsize={bytes}:unlimited")])
            .status();
        assert!(limited.unwrap().success());
    };
    let state = std::fs::metadata(folder.path().join("state.redb")).unwrap();
    limit(&state.len().to_string());
    let deployed = deploy_until_refused(&process.client).await;
    assert_eq!(addresses(&process.client).await.len(), deployed.len());
    limit("unlimited");
    // It recovers by itself.
    let mut wanted = args(&guest("sdk-suite"));
    manifest(&mut wanted).label = "one more".to_owned();
    manifest(&mut wanted).on_demand = true;
    let more = address(&process.client.app_deploy(wanted).await.unwrap());
    process.kill().await;
    let process = Process::start(folder.path()).await;
    let expected: BTreeSet<_> = deployed.into_iter().chain([more]).collect();
    assert_eq!(addresses(&process.client).await, expected);
}

/// A small disk for the length of a test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` when this process may not mount anything, which is said. What is tested
    /// with it is then left to the tests of the store, whose disk is made of errors.
    /// Where tests run in CI, and as root, that is a failure.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"]);
        let outcome = mount.arg(folder.path()).output();
        let why = match outcome {
            Ok(output) if output.status.success() => return Some(Self(folder)),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        assert!(!(is_root && is_ci()), "no small disk for this test: {why}");
        eprintln!("\n!!! NOT TESTED: no permission to mount a small disk: {why}\n");
        None
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "whether tests run in CI is known to the environment"
)]
fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = std::process::Command::new("umount");
        let _ = unmount.arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_on_a_full_disk_the_daemon_starts_and_apps_can_be_removed() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let (data, filler) = (disk.0.path().join("data"), disk.0.path().join("filler"));
    let reserve = data.join("reserve");
    let mut process = Process::start(&data).await;
    put_code(&process.client).await;
    let mut deployed = Vec::new();
    for number in 0..3 {
        let mut wanted = args(&guest("sdk-suite"));
        manifest(&mut wanted).label = number.to_string();
        manifest(&mut wanted).on_demand = true;
        deployed.push(address(&process.client.app_deploy(wanted).await.unwrap()));
    }
    assert!(reserve.exists());
    assert!(
        std::fs::write(&filler, vec![0; 64 << 20]).is_err(),
        "it is full"
    );
    process.kill().await;

    let mut process = Process::start(&data).await;
    assert_eq!(addresses(&process.client).await.len(), 3);
    for gone in &deployed[..2] {
        let removed = within("a removal", process.client.app_remove((*gone).into())).await;
        removed.unwrap();
    }
    assert!(!reserve.exists(), "it was needed");
    process.kill().await;
    let process = Process::start(&data).await;
    let left: Vec<_> = addresses(&process.client).await.into_iter().collect();
    assert_eq!(left, deployed[2..]);
    // With room there is a reserve again, some seconds after the next change.
    std::fs::remove_file(&filler).unwrap();
    let made = async {
        while !reserve.exists() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within("a new reserve", made).await;
}

/// The reports from the first on; what was used is reported before.
async fn reports(client: &Client) -> Option<Vec<Vec<u8>>> {
    let asked = UsageExportArgs {
        settle: true,
        ..Default::default()
    };
    Some(client.usage_export(asked).await.ok()?.reports)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bill_is_one_chain_over_all_lives() {
    let folder = tempfile::tempdir().unwrap();
    let mut known: Vec<Vec<u8>> = Vec::new();
    let mut worker = [0; 32];
    for round in 0..rounds() {
        let mut process = Process::start(folder.path()).await;
        let client = process.client.clone();
        if round == 0 {
            put_code(&client).await;
            client.app_deploy(args(&guest("sdk-suite"))).await.unwrap();
            let info = client.info(Empty {}).await.unwrap();
            worker = info.pubkey.try_into().unwrap();
        }
        let app = *addresses(&client).await.first().unwrap();
        ask(&client, app, "/tip/1").await.unwrap();
        let told = reports(&client).await.unwrap();
        assert!(told.len() > known.len(), "something was used");
        assert_eq!(told[..known.len()], known, "what was told stays");
        known = told;
        let again = tokio::spawn(async move { reports(&client).await });
        tokio::time::sleep(Duration::from_millis(990 + u64::from(round) * 7)).await;
        process.kill().await;
        known = again.await.unwrap().unwrap_or(known);
    }
    let lines = known.iter().map(|one| statement::decode(one).unwrap());
    let lines: String = lines.map(|one| usage_file::line(&one)).collect();
    let text = usage_file::header(&worker, None) + &lines;
    let (verdict, bill) = usage::check(text.as_bytes(), &usage::Expected::default());
    let bill = bill.unwrap_or_else(|| panic!("{verdict:?}"));
    assert_eq!(bill.first.seq, 1);
    assert!(bill.deployments[0].totals.tip >= u64::from(rounds()));
}
