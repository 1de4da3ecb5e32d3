//! What calls and the admin port mean in HTTP: methods, encodings, permissions.

use e2e::{Operator, client, guest};
use hyper::Method;
use wapo_rpc::message::*;
use wapo_rpc::{AppAddress, Encoding, OperationMethod};
use wapod::AdminToken;

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_the_deploy_script_succeed_on_a_fresh_worker() {
    let operator = Operator::start().await;
    let wasm = hex::encode(guest("hello-http").module.wasm());
    operator.json("Info", "{}").await.expect_status(200);
    operator.json("WorkerInit", "{}").await.expect_status(200);
    let stored = operator
        .json("BlobPut", &format!(r#"{{"body":"{wasm}"}}"#))
        .await;
    stored.expect_status(200);
    let hash = guest("hello-http").module.hash();
    assert_eq!(stored.text(), format!(r#"{{"hash":"{hash}","body":"0x"}}"#));
    let deployed = operator
        .json(
            "AppDeploy",
            &format!(
                r#"{{"manifest":{{"version":1,"code_hash":"{hash}","args":[],"env_vars":[["RUST_LOG","info"]],"on_demand":false,"resizable":true,"max_query_size":10240,"label":"Test App","required_blobs":[]}},"reuse_instances":true}}"#
            ),
        )
        .await;
    deployed.expect_status(200);
    let deployed: DeployResponse = Encoding::Json.decode(&deployed.body).unwrap();
    let app = AppAddress::from_bytes(&deployed.address).unwrap();
    let answer = client::get(&operator.user_url(&format!("/app/{app}/you"))).await;
    answer.expect_text("Hello, you!\n");
    let info = operator.find(app).await.unwrap();
    let variables = info.manifest.unwrap().env_vars;
    assert_eq!(variables[0].key, "RUST_LOG");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_reads_is_answered_by_get_and_nothing_else_is() {
    let operator = Operator::start().await;
    for method in OperationMethod::ALL {
        let path = format!("/prpc/{method}");
        let answer = operator.send(Method::GET, &path, &[], "").await;
        if ["Info", "AppList"].contains(&method.name()) {
            answer.expect_status(200);
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert!(answer.text().starts_with('{'), "{}", answer.text());
        } else if method.name() == "WorkerEvidence" {
            // It only reads, too; here no hardware stands behind it.
            answer.expect_status(400);
            assert!(
                answer.text().contains("attests nothing"),
                "{}",
                answer.text()
            );
        } else {
            assert_eq!(answer.status, 405, "{method}");
            assert_eq!(answer.header("allow"), Some("POST"), "{method}");
        }
        for other in [Method::PUT, Method::DELETE, Method::PATCH] {
            let answer = operator.send(other, &path, &[], "").await;
            assert_eq!(answer.status, 405, "{method}");
        }
    }
    let query = client::get(&operator.user_url("/prpc/User.Query")).await;
    query.expect_status(405);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_and_the_content_type_choose_the_encoding() {
    let operator = Operator::start().await;
    let send = async |query: &str, kind: &str| {
        let path = format!("/prpc/Operation.AppList{query}");
        let headers = [("content-type", kind)];
        operator.send(Method::POST, &path, &headers, "").await
    };
    let json = "application/json; charset=utf-8";
    for (query, kind, is_json) in [
        ("", "", false),
        ("", json, true),
        ("?json", "", true),
        ("?json=true", "text/plain", true),
        ("?a=b&json=yes", "", true),
        ("?json=false", json, false),
        ("?json=off", json, false),
    ] {
        let answer = send(query, kind).await;
        answer.expect_status(200);
        let decoded = serde_json::from_slice::<serde_json::Value>(&answer.body);
        assert_eq!(decoded.is_ok(), is_json, "{query} {kind}");
        if let Ok(list) = decoded {
            assert_eq!(list["apps"], serde_json::json!([]), "{query} {kind}");
        }
    }
    for bad in ["?json=maybe", "?json=1x", "?json=%20"] {
        send(bad, json).await.expect_status(422);
    }
    let nothing = operator.json("AppRemoveAll", "").await;
    assert_eq!(nothing.text(), "null");
    let nothing = operator.protobuf("AppRemoveAll", []).await;
    assert!(nothing.body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_methods_are_not_found() {
    let operator = Operator::start().await;
    for name in [
        "Operation.Nothing",
        "Operation.info",
        "User.Info",
        "Info",
        "Operation.",
        "",
        "Operation.Info/",
    ] {
        let path = format!("/prpc/{name}");
        let answer = operator.send(Method::POST, &path, &[], "").await;
        assert_eq!(answer.status, 404, "{name}");
        let error: ErrorMessage = Encoding::Protobuf.decode(&answer.body).unwrap();
        assert_eq!(error.message, "method Not Found");
        let json = operator
            .send(Method::POST, &format!("{path}?json"), &[], "")
            .await;
        assert!(json.text().contains("method Not Found"), "{}", json.text());
    }
}

/// Paths that an operator uses, and the status of each for one who may.
const PATHS: &[(&str, &str, u16)] = &[
    ("POST", "/prpc/Operation.Info", 200),
    ("GET", "/prpc/Operation.AppList", 200),
    ("POST", "/prpc/Operation.Nothing", 404),
    ("GET", "/metrics", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/logs/00", 400),
    ("GET", "/blob/00", 404),
    ("POST", "/blob/sha256:", 200),
    ("GET", "/nothing", 404),
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_without_the_token() {
    let operator =
        Operator::with(|config| config.admin_token = Some(AdminToken("s3cret".into()))).await;
    for (method, path, status) in PATHS {
        let method: Method = method.parse().unwrap();
        let send = |token: &'static str| {
            let headers = [("authorization", token)];
            let method = method.clone();
            let operator = &operator;
            async move { operator.send(method, path, &headers, "").await }
        };
        for wrong in [
            "",
            "s3cret",
            "Bearer s3cre",
            "Bearer s3crett",
            "bearer s3cret",
            "Basic s3cret",
        ] {
            let answer = send(wrong).await;
            assert_eq!(answer.status, 401, "{path} with {wrong:?}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert!(!answer.text().contains("s3cret"));
        }
        assert_eq!(send("Bearer s3cret").await.status, *status, "{path}");
    }
    for free in ["/", "/health", "/console/sample.wat"] {
        let headers = [("authorization", "")];
        let answer = operator.send(Method::GET, free, &headers, "").await;
        assert_eq!(answer.status, 200, "{free}");
    }
    assert_eq!(
        format!("{:?}", AdminToken("s3cret".into())),
        "AdminToken(hidden)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_cannot_use_the_admin_port() {
    let operator = Operator::start().await;
    let admin = operator.daemon().running().admin_address().unwrap();
    let port = admin.port();
    let own = format!("http://{admin}");
    let by_name = format!("http://localhost:{port}");
    let named = format!("localhost:{port}");
    for (host, origin, status) in [
        ("", "", 200),
        ("", own.as_str(), 200),
        (named.as_str(), by_name.as_str(), 200),
        ("evil.example", "", 421),
        ("evil.example:8001", "http://evil.example:8001", 421),
        ("localhost.evil.example", "", 421),
        ("", "http://evil.example", 403),
        ("", "null", 403),
        ("", by_name.as_str(), 403),
        ("", "http://127.0.0.1:1", 403),
        ("", "file://", 403),
    ] {
        for path in ["/prpc/Operation.Info", "/health", "/"] {
            let method = match path {
                "/prpc/Operation.Info" => Method::POST,
                _ => Method::GET,
            };
            let headers = [("host", host), ("origin", origin)];
            let answer = operator.send(method, path, &headers, "").await;
            assert_eq!(answer.status, status, "{host} {origin} {path}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    let preflight = operator
        .send(
            Method::OPTIONS,
            "/prpc/Operation.AppRemoveAll",
            &[("origin", "http://evil.example")],
            "",
        )
        .await;
    preflight.expect_status(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_ready_and_only_by_get() {
    let operator = Operator::start().await;
    let answer = operator.send(Method::GET, "/health", &[], "").await;
    answer.expect_text("{\"live\":true,\"ready\":true}\n");
    for path in ["/health", "/"] {
        let answer = operator.send(Method::POST, path, &[], "").await;
        assert_eq!(answer.status, 405, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_uploaded_whole_or_not_at_all() {
    let operator = Operator::start().await;
    let content = vec![7; 12 << 20];
    let answer = operator
        .send(Method::POST, "/blob/sha256:", &[], content.clone())
        .await;
    answer.expect_status(200);
    let hash = answer.text();
    let digits = hash.strip_prefix("sha256:").unwrap();
    for path in [
        format!("/blob/{digits}"),
        format!("/blob/0x{digits}"),
        format!("/blob/{}", digits.to_uppercase()),
    ] {
        let back = operator.send(Method::GET, &path, &[], "").await;
        assert!(back.status == 200 && back.body == content, "{path}");
    }
    let wrong = format!("/blob/sha256:{}", "00".repeat(32));
    let answer = operator.send(Method::POST, &wrong, &[], "other").await;
    answer.expect_status(400);
    assert!(answer.text().contains("blob hash mismatch"));
    // A client that is refused in the middle of an upload gets to read why.
    let large = vec![7; 32 << 20];
    let refused = operator
        .send(Method::POST, "/blob/md5:00", &[], large)
        .await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    let missing = operator.send(Method::GET, "/blob/00ff", &[], "").await;
    missing.expect_status(404);
    assert_eq!(missing.text().trim(), "Object not found");
    for name in ["sha256:", "", "sha256:00", "sha512:", "md5:00"] {
        let blob = Blob {
            hash: name.to_owned(),
            body: Vec::new(),
        };
        let exists = operator.blob_exists(blob).await.unwrap();
        assert!(!exists.value, "{name:?}");
    }
}
