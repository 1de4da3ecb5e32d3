//! Outgoing connections.
//!
//! An attempt is a task of the host: it resolves the name, asks the policy about
//! every address and dials the allowed ones, under one deadline. It goes on and
//! ends whether or not the guest asks for it; what it holds is given back when
//! it fails. Where the worker has a proxy, the proxy dials, and what it is asked for
//! was checked in the same way. Made by the `tcp_connect` calls, asked by `poll_res`.
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

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use wapo_abi::NetFailure;

use crate::descriptors::{AttemptPermit, DescriptorPermit, NoDescriptors};
use crate::limits::{ATTEMPT_DELAY, CONNECT_ADDRESSES_MAX, RESOLUTION_DELAY};
use crate::net::dialer::Dialer;
use crate::net::dns_sockets::Asker;
use crate::net::failure::Failure;
use crate::net::names::AddressFamily;
use crate::net::policy::{Denied, Host, NoHost};
use crate::net::proxy::{Proxy, proxy_failed};
use crate::net::stream::Stream;
use crate::net::task::OwnedTask;
use crate::net::tls::{Held, TlsStream};
use crate::net::tls_client::TlsClient;
use crate::quotas::QuotaKind;

/// Bytes charged for an outgoing TCP connection, at its start and when it stands.
pub(crate) const TCP_CONNECT_BYTES: u64 = 512;
/// Bytes charged for an outgoing TLS connection, at its start and when it stands.
pub(crate) const TLS_CONNECT_BYTES: u64 = 4096;

