//! TLS connections out with wishes of the guest: protocols, a certificate, trust roots.

use std::sync::Arc;

use e2e::certificates::{Authority, Identity};
use e2e::{Daemon, Errno, Probe, guest, within};
use parity_scale_codec::Encode as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

const TLS: u8 = 14;

/// Options as the contract has them.
fn options(protocols: &[&[u8]], identity: Option<(&str, &str)>, roots: Option<&str>) -> Vec<u8> {
    let protocols: Vec<Vec<u8>> = protocols.iter().map(|name| name.to_vec()).collect();
    // The number of the variant of a certificate and key.
    let identity = identity.map(|(cert, key)| (0_u8, cert, key));
    (protocols, identity, roots).encode()
}

/// What a server saw of its client: the protocol, and whether it had a certificate.
type Seen = Option<(Option<Vec<u8>>, bool)>;

/// Serves one connection; asks for a certificate of this authority, if there is one.
async fn server(identity: &Identity, asks: Option<&Authority>) -> (u16, JoinHandle<Seen>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match asks {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.root()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(identity.cert.as_bytes());
    let chain: Vec<_> = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"own/1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.ok()?;
        let mut stream = acceptor.accept(tcp).await.ok()?;
        let byte = stream.read_u8().await.ok()?;
        stream.write_u8(byte + 1).await.ok()?;
        stream.shutdown().await.ok()?;
        let (_, connection) = stream.get_ref();
        let protocol = connection.alpn_protocol().map(<[u8]>::to_vec);
        Some((protocol, connection.peer_certificates().is_some()))
    });
    (port, serving)
}

/// Connects and has a byte answered.
async fn talk(probe: &Probe, port: u16, options: &[u8]) -> Result<(), u8> {
    let connecting = probe.tcp_connect_tls_with("127.0.0.1", port, options).await;
    let stream = probe.poll_res(connecting.unwrap()).await.unwrap();
    let written = probe.poll_write(stream, b"a").await;
    let is_answered = match written {
        Ok(_) => probe.poll_read(stream, 1).await == Ok(b"b".to_vec()),
        Err(_) => false,
    };
    let outcome = match is_answered {
        true => Ok(()),
        false => Err(probe.net_failure(stream).await.unwrap().0),
    };
    probe.close(stream).await.unwrap();
    outcome
}

