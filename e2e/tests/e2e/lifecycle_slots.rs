//! Slots: how many instances there may be, and who makes room for whom.

use e2e::operator::{address, args, manifest};
use e2e::{Operator, guest, text_guest, within};
use wapo_rpc::AppAddress;
use wapo_rpc::message::*;

use crate::lifecycle_apps::IDLE;

async fn deploy(operator: &Operator, label: &str, kind: fn(&mut Manifest)) -> AppAddress {
    let app = guest("sdk-suite");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    manifest(&mut wanted).label = label.to_owned();
    kind(manifest(&mut wanted));
    address(&operator.try_deploy(wanted).await.unwrap())
}

async fn resize(operator: &Operator, app: AppAddress, instances: u64) -> Result<u64, String> {
    let args = ResizeArgs {
        address: app.0.to_vec(),
        instances,
    };
    let outcome = within("a resize", operator.app_resize(args)).await;
    outcome
        .map(|number| number.value)
        .map_err(|error| error.to_string())
}

fn resizable(manifest: &mut Manifest) {
    manifest.resizable = true;
}

fn on_demand(manifest: &mut Manifest) {
    manifest.on_demand = true;
}

async fn numbers(operator: &Operator, app: AppAddress) -> (u64, u64) {
    let info = operator.find(app).await.unwrap();
    (info.target, info.instances)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_without_a_free_slot_is_refused() {
    let operator = Operator::with(|config| config.instances_max = 1).await;
    let first = deploy(&operator, "first", |_| {}).await;
    let app = guest("sdk-suite");
    let mut wanted = args(&app);
    manifest(&mut wanted).label = "second".to_owned();
    let error = operator.try_deploy(wanted.clone()).await.unwrap_err();
    assert!(error.to_string().contains("No available slots"), "{error}");
    assert_eq!(operator.apps().await.len(), 1);
    operator.remove(first).await;
    operator.try_deploy(wanted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_grows_as_far_as_there_are_slots_and_shrinks_from_the_newest() {
    let operator = Operator::with(|config| config.instances_max = 4).await;
    let app = deploy(&operator, "", resizable).await;
    assert_eq!(resize(&operator, app, 2).await, Ok(2));
    let before: Vec<u64> = ids(&operator, app).await;
    assert_eq!(resize(&operator, app, 9).await, Ok(4));
    assert_eq!(numbers(&operator, app).await, (4, 4));
    let error = resize(&operator, app, 9).await.unwrap_err();
    assert!(error.contains("No available slots"), "{error}");
    assert_eq!(numbers(&operator, app).await, (4, 4));
    // A start never makes it smaller.
    operator.app_start(app.into()).await.unwrap();
    assert_eq!(numbers(&operator, app).await, (4, 4));
    assert_eq!(resize(&operator, app, 2).await, Ok(2));
    assert_eq!(ids(&operator, app).await, before, "the oldest stay");
    assert_eq!(resize(&operator, app, 0).await, Ok(0));
    assert_eq!(operator.find(app).await.unwrap().state, "stopped");
    operator.app_start(app.into()).await.unwrap();
    assert_eq!(numbers(&operator, app).await, (1, 1));
    let info = operator.info(Empty {}).await.unwrap();
    assert_eq!(info.running_instances, 1);
}

async fn ids(operator: &Operator, app: AppAddress) -> Vec<u64> {
    let list = operator.find(app).await.unwrap().instance_list;
    list.iter().map(|one| one.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_resizable_apps_grow() {
    let operator = Operator::start().await;
    let app = deploy(&operator, "", |_| {}).await;
    let before = ids(&operator, app).await;
    let error = resize(&operator, app, 2).await.unwrap_err();
    assert!(
        error.contains("was deployed without --resizable"),
        "{error}"
    );
    assert_eq!(ids(&operator, app).await, before);
    assert_eq!(resize(&operator, app, 1).await, Ok(1));
    assert_eq!(ids(&operator, app).await, before);
    let lazy = deploy(&operator, "lazy", on_demand).await;
    let error = resize(&operator, lazy, 1).await.unwrap_err();
    assert!(error.starts_with("on-demand app cannot"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_idle_instances_make_room() {
    let operator = Operator::with(|config| config.instances_max = 3).await;
    let big = deploy(&operator, "big", resizable).await;
    assert_eq!(resize(&operator, big, 3).await, Ok(3));
    let working = Working::start(&operator, big, 3).await;
    let lazy = deploy(&operator, "lazy", on_demand).await;
    let error = operator.query(lazy, "/").await.unwrap_err();
    assert_eq!(error, "No available slots", "all three work");
    working.end().await;
    let free = operator.until("idle instances", big, |app| {
        app.instance_list.iter().all(|one| one.requests == 0)
    });
    free.await;
    assert_eq!(operator.query(lazy, "/").await.unwrap(), "sdk-suite");
    assert_eq!(numbers(&operator, big).await.1, 2, "one has made room");
    // The last one of an app never goes.
    let more = deploy(&operator, "more", on_demand).await;
    let third = deploy(&operator, "third", on_demand).await;
    for app in [more, third, lazy, more] {
        assert_eq!(operator.query(app, "/").await.unwrap(), "sdk-suite");
    }
    assert!(numbers(&operator, big).await.1 >= 1);
    assert_eq!(operator.query(big, "/").await.unwrap(), "sdk-suite");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_apps_than_slots_take_turns() {
    let operator = Operator::with(|config| config.instances_max = 2).await;
    let mut apps = Vec::new();
    for name in ["one", "two", "three"] {
        apps.push(deploy(&operator, name, on_demand).await);
    }
    // The one that just made room is the next one to want some.
    for app in apps.iter().cycle().take(300) {
        assert_eq!(operator.query(*app, "/").await.unwrap(), "sdk-suite");
    }
}

/// Requests that keep instances busy for five seconds.
struct Working(Vec<tokio::task::JoinHandle<()>>);

impl Working {
    async fn start(operator: &Operator, app: AppAddress, count: usize) -> Self {
        let tasks = (0..count).map(|_| {
            let url = operator.user_url("/prpc/User.Query?json");
            let body = format!(r#"{{"address":"{app}","path":"/sleep/5000"}}"#);
            tokio::spawn(async move {
                e2e::client::post(&url, body).await.expect_status(200);
            })
        });
        let tasks = Self(tasks.collect());
        let spread = operator.until("work for each", app, |app| {
            app.instance_list
                .iter()
                .filter(|one| one.requests == 1)
                .count()
                == count
        });
        spread.await;
        tasks
    }

    async fn end(self) {
        for task in self.0 {
            within("an answer", task).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_requests_started_are_not_stopped_by_a_start() {
    let operator = Operator::start().await;
    let app = guest("sdk-suite");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    wanted.reuse_instances = false;
    let target = address(&operator.try_deploy(wanted).await.unwrap());
    let url = operator.user_url("/prpc/User.Query?json");
    let body = format!(r#"{{"address":"{target}","path":"/sleep/500"}}"#);
    let asking = tokio::spawn(async move { e2e::client::post(&url, body).await });
    let seen = operator.until("its own instance", target, |app| {
        app.instance_list.iter().any(|one| one.requests == 1)
    });
    seen.await;
    operator.app_start(target.into()).await.unwrap();
    let answer = within("the answer", asking).await.unwrap();
    answer.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_instance_without_a_slot_is_refused() {
    let operator = Operator::with(|config| config.instances_max = 1).await;
    let app = guest("sdk-suite");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    wanted.reuse_instances = false;
    let target = address(&operator.try_deploy(wanted).await.unwrap());
    // Never another app's instance instead.
    let error = operator.query(target, "/").await.unwrap_err();
    assert_eq!(error, "No available slots");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_free_again_when_its_guest_has_ended() {
    let operator = Operator::with(|config| config.instances_max = 1).await;
    let app = text_guest(crate::lifecycle_apps::FINISHED);
    operator.put_code(&app).await;
    for number in 0..5 {
        let mut wanted = args(&app);
        manifest(&mut wanted).label = number.to_string();
        let target = address(&operator.try_deploy(wanted).await.unwrap());
        let done = operator.until("its end", target, |app| app.state == "finished");
        done.await;
    }
    let app = operator.deploy(&text_guest(IDLE)).await;
    let info = operator.until("a start", app, |app| app.state == "running");
    info.await;
}
