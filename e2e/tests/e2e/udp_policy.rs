//! Where datagrams of guests may go.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use e2e::dns::Dns;
use e2e::probe::datagrams;
use e2e::{Daemon, Errno, Operator, Probe, fixture, ports, within};
use tokio::net::UdpSocket;
use wapod::{Proxy, Resolver};

const DENIED: u8 = 9;
const NO_SUCH_NAME: u8 = 5;

async fn server() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    (socket, at)
}

async fn next(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 1000];
    let received = within("a datagram", socket.recv_from(&mut buffer)).await;
    let (count, from) = received.unwrap();
    buffer.truncate(count);
    (buffer, from)
}

#[tokio::test(flavor = "multi_thread")]
async fn special_addresses_get_no_datagrams_connected_or_not() {
    let probe = Probe::start().await;
    let v4 = probe.udp_bind("0.0.0.0:0").await.unwrap();
    let v6 = probe.udp_bind("[::]:0").await.unwrap();
    for address in [
        "127.0.0.1:53",
        "127.0.0.2:53",
        "0.0.0.0:53",
        "10.1.2.3:53",
        "100.64.0.1:53",
        "169.254.169.254:53",
        "172.16.0.1:53",
        "192.168.1.1:53",
        "224.0.0.251:5353",
        "255.255.255.255:67",
        "[::]:53",
        "[::1]:53",
        "[::ffff:127.0.0.1]:53",
        "[::ffff:10.0.0.1]:53",
        "[::127.0.0.1]:53",
        "[64:ff9b::7f00:1]:53",
        "[2002:7f00:1::]:53",
        "[fe80::1%1]:53",
        "[fc00::1]:53",
        "[ff02::fb]:5353",
    ] {
        let to: SocketAddr = address.parse().unwrap();
        let socket = if to.is_ipv4() { v4 } else { v6 };
        let refused = probe.send_to(socket, to, b"x").await;
        assert_eq!(refused, Err(Errno::Forbidden), "{address}");
        assert_eq!(probe.net_failure(socket).await.unwrap().0, DENIED);
        // IPv4 by a socket of IPv6 is no way around it.
        let refused = probe.send_to(v6, to, b"x").await;
        assert_eq!(refused, Err(Errno::Forbidden), "{address}, IPv6");
        let target = SocketAddr::new(to.ip(), to.port()).to_string();
        let refused = probe.udp_connect(socket, &target).await;
        assert_eq!(refused, Err(Errno::Forbidden), "{address}, connected");
    }
    let alone = datagrams(&[(None, b"x".to_vec())]);
    assert_eq!(probe.udp_send(v4, &alone).await, Err(Errno::Io), "no peer");
    assert_eq!(probe.app().usage().network_egress_bytes, 0);
    let denied = probe.app().handle().egress_refusals().denied;
    assert!(denied >= 60, "{denied}");
    let line = probe.app().expect_log("127.0.0.2:53").await;
    assert!(line.text.contains("denied"), "{}", line.text);
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_opens_what_it_names_for_datagrams() {
    let (open, open_at) = server().await;
    let (_closed, closed_at) = server().await;
    let probe = Probe::with(|app| {
        app.egress = vec![open_at.to_string().parse().unwrap()];
    })
    .await;
    let socket = probe.udp_bind("0.0.0.0:0").await.unwrap();
    // Of a batch goes what stands before the one that may not go.
    let batch = [open_at, open_at, closed_at, open_at];
    let batch = batch.map(|to| (Some(to), b"x".to_vec()));
    assert_eq!(probe.udp_send(socket, &datagrams(&batch)).await, Ok(2));
    let rest = datagrams(&batch[2..]);
    let refused = probe.udp_send(socket, &rest).await;
    assert_eq!(refused, Err(Errno::Forbidden));
    let (_, text) = probe.net_failure(socket).await.unwrap();
    assert!(
        text.contains(&format!("--allow-egress {closed_at}")),
        "{text}"
    );
    let rest = datagrams(&batch[3..]);
    assert_eq!(probe.udp_send(socket, &rest).await, Ok(1));
    for _ in 0..3 {
        assert_eq!(next(&open).await.0, b"x");
    }
    let denied = || probe.app().handle().egress_refusals().denied;
    assert_eq!(denied(), 1, "the one that ended a batch counts once");
    // A peer that is allowed opens no other address.
    let target = open_at.to_string();
    assert_eq!(probe.udp_connect(socket, &target).await, Ok(0));
    let refused = probe.send_to(socket, closed_at, b"x").await;
    assert_eq!(refused, Err(Errno::Forbidden));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_judged_by_what_it_resolves_to() {
    let dns = Dns::serve(&[
        ("open.test", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ("closed.test", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ("both.test", "::1".parse().unwrap()),
        ("both.test", IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))),
    ])
    .await;
    let servers = vec![dns.address()];
    let daemon = Daemon::with(|config| config.resolver = Resolver::Servers(servers)).await;
    let probe = Probe::on(&daemon, |app| {
        app.egress = ["open.test", "127.0.0.2"]
            .map(|rule| rule.parse().unwrap())
            .to_vec();
    })
    .await;
    let (peer, at) = server().await;
    for bound in ["0.0.0.0:0", "[::]:0"] {
        let socket = probe.udp_bind(bound).await.unwrap();
        let target = format!("open.test:{}", at.port());
        assert_eq!(probe.udp_connect(socket, &target).await, Ok(0), "{bound}");
        let hello = datagrams(&[(None, b"hello".to_vec())]);
        assert_eq!(probe.udp_send(socket, &hello).await, Ok(1));
        let (greeting, from) = next(&peer).await;
        assert_eq!(greeting, b"hello");
        peer.send_to(b"answer", from).await.unwrap();
        let received = probe.udp_recv(socket, 100).await.unwrap();
        assert_eq!(received[0].1, b"answer");
        let denied = probe.udp_connect(socket, "closed.test:53").await;
        assert_eq!(denied, Err(Errno::Forbidden));
        let (kind, text) = probe.net_failure(socket).await.unwrap();
        assert_eq!(kind, DENIED, "{text}");
        let unknown = probe.udp_connect(socket, "unknown.test:53").await;
        assert_eq!(unknown, Err(Errno::Io));
        let (kind, text) = probe.net_failure(socket).await.unwrap();
        assert_eq!(kind, NO_SUCH_NAME, "{text}");
        // Of a name with addresses of both families one may be allowed.
        let other = probe.udp_bind(bound).await.unwrap();
        assert_eq!(
            probe.udp_connect(other, "both.test:53").await,
            Ok(0),
            "{bound}"
        );
        // The peer is the one that it was.
        assert_eq!(probe.udp_send(socket, &hello).await, Ok(1));
        assert_eq!(next(&peer).await.0, b"hello");
    }
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_do_not_go_around_a_proxy() {
    let proxy = || Some("socks5://127.0.0.1:9".parse::<Proxy>().unwrap().into());
    let daemon = Daemon::with(|config| config.proxies.all = proxy()).await;
    let port = ports::free();
    let probe = Probe::on(&daemon, |app| {
        app.listen_ports = ports::only(port);
        app.egress = vec!["*".parse().unwrap()];
    })
    .await;
    for address in ["0.0.0.0:0".to_owned(), format!("127.0.0.1:{port}")] {
        let refused = probe.udp_bind(&address).await;
        assert_eq!(refused, Err(Errno::Forbidden), "{address}");
        let (kind, text) = probe.net_failure(u32::MAX).await.unwrap();
        assert_eq!(kind, DENIED);
        assert!(text.contains("proxy"), "{text}");
    }
    assert_eq!(probe.app().handle().egress_refusals().denied, 2);

    // One for names of I2P says nothing about others, and none of these is asked for.
    let dns = Dns::serve(&[("a.i2p", IpAddr::V4(Ipv4Addr::LOCALHOST))]).await;
    let servers = vec![dns.address()];
    let daemon = Daemon::with(|config| {
        config.proxies.i2p = proxy();
        config.resolver = Resolver::Servers(servers);
    })
    .await;
    let probe = Probe::on(&daemon, |app| app.egress = vec!["*".parse().unwrap()]).await;
    let socket = probe.udp_bind("0.0.0.0:0").await.unwrap();
    let refused = probe.udp_connect(socket, "a.i2p:53").await;
    assert_eq!(refused, Err(Errno::Forbidden));
    assert_eq!(probe.net_failure(socket).await.unwrap().0, DENIED);
    assert_eq!(probe.app().handle().egress_refusals().denied, 1);
    let (peer, at) = server().await;
    assert_eq!(probe.send_to(socket, at, b"x").await, Ok(1));
    assert_eq!(next(&peer).await.0, b"x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_source_opens_nothing() {
    // A datagram from the number of the admin port looks as if the worker had sent it;
    // an answer would reach it.
    let operator = Operator::start().await;
    let admin = operator.daemon().running().admin_address().unwrap();
    let port = ports::free();
    let mut config = fixture("probe");
    config.listen_ports = ports::only(port);
    config.egress = vec!["127.0.0.0/8".parse().unwrap()];
    let probe = Probe::of(operator.daemon().deploy(config).await);
    let socket = probe.udp_bind(&format!("127.0.0.1:{port}")).await.unwrap();
    let claimed = UdpSocket::bind(admin).await.unwrap();
    claimed.send_to(b"?", ("127.0.0.1", port)).await.unwrap();
    let received = probe.udp_recv(socket, 100).await.unwrap();
    assert_eq!(received, [(Some(admin), b"?".to_vec())]);
    let refused = probe.send_to(socket, admin, b"!").await;
    assert_eq!(refused, Err(Errno::Forbidden));

    // Without a rule not even a client that has asked is answered.
    let other = ports::free();
    let strict = Probe::on(operator.daemon(), |app| {
        app.label = "strict".to_owned();
        app.listen_ports = ports::only(other);
    })
    .await;
    let socket = strict
        .udp_bind(&format!("127.0.0.1:{other}"))
        .await
        .unwrap();
    let (client, own) = server().await;
    client.send_to(b"?", ("127.0.0.1", other)).await.unwrap();
    strict.udp_recv(socket, 100).await.unwrap();
    let refused = strict.send_to(socket, own, b"!").await;
    assert_eq!(refused, Err(Errno::Forbidden));
}
