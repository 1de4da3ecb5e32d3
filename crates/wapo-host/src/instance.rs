//! What an embedder holds of a running guest.
//!
//! [`InstanceConfig`] says what a guest may use, [`InstanceHandle`] talks to it
//! while it runs, [`Status`] tells what became of it. The guest itself lives in
//! a task of its own (`supervise`, `drive`) and is reached through the inbox.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ipnet::IpNet;
use tokio::sync::watch;
use wapo_abi::message::InputChannel;

use crate::control::Control;
use crate::descriptors::DescriptorShare;
use crate::embedder::InstanceId;
use crate::host_memory::HostMemory;
use crate::intake::{HttpCall, HttpExchange, Intake, Reservation};
use crate::logs::LogRate;
use crate::meter::Meter;
use crate::net::names::NameShare;
use crate::net::policy::{EgressPolicy, EgressRules};
use crate::net::port_ranges::PortRanges;
use crate::quotas::{GasQuota, Quotas};
use crate::request::RequestError;
use crate::schedule::{SchedulingHistory, Weight};

/// What one instance may use and how it is run.
#[derive(Clone)]
pub struct InstanceConfig {
    /// Program arguments, the program's own name first.
    pub args: Vec<String>,
    /// Environment variables; nothing of the host's environment is visible.
    pub env: Vec<(String, String)>,
    /// Linear memory at most, in bytes. The engine's own limit applies as well.
    pub memory_max_bytes: u64,
    /// Gas after which the instance is ended; `None` for no limit.
    pub gas_max: Option<u64>,
    /// Time after which the instance is ended, whatever it does.
    pub time_max: Option<Duration>,
    /// Share of the CPU when instances compete; one for each app.
    pub weight: Arc<Weight>,
    /// What happens when the guest ends by itself.
    pub restart: RestartPolicy,
    /// Ports the guest may listen on; `None` for none.
    pub listen_ports: Option<PortRanges>,
    /// Keeps listeners on loopback, whatever address the guest names.
    pub listen_on_loopback: bool,
    /// Proxies whose PROXY headers the guest's listeners may take; none where it is
    /// empty.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Where the guest may connect to.
    pub egress: Arc<dyn EgressPolicy>,
    /// Where use is counted. Several instances may share one.
    pub meter: Arc<Meter>,
    /// What the app may have in all; one for each app. Rates and gas count what the
    /// meter counts, so that instances that share quotas share a meter.
    pub quotas: Arc<Quotas>,
    /// How the app's instances have used the processor so far; one for each app.
    pub history: Arc<SchedulingHistory>,
    /// The app's answers about names, and how often it may ask; one for each app.
    pub names: Arc<NameShare>,
    /// Whether host calls are logged from the start.
    pub trace_calls: bool,
    /// How many lines of log may pass.
    pub log_rate: LogRate,
}

impl Default for InstanceConfig {
    /// 128 MiB, no ports, public egress, no restart, counted on its own.
    fn default() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            memory_max_bytes: 128 << 20,
            gas_max: None,
            time_max: None,
            weight: Arc::default(),
            restart: RestartPolicy::Never,
            listen_ports: None,
            listen_on_loopback: false,
            trusted_proxies: Arc::default(),
            egress: Arc::new(EgressRules::default()),
            meter: Arc::new(Meter::default()),
            quotas: Arc::default(),
            history: Arc::default(),
            names: Arc::default(),
            trace_calls: false,
            log_rate: LogRate::Limited,
        }
    }
}

/// When a guest that ended is started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestartPolicy {
    /// It stays ended.
    Never,
    /// After its own limit for a poll, if it served; with other ends it stays ended. For
    /// developers who run a program and want to see how it ends.
    AfterPollLimit,
    /// After a trap or a non-zero exit, with growing pauses.
    OnFailure,
    /// After any end but a requested stop or a reached limit.
    Always,
}

