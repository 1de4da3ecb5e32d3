//! HTTPS under a server name, on the TLS port that all apps of the worker share.
//!
//! The first argument is the name. Clients that ask for it come here, whichever other
//! app is behind the port. The host does the TLS, hyper the HTTP. The certificate
//! signs itself; apps that browsers are to trust bring one, and its key, along.

use std::convert::Infallible;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use self_signed::SelfSigned;
use wapo::hyper::Timer;
use wapo::net::{Identity, SniTlsListener};

/// Rest after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

#[wapo::main]
async fn main() -> Result<(), Box<dyn Error>> {
    wapo::log::init();
    let name: Rc<str> = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "localhost".to_owned())
        .into();
    let own = SelfSigned::new(&[&name])?;
    let identity = Identity::from_pem(own.cert_pem, own.key_pem);
    let mut listener = SniTlsListener::bind(&name, identity)
        .map_err(|error| format!("cannot serve {name}: {error}"))?;
    log::info!("serving https://{name}/ on the worker's TLS port");
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of handles, most likely. Connections that end make room.
                log::warn!("cannot accept: {error}");
                wapo::time::sleep(PAUSE).await;
                continue;
            }
        };
        let name = Rc::clone(&name);
        let service = service_fn(move |_: Request<Incoming>| {
            let text = format!("Hello from {name}, {peer}\n");
            async { Ok::<_, Infallible>(Response::new(text)) }
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
