//! Every example, against real clients.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::app::listening;
use e2e::client::curl;
use e2e::dns::Dns;
use e2e::{Authority, Daemon, guest, ports, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use wapod::{ExitReason, Resolver};

#[tokio::test(flavor = "multi_thread")]
async fn hello_http() {
    let app = Daemon::start().await.deploy(guest("hello-http")).await;
    let printed = curl(&[&app.url("/curl")]).await;
    assert_eq!(
        (printed.code, printed.out.as_str()),
        (Some(0), "Hello, curl!\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn http_server() {
    let (_app, port) = listening("http-server").await;
    let url = format!("https://localhost:{port}/");
    let resolve = format!("localhost:{port}:127.0.0.1");
    let printed = curl(&["--insecure", "--resolve", &resolve, &url]).await;
    assert_eq!(
        printed.out, "Hello from inside the sandbox\n",
        "{}",
        printed.err
    );
    // With the certificate that it showed as the only one that is trusted.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cert.pem");
    let shown = curl(&[
        "--insecure",
        "--resolve",
        &resolve,
        "--write-out",
        "%{certs}",
        &url,
    ])
    .await;
    let begin = shown.out.find("-----BEGIN").unwrap();
    std::fs::write(&file, &shown.out[begin..]).unwrap();
    let file = file.to_str().unwrap();
    let printed = curl(&["--cacert", file, "--resolve", &resolve, &url]).await;
    assert_eq!(
        printed.out, "Hello from inside the sandbox\n",
        "{}",
        printed.err
    );
    let strict = curl(&["--resolve", &resolve, &url]).await;
    assert_eq!(strict.code, Some(60), "nobody else trusts it");
    let quote = format!("{url}certQuote");
    let printed = curl(&["--insecure", "--resolve", &resolve, &quote]).await;
    assert_eq!(printed.out, "not in an enclave\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokio_rustls_server() {
    let (_app, port) = listening("tokio-rustls-server").await;
    let url = format!("https://localhost:{port}/");
    let resolve = format!("localhost:{port}:127.0.0.1");
    let printed = curl(&["--insecure", "--resolve", &resolve, &url]).await;
    assert_eq!(
        printed.out, "Hello, you asked for localhost\n",
        "{}",
        printed.err
    );
}

/// Serves one HTTP answer per connection, with TLS when there is an acceptor.
async fn web_server(acceptor: Option<tokio_rustls::TlsAcceptor>) -> u16 {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nserved";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream: Box<dyn Stream> = match acceptor {
                    None => Box::new(tcp),
                    Some(acceptor) => match acceptor.accept(tcp).await {
                        Ok(tls) => Box::new(tls),
                        Err(_) => return,
                    },
                };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                stream.write_all(ANSWER).await.unwrap();
                stream.shutdown().await.unwrap();
            });
        }
    });
    port
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Stream for T {}

