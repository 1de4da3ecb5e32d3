//! Deployments: what they say, how a new app begins, how it takes the place of
//! an older one.
//!
//! A new app runs before it is written down, so a deployment that fails leaves
//! nothing to take back. One that replaces another proves itself first: the old
//! app keeps name, root and requests until then, and one transaction exchanges
//! the two. Called by `api` and by embedding programs through `server`.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wapo_host::{LogSource, QuotaKind, QuotaLimits};
use wapo_rpc::{AppAddress, AppManifest};

use super::app::{App, Secrets};
use super::app_quotas::AppQuotas;
use super::blob_sizes::blobs_of;
use super::instance::{Instance, Kind};
use super::instances::{Start, drain, stop_now};
use super::ledger::Ledger;
use super::lifecycle::{change, in_background};
use super::ready::{Expected, NotReady};
use super::usage::departed;
use super::{EgressTexts, Family, Worker, unix_ms};
use crate::error::AppError;
use crate::javascript;
use crate::limits::{
    APPS_MAX, CHANGE_WAIT, FIRST_POLL_WAIT, LAST_WORDS_BYTES_MAX, LAST_WORDS_LINES_MAX, LOAD_WAIT,
    READY_WAIT,
};
use crate::logs::LogEvent;
use crate::quotas::{self, QuotaChange};
use crate::store::{AppRecord, Change, Settings, Totals};

