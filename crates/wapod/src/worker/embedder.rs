//! The host's trait `Embedder`, implemented for one app.
//!
//! An [`AppEmbedder`] holds the state of its app (locks, log, output) and borrows
//! that of the worker. Its methods are called while the guest runs, so they are
//! short.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use wapo_abi::Errno;
use wapo_abi::message::{LogLevel, MetricsToken};
use wapo_host::limits::LOCKS_MAX;
use wapo_host::{
    BoxFuture, Denial, Embedder, InstanceId, LineText, LiveTls, LogLine, LogSource, MemoryCharge,
    QuotaKind, Quotas, SniListener, SniRequest,
};
use wapo_rpc::AppAddress;

use super::app_context::AppContext;
use super::{App, AppQuotes, AttestedTls, Attester, Family, Ledger, Ports, Session};
use crate::blobs::{BlobError, BlobFolder, BlobName};
use crate::boot_data::BootData;
use crate::config::LogSink;
use crate::edge::Edge;
use crate::identity::Identity;
use crate::limits::{
    DAEMON_LINES_PER_SECOND, FAILURE_BYTES_MAX, FAILURES_PER_SECOND, OUTPUT_BYTES_KEPT,
};
use crate::logs::LogBook;

/// The worker as one app sees it.
pub(crate) struct AppEmbedder {
    pub(crate) address: AppAddress,
    pub(crate) identity: Arc<Identity>,
    pub(crate) attester: Arc<Attester>,
    pub(crate) quotes: AppQuotes,
    pub(crate) session: Arc<Session>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) family: Family,
    pub(crate) ports: Arc<Ports>,
    pub(crate) edge: Arc<Edge>,
    pub(crate) blobs: BlobFolder,
    pub(crate) boot_data: BootData,
    /// One record is written at a time, so that what is counted is what is there.
    pub(crate) writing: Arc<Mutex<()>>,
    pub(crate) log: Arc<LogBook>,
    pub(crate) log_sink: Option<LogSink>,
    /// Whether the app's lines appear in the daemon's own log, too.
    pub(crate) logs_to_daemon: bool,
    pub(crate) state: Mutex<EmbedderState>,
    /// The app itself.
    pub(crate) app: Weak<App>,
}

/// What an app left with the worker.
#[derive(Default)]
pub(crate) struct EmbedderState {
    /// Locks by name, each with the instance that holds it.
    locks: HashMap<String, InstanceId>,
    output: Vec<u8>,
    /// The memory of the output, by the instances that wrote it.
    output_charges: Vec<MemoryCharge>,
    daemon_lines: Lines,
    failure_lines: Lines,
}

/// Lines of one kind in this second.
#[derive(Default)]
struct Lines {
    second: Option<Instant>,
    count: u32,
    left_out: u64,
}

