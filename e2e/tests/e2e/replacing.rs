//! A new version proves itself before the old one leaves; one that does not
//! leaves everything as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::operator::{address, args, manifest};
use e2e::{Operator, client, guest, ports, text_guest, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wapo_rpc::AppAddress;
use wapo_rpc::message::*;
use wapod::AppConfig;

use crate::lifecycle_apps::FAILING;

/// A start function that never ends.
const START_LOOP: &str = r#"(module (memory (export "memory") 1)
    (func $start (loop $for_ever (br $for_ever))) (start $start)
    (func (export "wapo_poll") (result i32) (i32.const 0)))"#;

/// A version of the shop, with these arguments.
async fn version(operator: &Operator, mut app: AppConfig, old: Option<AppAddress>) -> DeployArgs {
    app.label = if old.is_some() { "new" } else { "old" }.to_owned();
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    wanted.name = "shop".to_owned();
    wanted.replaces = old.map(|app| app.0.to_vec()).unwrap_or_default();
    wanted
}

fn suite(arguments: &[&str], port: u16) -> AppConfig {
    let mut app = guest("sdk-suite");
    app.args = arguments.iter().map(|text| (*text).to_owned()).collect();
    app.listen_ports = ports::only(port);
    app
}

/// The old version: it serves HTTP, queries and a port, and has a secret.
async fn old(operator: &Operator, port: u16) -> AppAddress {
    let app = suite(&[&format!("listen=127.0.0.1:{port}")], port);
    let wanted = version(operator, app, None).await;
    let old = address(&operator.try_deploy(wanted).await.unwrap());
    let secret = SecretSetArgs {
        address: old.0.to_vec(),
        name: "TOKEN".to_owned(),
        value: b"kept".to_vec(),
    };
    operator.secret_set(secret).await.unwrap();
    operator.app_stop(old.into()).await.unwrap();
    operator.app_start(old.into()).await.unwrap();
    old
}

/// The old version is there, with everything that it had.
async fn expect_as_it_was(operator: &Operator, old: AppAddress, port: u16) {
    let apps = operator.apps().await;
    assert_eq!(apps.len(), 1, "{apps:?}");
    assert_eq!(apps[0].address, old.0);
    let seen = (apps[0].name.as_str(), apps[0].state.as_str());
    assert_eq!(seen, ("shop", "running"));
    assert_eq!(apps[0].instance_list[0].restarts, 0);
    assert_eq!(operator.query(old, "/env/TOKEN").await.unwrap(), "kept");
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();
}

