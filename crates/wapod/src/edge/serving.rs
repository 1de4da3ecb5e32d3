//! One name: the listeners of instances that serve it, and connections that wait for
//! one.
//!
//! A connection whose handshake is done is meant for the instance that has the
//! fewest. One that does not take it within [`SNI_TAKE_TIMEOUT`](crate::limits::SNI_TAKE_TIMEOUT) has lost it to the
//! instance that comes first. Connections stay here until a guest takes them, so none
//! is lost with an instance. Only listeners of the app that serves take any; those of
//! a version that has yet to prove itself wait for the parent module to hand over.
//! Filled by `port`; guests come through [`NameListener`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use rustls::ServerConfig;
use tokio::sync::oneshot;
use tokio::time::Instant;
use wapo_abi::Errno;
use wapo_host::{
    Accepted, InstanceId, LiveTls, MemoryCharge, SniIdentity, SniListener, SniRequest,
};
use wapo_sni::Pattern;

use super::{Edge, Kin, tickets};
use crate::limits::{LISTENERS_OF_NAME_MAX, READY_OF_NAME_MAX};
use crate::worker::App;

/// How the host speaks TLS for a listener.
pub(super) enum OfferedTls {
    /// With a certificate of the guest's.
    Provided(Arc<ServerConfig>),
    /// With one that attests the app.
    Attested(Arc<dyn LiveTls>),
}

impl OfferedTls {
    /// How TLS is spoken by a handshake that begins now; `None` when there is no
    /// certificate, which the app's log knows of.
    pub(super) async fn config(&self) -> Option<Arc<ServerConfig>> {
        match self {
            Self::Provided(config) => Some(Arc::clone(config)),
            Self::Attested(tls) => Arc::clone(tls).config().await.ok(),
        }
    }
}

/// What a listener offers to clients.
pub(super) struct Offer {
    /// `None` when the guest speaks TLS by itself.
    pub(super) tls: Option<OfferedTls>,
    /// Whether a signature takes milliseconds.
    pub(super) signs_slowly: bool,
    /// The serial number of the app that clients see evidence of.
    pub(super) attested: Option<u64>,
    protocols: Vec<Vec<u8>>,
    /// Memory of all that; connections that use the key have it, too.
    _charge: MemoryCharge,
}

impl Offer {
    /// Sets up what a guest of the app with a serial number asks for.
    ///
    /// # Errors
    ///
    /// What the library says.
    pub(super) fn new(
        kin: &Kin,
        serial: u64,
        request: SniRequest<'_>,
    ) -> Result<Arc<Self>, rustls::Error> {
        let SniRequest {
            identity,
            protocols,
            charge,
            ..
        } = request;
        let (signs_slowly, tls) = match identity {
            None => (false, None),
            Some(SniIdentity::Attested(tls)) => (false, Some(OfferedTls::Attested(tls))),
            Some(SniIdentity::Provided(identity)) => {
                let signs_slowly = tickets::signs_slowly(&identity);
                let config = tickets::config(identity, protocols.clone(), kin.tickets()?)?;
                (signs_slowly, Some(OfferedTls::Provided(config)))
            }
        };
        let attested = matches!(tls, Some(OfferedTls::Attested(_))).then_some(serial);
        Ok(Arc::new(Self {
            tls,
            attested,
            signs_slowly,
            protocols,
            _charge: charge,
        }))
    }

    /// Whether a guest that has offered this can go on with a connection.
    fn suits(&self, ready: &Ready) -> bool {
        match (&self.tls, ready.is_tls) {
            (None, is_tls) => !is_tls,
            (Some(_), false) => false,
            (Some(_), true) => match &ready.protocol {
                None => true,
                Some(protocol) => self.protocols.contains(protocol),
            },
        }
    }
}

/// A connection that is ready for a guest.
pub(super) struct Ready {
    pub(super) accepted: Accepted,
    /// Whether the host ends its TLS.
    pub(super) is_tls: bool,
    /// What was agreed on inside (ALPN).
    pub(super) protocol: Option<Vec<u8>>,
    /// The instance that it is for, if it was started for it.
    pub(super) only: Option<InstanceId>,
    /// The serial number of the app that the client has seen evidence of: no other
    /// version gets it.
    pub(super) attested: Option<u64>,
}

