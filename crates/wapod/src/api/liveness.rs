//! What is known about the client of one connection, and what it has going on.
//!
//! Shared by the socket (`transport`), which finds out, and by those that want to know: the
//! gateway, `log_stream`, and the counter of requests. No I/O here.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::budget::{Full, Share};
use super::frames::FrameBudget;
use super::unread::Unread;
use crate::limits::HEAD_FREE_BYTES;

/// A watcher wants to know.
const ASKED: u8 = 1;
/// A word may be sent that the client has to skip, to find out.
const MAY_PROBE: u8 = 2;
/// The client sends no more.
const HALF_CLOSED: u8 = 4;
/// The client is not there any more.
const GONE: u8 = 8;
/// The connection shall end with a reset.
const RESET: u8 = 16;
/// HTTP is not spoken any more.
const TUNNEL: u8 = 32;
/// There is something to write that the client does not take yet.
const BLOCKED: u8 = 64;
/// The connection has moved what it may in a turn, and others are to go first.
const TURN_OVER: u8 = 128;

/// What is known about the client of one connection, and what it has going on.
#[derive(Default)]
pub(super) struct ClientLiveness {
    bits: AtomicU8,
    /// Requests whose answers are not complete.
    requests: AtomicUsize,
    /// Requests that have been begun.
    begun: AtomicUsize,
    /// Bodies of HTTP/1.1 that are being read, some of them after their answers.
    bodies: AtomicUsize,
    /// Pieces of answers that streams of HTTP/2 took.
    taken: AtomicU64,
    /// Streams that were given up since something was taken.
    given_up: AtomicUsize,
    /// Frames of HTTP/2 that do no work.
    pub(super) budget: FrameBudget,
    /// Bodies in HTTP/2 that nobody has taken.
    pub(super) unread: Unread,
    /// What a head that has not come to its end has of the budget.
    head: Mutex<Option<Share>>,
    /// Whether it has something.
    keeps_head: AtomicBool,
    /// The client only makes work.
    accusation: Notify,
}

impl ClientLiveness {
    /// One whose unfinished heads and whose unread bodies are counted.
    pub(super) fn new(head: Share, unread: Share) -> Self {
        Self {
            head: Mutex::new(Some(head)),
            unread: Unread::new(unread),
            ..Self::default()
        }
    }

    pub(super) fn begin_request(&self) {
        if self.keeps_head.load(Ordering::Relaxed)
            && self.keeps_head.swap(false, Ordering::Relaxed)
            && let Some(share) = &mut *self.head()
        {
            // It is a request now, and counted as such.
            share.shrink(0);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_request(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// So many bytes of a head have come, and not its end.
    ///
    /// # Errors
    ///
    /// [`Full`], when there is no room for that.
    pub(super) fn keep_head(&self, bytes: usize) -> Result<(), Full> {
        let beyond = bytes.saturating_sub(HEAD_FREE_BYTES);
        if beyond == 0 {
            return Ok(());
        }
        self.keeps_head.store(true, Ordering::Relaxed);
        match &mut *self.head() {
            Some(share) => share.grow_to(beyond as u64),
            None => Ok(()),
        }
    }

    fn head(&self) -> MutexGuard<'_, Option<Share>> {
        // Nothing in here panics half-way.
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests whose answers are not complete.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether what comes belongs to a request, so that it is no head of the next one.
    pub(super) fn is_inside_request(&self) -> bool {
        self.requests() > 0 || self.bodies.load(Ordering::Relaxed) > 0 || self.is_tunnel()
    }

    /// Requests that have been begun.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    pub(super) fn took_something(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.given_up.store(0, Ordering::Relaxed);
    }

    /// A stream was given up because nothing of it was taken. So is the connection,
    /// when this is all that there is to say of it: `taken_before` is what was taken
    /// when the wait began.
    pub(super) fn give_up(&self, taken_before: u64) {
        let streams = self.given_up.fetch_add(1, Ordering::Relaxed) + 1;
        let took_nothing = self.taken() == taken_before;
        // Nobody waits for an app, and it is not one download that was forgotten.
        if took_nothing && self.requests() == 0 && (streams > 1 || taken_before == 0) {
            self.accuse();
        }
    }

    /// Pieces of answers that were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// The connection has to end.
    pub(super) fn accuse(&self) {
        self.accusation.notify_one();
    }

    /// Waits until the connection has to end.
    pub(super) async fn accused(&self) {
        self.accusation.notified().await;
    }

    /// What follows is not HTTP.
    pub(super) fn becomes_tunnel(&self) {
        self.bits.fetch_or(TUNNEL, Ordering::Relaxed);
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.has(TUNNEL)
    }

    /// Says whether there is something to write that the client does not take yet.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        match is_blocked {
            true => self.bits.fetch_or(BLOCKED, Ordering::Relaxed),
            false => self.bits.fetch_and(!BLOCKED, Ordering::Relaxed),
        };
    }

