//! `docs/verifying.md`, "Try it without hardware", step by step: a worker with the simulator, an app with
//! a certificate that attests it, and a customer who trusts neither.

use crate::support::place::{Place, simulated};
use crate::support::text;
use wapod::{Config, TlsFiles, TlsSettings};

const ACCEPT: &str = "--accept-simulator";

/// Runs what is refused; gives what it says about it.
async fn refused(place: &Place, line: &[&str]) -> String {
    let output = place.run(line).await;
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{line:?}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_verified_by_its_worker_and_over_its_own_connection() {
    let place = Place::with(Config {
        tls: Some(TlsSettings {
            address: ([127, 0, 0, 1], 0).into(),
            verifies_certificates: true,
            certificate: None,
        }),
        ..simulated()
    })
    .await;
    let guest = crate::support::guest("hello-http");
    place.good(&["deploy", &guest, "--attested"]).await;

    let worker = ["verify", "worker"];
    let said = refused(&place, &worker).await;
    assert!(said.contains("--accept-simulator lets it count"), "{said}");
    let said = place.good(&[&worker[..], &[ACCEPT]].concat()).await;
    assert!(said.contains("NO HARDWARE"), "{said}");
    let app = ["verify", "app", "hello-http"];
    let said = refused(&place, &app).await;
    assert!(said.contains("--accept-simulator lets it count"), "{said}");
    let shown = place.json(&[&app[..], &[ACCEPT]].concat()).await;
    let address = shown["facts"]["address"].as_str().expect("an address");

    // From here on by the connection alone; the collateral may come from any source.
    let server = place.worker.tls_address().expect("a port").to_string();
    let mut line = vec!["verify", "app", "--connect", &server];
    let said = refused(&place, &line).await;
    assert!(said.contains("does it need --server-name?"), "{said}");
    line.extend(["--server-name", "hello-http.localhost", ACCEPT]);
    let said = refused(&place, &line).await;
    assert!(said.contains("there is no collateral"), "{said}");
    place
        .good(&["collateral", "--from-worker", "-o", "collateral.json"])
        .await;
    line.extend(["--collateral", "collateral.json"]);
    let said = place.good(&line).await;
    assert!(said.contains("the app's own key"), "{said}");
    let unknown = "What it would prove: The evidence was made after you drew the nonce";
    assert!(said.contains(unknown), "no nonce was demanded: {said}");
    let without: Vec<_> = line
        .iter()
        .copied()
        .filter(|word| *word != ACCEPT)
        .collect();
    let said = refused(&place, &without).await;
    assert!(said.contains("--accept-simulator lets it count"), "{said}");

    line.extend(["--policy", "policy.toml"]);
    let policy = |address: &str| format!("[[apps]]\naddress = \"{address}\"\n");
    let digits = address.trim_start_matches("0x");
    place.write("policy.toml", policy(digits).as_bytes());
    place.good(&line).await;
    place.write("policy.toml", policy(&"00".repeat(32)).as_bytes());
    let said = refused(&place, &line).await;
    assert!(said.contains("refused: app.program"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_port_is_trusted_by_the_certificate_that_is_named() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    let made = made.expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let pem = made.cert.pem() + &made.signing_key.serialize_pem();
    let identity = folder.path().join("identity.pem");
    std::fs::write(&identity, pem).expect("written");
    let place = Place::with(Config {
        user_tls: Some(TlsFiles {
            certificate: identity,
            key: None,
        }),
        ..simulated()
    })
    .await;
    let ca = place.write("ca.pem", made.cert.pem().as_bytes());
    let url = format!("https://{}", place.worker.user_address());
    let line = ["verify", "worker", ACCEPT, "--url", &url];
    let said = refused(&place, &line).await;
    assert!(said.contains("certificate is not to be trusted"), "{said}");
    place.good(&[&line[..], &["--ca", &ca]].concat()).await;
    // The file of a profile that is named; its URL and token are for the admin port.
    let config = format!("[worker.home]\nurl = \"http://127.0.0.1:1\"\nca_file = \"{ca}\"\n");
    crate::support::write(place.folder.path(), "config/wapo/config.toml", &config);
    place
        .good(&[&line[..], &["--profile", "home"]].concat())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_answer_is_shown_when_it_is_good_and_kept_for_later() {
    let place = Place::with(simulated()).await;
    let guest = crate::support::guest("query");
    place.good(&["deploy", &guest]).await;
    let ask = ["query", "query", "/echo", "--data", "Ada", "--verify"];
    let said = refused(&place, &ask).await;
    assert!(said.contains("--accept-simulator lets it count"), "{said}");
    let keep = [&ask[..], &[ACCEPT, "--save-answer", "kept.json"]].concat();
    assert!(place.good(&keep).await.contains("Ada"));
    let error = ["query", "query", "/x", "--verify", ACCEPT];
    let said = refused(&place, &error).await;
    assert!(said.contains("the app says: no such path"), "{said}");

    let verify = ["verify", "answer", "kept.json", ACCEPT];
    let shown = place.json(&verify).await;
    assert_eq!(shown["facts"]["kind"], "app");
    let later = shown["facts"]["received_at"].as_u64().expect("a time") + 3600;
    let later = later.to_string();
    let said = refused(&place, &[&verify[..], &["--at", &later]].concat()).await;
    assert!(said.contains("refused: answer.time"), "{said}");
    let other = "00".repeat(32);
    let said = refused(&place, &[&verify[..], &["--app", &other]].concat()).await;
    assert!(said.contains("app.address"), "{said}");
    let kept = std::fs::read_to_string(place.folder.path().join("kept.json")).expect("a file");
    // "Ada" as it was answered, and not as it was asked.
    let (before, after) = kept.split_once("\"answer\"").expect("an answer");
    place.write(
        "kept.json",
        format!(
            "{before}\"answer\"{}",
            after.replacen("416461", "416462", 1)
        )
        .as_bytes(),
    );
    let said = refused(&place, &verify).await;
    assert!(said.contains("refused: answer.body"), "{said}");

    let shown = place.json(&["verify", "app", "query", ACCEPT]).await;
    let address = shown["facts"]["address"]
        .as_str()
        .expect("an address")
        .to_owned();
    let url = place.worker.user_url();
    let line = [
        "query", &address, "/echo", "--data", "Bob", "--verify", ACCEPT, "--url", &url,
    ];
    assert!(place.good(&line).await.contains("Bob"));
    // The same in private; a worker that is not good is asked nothing.
    let line = ["query", "query", "/echo", "--data", "Eve", "--private"];
    let said = refused(&place, &line).await;
    assert!(said.contains("--accept-simulator lets it count"), "{said}");
    assert!(
        place
            .good(&[&line[..], &[ACCEPT]].concat())
            .await
            .contains("Eve")
    );
    let error = ["query", "query", "/x", "--private", ACCEPT];
    let said = refused(&place, &error).await;
    assert!(said.contains("the app says: no such path"), "{said}");
}
