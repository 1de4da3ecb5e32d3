//! What people do with apps: deploy, start, stop, resize, remove.
//!
//! A change is in the store before it is confirmed, and one app has one change
//! at a time. What was begun is finished even if whoever asked has gone: each
//! operation runs in a task of its own. Called by `api` and by embedding
//! programs through `server`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use wapo_host::net::policy::EgressRule;
use wapo_host::{ExitReason, Phase, Status};
use wapo_rpc::{AppAddress, AppManifest};

use super::app::{App, Instance, Kind};
use super::instances::wait_until_listening;
use super::ledger::Ledger;
use super::{Family, Worker, unix_ms};
use crate::blobs::BlobName;
use crate::error::AppError;
use crate::limits::{APPS_MAX, RESTORED_AT_A_TIME};
use crate::store::{AppRecord, Change, Settings, Totals};

/// Everything that a deployment says.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) manifest: AppManifest,
    pub(crate) reuse_instances: bool,
    /// Host name label.
    pub(crate) name: Name,
    pub(crate) settings: Settings,
    /// Instances to start with, for an app that is not on demand.
    pub(crate) instances: u32,
    /// The app whose place this one takes.
    pub(crate) replaces: Option<AppAddress>,
    /// Whether the deployment is done only when its instances run.
    pub(crate) waits: bool,
}

/// Which host name an app wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Name {
    /// This one, or the deployment fails.
    Exactly(String),
    /// This one if nobody has it.
    IfFree(String),
    None,
}

impl Worker {
    /// Deploys an app and waits until its first instance runs.
    ///
    /// # Errors
    ///
    /// [`AppError`]; nothing is deployed then.
    ///
    /// # Cancel safety
    ///
    /// The deployment goes on without whoever asked.
    pub(crate) async fn deploy(
        self: &Arc<Self>,
        deployment: Deployment,
    ) -> Result<(Arc<App>, Option<Arc<Instance>>), AppError> {
        let worker = Arc::clone(self);
        in_background(async move { worker.deploy_to_end(deployment).await }).await
    }

    async fn deploy_to_end(
        self: &Arc<Self>,
        deployment: Deployment,
    ) -> Result<(Arc<App>, Option<Arc<Instance>>), AppError> {
        self.check(&deployment).await?;
        let replaced = match deployment.replaces {
            Some(address) => Some(self.app(&address).ok_or(AppError::NotFound(address))?),
            None => None,
        };
        self.wait_until_left(&deployment.manifest.address()).await;
        let app = self.register(&deployment, replaced.as_deref())?;
        let inherited = match &replaced {
            Some(replaced) => self.inherit_secrets(&app, replaced),
            None => Ok(Vec::new()),
        };
        let started = match inherited {
            Ok(changes) => self.begin(&app, changes, deployment.waits).await,
            Err(error) => Err(error),
        };
        let instance = match started {
            Ok(instance) => instance,
            Err(error) => {
                self.forget(&app).await;
                return Err(error);
            }
        };
        if let Some(replaced) = replaced {
            self.hand_over(&replaced, &app).await?;
        }
        Ok((app, instance))
    }

    /// Checks what can be known before anything is changed.
    async fn check(&self, deployment: &Deployment) -> Result<(), AppError> {
        let settings = &deployment.settings;
        if let Some(asked) = settings.memory_max_bytes
            && asked > self.limits.memory_max_bytes
        {
            return Err(AppError::TooMuchMemory {
                asked,
                max: self.limits.memory_max_bytes,
            });
        }
        for rule in &settings.egress {
            if let Err(error) = rule.parse::<EgressRule>() {
                return Err(AppError::BadRule(error.to_string()));
            }
        }
        if let (Some((first, last)), Some(allowed)) =
            (settings.listen_ports, &self.limits.listen_ports)
            && !(allowed.contains(&first) && allowed.contains(&last))
        {
            return Err(AppError::PortsOutside {
                asked: format!("{first}..{last}"),
                allowed: format!("{}..{}", allowed.start(), allowed.end()),
            });
        }
        let missing = self.missing_blobs(&deployment.manifest).await;
        if missing.is_empty() {
            Ok(())
        } else {
            Err(AppError::MissingBlobs(missing))
        }
    }

