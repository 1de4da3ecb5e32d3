//! Calls that cannot go well: what is missing, too much, malformed or unknown.

use e2e::operator::{args, manifest, settings};
use e2e::{Operator, client, guest};
use hyper::Method;
use wapo_rpc::message::*;
use wapo_rpc::{Encoding, ErrorMessage, OperationMethod};

const NOBODY: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// Method, arguments in JSON, and what the refusal says.
const REFUSED: &[(&str, &str, &str)] = &[
    ("WorkerInit", r#"{"recipient":"x"}"#, "invalid account"),
    ("WorkerInit", r#"{"pnonce":7}"#, "DecodeError("),
    (
        "SignRegisterInfo",
        "{}",
        "`genesis_block_hash` cannot be read",
    ),
    ("SignWorkerDescription", "{}", "`prices` cannot be read"),
    (
        "BlobPut",
        r#"{"hash":"md5:00","body":"0x00"}"#,
        "Invalid hash algorithm",
    ),
    (
        "BlobPut",
        r#"{"hash":"sha256:00ff","body":"0x00"}"#,
        "failed to put object",
    ),
    ("BlobPut", r#"{"body":"0x0"}"#, "DecodeError("),
    ("BlobPut", r#"{"body":"0xzz"}"#, "DecodeError("),
    (
        "BlobRemove",
        r#"{"hash":"sha256:"}"#,
        "failed to remove object",
    ),
    ("BlobRemove", "{}", "failed to remove object"),
    ("AppDeploy", "{}", "No manifest"),
    ("AppDeploy", r#"{"manifest":null}"#, "No manifest"),
    (
        "AppDeploy",
        r#"{"manifest":{}}"#,
        "failed to deploy app: unsupported manifest version 0",
    ),
    (
        "AppDeploy",
        r#"{"manifest":{"version":2}}"#,
        "unsupported manifest version 2",
    ),
    (
        "AppDeploy",
        r#"{"manifest":{"version":1,"on_demand":true,"resizable":true}}"#,
        "on-demand app can not be resizable",
    ),
    (
        "AppDeploy",
        r#"{"manifest":{"version":1,"code_hash":"sha256:00"}}"#,
        "is no hash of code",
    ),
    (
        "AppDeploy",
        r#"{"manifest":{"version":1,"env_vars":[["A"]]}}"#,
        "no hash of code",
    ),
    (
        "AppDeploy",
        r#"{"manifest":{"version":1,"env_vars":"x"}}"#,
        "DecodeError(",
    ),
    (
        "AppDeploy",
        r#"{"manifest":{"version":-1}}"#,
        "DecodeError(",
    ),
    ("AppRemove", "{}", "invalid address"),
    ("AppRemove", r#"{"address":"0x11"}"#, "invalid address"),
    ("AppRemove", r#"{"address":"0x$"}"#, "app not found"),
    ("AppRemove", r#"{"address":"0x$$"}"#, "invalid address"),
    ("AppStart", r#"{"address":"0x$"}"#, "app not found"),
    ("AppStop", r#"{"address":"0x$"}"#, "app not found"),
    (
        "AppResize",
        r#"{"address":"0x$","instances":1}"#,
        "app not found",
    ),
    ("AppResize", r#"{"instances":1.5}"#, "DecodeError("),
    ("AppMetrics", r#"{"addresses":["0x11"]}"#, "invalid address"),
    ("AppMetrics", r#"{"addresses":{}}"#, "DecodeError("),
    ("AppList", r#"{"start":4294967296}"#, "DecodeError("),
    ("AppQuery", "{}", "invalid address"),
    ("AppQuery", r#"{"address":"0x$"}"#, "App not found"),
    ("AppQuery", r#"{"address":"0x$","path":7}"#, "DecodeError("),
    (
        "AppQuery",
        r#"{"address":"0x$","encoded_signature":"0x0105"}"#,
        "failed to verify the signature",
    ),
    ("AppEncryptedQuery", "{}", "failed to decrypt the payload"),
    ("AppVisit", "{}", "invalid address"),
    ("AppVisit", r#"{"address":"0x$"}"#, "app not found"),
    (
        "SetBenchApp",
        r#"{"app_address":"0x01"}"#,
        "`app_address` cannot be read",
    ),
    (
        "SetBenchApp",
        r#"{"app_address":"0x01$","instances":1}"#,
        "app not found",
    ),
    (
        "SecretSet",
        r#"{"address":"0x$","name":"A","value":"0x00"}"#,
        "app not found",
    ),
    (
        "SecretRemove",
        r#"{"address":"0x$","name":"A"}"#,
        "app not found",
    ),
    ("AppSettingsGet", r#"{"address":"0x$"}"#, "app not found"),
    (
        "AppSettingsSet",
        r#"{"address":"0x$","quotas":[]}"#,
        "app not found",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_says_why() {
    let operator = Operator::start().await;
    for (method, body, expected) in REFUSED {
        let body = body.replace('$', NOBODY);
        let answer = operator.json(method, &body).await;
        assert_eq!(answer.status, 400, "{method} {body}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let text = answer.text();
        assert!(text.starts_with("{\n  \"error\": \""), "{method}: {text}");
        assert!(text.contains(expected), "{method} {body}: {text}");
    }
    assert!(operator.apps().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_messages_are_refused_by_every_method_in_both_encodings() {
    let operator = Operator::start().await;
    let takes_nothing = ["Info", "WorkerExit", "AppRemoveAll"];
    for method in OperationMethod::ALL {
        let name = method.name();
        // A length that goes beyond the end, and a group that is never closed.
        for bad in [&[0x0a, 0x7f, 1][..], &[0x0b], &[0xff; 11]] {
            if takes_nothing.contains(&name) {
                continue;
            }
            let answer = operator.protobuf(name, bad).await;
            assert_eq!(answer.status, 400, "{name}: {}", answer.text());
            let error: ErrorMessage = Encoding::Protobuf.decode(&answer.body).unwrap();
            assert!(error.message.starts_with("DecodeError("), "{error:?}");
        }
        for bad in ["[", "{", "{\"a\"}", "\u{0}", "{} {}"] {
            if takes_nothing.contains(&name) {
                continue;
            }
            let answer = operator.json(name, bad).await;
            assert_eq!(answer.status, 400, "{name} {bad}: {}", answer.text());
            assert!(answer.text().contains("DecodeError("), "{}", answer.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_ignored() {
    let operator = Operator::start().await;
    let answer = operator.json("BlobExists", r#"{"hash":"","more":[{}]}"#);
    answer.await.expect_status(200);
    let mut list = Encoding::Protobuf.encode(&AppListArgs {
        count: 1,
        ..AppListArgs::default()
    });
    // Field 2000, and a number in it.
    list.extend([0x80, 0x7d, 5]);
    operator.protobuf("AppList", list).await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_beyond_the_limit_are_refused() {
    let operator = Operator::start().await;
    for method in OperationMethod::ALL {
        if method.body_bytes_max() > 1 << 20 {
            continue;
        }
        let long = vec![0; method.body_bytes_max() + 1];
        let answer = operator.protobuf(method.name(), long).await;
        assert_eq!(answer.status, 413, "{method}: {}", answer.text());
        assert_eq!(answer.text(), "Entity too large");
    }
    let long = vec![b' '; OperationMethod::AppQuery.body_bytes_max() + 1];
    let url = operator.user_url("/prpc/User.Query?json");
    client::post(&url, long).await.expect_status(413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_salt_and_a_description_have_their_limits() {
    let operator = Operator::start().await;
    for (bytes, fits) in [(64, true), (65, false)] {
        let args = InitArgs {
            pnonce: vec![1; bytes],
            recipient: String::new(),
        };
        let outcome = operator.worker_init(args).await;
        assert_eq!(outcome.is_ok(), fits, "{outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.to_string(), "the salt is too long");
        }
    }
    for (bytes, fits) in [(1024, true), (1025, false)] {
        let args = SignWorkerDescriptionArgs {
            description: "x".repeat(bytes),
            prices: vec![0; 9],
        };
        let outcome = operator.sign_worker_description(args).await;
        assert_eq!(outcome.is_ok(), fits, "{bytes}");
    }
    for (count, fits) in [(64, true), (65, false)] {
        let args = SignEndpointsArgs {
            endpoints: vec!["http://a".to_owned(); count],
        };
        let outcome = operator.sign_endpoints(args).await;
        assert_eq!(outcome.is_ok(), fits, "{count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_measured_to_the_byte() {
    let operator = Operator::start().await;
    let app = guest("query");
    operator.put_code(&app).await;
    for bytes in [17_000, 200_000] {
        let mut wanted = args(&app);
        manifest(&mut wanted).args = vec!["x".repeat(bytes)];
        let error = operator.try_deploy(wanted).await.unwrap_err().to_string();
        assert!(
            error.starts_with("failed to deploy app: manifest too large"),
            "{error}"
        );
    }
    let mut wanted = args(&app);
    manifest(&mut wanted).label = "x".repeat(65);
    let error = operator.try_deploy(wanted).await.unwrap_err().to_string();
    assert!(error.contains("label too long"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_beyond_the_workers_are_refused() {
    let operator = Operator::with(|config| config.listen_ports = "3000..3100".parse().ok()).await;
    let app = guest("query");
    operator.put_code(&app).await;
    type Change = fn(&mut AppSettings);
    let cases: [(Change, &str); 7] = [
        (|s| s.memory_max = 1 << 40, "bytes of memory"),
        (
            |s| s.listen_ports = "3050..3101".into(),
            "asks for the ports",
        ),
        (|s| s.listen_ports = "10..5".into(), "10..5"),
        (|s| s.listen_ports = "x".into(), "x"),
        (|s| s.egress = vec!["not a/rule".into()], "not a/rule"),
        (
            |s| s.egress_deny = vec!["10.0.0.0/8:x".into()],
            "10.0.0.0/8:x",
        ),
        (
            |s| s.egress_deny = (0..1001).map(|n| format!("n{n}.test")).collect(),
            "1001 egress rules are more than 1000",
        ),
    ];
    for (change, expected) in cases {
        let mut wanted = args(&app);
        change(settings(&mut wanted));
        let error = operator.try_deploy(wanted).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut wanted = args(&app);
    wanted.replaces = vec![1; 32];
    let error = operator.try_deploy(wanted).await.unwrap_err().to_string();
    assert!(error.contains("app not found"), "{error}");
    assert!(operator.apps().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_query_that_holds_no_query_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("protected_files");
    std::fs::create_dir(&keys).unwrap();
    let key = "0bdd6dbf4edf8925e8c128bc2ddd9ed555e36240ca30ca7633d80e18d177de0d\
               b17a2a2cf3d4a41a8e4e18cc45c8656d558eceddb0adb46bfa088a5f53bed252";
    std::fs::write(keys.join("worker.key"), hex::decode(key).unwrap()).unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let sender = "1a4fee48c1ba1a48e8cd43782a8485d635aa91cfb82cbb477f0c1c576bc4031c";
    // Sealed for this worker by other people's code: the text "hello world".
    let sealed = "2bbe73f33cd2914657a0312f6a32d75dc0c0b002efc12e817fbf74ed17fb214e\
                  57ca64258d1345";
    let args = |sealed: Vec<u8>| EncryptedQueryArgs {
        pubkey: hex::decode(sender).unwrap(),
        encrypted_payload: sealed,
    };
    let sealed = hex::decode(sealed).unwrap();
    let error = operator.app_encrypted_query(args(sealed.clone())).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("failed to decode the query args"), "{error}");
    let mut damaged = sealed;
    damaged[20] ^= 1;
    let error = operator.app_encrypted_query(args(damaged)).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("failed to decrypt the payload"), "{error}");
    let url = operator.user_url("/prpc/User.EncryptedQuery?json");
    let answer = client::send(Method::POST, &url, b"{}".to_vec()).await;
    answer.expect_status(400);
}
