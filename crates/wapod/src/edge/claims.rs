//! Names that apps have because they asked for them first, as the worker keeps them.
//!
//! Says which have changed and which an app has, and gives them back after a restart. An app
//! whose place another one has yet to take does not have what only that one asked for. Writes
//! nothing: called by `worker::claims`, told by `listening`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wapo_sni::Pattern;

use super::Edge;
use super::serving::Serving;
use crate::worker::{App, Family};

/// Families whose names have changed since they were looked at.
#[derive(Default)]
pub(super) struct Changed {
    families: Mutex<HashSet<Family>>,
    told: Notify,
}

impl Changed {
    fn families(&self) -> MutexGuard<'_, HashSet<Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Edge {
    /// Names that an app has by asking for them.
    pub(crate) fn claims_of(&self, app: &App) -> Vec<String> {
        self.read(|table| {
            let claimed = table.names.claimed(app.family());
            let own = claimed.filter(|(_, serving)| serving.claimer() <= app.serial);
            own.map(|(name, _)| name.to_string()).collect()
        })
    }

    /// Gives an app names that it had, and those back that it cannot have any more.
    pub(crate) fn restore_claims(&self, app: &App, names: &[String]) -> Vec<String> {
        let family = app.family();
        self.write(|table| {
            let kin = table.families.get(&family).cloned();
            let mut claim = |name: &str| {
                let (pattern, kin) = (name.parse::<Pattern>().ok()?, kin.clone()?);
                let make = || Arc::new(Serving::new(kin, app.serial));
                table
                    .names
                    .claim(pattern, family, make)
                    .is_ok()
                    .then_some(())
            };
            let lost = names.iter().filter(|name| claim(name).is_none());
            lost.cloned().collect()
        })
    }

    /// What a family has asked for is not what it was.
    pub(crate) fn claims_changed(&self, family: Family) {
        self.changed_claims.families().insert(family);
        self.changed_claims.told.notify_one();
    }

    /// Waits until a family has got or lost a name.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn until_claims_change(&self) {
        self.changed_claims.told.notified().await;
    }

    /// The apps whose names have changed since this was called last.
    pub(crate) fn take_changed_claims(&self) -> Vec<Arc<App>> {
        let families = std::mem::take(&mut *self.changed_claims.families());
        self.read(|table| {
            let kin = |family| table.families.get(family)?.app();
            families.iter().filter_map(kin).collect()
        })
    }
}
