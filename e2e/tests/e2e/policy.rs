//! Where guests may connect to, by whatever name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use e2e::dns::Dns;
use e2e::{Daemon, Errno, Probe, within};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use wapod::Resolver;

/// Kinds of failures, as the contract has them.
const TIMED_OUT_OR_LOOKUP_FAILED: [u8; 2] = [4, 6];
const NO_SUCH_NAME: u8 = 5;
const DENIED: u8 = 9;
const LISTEN_DENIED: u8 = 12;

/// A probe that asks this DNS server.
async fn resolving(dns: &Dns, allow: &[&str]) -> Probe {
    let servers = vec![dns.address()];
    let daemon = Daemon::with(|config| config.resolver = Resolver::Servers(servers)).await;
    Probe::on(&daemon, |app| {
        app.egress = allow.iter().map(|rule| rule.parse().unwrap()).collect();
    })
    .await
}

async fn server() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn special_addresses_are_denied() {
    let probe = Probe::start().await;
    for address in [
        "127.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fe80::1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
    ] {
        let refused = probe.tcp_connect(address, 80).await;
        assert_eq!(refused, Err(Errno::Forbidden), "{address}");
        let refused = probe.tcp_connect_tls(address, 443).await;
        assert_eq!(refused, Err(Errno::Forbidden), "{address}, TLS");
    }
    // Of many such lines a second ten are written.
    let line = probe.app().expect_log("127.0.0.2:80").await;
    assert!(line.text.contains("denied"), "{}", line.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_resolve_to_special_addresses_are_denied() {
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    let dns = Dns::serve(&[
        ("loop.test", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (
            "metadata.test",
            IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
        ),
        ("private.test", IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
        ("six.test", IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ("mapped.test", IpAddr::V6(mapped)),
        ("both.test", IpAddr::V4(Ipv4Addr::new(192, 168, 0, 1))),
        ("both.test", IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ])
    .await;
    let (listener, port) = server().await;
    let probe = resolving(&dns, &[]).await;
    for (name, reason) in [
        ("loop.test", DENIED),
        ("LOOP.test", DENIED),
        ("loop.test.", DENIED),
        ("metadata.test", DENIED),
        ("private.test", DENIED),
        ("six.test", DENIED),
        ("mapped.test", DENIED),
        ("both.test", DENIED),
        ("localhost", DENIED),
        ("LOCALHOST.", DENIED),
        ("127.0.0.256", NO_SUCH_NAME),
    ] {
        let connecting = probe.tcp_connect(name, port.into()).await.unwrap();
        assert_eq!(probe.poll_res(connecting).await, Err(Errno::Io), "{name}");
        let (kind, text) = probe.net_failure(connecting).await.unwrap();
        assert_eq!(kind, reason, "{name}: {text}");
        if reason == DENIED {
            let name = name.trim_end_matches('.').to_lowercase();
            let advice = format!("--allow-egress {name}:{port}");
            assert!(text.contains(&advice), "{text}");
        }
        match probe.tcp_connect_tls(name, port).await {
            Ok(connecting) => {
                assert_eq!(probe.poll_res(connecting).await, Err(Errno::Io), "{name}");
                let (kind, text) = probe.net_failure(connecting).await.unwrap();
                assert_eq!(kind, reason, "{name}, TLS: {text}");
            }
            // It is no name of a server either.
            Err(errno) => assert_eq!((errno, reason), (Errno::InvalidParameter, NO_SUCH_NAME)),
        }
    }
    let reached = tokio::time::timeout(Duration::from_millis(50), listener.accept());
    assert!(reached.await.is_err(), "a connection came through");
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_opens_what_it_names() {
    let dns = Dns::serve(&[
        ("open.test", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ("sub.below.test", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ("closed.test", IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ])
    .await;
    let (listener, port) = server().await;
    let rule = format!("open.test:{port}");
    let probe = resolving(&dns, &[&rule, "*.below.test"]).await;
    for (name, port, open) in [
        ("open.test", port, true),
        ("Open.Test.", port, true),
        ("sub.below.test", port, true),
        ("closed.test", port, false),
        ("open.test", 1, false),
    ] {
        let connecting = probe.tcp_connect(name, port.into()).await.unwrap();
        let result = probe.poll_res(connecting).await;
        assert_eq!(result.is_ok(), open, "{name}:{port}: {result:?}");
        if open {
            within("the connection", listener.accept()).await.unwrap();
        } else {
            assert_eq!(result, Err(Errno::Io));
            let (kind, text) = probe.net_failure(connecting).await.unwrap();
            assert_eq!(kind, DENIED, "{name}:{port}: {text}");
        }
    }
    let literal = probe.tcp_connect("127.0.0.1", port.into()).await;
    assert_eq!(literal, Err(Errno::Forbidden), "the rule is about a name");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_do_not_exist_are_errors() {
    let dns = Dns::serve(&[]).await;
    let probe = resolving(&dns, &["*"]).await;
    for name in [
        "missing.test",
        "no such name",
        "a..b",
        "\u{1F980}.test",
        "-.test",
    ] {
        let connecting = probe.tcp_connect(name, 80).await.unwrap();
        assert_eq!(probe.poll_res(connecting).await, Err(Errno::Io), "{name}");
        let (kind, text) = probe.net_failure(connecting).await.unwrap();
        assert_eq!(kind, NO_SUCH_NAME, "{name}: {text}");
        assert_eq!(probe.close(connecting).await, Ok(0));
    }
    probe.check_wakers(&[]).await;
}

/// An address at a port at which nobody answers: its queue is full, so the
/// kernel drops whatever else comes.
async fn silent_at(ip: Ipv4Addr, port: u16) -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((ip, port).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let mut clients = Vec::new();
    loop {
        let connecting = TcpStream::connect((ip, port));
        match tokio::time::timeout(Duration::from_millis(200), connecting).await {
            Ok(client) => clients.push(client.unwrap()),
            Err(_) => return (listener, clients),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_whose_first_address_is_dead_is_reached_at_the_second() {
    let dead = Ipv4Addr::new(127, 0, 0, 77);
    let dns = Dns::serve(&[
        ("multi.test", IpAddr::V4(dead)),
        ("multi.test", IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ])
    .await;
    let (listener, port) = server().await;
    let _silent = silent_at(dead, port).await;
    let probe = resolving(&dns, &["*"]).await;
    let begun = Instant::now();
    let connecting = probe.tcp_connect("multi.test", port.into()).await.unwrap();
    assert!(probe.poll_res(connecting).await.is_ok());
    within("the connection", listener.accept()).await.unwrap();
    // The deadline of an attempt is 30 s.
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_questions_for_ipv6_costs_nothing() {
    let name = [("plain.test", IpAddr::V4(Ipv4Addr::LOCALHOST))];
    let dns = Dns::serve_ipv4_only(&name).await;
    let (listener, port) = server().await;
    let probe = resolving(&dns, &["*"]).await;
    let begun = Instant::now();
    let connecting = probe.tcp_connect("plain.test", port.into()).await.unwrap();
    assert!(probe.poll_res(connecting).await.is_ok());
    within("the connection", listener.accept()).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_an_underscore_are_resolved() {
    let dns = Dns::serve(&[("under_score.test", IpAddr::V4(Ipv4Addr::LOCALHOST))]).await;
    let (listener, port) = server().await;
    let probe = resolving(&dns, &["*"]).await;
    for name in ["under_score.test", "Under_Score.test."] {
        let connecting = probe.tcp_connect(name, port.into()).await.unwrap();
        assert!(probe.poll_res(connecting).await.is_ok(), "{name}");
        within("the connection", listener.accept()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_without_name_servers_starts_and_uses_those_that_come_later() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resolv.conf");
    let resolver = Resolver::File(file.clone());
    let daemon = Daemon::with(|config| config.resolver = resolver).await;
    let probe = Probe::on(&daemon, |app| app.egress = vec!["*".parse().unwrap()]).await;
    let failure = async || {
        let connecting = probe.tcp_connect("name.test", 80).await.unwrap();
        assert_eq!(probe.poll_res(connecting).await, Err(Errno::Io));
        let failure = probe.net_failure(connecting).await.unwrap();
        probe.close(connecting).await.unwrap();
        failure
    };
    let (kind, text) = failure().await;
    assert!(TIMED_OUT_OR_LOOKUP_FAILED.contains(&kind), "{kind}: {text}");
    assert!(text.contains("names no DNS server"), "{text}");

    // Nobody answers on port 53 there, which is another failure than before.
    std::fs::write(
        &file,
        "nameserver 127.0.0.78\noptions timeout:1 attempts:1\n",
    )
    .unwrap();
    let used = async {
        while failure().await.1.contains("names no DNS server") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("the new file", used).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_own_ports_are_no_guests() {
    let daemon = Daemon::with(|config| {
        config.admin_address = Some((Ipv4Addr::LOCALHOST, 0).into());
    })
    .await;
    let admin = daemon.running().admin_address().unwrap().port();
    let user = daemon.running().user_address().port();
    let probe = Probe::on(&daemon, |app| {
        app.egress = vec!["*".parse().unwrap()];
        app.listen_ports = "1..65535".parse().ok();
    })
    .await;
    for port in [admin, user] {
        for host in ["127.0.0.1", "::1", "0.0.0.0", "127.0.0.2"] {
            let refused = probe.tcp_connect(host, port.into()).await;
            assert_eq!(refused, Err(Errno::Forbidden), "{host}:{port}");
        }
        for address in ["[::1]", "127.0.0.2", "0.0.0.0", "[::]"] {
            let refused = probe.tcp_listen(&format!("{address}:{port}"), None).await;
            assert_eq!(refused, Err(Errno::Forbidden), "{address}:{port}");
            let (kind, text) = probe.net_failure(u32::MAX).await.unwrap();
            assert_eq!(kind, LISTEN_DENIED, "{text}");
            assert!(text.contains("the worker's own"), "{text}");
        }
    }
    let rule = format!("127.0.0.1:{user}");
    let named = Probe::on(&daemon, |app| {
        app.label = "named".to_owned();
        app.egress = vec![rule.parse().unwrap()];
    })
    .await;
    let connecting = named.tcp_connect("127.0.0.1", user.into()).await.unwrap();
    assert!(named.poll_res(connecting).await.is_ok());
    let refused = named.tcp_connect("127.0.0.1", admin.into()).await;
    assert_eq!(refused, Err(Errno::Forbidden));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_attempt_can_be_given_up() {
    // A DNS server that never answers keeps the attempt under way.
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = vec![silent.local_addr().unwrap()];
    let daemon = Daemon::with(|config| config.resolver = Resolver::Servers(servers)).await;
    let probe = Probe::on(&daemon, |app| app.egress = vec!["*".parse().unwrap()]).await;
    let connecting = probe.tcp_connect("name.test", 80).await.unwrap();
    let (_, waiting) = probe.try_wait(106, [connecting, 0, 0]).await;
    assert_eq!(waiting, Err(Errno::Pending));
    assert_eq!(probe.close(connecting).await, Ok(0));
    probe.check_wakers(&[]).await;
}