/// Why an instance ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExitReason {
    /// The main future finished.
    Finished,
    /// The guest called `proc_exit` with this code.
    Exited(i32),
    /// The embedder asked for it.
    Stopped,
    /// The guest trapped; message with wasm backtrace, for the app's log.
    Trapped(String),
    /// The guest broke the contract or a limit of the host.
    Violation(String),
    /// This much gas, [`InstanceConfig::gas_max`], is used up.
    GasExhausted(u64),
    /// The app has used up what it may of gas in all ([`QuotaKind::Gas`]).
    ///
    /// [`QuotaKind::Gas`]: crate::QuotaKind::Gas
    GasUsedUp(GasQuota),
    /// This time, [`InstanceConfig::time_max`], is over.
    TimeExceeded(Duration),
    /// One poll computed for longer than this, which the guest has set for itself.
    PollTooLong(Duration),
    /// The guest never ran: no memory left, bad start function, no slot.
    FailedToStart(String),
}

impl ExitReason {
    /// Whether the guest ended as a program that did its work.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Finished | Self::Exited(0) | Self::Stopped)
    }
}

impl std::fmt::Display for ExitReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Finished => write!(f, "finished"),
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Stopped => write!(f, "stopped"),
            Self::Trapped(message) => write!(f, "trapped: {message}"),
            Self::Violation(message) => write!(f, "ended by the host: {message}"),
            Self::GasExhausted(max) => write!(f, "gas limit of {max} reached"),
            Self::GasUsedUp(max) => write!(f, "stopped: gas used up, {max}"),
            Self::TimeExceeded(max) => write!(f, "time limit of {max:?} reached"),
            Self::PollTooLong(max) => write!(
                f,
                "one poll computed for longer than the {} ms that the guest allows itself",
                max.as_millis()
            ),
            Self::FailedToStart(message) => write!(f, "failed to start: {message}"),
        }
    }
}

/// Where an instance is in its life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Being instantiated, or in its first poll. Goes to `Running`, `Waiting` or
    /// `Ended`.
    Starting,
    /// Its first poll has returned. Goes to `Waiting` or `Ended`.
    Running,
    /// Ended with this reason; starts again soon. Goes to `Starting` or `Ended`.
    Waiting(ExitReason),
    /// Gone for good.
    Ended(ExitReason),
}

/// State of an instance as its embedder sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Where it is in its life.
    pub phase: Phase,
    /// Whether it was ever polled. Watchers may miss a short life, but not this.
    pub has_run: bool,
    /// Times it was started again.
    pub restarts: u32,
    /// When it is started again, while it waits for that.
    pub next_start: Option<Instant>,
    /// Whether the guest takes queries now.
    pub takes_queries: bool,
    /// Whether the guest takes HTTP requests now.
    pub takes_http: bool,
    /// Addresses it listens on.
    pub listening: Vec<ListenAddress>,
    /// Names that it serves on the shared TLS port, as it writes them. One that it
    /// serves twice is there twice.
    pub names: Vec<Arc<str>>,
    /// Addresses on which it takes datagrams from any sender.
    pub listening_udp: Vec<SocketAddr>,
}

impl Status {
    /// Of an instance that is being made.
    pub fn starting() -> Self {
        Self {
            phase: Phase::Starting,
            has_run: false,
            restarts: 0,
            next_start: None,
            takes_queries: false,
            takes_http: false,
            listening: Vec::new(),
            names: Vec::new(),
            listening_udp: Vec::new(),
        }
    }

    /// Whether the guest can be reached now.
    pub fn serves(&self) -> bool {
        self.takes_queries
            || self.takes_http
            || !self.listening.is_empty()
            || !self.names.is_empty()
            || !self.listening_udp.is_empty()
    }
}

/// An address a guest listens on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenAddress {
    /// The bound address.
    pub address: SocketAddr,
    /// Whether connections speak TLS that the host ends.
    pub tls: bool,
}

