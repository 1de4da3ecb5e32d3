//! Outgoing connections.
//!
//! An attempt is a task of the host: it resolves the name, asks the policy about
//! every address and dials the allowed ones, under one deadline. It goes on and
//! ends whether or not the guest asks for it; what it holds is given back when
//! it fails. Made by the `tcp_connect` calls, asked by `poll_res`.
//!
//! # Several addresses
//!
//! As in RFC 8305: both families are asked for at the same time and tried in
//! turn, IPv6 first. An answer with IPv4 addresses waits for one with IPv6 for
//! 50 ms only. While an address has not answered after 250 ms the next one is
//! dialled beside it. The first connection wins.

use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until, timeout};
use wapo_abi::NetFailure;

use crate::descriptors::{AttemptPermit, DescriptorPermit, DescriptorShare, NoDescriptors};
use crate::host_memory::{HostMemory, MemoryCharge};
use crate::limits::{
    ATTEMPT_DELAY, CONNECT_ADDRESSES_MAX, CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, RESOLUTION_DELAY,
};
use crate::meter::Meter;
use crate::net::dns::{AddressFamily, Dns};
use crate::net::failure::Failure;
use crate::net::machine::Machine;
use crate::net::policy::{Denied, EgressPolicy};
use crate::net::stream::Stream;
use crate::net::task::OwnedTask;
use crate::net::tls::{Held, TlsSettings, TlsStream};
use crate::notices::Notices;

/// Bytes charged for an outgoing TCP connection, at its start and when it stands.
pub(crate) const TCP_CONNECT_BYTES: u64 = 512;
/// Bytes charged for an outgoing TLS connection, at its start and when it stands.
pub(crate) const TLS_CONNECT_BYTES: u64 = 4096;

/// Descriptors that an attempt by name begins with: a question for each family
/// of addresses. Afterwards two addresses have them; each one more that is
/// dialled beside those takes one more, up to [`CONNECT_ADDRESSES_MAX`].
const DESCRIPTORS_BY_NAME: u64 = 2;

/// What an attempt needs from the host.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) dns: Arc<Dns>,
    pub(crate) tls: Arc<TlsSettings>,
    pub(crate) policy: Arc<dyn EgressPolicy>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) descriptors: Arc<DescriptorShare>,
    pub(crate) memory: Arc<HostMemory>,
    pub(crate) notices: Notices,
    pub(crate) machine: Arc<Machine>,
    pub(crate) deadlines: Deadlines,
    /// Where tasks run that must not wait for the guest.
    pub(crate) runtime: Handle,
}

/// How long others may keep an attempt waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// For a name and a connection together.
    pub(crate) connect: Duration,
    /// For a TLS handshake, in either direction.
    pub(crate) handshake: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIMEOUT,
            handshake: HANDSHAKE_TIMEOUT,
        }
    }
}

/// How a connection attempt may speak TLS: as a client of this server, with the
/// memory that it needs.
pub(crate) type TlsClient = (ServerName<'static>, MemoryCharge);

/// A connection attempt.
pub(crate) enum Connecting {
    /// Under way. Goes to `Done`.
    Trying(OwnedTask<Result<Stream, Failure>>),
    /// The outcome was handed over; asking again is the guest's mistake.
    Done,
}

impl Connecting {
    /// Starts an attempt; with a server name it speaks TLS.
    ///
    /// # Errors
    ///
    /// [`NoDescriptors`] when the instance may not have another attempt.
    pub(crate) fn start(
        dialer: Dialer,
        host: String,
        port: u16,
        tls: Option<TlsClient>,
    ) -> Result<Self, NoDescriptors> {
        let descriptors = match host.parse::<IpAddr>() {
            Ok(_) => 1,
            Err(_) => DESCRIPTORS_BY_NAME,
        };
        let permit = dialer.descriptors.attempt(descriptors)?;
        let runtime = dialer.runtime.clone();
        let attempt = async move {
            let outcome = timeout(dialer.deadlines.connect, dialer.dial(&host, port, permit)).await;
            let outcome = outcome.unwrap_or_else(|_| Err(Failure::of(NetFailure::TIMED_OUT)));
            let target = || format!("cannot connect to {}", authority(&host, port));
            let (tcp, permit) = outcome.map_err(|failure| match failure.kind {
                // It names its target and what to do.
                NetFailure::DENIED => failure,
                _ => failure.while_doing(&target()),
            })?;
            Ok(match tls {
                None => Stream::Tcp {
                    io: tcp,
                    _permit: permit,
                },
                Some((name, memory)) => {
                    let held = Held { permit, memory };
                    Stream::Tls(Box::new(TlsStream::connect(&dialer, name, tcp, held)))
                }
            })
        };
        Ok(Self::Trying(OwnedTask::spawn(&runtime, attempt)))
    }

    /// Asks for the outcome; `None` when it was handed over before.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Stream, Failure>>> {
        let Self::Trying(attempt) = self else {
            return Poll::Ready(None);
        };
        let outcome = std::task::ready!(attempt.poll_outcome(cx));
        *self = Self::Done;
        Poll::Ready(Some(outcome.map_err(Failure::from).flatten()))
    }
}

