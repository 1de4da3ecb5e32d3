//! Operations on apps: start, stop, resize, remove.
//!
//! A change is in the store before it is confirmed, and a task that ends instances
//! does not wait for one that starts some. What was begun is finished even if
//! its client has gone: each operation runs in a task of its own. Called by
//! `api` and by embedding programs through `server`; deployments are in `deploy`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout_at};
use wapo_host::ExitReason;
use wapo_rpc::AppAddress;

use super::app::App;
use super::blob_sizes::BlobSizes;
use super::instance::{Instance, Kind};
use super::instances::{Start, drain, stop_now};
use super::ledger::Ledger;
use super::ready::{Expected, NotReady};
use super::{Family, Worker};
use crate::boot_data;
use crate::error::AppError;
use crate::limits::{LOAD_WAIT, READY_WAIT, RESTORED_AT_A_TIME};
use crate::store::{AppRecord, Change, Totals};

impl Worker {
    /// Starts a stopped app.
    ///
    /// # Errors
    ///
    /// [`AppError`]; the app is as it was then.
    ///
    /// # Cancel safety
    ///
    /// As [`deploy`](Self::deploy).
    pub(crate) async fn start_app(self: &Arc<Self>, address: AppAddress) -> Result<(), AppError> {
        let app = self.app(&address).ok_or(AppError::NotFound(address))?;
        if app.manifest.on_demand {
            return Err(AppError::OnDemand);
        }
        let wanted = app.target().max(1);
        self.resize(address, wanted).await.map(drop)
    }

    /// Stops an app; it stays deployed.
    ///
    /// # Errors
    ///
    /// [`AppError`]; [`AppError::Changing`] while the app is still being deployed.
    ///
    /// # Cancel safety
    ///
    /// As [`deploy`](Self::deploy).
    pub(crate) async fn stop_app(self: &Arc<Self>, address: AppAddress) -> Result<(), AppError> {
        let app = self.app(&address).ok_or(AppError::NotFound(address))?;
        already_deployed(&app)?;
        let worker = Arc::clone(self);
        in_background(async move { worker.stop_to_end(&app).await }).await
    }

    /// Does not wait for tasks that start instances at this moment: those find that
    /// they are not wanted any more.
    async fn stop_to_end(self: &Arc<Self>, app: &Arc<App>) -> Result<(), AppError> {
        let _changing = self.changes.when_done(app);
        let deadline = Instant::now() + self.limits.drain_grace;
        let target_before = {
            let mut state = app.state();
            state.generation += 1;
            state.is_closing = true;
            std::mem::take(&mut state.target)
        };
        let instances = app.instances();
        drain(app, &instances, deadline).await;
        // Requests that wait learn that nobody will come.
        app.state().is_closing = false;
        app.changed.notify_waiters();
        let written = self.write_record(app, Vec::new()).await;
        if written.is_err() {
            app.state().target = target_before;
        }
        written
    }

    /// Gives an app as many instances, as far as there are slots, and says how
    /// many it has.
    ///
    /// # Errors
    ///
    /// [`AppError`] when more are wanted and not a single one could be started,
    /// or for more than one instance of an app that is not resizable;
    /// [`AppError::Changing`] while the app is being deployed or stopped.
    ///
    /// # Cancel safety
    ///
    /// As [`deploy`](Self::deploy).
    pub(crate) async fn resize(
        self: &Arc<Self>,
        address: AppAddress,
        instances: u32,
    ) -> Result<u32, AppError> {
        let app = self.app(&address).ok_or(AppError::NotFound(address))?;
        if instances > 0 && app.manifest.on_demand {
            return Err(AppError::OnDemand);
        }
        if instances > 1 && !app.manifest.resizable {
            return Err(AppError::NotResizable(app.shown()));
        }
        already_deployed(&app)?;
        let worker = Arc::clone(self);
        in_background(async move {
            match instances {
                0 => worker.stop_to_end(&app).await.map(|()| 0),
                some => worker.resize_to_end(&app, some).await,
            }
        })
        .await
    }

