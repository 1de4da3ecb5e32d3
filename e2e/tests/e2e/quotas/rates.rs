//! Quotas of how fast something goes: what is within them goes at once, what is
//! beyond goes more slowly, and nothing is lost.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use e2e::dns::Dns;
use e2e::probe::{SCRATCH, Script, datagrams};
use e2e::{App, Daemon, Errno, Operator, guest, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use wapo_rpc::message::Address;
use wapod::{ExitReason, Resolver};

use super::{Neighbour, hog_time, probe_on, quotas, spin};

/// Bytes that are moved, at 64 KiB a second.
const LENGTH: usize = 200 << 10;

/// Time that this takes at least: what may be saved up is half a second's worth.
const LEAST: Duration = Duration::from_millis(2_500);

fn pattern() -> Vec<u8> {
    (0..=250).cycle().take(LENGTH).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_out_beyond_the_rate_go_slowly_and_all_arrive() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let (probe, port) = probe_on(&daemon, "egress-per-second=64K").await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let mut client = TcpStream::connect(&address).await.unwrap();
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    let begun = Instant::now();
    let reading = tokio::spawn(async move {
        let mut all = vec![0; LENGTH];
        client.read_exact(&mut all).await.unwrap();
        all
    });
    let writing = async {
        // In parts, because the harness sends a part again with each attempt.
        for part in pattern().chunks(16 << 10) {
            probe.write_all(stream, part).await;
        }
    };
    let ((), ()) = tokio::join!(writing, neighbour.answers_for(Duration::from_secs(2)));
    assert!(within("the bytes", reading).await.unwrap() == pattern());
    let took = begun.elapsed();
    assert!(took >= LEAST, "{LENGTH} bytes in {took:?}");
    assert!(probe.app().usage().network_egress_bytes >= LENGTH as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_in_beyond_the_rate_come_slowly_and_all_arrive() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let (probe, port) = probe_on(&daemon, "ingress-per-second=64K/s").await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let mut client = TcpStream::connect(&address).await.unwrap();
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    let begun = Instant::now();
    let writing = tokio::spawn(async move {
        client.write_all(&pattern()).await.unwrap();
        client
    });
    let reading = probe.read_exact(stream, LENGTH);
    let (read, ()) = tokio::join!(reading, neighbour.answers_for(Duration::from_secs(2)));
    assert!(read == pattern());
    let took = begun.elapsed();
    assert!(took >= LEAST, "{LENGTH} bytes in {took:?}");
    within("the client", writing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_through_the_gateway_are_slowed_down_both_ways() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    for text in ["egress-per-second=64K", "ingress-per-second=64K"] {
        let mut config = guest("sdk-suite");
        config.quotas = quotas(text);
        config.label = text.to_owned();
        let app = daemon.deploy(config).await;
        app.expect_log("ready").await;
        let begun = Instant::now();
        let echo = app.post("/echo", pattern());
        let (echo, ()) = tokio::join!(echo, neighbour.answers_for(Duration::from_secs(1)));
        assert!(echo.body == pattern(), "{text}");
        let took = begun.elapsed();
        assert!(took >= LEAST, "{text}: {took:?}");
        // A small answer has been saved up for meanwhile.
        tokio::time::sleep(Duration::from_millis(600)).await;
        app.post("/echo", "small").await.expect_text("small");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_beyond_the_rate_wait() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let (probe, port) = probe_on(&daemon, "egress-per-second=8K,connections-out=1").await;
    let socket = probe.udp_bind("127.0.0.1:0").await.unwrap();
    // A socket of a client counts among the connections, one with a port listens.
    let second = probe.udp_bind("127.0.0.1:0").await;
    assert_eq!(second, Err(Errno::Limited));
    let served = probe.udp_bind(&format!("127.0.0.1:{port}")).await;
    assert!(served.is_ok(), "{served:?}");

    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = receiver.local_addr().unwrap();
    let counting = tokio::spawn(async move {
        let (mut count, mut buffer) = (0, [0; 2048]);
        let quiet = Duration::from_secs(1);
        while let Ok(Ok(length)) = timeout(quiet, receiver.recv(&mut buffer)).await {
            count += length;
        }
        count
    });
    let datagram = datagrams(&[(Some(target), vec![7; 1000])]);
    let length = u32::try_from(datagram.len()).unwrap();
    let flood = Script::new().write(SCRATCH, &datagram);
    let flood = flood.fast_times(100, 311, [u32::MAX, socket, SCRATCH, length]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        let (last, _) = probe.run(&flood).await.counted();
        assert_eq!(last, Err(Errno::Pending));
        neighbour.answers().await;
    }
    let time = begun.elapsed();
    let count = within("the datagrams", counting).await.unwrap();
    // One may overdraw what was saved up, 16 KiB.
    let most = 8192.0 * time.as_secs_f64() + 16_384.0 + 1_100.0;
    assert!(
        f64::from(u32::try_from(count).unwrap()) <= most,
        "{count} in {time:?}"
    );
    assert!(count >= 15_000, "what was saved up goes at once: {count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_that_come_are_taken_at_the_rate() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let (probe, port) = probe_on(&daemon, "ingress-per-second=8K").await;
    let target = format!("127.0.0.1:{port}");
    let socket = probe.udp_bind(&target).await.unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..60 {
        client.send_to(&[7; 1000], &target).await.unwrap();
    }
    let begun = Instant::now();
    let take = Script::new().fast_times(100, 312, [u32::MAX, socket, SCRATCH, 1100]);
    while begun.elapsed() < Duration::from_secs(2) {
        let (last, _) = probe.run(&take).await.counted();
        assert_eq!(last, Err(Errno::Pending));
        neighbour.answers().await;
    }
    let time = begun.elapsed();
    let count = probe.app().usage().network_ingress_bytes;
    // One may overdraw what was saved up, 16 KiB.
    let most = 8192.0 * time.as_secs_f64() + 16_384.0 + 1_100.0;
    assert!(count as f64 <= most, "{count} in {time:?}");
    assert!(count >= 15_000, "what was saved up comes at once: {count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_elsewhere_begin_when_the_rate_allows() {
    let operator = Operator::start().await;
    let (probe, _) = probe_on(operator.daemon(), "egress-per-second=1").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = u32::from(listener.local_addr().unwrap().port());
    let socket = probe.udp_bind("127.0.0.1:0").await.unwrap();
    // What is saved up goes first; then a connection is asked for.
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = receiver.local_addr().unwrap();
    let datagram = datagrams(&[(Some(target), vec![7; 1000])]);
    let length = u32::try_from(datagram.len()).unwrap();
    let host = SCRATCH + length;
    let script = Script::new()
        .write(SCRATCH, &datagram)
        .write(host, b"127.0.0.1")
        .fast_times(100, 311, [u32::MAX, socket, SCRATCH, length])
        .fast(213, [host, 9, port, 0]);
    let mut output = probe.run(&script).await;
    assert_eq!(output.result(), Err(Errno::Pending));
    let attempt = output.result();
    assert!(attempt.is_ok(), "{attempt:?}");
    let early = timeout(Duration::from_millis(500), listener.accept()).await;
    assert!(early.is_err(), "nothing is sent while something is owed");
    let app = probe.app().handle().address();
    super::settings::set(&operator, app, "egress-per-second", "unlimited")
        .await
        .unwrap();
    within("the connection", listener.accept()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_of_datagrams_are_looked_up_when_the_rate_allows() {
    let dns = Dns::serve(&[("peer.test", IpAddr::V4(Ipv4Addr::LOCALHOST))]).await;
    let servers = vec![dns.address()];
    let operator = Operator::with(|config| config.resolver = Resolver::Servers(servers)).await;
    let (probe, _) = probe_on(operator.daemon(), "egress-per-second=1").await;
    let (used, socket) = (
        probe.udp_bind("127.0.0.1:0").await.unwrap(),
        probe.udp_bind("127.0.0.1:0").await.unwrap(),
    );
    // What is saved up goes first; then a peer is asked for.
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let datagram = datagrams(&[(Some(receiver.local_addr().unwrap()), vec![7; 1000])]);
    let length = u32::try_from(datagram.len()).unwrap();
    let (peer, waker) = (SCRATCH + length, probe.new_waker());
    probe.count_waker(waker, Err(Errno::Pending));
    let script = Script::new()
        .write(SCRATCH, &datagram)
        .write(peer, b"peer.test:53")
        .fast_times(100, 311, [u32::MAX, used, SCRATCH, length])
        .fast(310, [waker, socket, peer, 12]);
    let mut output = probe.run(&script).await;
    assert_eq!(output.result(), Err(Errno::Pending));
    assert_eq!(output.result(), Err(Errno::Pending));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(dns.asked_for_v4("peer.test"), 0, "nothing is sent");
    let app = probe.app().handle().address();
    super::settings::set(&operator, app, "egress-per-second", "unlimited")
        .await
        .unwrap();
    assert_eq!(
        within("the peer", probe.udp_connect(socket, "peer.test:53")).await,
        Ok(0)
    );
    assert_eq!(dns.asked_for_v4("peer.test"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_of_an_app_share_its_rate() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let (probe, port) = probe_on(&daemon, "egress-per-second=64K").await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let mut streams = Vec::new();
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut client = TcpStream::connect(&address).await.unwrap();
        streams.push(probe.tcp_accept_no_addr(listener).await.unwrap());
        readers.push(tokio::spawn(async move {
            let mut all = vec![0; LENGTH / 4];
            client.read_exact(&mut all).await.unwrap();
            all
        }));
    }
    let begun = Instant::now();
    let part = vec![9; LENGTH / 4];
    let writing = async {
        let each = streams.iter().map(async |stream| {
            for part in part.chunks(8 << 10) {
                probe.write_all(*stream, part).await;
            }
        });
        futures_util::future::join_all(each).await
    };
    tokio::join!(writing, neighbour.answers_for(Duration::from_secs(1)));
    for reader in readers {
        assert!(within("the bytes", reader).await.unwrap() == part);
    }
    let took = begun.elapsed();
    assert!(took >= LEAST, "{LENGTH} bytes in {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_and_their_answers_go_at_the_rate_and_stand_on_no_bill() {
    let operator = Operator::start().await;
    let neighbour = Neighbour::on(operator.daemon()).await;
    let large = Script::new().read(SCRATCH, 16 << 10);
    let long = Script::new().write(SCRATCH, &vec![7; 16 << 10]);
    for (name, script) in [("egress-per-second", large), ("ingress-per-second", long)] {
        let (probe, _) = probe_on(operator.daemon(), &format!("{name}=64K")).await;
        let begun = Instant::now();
        let asking = async {
            for _ in 0..LENGTH.div_ceil(16 << 10) {
                probe.run(&script).await;
            }
        };
        let ((), ()) = tokio::join!(asking, neighbour.answers_for(Duration::from_secs(1)));
        // The last one is a debt.
        let took = begun.elapsed() + Duration::from_millis(250);
        assert!(took >= LEAST, "{name}: {LENGTH} bytes in {took:?}");
        let usage = probe.app().usage();
        let billed = usage.network_ingress_bytes + usage.network_egress_bytes;
        assert_eq!(billed, 0, "as it was before there were quotas");
        let quota = super::settings::quota(&operator, probe.app().handle().address(), name).await;
        assert!(quota.refused > 0 && quota.used > 0, "{quota:?}");
        probe.app().stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_of_requests_come_at_the_rate() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let mut config = guest("hello-http");
    config.quotas = quotas("ingress-per-second=8K");
    let app = daemon.deploy(config).await;
    let path = format!("/?{}", "a".repeat(1000));
    let begun = Instant::now();
    for _ in 0..45 {
        app.get(&path).await.expect_status(200);
    }
    // 45 KB, of which 16 KiB were saved up.
    let took = begun.elapsed();
    assert!(took >= LEAST, "{took:?}");
    neighbour.answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_that_is_raised_holds_at_once() {
    let operator = Operator::start().await;
    let mut config = guest("sdk-suite");
    config.quotas = quotas("egress-per-second=1");
    let app = operator.daemon().deploy(config).await;
    app.expect_log("ready").await;
    let echo = {
        let app = app.clone();
        tokio::spawn(async move { app.post("/echo", pattern()).await })
    };
    let info = until_refused(&operator, &app, "egress-per-second").await;
    assert_eq!(
        (info.limit.as_str(), info.at_limit.as_str()),
        ("1", "slow down")
    );
    assert!(!echo.is_finished());
    super::settings::set(
        &operator,
        app.handle().address(),
        "egress-per-second",
        // What is owed at one byte a second takes hours.
        "1M",
    )
    .await
    .unwrap();
    let echo = within("the echo", echo).await.unwrap();
    assert!(echo.body == pattern());
}

/// Waits until an app had to wait for a quota.
async fn until_refused(operator: &Operator, app: &App, name: &str) -> wapo_rpc::message::Quota {
    let waited = async {
        loop {
            let quota = super::settings::quota(operator, app.handle().address(), name).await;
            if quota.refused > 0 {
                return quota;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the app to wait", waited).await
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_beyond_the_rate_makes_a_loop_slow_and_stopping_it_is_not() {
    let daemon = Daemon::with(|config| config.drain_grace = Duration::ZERO).await;
    let neighbour = Neighbour::on(&daemon).await;
    let (probe, _) = probe_on(&daemon, "gas-per-second=100000").await;
    let app = probe.app().clone();
    let asking = spin(probe).await;
    asking.abort();
    let (before, begun) = (app.usage().gas, Instant::now());
    neighbour.answers_for(Duration::from_secs(2)).await;
    let (used, time) = (app.usage().gas - before, begun.elapsed());
    // Half a second's worth may have been saved up, and a slice is some more.
    let most = 100_000.0 * (time.as_secs_f64() + 0.5) + 20_000.0;
    assert!(used as f64 <= most, "{used} gas in {time:?}");
    assert!(used > 0, "it goes on");
    let begun = Instant::now();
    assert_eq!(app.stop().await, ExitReason::Stopped);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?} to stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_never_gets_more_of_a_core_than_its_quota() {
    let daemon = Daemon::start().await;
    let neighbour = Neighbour::on(&daemon).await;
    let (probe, _) = probe_on(&daemon, "cpu=0.2").await;
    let app = probe.app().clone();
    let asking = spin(probe).await;
    asking.abort();
    let (before, begun) = (hog_time(), Instant::now());
    neighbour.answers_for(Duration::from_secs(3)).await;
    let (used, time) = (hog_time() - before, begun.elapsed());
    let most = time.mul_f64(0.2) + Duration::from_millis(250);
    assert!(used <= most, "{used:?} in {time:?}");
    assert!(used > Duration::from_millis(20), "it goes on: {used:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_within_the_quota_of_a_core_is_answered_at_once() {
    let daemon = Daemon::start().await;
    let mut config = guest("hello-http");
    config.quotas = quotas("cpu=0.1,gas-per-second=1000000,egress-per-second=1M");
    let app = daemon.deploy(config).await;
    let begun = Instant::now();
    for _ in 0..20 {
        app.get("/").await.expect_text("Hello, World!\n");
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_has_used_up_its_gas_is_stopped_until_it_gets_more() {
    let operator = Operator::start().await;
    let neighbour = Neighbour::on(operator.daemon()).await;
    let spinning = |config: &mut wapo_rpc::message::DeployArgs| {
        let settings = config.settings.as_mut().unwrap();
        settings.quotas = vec![wapo_rpc::message::StringPair {
            key: "gas".to_owned(),
            value: "2000000".to_owned(),
        }];
        settings.restart_always = true;
    };
    let probe = e2e::fixture("probe");
    let address = operator.deploy_with(&probe, spinning).await;
    // Within its gas it answers.
    let query = async |script: Script| {
        let args = wapo_rpc::QueryArgs {
            address: address.0.to_vec(),
            path: "/".to_owned(),
            payload: script.bytes().to_vec(),
            ..wapo_rpc::QueryArgs::default()
        };
        operator.app_query(args).await.map(drop)
    };
    query(Script::new()).await.unwrap();
    let failed = within("the end of the loop", query(Script::new().spin())).await;
    assert!(failed.is_err());
    let info = operator
        .until("the end", address, |info| info.state == "stopped")
        .await;
    assert!(info.reason.contains("gas used up"), "{}", info.reason);
    let used = info.usage.unwrap().gas;
    assert!((2_000_000..2_100_000).contains(&used), "{used}");
    neighbour.answers().await;

    let refused = query(Script::new()).await.unwrap_err().to_string();
    assert!(refused.contains("used up its gas"), "{refused}");
    let start = operator.app_start(Address::from(address)).await;
    let refused = start.unwrap_err().to_string();
    assert!(refused.contains("raise its quota"), "{refused}");

    super::settings::set(&operator, address, "gas", "4000000")
        .await
        .unwrap();
    operator
        .until("the start", address, |info| info.state == "running")
        .await;
    query(Script::new()).await.unwrap();
    let quota = super::settings::quota(&operator, address, "gas").await;
    assert!(
        quota.used >= 2_000_000 && quota.max == 4_000_000,
        "{quota:?}"
    );
    assert_eq!(quota.at_limit, "stop");
}
