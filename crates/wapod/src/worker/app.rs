//! One deployed app: its settings, its instances, and its requests in flight.
//!
//! [`App`] is the worker's side, [`AppHandle`](super::AppHandle) what an embedding program holds. The
//! lock of the state is held for a look at a handful of instances, never while
//! anything is awaited. Instances start and end in `instances`; operations on apps
//! are in `lifecycle`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use rustls::sign::CertifiedKey;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use wapo_host::{ExitReason, InstanceId, NameShare, Phase, QuotaKind, SchedulingHistory, Weight};
use wapo_rpc::{AppAddress, AppManifest};
use zeroize::Zeroizing;

use super::app_context::AppContext;
use super::app_quotas::AppQuotas;
use super::code::Code;
use super::condition::Condition;
use super::egress::LiveEgress;
use super::embedder::AppEmbedder;
use super::instance::{Instance, Kind};
use super::latency::{Latency, LatencyReading};
use super::ledger::Ledger;
use super::offers::Offers;
use super::proofs::Proofs;
use super::seats::RequestQueues;
use super::{Family, Ports};
use crate::logs::LogReader;
use crate::store::{AppRecord, DomainRecord, Settings};

/// Secrets of an app by name. Wiped when they are dropped.
pub(super) type Secrets = BTreeMap<String, Zeroizing<String>>;

/// Domains of an app with what the store has of each.
pub(super) type Domains = BTreeMap<String, DomainRecord>;

/// A deployed app.
pub(crate) struct App {
    pub(crate) address: AppAddress,
    pub(crate) serial: u64,
    pub(crate) session: [u8; 32],
    pub(crate) manifest: AppManifest,
    pub(crate) reuse_instances: bool,
    pub(crate) deployed_at_ms: u64,
    pub(crate) settings: Arc<Settings>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) quotas: AppQuotas,
    latency: OnceLock<Box<Latency>>,
    /// Its share of the processor when instances compete.
    pub(super) weight: Arc<Weight>,
    /// How its instances have used the processor, for their scheduling.
    pub(super) scheduling: Arc<SchedulingHistory>,
    /// What its instances have had resolved.
    pub(super) names: OnceLock<Arc<NameShare>>,
    /// Where it may connect to.
    pub(super) egress: LiveEgress,
    context: Arc<AppContext>,
    family: Family,
    /// The worker as its guests see it; made for the first of them.
    embedder: OnceLock<Arc<AppEmbedder>>,
    /// For what outlives a borrow.
    this: Weak<Self>,
    /// Code that is ready to start; loaded when it is needed first.
    pub(super) code: tokio::sync::Mutex<Code>,
    /// Environment that is no part of the manifest.
    pub(super) secrets: Mutex<Secrets>,
    /// One growth of the app at a time. What takes instances away does not wait
    /// for it. Made for the first one.
    changing: OnceLock<Box<tokio::sync::Mutex<()>>>,
    /// One record of the app is written at a time, each as the app is then.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// Something about an instance has changed.
    pub(super) changed: Notify,
    /// Whether the store has the app. Nothing is told about it before.
    pub(super) is_written: AtomicBool,
    /// Stamp of its latest change; see `changes`.
    pub(super) changed_at: AtomicU64,
    proofs: OnceLock<Box<Proofs>>,
    state: Mutex<AppState>,
}

/// What changes during the life of an app.
pub(super) struct AppState {
    /// Host name label; empty for none.
    pub(super) name: String,
    /// Other host names that lead to it.
    pub(super) domains: Domains,
    /// Instances that should run; 0 for an app on demand.
    pub(super) target: u32,
    pub(super) instances: Vec<Arc<Instance>>,
    /// Instances on their way, not in the list yet.
    pub(super) starting: u32,
    /// Rises whenever starts that are on their way have become unwanted.
    pub(super) generation: u64,
    /// Requests that wait for an instance.
    pub(super) waiting: RequestQueues,
    /// What the instances had to offer when they last offered something.
    pub(super) offered: Option<Box<Offers>>,
    /// Whether another app is about to take the place of this one.
    pub(super) is_replaced: bool,
    /// The app that has taken the place of this one.
    pub(super) heir: Option<Arc<App>>,
    /// Whether all instances are leaving. New requests are refused then, those
    /// that wait are served.
    pub(super) is_closing: bool,
    /// Why the last instance ended.
    pub(super) last_end: Option<ExitReason>,
    pub(super) last_request: Instant,
    pub(super) is_removed: bool,
}

