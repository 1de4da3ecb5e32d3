//! Quotas as an operator sets them: in place, kept, and checked.

use e2e::operator::{address, args};
use e2e::probe::Script;
use e2e::{Operator, fixture};
use hyper::Method;
use wapo_rpc::AppAddress;
use wapo_rpc::client::ClientError;
use wapo_rpc::message::{
    Address, AppSettingsResponse, AppSettingsSetArgs, DeployArgs, Quota, StringPair,
};
use wapod::AdminToken;

use super::quotas;

pub(super) fn pair(key: &str, value: &str) -> StringPair {
    StringPair {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// Sets a quota of an app.
pub(super) async fn set(
    operator: &Operator,
    app: AppAddress,
    name: &str,
    value: &str,
) -> Result<AppSettingsResponse, ClientError> {
    let args = AppSettingsSetArgs {
        address: app.0.to_vec(),
        quotas: vec![pair(name, value)],
        weight: 0,
        egress: None,
    };
    operator.app_settings_set(args).await
}

/// A quota of an app at a glance.
pub(super) async fn quota(operator: &Operator, app: AppAddress, name: &str) -> Quota {
    let settings = operator.app_settings_get(Address::from(app)).await;
    let quotas = settings.expect("settings").quotas;
    let found = quotas.into_iter().find(|quota| quota.name == name);
    found.unwrap_or_else(|| panic!("there is no quota {name}"))
}

fn with(quotas: &[(&str, &str)]) -> impl FnOnce(&mut DeployArgs) {
    let quotas: Vec<_> = quotas.iter().map(|(key, value)| pair(key, value)).collect();
    move |args: &mut DeployArgs| args.settings.as_mut().unwrap().quotas = quotas
}

/// Timers that a guest gets until it is refused some.
async fn timers_of(operator: &Operator, app: AppAddress) -> u64 {
    let script = Script::new().fast_times(200, 201, [u32::MAX, 0, 0, 0]);
    let query = wapo_rpc::QueryArgs {
        address: app.0.to_vec(),
        path: "/".to_owned(),
        payload: script.bytes().to_vec(),
        ..wapo_rpc::QueryArgs::default()
    };
    operator.app_query(query).await.expect("an answer");
    quota(operator, app, "timers").await.used
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_changes_while_the_app_runs_and_no_instance_is_started_again() {
    let operator = Operator::start().await;
    let app = operator
        .deploy_with(&fixture("probe"), with(&[("timers", "10")]))
        .await;
    assert_eq!(timers_of(&operator, app).await, 10);
    let before = operator.find(app).await.unwrap();
    let answer = set(&operator, app, "timers", "15").await.unwrap();
    let changed = answer.quotas.iter().find(|quota| quota.name == "timers");
    let changed = changed.unwrap();
    assert_eq!((changed.max, changed.is_own, changed.used), (15, true, 10));
    assert_eq!(answer.settings.unwrap().quotas, [pair("timers", "15")]);
    assert_eq!(timers_of(&operator, app).await, 15);
    // Below what there is: that stays.
    set(&operator, app, "timers", "5").await.unwrap();
    assert_eq!(timers_of(&operator, app).await, 15);
    set(&operator, app, "timers", "unlimited").await.unwrap();
    assert_eq!(timers_of(&operator, app).await, 215);
    let after = operator.find(app).await.unwrap();
    assert_eq!(after.usage.unwrap().starts, 1);
    assert_eq!(after.instance_list[0].id, before.instance_list[0].id);

    // What it held is given back with its instance.
    operator.app_stop(Address::from(app)).await.unwrap();
    for name in ["timers", "handles", "memory", "requests", "host-memory"] {
        assert_eq!(quota(&operator, app, name).await.used, 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_quota_or_no_value_is_refused_and_changes_nothing() {
    let operator = Operator::start().await;
    let app = operator
        .deploy_with(&fixture("probe"), with(&[("timers", "10")]))
        .await;
    for (name, value, expected) in [
        ("timer", "5", "did you mean `timers`?"),
        ("speed", "5", "there is no quota `speed`"),
        ("timers", "many", "`timers`: `many` is not a number"),
        ("timers", "-1", "is not a number"),
        ("cpu", "1.5.5", "is not a number of cores"),
        ("egress-per-second", "fast", "is not a size"),
    ] {
        let error = set(&operator, app, name, value).await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains(expected), "{name}={value}: {error}");
    }
    let args = AppSettingsSetArgs {
        address: app.0.to_vec(),
        quotas: vec![pair("timers", "20"), pair("cpu", "x")],
        weight: 0,
        egress: None,
    };
    assert!(operator.app_settings_set(args).await.is_err());
    assert_eq!(quota(&operator, app, "timers").await.max, 10);
    let nobody = AppAddress([9; 32]);
    let error = set(&operator, nobody, "timers", "1").await.unwrap_err();
    assert!(error.to_string().contains("not found"), "{error}");

    let mut bad = args_of_probe("bad");
    with(&[("timers", "many")])(&mut bad);
    operator.put_code(&fixture("probe")).await;
    let error = operator.try_deploy(bad).await.unwrap_err().to_string();
    assert!(error.contains("`many` is not a number"), "{error}");
}

fn args_of_probe(label: &str) -> DeployArgs {
    let mut wanted = args(&fixture("probe"));
    label.clone_into(&mut e2e::operator::manifest(&mut wanted).label);
    wanted
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_kept_by_a_restart_and_by_a_replacement() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let app = operator
        .deploy_with(&fixture("probe"), with(&[("timers", "10"), ("cpu", "0.5")]))
        .await;
    set(&operator, app, "timers", "12").await.unwrap();
    operator.shutdown().await;

    let operator = Operator::in_folder(folder.path()).await;
    assert_eq!(quota(&operator, app, "timers").await.max, 12);
    assert_eq!(quota(&operator, app, "cpu").await.limit, "0.5");
    assert_eq!(timers_of(&operator, app).await, 12);

    let mut next = args_of_probe("next");
    next.replaces = app.0.to_vec();
    with(&[("cpu", "default"), ("handles", "100")])(&mut next);
    let next = address(&operator.try_deploy(next).await.unwrap());
    assert_eq!(quota(&operator, next, "timers").await.max, 12);
    assert_eq!(quota(&operator, next, "handles").await.max, 100);
    assert!(!quota(&operator, next, "cpu").await.is_limited);
    operator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_a_new_version_proves_itself_is_kept() {
    let operator = Operator::start().await;
    let old = operator
        .deploy_with(&fixture("probe"), with(&[("timers", "10")]))
        .await;
    let mut next = args_of_probe("next");
    next.replaces = old.0.to_vec();
    next.settle_ms = 2_000;
    with(&[("handles", "100")])(&mut next);
    let deploying = operator.try_deploy(next);
    let changing = async {
        while operator.apps().await.len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        set(&operator, old, "timers", "12").await.unwrap();
        set(&operator, old, "handles", "50").await.unwrap();
    };
    let (next, ()) = tokio::join!(deploying, changing);
    let next = address(&next.unwrap());
    assert_eq!(quota(&operator, next, "timers").await.max, 12);
    assert_eq!(quota(&operator, next, "handles").await.max, 100);
    assert_eq!(timers_of(&operator, next).await, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_app_has_what_the_worker_gives_unless_it_has_its_own() {
    let operator = Operator::with(|config| {
        config.quotas = quotas("timers=7,connections-in=100");
        config.worker_quotas = quotas("connections-in=1000,storage=1G,egress-per-second=9M,cpu=3");
    })
    .await;
    let app = operator.deploy(&fixture("probe")).await;
    let given = quota(&operator, app, "timers").await;
    assert_eq!((given.max, given.is_own), (7, false));
    assert_eq!(timers_of(&operator, app).await, 7);
    set(&operator, app, "timers", "9").await.unwrap();
    assert_eq!(timers_of(&operator, app).await, 9);
    set(&operator, app, "timers", "default").await.unwrap();
    let given = quota(&operator, app, "timers").await;
    assert_eq!((given.max, given.is_own, given.used), (7, false, 9));
    assert!(given.refused > 0);

    let page = operator.send(Method::GET, "/metrics", &[], "").await.text();
    let stored = fixture("probe").module.wasm().len();
    let labels = format!("app=\"{app}\",name=\"\",quota=\"timers\"");
    for line in [
        format!("wapo_app_quota_max{{{labels}}} 7\n"),
        format!("wapo_app_quota_used{{{labels}}} 9\n"),
        "wapo_guest_budget_max{budget=\"quota_connections-in\"} 1000\n".to_owned(),
        "wapo_guest_budget_max{budget=\"quota_egress-per-second\"} 9437184\n".to_owned(),
        "wapo_guest_budget_max{budget=\"quota_cpu\"} 3000\n".to_owned(),
        format!("wapo_guest_budget_used{{budget=\"quota_storage\"}} {stored}\n"),
    ] {
        assert!(page.contains(&line), "{line} in {page}");
    }
    let without = format!("app=\"{app}\",name=\"\",quota=\"handles\"");
    assert!(!page.contains(&without), "no limit, no line");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operator_reads_and_sets_quotas() {
    let operator = Operator::with(|config| {
        config.admin_token = Some(AdminToken("secret".to_owned()));
    })
    .await;
    let app = operator.deploy(&fixture("probe")).await;
    let body = format!("{{\"address\":\"0x{app}\",\"quotas\":[]}}");
    for (port, status) in [("AppSettingsSet", 401), ("AppSettingsGet", 401)] {
        let path = format!("/prpc/Operation.{port}");
        let nobody = [("authorization", "")];
        let answer = operator
            .send(Method::POST, &path, &nobody, body.clone())
            .await;
        assert_eq!(answer.status, status, "{port}: {}", answer.text());
        let on_user_port = e2e::client::post(&operator.user_url(&path), body.clone()).await;
        assert!(on_user_port.status >= 400, "{port}");
    }
    let answer = operator.json("AppSettingsSet", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        answer.text().contains("\"connections-in\""),
        "{}",
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weight_changes_while_the_app_runs_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let app = operator.deploy(&fixture("probe")).await;
    let before = operator.find(app).await.unwrap();
    let args = |weight, quotas| AppSettingsSetArgs {
        address: app.0.to_vec(),
        quotas,
        weight,
        egress: None,
    };
    let answer = operator.app_settings_set(args(5, vec![])).await.unwrap();
    assert_eq!(answer.settings.unwrap().weight, 5);
    let refused = args(7, vec![pair("cpu", "x")]);
    assert!(operator.app_settings_set(refused).await.is_err());
    set(&operator, app, "timers", "12").await.unwrap();
    let after = operator.find(app).await.unwrap();
    assert_eq!(after.settings.unwrap().weight, 5, "nothing is no change");
    assert_eq!(after.instance_list[0].id, before.instance_list[0].id);
    operator.shutdown().await;
    let operator = Operator::in_folder(folder.path()).await;
    let info = operator.find(app).await.unwrap();
    assert_eq!(info.settings.unwrap().weight, 5);
    operator.shutdown().await;
}