    /// Blobs that the manifest names and that are not here.
    async fn missing_blobs(&self, manifest: &AppManifest) -> Vec<String> {
        let mut names = vec![manifest.code_hash.clone()];
        names.extend(manifest.required_blobs.iter().map(|(hash, _)| hash.clone()));
        let blobs = self.blobs.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let is_missing = |text: &String| {
                let name = text.parse::<BlobName>();
                !name.is_ok_and(|name| blobs.exists(&name))
            };
            names.into_iter().filter(is_missing).collect()
        });
        looking.await.unwrap_or_default()
    }

    /// Waits while an equal app is on its way out: what the store has of it must
    /// be gone before the new one is written down.
    async fn wait_until_left(&self, address: &AppAddress) {
        while let Some(app) = self.any_app(address) {
            let mut changed = std::pin::pin!(app.changed.notified());
            changed.as_mut().enable();
            let is_here = self
                .any_app(address)
                .is_some_and(|other| other.serial == app.serial);
            if is_here && !app.is_removed() {
                return;
            }
            if is_here {
                changed.await;
            }
        }
    }

    /// Enters an app into the tables, where an equal one is refused.
    fn register(
        &self,
        deployment: &Deployment,
        replaced: Option<&App>,
    ) -> Result<Arc<App>, AppError> {
        let address = deployment.manifest.address();
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        if apps.contains_key(&address) {
            return Err(AppError::AlreadyExists(address));
        }
        if apps.len() >= APPS_MAX {
            return Err(AppError::TooMany(APPS_MAX));
        }
        let name = self.choose_name(&deployment.name, replaced)?;
        let target = match deployment.manifest.on_demand {
            true => 0,
            false if deployment.manifest.resizable => deployment.instances.max(1),
            false => 1,
        };
        let record = AppRecord {
            serial: self.take_serial(),
            session: rand::random(),
            manifest: deployment.manifest.clone(),
            reuse_instances: deployment.reuse_instances,
            name,
            target,
            deployed_at_ms: unix_ms(),
            settings: deployment.settings.clone(),
        };
        let family = replaced.map_or(Family(record.serial), App::family);
        let app = self.assemble(record, family, Totals::default(), BTreeMap::new());
        // A name that the old app has is handed over when the new one runs.
        if replaced.is_none_or(|old| old.name() != app.name()) {
            self.claim_name(&app);
        }
        apps.insert(address, Arc::clone(&app));
        Ok(app)
    }

    /// Puts an app together that does not run yet.
    fn assemble(
        &self,
        record: AppRecord,
        family: Family,
        before: Totals,
        secrets: BTreeMap<String, String>,
    ) -> Arc<App> {
        let ledger = Arc::new(Ledger::new(before, self.stored_bytes(&record.manifest)));
        let embedder = self.embedder(record.address(), family, &record.settings, &ledger);
        Arc::new(App::new(record, embedder, ledger, secrets))
    }

    /// Bytes of the blobs that a manifest names. Looks at the disk, briefly.
    fn stored_bytes(&self, manifest: &AppManifest) -> u64 {
        let required = manifest.required_blobs.iter().map(|(hash, _)| hash);
        let names = required.chain([&manifest.code_hash]);
        let size = |text: &String| self.blobs.size(&text.parse().ok()?);
        names.filter_map(size).sum()
    }

    /// Writes a new app down and starts what should run.
    async fn begin(
        self: &Arc<Self>,
        app: &Arc<App>,
        mut changes: Vec<Change>,
        waits: bool,
    ) -> Result<Option<Arc<Instance>>, AppError> {
        self.program(app).await?;
        let _one_at_a_time = app.changing.lock().await;
        still_here(app)?;
        changes.push(Change::PutNextSerial(app.serial + 1));
        changes.push(Change::PutApp(app.record()));
        self.store.commit(changes).await?;
        app.is_written.store(true, Ordering::Relaxed);
        let mut first = None;
        for _ in 0..app.target() {
            let instance = self.start(app, Kind::Standing).await?;
            if waits {
                runs(&instance).await?;
            }
            first.get_or_insert(instance);
        }
        Ok(first)
    }

    /// Takes back a deployment that failed.
    async fn forget(&self, app: &Arc<App>) {
        // Whoever removes it at this moment does the rest as well.
        if !self.withdraw(app) {
            return;
        }
        stop_all(app).await;
        let _one_at_a_time = app.changing.lock().await;
        let change = Change::RemoveApp {
            app: app.address,
            serial: app.serial,
        };
        // It is marked in no other place; a daemon that starts again would try
        // once more, which does no harm.
        let _ = self.store.commit(vec![change]).await;
        self.strike(app);
    }

    /// Lets a new app take the place of an old one.
    async fn hand_over(self: &Arc<Self>, old: &Arc<App>, new: &Arc<App>) -> Result<(), AppError> {
        wait_until_listening(old, new).await;
        let name = new.name();
        let is_shared = !name.is_empty() && name == old.name();
        if is_shared {
            self.move_name(&name, old, new);
        }
        match self.remove_to_end(Arc::clone(old)).await {
            Err(AppError::NotFound(_)) | Ok(()) => Ok(()),
            Err(error) => {
                if is_shared {
                    self.move_name(&name, new, old);
                }
                self.forget(new).await;
                Err(error)
            }
        }
    }

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
    /// [`AppError`].
    ///
    /// # Cancel safety
    ///
    /// As [`deploy`](Self::deploy).
    pub(crate) async fn stop_app(self: &Arc<Self>, address: AppAddress) -> Result<(), AppError> {
        self.resize(address, 0).await.map(drop)
    }

    /// Gives an app as many instances, as far as there are slots, and says how
    /// many it has.
    ///
    /// # Errors
    ///
    /// [`AppError`] when more are wanted and not a single one could be started,
    /// or for more than one instance of an app that is not resizable.
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
        if instances > 1 && !app.manifest.resizable {
            return Err(AppError::NotResizable);
        }
        if instances > 0 && app.manifest.on_demand {
            return Err(AppError::OnDemand);
        }
        let worker = Arc::clone(self);
        in_background(async move { worker.resize_to_end(&app, instances).await }).await
    }

    async fn resize_to_end(
        self: &Arc<Self>,
        app: &Arc<App>,
        instances: u32,
    ) -> Result<u32, AppError> {
        let _one_at_a_time = app.changing.lock().await;
        still_here(app)?;
        let (before, target_before) = (app.standing_count(), app.target());
        let mut failure = None;
        // Not until so many are there: some have done their work in no time.
        for _ in before..instances {
            let started = match self.start(app, Kind::Standing).await {
                Ok(instance) => runs(&instance).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = started {
                failure = Some(error);
                break;
            }
        }
        let now = app.standing_count();
        let target = match failure {
            Some(error) if now <= before => return Err(error),
            Some(_) => instances.min(now),
            None => instances,
        };
        app.state().target = target;
        self.shrink(app, instances).await;
        let written = self.store.commit(vec![Change::PutApp(app.record())]);
        if let Err(error) = written.await {
            app.state().target = target_before;
            return Err(error.into());
        }
        Ok(app.standing_count())
    }

    /// Stops instances beyond a number, the newest first, and waits for them.
    /// Those that requests have started go only when all are to go.
    async fn shrink(&self, app: &App, instances: u32) {
        let surplus: Vec<_> = app
            .instances()
            .into_iter()
            .filter(|one| instances == 0 || one.kind == Kind::Standing)
            .skip(instances as usize)
            .collect();
        for instance in surplus.iter().rev() {
            instance.handle().stop();
        }
        wait_until_gone(app, &surplus).await;
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
        if !self.withdraw(&app) {
            return Err(AppError::NotFound(app.address));
        }
        stop_all(&app).await;
        // Whoever is changing the app finds it withdrawn, and writes nothing more.
        let changing = app.changing.lock().await;
        stop_all(&app).await;
        if let Err(error) = self.write_off(&app).await {
            app.reinstate();
            self.claim_name(&app);
            drop(changing);
            self.start_one_adopted(&app).await;
            return Err(error.into());
        }
        drop(changing);
        self.bound_departed().await;
        Ok(())
    }

    /// Removes all apps.
    ///
    /// # Errors
    ///
    /// The first failure; the others are removed even so.
    pub(crate) async fn remove_all(self: &Arc<Self>) -> Result<(), AppError> {
        // All are told before any is waited for.
        for app in self.apps() {
            app.instances().iter().for_each(|one| one.handle().stop());
        }
        let mut outcome = Ok(());
        for app in self.apps() {
            match self.remove(app.address).await {
                // Somebody else was faster.
                Ok(()) | Err(AppError::NotFound(_)) => {}
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    /// Hides an app from everybody; says whether that was not done before. It
    /// stays in the table until the store has nothing of it any more.
    fn withdraw(&self, app: &App) -> bool {
        if !app.withdraw() {
            return false;
        }
        self.release_name(app);
        let mut root = self.root.write().unwrap_or_else(PoisonError::into_inner);
        root.take_if(|root| root.serial == app.serial);
        true
    }

    /// Takes a withdrawn app out of the table.
    pub(super) fn strike(&self, app: &App) {
        let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.remove(&app.address);
        drop(apps);
        app.changed.notify_waiters();
    }

    /// Takes over the apps of the store. They do not run yet.
    pub(super) fn adopt(
        &self,
        records: Vec<AppRecord>,
        usage: &BTreeMap<u64, Totals>,
        secrets: &mut BTreeMap<AppAddress, Vec<(String, Vec<u8>)>>,
    ) {
        for record in records {
            let address = record.address();
            let before = usage.get(&record.serial).copied().unwrap_or_default();
            let sealed = secrets.remove(&address).unwrap_or_default();
            let opened = self.open_secrets(&address, sealed);
            let family = Family(record.serial);
            let app = self.assemble(record, family, before, opened);
            app.is_written.store(true, Ordering::Relaxed);
            self.claim_name(&app);
            let mut apps = self.apps.write().unwrap_or_else(PoisonError::into_inner);
            apps.insert(address, app);
        }
    }

    /// Starts every adopted app that should run, a few at a time.
    pub(super) async fn start_adopted(self: &Arc<Self>, mut waiting: Vec<Arc<App>>) {
        let mut starting = tokio::task::JoinSet::new();
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

    async fn start_one_adopted(self: &Arc<Self>, app: &Arc<App>) {
        let _one_at_a_time = app.changing.lock().await;
        for _ in app.standing_count()..app.target() {
            if let Err(error) = self.start(app, Kind::Standing).await {
                tracing::error!(app = %app.address, %error, "an app could not be started");
                let reason = ExitReason::FailedToStart(error.to_string());
                app.state().last_end = Some(reason);
                return;
            }
        }
    }
}

/// Waits until an instance runs.
///
/// # Errors
///
/// [`AppError::DidNotStart`] when it ended in failure before its first poll. One
/// that crashes later is deployed, whether or not that is noticed in time.
async fn runs(instance: &Instance) -> Result<(), AppError> {
    let mut status = instance.status.clone();
    let settled = status.wait_for(|status| status.phase != Phase::Starting);
    match settled.await.map(|status| status.clone()) {
        Ok(Status {
            phase: Phase::Ended(reason) | Phase::Waiting(reason),
            has_run: false,
            ..
        }) if !reason.is_success() => {
            instance.handle().stop();
            Err(AppError::DidNotStart(reason))
        }
        _ => Ok(()),
    }
}

/// Refuses to change an app that is on its way out.
fn still_here(app: &App) -> Result<(), AppError> {
    match app.is_removed() {
        true => Err(AppError::NotFound(app.address)),
        false => Ok(()),
    }
}

async fn stop_all(app: &App) {
    let instances = app.instances();
    instances.iter().for_each(|one| one.handle().stop());
    wait_until_gone(app, &instances).await;
}

/// Waits until instances are retired.
async fn wait_until_gone(app: &App, instances: &[Arc<Instance>]) {
    loop {
        let mut changed = std::pin::pin!(app.changed.notified());
        changed.as_mut().enable();
        let is_left = |one: &Arc<Instance>| instances.iter().any(|gone| Arc::ptr_eq(gone, one));
        if !app.state().instances.iter().any(is_left) {
            return;
        }
        changed.await;
    }
}

/// Runs an operation to its end, also when nobody waits for it any more.
async fn in_background<T: Send + 'static>(
    operation: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> Result<T, AppError> {
    let running = tokio::spawn(operation).await;
    running.unwrap_or(Err(AppError::Interrupted))
}
