//! What has changed of which app since a client asked last.
//!
//! Clients that keep a list of all apps, such as the console, ask every second, and a
//! worker may have a hundred thousand apps of which a handful do anything. So each app
//! has a *stamp*, a number that is higher than all before it, from its latest change. An
//! app in the table of active apps may change at any time: it is looked at when a client
//! asks, and stamped if it looks different. Any other app changes by operations only, and
//! those stamp it when they are done; a request for it enters it in that table. What has
//! changed is told in the order of serial numbers, so a client that takes it in parts comes
//! to an end however often apps change meanwhile. Called by `api/operation`
//! ([`Worker::look`]); stamps come from `deploy`, `lifecycle`, `domains`, `app_settings` and
//! `usage`. Nothing of this is written down: a daemon that starts knows of no client.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost::Message as _;
use tokio::sync::OwnedMutexGuard;
use wapo_host::QuotaKind;
use wapo_rpc::AppAddress;
use wapo_rpc::message::AppInfo;

use super::Worker;
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
    epoch: u64,
    /// A guest cannot choose what looks the same.
    hasher: RandomState,
    log: Mutex<Log>,
    looking: Arc<tokio::sync::Mutex<Looked>>,
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
    without_gas: HashSet<u64>,
}

/// The turn to look: one client's at a time, so that what was told of an app last is what
/// is remembered of it.
pub(crate) type LookTurn = OwnedMutexGuard<Looked>;

/// What a client knows of the apps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Revision {
    epoch: u64,
    known: Known,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
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
    fn is_continued(self) -> bool {
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
    fn begin(&self, since: Since) -> Begun {
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
struct Begun {
    /// The client knows all changes up to this stamp.
    from: u64,
    /// In the end it knows all changes up to this one.
    until: u64,
    /// It was told of apps below this serial number.
    next: u64,
    removed: HashSet<AppAddress>,
    /// Whether the answer is added to what it has.
    is_delta: bool,
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

impl Worker {
    /// Waits for the turn to look.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a client that leaves is waited for by nobody.
    pub(crate) async fn turn_to_look(&self) -> LookTurn {
        Arc::clone(&self.changes.looking).lock_owned().await
    }

    /// What has changed since then, as `describe` tells it, of `max` apps at most, in the
    /// order of their serial numbers. Takes a look at each active app; blocks for a moment.
    pub(crate) fn look(
        &self,
        looked: &mut Looked,
        since: Since,
        max: usize,
        describe: fn(&Arc<App>) -> AppInfo,
    ) -> Listing {
        if !since.is_continued() {
            self.stamp_changed(looked, describe);
        }
        // From here on every change gets a stamp that is told next time. It may be told
        // this time as well, but none is missed.
        let mut begun = self.changes.begin(since);
        let mut found = self.changed_after(begun.from, begun.next);
        let has_more = found.len() > max;
        if has_more {
            found.select_nth_unstable_by_key(max, |app| app.serial);
            found.truncate(max);
        }
        found.sort_unstable_by_key(|app| app.serial);
        let known = match found.last() {
            Some(last) if has_more => Known::Part {
                from: begun.from,
                until: begun.until,
                next: last.serial + 1,
            },
            _ => Known::All { stamp: begun.until },
        };
        found.retain(|app| !app.is_removed());
        let mut apps = Vec::with_capacity(found.len());
        for app in &found {
            let info = describe(app);
            self.note_look(app, &info);
            begun.removed.remove(&app.address);
            apps.push(info);
        }
        Listing {
            apps,
            removed: begun.removed.into_iter().collect(),
            revision: Revision {
                epoch: self.changes.epoch,
                known,
            },
            is_delta: begun.is_delta,
            has_more,
        }
    }

    /// Stamps apps that have changed by themselves.
    fn stamp_changed(&self, looked: &mut Looked, describe: fn(&Arc<App>) -> AppInfo) {
        for app in self.active.all() {
            self.note_look(&app, &describe(&app));
        }
        if self.quotas.all.limit(QuotaKind::Gas).is_none() {
            return;
        }
        // What other apps use up is missing to those that are not active, too.
        let before = std::mem::take(&mut looked.without_gas);
        for app in self.all_apps() {
            let has_none = app.gas_used_up().is_some();
            if has_none {
                looked.without_gas.insert(app.serial);
            }
            if has_none != before.contains(&app.serial) {
                self.changes.stamp(&app);
            }
        }
    }

    /// Stamps an active app if it looks different from the last look at it.
    fn note_look(&self, app: &App, info: &AppInfo) {
        if !self.active.has(app) {
            return;
        }
        let mut info = info.clone();
        without_time(&mut info);
        let looks = (info.encode_to_vec(), app.last_request());
        let digest = self.changes.hasher.hash_one(looks);
        if self.active.note_look(app, digest) {
            self.changes.stamp(app);
        }
    }

    /// Apps with higher stamps than this, from a serial number on.
    fn changed_after(&self, stamp: u64, next: u64) -> Vec<Arc<App>> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        let found = apps
            .values()
            .filter(|app| app.serial >= next && app.changed_at.load(Ordering::Relaxed) > stamp);
        found.cloned().collect()
    }
}

/// Takes out what grows with time alone.
fn without_time(info: &mut AppInfo) {
    info.last_query_elapsed = 0;
    for instance in &mut info.instance_list {
        instance.uptime_ms = 0;
        instance.next_start_ms = 0;
    }
    if let Some(usage) = &mut info.usage {
        usage.memory_mib_seconds = 0;
        usage.running_time_ms = 0;
    }
}

#[cfg(test)]
mod tests;
