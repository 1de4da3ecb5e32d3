//! HTTPS on a port of its own. The host does the TLS, hyper the HTTP.
//!
//! `/` greets; `/certQuote` gives a hardware quote over the certificate's hash,
//! so that a client knows that the key of this connection lives in an enclave.

use std::convert::Infallible;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use self_signed::SelfSigned;
use sha2::{Digest, Sha256};
use wapo::hyper::Timer;
use wapo::net::{Identity, TcpListener};

/// Rest after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

#[wapo::main]
async fn main() -> Result<(), Box<dyn Error>> {
    wapo::log::init();
    let addr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:1999".to_owned());
    let own = SelfSigned::new(&["localhost", "127.0.0.1"])?;
    let cert_hash: Rc<[u8]> = Sha256::digest(&own.cert_der).to_vec().into();
    let identity = Identity::from_pem(own.cert_pem, own.key_pem);
    let listener = TcpListener::bind_tls(&addr, identity).await?;
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
        let cert_hash = Rc::clone(&cert_hash);
        let service = service_fn(move |request| {
            let response = answer(&request, &cert_hash);
            async { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(Timer)
            .serve_connection(stream, service);
        wapo::spawn(async move {
            if let Err(error) = connection.await {
                log::info!("{peer}: {error}");
            }
        });
    }
}

fn answer(request: &Request<Incoming>, cert_hash: &[u8]) -> Response<String> {
    let (status, text) = match request.uri().path() {
        "/" => (StatusCode::OK, "Hello from inside the sandbox\n".to_owned()),
        "/certQuote" => match wapo::attest::quote(cert_hash) {
            Ok(Some(quote)) => (StatusCode::OK, hex(&quote)),
            Ok(None) => (StatusCode::NOT_FOUND, "not in an enclave\n".to_owned()),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => (StatusCode::NOT_FOUND, "not found\n".to_owned()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
