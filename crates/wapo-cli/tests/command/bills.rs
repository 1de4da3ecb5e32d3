//! The bill as a file: written, continued, shown and checked by the command.

use std::fs;
use std::path::Path;

use crate::support::place::{Place, simulated};
use crate::support::{guest, output, text};

/// Runs the command where no worker is, and gives what it said and its exit code.
async fn offline(folder: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let output = output(folder, arguments).await;
    let said = text(&output.stdout) + &text(&output.stderr);
    (said, output.status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_is_written_continued_shown_and_checked() {
    let place = Place::new().await;
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("bill.jsonl");
    let path = file.to_str().expect("a text");
    place
        .good(&["deploy", &guest("query"), "--name", "one"])
        .await;
    place.good(&["query", "one", "/"]).await;
    let first = place.json(&["usage", "export", "-o", path]).await;
    assert_eq!(
        (&first["reports"], &first["last_seq"]),
        (&1.into(), &1.into())
    );
    place.good(&["query", "one", "/"]).await;
    let second = place.json(&["usage", "export", "-o", path]).await;
    assert_eq!(second["last_seq"], 2, "it is continued");
    let content = fs::read_to_string(&file).expect("a file");
    assert_eq!(content.lines().count(), 3);

    let key = place.json(&["info"]).await["pubkey"].clone();
    let key = key.as_str().expect("a key").to_owned();
    let verify = ["verify", "usage", path, "--worker", &key, "--last-seq", "2"];
    let (said, code) = offline(folder.path(), &verify).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("usage.chain") && said.contains("good: "),
        "{said}"
    );
    let json = offline(folder.path(), &[&verify[..], &["--json"]].concat())
        .await
        .0;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&json["good"], &json["facts"]["last_seq"]),
        (&true.into(), &2.into())
    );

    let shown = ["usage", "show", path, "--price", "gas=2", "--json"];
    let shown = offline(folder.path(), &shown).await.0;
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let row = &shown["rows"][0];
    assert_eq!(row["requests"], "2");
    let gas: u128 = row["gas_consumed"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("gas");
    assert_eq!(row["cost"], (gas * 2).to_string());
    let (people, _) = offline(folder.path(), &["usage", "show", path, "--intervals"]).await;
    assert!(people.contains("1 to 2, in 1 sessions"), "{people}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_that_was_changed_or_broke_off_is_noticed_before_it_is_continued() {
    let place = Place::new().await;
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("bill.jsonl");
    let path = file.to_str().expect("a text");
    let app = guest("query");
    place.good(&["deploy", &app, "--name", "one"]).await;
    place.good(&["usage", "export", "-o", path]).await;
    place.good(&["query", "one", "/"]).await;
    place.good(&["usage", "export", "-o", path]).await;
    let content = fs::read_to_string(&file).expect("a file");
    let verify = ["verify", "usage", path];

    // One digit of the last report.
    let at = content.len() - 10;
    let mut bytes = content.clone().into_bytes();
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    fs::write(&file, &bytes).expect("written");
    let (said, code) = offline(folder.path(), &verify).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("failed") && said.contains("refused: "),
        "{said}"
    );
    let refused = place.run(&["usage", "export", "-o", path]).await;
    let said = text(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("does not verify"),
        "{said}"
    );
    assert_eq!(fs::read(&file).expect("a file"), bytes, "left as it is");

    // A write that broke off.
    fs::write(&file, &content[..content.len() - 5]).expect("written");
    place.good(&["usage", "export", "-o", path]).await;
    let mended = fs::read_to_string(&file).expect("a file");
    assert!(
        mended.starts_with(&content),
        "the same, and what came since"
    );
    let (said, code) = offline(folder.path(), &verify).await;
    assert_eq!(code, Some(0), "{said}");
    let worker = ["verify", "usage", path, "--worker", &"11".repeat(32)];
    let (said, code) = offline(folder.path(), &worker).await;
    assert!(code == Some(1) && said.contains("not of 0x1111"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_bill_is_left_as_it_is() {
    let place = Place::new().await;
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("other");
    let path = file.to_str().expect("a text");
    let app = guest("query");
    place.good(&["deploy", &app, "--name", "one"]).await;
    for other in [
        &b"{\"a\": 1}"[..],
        b"{\n  \"a\": 1\n}",
        b"a\nb",
        b"{\"kind\":\"wapo-usage\",\"version\":2",
    ] {
        fs::write(&file, other).expect("written");
        let refused = place.run(&["usage", "export", "-o", path]).await;
        let said = text(&refused.stderr);
        assert!(!refused.status.success(), "{said}");
        assert!(said.contains("left as it is"), "{said}");
        assert_eq!(fs::read(&file).expect("a file"), other, "{said}");
    }
    // A first line that broke off is one of a bill, and nothing is lost with it.
    fs::write(&file, "{\"kind\":\"wapo-us").expect("written");
    place.good(&["usage", "export", "-o", path]).await;
    let (said, code) = offline(folder.path(), &["verify", "usage", path]).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_gets_a_bill_of_one_app() {
    let place = Place::new().await;
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("one.jsonl");
    let path = file.to_str().expect("a text");
    let wasm = guest("query");
    place
        .good(&["deploy", &wasm, "--name", "one", "--label", "one"])
        .await;
    place
        .good(&["deploy", &wasm, "--name", "two", "--label", "two"])
        .await;
    place.good(&["query", "one", "/"]).await;
    place.good(&["query", "two", "/"]).await;
    let list = place.json(&["list"]).await;
    let address = |name: &str| {
        let apps = list.as_array().expect("apps");
        let app = apps.iter().find(|app| app["name"] == name).expect(name);
        let address = app["address"].as_str().expect("an address");
        address.trim_start_matches("0x").to_owned()
    };
    let (one, two) = (address("one"), address("two"));
    place.good(&["rm", "one"]).await;
    place
        .good(&["usage", "export", "--app", &one, "-o", path])
        .await;
    let content = fs::read_to_string(&file).expect("a file");
    assert!(content.contains(&one) && !content.contains(&two));
    let verify = ["verify", "usage", path, "--app", &one];
    let (said, code) = offline(folder.path(), &verify).await;
    assert_eq!(code, Some(0), "{said}");
    let other = ["verify", "usage", path, "--app", &two];
    let (said, code) = offline(folder.path(), &other).await;
    assert!(code == Some(1) && said.contains("usage.app"), "{said}");
    let refused = place.run(&["usage", "export", "-o", path]).await;
    let said = text(&refused.stderr);
    assert!(said.contains("name another file"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_and_bills_may_come_from_standard_input() {
    let place = Place::with(simulated()).await;
    place
        .good(&["deploy", &guest("query"), "--name", "one"])
        .await;
    place.good(&["usage", "export", "-o", "bill"]).await;
    let at = |name: &str| place.folder.path().join(name);
    let bill = fs::read(at("bill")).expect("a file");
    let accept = "--accept-simulator";
    place
        .good(&["verify", "worker", accept, "--save", "worker"])
        .await;
    place
        .good(&["verify", "app", "one", accept, "--save", "app"])
        .await;
    for name in ["worker", "app"] {
        let evidence = fs::read(at(name)).expect("a file");
        let output = place
            .fed(&["verify", "usage", "bill", "--evidence", "-"], &evidence)
            .await;
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        assert!(said.contains("passed  usage.worker"), "{name}: {said}");
    }
    for line in [["verify", "usage", "-"], ["usage", "show", "-"]] {
        let output = place.fed(&line, &bill).await;
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{line:?}: {said}");
    }
}
