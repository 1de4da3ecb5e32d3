//! Apps of which the store may not have everything that they have used.
//!
//! A worker may have a hundred thousand apps, nearly all of which nobody asks for
//! anything: what is done every second is done for those that are in this table. An app
//! is in it from its deployment, its adoption or the start of an instance until it has no
//! instance any more and its usage is written. Filled by `deploy`, `lifecycle` and
//! `instances`, emptied by `usage`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::app::App;

/// The table, by serial number.
#[derive(Default)]
pub(super) struct ActiveApps(Mutex<HashMap<u64, Active>>);

struct Active {
    app: Arc<App>,
    /// A hash of how it looked when a client was told last.
    looked: Option<u64>,
}

impl ActiveApps {
    /// Enters an app, unless it is being removed: it might be taken out already. One that
    /// is about to start an instance says so in its state before.
    pub(super) fn add(&self, app: &Arc<App>) {
        let mut table = self.apps();
        if !app.is_removed() {
            table.entry(app.serial).or_insert_with(|| Active {
                app: Arc::clone(app),
                looked: None,
            });
        }
    }

    /// The serial numbers of all of them.
    pub(super) fn serials(&self) -> HashSet<u64> {
        self.apps().keys().copied().collect()
    }

    /// All of them at the moment, in no order.
    pub(super) fn all(&self) -> Vec<Arc<App>> {
        let table = self.apps();
        table.values().map(|one| Arc::clone(&one.app)).collect()
    }

    /// Whether it is in the table.
    pub(super) fn has(&self, app: &App) -> bool {
        self.apps().contains_key(&app.serial)
    }

    /// Remembers how an app looks, by a hash; says whether it is in the table and looked
    /// different before.
    pub(super) fn note_look(&self, app: &App, hash: u64) -> bool {
        let mut table = self.apps();
        let active = table.get_mut(&app.serial);
        active.is_some_and(|one| one.looked.replace(hash) != Some(hash))
    }

    /// Takes out an app that is gone.
    pub(super) fn remove(&self, app: &App) {
        self.apps().remove(&app.serial);
    }

    /// Takes out those of these apps that may leave, and gives them.
    pub(super) fn release<'a>(
        &self,
        apps: &'a [Arc<App>],
        may_leave: impl Fn(&App) -> bool,
    ) -> Vec<&'a Arc<App>> {
        let mut released = Vec::new();
        for some in apps.chunks(RELEASED_AT_ONCE) {
            let mut table = self.apps();
            for app in some.iter().filter(|app| may_leave(app)) {
                table.remove(&app.serial);
                released.push(app);
            }
        }
        let mut table = self.apps();
        // What a burst has taken is given back.
        if table.capacity() > 4 * table.len().max(SPARE) {
            table.shrink_to_fit();
        }
        released
    }

    fn apps(&self) -> MutexGuard<'_, HashMap<u64, Active>> {
        // The table is whole between two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Apps that are looked at under the lock at a time: a start of another one waits for it.
const RELEASED_AT_ONCE: usize = 256;

/// Apps for which the table may have room without need.
const SPARE: usize = 1024;

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use wapo_host::EngineConfig;

    use super::*;
    use crate::config::module_cache;
    use crate::worker::code::Code;
    use crate::worker::testing::{add_app, worker, worker_on};

    #[tokio::test]
    async fn an_app_leaves_when_nothing_of_it_runs_and_all_of_its_usage_is_written() {
        let worker = worker(1..=1).await;
        let (quiet, starting, new) = (
            add_app(&worker, 2),
            add_app(&worker, 3),
            add_app(&worker, 4),
        );
        starting.state().starting = 1;
        new.is_written.store(false, Ordering::Relaxed);
        for app in [&quiet, &starting, &new] {
            worker.active.add(app);
        }
        worker.write_usage().await.expect("written");
        assert_eq!(worker.active.serials(), HashSet::from([3, 4]));
        starting.state().starting = 0;
        new.is_written.store(true, Ordering::Relaxed);
        worker.write_usage().await.expect("written");
        assert_eq!(worker.active.serials(), HashSet::new());
        // Nothing was remembered of them that is not needed.
        let usage = quiet.ledger.record(0);
        assert!(!worker.books.has_written(quiet.serial, &usage));
    }

    #[tokio::test]
    async fn an_app_that_is_being_removed_does_not_come_back() {
        let worker = worker(1..=1).await;
        let app = add_app(&worker, 2);
        app.withdraw();
        worker.active.add(&app);
        assert_eq!(worker.active.serials(), HashSet::new());
        app.reinstate();
        worker.active.add(&app);
        assert_eq!(worker.active.serials(), HashSet::from([2]));
    }

    #[tokio::test]
    async fn an_app_that_leaves_holds_its_code_only_where_it_would_be_compiled_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = module_cache(folder.path().to_owned()).expect("a cache");
        for module_cache in [None, Some(disk)] {
            let has_disk = module_cache.is_some();
            let config = EngineConfig {
                module_cache,
                ..EngineConfig::default()
            };
            let worker = worker_on(config, 1..=1).await;
            let app = add_app(&worker, 2);
            let wasm = br#"(module (memory (export "memory") 1) (func (export "wapo_poll") (result i32) i32.const 1))"#;
            let wasm = wat::parse_bytes(wasm).expect("a module").into_owned();
            let program = worker.engine.load(&wasm).await.expect("a program");
            *app.code.lock().await = Code::Held(program.clone());
            worker.active.add(&app);
            worker.write_usage().await.expect("written");
            let is_released = matches!(&*app.code.lock().await, Code::Released(_));
            assert_eq!(is_released, has_disk);
            let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(9);
            let again = worker.program(&app, deadline).await.expect("it is there");
            assert_eq!(again.hash(), program.hash());
            assert!(matches!(&*app.code.lock().await, Code::Held(_)));
        }
    }
}
