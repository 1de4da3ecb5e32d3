//! Where signatures are made, and what a second ClientHello may be.

use std::sync::Mutex;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::{ActiveKeyExchange, SupportedKxGroup, ring};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    ClientConfig, ClientConnection, NamedGroup, RootCertStore, SignatureAlgorithm, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;
use crate::api::ForwardedBy;
use crate::edge::tickets;
use crate::limits::Timeouts;

/// Threads on which signatures were made, by their names.
type Signed = Arc<Mutex<Vec<Option<String>>>>;

/// A key that notes where it signs.
#[derive(Debug)]
struct Noting {
    key: Arc<dyn SigningKey>,
    signed: Signed,
}

#[derive(Debug)]
struct NotingSigner {
    signer: Box<dyn Signer>,
    signed: Signed,
}

impl SigningKey for Noting {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(NotingSigner {
            signer: self.key.choose_scheme(offered)?,
            signed: Arc::clone(&self.signed),
        }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

impl Signer for NotingSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let name = thread::current().name().map(str::to_owned);
        self.signed.lock().expect("not poisoned").push(name);
        self.signer.sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        self.signer.scheme()
    }
}

/// Keys that no server knows: it asks for others.
#[derive(Debug)]
struct Unheard;

impl SupportedKxGroup for Unheard {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        let inner = ring::kx_group::X25519.start()?;
        Ok(Box::new(UnheardKey(inner)))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::Unknown(0xfe00)
    }
}

struct UnheardKey(Box<dyn ActiveKeyExchange>);

impl ActiveKeyExchange for UnheardKey {
    fn complete(
        self: Box<Self>,
        peer: &[u8],
    ) -> Result<rustls::crypto::SharedSecret, rustls::Error> {
        self.0.complete(peer)
    }

    fn pub_key(&self) -> &[u8] {
        self.0.pub_key()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::Unknown(0xfe00)
    }
}

/// How a client speaks that trusts these; `retries` when its first ClientHello is not
/// enough.
fn client(
    version: &'static SupportedProtocolVersion,
    retries: bool,
    roots: RootCertStore,
) -> Arc<ClientConfig> {
    let mut provider = ring::default_provider();
    if retries {
        provider.kx_groups.insert(0, &Unheard);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// The server's side, where it signs, and whom to trust.
fn server() -> (Arc<ServerConfig>, Signed, RootCertStore) {
    let issuer_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer_certificate = params.self_signed(&issuer_key).expect("signed");
    let issuer = Issuer::new(params, issuer_key);
    let mut roots = RootCertStore::empty();
    let root = issuer_certificate.der().clone();
    roots.add(root).expect("a root");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["shop.example".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("signed");
    let der = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let signed = Signed::default();
    let key = Noting {
        key: ring::sign::any_supported_type(&der).expect("a key"),
        signed: Arc::clone(&signed),
    };
    let identity = CertifiedKey::new(vec![certificate.der().clone()], Arc::new(key));
    let tickets = ring::Ticketer::new().expect("tickets");
    let config = tickets::config(Arc::new(identity), Vec::new(), tickets);
    (config.expect("a configuration"), signed, roots)
}

async fn both_ends() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let client = TcpStream::connect(address).await.expect("connected");
    client.set_nodelay(true).expect("set");
    (client, listener.accept().await.expect("accepted").0)
}

fn clients() -> Arc<Clients> {
    Clients::of_tls(8, ForwardedBy::default(), Timeouts::default())
}

/// The server's part of one connection.
async fn serve(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    slow: Option<&Clients>,
) -> Result<TlsStream<TcpStream>, Failed> {
    let hello = read_hello(&tcp).await.expect("a hello");
    shake_hands(tcp, &hello, config, slow, |tcp| tcp).await
}

fn name() -> ServerName<'static> {
    ServerName::try_from("shop.example").expect("a name")
}

#[tokio::test]
async fn slow_signatures_are_made_apart_after_a_second_hello_as_well() {
    let clients = clients();
    for (version, retries) in [
        (&rustls::version::TLS12, false),
        (&rustls::version::TLS13, false),
        (&rustls::version::TLS13, true),
    ] {
        for slow in [Some(&*clients), None] {
            let (config, signed, roots) = server();
            let (tcp, accepted) = both_ends().await;
            let connector = TlsConnector::from(client(version, retries, roots));
            let visiting = connector.connect(name(), tcp);
            let (visitor, served) = tokio::join!(visiting, serve(accepted, config, slow));
            let (mut visitor, served) = (visitor.expect("agreed"), served.ok());
            let mut served = served.expect("agreed");
            let kind = visitor.get_ref().1.handshake_kind();
            let with_retry = kind == Some(HandshakeKind::FullWithHelloRetryRequest);
            assert_eq!(with_retry, retries, "{kind:?}");
            visitor.write_all(b"hello").await.expect("sent");
            let mut said = [0; 5];
            served.read_exact(&mut said).await.expect("heard");
            assert_eq!(&said, b"hello");
            let signed = signed.lock().expect("not poisoned");
            assert_eq!(signed.len(), 1);
            let apart = signed[0].as_deref() == Some("wapod-large");
            assert_eq!(apart, slow.is_some(), "{signed:?} {version:?} {retries}");
        }
    }
}

/// A client that has sent its first ClientHello and was asked for another, which is
/// given.
async fn second_hello(tcp: &mut TcpStream) -> Vec<u8> {
    let config = client(&rustls::version::TLS13, true, RootCertStore::empty());
    let mut session = ClientConnection::new(config, name()).expect("a client");
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).expect("written");
    tcp.write_all(&bytes).await.expect("sent");
    bytes.clear();
    while bytes.is_empty() {
        let mut answer = [0; PIECE_BYTES];
        let count = tcp.read(&mut answer).await.expect("an answer");
        assert!(count > 0, "asked for another");
        session.read_tls(&mut &answer[..count]).expect("read");
        session.process_new_packets().expect("understood");
        while session.wants_write() {
            session.write_tls(&mut bytes).expect("written");
        }
    }
    bytes
}

