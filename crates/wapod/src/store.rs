//! The worker's persistent state: apps, usage, its session, secrets.
//!
//! One redb file. A thread of its own writes; what arrives while it is busy
//! goes into one transaction, so a thousand small changes cost a few
//! synchronisations of the disk. A change is durable when `commit` returns.
//! Written by `worker`, read once at start. Knows nothing of apps that run.

mod chain;
mod check;
mod error;
mod file;
mod records;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::Instant;

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::{mpsc, oneshot};
use wapo_rpc::AppAddress;

use crate::data_dir::{folder_of, sync_folder};
use crate::error::StartError;
use crate::limits::{STORE_LINE_INTERVAL, STORE_QUEUE_MAX};
use crate::reserve::Reserve;
use crate::system::FILE_MODE;

pub use check::STORE_THREAD;
use check::{contained, look_through};
use error::OpenError;
use file::{Opener, Place, StoreFile};
use records::{Record, Unreadable};

pub(crate) use chain::{BilledRecord, ChainEnd, ReportRecord};
pub(crate) use records::{
    AppRecord, BenchRecord, DepartedRecord, DomainRecord, KeyVersions, QuotaEntry, Restart,
    SessionRecord, Settings, Totals, UsageRecord, ports_of_record,
};

/// Apps by address.
const APPS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("apps");
/// Usage of deployed apps by serial number: an app that is deployed again begins
/// anew, whatever was left behind.
const USAGE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("usage");
/// Usage of removed apps by serial number.
const DEPARTED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("departed");
/// Sealed secrets by address followed by name.
const SECRETS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("secrets");
/// Single records of the worker by name.
const WORKER: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("worker");

const SESSION: &str = "session";
const NEXT_SERIAL: &str = "next serial";
const BENCH: &str = "bench";
const CLOCK: &str = "clock";
const KEY_VERSIONS: &str = "key versions";

/// Memory that redb may use for its cache. The store is small.
const CACHE_BYTES: usize = 16 << 20;

/// One change of the store.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    PutApp(Box<AppRecord>),
    /// Removes an app with its usage and its secrets.
    RemoveApp {
        app: AppAddress,
        serial: u64,
    },
    PutUsage {
        serial: u64,
        usage: UsageRecord,
    },
    /// The daemon lived at this moment, and all usage up to it is in the store.
    PutClock(u64),
    /// The final record of an app; it includes the usage that was written before.
    PutDeparted(DepartedRecord),
    RemoveDeparted(u64),
    PutSecret {
        app: AppAddress,
        name: String,
        sealed: Vec<u8>,
    },
    RemoveSecret {
        app: AppAddress,
        name: String,
    },
    PutSession(SessionRecord),
    PutNextSerial(u64),
    PutBench(BenchRecord),
    PutKeyVersions(KeyVersions),
    /// The next link of the bill.
    PutReport(Box<ReportRecord>),
}

/// Everything that was in the store when it was opened.
#[derive(Default, Debug)]
pub(crate) struct Contents {
    pub(crate) apps: Vec<AppRecord>,
    /// Usage by serial number, up to when the daemon was last known to live.
    pub(crate) usage: BTreeMap<u64, Totals>,
    pub(crate) departed: BTreeMap<u64, DepartedRecord>,
    pub(crate) secrets: BTreeMap<AppAddress, Vec<(String, Vec<u8>)>>,
    pub(crate) session: Option<SessionRecord>,
    pub(crate) next_serial: u64,
    pub(crate) bench: BenchRecord,
    pub(crate) key_versions: KeyVersions,
    pub(crate) chain: ChainEnd,
}

impl Contents {
    /// Puts together what is known of apps whose places others had taken, and that
    /// had not left yet when the daemon ended: what they had used when it was the
    /// others' turn, and what they went on using. Gives what has to be written
    /// before time goes on.
    pub(crate) fn settle_departed(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (serial, record) in &mut self.departed {
            if let Some(totals) = self.usage.remove(serial) {
                record.totals = record.totals.max_of_each(&totals);
                changes.push(Change::PutDeparted(record.clone()));
            }
        }
        changes
    }
}

/// A change could not be written; nothing of it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot write the worker's state: {0}")]
pub(crate) struct StoreError(String);

enum Request {
    Write {
        changes: Vec<Change>,
        done: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Looks into the file once what was queued before is in it.
    Read(Look),
}

/// What a caller wants to know of the file.
type Look = Box<dyn FnOnce(Result<&Database, StoreError>) + Send>;

/// The open store. Dropping it writes what is queued and closes the file.
pub(crate) struct Store {
    /// `None` when it is closed.
    queue: RwLock<Option<mpsc::Sender<Request>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens a file, making it when there is none. Blocks.
    ///
    /// # Errors
    ///
    /// [`StartError::StoreDamaged`] for a file that is no store or holds a
    /// record that cannot be read; the file stays as it is.
    pub(crate) fn open(path: &Path) -> Result<(Self, Contents), StartError> {
        Self::open_with(path, None, Box::new(file::open))
    }

