//! Host wakers and the queue through which they reach a guest.
//!
//! A wait of a guest becomes an ordinary [`std::task::Waker`]; waking it queues
//! the guest's task and waker id and runs the instance. Queues are bounded and
//! hold each entry once, so a guest that never drains them cannot grow the host.
//! Wakes are reported before releases, so a waker that was woken and let go is
//! reported in this order.
//!
//! Who calls: host calls make wakers ([`LazyWaker`]), the run loop asks whether
//! there is work, `next_events` and its older siblings drain.

mod released;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use wapo_abi::wake::EVENT_SIZE;
use wapo_abi::{Event, WakeCode, WakerId};

use self::released::ReleasedIds;
use crate::control::Control;
use crate::limits::{WAKE_CODES_MAX, WAKE_QUEUE_MAX};

/// Queue lengths up to this are searched linearly; beyond, a set is kept.
const LINEAR_MAX: usize = 16;

/// A queue of numbers that holds each number once.
#[derive(Debug, Default)]
struct UniqueQueue {
    queue: VecDeque<i32>,
    /// Holds what `queue` holds while that is longer than [`LINEAR_MAX`].
    members: HashSet<i32>,
}

impl UniqueQueue {
    /// Appends unless present; false when it was.
    fn push(&mut self, number: i32) -> bool {
        if self.queue.len() <= LINEAR_MAX {
            if self.queue.contains(&number) {
                return false;
            }
            self.queue.push_back(number);
            if self.queue.len() > LINEAR_MAX {
                self.members.extend(self.queue.iter());
            }
            return true;
        }
        let new = self.members.insert(number);
        if new {
            self.queue.push_back(number);
        }
        new
    }

    fn pop(&mut self) -> Option<i32> {
        let number = self.queue.pop_front()?;
        if self.queue.len() > LINEAR_MAX {
            self.members.remove(&number);
        } else if !self.members.is_empty() {
            self.members.clear();
        }
        Some(number)
    }

    fn len(&self) -> usize {
        self.queue.len()
    }
}

#[derive(Debug, Default)]
struct Inner {
    ready: UniqueQueue,
    /// Wakers that were woken.
    woken: UniqueQueue,
    /// Wakers that the host holds no more.
    released: ReleasedIds,
    /// Streams whose buffered output can move again.
    flushes: UniqueQueue,
    /// Something new arrived since the last poll began.
    fresh: bool,
    /// The guest took a ready task or made one during this poll.
    active: bool,
    overflowed: bool,
}

impl Inner {
    fn mark_ready(&mut self, task: i32) {
        if self.ready.len() >= WAKE_QUEUE_MAX {
            self.overflowed = true;
        } else {
            self.ready.push(task);
        }
    }

    fn wake(&mut self, waker: WakerId) {
        if self.woken.len() >= WAKE_QUEUE_MAX {
            self.overflowed = true;
        } else {
            self.woken.push(waker.0);
        }
    }

    fn release(&mut self, waker: WakerId) {
        // Only ids from 0 on are reported at all.
        let fits = u32::try_from(waker.0).is_ok_and(|id| self.released.insert(id));
        self.overflowed |= !fits;
    }

    fn pop_code(&mut self) -> Option<WakeCode> {
        if let Some(id) = self.woken.pop() {
            return Some(WakeCode::Wake(WakerId(id)));
        }
        let id = self.released.pop()?;
        Some(WakeCode::Released(WakerId(id.cast_signed())))
    }
}

/// What the guest should hear at its next poll.
#[derive(Debug)]
pub(crate) struct WakeQueue {
    inner: Mutex<Inner>,
    control: Arc<Control>,
}

