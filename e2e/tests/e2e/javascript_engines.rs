//! Several engines of JavaScript apps on one worker: each app has the one that it was
//! deployed with.

use e2e::operator::{args, manifest};
use e2e::{Operator, client, guests, script, within};
use wapo_rpc::AppAddress;
use wapo_rpc::message::Blob;
use wapod::{AppConfig, Module};

/// Says which of the programs it is.
fn program(label: &str, engine: Module) -> AppConfig {
    let code = format!(
        "addEventListener('fetch', (event) => event.respondWith(new Response('{label} ' + Wapo.version)));"
    );
    AppConfig {
        label: label.to_owned(),
        module: engine,
        ..script(&code)
    }
}

/// An engine with another hash, as one of another release has: the engine before its
/// image is taken.
fn other_engine() -> Module {
    let path = guests::root().join("guests/target/wapo-js/wasm32-wasip1/release/wapo-js.wasm");
    Module::read(&path).expect("cargo xtask guests builds it")
}

async fn answer(operator: &Operator, app: AppAddress) -> String {
    client::get(&operator.app_url(app, "/"))
        .await
        .expect_status(200)
        .text()
}

async fn has_blob(operator: &Operator, hash: &str) -> bool {
    let asked = operator.has_blob(hash);
    within("an answer", asked).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_keep_the_engines_that_they_were_deployed_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = wapod::javascript::engine_hash().expect("cargo xtask guests builds it");
    let other = other_engine();
    let other_hash = other.hash();
    assert_ne!(own, other_hash);
    let new = program("new", wapod::javascript::engine().expect("there is one"));

    // The engine of an earlier release came with its app, as a blob.
    let operator = Operator::in_folder(folder.path()).await;
    let old = operator.deploy(&program("old", other)).await;
    // This worker's own is there without having been sent.
    assert!(!has_blob(&operator, &own).await);
    let deployed = operator.try_deploy(args(&new)).await.expect("it runs");
    let new = AppAddress::from_bytes(&deployed.address).expect("an address");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(answer(&operator, old).await, format!("old {version}"));
    assert_eq!(answer(&operator, new).await, format!("new {version}"));
    operator.shutdown().await;

    // A worker that has another engine in it starts both again.
    let operator = Operator::in_folder(folder.path()).await;
    assert_eq!(answer(&operator, old).await, format!("old {version}"));
    assert_eq!(answer(&operator, new).await, format!("new {version}"));
    for (app, engine) in [(old, &other_hash), (new, &own)] {
        let info = operator.find(app).await.expect("it is there");
        assert_eq!(&info.manifest.expect("a manifest").code_hash, engine);
    }

    // An app that goes takes no engine with it that another one has.
    let second = operator.try_deploy({
        let mut wanted = args(&program("second", other_engine()));
        manifest(&mut wanted).label = "second".to_owned();
        wanted
    });
    let second = second.await.expect("its engine is here");
    let second = AppAddress::from_bytes(&second.address).expect("an address");
    operator.remove(second).await;
    operator.remove(new).await;
    operator.shutdown().await;
    let operator = Operator::in_folder(folder.path()).await;
    assert!(has_blob(&operator, &other_hash).await);
    assert_eq!(answer(&operator, old).await, format!("old {version}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_not_here_is_named() {
    let operator = Operator::start().await;
    let app = program("old", other_engine());
    let error = operator
        .try_deploy(args(&app))
        .await
        .expect_err("no engine");
    assert!(error.to_string().contains(&app.module.hash()), "{error}");
    // Half an engine is none, and the hash is what an app is pinned to.
    let wasm = app.module.wasm();
    let half = Blob {
        hash: app.module.hash(),
        body: wasm[..wasm.len() / 2].to_vec(),
    };
    let error = operator.blob_put(half).await.expect_err("another hash");
    assert!(error.to_string().contains("mismatch"), "{error}");
}
