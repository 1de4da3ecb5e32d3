//! Where guests may connect to, by whatever name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use e2e::dns::Dns;
use e2e::{Daemon, Errno, Probe, within};
use tokio::net::TcpListener;
use wapod::Resolver;

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
    let line = probe.app().expect_log("169.254.169.254").await;
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
    for name in [
        "loop.test",
        "LOOP.test",
        "loop.test.",
        "metadata.test",
        "private.test",
        "six.test",
        "mapped.test",
        "both.test",
        "localhost",
        "LOCALHOST.",
        // Spellings of 127.0.0.1 that some libraries understand.
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
    ] {
        for connecting in [
            probe.tcp_connect(name, port.into()).await,
            probe.tcp_connect_tls(name, port).await,
        ] {
            let result = match connecting {
                Ok(connecting) => probe.poll_res(connecting).await,
                refused => refused,
            };
            let denied = [
                Err(Errno::Io),
                Err(Errno::Forbidden),
                Err(Errno::InvalidParameter),
            ];
            assert!(denied.contains(&result), "{name}: {result:?}");
        }
    }
    let reached = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept());
    assert!(reached.await.is_err(), "somebody came through");
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
        assert_eq!(probe.close(connecting).await, Ok(0));
    }
    probe.check_wakers(&[]).await;
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
