//! Quotas of nothing: what is refused is refused from the first one on, what waits
//! waits until there is some, and a neighbour does not notice.

use std::time::Duration;

use e2e::probe::Script;
use e2e::{App, Daemon, Errno, Operator, Probe, fixture, guest, within};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use wapo_rpc::message::StringPair;

use super::settings::{pair, quota, set};
use super::{LIMIT, Neighbour, probe_on, quotas};

/// Longer than an app takes to do something that it must not do.
const A_WHILE: Duration = Duration::from_millis(500);

fn ask(app: &App, script: Script) -> JoinHandle<Result<Vec<u8>, String>> {
    let app = app.clone();
    tokio::spawn(async move { app.query("/", script.bytes().to_vec()).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_nothing_refuses_everything() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let limits = "timers=0,connections-out=0,listeners=0";
    let (probe, port) = probe_on(&daemon, limits).await;
    assert_eq!(probe.create_timer(5).await, Err(Errno::Limited));
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = u32::from(server.local_addr().unwrap().port());
    let address = format!("127.0.0.1:{port}");
    for (name, refused) in [
        (
            "connections-out",
            probe.tcp_connect("127.0.0.1", target).await,
        ),
        ("connections-out", probe.udp_bind("127.0.0.1:0").await),
        ("listeners", probe.tcp_listen(&address, None).await),
        ("listeners", probe.udp_bind(&address).await),
    ] {
        assert_eq!(refused, Err(Errno::Limited), "{name}");
        probe.app().expect_log(&format!("`{name}`")).await;
    }
    assert!(std::net::TcpListener::bind(&address).is_ok());

    let (probe, port) = probe_on(&daemon, "descriptors=0,host-memory=0").await;
    let address = format!("127.0.0.1:{port}");
    for refused in [
        probe.tcp_listen(&address, None).await,
        probe.udp_bind(&address).await,
        probe.tcp_connect("127.0.0.1", target).await,
    ] {
        assert_eq!(refused, Err(Errno::Limited));
        let (kind, text) = probe.net_failure(u32::MAX).await.unwrap();
        assert!(kind == LIMIT && text.contains("`descriptors`"), "{text}");
    }
    // Beyond what each instance has anyway.
    let output = Script::new().fast(243, [e2e::probe::SCRATCH, 200 << 10, 0, 0]);
    let refused = probe.run(&output).await.result();
    assert_eq!(refused, Err(Errno::Limited));
    probe.app().expect_log("`host-memory`").await;
    neighbour.answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_taken_with_a_quota_of_none() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let mut config = guest("sdk-suite");
    config.quotas = quotas("requests=0");
    let app = daemon.deploy(config).await;
    app.expect_log("ready").await;
    let refused = app.query("/", []).await.unwrap_err();
    assert!(refused.contains("busy"), "{refused}");
    let answer = app.get("/").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    neighbour.answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_may_have_nothing_of_memory_storage_or_gas_is_not_deployed() {
    let operator = Operator::start().await;
    let neighbour = Neighbour::on(operator.daemon()).await;
    operator.put_code(&fixture("probe")).await;
    for (name, reason) in [
        ("memory", "memory"),
        ("storage", "quota of storage is 0"),
        ("gas", "used up its gas"),
    ] {
        let mut args = e2e::operator::args(&fixture("probe"));
        let settings = args.settings.as_mut().unwrap();
        settings.quotas = vec![pair(name, "0")];
        let refused = operator.try_deploy(args).await.unwrap_err().to_string();
        assert!(refused.contains(reason), "{name}: {refused}");
        neighbour.answers().await;
    }
    assert_eq!(operator.apps().await.len(), 1, "nothing is left of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_quota_of_nothing_goes_on_when_there_is_some() {
    let operator = Operator::start().await;
    let neighbour = Neighbour::on(operator.daemon()).await;
    for name in [
        "cpu",
        "gas-per-second",
        "ingress-per-second",
        "egress-per-second",
        "handles",
    ] {
        let probe = Probe::on(operator.daemon(), |app| app.label = name.to_owned()).await;
        probe.run(&Script::new()).await;
        let (app, address) = (probe.app(), probe.app().handle().address());
        set(&operator, address, name, "0").await.unwrap();
        let asking = ask(app, Script::new());
        tokio::time::sleep(A_WHILE).await;
        let before = app.usage().gas;
        neighbour.answers_for(A_WHILE).await;
        assert!(!asking.is_finished(), "{name}");
        assert_eq!(app.usage().gas, before, "{name}: it computes nothing");
        let info = quota(&operator, address, name).await;
        assert!(info.is_limited && info.max == 0, "{info:?}");
        if name != "handles" {
            assert!(info.refused > 0, "{name} is counted: {info:?}");
        }
        set(&operator, address, name, "unlimited").await.unwrap();
        let answer = within(name, asking).await.unwrap();
        assert!(answer.is_ok(), "{name}: {answer:?}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_wait_while_there_may_be_none() {
    let operator = Operator::start().await;
    let neighbour = Neighbour::on(operator.daemon()).await;
    let (probe, port) = probe_on(operator.daemon(), "connections-in=0").await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let _client = TcpStream::connect(&address).await.unwrap();
    let (waker, accepted) = probe.try_wait(212, [listener, 0, 0]).await;
    assert_eq!(accepted, Err(Errno::Pending));
    probe.app().expect_log("`connections-in`").await;
    neighbour.answers().await;
    let app = probe.app().handle().address();
    set(&operator, app, "connections-in", "1").await.unwrap();
    probe.until_woken(waker).await;
    assert!(probe.tcp_accept_no_addr(listener).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_whose_gas_becomes_nothing_stops_and_comes_back() {
    let operator = Operator::start().await;
    let neighbour = Neighbour::on(operator.daemon()).await;
    let app = operator.deploy(&fixture("probe")).await;
    set(&operator, app, "gas", "0").await.unwrap();
    let query = async || {
        let args = wapo_rpc::QueryArgs {
            address: app.0.to_vec(),
            path: "/".to_owned(),
            ..wapo_rpc::QueryArgs::default()
        };
        operator.app_query(args).await.map(drop)
    };
    let refused = query().await.unwrap_err().to_string();
    assert!(refused.contains("used up its gas"), "{refused}");
    let info = operator.find(app).await.unwrap();
    assert!(
        info.state == "stopped" || info.state == "running",
        "{info:?}"
    );
    neighbour.answers().await;
    let more = [StringPair {
        key: "gas".to_owned(),
        value: "unlimited".to_owned(),
    }];
    for pair in more {
        set(&operator, app, &pair.key, &pair.value).await.unwrap();
    }
    operator
        .until("the start", app, |info| info.state == "running")
        .await;
    query().await.unwrap();
}