    /// The same with a reserve for a full disk, which is given up when opening
    /// needs it. Blocks.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(crate) fn open_with_reserve(
        path: &Path,
        reserve: Reserve,
    ) -> Result<(Self, Contents), StartError> {
        Self::open_with(path, Some(reserve), Box::new(file::open))
    }

    fn open_with(
        path: &Path,
        reserve: Option<Reserve>,
        open: Opener,
    ) -> Result<(Self, Contents), StartError> {
        let mut opened = open_once(path, &open);
        if let (Err(OpenError::Io(error)), Some(reserve)) = (&opened, &reserve)
            && file::is_full(error)
            && reserve.give_up()
        {
            opened = open_once(path, &open);
        }
        let started = opened.and_then(|(database, contents)| {
            let path = path.to_owned();
            let place = Place {
                path,
                open,
                reserve,
            };
            Self::start(StoreFile::new(database, Some(place)), contents)
        });
        started.map_err(|error| error.at(path))
    }

    /// Makes a store that forgets everything.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(crate) fn in_memory() -> Result<(Self, Contents), StartError> {
        let made = || {
            let database = Database::builder().create_with_backend(InMemoryBackend::new())?;
            make_tables(&database)?;
            Self::start(StoreFile::new(database, None), Contents::default())
        };
        made().map_err(|error: OpenError| error.at(Path::new("(memory)")))
    }

    fn start(file: StoreFile, contents: Contents) -> Result<(Self, Contents), OpenError> {
        let (queue, requests) = mpsc::channel(STORE_QUEUE_MAX);
        let writer = std::thread::Builder::new()
            .name(STORE_THREAD.to_owned())
            .spawn(move || write_all(file, requests))
            .map_err(OpenError::Thread)?;
        let store = Self {
            queue: RwLock::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
        };
        Ok((store, contents))
    }

    /// Writes changes, all or none of them.
    ///
    /// # Errors
    ///
    /// [`StoreError`], for instance on a full disk.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves open whether the changes were written.
    pub(crate) async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.slot().await?.send(changes).outcome().await
    }

    /// A place in the queue, for code that decides under a lock what is written: the
    /// lock need not be held while the queue is full or the disk works.
    ///
    /// # Errors
    ///
    /// The store is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn slot(&self) -> Result<Slot, StoreError> {
        let queue = self.queue().clone().ok_or_else(closed)?;
        let slot = queue.reserve_owned().await.map_err(|_| closed())?;
        Ok(Slot(slot))
    }

    /// Reads something on the store's thread.
    async fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, OpenError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let slot = self.slot().await?;
        let (done, outcome) = oneshot::channel();
        slot.0.send(Request::Read(Box::new(move |database| {
            let found = database.and_then(|database| read(database).map_err(StoreError::from));
            // A caller that does not wait for it has lost interest.
            let _ = done.send(found);
        })));
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }
}

fn closed() -> StoreError {
    StoreError("the store is closed".to_owned())
}

/// A place in the queue of the store.
pub(crate) struct Slot(OwnedPermit<Request>);

impl Slot {
    /// Queues changes, of which all or none are written, behind those that were
    /// queued before. Waits for nothing.
    pub(crate) fn send(self, changes: Vec<Change>) -> Queued {
        let (done, outcome) = oneshot::channel();
        self.0.send(Request::Write { changes, done });
        Queued(outcome)
    }
}

/// Changes on their way to the disk. They are written also when this is dropped.
#[must_use = "nobody knows yet whether they can be written"]
pub(crate) struct Queued(oneshot::Receiver<Result<(), StoreError>>);

impl Queued {
    /// Waits until they are durable.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub(crate) async fn outcome(self) -> Result<(), StoreError> {
        self.0.await.unwrap_or_else(|_| Err(closed()))
    }
}

impl Store {
    /// Writes what is queued and closes the file. Later changes are refused. Blocks.
    pub(crate) fn close(&self) {
        // The writer ends when nobody can ask it any more.
        let mut queue = self.queue.write().unwrap_or_else(PoisonError::into_inner);
        drop(queue.take());
        drop(queue);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = writer.take() {
            let _ = writer.join();
        }
    }

