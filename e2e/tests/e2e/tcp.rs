//! Ports of guests and connections from guests, without TLS.

use std::time::Duration;

use e2e::app::listening;
use e2e::probe::{SCRATCH, Script};
use e2e::{Errno, Probe, ports, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Kinds of failures, as the contract has them.
const REFUSED: u8 = 1;
const RESET: u8 = 2;
const ADDRESS_IN_USE: u8 = 10;
const BROKEN_PIPE: u8 = 13;

/// A probe that may listen on one port and connect to loopback.
async fn networked() -> (Probe, u16) {
    let port = ports::free();
    let probe = Probe::with(|app| {
        app.listen_ports = ports::only(port);
        app.egress = vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
    })
    .await;
    (probe, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_accepts_reads_writes_and_closes() {
    let (probe, port) = networked().await;
    let listener = probe
        .tcp_listen(&format!("127.0.0.1:{port}"), None)
        .await
        .unwrap();
    let listening = probe.app().listening().await;
    assert_eq!(listening.port(), port);
    let mut client = TcpStream::connect(listening).await.unwrap();
    let (stream, peer) = probe.tcp_accept(listener).await.unwrap();
    assert_eq!(peer, client.local_addr().unwrap().to_string());

    client.write_all(b"question").await.unwrap();
    assert_eq!(probe.read_exact(stream, 8).await, b"question");
    probe.write_all(stream, b"answer").await;
    assert_eq!(probe.poll_flush(stream).await, Ok(0));
    let mut answer = [0; 6];
    within("the answer", client.read_exact(&mut answer))
        .await
        .unwrap();
    assert_eq!(&answer, b"answer");

    // Each side is closed on its own.
    client.shutdown().await.unwrap();
    assert_eq!(probe.poll_read(stream, 10).await, Ok(Vec::new()));
    probe.write_all(stream, b"bye").await;
    assert_eq!(probe.poll_shutdown(stream).await, Ok(0));
    let mut rest = Vec::new();
    within("the end", client.read_to_end(&mut rest))
        .await
        .unwrap();
    assert_eq!(rest, b"bye");

    let _second = TcpStream::connect(listening).await.unwrap();
    let second = probe.tcp_accept_no_addr(listener).await.unwrap();
    assert_ne!(second, stream);
    probe.close(listener).await.unwrap();
    assert!(probe.app().status().listening.is_empty());
    assert!(
        TcpStream::connect(listening).await.is_err(),
        "nobody listens"
    );
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_listens_on_ipv6() {
    let (probe, port) = networked().await;
    let listener = probe
        .tcp_listen(&format!("[::1]:{port}"), None)
        .await
        .unwrap();
    let _client = TcpStream::connect(("::1", port)).await.unwrap();
    let (_, peer) = probe.tcp_accept(listener).await.unwrap();
    assert!(peer.starts_with("[::1]:"), "{peer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_connects() {
    let (probe, _) = networked().await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let connecting = probe.tcp_connect("127.0.0.1", port.into()).await.unwrap();
    let stream = probe.poll_res(connecting).await.unwrap();
    let (mut peer, _) = within("the connection", server.accept()).await.unwrap();
    peer.write_all(b"hello").await.unwrap();
    assert_eq!(probe.read_exact(stream, 5).await, b"hello");
    assert_eq!(
        probe.close(connecting).await,
        Ok(0),
        "the attempt keeps its handle"
    );
    probe.write_all(stream, b"still open").await;
    let mut text = [0; 10];
    within("the text", peer.read_exact(&mut text))
        .await
        .unwrap();
    probe.close(stream).await.unwrap();
    assert_eq!(within("the end", peer.read(&mut text)).await.unwrap(), 0);
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_outside_the_range_are_forbidden() {
    let (probe, port) = networked().await;
    for other in [0, 1, 80, port - 1, port + 1, u16::MAX] {
        let refused = probe.tcp_listen(&format!("127.0.0.1:{other}"), None).await;
        assert_eq!(refused, Err(Errno::Forbidden), "{other}");
    }
    let none = Probe::start().await;
    let refused = none.tcp_listen(&format!("127.0.0.1:{port}"), None).await;
    assert_eq!(refused, Err(Errno::Forbidden), "without any port");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_to_listen_on_are_literal() {
    let (probe, port) = networked().await;
    for address in [
        String::new(),
        "127.0.0.1".to_owned(),
        format!("localhost:{port}"),
        format!(":{port}"),
        format!("::1:{port}:"),
        format!(" 127.0.0.1:{port}"),
        "127.0.0.1:65536".to_owned(),
        "127.0.0.1:-1".to_owned(),
        format!("127.0.0.1:{port}\0"),
    ] {
        let refused = probe.tcp_listen(&address, None).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_to_connect_to_have_a_sensible_length() {
    let (probe, _) = networked().await;
    for host in [String::new(), "x".repeat(254), "x.".repeat(5_000)] {
        let refused = probe.tcp_connect(&host, 80).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{}", host.len());
        let refused = probe.tcp_connect_tls(&host, 443).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{}", host.len());
    }
    for port in [65_536, u32::MAX] {
        let refused = probe.tcp_connect("example.com", port).await;
        assert_eq!(refused, Err(Errno::InvalidEncoding), "{port}");
    }
    let script = Script::new()
        .write(SCRATCH, b"\xff")
        .fast(213, [SCRATCH, 1, 80, 0]);
    let refused = probe.run(&script).await.result();
    assert_eq!(refused, Err(Errno::InvalidEncoding), "no text");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_network_are_errors() {
    let (probe, port) = networked().await;
    let taken = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let busy = probe.tcp_listen(&format!("127.0.0.1:{port}"), None).await;
    assert_eq!(busy, Err(Errno::Io), "a busy port");
    assert_eq!(probe.net_failure(u32::MAX).await.unwrap().0, ADDRESS_IN_USE);
    drop(taken);
    let refused = probe
        .tcp_connect("127.0.0.1", ports::free().into())
        .await
        .unwrap();
    assert_eq!(
        probe.poll_res(refused).await,
        Err(Errno::Io),
        "nobody listens"
    );
    let (kind, text) = probe.net_failure(refused).await.unwrap();
    assert_eq!(kind, REFUSED);
    assert!(text.contains("cannot connect to 127.0.0.1:"), "{text}");
    assert_eq!(probe.net_failure(refused + 1).await, Err(Errno::NotFound));

    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let connecting = probe.tcp_connect("127.0.0.1", port.into()).await.unwrap();
    let stream = probe.poll_res(connecting).await.unwrap();
    let (peer, _) = within("the connection", server.accept()).await.unwrap();
    let (waker, waiting) = probe.try_wait(103, [stream, SCRATCH, 10]).await;
    assert_eq!(waiting, Err(Errno::Pending));
    peer.set_zero_linger().unwrap();
    drop(peer);
    probe.until_woken(waker).await;
    assert_eq!(probe.poll_read(stream, 10).await, Err(Errno::Io), "a reset");
    assert_eq!(probe.net_failure(stream).await.unwrap().0, RESET);
    assert_eq!(probe.poll_write(stream, b"x").await, Err(Errno::Io));
    assert_eq!(probe.net_failure(stream).await.unwrap().0, BROKEN_PIPE);
    assert_eq!(probe.close(stream).await, Ok(0));
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_the_guest_down() {
    let (probe, port) = networked().await;
    let listener = probe
        .tcp_listen(&format!("127.0.0.1:{port}"), None)
        .await
        .unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    let mut sent = 0;
    let waker = loop {
        let (waker, result) = probe.try_wait(104, [stream, SCRATCH, 1 << 20]).await;
        match result {
            Ok(count) => sent += count as usize,
            Err(errno) => {
                assert_eq!(errno, Errno::Pending);
                break waker;
            }
        }
    };
    let mut all = vec![0; sent];
    within("the bytes", client.read_exact(&mut all))
        .await
        .unwrap();
    probe.until_woken(waker).await;
    probe.close(stream).await.unwrap();
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_at_a_time_are_served() {
    let (_app, port) = listening("tcp-echo").await;
    let clients = (0..200_u32).map(|number| {
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let text = vec![u8::try_from(number % 251).unwrap(); 10_000];
            let (mut read, mut write) = stream.split();
            let mut back = Vec::new();
            let sending = async {
                write.write_all(&text).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let (_, read) = tokio::join!(sending, read.read_to_end(&mut back));
            read.unwrap();
            assert_eq!(back, text);
        })
    });
    for client in clients.collect::<Vec<_>>() {
        within("a client", client).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_transfers_arrive_whole() {
    let (_app, port) = listening("tcp-echo").await;
    let text: Vec<u8> = (0..=250).cycle().take(8 << 20).collect();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut read, mut write) = stream.split();
    let mut back = Vec::new();
    let sending = async {
        write.write_all(&text).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let both = async { tokio::join!(sending, read.read_to_end(&mut back)) };
    within("the echo", both).await.1.unwrap();
    assert!(back == text);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_with_the_guest() {
    let (app, port) = listening("tcp-echo").await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    app.stop().await;
    let end = within("the end", stream.read(&mut [0])).await;
    assert!(matches!(end, Ok(0) | Err(_)));
    let gone = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the port to close", gone).await;
}
