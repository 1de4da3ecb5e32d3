//! Guests that prove what they are: evidence, quotes of their own data, and TLS with a
//! certificate that has their app's evidence.

use std::sync::Arc;
use std::time::Duration;

use e2e::certificates::gullible_client;
use e2e::probe::{SCRATCH, Script};
use e2e::{Daemon, Errno, Operator, Probe, TlsPort, guest, ports, within};
use hyper::Method;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wapo_rpc::AppAddress;
use wapo_rpc::message::RotateKeysArgs;
use wapo_rpc::statement::{self, AppClaims, AppEvidence, Quote};

use crate::attestation::{APP_EVIDENCE, REPORT_DATA, evidence_in, proven, quote_of, simulated};
use crate::played_hardware::Hardware;
use crate::statements::verifies;

/// Wishes for evidence that an app may have at a time.
const WAITING_MAX: usize = 16;

/// Checks what follows from evidence itself, and gives what it says of the app.
fn checked(evidence: &[u8]) -> AppClaims {
    let evidence: AppEvidence = statement::decode(evidence).unwrap();
    let worker = evidence.worker.worker_claims().unwrap();
    let report_data = &quote_of(&evidence.worker)[REPORT_DATA];
    assert_eq!(report_data, evidence.worker.report_data());
    let signed = (&evidence.claims, &evidence.signature);
    assert!(verifies(&worker.pubkey, APP_EVIDENCE, signed.0, signed.1));
    let claims = evidence.app_claims().unwrap();
    assert_eq!(claims.worker, worker.pubkey);
    assert_eq!(*claims.nonce, *worker.nonce);
    claims
}

async fn evidence(probe: &Probe, nonce: &[u8]) -> AppClaims {
    let handle = probe.make_evidence(nonce).await.unwrap();
    let made = probe.take_evidence(handle).await.unwrap();
    let again = probe.take_evidence(handle).await;
    assert_eq!(again, Err(Errno::EndOfFile), "it is taken once");
    probe.close(handle).await.unwrap();
    checked(&made)
}

/// Connects with TLS to a port of a guest.
async fn connect(port: u16, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("port.example").unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    within("the handshake", connecting).await
}

/// What the server has shown.
fn shown(stream: &TlsStream<TcpStream>) -> AppClaims {
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    let claims = evidence_in(&chain[0]).app_claims().unwrap();
    // The handshake has shown that the server has the secret of this key.
    let key: &[u8] = &claims.app_pubkey;
    assert!(chain[0].windows(key.len()).any(|one| one == key));
    claims
}

async fn echo(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"word").await.unwrap();
    let mut back = [0; 4];
    let reading = stream.read_exact(&mut back);
    within("an echo", reading).await.unwrap();
    assert_eq!(&back, b"word");
}

fn address_of(probe: &Probe) -> AppAddress {
    probe.app().handle().address()
}

