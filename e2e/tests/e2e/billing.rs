//! What apps are charged for: nothing is lost, and nothing is counted twice.

use std::time::Duration;

use e2e::operator::{address, args, manifest};
use e2e::{Operator, client, guest, within};
use wapo_rpc::AppAddress;
use wapo_rpc::message::*;
use wapo_rpc::statement::AppMetrics;

use crate::statements::metrics;

async fn bill(operator: &Operator, app: AppAddress) -> AppMetrics {
    let asked = Addresses {
        addresses: vec![app.0.to_vec()],
        cursor: 0,
    };
    let (_, apps, _) = metrics(operator, asked).await;
    assert_eq!(apps.len(), 1, "one bill for {app}");
    apps[0]
}

async fn deploy(operator: &Operator, reuse: bool, on_demand: bool) -> AppAddress {
    let app = guest("sdk-suite");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    wanted.reuse_instances = reuse;
    manifest(&mut wanted).on_demand = on_demand;
    manifest(&mut wanted).label = format!("{reuse} {on_demand}");
    address(&operator.try_deploy(wanted).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_came_and_went_are_on_the_bill() {
    let operator = Operator::start().await;
    for (reuse, on_demand) in [(true, true), (false, true), (false, false)] {
        let app = deploy(&operator, reuse, on_demand).await;
        for number in 1..=4 {
            operator.query(app, "/tip/3").await.unwrap();
            let bill = bill(&operator, app).await;
            assert_eq!(bill.tip, number * 3, "{reuse} {on_demand}");
            assert!(bill.gas_consumed > 0);
        }
        let bill = bill(&operator, app).await;
        let expected = match (reuse, on_demand) {
            (true, _) => 1,
            (false, true) => 4,
            (false, false) => 5,
        };
        assert_eq!(bill.starts, expected, "{reuse} {on_demand}");
        let usage = operator.find(app).await.unwrap().usage.unwrap();
        assert_eq!(usage.requests, 4, "{reuse} {on_demand}");
        operator.remove(app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_apps_are_in_the_next_report_and_stay_the_same() {
    let operator = Operator::start().await;
    let app = deploy(&operator, true, false).await;
    operator.query(app, "/tip/7").await.unwrap();
    let before = bill(&operator, app).await;
    operator.remove(app).await;
    let last = bill(&operator, app).await;
    assert_eq!((last.tip, last.session), (7, before.session));
    assert!(last.gas_consumed >= before.gas_consumed);
    assert!(last.running_time_ms >= before.running_time_ms);
    let (_, all, _) = metrics(&operator, Addresses::default()).await;
    assert_eq!(all, [last]);
    // Deployed again it begins anew, and the old bill stays.
    let again = deploy(&operator, true, false).await;
    assert_eq!(again, app);
    let (_, all, _) = metrics(&operator, Addresses::default()).await;
    assert_eq!((all.len(), all[1]), (2, last), "what is here comes first");
    assert_eq!(all[0].tip, 0);
    assert_ne!(all[0].session, last.session);
    operator.app_remove_all(Empty {}).await.unwrap();
    let (_, all, _) = metrics(&operator, Addresses::default()).await;
    assert_eq!((all.len(), all[0]), (2, last));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_counted_twice_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut last: Option<AppMetrics> = None;
    for life in 1..=3_u64 {
        let operator = Operator::in_folder(folder.path()).await;
        let app = match operator.apps().await.first() {
            Some(app) => AppAddress::from_bytes(&app.address).unwrap(),
            None => deploy(&operator, true, false).await,
        };
        let begun = bill(&operator, app).await;
        if let Some(last) = &last {
            assert_eq!(begun.session, last.session);
            assert_eq!(begun.tip, last.tip);
            assert!(begun.gas_consumed >= last.gas_consumed);
            assert!(begun.network_ingress >= last.network_ingress);
            assert!(begun.running_time_ms >= last.running_time_ms);
        }
        operator.query(app, "/tip/11").await.unwrap();
        let ended = bill(&operator, app).await;
        assert_eq!((ended.tip, ended.starts), (life * 11, life));
        let usage = operator.find(app).await.unwrap().usage.unwrap();
        assert_eq!(usage.requests, life);
        // A little more than ever ran cannot be on the bill.
        last = Some(ended);
        operator.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_storage_are_charged_by_time() {
    let operator = Operator::start().await;
    let app = deploy(&operator, true, false).await;
    let begun = std::time::Instant::now();
    let first = operator.find(app).await.unwrap().usage.unwrap();
    operator.query(app, "/alloc/67108864").await.unwrap();
    let grown = operator.find(app).await.unwrap().usage.unwrap();
    let size = guest("sdk-suite").module.wasm().len() as u64;
    assert_eq!(grown.storage_bytes, size);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let later = operator.find(app).await.unwrap().usage.unwrap();
    let passed = begun.elapsed();
    let mib = (later.memory.max(grown.memory) >> 20).max(1);
    let most = (mib + 64) * (passed.as_secs() + 2);
    let charged = later.memory_mib_seconds - first.memory_mib_seconds;
    // 64 MiB more for a second and a half, each reading rounded down.
    assert!(charged >= 95, "{later:?}");
    assert!(charged <= most, "{charged} MiB s of at most {most}");
    let ran = later.running_time_ms - first.running_time_ms;
    assert!(u128::from(ran) <= passed.as_millis() + 1, "{ran} ms");
    assert!(ran >= 1_500, "{ran} ms");
    let bill = bill(&operator, app).await;
    assert!(bill.memory_used >= u128::from(charged));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_their_bytes_are_counted() {
    let operator = Operator::start().await;
    let app = deploy(&operator, true, false).await;
    let ready = operator.until("the guest", app, |app| app.state == "running");
    ready.await;
    let before = operator.find(app).await.unwrap().usage.unwrap();
    for _ in 0..5 {
        let answer = client::get(&operator.user_url(&format!("/app/{app}/"))).await;
        assert!(answer.status < 500, "{}", answer.text());
    }
    for _ in 0..3 {
        operator.query(app, "/").await.unwrap();
    }
    let usage = operator.find(app).await.unwrap().usage.unwrap();
    assert_eq!(usage.requests - before.requests, 8);
    let figures = operator.send(hyper::Method::GET, "/metrics", &[], "").await;
    let line = format!("wapo_app_requests_total{{app=\"{app}\"");
    let text = figures.text();
    let found = text.lines().find(|one| one.starts_with(&line)).unwrap();
    assert!(found.ends_with(" 8"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_on_demand_leaves_when_its_time_is_over() {
    let operator = Operator::with(|config| {
        config.on_demand_time = Duration::from_millis(300);
    })
    .await;
    let app = deploy(&operator, true, true).await;
    // A long answer is not cut off by the end of the time.
    let long = within("the answer", operator.query(app, "/sleep/500")).await;
    assert!(long.is_ok(), "{long:?}");
    let idle = operator.until("its end", app, |app| app.state == "idle");
    let usage = idle.await.usage.unwrap();
    assert_eq!((usage.starts, usage.memory), (1, 0));
    operator.query(app, "/").await.unwrap();
    let usage = operator.find(app).await.unwrap().usage.unwrap();
    assert_eq!(usage.starts, 2);
}
