//! TLS of a port: the handshake, before HTTP begins.
//!
//! A port has one certificate, from files that may change ([`FileCertificate`]).
//! Handshakes have places of their own beside those of connections, and a deadline. A
//! client that speaks plain HTTP to the port is told so. What comes after the
//! handshake goes the same way as without TLS (`transport`). Called by `connection`,
//! counted for `figures`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::ServerConfig;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::budget::{BudgetReading, Who};
use super::places::Places;
use super::transport::Tally;
use crate::limits::{
    HANDSHAKE_TIMEOUT, HANDSHAKES_CLIENT_MAX, HANDSHAKES_MAX, TLS_UNSENT_BYTES_MAX,
};
use crate::tls_files::{CertificateReading, FileCertificate};

/// Names of HTTP in ALPN (RFC 7301), the better one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Bytes that are taken from a client that speaks plain HTTP, so that it reads the answer.
const PLAIN_BYTES: usize = 4096;

/// How a port speaks TLS.
pub(crate) struct Https {
    acceptor: TlsAcceptor,
    certificate: Arc<FileCertificate>,
    handshakes: Arc<Places>,
    outcomes: [AtomicU64; OUTCOMES.len()],
}

/// How a handshake ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Done,
    /// The two sides do not agree, or the client broke it off.
    Failed,
    /// The client took too long.
    Late,
    /// The client does not speak TLS.
    Plain,
    /// It had to leave for others.
    Displaced,
}

/// All of them, in the order of the enum, with their names in figures.
const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Done, "done"),
    (Outcome::Failed, "failed"),
    (Outcome::Late, "late"),
    (Outcome::Plain, "plain"),
    (Outcome::Displaced, "displaced"),
];

/// How the handshakes of a port are doing.
pub(super) struct HttpsReading {
    pub(super) certificate: CertificateReading,
    /// Handshakes by their outcome.
    pub(super) outcomes: [(&'static str, u64); OUTCOMES.len()],
    /// Handshakes at this moment.
    pub(super) handshakes: BudgetReading,
}

impl Https {
    /// With a certificate, and tickets for resumption that no other port can read.
    ///
    /// # Errors
    ///
    /// When the library has no randomness.
    pub(crate) fn new(certificate: Arc<FileCertificate>) -> Result<Self, String> {
        let resolver: Arc<dyn ResolvesServerCert> = certificate.clone();
        let failed = |error: rustls::Error| format!("TLS cannot be set up: {error}");
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // What resumption needs is with the client: nothing is kept here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new().map_err(failed)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
            handshakes: Places::new(HANDSHAKES_MAX, HANDSHAKES_CLIENT_MAX),
            outcomes: OUTCOMES.map(|_| AtomicU64::new(0)),
        })
    }

    /// Keeps the certificate up to date with its files.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. Ends when it is dropped only.
    pub(super) async fn watch(self: Arc<Self>) {
        Arc::clone(&self.certificate).watch().await;
    }

    /// Comes to terms with a client; `None` when that fails.
    ///
    /// # Cancel safety
    ///
    /// The connection is closed when the future is dropped.
    pub(super) async fn shake(&self, tcp: TcpStream, who: Who) -> Option<Box<TlsStream<Tally>>> {
        let place = self.handshakes.take(who).await;
        let (outcome, stream) = match &place {
            // It has too many of them, and all are worked on.
            None => (Outcome::Displaced, None),
            Some(place) => tokio::select! {
                shaken = timeout(HANDSHAKE_TIMEOUT, self.accept(tcp)) => match shaken {
                    Ok(Ok(stream)) => (Outcome::Done, Some(stream)),
                    Ok(Err(outcome)) => (outcome, None),
                    Err(_) => (Outcome::Late, None),
                },
                () = place.activity().displaced() => (Outcome::Displaced, None),
            },
        };
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        stream
    }

    async fn accept(&self, mut tcp: TcpStream) -> Result<Box<TlsStream<Tally>>, Outcome> {
        // Taken and put back: where sockets are emulated, a look at bytes that stay makes
        // the events of the next ones late.
        let first = tcp.read_u8().await.map_err(|_| Outcome::Failed)?;
        // TLS begins with another byte than all methods of HTTP.
        if first.is_ascii_uppercase() {
            tell_plain(tcp).await;
            return Err(Outcome::Plain);
        }
        let accepting = self
            .acceptor
            .accept_with(Tally::after(first, tcp), |session| {
                session.set_buffer_limit(Some(TLS_UNSENT_BYTES_MAX));
            });
        let accepted = accepting.await.map(Box::new);
        accepted.map_err(|error| {
            tracing::debug!(%error, "a handshake of TLS failed");
            Outcome::Failed
        })
    }

    pub(super) fn reading(&self) -> HttpsReading {
        HttpsReading {
            certificate: self.certificate.reading(),
            outcomes: OUTCOMES.map(|(outcome, name)| {
                let count = &self.outcomes[outcome as usize];
                (name, count.load(Ordering::Relaxed))
            }),
            handshakes: self.handshakes.reading(),
        }
    }
}

/// Says that only HTTPS is spoken here. A client that does not take it is left.
async fn tell_plain(mut tcp: TcpStream) {
    const TEXT: &str = "this port speaks HTTPS: use https:// in place of http://\n";
    // What is left unread would make the kernel take the answer back.
    let _ = tcp.try_read(&mut [0; PLAIN_BYTES]);
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
         content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\r\n{TEXT}",
        TEXT.len()
    );
    let _ = tcp.write_all(answer.as_bytes()).await;
    let _ = tcp.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_under_their_own_names() {
        for (index, (outcome, _)) in OUTCOMES.into_iter().enumerate() {
            assert_eq!(outcome as usize, index, "{outcome:?}");
        }
    }
}
