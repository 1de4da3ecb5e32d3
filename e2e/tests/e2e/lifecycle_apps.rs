//! What an operator does with apps, and what it sees of them.

use std::time::{Duration, Instant};

use e2e::operator::{address, args, manifest, settings};
use e2e::{Operator, client, guest, text_guest, within};
use wapo_rpc::message::*;

/// A guest that does nothing and goes on doing so.
pub(crate) const IDLE: &str = r#"(module (memory (export "memory") 1)
    (func (export "wapo_poll") (result i32) (i32.const 0)))"#;
/// A guest that has done its work at once.
pub(crate) const FINISHED: &str = r#"(module (memory (export "memory") 1)
    (func (export "wapo_poll") (result i32) (i32.const 1)))"#;
/// A guest that fails at once.
pub(crate) const FAILING: &str = r#"(module (memory (export "memory") 1)
    (func (export "wapo_poll") (result i32) unreachable))"#;
/// A guest that never comes back.
pub(crate) const SPINNING: &str = r#"(module (memory (export "memory") 1)
    (func (export "wapo_poll") (result i32) (loop $l (br $l)) (i32.const 0)))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_deployment_leaves_nothing_and_can_be_retried() {
    let operator = Operator::start().await;
    let app = guest("query");
    for on_demand in [false, true] {
        let mut wanted = args(&app);
        manifest(&mut wanted).on_demand = on_demand;
        let error = operator.try_deploy(wanted).await.unwrap_err().to_string();
        assert!(error.starts_with("Wasm code not found"), "{error}");
        assert!(error.contains(&app.module.hash()), "{error}");
        assert!(operator.apps().await.is_empty());
    }
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    manifest(&mut wanted).required_blobs = vec![StringPair {
        key: format!("sha256:{}", "00".repeat(32)),
        value: "Qm".to_owned(),
    }];
    let error = operator.try_deploy(wanted).await.unwrap_err().to_string();
    assert!(error.contains(&"00".repeat(32)), "{error}");
    let address = operator.deploy(&app).await;
    let again = operator.try_deploy(args(&app)).await.unwrap_err();
    assert!(again.to_string().starts_with("app already exists"));
    assert_eq!(operator.apps().await.len(), 1);
    assert_eq!(operator.query(address, "/origin").await.unwrap(), "nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_is_no_module_is_refused_also_on_demand() {
    let operator = Operator::start().await;
    let blob = Blob {
        hash: String::new(),
        body: b"\0asm and so on".to_vec(),
    };
    let hash = operator.blob_put(blob).await.unwrap().hash;
    for on_demand in [false, true] {
        let mut wanted = args(&guest("query"));
        manifest(&mut wanted).code_hash.clone_from(&hash);
        manifest(&mut wanted).on_demand = on_demand;
        let error = operator.try_deploy(wanted).await.unwrap_err().to_string();
        assert!(error.contains("failed to load module"), "{error}");
        assert!(operator.apps().await.is_empty());
    }
    let info = operator.info(Empty {}).await.unwrap();
    assert_eq!((info.deployed_apps, info.running_instances), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_tells_in_which_state_an_app_is_and_why() {
    let operator = Operator::start().await;
    let deploy = async |text: &str, label: &str| {
        let app = text_guest(text);
        operator.put_code(&app).await;
        let mut wanted = args(&app);
        manifest(&mut wanted).label = label.to_owned();
        operator.try_deploy(wanted).await
    };
    let idle = address(&deploy(IDLE, "idle").await.unwrap());
    let running = operator.until("running", idle, |app| app.state == "running");
    let running = running.await;
    assert_eq!((running.target, running.instances), (1, 1));
    assert_eq!(running.instance_list[0].phase, "running");
    assert!(running.instance_list[0].memory >= 1 << 16);
    assert!(running.reason.is_empty() && running.deployed_at_ms > 0);

    operator.app_stop(idle.into()).await.unwrap();
    let stopped = operator.find(idle).await.unwrap();
    let seen = (stopped.state.as_str(), stopped.target, stopped.instances);
    assert_eq!(seen, ("stopped", 0, 0));
    operator.app_start(idle.into()).await.unwrap();
    assert_eq!(operator.find(idle).await.unwrap().state, "running");

    let finished = address(&deploy(FINISHED, "finished").await.unwrap());
    let info = operator.until("finished", finished, |app| app.state == "finished");
    assert_eq!(info.await.reason, "finished");
    // Its work is done again, and once only.
    within("a start", operator.app_start(finished.into()))
        .await
        .unwrap();
    let info = operator.until("the second start", finished, |app| {
        app.usage.as_ref().is_some_and(|usage| usage.starts == 2) && app.state == "finished"
    });
    info.await;

    let app = guest("sdk-suite");
    let crashing = operator.deploy(&app).await;
    let _gone = operator.query(crashing, "/panic/why").await;
    let info = operator.until("a pause", crashing, |app| app.state == "waiting");
    assert!(info.await.reason.starts_with("trapped"));
    let info = operator.until("a restart", crashing, |app| app.state == "running");
    let info = info.await;
    assert_eq!(info.instance_list[0].restarts, 1);
    assert_eq!(info.usage.unwrap().restarts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_reached_its_gas_limit_has_failed() {
    let operator = Operator::start().await;
    let app = text_guest(SPINNING);
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    settings(&mut wanted).gas_max = 100_000;
    let address = address(&operator.try_deploy(wanted).await.unwrap());
    let info = operator.until("the end", address, |app| app.state == "failed");
    assert_eq!(info.await.reason, "gas limit of 100000 reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_ends_guests_that_never_come_back() {
    let operator = Operator::with(|config| config.instances_max = 3).await;
    let app = text_guest(SPINNING);
    operator.put_code(&app).await;
    // More than there are slots: none may stay behind.
    for round in 0..3 {
        for label in ["a", "b", "c"] {
            let mut wanted = args(&app);
            manifest(&mut wanted).label = label.to_owned();
            let deployed = operator.try_deploy(wanted).await;
            assert!(deployed.is_ok(), "round {round}: {deployed:?}");
        }
        let begun = Instant::now();
        within("the removal", operator.app_remove_all(Empty {}))
            .await
            .unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10));
        let info = operator.info(Empty {}).await.unwrap();
        assert_eq!((info.deployed_apps, info.running_instances), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_fails_when_its_app_is_removed() {
    let operator = Operator::start().await;
    let app = guest("sdk-suite");
    let address = operator.deploy(&app).await;
    let url = operator.user_url("/prpc/User.Query?json");
    let body = format!(r#"{{"address":"{address}","path":"/never"}}"#);
    let asking = tokio::spawn(async move { client::post(&url, body).await });
    let busy = |info: &AppInfo| info.instance_list.iter().any(|one| one.requests == 1);
    operator.until("the request", address, busy).await;
    operator.remove(address).await;
    let answer = within("an answer", asking).await.unwrap();
    assert!(answer.status >= 400, "{}", answer.text());
    // The request of the removed app is not one of its successor.
    let again = operator.deploy(&app).await;
    assert_eq!(again, address);
    let info = operator.find(again).await.unwrap();
    assert!(info.instance_list.iter().all(|one| one.requests == 0));
    for _ in 0..3 {
        operator.query(again, "/").await.unwrap();
    }
    let error = operator.query(address, "/x").await.unwrap_err();
    assert!(!error.contains("busy"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_apps_can_be_removed_and_deployed_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let app = text_guest(IDLE);
    let address = operator.deploy(&app).await;
    for _ in 0..10 {
        let removing = operator.app_remove(address.into());
        let deploying = async {
            // Refused as long as the old one is there.
            while let Err(error) = operator.try_deploy(args(&app)).await {
                assert!(error.to_string().starts_with("app already exists"));
            }
        };
        let (removed, ()) = tokio::join!(removing, within("a deployment", deploying));
        removed.unwrap();
    }
    operator.shutdown().await;
    let operator = Operator::in_folder(folder.path()).await;
    let info = operator.find(address).await.expect("the last one is kept");
    assert_eq!(info.sn, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_while_it_was_changed_stays_removed() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let app = text_guest(IDLE);
    operator.put_code(&app).await;
    for number in 0..10 {
        let mut wanted = args(&app);
        manifest(&mut wanted).label = number.to_string();
        manifest(&mut wanted).resizable = true;
        let target = address(&operator.try_deploy(wanted).await.unwrap());
        let resize = ResizeArgs {
            address: target.0.to_vec(),
            instances: 4,
        };
        let secret = SecretSetArgs {
            address: target.0.to_vec(),
            name: "A".to_owned(),
            value: b"a".to_vec(),
        };
        let (_, _, _, removed) = tokio::join!(
            operator.app_resize(resize),
            operator.app_stop(target.into()),
            operator.secret_set(secret),
            operator.app_remove(target.into()),
        );
        removed.unwrap();
    }
    assert!(operator.apps().await.is_empty());
    operator.shutdown().await;
    let operator = Operator::in_folder(folder.path()).await;
    assert!(operator.apps().await.is_empty());
    assert_eq!(operator.info(Empty {}).await.unwrap().running_instances, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_app_starts_for_nobody_and_serves_nobody() {
    let operator = Operator::start().await;
    let app = guest("query");
    operator.put_code(&app).await;
    for reuse in [true, false] {
        let mut wanted = args(&app);
        wanted.reuse_instances = reuse;
        manifest(&mut wanted).label = reuse.to_string();
        let target = address(&operator.try_deploy(wanted).await.unwrap());
        operator.query(target, "/origin").await.unwrap();
        operator.app_stop(target.into()).await.unwrap();
        let error = operator.query(target, "/origin").await.unwrap_err();
        assert_eq!(error, "the app is not running");
        operator.app_start(target.into()).await.unwrap();
        operator.query(target, "/origin").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_on_demand_app_that_cannot_start_is_not_started_for_ever() {
    let operator = Operator::start().await;
    let app = text_guest(FAILING);
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    manifest(&mut wanted).on_demand = true;
    let target = address(&operator.try_deploy(wanted).await.unwrap());
    assert_eq!(operator.find(target).await.unwrap().state, "idle");
    let error = within("a refusal", operator.query(target, "/")).await;
    assert_eq!(error.unwrap_err(), "the app is not running");
    let info = operator.find(target).await.unwrap();
    assert!(info.reason.starts_with("trapped"), "{}", info.reason);
    assert!(info.usage.unwrap().starts <= 2);
    let error = operator.app_start(target.into()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("on-demand app cannot be started")
    );
}