async fn rotate(operator: &Operator, app: AppAddress) {
    let address = app.0.to_vec();
    let rotated = operator.rotate_keys(RotateKeysArgs { address }).await;
    assert_eq!(rotated.unwrap().key_version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_gets_evidence_of_itself_and_of_nobody_else() {
    let daemon = Daemon::with(simulated).await;
    let one = Probe::on(&daemon, |_| {}).await;
    let other = Probe::on(&daemon, |app| app.label = "other".into()).await;
    let (mine, theirs) = (evidence(&one, b"").await, evidence(&other, b"").await);
    assert_eq!(mine.address, address_of(&one));
    assert_eq!(theirs.address, address_of(&other));
    assert_ne!(mine.app_pubkey, theirs.app_pubkey);
    assert!(mine.nonce.is_empty());
    let longest = [7; 64];
    for nonce in [&b"nonce"[..], &longest] {
        let claims = evidence(&one, nonce).await;
        assert_eq!(&**claims.nonce, nonce);
        assert_eq!(claims.app_pubkey, mine.app_pubkey);
    }
    one.check_wakers(&[]).await;
    let cost = async |nonce: u32| {
        let script = Script::new().fast(324, [SCRATCH, nonce, 0, 0]);
        Probe::gas_of(&daemon, &script).await
    };
    let (cached, fresh) = (cost(0).await, cost(5).await);
    assert!(
        fresh - cached >= 1_000_000,
        "a quote costs: {cached} {fresh}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_for_evidence_that_cannot_be_are_refused() {
    let daemon = Daemon::with(simulated).await;
    let probe = Probe::on(&daemon, |_| {}).await;
    for long in [65, 0xf_ffff] {
        let refused = probe.fast(324, [SCRATCH, long, 0, 0]).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{long}");
    }
    let timer = probe.create_timer(1000).await.unwrap();
    assert_eq!(probe.take_evidence(timer).await, Err(Errno::Unsupported));
    assert_eq!(probe.take_evidence(9999).await, Err(Errno::NotFound));
    let handle = probe.make_evidence(b"").await.unwrap();
    let read = probe.poll_read(handle, 10).await;
    assert_eq!(read, Err(Errno::Unsupported));

    let plain = Probe::start().await;
    let nothing = Err(Errno::Unsupported);
    assert_eq!(plain.make_evidence(b"").await, nothing);
    assert_eq!(plain.make_evidence(b"nonce").await, nothing);
    let listened = plain.sni_listen_attested("own.example", &[]).await;
    assert_eq!(listened, nothing);
    plain.app().expect_log("this worker attests nothing").await;
}

/// The older call: report data of the app's own, which is never what the worker says.
#[tokio::test(flavor = "multi_thread")]
async fn a_quote_of_an_apps_data_has_its_old_form() {
    let daemon = Daemon::with(simulated).await;
    let one = Probe::on(&daemon, |_| {}).await;
    let other = Probe::on(&daemon, |app| app.label = "other".into()).await;
    let quote = async |probe: &Probe, data: &[u8]| -> Vec<u8> {
        let answer = probe.sgx_quote(data).await.unwrap();
        let quote: Option<Vec<u8>> = statement::decode(&answer).unwrap();
        quote.unwrap()[REPORT_DATA].to_vec()
    };
    let by_one = quote(&one, b"data").await;
    // A hash of 32 bytes, then zeros.
    assert_ne!(by_one[..32], [0; 32]);
    assert_eq!(by_one[32..], [0; 32]);
    assert_eq!(by_one, quote(&one, b"data").await, "of app and data alone");
    assert_ne!(by_one, quote(&other, b"data").await);
    assert_ne!(by_one, quote(&one, b"other data").await);
    // Claims of the worker as data of an app are data of an app.
    let handle = one.make_evidence(b"").await.unwrap();
    let made = one.take_evidence(handle).await.unwrap();
    let made: AppEvidence = statement::decode(&made).unwrap();
    let forged = quote(&one, &made.worker.claims).await;
    assert_ne!(forged, made.worker.report_data());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_floods_is_bounded_and_goes_on_meanwhile() {
    let hardware = Hardware::new();
    let daemon = Daemon::with(|config| hardware.configure(config)).await;
    // The worker's own.
    hardware.make(1);
    let probe = Probe::on(&daemon, |_| {}).await;
    let other = Probe::on(&daemon, |app| app.label = "other".into()).await;
    let mut handles = Vec::new();
    for number in 0..WAITING_MAX {
        handles.push(probe.make_evidence(&number.to_le_bytes()).await.unwrap());
    }
    for nonce in [&b"more"[..], b""] {
        let refused = probe.make_evidence(nonce).await;
        assert_eq!(refused, Err(Errno::Limited));
    }
    probe.app().expect_log("which is all that it may").await;
    // The call does not block, whatever the hardware does; nor does another app's.
    let waker = probe.new_waker();
    let pending = probe.slow_only(325, [waker, handles[0], 0, 0]).await;
    assert_eq!(pending, Err(Errno::Pending));
    let timer = probe.create_timer(1).await.unwrap();
    assert_eq!(probe.poll_timer(timer).await, Ok(0));
    let theirs = other.make_evidence(b"other").await.unwrap();
    // What was given up makes room.
    for handle in handles.drain(1..) {
        probe.close(handle).await.unwrap();
    }
    let again = probe.make_evidence(b"again").await;
    assert!(again.is_ok(), "{again:?}");
    hardware.make(20);
    let made = within("evidence", other.take_evidence(theirs))
        .await
        .unwrap();
    let made: AppEvidence = statement::decode(&made).unwrap();
    assert!(matches!(made.worker.quote, Quote::Sgx(_)));
    assert_eq!(&**made.app_claims().unwrap().nonce, b"other");
    within("evidence", probe.take_evidence(handles[0]))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_ends_gives_its_wishes_up() {
    let hardware = Hardware::new();
    let daemon = Daemon::with(|config| hardware.configure(config)).await;
    hardware.make(1);
    let probe = Probe::on(&daemon, |_| {}).await;
    for number in 0..WAITING_MAX {
        probe.make_evidence(&number.to_le_bytes()).await.unwrap();
    }
    probe.app().stop().await;
    let other = Probe::on(&daemon, |app| app.label = "other".into()).await;
    let handle = other.make_evidence(b"other").await.unwrap();
    // One was begun for the instance that is gone; the next is this one.
    hardware.make(2);
    let made = within("evidence", other.take_evidence(handle)).await;
    assert!(made.is_ok(), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_a_guest_speaks_tls_with_its_evidence() {
    let operator = Operator::with(simulated).await;
    let port = ports::free();
    let probe = Probe::on(operator.daemon(), |app| {
        app.listen_ports = ports::only(port)
    })
    .await;
    let place = format!("127.0.0.1:{port}");
    let names = ["Port.example", "*.port.example", "127.0.0.1"];
    let listener = probe.tcp_listen_attested(&place, &names).await.unwrap();
    assert!(probe.app().status().listening[0].tls);
    let config = gullible_client(&[&TLS13]);
    let accept = async |config: &ClientConfig| {
        let config = config.clone();
        let client = tokio::spawn(async move {
            let mut stream = connect(port, config).await.unwrap();
            echo(&mut stream).await;
            stream
        });
        let (stream, _) = probe.tcp_accept(listener).await.unwrap();
        let word = probe.read_exact(stream, 4).await;
        probe.write_all(stream, &word).await;
        probe.poll_flush(stream).await.unwrap();
        (stream, within("the client", client).await.unwrap())
    };
    let (stream, mut client) = accept(&config).await;
    let before = shown(&client);
    assert_eq!(
        (before.address, before.key_version),
        (address_of(&probe), 1)
    );
    assert_eq!(before.app_pubkey, evidence(&probe, b"").await.app_pubkey);
    let certificate = client.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    for name in ["port.example", "*.port.example"] {
        let mut windows = certificate.windows(name.len());
        assert!(windows.any(|one| one == name.as_bytes()), "{name}");
    }
    // Who comes again resumes, as long as the certificate is the same.
    let resumed = accept(&config).await.1;
    let kind = |stream: &TlsStream<TcpStream>| stream.get_ref().1.handshake_kind().unwrap();
    assert_eq!(kind(&resumed), HandshakeKind::Resumed);

    rotate(&operator, address_of(&probe)).await;
    let rotated = accept(&config).await.1;
    assert_eq!(kind(&rotated), HandshakeKind::Full, "it sees the new key");
    let after = shown(&rotated);
    assert_eq!(after.key_version, 2);
    assert_ne!(after.app_pubkey, before.app_pubkey);
    // Connected clients stay so.
    client.write_all(b"more").await.unwrap();
    assert_eq!(probe.read_exact(stream, 4).await, b"more");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_ports_of_attested_listeners_are_checked() {
    let daemon = Daemon::with(simulated).await;
    let port = ports::free();
    let probe = Probe::on(&daemon, |app| app.listen_ports = ports::only(port)).await;
    let place = format!("127.0.0.1:{port}");
    let many = ["a.example"; 17];
    let long = "a".repeat(254);
    for bad in [
        &[""][..],
        &["no name"],
        &["a..example"],
        &["127.0.0.1:1"],
        &[&long],
        &many,
    ] {
        let refused = probe.tcp_listen_attested(&place, bad).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{bad:?}");
    }
    let nameless = probe.tcp_listen_attested(&place, &[]).await;
    assert!(nameless.is_ok(), "{nameless:?}");
    let foreign = probe.tcp_listen_attested("127.0.0.1:1", &[]).await;
    assert_eq!(foreign, Err(Errno::Forbidden), "ports are those of others");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_waits_for_the_first_certificate() {
    let hardware = Hardware::new();
    let daemon = Daemon::with(|config| hardware.configure(config)).await;
    let port = ports::free();
    let probe = Probe::on(&daemon, |app| app.listen_ports = ports::only(port)).await;
    let place = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen_attested(&place, &[]).await.unwrap();
    let client = tokio::spawn(connect(port, gullible_client(&[&TLS13])));
    let (stream, _) = probe.tcp_accept(listener).await.unwrap();
    let (_, pending) = probe.try_wait(103, [stream, SCRATCH, 1]).await;
    assert_eq!(pending, Err(Errno::Pending));
    assert!(!client.is_finished(), "there is no evidence yet");
    hardware.make(1);
    let client = within("a certificate", client).await.unwrap().unwrap();
    assert_eq!(shown(&client).address, address_of(&probe));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_served_with_the_evidence_of_its_app() {
    let port = TlsPort::with(|config| {
        simulated(config);
        config.tls.as_mut().unwrap().verifies_certificates = false;
    })
    .await;
    let mut app = guest("sdk-suite");
    app.args = vec!["sni-attested=own.example".to_owned()];
    let address = port.operator().deploy(&app).await;
    let config = gullible_client(&[&TLS13]);
    let connect = || port.connect_with("own.example", config.clone());
    let mut stream = connect().await.unwrap();
    let claims = shown(&stream);
    assert_eq!((claims.address, claims.key_version), (address, 1));
    echo(&mut stream).await;
    let again = connect().await.unwrap();
    let kind = |stream: &TlsStream<TcpStream>| stream.get_ref().1.handshake_kind().unwrap();
    assert_eq!(kind(&again), HandshakeKind::Resumed);
    rotate(port.operator(), address).await;
    let rotated = connect().await.unwrap();
    assert_eq!(kind(&rotated), HandshakeKind::Full);
    assert_eq!(shown(&rotated).key_version, 2);
    echo(&mut stream).await;
}

/// Nobody signs such certificates who is trusted, so they say nothing about whose a name is.
#[tokio::test(flavor = "multi_thread")]
async fn where_certificates_are_verified_a_name_has_to_be_given() {
    let port = TlsPort::with(simulated).await;
    let probe = Probe::on(port.daemon(), |app| app.label = "given".into()).await;
    let taken = probe.sni_listen_attested("own.example", &[]).await;
    assert_eq!(taken, Err(Errno::Forbidden));
    let given = probe.sni_listen_attested("given.localhost", &[b"h2"]).await;
    assert!(given.is_ok(), "{given:?}");
    for bad in ["", "no name", "a..example"] {
        let refused = probe.sni_listen_attested(bad, &[]).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{bad}");
    }
    let acme = probe.sni_listen_attested("given.localhost", &[b"acme-tls/1"]);
    assert_eq!(acme.await, Err(Errno::InvalidParameter));
}

/// A session that was begun with one version of an app is not gone on with by another,
/// which its client has never seen evidence of.
#[tokio::test(flavor = "multi_thread")]
async fn who_resumes_a_session_comes_to_the_same_app_and_key() {
    let port = TlsPort::with(simulated).await;
    let operator = port.operator();
    let app = operator.deploy_with(&guest("sdk-suite"), proven).await;
    let config = gullible_client(&[&TLS13]);
    let ask = async || {
        let mut stream = port
            .connect_with("proven.localhost", config.clone())
            .await
            .unwrap();
        let kind = stream.get_ref().1.handshake_kind().unwrap();
        let request = b"GET /echo HTTP/1.1\r\nhost: proven.localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        within("an answer", reading).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        kind
    };
    assert_eq!(ask().await, HandshakeKind::Full);
    assert_eq!(ask().await, HandshakeKind::Resumed);
    rotate(operator, app).await;
    let sees_it = async {
        while ask().await != HandshakeKind::Full {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("a handshake with the new certificate", sees_it).await;
}

/// A connection that is kept while its app is replaced: what answers then is another app,
/// which the client has not seen evidence of.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_attested_is_none_for_the_next_version() {
    let port = TlsPort::with(simulated).await;
    let operator = port.operator();
    let deploy = async |label: &str, old: Option<AppAddress>| {
        let mut app = guest("sdk-suite");
        app.label = label.to_owned();
        let replaces = old.map(|old| old.0.to_vec()).unwrap_or_default();
        let deployed = operator.deploy_with(&app, |wanted| {
            proven(wanted);
            wanted.replaces = replaces;
        });
        deployed.await
    };
    let config = gullible_client(&[&TLS13]);
    let connect = async || {
        let connecting = port.connect_with("proven.localhost", config.clone());
        connecting.await.unwrap()
    };
    let request = b"GET /echo HTTP/1.1\r\nhost: proven.localhost\r\n\r\n";
    let first = deploy("first", None).await;
    let mut kept = connect().await;
    assert_eq!(shown(&kept).address, first);
    kept.write_all(request).await.unwrap();
    let mut answer = vec![0; 12];
    let reading = kept.read_exact(&mut answer);
    within("an answer", reading).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 200");

    let second = deploy("second", Some(first)).await;
    kept.write_all(request).await.unwrap();
    let mut rest = Vec::new();
    while !rest.windows(12).any(|one| one.starts_with(b"HTTP/1.1")) {
        let reading = kept.read_buf(&mut rest);
        assert!(within("an answer", reading).await.unwrap() > 0);
    }
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("HTTP/1.1 421"), "{rest}");
    let anew = connect().await;
    assert_eq!(anew.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    assert_eq!(shown(&anew).address, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_has_evidence_and_attested_listeners() {
    let operator = Operator::with(simulated).await;
    let port = ports::free();
    let mut app = guest("sdk-suite");
    app.args = vec![format!("listen-attested=127.0.0.1:{port}")];
    app.listen_ports = ports::only(port);
    let address = operator.deploy(&app).await;
    let ask = async |path: &str, payload: &[u8]| {
        let query = wapo_rpc::QueryArgs {
            address: address.0.to_vec(),
            path: path.to_owned(),
            payload: payload.to_vec(),
            ..Default::default()
        };
        operator.app_query(query).await
    };
    let evidence = ask("/evidence", b"nonce").await.unwrap().output;
    let claims = checked(&evidence);
    assert_eq!((claims.address, &**claims.nonce), (address, &b"nonce"[..]));
    let long = ask("/evidence", &[0; 65]).await.unwrap_err().to_string();
    assert!(long.contains("invalid parameter"), "{long}");
    let flood = ask("/evidence-flood/20", b"").await.unwrap().output;
    let flood = String::from_utf8(flood).unwrap();
    let made = flood.lines().filter(|line| *line == "made").count();
    // On a busy machine a quote may be made while others still come.
    assert!((WAITING_MAX..20).contains(&made), "{made}: {flood}");
    let mut stream = connect(port, gullible_client(&[&TLS13])).await.unwrap();
    assert_eq!(shown(&stream).address, address);
    echo(&mut stream).await;

    let page = operator.send(Method::GET, "/metrics", &[], "").await.text();
    let figure = |line: &str| {
        let found = page.lines().find_map(|one| one.strip_prefix(line));
        found
            .unwrap_or_else(|| panic!("no {line}"))
            .trim()
            .parse::<u64>()
            .unwrap()
    };
    let quotes = |asker| {
        figure(&format!(
            "wapo_quotes_total{{asker=\"{asker}\",outcome=\"made\"}}"
        ))
    };
    assert_eq!(quotes("guest"), 1 + WAITING_MAX as u64);
    assert!(quotes("worker") >= 1);
    assert_eq!(quotes("stranger"), 0);
    assert_eq!(
        figure("wapo_evidence_total{about=\"app\"}"),
        quotes("guest")
    );
    assert_eq!(figure("wapo_evidence_total{about=\"certificate\"}"), 1);

    let plain = Operator::start().await;
    let page = plain.send(Method::GET, "/metrics", &[], "").await.text();
    assert!(!page.contains("wapo_quotes_total"), "there is no hardware");
    let app = plain.deploy(&guest("sdk-suite")).await;
    let none = plain.query(app, "/evidence").await.unwrap_err();
    assert!(none.contains("unsupported operation"), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_in_javascript_have_evidence_and_attested_listeners() {
    let operator = Operator::with(simulated).await;
    let port = ports::free();
    let mut program = e2e::script(&format!(
        r#"const place = "127.0.0.1:{port}";
        Wapo.httpsListen({{ address: place, attested: ["port.example"] }}, (request) => {{
            Wapo.httpsSendResponseHead(request.opaqueResponseTx, {{ status: 204 }});
        }});
        Wapo.queryListen(async ({{ path, payload, replyTx }}) => {{
            const refused = [];
            for (const bad of [
                () => Wapo.evidence(new Uint8Array(65)),
                () => Wapo.httpsListen({{ serverName: "a.example", attested: ["b.example"] }}, () => {{}}),
                () => Wapo.httpsListen({{ address: place, attested: "a.example" }}, () => {{}}),
                () => Wapo.httpsListen({{ address: place, attested: ["no name"] }}, () => {{}}),
            ]) {{
                try {{ await bad(); }} catch (error) {{ refused.push(error.message); }}
            }}
            Wapo.queryReply(replyTx, path === "/refused" ? refused.join("\n") : await Wapo.evidence(payload));
        }});"#
    ));
    program.listen_ports = ports::only(port);
    let address = operator.deploy(&program).await;
    let query = wapo_rpc::QueryArgs {
        address: address.0.to_vec(),
        path: "/evidence".to_owned(),
        payload: b"nonce".to_vec(),
        ..Default::default()
    };
    let claims = checked(&operator.app_query(query).await.unwrap().output);
    assert_eq!((claims.address, &**claims.nonce), (address, &b"nonce"[..]));
    let refused = operator.query(address, "/refused").await.unwrap();
    let lines: Vec<_> = refused.lines().collect();
    assert_eq!(lines.len(), 4, "{refused}");
    assert!(lines[0].contains("at most 64 bytes"), "{refused}");

    let mut stream = connect(port, gullible_client(&[&TLS13])).await.unwrap();
    assert_eq!(shown(&stream).address, address);
    let request = b"GET / HTTP/1.1\r\nhost: port.example\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    within("an answer", reading).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
}