/// Listeners of one name.
pub(crate) struct Serving {
    kin: Arc<Kin>,
    /// The serial number of the app that asked for the name first.
    claimer: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listeners: Vec<Registered>,
    ready: VecDeque<Entry>,
    next: u64,
    /// Nobody has the name any more.
    is_over: bool,
}

struct Registered {
    number: u64,
    instance: InstanceId,
    /// Of its app.
    serial: u64,
    offer: Arc<Offer>,
    waker: Option<Waker>,
    load: Arc<Load>,
    /// Connections that are meant for it.
    meant: usize,
    is_leaving: bool,
    /// When it was last given one: of equally busy ones, the others come first.
    last: u64,
}

impl Registered {
    /// Whether it can go on with a connection, and may.
    fn suits(&self, ready: &Ready) -> bool {
        let is_of_app = ready.attested.is_none_or(|serial| serial == self.serial);
        is_of_app && self.offer.suits(ready)
    }
}

struct Entry {
    number: u64,
    ready: Ready,
    meant_for: Option<u64>,
    taken: oneshot::Sender<()>,
}

/// Connections of one instance, over all names.
pub(super) struct Load {
    open: AtomicUsize,
    /// When it last had a connection, or one was on its way to it.
    used: Mutex<Instant>,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            open: AtomicUsize::new(0),
            used: Mutex::new(Instant::now()),
        }
    }
}

impl Load {
    /// Connections that the instance has.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// When it last had a connection, or one was on its way to it.
    pub(super) fn used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// A connection that waits for a guest.
pub(super) struct QueuedConnection {
    pub(super) number: u64,
    /// Told when a guest has it; gone when nobody ever will.
    pub(super) taken: oneshot::Receiver<()>,
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Listeners that may take connections now.
    fn open(&self, serial: u64) -> impl Iterator<Item = &Registered> {
        let all = self.listeners.iter();
        all.filter(move |one| one.serial == serial && !one.is_leaving)
    }

    /// Lets any listener have the connections that were assigned to one.
    fn take_back(&mut self, number: u64) {
        for entry in &mut self.ready {
            if entry.meant_for == Some(number) {
                entry.meant_for = None;
            }
        }
        if let Some(one) = self.listeners.iter_mut().find(|one| one.number == number) {
            one.meant = 0;
        }
    }

    fn wakers(&mut self) -> Vec<Waker> {
        let wakers = self.listeners.iter_mut().filter_map(|one| one.waker.take());
        wakers.collect()
    }

    /// Whether anything waits that nobody in particular is meant to take.
    fn has_free(&self) -> bool {
        self.ready.iter().any(|entry| entry.meant_for.is_none())
    }
}

impl Serving {
    /// A name that a version, by its serial number, is the first to ask for.
    pub(super) fn new(kin: Arc<Kin>, claimer: u64) -> Self {
        Self {
            kin,
            claimer,
            state: Mutex::default(),
        }
    }

    pub(super) fn kin(&self) -> &Arc<Kin> {
        &self.kin
    }

    /// The serial number of the app that asked for the name first.
    pub(super) fn claimer(&self) -> u64 {
        self.claimer
    }

    /// Adds a listener of an instance, and gives its number; `None` if it has as many
    /// as it may.
    pub(super) fn register(
        &self,
        instance: InstanceId,
        serial: u64,
        offer: Arc<Offer>,
        load: Arc<Load>,
    ) -> Option<u64> {
        let mut state = self.state();
        let all = state.listeners.iter();
        if all.filter(|one| one.instance == instance).count() >= LISTENERS_OF_NAME_MAX {
            return None;
        }
        let number = state.number();
        state.listeners.push(Registered {
            number,
            instance,
            serial,
            offer,
            waker: None,
            load,
            meant: 0,
            is_leaving: false,
            last: 0,
        });
        Some(number)
    }

