//! The store's file while it is written: what happens when the disk is full, and
//! when the file turns out to be damaged. Called by the thread of `store`.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::Database;

use super::contents::{Change, apply};
use super::error::StoreError;
use crate::reserve::Reserve;

/// Memory that redb may use for its cache. The store is small.
pub(super) const CACHE_BYTES: usize = 16 << 20;

/// What a caller wants to know of the file.
pub(super) type Look = Box<dyn FnOnce(Result<&Database, StoreError>) + Send>;

/// Opens the file: the system's way, or that of a test.
pub(super) type Opener = Box<dyn Fn(&Path) -> Result<Database, redb::Error> + Send + Sync>;

/// The file, as long as it can be written.
pub(super) struct StoreFile {
    /// None after a failure. redb refuses everything then, for ever, until the
    /// file is opened again: a disk that was full for a moment must not silence
    /// the worker.
    database: Option<Database>,
    /// None for a store in memory.
    place: Option<Place>,
    is_damaged: bool,
}

/// Where the file is, and what helps when the disk is full.
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) open: Opener,
    pub(super) reserve: Option<Reserve>,
}

/// Why nothing was written.
enum Failure {
    /// The disk has no room.
    Full(String),
    Other(String),
    /// The file contradicts itself.
    Damaged,
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Self {
        match &error {
            redb::Error::Io(cause) if is_full(cause) => Self::Full(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        Self(match failure {
            Failure::Full(text) => format!("{text}; make room on the disk, or remove apps"),
            Failure::Other(text) => text,
            Failure::Damaged => {
                "its file is damaged: stop the daemon and put back a backup with `wapod restore`"
                    .to_owned()
            }
        })
    }
}

/// Whether an error means that there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// The way of the system.
pub(super) fn open(path: &Path) -> Result<Database, redb::Error> {
    let opened = Database::builder().set_cache_size(CACHE_BYTES).open(path);
    opened.map_err(redb::Error::from)
}

impl StoreFile {
    pub(super) fn new(database: Database, place: Option<Place>) -> Self {
        Self {
            database: Some(database),
            place,
            is_damaged: false,
        }
    }

    /// Writes groups of changes, and says for each whether it was. When there is
    /// no room, the reserve is given up for those that make some.
    pub(super) fn write(&mut self, groups: &[&[Change]]) -> Vec<Result<(), StoreError>> {
        let all: Vec<_> = groups.iter().map(|_| ()).collect();
        let failure = match self.write_once(groups) {
            Ok(()) => {
                self.remake_reserve();
                return all.into_iter().map(Ok).collect();
            }
            Err(failure) => failure,
        };
        let may: Vec<bool> = groups.iter().map(|group| makes_room(group)).collect();
        let is_full = matches!(failure, Failure::Full(_));
        let first = Err(StoreError::from(failure));
        if !(is_full && may.contains(&true) && self.give_up_reserve()) {
            return all.into_iter().map(|()| first.clone()).collect();
        }
        let chosen = groups.iter().zip(&may).filter(|(_, may)| **may);
        let chosen: Vec<_> = chosen.map(|(group, _)| *group).collect();
        let second = self.write_once(&chosen).map_err(StoreError::from);
        let outcome = |may: bool| if may { second.clone() } else { first.clone() };
        may.into_iter().map(outcome).collect()
    }

    /// Lets a caller look into the file.
    pub(super) fn look(&mut self, look: Look) {
        let database = match self.take() {
            Ok(database) => database,
            Err(failure) => return look(Err(failure.into())),
        };
        match catch_unwind(AssertUnwindSafe(|| look(Ok(&database)))) {
            Ok(()) => self.database = Some(database),
            Err(_) => {
                let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
                self.damaged();
            }
        }
    }

    /// The open file, which is opened again after a failure.
    fn take(&mut self) -> Result<Database, Failure> {
        if self.is_damaged {
            return Err(Failure::Damaged);
        }
        match (self.database.take(), &self.place) {
            (Some(database), _) => Ok(database),
            (None, Some(place)) => {
                let opened = catch_unwind(AssertUnwindSafe(|| (place.open)(&place.path)));
                Ok(opened.map_err(|_| self.damaged())??)
            }
            (None, None) => Err(Failure::Other("the store is closed".to_owned())),
        }
    }

    fn write_once(&mut self, groups: &[&[Change]]) -> Result<(), Failure> {
        let database = self.take()?;
        let changes = groups.iter().copied().flatten();
        match catch_unwind(AssertUnwindSafe(|| write(&database, changes))) {
            Ok(Ok(())) => {
                self.database = Some(database);
                Ok(())
            }
            Ok(Err(error)) => {
                if self.place.is_none() {
                    self.database = Some(database);
                } else {
                    // The library may panic once more when it lets go.
                    let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
                }
                Err(error.into())
            }
            Err(_) => {
                let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
                Err(self.damaged())
            }
        }
    }

    fn damaged(&mut self) -> Failure {
        self.is_damaged = true;
        Failure::Damaged
    }

    fn give_up_reserve(&self) -> bool {
        let reserve = self.place.as_ref().and_then(|place| place.reserve.as_ref());
        reserve.is_some_and(Reserve::give_up)
    }

    fn remake_reserve(&mut self) {
        if let Some(place) = &mut self.place
            && let Some(reserve) = &mut place.reserve
        {
            reserve.remake();
        }
    }
}

/// Whether changes make room, or are needed for whatever does.
fn makes_room(changes: &[Change]) -> bool {
    let is_deployment = |change: &Change| matches!(change, Change::PutNextSerial(_));
    let helps = |change: &Change| match change {
        Change::RemoveApp { .. }
        | Change::RemoveDeparted(_)
        | Change::RemoveSecret { .. }
        | Change::PutDeparted(_)
        | Change::PutSession(_) => true,
        Change::PutApp(app) => app.target == 0,
        _ => false,
    };
    changes.iter().any(helps) && !changes.iter().any(is_deployment)
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
