//! The bill: a chain of reports that its payer can check.

use std::time::Duration;

use e2e::operator::{address, args, manifest};
use e2e::{Operator, guest, within};
use wapo_rpc::message::*;
use wapo_rpc::statement::{self, ExportedReport};
use wapo_rpc::{AppAddress, usage_file};
use wapo_verify::usage::{self, Bill, Expected};

/// The bill, as a file; what was used is reported first.
async fn export(operator: &Operator, app: Option<AppAddress>) -> String {
    let mut from_seq = 0;
    let mut text = String::new();
    loop {
        let asked = UsageExportArgs {
            from_seq,
            address: app.map(|app| app.0.to_vec()).unwrap_or_default(),
            max: 2,
            settle: from_seq == 0,
        };
        let page = operator.usage_export(asked).await.unwrap();
        if text.is_empty() {
            let key = page.pubkey.as_slice().try_into().unwrap();
            text = usage_file::header(key, app.as_ref());
        }
        assert!(page.reports.len() <= 2);
        for bytes in &page.reports {
            let report: ExportedReport = statement::decode(bytes).unwrap();
            text.push_str(&usage_file::line(&report));
        }
        if page.next_seq == 0 {
            return text;
        }
        from_seq = page.next_seq;
    }
}

fn checked(text: &str) -> Bill {
    let (verdict, bill) = usage::check(text.as_bytes(), &Expected::default());
    bill.unwrap_or_else(|| panic!("{verdict:?}"))
}

async fn bill(operator: &Operator, app: Option<AppAddress>) -> Bill {
    checked(&export(operator, app).await)
}

async fn deploy(operator: &Operator, label: &str) -> AppAddress {
    let app = guest("sdk-suite");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    manifest(&mut wanted).label = label.to_owned();
    address(&operator.try_deploy(wanted).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bill_of_two_tenants_has_what_each_used_and_shows_neither_the_other() {
    let operator = Operator::start().await;
    let one = deploy(&operator, "one").await;
    let two = deploy(&operator, "two").await;
    operator.query(one, "/tip/3").await.unwrap();
    operator.query(two, "/tip/5").await.unwrap();
    bill(&operator, None).await;
    operator.query(one, "/tip/4").await.unwrap();
    let all = bill(&operator, None).await;
    assert_eq!(all.first.seq, 1);
    assert_eq!(all.deployments.len(), 2);
    for (app, other, tip, requests) in [(one, two, 7, 2), (two, one, 5, 1)] {
        let text = export(&operator, Some(app)).await;
        let own = checked(&text);
        assert_eq!(own.deployments.len(), 1);
        let own = own.deployments[0];
        assert_eq!((own.address, own.totals.tip), (app, tip));
        assert_eq!((own.totals.requests, own.totals.starts), (requests, 1));
        assert!(own.totals.gas_consumed > 0);
        assert!(!text.contains(&other.to_string()), "{other} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_goes_on_over_removals_sessions_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let app = deploy(&operator, "one").await;
    operator.query(app, "/tip/3").await.unwrap();
    let first = bill(&operator, None).await;
    operator.query(app, "/tip/2").await.unwrap();
    operator.shutdown().await;

    let operator = Operator::in_folder(folder.path()).await;
    operator.query(app, "/tip/1").await.unwrap();
    operator.remove(app).await;
    let removed = bill(&operator, None).await;
    assert_eq!(removed.first, first.first);
    let gone = removed.deployments[0];
    assert!(gone.is_final, "the last word comes without a wait");
    assert_eq!((gone.totals.tip, gone.totals.starts), (6, 2));
    assert!(
        removed.last.seq > first.last.seq + 1,
        "one at the end of the first life"
    );

    operator.worker_init(InitArgs::default()).await.unwrap();
    let again = deploy(&operator, "one").await;
    assert_eq!(again, app);
    operator.query(again, "/tip/9").await.unwrap();
    let next = bill(&operator, None).await;
    assert_eq!((next.sessions, next.deployments.len()), (2, 2));
    assert_eq!(next.deployments[1].totals.tip, 9);
    assert!(next.last.seq > removed.last.seq);
    let own = bill(&operator, Some(app)).await;
    assert_eq!(own.deployments.len(), 2, "both deployments of the app");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_come_by_themselves_and_only_when_something_was_used() {
    let operator = Operator::with(|config| {
        config.usage_interval = Duration::from_millis(100);
    })
    .await;
    let look = async || {
        let asked = operator.usage_export(UsageExportArgs::default()).await;
        asked.unwrap().last_seq
    };
    // As long as several reports would take.
    let quiet = Duration::from_secs(1);
    tokio::time::sleep(quiet).await;
    assert_eq!(look().await, 0, "nobody has used anything");
    let app = deploy(&operator, "one").await;
    operator.query(app, "/tip/3").await.unwrap();
    let reported = async {
        loop {
            let before = look().await;
            tokio::time::sleep(quiet).await;
            // What is left of the work of the query is in one of the next.
            if before > 0 && look().await == before {
                return;
            }
        }
    };
    within("reports that end with the work", reported).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_takes_bad_arguments_for_what_they_are() {
    let operator = Operator::start().await;
    let short = UsageExportArgs {
        address: vec![1; 31],
        ..UsageExportArgs::default()
    };
    let error = operator.usage_export(short).await.unwrap_err().to_string();
    assert!(error.contains("32"), "{error}");
    let nobody = UsageExportArgs {
        from_seq: u64::MAX,
        address: vec![1; 32],
        max: u32::MAX,
        settle: true,
    };
    let answer = operator.usage_export(nobody).await.unwrap();
    assert!(answer.reports.is_empty());
    assert_eq!((answer.next_seq, answer.last_seq), (0, 0));
    // The port for everyone does not have it.
    let url = operator.user_url("/prpc/Operation.UsageExport");
    let answer = e2e::client::get(&url).await;
    assert_eq!(answer.status, 404);
}