/// Descriptors that an attempt by name begins with: a question for each family
/// of addresses, which may take one more. One is kept for the first address; each one more that is dialled
/// beside others takes one more, up to [`CONNECT_ADDRESSES_MAX`].
const DESCRIPTORS_BY_NAME: u64 = 2;

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
        let parsed = Host::parse(&host);
        let descriptors = match parsed {
            Ok(Host::Address(_)) => 1,
            _ => DESCRIPTORS_BY_NAME,
        };
        let quota = dialer.quotas.take(QuotaKind::ConnectionsOut, 1)?;
        let permit = dialer.descriptors.attempt(descriptors)?;
        let runtime = dialer.runtime.clone();
        let attempt = async move {
            let dialling = async {
                let parsed = parsed.map_err(|NoHost| Failure::of(NetFailure::NO_SUCH_NAME))?;
                dialer.wait_for_rates().await;
                dialer.dial(&parsed, port, permit).await
            };
            let outcome = timeout(dialer.deadlines.connect, dialling).await;
            let outcome = outcome.unwrap_or_else(|_| Err(dialer.too_late()));
            let target = || format!("cannot connect to {}", authority(&host, port));
            let (tcp, permit) = outcome.map_err(|failure| match failure.kind {
                // It names its target and what to do.
                NetFailure::DENIED => failure,
                _ => failure.while_doing(&target()),
            })?;
            let permit = permit.with(quota);
            Ok(match tls {
                None => Stream::Tcp {
                    io: tcp,
                    _permit: permit,
                },
                Some(TlsClient {
                    name,
                    config,
                    memory,
                }) => {
                    let held = Held {
                        permit,
                        memory,
                        guard: None,
                    };
                    let to = (name, config);
                    Stream::Tls(Box::new(TlsStream::connect(&dialer, to, tcp, held)))
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
        host: &Host,
        port: u16,
        permit: AttemptPermit,
    ) -> Result<Connection, Failure> {
        let via = self.proxies.of(host).cloned();
        let text = host.to_string();
        let mut race = Race::new(self, &text, port, permit, via.clone());
        let (stream, permit) = match (host, via) {
            (Host::Address(address), _) => {
                race.add(vec![*address]);
                race.run(Lookups::none()).await?
            }
            (Host::Name(_), Some(proxy)) if proxy.resolves() => {
                race.ask_unresolved(&proxy, host).await?
            }
            (Host::Name(name), _) => {
                let lookups = Lookups::of(self, name, &mut race.permit);
                race.run(lookups).await?
            }
        };
        // Small writes are the guest's own choice; delaying them helps nobody.
        stream.set_nodelay(true).map_err(Failure::from)?;
        Ok((stream, permit))
    }

    async fn dial_one(
        &self,
        address: SocketAddr,
        via: Option<Arc<Proxy>>,
    ) -> Result<TcpStream, Failure> {
        match via {
            None => TcpStream::connect(address).await.map_err(Failure::from),
            Some(proxy) => {
                let host = Host::Address(address.ip());
                self.dial_via(&proxy, &host, address.port()).await
            }
        }
    }

    /// Connects to the proxy and has it connect to a host, which was checked before.
    async fn dial_via(&self, proxy: &Proxy, host: &Host, port: u16) -> Result<TcpStream, Failure> {
        let (place, place_port) = proxy.place();
        let addresses = match place {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.addresses_of_proxy(name).await?,
        };
        let unreachable = |error| {
            let kind = Failure::from(&error).kind;
            proxy_failed(kind, "cannot be reached")
        };
        let addresses: Vec<_> = addresses
            .into_iter()
            .take(CONNECT_ADDRESSES_MAX)
            .map(|address| SocketAddr::new(address, place_port))
            .collect();
        let stream = TcpStream::connect(addresses.as_slice()).await;
        proxy.ask(stream.map_err(unreachable)?, host, port).await
    }

    async fn addresses_of_proxy(&self, name: &str) -> Result<Vec<IpAddr>, Failure> {
        // The connection to the proxy is made after it, with the same descriptor.
        let asker = Asker::with_lent(&self.descriptors);
        for family in [AddressFamily::V4, AddressFamily::V6] {
            if let Ok(addresses) = self.dns.lookup(&asker, name, family).await {
                return Ok(addresses);
            }
        }
        Err(proxy_failed(NetFailure::LOOKUP_FAILED, "has no address"))
    }
}

type Answer = Result<Vec<IpAddr>, Failure>;
/// Both have the descriptor of their socket.
type Lookup<'a> =
    Pin<Box<dyn Future<Output = (AddressFamily, Answer, Option<DescriptorPermit>)> + Send + 'a>>;
type Connection = (TcpStream, DescriptorPermit);

/// What became of an address, and the descriptor of its socket.
type Dialled = (Result<TcpStream, Failure>, DescriptorPermit);

/// The next address.
enum Dial<F> {
    /// It is being dialled.
    Begun(F),
    /// There is no descriptor for it now.
    LacksDescriptor,
    /// None is left that may be dialled.
    None,
}

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

    fn of(dialer: &'a Dialer, host: &'a str, permit: &mut AttemptPermit) -> Self {
        let mut ask = |family| -> Lookup<'a> {
            let asker = Asker::new(&dialer.descriptors, permit.take());
            Box::pin(async move {
                let asking = dialer.dns.lookup_for(&dialer.names, &asker, host, family);
                let answer = asking.await;
                (family, answer, asker.take_back())
            })
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
    /// The proxy through which addresses are dialled.
    via: Option<Arc<Proxy>>,
    v4: VecDeque<IpAddr>,
    v6: VecDeque<IpAddr>,
    /// The family that is tried next if both are there.
    v4_is_next: bool,
    /// Addresses that the policy has allowed, up to [`CONNECT_ADDRESSES_MAX`].
    tried: usize,
    /// When the next address may be dialled beside those under way.
    next_at: Instant,
    /// The reason that says most about why nothing was reached.
    failure: Option<Failure>,
}

impl<'a> Race<'a> {
    fn new(
        dialer: &'a Dialer,
        host: &'a str,
        port: u16,
        permit: AttemptPermit,
        via: Option<Arc<Proxy>>,
    ) -> Self {
        Self {
            dialer,
            host,
            port,
            permit,
            via,
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

    /// Has a proxy connect to a name that only the proxy resolves.
    async fn ask_unresolved(&mut self, proxy: &Proxy, host: &Host) -> Result<Connection, Failure> {
        let permit = self.permit.take();
        let permit = permit.ok_or_else(|| Failure::of(NetFailure::LIMIT))?;
        if let Err(denied) = self.dialer.check_unresolved(self.host, self.port) {
            self.deny(&denied);
            return Err(Failure::from(&denied));
        }
        let stream = self.dialer.dial_via(proxy, host, self.port).await?;
        Ok((stream, permit))
    }

    /// Dials until one address answers or none is left.
    async fn run(&mut self, mut lookups: Lookups<'_>) -> Result<Connection, Failure> {
        let mut dials = FuturesUnordered::new();
        loop {
            let is_due = dials.is_empty() || self.next_at <= Instant::now();
            // Without a descriptor more, the next address waits for a socket to close.
            let mut lacks_descriptor = false;
            if !lookups.waits_for_v6 && is_due && self.has_addresses() {
                match self.next_dial() {
                    Dial::Begun(dial) => {
                        self.next_at = Instant::now() + ATTEMPT_DELAY;
                        dials.push(dial);
                        continue;
                    }
                    Dial::LacksDescriptor => lacks_descriptor = true,
                    Dial::None => {}
                }
            }
            if dials.is_empty() && lookups.pending.is_empty() {
                let failure = self.failure.take();
                return Err(failure.unwrap_or_else(|| Failure::of(NetFailure::NO_SUCH_NAME)));
            }
            let timer = pin!(sleep_until(self.next_at));
            let may_be_due = match lookups.waits_for_v6 {
                true => !self.v4.is_empty(),
                false => self.has_addresses() && !lacks_descriptor,
            };
            tokio::select! {
                Some((dialled, permit)) = dials.next(), if !dials.is_empty() => match dialled {
                    Ok(stream) => return Ok((stream, permit)),
                    // The next one need not wait any more.
                    Err(failure) => {
                        self.permit.give_back(permit);
                        self.next_at = Instant::now();
                        self.note(failure);
                    }
                },
                Some((family, answer, permit)) = lookups.pending.next(),
                    if !lookups.pending.is_empty() =>
                {
                    permit.into_iter().for_each(|permit| self.permit.give_back(permit));
                    self.take_answer(family, answer, &mut lookups);
                }
                () = timer, if may_be_due => lookups.waits_for_v6 = false,
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

    /// Dials the next address that the policy allows.
    fn next_dial(&mut self) -> Dial<impl Future<Output = Dialled> + use<'a>> {
        let Some(permit) = self.permit.take() else {
            return Dial::LacksDescriptor;
        };
        match self.next_allowed() {
            Some(address) => {
                let (dialer, via) = (self.dialer, self.via.clone());
                Dial::Begun(async move { (dialer.dial_one(address, via).await, permit) })
            }
            None => {
                self.permit.give_back(permit);
                Dial::None
            }
        }
    }

    /// The next address that the policy allows.
    fn next_allowed(&mut self) -> Option<SocketAddr> {
        while self.tried < CONNECT_ADDRESSES_MAX {
            let address = SocketAddr::new(self.next_address()?, self.port);
            match self.dialer.check_address(self.host, address) {
                Ok(()) => {
                    self.tried += 1;
                    return Some(address);
                }
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
mod tests;