impl WakeQueue {
    /// A queue whose first entry is the guest's main task.
    pub(crate) fn new(control: Arc<Control>) -> Arc<Self> {
        let mut inner = Inner::default();
        inner.mark_ready(0);
        Arc::new(Self {
            inner: Mutex::new(inner),
            control,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing below panics while it holds the lock; should it ever, the
        // queue is still a queue.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A wait of `task` is over.
    fn wake(&self, task: i32, waker: WakerId) {
        {
            let mut inner = self.lock();
            inner.mark_ready(task);
            if waker.is_some() {
                inner.wake(waker);
            }
            inner.fresh = true;
        }
        self.control.notify_of_work();
    }

    /// The host holds this waker no more. Alone it is no reason to poll.
    pub(crate) fn release(&self, waker: WakerId) {
        self.lock().release(waker);
    }

    /// Buffered output of a stream can move again.
    fn flush(&self, handle: i32) {
        self.lock().flushes.push(handle);
        self.control.notify_of_work();
    }

    /// Takes a stream whose output can move again.
    pub(crate) fn take_flush(&self) -> Option<i32> {
        self.lock().flushes.pop()
    }

    /// The guest marks one of its own tasks.
    pub(crate) fn mark_ready(&self, task: i32) {
        let mut inner = self.lock();
        inner.mark_ready(task);
        inner.active = true;
    }

    /// The guest takes its oldest ready task.
    pub(crate) fn next_ready(&self) -> Option<i32> {
        let mut inner = self.lock();
        inner.active = true;
        inner.ready.pop()
    }

    /// The guest takes all wakes, and as many releases as fit into one answer.
    pub(crate) fn take_codes(&self) -> Vec<WakeCode> {
        let mut inner = self.lock();
        std::iter::from_fn(|| inner.pop_code())
            .take(WAKE_CODES_MAX)
            .collect()
    }

    /// Writes as many events as fit into guest memory; answers the bytes written.
    pub(crate) fn write_events(&self, buffer: &mut [u8]) -> usize {
        let mut inner = self.lock();
        inner.active = true;
        let mut written = 0;
        for slot in buffer.chunks_exact_mut(EVENT_SIZE) {
            // Codes first: a woken waker belongs to a task further back.
            let event = match inner.pop_code() {
                Some(code) => Event::Waker(code),
                None => match inner.ready.pop() {
                    Some(task) => Event::TaskReady(task),
                    None => break,
                },
            };
            slot.copy_from_slice(&event.to_bytes());
            written += EVENT_SIZE;
        }
        written
    }

    /// A poll of the guest begins.
    pub(crate) fn begin_poll(&self) {
        let mut inner = self.lock();
        inner.fresh = false;
        inner.active = false;
    }

    /// Whether the guest has to be polled again.
    ///
    /// A guest that ignores its ready tasks altogether is not polled for them
    /// for ever: only one that works on them, or hears something new.
    pub(crate) fn wants_poll(&self) -> bool {
        let inner = self.lock();
        inner.fresh || (inner.active && inner.ready.len() > 0)
    }

    /// Whether a stream waits for [`take_flush`](Self::take_flush).
    pub(crate) fn wants_flush(&self) -> bool {
        self.lock().flushes.len() > 0
    }

    /// Whether the guest made more waits than it will ever hear of.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.lock().overflowed
    }
}

/// A guest's waker in the host: wakes as often as needed, released once.
struct GuestWaker {
    queue: Arc<WakeQueue>,
    task: i32,
    waker: WakerId,
}

impl Wake for GuestWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue.wake(self.task, self.waker);
    }
}

impl Drop for GuestWaker {
    fn drop(&mut self) {
        if self.waker.is_some() {
            self.queue.release(self.waker);
        }
    }
}

/// Wakes the run loop to push out what a stream has buffered.
struct FlushWaker {
    queue: Arc<WakeQueue>,
    handle: i32,
}

impl Wake for FlushWaker {
    fn wake(self: Arc<Self>) {
        self.queue.flush(self.handle);
    }
}

/// A waker that reports a stream to the run loop.
pub(crate) fn flush_waker(queue: &Arc<WakeQueue>, handle: i32) -> Waker {
    Waker::from(Arc::new(FlushWaker {
        queue: Arc::clone(queue),
        handle,
    }))
}

/// Wakers of guest tasks that wait without a waker of their own, made once.
#[derive(Debug, Default)]
pub(crate) struct TaskWakers {
    wakers: Vec<Option<Waker>>,
}

/// Tasks up to this id keep their waker; others get a new one each time.
const CACHED_TASKS_MAX: usize = 1024;

impl TaskWakers {
    fn get(&mut self, queue: &Arc<WakeQueue>, task: i32) -> Waker {
        let make = || {
            Waker::from(Arc::new(GuestWaker {
                queue: Arc::clone(queue),
                task,
                waker: WakerId::NONE,
            }))
        };
        match usize::try_from(task) {
            Ok(index) if index < CACHED_TASKS_MAX => {
                if index >= self.wakers.len() {
                    self.wakers.resize(index + 1, None);
                }
                self.wakers[index].get_or_insert_with(make).clone()
            }
            _ => make(),
        }
    }
}

/// The waker of one poll-type call, made only when the call has to wait.
///
/// Dropping it unused releases the guest's waker id: exactly one release for
/// each call, whether it waited or not.
pub(crate) struct LazyWaker<'a> {
    queue: &'a Arc<WakeQueue>,
    cache: &'a mut TaskWakers,
    task: i32,
    waker: WakerId,
    made: bool,
}

impl<'a> LazyWaker<'a> {
    pub(crate) fn new(
        queue: &'a Arc<WakeQueue>,
        cache: &'a mut TaskWakers,
        task: i32,
        waker: WakerId,
    ) -> Self {
        Self {
            queue,
            cache,
            task,
            waker,
            made: false,
        }
    }