    /// Takes a listener out; those that may have its connections have to be woken.
    pub(super) fn deregister(&self, number: u64) -> Vec<Waker> {
        let mut state = self.state();
        state.take_back(number);
        state.listeners.retain(|one| one.number != number);
        match state.has_free() {
            true => state.wakers(),
            false => Vec::new(),
        }
    }

    /// An instance takes no more; the others are to be woken.
    pub(super) fn leave(&self, instance: InstanceId) -> Vec<Waker> {
        let mut state = self.state();
        let leaving = state.listeners.iter_mut();
        let leaving = leaving.filter(|one| one.instance == instance);
        let numbers: Vec<_> = leaving
            .map(|one| {
                one.is_leaving = true;
                one.number
            })
            .collect();
        numbers.into_iter().for_each(|one| state.take_back(one));
        match state.has_free() {
            true => state.wakers(),
            false => Vec::new(),
        }
    }

    /// Whether anything may take connections now.
    pub(super) fn is_open(&self) -> bool {
        let state = self.state();
        state.open(self.kin.serial()).next().is_some()
    }

    pub(super) fn has_listeners(&self) -> bool {
        !self.state().listeners.is_empty()
    }

    /// All listeners have to check again which connections they may take.
    pub(super) fn all_look(&self) -> Vec<Waker> {
        let mut state = self.state();
        for entry in &mut state.ready {
            entry.meant_for = None;
        }
        state.listeners.iter_mut().for_each(|one| one.meant = 0);
        state.wakers()
    }

    /// What is offered to a client now: the newest that counts; of an instance
    /// alone, if it is for one.
    pub(super) fn offer(&self, only: Option<InstanceId>) -> Option<Arc<Offer>> {
        let state = self.state();
        let open = state.open(self.kin.serial());
        let open = open.filter(|one| only.is_none_or(|only| only == one.instance));
        let newest = open.max_by_key(|one| one.number)?;
        newest.load.touch();
        Some(Arc::clone(&newest.offer))
    }

    /// Lets a connection wait for a guest.
    ///
    /// # Errors
    ///
    /// The connection, when too many wait or nobody has the name any more.
    pub(super) fn push(&self, ready: Ready) -> Result<QueuedConnection, Box<Ready>> {
        let mut state = self.state();
        // Under the lock: the app that takes over looks after it.
        let serial = self.kin.serial();
        if state.is_over || state.ready.len() >= READY_OF_NAME_MAX {
            return Err(Box::new(ready));
        }
        let number = state.number();
        let best = state
            .open(serial)
            .filter(|one| one.suits(&ready))
            .filter(|one| ready.only.is_none_or(|only| only == one.instance))
            .min_by_key(|one| (one.load.open() + one.meant, one.last))
            .map(|one| one.number);
        let best = state
            .listeners
            .iter_mut()
            .find(|one| Some(one.number) == best);
        let (mut meant_for, mut waker) = (None, None);
        if let Some(one) = best {
            one.meant += 1;
            one.last = number;
            one.load.touch();
            meant_for = Some(one.number);
            waker = one.waker.take();
        }
        let (taken, receiver) = oneshot::channel();
        state.ready.push_back(Entry {
            number,
            ready,
            meant_for,
            taken,
        });
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(QueuedConnection {
            number,
            taken: receiver,
        })
    }

    /// Lets any listener have a connection that was not taken in good time.
    pub(super) fn offer_to_all(&self, number: u64) {
        let mut state = self.state();
        let late = state.ready.iter_mut();
        let late = late.filter(|entry| entry.number == number);
        let numbers: Vec<_> = late.filter_map(|entry| entry.meant_for).collect();
        numbers.into_iter().for_each(|one| state.take_back(one));
        let wakers = state.wakers();
        drop(state);
        super::wake(wakers);
    }

    /// Takes a connection back that nobody has taken.
    pub(super) fn take_out(&self, number: u64) -> Option<Ready> {
        let mut state = self.state();
        let mut all = state.ready.iter();
        let index = all.position(|entry| entry.number == number)?;
        let entry = state.ready.remove(index)?;
        let meant_for = entry.meant_for;
        let mut all = state.listeners.iter_mut();
        if let Some(one) = all.find(|one| Some(one.number) == meant_for) {
            one.meant = one.meant.saturating_sub(1);
        }
        Some(entry.ready)
    }