/// Everything that a deployment says.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) manifest: AppManifest,
    pub(crate) reuse_instances: bool,
    /// Host name label.
    pub(crate) name: Name,
    pub(crate) settings: Settings,
    /// Quotas that are decided for this app, before those of the one that it replaces.
    pub(crate) quotas: Vec<(QuotaKind, QuotaChange)>,
    /// Instances to start with, for an app that is not on demand.
    pub(crate) instances: u32,
    /// The app whose place this one takes.
    pub(crate) replaces: Option<AppAddress>,
    /// Whether the deployment is done only when its instances run.
    pub(crate) waits: bool,
    /// Time that it has to stay alive before the app leaves that it replaces;
    /// `None` for the worker's.
    pub(crate) settle: Option<Duration>,
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
    /// Deploys an app. One that replaces another has proved itself when this
    /// returns; of one that `waits`, the first polls have returned, or take long.
    ///
    /// # Errors
    ///
    /// [`AppError`]; nothing is deployed then.
    ///
    /// # Cancel safety
    ///
    /// The deployment goes on without its client.
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
        let stored_bytes = self.check(&deployment).await?;
        let replacing = match deployment.replaces {
            Some(address) => {
                let old = self.app(&address).ok_or(AppError::NotFound(address))?;
                Some(Replacing::new(old)?)
            }
            None => None,
        };
        let old = replacing.as_ref().map(|one| &one.0);
        let quotas = own_quotas(&deployment, old.map(AsRef::as_ref));
        self.check_storage(&quotas, stored_bytes)?;
        self.wait_until_left(&deployment.manifest.address()).await?;
        let app = self.register(&deployment, old.map(AsRef::as_ref), stored_bytes)?;
        self.changes.stamp(&app);
        // It may get its name, or lose it, when it takes the place of another one.
        let changing = self.changes.when_done(&app);
        let instance = match self.begin(&app, &deployment, old).await {
            Ok(instance) => instance,
            Err(error) => {
                self.forget(&app).await;
                return Err(error);
            }
        };
        drop(changing);
        if let Some(old) = old {
            self.see_off(old).await;
        }
        Ok((app, instance))
    }

    /// Checks what can be known before anything is changed. Gives the bytes of the
    /// blobs that the manifest names.
    async fn check(&self, deployment: &Deployment) -> Result<u64, AppError> {
        let settings = &deployment.settings;
        if let Some(asked) = settings.memory_max_bytes
            && asked > self.limits.memory_max_bytes
        {
            return Err(AppError::TooMuchMemory {
                asked,
                max: self.limits.memory_max_bytes,
            });
        }
        EgressTexts::of(settings).check()?;
        if let (Some(asked), Some(allowed)) = (settings.listen_ports(), &self.limits.listen_ports)
            && !allowed.cover(&asked)
        {
            return Err(AppError::PortsOutside {
                asked: asked.to_string(),
                allowed: allowed.to_string(),
            });
        }
        self.keep_engine(&deployment.manifest.code_hash).await?;
        self.look_at_blobs(&deployment.manifest).await
    }

    /// Keeps the engine as a blob if it is what a manifest names.
    ///
    /// # Errors
    ///
    /// It cannot be stored.
    async fn keep_engine(&self, code_hash: &str) -> Result<(), AppError> {
        if javascript::engine_hash().is_none_or(|hash| hash != code_hash) {
            return Ok(());
        }
        // A copy of some megabytes, for apps in JavaScript only.
        match javascript::engine() {
            Some(engine) => self.keep_code(engine).await,
            None => Ok(()),
        }
    }

    /// Refuses what has more on disk than its quota.
    fn check_storage(&self, own: &QuotaLimits, stored_bytes: u64) -> Result<(), AppError> {
        let max = self.quotas.storage_max(own);
        if stored_bytes > max {
            return Err(AppError::TooMuchStorage {
                asked: stored_bytes,
                max,
            });
        }
        Ok(())
    }

    /// Bytes of the blobs that a manifest names.
    ///
    /// # Errors
    ///
    /// [`AppError::MissingBlobs`] with those that are not here.
    async fn look_at_blobs(&self, manifest: &AppManifest) -> Result<u64, AppError> {
        let names: Vec<String> = blobs_of(manifest).cloned().collect();
        let blobs = self.blobs.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let mut bytes = 0;
            let mut missing = Vec::new();
            for text in names {
                match text.parse().ok().and_then(|name| blobs.size(&name)) {
                    Some(size) => bytes += size,
                    None => missing.push(text),
                }
            }
            (bytes, missing)
        });
        match looking.await {
            Ok((bytes, missing)) if missing.is_empty() => Ok(bytes),
            Ok((_, missing)) => Err(AppError::MissingBlobs(missing)),
            Err(_) => Err(AppError::Interrupted),
        }
    }

    /// Waits while an equal app is being removed: what the store has of it must be
    /// gone before the new one is written down.
    async fn wait_until_left(&self, address: &AppAddress) -> Result<(), AppError> {
        let deadline = Instant::now() + self.limits.drain_grace + CHANGE_WAIT;
        while let Some(app) = self.any_app(address) {
            let mut changed = std::pin::pin!(app.changed.notified());
            changed.as_mut().enable();
            let is_here = self
                .any_app(address)
                .is_some_and(|other| other.serial == app.serial);
            if is_here && !app.is_removed() {
                return Ok(());
            }
            if is_here && timeout_at(deadline, changed).await.is_err() {
                return Err(AppError::Changing);
            }
        }
        Ok(())
    }

    /// Enters an app into the tables, where an equal one is refused.
    fn register(
        &self,
        deployment: &Deployment,
        replaced: Option<&App>,
        stored_bytes: u64,
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
            settings: Settings {
                quotas: quotas::entries_of(&own_quotas(deployment, replaced)),
                ..deployment.settings.clone()
            },
            // Those of an app whose place it takes come when it does.
            domains: Vec::new(),
            more_listen_ports: Vec::new(),
            // Nor has it asked for any.
            claims: Vec::new(),
            attested: deployment.settings.attested,
        };
        let family = replaced.map_or(Family(record.serial), App::family);
        let ledger = Ledger::new(Totals::default(), stored_bytes);
        // An app of this address may have left a record.
        let kept = self.context.boot_data(address).size();
        let app = self.assemble(record, family, (ledger, kept), Secrets::new());
        // What is not registered is not counted any more. One deployment at a time
        // comes here.
        let of_all = app.quotas.check_storage_of_all();
        of_all.map_err(AppError::TooMuchStorageOfAll)?;
        self.edge.enter(&app);
        // A name that the old app has is handed over when the new one runs.
        if replaced.is_none_or(|old| old.name() != app.name()) {
            self.claim_name(&app);
        }
        apps.insert(address, Arc::clone(&app));
        self.active.add(&app);
        Ok(app)
    }

    /// Puts an app together that does not run yet.
    pub(super) fn assemble(
        &self,
        record: AppRecord,
        family: Family,
        (ledger, boot_data_bytes): (Ledger, u64),
        secrets: Secrets,
    ) -> Arc<App> {
        let ledger = Arc::new(ledger);
        let stored = ledger.stored_bytes() + boot_data_bytes;
        let counted = (stored, ledger.totals().gas);
        let quotas = AppQuotas::new(&self.quotas, &record.settings, counted);
        let context = Arc::clone(&self.context);
        let app = App::new(record, (context, family), quotas, ledger, secrets);
        if let Some(ports) = app.settings.listen_ports() {
            self.ports.grant(app.serial, family, ports);
        }
        app
    }

    /// Starts what should run of a new app, lets it prove itself if it is to take
    /// the place of another one, and writes it down: nothing of a deployment that
    /// fails was ever in the store.
    async fn begin(
        self: &Arc<Self>,
        app: &Arc<App>,
        deployment: &Deployment,
        old: Option<&Arc<App>>,
    ) -> Result<Option<Arc<Instance>>, AppError> {
        if let Some(old) = old {
            // They are written when it takes the place, as they are then.
            self.inherit_secrets(app, old)?;
        }
        let deadline = Instant::now() + LOAD_WAIT;
        self.program(app, deadline).await?;
        let _one_at_a_time = change(app, deadline).await?;
        let start = Start::new(app, Kind::Persistent, deadline);
        let mut instances = Vec::new();
        for _ in 0..app.target() {
            instances.push(self.start(app, start).await?);
        }
        match old {
            Some(old) => self.prove(app, &instances, old, deployment.settle).await?,
            None if deployment.waits => first_poll(app, &instances).await?,
            None => {}
        }
        let changes = vec![Change::PutNextSerial(app.serial + 1)];
        match old {
            Some(old) => self.replace(app, old, deployment, changes).await?,
            None => self.write_record(app, changes).await?,
        }
        self.attest_early(app).await;
        Ok(instances.into_iter().next())
    }

    /// Waits until a new version is as ready as the old one, and has stayed so for
    /// a while.
    async fn prove(
        &self,
        app: &App,
        instances: &[Arc<Instance>],
        old: &App,
        settle: Option<Duration>,
    ) -> Result<(), AppError> {
        // One on demand is started by its first request.
        if app.manifest.on_demand {
            return Ok(());
        }
        let expected = Expected::in_place_of(old);
        let deadline = Instant::now() + READY_WAIT;
        let ready = expected.wait(app, instances, deadline).await;
        let failed = |error| match error {
            NotReady::Failed(reason) => {
                AppError::NotReplaced(format!("{reason}{}", last_words(app)))
            }
            NotReady::Starting(_) => {
                AppError::NotReplaced("has not returned from its first poll yet".to_owned())
            }
            NotReady::Missing { what, .. } => AppError::NotReplaced(format!(
                "{what}, and the old one does; remove the old one first if that is meant"
            )),
        };
        ready.map_err(failed)?;
        let time = settle.unwrap_or(self.limits.settle);
        let settled = expected.settle(app, instances, time).await;
        settled.map_err(failed)?;
        tracing::debug!(app = %app.address, "the new version has proved itself");
        Ok(())
    }

    /// Writes down that an app has taken the place of another one, in one
    /// transaction, and gives it the name, the root and the requests. From here
    /// on the old one is leaving.
    async fn replace(
        &self,
        app: &Arc<App>,
        old: &Arc<App>,
        deployment: &Deployment,
        mut changes: Vec<Change>,
    ) -> Result<(), AppError> {
        // A removal of the old one at this moment waits for it to be written.
        let _not_otherwise = old.writing.lock().await;
        // What was changed of the old one while this one has proved itself.
        let own = own_quotas(deployment, Some(old));
        app.quotas.put(own);
        changes.extend(self.inherit_secrets(app, old)?);
        let is_removed = old.is_removed();
        // Looked at second: when the daemon ends, every app looks removed.
        if self.is_closing() {
            return Err(AppError::Interrupted);
        }
        if is_removed {
            // Its name was free for all apps.
            self.claim_name(app);
        } else {
            self.inherit_domains(app, old)?;
        }
        if !is_removed && old.is_in_store() {
            changes.push(Change::PutDeparted(departed(old)));
            changes.push(Change::RemoveApp {
                app: old.address,
                serial: old.serial,
            });
        }
        if let Err(error) = self.write_record(app, changes).await {
            // The old one has them still.
            app.state().domains.clear();
            return Err(error);
        }
        // What it uses while it leaves is written as before.
        self.books.forget(old.serial);
        // First, so that a task that finds the old one withdrawn finds this one.
        old.state().heir = Some(Arc::clone(app));
        if !self.withdraw_for(old, Some(app)) {
            // A removal meanwhile has made its name free.
            self.claim_name(app);
            self.bind_domains(app);
        }
        Ok(())
    }

    /// Lets an app finish what it has, whose place another one has taken.
    async fn see_off(&self, old: &Arc<App>) {
        let deadline = Instant::now() + self.limits.drain_grace;
        drain(old, &old.instances(), deadline).await;
        if let Err(error) = self.write_off(old).await {
            // An equal one cannot come before.
            tracing::error!(app = %old.address, %error, "the last usage of an app is written later");
            self.left_over().push(Arc::clone(old));
        }
        self.bound_departed().await;
        self.remove_unused_code().await;
    }

    /// Takes back a deployment that failed. The store has nothing of it.
    async fn forget(&self, app: &Arc<App>) {
        // A removal at this moment does the rest as well.
        if self.withdraw(app) {
            stop_now(app, &app.instances()).await;
            self.strike(app);
        }
        self.remove_unused_code().await;
    }
}

