//! Instances: how they start, drain and end.
//!
//! Every instance holds one of the worker's slots from before its start until it is
//! gone, memory and all. A task watches over it, tells waiting tasks about changes,
//! and retires it in the end. Called by `lease` for requests and by `lifecycle` for
//! operators.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout, timeout_at};
use wapo_host::net::policy::EgressRules;
use wapo_host::{
    Embedder, ExitReason, InstanceConfig, InstanceId, LoadFor, Phase, Program, RestartPolicy,
    Status,
};

use super::Worker;
use super::app::App;
use super::code::Code;
use super::instance::{Instance, Kind};
use crate::blobs::{BlobError, BlobName};
use crate::config::Module;
use crate::error::{AppError, WorkerError};
use crate::limits::{CODE_BYTES_MAX, DRAIN_LOOK_INTERVAL, ON_DEMAND_LINGER, SLOT_WAIT, STOP_WAIT};
use zeroize::Zeroizing;

/// A start of an instance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) kind: Kind,
    /// The app's generation when the start was decided.
    pub(super) generation: u64,
    /// When it is given up.
    pub(super) deadline: Instant,
}

impl Start {
    pub(super) fn new(app: &App, kind: Kind, deadline: Instant) -> Self {
        Self {
            kind,
            generation: app.generation(),
            deadline,
        }
    }
}

impl App {
    /// Whether an instance takes no more.
    pub(crate) fn is_leaving(&self, instance: InstanceId) -> bool {
        let state = self.state();
        let mut all = state.instances.iter();
        all.any(|one| one.handle.id() == instance && one.is_leaving())
    }
}

impl Instance {
    /// Since when nobody has used it. Clients of the TLS port use it while they have
    /// connections: they come back on them.
    pub(super) fn unused_since(&self) -> Instant {
        let used = self.edge.last_used(self.handle.id());
        let idle_since = *self.idle_since();
        used.map_or(idle_since, |used| used.max(idle_since))
    }
}

impl Worker {
    /// The app's code, ready to start.
    ///
    /// # Errors
    ///
    /// [`WorkerError::Code`] when the blob is missing or no module,
    /// [`WorkerError::NotStarted`] at the deadline.
    pub(super) async fn program(
        &self,
        app: &App,
        deadline: Instant,
    ) -> Result<Program, WorkerError> {
        let too_late = |_| WorkerError::NotStarted;
        let code = timeout_at(deadline, app.code.lock()).await;
        let mut code = code.map_err(too_late)?;
        let there = match &*code {
            Code::Absent => None,
            Code::Held(program) => return Ok(program.clone()),
            Code::Released(program) => program.upgrade(),
        };
        if let Some(program) = there {
            self.engine.keep(&program);
            *code = Code::Held(program.clone());
            return Ok(program);
        }
        let wasm = self.read_code(&app.manifest.code_hash).await?;
        let wanted = LoadFor {
            app: app.address.0,
            memory_max_bytes: self.memory_max_bytes(app),
        };
        let program = timeout_at(deadline, self.engine.load_for(wanted, wasm)).await;
        let program = program
            .map_err(too_late)?
            .map_err(|error| WorkerError::Code(error.to_string()))?;
        *code = Code::Held(program.clone());
        Ok(program)
    }

    /// Linear memory that an instance of an app may have.
    fn memory_max_bytes(&self, app: &App) -> u64 {
        let asked = app.settings.memory_max_bytes;
        asked.unwrap_or(self.limits.memory_max_bytes)
    }

    /// Keeps the code of an app that an embedding program brings along.
    ///
    /// # Errors
    ///
    /// It cannot be stored.
    pub(crate) async fn keep_code(&self, module: Module) -> Result<(), AppError> {
        let blobs = self.blobs.clone();
        let keeping = tokio::task::spawn_blocking(move || {
            let hash = module.hash();
            let is_there = hash.parse().is_ok_and(|name: BlobName| blobs.exists(&name));
            match is_there {
                true => Ok(()),
                false => blobs.put(hash.parse()?, module.wasm()).map(drop),
            }
        });
        match keeping.await {
            Ok(outcome) => outcome.map_err(|error: BlobError| AppError::Blob(error.to_string())),
            Err(_) => Err(AppError::Interrupted),
        }
    }

