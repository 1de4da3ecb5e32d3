//! Programs for Wapo 0.x compile: every public name, used as it was used.
//!
//! Nothing here runs; there is no host.

#![allow(deprecated, dead_code, reason = "old names, only compiled")]
#![cfg(feature = "hyper")]

use std::borrow::Cow;
use std::time::{Duration, Instant};

use wapo::channel::{
    HttpRequest, OneshotSender, Query, Receiver, ScaleOneshotSender, incoming_http_requests,
    incoming_queries,
};
use wapo::env::messages::{AccountId, H256, HttpHead, HttpResponseHead, QueryError};
use wapo::env::tls::{TlsClientConfig, TlsServerConfig};
use wapo::env::{InputChannel, MetricsToken, OcallError};
use wapo::hyper_rt::{HyperExecutor, HyperTimer, HyperTokioIo};
use wapo::net::hyper_v1::{HttpConnecting, HttpConnector};
use wapo::net::{SniTlsListener, TcpConnector, TcpListener, TcpStream};
use wapo::{ResourceId, ocall};

async fn net() -> Result<(), OcallError> {
    let config = TlsServerConfig::V0 {
        cert: String::new(),
        key: String::new(),
    };
    let listener = TcpListener::bind("127.0.0.1:1999").await?;
    let _ = TcpListener::bind_tls("127.0.0.1:1999", config.clone()).await?;
    let (stream, peer): (TcpStream, std::net::SocketAddr) = listener.accept().await?;
    log::info!("{peer}");
    let _io = HyperTokioIo::new(stream);
    let connector: TcpConnector = TcpStream::connect("example.com", 443, true);
    let _: TcpStream = connector.await?;
    let _ = TcpStream::new(ResourceId::from(3));
    let mut sni = SniTlsListener::bind("localhost", config)?;
    let _ = sni.accept().await?;
    match TcpListener::bind("nowhere").await {
        Err(OcallError::InvalidParameter | OcallError::Forbiden) => {}
        Err(OcallError::IoError) => return Err(OcallError::EndOfFile),
        _ => {}
    }
    Ok(())
}

async fn time() -> Result<(), wapo::time::TimedOut> {
    let mut sleep: wapo::time::Sleep = wapo::time::sleep(Duration::from_secs(1));
    sleep.reset(Instant::now());
    sleep.await;
    wapo::time::sleep_until(Instant::now()).await;
    wapo::time::breath().await;
    wapo::time::Breath::new(true).await;
    wapo::time::timeout(Duration::from_secs(1), async {}).await
}

async fn channels() {
    let queries: &'static Receiver<Query> = incoming_queries();
    while let Some(Query {
        origin,
        path,
        payload,
        reply_tx,
    }) = queries.next().await
    {
        let _: Option<[u8; 32]> = origin;
        let sender: OneshotSender = reply_tx;
        let _ = match path.as_str() {
            "/fail" => sender.send_error("no"),
            _ => sender.send(&payload),
        };
    }
    while let Some(request) = incoming_http_requests().next().await {
        let HttpRequest {
            head,
            io_stream,
            response_tx,
        } = request;
        let _: Option<&str> = head.get_header("Host").map(AsRef::as_ref);
        let sender: ScaleOneshotSender<HttpResponseHead> = response_tx;
        let _ = sender.send(HttpResponseHead {
            status: 200,
            headers: vec![],
        });
        drop(io_stream);
    }
}

async fn tasks() {
    let handle: wapo::task::JoinHandle<u8> = wapo::spawn(async { 1 });
    let _: Result<u8, wapo::task::Canceled> = handle.await;
    wapo::spawn_named("name", async {});
    let waker = std::task::Waker::noop().clone();
    let _: i32 = wapo::task::intern_waker(waker);
    wapo::logger::log_polling("label", async {}).await;
    wapo::logger::init();
    wapo::logger::Logger::new("info").init_static();
}

fn calls() -> Result<(), OcallError> {
    let mut buffer = [0; 16];
    let _ = ocall::poll_read(0, 1, &mut buffer)?;
    let _ = ocall::tcp_listen(Cow::Borrowed("127.0.0.1:1"), None)?;
    let _ = ocall::tcp_connect_tls("host".into(), 443, TlsClientConfig::V0)?;
    let _ = ocall::create_input_channel(InputChannel::Query)?;
    let (_gas, token): (u64, MetricsToken) = ocall::app_gas_consumed()?;
    let _: u64 = token.sn;
    ocall::getrandom(&mut buffer)?;
    let _: Option<Vec<u8>> = ocall::sgx_quote(&buffer)?;
    let _: [u8; 64] = ocall::derive_secret(b"path")?;
    ocall::app_try_lock("lock")?;
    ocall::app_unlock("lock")
}

fn types(_: HttpHead, _: QueryError, _: AccountId, _: H256, _: HttpConnecting) {
    let _ = (HyperExecutor, HyperTimer, HttpConnector::new());
}

#[test]
fn old_names_compile() {
    assert_eq!(calls(), Err(OcallError::UnknownCallNumber));
}
