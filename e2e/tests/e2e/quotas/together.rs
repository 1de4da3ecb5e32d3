//! Quotas of all apps together: one app that takes what it can get leaves others
//! enough.

use std::time::{Duration, Instant};

use e2e::probe::{SCRATCH, Script};
use e2e::{Daemon, Errno, Operator, Probe, fixture, within};
use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wapo_rpc::message::Address;

use super::{Neighbour, hog_time, probe_on, quotas, spin};

#[tokio::test(flavor = "multi_thread")]
async fn one_app_leaves_half_of_what_all_may_have() {
    let daemon = Daemon::with(|config| config.worker_quotas = quotas("timers=100")).await;
    let forever = timers(1000);
    let mut probes = Vec::new();
    for most in [50, 25, 12] {
        let probe = Probe::on(&daemon, |app| app.label = most.to_string()).await;
        let (last, made) = probe.run(&forever).await.counted();
        assert_eq!((last, made), (Err(Errno::Limited), most));
        probe.app().expect_log("all apps together").await;
        probes.push(probe);
    }
    probes[0].app().stop().await;
    let (_, made) = probes[2].run(&forever).await.counted();
    assert!(made > 12, "what one gives back is for others: {made}");
    Neighbour::on(&daemon).await.answers().await;
}

/// Timers without end, which are handles.
fn timers(count: u32) -> Script {
    Script::new().fast_times(count, 201, [u32::MAX, 0, 0, 0])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_handles_that_all_have_used_up_without_work() {
    let daemon = Daemon::with(|config| config.worker_quotas = quotas("handles=40")).await;
    let victim = Probe::on(&daemon, |app| app.label = "victim".to_owned()).await;
    let (made, count) = victim.run(&timers(12)).await.counted();
    assert!(made.is_ok() && count == 12, "{made:?}, {count}");
    let greedy = Probe::on(&daemon, |app| app.label = "greedy".to_owned()).await;
    let (last, _) = greedy.run(&timers(1000)).await.counted();
    assert_eq!(last, Err(Errno::Limited));

    let app = victim.app().clone();
    let asking = tokio::spawn(async move { victim.run(&Script::new()).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = app.usage().gas;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(app.usage().gas, before, "it computes for nothing");
    assert!(!asking.is_finished());
    greedy.app().stop().await;
    within("the answer", asking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_for_which_no_handle_is_left_is_not_kept() {
    let daemon = Daemon::with(|config| config.worker_quotas = quotas("handles=40")).await;
    let (probe, port) = probe_on(&daemon, "").await;
    let address = format!("127.0.0.1:{port}");
    let mut listen = parity_scale_codec::Encode::encode(&address);
    listen.push(0);
    let length = u32::try_from(listen.len()).unwrap();
    let script = timers(1000).write(SCRATCH, &listen);
    let script = script.fast(210, [SCRATCH, length, 0, 0]);
    let mut output = probe.run(&script).await;
    assert_eq!(output.result(), Err(Errno::Limited));
    assert_eq!(output.result(), Err(Errno::Limited));
    let bound = std::net::TcpListener::bind(&address);
    assert!(bound.is_ok(), "nothing listens: {bound:?}");
}

/// What an app gets of a kind until it is refused, and then another one.
async fn shares(limits: &str, take: impl AsyncFn(&Probe, u16) -> u32) -> [u32; 2] {
    let daemon = Daemon::with(|config| config.worker_quotas = quotas(limits)).await;
    let neighbour = Neighbour::on(&daemon).await;
    let mut taken = [0; 2];
    let mut kept = Vec::new();
    for count in &mut taken {
        let (probe, port) = probe_on(&daemon, "").await;
        *count = take(&probe, port).await;
        probe.app().expect_log("all apps together").await;
        neighbour.answers().await;
        kept.push(probe);
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_of_one_app_leave_others_some() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = u32::from(server.local_addr().unwrap().port());
    let connecting = async |probe: &Probe, _| {
        let script = Script::new().write(SCRATCH, b"127.0.0.1");
        let script = script.fast_times(100, 213, [SCRATCH, 9, target, 0]);
        let (last, made) = probe.run(&script).await.counted();
        assert_eq!(last, Err(Errno::Limited));
        made
    };
    // Of ten five, and of the other five two.
    assert_eq!(shares("connections-out=10", connecting).await, [5, 2]);

    let listening = async |probe: &Probe, port| {
        let mut made = 0;
        loop {
            let address = format!("127.0.0.{}:{port}", made + 1);
            match probe.tcp_listen(&address, None).await {
                Ok(_) => made += 1,
                Err(errno) => break assert_eq!(errno, Errno::Limited),
            }
        }
        made
    };
    assert_eq!(shares("listeners=10", listening).await, [5, 2]);
    // Two for each listener.
    assert_eq!(shares("descriptors=20", listening).await, [5, 2]);

    let accepting = async |probe: &Probe, port| {
        let address = format!("127.0.0.1:{port}");
        let listener = probe.tcp_listen(&address, None).await.unwrap();
        let clients = (0..8).map(|_| TcpStream::connect(&address));
        let clients = futures_util::future::join_all(clients).await;
        let script = Script::new().fast_times(8, 212, [u32::MAX, listener, 0, 0]);
        let mut made = 0;
        let begun = Instant::now();
        // They come as the kernel likes.
        while begun.elapsed() < Duration::from_millis(500) {
            let (last, more) = probe.run(&script).await.counted();
            assert_eq!(last, Err(Errno::Pending));
            made += more;
        }
        assert!(clients.iter().all(Result::is_ok), "none was refused");
        made
    };
    assert_eq!(shares("connections-in=10", accepting).await, [5, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_app_leave_others_some() {
    let daemon = Daemon::with(|config| config.worker_quotas = quotas("requests=8")).await;
    let neighbour = Neighbour::on(&daemon).await;
    let app = daemon.deploy(e2e::guest("sdk-suite")).await;
    app.expect_log("ready").await;
    let held: Vec<_> = (0..4)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { app.query("/sleep/4000", []).await })
        })
        .collect();
    app.until_requests(4).await;
    let refused = app.query("/", []).await.unwrap_err();
    assert!(refused.contains("busy"), "{refused}");
    neighbour.answers().await;
    for one in held {
        assert!(within("the answer", one).await.unwrap().is_ok());
    }
    assert_eq!(app.ask("/").await, "sdk-suite");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_one_app_leaves_others_some() {
    let limits = "memory=64M,host-memory=1M";
    let daemon = Daemon::with(|config| config.worker_quotas = quotas(limits)).await;
    let neighbour = Neighbour::on(&daemon).await;
    let probe = Probe::on(&daemon, |app| app.label = "greedy".to_owned()).await;
    let grow = |pages| Script::new().grow(pages);
    let mut grown = 0;
    while probe.run(&grow(16)).await.number() != u32::MAX {
        grown += 1;
        assert!(grown < 64, "a MiB each");
    }
    assert!((20..32).contains(&grown), "half of what is left: {grown}");
    probe.app().expect_log("`memory` of the worker").await;
    // What the daemon keeps of an app's output is the app's memory of the host.
    let output = |bytes| Script::new().fast(243, [SCRATCH, bytes, 0, 0]);
    let refused = probe.run(&output(700 << 10)).await.result();
    assert_eq!(refused, Err(Errno::Limited));
    probe.app().expect_log("`host-memory` of the worker").await;
    assert!(probe.run(&output(300 << 10)).await.result().is_ok());
    neighbour.answers().await;
    let other = Probe::on(&daemon, |app| app.label = "other".to_owned()).await;
    assert_ne!(other.run(&grow(16)).await.number(), u32::MAX);
    assert!(other.run(&output(150 << 10)).await.result().is_ok());
    neighbour.answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_app_stores_leaves_others_some_and_goes_with_it() {
    let code = fixture("probe").module.wasm().len() as u64;
    let limits = quotas(&format!("storage={}", 3 * code + 2000));
    let operator = Operator::with(|config| config.worker_quotas = limits).await;
    let deploy = async |label: &str| {
        let mut args = e2e::operator::args(&fixture("probe"));
        label.clone_into(&mut e2e::operator::manifest(&mut args).label);
        operator.try_deploy(args).await
    };
    operator.put_code(&fixture("probe")).await;
    let other = e2e::operator::address(&deploy("other").await.unwrap());
    let mut config = fixture("probe");
    config.label = "greedy".to_owned();
    let greedy = Probe::of(operator.daemon().deploy(config).await);
    let address = greedy.app().handle().address();
    // As much as it leaves to all others, and not a byte more.
    assert_eq!(greedy.write_boot_data(&[1; 1000]).await, Ok(vec![]));
    let refused = greedy.write_boot_data(&[2; 1001]).await;
    assert_eq!(refused, Err(Errno::Limited));
    greedy.app().expect_log("`storage` of the worker").await;
    let kept = greedy.read_boot_data().await.unwrap();
    assert_eq!(kept, Some(vec![1; 1000]));
    let refused = deploy("third").await.unwrap_err().to_string();
    assert!(refused.contains("all apps together have"), "{refused}");
    assert!(refused.contains("remove apps"), "{refused}");
    assert_eq!(operator.apps().await.len(), 2);
    let answer = operator.query(other, "/").await;
    assert!(answer.is_ok(), "a neighbour answers: {answer:?}");
    drop(greedy);
    operator.app_remove(Address::from(address)).await.unwrap();
    let begun = Instant::now();
    while let Err(error) = deploy("third").await {
        // What has left is not counted any more, a moment later.
        assert!(begun.elapsed() < Duration::from_secs(10), "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_that_one_app_uses_up_leaves_others_some() {
    let limits = quotas("gas=4000000");
    let operator = Operator::with(|config| config.worker_quotas = limits).await;
    let neighbour = Neighbour::on(operator.daemon()).await;
    let app = operator.deploy(&fixture("probe")).await;
    let query = wapo_rpc::QueryArgs {
        address: app.0.to_vec(),
        path: "/".to_owned(),
        payload: Script::new().spin().bytes().to_vec(),
        ..wapo_rpc::QueryArgs::default()
    };
    let failed = within("the end of the loop", operator.app_query(query)).await;
    assert!(failed.is_err());
    let info = operator
        .until("the end", app, |info| info.state == "stopped")
        .await;
    assert!(info.reason.contains("all apps together"), "{}", info.reason);
    let used = info.usage.unwrap().gas;
    assert!((1_500_000..2_100_000).contains(&used), "{used}");
    let refused = operator.app_start(Address::from(app)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("give the worker more"), "{refused}");
    neighbour.answers().await;
    let page = operator.send(Method::GET, "/metrics", &[], "").await;
    let line = "wapo_guest_budget_max{budget=\"quota_gas\"} 4000000\n";
    assert!(page.text().contains(line), "{}", page.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_that_loop_get_no_more_gas_per_second_than_all_may_have() {
    let limits = quotas("gas-per-second=100000");
    let daemon = Daemon::with(|config| config.worker_quotas = limits).await;
    let neighbour = Neighbour::on(&daemon).await;
    let mut apps = Vec::new();
    for label in ["one", "other"] {
        let probe = Probe::on(&daemon, |app| app.label = label.to_owned()).await;
        apps.push(probe.app().clone());
        spin(probe).await.abort();
    }
    let used = || apps.iter().map(|app| app.usage().gas).sum::<u64>();
    let (before, begun) = (used(), Instant::now());
    neighbour.answers_for(Duration::from_secs(3)).await;
    let (gas, time) = (used() - before, begun.elapsed());
    // What is saved up is half a second's worth, and each has a slice beyond.
    let most = 100_000.0 * (time.as_secs_f64() + 0.5) + 40_000.0;
    assert!(gas as f64 <= most, "{gas} in {time:?}");
    assert!(gas > 10_000, "they go on: {gas}");
}

/// Runs a script over and over for three seconds, beside a neighbour that is deployed
/// meanwhile and has to answer; gives the time that it took.
async fn beside_a_neighbour(daemon: &Daemon, probe: &Probe, script: &Script) -> Duration {
    let begun = Instant::now();
    let greedy = async {
        while begun.elapsed() < Duration::from_secs(3) {
            probe.run(script).await;
        }
    };
    let neighbour = async {
        let neighbour = Neighbour::on(daemon).await;
        neighbour.answers_for(Duration::from_secs(2)).await;
    };
    tokio::join!(greedy, neighbour);
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_sent_without_end_leaves_others_bytes_to_receive() {
    let limits = quotas("ingress-per-second=64K");
    let daemon = Daemon::with(|config| config.worker_quotas = limits).await;
    let (probe, port) = probe_on(&daemon, "").await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let mut client = TcpStream::connect(&address).await.unwrap();
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    let sending =
        tokio::spawn(async move { while client.write_all(&[7; 16 << 10]).await.is_ok() {} });
    let take = Script::new().fast_times(1000, 103, [u32::MAX, stream, SCRATCH, 1000]);
    let time = beside_a_neighbour(&daemon, &probe, &take).await;
    let received = probe.app().usage().network_ingress_bytes as f64;
    let most = 65_536.0 * (time.as_secs_f64() + 0.5) + 16_384.0;
    assert!(received <= most, "{received} bytes in {time:?}");
    assert!(
        received >= 65_536.0,
        "what others leave is its own: {received}"
    );
    sending.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_sends_without_end_leaves_others_bytes_to_send() {
    let limits = quotas("egress-per-second=64K");
    let daemon = Daemon::with(|config| config.worker_quotas = limits).await;
    let (probe, port) = probe_on(&daemon, "").await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let mut client = TcpStream::connect(&address).await.unwrap();
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(1..) = client.read(&mut buffer).await {}
    });
    let flood = Script::new().fast_times(1000, 104, [u32::MAX, stream, SCRATCH, 1000]);
    let time = beside_a_neighbour(&daemon, &probe, &flood).await;
    let sent = probe.app().usage().network_egress_bytes as f64;
    // What is saved up is half a second's worth.
    let most = 65_536.0 * (time.as_secs_f64() + 0.5) + 16_384.0;
    assert!(sent <= most, "{sent} bytes in {time:?}");
    assert!(sent >= 65_536.0, "what others leave is its own: {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_that_loop_get_no_more_of_a_core_than_all_may_have_and_others_answer() {
    let daemon = Daemon::with(|config| config.worker_quotas = quotas("cpu=0.3")).await;
    let neighbour = Neighbour::on(&daemon).await;
    for label in ["one", "other"] {
        let probe = Probe::on(&daemon, |app| app.label = label.to_owned()).await;
        spin(probe).await.abort();
    }
    let (before, begun) = (hog_time(), Instant::now());
    neighbour.answers_for(Duration::from_secs(3)).await;
    let (used, time) = (hog_time() - before, begun.elapsed());
    let most = time.mul_f64(0.3) + Duration::from_millis(300);
    assert!(used <= most, "{used:?} in {time:?}");
    assert!(used > Duration::from_millis(20), "they go on: {used:?}");
}
