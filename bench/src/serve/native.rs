//! What the guests `hello`, `echo`, `udp` and `gateway` do, natively: hyper 1 and tokio
//! with its defaults, the same handler, headers and body.
//!
//! Commands: `hello`, `echo`, `udp`, `routes`, `handed`, and with TLS `tls-echo <file>`
//! and `tls-routes <file>` (see `native_tls`), each answered with an address. `hello` has
//! no limits of time, as the guest with a port of its own has none. What stands beside
//! the gateway (`routes`, `handed`, `tls-routes`) has the gateway's: for a request, its
//! body and its answer. hyper has none for a client that does not read.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use wapod::limits::Timeouts;

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
        "handed" => tokio::spawn(serve_handed(listener)),
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

pub(crate) async fn serve_http(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(hello));
        tokio::spawn(connection);
    }
}

async fn serve_routes(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_requests(stream, answer));
    }
}

async fn serve_routes_with_tls(listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((tcp, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let stream = acceptor.accept(tcp).await?;
            let served = serve_requests(stream, answer).await;
            served.map_err(std::io::Error::other)
        });
    }
}

/// Requests on their way to the task at a time: more than the client has connections.
const HANDED_MAX: usize = 64;

/// A request on its way to the task that answers it, and the way back.
type Handed = (Request<Incoming>, oneshot::Sender<Result<Answer>>);

/// Answers all requests in one task, as one instance does.
async fn serve_handed(listener: TcpListener) {
    let (hand_over, mut handed) = mpsc::channel::<Handed>(HANDED_MAX);
    tokio::spawn(async move {
        while let Some((request, reply)) = handed.recv().await {
            // A connection that is gone takes none.
            let _ = reply.send(answer(request).await);
        }
    });
    while let Ok((stream, _)) = listener.accept().await {
        let hand_over = hand_over.clone();
        tokio::spawn(serve_requests(stream, move |request| {
            let (reply, answer) = oneshot::channel();
            let hand_over = hand_over.clone();
            async move {
                let sent = hand_over.send((request, reply)).await;
                sent.ok().context("the task is gone")?;
                answer.await?
            }
        }));
    }
}

/// Serves a connection with the gateway's limits of time.
async fn serve_requests<S, F>(
    stream: S,
    answer: impl Fn(Request<Incoming>) -> F,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<Answer>>,
{
    let timeouts = Timeouts::default();
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.idle.max(timeouts.head))
        .half_close(true)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(|request| {
                let answering = timeout(timeouts.response, answer(request));
                async move { answering.await? }
            }),
        )
        .await
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
async fn answer(request: Request<Incoming>) -> Result<Answer> {
    let timeouts = Timeouts::default();
    let body = match request.uri().path() {
        "/upload" => {
            let mut body = request.into_body();
            let mut bytes = 0;
            while let Some(frame) = timeout(timeouts.body_window, body.frame()).await? {
                bytes += frame?.data_ref().map_or(0, Bytes::len);
            }
            whole(Bytes::from(bytes.to_string()))
        }
        "/echo" => {
            let collecting = request.into_body().collect();
            whole(timeout(timeouts.body, collecting).await??.to_bytes())
        }
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
