//! The life of an instance over all its starts.
//!
//! Makes the state for each start, runs it, and decides what follows: nothing,
//! or another start after a pause. Everything an ended guest held is free
//! before the next start, memory slot and locks included. Spawned by the engine.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use wapo_abi::message::LogLevel;

use crate::budget::{MemoryBudget, MemoryShare};
use crate::context::InstanceContext;
use crate::control::Control;
use crate::descriptors::{DescriptorBudget, DescriptorShare};
use crate::drive::{Driver, GasAccount};
use crate::embedder::{Embedder, InstanceId};
use crate::halt::{Halt, TimeLimit, interruptible};
use crate::host_memory::HostMemory;
use crate::instance::{ExitReason, InstanceConfig, Phase, RestartPolicy, Status};
use crate::intake::Intake;
use crate::limits::{
    POLL_LIMIT_LIFE_MIN, POLL_LIMIT_SILENT_LIFE_MIN, RESTART_BACKOFF_MAX, RESTART_BACKOFF_MIN,
    RESTART_BACKOFF_RESET,
};
use crate::logs::Logger;
use crate::module_cache::{Code, ModuleCache, Program};
use crate::net::dialer::{Deadlines, Dialer};
use crate::net::dns::Dns;
use crate::net::machine::Machine;
use crate::net::proxy::Proxies;
use crate::net::rate_waits::RateWaits;
use crate::net::room::RoomWaits;
use crate::net::tls_settings::TlsSettings;
use crate::notices::Notices;
use crate::poll_abi::PollAbi;
use crate::resource::ResourceTable;
use crate::schedule::LowPriority;
use crate::stack::StackGauge;
use crate::state::{Inbox, InstanceState};
use crate::steps::Steps;
use crate::wake::{TaskWakers, WakeQueue};

/// What all instances share.
pub(crate) struct EngineParts {
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) dns: Arc<Dns>,
    pub(crate) tls: Arc<TlsSettings>,
    pub(crate) modules: ModuleCache,
    pub(crate) low_priority: LowPriority,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) descriptors: Arc<DescriptorBudget>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) proxies: Proxies,
    /// Linear memory of one instance at most, whatever its own limit.
    pub(crate) memory_max_bytes: u64,
    /// Stack of a guest's code.
    pub(crate) wasm_stack_bytes: usize,
    pub(crate) instances: AtomicU64,
    pub(crate) steps: Arc<Steps>,
}

/// What an instance is made of.
pub(crate) struct Supervisor {
    pub(crate) id: InstanceId,
    pub(crate) parts: Arc<EngineParts>,
    pub(crate) program: Program,
    pub(crate) descriptors: Arc<DescriptorShare>,
    pub(crate) host_memory: Arc<HostMemory>,
    /// Where tasks run that must not wait for the guest.
    pub(crate) runtime: Handle,
    pub(crate) config: InstanceConfig,
    pub(crate) embedder: Arc<dyn Embedder>,
    pub(crate) control: Arc<Control>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) status: Arc<watch::Sender<Status>>,
}

impl Supervisor {
    /// Runs the instance until it is gone for good.
    pub(crate) async fn run(self) {
        let mut gas = GasAccount::default();
        let mut backoff = RESTART_BACKOFF_MIN;
        let embedder = Arc::clone(&self.embedder);
        let logger = Logger::new(self.id, embedder, self.config.log_rate);
        let notices = Notices::new(logger.clone());
        let mut time_limit = self.config.time_max.map(TimeLimit::new);
        loop {
            let begun = Instant::now();
            let state = self.new_state(logger.clone(), notices.clone());
            let wasmtime = &self.parts.wasmtime;
            let limit = time_limit.as_mut();
            let reason = match self.program.code() {
                Code::Poll(pre) => {
                    let driver = Driver::<PollAbi>::new(wasmtime, state, &mut gas, limit);
                    driver.run(pre).await
                }
            };
            self.log_end(&logger, &reason);
            let served = self.status.borrow().serves();
            self.clear_status();
            if !self.restarts_after(&reason, served) {
                self.end(reason);
                return;
            }
            let life = begun.elapsed();
            if life >= RESTART_BACKOFF_RESET {
                backoff = RESTART_BACKOFF_MIN;
            }
            let pause = match self.starts_at_once(&reason, life) {
                true => Duration::ZERO,
                false => {
                    let doubled = (backoff * 2).min(RESTART_BACKOFF_MAX);
                    std::mem::replace(&mut backoff, doubled)
                }
            };
            if let Err(halt) = self.pause(reason, pause, &mut time_limit.as_mut()).await {
                self.end(halt.into());
                return;
            }
        }
    }

