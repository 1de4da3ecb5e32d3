//! Secrets of apps: given by the operator, seen by the guest and nobody else.

use e2e::operator::{address, args, manifest};
use e2e::{Operator, guest};
use hyper::Method;
use wapo_rpc::AppAddress;
use wapo_rpc::message::*;

const VALUE: &str = "correct horse battery staple";

async fn set(operator: &Operator, app: AppAddress, name: &str, value: &[u8]) -> Result<(), String> {
    let args = SecretSetArgs {
        address: app.0.to_vec(),
        name: name.to_owned(),
        value: value.to_vec(),
    };
    let outcome = operator.secret_set(args).await;
    outcome.map(drop).map_err(|error| error.to_string())
}

async fn remove(operator: &Operator, app: AppAddress, name: &str) -> bool {
    let args = SecretRemoveArgs {
        address: app.0.to_vec(),
        name: name.to_owned(),
    };
    operator.secret_remove(args).await.unwrap().value
}

async fn restart(operator: &Operator, app: AppAddress) {
    operator.app_stop(app.into()).await.unwrap();
    operator.app_start(app.into()).await.unwrap();
}

/// Whether a file below a folder holds some text.
fn is_in_clear(folder: &std::path::Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        match path.is_dir() {
            true => is_in_clear(&path, text),
            false => std::fs::read(&path)
                .unwrap()
                .windows(text.len())
                .any(|part| part == text.as_bytes()),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_seen_by_the_guest_from_its_next_start_on() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let app = operator.deploy(&guest("sdk-suite")).await;
    set(&operator, app, "TOKEN", VALUE.as_bytes())
        .await
        .unwrap();
    assert!(operator.query(app, "/env/TOKEN").await.is_err(), "not yet");
    restart(&operator, app).await;
    assert_eq!(operator.query(app, "/env/TOKEN").await.unwrap(), VALUE);
    // Neither listed nor stored in clear.
    let logs = format!("/logs/{app}");
    for path in ["/prpc/Operation.AppList", "/metrics", &logs] {
        let answer = operator.send(Method::GET, path, &[], "").await;
        assert!(!answer.text().contains(VALUE), "{path}");
    }
    operator.shutdown().await;
    assert!(!is_in_clear(folder.path(), VALUE));

    let operator = Operator::in_folder(folder.path()).await;
    let running = operator.until("a start", app, |app| app.state == "running");
    running.await;
    assert_eq!(operator.query(app, "/env/TOKEN").await.unwrap(), VALUE);
    set(&operator, app, "TOKEN", b"another").await.unwrap();
    restart(&operator, app).await;
    assert_eq!(operator.query(app, "/env/TOKEN").await.unwrap(), "another");
    assert!(remove(&operator, app, "TOKEN").await);
    assert!(!remove(&operator, app, "TOKEN").await);
    restart(&operator, app).await;
    assert!(operator.query(app, "/env/TOKEN").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_go_with_their_app() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let app = operator.deploy(&guest("sdk-suite")).await;
    set(&operator, app, "TOKEN", VALUE.as_bytes())
        .await
        .unwrap();
    operator.remove(app).await;
    let again = operator.deploy(&guest("sdk-suite")).await;
    assert_eq!(again, app);
    assert!(operator.query(app, "/env/TOKEN").await.is_err());
    operator.shutdown().await;
    let operator = Operator::in_folder(folder.path()).await;
    let running = operator.until("a start", app, |app| app.state == "running");
    running.await;
    assert!(operator.query(app, "/env/TOKEN").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_wins_over_the_manifest_and_belongs_to_one_app() {
    let operator = Operator::start().await;
    let app = guest("sdk-suite");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    manifest(&mut wanted).env_vars = vec![StringPair {
        key: "TOKEN".to_owned(),
        value: "public".to_owned(),
    }];
    let one = address(&operator.try_deploy(wanted.clone()).await.unwrap());
    manifest(&mut wanted).label = "other".to_owned();
    let other = address(&operator.try_deploy(wanted).await.unwrap());
    set(&operator, one, "TOKEN", VALUE.as_bytes())
        .await
        .unwrap();
    for app in [one, other] {
        restart(&operator, app).await;
    }
    assert_eq!(operator.query(one, "/env/TOKEN").await.unwrap(), VALUE);
    assert_eq!(operator.query(other, "/env/TOKEN").await.unwrap(), "public");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_secret_is_refused_without_repeating_it() {
    let operator = Operator::start().await;
    let app = operator.deploy(&guest("query")).await;
    let long = vec![b'x'; (64 << 10) + 1];
    let long_name = "N".repeat(129);
    for (name, value) in [
        ("", VALUE.as_bytes()),
        ("A=B", VALUE.as_bytes()),
        ("1A", VALUE.as_bytes()),
        (&long_name, VALUE.as_bytes()),
        ("A", b"\xff\xfe"),
        ("A", b"a\0b"),
        ("A", &long),
    ] {
        let error = set(&operator, app, name, value).await.unwrap_err();
        assert!(error.starts_with("the secret was not set"), "{error}");
        assert!(!error.contains(VALUE), "{error}");
    }
    for number in 0..64 {
        let name = format!("N{number}");
        set(&operator, app, &name, b"").await.unwrap();
    }
    let error = set(&operator, app, "N64", b"").await.unwrap_err();
    assert!(error.contains("too many"), "{error}");
    set(&operator, app, "N0", b"replaced").await.unwrap();
}
