//! Names that the predecessor's repository had, and that the crate as it was
//! published does not.

use std::time::{Duration, Instant};

use wapo::channel::{HttpRequest, OneshotSender, incoming_http_requests};
use wapo::env::messages::HttpHead;
use wapo::env::tls::TlsServerConfig;
use wapo::env::{MetricsToken, OcallError};
use wapo::hyper_rt::{HyperExecutor, HyperTimer, HyperTokioIo};
use wapo::logger::{LogFuture, Logger};
use wapo::net::{SniTlsAcceptor, SniTlsListener, TcpListener, TcpStream, hyper_v0, hyper_v1};
use wapo::{ocall, time};

async fn net(config: TlsServerConfig) -> Result<(), OcallError> {
    let listener = TcpListener::bind_tls("127.0.0.1:1999", config.clone()).await?;
    let _: hyper_v0::AddrIncoming = listener.into_addr_incoming();
    let mut sni: SniTlsListener = SniTlsListener::bind("localhost", config)?;
    let accepting: SniTlsAcceptor = sni.accept();
    let (stream, _) = accepting.await?;
    let io = HyperTokioIo::new(stream);
    let _: TcpStream = io.inner();
    let uri = hyper_1::Uri::from_static("http://example.com/");
    let connecting: hyper_v1::HttpConnecting =
        hyper_1::service::Service::call(&hyper_v1::HttpConnector::new(), uri);
    let _: Result<TcpStream, OcallError> = connecting.await;
    Ok(())
}

fn hyper_runtime() {
    fn executes<E: hyper_1::rt::Executor<std::future::Ready<()>>>(_: E) {}
    fn executes_0<E: hyper::rt::Executor<std::future::Ready<()>>>(_: E) {}
    fn times<T: hyper_1::rt::Timer>(_: T) {}
    executes(HyperExecutor);
    executes_0(HyperExecutor);
    times(HyperTimer::new());
}

fn variants() -> [OcallError; 3] {
    [
        OcallError::Forbiden,
        OcallError::ConditionError,
        OcallError::DataCorruption,
    ]
}

async fn waits() -> Result<(), time::TimedOut> {
    let mut sleep = time::sleep(Duration::from_secs(1));
    sleep.reset(Instant::now());
    sleep.await;
    time::sleep_until(Instant::now()).await;
    time::breath().await;
    time::Breath::new(true).await;
    time::timeout(Duration::from_secs(1), async {}).await
}

async fn http(sender: OneshotSender) {
    let _ = sender.send_error("no");
    while let Some(HttpRequest {
        head,
        io_stream,
        response_tx,
    }) = incoming_http_requests().next().await
    {
        let _: HttpHead = head;
        drop(io_stream);
        let _: Result<(), OcallError> = response_tx.send_error("no");
    }
}

async fn logs() {
    let polled: LogFuture<_> = wapo::logger::log_polling("label", async {});
    polled.await;
    wapo::logger::init();
    Logger::new("info").init_static();
    wapo::spawn_named("name", async {});
    wapo::env::spawn_named("name", async {});
    wapo::task::spawn_named("name", async {});
}

fn calls(config: TlsServerConfig) -> Result<(), OcallError> {
    let (_, token): (u64, MetricsToken) = ocall::app_gas_consumed()?;
    let _: (u64, [u8; 32], [u8; 32]) = (token.sn, token.session, token.nonce);
    let _: i32 = ocall::tls_listen_sni("name".into(), config)?;
    let _: [u8; 32] = ocall::app_address()?;
    let _: [u8; 32] = ocall::worker_pubkey()?;
    let _: [u8; 64] = ocall::derive_secret(b"path")?;
    let _: Vec<u8> = ocall::blob_get("sha256:00")?;
    let _: Vec<u8> = ocall::sign(b"data")?;
    let _: Option<Vec<u8>> = ocall::sgx_quote(b"data")?;
    let _: Option<Vec<u8>> = ocall::read_boot_data()?;
    let _: () = ocall::write_boot_data(b"data")?;
    let _: () = ocall::tip(1)?;
    let _: () = ocall::app_try_lock("lock")?;
    let _: () = ocall::app_unlock("lock")?;
    let _: () = ocall::oneshot_send_error(1, "text")?;
    let _: () = ocall::reset_timer(1, 1)?;
    Ok(())
}
