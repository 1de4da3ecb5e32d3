//! `kill -9` at any moment, and everything that was confirmed is still there.
//!
//! A test binary of its own: it needs a daemon in another process. Four rounds,
//! or as many as `WAPO_CRASH_ROUNDS` says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::operator::{address, args, manifest};
use e2e::{guest, within};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use wapo_rpc::AppAddress;
use wapo_rpc::client::Client;
use wapo_rpc::message::*;
use wapo_rpc::statement::{self, AppMetrics, AppsMetrics, VersionedAppsMetrics};

const ROUNDS: u32 = 4;

/// A daemon in another process.
struct Process {
    child: Child,
    client: Client,
}

impl Process {
    async fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_e2e-daemon"))
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within("the daemon", lines.next_line()).await.unwrap();
        let line = line.expect("the daemon starts");
        let (admin, _) = line.split_once(' ').unwrap();
        let client = Client::new(&format!("http://{admin}"), None).unwrap();
        let ready = async {
            while !client.health().await.is_ok_and(|health| health.ready) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        within("the daemon to be ready", ready).await;
        Self { child, client }
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
    reason = "how long to try is up to whoever runs the tests"
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
