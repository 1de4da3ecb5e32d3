//! The commands that change what an app may do while it runs, as people use them.

use serde_json::Value;

use crate::support::place::Place;
use crate::support::{guest, text};

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_shown_and_changed() {
    let place = Place::new().await;
    let wasm = guest("hello-http");
    let deploy = ["deploy", &wasm, "--allow-egress", "10.0.0.0/8"];
    place.json(&deploy).await;
    let shown = async || {
        let report = place.json(&["egress", "hello-http"]).await;
        let parts = ["allow", "deny", "default"].map(|part| report[part].to_string());
        parts.join(" ")
    };
    assert_eq!(shown().await, r#"["10.0.0.0/8"] [] "public""#);
    let change = [
        "egress",
        "hello-http",
        "--allow",
        "db.test:5432",
        "--deny",
        "*:25",
        "--default",
        "none",
    ];
    place.good(&change).await;
    let all = r#"["10.0.0.0/8","db.test:5432"] ["*:25"] "none""#;
    assert_eq!(shown().await, all);
    // Again changes nothing.
    place.good(&change).await;
    assert_eq!(shown().await, all);
    let table = place
        .good(&["egress", "hello-http", "--remove", "10.0.0.0/8"])
        .await;
    for words in ["db.test:5432", "allow", "*:25", "deny", "none"] {
        assert!(table.contains(words), "{words} in {table}");
    }
    assert_eq!(shown().await, r#"["db.test:5432"] ["*:25"] "none""#);
    let bad = place
        .bad(&["egress", "hello-http", "--remove", "10.0.0.0/8"])
        .await;
    assert!(bad.contains("no rule `10.0.0.0/8`"), "{bad}");
    let bad = place.bad(&["egress", "hello-http", "--allow", "a/b"]).await;
    assert!(bad.contains("a/b"), "{bad}");
    assert_eq!(shown().await, r#"["db.test:5432"] ["*:25"] "none""#);
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_shown_and_changed() {
    let place = Place::new().await;
    let wasm = guest("hello-http");
    let first = place
        .json(&[
            "deploy",
            &wasm,
            "--quota",
            "cpu=0.5",
            "--quota",
            "timers=100",
        ])
        .await;
    let limits = async |name: &str| {
        let report = place.json(&["quota", "hello-http"]).await;
        let quotas = report["quotas"].as_array().expect("a list").clone();
        let quota = quotas.iter().find(|quota| quota["name"] == name);
        let quota = quota.expect("the quota").clone();
        (
            quota["limit"].as_str().map(str::to_owned),
            quota["is_own"].clone(),
        )
    };
    let own = |limit: &str| (Some(limit.to_owned()), Value::Bool(true));
    assert_eq!(limits("cpu").await, own("0.5"));

    let table = place.good(&["quota", "hello-http"]).await;
    for words in ["QUOTA", "cpu", "0.5", "slow down", "connections-in", "wait"] {
        assert!(table.contains(words), "{words} in {table}");
    }
    let set = [
        "quota",
        "hello-http",
        "--set",
        "cpu=default,egress-per-second=10M",
    ];
    place.good(&set).await;
    assert_eq!(limits("egress-per-second").await, own("10M"));
    assert_eq!(limits("cpu").await.1, Value::Bool(false));
    let bad = place
        .bad(&["quota", "hello-http", "--set", "cpu=half"])
        .await;
    assert!(bad.contains("`half` is not a number of cores"), "{bad}");
    let bad = place.bad(&["quota", "hello-http", "--set", "cpus=1"]).await;
    assert!(bad.contains("did you mean `cpu`?"), "{bad}");
    let bad = place.bad(&["quota", "hello-http", "--set", "cpu"]).await;
    assert!(bad.contains("write NAME=VALUE"), "{bad}");

    let report = place.json(&["quota", "hello-http", "--weight", "3"]).await;
    assert_eq!(report["weight"], 3);
    let again = place.run(&["deploy", &wasm, "--weight", "4"]).await;
    assert!(again.status.success(), "the same app goes on");
    let report = place.json(&["quota", "hello-http"]).await;
    assert_eq!(report["weight"], 4);
    let bad = place.run(&["quota", "hello-http", "--weight", "0"]).await;
    assert!(text(&bad.stderr).contains("--weight"), "{bad:?}");

    // The same app with another quota goes on.
    let again = place.run(&["deploy", &wasm, "--quota", "timers=200"]).await;
    assert!(
        text(&again.stderr).contains("Set timers=200"),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(limits("timers").await, own("200"));
    assert_eq!(limits("egress-per-second").await, own("10M"), "it stays");
    let list = place.json(&["list"]).await;
    assert_eq!(list[0]["address"], first["address"]);
    assert_eq!(list[0]["usage"]["starts"], 1);
}