    /// Whether there is something to write that the client does not take yet.
    pub(super) fn is_blocked(&self) -> bool {
        self.has(BLOCKED)
    }

    /// Notes that the connection has used up its turn on its thread.
    pub(super) fn note_turn_over(&self) {
        self.bits.fetch_or(TURN_OVER, Ordering::Relaxed);
    }

    /// Whether the connection has used up a turn since the last question.
    pub(super) fn take_turn_over(&self) -> bool {
        self.has(TURN_OVER) && self.bits.fetch_and(!TURN_OVER, Ordering::Relaxed) & TURN_OVER != 0
    }

    /// Whether a watcher wants to know, and whether a probe may be sent for it.
    pub(super) fn asked(&self) -> Option<MayProbe> {
        let bits = self.bits.load(Ordering::Relaxed);
        (bits & ASKED != 0).then_some(MayProbe(bits & MAY_PROBE != 0))
    }

    /// Answers the watcher.
    pub(super) fn found(&self, is_half_closed: bool, is_gone: bool) {
        let half_closed = if is_half_closed { HALF_CLOSED } else { 0 };
        let gone = if is_gone { GONE } else { 0 };
        self.bits.fetch_or(half_closed | gone, Ordering::Relaxed);
    }

    /// Whether the connection shall end with a reset.
    pub(super) fn wants_reset(&self) -> bool {
        self.has(RESET)
    }

    /// Wants to know. With `may_probe`, a client of HTTP/1.1 that waits for the
    /// head of an answer gets a word that it has to skip.
    fn ask(&self, may_probe: bool) {
        let bits = if may_probe { ASKED | MAY_PROBE } else { ASKED };
        self.bits.fetch_or(bits, Ordering::Relaxed);
    }

    /// Takes back what was asked.
    pub(super) fn hush(&self) {
        self.bits.fetch_and(!(ASKED | MAY_PROBE), Ordering::Relaxed);
    }

    fn has(&self, bit: u8) -> bool {
        self.bits.load(Ordering::Relaxed) & bit != 0
    }

    /// Lets the connection end with a reset, which no client takes for an end.
    pub(super) fn reset(&self) {
        self.bits.fetch_or(RESET, Ordering::Relaxed);
    }
}

/// The body of a request of HTTP/1.1, as long as it is read. Its answer may be complete
/// before that: what is refused is read on for a moment.
pub(crate) struct ReadingBody(Arc<ClientLiveness>);

impl ReadingBody {
    pub(super) fn new(liveness: &Arc<ClientLiveness>) -> Self {
        liveness.bodies.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(liveness))
    }
}

impl Drop for ReadingBody {
    fn drop(&mut self) {
        self.0.bodies.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a word may be sent that a client of HTTP/1.1 has to skip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct MayProbe(pub(super) bool);

/// A watcher that checks the client from time to time. Nothing is asked any
/// more when this is gone: a probe must not get into an answer.
pub(super) struct LivenessWatch(Arc<ClientLiveness>);

impl LivenessWatch {
    pub(super) fn new(liveness: &Arc<ClientLiveness>) -> Self {
        Self(Arc::clone(liveness))
    }

    /// Asks for a look, with a probe where the client may have left.
    pub(super) fn probe(&self) {
        self.0.ask(true);
    }

    /// Asks for a look.
    pub(super) fn look(&self) {
        self.0.ask(false);
    }

    /// Whether the client closed its side, when it was looked at last.
    pub(super) fn is_half_closed(&self) -> bool {
        self.0.has(HALF_CLOSED)
    }

    /// Whether the client has left, when it was looked at last.
    pub(super) fn is_gone(&self) -> bool {
        self.0.has(GONE)
    }
}

impl Drop for LivenessWatch {
    fn drop(&mut self) {
        self.0.hush();
    }
}
