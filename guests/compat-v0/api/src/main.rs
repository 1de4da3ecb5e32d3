//! Every public name of Wapo 0.x, used as its documentation shows it.
//!
//! Compiled twice: against the crate as it was published, and against ours
//! (`../api-ours`), from this very file. Names that the predecessor's
//! repository had and the published crate does not are in `later`; the feature
//! of that name is on for ours only. Next to nothing here runs: that it
//! compiles and links is the test.

#![cfg_attr(not(test), no_main)]
#![allow(
    deprecated,
    dead_code,
    unused_imports,
    reason = "names are used, not run"
)]

#[cfg(feature = "later")]
mod later;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::server::accept::Accept;
use hyper::service::Service;
use parity_scale_codec::{Decode, Encode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wapo::channel::{
    HttpRequest, Next, OneshotSender, Query, Receiver, ScaleOneshotSender, incoming_queries,
};
use wapo::env::messages::{
    self, AccountId, H256, HttpHead, HttpResponseHead, QueryError, QueryRequest, QueryResponse,
};
use wapo::env::tls::{TlsClientConfig, TlsServerConfig};
use wapo::env::{InputChannel, IntPtr, IntRet, OcallError, RetEncode};
use wapo::net::{
    Acceptor, AddrIncoming, AddrStream, HttpConnector, TcpConnector, TcpListener, TcpStream,
};
use wapo::task::{Canceled, JoinHandle};
use wapo::time::{Sleep, TimedOut};
use wapo::{ResourceId, ocall};

/// The attribute is found at both of its paths.
mod attribute {
    pub use wapo::env::main as from_env;
    pub use wapo::main as from_root;
}

#[wapo::main]
async fn main() {
    let _: fn(log::LevelFilter) -> wapo::logger::Logger = wapo::logger::Logger::with_max_level;
    let _ = ocall::log(log::Level::Info, "every name is there");
}

async fn net() -> Result<(), OcallError> {
    let listener: TcpListener = TcpListener::bind("127.0.0.1:1999").await?;
    let accepting: Acceptor<'_> = listener.accept();
    let (mut stream, peer): (TcpStream, SocketAddr) = accepting.await?;
    log::info!("{peer}");
    is_io(&stream);
    let mut buffer = [0; 16];
    let _: std::io::Result<usize> = stream.read(&mut buffer).await;
    let _: std::io::Result<()> = stream.write_all(&buffer).await;
    let connector: TcpConnector = TcpStream::connect("example.com", 443, true);
    let _: TcpStream = connector.await?;
    let taken: TcpStream = TcpStream::new(ResourceId(3));
    drop(taken);
    let addresses: AddrIncoming = listener.into_addr_incoming();
    accepts(addresses);
    let mut http = HttpConnector::new();
    let connecting: TcpConnector = http.call(hyper::Uri::from_static("http://example.com/"));
    let _: Result<TcpStream, OcallError> = connecting.await;
    match TcpListener::bind("nowhere").await {
        Err(OcallError::InvalidParameter) | Err(OcallError::NotFound) => {}
        Err(OcallError::IoError) => return Err(OcallError::EndOfFile),
        _ => {}
    }
    Ok(())
}

fn is_io(_: &(impl AsyncRead + AsyncWrite)) {}

fn accepts(_: impl Accept<Conn = AddrStream>) {}

async fn time() -> Result<(), TimedOut> {
    let sleep: Sleep = wapo::time::sleep(Duration::from_secs(1));
    sleep.await;
    wapo::time::timeout(Duration::from_secs(1), async {}).await
}

async fn channels() {
    let queries: &'static Receiver<Query> = incoming_queries();
    let next: Next<'_, Query> = queries.next();
    if let Some(query) = next.await {
        let _: Option<[u8; 32]> = query.origin;
        let payload: Vec<u8> = query.payload;
        let sender: OneshotSender = query.reply_tx;
        let _: Result<(), OcallError> = sender.send(&payload);
    }
}

fn exchange(request: HttpRequest, sender: OneshotSender) {
    let head: HttpHead = request.head;
    let _: (&String, &String) = (&head.method, &head.url);
    let _: Option<&str> = head.get_header("Host");
    let stream: TcpStream = request.io_stream;
    drop(stream);
    let answer: ScaleOneshotSender<HttpResponseHead> = request.response_tx;
    let _: Result<(), OcallError> = answer.send(HttpResponseHead {
        status: 200,
        headers: vec![("a".into(), "b".into())],
    });
    let typed: ScaleOneshotSender<u32> = sender.into();
    let _: Result<(), OcallError> = typed.send(5);
}

async fn tasks() {
    let handle: JoinHandle<u8> = wapo::spawn(async { 1 });
    let _: Result<u8, Canceled> = handle.await;
    let _: JoinHandle<()> = wapo::env::spawn(async {});
    let _: JoinHandle<()> = wapo::env::tasks::spawn(async {});
    let _: JoinHandle<()> = wapo::task::spawn(async {});
    let _: fn(std::task::Waker) -> i32 = wapo::task::intern_waker;
    let _: fn() -> i32 = wapo::task::wapo_poll;
    let _: fn() -> i32 = wapo::env::tasks::wapo_poll;
}

fn calls() -> Result<(), OcallError> {
    let mut buffer = [0; 16];
    let _: u32 = ocall::poll_read(0, 1, &mut buffer)?;
    let _: u32 = ocall::poll_write(0, 1, &buffer)?;
    let _: Vec<i32> = ocall::awake_wakers()?;
    let _: () = ocall::log(log::Level::Info, "text")?;
    let _: Vec<u8> = ocall::poll(0, 1)?;
    let _: i32 = ocall::poll_res(0, 1)?;
    let _: () = ocall::poll_shutdown(0, 1)?;
    let _: i32 = ocall::tcp_listen(Cow::Borrowed("127.0.0.1:1"), None)?;
    let _: (i32, String) = ocall::tcp_accept(0, 1)?;
    let _: i32 = ocall::tcp_accept_no_addr(0, 1)?;
    let _: i32 = ocall::tcp_connect("host", 443)?;
    let _: i32 = ocall::tcp_connect_tls("host".into(), 443, TlsClientConfig::V0)?;
    let _: i32 = ocall::create_input_channel(InputChannel::Query)?;
    let _: () = ocall::emit_program_output(b"x")?;
    let _: () = ocall::oneshot_send(1, b"x")?;
    let _: i32 = ocall::create_timer(1)?;
    let _: () = ocall::mark_task_ready(1)?;
    let _: i32 = ocall::next_ready_task()?;
    let _: () = ocall::enable_ocall_trace(true)?;
    let _: () = ocall::getrandom(&mut buffer)?;
    let _: () = ocall::close(1)?;
    let _: u32 = wapo::env::ocall_funcs_guest::poll_read(0, 1, &mut buffer)?;
    Ok(())
}

fn errors(error: OcallError, bytes: &[u8]) {
    let _: u8 = OcallError::IoError.into();
    let _: Option<OcallError> = OcallError::try_from(17u8).ok();
    let _: Vec<u8> = error.encode();
    let _: Option<OcallError> = OcallError::decode(&mut &bytes[..]).ok();
    let _ = (
        OcallError::Reserved19,
        OcallError::Reserved255,
        OcallError::Ok,
    );
    let _: QueryError = QueryError::OcallError(OcallError::NotFound);
    let _: QueryError = OcallError::NotFound.into();
    let _: wapo::env::Result<u8> = Err(OcallError::AlreadyExists);
    let _: IntRet = Ok::<i32, OcallError>(5).encode_ret();
    let _: IntPtr = ResourceId(5).0;
    let _ = ResourceId::from(5);
    let _ = TlsServerConfig::V0 {
        cert: String::new(),
        key: String::new(),
    };
    let _ = [InputChannel::Query as i32, InputChannel::HttpRequest as i32];
}

fn messages(
    query: QueryRequest,
    response: QueryResponse,
    _: AccountId,
    _: H256,
    request: messages::HttpRequest,
) {
    let _: (Option<AccountId>, Vec<u8>, i32) = (query.origin, query.payload, query.reply_tx);
    let _: (i32, i32) = (request.response_tx, request.io_stream);
    if let QueryResponse::SimpleOutput(output) = response {
        let _: Vec<u8> = output;
    }
}