/// A host and port as in a URL.
pub(crate) fn authority(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

impl Dialer {
    async fn dial(
        &self,
        host: &str,
        port: u16,
        permit: AttemptPermit,
    ) -> Result<(TcpStream, DescriptorPermit), Failure> {
        let mut race = Race::new(self, host, port, permit);
        let stream = match host.parse::<IpAddr>() {
            Ok(address) => {
                race.add(vec![address]);
                race.run(Lookups::none()).await?
            }
            Err(_) => race.run(Lookups::of(&self.dns, host)).await?,
        };
        // Small writes are the guest's own choice; delaying them helps nobody.
        stream.set_nodelay(true).map_err(Failure::from)?;
        Ok((stream, race.permit.connected()))
    }
}

type Answer = Result<Vec<IpAddr>, Failure>;
type Lookup<'a> = Pin<Box<dyn Future<Output = (AddressFamily, Answer)> + Send + 'a>>;

/// Questions to name servers that are not answered yet.
struct Lookups<'a> {
    pending: FuturesUnordered<Lookup<'a>>,
    waits_for_v6: bool,
}

impl<'a> Lookups<'a> {
    fn none() -> Self {
        Self {
            pending: FuturesUnordered::new(),
            waits_for_v6: false,
        }
    }

    fn of(dns: &'a Dns, host: &'a str) -> Self {
        let ask = |family| -> Lookup<'a> {
            Box::pin(async move { (family, dns.lookup(host, family).await) })
        };
        Self {
            pending: [ask(AddressFamily::V6), ask(AddressFamily::V4)]
                .into_iter()
                .collect(),
            waits_for_v6: true,
        }
    }
}

/// Addresses of one name that are tried beside each other.
struct Race<'a> {
    dialer: &'a Dialer,
    host: &'a str,
    port: u16,
    permit: AttemptPermit,
    v4: VecDeque<IpAddr>,
    v6: VecDeque<IpAddr>,
    /// The family that is tried next if both are there.
    v4_is_next: bool,
    tried: usize,
    /// When the next address may be dialled beside those under way.
    next_at: Instant,
    /// The reason that says most about why nothing was reached.
    failure: Option<Failure>,
}

impl<'a> Race<'a> {
    fn new(dialer: &'a Dialer, host: &'a str, port: u16, permit: AttemptPermit) -> Self {
        Self {
            dialer,
            host,
            port,
            permit,
            v4: VecDeque::new(),
            v6: VecDeque::new(),
            v4_is_next: false,
            tried: 0,
            next_at: Instant::now(),
            failure: None,
        }
    }

    fn add(&mut self, addresses: Vec<IpAddr>) {
        for address in addresses {
            match address {
                IpAddr::V4(_) => self.v4.push_back(address),
                IpAddr::V6(_) => self.v6.push_back(address),
            }
        }
    }

    /// Dials until one address answers or none is left.
    async fn run(&mut self, mut lookups: Lookups<'_>) -> Result<TcpStream, Failure> {
        let mut dials = FuturesUnordered::new();
        loop {
            let has_room = self.has_addresses() && self.has_room(dials.len());
            let is_due = dials.is_empty() || self.next_at <= Instant::now();
            if !lookups.waits_for_v6
                && is_due
                && has_room
                && let Some(address) = self.next_allowed()
            {
                self.next_at = Instant::now() + ATTEMPT_DELAY;
                dials.push(TcpStream::connect(address));
                continue;
            }
            if dials.is_empty() && lookups.pending.is_empty() {
                let failure = self.failure.take();
                return Err(failure.unwrap_or_else(|| Failure::of(NetFailure::NO_SUCH_NAME)));
            }
            let timer = pin!(sleep_until(self.next_at));
            tokio::select! {
                Some(dialled) = dials.next(), if !dials.is_empty() => match dialled {
                    Ok(stream) => return Ok(stream),
                    // The next one need not wait any more.
                    Err(error) => {
                        self.next_at = Instant::now();
                        self.note(Failure::from(error));
                    }
                },
                Some((family, answer)) = lookups.pending.next(), if !lookups.pending.is_empty() => {
                    self.take_answer(family, answer, &mut lookups);
                }
                () = timer, if has_room || lookups.waits_for_v6 && !self.v4.is_empty() => {
                    lookups.waits_for_v6 = false;
                }
            }
        }
    }