async fn probe(trusted: &Authority) -> Probe {
    let root = trusted.root();
    let daemon = Daemon::with(|config| config.trust_roots = vec![root]).await;
    Probe::on(&daemon, |app| {
        app.egress = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_chooses_protocols_certificate_and_roots() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let probe = probe(&ours).await;
    let own = ours.issue("127.0.0.1");
    let foreign = theirs.issue("127.0.0.1");
    let client = theirs.issue("client.test");

    // Protocols; the worker's roots.
    let (port, seen) = server(&own, None).await;
    let wishes = options(&[b"own/1", b"h2"], None, None);
    assert_eq!(talk(&probe, port, &wishes).await, Ok(()));
    let seen = within("the server", seen).await.unwrap();
    assert_eq!(
        seen,
        Some((Some(b"h2".to_vec()), false)),
        "the server prefers"
    );

    // Own roots are trusted in place of the worker's.
    let (port, _seen) = server(&foreign, None).await;
    assert_eq!(
        talk(&probe, port, &options(&[], None, None)).await,
        Err(TLS)
    );
    let (port, seen) = server(&foreign, None).await;
    let wishes = options(&[], None, Some(theirs.pem()));
    assert_eq!(talk(&probe, port, &wishes).await, Ok(()));
    assert_eq!(
        within("the server", seen).await.unwrap(),
        Some((None, false))
    );
    let (port, _seen) = server(&own, None).await;
    assert_eq!(
        talk(&probe, port, &wishes).await,
        Err(TLS),
        "not the worker's"
    );

    // A certificate for a server that asks for one.
    let (port, seen) = server(&own, Some(&theirs)).await;
    let wishes = options(&[b"own/1"], Some((&client.cert, &client.key)), None);
    assert_eq!(talk(&probe, port, &wishes).await, Ok(()));
    let seen = within("the server", seen).await.unwrap();
    assert_eq!(seen, Some((Some(b"own/1".to_vec()), true)));
    let (port, _seen) = server(&own, Some(&theirs)).await;
    assert_eq!(
        talk(&probe, port, &options(&[], None, None)).await,
        Err(TLS)
    );
    let stranger = ours.issue("client.test");
    let (port, _seen) = server(&own, Some(&theirs)).await;
    let wishes = options(&[], Some((&stranger.cert, &stranger.key)), None);
    assert_eq!(talk(&probe, port, &wishes).await, Err(TLS));
    // No protocol in common.
    let (port, _seen) = server(&own, None).await;
    assert_eq!(
        talk(&probe, port, &options(&[b"x"], None, None)).await,
        Err(TLS)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_that_cannot_be_used_are_refused_before_anything_is_connected() {
    let authority = Authority::new();
    let probe = probe(&authority).await;
    let one = authority.issue("one.test");
    let other = authority.issue("other.test");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let long = "x".repeat(64 * 1024 + 1);
    let name = [b'x'; 256];
    let many = [&b"h2"[..]; 17];
    for (what, bad) in [
        ("an empty name", options(&[b""], None, None)),
        ("a long name", options(&[&name], None, None)),
        ("many protocols", options(&many, None, None)),
        ("no certificate", options(&[], Some(("", &one.key)), None)),
        ("no key", options(&[], Some((&one.cert, "")), None)),
        (
            "another's key",
            options(&[], Some((&one.cert, &other.key)), None),
        ),
        ("no root", options(&[], None, Some("no pem"))),
        ("a key as root", options(&[], None, Some(&one.key))),
        ("long roots", options(&[], None, Some(&long))),
    ] {
        let refused = probe.tcp_connect_tls_with("127.0.0.1", port, &bad).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{what}");
    }
    let garbage = probe
        .tcp_connect_tls_with("127.0.0.1", port, &[255; 9])
        .await;
    assert!(garbage.is_err(), "{garbage:?}");
    let fine = options(&[b"h2"], None, None);
    let denied = probe.tcp_connect_tls_with("10.0.0.1", port, &fine).await;
    assert_eq!(denied, Err(Errno::Forbidden));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_connects_with_its_own_certificate_and_roots() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let client = theirs.issue("client.test");
    let (port, seen) = server(&theirs.issue("127.0.0.1"), Some(&theirs)).await;
    let root = ours.root();
    let daemon = Daemon::with(|config| config.trust_roots = vec![root]).await;
    let mut config = guest("sdk-suite");
    config.egress = vec![format!("127.0.0.1:{port}").parse().unwrap()];
    config.env = vec![
        ("TLS_CERT".to_owned(), client.cert.clone()),
        ("TLS_KEY".to_owned(), client.key.clone()),
        ("TLS_ROOTS".to_owned(), theirs.pem().to_owned()),
    ];
    let app = daemon.deploy(config).await;
    let path = format!("/connect-own/127.0.0.1/{port}");
    assert_eq!(app.query(&path, *b"a").await.unwrap(), b"b");
    let seen = within("the server", seen).await.unwrap();
    assert_eq!(seen, Some((Some(b"own/1".to_vec()), true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_stream_of_a_guest_speaks_tls_later() {
    let authority = Authority::new();
    let probe = probe(&authority).await;
    let own = authority.issue("later.test");
    let (port, seen) = server(&own, None).await;
    let connecting = probe.tcp_connect("127.0.0.1", port.into()).await;
    let stream = probe.poll_res(connecting.unwrap()).await.unwrap();
    let (local, peer) = probe.stream_addrs(stream).await.unwrap();
    assert!(local.starts_with("127.0.0.1:"), "{local}");
    assert_eq!(peer, format!("127.0.0.1:{port}"));
    // What cannot be used leaves the stream as it is.
    let bad = options(&[b""], None, None);
    let refused = probe.stream_start_tls(stream, "later.test", &bad).await;
    assert_eq!(refused, Err(Errno::InvalidParameter));
    let wishes = options(&[b"own/1"], None, None);
    for name in ["", "not a name", &"x".repeat(300)] {
        let refused = probe.stream_start_tls(stream, name, &wishes).await;
        assert_eq!(refused, Err(Errno::InvalidParameter), "{name}");
    }
    let begun = probe.stream_start_tls(stream, "later.test", &wishes).await;
    assert_eq!(begun, Ok(0));
    assert!(probe.poll_write(stream, b"a").await.is_ok());
    assert_eq!(probe.poll_read(stream, 1).await, Ok(b"b".to_vec()));
    let seen = within("the server", seen).await.unwrap();
    assert_eq!(seen, Some((Some(b"own/1".to_vec()), false)));
    let told = probe.stream_addrs(stream).await.unwrap();
    assert_eq!(told, (local, peer), "the same socket");
    // Once is enough, and other things never.
    let again = probe.stream_start_tls(stream, "later.test", &wishes).await;
    assert_eq!(again, Err(Errno::Unsupported));
    let timer = probe.create_timer(10).await.unwrap();
    for (handle, errno) in [(timer, Errno::Unsupported), (7_777, Errno::NotFound)] {
        let refused = probe.stream_start_tls(handle, "later.test", &wishes).await;
        assert_eq!(refused, Err(errno));
        assert_eq!(probe.stream_addrs(handle).await, Err(errno));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_name_is_found_out_when_tls_begins_later() {
    let authority = Authority::new();
    let probe = probe(&authority).await;
    let (port, _seen) = server(&authority.issue("one.test"), None).await;
    let connecting = probe.tcp_connect("127.0.0.1", port.into()).await;
    let stream = probe.poll_res(connecting.unwrap()).await.unwrap();
    let wishes = options(&[], None, None);
    let begun = probe.stream_start_tls(stream, "other.test", &wishes).await;
    assert_eq!(begun, Ok(0));
    assert_eq!(probe.stream_addrs(stream).await, Err(Errno::Condition));
    assert_eq!(probe.poll_read(stream, 1).await, Err(Errno::Io));
    assert_eq!(probe.net_failure(stream).await.unwrap().0, TLS);
    assert_eq!(probe.stream_addrs(stream).await, Err(Errno::Io));
}