/// A running guest. Dropping the handle stops it.
pub struct InstanceHandle {
    pub(crate) id: InstanceId,
    pub(crate) control: Arc<Control>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) descriptors: Arc<DescriptorShare>,
    pub(crate) host_memory: Arc<HostMemory>,
}

impl InstanceHandle {
    /// The instance's number.
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// Follows the state of the instance.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Linear memory of the instance right now, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.control.memory_bytes()
    }

    /// Memory that the host keeps for the instance right now, in bytes.
    pub fn host_memory_bytes(&self) -> u64 {
        self.host_memory.held_bytes()
    }

    /// File descriptors that the instance holds right now.
    pub fn descriptors(&self) -> u64 {
        self.descriptors.held_count()
    }

    /// Counters of the instance.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Reserves room for one request. No more than `outstanding_max` requests
    /// wait for the guest or are in its hands at a time.
    ///
    /// When there is no room, [`Embedder::has_room`](crate::Embedder::has_room)
    /// is called as soon as there is.
    pub fn reserve(&self, channel: InputChannel, outstanding_max: usize) -> Option<Reservation> {
        self.intake.reserve(channel, outstanding_max)
    }

    /// Requests that wait for the guest or that it has in hand, also those whose
    /// requester has left.
    pub fn outstanding(&self) -> usize {
        self.intake.outstanding()
    }

    /// Asks the guest a question, as [`Reservation::query`] does.
    ///
    /// # Errors
    ///
    /// [`RequestError`] as documented there; `Busy` at once, never after a wait,
    /// also when the host may keep no more for the instance.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn query(
        &self,
        origin: Option<[u8; 32]>,
        path: String,
        payload: Vec<u8>,
    ) -> Result<Bytes, RequestError> {
        let room = self.reserve(InputChannel::Query, usize::MAX);
        let room = room.ok_or(RequestError::Busy)?;
        room.query(origin, path, payload).await
    }

    /// Hands an HTTP request to the guest.
    ///
    /// # Errors
    ///
    /// [`RequestError::Busy`] or [`RequestError::Ended`], at once.
    pub fn http(&self, call: HttpCall) -> Result<HttpExchange, RequestError> {
        let room = self.reserve(InputChannel::HttpRequest, usize::MAX);
        room.ok_or(RequestError::Busy)?.http(call)
    }

    /// Lets the guest accept no more connections on ports of its own. What has
    /// not been accepted stays with the kernel, for other instances that share
    /// the port. Cannot be undone.
    pub fn leave(&self) {
        self.control.leave();
    }

    /// Accepted connections on which the guest owes an answer: it has read
    /// something and written nothing since.
    pub fn owed_answers(&self) -> usize {
        self.control.connections.owed()
    }

    /// Accepted connections on which something is to be expected: the guest owes
    /// an answer, or bytes have moved within
    /// [`CONNECTION_QUIET`](crate::limits::CONNECTION_QUIET). Only looks can tell
    /// whether something has moved since the last one.
    pub fn busy_connections(&self) -> usize {
        self.control.connections.busy()
    }

    /// Charges the memory that the instance's stack takes, if it ran since the last
    /// time; ends the instance if there is none. Blocks for some ten microseconds.
    pub fn charge_stack(&self) {
        if !self.control.stack().measure(self.control.step()) {
            self.control.notify();
        }
    }

    /// Asks the instance to stop; it does within a slice, whatever the guest does.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Waits until the instance is gone for good.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ended(&self) -> ExitReason {
        let mut status = self.status.clone();
        let ended = status
            .wait_for(|status| matches!(status.phase, Phase::Ended(_)))
            .await;
        match ended.as_deref() {
            Ok(Status {
                phase: Phase::Ended(reason),
                ..
            }) => reason.clone(),
            // The task is gone without a word: its runtime was shut down.
            _ => ExitReason::Stopped,
        }
    }
}

impl Drop for InstanceHandle {
    fn drop(&mut self) {
        self.control.stop();
    }
}
