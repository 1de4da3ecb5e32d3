//! Requests on their way to a guest, and those that it has in hand.
//!
//! A request waits in the queue of its channel until the guest takes it; its
//! requester may leave before and takes it out again, so that no guest works in
//! vain. What a guest has taken counts until it lets go of it, also when its
//! requester has left. The embedder reserves room before it hands over a request
//! and hears ([`Embedder::has_room`]) when room that it missed is there. Filled
//! through [`InstanceHandle`](crate::InstanceHandle), emptied by `calls/channel`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use wapo_abi::message::InputChannel;

use crate::control::Control;
use crate::embedder::{Embedder, InstanceId};
use crate::host_memory::{HostMemory, MemoryCharge, NoMemory};
use crate::http_head::{HttpAnswer, RequestHead};
use crate::limits::{INBOX_CAPACITY, MESSAGE_OVERHEAD_BYTES};
use crate::net::body::{BodyStream, GuestBody};
use crate::request::{HoldsRequests, HttpReply, InHand, Reply, RequestError};

/// What waits for an instance.
pub(crate) enum Command {
    Query {
        origin: Option<[u8; 32]>,
        path: String,
        payload: Vec<u8>,
        charge: MemoryCharge,
        reply: oneshot::Sender<Reply>,
    },
    Http(HttpCommand),
}

/// An HTTP request that waits for an instance.
pub(crate) struct HttpCommand {
    pub(crate) head: RequestHead,
    pub(crate) charge: MemoryCharge,
    pub(crate) has_body: bool,
    pub(crate) body: GuestBody,
    pub(crate) reply: oneshot::Sender<HttpReply>,
}

impl Command {
    /// Whether the requester has left.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Query { reply, .. } => reply.is_closed(),
            Self::Http(request) => request.reply.is_closed(),
        }
    }

    /// Answers with an error. The requester may have left.
    pub(crate) fn refuse(self, error: RequestError) {
        match self {
            Self::Query { reply, .. } => drop(reply.send(Err(error))),
            Self::Http(request) => drop(request.reply.send(Err(error))),
        }
    }
}

/// An HTTP request for a guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpCall {
    /// The head.
    pub head: RequestHead,
    /// Address of the client, for guests that ask; port 0 where a proxy hides it.
    pub peer: Option<SocketAddr>,
    /// Whether the embedder will write a body, or bytes of another protocol. Without
    /// one, nothing is to be written, nor the end.
    pub has_body: bool,
}

/// An HTTP exchange with a guest.
pub struct HttpExchange {
    /// The answer, to come.
    pub response: PendingResponse,
    /// Write the request body here and shut it down, with trailers if there are
    /// some; read the response body, then its trailers, unless the answer came with
    /// its body. Dropping it before the end is an error to the guest.
    pub body: BodyStream,
}

/// A guest's answer, to come. Dropping it before the guest has taken the request
/// takes the request back.
pub struct PendingResponse {
    reply: oneshot::Receiver<HttpReply>,
    place: Place,
}

impl PendingResponse {
    /// Waits for the head of the guest's answer, and its body where the guest gives it
    /// with the head. The fields are not checked.
    ///
    /// # Errors
    ///
    /// [`RequestError`] when the guest drops the request, fails or ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the answer stays available until it was returned.
    pub async fn answer(&mut self) -> Result<HttpAnswer, RequestError> {
        let reply = (&mut self.reply).await;
        self.place.is_taken = true;
        reply.unwrap_or(Err(RequestError::NoAnswer))
    }
}

/// The requests of one instance.
pub(crate) struct Intake {
    id: InstanceId,
    embedder: Arc<dyn Embedder>,
    control: Arc<Control>,
    memory: Arc<HostMemory>,
    queries: Queue,
    requests: Queue,
    /// Requests that the guest has taken and not let go of.
    in_hand: AtomicUsize,
    /// Whether a requester looked for room and found none.
    is_missed: AtomicBool,
    /// Whether the guest has made room and that was not told.
    is_freed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    /// Requests that wait, and reservations.
    held: AtomicUsize,
    /// Requests that wait.
    waiting: AtomicUsize,
    /// Number of the next reservation: requests are taken in that order.
    next: AtomicU64,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    /// In the order of their reservations. Boxed, because nodes of the tree have
    /// room for several.
    by_number: BTreeMap<u64, Box<Command>>,
    is_closed: bool,
}

