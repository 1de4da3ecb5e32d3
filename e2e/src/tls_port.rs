//! A daemon with a TLS port that apps share, and clients of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wapod::{AppConfig, Config, TlsSettings};

use crate::certificates::Identity;
use crate::{Authority, Daemon, Operator, guest, within};

/// A daemon with such a port, its operator, and the authority that it trusts.
pub struct TlsPort {
    operator: Operator,
    authority: Arc<Authority>,
    address: SocketAddr,
}

impl TlsPort {
    /// Starts one that takes certificates of its authority only.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts one after `change` has seen its configuration.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::of(Arc::new(Authority::new()), change).await
    }

    /// The same with an authority that others know, too.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    pub async fn of(authority: Arc<Authority>, change: impl FnOnce(&mut Config)) -> Self {
        let operator = Operator::with(|config| {
            config.tls = Some(TlsSettings {
                address: ([127, 0, 0, 1], 0).into(),
                verifies_certificates: true,
                certificate: None,
            });
            config.trust_roots = vec![authority.root()];
            change(config);
        })
        .await;
        let address = operator.daemon().running().tls_address();
        Self {
            address: address.expect("a TLS port"),
            operator,
            authority,
        }
    }

    /// The operator.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// The daemon.
    pub fn daemon(&self) -> &Daemon {
        self.operator.daemon()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The authority.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Shuts the daemon down, as a signal would.
    pub async fn shutdown(self) {
        self.operator.shutdown().await;
    }

    /// An app that answers with what it is told, under a name.
    pub fn echo_app(&self, name: &str) -> AppConfig {
        let mut app = guest("sdk-suite");
        app.label = name.replace('.', "-");
        app.args = vec![format!("sni={name}")];
        let Identity { cert, key } = self.authority.issue(name);
        app.env = vec![("TLS_CERT".to_owned(), cert), ("TLS_KEY".to_owned(), key)];
        app
    }

    /// Waits until the figures of the daemon have a line.
    pub async fn until_figure(&self, line: &str) {
        let seen = async {
            loop {
                let figures = self.operator.send(hyper::Method::GET, "/metrics", &[], "");
                if figures.await.text().lines().any(|one| one == line) {
                    return;
                }
            }
        };
        within(line, seen).await;
    }

    /// What clients use who trust the authority and nobody else.
    ///
    /// # Panics
    ///
    /// When the library refuses.
    pub fn client(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.root()).expect("a root");
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// Connects as a client of a name.
    ///
    /// # Errors
    ///
    /// What connection or handshake say.
    pub async fn connect(&self, name: &str) -> io::Result<TlsStream<TcpStream>> {
        self.connect_with(name, self.client()).await
    }

    /// The same with a configuration of one's own.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Panics
    ///
    /// When `name` is none.
    pub async fn connect_with(
        &self,
        name: &str,
        config: ClientConfig,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let tcp = TcpStream::connect(self.address).await?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        within("the handshake", connecting).await
    }

    /// Says something under a name, and gives what comes back.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), or the connection breaks.
    pub async fn echo(&self, name: &str, text: &str) -> io::Result<String> {
        let mut stream = self.connect(name).await?;
        let talking = async {
            stream.write_all(text.as_bytes()).await?;
            let mut back = vec![0; text.len()];
            stream.read_exact(&mut back).await?;
            stream.shutdown().await?;
            Ok(String::from_utf8_lossy(&back).into_owned())
        };
        within("what comes back", talking).await
    }

    /// Sends bytes as they are, and gives all that comes back until the end.
    ///
    /// # Panics
    ///
    /// When there is no end.
    pub async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.expect("accepted");
        let mut back = Vec::new();
        let talking = async {
            let _ = stream.write_all(bytes).await;
            let _ = stream.read_to_end(&mut back).await;
        };
        within("the end", talking).await;
        back
    }
}

/// The alert that a server has sent in place of going on.
pub fn alert(error: &io::Error) -> Option<AlertDescription> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match inner {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}
