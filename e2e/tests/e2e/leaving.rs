//! Instances that leave finish what they have begun: on replacement, shrinking,
//! stop, removal and shutdown, for requests and for connections of their own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::operator::{address, args, manifest};
use e2e::{Operator, client, guest, ports, text_guest, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use wapo_rpc::AppAddress;
use wapo_rpc::message::*;

use crate::lifecycle_apps::SPINNING;

/// What instances get for what they have begun, in these tests.
const GRACE: Duration = Duration::from_secs(10);

async fn operator() -> Operator {
    Operator::with(|config| config.drain_grace = GRACE).await
}

async fn suite(operator: &Operator, label: &str, instances: u32) -> DeployArgs {
    let app = guest("sdk-suite");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    manifest(&mut wanted).label = label.to_owned();
    manifest(&mut wanted).resizable = true;
    e2e::operator::settings(&mut wanted).instances = instances;
    wanted
}

async fn deploy(operator: &Operator, instances: u32) -> AppAddress {
    let wanted = suite(operator, "old", instances).await;
    address(&operator.try_deploy(wanted).await.unwrap())
}

/// Requests whose answers take two seconds.
struct Load(Vec<JoinHandle<Result<client::Answer, String>>>);

impl Load {
    /// Begins so many requests, and waits until the app has all of them.
    async fn start(operator: &Operator, app: AppAddress, count: usize) -> Self {
        let url = operator.app_url(app, "sleep/2000");
        let asking = (0..count).map(|_| {
            let url = url.clone();
            tokio::spawn(async move { client::exchange(hyper::Method::GET, &url, vec![]).await })
        });
        let load = Self(asking.collect());
        let all = operator.until("all requests", app, |app| {
            let there = app.instance_list.iter().map(|one| one.requests);
            there.sum::<u64>() == count as u64
        });
        all.await;
        load
    }

    /// All of them were answered.
    async fn expect_answers(self) {
        let mut failed = Vec::new();
        for asked in self.0 {
            match within("an answer", asked).await.unwrap() {
                Ok(answer) if answer.status == 200 && answer.text() == "slept\n" => {}
                Ok(answer) => failed.push(format!("{}: {}", answer.status, answer.text())),
                Err(error) => failed.push(error),
            }
        }
        assert!(
            failed.is_empty(),
            "{} failed: {:?}",
            failed.len(),
            &failed[0]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_answers_what_was_asked_before_it() {
    let operator = operator().await;
    let old = deploy(&operator, 2).await;
    let load = Load::start(&operator, old, 100).await;
    let mut wanted = suite(&operator, "new", 1).await;
    wanted.replaces = old.0.to_vec();
    // Long answers of the old one are no reason for the new one to wait.
    wanted.settle_ms = 100;
    let new = address(&operator.try_deploy(wanted).await.unwrap());
    load.expect_answers().await;
    let apps = operator.apps().await;
    assert_eq!(apps.len(), 1);
    assert_eq!(apps[0].address, new.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_app_answers_what_was_asked_before() {
    let operator = operator().await;
    let app = deploy(&operator, 3).await;
    let load = Load::start(&operator, app, 90).await;
    let busy = operator.find(app).await.unwrap().instance_list;
    assert!(busy.iter().all(|one| one.requests == 30), "{busy:?}");
    let resize = ResizeArgs {
        address: app.0.to_vec(),
        instances: 1,
    };
    let left = operator.app_resize(resize).await.unwrap();
    assert_eq!(left.value, 1);
    load.expect_answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_app_answers_what_was_asked_before_and_nothing_more() {
    let operator = operator().await;
    let app = deploy(&operator, 1).await;
    let load = Load::start(&operator, app, 50).await;
    let stopping = operator.app_stop(app.into());
    let asking = async {
        operator
            .until("no more to come", app, |app| app.target == 0)
            .await;
        client::get(&operator.app_url(app, "")).await
    };
    let (stopped, answer) = tokio::join!(within("a stop", stopping), asking);
    stopped.unwrap();
    answer.expect_status(503);
    load.expect_answers().await;
    let info = operator.find(app).await.unwrap();
    assert_eq!((info.state.as_str(), info.instances), ("stopped", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_being_stopped_is_not_started() {
    let operator = operator().await;
    let app = deploy(&operator, 1).await;
    let load = Load::start(&operator, app, 5).await;
    let starting = async {
        operator
            .until("no more to come", app, |app| app.target == 0)
            .await;
        operator.app_start(app.into()).await
    };
    let stopping = within("a stop", operator.app_stop(app.into()));
    let (stopped, started) = tokio::join!(stopping, starting);
    stopped.unwrap();
    let error = started.unwrap_err().to_string();
    assert!(error.contains("is changing the app"), "{error}");
    load.expect_answers().await;
    let info = operator.find(app).await.unwrap();
    assert_eq!((info.target, info.instances), (0, 0));
    let started = within("a start", operator.app_start(app.into())).await;
    started.unwrap();
    let answer = client::get(&operator.app_url(app, "")).await;
    answer.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_grows_while_instances_leave_has_as_many_as_it_should() {
    let operator = operator().await;
    let app = deploy(&operator, 3).await;
    let load = Load::start(&operator, app, 9).await;
    let resize = |instances| {
        operator.app_resize(ResizeArgs {
            address: app.0.to_vec(),
            instances,
        })
    };
    let growing = async {
        operator
            .until("a smaller target", app, |app| app.target == 1)
            .await;
        resize(3).await
    };
    let (shrunk, grown) = within("both", async { tokio::join!(resize(1), growing) }).await;
    shrunk.unwrap();
    assert_eq!(grown.unwrap().value, 3);
    load.expect_answers().await;
    let info = operator.find(app).await.unwrap();
    assert_eq!((info.target, info.instances), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_app_answers_what_was_asked_before() {
    let operator = operator().await;
    let app = deploy(&operator, 1).await;
    let load = Load::start(&operator, app, 50).await;
    operator.remove(app).await;
    load.expect_answers().await;
    assert!(operator.apps().await.is_empty());
    let app = deploy(&operator, 1).await;
    let load = Load::start(&operator, app, 50).await;
    within("the removal", operator.app_remove_all(Empty {}))
        .await
        .unwrap();
    load.expect_answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_answers_what_was_asked_before() {
    let operator = operator().await;
    let app = deploy(&operator, 1).await;
    let load = Load::start(&operator, app, 50).await;
    let begun = Instant::now();
    operator.shutdown().await;
    let took = begun.elapsed();
    load.expect_answers().await;
    assert!(took < GRACE, "nothing was left to wait for: {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_comes_is_waited_for_as_long_as_the_grace() {
    let operator = Operator::with(|config| config.drain_grace = Duration::from_secs(1)).await;
    let app = deploy(&operator, 1).await;
    let url = operator.app_url(app, "never");
    let asking = tokio::spawn(async move { client::get(&url).await });
    let there = operator.until("the request", app, |app| app.instance_list[0].requests == 1);
    there.await;
    let begun = Instant::now();
    operator.app_stop(app.into()).await.unwrap();
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    let answer = within("an answer", asking).await.unwrap();
    answer.expect_status(502);
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_that_never_come_back_are_stopped_at_once() {
    let operator = operator().await;
    let app = operator.deploy(&text_guest(SPINNING)).await;
    let begun = Instant::now();
    operator.app_stop(app.into()).await.unwrap();
    assert!(begun.elapsed() < GRACE / 2, "it has nothing to finish");
}

/// A slow echo server on a port of its own.
async fn slow_echo(operator: &Operator, label: &str, port: u16) -> DeployArgs {
    let mut app = guest("sdk-suite");
    app.listen_ports = ports::only(port);
    app.args = vec![format!("listen-slow=127.0.0.1:{port}")];
    app.label = label.to_owned();
    operator.put_code(&app).await;
    args(&app)
}

async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"ping").await.unwrap();
}

/// Asks, and waits until the guest has read the question: it owes the answer then.
async fn ask_until_read(operator: &Operator, app: AppAddress, stream: &mut TcpStream) {
    let read = |info: &AppInfo| info.usage.as_ref().unwrap().network_ingress;
    let before = read(&operator.find(app).await.unwrap());
    ask(stream).await;
    let taken = operator.until("the question to be read", app, |info| {
        read(info) >= before + 4
    });
    taken.await;
}

async fn expect_answer(stream: &mut TcpStream) {
    let mut answer = [0; 4];
    let read = within("an echo", stream.read_exact(&mut answer)).await;
    read.expect("an echo");
    assert_eq!(&answer, b"ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_port_of_its_own_get_their_answers_before_an_instance_leaves() {
    let operator = Arc::new(operator().await);
    let port = ports::free();
    let app = operator.try_deploy(slow_echo(&operator, "old", port).await);
    let app = address(&app.await.unwrap());
    let connect = async || TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut asked, mut idle) = (connect().await, connect().await);
    // Both were accepted: an answer has come on each.
    for stream in [&mut asked, &mut idle] {
        ask(stream).await;
        expect_answer(stream).await;
    }
    // Longer than a connection on which nothing moves is waited for: what is asked
    // now is the only reason to wait.
    tokio::time::sleep(Duration::from_millis(700)).await;
    ask_until_read(&operator, app, &mut asked).await;
    let begun = Instant::now();
    let mut wanted = slow_echo(&operator, "new", port).await;
    wanted.replaces = app.0.to_vec();
    wanted.settle_ms = 1;
    let (deployed, ()) = tokio::join!(operator.try_deploy(wanted), expect_answer(&mut asked));
    let new = address(&deployed.unwrap());
    assert!(begun.elapsed() < GRACE, "idle ones are not waited for");
    // The idle one is closed, and new ones go to the new app.
    let end = within("the end", idle.read(&mut [0; 4])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    let mut fresh = connect().await;
    ask(&mut fresh).await;
    expect_answer(&mut fresh).await;
    ask_until_read(&operator, new, &mut fresh).await;
    let (stopped, ()) = tokio::join!(operator.app_stop(new.into()), expect_answer(&mut fresh));
    stopped.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_port_of_its_own_get_their_answers_before_the_daemon_ends() {
    let operator = operator().await;
    let port = ports::free();
    let wanted = slow_echo(&operator, "", port).await;
    let app = address(&operator.try_deploy(wanted).await.unwrap());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    ask(&mut stream).await;
    expect_answer(&mut stream).await;
    ask_until_read(&operator, app, &mut stream).await;
    let ((), ()) = tokio::join!(operator.shutdown(), expect_answer(&mut stream));
}
