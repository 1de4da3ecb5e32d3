//! Which instance of an app gets a request.

use std::time::Duration;

use e2e::{Daemon, Operator, client, guest, within};
use tokio::time::sleep;
use wapo_rpc::message::{AppInfo, AppSettings};

use super::{get_of, hang};

#[tokio::test(flavor = "multi_thread")]
async fn each_app_gets_its_own_requests() {
    let daemon = Daemon::start().await;
    let greeter = daemon.deploy(guest("hello-http")).await;
    let suite = daemon.deploy(guest("sdk-suite")).await;
    let mut again = guest("hello-http");
    again.label = "another".into();
    let another = daemon.deploy(again).await;
    for _ in 0..3 {
        greeter
            .get("/status/418")
            .await
            .expect_text("Hello, status/418!\n");
        suite.get("/status/418").await.expect_status(418);
        another.get("/x").await.expect_text("Hello, x!\n");
    }
    assert_eq!(greeter.usage().requests, 3);
    assert_eq!(suite.usage().requests, 3);
    assert_eq!(another.usage().requests, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_reuse_each_request_has_an_instance_of_its_own() {
    let operator = Operator::start().await;
    let app = operator
        .deploy_with(&guest("sdk-suite"), |args| args.reuse_instances = false)
        .await;
    let before = operator.find(app).await.unwrap().usage.unwrap();
    let asking: Vec<_> = (0..8)
        .map(|number| {
            // One that dies takes no other one with it.
            let path = if number == 3 { "panic" } else { "chunks/5/50" };
            let url = operator.app_url(app, path);
            tokio::spawn(async move { client::get(&url).await })
        })
        .collect();
    for (number, asked) in asking.into_iter().enumerate() {
        let answer = within("an answer", asked).await.unwrap();
        if number == 3 {
            answer.expect_status(502);
        } else {
            answer.expect_text("0\n1\n2\n3\n4\n");
        }
    }
    let info = operator
        .until("the end of the instances", app, |info| {
            let usage = info.usage.as_ref().unwrap();
            info.instance_list.iter().all(|one| one.requests == 0)
                && usage.requests == before.requests + 8
        })
        .await;
    let usage = info.usage.unwrap();
    assert_eq!(usage.starts, before.starts + 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_slot_nobody_gets_the_instance_of_another() {
    let operator = Operator::with(|config| config.instances_max = 3).await;
    let app = operator
        .deploy_with(&guest("sdk-suite"), |args| args.reuse_instances = false)
        .await;
    let taken = operator.find(app).await.unwrap().instance_list.len();
    let mut hanging = Vec::new();
    for _ in taken..3 {
        hanging.push(hang(&operator, app).await);
    }
    operator
        .until("all slots to be taken", app, |info| {
            info.instance_list.len() == 3
        })
        .await;
    let path = format!("/app/{app}/status/200");
    let asking = get_of(operator.gateway(), "h", &path, "");
    let refused = tokio::time::timeout(Duration::from_secs(5), asking).await;
    let refused = refused.expect("does not wait for long");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.text(), "No available slots\n");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let info = operator.find(app).await.unwrap();
    let busy = info.instance_list.iter().filter(|one| one.requests == 1);
    assert_eq!(busy.count(), hanging.len(), "they are still at it");
    drop(hanging);
    within("a slot", async {
        while get_of(operator.gateway(), "h", &path, "").await.status != 200 {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_starts_an_app_on_demand() {
    let operator = Operator::start().await;
    let mut config = guest("hello-http");
    config.label = "sleeper".into();
    let app = operator
        .deploy_with(&config, |args| {
            args.manifest.as_mut().unwrap().on_demand = true;
        })
        .await;
    assert_eq!(operator.find(app).await.unwrap().state, "idle");
    // At once, and all of them get the same instance.
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let gateway = operator.gateway();
            tokio::spawn(async move { get_of(gateway, "sleeper.localhost", "/you", "").await })
        })
        .collect();
    for asked in asking {
        let answer = within("an answer", asked).await.unwrap();
        assert_eq!(answer.text(), "Hello, you!\n");
    }
    let info = operator.find(app).await.unwrap();
    assert_eq!(info.state, "running");
    assert_eq!(info.usage.unwrap().starts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_busy_instance_gets_the_next_request() {
    let operator = Operator::start().await;
    let settings = AppSettings {
        instances: 3,
        ..AppSettings::default()
    };
    let app = operator
        .deploy_with(&guest("sdk-suite"), |args| {
            args.manifest.as_mut().unwrap().resizable = true;
            args.settings = Some(settings);
        })
        .await;
    operator
        .until("three instances", app, |info| {
            let running = info.instance_list.iter();
            running.filter(|one| one.phase == "running").count() == 3
        })
        .await;
    // Each takes requests as soon as it has opened its channel.
    within("a first answer", async {
        while client::get(&operator.app_url(app, "status/200"))
            .await
            .status
            != 200
        {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    sleep(Duration::from_millis(200)).await;
    let mut hanging = Vec::new();
    for _ in 0..6 {
        hanging.push(hang(&operator, app).await);
    }
    let info = operator
        .until("six requests", app, |info| {
            info.instance_list
                .iter()
                .map(|one| one.requests)
                .sum::<u64>()
                == 6
        })
        .await;
    assert!(
        info.instance_list.iter().all(|one| one.requests == 2),
        "{:?}",
        info.instance_list
    );
    drop(hanging);
    let two = |info: &AppInfo| info.instance_list.iter().all(|one| one.requests == 0);
    operator.until("the end of the requests", app, two).await;
}
