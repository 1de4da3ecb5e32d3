//! `Hello, World!` over HTTP/1.1 on a TCP port of its own, with hyper.
//!
//! The native server of the benchmark runs the same handler.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use wapo::net::TcpListener;

#[wapo::main]
async fn main() -> wapo::Result<()> {
    wapo::log::init();
    let addr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:1999".to_owned());
    let listener = TcpListener::bind(&addr).await?;
    log::info!("listening on {addr}");
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = http1::Builder::new().serve_connection(stream, service_fn(hello));
        wapo::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("a connection broke: {error}");
            }
        });
    }
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"Hello, World!")));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(SERVER, HeaderValue::from_static("bench"));
    Ok(response)
}
