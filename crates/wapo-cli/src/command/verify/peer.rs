//! The certificate of a server: asked for over TLS, with the proof that the server has its
//! key. Whether the certificate is a good one is decided by what it carries, not here.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

/// How long all of it may take once the name is resolved, whatever the server sends
/// meanwhile.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The certificate of a server, in DER.
///
/// # Errors
///
/// There is no such server, or it does not prove to have the certificate's key.
pub(super) fn certificate(server: &str, name: Option<&str>) -> Result<Vec<u8>> {
    within(server, name, TIMEOUT)
}

fn within(server: &str, name: Option<&str>, timeout: Duration) -> Result<Vec<u8>> {
    let (host, _) = server.rsplit_once(':').context("HOST:PORT is needed")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = name.unwrap_or(host);
    let name = ServerName::try_from(host.to_owned());
    let name = name.with_context(|| format!("{host} is no name of a server"))?;
    let address = server
        .to_socket_addrs()
        .with_context(|| format!("cannot resolve {server}"))?;
    let until = Until(Instant::now() + timeout);
    let connect = |address| TcpStream::connect_timeout(&address, until.left().ok()?).ok();
    let Some(socket) = address.into_iter().find_map(connect) else {
        bail!("nothing answers at {server}");
    };
    let mut socket = Timed { socket, until };
    // A server is not told an address as its name, and a port of many apps needs a name.
    let hint = match name {
        ServerName::IpAddress(_) => "; does it need --server-name?",
        _ => "",
    };
    let mut connection = ClientConnection::new(config()?, name)?;
    while connection.is_handshaking() {
        connection
            .complete_io(&mut socket)
            .with_context(|| format!("the handshake with {server} failed{hint}"))?;
    }
    connection.send_close_notify();
    // The certificate is here; whether the server hears of the end does not matter.
    let _ = connection
        .write_tls(&mut socket)
        .and_then(|_| socket.flush());
    let certificates = connection.peer_certificates().unwrap_or_default();
    let first = certificates
        .first()
        .context("the server showed no certificate")?;
    Ok(first.to_vec())
}

/// A deadline.
#[derive(Clone, Copy)]
struct Until(Instant);

impl Until {
    /// What is left of the time.
    fn left(self) -> io::Result<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let late = "the server does not come to an end in time";
            return Err(io::Error::new(io::ErrorKind::TimedOut, late));
        }
        Ok(left)
    }
}

/// A socket that is of no use after some moment: a server that sends a byte now and then
/// must not keep us.
struct Timed {
    socket: TcpStream,
    until: Until,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.until.left()?))?;
        self.socket.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.until.left()?))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn config() -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(ByEvidence(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes any certificate whose key the server proves to have: the evidence in it is
/// verified afterwards, and nothing is sent before that.
#[derive(Debug)]
struct ByEvidence(Arc<CryptoProvider>);

impl ServerCertVerifier for ByEvidence {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_server_that_sends_a_byte_now_and_then_does_not_keep_the_command() {
        const TIMEOUT: Duration = Duration::from_millis(400);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let server = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            let pause = Some(TIMEOUT / 20);
            client.set_read_timeout(pause).expect("a socket");
            // The head of a record of TLS, and its content, until the client leaves.
            let bytes = [22, 3, 3, 64, 0].into_iter().chain(std::iter::repeat(0));
            for byte in bytes.take(1000) {
                let sent = client.write_all(&[byte]);
                // Waits, as the client says nothing any more.
                let heard = client.read(&mut [0; 1024]);
                if sent.is_err() || heard.is_ok_and(|length| length == 0) {
                    return;
                }
            }
        });
        let begun = Instant::now();
        let error = within(&address, Some("localhost"), TIMEOUT).expect_err("no handshake");
        assert!(begun.elapsed() < 10 * TIMEOUT, "{:?}", begun.elapsed());
        let said = format!("{error:#}");
        assert!(said.contains("the handshake with"), "{said}");
        server.join().expect("the client has left");
    }
}
