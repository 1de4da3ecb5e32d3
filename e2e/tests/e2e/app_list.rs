//! Lists of apps that clients keep by asking for what has changed.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::operator::{args, manifest, settings};
use e2e::probe::Script;
use e2e::{Operator, TIMEOUT, fixture, guest, text_guest, within};
use wapo_rpc::AppAddress;
use wapo_rpc::client::ClientError;
use wapo_rpc::message::*;
use wapod::QuotaList;

use crate::lifecycle_apps::{FAILING, FINISHED, IDLE};

/// Time for a worker to have written down what was used, after which an app that does
/// nothing is looked at no more.
const SETTLED: Duration = Duration::from_secs(3);

/// A client that keeps the list.
struct Keeper {
    /// Apps that it takes at a time.
    count: u32,
    since: String,
    apps: BTreeMap<Vec<u8>, AppInfo>,
}

impl Keeper {
    fn new(count: u32) -> Self {
        Self {
            count,
            since: "0".to_owned(),
            apps: BTreeMap::new(),
        }
    }

    /// Asks until there is no more. Says how many apps it was told of, and whether they
    /// came in place of all that it had.
    async fn settle(&mut self, operator: &Operator) -> (usize, bool) {
        let (mut told, mut is_new) = (0, false);
        loop {
            let answer = since(operator, &self.since, self.count).await.unwrap();
            assert!(self.count == 0 || answer.apps.len() <= self.count as usize);
            told += answer.apps.len();
            if !answer.is_delta {
                is_new = true;
                self.apps.clear();
            }
            for address in &answer.removed {
                self.apps.remove(address);
            }
            for app in answer.apps {
                self.apps.insert(app.address.clone(), timeless(app));
            }
            self.since = answer.revision;
            if !answer.has_more {
                return (told, is_new);
            }
        }
    }
}

async fn since(
    operator: &Operator,
    since: &str,
    count: u32,
) -> Result<AppListResponse, ClientError> {
    let args = AppListArgs {
        count,
        since: since.to_owned(),
        ..AppListArgs::default()
    };
    within("a list", operator.app_list(args)).await
}

/// An app without what grows with time.
fn timeless(mut app: AppInfo) -> AppInfo {
    app.last_query_elapsed = 0;
    for instance in &mut app.instance_list {
        (instance.uptime_ms, instance.next_start_ms) = (0, 0);
    }
    let usage = app.usage.get_or_insert_default();
    (usage.memory_mib_seconds, usage.running_time_ms) = (0, 0);
    app
}

/// What a client sees that asks for everything.
async fn whole(operator: &Operator) -> BTreeMap<Vec<u8>, AppInfo> {
    let apps = operator.apps().await.into_iter();
    apps.map(|app| (app.address.clone(), timeless(app)))
        .collect()
}