    fn take_answer(&mut self, family: AddressFamily, answer: Answer, lookups: &mut Lookups<'_>) {
        match answer {
            Ok(addresses) => self.add(addresses),
            Err(failure) => self.note(failure),
        }
        match family {
            AddressFamily::V6 => lookups.waits_for_v6 = false,
            AddressFamily::V4 if lookups.waits_for_v6 => {
                self.next_at = Instant::now() + RESOLUTION_DELAY;
            }
            AddressFamily::V4 => {}
        }
    }

    fn has_addresses(&self) -> bool {
        !(self.v4.is_empty() && self.v6.is_empty())
    }

    /// Whether one more address may be dialled beside so many others.
    fn has_room(&mut self, under_way: usize) -> bool {
        let descriptors = &mut self.permit.descriptors;
        // Without a descriptor more, the next address waits for one to fail.
        (under_way as u64) < descriptors.count() || descriptors.grow().is_ok()
    }

    /// The next address that the policy allows.
    fn next_allowed(&mut self) -> Option<SocketAddr> {
        while self.tried < CONNECT_ADDRESSES_MAX {
            let address = self.next_address()?;
            self.tried += 1;
            let address = SocketAddr::new(address, self.port);
            match self.dialer.policy.check_address(self.host, address) {
                Ok(()) => return Some(address),
                Err(denied) => self.deny(&denied),
            }
        }
        self.v4.clear();
        self.v6.clear();
        None
    }

    fn next_address(&mut self) -> Option<IpAddr> {
        let (first, second) = match self.v4_is_next {
            true => (&mut self.v4, &mut self.v6),
            false => (&mut self.v6, &mut self.v4),
        };
        let address = first.pop_front().or_else(|| second.pop_front())?;
        self.v4_is_next = address.is_ipv6();
        Some(address)
    }

    fn deny(&mut self, denied: &Denied) {
        self.dialer.notices.warn(&denied.to_string());
        self.note(Failure::from(denied));
    }