    async fn read_code(&self, hash: &str) -> Result<Vec<u8>, WorkerError> {
        let failed = |error: String| WorkerError::Code(error);
        let name: BlobName = hash
            .parse()
            .map_err(|error: BlobError| failed(error.to_string()))?;
        let blobs = self.blobs.clone();
        let reading = tokio::task::spawn_blocking(move || blobs.read(&name, CODE_BYTES_MAX));
        match reading.await {
            Ok(Ok(wasm)) => Ok(wasm),
            Ok(Err(BlobError::NotFound)) => Err(failed(format!(
                "Wasm code not found: put the blob {hash} first"
            ))),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("reading was interrupted".to_owned())),
        }
    }

    /// Starts an instance on demand, unless that is being done already.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub(crate) async fn start_on_demand(
        self: &Arc<Self>,
        app: &Arc<App>,
        deadline: Instant,
    ) -> Result<(), WorkerError> {
        let one_at_a_time = timeout_at(deadline, app.changing().lock()).await;
        let _one_at_a_time = one_at_a_time.map_err(|_| WorkerError::NotStarted)?;
        let is_there = app
            .state()
            .instances
            .iter()
            .any(|one| one.kind == Kind::OnDemand && !one.is_leaving());
        if !is_there {
            let start = Start::new(app, Kind::OnDemand, deadline);
            self.start(app, start).await?;
        }
        Ok(())
    }

    /// Starts one more instance.
    ///
    /// # Errors
    ///
    /// [`WorkerError::NoSlot`] or [`WorkerError::Code`];
    /// [`WorkerError::NotStarted`] at the deadline, and when the app was stopped
    /// meanwhile.
    /// [`WorkerError::SafeMode`] for what a request would start.
    pub(super) async fn start(
        self: &Arc<Self>,
        app: &Arc<App>,
        start: Start,
    ) -> Result<Arc<Instance>, WorkerError> {
        let Start { kind, deadline, .. } = start;
        if self.is_safe_mode && kind != Kind::Persistent {
            self.active.add(app);
            return Err(WorkerError::SafeMode);
        }
        if let Some(max) = app.gas_used_up() {
            return Err(WorkerError::GasUsedUp(max));
        }
        let starting = Starting::new(app)?;
        self.active.add(app);
        let slot = self.take_slot(app, kind, deadline).await?;
        let program = self.program(app, deadline).await?;
        let config = self.instance_config(app, kind);
        let embedder: Arc<dyn Embedder> = Arc::clone(app.embedder()) as _;
        let instance = {
            let mut state = app.state();
            if state.is_removed {
                return Err(WorkerError::AppNotFound);
            }
            if state.generation != start.generation || self.is_closing() {
                return Err(WorkerError::NotStarted);
            }
            let handle = self.engine.start(&program, config, embedder);
            let instance = Arc::new(Instance::new(handle, kind, Arc::clone(&self.edge)));
            state.instances.push(Arc::clone(&instance));
            instance
        };
        drop(starting);
        let watching = watch(
            Arc::clone(self),
            Arc::clone(app),
            Arc::clone(&instance),
            slot,
        );
        tokio::spawn(watching);
        Ok(instance)
    }

    fn instance_config(&self, app: &App, kind: Kind) -> InstanceConfig {
        let settings = &app.settings;
        let mut args = Vec::with_capacity(1 + app.manifest.args.len());
        args.push(app.address.to_string());
        args.extend(app.manifest.args.iter().cloned());
        // A secret has the last word: of two equal names a guest reads the first.
        let mut env = app.manifest.env_vars.clone();
        let secrets = app.secrets();
        env.retain(|(name, _)| !secrets.contains_key(name));
        let shown =
            |(name, value): (&String, &Zeroizing<String>)| (name.clone(), value.to_string());
        env.extend(secrets.iter().map(shown));
        drop(secrets);
        let for_requests = self.limits.on_demand_time * 2;
        let time_max = match kind {
            Kind::Persistent => settings.time_max(),
            // New requests stop earlier; see `tidy_up`.
            Kind::OnDemand | Kind::PerRequest => Some(
                settings
                    .time_max()
                    .map_or(for_requests, |max| max.min(for_requests)),
            ),
        };
        let listen_ports = settings.listen_ports();
        let listen_ports = listen_ports.or_else(|| self.limits.listen_ports.clone());
        InstanceConfig {
            args,
            env,
            memory_max_bytes: self.memory_max_bytes(app),
            gas_max: settings.gas_max,
            time_max,
            weight: Arc::clone(&app.weight),
            restart: match kind {
                Kind::Persistent => settings.restart.into(),
                Kind::OnDemand | Kind::PerRequest => RestartPolicy::Never,
            },
            listen_ports,
            listen_on_loopback: settings.listen_on_loopback,
            trusted_proxies: Arc::clone(&self.limits.trusted_proxies),
            egress: self.egress_of(app),
            meter: Arc::clone(app.ledger.meter()),
            quotas: Arc::clone(app.quotas.live()),
            history: Arc::clone(&app.scheduling),
            names: Arc::clone(app.names.get_or_init(Arc::default)),
            trace_calls: settings.trace_calls,
            log_rate: self.limits.log_rate,
        }
    }

    /// Where an app may connect to; made once for all of its instances.
    fn egress_of(&self, app: &App) -> Arc<EgressRules> {
        app.egress.rules(|rules| {
            let machine = Arc::clone(self.engine.machine());
            EgressRules::of(machine, Arc::clone(&self.egress), rules)
        })
    }

    /// Takes a slot. When there is none, the first instance of an app makes room
    /// for itself, requests wait for a moment, and an app that wants to grow is
    /// refused.
    async fn take_slot(
        &self,
        app: &App,
        kind: Kind,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, WorkerError> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(slot);
        }
        if kind == Kind::Persistent && app.persistent_count() > 0 {
            return Err(WorkerError::NoSlot);
        }
        // One that is leaving has promised its slot to another start.
        let has_own = |one: &Arc<Instance>| !one.is_leaving();
        if !app.instances().iter().any(has_own)
            && let Some(idle) = self.find_idle()
        {
            idle.handle().stop();
        }
        let waiting = Arc::clone(&self.slots).acquire_owned();
        match timeout_at(deadline.min(Instant::now() + SLOT_WAIT), waiting).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(WorkerError::NoSlot),
        }
    }

    /// An instance that nobody would miss: the one that has been idle longest,
    /// on demand, or beyond the first of a resizable app.
    /// It takes no more requests from now on.
    fn find_idle(&self) -> Option<Arc<Instance>> {
        loop {
            let (app, idle) = self.longest_idle()?;
            // Requests are let in under this lock, and one may have been.
            let _state = app.state();
            if !idle.owes_answers() && !idle.is_leaving() {
                idle.leave();
                return Some(idle);
            }
        }
    }

    fn longest_idle(&self) -> Option<(Arc<App>, Arc<Instance>)> {
        let mut best: Option<(Instant, Arc<App>, Arc<Instance>)> = None;
        for app in self.apps() {
            let state = app.state();
            let has_spare = app.manifest.resizable && state.instances.len() > 1;
            for one in &state.instances {
                let may_go =
                    one.kind == Kind::OnDemand || (one.kind == Kind::Persistent && has_spare);
                let since = one.unused_since();
                if may_go
                    && !one.owes_answers()
                    && !one.is_leaving()
                    && best.as_ref().is_none_or(|(oldest, ..)| since < *oldest)
                {
                    best = Some((since, Arc::clone(&app), Arc::clone(one)));
                }
            }
        }
        best.map(|(_, app, idle)| (app, idle))
    }

    /// Lets instances on demand go that nobody uses, and those whose time is over
    /// as soon as they have answered. Called every second.
    pub(super) fn tidy_up(&self) {
        for app in self.active.all() {
            if app.is_removed() || !app.manifest.on_demand {
                continue;
            }
            let state = app.state();
            let mut has_begun = false;
            for one in state
                .instances
                .iter()
                .filter(|one| one.kind == Kind::OnDemand)
            {
                let is_over = one.started.elapsed() >= self.limits.on_demand_time;
                let is_idle = !one.is_busy();
                let is_forgotten = is_idle && one.unused_since().elapsed() >= ON_DEMAND_LINGER;
                if is_over || is_forgotten {
                    has_begun |= !one.is_leaving();
                    one.leave();
                }
                if is_idle && one.is_leaving() {
                    one.handle.stop();
                }
            }
            drop(state);
            if has_begun {
                app.changed.notify_waiters();
            }
        }
    }

    /// Charges the stacks of all instances that ran. Called every second.
    pub(super) async fn charge_stacks(self: &Arc<Self>) {
        let worker = Arc::clone(self);
        let charged = tokio::task::spawn_blocking(move || {
            for app in worker.active.all() {
                for one in app.instances() {
                    one.handle.charge_stack();
                }
            }
        });
        // It fails only while the runtime shuts down.
        let _ = charged.await;
    }

    /// The only end of an instance: it is gone, and so is all that it held.
    fn retire(
        self: &Arc<Self>,
        app: &Arc<App>,
        instance: &Arc<Instance>,
        reason: ExitReason,
        slot: OwnedSemaphorePermit,
    ) {
        let mut state = app.state();
        state.instances.retain(|one| !Arc::ptr_eq(one, instance));
        let had_no_gas = matches!(reason, ExitReason::GasUsedUp(_));
        let has_gas_again = had_no_gas && app.gas_used_up().is_none();
        if had_no_gas && !has_gas_again {
            // The others would find out when they are asked something. Others come
            // in their place when there is gas again.
            for one in &state.instances {
                one.leave();
                one.handle.stop();
            }
        }
        state.last_end = Some(reason);
        // A start that gets it finds the instance gone, and a task that finds the
        // instance gone finds it free.
        drop(slot);
        drop(state);
        app.dispatch();
        app.changed.notify_waiters();
        if has_gas_again {
            self.start_again(app);
        }
        // What it used is written soon, and not waited for.
        self.usage_changed.notify_one();
    }
}