    async fn resize_to_end(
        self: &Arc<Self>,
        app: &Arc<App>,
        instances: u32,
    ) -> Result<u32, AppError> {
        let one_at_a_time = change(app, Instant::now() + READY_WAIT).await?;
        still_here(app)?;
        let _changing = self.changes.when_done(app);
        // A stop that begins after this is seen by the generation.
        let start = Start::new(app, Kind::Persistent, Instant::now() + LOAD_WAIT);
        if app.state().is_closing {
            return Err(AppError::Changing);
        }
        let before = app.instances();
        let persistent = app.persistent_count();
        let more = instances.saturating_sub(persistent);
        let (started, failure) = self.grow(app, start, more).await;
        let ready = match started.is_empty() {
            true => Ok(()),
            false => {
                let deadline = Instant::now() + READY_WAIT;
                let expected = Expected::beside(app, &before);
                expected.wait(app, &started, deadline).await
            }
        };
        let (failure, missing) = match ready {
            Err(NotReady::Failed(reason)) => {
                stop_now(app, &started).await;
                (failure.or(Some(AppError::DidNotStart(reason))), None)
            }
            Err(later) => (failure, Some(later.to_string())),
            Ok(()) => (failure, None),
        };
        let now = app.persistent_count();
        let (target_before, surplus) = {
            let mut state = app.state();
            if state.generation != start.generation {
                return Err(AppError::Changing);
            }
            let target = match failure {
                Some(error) if now <= persistent => return Err(error),
                Some(_) => instances.min(now),
                None => instances,
            };
            // The newest. A task that sees the target finds them leaving.
            let surplus = state.persistent().skip(instances as usize);
            let surplus: Vec<_> = surplus.cloned().collect();
            surplus.iter().for_each(|one| one.leave());
            (std::mem::replace(&mut state.target, target), surplus)
        };
        drop(one_at_a_time);
        drain(app, &surplus, Instant::now() + self.limits.drain_grace).await;
        if let Err(error) = self.write_record(app, Vec::new()).await {
            app.state().target = target_before;
            return Err(error);
        }
        match missing {
            Some(what) => Err(AppError::NotReady(what)),
            None => Ok(app.persistent_count()),
        }
    }

    /// Starts so many instances more, or as many as there are slots.
    async fn grow(
        self: &Arc<Self>,
        app: &Arc<App>,
        start: Start,
        count: u32,
    ) -> (Vec<Arc<Instance>>, Option<AppError>) {
        let mut started = Vec::new();
        // Not until so many are there: some have done their work in no time.
        for _ in 0..count {
            match self.start(app, start).await {
                Ok(instance) => started.push(instance),
                Err(error) => return (started, Some(error.into())),
            }
        }
        (started, None)
    }

    /// Removes an app: no request finds it any more, its instances are stopped,
    /// its usage is final when this returns.
    ///
    /// # Errors
    ///
    /// [`AppError`]. The app is as it was then, though its instances are others.
    ///
    /// # Cancel safety
    ///
    /// As [`deploy`](Self::deploy).
    pub(crate) async fn remove(self: &Arc<Self>, address: AppAddress) -> Result<(), AppError> {
        let app = self.app(&address).ok_or(AppError::NotFound(address))?;
        let worker = Arc::clone(self);
        in_background(async move { worker.remove_to_end(app).await }).await
    }

    async fn remove_to_end(self: &Arc<Self>, app: Arc<App>) -> Result<(), AppError> {
        let was_root = self.root().is_some_and(|root| root.serial == app.serial);
        let claims = self.edge.claims_of(&app);
        // It comes back when it cannot be removed.
        let _changing = self.changes.when_done(&app);
        if !self.withdraw(&app) {
            return Err(AppError::NotFound(app.address));
        }
        let deadline = Instant::now() + self.limits.drain_grace;
        drain(&app, &app.instances(), deadline).await;
        if let Err(error) = self.write_off(&app).await {
            app.reinstate();
            self.edge.enter(&app);
            self.claim_name(&app);
            self.bind_domains(&app);
            self.restore_claims(&app, &claims);
            if was_root {
                let mut root = self.root.write().unwrap_or_else(PoisonError::into_inner);
                root.get_or_insert_with(|| Arc::clone(&app));
            }
            self.start_one_adopted(&app).await;
            return Err(error.into());
        }
        self.bound_departed().await;
        self.remove_unused_code().await;
        Ok(())
    }

