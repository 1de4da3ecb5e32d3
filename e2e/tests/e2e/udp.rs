//! Datagrams: sockets of guests, alone and with clients.

use std::net::SocketAddr;

use e2e::probe::{SCRATCH, Script, datagrams};
use e2e::{App, Daemon, Errno, Probe, guest, ports, within};
use tokio::net::UdpSocket;

/// Kinds of failures, as the contract has them.
const REFUSED: u8 = 1;
const ADDRESS_IN_USE: u8 = 10;
const LIMIT: u8 = 16;

/// Room for any number of datagrams.
const ROOM: u32 = 200_000;

/// A probe that may listen on one port and send to loopback.
async fn networked() -> (Probe, u16) {
    let port = ports::free();
    let probe = Probe::with(|app| {
        app.listen_ports = ports::only(port);
        app.egress = vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
    })
    .await;
    (probe, port)
}

/// A client at this address.
async fn client(address: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(address).await.unwrap();
    let own = socket.local_addr().unwrap();
    (socket, own)
}

/// The next datagram of a client.
async fn next(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 70_000];
    let received = within("a datagram", socket.recv_from(&mut buffer)).await;
    let (count, from) = received.unwrap();
    buffer.truncate(count);
    (buffer, from)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_receives_and_answers() {
    let (probe, port) = networked().await;
    let address = format!("127.0.0.1:{port}");
    let socket = probe.udp_bind(&address).await.unwrap();
    let at: SocketAddr = address.parse().unwrap();
    assert_eq!(probe.local_addr(socket).await, Ok(at));
    assert_eq!(probe.app().status().listening_udp, [at]);
    let (client, own) = client("127.0.0.1:0").await;
    // Before and while a guest waits; an empty one is one, too.
    for payload in [b"question".as_slice(), b"", b"again"] {
        client.send_to(payload, at).await.unwrap();
        let received = probe.udp_recv(socket, ROOM).await.unwrap();
        assert_eq!(received, [(Some(own), payload.to_vec())]);
        assert_eq!(probe.send_to(socket, own, payload).await, Ok(1));
        assert_eq!(next(&client).await, (payload.to_vec(), at));
    }
    let usage = probe.app().usage();
    let bytes = 8 + 5 + 3 * 28;
    let moved = (usage.network_ingress_bytes, usage.network_egress_bytes);
    assert_eq!(moved, (bytes, bytes), "payloads and headers");
    assert_eq!(probe.close(socket).await, Ok(0));
    assert!(probe.app().status().listening_udp.is_empty());
    assert!(UdpSocket::bind(at).await.is_ok(), "the port is free again");
    let gone = probe.udp_recv(socket, ROOM).await;
    assert_eq!(gone, Err(Errno::NotFound));
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_waits_is_woken_by_a_datagram() {
    let (probe, port) = networked().await;
    let socket = probe.udp_bind(&format!("[::1]:{port}")).await.unwrap();
    let (waker, waiting) = probe.try_wait(312, [socket, SCRATCH, ROOM]).await;
    assert_eq!(waiting, Err(Errno::Pending));
    let (client, own) = client("[::1]:0").await;
    client.send_to(b"x", ("::1", port)).await.unwrap();
    probe.until_woken(waker).await;
    let received = probe.udp_recv(socket, ROOM).await.unwrap();
    assert_eq!(received, [(Some(own), b"x".to_vec())]);
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_udp_are_those_of_the_range() {
    let (probe, port) = networked().await;
    for other in [1, 80, port - 1, port + 1, u16::MAX] {
        let refused = probe.udp_bind(&format!("127.0.0.1:{other}")).await;
        assert_eq!(refused, Err(Errno::Forbidden), "{other}");
    }
    let long = format!("127.0.0.1:{port:060}");
    for address in ["", "127.0.0.1", "localhost:0", ":0", &long] {
        let refused = probe.udp_bind(address).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{address}");
    }
    let taken = UdpSocket::bind(("127.0.0.1", port)).await.unwrap();
    let busy = probe.udp_bind(&format!("127.0.0.1:{port}")).await;
    assert_eq!(busy, Err(Errno::Io));
    assert_eq!(probe.net_failure(u32::MAX).await.unwrap().0, ADDRESS_IN_USE);
    drop(taken);
    let first = probe.udp_bind(&format!("127.0.0.1:{port}")).await;
    assert!(first.is_ok());
    let again = probe.udp_bind(&format!("0.0.0.0:{port}")).await;
    assert_eq!(again, Err(Errno::Io), "the same port by another address");
    // A TCP listener may have the same number.
    let listener = probe.tcp_listen(&format!("127.0.0.1:{port}"), None).await;
    let listener = listener.unwrap();
    let at = format!("127.0.0.1:{port}").parse().unwrap();
    assert_eq!(probe.local_addr(listener).await, Ok(at));
    let timer = probe.create_timer(1).await.unwrap();
    let none = probe.local_addr(timer).await;
    assert_eq!(none, Err(Errno::Unsupported));
    assert_eq!(probe.local_addr(99).await, Err(Errno::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_says_by_whom() {
    let daemon = Daemon::start().await;
    let port = ports::free();
    let probe_of = |label: &'static str| {
        Probe::on(&daemon, move |app| {
            app.label = label.to_owned();
            app.listen_ports = ports::only(port);
        })
    };
    let (first, second) = (probe_of("first").await, probe_of("second").await);
    let address = format!("127.0.0.1:{port}");
    first.tcp_listen(&address, None).await.unwrap();
    first.udp_bind(&address).await.unwrap();
    for (probe, holder) in [(&first, "the program itself"), (&second, "another app")] {
        for refused in [
            probe.tcp_listen(&address, None).await,
            probe.udp_bind(&address).await,
        ] {
            assert_eq!(refused, Err(Errno::Io));
            let (kind, text) = probe.net_failure(u32::MAX).await.unwrap();
            assert_eq!(kind, ADDRESS_IN_USE);
            assert!(text.contains(holder), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn port_0_gives_the_port_back() {
    let probe = Probe::with(|app| {
        app.listen_ports = "0..65535".parse().ok();
        app.egress = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let socket = probe.udp_bind("127.0.0.1:0").await.unwrap();
    let at = probe.local_addr(socket).await.unwrap();
    assert_ne!(at.port(), 0);
    let (client, own) = client("127.0.0.1:0").await;
    client.send_to(b"hello", at).await.unwrap();
    let received = probe.udp_recv(socket, ROOM).await.unwrap();
    assert_eq!(received, [(Some(own), b"hello".to_vec())]);
    let listener = probe.tcp_listen("127.0.0.1:0", None).await.unwrap();
    let at = probe.local_addr(listener).await.unwrap();
    let connected = tokio::net::TcpStream::connect(at).await;
    assert!(connected.is_ok(), "{at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_hears_only_from_those_that_it_has_sent_to() {
    // Without any port of its own.
    let probe = Probe::with(|app| {
        app.egress = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let socket = probe.udp_bind("0.0.0.0:0").await.unwrap();
    assert!(probe.app().status().listening_udp.is_empty());
    let port = probe.local_addr(socket).await.unwrap().port();
    let (server, server_at) = client("127.0.0.1:0").await;
    let (stranger, _) = client("127.0.0.1:0").await;
    stranger.send_to(b"no", ("127.0.0.1", port)).await.unwrap();
    server.send_to(b"early", ("127.0.0.1", port)).await.unwrap();
    assert!(probe.hears_nothing(socket).await);
    assert_eq!(probe.send_to(socket, server_at, b"ask").await, Ok(1));
    let (question, from) = next(&server).await;
    assert_eq!(
        (question.as_slice(), from.port()),
        (b"ask".as_slice(), port)
    );
    stranger.send_to(b"no", from).await.unwrap();
    server.send_to(b"answer", from).await.unwrap();
    let received = probe.udp_recv(socket, ROOM).await.unwrap();
    assert_eq!(received, [(Some(server_at), b"answer".to_vec())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_socket_has_one_peer() {
    let (probe, port) = networked().await;
    let (peer, peer_at) = client("127.0.0.1:0").await;
    let (stranger, _) = client("127.0.0.1:0").await;
    for address in ["0.0.0.0:0".to_owned(), format!("127.0.0.1:{port}")] {
        let socket = probe.udp_bind(&address).await.unwrap();
        let alone = datagrams(&[(None, b"to nobody".to_vec())]);
        assert_eq!(probe.udp_send(socket, &alone).await, Err(Errno::Io));
        let (_, text) = probe.net_failure(socket).await.unwrap();
        assert!(text.contains("not connected"), "{text}");
        let target = peer_at.to_string();
        assert_eq!(probe.udp_connect(socket, &target).await, Ok(0));
        let hello = datagrams(&[(None, b"hello".to_vec()), (Some(peer_at), b"too".to_vec())]);
        assert_eq!(probe.udp_send(socket, &hello).await, Ok(2));
        let (greeting, from) = next(&peer).await;
        assert_eq!(greeting, b"hello");
        assert_eq!(next(&peer).await, (b"too".to_vec(), from));
        stranger.send_to(b"no", from).await.unwrap();
        peer.send_to(b"yes", from).await.unwrap();
        let received = probe.udp_recv(socket, ROOM).await.unwrap();
        assert_eq!(received, [(Some(peer_at), b"yes".to_vec())]);
        probe.close(socket).await.unwrap();
    }
    for target in [
        "",
        "127.0.0.1",
        "127.0.0.1:0",
        ":53",
        "::1:53",
        "a.test:65536",
    ] {
        let socket = probe.udp_bind("0.0.0.0:0").await.unwrap();
        let refused = probe.udp_connect(socket, target).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_that_nobody_listens() {
    let (probe, _) = networked().await;
    let socket = probe.udp_bind("0.0.0.0:0").await.unwrap();
    let nobody = format!("127.0.0.1:{}", ports::free());
    assert_eq!(probe.udp_connect(socket, &nobody).await, Ok(0));
    let hello = datagrams(&[(None, b"hello".to_vec())]);
    assert_eq!(probe.udp_send(socket, &hello).await, Ok(1));
    assert_eq!(probe.udp_recv(socket, ROOM).await, Err(Errno::Io));
    assert_eq!(probe.net_failure(socket).await.unwrap().0, REFUSED);
    // Once; a guest that waits already gets the next one.
    let (waker, waiting) = probe.try_wait(312, [socket, SCRATCH, ROOM]).await;
    assert_eq!(waiting, Err(Errno::Pending));
    assert_eq!(probe.udp_send(socket, &hello).await, Ok(1));
    probe.until_woken(waker).await;
    assert_eq!(probe.udp_recv(socket, ROOM).await, Err(Errno::Io));
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_travel_in_batches() {
    let (probe, port) = networked().await;
    let socket = probe.udp_bind(&format!("127.0.0.1:{port}")).await.unwrap();
    let (client, own) = client("127.0.0.1:0").await;
    for number in 0..40_u8 {
        let payload = vec![number; usize::from(number)];
        client.send_to(&payload, ("127.0.0.1", port)).await.unwrap();
    }
    let mut received = probe.udp_recv(socket, ROOM).await.unwrap();
    assert_eq!(received.len(), 32, "the most of one call");
    received.extend(probe.udp_recv(socket, ROOM).await.unwrap());
    let expected = |number: u8| (Some(own), vec![number; usize::from(number)]);
    assert_eq!(received, (0..40).map(expected).collect::<Vec<_>>());

    // Back again: at most as many.
    assert_eq!(probe.udp_send(socket, &datagrams(&received)).await, Ok(32));
    let rest = datagrams(&received[32..]);
    assert_eq!(probe.udp_send(socket, &rest).await, Ok(8));
    for (_, payload) in received {
        assert_eq!(next(&client).await.0, payload);
    }
    assert_eq!(probe.udp_send(socket, &[]).await, Ok(0), "nothing to send");

    // With little room there is one at a time, and what does not fit is lost.
    for payload in [b"first".as_slice(), b"second"] {
        client.send_to(payload, ("127.0.0.1", port)).await.unwrap();
    }
    let cut = probe.udp_recv(socket, 28 + 3).await.unwrap();
    assert_eq!(cut, [(Some(own), b"fir".to_vec())]);
    let empty = probe.udp_recv(socket, 28).await.unwrap();
    assert_eq!(empty, [(Some(own), Vec::new())]);
    for room in [0, 27] {
        let refused = probe.udp_recv(socket, room).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{room}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_datagram_fits_and_longer_ones_are_refused() {
    let (probe, port) = networked().await;
    let socket = probe.udp_bind(&format!("127.0.0.1:{port}")).await.unwrap();
    let (client, own) = client("127.0.0.1:0").await;
    let longest = vec![7; 65_507];
    assert_eq!(probe.send_to(socket, own, &longest).await, Ok(1));
    assert_eq!(next(&client).await.0, longest);
    client.send_to(&longest, ("127.0.0.1", port)).await.unwrap();
    let received = probe.udp_recv(socket, ROOM).await.unwrap();
    assert_eq!(received, [(Some(own), longest)]);

    let too_long = probe.send_to(socket, own, &[7; 65_508]).await;
    assert_eq!(too_long, Err(Errno::Io));
    let (kind, text) = probe.net_failure(socket).await.unwrap();
    assert_eq!(kind, LIMIT);
    assert!(text.contains("65507"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_datagrams_are_refused() {
    let (probe, port) = networked().await;
    let socket = probe.udp_bind(&format!("127.0.0.1:{port}")).await.unwrap();
    let (client, own) = client("127.0.0.1:0").await;
    let good = datagrams(&[(Some(own), b"good".to_vec())]);
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let bad = [
        // A payload of 5, of 4 GiB; unknown kinds; fields that are not used.
        with(0, 5),
        with(3, 255),
        with(4, 1),
        with(4, 0),
        with(5, 1),
        with(12, 1),
        with(24, 1),
        good[..27].to_vec(),
        good[..31].to_vec(),
        vec![0xff; 100],
    ];
    for bytes in &bad {
        let refused = probe.udp_send(socket, bytes).await;
        let expected = [Err(Errno::InvalidParameter), Err(Errno::Io)];
        assert!(expected.contains(&refused), "{bytes:?}: {refused:?}");
        // What stands before it goes.
        let sent = probe
            .udp_send(socket, &[&good, bytes.as_slice()].concat())
            .await;
        assert_eq!(sent, Ok(1), "{bytes:?}");
        assert_eq!(next(&client).await.0, b"good");
    }
    // More bytes than a call takes.
    let script = Script::new().fast(311, [u32::MAX, socket, SCRATCH, 256 * 1024 + 1]);
    let refused = probe.run(&script).await.result();
    assert_eq!(refused, Err(Errno::InvalidParameter));
    // No socket has port 0.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
    let refused = probe.send_to(socket, nobody, b"x").await;
    assert_eq!(refused, Err(Errno::Io));
    // Other calls do not take a socket, nor these anything else.
    let unsupported = Err(Errno::Unsupported);
    assert_eq!(
        probe.poll_read(socket, 1).await,
        unsupported.map(|()| vec![])
    );
    assert_eq!(
        probe.poll_write(socket, b"x").await,
        unsupported.map(|()| 0)
    );
    assert_eq!(probe.poll_shutdown(socket).await, unsupported.map(|()| 0));
    assert_eq!(
        probe.tcp_accept_no_addr(socket).await,
        unsupported.map(|()| 0)
    );
    let timer = probe.create_timer(1).await.unwrap();
    assert_eq!(probe.udp_send(timer, &good).await, unsupported.map(|()| 0));
    assert_eq!(
        probe.udp_connect(timer, "a:1").await,
        unsupported.map(|()| 0)
    );
    let refused = probe.udp_recv(timer, ROOM).await;
    assert_eq!(refused, Err(Errno::Unsupported));
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_on_the_budgets_of_their_instance() {
    let daemon = Daemon::start().await;
    let probe = Probe::on(&daemon, |_| {}).await;
    // Its own memory is there when it answers.
    probe.run(&Script::new()).await;
    let before = daemon.running().guest_memory_bytes();
    let first = probe.udp_bind("0.0.0.0:0").await.unwrap();
    assert_eq!(daemon.running().guest_descriptors().used, 1);
    // Each takes memory of the host for its buffers; 128 MiB are the most.
    let script = Script::new().write(SCRATCH, b"0.0.0.0:0");
    let script = script.fast_times(400, 309, [SCRATCH, 9, 0, 0]);
    assert_eq!(probe.run(&script).await.result(), Err(Errno::Limited));
    let held = daemon.running().guest_memory_bytes() - before;
    assert!((127 << 20..=128 << 20).contains(&held), "{held}");
    let sockets = daemon.running().guest_descriptors().used;
    assert!((250..400).contains(&sockets), "{sockets}");
    // Closing gives it back.
    let script = Script::new().flood(400, 101, [first, 0, 0, 0]);
    probe.run(&script).await;
    assert_eq!(daemon.running().guest_descriptors().used, 0);
    assert_eq!(daemon.running().guest_memory_bytes(), before);
    assert!(probe.udp_bind("0.0.0.0:0").await.is_ok());
}

/// The suite, which echoes datagrams on a port and may reach loopback.
async fn suite() -> (App, SocketAddr) {
    let port = ports::free();
    let mut config = guest("sdk-suite");
    config.listen_ports = ports::only(port);
    config.args = vec![format!("listen-udp=127.0.0.1:{port}")];
    config.egress = vec!["127.0.0.0/8".parse().unwrap()];
    let app = Daemon::start().await.deploy(config).await;
    app.expect_log("ready").await;
    (app, SocketAddr::from(([127, 0, 0, 1], port)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_sends_and_receives() {
    let (app, at) = suite().await;
    let (client, _) = client("127.0.0.1:0").await;
    for payload in [vec![1; 500], Vec::new(), vec![2; 65_507]] {
        client.send_to(&payload, at).await.unwrap();
        assert_eq!(next(&client).await, (payload, at));
    }
    // Many at a time, all of which are echoed.
    for number in 0..100_u8 {
        client.send_to(&[number; 100], at).await.unwrap();
    }
    for number in 0..100_u8 {
        assert_eq!(next(&client).await.0, [number; 100]);
    }
    // By a client in the guest, from its own server.
    for how in ["connected", "unconnected", "batch"] {
        let answer = app.query(&format!("/udp/{how}/{at}"), *b"ping").await;
        assert_eq!(answer.unwrap(), b"ping", "{how}");
    }
    let local = app.ask("/udp/local/0.0.0.0:0").await;
    let local: SocketAddr = local.parse().unwrap();
    assert_ne!(local.port(), 0);
    let kinds = app.ask("/udp/errors/0.0.0.0:0").await;
    assert_eq!(
        kinds,
        "PermissionDenied PermissionDenied InvalidInput InvalidInput InvalidInput"
    );
}