    /// Takes a connection back in the end, if nobody has taken it.
    pub(super) fn reclaim(&self, number: u64) -> Reclaim<'_> {
        Reclaim {
            serving: self,
            number,
        }
    }

    /// Nobody has the name any more: what waits is let go.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.is_over = true;
        let ready = std::mem::take(&mut state.ready);
        let wakers = state.wakers();
        drop(state);
        drop(ready);
        super::wake(wakers);
    }

    /// The next connection for a listener.
    fn poll_take(&self, number: u64, waker: &Waker) -> Poll<Result<Taken, Errno>> {
        let mut state = self.state();
        // Under the lock: the app that takes over looks after it.
        let serial = self.kin.serial();
        let state = &mut *state;
        let mut all = state.listeners.iter_mut();
        let Some(me) = all.find(|one| one.number == number) else {
            return Poll::Ready(Err(Errno::END_OF_FILE));
        };
        if state.is_over {
            return Poll::Ready(Err(Errno::END_OF_FILE));
        }
        let is_mine = |entry: &Entry| {
            entry.meant_for.is_none_or(|one| one == number)
                && entry.ready.only.is_none_or(|only| only == me.instance)
                && me.suits(&entry.ready)
        };
        let found = match me.serial == serial && !me.is_leaving {
            true => state.ready.iter().position(is_mine),
            false => None,
        };
        let Some(entry) = found.and_then(|index| state.ready.remove(index)) else {
            me.waker = Some(waker.clone());
            return Poll::Pending;
        };
        if entry.meant_for.is_some() {
            me.meant = me.meant.saturating_sub(1);
        }
        // Nobody may wait for it any more; the guest has it even so.
        let _ = entry.taken.send(());
        Poll::Ready(Ok(Taken {
            accepted: entry.ready.accepted,
            open: OpenConnection::new(&me.load),
            offer: Arc::clone(&me.offer),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before the lock is given back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that a guest has got.
struct Taken {
    accepted: Accepted,
    open: OpenConnection,
    offer: Arc<Offer>,
}

/// Takes a connection back that nobody has taken, when it is dropped.
pub(super) struct Reclaim<'a> {
    serving: &'a Serving,
    number: u64,
}

impl Drop for Reclaim<'_> {
    fn drop(&mut self) {
        let _ = self.serving.take_out(self.number);
    }
}

/// Counts a connection of an instance.
struct OpenConnection(Arc<Load>);

impl OpenConnection {
    fn new(load: &Arc<Load>) -> Self {
        load.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.touch();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The listener of one guest for one name. Dropping it takes it out.
pub(super) struct NameListener {
    edge: Arc<Edge>,
    pub(super) serving: Arc<Serving>,
    pub(super) pattern: Pattern,
    pub(super) instance: InstanceId,
    pub(super) serial: u64,
    pub(super) number: u64,
}

impl NameListener {
    pub(super) fn new(
        edge: Arc<Edge>,
        serving: Arc<Serving>,
        pattern: Pattern,
        instance: InstanceId,
        app: &App,
        number: u64,
    ) -> Self {
        Self {
            edge,
            serving,
            pattern,
            instance,
            serial: app.serial,
            number,
        }
    }
}

impl SniListener for NameListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted, Errno>> {
        let taken = std::task::ready!(self.serving.poll_take(self.number, cx.waker()))?;
        self.serving.kin.count();
        let Taken {
            mut accepted,
            open,
            offer,
        } = taken;
        // Whatever came with it goes with it.
        accepted.guard = Box::new((accepted.guard, open, offer));
        Poll::Ready(Ok(accepted))
    }
}

impl Drop for NameListener {
    fn drop(&mut self) {
        let edge = Arc::clone(&self.edge);
        edge.listener_gone(self);
    }
}

#[cfg(test)]
mod tests;