    /// Keeps what says most: what an address said, then the policy's word, then
    /// what became of the lookups.
    fn note(&mut self, failure: Failure) {
        let weight = |failure: &Failure| match failure.kind {
            NetFailure::NO_SUCH_NAME => 0,
            NetFailure::LOOKUP_FAILED => 1,
            NetFailure::NETWORK_UNREACHABLE | NetFailure::ADDRESS_NOT_AVAILABLE => 2,
            NetFailure::DENIED => 3,
            _ => 4,
        };
        let known = self.failure.as_ref().map(weight);
        if known.is_none_or(|known| weight(&failure) >= known) {
            self.failure = Some(failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::sleep;
    use wapo_abi::message::MetricsToken;

    use super::*;
    use crate::budget::MemoryBudget;
    use crate::descriptors::{DescriptorBudget, DescriptorLimits};
    use crate::embedder::{Embedder, InstanceId, LogLine};
    use crate::engine::Resolver;
    use crate::instance::LogRate;
    use crate::logs::Logger;
    use crate::net::policy::EgressRules;

    struct Nobody;

    impl Embedder for Nobody {
        fn app_address(&self) -> [u8; 32] {
            [0; 32]
        }
        fn log(&self, _line: LogLine) {}
        fn worker_pubkey(&self) -> [u8; 32] {
            [0; 32]
        }
        fn sign(&self, _data: &[u8]) -> Vec<u8> {
            Vec::new()
        }
        fn derive_secret(&self, _path: &[u8]) -> [u8; 64] {
            [0; 64]
        }
        fn gas_consumed(&self) -> (u64, MetricsToken) {
            unreachable!("no guest asks")
        }
        fn try_lock(&self, _instance: InstanceId, _name: &str) -> bool {
            false
        }
        fn unlock(&self, _instance: InstanceId, _name: &str) -> bool {
            false
        }
        fn instance_ended(&self, _instance: InstanceId) {}
    }

    fn dialer(budget: &Arc<DescriptorBudget>, rule: &str) -> Dialer {
        let rules = vec![rule.parse().expect("rule")];
        Dialer {
            dns: Arc::new(Dns::new(&Resolver::Servers(Vec::new())).expect("a resolver")),
            tls: Arc::new(TlsSettings::new(&[]).expect("settings")),
            policy: Arc::new(EgressRules::new(rules)),
            meter: Arc::default(),
            descriptors: DescriptorShare::new(budget),
            memory: HostMemory::new(&MemoryBudget::new(None)),
            notices: Notices::new(Logger::new(
                InstanceId(0),
                Arc::new(Nobody),
                LogRate::Limited,
            )),
            machine: Arc::default(),
            deadlines: Deadlines {
                connect: Duration::from_millis(400),
                handshake: Duration::from_millis(50),
            },
            runtime: Handle::current(),
        }
    }

    fn budget() -> Arc<DescriptorBudget> {
        let limits = DescriptorLimits {
            total: 100,
            per_instance: 10,
        };
        DescriptorBudget::new(limits, 1)
    }

    /// Drops whatever comes, because its queue is full.
    async fn silent(address: SocketAddr) -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(address).expect("a port");
        let listener = socket.listen(0).expect("listens");
        let address = listener.local_addr().expect("bound");
        let mut clients = Vec::new();
        loop {
            let connecting = timeout(Duration::from_millis(200), TcpStream::connect(address));
            match connecting.await {
                Ok(client) => clients.push(client.expect("connects")),
                Err(_) => return (address, listener, clients),
            }
        }
    }

    async fn until_given_back(budget: &DescriptorBudget) {
        let given_back = async {
            while budget.usage().used > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(Duration::from_secs(20), given_back).await;
        assert!(waited.is_ok(), "{:?}", budget.usage());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_attempt_ends_at_its_deadline_without_being_asked() {
        let budget = budget();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (address, _listener, _clients) = silent(any).await;
        let host = address.ip().to_string();
        let dialer = dialer(&budget, "*");
        let mut attempt = Connecting::start(dialer, host, address.port(), None).expect("room");
        assert_eq!(budget.usage().used, 1);
        until_given_back(&budget).await;
        let outcome = std::future::poll_fn(|cx| attempt.poll(cx)).await;
        let failure = outcome
            .expect("not asked before")
            .err()
            .expect("nobody answered");
        assert_eq!(failure.kind, NetFailure::TIMED_OUT);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_handshake_ends_at_its_deadline_without_being_asked() {
        let budget = budget();
        let dialer = dialer(&budget, "*");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("bound");
        let tcp = TcpStream::connect(address).await.expect("connects");
        let permit = dialer.descriptors.take(1).expect("room");
        let name = ServerName::try_from("name.test").expect("a name");
        let memory = dialer.memory.charge(1).expect("room");
        let held = Held { permit, memory };
        let stream = TlsStream::connect(&dialer, name, tcp, held);
        until_given_back(&budget).await;
        drop(stream);
    }

    /// Two addresses of one name, and a port at which the first is silent.
    async fn race(rule: &str) -> (Result<IpAddr, Failure>, Duration) {
        let budget = budget();
        let dialer = dialer(&budget, rule);
        let good = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let port = good.local_addr().expect("bound").port();
        let first = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 77), port));
        let (first, _listener, _clients) = silent(first).await;
        let permit = dialer.descriptors.attempt(2).expect("room");
        let mut race = Race::new(&dialer, "name.test", port, permit);
        race.add(vec![first.ip(), Ipv4Addr::LOCALHOST.into()]);
        let begun = Instant::now();
        let running = timeout(Duration::from_secs(10), race.run(Lookups::none()));
        let outcome = running.await.expect("the second address answers");
        // While the listener is there: its end ends the connection.
        let reached = outcome.map(|stream| stream.peer_addr().expect("a peer").ip());
        (reached, begun.elapsed())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_silent_address_does_not_keep_the_next_one_waiting() {
        let (outcome, time) = race("*").await;
        assert_eq!(outcome.expect("connected"), Ipv4Addr::LOCALHOST);
        assert!(time >= ATTEMPT_DELAY, "both at once: {time:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_address_that_is_tried_passes_the_policy() {
        let (outcome, _) = race("127.0.0.1").await;
        assert!(outcome.is_ok(), "the one that is allowed");
        let (outcome, _) = race("10.0.0.1").await;
        let failure = outcome.expect_err("none is allowed");
        assert_eq!(failure.kind, NetFailure::DENIED);
    }
}