    fn new_state(&self, logger: Logger, notices: Notices) -> InstanceState {
        let config = self.config.clone();
        let is_first_start = self.status.borrow().restarts == 0;
        // Undone when the state is dropped.
        config.meter.instance_begins();
        InstanceState {
            wasi: crate::wasi::context(&config, &logger),
            dialer: Dialer {
                dns: Arc::clone(&self.parts.dns),
                names: Arc::clone(&config.names),
                tls: Arc::clone(&self.parts.tls),
                policy: Arc::clone(&config.egress),
                proxies: self.parts.proxies.clone(),
                meter: Arc::clone(&config.meter),
                quotas: Arc::clone(&config.quotas),
                descriptors: Arc::clone(&self.descriptors),
                memory: Arc::clone(&self.host_memory),
                notices,
                machine: Arc::clone(&self.parts.machine),
                deadlines: Deadlines::default(),
                runtime: self.runtime.clone(),
            },
            net_failure: None,
            trace: config.trace_calls,
            stack: StackGauge::new(self.parts.wasm_stack_bytes),
            context: InstanceContext {
                id: self.id,
                config,
                embedder: Arc::clone(&self.embedder),
                control: Arc::clone(&self.control),
                logger,
                status: Arc::clone(&self.status),
                memory_bytes: 0,
                memory_max_bytes: self
                    .config
                    .memory_max_bytes
                    .min(self.parts.memory_max_bytes),
                memory_share: MemoryShare::new(&self.parts.budget, &self.config.quotas),
                memory_refused: None,
            },
            wakes: WakeQueue::new(Arc::clone(&self.control)),
            task_wakers: TaskWakers::default(),
            resources: ResourceTable::new(&self.config.quotas),
            queries: Inbox::default(),
            requests: Inbox::default(),
            intake: Arc::clone(&self.intake),
            is_first_start,
            is_ready: false,
            memory: None,
            answer: None,
            answer_charge: None,
            room_waits: RoomWaits::default(),
            rate_waits: RateWaits::default(),
            requests_wait: false,
            requests_held_up: false,
            task: 0,
            call_gas: 0,
            requests_taken: 0,
            call_gas_published: 0,
            work: 0,
            short_since: None,
            attention_at: 0,
        }
    }

    fn restarts_after(&self, reason: &ExitReason, served: bool) -> bool {
        match reason {
            // Neither the operator's word nor a limit is undone by a restart.
            ExitReason::Stopped
            | ExitReason::GasExhausted(_)
            | ExitReason::GasUsedUp(_)
            | ExitReason::TimeExceeded(_) => false,
            // What ran before may lack a slot or memory for the moment only.
            ExitReason::FailedToStart(_) if self.status.borrow().restarts == 0 => false,
            ended => match self.config.restart {
                RestartPolicy::Never => false,
                RestartPolicy::AfterPollLimit => {
                    served && matches!(ended, ExitReason::PollTooLong(_))
                }
                RestartPolicy::OnFailure => !ended.is_success(),
                RestartPolicy::Always => true,
            },
        }
    }

    /// Whether the next start needs no pause: the guest's own alarm has ended it, and it
    /// was healthy before.
    fn starts_at_once(&self, reason: &ExitReason, life: Duration) -> bool {
        let life_min = match self.control.take_answered() {
            true => POLL_LIMIT_LIFE_MIN,
            false => POLL_LIMIT_SILENT_LIFE_MIN,
        };
        matches!(reason, ExitReason::PollTooLong(_)) && life >= life_min
    }

    fn log_end(&self, logger: &Logger, reason: &ExitReason) {
        let level = if reason.is_success() {
            LogLevel::Info
        } else {
            LogLevel::Error
        };
        logger.announce(level, &reason.to_string());
    }

    /// The guest is gone: it listens nowhere and takes nothing. Told with the phase that
    /// follows.
    fn clear_status(&self) {
        self.status.send_if_modified(|status| {
            status.takes_queries = false;
            status.takes_http = false;
            status.listening.clear();
            status.names.clear();
            status.listening_udp.clear();
            false
        });
    }

    fn end(&self, reason: ExitReason) {
        // Before anyone is told: what was not taken has not been seen by the guest.
        self.intake.close();
        self.status
            .send_modify(|status| status.phase = Phase::Ended(reason));
    }

    /// Waits before the next start.
    ///
    /// # Errors
    ///
    /// The stop request or the time limit that came first.
    async fn pause(
        &self,
        reason: ExitReason,
        backoff: Duration,
        time_limit: &mut Option<&mut TimeLimit>,
    ) -> Result<(), Halt> {
        self.status.send_modify(|status| {
            status.phase = Phase::Waiting(reason);
            status.next_start = Some(Instant::now() + backoff);
        });
        self.control.set_idle(true);
        let sleeping = pin!(tokio::time::sleep(backoff));
        let waited = interruptible(&self.control, time_limit, sleeping).await;
        self.control.set_idle(false);
        self.status.send_modify(|status| status.next_start = None);
        waited?;
        self.config.meter.add_restart();
        self.status.send_modify(|status| {
            status.phase = Phase::Starting;
            status.restarts += 1;
        });
        Ok(())
    }
}

impl Drop for Supervisor {
    /// Says that the instance is gone, even when a bug of the host ended it.
    fn drop(&mut self) {
        self.intake.close();
        self.status.send_if_modified(|status| {
            if matches!(status.phase, Phase::Ended(_)) {
                return false;
            }
            status.phase = Phase::Ended(if std::thread::panicking() {
                ExitReason::Violation("internal error of the host".to_owned())
            } else {
                ExitReason::Stopped
            });
            true
        });
    }
}
