//! Listeners with options: dual stack, backlog, keepalive, headers of proxies.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use e2e::probe::Listen;
use e2e::{Authority, Daemon, Errno, Probe, guest, ports, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

const LISTEN_DENIED: u8 = 12;
/// The only proxy that is trusted; other addresses of loopback are strangers.
const PROXY: [u8; 4] = [127, 0, 0, 2];
const STRANGER: [u8; 4] = [127, 0, 0, 3];
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n";

/// A probe on a worker that trusts a proxy, for ports of apps as well.
async fn behind_a_proxy() -> (Probe, u16) {
    let port = ports::free();
    let daemon = Daemon::with(|config| {
        config.trusted_proxies = vec![IpAddr::from(PROXY).into()];
        config.proxy_protocol.apps = true;
    })
    .await;
    let probe = Probe::on(&daemon, |app| app.listen_ports = ports::only(port)).await;
    (probe, port)
}

/// A probe that may listen on one port.
async fn with_port() -> (Probe, u16) {
    let port = ports::free();
    let probe = Probe::with(|app| app.listen_ports = ports::only(port)).await;
    (probe, port)
}

async fn connect(from: [u8; 4], port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    socket.connect(at).await.unwrap()
}

const WITH_HEADER: Listen = Listen {
    backlog: None,
    nodelay: true,
    keepalive_secs: None,
    proxy_header: true,
};

#[tokio::test(flavor = "multi_thread")]
async fn one_socket_serves_both_families() {
    let port = ports::free();
    let probe = Probe::with(|app| {
        app.listen_ports = ports::only(port);
        app.egress = vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
    })
    .await;
    let listener = probe
        .tcp_listen(&format!("[::]:{port}"), None)
        .await
        .unwrap();
    for host in ["127.0.0.1", "::1"] {
        let client = TcpStream::connect((host, port)).await.unwrap();
        let (_, peer) = probe.tcp_accept(listener).await.unwrap();
        let peer: SocketAddr = peer.parse().unwrap();
        let own = client.local_addr().unwrap();
        assert_eq!(
            (peer.ip().to_canonical(), peer.port()),
            (own.ip(), own.port())
        );
    }
    let socket = probe.udp_bind(&format!("[::]:{port}")).await.unwrap();
    for host in ["127.0.0.1", "::1"] {
        let client = UdpSocket::bind((host, 0)).await.unwrap();
        client.send_to(b"hello", (host, port)).await.unwrap();
        let received = probe.udp_recv(socket, 1000).await.unwrap();
        let (from, payload) = &received[0];
        assert_eq!(payload, b"hello");
        // Its source, as it stands there, is where the answer goes.
        assert_eq!(probe.send_to(socket, from.unwrap(), b"back").await, Ok(1));
        let mut answer = [0; 10];
        let count = within("the answer", client.recv(&mut answer))
            .await
            .unwrap();
        assert_eq!(&answer[..count], b"back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_listeners_are_bounded() {
    let (probe, port) = with_port().await;
    let address = format!("127.0.0.1:{port}");
    let plain = Listen::default();
    for options in [
        Listen {
            backlog: Some(0),
            ..plain
        },
        Listen {
            backlog: Some(1025),
            ..plain
        },
        Listen {
            backlog: Some(u32::MAX),
            ..plain
        },
        Listen {
            keepalive_secs: Some(0),
            ..plain
        },
        Listen {
            keepalive_secs: Some(32_768),
            ..plain
        },
        Listen {
            keepalive_secs: Some(u32::MAX),
            ..plain
        },
    ] {
        let refused = probe.tcp_listen_with(&address, options).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{options:?}");
    }
    let outside = format!("127.0.0.1:{}", port - 1);
    let refused = probe.tcp_listen_with(&outside, plain).await;
    assert_eq!(refused, Err(Errno::Forbidden));
    // No proxy is trusted here, so no header could be taken.
    let refused = probe.tcp_listen_with(&address, WITH_HEADER).await;
    assert_eq!(refused, Err(Errno::Forbidden));
    let (kind, text) = probe.net_failure(u32::MAX).await.unwrap();
    assert_eq!(kind, LISTEN_DENIED);
    assert!(text.contains("--proxy-protocol apps"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_are_set_on_listeners_and_streams() {
    let (probe, port) = with_port().await;
    let address = format!("127.0.0.1:{port}");
    let options = Listen {
        backlog: Some(1),
        nodelay: false,
        keepalive_secs: Some(60),
        ..Listen::default()
    };
    let listener = probe.tcp_listen_with(&address, options).await.unwrap();
    let mut client = TcpStream::connect(&address).await.unwrap();
    let (stream, _) = probe.tcp_accept(listener).await.unwrap();
    probe.write_all(stream, b"hello").await;
    let mut hello = [0; 5];
    within("a greeting", client.read_exact(&mut hello))
        .await
        .unwrap();
    // With so short a backlog the kernel takes no hundred clients.
    let mut waiting = Vec::new();
    let full = async {
        while waiting.len() < 100 {
            waiting.push(TcpStream::connect(&address).await.unwrap());
        }
    };
    let full = tokio::time::timeout(Duration::from_millis(300), full).await;
    assert!(full.is_err() && waiting.len() < 10, "{}", waiting.len());
    drop(waiting);

    for (option, value) in [(1, 0), (1, 1), (2, 0), (2, 1), (2, 32_767)] {
        let set = probe.stream_option(stream, option, value).await;
        assert_eq!(set, Ok(0), "{option} {value}");
    }
    for (option, value) in [
        (0, 1),
        (1, 2),
        (1, -1),
        (2, -1),
        (2, 32_768),
        (3, 1),
        (65_535, 0),
    ] {
        let refused = probe.stream_option(stream, option, value).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{option} {value}");
    }
    let refused = probe.stream_option(stream, 65_536, 1).await;
    assert_eq!(refused, Err(Errno::InvalidEncoding));
    let refused = probe.stream_option(listener, 1, 1).await;
    assert_eq!(refused, Err(Errno::Unsupported));
    let refused = probe.stream_option(99, 1, 1).await;
    assert_eq!(refused, Err(Errno::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_asks_gets_the_client_of_a_trusted_proxy() {
    let (probe, port) = behind_a_proxy().await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen_with(&address, WITH_HEADER).await.unwrap();
    // One whose header does not come holds no other up.
    let silent = connect(PROXY, port).await;
    let mut wrong = connect(PROXY, port).await;
    wrong.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut client = connect(PROXY, port).await;
    client.write_all(&[V1, b"hello"].concat()).await.unwrap();
    let (stream, peer) = probe.tcp_accept(listener).await.unwrap();
    assert_eq!(peer, "192.0.2.7:12345");
    assert_eq!(probe.read_exact(stream, 5).await, b"hello");
    // The wrong one was closed, and the guest never saw it.
    let mut rest = Vec::new();
    let _ = within("the end", wrong.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"");
    // Of a stranger no header is read: it is what the guest gets.
    let mut stranger = connect(STRANGER, port).await;
    stranger.write_all(V1).await.unwrap();
    let (stream, peer) = probe.tcp_accept(listener).await.unwrap();
    assert!(peer.starts_with("127.0.0.3:"), "{peer}");
    assert_eq!(probe.read_exact(stream, V1.len()).await, V1);
    drop(silent);

    // A guest that does not ask gets all bytes.
    probe.close(listener).await.unwrap();
    let listener = probe.tcp_listen(&address, None).await.unwrap();
    let mut client = connect(PROXY, port).await;
    client.write_all(V1).await.unwrap();
    let (stream, peer) = probe.tcp_accept(listener).await.unwrap();
    assert!(peer.starts_with("127.0.0.2:"), "{peer}");
    assert_eq!(probe.read_exact(stream, V1.len()).await, V1);
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_do_not_come_hold_a_bounded_number_of_connections() {
    let (probe, port) = behind_a_proxy().await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen_with(&address, WITH_HEADER).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(connect(PROXY, port).await);
    }
    // Sixteen are waited for; the first ones leave for a client behind the others, which
    // nobody keeps waiting until a header is given up.
    let mut client = connect(PROXY, port).await;
    client.write_all(V1).await.unwrap();
    let begun = std::time::Instant::now();
    let (_, peer) = probe.tcp_accept(listener).await.unwrap();
    assert_eq!(peer, "192.0.2.7:12345");
    let _stranger = connect(STRANGER, port).await;
    let (_, peer) = probe.tcp_accept(listener).await.unwrap();
    assert!(peer.starts_with("127.0.0.3:"), "{peer}");
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(4), "{waited:?}");
    let ended = within("the end", silent[0].read(&mut [0])).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_listens_with_options() {
    let port = ports::free();
    let daemon = Daemon::with(|config| {
        config.trusted_proxies = vec![IpAddr::from(PROXY).into()];
        config.proxy_protocol.apps = true;
    })
    .await;
    let mut config = guest("sdk-suite");
    config.listen_ports = ports::only(port);
    config.args = vec![format!("listen-options=127.0.0.1:{port}")];
    let app = daemon.deploy(config).await;
    app.expect_log(&format!("bound to 127.0.0.1:{port}")).await;
    let mut client = connect(PROXY, port).await;
    client.write_all(&[V1, b"hello"].concat()).await.unwrap();
    let mut hello = [0; 5];
    within("the echo", client.read_exact(&mut hello))
        .await
        .unwrap();
    assert_eq!(&hello, b"hello");
    drop(client);
    app.expect_log("192.0.2.7:12345: Ok").await;
}

/// Whether the kernel asks the peer of a connection from time to time: what it says of
/// the daemon's end, whose timers it shows.
fn asks_peer(port: u16, client: SocketAddr) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = format!(":{port:04X} 0100007F:{:04X} ", client.port());
    let line = table.lines().find(|line| line.contains(&ends));
    let timer = line.unwrap().split_whitespace().nth(5).unwrap();
    timer.starts_with("02:")
}

#[tokio::test(flavor = "multi_thread")]
async fn options_are_set_on_streams_with_tls_as_well() {
    let (probe, port) = with_port().await;
    let address = format!("127.0.0.1:{port}");
    let authority = Authority::new();
    let identity = authority.issue("localhost");
    let tls = Some((identity.cert.as_str(), identity.key.as_str()));
    let listener = probe.tcp_listen(&address, tls).await.unwrap();
    for before_handshake in [true, false] {
        let client = TcpStream::connect(&address).await.unwrap();
        let own = client.local_addr().unwrap();
        let (stream, _) = probe.tcp_accept(listener).await.unwrap();
        if before_handshake {
            for (option, value) in [(1, 0), (2, 0), (2, 60)] {
                assert_eq!(probe.stream_option(stream, option, value).await, Ok(0));
            }
        }
        let mut client = authority.connect("localhost", client).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_eq!(probe.read_exact(stream, 5).await, b"hello");
        assert_eq!(asks_peer(port, own), before_handshake);
        let refused = probe.stream_option(stream, 3, 1).await;
        assert_eq!(refused, Err(Errno::InvalidParameter));
        for (value, asks) in [(0, false), (60, true)] {
            assert_eq!(probe.stream_option(stream, 2, value).await, Ok(0));
            assert_eq!(asks_peer(port, own), asks);
        }
        probe.close(stream).await.unwrap();
    }
    // A handshake that failed leaves nothing to set anything on.
    let mut client = TcpStream::connect(&address).await.unwrap();
    let (stream, _) = probe.tcp_accept(listener).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(probe.poll_read(stream, 1).await.is_err());
    let refused = probe.stream_option(stream, 1, 1).await;
    assert_eq!(refused, Err(Errno::Io));
}