/// The one way to leave: instances take no more requests and accept no more
/// connections, finish what they have until the deadline, are stopped, and are
/// gone when this returns, or within [`STOP_WAIT`] after it.
pub(super) async fn drain(app: &App, leaving: &[Arc<Instance>], deadline: Instant) {
    {
        // Requests are let in under this lock: none comes after it.
        let _state = app.state();
        leaving.iter().for_each(|one| one.leave());
    }
    app.dispatch();
    loop {
        let mut changed = pin!(app.changed.notified());
        changed.as_mut().enable();
        let now = Instant::now();
        if now >= deadline || !has_work(app, leaving) {
            break;
        }
        // Nobody tells of the last answer, or of a connection that went quiet.
        let look_again = deadline.min(now + DRAIN_LOOK_INTERVAL);
        let _ = timeout_at(look_again, changed).await;
    }
    stop_now(app, leaving).await;
}

fn has_work(app: &App, leaving: &[Arc<Instance>]) -> bool {
    let has_waiters = {
        let state = app.state();
        state.is_ending() && !state.waiting.is_empty()
    };
    // A request for an instance that never takes requests waits until its deadline.
    let is_served = |one: &Arc<Instance>| {
        let status = one.status();
        status.takes_http || status.takes_queries
    };
    leaving.iter().any(|one| one.is_busy()) || (has_waiters && leaving.iter().any(is_served))
}