/// The quotas that are decided for a new app.
fn own_quotas(deployment: &Deployment, replaced: Option<&App>) -> QuotaLimits {
    let mut own = replaced.map(|old| old.quotas.own()).unwrap_or_default();
    for (kind, change) in &deployment.quotas {
        quotas::change(&mut own, *kind, *change);
    }
    own
}

/// What an app said before it ended, below the reason for which it was not deployed: its
/// log goes with it.
fn last_words(app: &App) -> String {
    let mut log = app.logs();
    log.skip_to_last(LAST_WORDS_LINES_MAX);
    let mut words = String::new();
    while let Some(event) = log.try_next() {
        match event {
            LogEvent::Line(line) if line.source != LogSource::Lifecycle => {
                words.push('\n');
                words.push_str(&line.text);
            }
            LogEvent::Line(_) | LogEvent::Missed(_) => {}
        }
    }
    words.truncate(words.floor_char_boundary(LAST_WORDS_BYTES_MAX));
    words
}

/// Marks an app whose place another one is about to take, until it is dropped.
struct Replacing(Arc<App>);

impl Replacing {
    fn new(old: Arc<App>) -> Result<Self, AppError> {
        let is_taken = std::mem::replace(&mut old.state().is_replaced, true);
        match is_taken {
            true => Err(AppError::Changing),
            false => Ok(Self(old)),
        }
    }
}

impl Drop for Replacing {
    fn drop(&mut self) {
        self.0.state().is_replaced = false;
    }
}

/// Waits for the first polls of a new app's instances.
///
/// # Errors
///
/// [`AppError::DidNotStart`] when one of them ended in failure before its first
/// poll. One that crashes later is deployed, whether or not that is noticed in
/// time, and so is one that takes its time.
async fn first_poll(app: &App, instances: &[Arc<Instance>]) -> Result<(), AppError> {
    let deadline = Instant::now() + FIRST_POLL_WAIT;
    let polled = Expected::first_poll();
    match polled.wait(app, instances, deadline).await {
        Err(NotReady::Failed(reason)) => Err(AppError::DidNotStart(reason)),
        Ok(()) | Err(_) => Ok(()),
    }
}