/// Asks for the shop by its name; gives the status, or what went wrong.
async fn ask(gateway: std::net::SocketAddr) -> String {
    let asked = async {
        let mut stream = TcpStream::connect(gateway).await?;
        let request = b"GET / HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match within("an answer", asked).await {
        Ok(answer) => answer.get(9..12).unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Customers who ask by the app's name all the time.
struct Customers {
    is_over: Arc<AtomicBool>,
    asking: Vec<tokio::task::JoinHandle<(u32, Vec<String>)>>,
}

impl Customers {
    fn start(operator: &Operator) -> Self {
        let gateway = operator.gateway();
        let is_over = Arc::new(AtomicBool::new(false));
        let customers = (0..8).map(|_| {
            let told = Arc::clone(&is_over);
            tokio::spawn(async move {
                let (mut served, mut refused) = (0, Vec::new());
                while !told.load(Ordering::Relaxed) {
                    match ask(gateway).await.as_str() {
                        "200" => served += 1,
                        other => refused.push(other.to_owned()),
                    }
                }
                (served, refused)
            })
        });
        let asking = customers.collect();
        Self { is_over, asking }
    }

    async fn expect_content(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for customer in self.asking {
            let (served, refused) = within("the last answer", customer).await.unwrap();
            assert!(served > 0);
            assert!(refused.is_empty(), "{refused:?} beside {served} good ones");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_crashes_leaves_the_old_one_as_it_was() {
    let operator = Operator::start().await;
    let port = ports::free();
    let old = old(&operator, port).await;
    let customers = Customers::start(&operator);
    let listen = format!("listen=127.0.0.1:{port}");
    for (app, why) in [
        (
            text_guest(FAILING),
            "trapped: wasm trap: wasm `unreachable`",
        ),
        // It is ready, and ends before it has settled.
        (suite(&[&listen, "exit=300"], port), "exited with code 7"),
    ] {
        let wanted = version(&operator, app, Some(old)).await;
        let error = operator.try_deploy(wanted).await.unwrap_err().to_string();
        assert!(error.contains("the old app was left as it was"), "{error}");
        assert!(error.contains(why), "{error}");
        expect_as_it_was(&operator, old, port).await;
    }
    customers.expect_content().await;
    let info = operator.info(Empty {}).await.unwrap();
    assert_eq!(info.running_instances, 1, "nothing of the others is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_lacks_what_the_old_one_had_leaves_it_as_it_was() {
    let operator = Operator::start().await;
    let port = ports::free();
    let old = old(&operator, port).await;
    let customers = Customers::start(&operator);
    // It takes HTTP requests, and would listen and take queries after a minute.
    let app = suite(&["wait=60000"], port);
    let wanted = version(&operator, app, Some(old)).await;
    let error = operator.try_deploy(wanted).await.unwrap_err().to_string();
    assert!(
        error.contains("because the new one answers no queries"),
        "{error}"
    );
    let missing = format!("does not listen on 127.0.0.1:{port}, and the old one does");
    assert!(error.contains(&missing), "{error}");
    assert!(!error.contains("HTTP"), "{error}");
    expect_as_it_was(&operator, old, port).await;
    customers.expect_content().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_takes_over_when_it_has_proved_itself_and_nobody_notices() {
    let operator = Operator::start().await;
    let port = ports::free();
    let old = old(&operator, port).await;
    let customers = Customers::start(&operator);
    let listen = format!("listen=127.0.0.1:{port}");
    let app = suite(&["wait=500", &listen], port);
    let mut wanted = version(&operator, app, Some(old)).await;
    wanted.settle_ms = 1500;
    let begun = Instant::now();
    let new = address(&operator.try_deploy(wanted).await.unwrap());
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(2000), "{took:?}");
    let apps = operator.apps().await;
    assert_eq!(apps.len(), 1);
    assert_eq!(apps[0].address, new.0);
    assert_eq!(apps[0].name, "shop");
    assert_eq!(operator.query(new, "/env/TOKEN").await.unwrap(), "kept");
    customers.expect_content().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_replaced_by_one_deployment_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let port = ports::free();
    let old = old(&operator, port).await;
    let listen = format!("listen=127.0.0.1:{port}");
    let wanted = version(&operator, suite(&[&listen], port), Some(old)).await;
    let mut other = wanted.clone();
    manifest(&mut other).label = "other".to_owned();
    let (one, other) = tokio::join!(operator.try_deploy(wanted), operator.try_deploy(other));
    let (good, bad) = match (one, other) {
        (Ok(good), Err(bad)) | (Err(bad), Ok(good)) => (good, bad),
        both => panic!("{both:?}"),
    };
    assert!(bad.to_string().contains("is changing the app"), "{bad}");
    let names = async |operator: &Operator| -> Vec<(Vec<u8>, String)> {
        let apps = operator.apps().await.into_iter();
        apps.map(|app| (app.address, app.name)).collect()
    };
    let expected = vec![(good.address, "shop".to_owned())];
    assert_eq!(names(&operator).await, expected);
    operator.shutdown().await;
    let operator = Operator::in_folder(folder.path()).await;
    assert_eq!(names(&operator).await, expected, "the store says the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_keeps_its_own_name_when_the_old_one_is_removed_meanwhile() {
    let operator = Operator::start().await;
    let port = ports::free();
    let old = old(&operator, port).await;
    let listen = format!("listen=127.0.0.1:{port}");
    let mut wanted = version(&operator, suite(&[&listen], port), Some(old)).await;
    wanted.name = "stall".to_owned();
    wanted.settle_ms = 2000;
    let deploying = operator.try_deploy(wanted);
    let removing = async {
        while operator.apps().await.len() < 2 {
            tokio::task::yield_now().await;
        }
        operator.remove(old).await;
    };
    let (deployed, ()) = within("both", async { tokio::join!(deploying, removing) }).await;
    let new = address(&deployed.unwrap());
    let apps = operator.apps().await;
    assert_eq!(apps.len(), 1, "{apps:?}");
    let seen = (apps[0].address.as_slice(), apps[0].name.as_str());
    assert_eq!(seen, (new.0.as_slice(), "stall"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_deployment_does_not_come_back_with_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let port = ports::free();
    let old = old(&operator, port).await;
    let wanted = version(&operator, text_guest(FAILING), Some(old)).await;
    operator.try_deploy(wanted).await.unwrap_err();
    operator.shutdown().await;
    let operator = Operator::in_folder(folder.path()).await;
    operator
        .until("the old one", old, |app| app.state == "running")
        .await;
    expect_as_it_was(&operator, old, port).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_function_that_never_ends_keeps_nobody_waiting() {
    let operator = Operator::start().await;
    let app = text_guest(START_LOOP);
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    manifest(&mut wanted).resizable = true;
    let begun = Instant::now();
    let looping = address(&operator.try_deploy(wanted.clone()).await.unwrap());
    assert!(begun.elapsed() < Duration::from_secs(8), "the deployment");
    assert_eq!(operator.find(looping).await.unwrap().state, "starting");
    // While a start waits for more of them, it is stopped at once.
    let resize = ResizeArgs {
        address: looping.0.to_vec(),
        instances: 2,
    };
    let growing = operator.app_resize(resize);
    let stopping = async {
        operator
            .until("a second one", looping, |app| app.instances == 2)
            .await;
        let begun = Instant::now();
        operator.app_stop(looping.into()).await.unwrap();
        begun.elapsed()
    };
    let (grown, took) = within("both", async { tokio::join!(growing, stopping) }).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    let error = grown.unwrap_err().to_string();
    assert!(error.contains("is changing the app"), "{error}");
    let info = operator.find(looping).await.unwrap();
    assert_eq!((info.target, info.instances), (0, 0));
    // A start says what is missing, and a removal does not wait for it.
    let error = within("a start", operator.app_start(looping.into())).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("has not returned yet"), "{error}");
    operator.remove(looping).await;
    assert_eq!(operator.info(Empty {}).await.unwrap().running_instances, 0);
}

/// The only app, as soon as its first instance is there.
async fn being_deployed(operator: &Operator) -> AppAddress {
    loop {
        if let Some(app) = operator.apps().await.first()
            && app.instances == 1
        {
            return AppAddress::from_bytes(&app.address).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_being_deployed_can_only_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let app = text_guest(START_LOOP);
    operator.put_code(&app).await;
    let deploying = operator.try_deploy(args(&app));
    let changing = async {
        let app = being_deployed(&operator).await;
        let secret = SecretSetArgs {
            address: app.0.to_vec(),
            name: "A".to_owned(),
            value: b"a".to_vec(),
        };
        let (stopped, set) =
            tokio::join!(operator.app_stop(app.into()), operator.secret_set(secret));
        for error in [stopped.map(drop).unwrap_err(), set.map(drop).unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains("is changing the app"), "{error}");
        }
        operator.remove(app).await;
    };
    let (deployed, ()) = within("both", async { tokio::join!(deploying, changing) }).await;
    deployed.unwrap_err();
    operator.shutdown().await;
    let operator = Operator::in_folder(folder.path()).await;
    assert!(operator.apps().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_whose_app_was_removed_meanwhile_has_failed() {
    let operator = Operator::start().await;
    let app = text_guest(START_LOOP);
    operator.put_code(&app).await;
    let deploying = operator.try_deploy(args(&app));
    let removing = async { operator.remove(being_deployed(&operator).await).await };
    let (deployed, ()) = within("both", async { tokio::join!(deploying, removing) }).await;
    let error = deployed.unwrap_err().to_string();
    assert!(error.contains("app not found"), "{error}");
    assert!(operator.apps().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_instances_are_ready_when_a_resize_is_answered() {
    let operator = Operator::start().await;
    let app = suite(&["wait=700"], ports::free());
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    manifest(&mut wanted).resizable = true;
    let app = address(&operator.try_deploy(wanted).await.unwrap());
    let takes = |one: &InstanceInfo| one.takes_queries && one.phase == "running";
    operator
        .until("queries", app, |app| app.instance_list.iter().all(takes))
        .await;
    let resize = ResizeArgs {
        address: app.0.to_vec(),
        instances: 3,
    };
    operator.app_resize(resize).await.unwrap();
    let info = operator.find(app).await.unwrap();
    assert!(info.instance_list.iter().all(takes), "{info:?}");
    // The same after a stop: it is known what the app has to offer.
    operator.app_stop(app.into()).await.unwrap();
    operator.app_start(app.into()).await.unwrap();
    let info = operator.find(app).await.unwrap();
    assert!(info.instance_list.iter().all(takes), "{info:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_changes_something_runs_to_its_end_without_its_caller() {
    let operator = Operator::with(|config| config.drain_grace = Duration::from_secs(10)).await;
    let mut apps = Vec::new();
    for label in ["a", "b", "c"] {
        let mut app = guest("sdk-suite");
        app.label = label.to_owned();
        let app = operator.deploy(&app).await;
        let url = operator.app_url(app, "sleep/1500");
        let asking = tokio::spawn(async move { client::get(&url).await.expect_status(200).status });
        operator
            .until("a request", app, |app| app.instance_list[0].requests == 1)
            .await;
        apps.push(asking);
    }
    {
        // Answers are waited for, so it cannot be over when its caller leaves.
        let mut removing = std::pin::pin!(operator.json("AppRemoveAll", ""));
        let is_begun = async {
            while operator.apps().await.len() == 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = &mut removing => panic!("the requests were not waited for"),
            () = is_begun => {}
        }
    }
    let gone = async {
        while operator.info(Empty {}).await.unwrap().running_instances > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("all to be gone", gone).await;
    assert!(operator.apps().await.is_empty());
    for asked in apps {
        assert_eq!(within("an answer", asked).await.unwrap(), 200);
    }
}