    /// Whether making the waker costs nothing, so that trying without is no use.
    pub(crate) fn is_cheap(&self) -> bool {
        !self.waker.is_some()
    }

    /// The waker. Call at most once for each call of the guest.
    pub(crate) fn make(&mut self) -> Waker {
        if !self.waker.is_some() {
            return self.cache.get(self.queue, self.task);
        }
        debug_assert!(!self.made, "a second waker would release its id twice");
        self.made = true;
        Waker::from(Arc::new(GuestWaker {
            queue: Arc::clone(self.queue),
            task: self.task,
            waker: self.waker,
        }))
    }
}

impl Drop for LazyWaker<'_> {
    fn drop(&mut self) {
        if self.waker.is_some() && !self.made {
            self.queue.release(self.waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Arc<WakeQueue> {
        let queue = WakeQueue::new(Arc::default());
        assert_eq!(queue.next_ready(), Some(0));
        queue
    }

    #[test]
    fn a_wait_is_reported_in_the_order_the_contract_demands() {
        let queue = queue();
        let mut cache = TaskWakers::default();
        let mut lazy = LazyWaker::new(&queue, &mut cache, 5, WakerId(7));
        let waker = lazy.make();
        drop(lazy);
        queue.begin_poll();
        waker.wake_by_ref();
        waker.wake();
        assert!(queue.wants_poll());
        assert_eq!(
            queue.take_codes(),
            [WakeCode::Wake(WakerId(7)), WakeCode::Released(WakerId(7))]
        );
        assert_eq!(queue.next_ready(), Some(5));
        assert_eq!(queue.next_ready(), None);
    }

    #[test]
    fn an_answer_at_once_releases_the_waker_once_and_asks_for_no_poll() {
        let queue = queue();
        let mut cache = TaskWakers::default();
        queue.begin_poll();
        drop(LazyWaker::new(&queue, &mut cache, 5, WakerId(0)));
        assert!(!queue.wants_poll());
        assert_eq!(queue.take_codes(), [WakeCode::Released(WakerId(0))]);
    }

    #[test]
    fn a_wait_without_waker_reports_only_the_task() {
        let queue = queue();
        let mut cache = TaskWakers::default();
        let waker = LazyWaker::new(&queue, &mut cache, 3, WakerId::NONE).make();
        let again = LazyWaker::new(&queue, &mut cache, 3, WakerId::NONE).make();
        assert!(waker.will_wake(&again), "the waker of a task is made once");
        waker.wake();
        let mut buffer = [0; 3 * EVENT_SIZE];
        assert_eq!(queue.write_events(&mut buffer), EVENT_SIZE);
        let event = buffer[..EVENT_SIZE].try_into().expect("one event");
        assert_eq!(Event::from_bytes(event), Some(Event::TaskReady(3)));
    }

    #[test]
    fn queues_are_bounded_and_hold_each_entry_once() {
        let queue = queue();
        for _ in 0..3 {
            for task in 0..1000 {
                queue.mark_ready(task);
            }
        }
        for task in 0..1000 {
            assert_eq!(queue.next_ready(), Some(task));
        }
        assert_eq!(queue.next_ready(), None);
        assert!(!queue.has_overflowed());
        for task in 0..=i32::try_from(WAKE_QUEUE_MAX).expect("small") {
            queue.mark_ready(task);
        }
        assert!(queue.has_overflowed());
    }

    #[test]
    fn releases_have_no_bound_but_memory() {
        let queue = queue();
        let mut cache = TaskWakers::default();
        for id in 0..200_000 {
            drop(LazyWaker::new(&queue, &mut cache, 5, WakerId(id)));
        }
        assert!(!queue.has_overflowed());
        let mut heard = Vec::new();
        while let codes = queue.take_codes()
            && !codes.is_empty()
        {
            heard.extend(codes);
        }
        let released = |id| WakeCode::Released(WakerId(id));
        assert!(heard.into_iter().eq((0..200_000).map(released)));
        for id in 0..=i32::try_from(crate::limits::RELEASED_CHUNKS_MAX).expect("small") {
            drop(LazyWaker::new(&queue, &mut cache, 5, WakerId(id * 4096)));
        }
        assert!(queue.has_overflowed(), "ids that are scattered on purpose");
    }

    #[test]
    fn a_guest_that_ignores_its_ready_tasks_is_not_polled_for_ever() {
        let queue = WakeQueue::new(Arc::default());
        queue.begin_poll();
        assert!(!queue.wants_poll());
        queue.mark_ready(4);
        assert!(queue.wants_poll());
    }
}
