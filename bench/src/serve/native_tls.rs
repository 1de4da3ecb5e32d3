//! What the guest `names` does under one name, natively: tokio-rustls with its
//! defaults, and an echo; also the handshake of natively served HTTPS.
//!
//! Used by `native` for the commands `tls-echo <file>` and `tls-routes <file>`; the
//! file holds certificate and key.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// As in the guest.
const FIRST_BYTES: usize = 256;
const BUFFER_BYTES: usize = 64 * 1024;

/// Reads what the server shows.
///
/// # Errors
///
/// The file cannot be read.
pub(super) fn acceptor(file: &Path) -> Result<TlsAcceptor> {
    let pem = std::fs::read(file)?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&pem)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until the process ends.
pub(super) async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((tcp, _)) = listener.accept().await {
        tokio::spawn(echo(acceptor.clone(), tcp));
    }
}

async fn echo(acceptor: TlsAcceptor, tcp: TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut stream = acceptor.accept(tcp).await?;
    let mut buffer = vec![0; FIRST_BYTES];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..count]).await?;
        stream.flush().await?;
        buffer.resize(BUFFER_BYTES, 0);
    }
}
