//! The gateway from outside: host names, headers, streams, limits, hostile
//! clients.
//!
//! Here is what its tests share: a client that sends bytes as they are, and one
//! that speaks HTTP/2.

mod answers;
mod frames;
mod framing;
mod hosts;
mod http2;
mod https;
mod instances;
mod limits;
mod resting;
mod smuggling;
mod streams;
mod tls_port;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use e2e::{App, Daemon, Operator, Probe, guest, within};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parity_scale_codec::Decode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use wapo_rpc::AppAddress;

/// A connection that says exactly what it is told to.
pub(super) struct Raw {
    pub(super) stream: TcpStream,
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct RawAnswer {
    pub(super) status: u16,
    /// Status line and headers, in lower case.
    head: String,
    body: Vec<u8>,
}

impl RawAnswer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        (own == name).then(|| value.trim())
    })
}

impl Raw {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Asks for a path.
    pub(super) async fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n"))
            .await;
    }

    /// Announces a body of so many bytes to a path.
    pub(super) async fn post(&mut self, path: &str, length: usize) {
        let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n");
        self.send(head).await;
    }

    /// Sends as much as the other side takes, which may have closed already.
    pub(super) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Reads one head, in lower case.
    pub(super) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        let reading = async {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.stream.read_u8().await.unwrap());
            }
        };
        within("a head", reading).await;
        String::from_utf8_lossy(&head).to_ascii_lowercase()
    }

    /// Reads an answer to its end, by length or by chunks.
    pub(super) async fn answer(&mut self) -> RawAnswer {
        let head = self.head().await;
        let status = head[9..12].parse().unwrap();
        let body = match header(&head, "content-length") {
            Some(length) => self.exactly(length.parse().unwrap()).await,
            None if head.contains("transfer-encoding: chunked") => self.chunks().await,
            None => Vec::new(),
        };
        RawAnswer { status, head, body }
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length];
        let read = within("a body", self.stream.read_exact(&mut body)).await;
        read.unwrap();
        body
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await;
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            body.extend(self.exactly(length).await);
            // What follows the last chunk is an empty line without trailers.
            assert_eq!(self.line().await, "\r\n");
            if length == 0 {
                return body;
            }
        }
    }

    pub(super) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let reading = async {
            while !line.ends_with(b"\r\n") {
                line.push(self.stream.read_u8().await.unwrap());
            }
        };
        within("a line", reading).await;
        String::from_utf8(line).unwrap()
    }

    /// Reads until the other side closes; false when it did so with a reset.
    pub(super) async fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut rest = Vec::new();
        let read = within("the end", self.stream.read_to_end(&mut rest)).await;
        (rest, read.is_ok())
    }
}

/// Sends one request and reads the answer, on a connection of its own.
pub(super) async fn raw(address: SocketAddr, request: impl AsRef<[u8]>) -> RawAnswer {
    let mut raw = Raw::connect(address).await;
    raw.send(request).await;
    raw.answer().await
}

/// Fetches a path of a host, with more header lines.
async fn get_of(address: SocketAddr, host: &str, path: &str, headers: &str) -> RawAnswer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n");
    raw(address, request).await
}

/// The guest of most tests.
async fn suite() -> App {
    Daemon::start().await.deploy(guest("sdk-suite")).await
}

/// Path of an app on the gateway.
fn path(app: &App, path: &str) -> String {
    format!("/app/{}{path}", app.handle().address())
}

/// Waits until no request is in work any more.
async fn all_over(app: &App) {
    within("the end of the requests", async {
        while app.handle().requests() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Sends a request that is never answered.
async fn hang(operator: &Operator, app: AppAddress) -> Raw {
    let mut raw = Raw::connect(operator.gateway()).await;
    raw.get(&format!("/app/{app}/never")).await;
    raw
}

/// A connection that speaks HTTP/2.
struct Http2 {
    sender: SendRequest<Empty<Bytes>>,
    /// Ends when the connection does.
    connection: JoinHandle<hyper::Result<()>>,
}

impl Http2 {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let connecting = handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = within("the handshake", connecting).await.unwrap();
        let connection = tokio::spawn(connection);
        Self { sender, connection }
    }

    /// Asks for a URL and waits for the head of the answer.
    async fn get(&mut self, url: &str) -> Response<Incoming> {
        let request = Request::get(url).body(Empty::new()).unwrap();
        let asking = self.sender.send_request(request);
        within("a head", asking).await.unwrap()
    }
}

/// A request as a probe got it.
struct ReceivedRequest {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    /// Handle for the answer's head.
    reply: u32,
    /// Handle of the bodies.
    stream: u32,
}

impl ReceivedRequest {
    async fn next(probe: &Probe, channel: u32) -> Self {
        let message = within("a request", probe.poll(channel)).await.unwrap();
        let decoded = <(String, String, Vec<(String, String)>, u32, u32)>::decode(&mut &*message);
        let (method, url, headers, reply, stream) = decoded.unwrap();
        Self {
            method,
            url,
            headers,
            reply,
            stream,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A head as guests send it.
fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    parity_scale_codec::Encode::encode(&(status, headers))
}

/// The same with values that are no text.
fn head_of_bytes(status: u16, headers: &[(&str, &[u8])]) -> Vec<u8> {
    parity_scale_codec::Encode::encode(&(status, headers))
}
