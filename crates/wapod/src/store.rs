//! What a worker remembers: apps, usage, its session, secrets.
//!
//! One redb file. A thread of its own writes; what arrives while it is busy
//! goes into one transaction, so a thousand small changes cost a few
//! synchronisations of the disk. A change is durable when `commit` returns.
//! Written by `worker`, read once at start. Knows nothing of apps that run.

mod records;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use redb::backends::InMemoryBackend;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::{mpsc, oneshot};
use wapo_rpc::AppAddress;

use crate::data_dir::{folder_of, sync_folder};
use crate::error::StartError;
use crate::limits::STORE_QUEUE_MAX;

use records::{Record, Unreadable};

pub(crate) use records::{
    AppRecord, BenchRecord, DepartedRecord, Restart, SessionRecord, Settings, Totals, UsageRecord,
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

/// Memory that redb may use for its cache. The store is small.
const CACHE_BYTES: usize = 16 << 20;

/// One change of the store.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    PutApp(AppRecord),
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
}

/// A change could not be written; nothing of it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot write the worker's state: {0}")]
pub(crate) struct StoreError(String);

struct Request {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

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
        if !path.exists() {
            create(path).map_err(|error| StartError::DataDir {
                path: path.to_owned(),
                error,
            })?;
        }
        let damaged = |reason: String| StartError::StoreDamaged {
            path: path.to_owned(),
            reason,
        };
        // redb would take an empty file for a new one.
        if fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) {
            return Err(damaged("the file is empty".to_owned()));
        }
        // A file that was cut off makes redb panic instead of answering.
        let opened =
            std::panic::catch_unwind(|| Database::builder().set_cache_size(CACHE_BYTES).open(path));
        let opened = opened.map_err(|_| damaged("a part of the file is missing".to_owned()))?;
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StartError::DataDirInUse(path.to_owned()),
            error => damaged(error.to_string()),
        })?;
        let file = StoreFile {
            database: Some(database),
            path: Some(path.to_owned()),
        };
        Self::start(file).map_err(|error| match error {
            OpenError::Damaged(reason) => damaged(reason),
            OpenError::Newer(reason) => StartError::StoreNewer {
                path: path.to_owned(),
                reason,
            },
            OpenError::Thread(error) => StartError::DataDir {
                path: path.to_owned(),
                error,
            },
        })
    }

    /// Makes a store that forgets everything.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(crate) fn in_memory() -> Result<(Self, Contents), StartError> {
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        let database = database.map_err(|error| OpenError::Damaged(error.to_string()));
        database
            .and_then(|database| {
                Self::start(StoreFile {
                    database: Some(database),
                    path: None,
                })
            })
            .map_err(|error| StartError::DataDir {
                path: PathBuf::from("(memory)"),
                error: match error {
                    OpenError::Damaged(reason) | OpenError::Newer(reason) => {
                        io::Error::other(reason)
                    }
                    OpenError::Thread(error) => error,
                },
            })
    }

    fn start(file: StoreFile) -> Result<(Self, Contents), OpenError> {
        let contents = file
            .database
            .as_ref()
            .map_or_else(|| Ok(Contents::default()), read)?;
        let (queue, requests) = mpsc::channel(STORE_QUEUE_MAX);
        let writer = std::thread::Builder::new()
            .name("wapod-store".to_owned())
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
        let closed = || StoreError("the store is closed".to_owned());
        let (done, outcome) = oneshot::channel();
        let queue = self.queue().clone().ok_or_else(closed)?;
        let request = Request { changes, done };
        queue.send(request).await.map_err(|_| closed())?;
        outcome.await.unwrap_or_else(|_| Err(closed()))
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

enum OpenError {
    Damaged(String),
    /// What a newer daemon wrote.
    Newer(String),
    Thread(io::Error),
}

impl<E: Into<redb::Error>> From<E> for OpenError {
    fn from(error: E) -> Self {
        Self::Damaged(error.into().to_string())
    }
}

/// Makes an empty store under another name first: a crash in between must not
/// leave half a file under the name that counts.
fn create(path: &Path) -> io::Result<()> {
    let other = path.with_extension("new");
    let _ = fs::remove_file(&other);
    let database = Database::create(&other).map_err(io::Error::other)?;
    drop(database);
    fs::File::open(&other)?.sync_all()?;
    fs::rename(&other, path)?;
    sync_folder(folder_of(path))
}

fn read(database: &Database) -> Result<Contents, OpenError> {
    // Makes the tables, so that reading need not ask whether they exist.
    let transaction = database.begin_write()?;
    transaction.open_table(APPS)?;
    transaction.open_table(USAGE)?;
    transaction.open_table(DEPARTED)?;
    transaction.open_table(SECRETS)?;
    transaction.open_table(WORKER)?;
    transaction.commit()?;

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
    contents.apps.sort_by_key(|app| app.serial);
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
    while let Some(first) = requests.blocking_recv() {
        let mut batch = vec![first];
        while let Ok(request) = requests.try_recv() {
            batch.push(request);
        }
        let changes = batch.iter().flat_map(|request| &request.changes);
        let outcome = file.write(changes).map_err(StoreError);
        if let Err(error) = &outcome {
            tracing::error!(%error, "the worker's state was not written");
        }
        for request in batch {
            // Whoever does not wait for the outcome has lost interest in it.
            let _ = request.done.send(outcome.clone());
        }
    }
}

/// The file, as long as it can be written.
struct StoreFile {
    /// None after a failure of a file. redb refuses everything then, for ever, until the
    /// file is opened again: a disk that was full for a moment must not silence
    /// the worker.
    database: Option<Database>,
    /// None for a store in memory.
    path: Option<PathBuf>,
}

impl StoreFile {
    fn write<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) -> Result<(), String> {
        let database = match (self.database.take(), &self.path) {
            (Some(database), _) => database,
            (None, Some(path)) => reopen(path)?,
            (None, None) => return Err("the store is closed".to_owned()),
        };
        let outcome = write(&database, changes).map_err(|error| error.to_string());
        if outcome.is_ok() || self.path.is_none() {
            self.database = Some(database);
        }
        outcome
    }
}

fn reopen(path: &Path) -> Result<Database, String> {
    let opened =
        std::panic::catch_unwind(|| Database::builder().set_cache_size(CACHE_BYTES).open(path));
    match opened {
        Ok(opened) => opened.map_err(|error| error.to_string()),
        Err(_) => Err("a part of the file is missing".to_owned()),
    }
}

fn write<'a>(
    database: &Database,
    changes: impl Iterator<Item = &'a Change>,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for change in changes {
        apply(&transaction, change)?;
    }
    Ok(transaction.commit()?)
}

fn apply(transaction: &redb::WriteTransaction, change: &Change) -> Result<(), redb::Error> {
    match change {
        Change::PutApp(app) => {
            let (key, value) = (app.address().0, records::encode(app));
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
            let mut table = transaction.open_table(DEPARTED)?;
            table.insert(departed.serial, value.as_slice())?;
        }
        Change::RemoveDeparted(serial) => {
            transaction.open_table(DEPARTED)?.remove(serial)?;
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
        Change::PutClock(now_ms) => put(transaction, CLOCK, now_ms)?,
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
