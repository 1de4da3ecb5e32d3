//! The worker's persistent state: apps, usage, its session, secrets.
//!
//! One redb file. A thread of its own writes; what arrives while it is busy
//! goes into one transaction, so a thousand small changes cost a few
//! synchronisations of the disk. A change is durable when `commit` returns.
//! Written by `worker`, read once at start. Knows nothing of apps that run.

mod chain;
mod check;
mod contents;
mod error;
mod file;
mod records;
mod rows;

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::Instant;

use redb::Database;
use redb::backends::InMemoryBackend;
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::{mpsc, oneshot};

use crate::data_dir::{folder_of, sync_folder};
use crate::error::StartError;
use crate::limits::{STORE_LINE_INTERVAL, STORE_QUEUE_MAX};
use crate::reserve::Reserve;
use crate::system::FILE_MODE;

pub use check::STORE_THREAD;
use check::{contained, look_through};
use contents::make_tables;
use error::OpenError;
use file::{Look, Opener, Place, StoreFile};

use chain::ReportPage;
pub(crate) use chain::{BilledRecord, ChainEnd, ReportRecord};
pub(crate) use contents::{Change, Contents};
pub(crate) use error::StoreError;
pub(crate) use records::{
    AppRecord, BenchRecord, DepartedRecord, DomainRecord, KeyVersions, QuotaEntry, Restart,
    SessionRecord, Settings, Totals, UsageRecord, ports_of_record,
};

enum Request {
    Write {
        changes: Vec<Change>,
        done: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Looks into the file once what was queued before is in it.
    Read(Look),
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

    /// Where the chain of reports goes on.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn chain_end(&self) -> Result<ChainEnd, StoreError> {
        self.look(chain::end).await
    }

    /// Reports from a number on, up to `count` and as many bytes as an answer may
    /// have.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn reports(&self, from: u64, count: usize) -> Result<ReportPage, StoreError> {
        self.look(move |database| chain::page(database, from, count))
            .await
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

#[cfg(test)]
mod tests;
