//! Certificates on the shared TLS port: what is taken of guests, how one is
//! replaced, whose sessions are resumed.

use std::sync::Arc;

use e2e::certificates::{Identity, gullible_client};
use e2e::{Authority, Errno, Probe, TlsPort, within};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// An encrypted key, of nothing.
const ENCRYPTED: &str =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";

async fn probe(port: &TlsPort, label: &str) -> Probe {
    Probe::on(port.daemon(), |app| app.label = label.to_owned()).await
}

/// Asks for a name, and gives why it is not to be had.
async fn refused(probe: &Probe, name: &str, cert: &str, key: &str) -> String {
    let refused = probe.tls_listen_sni(name, (cert, key)).await;
    assert_eq!(refused, Err(Errno::InvalidParameter), "{name}");
    let (_, text) = probe.net_failure(u32::MAX).await.unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_has_to_be_for_the_name_and_its_key_and_trusted() {
    let port = TlsPort::start().await;
    let probe = probe(&port, "one").await;
    let authority = port.authority();
    let good = authority.issue("shop.example");
    let other = authority.issue("other.example");
    let stranger = Authority::new().issue("shop.example");
    let expired = authority.issue_expired("shop.example");
    let between = authority.intermediate();
    let leaf = between.issue("shop.example");
    let wrong_order = [between.pem(), leaf.cert.as_str()].concat();
    let long = good.cert.repeat(11);
    let cases: [(&str, &str, &str); 11] = [
        (&good.cert, &other.key, "the key is not the one of"),
        (
            &other.cert,
            &other.key,
            "the certificate is not for shop.example",
        ),
        (
            &stranger.cert,
            &stranger.key,
            "signed by a trusted authority",
        ),
        (&expired.cert, &expired.key, "xpired"),
        (&leaf.cert, &leaf.key, "UnknownIssuer; certificates have"),
        (&wrong_order, &leaf.key, "the key is not the one of"),
        (&good.cert, ENCRYPTED, "the key is encrypted"),
        (&good.cert, &good.cert, "no private key"),
        (&good.key, &good.key, "no certificate"),
        ("", "", "no certificate"),
        (&long, &good.key, "11 certificates"),
    ];
    for (cert, key, words) in cases {
        let text = refused(&probe, "shop.example", cert, key).await;
        assert!(text.contains(words), "{words}: {text}");
    }
    let endless = "x".repeat(70_000);
    let listening = probe.tls_listen_sni("shop.example", (&endless, &good.key));
    assert_eq!(listening.await, Err(Errno::InvalidParameter));
    // Nothing of all that holds the name, or anything else.
    let chain = [leaf.cert.as_str(), between.pem()].concat();
    let listening = probe.tls_listen_sni("shop.example", (&chain, &leaf.key));
    let listener = listening.await.unwrap();
    let client = port.connect("shop.example");
    let (client, accepted) = tokio::join!(client, probe.tcp_accept_no_addr(listener));
    assert!(client.is_ok() && accepted.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_roots_any_certificate_for_the_name_is_taken() {
    let port = TlsPort::with(|config| {
        config.tls.as_mut().unwrap().verifies_certificates = false;
    })
    .await;
    let probe = probe(&port, "one").await;
    let stranger = Authority::new();
    let other = stranger.issue("other.example");
    let text = refused(&probe, "shop.example", &other.cert, &other.key).await;
    assert!(text.contains("is not for shop.example"), "{text}");
    let identity = stranger.issue("shop.example");
    let text = refused(&probe, "shop.example", &identity.cert, &other.key).await;
    assert!(text.contains("the key is not the one of"), "{text}");
    let listening = probe.tls_listen_sni("shop.example", (&identity.cert, &identity.key));
    assert!(listening.await.is_ok());
}

/// The first certificate that a client was shown.
fn shown(stream: &tokio_rustls::client::TlsStream<tokio::net::TcpStream>) -> Vec<u8> {
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain[0].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_while_connections_live() {
    let port = TlsPort::start().await;
    let probe = probe(&port, "one").await;
    let mut clients = Vec::new();
    let mut former = None;
    for _ in 0..2 {
        let Identity { cert, key } = port.authority().issue("shop.example");
        let listener = probe.tls_listen_sni("shop.example", (&cert, &key)).await;
        let listener = listener.unwrap();
        if let Some(former) = former.replace(listener) {
            assert_eq!(probe.app().status().names.len(), 2);
            probe.close(former).await.unwrap();
            assert_eq!(probe.app().status().names.len(), 1);
        }
        let client = port.connect("shop.example");
        let (client, stream) = tokio::join!(client, probe.tcp_accept_no_addr(listener));
        clients.push((client.unwrap(), stream.unwrap()));
    }
    assert_ne!(shown(&clients[0].0), shown(&clients[1].0));
    for (mut client, stream) in clients {
        client.write_all(b"still here").await.unwrap();
        assert_eq!(probe.read_exact(stream, 10).await, b"still here");
    }
}

/// Connects, reads until the end, and says how the keys were agreed on.
async fn visit(port: &TlsPort, name: &str, config: &ClientConfig) -> HandshakeKind {
    let mut stream = port.connect_with(name, config.clone()).await.unwrap();
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    // Tickets come with what is read first.
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    within("an answer", stream.read_exact(&mut back))
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut rest)).await;
    kind
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_resumed_with_the_same_app_and_with_no_other() {
    let port = TlsPort::start().await;
    let operator = port.operator();
    let first = operator_deploy(&port, "shop.example", "first", None).await;
    let mut clients = vec![port.client()];
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = gullible_client(&[version]);
        assert_ne!(
            visit(&port, "shop.example", &config).await,
            HandshakeKind::Resumed
        );
        let kind = visit(&port, "shop.example", &config).await;
        assert_eq!(kind, HandshakeKind::Resumed, "{:?}", version.version);
        clients.push(config);
    }
    // A client that comes back after a replacement is still known.
    visit(&port, "shop.example", &clients[0]).await;
    let second = operator_deploy(&port, "shop.example", "second", Some(first)).await;
    for config in &clients {
        let kind = visit(&port, "shop.example", config).await;
        assert_eq!(kind, HandshakeKind::Resumed);
    }
    // Another app has the same name, the clients have tickets of the first.
    operator.remove(second).await;
    operator_deploy(&port, "shop.example", "other", None).await;
    for config in &clients {
        let kind = visit(&port, "shop.example", config).await;
        assert_ne!(kind, HandshakeKind::Resumed);
    }
}

async fn operator_deploy(
    port: &TlsPort,
    name: &str,
    label: &str,
    old: Option<wapo_rpc::AppAddress>,
) -> wapo_rpc::AppAddress {
    let mut app = port.echo_app(name);
    app.label = label.to_owned();
    let operator = port.operator();
    operator.put_code(&app).await;
    let mut wanted = e2e::operator::args(&app);
    wanted.replaces = old.map(|app| app.0.to_vec()).unwrap_or_default();
    let deployed = operator.try_deploy(wanted).await.unwrap();
    let served = async {
        while port.echo(name, "hello").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(name, served).await;
    e2e::operator::address(&deployed)
}

/// A key of RSA with 4096 bits, whose signatures take milliseconds.
async fn slow_key() -> String {
    let made = tokio::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA"])
        .args(["-pkeyopt", "rsa_keygen_bits:4096"])
        .output();
    let key = within("a key", made).await.expect("openssl is installed");
    String::from_utf8(key.stdout).unwrap()
}

/// Looks until a thread of this process, which is the daemon's as well, has the name
/// of those for heavy work.
async fn until_heavy_work() {
    let looking = tokio::task::spawn_blocking(|| {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while std::time::Instant::now() < end {
            for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
                let name = std::fs::read(task.path().join("comm")).unwrap_or_default();
                if name.starts_with(b"wapod-large") {
                    return true;
                }
            }
        }
        false
    });
    assert!(looking.await.unwrap(), "no thread for signatures was seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_signs_slowly_serves_as_others_do_on_threads_of_its_own() {
    let port = TlsPort::start().await;
    let probe = probe(&port, "one").await;
    let identity = port
        .authority()
        .issue_for("slow.example", &slow_key().await);
    let listening = probe.tls_listen_sni("slow.example", (&identity.cert, &identity.key));
    let listener = listening.await.unwrap();
    let accepting = async {
        loop {
            let stream = probe.tcp_accept_no_addr(listener).await.unwrap();
            probe.close(stream).await.unwrap();
        }
    };
    let visiting = async {
        let clients = (0..5).map(|_| port.connect("slow.example"));
        let clients = futures_util::future::join_all(clients).await;
        assert!(clients.iter().all(Result::is_ok), "{clients:?}");
        // Signatures of others while it looks.
        let more = async {
            loop {
                port.connect("slow.example").await.unwrap();
            }
        };
        tokio::select! {
            () = until_heavy_work() => {}
            () = more => {}
        }
        // One that has to be asked for a second ClientHello.
        let address = port.address().to_string();
        let asked_twice = tokio::process::Command::new("openssl")
            .args([
                "s_client",
                "-connect",
                &address,
                "-servername",
                "slow.example",
            ])
            .args(["-tls1_3", "-groups", "P-521:X25519", "-msg"])
            .stdin(std::process::Stdio::null())
            .output();
        let printed = within("openssl", asked_twice).await.unwrap();
        let text = String::from_utf8_lossy(&printed.stdout).into_owned();
        let hellos = text.lines().filter(|line| line.contains("ClientHello"));
        assert_eq!(hellos.count(), 2, "{text}");
        assert!(text.contains("Cipher is TLS_AES"), "{text}");
    };
    tokio::select! {
        () = visiting => {}
        () = accepting => {}
    }
}

/// A store of sessions that takes every server for the same one.
#[derive(Debug)]
struct OneForAll(ClientSessionMemoryCache);

impl OneForAll {
    fn name() -> ServerName<'static> {
        ServerName::try_from("any.example").unwrap()
    }
}

impl ClientSessionStore for OneForAll {
    fn set_kx_hint(&self, _: ServerName<'static>, group: rustls::NamedGroup) {
        self.0.set_kx_hint(Self::name(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.kx_hint(&Self::name())
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(Self::name(), value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&Self::name())
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&Self::name());
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(Self::name(), value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&Self::name())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_one_app_is_none_of_another_that_is_asked_at_the_same_time() {
    let port = TlsPort::start().await;
    for name in ["one.example", "two.example"] {
        operator_deploy(&port, name, name, None).await;
    }
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = gullible_client(&[version]);
        let store = OneForAll(ClientSessionMemoryCache::new(8));
        config.resumption = Resumption::store(Arc::new(store));
        visit(&port, "one.example", &config).await;
        let kind = visit(&port, "one.example", &config).await;
        assert_eq!(kind, HandshakeKind::Resumed, "{:?}", version.version);
        let kind = visit(&port, "two.example", &config).await;
        assert_eq!(kind, HandshakeKind::Full, "{:?}", version.version);
    }
}
