//! The look at all apps for a client that wants to know what has changed.
//!
//! Stamps apps that have changed by themselves; what stamps are is in `changes`. Called by
//! `api/operation`.

use std::hash::BuildHasher as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use prost::Message as _;
use wapo_host::QuotaKind;
use wapo_rpc::message::AppInfo;

use super::Worker;
use super::app::App;
use super::changes::{Known, Listing, LookTurn, Looked, Revision, Since};

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