    /// Changes that wait for the writer, and how many may.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let free = self.queue().as_ref().map_or(0, mpsc::Sender::capacity);
        let waiting = STORE_QUEUE_MAX.saturating_sub(free);
        (waiting as u64, STORE_QUEUE_MAX as u64)
    }

    fn queue(&self) -> RwLockReadGuard<'_, Option<mpsc::Sender<Request>>> {
        // There is nothing to leave half done.
        self.queue.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Looks through the file, then opens it to be written.
fn open_once(path: &Path, open: &Opener) -> Result<(Database, Contents), OpenError> {
    if !path.exists() {
        create(path).map_err(OpenError::Io)?;
    }
    // redb would take an empty file for a new one.
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) {
        return Err(OpenError::Damaged("the file is empty".to_owned()));
    }
    contained(|| {
        let contents = look_through(path)?;
        let database = open(path)?;
        make_tables(&database)?;
        Ok((database, contents))
    })
}

/// Makes an empty store under another name first: a crash in between must not
/// leave half a file under the name that counts.
fn create(path: &Path) -> io::Result<()> {
    let other = path.with_extension("new");
    let _ = fs::remove_file(&other);
    let file = fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&other)?;
    let made = Database::builder().create_file(file);
    let made = made
        .map_err(redb::Error::from)
        .map_err(|error| match error {
            redb::Error::Io(error) => error,
            error => io::Error::other(error),
        })?;
    drop(made);
    fs::File::open(&other)?.sync_all()?;
    fs::rename(&other, path)?;
    sync_folder(folder_of(path))
}

/// Makes the tables, so that reading need not ask whether they exist.
fn make_tables(database: &Database) -> Result<(), OpenError> {
    let transaction = database.begin_write()?;
    transaction.open_table(APPS)?;
    transaction.open_table(USAGE)?;
    transaction.open_table(DEPARTED)?;
    transaction.open_table(SECRETS)?;
    transaction.open_table(WORKER)?;
    chain::make_tables(&transaction)?;
    Ok(transaction.commit()?)
}

fn read(database: &Database) -> Result<Contents, OpenError> {
    make_tables(database)?;
    let mut contents = Contents::default();
    let transaction = database.begin_read()?;
    for row in transaction.open_table(APPS)?.iter()? {
        let (key, value) = row?;
        let record: AppRecord = record("app", value.value())?;
        if record.address().0 != key.value() {
            return Err(OpenError::Damaged("an app under another address".into()));
        }
        contents.apps.push(record);
    }
    let worker = transaction.open_table(WORKER)?;
    let clock_ms: u64 = match worker.get(CLOCK)? {
        Some(value) => record("moment", value.value())?,
        None => 0,
    };
    for row in transaction.open_table(USAGE)?.iter()? {
        let (key, value) = row?;
        let usage: UsageRecord = record("usage", value.value())?;
        contents
            .usage
            .insert(key.value(), usage.totals_at(clock_ms));
    }
    for row in transaction.open_table(DEPARTED)?.iter()? {
        let (key, value) = row?;
        let departed = record("removed app", value.value())?;
        contents.departed.insert(key.value(), departed);
    }
    for row in transaction.open_table(SECRETS)?.iter()? {
        let (key, value) = row?;
        let (app, name) = secret_name(key.value())?;
        let sealed = value.value().to_vec();
        contents
            .secrets
            .entry(app)
            .or_default()
            .push((name, sealed));
    }
    if let Some(value) = worker.get(SESSION)? {
        contents.session = Some(record("session", value.value())?);
    }
    if let Some(value) = worker.get(NEXT_SERIAL)? {
        contents.next_serial = record("serial number", value.value())?;
    }
    if let Some(value) = worker.get(BENCH)? {
        contents.bench = record("bench app", value.value())?;
    }
    if let Some(value) = worker.get(KEY_VERSIONS)? {
        contents.key_versions = record("version of a key", value.value())?;
    }
    contents.apps.sort_by_key(|app| app.serial);
    contents.chain = chain::end(database)?;
    Ok(contents)
}

fn record<T: Record>(what: &str, bytes: &[u8]) -> Result<T, OpenError> {
    records::decode(bytes).map_err(|error| match error {
        Unreadable::Newer(version) => {
            OpenError::Newer(format!("the record of a {what} has version {version}"))
        }
        Unreadable::Damaged => OpenError::Damaged(format!("the record of a {what} cannot be read")),
    })
}

fn address(key: &[u8]) -> Result<AppAddress, OpenError> {
    AppAddress::from_bytes(key).map_err(|error| OpenError::Damaged(error.to_string()))
}

fn secret_key(app: &AppAddress, name: &str) -> Vec<u8> {
    [app.0.as_slice(), name.as_bytes()].concat()
}

