//! Everything the host asks of its embedder.
//!
//! The host knows no keys, no files and no configuration. What a guest may ask
//! beyond its own sandbox goes through one [`Embedder`], made per app by the
//! daemon. Methods without a future are called while the guest runs: they must
//! answer at once and never block. Methods with a future suspend the instance.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use wapo_abi::Errno;
use wapo_abi::message::{LogLevel, MetricsToken};

use crate::host_memory::MemoryCharge;
use crate::line::LineText;
use crate::net::read_ahead::ReadAhead;

/// A future that suspends the instance until it is ready.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Identifies an instance within the process; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct InstanceId(pub u64);

/// Where a log line comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LogSource {
    /// The guest's own log call.
    Guest,
    /// A line the guest wrote to standard output.
    Stdout,
    /// A line the guest wrote to standard error.
    Stderr,
    /// The host, about the life of the instance.
    Lifecycle,
}

/// One line of an app's log: bounded and free of control characters.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// When it was made.
    pub time: SystemTime,
    /// Instance that the line is about.
    pub instance: InstanceId,
    /// Who wrote it.
    pub source: LogSource,
    /// Severity.
    pub level: LogLevel,
    /// Text of at most [`crate::limits::LOG_LINE_BYTES_MAX`] bytes.
    pub text: LineText,
}

/// What an embedder hands over of a connection.
pub enum AcceptedIo {
    /// TLS whose handshake the embedder has made. The host goes on with it as with
    /// TLS of its own: what is buffered is sent, also after the guest has closed.
    Tls(Box<tokio_rustls::server::TlsStream<ReadAhead>>),
    /// A connection whose TLS is the guest's own business.
    Raw {
        /// What was read of it already; the guest reads it first.
        first: Vec<u8>,
        /// The rest.
        tcp: TcpStream,
    },
}

/// A connection handed over.
pub struct Accepted {
    /// Its bytes.
    pub io: AcceptedIo,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// The name that the client has asked for.
    pub server_name: Arc<str>,
    /// Dropped with the connection: the embedder counts by it.
    pub guard: Box<dyn Send>,
}

/// Yields connections for one server name on the shared TLS port.
pub trait SniListener: Send {
    /// The next connection; if it is TLS of the host, its handshake is done.
    ///
    /// # Errors
    ///
    /// [`Errno::END_OF_FILE`] when the listener is gone for good.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted, Errno>>;
}

/// What TLS is spoken with under a name.
pub enum SniIdentity {
    /// Certificate and key, which belong together.
    Provided(Arc<CertifiedKey>),
    /// What [`Embedder::attested_tls`] has made for the name and the protocols.
    Attested(Arc<dyn LiveTls>),
}

/// The server's side of TLS with a certificate that the embedder keeps new.
pub trait LiveTls: Send + Sync + 'static {
    /// How TLS is spoken by a handshake that begins now; waits while there is no
    /// certificate yet.
    ///
    /// # Errors
    ///
    /// [`Denial`] when there is none to be had.
    fn config(self: Arc<Self>) -> BoxFuture<Result<Arc<ServerConfig>, Denial>>;
}

/// A wish to serve a name on the shared TLS port.
pub struct SniRequest<'a> {
    /// The name as the guest writes it.
    pub name: &'a str,
    /// What the host speaks TLS with; `None` when the guest speaks TLS by itself.
    pub identity: Option<SniIdentity>,
    /// Protocols to choose from (ALPN), the preferred one first; none for no choice.
    pub protocols: Vec<Vec<u8>>,
    /// Memory of what is kept for the listener; outlives it while connections use
    /// its key.
    pub charge: MemoryCharge,
}

/// Why a guest does not get what it asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// What the guest's call answers with.
    pub errno: Errno,
    /// For the guest and its log.
    pub text: String,
}

impl Denial {
    /// The worker can prove nothing.
    pub fn no_attestation() -> Self {
        Self {
            errno: Errno::UNSUPPORTED_OPERATION,
            text: "this worker attests nothing: it runs in no enclave and in no confidential machine that it knows (wapod --attestation)".to_owned(),
        }
    }
}