impl Lines {
    /// Whether one more line may pass, of so many in a second, and how many did not
    /// before it.
    fn take(&mut self, now: Instant, max: u32) -> Option<u64> {
        let is_over = self
            .second
            .is_none_or(|second| now.duration_since(second) >= Duration::from_secs(1));
        if is_over {
            self.second = Some(now);
            self.count = 0;
        }
        if self.count >= max {
            self.left_out += 1;
            return None;
        }
        self.count += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl AppEmbedder {
    /// The worker as one app sees it.
    pub(super) fn new(context: &AppContext, app: &App, this: Weak<App>) -> Self {
        Self {
            address: app.address,
            identity: Arc::clone(&context.identity),
            attester: Arc::clone(&context.attester),
            quotes: AppQuotes::default(),
            session: Arc::clone(&context.session),
            ledger: Arc::clone(&app.ledger),
            quotas: Arc::clone(app.quotas.live()),
            family: app.family(),
            ports: Arc::clone(&context.ports),
            edge: Arc::clone(&context.edge),
            blobs: context.blobs.clone(),
            boot_data: context.boot_data(app.address),
            writing: Arc::default(),
            log: Arc::new(LogBook::default()),
            log_sink: context.log_sink.clone(),
            logs_to_daemon: app.settings.log_to_daemon,
            state: Mutex::new(EmbedderState::default()),
            app: this,
        }
    }

    /// The app, unless it is gone.
    fn app(&self) -> Option<Arc<App>> {
        self.app.upgrade()
    }

    /// Takes the output that has come since the last time.
    pub(crate) fn take_output(&self) -> Vec<u8> {
        let mut state = self.state();
        state.output_charges.clear();
        std::mem::take(&mut state.output)
    }

    /// Writes what became of a request into the app's log, unless there were too many
    /// such lines within this second.
    pub(crate) fn log_failure(&self, instance: Option<InstanceId>, text: &str) {
        let mut state = self.state();
        let taken = state
            .failure_lines
            .take(Instant::now(), FAILURES_PER_SECOND);
        drop(state);
        if taken.is_some() {
            self.log(LogLine {
                instance: instance.unwrap_or(InstanceId(0)),
                time: SystemTime::now(),
                source: LogSource::Lifecycle,
                level: LogLevel::Warn,
                text: LineText::single(text, FAILURE_BYTES_MAX),
            });
        }
    }

    /// Writes a line into the daemon's log, unless there were too many.
    fn tell_daemon(&self, text: &str) {
        let mut state = self.state();
        let taken = state
            .daemon_lines
            .take(Instant::now(), DAEMON_LINES_PER_SECOND);
        drop(state);
        match taken {
            None => return,
            Some(0) => {}
            Some(count) => tracing::warn!(
                target: "wapo::guest", app = %self.address,
                "{count} lines are in the app's own log only: more than {DAEMON_LINES_PER_SECOND} a second"
            ),
        }
        tracing::info!(target: "wapo::guest", app = %self.address, "{text}");
    }

    fn state(&self) -> MutexGuard<'_, EmbedderState> {
        // Nothing below leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Embedder for AppEmbedder {
    fn app_address(&self) -> [u8; 32] {
        self.address.0
    }

    fn log(&self, line: LogLine) {
        if let Some(sink) = &self.log_sink {
            sink(&self.address, &line);
        }
        if self.logs_to_daemon {
            self.tell_daemon(&line.text);
        }
        self.log.add(line);
    }

    fn output(&self, _instance: InstanceId, data: &[u8], charge: MemoryCharge) {
        let mut state = self.state();
        let room = OUTPUT_BYTES_KEPT.saturating_sub(state.output.len());
        if room == 0 {
            return;
        }
        state
            .output
            .extend_from_slice(&data[..data.len().min(room)]);
        let mut charge = Some(charge);
        for held in &mut state.output_charges {
            charge = charge.and_then(|charge| held.absorb(charge).err());
        }
        state.output_charges.extend(charge);
    }

    fn worker_pubkey(&self) -> [u8; 32] {
        self.identity.public_key()
    }

    fn sign(&self, data: &[u8]) -> Vec<u8> {
        self.identity.sign_for_app(&self.address.0, data)
    }

    fn derive_secret(&self, path: &[u8]) -> [u8; 64] {
        *self.identity.derive_secret(&self.address.0, path)
    }

    fn quote(&self, data: Vec<u8>) -> BoxFuture<Option<Vec<u8>>> {
        let (attester, turn) = (Arc::clone(&self.attester), self.quotes.turn());
        let address = self.address;
        Box::pin(async move {
            let _turn = turn.await;
            attester.quote_for_app(&address.0, &data).await
        })
    }

    fn app_evidence(&self, nonce: Vec<u8>) -> Result<BoxFuture<Result<Vec<u8>, Denial>>, Denial> {
        self.quotes.evidence(&self.attester, self.app(), nonce)
    }

    fn attested_tls(
        &self,
        names: Vec<String>,
        protocols: Vec<Vec<u8>>,
    ) -> Result<Arc<dyn LiveTls>, Denial> {
        Ok(AttestedTls::new(
            &self.attester,
            self.app(),
            &names,
            protocols,
        )?)
    }

    fn gas_consumed(&self) -> (u64, MetricsToken) {
        (self.ledger.totals().gas, self.session.token())
    }

    fn blob_size(&self, hash: &str) -> BoxFuture<Result<u64, Errno>> {
        let blobs = self.blobs.clone();
        let name = hash.parse::<BlobName>();
        on_disk(move || {
            let name = name.map_err(|_| Errno::IO_ERROR)?;
            blobs.size(&name).ok_or(Errno::NOT_FOUND)
        })
    }

    fn blob(&self, hash: &str, max_bytes: u64) -> BoxFuture<Result<Vec<u8>, Errno>> {
        let blobs = self.blobs.clone();
        let name = hash.parse::<BlobName>();
        on_disk(move || {
            let name = name.map_err(|_| Errno::IO_ERROR)?;
            blobs.read(&name, max_bytes).map_err(|error| match error {
                BlobError::NotFound => Errno::NOT_FOUND,
                BlobError::TooLarge { .. } => Errno::RESOURCE_LIMITED,
                _ => Errno::IO_ERROR,
            })
        })
    }

    fn read_boot_data(&self) -> BoxFuture<Result<Option<Vec<u8>>, Errno>> {
        let (boot_data, identity) = (self.boot_data.clone(), Arc::clone(&self.identity));
        on_disk(move || boot_data.read(&identity))
    }

    fn write_boot_data(&self, data: Vec<u8>) -> BoxFuture<Result<(), Errno>> {
        let (boot_data, identity) = (self.boot_data.clone(), Arc::clone(&self.identity));
        let stored = self.ledger.stored_bytes() + data.len() as u64;
        let (quotas, one_at_a_time) = (Arc::clone(&self.quotas), Arc::clone(&self.writing));
        let app = Weak::clone(&self.app);
        on_disk(move || {
            let _alone = one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
            let before = quotas.used(QuotaKind::Storage);
            if let Err(over) = quotas.replace(QuotaKind::Storage, stored) {
                if let Some(app) = app.upgrade() {
                    app.log_failure(None, &format!("the record was not written: {over}"));
                }
                return Err(Errno::RESOURCE_LIMITED);
            }
            let written = boot_data.write(&identity, &data);
            // The one before is still there.
            written.inspect_err(|_| quotas.note(QuotaKind::Storage, before))
        })
    }

    fn try_lock(&self, instance: InstanceId, name: &str) -> bool {
        let locks = &mut self.state().locks;
        if locks.len() >= LOCKS_MAX || locks.contains_key(name) {
            return false;
        }
        locks.insert(name.to_owned(), instance);
        true
    }

    fn unlock(&self, instance: InstanceId, name: &str) -> bool {
        let locks = &mut self.state().locks;
        let is_held = locks.get(name) == Some(&instance);
        if is_held {
            locks.remove(name);
        }
        is_held
    }

    fn listen_tcp(&self, instance: InstanceId, address: SocketAddr) -> io::Result<TcpListener> {
        self.ports.listen_tcp(self.family, instance, address)
    }

    fn unlisten_tcp(&self, instance: InstanceId, address: SocketAddr) {
        self.ports.tcp.unlisten(instance, address);
    }

    fn listen_udp(&self, instance: InstanceId, address: SocketAddr) -> io::Result<UdpSocket> {
        self.ports.listen_udp(self.family, instance, address)
    }

    fn unlisten_udp(&self, instance: InstanceId, address: SocketAddr) {
        self.ports.udp.unlisten(instance, address);
    }

    fn listen_sni(
        &self,
        instance: InstanceId,
        request: SniRequest<'_>,
    ) -> Result<Box<dyn SniListener>, Denial> {
        match self.app() {
            Some(app) => self.edge.listen(&app, instance, request),
            None => Err(Denial {
                errno: Errno::INVALID_PARAMETER,
                text: "the app is on its way out".to_owned(),
            }),
        }
    }

    fn unlisten_sni(&self, _instance: InstanceId, name: &str) {
        if let Some(app) = self.app() {
            self.edge.unlisten(&app, name);
        }
    }

    fn has_room(&self, _instance: InstanceId) {
        if let Some(app) = self.app() {
            app.dispatch();
        }
    }

    fn instance_ended(&self, instance: InstanceId) {
        self.ports.release(instance);
        self.edge.instance_ended(instance);
        self.state().locks.retain(|_, holder| *holder != instance);
    }
}

/// Does something that blocks on a thread that may.
fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Errno> + Send + 'static,
) -> BoxFuture<Result<T, Errno>> {
    Box::pin(async move {
        let working = tokio::task::spawn_blocking(work);
        working.await.unwrap_or(Err(Errno::IO_ERROR))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::Durability;
    use crate::store::{Store, Totals};

    async fn embedder() -> AppEmbedder {
        let (store, _) = Store::in_memory().expect("store");
        let session = Session::open(Arc::new(store), None).await.expect("session");
        let (identity, session) = (Arc::new(Identity::throw_away()), Arc::new(session));
        let attester = Attester::without_hardware(&identity, &session);
        let folder = std::env::temp_dir().join("not used by these tests");
        AppEmbedder {
            address: AppAddress([7; 32]),
            identity,
            attester: Arc::new(attester),
            quotes: AppQuotes::default(),
            session,
            ledger: Arc::new(Ledger::new(Totals::default(), 0)),
            quotas: Arc::default(),
            family: Family(0),
            ports: Arc::default(),
            edge: Edge::new("", None, rustls::RootCertStore::empty(), 1).expect("no domain"),
            blobs: BlobFolder::new(folder.clone(), None),
            boot_data: BootData::new(&folder, AppAddress([7; 32]), Durability::Temporary),
            writing: Arc::default(),
            log: Arc::new(LogBook::default()),
            log_sink: None,
            logs_to_daemon: false,
            state: Mutex::default(),
            app: Weak::new(),
        }
    }

    #[tokio::test]
    async fn a_record_that_could_not_be_written_is_not_counted() {
        let app = embedder().await;
        app.quotas.note(QuotaKind::Storage, 70);
        let outcome = app.write_boot_data(vec![1; 1000]).await;
        assert_eq!(outcome, Err(Errno::IO_ERROR), "there is no folder");
        assert_eq!(app.quotas.used(QuotaKind::Storage), 70);
    }

    const ONE: InstanceId = InstanceId(1);
    const TWO: InstanceId = InstanceId(2);

    #[tokio::test]
    async fn only_the_holder_unlocks() {
        let app = embedder().await;
        assert!(app.try_lock(ONE, "a"));
        assert!(!app.try_lock(ONE, "a"));
        assert!(!app.try_lock(TWO, "a"));
        assert!(!app.unlock(TWO, "a"));
        assert!(app.unlock(ONE, "a"));
        assert!(!app.unlock(ONE, "a"));
        assert!(app.try_lock(TWO, "a"));
    }

    #[tokio::test]
    async fn locks_are_free_when_their_holder_is_gone() {
        let app = embedder().await;
        assert!(app.try_lock(ONE, "a"));
        assert!(app.try_lock(TWO, "b"));
        app.instance_ended(ONE);
        assert!(app.try_lock(TWO, "a"));
        assert!(!app.try_lock(ONE, "b"));
    }

    #[tokio::test]
    async fn the_number_of_locks_is_bounded() {
        let app = embedder().await;
        for number in 0..LOCKS_MAX {
            assert!(app.try_lock(ONE, &number.to_string()), "{number}");
        }
        assert!(!app.try_lock(ONE, "one more"));
    }

    #[tokio::test]
    async fn signatures_verify_as_data_of_the_app() {
        let app = embedder().await;
        let message = [[7; 32].as_slice(), b"data"].concat();
        assert!(wapo_crypto::verify(
            &app.worker_pubkey(),
            wapo_crypto::ContentType::AppData,
            &message,
            &app.sign(b"data"),
        ));
    }

    #[test]
    fn lines_for_the_daemon_are_limited_and_counted() {
        let mut lines = Lines::default();
        let now = Instant::now();
        for _ in 0..DAEMON_LINES_PER_SECOND {
            assert_eq!(lines.take(now, DAEMON_LINES_PER_SECOND), Some(0));
        }
        assert_eq!(lines.take(now, DAEMON_LINES_PER_SECOND), None);
        assert_eq!(lines.take(now, DAEMON_LINES_PER_SECOND), None);
        let later = now + Duration::from_secs(1);
        assert_eq!(lines.take(later, DAEMON_LINES_PER_SECOND), Some(2));
        assert_eq!(lines.take(later, DAEMON_LINES_PER_SECOND), Some(0));
    }

    #[tokio::test]
    async fn output_is_taken_once() {
        let app = embedder().await;
        app.output(ONE, b"a", MemoryCharge::none());
        app.output(TWO, b"b", MemoryCharge::none());
        assert_eq!(app.take_output(), b"ab");
        assert!(app.take_output().is_empty());
    }
}