impl Queue {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Every change below is complete before the lock is given back.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intake {
    pub(crate) fn new(
        id: InstanceId,
        embedder: Arc<dyn Embedder>,
        control: Arc<Control>,
        memory: Arc<HostMemory>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            embedder,
            control,
            memory,
            queries: Queue::default(),
            requests: Queue::default(),
            in_hand: AtomicUsize::new(0),
            is_missed: AtomicBool::new(false),
            is_freed: AtomicBool::new(false),
        })
    }

    fn queue(&self, channel: InputChannel) -> &Queue {
        match channel {
            InputChannel::Query => &self.queries,
            InputChannel::HttpRequest => &self.requests,
        }
    }

    /// Requests that wait or that the guest has in hand, reservations included.
    pub(crate) fn outstanding(&self) -> usize {
        self.in_hand.load(Ordering::SeqCst)
            + self.queries.held.load(Ordering::SeqCst)
            + self.requests.held.load(Ordering::SeqCst)
    }

    fn has_room(&self, channel: InputChannel, outstanding_max: usize) -> bool {
        self.queue(channel).held.load(Ordering::SeqCst) < INBOX_CAPACITY
            && self.outstanding() < outstanding_max
    }

    /// Reserves room for one request, if there is some.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        channel: InputChannel,
        outstanding_max: usize,
    ) -> Option<Reservation> {
        if !self.has_room(channel, outstanding_max) {
            // Noted before looking again: room that appears in between is told.
            self.is_missed.store(true, Ordering::SeqCst);
            if !self.has_room(channel, outstanding_max) {
                return None;
            }
        }
        let queue = self.queue(channel);
        queue.held.fetch_add(1, Ordering::SeqCst);
        let number = queue.next.fetch_add(1, Ordering::SeqCst);
        Some(Reservation {
            intake: Arc::clone(self),
            channel,
            number,
            is_used: false,
        })
    }

    /// Memory for a message to the guest.
    fn charge(&self, bytes: usize) -> Result<MemoryCharge, RequestError> {
        let charge = self.memory.charge(MESSAGE_OVERHEAD_BYTES + bytes as u64);
        charge.map_err(|reason| self.busy(&reason))
    }

    fn busy(&self, reason: &NoMemory) -> RequestError {
        tracing::debug!(instance = self.id.0, %reason, "a request is refused");
        RequestError::Busy
    }

    fn push(
        self: &Arc<Self>,
        channel: InputChannel,
        number: u64,
        command: Command,
    ) -> Result<Place, RequestError> {
        let queue = self.queue(channel);
        let mut entries = queue.entries();
        if entries.is_closed {
            return Err(RequestError::Ended);
        }
        entries.by_number.insert(number, Box::new(command));
        let is_first = queue.waiting.fetch_add(1, Ordering::SeqCst) == 0;
        drop(entries);
        // Behind another one it is found without being told of.
        if is_first {
            self.control.notify_of_work();
        }
        Ok(Place {
            intake: Arc::clone(self),
            channel,
            number,
            is_taken: false,
        })
    }

    /// Whether no request waits.
    pub(crate) fn is_empty(&self, channel: InputChannel) -> bool {
        self.queue(channel).waiting.load(Ordering::SeqCst) == 0
    }

    /// Takes the request that has waited longest and still has a requester, if `check`
    /// has nothing against it.
    ///
    /// # Errors
    ///
    /// What `check` says; the request stays then.
    pub(crate) fn take(
        self: &Arc<Self>,
        channel: InputChannel,
        mut check: impl FnMut(&Command) -> Result<(), usize>,
    ) -> Result<Option<(Command, InHand)>, usize> {
        let queue = self.queue(channel);
        loop {
            let mut entries = queue.entries();
            let Some(first) = entries.by_number.first_entry() else {
                return Ok(None);
            };
            let is_abandoned = first.get().is_abandoned();
            if !is_abandoned {
                check(first.get())?;
                self.in_hand.fetch_add(1, Ordering::SeqCst);
            }
            let command = first.remove();
            drop(entries);
            queue.waiting.fetch_sub(1, Ordering::SeqCst);
            queue.held.fetch_sub(1, Ordering::SeqCst);
            self.is_freed.store(true, Ordering::SeqCst);
            if !is_abandoned {
                let in_hand = InHand::new(Arc::clone(self) as _);
                return Ok(Some((*command, in_hand)));
            }
        }
    }

    /// Answers every request that waits with an error.
    pub(crate) fn refuse_all(&self, channel: InputChannel, error: &RequestError) {
        let queue = self.queue(channel);
        let refused = std::mem::take(&mut queue.entries().by_number);
        queue.waiting.fetch_sub(refused.len(), Ordering::SeqCst);
        queue.held.fetch_sub(refused.len(), Ordering::SeqCst);
        for command in refused.into_values() {
            command.refuse(error.clone());
        }
        self.tell();
    }

    /// The instance is gone for good: nothing is taken any more.
    pub(crate) fn close(&self) {
        for channel in [InputChannel::Query, InputChannel::HttpRequest] {
            self.queue(channel).entries().is_closed = true;
            self.refuse_all(channel, &RequestError::Ended);
        }
    }

    fn remove(&self, channel: InputChannel, number: u64) {
        let queue = self.queue(channel);
        let removed = queue.entries().by_number.remove(&number);
        if removed.is_some() {
            queue.waiting.fetch_sub(1, Ordering::SeqCst);
            queue.held.fetch_sub(1, Ordering::SeqCst);
            self.tell();
        }
    }

    /// Tells the embedder of room that the guest has made. Called by the instance's
    /// task between two steps of the guest, and not by the host calls that make the
    /// room: what the embedder does then takes its own locks.
    pub(crate) fn tell_freed(&self) {
        if self.is_freed.load(Ordering::Relaxed) && self.is_freed.swap(false, Ordering::SeqCst) {
            self.tell();
        }
    }

    /// Tells the embedder of room that it has missed.
    fn tell(&self) {
        if self.is_missed.load(Ordering::SeqCst) && self.is_missed.swap(false, Ordering::SeqCst) {
            self.embedder.has_room(self.id);
        }
    }
}

