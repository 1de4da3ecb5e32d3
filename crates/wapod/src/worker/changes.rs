//! What has changed of which app since a client asked last.
//!
//! Clients that keep a list of all apps, such as the console, ask every second, and a
//! worker may have a hundred thousand apps of which a handful do anything. So each app
//! has a *stamp*, a number that is higher than all before it, from its latest change. An
//! app in the table of active apps may change at any time: it is looked at when a client
//! asks, and stamped if it looks different. Any other app changes by operations only, and
//! those stamp it when they are done. Called by `api/operation` ([`Worker::look`]); stamps
//! come from `deploy`, `lifecycle`, `domains`, `app_settings` and `usage`. Nothing of this
//! is written down: a daemon that starts knows of no client.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost::Message as _;
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
    looking: Mutex<Looked>,
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
struct Looked {
    /// Serial numbers of apps without gas.
    without_gas: HashSet<u64>,
}

/// Up to which change a client knows the apps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Revision {
    epoch: u64,
    /// It knows of removals up to this stamp,
    removals: u64,
    /// and of apps up to this one, which is lower while it takes the list in parts.
    apps: u64,
}

/// Since when a client wants to know what has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Since {
    /// It has nothing.
    Nothing,
    Revision(Revision),
}

/// What a client is told.
pub(crate) struct Listing {
    /// In no order.
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
        write!(f, "{:016x}.{}.{}", self.epoch, self.removals, self.apps)
    }
}

/// A text that no daemon has given as a revision.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`since` is no revision: it is `0` or the `revision` of an earlier answer")]
pub(crate) struct BadRevision;

impl FromStr for Since {
    type Err = BadRevision;

    fn from_str(text: &str) -> Result<Self, BadRevision> {
        if text == "0" {
            return Ok(Self::Nothing);
        }
        let (epoch, stamps) = text.split_once('.').ok_or(BadRevision)?;
        let (removals, apps) = stamps.split_once('.').ok_or(BadRevision)?;
        let read = Revision {
            epoch: u64::from_str_radix(epoch, 16).map_err(|_| BadRevision)?,
            removals: removals.parse().map_err(|_| BadRevision)?,
            apps: apps.parse().map_err(|_| BadRevision)?,
        };
        // One text for each: no signs, capitals or zeros that could be left out.
        match read.to_string() == text {
            true => Ok(Self::Revision(read)),
            false => Err(BadRevision),
        }
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
            looking: Mutex::default(),
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

    /// How far a client is told this time. All changes up to there have been made.
    fn begin(&self, since: Since) -> Begun {
        let log = self.log();
        let now = log.last;
        match since {
            Since::Revision(known)
                if known.epoch == self.epoch
                    && known.apps <= known.removals
                    && known.removals <= now
                    && known.removals >= log.forgotten =>
            {
                let is_new = |(stamp, _): &&(u64, AppAddress)| *stamp > known.removals;
                let new = log.removals.iter().rev().take_while(is_new);
                Begun {
                    now,
                    from: Some(known.apps),
                    removed: new.map(|(_, address)| *address).collect(),
                }
            }
            Since::Nothing | Since::Revision(_) => Begun {
                now,
                from: None,
                removed: HashSet::new(),
            },
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // Whole between any two statements.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looking(&self) -> MutexGuard<'_, Looked> {
        // A set is whole between two statements.
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Changes::begin`].
struct Begun {
    now: u64,
    /// The client knows the apps up to this stamp; `None` when it gets the whole list.
    from: Option<u64>,
    removed: HashSet<AppAddress>,
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
    /// What has changed since then, as `describe` tells it, of `max` apps at most, which
    /// have changed first. Takes a look at each active app; blocks for a moment.
    pub(crate) fn look(
        &self,
        since: Since,
        max: usize,
        describe: fn(&Arc<App>) -> AppInfo,
    ) -> Listing {
        // One at a time: what was told of an app last is what is remembered of it.
        let mut looked = self.changes.looking();
        self.stamp_changed(&mut looked, describe);
        // From here on every change gets a stamp that is told next time. It may be told
        // this time as well, but none is missed.
        let mut begun = self.changes.begin(since);
        let mut found = self.changed_after(begun.from.unwrap_or(0));
        let mut told = begun.now;
        let has_more = found.len() > max;
        if has_more {
            found.select_nth_unstable_by_key(max, |(stamp, _)| *stamp);
            found.truncate(max);
            let last = found.iter().map(|(stamp, _)| *stamp).max();
            // Apps with higher stamps may have been missed.
            told = told.min(last.unwrap_or(0));
        }
        found.retain(|(_, app)| !app.is_removed());
        let mut apps = Vec::with_capacity(found.len());
        for (_, app) in &found {
            let info = describe(app);
            self.note_look(app, info.clone());
            begun.removed.remove(&app.address);
            apps.push(info);
        }
        Listing {
            apps,
            removed: begun.removed.into_iter().collect(),
            revision: Revision {
                epoch: self.changes.epoch,
                removals: begun.now,
                apps: told,
            },
            is_delta: begun.from.is_some(),
            has_more,
        }
    }

    /// Stamps apps that have changed by themselves.
    fn stamp_changed(&self, looked: &mut Looked, describe: fn(&Arc<App>) -> AppInfo) {
        for app in self.active.all() {
            self.note_look(&app, describe(&app));
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
    fn note_look(&self, app: &App, mut info: AppInfo) {
        without_time(&mut info);
        let looks = (info.encode_to_vec(), app.last_request());
        let digest = self.changes.hasher.hash_one(looks);
        if self.active.note_look(app, digest) {
            self.changes.stamp(app);
        }
    }

    /// Apps with higher stamps than this.
    fn changed_after(&self, stamp: u64) -> Vec<(u64, Arc<App>)> {
        let apps = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        let stamped = apps.values().filter_map(|app| {
            let changed_at = app.changed_at.load(Ordering::Relaxed);
            (changed_at > stamp).then(|| (changed_at, Arc::clone(app)))
        });
        stamped.collect()
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
