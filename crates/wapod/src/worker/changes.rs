//! What has changed of which app since a client asked last.
//!
//! Clients that keep a list of all apps, such as the console, ask every second, and a
//! worker may have a hundred thousand apps of which a handful do anything. So each app
//! has a *stamp*, a number that is higher than all before it, from its latest change. An
//! app in the table of active apps may change at any time: it is looked at when a client
//! asks, and stamped if it looks different. Any other app changes by operations only, and
//! those stamp it when they are done; a request for it enters it in that table. What has
//! changed is told in the order of serial numbers, so a client that takes it in parts comes
//! to an end however often apps change meanwhile. Asked by `look`; stamps come from
//! `deploy`, `lifecycle`, `domains`, `app_settings` and `usage`. Nothing of this is written down: a daemon that starts knows of no client.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::RandomState;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;
use wapo_rpc::AppAddress;
use wapo_rpc::message::AppInfo;

use super::app::App;

/// Removals of apps that are remembered, the latest ones.
///
/// A client whose last answer is older than that gets the whole list. Without a bound a
/// worker whose apps come and go would remember each of them; this many take some 200 KB,
/// and at a hundred removals in a second they are those of the last 40 seconds.
const REMOVALS_KEPT: usize = 4096;

/// The stamps of a worker, and the apps that are gone.
pub(super) struct Changes {
    /// Tells this run of the daemon from others.
    pub(super) epoch: u64,
    /// A guest cannot choose what looks the same.
    pub(super) hasher: RandomState,
    log: Mutex<Log>,
    pub(super) looking: Arc<tokio::sync::Mutex<Looked>>,
}

struct Log {
    /// The highest stamp so far.
    last: u64,
    /// With their stamps, in that order.
    removals: VecDeque<(u64, AppAddress)>,
    /// The stamp of the latest removal that is not remembered.
    forgotten: u64,
}

/// What only those who look need.
#[derive(Default)]
pub(crate) struct Looked {
    /// Serial numbers of apps without gas.
    pub(super) without_gas: HashSet<u64>,
}

/// The turn to look: one client's at a time, so that what was told of an app last is what
/// is remembered of it.
pub(crate) type LookTurn = OwnedMutexGuard<Looked>;

/// What a client knows of the apps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Revision {
    pub(super) epoch: u64,
    pub(super) known: Known,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Known {
    /// Everything up to this stamp.
    All { stamp: u64 },
    /// Everything up to the stamp `from`, and up to the stamp `until` what there is to say
    /// of apps below this serial number.
    Part { from: u64, until: u64, next: u64 },
}

/// Since when a client wants to know what has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Since {
    /// It has nothing.
    Nothing,
    Revision(Revision),
}

impl Since {
    /// Whether it takes a list in parts, and has the first of them.
    pub(super) fn is_continued(self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Revision(revision) => matches!(revision.known, Known::Part { .. }),
        }
    }
}

/// What a client is told.
pub(crate) struct Listing {
    /// By serial number.
    pub(crate) apps: Vec<AppInfo>,
    pub(crate) removed: Vec<AppAddress>,
    pub(crate) revision: Revision,
    /// Whether this is added to what the client has, and does not replace it.
    pub(crate) is_delta: bool,
    /// Whether there is more.
    pub(crate) has_more: bool,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = self.epoch;
        match self.known {
            Known::All { stamp } => write!(f, "{epoch:016x}.{stamp}"),
            Known::Part { from, until, next } => write!(f, "{epoch:016x}.{from}.{until}.{next}"),
        }
    }
}

impl From<&str> for Since {
    /// Reads what a client has kept of an earlier answer. A text that this daemon has not
    /// written may be that of an older or newer one: who has it knows nothing of this one.
    fn from(text: &str) -> Self {
        Revision::parse(text).map_or(Self::Nothing, Self::Revision)
    }
}

