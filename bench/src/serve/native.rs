//! What the guests `hello` and `echo` do, natively: hyper 1 and tokio with its
//! defaults, the same handler, headers and body.
//!
//! Commands: `hello` and `echo`, each answered with an address.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Result, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

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
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    match command {
        "hello" => tokio::spawn(serve_http(listener)),
        "echo" => tokio::spawn(serve_echo(listener)),
        _ => bail!("unknown command"),
    };
    Ok(vec![address])
}

async fn serve_http(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(hello));
        tokio::spawn(connection);
    }
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"Hello, World!")));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(SERVER, HeaderValue::from_static("bench"));
    Ok(response)
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