/// Stops instances and waits for their end, for [`STOP_WAIT`] at most.
pub(super) async fn stop_now(app: &App, instances: &[Arc<Instance>]) {
    instances.iter().for_each(|one| one.handle().stop());
    let gone = async {
        loop {
            let mut changed = pin!(app.changed.notified());
            changed.as_mut().enable();
            let is_left = |one: &Arc<Instance>| instances.iter().any(|gone| Arc::ptr_eq(gone, one));
            if !app.state().instances.iter().any(is_left) {
                return;
            }
            changed.await;
        }
    };
    if timeout(STOP_WAIT, gone).await.is_err() {
        tracing::warn!(app = %app.address, "instances are slow to end");
    }
}

/// Tells waiting tasks what becomes of an instance, and retires it.
async fn watch(
    worker: Arc<Worker>,
    app: Arc<App>,
    instance: Arc<Instance>,
    slot: OwnedSemaphorePermit,
) {
    let tell = || {
        // One for a single request or connection takes no others, and sets no example.
        if instance.kind != Kind::PerRequest {
            app.note_offers();
            app.dispatch();
        }
        app.changed.notify_waiters();
    };
    let reason = follow(instance.status.clone(), tell).await;
    worker.retire(&app, &instance, reason, slot);
}

/// Tells of every state of an instance, until it has ended for this reason.
async fn follow(mut status: watch::Receiver<Status>, tell: impl Fn()) -> ExitReason {
    loop {
        // Seen before it is told of: a change while others are told is told next.
        let phase = status.borrow_and_update().phase.clone();
        tell();
        if let Phase::Ended(reason) = phase {
            return reason;
        }
        if status.changed().await.is_err() {
            // Its task is gone without a word: the runtime shuts down.
            return ExitReason::Stopped;
        }
    }
}

/// Counts an instance that is on its way.
struct Starting<'a>(&'a App);

impl<'a> Starting<'a> {
    fn new(app: &'a App) -> Result<Self, WorkerError> {
        let mut state = app.state();
        if state.is_removed {
            return Err(WorkerError::AppNotFound);
        }
        if state.is_closing {
            return Err(WorkerError::NotStarted);
        }
        state.starting += 1;
        Ok(Self(app))
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.state().starting -= 1;
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_change_while_others_are_told_is_told_next() {
        let (sender, status) = watch::channel(Status::starting());
        let told = Cell::new(0);
        // Each time it is told, the instance is a step further already.
        let tell = || {
            told.set(told.get() + 1);
            match told.get() {
                1 => sender.send_modify(|status| status.phase = Phase::Running),
                2 => sender.send_modify(|status| status.phase = Phase::Ended(ExitReason::Finished)),
                _ => {}
            }
        };
        let followed = timeout(Duration::from_secs(10), follow(status, tell)).await;
        assert_eq!(followed, Ok(ExitReason::Finished));
        assert_eq!(told.get(), 3);
    }
}
