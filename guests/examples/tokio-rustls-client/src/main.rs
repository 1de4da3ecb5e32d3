//! TLS inside the guest over a plain connection: the host sees where it goes
//! and nothing else.
//!
//! Arguments: host and port, by default `example.com` and 443. Sends a small
//! HTTP request, logs the answer, hands it out as output, and ends.

use std::error::Error;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

/// Longest answer that is read.
const ANSWER_MAX: u64 = 1 << 20;

#[wapo::main]
async fn main() -> Result<(), Box<dyn Error>> {
    wapo::log::init();
    let mut arguments = std::env::args().skip(1);
    let host = arguments.next().unwrap_or_else(|| "example.com".to_owned());
    let port = arguments.next().map_or(Ok(443), |word| word.parse())?;

    let stream = wapo::net::connect(&host, port).await?;
    let name = ServerName::try_from(host.clone())?;
    let mut stream = connector()?.connect(name, stream).await?;
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    log::info!("{}", String::from_utf8_lossy(&answer));
    wapo::app::output(&answer)?;
    Ok(())
}

fn connector() -> Result<TlsConnector, Box<dyn Error>> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(rustls_rustcrypto::provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
