//! HTTPS on a port of its own with TLS inside the guest: the host moves bytes
//! that it cannot read, and never sees the key.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use self_signed::SelfSigned;
use tokio_rustls::TlsAcceptor;
use wapo::hyper::{Io, Timer};
use wapo::net::{TcpListener, TcpStream};

/// Rest after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

#[wapo::main]
async fn main() -> Result<(), Box<dyn Error>> {
    wapo::log::init();
    let addr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:1999".to_owned());
    let acceptor = acceptor()?;
    let listener = TcpListener::bind(&addr).await?;
    log::info!("listening on https://{addr}");
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of sockets, most likely. Connections that end make room.
                log::warn!("cannot accept: {error}");
                wapo::time::sleep(PAUSE).await;
                continue;
            }
        };
        let acceptor = acceptor.clone();
        wapo::spawn(async move {
            if let Err(error) = serve(acceptor, stream).await {
                log::info!("{peer}: {error}");
            }
        });
    }
}

fn acceptor() -> Result<TlsAcceptor, Box<dyn Error>> {
    let own = SelfSigned::new(&["localhost", "127.0.0.1"])?;
    let cert = CertificateDer::from(own.cert_der);
    let key = PrivatePkcs8KeyDer::from(own.key_der);
    let provider = Arc::new(rustls_rustcrypto::provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert], key.into())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let stream = acceptor.accept(stream).await?;
    let name = stream
        .get_ref()
        .1
        .server_name()
        .unwrap_or("nobody in particular")
        .to_owned();
    let service = service_fn(move |_| {
        let text = format!("Hello, you asked for {name}\n");
        async { Ok::<_, Infallible>(Response::new(text)) }
    });
    http1::Builder::new()
        .timer(Timer)
        .serve_connection(Io::new(stream), service)
        .await?;
    Ok(())
}