impl AppState {
    /// Whether the app takes no new requests any more.
    pub(super) fn is_ending(&self) -> bool {
        self.is_closing || self.is_removed
    }

    /// Instances that no request has started, and that stay; the oldest first.
    pub(super) fn persistent(&self) -> impl Iterator<Item = &Arc<Instance>> {
        let all = self.instances.iter();
        all.filter(|one| one.kind == Kind::Persistent && !one.is_leaving())
    }
}

/// What comes of waiting for an instance of an app.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Prospect {
    /// Some run, the newest since then.
    Runs {
        /// When it was started.
        since: Instant,
    },
    /// One is on its way.
    Starts,
    /// One could be started.
    OnDemand,
    /// None comes by itself.
    None,
}

impl App {
    pub(super) fn new(
        record: AppRecord,
        (context, family): (Arc<AppContext>, Family),
        quotas: AppQuotas,
        ledger: Arc<Ledger>,
        secrets: Secrets,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            address: record.address(),
            serial: record.serial,
            session: record.session,
            reuse_instances: record.reuse_instances,
            deployed_at_ms: record.deployed_at_ms,
            weight: Arc::new(Weight::new(record.settings.weight())),
            egress: LiveEgress::new(&record.settings),
            settings: shared(record.settings),
            ledger,
            quotas,
            latency: OnceLock::new(),
            scheduling: Arc::default(),
            names: OnceLock::new(),
            context,
            family,
            embedder: OnceLock::new(),
            this: Weak::clone(this),
            code: tokio::sync::Mutex::default(),
            secrets: Mutex::new(secrets),
            changing: OnceLock::new(),
            writing: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
            is_written: AtomicBool::new(false),
            changed_at: AtomicU64::new(0),
            proofs: OnceLock::new(),
            state: Mutex::new(AppState {
                name: record.name,
                domains: by_name(record.domains),
                target: record.target,
                instances: Vec::new(),
                starting: 0,
                generation: 0,
                waiting: RequestQueues::default(),
                offered: None,
                is_replaced: false,
                heir: None,
                is_closing: false,
                last_end: None,
                last_request: Instant::now(),
                is_removed: false,
            }),
            manifest: record.manifest,
        })
    }

    /// The worker as its guests see it.
    pub(super) fn embedder(&self) -> &Arc<AppEmbedder> {
        let make = || {
            Arc::new(AppEmbedder::new(
                &self.context,
                self,
                Weak::clone(&self.this),
            ))
        };
        self.embedder.get_or_init(make)
    }

    /// Ports that apps listen on.
    pub(super) fn ports(&self) -> &Ports {
        &self.context.ports
    }

    /// Held while the app grows.
    pub(super) fn changing(&self) -> &tokio::sync::Mutex<()> {
        self.changing.get_or_init(Box::default)
    }

    /// How long it takes to answer.
    pub(crate) fn latency(&self) -> &Latency {
        self.latency.get_or_init(Box::default)
    }

    /// How long it has taken to answer so far.
    pub(crate) fn latency_reading(&self) -> LatencyReading {
        let latency = self.latency.get();
        latency.map_or_else(LatencyReading::default, |latency| latency.read())
    }

    /// What it proves itself with.
    pub(super) fn proofs(&self) -> &Proofs {
        self.proofs.get_or_init(Box::default)
    }

    /// Its certificate at the shared TLS port, if the daemon has one for it.
    pub(crate) fn attested(&self) -> Option<Arc<CertifiedKey>> {
        self.proofs.get()?.certificate()
    }

    /// Takes no more requests and starts nothing any more; says whether it did
    /// before.
    pub(super) fn withdraw(&self) -> bool {
        let mut state = self.state();
        let was_here = !std::mem::replace(&mut state.is_removed, true);
        state.generation += 1;
        drop(state);
        self.changed.notify_waiters();
        was_here
    }

    /// Takes back a [`withdraw`](Self::withdraw).
    pub(super) fn reinstate(&self) {
        self.state().is_removed = false;
        self.changed.notify_waiters();
    }

    pub(super) fn is_removed(&self) -> bool {
        self.state().is_removed
    }

    /// Whether the store has it.
    pub(super) fn is_in_store(&self) -> bool {
        self.is_written.load(Ordering::Relaxed)
    }

    /// Whether nothing of it runs, or is about to.
    pub(super) fn is_quiet(&self) -> bool {
        let state = self.state();
        state.instances.is_empty() && state.starting == 0
    }

    /// Whether it was removed and its last instance has ended: nothing comes of it
    /// any more.
    pub(crate) fn has_left(&self) -> bool {
        let state = self.state();
        state.is_removed && state.instances.is_empty()
    }

    /// The record that the store should have.
    pub(super) fn record(&self) -> AppRecord {
        let claims = self.context.edge.claims_of(self);
        let state = self.state();
        AppRecord {
            serial: self.serial,
            session: self.session,
            manifest: self.manifest.clone(),
            reuse_instances: self.reuse_instances,
            name: state.name.clone(),
            target: state.target,
            deployed_at_ms: self.deployed_at_ms,
            settings: self.settings_now(),
            domains: state.domains.values().cloned().collect(),
            more_listen_ports: self.settings.more_listen_ports.clone(),
            claims,
            attested: self.settings.attested,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, AppState> {
        // Nothing below leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who shares the app's ports and names.
    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// Whether an instance is one of the app's; no when another task holds the lock.
    pub(super) fn try_has(&self, instance: InstanceId) -> bool {
        let state = self.state.try_lock();
        let is_it = |one: &Arc<Instance>| one.handle.id() == instance;
        state.is_ok_and(|state| state.instances.iter().any(is_it))
    }

    /// Address and name, as far as they are to be had without waiting.
    pub(super) fn try_describe(&self) -> String {
        match self.state.try_lock() {
            Ok(state) if !state.name.is_empty() => {
                format!("app {} ({})", self.address, state.name)
            }
            _ => format!("app {}", self.address),
        }
    }

    /// What people call it: its host name label, else its address.
    pub(crate) fn shown(&self) -> String {
        match self.name() {
            name if name.is_empty() => format!("app {}", self.address),
            name => name,
        }
    }

    /// The log of all instances.
    pub(crate) fn logs(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.embedder().log))
    }

    /// Writes what became of a request into the app's log, unless there was too
    /// much of that within this second.
    pub(crate) fn log_failure(&self, instance: Option<InstanceId>, text: &str) {
        self.embedder().log_failure(instance, text);
    }

    /// Host name label; empty for none.
    pub(crate) fn name(&self) -> String {
        self.state().name.clone()
    }

    /// Instances that should run.
    pub(crate) fn target(&self) -> u32 {
        self.state().target
    }

    /// All instances that have not ended.
    pub(crate) fn instances(&self) -> Vec<Arc<Instance>> {
        self.state().instances.clone()
    }

    /// Requests that the app works on or that wait for it.
    pub(crate) fn requests(&self) -> usize {
        usize::try_from(self.quotas.requests()).unwrap_or(usize::MAX)
    }

    /// When the last request came, or it was deployed.
    pub(super) fn last_request(&self) -> Instant {
        self.state().last_request
    }

    /// Time since the last request, or since the deployment.
    pub(crate) fn last_request_elapsed(&self) -> std::time::Duration {
        self.last_request().elapsed()
    }

    /// Requests that it may have at a time.
    pub(crate) fn requests_max(&self) -> usize {
        let max = self.quotas.limit(QuotaKind::Requests);
        max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX))
    }

    /// Instances that no request has started, and that stay.
    pub(super) fn persistent_count(&self) -> u32 {
        let count = self.state().persistent().count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether requests may start instances of their own.
    pub(super) fn may_start(&self) -> bool {
        let state = self.state();
        !state.is_ending() && (self.manifest.on_demand || state.target > 0)
    }

    /// To be compared with that of a start on its way; see [`AppState::generation`].
    pub(super) fn generation(&self) -> u64 {
        self.state().generation
    }

    /// Hears of the next change of anything about an instance.
    pub(crate) fn changes(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// What a request that waits for an instance may expect.
    pub(crate) fn prospect(&self) -> Prospect {
        let state = self.state();
        let stays = |one: &&Arc<Instance>| !one.is_leaving() && !one.has_ended();
        let stay = || state.instances.iter().filter(stays);
        let running = stay().filter(|one| one.status().phase == Phase::Running);
        if let Some(since) = running.map(|one| one.started).max() {
            return Prospect::Runs { since };
        }
        match stay().next().is_some() || state.starting > 0 {
            true => Prospect::Starts,
            // The other one is about to take over.
            false if state.heir.is_some() => Prospect::Starts,
            false if state.is_ending() => Prospect::None,
            false if self.manifest.on_demand => Prospect::OnDemand,
            // Its turn comes: the daemon has just been started.
            false if state.target > 0 && state.last_end.is_none() => Prospect::Starts,
            false => Prospect::None,
        }
    }

    /// The condition, and why it is not better.
    pub(crate) fn condition(&self) -> (Condition, Option<String>) {
        let state = self.state();
        let phases = || state.instances.iter().map(|one| one.status().phase.clone());
        if phases().any(|phase| phase == Phase::Running) {
            return (Condition::Running, None);
        }
        if state.starting > 0 || phases().any(|phase| phase == Phase::Starting) {
            return (Condition::Starting, None);
        }
        let crash = phases().find_map(|phase| match phase {
            Phase::Waiting(reason) => Some(reason.to_string()),
            _ => None,
        });
        if crash.is_some() {
            return (Condition::Waiting, crash);
        }
        if let Some(max) = self.gas_used_up() {
            let why = ExitReason::GasUsedUp(max).to_string();
            return (Condition::Stopped, Some(why));
        }
        // One may have ended a moment ago and not have been taken out yet.
        let ended = phases().find_map(|phase| match phase {
            Phase::Ended(reason) => Some(reason),
            _ => None,
        });
        let last_end = ended.as_ref().or(state.last_end.as_ref());
        let why = last_end.map(ToString::to_string);
        if self.manifest.on_demand {
            return (Condition::Idle, why);
        }
        match last_end {
            _ if state.target == 0 => (Condition::Stopped, None),
            // Its turn comes: the daemon has just been started.
            None => (Condition::Starting, None),
            Some(ExitReason::Stopped) => (Condition::Stopped, None),
            Some(reason) if reason.is_success() => (Condition::Finished, why),
            Some(_) => (Condition::Failed, why),
        }
    }
}

/// Puts what the store has in order.
fn by_name(records: Vec<DomainRecord>) -> Domains {
    let named = records.into_iter().map(|one| (one.name.clone(), one));
    named.collect()
}

/// Settings that nearly all apps have are kept once.
fn shared(settings: Settings) -> Arc<Settings> {
    static USUAL: LazyLock<Arc<Settings>> = LazyLock::new(Arc::default);
    match settings == **USUAL {
        true => Arc::clone(&USUAL),
        false => Arc::new(settings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker may have a hundred thousand of them: see `scale-apps` of the bench. The
    /// allocator has sizes of 896 and 1,024 bytes, and two counters stand before it.
    #[test]
    fn an_app_fits_a_size_of_the_allocator() {
        assert!(size_of::<App>() + 2 * size_of::<usize>() <= 896);
    }
}
