//! Apps of which the store may not have everything that they have used.
//!
//! A worker may have a hundred thousand apps, nearly all of which nobody asks for
//! anything: what is done every second is done for those that are in this table. An app
//! is in it from its deployment, its adoption or the start of an instance until it has no
//! instance any more and its usage is written. Filled by `deploy`, `lifecycle` and
//! `instances`, emptied by `usage`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::app::App;

/// The table, by serial number.
#[derive(Default)]
pub(super) struct ActiveApps(Mutex<HashMap<u64, Arc<App>>>);

impl ActiveApps {
    /// Enters an app. One that is about to start an instance says so in its state before.
    pub(super) fn add(&self, app: &Arc<App>) {
        self.apps().insert(app.serial, Arc::clone(app));
    }

    /// All of them at the moment, in no order.
    pub(super) fn all(&self) -> Vec<Arc<App>> {
        self.apps().values().cloned().collect()
    }

    /// Takes out an app that is gone.
    pub(super) fn remove(&self, app: &App) {
        self.apps().remove(&app.serial);
    }

    /// Takes out those of these apps that may leave; their serial numbers.
    pub(super) fn release(&self, apps: &[Arc<App>], may_leave: impl Fn(&App) -> bool) -> Vec<u64> {
        let mut table = self.apps();
        let leaving = apps.iter().filter(|app| may_leave(app));
        let released: Vec<u64> = leaving.map(|app| app.serial).collect();
        for serial in &released {
            table.remove(serial);
        }
        // What a burst has taken is given back.
        if table.capacity() > 4 * table.len().max(SPARE) {
            table.shrink_to_fit();
        }
        released
    }

    fn apps(&self) -> MutexGuard<'_, HashMap<u64, Arc<App>>> {
        // The table is whole between two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Apps for which the table may have room without need.
const SPARE: usize = 1024;
