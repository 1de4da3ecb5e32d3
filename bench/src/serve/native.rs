//! What the guests `hello`, `echo`, `udp` and `gateway` do, natively: hyper 1 and tokio
//! with its defaults, the same handler, headers and body.
//!
//! Commands: `hello`, `echo`, `udp`, `routes`, and with TLS `tls-echo <file>` and
//! `tls-routes <file>` (see `native_tls`), each answered with an address.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Result, bail};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;

use super::native_tls;

/// Bytes of a piece of a download, as in the guest.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces of a download: 10 MiB in all.
const PIECES: usize = 160;

/// Threads of the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// tokio's default.
    PerCore,
    /// As many as an instance of a guest has.
    One,
}

/// Serves until standard input ends, with a thread per core or with one.
pub(super) fn run(threads: Threads) -> Result<()> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if threads == Threads::One {
        builder.worker_threads(1);
    }
    let runtime = builder.enable_all().build()?;
    runtime.block_on(async {
        let mut commands = super::commands();
        while let Some(command) = commands.next_line().await? {
            super::answer(start(&command).await);
        }
        Ok(())
    })
}

async fn start(command: &str) -> Result<Vec<SocketAddr>> {
    if command == "udp" {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        tokio::spawn(serve_datagrams(socket));
        return Ok(vec![address]);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    match command {
        "hello" => tokio::spawn(serve_http(listener)),
        "echo" => tokio::spawn(serve_echo(listener)),
        "routes" => tokio::spawn(serve_routes(listener)),
        _ => match command.split_once(' ') {
            Some(("tls-echo", file)) => {
                let acceptor = native_tls::acceptor(file.as_ref())?;
                tokio::spawn(native_tls::serve(listener, acceptor))
            }
            Some(("tls-routes", file)) => {
                let acceptor = native_tls::acceptor(file.as_ref())?;
                tokio::spawn(serve_routes_with_tls(listener, acceptor))
            }
            _ => bail!("unknown command"),
        },
    };
    Ok(vec![address])
}

async fn serve_datagrams(socket: UdpSocket) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok((count, peer)) = socket.recv_from(&mut buffer).await {
        // What the kernel has no room for is lost, as on a network.
        let _ = socket.send_to(&buffer[..count], peer).await;
    }
}

async fn serve_http(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(hello));
        tokio::spawn(connection);
    }
}

async fn serve_routes(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(connection);
    }
}

async fn serve_routes_with_tls(listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((tcp, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let stream = acceptor.accept(tcp).await?;
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            connection.await.map_err(std::io::Error::other)
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

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The routes of the guest `gateway`, and `/echo` for what a query does.
async fn answer(request: Request<Incoming>) -> hyper::Result<Answer> {
    let body = match request.uri().path() {
        "/upload" => {
            let mut body = request.into_body();
            let mut bytes = 0;
            while let Some(frame) = body.frame().await {
                bytes += frame?.data_ref().map_or(0, Bytes::len);
            }
            whole(Bytes::from(bytes.to_string()))
        }
        "/echo" => whole(request.into_body().collect().await?.to_bytes()),
        "/download" => {
            let piece = Bytes::from_static(&[7; PIECE_BYTES]);
            let pieces = (0..PIECES).map(move |_| Ok(Frame::data(piece.clone())));
            StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync()
        }
        _ => whole(Bytes::from_static(b"Hello, World!")),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(SERVER, HeaderValue::from_static("bench"));
    Ok(response)
}

fn whole(content: Bytes) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::new(content).boxed_unsync()
}

async fn serve_echo(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