#[tokio::test(flavor = "multi_thread")]
async fn http_client() {
    let authority = Authority::new();
    let plain = web_server(None).await;
    let secure = web_server(Some(authority.issue("web.test").acceptor())).await;
    let dns = Dns::serve(&[("web.test", IpAddr::from([127, 0, 0, 1]))]).await;
    let daemon = Daemon::with(|config| {
        config.resolver = Resolver::Servers(vec![dns.address()]);
        config.trust_roots = vec![authority.root()];
    })
    .await;
    for url in [
        format!("http://web.test:{plain}/"),
        format!("https://web.test:{secure}/"),
    ] {
        let mut config = guest("http-client");
        config.label.clone_from(&url);
        config.args = vec![url];
        config.egress = vec!["web.test".parse().unwrap()];
        let app = daemon.deploy(config).await;
        assert_eq!(app.exited().await, ExitReason::Finished);
        app.expect_log("status 200 OK").await;
        assert_eq!(app.handle().take_output(), b"served");
    }
    // Without a rule it says so and fails.
    let mut config = guest("http-client");
    config.args = vec![format!("http://web.test:{plain}/")];
    let app = daemon.deploy(config).await;
    assert!(!app.exited().await.is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokio_rustls_client() {
    // It trusts the public authorities only, so it must refuse this server,
    // after a complete exchange of hellos.
    let authority = Authority::new();
    let port = web_server(Some(authority.issue("web.test").acceptor())).await;
    let dns = Dns::serve(&[("web.test", IpAddr::from([127, 0, 0, 1]))]).await;
    let daemon =
        Daemon::with(|config| config.resolver = Resolver::Servers(vec![dns.address()])).await;
    let mut config = guest("tokio-rustls-client");
    config.args = vec!["web.test".into(), port.to_string()];
    config.egress = vec!["web.test".parse().unwrap()];
    let app = daemon.deploy(config).await;
    assert!(!app.exited().await.is_success());
    app.expect_log("UnknownIssuer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_echo() {
    let (app, port) = listening("tcp-echo").await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    for text in ["one", "two"] {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut back = [0; 3];
        within("the echo", stream.read_exact(&mut back))
            .await
            .unwrap();
        assert_eq!(&back, text.as_bytes());
    }
    app.expect_log("listening").await;
}

/// A question for an address of a name, or with these flags something else.
fn dns_question(flags: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34];
    bytes.extend(flags.to_be_bytes());
    bytes.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_dns() {
    const RECURSION_DESIRED: u16 = 0x0100;
    const RESPONSE: u16 = 0x8000;
    const UPDATE: u16 = 0x2800;
    let port = ports::free();
    let mut config = guest("udp-dns");
    config.listen_ports = ports::only(port);
    config.egress = vec!["127.0.0.0/8".parse().unwrap()];
    let records = ["hello.example=192.0.2.1", "hello.example=2001:db8::1"];
    config.args = vec![format!("127.0.0.1:{port}")];
    config.args.extend(records.map(str::to_owned));
    let app = Daemon::start().await.deploy(config).await;
    app.expect_log("answering").await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(("127.0.0.1", port)).await.unwrap();
    // What is no question gets no answer, and the server goes on.
    for bytes in [
        b"".to_vec(),
        vec![0xff; 600],
        dns_question(RESPONSE, "hello.example", 1),
    ] {
        client.send(&bytes).await.unwrap();
    }
    let v6 = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap();
    for (flags, name, kind, code, count, end) in [
        (
            RECURSION_DESIRED,
            "hello.example",
            1,
            0,
            1,
            vec![192, 0, 2, 1],
        ),
        (0, "HELLO.Example", 28, 0, 1, v6.octets().to_vec()),
        (0, "hello.example", 16, 0, 0, vec![]),
        (0, "other.example", 1, 3, 0, vec![]),
        (UPDATE, "hello.example", 1, 4, 0, vec![]),
    ] {
        let question = dns_question(flags, name, kind);
        client.send(&question).await.unwrap();
        let mut answer = [0; 600];
        let received = within("an answer", client.recv(&mut answer)).await;
        let answer = &answer[..received.unwrap()];
        assert_eq!(&answer[..2], &question[..2], "the number of the question");
        assert_eq!(answer[2] & 0x80, 0x80, "an answer");
        assert_eq!(answer[3] & 0x0f, code, "{name} {kind}");
        assert_eq!(answer[7], count, "{name} {kind}");
        assert!(answer.ends_with(&end), "{name} {kind}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_proxy() {
    let authority = Authority::new();
    let plain = web_server(None).await;
    let secure = web_server(Some(authority.issue("web.test").acceptor())).await;
    let dns = Dns::serve(&[
        ("web.test", IpAddr::from([127, 0, 0, 1])),
        ("inside.test", IpAddr::from([127, 0, 0, 1])),
    ])
    .await;
    let daemon = Daemon::with(|config| {
        config.resolver = Resolver::Servers(vec![dns.address()]);
        config.trust_roots = vec![authority.root()];
    })
    .await;
    let mut config = guest("http-proxy");
    config.egress = vec!["web.test".parse().unwrap()];
    let app = daemon.deploy(config).await;
    for url in [
        format!("http://web.test:{plain}/"),
        // As it stands in a query.
        format!("https%3A%2F%2Fweb.test%3A{secure}%2Fa%3Fb"),
    ] {
        let printed = curl(&[&app.url(&format!("/?url={url}"))]).await;
        assert_eq!(printed.out, "served", "{url}: {}", printed.err);
    }
    // It is no way into the operator's network, nor for anything else.
    let inside = format!("/?url=http://inside.test:{plain}/");
    for (path, status, text) in [
        (inside.as_str(), 502, "egress denied"),
        ("/?url=http://127.0.0.1:1/", 502, "egress denied"),
        ("/", 400, "name what to fetch"),
        ("/?url=nonsense", 400, "begins with http"),
        ("/?url=ftp://web.test/", 400, "begins with http"),
        ("/?url=%20", 400, ""),
    ] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(text), "{path}: {}", answer.text());
    }
    let answer = app
        .post(&format!("/?url=http://web.test:{plain}/"), "x")
        .await;
    assert_eq!(answer.status, 405);
}

/// Redirects every client, and counts what it sends.
async fn redirecting(location: String) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_opens_no_place_that_is_forbidden() {
    // Where a redirect leads is dialled again, and checked again, by every client.
    let inside = web_server(None).await;
    let targets = [
        format!("http://127.0.0.1:{inside}/"),
        format!("http://2130706433:{inside}/"),
        format!("http://[::ffff:127.0.0.1]:{inside}/"),
        format!("http://inside.test:{inside}/"),
    ];
    let dns = Dns::serve(&[
        ("web.test", IpAddr::from([127, 0, 0, 1])),
        ("inside.test", IpAddr::from([127, 0, 0, 1])),
    ])
    .await;
    let servers = vec![dns.address()];
    let daemon = Daemon::with(|config| config.resolver = Resolver::Servers(servers)).await;
    let mut config = guest("http-proxy");
    config.egress = vec!["web.test".parse().unwrap()];
    let app = daemon.deploy(config).await;
    for target in targets {
        let (port, count) = redirecting(target.clone()).await;
        let first = app.get(&format!("/?url=http://web.test:{port}/")).await;
        assert_eq!(first.status, 302, "{}", first.text());
        assert_eq!(first.header("location"), Some(target.as_str()));
        let second = app.get(&format!("/?url={target}")).await;
        assert_eq!(second.status, 502, "{target}: {}", second.text());
        assert!(second.text().contains("egress denied"), "{}", second.text());
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn query() {
    let app = Daemon::start().await.deploy(guest("query")).await;
    assert_eq!(app.query("/echo", *b"hello").await.unwrap(), b"hello");
    // The same with the JSON that curl can write.
    let url = format!("http://{}/prpc/User.Query?json", app.gateway());
    let body = format!(
        r#"{{"address": "{}", "path": "/echo", "payload": "0x6869"}}"#,
        app.handle().address()
    );
    let printed = curl(&["--data", &body, &url]).await;
    assert!(
        printed.out.contains("6869"),
        "{} {}",
        printed.out,
        printed.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn benchmark() {
    let mut config = guest("benchmark");
    config.args = vec!["1".into()];
    let app = Daemon::start().await.deploy(config).await;
    app.expect_log("gas per second").await;
    let score = app.ask("/score").await;
    assert!(score.contains("gas_per_second"), "{score}");
    let signed = app.ask("/signedScore").await;
    assert!(signed.contains("signature"), "{signed}");
    assert!(!app.ask("/version").await.is_empty());
}
