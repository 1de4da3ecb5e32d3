//! TLS that the host speaks for guests, as server and as client.

use e2e::certificates::Identity;
use e2e::probe::SCRATCH;
use e2e::{Authority, Daemon, Errno, Probe, ports, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A probe that listens with TLS, its listener and its port.
async fn listening(identity: &Identity) -> (Probe, u32, u16) {
    let port = ports::free();
    let probe = Probe::with(|app| app.listen_ports = ports::only(port)).await;
    let address = format!("127.0.0.1:{port}");
    let tls = Some((identity.cert.as_str(), identity.key.as_str()));
    let listener = probe.tcp_listen(&address, tls).await.unwrap();
    assert!(probe.app().status().listening[0].tls);
    (probe, listener, port)
}

/// A probe that trusts an authority and may connect to loopback.
async fn trusting(authority: &Authority) -> Probe {
    let root = authority.root();
    let daemon = Daemon::with(|config| config.trust_roots = vec![root]).await;
    Probe::on(&daemon, |app| {
        app.egress = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_serves_tls() {
    let authority = Authority::new();
    let (probe, listener, port) = listening(&authority.issue("127.0.0.1")).await;
    let client = tokio::spawn(async move {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut stream = authority.connect("127.0.0.1", tcp).await?;
        stream.write_all(b"question").await?;
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).await?;
        // Half of the connection is closed; the other still works.
        stream.shutdown().await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
        std::io::Result::Ok((answer, rest))
    });
    let (stream, peer) = probe.tcp_accept(listener).await.unwrap();
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");
    assert_eq!(probe.read_exact(stream, 8).await, b"question");
    probe.write_all(stream, b"answer").await;
    assert_eq!(probe.poll_flush(stream).await, Ok(0));
    assert_eq!(
        probe.poll_read(stream, 1).await,
        Ok(Vec::new()),
        "half closed"
    );
    probe.write_all(stream, b"after that").await;
    assert_eq!(probe.poll_shutdown(stream).await, Ok(0));
    let (answer, rest) = within("the client", client).await.unwrap().unwrap();
    assert_eq!(&answer, b"answer");
    assert_eq!(rest, b"after that");
    probe.close(stream).await.unwrap();
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_connects_with_tls() {
    let authority = Authority::new();
    let acceptor = authority.issue("127.0.0.1").acceptor();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (tcp, _) = server.accept().await?;
        let mut stream = acceptor.accept(tcp).await?;
        let mut question = [0; 8];
        stream.read_exact(&mut question).await?;
        stream.write_all(b"answer").await?;
        stream.shutdown().await?;
        std::io::Result::Ok(question)
    });
    let probe = trusting(&authority).await;
    let connecting = probe.tcp_connect_tls("127.0.0.1", port).await.unwrap();
    let stream = probe.poll_res(connecting).await.unwrap();
    probe.write_all(stream, b"question").await;
    assert_eq!(probe.poll_flush(stream).await, Ok(0));
    assert_eq!(probe.read_exact(stream, 6).await, b"answer");
    assert_eq!(probe.poll_read(stream, 1).await, Ok(Vec::new()));
    let question = within("the server", serving).await.unwrap().unwrap();
    assert_eq!(&question, b"question");
    probe.close(stream).await.unwrap();
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_verified() {
    let (trusted, other) = (Authority::new(), Authority::new());
    for identity in [other.issue("127.0.0.1"), trusted.issue("example.com")] {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let acceptor = identity.acceptor();
        let serving = tokio::spawn(async move {
            let (tcp, _) = server.accept().await.unwrap();
            acceptor.accept(tcp).await.is_err()
        });
        let probe = trusting(&trusted).await;
        let connecting = probe.tcp_connect_tls("127.0.0.1", port).await.unwrap();
        let stream = probe.poll_res(connecting).await.unwrap();
        assert_eq!(probe.poll_write(stream, b"x").await, Err(Errno::Io));
        assert_eq!(
            probe.poll_write(stream, b"x").await,
            Err(Errno::Io),
            "again"
        );
        assert_eq!(probe.poll_read(stream, 1).await, Err(Errno::Io));
        probe.close(stream).await.unwrap();
        assert!(within("the server", serving).await.unwrap());
        probe.check_wakers(&[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_no_tls_is_an_error() {
    let authority = Authority::new();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let probe = trusting(&authority).await;
    let connecting = probe.tcp_connect_tls("127.0.0.1", port).await.unwrap();
    let stream = probe.poll_res(connecting).await.unwrap();
    let (mut peer, _) = within("the connection", server.accept()).await.unwrap();
    peer.write_all(b"220 mail.example.com ready\r\n")
        .await
        .unwrap();
    assert_eq!(probe.poll_read(stream, 10).await, Err(Errno::Io));
    assert_eq!(probe.poll_read(stream, 10).await, Err(Errno::Io));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_speaks_no_tls_is_an_error() {
    let authority = Authority::new();
    let (probe, listener, port) = listening(&authority.issue("127.0.0.1")).await;
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    assert_eq!(probe.poll_read(stream, 10).await, Err(Errno::Io));
    assert_eq!(probe.poll_write(stream, b"x").await, Err(Errno::Io));
    // The listener goes on.
    let second = tokio::spawn(async move {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut stream = authority.connect("127.0.0.1", tcp).await?;
        stream.write_all(b"x").await?;
        // Stays until the guest has read.
        stream.read(&mut [0]).await
    });
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    assert_eq!(probe.read_exact(stream, 1).await, b"x");
    assert_eq!(probe.poll_shutdown(stream).await, Ok(0));
    assert_eq!(within("the client", second).await.unwrap().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_certificates_and_keys_are_refused() {
    let authority = Authority::new();
    let (one, other) = (authority.issue("a.test"), authority.issue("b.test"));
    let port = ports::free();
    let probe = Probe::with(|app| app.listen_ports = ports::only(port)).await;
    let address = format!("127.0.0.1:{port}");
    let cut = &one.cert[..one.cert.len() / 2];
    for (cert, key) in [
        ("", ""),
        ("rubbish", "rubbish"),
        (one.cert.as_str(), ""),
        ("", one.key.as_str()),
        (one.cert.as_str(), one.cert.as_str()),
        (one.key.as_str(), one.key.as_str()),
        (one.cert.as_str(), other.key.as_str()),
        (cut, one.key.as_str()),
    ] {
        let refused = probe.tcp_listen(&address, Some((cert, key))).await;
        assert_eq!(refused, Err(Errno::InvalidParameter));
    }
    let good = probe
        .tcp_listen(&address, Some((&one.cert, &one.key)))
        .await;
    assert!(good.is_ok(), "nothing was left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_tls_servers_are_names() {
    let probe = trusting(&Authority::new()).await;
    for name in ["a b", "exa_mple..com", "-", "[::1", "a/b"] {
        let refused = probe.tcp_connect_tls(name, 443).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_shared_port_no_name_is_served() {
    let identity = Authority::new().issue("app.test");
    let probe = Probe::start().await;
    let refused = probe
        .tls_listen_sni("app.test", (&identity.cert, &identity.key))
        .await;
    assert_eq!(refused, Err(Errno::Forbidden));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_before_the_handshake_closes() {
    let authority = Authority::new();
    let (probe, listener, port) = listening(&authority.issue("127.0.0.1")).await;
    let _client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    assert_eq!(probe.poll_shutdown(stream).await, Ok(0));
    assert_eq!(probe.poll_read(stream, 1).await, Err(Errno::Io));
    probe.check_wakers(&[]).await;
}

/// Echoes `len` bytes over TLS, reading and writing side by side as a client,
/// piece by piece as a guest; `flush` says whether the guest ever flushes.
async fn echo_over_tls(len: usize, flush: bool) {
    let authority = Authority::new();
    let (probe, listener, port) = listening(&authority.issue("127.0.0.1")).await;
    let client = tokio::spawn(async move {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let stream = authority.connect("127.0.0.1", tcp).await.unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        let text: Vec<u8> = (0..=250).cycle().take(len).collect();
        let mut back = vec![0; len];
        let sending = write.write_all(&text);
        let (sent, got) = tokio::join!(sending, read.read_exact(&mut back));
        sent.unwrap();
        got.unwrap();
        assert!(back == text);
    });
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    let mut echoed = 0;
    while echoed < len {
        let count = probe.wait(103, [stream, SCRATCH, 100_000]).await.unwrap();
        assert!(count > 0, "the end came early");
        let mut done = 0;
        while done < count {
            let part = [stream, SCRATCH + done, count - done];
            done += probe.wait(104, part).await.unwrap();
        }
        echoed += count as usize;
    }
    if flush {
        assert_eq!(probe.poll_flush(stream).await, Ok(0));
    }
    // The guest does nothing more: what is buffered must go out by itself.
    within("the client", client).await.unwrap();
    probe.close(stream).await.unwrap();
    probe.check_wakers(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_sends_what_is_buffered() {
    echo_over_tls(300_000, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_never_flushes_loses_nothing() {
    echo_over_tls(2 << 20, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_closes_at_once_loses_nothing() {
    const LEN: usize = 200_000;
    let authority = Authority::new();
    let (probe, listener, port) = listening(&authority.issue("127.0.0.1")).await;
    let (begin, begun) = tokio::sync::oneshot::channel::<()>();
    let client = tokio::spawn(async move {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut stream = authority.connect("127.0.0.1", tcp).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        begun.await.unwrap();
        let mut all = Vec::new();
        // Who closes without a shutdown says no goodbye either.
        let _unexpected_end = stream.read_to_end(&mut all).await;
        all.len()
    });
    let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
    probe.read_exact(stream, 1).await;
    let mut written = 0;
    while written < LEN {
        let (_, result) = probe.try_wait(104, [stream, SCRATCH, 50_000]).await;
        let Ok(count) = result else { break };
        written += count as usize;
    }
    probe.close(stream).await.unwrap();
    begin.send(()).unwrap();
    let read = within("the client", client).await.unwrap();
    assert_eq!(read, written);
}
