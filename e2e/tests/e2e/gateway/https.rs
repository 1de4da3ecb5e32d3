//! HTTPS at the daemon's own ports: the same as without TLS, and what only TLS brings.

use std::sync::Arc;
use std::time::Duration;

use e2e::certificates::{Tunnel, self_signed};
use e2e::client::{self, Printed, curl};
use e2e::operator::Operator;
use e2e::{Authority, guest, within};
use hyper::Method;
use rustls::HandshakeKind;
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wapo_rpc::AppAddress;
use wapo_rpc::client::{Client, ClientError, TrustedCertificates};
use wapo_rpc::message::Empty;
use wapod::{AdminToken, Config, Server, StartError, limits};

use super::Raw;
use super::frames::{DATA, END_STREAM, Frames};
use crate::strangers::figure;

const DOMAIN: &str = "apps.example";

/// A worker whose gateway speaks HTTPS, with an app.
pub(super) struct Secure {
    operator: Operator,
    authority: Authority,
    folder: TempDir,
    app: AppAddress,
}

impl Secure {
    pub(super) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let identity = authority.issue_names(&["*.apps.example", "127.0.0.1"]);
        let files = identity.write(&folder.path().join("user.pem"));
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let operator = Operator::with(|config| {
            config.base_domain = DOMAIN.to_owned();
            config.user_tls = Some(files);
            change(config);
        })
        .await;
        let app = operator.deploy(&guest("sdk-suite")).await;
        operator
            .until("it takes requests", app, |info| {
                info.instance_list.iter().any(|one| one.takes_http)
            })
            .await;
        Self {
            operator,
            authority,
            folder,
            app,
        }
    }

    pub(super) fn host(&self) -> String {
        format!("{}.{DOMAIN}", self.app.to_base32())
    }

    async fn connect(&self, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(self.authority.client(protocols)).await
    }

    async fn connect_as(
        &self,
        config: Arc<rustls::ClientConfig>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.operator.gateway()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from(self.host()).unwrap();
        let connecting = TlsConnector::from(config).connect(name, tcp);
        within("a handshake", connecting).await
    }

    /// A connection with a request on it.
    async fn ask(&self, path: &str) -> TlsStream<TcpStream> {
        let mut stream = self.connect(&["http/1.1"]).await.unwrap();
        self.ask_on(&mut stream, path, "").await;
        stream
    }

    async fn ask_on(&self, stream: &mut TlsStream<TcpStream>, path: &str, more: &str) {
        let host = self.host();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }

    pub(super) async fn tunnel(&self, protocol: &str) -> Tunnel {
        let config = self.authority.client(&[protocol]);
        Tunnel::open(self.operator.gateway(), &self.host(), config).await
    }

    async fn curl(&self, path: &str, more: &[&str]) -> Printed {
        let (host, port) = (self.host(), self.operator.gateway().port());
        let url = format!("https://{host}:{port}{path}");
        let resolve = format!("{host}:{port}:127.0.0.1");
        let ca = self.folder.path().join("ca.pem").display().to_string();
        let all = ["--cacert", &ca, "--resolve", &resolve, &url];
        curl(&[&all, more].concat()).await
    }

    /// A figure of the page of figures that begins like this.
    async fn figure(&self, start: &str) -> u64 {
        let operator = &self.operator;
        let page = operator.send(Method::GET, "/metrics", &[], "").await.text();
        let value = page.lines().find_map(|line| line.strip_prefix(start));
        let value = value.unwrap_or_else(|| panic!("{start} in {page}"));
        value.trim().parse().unwrap()
    }

    async fn until_figure(&self, start: &str, is_right: impl Fn(u64) -> bool) {
        within(start, async {
            while !is_right(self.figure(start).await) {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Waits until no request is in work.
    async fn all_over(&self) {
        let line = self.requests();
        self.until_figure(&line, |count| count == 0).await;
    }

    /// The figure of the app's requests in work.
    fn requests(&self) -> String {
        let app = self.app;
        format!("wapo_app_requests_in_flight{{app=\"{app}\",name=\"\"}}")
    }
}

/// Reads one head and as much of a body as it announces.
async fn answer(stream: &mut TlsStream<TcpStream>) -> String {
    let reading = async {
        let mut all = Vec::new();
        while !all.ends_with(b"\r\n\r\n") {
            all.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8_lossy(&all).to_ascii_lowercase();
        let length = super::header(&head, "content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        head + &String::from_utf8_lossy(&body)
    };
    within("an answer", reading).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_reached_in_both_versions_of_http_and_learns_the_scheme() {
    let secure = Secure::start().await;
    let own = secure.host();
    let port = secure.operator.gateway().port();
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let claims = [
            "-H",
            "x-forwarded-proto: http",
            option,
            "-w",
            "%{http_version}",
        ];
        let printed = secure.curl("/?b", &claims).await;
        assert_eq!(printed.code, Some(0), "{}", printed.err);
        let seen = &printed.out;
        for line in [
            format!("GET https://{own}:{port}/?b\n"),
            "x-forwarded-proto: https\n".to_owned(),
            "x-forwarded-for: 127.0.0.1\n".to_owned(),
        ] {
            assert!(seen.contains(&line), "{line} in {seen}");
        }
        assert!(seen.ends_with(version), "{seen}");
    }
    let nobody = secure.curl("/", &["-H", "host: nobody.example"]).await;
    assert!(
        nobody.out.contains("https://<name>.apps.example"),
        "{}",
        nobody.out
    );
    let (address, path) = (secure.operator.gateway(), format!("/app/{}/", secure.app));
    let url = secure.operator.app_url(secure.app, "");
    assert_eq!(url, format!("https://{address}{path}"));
    let info = secure.operator.info(Empty {}).await.unwrap();
    assert!(info.user_tls);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_agreed_on_in_the_handshake_is_what_is_spoken() {
    let secure = Secure::start().await;
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let request = format!(
        "GET /status/204 HTTP/1.1\r\nhost: {}\r\n\r\n",
        secure.host()
    );
    for (protocols, said, is_served) in [
        (&["h2"][..], preface, true),
        (&["h2", "http/1.1"], preface, true),
        (&["http/1.1", "h2"], preface, true),
        (&[], preface, true),
        (&["http/1.1"], request.as_bytes(), true),
        (&[], request.as_bytes(), true),
        (&["h2"], request.as_bytes(), false),
        (&["http/1.1"], preface, false),
    ] {
        let mut stream = secure.connect(protocols).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut first = [0; 9];
        let read = within("an answer", stream.read_exact(&mut first)).await;
        assert_eq!(read.is_ok(), is_served, "{protocols:?}: {first:?}");
    }
    let none = secure
        .connect(&["spdy/3"])
        .await
        .expect_err("nothing in common");
    assert!(none.to_string().contains("NoApplicationProtocol"), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_no_tls_is_told_so_or_let_go() {
    let secure = Secure::start().await;
    let mut plain = Raw::connect(secure.operator.gateway()).await;
    plain.get("/").await;
    let answer = plain.answer().await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("use https://"), "{}", answer.text());
    for garbage in [&[0x16, 3, 1, 0xff, 0xff, 1][..], &[0; 64], &[0x16; 1000]] {
        let mut raw = Raw::connect(secure.operator.gateway()).await;
        raw.try_send(garbage).await;
        let _ = raw.stream.shutdown().await;
        let (alert, _) = raw.rest().await;
        assert!(alert.len() < 100, "{alert:?}");
    }
    let handshakes =
        |outcome| format!("wapo_tls_handshakes_total{{port=\"user\",outcome=\"{outcome}\"}}");
    secure
        .until_figure(&handshakes("plain"), |count| count == 1)
        .await;
    secure
        .until_figure(&handshakes("failed"), |count| count == 3)
        .await;
    let printed = secure.curl("/status/204", &["-w", "%{http_code}"]).await;
    assert_eq!(printed.out, "204");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_within_http_go_through() {
    let secure = Secure::start().await;
    let host = secure.host();
    let tunnel = secure.tunnel("http/1.1").await;
    let mut socket = Raw::connect(tunnel.address()).await;
    let request = format!(
        "GET /upgrade HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    socket.send(request).await;
    let head = socket.head().await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    for said in ["hello", "again"] {
        socket.send(said).await;
        assert_eq!(socket.exactly(5).await, said.as_bytes());
    }
    socket.stream.shutdown().await.unwrap();
    assert_eq!(socket.rest().await, (Vec::new(), true));
    let tunnel = secure.tunnel("h2").await;
    let mut frames = Frames::connect(tunnel.address(), &[]).await;
    let wishes = [(":protocol", "websocket"), ("sec-websocket-version", "13")];
    let stream = frames
        .request("CONNECT", &host, "/upgrade", &wishes, false)
        .await;
    let first = frames.until(|frame| frame.stream == stream).await;
    assert!(first.has_status(200) && !first.is_last(), "{first:?}");
    frames.send(DATA, 0, stream, b"hello").await;
    let back = frames.until(|frame| frame.kind == DATA).await;
    assert_eq!(back.payload, b"hello");
    frames.send(DATA, END_STREAM, stream, b"").await;
    assert!(frames.until(|frame| frame.stream == stream).await.is_last());
    secure.all_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_come_whole_in_both_directions() {
    let secure = Secure::start().await;
    let tunnel = secure.tunnel("http/1.1").await;
    let url = format!("http://{}/app/{}/echo", tunnel.address(), secure.app);
    let body: Vec<u8> = (0..8_u32 << 20)
        .map(|number| (number % 251) as u8)
        .collect();
    let echoed = client::post(&url, body.clone()).await;
    assert!(
        echoed.expect_status(200).body == body,
        "{}",
        echoed.body.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_in_order_and_a_cut_off_one_does_not() {
    let secure = Secure::start().await;
    let mut stream = secure.connect(&[]).await.unwrap();
    secure
        .ask_on(&mut stream, "/status/200", "connection: close\r\n")
        .await;
    let mut all = Vec::new();
    let read = within("the end", stream.read_to_end(&mut all)).await;
    // Without a close_notify this would be an error.
    read.unwrap();
    assert!(all.starts_with(b"HTTP/1.1 200"), "{all:?}");
    // An app that breaks its answer off.
    let mut stream = secure.ask("/abort/2").await;
    let mut all = Vec::new();
    let read = within("the end", stream.read_to_end(&mut all)).await;
    read.expect_err("it was cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_left_is_noticed() {
    let secure = Secure::start().await;
    let never = secure.ask("/never").await;
    let requests = secure.requests();
    secure.until_figure(&requests, |count| count == 1).await;
    drop(never);
    secure.all_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_given_up_and_a_slow_one_is_served() {
    let secure = Secure::with(|config| config.timeouts.write = Duration::from_secs(2)).await;
    let _stuck = secure.ask("/big/100000000").await;
    let requests = secure.requests();
    secure.until_figure(&requests, |count| count == 1).await;
    secure.all_over().await;
    // Slower than the timeout for all, and some of it comes all the time.
    let bytes: usize = 24 << 20;
    let mut slow = secure.ask(&format!("/big/{bytes}")).await;
    let (mut left, begun) = (bytes, Instant::now());
    let mut piece = vec![0; 512 << 10];
    while left > 0 {
        let read = within("a piece", slow.read(&mut piece)).await.unwrap();
        assert!(read > 0, "{left} bytes are missing");
        left = left.saturating_sub(read);
        if begun.elapsed() < Duration::from_secs(6) {
            sleep(Duration::from_millis(100)).await;
        }
    }
    secure.all_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_clients_make_room_for_newcomers() {
    let secure = Secure::with(|config| config.connections_max = 8).await;
    let (mut silent, mut shaken) = (Vec::new(), Vec::new());
    // Some say nothing at all, some half of a hello, some nothing after the handshake.
    for round in 0..24 {
        let mut raw = Raw::connect(secure.operator.gateway()).await;
        if round % 3 == 1 {
            raw.try_send([0x16, 3, 1, 2, 0, 1, 0]).await;
        }
        silent.push(raw);
        if round % 3 == 2 {
            // One of those before leaves for it.
            shaken.push(secure.connect(&[]).await.unwrap());
        }
    }
    let printed = secure.curl("/status/204", &["-w", "%{http_code}"]).await;
    assert_eq!(printed.out, "204", "{}", printed.err);
    let displaced = "wapo_client_connections_displaced_total{port=\"user\"}";
    secure.until_figure(displaced, |count| count > 16).await;
    assert!(figure(&secure.operator, "used", "user", "connections").await <= 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_handshakes_than_there_are_places_leave_for_newcomers() {
    let secure = Secure::start().await;
    let mut silent = Vec::new();
    for _ in 0..limits::HANDSHAKES_MAX + 16 {
        silent.push(Raw::connect(secure.operator.gateway()).await);
    }
    let printed = secure.curl("/status/204", &["-w", "%{http_code}"]).await;
    assert_eq!(printed.out, "204", "{}", printed.err);
    let displaced = "wapo_tls_handshakes_total{port=\"user\",outcome=\"displaced\"}";
    secure.until_figure(displaced, |count| count >= 16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_goes_on_for_ever_has_a_deadline() {
    let secure = Secure::start().await;
    let mut raw = Raw::connect(secure.operator.gateway()).await;
    raw.send([0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb]).await;
    let begun = Instant::now();
    let dripping = async {
        while raw.stream.write_all(&[3]).await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    within("the connection to be closed", dripping).await;
    assert!(begun.elapsed() >= limits::HANDSHAKE_TIMEOUT);
    let late = "wapo_tls_handshakes_total{port=\"user\",outcome=\"late\"}";
    assert_eq!(secure.figure(late).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_are_resumed_without_anything_kept_here() {
    let secure = Secure::start().await;
    let config = secure.authority.client(&["http/1.1"]);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream = secure.connect_as(Arc::clone(&config)).await.unwrap();
        secure.ask_on(&mut stream, "/status/204", "").await;
        // Tickets come with the answer.
        answer(&mut stream).await;
        kinds.push(stream.get_ref().1.handshake_kind());
    }
    assert_eq!(
        kinds,
        [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]
    );
    // A client that keeps no ticket, but the number of its session, is a stranger: only
    // what is kept here could tell.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls12 = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(secure.authority.root()).unwrap();
    let mut config = tls12.with_root_certificates(roots).with_no_client_auth();
    let sessions = Resumption::in_memory_sessions(8);
    config.resumption = sessions.tls12_resumption(Tls12Resumption::SessionIdOnly);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    for _ in 0..2 {
        let mut stream = secure.connect_as(Arc::clone(&config)).await.unwrap();
        secure.ask_on(&mut stream, "/status/204", "").await;
        answer(&mut stream).await;
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Full));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken_over_while_connections_live_and_a_bad_one_is_not() {
    let secure = Secure::start().await;
    let path = secure.folder.path().join("user.pem");
    let own = async || {
        let stream = secure.connect(&[]).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = own().await;
    let mut old = secure.connect(&["http/1.1"]).await.unwrap();
    let identity = secure.authority.issue_names(&["*.apps.example"]);
    identity.write(&path);
    within("the new certificate", async {
        while own().await == first {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let second = own().await;
    secure.ask_on(&mut old, "/status/204", "").await;
    assert!(answer(&mut old).await.starts_with("http/1.1 204"));
    let changes = |outcome| {
        format!("wapo_tls_certificate_changes_total{{port=\"user\",outcome=\"{outcome}\"}}")
    };
    assert_eq!(secure.figure(&changes("adopted")).await, 1);

    let other = secure.authority.issue("*.apps.example");
    std::fs::write(&path, format!("{}{}", identity.cert, other.key)).unwrap();
    secure
        .until_figure(&changes("refused"), |count| count == 1)
        .await;
    assert_eq!(own().await, second, "the old one is kept");
    let expiry = "wapo_tls_certificate_not_after_seconds{port=\"user\"}";
    assert!(secure.figure(expiry).await > 2_000_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_port_speaks_tls_and_says_whom_it_is_to_be_trusted_by() {
    let folder = tempfile::tempdir().unwrap();
    let identity = self_signed("127.0.0.1");
    let files = identity.write(&folder.path().join("admin.pem"));
    let operator = Operator::with(|config| {
        config.admin_tls = Some(files.clone());
        config.admin_token = Some(AdminToken("secret".to_owned()));
    })
    .await;
    // The client of the harness trusts exactly this certificate.
    let app = operator.deploy(&guest("sdk-suite")).await;
    let url = operator.base_url().to_owned();
    assert!(url.starts_with("https://"), "{url}");
    assert_eq!(operator.apps().await.len(), 1);
    operator.remove(app).await;

    let stranger = Client::new(&url, Some("secret")).unwrap();
    let error = stranger.info(Empty {}).await.expect_err("not trusted");
    assert!(error.to_string().contains("--ca"), "{error}");
    let trusted = TrustedCertificates::from_pem(identity.cert.as_bytes()).unwrap();
    let other_name = url.replace("127.0.0.1", "localhost");
    let client = Client::with_trust(&other_name, Some("secret"), Some(&trusted)).unwrap();
    let error = client.info(Empty {}).await.expect_err("another name");
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    let client = Client::with_trust(&url, Some("wrong"), Some(&trusted)).unwrap();
    let error = client.info(Empty {}).await.expect_err("a wrong token");
    assert!(matches!(error, ClientError::TokenRefused { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_port_is_not_open_to_others_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let files = self_signed("worker.example").write(&folder.path().join("admin.pem"));
    let start = async |files: Option<wapod::TlsFiles>| {
        let config = Config {
            admin_address: Some(([0, 0, 0, 0], 0).into()),
            admin_token: Some(AdminToken("secret".to_owned())),
            admin_tls: files,
            ..e2e::daemon::config()
        };
        Server::start(config).await
    };
    // TLS alone does not authenticate the client.
    let config = Config {
        admin_address: Some(([0, 0, 0, 0], 0).into()),
        admin_tls: Some(files.clone()),
        ..e2e::daemon::config()
    };
    let error = Server::start(config).await.err().expect("refused");
    assert!(matches!(error, StartError::OpenAdmin(_)), "{error}");
    assert!(error.to_string().contains("--admin-token"), "{error}");
    let error = start(None).await.err().expect("refused");
    assert!(matches!(error, StartError::PlainAdmin(_)), "{error}");
    assert!(error.to_string().contains("--admin-tls"), "{error}");
    let running = start(Some(files.clone())).await.expect("it starts");
    within("the shutdown", running.shutdown()).await;
    std::fs::remove_file(&files.certificate).unwrap();
    let error = start(Some(files)).await.err().expect("refused");
    assert!(error.to_string().contains("admin.pem"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_request_end_with_the_daemon() {
    let secure = Secure::start().await;
    let mut idle = secure.connect(&["http/1.1"]).await.unwrap();
    let mut silent = Raw::connect(secure.operator.gateway()).await;
    secure.operator.shutdown().await;
    let ended = timeout(Duration::from_secs(5), idle.read(&mut [0; 1])).await;
    ended.expect("it ends").ok();
    silent.rest().await;
}
