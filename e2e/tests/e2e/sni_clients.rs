//! Clients of the shared TLS port that say the wrong things, or nothing.

use std::time::{Duration, Instant};

use e2e::{Probe, TlsPort, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A ClientHello for a name, as a client of the library sends it.
fn hello(port: &TlsPort, name: &str) -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let config = std::sync::Arc::new(port.client());
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same with another name of the same length in its place.
fn hello_with(port: &TlsPort, name: &[u8]) -> Vec<u8> {
    let other = format!("{}.example", "a".repeat(name.len() - ".example".len()));
    let mut bytes = hello(port, &other);
    let at = bytes
        .windows(other.len())
        .position(|window| window == other.as_bytes())
        .unwrap();
    bytes[at..at + name.len()].copy_from_slice(name);
    bytes
}

/// An alert, by its number.
fn alert(number: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, number]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_hello_is_told_so_and_hurts_nobody() {
    let port = TlsPort::start().await;
    let app = port.daemon().deploy(port.echo_app("shop.example")).await;
    app.until("the name", |status| !status.names.is_empty())
        .await;
    let good = hello(&port, "shop.example");
    let mut oversized = vec![22, 3, 1, 0x40, 0x01];
    oversized.resize(5 + 0x4001, 0);
    let mut endless = vec![22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfb];
    endless.resize(16 * 1024 + 100, 0);
    let mut cut_short = good.clone();
    // The message ends before its record does.
    let length = u16::from_be_bytes([good[7], good[8]]) - 40;
    cut_short[7..9].copy_from_slice(&length.to_be_bytes());
    for (bytes, number, what) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 10, "another protocol"),
        (vec![0; 100], 10, "zeros"),
        (vec![22, 2, 1, 0, 5], 70, "no version of TLS"),
        (vec![23, 3, 3, 0, 5], 10, "another record"),
        (vec![22, 3, 1, 0, 0], 50, "an empty record"),
        (oversized, 22, "a record that is too long"),
        (endless, 47, "a hello that is too long"),
        (cut_short, 50, "a hello that is cut short"),
        (hello_with(&port, b"127.0.0.1.127.0.0.1"), 112, "an address"),
        (hello_with(&port, b"sh\xc3\xb6p.example"), 47, "no ASCII"),
        (hello_with(&port, b"shop..example"), 47, "an empty label"),
        (hello_with(&port, b"gone.example"), 112, "an unknown name"),
    ] {
        assert_eq!(port.raw(&bytes).await, alert(number), "{what}");
        assert_eq!(port.echo("shop.example", what).await.unwrap(), what);
    }
    let figures = port
        .operator()
        .send(hyper::Method::GET, "/metrics", &[], "");
    let figures = figures.await.text();
    for line in [
        "wapo_tls_connections_total{outcome=\"bad_hello\"} 11",
        "wapo_tls_connections_total{outcome=\"unknown_name\"} 1",
        "wapo_tls_connections_total{outcome=\"served\"} 12",
    ] {
        assert!(figures.contains(line), "{line}: {figures}");
    }
    let taken = figures.lines().find(|line| {
        line.starts_with("wapo_app_tls_connections_total{") && line.contains("shop-example")
    });
    assert!(taken.is_some_and(|line| line.ends_with(" 12")), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_name_is_told_that_it_needs_one() {
    let port = TlsPort::start().await;
    for (version, number) in [
        (&rustls::version::TLS12, 112),
        (&rustls::version::TLS13, 109),
    ] {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.enable_sni = false;
        let refused = port.connect_with("shop.example", config).await.unwrap_err();
        let alert = e2e::tls_port::alert(&refused).unwrap();
        assert_eq!(u8::from(alert), number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_other_spellings_and_in_small_pieces_are_understood() {
    let port = TlsPort::start().await;
    let app = port.daemon().deploy(port.echo_app("shop.example")).await;
    app.until("the name", |status| !status.names.is_empty())
        .await;
    for name in [&b"SHOP.Example"[..], b"shop.example."] {
        let mut stream = TcpStream::connect(port.address()).await.unwrap();
        stream.write_all(&hello_with(&port, name)).await.unwrap();
        let mut first = [0; 6];
        within("an answer", stream.read_exact(&mut first))
            .await
            .unwrap();
        // A ServerHello, and no alert.
        assert_eq!((first[0], first[5]), (22, 2), "{name:?}");
    }
    // Byte by byte, and in records of one byte.
    let good = hello(&port, "shop.example");
    let tiny: Vec<u8> = good[5..]
        .iter()
        .flat_map(|byte| [22, 3, 1, 0, 1, *byte])
        .collect();
    for bytes in [good, tiny] {
        let mut stream = TcpStream::connect(port.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in bytes {
            stream.write_all(&[byte]).await.unwrap();
        }
        let mut first = [0; 6];
        within("an answer", stream.read_exact(&mut first))
            .await
            .unwrap();
        assert_eq!((first[0], first[5]), (22, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_served_beside_more_silent_ones_than_there_are_places() {
    let port = TlsPort::with(|config| config.connections_max = 256).await;
    let app = port.daemon().deploy(port.echo_app("shop.example")).await;
    app.until("the name", |status| !status.names.is_empty())
        .await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(port.address()).await.unwrap());
    }
    assert_eq!(port.echo("shop.example", "hello").await.unwrap(), "hello");
    // Those that came first have left for others.
    let mut end = [0];
    let first = within("the first", silent[0].read(&mut end)).await;
    assert!(matches!(first, Ok(0) | Err(_)), "{first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_and_a_slow_one_are_let_go() {
    let port = TlsPort::start().await;
    let begun = Instant::now();
    let mut silent = TcpStream::connect(port.address()).await.unwrap();
    let mut slow = TcpStream::connect(port.address()).await.unwrap();
    let bytes = hello(&port, "shop.example");
    let sending = async {
        for byte in bytes {
            if slow.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let mut rest = Vec::new();
    let (_, end) = tokio::join!(
        within("both", sending),
        within("the end", silent.read_to_end(&mut rest))
    );
    assert!(end.is_ok() && rest.is_empty());
    assert!(begun.elapsed() >= Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_takes_nothing_keeps_its_own_clients_waiting_only() {
    let port = TlsPort::start().await;
    let deaf = Probe::on(port.daemon(), |app| app.label = "deaf".to_owned()).await;
    let identity = port.authority().issue("deaf.example");
    let listening = deaf.tls_listen_sni("deaf.example", (&identity.cert, &identity.key));
    listening.await.unwrap();
    let app = port.daemon().deploy(port.echo_app("shop.example")).await;
    app.until("the name", |status| !status.names.is_empty())
        .await;
    let mut waiting = Vec::new();
    for _ in 0..wapod::limits::READY_OF_NAME_MAX {
        waiting.push(port.connect("deaf.example").await.unwrap());
    }
    // One more has no place there; the neighbour does not notice.
    let mut one_more = port.connect("deaf.example").await.unwrap();
    let mut rest = Vec::new();
    let ended = within("its end", one_more.read_to_end(&mut rest)).await;
    assert_eq!(ended.unwrap(), 0, "it is ended politely");
    assert_eq!(port.echo("shop.example", "hello").await.unwrap(), "hello");
    // Nobody waits for ever, and the app's log says so.
    for mut stream in waiting {
        let ended = within("its end", stream.read_to_end(&mut rest)).await;
        assert_eq!(ended.unwrap(), 0);
    }
    let lines = deaf.app().log_lines();
    for why in ["too many wait for the app", "no instance took it in time"] {
        let text = format!("a TLS connection for deaf.example was closed: {why}");
        assert!(
            lines.iter().any(|line| line.text.contains(&text)),
            "{lines:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_takes_nothing_has_an_eighth_of_a_small_port() {
    let port = TlsPort::with(|config| config.connections_max = 64).await;
    let deaf = Probe::on(port.daemon(), |app| app.label = "deaf".to_owned()).await;
    let identity = port.authority().issue("deaf.example");
    let listening = deaf.tls_listen_sni("deaf.example", (&identity.cert, &identity.key));
    listening.await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(port.connect("deaf.example").await.unwrap());
    }
    port.until_figure("wapo_tls_waiting{state=\"ready\"} 8")
        .await;
    let mut one_more = port.connect("deaf.example").await.unwrap();
    let mut rest = Vec::new();
    let ended = within("its end", one_more.read_to_end(&mut rest)).await;
    assert_eq!(ended.unwrap(), 0, "it is ended politely");
    let why = "a TLS connection for deaf.example was closed: too many wait for the app";
    let lines = deaf.app().log_lines();
    assert!(
        lines.iter().any(|line| line.text.contains(why)),
        "{lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_daemon_does_not_wait_for_connections_that_nobody_takes() {
    let port = TlsPort::with(|config| config.drain_grace = Duration::from_secs(60)).await;
    let deaf = Probe::on(port.daemon(), |app| app.label = "deaf".to_owned()).await;
    let identity = port.authority().issue("deaf.example");
    let listening = deaf.tls_listen_sni("deaf.example", (&identity.cert, &identity.key));
    listening.await.unwrap();
    let mut client = port.connect("deaf.example").await.unwrap();
    drop(deaf);
    // Within the timeout of a test, which is shorter than the grace.
    port.shutdown().await;
    let mut rest = Vec::new();
    let ended = within("its end", client.read_to_end(&mut rest)).await;
    assert_eq!(ended.unwrap(), 0, "it is ended politely");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_daemon_serves_connections_that_are_on_their_way() {
    let port = TlsPort::with(|config| config.drain_grace = Duration::from_secs(60)).await;
    let app = port.daemon().deploy(port.echo_app("shop.example")).await;
    app.until("the name", |status| !status.names.is_empty())
        .await;
    drop(app);
    let (address, connector) = (port.address(), port.client());
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(connector));
    // It has been accepted, and has said nothing.
    let tcp = TcpStream::connect(address).await.unwrap();
    port.until_figure("wapo_tls_waiting{state=\"handshake\"} 1")
        .await;
    let visiting = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let name = rustls::pki_types::ServerName::try_from("shop.example").unwrap();
        let mut stream = connector.connect(name, tcp).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"hello");
    };
    tokio::join!(port.shutdown(), within("an answer", visiting));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_may_send_early_data() {
    let port = TlsPort::start().await;
    let app = port.daemon().deploy(port.echo_app("shop.example")).await;
    app.until("the name", |status| !status.names.is_empty())
        .await;
    let mut config = port.client();
    config.enable_early_data = true;
    let mut stream = port.connect_with("shop.example", config.clone()).await;
    let stream = stream.as_mut().unwrap();
    stream.write_all(b"hello").await.unwrap();
    // The ticket comes with what is read first.
    let mut back = [0; 5];
    within("an answer", stream.read_exact(&mut back))
        .await
        .unwrap();
    let name = rustls::pki_types::ServerName::try_from("shop.example").unwrap();
    let mut again = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    again.write_tls(&mut bytes).unwrap();
    assert!(again.early_data().is_none(), "the ticket allows none");
    // It has a ticket all the same: pre_shared_key, 41, with its modes before it.
    assert!(bytes.windows(6).any(|six| six == [0, 45, 0, 2, 1, 1]));
    assert!(bytes.windows(2).any(|two| two == [0, 41]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_may_agree_on_keys_again() {
    let port = TlsPort::start().await;
    let app = port.daemon().deploy(port.echo_app("shop.example")).await;
    app.until("the name", |status| !status.names.is_empty())
        .await;
    let mut openssl = tokio::process::Command::new("openssl")
        .args(["s_client", "-tls1_2", "-servername", "shop.example"])
        .args(["-connect", &port.address().to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("openssl is installed");
    // It asks for that by the letter.
    let mut input = openssl.stdin.take().unwrap();
    input.write_all(b"R\n").await.unwrap();
    let printed = within("openssl", openssl.wait_with_output()).await.unwrap();
    drop(input);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&printed.stdout),
        String::from_utf8_lossy(&printed.stderr)
    );
    assert!(text.contains("RENEGOTIATING"), "{text}");
    assert!(text.contains("no renegotiation"), "{text}");
    assert_eq!(port.echo("shop.example", "hello").await.unwrap(), "hello");
}
