//! Headers of the PROXY protocol on the daemon's own ports: who the client is, when a
//! trusted proxy passes its bytes on.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use e2e::{App, Authority, Daemon, Probe, TlsPort, guest, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// The only proxy that is trusted; other addresses of loopback are strangers.
const PROXY: [u8; 4] = [127, 0, 0, 2];
const STRANGER: [u8; 4] = [127, 0, 0, 3];

/// The header of a client at 192.0.2.7, in both versions, and one of IPv6.
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x30\x39\x01\xbb";
const V6: &[u8] = b"PROXY TCP6 2001:db8::7 ::1 12345 443\r\n";
/// Headers of a proxy that speaks for itself, as for a check of health.
const LOCAL: [&[u8]; 2] = [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"];

async fn suite() -> App {
    let daemon = Daemon::with(|config| {
        config.trusted_proxies = vec![IpAddr::from(PROXY).into()];
        config.proxy_protocol.user = true;
    })
    .await;
    daemon.deploy(guest("sdk-suite")).await
}

async fn connect(app: &App, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let stream = socket.connect(app.gateway()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn request(app: &App, path: &str) -> Vec<u8> {
    let path = format!("/app/{}{path}", app.handle().address());
    format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").into_bytes()
}

async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = within("the end", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The answer to a request behind these bytes.
async fn ask(app: &App, from: [u8; 4], first: &[u8], path: &str) -> String {
    let mut stream = connect(app, from).await;
    let all = [first, &request(app, path)].concat();
    stream.write_all(&all).await.unwrap();
    rest(stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_a_trusted_proxy_is_the_one_in_its_header() {
    let app = suite().await;
    for (header, client) in [
        (V1, "192.0.2.7:12345"),
        (V2, "192.0.2.7:12345"),
        (V6, "[2001:db8::7]:12345"),
    ] {
        let answer = ask(&app, PROXY, header, "/peer").await;
        assert!(answer.ends_with(&format!("{client}\n")), "{answer}");
        // The proxy is not part of the chain: it has passed bytes on.
        let answer = ask(&app, PROXY, header, "/").await;
        let ip = client.parse::<SocketAddr>().unwrap().ip();
        assert!(
            answer.contains(&format!("x-forwarded-for: {ip}\n")),
            "{answer}"
        );
        // Each byte by itself.
        let mut stream = connect(&app, PROXY).await;
        for byte in header {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream.write_all(&request(&app, "/peer")).await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.ends_with(&format!("{client}\n")), "{answer}");
    }
    for header in LOCAL {
        let answer = ask(&app, PROXY, header, "/peer").await;
        assert!(answer.contains("127.0.0.2:"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_anybody_else_is_not_read() {
    let app = suite().await;
    let answer = ask(&app, STRANGER, b"", "/peer").await;
    assert!(answer.contains("127.0.0.3:"), "{answer}");
    for header in [V1, V2] {
        let answer = ask(&app, STRANGER, header, "/peer").await;
        assert!(!answer.contains("192.0.2.7"), "{answer}");
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // Nor one behind another.
    let twice = [V1, V6].concat();
    let answer = ask(&app, PROXY, &twice, "/peer").await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    // A claim in HTTP does not count either: the client is no proxy.
    let mut stream = connect(&app, PROXY).await;
    let path = format!("/app/{}/peer", app.handle().address());
    let claim = format!(
        "GET {path} HTTP/1.1\r\nhost: h\r\nx-forwarded-for: 203.0.113.9\r\nconnection: close\r\n\r\n"
    );
    let all = [V1, claim.as_bytes()].concat();
    stream.write_all(&all).await.unwrap();
    let answer = rest(stream).await;
    assert!(answer.ends_with("192.0.2.7:12345\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_without_a_right_header_gets_no_answer() {
    let app = suite().await;
    for first in [
        b"".as_slice(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 12345\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x30\x39\x01\xbb",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        &[b'P'; 600],
    ] {
        let answer = ask(&app, PROXY, first, "/peer").await;
        assert_eq!(answer, "", "{:?}", first.escape_ascii().to_string());
    }
    // One that does not come is waited for some seconds.
    let begun = std::time::Instant::now();
    let silent = connect(&app, PROXY).await;
    let mut slow = connect(&app, PROXY).await;
    slow.write_all(b"PROXY TCP4 ").await.unwrap();
    assert_eq!(rest(silent).await, "");
    assert_eq!(rest(slow).await, "");
    assert!(begun.elapsed() >= Duration::from_secs(4));
    // Others were served meanwhile, and are.
    let answer = ask(&app, PROXY, V1, "/peer").await;
    assert!(answer.ends_with("192.0.2.7:12345\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_count_for_the_client_in_the_header() {
    // As many as one client may have.
    const OF_ONE: usize = 512;
    let app = suite().await;
    let mut held = Vec::new();
    for _ in 0..OF_ONE {
        let mut stream = connect(&app, PROXY).await;
        stream.write_all(V1).await.unwrap();
        held.push(stream);
    }
    // The next one of this client has no place, or takes that of an idle one; one
    // of another client is served.
    let answer = ask(&app, PROXY, V6, "/peer").await;
    assert!(answer.ends_with("[2001:db8::7]:12345\n"), "{answer}");
    let mut more = Vec::new();
    for _ in 0..10 {
        let mut stream = connect(&app, PROXY).await;
        stream.write_all(V1).await.unwrap();
        more.push(stream);
    }
    let closed = async {
        loop {
            let is_closed = |stream: &&TcpStream| match stream.try_read(&mut [0]) {
                Ok(_) => true,
                Err(error) => error.kind() != ErrorKind::WouldBlock,
            };
            let both = held.iter().chain(&more);
            if both.filter(is_closed).count() >= 10 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("ten connections to be closed", closed).await;
    // Direct ones of the proxy's own address have no such bound.
    let answer = ask(&app, PROXY, LOCAL[0], "/peer").await;
    assert!(answer.contains("127.0.0.2:"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_comes_before_https() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let files = authority.issue("h").write(&folder.path().join("user.pem"));
    let daemon = Daemon::with(|config| {
        config.trusted_proxies = vec![IpAddr::from(PROXY).into()];
        config.proxy_protocol.user = true;
        config.user_tls = Some(files);
    })
    .await;
    let app = daemon.deploy(guest("sdk-suite")).await;
    app.expect_log("ready").await;
    let mut stream = connect(&app, PROXY).await;
    stream.write_all(V2).await.unwrap();
    let mut stream = authority.connect("h", stream).await.unwrap();
    stream.write_all(&request(&app, "/peer")).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    within("the answer", reading).await.unwrap();
    assert!(answer.ends_with("192.0.2.7:12345\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_comes_before_tls_at_the_shared_port() {
    let port = TlsPort::with(|config| {
        config.trusted_proxies = vec![IpAddr::from(PROXY).into()];
        config.proxy_protocol.tls = true;
    })
    .await;
    let authority = port.authority();
    let probe = Probe::on(port.daemon(), |_| {}).await;
    let identity = authority.issue("shop.example");
    let listener = probe.tls_listen_sni("shop.example", (&identity.cert, &identity.key));
    let listener = listener.await.unwrap();
    for (from, header, peer) in [
        (PROXY, V1, "192.0.2.7:12345"),
        (PROXY, LOCAL[1], "127.0.0.2:"),
        (STRANGER, b"".as_slice(), "127.0.0.3:"),
    ] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        let mut stream = socket.connect(port.address()).await.unwrap();
        stream.write_all(header).await.unwrap();
        let client = authority.connect("shop.example", stream);
        let (client, accepted) = tokio::join!(client, probe.tcp_accept(listener));
        client.unwrap();
        let (_, told) = accepted.unwrap();
        assert!(told.starts_with(peer), "{told}");
    }
    // A stranger's header is no beginning of TLS, and TLS no header of the proxy.
    for (from, header) in [(STRANGER, V1), (PROXY, b"".as_slice())] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        let mut stream = socket.connect(port.address()).await.unwrap();
        stream.write_all(header).await.unwrap();
        let refused = within("the end", authority.connect("shop.example", stream)).await;
        assert!(refused.is_err());
    }
}

async fn connect_to(at: SocketAddr, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(at).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_of_a_proxy_are_counted_and_hold_up_nobody() {
    const PLACES: u32 = 64;
    let port = TlsPort::with(|config| {
        config.trusted_proxies = vec![IpAddr::from(PROXY).into()];
        config.proxy_protocol.user = true;
        config.proxy_protocol.tls = true;
        config.connections_max = PLACES;
    })
    .await;
    let app = port.daemon().deploy(port.echo_app("shop.example")).await;
    app.until("the name", |status| !status.names.is_empty())
        .await;
    for (number, at) in [("user", port.operator().gateway()), ("tls", port.address())] {
        let mut silent = Vec::new();
        // More than ever waited at a time.
        for _ in 0..300 {
            silent.push(connect_to(at, PROXY).await);
        }
        // Half of the places is theirs, and the first ones have left for others.
        let line = format!(
            "wapo_client_budget_used{{port=\"{number}\",budget=\"connections\"}} {}",
            PLACES / 2
        );
        port.until_figure(&line).await;
        // Long before the header of any is given up.
        let served = tokio::time::timeout(Duration::from_secs(3), async {
            for (from, header) in [(STRANGER, &b""[..]), (PROXY, V1)] {
                let mut stream = connect_to(at, from).await;
                stream.write_all(header).await.unwrap();
                if number == "tls" {
                    let connecting = port.authority().connect("shop.example", stream);
                    connecting.await.unwrap();
                    continue;
                }
                let request = b"GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
                stream.write_all(request).await.unwrap();
                let answer = rest(stream).await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            }
        });
        served.await.expect("nobody is held up");
        let first = within("its end", silent[0].read(&mut [0])).await;
        assert!(matches!(first, Ok(0) | Err(_)), "{first:?}");
    }
    drop(app);
    // What waits for a header does not keep the daemon.
    let _silent = connect_to(port.address(), PROXY).await;
    port.shutdown().await;
}