fn secret_name(key: &[u8]) -> Result<(AppAddress, String), OpenError> {
    let damaged = || OpenError::Damaged("the name of a secret cannot be read".into());
    let (app, name) = key.split_at_checked(32).ok_or_else(damaged)?;
    let name = std::str::from_utf8(name).map_err(|_| damaged())?;
    Ok((address(app)?, name.to_owned()))
}

/// Writes until the queue is closed: one transaction for all that waits.
fn write_all(mut file: StoreFile, mut requests: mpsc::Receiver<Request>) {
    let mut log = RateLimitedLog::default();
    while let Some(first) = requests.blocking_recv() {
        let (mut batch, mut looks) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Write { changes, done } => batch.push((changes, done)),
                Request::Read(look) => looks.push(look),
            }
            next = requests.try_recv().ok();
        }
        let groups: Vec<_> = batch
            .iter()
            .map(|(changes, _)| changes.as_slice())
            .collect();
        let outcomes = match groups.as_slice() {
            [] => Vec::new(),
            groups => file.write(groups),
        };
        if let Some(Err(error)) = outcomes.iter().find(|outcome| outcome.is_err()) {
            log.error(error);
        }
        for ((_, done), outcome) in batch.into_iter().zip(outcomes) {
            // A caller that does not wait for the outcome has lost interest in it.
            let _ = done.send(outcome);
        }
        looks.into_iter().for_each(|look| file.look(look));
    }
}

/// Failures come every second while a disk is full; the log need not have all.
#[derive(Default)]
struct RateLimitedLog(Option<Instant>);

impl RateLimitedLog {
    fn error(&mut self, error: &StoreError) {
        if self
            .0
            .is_none_or(|said| said.elapsed() >= STORE_LINE_INTERVAL)
        {
            self.0 = Some(Instant::now());
            tracing::error!("{error}");
        }
    }
}

fn apply(transaction: &redb::WriteTransaction, change: &Change) -> Result<(), redb::Error> {
    match change {
        Change::PutApp(app) => {
            let (key, value) = (app.address().0, records::encode(app.as_ref()));
            let mut apps = transaction.open_table(APPS)?;
            apps.insert(key.as_slice(), value.as_slice())?;
        }
        Change::RemoveApp { app, serial } => {
            let key = app.0.as_slice();
            transaction.open_table(APPS)?.remove(key)?;
            transaction.open_table(USAGE)?.remove(serial)?;
            let mut secrets = transaction.open_table(SECRETS)?;
            secrets.retain(|name, _| !name.starts_with(key))?;
        }
        Change::PutUsage { serial, usage } => {
            let value = records::encode(usage);
            let mut table = transaction.open_table(USAGE)?;
            table.insert(serial, value.as_slice())?;
        }
        Change::PutDeparted(departed) => {
            let value = records::encode(departed);
            transaction.open_table(USAGE)?.remove(departed.serial)?;
            let mut table = transaction.open_table(DEPARTED)?;
            table.insert(departed.serial, value.as_slice())?;
        }
        Change::RemoveDeparted(serial) => {
            transaction.open_table(DEPARTED)?.remove(serial)?;
            transaction.open_table(chain::BILLED)?.remove(serial)?;
        }
        Change::PutSecret { app, name, sealed } => {
            let key = secret_key(app, name);
            let mut secrets = transaction.open_table(SECRETS)?;
            secrets.insert(key.as_slice(), sealed.as_slice())?;
        }
        Change::RemoveSecret { app, name } => {
            let key = secret_key(app, name);
            transaction.open_table(SECRETS)?.remove(key.as_slice())?;
        }
        Change::PutSession(session) => put(transaction, SESSION, session)?,
        // Deployments are written in any order, and no number may come back.
        Change::PutNextSerial(serial) => {
            let stored: Option<u64> = {
                let worker = transaction.open_table(WORKER)?;
                let value = worker.get(NEXT_SERIAL)?;
                value.and_then(|value| records::decode(value.value()).ok())
            };
            put(transaction, NEXT_SERIAL, &stored.unwrap_or(0).max(*serial))?;
        }
        Change::PutBench(bench) => put(transaction, BENCH, bench)?,
        Change::PutKeyVersions(versions) => put(transaction, KEY_VERSIONS, versions)?,
        Change::PutClock(now_ms) => put(transaction, CLOCK, now_ms)?,
        Change::PutReport(report) => chain::append(transaction, report)?,
    }
    Ok(())
}

fn put<T: Record>(
    transaction: &redb::WriteTransaction,
    name: &str,
    record: &T,
) -> Result<(), redb::Error> {
    let value = records::encode(record);
    let mut worker = transaction.open_table(WORKER)?;
    worker.insert(name, value.as_slice())?;
    Ok(())
}

#[cfg(test)]
mod tests;