#[tokio::test]
async fn a_second_hello_comes_in_any_pieces_and_with_or_without_what_says_nothing() {
    let clients = clients();
    for (skipped, piece) in [(0, 1), (0, 7), (0, 4096), (6, 1), (6, 4096)] {
        let (config, signed, _) = server();
        let (mut tcp, accepted) = both_ends().await;
        let visiting = async {
            let bytes = second_hello(&mut tcp).await;
            assert_eq!(bytes[..6], CHANGE_CIPHER_SPEC);
            for piece in bytes[skipped..].chunks(piece) {
                tcp.write_all(piece).await.expect("sent");
                tokio::task::yield_now().await;
            }
            let mut answer = [0; 6];
            tcp.read_exact(&mut answer).await.expect("an answer");
            // Nothing but this is waited for.
            drop(tcp);
            answer
        };
        let (answer, served) = tokio::join!(visiting, serve(accepted, config, Some(&clients)));
        assert!(served.is_err(), "the client has left");
        // A ServerHello.
        assert_eq!((answer[0], answer[5]), (22, 2), "{skipped} {piece}");
        assert_eq!(signed.lock().expect("not poisoned").len(), 1);
    }
}

#[tokio::test]
async fn what_is_no_second_hello_gets_an_alert_and_no_signature() {
    let clients = clients();
    let twice = [CHANGE_CIPHER_SPEC, CHANGE_CIPHER_SPEC].concat();
    let cases: [(&[u8], u8); 4] = [
        (b"GET / HTTP/1.1\r\n\r\n", 10),
        (&[20, 3, 3, 0, 2, 1, 1], 10),
        (&twice, 10),
        (&[22, 3, 3, 0, 0], 50),
    ];
    for (bytes, expected) in cases {
        let (config, signed, _) = server();
        let (mut tcp, accepted) = both_ends().await;
        let visiting = async {
            second_hello(&mut tcp).await;
            tcp.write_all(bytes).await.expect("sent");
        };
        let (served, ()) = tokio::join!(serve(accepted, config, Some(&clients)), visiting);
        let failed = served.expect_err("no handshake");
        let (_, alert) = failed.alert.expect("an alert");
        assert_eq!(alert.record().last(), Some(&expected), "{bytes:?}");
        assert!(signed.lock().expect("not poisoned").is_empty());
    }
    // The first one again: its keys are not the ones that were asked for.
    let (config, signed, _) = server();
    let (mut tcp, accepted) = both_ends().await;
    let visiting = async {
        second_hello(&mut tcp).await;
        let config = client(&rustls::version::TLS13, true, RootCertStore::empty());
        let mut session = ClientConnection::new(config, name()).expect("a client");
        let mut first = Vec::new();
        session.write_tls(&mut first).expect("written");
        tcp.write_all(&first).await.expect("sent");
        let mut rest = Vec::new();
        tcp.read_to_end(&mut rest).await.expect("the end");
        rest
    };
    let serving = async {
        // Its end of the connection goes with it.
        serve(accepted, config, Some(&clients)).await.map(drop)
    };
    let (rest, served) = tokio::join!(visiting, serving);
    assert!(served.is_err());
    assert_eq!((rest[0], rest.last()), (21, Some(&47)), "{rest:?}");
    assert!(signed.lock().expect("not poisoned").is_empty());
}