/// Room for one request. Dropping it gives the room back.
pub struct Reservation {
    intake: Arc<Intake>,
    channel: InputChannel,
    number: u64,
    is_used: bool,
}

impl Reservation {
    fn send(mut self, command: Command) -> Result<Place, RequestError> {
        let place = self.intake.push(self.channel, self.number, command)?;
        // The request has the room from here on.
        self.is_used = true;
        Ok(place)
    }

    /// Asks the guest a question and waits for the answer.
    ///
    /// There is no time limit here; the caller has one.
    ///
    /// # Errors
    ///
    /// [`RequestError`] as documented there, `Busy` also when the host may keep
    /// no more for the instance.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the question if the guest has not taken it, and
    /// else the answer.
    pub async fn query(
        self,
        origin: Option<[u8; 32]>,
        path: String,
        payload: Vec<u8>,
    ) -> Result<Bytes, RequestError> {
        let (reply, answer) = oneshot::channel();
        let charge = self.intake.charge(path.len() + payload.len())?;
        let mut place = self.send(Command::Query {
            origin,
            path,
            payload,
            charge,
            reply,
        })?;
        let answer = answer.await;
        place.is_taken = true;
        answer.unwrap_or(Err(RequestError::NoAnswer))
    }

    /// Hands an HTTP request to the guest.
    ///
    /// # Errors
    ///
    /// [`RequestError::Ended`], or [`RequestError::Busy`] when the host may keep no
    /// more for the instance, at once.
    pub fn http(self, call: HttpCall) -> Result<HttpExchange, RequestError> {
        let HttpCall {
            head,
            peer,
            has_body,
        } = call;
        let (sender, reply) = oneshot::channel();
        let charge = self.intake.charge(head.len_bytes())?;
        let pair = BodyStream::pair(&self.intake.memory);
        let (mut ours, stream) = pair.map_err(|reason| self.intake.busy(&reason))?;
        if !has_body {
            ours.writer().finish();
        }
        let place = self.send(Command::Http(HttpCommand {
            head,
            charge,
            has_body,
            body: GuestBody {
                stream,
                peer,
                in_hand: None,
                reply: None,
            },
            reply: sender,
        }))?;
        Ok(HttpExchange {
            response: PendingResponse { reply, place },
            body: ours,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_used {
            let queue = self.intake.queue(self.channel);
            queue.held.fetch_sub(1, Ordering::SeqCst);
            self.intake.tell();
        }
    }
}

/// A request in the queue. Dropping it takes the request out, unless the guest
/// has it already.
pub(crate) struct Place {
    intake: Arc<Intake>,
    channel: InputChannel,
    number: u64,
    /// Whether it is known that the guest has it; saves a look.
    is_taken: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_taken {
            self.intake.remove(self.channel, self.number);
        }
    }
}

impl HoldsRequests for Intake {
    fn let_go(&self) {
        self.in_hand.fetch_sub(1, Ordering::SeqCst);
        self.is_freed.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::budget::MemoryBudget;
    use crate::embedder::Bystander;

    #[test]
    fn room_that_a_guest_makes_is_told_between_its_steps_and_only_if_it_was_missed() {
        let told = Arc::<Bystander>::default();
        let memory = HostMemory::new(&MemoryBudget::new(None));
        let intake = Intake::new(InstanceId(1), told.clone(), Arc::default(), memory);
        let told = || told.told_of_room.load(Ordering::Relaxed);
        let room = intake.reserve(InputChannel::Query, 1).expect("room");
        let mut asking = pin!(room.query(None, String::new(), Vec::new()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(asking.as_mut().poll(&mut cx).is_pending());
        assert!(intake.reserve(InputChannel::Query, 1).is_none());
        let taken = intake.take(InputChannel::Query, |_| Ok(()));
        let (_command, in_hand) = taken.expect("no objection").expect("the query");
        drop(in_hand);
        assert_eq!(told(), 0, "a host call tells nobody");
        intake.tell_freed();
        assert_eq!(told(), 1);
        let room = intake.reserve(InputChannel::Query, 1).expect("room again");
        intake.tell_freed();
        assert_eq!(told(), 1, "nobody has missed any");
        assert!(intake.reserve(InputChannel::Query, 1).is_none());
        drop(room);
        assert_eq!(told(), 2, "who gives room back is no guest");
    }
}