/// What the host asks of its embedder, on behalf of one app.
///
/// Defaults are those of a host without identity or storage: a guest gets an
/// honest error or an empty answer.
pub trait Embedder: Send + Sync + 'static {
    /// Address of the app: the hash of its manifest.
    fn app_address(&self) -> [u8; 32];

    /// Takes a line of the app's log.
    fn log(&self, line: LogLine);

    /// Takes output that a guest emitted. The charge is the memory of the data,
    /// for as long as it is kept.
    fn output(&self, instance: InstanceId, data: &[u8], charge: MemoryCharge) {
        let _ = (instance, data, charge);
    }

    /// Public key of the worker.
    fn worker_pubkey(&self) -> [u8; 32];

    /// Signs guest data of at most [`crate::limits::caps::SIGN_BYTES_MAX`] bytes.
    fn sign(&self, data: &[u8]) -> Vec<u8>;

    /// Derives the app's secret for a path of at most 256 bytes.
    fn derive_secret(&self, path: &[u8]) -> [u8; 64];

    /// A hardware quote over guest data; `None` where there is no hardware.
    fn quote(&self, data: Vec<u8>) -> BoxFuture<Option<Vec<u8>>> {
        drop(data);
        Box::pin(std::future::ready(None))
    }

    /// Begins to make evidence that the app runs here. With a nonce of at most
    /// [`crate::limits::caps::EVIDENCE_NONCE_BYTES_MAX`] bytes it is made for it.
    ///
    /// # Errors
    ///
    /// [`Denial`] with [`Errno::UNSUPPORTED_OPERATION`] where nothing can be proved,
    /// [`Errno::RESOURCE_LIMITED`] when too much is being made for the app already; the
    /// future with [`Errno::IO_ERROR`] when it was not made.
    ///
    /// # Cancel safety
    ///
    /// What is not begun yet is not made when the future is dropped.
    fn app_evidence(&self, nonce: Vec<u8>) -> Result<BoxFuture<Result<Vec<u8>, Denial>>, Denial> {
        drop(nonce);
        Err(Denial::no_attestation())
    }

    /// TLS with a certificate that has the app's key, its evidence and these host names
    /// and addresses, and a choice of protocols (ALPN).
    ///
    /// # Errors
    ///
    /// [`Denial`] with [`Errno::UNSUPPORTED_OPERATION`] where nothing can be proved,
    /// [`Errno::INVALID_PARAMETER`] for what is no name and for too many.
    fn attested_tls(
        &self,
        names: Vec<String>,
        protocols: Vec<Vec<u8>>,
    ) -> Result<Arc<dyn LiveTls>, Denial> {
        let _ = (names, protocols);
        Err(Denial::no_attestation())
    }

    /// Gas used by the app in this deployment, and a token of this reading.
    fn gas_consumed(&self) -> (u64, MetricsToken);

    /// Bytes of a blob named `algorithm:hex`, which memory is taken for before it
    /// is read.
    ///
    /// # Errors
    ///
    /// As for [`blob`](Self::blob).
    fn blob_size(&self, hash: &str) -> BoxFuture<Result<u64, Errno>> {
        let _ = hash;
        Box::pin(std::future::ready(Err(Errno::NOT_FOUND)))
    }

    /// Reads a blob named `algorithm:hex` of at most `max_bytes`.
    ///
    /// # Errors
    ///
    /// [`Errno::NOT_FOUND`] when there is none, [`Errno::IO_ERROR`] for a bad
    /// name or damaged content, [`Errno::RESOURCE_LIMITED`] when it is larger.
    fn blob(&self, hash: &str, max_bytes: u64) -> BoxFuture<Result<Vec<u8>, Errno>> {
        let _ = (hash, max_bytes);
        Box::pin(std::future::ready(Err(Errno::NOT_FOUND)))
    }

    /// Reads the app's sealed record.
    ///
    /// # Errors
    ///
    /// [`Errno::IO_ERROR`] when it exists and cannot be read.
    fn read_boot_data(&self) -> BoxFuture<Result<Option<Vec<u8>>, Errno>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Replaces the app's sealed record.
    ///
    /// # Errors
    ///
    /// [`Errno::IO_ERROR`] when it cannot be stored.
    fn write_boot_data(&self, data: Vec<u8>) -> BoxFuture<Result<(), Errno>> {
        drop(data);
        Box::pin(std::future::ready(Err(Errno::IO_ERROR)))
    }

    /// Takes a named lock of the app for an instance; false when it is held.
    fn try_lock(&self, instance: InstanceId, name: &str) -> bool;

    /// Gives a lock back; false when this instance does not hold it.
    fn unlock(&self, instance: InstanceId, name: &str) -> bool;

    /// Opens a port for a guest, which is allowed to have it.
    ///
    /// What is returned may be a clone of a socket that other instances listen
    /// on as well; each connection then goes to the first that accepts it. The
    /// guest's part of it is closed with the guest's handle; a socket that the
    /// embedder keeps stays open and goes on collecting connections until
    /// [`unlisten_tcp`](Self::unlisten_tcp) or
    /// [`instance_ended`](Self::instance_ended) tell it to close that, too.
    ///
    /// # Errors
    ///
    /// What the system says; the guest learns that there was an error, and the
    /// app's log which.
    fn listen_tcp(
        &self,
        instance: InstanceId,
        address: SocketAddr,
    ) -> io::Result<std::net::TcpListener> {
        let _ = instance;
        crate::net::bind_tcp(address)
    }

    /// The guest has closed a listener on this address and lives on.
    fn unlisten_tcp(&self, instance: InstanceId, address: SocketAddr) {
        let _ = (instance, address);
    }

    /// Opens a UDP port for a guest, which is allowed to have it.
    ///
    /// As [`listen_tcp`](Self::listen_tcp): what is returned may be a clone of a
    /// socket that other instances have as well; each datagram goes to the first
    /// that takes it. Until [`unlisten_udp`](Self::unlisten_udp) or
    /// [`instance_ended`](Self::instance_ended) a socket that the embedder keeps
    /// goes on collecting datagrams.
    ///
    /// # Errors
    ///
    /// As there.
    fn listen_udp(
        &self,
        instance: InstanceId,
        address: SocketAddr,
    ) -> io::Result<std::net::UdpSocket> {
        let _ = instance;
        crate::net::bind_udp(address)
    }

    /// The guest has closed a UDP socket on this address and lives on.
    fn unlisten_udp(&self, instance: InstanceId, address: SocketAddr) {
        let _ = (instance, address);
    }

    /// Serves a name on the shared TLS port. An instance may serve one name several
    /// times, with other certificates: the newest counts.
    ///
    /// # Errors
    ///
    /// [`Denial`] with [`Errno::FORBIDDEN`] without such a port,
    /// [`Errno::INVALID_PARAMETER`] for a certificate that is not for the name and
    /// for a name that is taken, [`Errno::RESOURCE_LIMITED`] for one name too many.
    fn listen_sni(
        &self,
        instance: InstanceId,
        request: SniRequest<'_>,
    ) -> Result<Box<dyn SniListener>, Denial> {
        let _ = (instance, request);
        Err(Denial {
            errno: Errno::FORBIDDEN,
            text: "there is no shared TLS port".to_owned(),
        })
    }

    /// The guest has closed a listener for this name, written as it was when it
    /// was opened, and lives on.
    fn unlisten_sni(&self, instance: InstanceId, name: &str) {
        let _ = (instance, name);
    }

    /// An instance has room for requests that it lacked when the embedder wanted to
    /// reserve some. Called by the side that made the room, at times while the guest
    /// runs: it has to be quick.
    fn has_room(&self, instance: InstanceId) {
        let _ = instance;
    }

    /// An instance is gone: its locks and names are free again.
    fn instance_ended(&self, instance: InstanceId);
}

/// Stands in for the daemon in unit tests: has nothing, does nothing, and counts
/// how often it is told of room.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Bystander {
    pub(crate) told_of_room: std::sync::atomic::AtomicUsize,
}

#[cfg(test)]
impl Embedder for Bystander {
    fn app_address(&self) -> [u8; 32] {
        [0; 32]
    }
    fn log(&self, _line: LogLine) {}
    fn worker_pubkey(&self) -> [u8; 32] {
        [0; 32]
    }
    fn sign(&self, _data: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn derive_secret(&self, _path: &[u8]) -> [u8; 64] {
        [0; 64]
    }
    fn gas_consumed(&self) -> (u64, MetricsToken) {
        unreachable!("no guest asks")
    }
    fn try_lock(&self, _instance: InstanceId, _name: &str) -> bool {
        false
    }
    fn unlock(&self, _instance: InstanceId, _name: &str) -> bool {
        false
    }
    fn has_room(&self, _instance: InstanceId) {
        self.told_of_room
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    fn instance_ended(&self, _instance: InstanceId) {}
}