    /// Removes all apps.
    ///
    /// # Errors
    ///
    /// The first failure; the others are removed even so.
    pub(crate) async fn remove_all(self: &Arc<Self>) -> Result<(), AppError> {
        let worker = Arc::clone(self);
        in_background(async move { worker.remove_all_to_end().await }).await
    }

    async fn remove_all_to_end(self: &Arc<Self>) -> Result<(), AppError> {
        // All leave at the same time.
        let mut removing = tokio::task::JoinSet::new();
        for app in self.apps() {
            let worker = Arc::clone(self);
            removing.spawn(async move { worker.remove_to_end(app).await });
        }
        let mut outcome = Ok(());
        while let Some(removed) = removing.join_next().await {
            match removed.unwrap_or(Err(AppError::Interrupted)) {
                // Another task was faster.
                Ok(()) | Err(AppError::NotFound(_)) => {}
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    /// Writes an app down as it is now, with the changes that belong to it.
    ///
    /// # Errors
    ///
    /// [`AppError::NotFound`] when it was removed meanwhile; or the store cannot
    /// be written.
    pub(super) async fn write_record(
        &self,
        app: &App,
        changes: Vec<Change>,
    ) -> Result<(), AppError> {
        let one_at_a_time = app.writing.lock().await;
        self.write_record_under(app, &one_at_a_time, changes).await
    }

    /// The same for a caller that holds the app's right to write.
    pub(super) async fn write_record_under(
        &self,
        app: &App,
        _one_at_a_time: &MutexGuard<'_, ()>,
        mut changes: Vec<Change>,
    ) -> Result<(), AppError> {
        still_here(app)?;
        changes.push(Change::PutApp(Box::new(app.record())));
        self.store.commit(changes).await?;
        app.is_written.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Hides an app from all callers; says whether that was not done before. It
    /// stays in the table until the store has nothing of it any more.
    pub(super) fn withdraw(&self, app: &App) -> bool {
        self.withdraw_for(app, None)
    }

    /// The same for another app, which gets its name and its place at the root,
    /// so that no request finds nobody in between.
    pub(super) fn withdraw_for(&self, app: &App, heir: Option<&Arc<App>>) -> bool {
        if let Some(heir) = heir {
            self.inherit_name(app, heir);
            self.edge.hand_over(heir);
        }
        {
            let mut root = self.root.write().unwrap_or_else(PoisonError::into_inner);
            if root.as_ref().is_some_and(|root| root.serial == app.serial) {
                *root = heir.cloned();
            }
        }
        if !app.withdraw() {
            return false;
        }
        self.changes.note_removal(app.address);
        if heir.is_none() {
            self.forget_certificates(app);
        }
        self.release_name(app);
        self.edge.forget(app);
        true
    }

    /// Takes a withdrawn app out of the table, where an equal one may be already.
    pub(super) fn strike(&self, app: &App) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        let is_there = |one: &Arc<App>| one.serial == app.serial;
        if apps.get(&app.address).is_some_and(is_there) {
            apps.remove(&app.address);
        }
        drop(apps);
        self.active.remove(app);
        self.ports.withdraw(app.serial);
        app.changed.notify_waiters();
    }

    /// Takes over the apps of the store. They do not run yet.
    pub(super) fn adopt(
        &self,
        records: Vec<AppRecord>,
        usage: &BTreeMap<u64, Totals>,
        secrets: &mut BTreeMap<AppAddress, Vec<(String, Vec<u8>)>>,
    ) {
        let mut claiming = Vec::new();
        let boot_data = boot_data::sizes(&self.context.boot_data_dir);
        let mut sizes = BlobSizes::new(&self.blobs);
        for mut record in records.into_iter().map(AppRecord::whole) {
            let address = record.address();
            let claims = std::mem::take(&mut record.claims);
            let before = usage.get(&record.serial).copied().unwrap_or_default();
            let sealed = secrets.remove(&address).unwrap_or_default();
            let opened = self.open_secrets(&address, sealed);
            let family = Family(record.serial);
            let ledger = Ledger::new(before, sizes.of(&record.manifest));
            let kept = boot_data.get(&address).copied().unwrap_or_default();
            let app = self.assemble(record, family, (ledger, kept), opened);
            app.is_written.store(true, Ordering::Relaxed);
            self.edge.enter(&app);
            self.claim_name(&app);
            self.bind_domains(&app);
            // Time goes on for it from now on, not from when the last daemon ended.
            self.active.add(&app);
            claiming.push((Arc::clone(&app), claims));
            let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
            apps.insert(address, Arc::clone(&app));
            drop(apps);
            // From here on clients can be told of it.
            self.changes.stamp(&app);
        }
        // What an operator has given away comes first.
        for (app, claims) in claiming {
            self.restore_claims(&app, &claims);
        }
    }

    /// Starts every adopted app that should run, a few at a time.
    pub(super) async fn start_adopted(self: &Arc<Self>, mut waiting: Vec<Arc<App>>) {
        let mut starting = tokio::task::JoinSet::new();
        waiting.retain(|app| app.target() > 0);
        waiting.sort_by_key(|app| std::cmp::Reverse(app.serial));
        while !(waiting.is_empty() && starting.is_empty()) {
            while starting.len() < RESTORED_AT_A_TIME
                && let Some(app) = waiting.pop()
            {
                let worker = Arc::clone(self);
                starting.spawn(async move { worker.start_one_adopted(&app).await });
            }
            starting.join_next().await;
        }
    }

    /// Starts what an app lacks, besides what the caller does.
    pub(super) fn start_again(self: &Arc<Self>, app: &Arc<App>) {
        let (worker, app) = (Arc::clone(self), Arc::clone(app));
        // Of a type of its own: what it starts is watched by its callers.
        let starting: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(async move { worker.start_one_adopted(&app).await });
        tokio::spawn(starting);
    }

    pub(super) async fn start_one_adopted(self: &Arc<Self>, app: &Arc<App>) {
        let _changing = self.changes.when_done(app);
        if self.is_safe_mode {
            app.state().last_end = Some(ExitReason::Stopped);
            return;
        }
        let deadline = Instant::now() + LOAD_WAIT;
        let started = async {
            let _one_at_a_time = change(app, deadline).await?;
            let start = Start::new(app, Kind::Persistent, deadline);
            for _ in app.persistent_count()..app.target() {
                self.start(app, start).await?;
            }
            Ok::<_, AppError>(())
        };
        if let Err(error) = started.await
            && !self.is_closing()
            && !app.is_removed()
        {
            tracing::error!(app = %app.address, %error, "an app could not be started");
            let reason = ExitReason::FailedToStart(error.to_string());
            app.state().last_end = Some(reason);
        }
    }
}

/// The right to let an app grow.
pub(super) async fn change(app: &App, deadline: Instant) -> Result<MutexGuard<'_, ()>, AppError> {
    let one_at_a_time = timeout_at(deadline, app.changing().lock()).await;
    one_at_a_time.map_err(|_| AppError::Changing)
}

/// Refuses to change an app that is being removed.
fn still_here(app: &App) -> Result<(), AppError> {
    match app.is_removed() {
        true => Err(AppError::NotFound(app.address)),
        false => Ok(()),
    }
}

/// Refuses to change an app that the store does not have yet: its deployment may
/// fail, and nothing of it may stay then.
pub(super) fn already_deployed(app: &App) -> Result<(), AppError> {
    match app.is_in_store() {
        true => Ok(()),
        false => Err(AppError::Changing),
    }
}

/// Runs an operation to its end, also when nobody waits for it any more.
pub(super) async fn in_background<T: Send + 'static>(
    operation: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> Result<T, AppError> {
    let running = tokio::spawn(operation).await;
    running.unwrap_or(Err(AppError::Interrupted))
}