impl Revision {
    fn parse(text: &str) -> Option<Self> {
        let (epoch, numbers) = text.split_once('.')?;
        // One more than there may be, so that a long text is not read to its end.
        let parsed = numbers.splitn(4, '.').map(|number| number.parse().ok());
        let known = match *parsed.collect::<Option<Vec<u64>>>()? {
            [stamp] => Known::All { stamp },
            [from, until, next] => Known::Part { from, until, next },
            _ => return None,
        };
        let epoch = u64::from_str_radix(epoch, 16).ok()?;
        let read = Self { epoch, known };
        // One text for each: no signs, capitals or zeros that could be left out.
        (read.to_string() == text).then_some(read)
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            epoch: rand::random(),
            hasher: RandomState::new(),
            log: Mutex::new(Log {
                last: 0,
                removals: VecDeque::new(),
                forgotten: 0,
            }),
            looking: Arc::default(),
        }
    }
}

impl Changes {
    /// Says that an app has changed. It has: a client that is told of the stamp is told
    /// how the app looks after it.
    pub(super) fn stamp(&self, app: &App) {
        let mut log = self.log();
        log.last += 1;
        // Under the lock: a look that reads the highest stamp finds all of them set.
        app.changed_at.store(log.last, Ordering::Relaxed);
    }

    /// Says so when the operation that changes it is over, however it ends: one that
    /// fails changes the app back.
    pub(super) fn when_done<'a>(&'a self, app: &'a App) -> Changing<'a> {
        Changing { changes: self, app }
    }

    /// Says that the list does not have an app any more.
    pub(super) fn note_removal(&self, address: AppAddress) {
        let mut log = self.log();
        log.last += 1;
        let stamp = log.last;
        log.removals.push_back((stamp, address));
        if log.removals.len() > REMOVALS_KEPT
            && let Some((stamp, _)) = log.removals.pop_front()
        {
            log.forgotten = stamp;
        }
    }

    /// Says that any number of apps is gone: each client gets the whole list next.
    pub(super) fn forget(&self) {
        let mut log = self.log();
        log.last += 1;
        log.forgotten = log.last;
        log.removals.clear();
    }

    /// What a client is to be told. All changes up to `until` have been made.
    pub(super) fn begin(&self, since: Since) -> Begun {
        let log = self.log();
        let now = log.last;
        let is_known = |stamp: u64| log.forgotten <= stamp && stamp <= now;
        match since {
            Since::Revision(Revision { epoch, known }) if epoch == self.epoch => match known {
                Known::All { stamp } if is_known(stamp) => {
                    let is_new = |(removal, _): &&(u64, AppAddress)| *removal > stamp;
                    let new = log.removals.iter().rev().take_while(is_new);
                    return Begun {
                        from: stamp,
                        until: now,
                        next: 0,
                        removed: new.map(|(_, address)| *address).collect(),
                        is_delta: true,
                    };
                }
                // Removals since the first part are told when it knows the rest.
                Known::Part { from, until, next } if from <= until && is_known(until) => {
                    return Begun {
                        from,
                        until,
                        next,
                        removed: HashSet::new(),
                        is_delta: true,
                    };
                }
                Known::All { .. } | Known::Part { .. } => {}
            },
            Since::Nothing | Since::Revision(_) => {}
        }
        Begun {
            from: 0,
            until: now,
            next: 0,
            removed: HashSet::new(),
            is_delta: false,
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // Whole between any two statements.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Changes::begin`].
pub(super) struct Begun {
    /// The client knows all changes up to this stamp.
    pub(super) from: u64,
    /// In the end it knows all changes up to this one.
    pub(super) until: u64,
    /// It was told of apps below this serial number.
    pub(super) next: u64,
    pub(super) removed: HashSet<AppAddress>,
    /// Whether the answer is added to what it has.
    pub(super) is_delta: bool,
}

/// See [`Changes::when_done`].
pub(super) struct Changing<'a> {
    changes: &'a Changes,
    app: &'a App,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.changes.stamp(self.app);
    }
}

#[cfg(test)]
mod tests;