/// Waits until every keeper has what the whole list has. A change that was missed once
/// is never told.
async fn all_agree(operator: &Operator, keepers: &mut [Keeper], after: &str) {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    for keeper in keepers {
        loop {
            let before = whole(operator).await;
            keeper.settle(operator).await;
            if keeper.apps == before {
                break;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "after {after}: {:#?}\nis not {before:#?}",
                keeper.apps
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn change(app: AppAddress) -> AppSettingsSetArgs {
    AppSettingsSetArgs {
        address: app.0.to_vec(),
        ..AppSettingsSetArgs::default()
    }
}

fn resize(app: AppAddress, instances: u64) -> ResizeArgs {
    ResizeArgs {
        address: app.0.to_vec(),
        instances,
    }
}

async fn deploy(operator: &Operator, text: &str, label: &str) -> AppAddress {
    let change = |wanted: &mut DeployArgs| {
        manifest(wanted).label = label.to_owned();
        manifest(wanted).resizable = true;
    };
    operator.deploy_with(&text_guest(text), change).await
}

async fn deploy_on_demand(operator: &Operator, label: &str) -> AppAddress {
    let change = |wanted: &mut DeployArgs| {
        manifest(wanted).label = label.to_owned();
        manifest(wanted).on_demand = true;
    };
    operator.deploy_with(&guest("sdk-suite"), change).await
}

/// Deploys, changes and removes apps in every way, and calls back after each step.
async fn everything(operator: &Operator, mut then: impl AsyncFnMut(&str)) {
    let idle = deploy(operator, IDLE, "idle").await;
    then("a deployment").await;
    let demand = deploy_on_demand(operator, "demand").await;
    then("a deployment on demand").await;
    let failing = text_guest(FAILING);
    operator.put_code(&failing).await;
    let mut wanted = args(&failing);
    wanted.replaces = idle.0.to_vec();
    assert!(operator.try_deploy(wanted).await.is_err());
    then("a deployment that failed").await;
    let finished = deploy(operator, FINISHED, "finished").await;
    let is_over = |app: &AppInfo| app.state == "finished";
    operator.until("the end", finished, is_over).await;
    then("the end of an app").await;
    // From here on nothing is looked at that does not run.
    tokio::time::sleep(SETTLED).await;
    then("a pause").await;
    operator.app_stop(finished.into()).await.unwrap();
    then("a stop of an app that had finished").await;
    operator.app_resize(resize(idle, 3)).await.unwrap();
    then("a resize").await;
    operator.app_resize(resize(idle, 1)).await.unwrap();
    then("a resize to less").await;
    operator.app_stop(idle.into()).await.unwrap();
    then("a stop").await;
    tokio::time::sleep(SETTLED).await;
    settings_of_what_does_not_run(operator, idle, &mut then).await;
    operator.app_start(idle.into()).await.unwrap();
    then("a start").await;
    operator.query(demand, "/").await.unwrap();
    then("a request").await;
    let _gone = operator.query(demand, "/panic/why").await;
    then("a crash on demand").await;
    tokio::time::sleep(SETTLED).await;
    then("a pause after the crash").await;
    let crashing = operator.deploy(&guest("sdk-suite")).await;
    let _gone = operator.query(crashing, "/panic/why").await;
    let waits = |app: &AppInfo| app.state == "waiting";
    operator.until("a pause", crashing, waits).await;
    then("a crash").await;
    let runs = |app: &AppInfo| app.state == "running";
    operator.until("a restart", crashing, runs).await;
    then("a restart").await;
    let replaces = |wanted: &mut DeployArgs| {
        manifest(wanted).label = "heir".to_owned();
        manifest(wanted).on_demand = true;
        wanted.replaces = demand.0.to_vec();
    };
    let heir = operator.deploy_with(&guest("sdk-suite"), replaces).await;
    then("a replacement").await;
    operator.remove(idle).await;
    then("a removal").await;
    let again = deploy(operator, IDLE, "idle").await;
    assert_eq!(again, idle);
    then("a deployment of what was removed").await;
    operator.remove(again).await;
    deploy(operator, IDLE, "idle").await;
    then("a removal and a deployment of the same").await;
    operator.remove(heir).await;
    operator.app_remove_all(Empty {}).await.unwrap();
    then("a removal of all").await;
    deploy_on_demand(operator, "demand").await;
    then("a deployment on the empty worker").await;
}

/// Changes settings of an app of which nothing runs.
async fn settings_of_what_does_not_run(
    operator: &Operator,
    app: AppAddress,
    then: &mut impl AsyncFnMut(&str),
) {
    let mut wanted = change(app);
    wanted.weight = 7;
    operator.app_settings_set(wanted).await.unwrap();
    then("another weight").await;
    let mut wanted = change(app);
    wanted.quotas = vec![StringPair {
        key: "requests".to_owned(),
        value: "5".to_owned(),
    }];
    operator.app_settings_set(wanted).await.unwrap();
    then("a quota").await;
    let mut wanted = change(app);
    wanted.egress = Some(AppEgressRules {
        allow: vec!["10.1.0.0/16".to_owned()],
        ..AppEgressRules::default()
    });
    operator.app_settings_set(wanted).await.unwrap();
    then("rules for connections").await;
    let domain = || "shop.example.com".to_owned();
    let args = DomainAddArgs {
        address: app.0.to_vec(),
        domain: domain(),
        ..DomainAddArgs::default()
    };
    operator.domain_add(args).await.unwrap();
    then("a domain").await;
    let args = DomainRemoveArgs {
        address: app.0.to_vec(),
        domain: domain(),
    };
    operator.domain_remove(args).await.unwrap();
    then("a domain taken away").await;
    let args = SecretSetArgs {
        address: app.0.to_vec(),
        name: "KEY".to_owned(),
        value: b"secret".to_vec(),
    };
    operator.secret_set(args).await.unwrap();
    then("a secret").await;
    let args = SecretRemoveArgs {
        address: app.0.to_vec(),
        name: "KEY".to_owned(),
    };
    operator.secret_remove(args).await.unwrap();
    then("a secret taken away").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_kept_by_changes_is_the_whole_list() {
    let operator = Operator::start().await;
    let mut keepers = [Keeper::new(0), Keeper::new(1)];
    let mut late = [Keeper::new(2)];
    late[0].settle(&operator).await;
    let mut step = 0;
    everything(&operator, async |what| {
        all_agree(&operator, &mut keepers, what).await;
        step += 1;
        // One that asks now and then.
        if step % 4 == 0 {
            all_agree(&operator, &mut late, what).await;
        }
    })
    .await;
    all_agree(&operator, &mut late, "everything").await;
    all_agree(&operator, &mut [Keeper::new(1)], "everything").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_right_though_it_is_asked_for_all_the_time() {
    let operator = Operator::start().await;
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let keep = async |count| {
        let mut keeper = Keeper::new(count);
        while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
            keeper.settle(&operator).await;
        }
        all_agree(&operator, &mut [keeper], "everything").await;
    };
    let change = async {
        everything(&operator, async |_| {}).await;
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    tokio::join!(change, keep(0), keep(1), keep(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_worker_that_does_nothing_nothing_is_told() {
    let operator = Operator::start().await;
    let mut apps = Vec::new();
    for label in ["a", "b", "c", "d"] {
        apps.push(deploy_on_demand(&operator, label).await);
    }
    // One that runs and is asked for nothing is told of no more often.
    deploy(&operator, IDLE, "idle").await;
    tokio::time::sleep(SETTLED).await;
    let mut keepers = [Keeper::new(0), Keeper::new(2)];
    for keeper in &mut keepers {
        assert_eq!(keeper.settle(&operator).await, (5, true));
        let revision = keeper.since.clone();
        for _ in 0..3 {
            assert_eq!(keeper.settle(&operator).await, (0, false));
            assert_eq!(keeper.since, revision);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    operator.query(apps[2], "/").await.unwrap();
    for keeper in &mut keepers {
        let (told, is_new) = keeper.settle(&operator).await;
        assert!(told >= 1 && !is_new);
        assert_eq!(keeper.apps.len(), 5);
        let asked = &keeper.apps[apps[2].0.as_slice()];
        assert_eq!(asked.usage.as_ref().unwrap().requests, 1);
        // It may have changed once more, others have not.
        assert!(keeper.settle(&operator).await.0 <= 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_of_another_run_gives_the_whole_list_and_so_does_any_other_text() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let app = deploy_on_demand(&operator, "a").await;
    let mut keeper = Keeper::new(0);
    keeper.settle(&operator).await;
    operator.shutdown().await;
    let operator = Operator::in_folder(folder.path()).await;
    deploy_on_demand(&operator, "b").await;
    assert_eq!(keeper.settle(&operator).await, (2, true));
    assert!(!keeper.settle(&operator).await.1);
    let epoch = keeper.since.split('.').next().unwrap().to_owned();
    let most = u64::MAX;
    let giant = "9".repeat(100_000);
    for other in [
        "0123456789abcdef.1",
        &format!("{epoch}.{most}"),
        &format!("{epoch}.0.{most}.1"),
        &format!("{epoch}.-1"),
        "1",
        "-1",
        "é.1.1",
        "x",
        "\u{0}",
        &giant,
    ] {
        let answer = since(&operator, other, 0).await.unwrap();
        assert!(!answer.is_delta && answer.apps.len() == 2, "{other:.40}");
    }
    let body = format!(r#"{{"since":"{}","start":1}}"#, keeper.since);
    operator.json("AppList", &body).await.expect_status(400);
    operator.remove(app).await;
    let answer = since(&operator, &keeper.since, 0).await.unwrap();
    assert_eq!(answer.removed, [app.0.to_vec()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_nothing_of_revisions_sees_the_list_as_it_was() {
    let operator = Operator::start().await;
    let mut addresses = Vec::new();
    for label in ["a", "b", "c"] {
        addresses.push(deploy_on_demand(&operator, label).await.0.to_vec());
    }
    let told = |list: AppListResponse| -> Vec<Vec<u8>> {
        assert!(list.removed.is_empty() && !list.is_delta && !list.has_more);
        list.apps.into_iter().map(|app| app.address).collect()
    };
    let list = operator.app_list(AppListArgs::default()).await.unwrap();
    assert!(!list.revision.is_empty());
    // One that has the whole list can go on from there.
    let next = since(&operator, &list.revision, 0).await.unwrap();
    assert!(next.is_delta && next.apps.is_empty());
    assert_eq!(told(list), addresses);
    let args = AppListArgs {
        start: 1,
        count: 1,
        ..AppListArgs::default()
    };
    let page = operator.app_list(args).await.unwrap();
    assert!(page.revision.is_empty());
    assert_eq!(told(page), addresses[1..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_that_have_no_gas_because_others_used_it_are_told_of() {
    let limits: QuotaList = "gas=4000000".parse().expect("quotas");
    let operator = Operator::with(|config| config.worker_quotas = limits.0).await;
    let deploy = async |label: &str, gas_max| {
        let change = |wanted: &mut DeployArgs| {
            manifest(wanted).label = label.to_owned();
            manifest(wanted).on_demand = true;
            settings(wanted).gas_max = gas_max;
        };
        operator.deploy_with(&fixture("probe"), change).await
    };
    let spin = async |app: AppAddress| {
        let query = QueryArgs {
            address: app.0.to_vec(),
            path: "/".to_owned(),
            payload: Script::new().spin().bytes().to_vec(),
            ..QueryArgs::default()
        };
        let failed = within("the end of the loop", operator.app_query(query)).await;
        assert!(failed.is_err());
    };
    // It has used so much that others can leave it nothing.
    let first = deploy("first", 1_600_000).await;
    let second = deploy("second", 0).await;
    spin(first).await;
    tokio::time::sleep(SETTLED).await;
    let mut keepers = [Keeper::new(0)];
    all_agree(&operator, &mut keepers, "the first loop").await;
    let state = |keeper: &Keeper| keeper.apps[first.0.as_slice()].state.clone();
    assert_eq!(state(&keepers[0]), "idle");
    spin(second).await;
    all_agree(&operator, &mut keepers, "the second loop").await;
    assert_eq!(state(&keepers[0]), "stopped");
}
