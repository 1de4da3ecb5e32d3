//! The executor: one queue of ready tasks, drained by the host's polls.
//!
//! One poll of the guest asks the host once what has happened, then runs ready
//! tasks until none is left or the budget is spent. A task is polled only when
//! something woke it; one that wakes itself has its next turn in the next poll,
//! after the host had its own. Entered by the export that [`crate::main`]
//! generates.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use wapo_abi::wake::EVENT_SIZE;
use wapo_abi::{Event, PollOutcome};

use super::wakers;
use crate::{sys, time};

/// Tasks run in one poll of the guest before the host has its turn.
///
/// The host preempts by fuel whatever the guest does; this bound makes the
/// guest look at new events while a crowd of tasks keeps each other busy.
const RUNS_PER_POLL: usize = 128;
/// Events fetched in one call. 64 fill half a kilobyte of stack.
const EVENTS_PER_CALL: usize = 64;
/// The main future's task.
const MAIN: i32 = 0;

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    static EXECUTOR: Executor = const { Executor::new() };
    /// Id of the task that runs. Apart from the executor because every host
    /// call reads it, also those of destructors when a thread of a test ends.
    static CURRENT: Cell<i32> = const { Cell::new(MAIN) };
}

struct Executor {
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<i32>>,
    ready: RefCell<VecDeque<i32>>,
    /// Tasks that woke themselves; ready from the next poll on.
    deferred: RefCell<Vec<i32>>,
    running: Cell<Option<i32>>,
    /// Names of the tasks that have one; read when something panics.
    names: RefCell<BTreeMap<i32, Box<str>>>,
    state: Cell<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing ran yet; goes to `Running` with the first poll.
    Fresh,
    /// The main future exists; goes to `Finished` when it is done.
    Running,
    /// The main future is done.
    Finished,
}

enum Slot {
    /// No task; its id may be given to a new one.
    Vacant,
    /// The task is being polled and lives on the stack meanwhile.
    Borrowed(Arc<Shared>),
    /// The task waits for its turn.
    Occupied(Task),
}

struct Task {
    future: LocalFuture,
    shared: Arc<Shared>,
    waker: Waker,
}

/// What a task and its wakers have in common.
struct Shared {
    id: i32,
    is_queued: AtomicBool,
    is_aborted: AtomicBool,
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::Relaxed) {
            // Fails only while the thread is being torn down.
            let _ = EXECUTOR.try_with(|executor| executor.queue(self.id));
        }
    }
}

/// A task from outside, for [`super::JoinHandle`].
pub(super) struct TaskRef(Arc<Shared>);

impl TaskRef {
    pub(super) fn id(&self) -> i32 {
        self.0.id
    }

    pub(super) fn abort(&self) {
        let task = EXECUTOR.try_with(|executor| executor.take_for_abort(&self.0));
        // Outside every borrow: dropping a future may do anything.
        drop(task);
    }
}

impl Executor {
    const fn new() -> Self {
        Self {
            slots: RefCell::new(Vec::new()),
            free: RefCell::new(Vec::new()),
            ready: RefCell::new(VecDeque::new()),
            deferred: RefCell::new(Vec::new()),
            running: Cell::new(None),
            names: RefCell::new(BTreeMap::new()),
            state: Cell::new(State::Fresh),
        }
    }

    /// Puts a task where the next free id is; id 0 is kept for the main future.
    fn insert(&self, name: Option<Box<str>>, future: LocalFuture) -> Arc<Shared> {
        let id = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let count = self.slots.borrow().len().max(index(MAIN) + 1);
            // A 32-bit memory holds fewer tasks than i32 has values.
            i32::try_from(count).unwrap_or(i32::MAX)
        });
        if let Some(name) = name {
            self.names.borrow_mut().insert(id, name);
        }
        self.insert_at(id, future)
    }

    fn insert_at(&self, id: i32, future: LocalFuture) -> Arc<Shared> {
        let shared = Arc::new(Shared {
            id,
            is_queued: AtomicBool::new(false),
            is_aborted: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&shared));
        let mut slots = self.slots.borrow_mut();
        while slots.len() <= index(id) {
            slots.push(Slot::Vacant);
        }
        slots[index(id)] = Slot::Occupied(Task {
            future,
            shared: Arc::clone(&shared),
            waker,
        });
        shared.wake_by_ref();
        shared
    }

    fn queue(&self, id: i32) {
        if self.running.get() == Some(id) {
            self.deferred.borrow_mut().push(id);
        } else {
            self.ready.borrow_mut().push_back(id);
        }
    }

    /// Takes a task out for a run. Unknown and stale ids have none.
    fn borrow_task(&self, id: i32) -> Option<Task> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(index(id))?;
        let Slot::Occupied(task) = slot else {
            return None;
        };
        let borrowed = Slot::Borrowed(Arc::clone(&task.shared));
        match std::mem::replace(slot, borrowed) {
            Slot::Occupied(task) => Some(task),
            Slot::Borrowed(_) | Slot::Vacant => None,
        }
    }

    fn return_task(&self, task: Task) {
        let id = task.shared.id;
        if let Some(slot) = self.slots.borrow_mut().get_mut(index(id)) {
            *slot = Slot::Occupied(task);
        }
    }

    fn vacate(&self, id: i32) {
        if let Some(slot) = self.slots.borrow_mut().get_mut(index(id)) {
            *slot = Slot::Vacant;
        }
        self.names.borrow_mut().remove(&id);
        // The main task's id keeps its meaning when the main future is done.
        if id != MAIN {
            self.free.borrow_mut().push(id);
        }
    }

    fn take_for_abort(&self, shared: &Arc<Shared>) -> Option<Task> {
        shared.is_aborted.store(true, Ordering::Relaxed);
        let is_waiting = match self.slots.borrow().get(index(shared.id)) {
            Some(Slot::Occupied(task)) => Arc::ptr_eq(&task.shared, shared),
            // Running: `run` sees the flag. Anything else: finished.
            _ => false,
        };
        if !is_waiting {
            return None;
        }
        let task = self.borrow_task(shared.id);
        self.vacate(shared.id);
        task
    }

    fn wake_task(&self, id: i32) {
        let slots = self.slots.borrow();
        match slots.get(index(id)) {
            Some(Slot::Occupied(task)) => task.shared.wake_by_ref(),
            // It runs others at present.
            Some(Slot::Borrowed(shared)) => shared.wake_by_ref(),
            Some(Slot::Vacant) | None => {}
        }
    }

    fn is_borrowed(&self, id: i32) -> bool {
        matches!(self.slots.borrow().get(index(id)), Some(Slot::Borrowed(_)))
    }

    /// Polls one task once.
    fn run(&self, id: i32) {
        let Some(mut task) = self.borrow_task(id) else {
            return;
        };
        CURRENT.set(id);
        self.running.set(Some(id));
        // Cleared first, so that a wake during the poll queues it again.
        task.shared.is_queued.store(false, Ordering::Relaxed);
        wakers::set_task_waker(Some(&task.waker));
        let outcome = task
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&task.waker));
        let is_over = outcome.is_ready() || task.shared.is_aborted.load(Ordering::Relaxed);
        if !is_over {
            self.return_task(task);
        } else {
            // The destructors of the future still run as this task.
            drop(task);
            self.vacate(id);
            if id == MAIN && outcome == Poll::Ready(()) {
                self.state.set(State::Finished);
            }
        }
        self.running.set(None);
        wakers::set_task_waker(None);
    }

    /// Asks the host what has happened since the last poll.
    fn take_events(&self) {
        let mut buffer = [0; EVENTS_PER_CALL * EVENT_SIZE];
        let mut is_time = false;
        loop {
            let size = match sys::calls::next_events(&mut buffer) {
                Ok(size) => size,
                Err(error) => panic!("the host does not speak this protocol (call 300): {error}"),
            };
            let (events, _) = buffer[..size.min(EVENTS_PER_CALL * EVENT_SIZE)].as_chunks();
            for event in events {
                match Event::from_bytes(*event) {
                    Some(Event::TaskReady(time::TASK)) => is_time = true,
                    Some(Event::TaskReady(id)) => self.wake_task(id),
                    Some(Event::Waker(code)) => wakers::handle(code),
                    // A kind from a later host cannot concern this guest.
                    None => {}
                }
            }
            if size < buffer.len() {
                break;
            }
        }
        if is_time {
            time::fire();
        }
    }

    /// Has other tasks run while one is on the stack.
    fn run_others(&self) -> bool {
        let running = self.running.take();
        let current = CURRENT.get();
        let waker = wakers::swap_task_waker(None);
        self.take_events();
        let mut ready = self.ready.take();
        ready.extend(self.deferred.borrow_mut().drain(..));
        let mut own = Vec::new();
        for id in ready.drain(..RUNS_PER_POLL.min(ready.len())) {
            // Tasks that are on the stack go on there, and are polled later.
            match self.is_borrowed(id) {
                true => own.push(id),
                false if self.state.get() == State::Running => self.run(id),
                false => own.push(id),
            }
        }
        time::set();
        // Those that had no turn are first.
        let later = self.ready.replace(ready);
        let mut ready = self.ready.borrow_mut();
        ready.extend(own);
        ready.extend(later);
        drop(ready);
        wakers::swap_task_waker(waker);
        CURRENT.set(current);
        self.running.set(running);
        self.state.get() == State::Running
    }

    fn poll(&self) -> PollOutcome {
        self.take_events();
        for _ in 0..RUNS_PER_POLL {
            let next = self.ready.borrow_mut().pop_front();
            let Some(id) = next else {
                break;
            };
            self.run(id);
            if self.state.get() == State::Finished {
                crate::exit::flush();
                sys::runtime::destruct();
                return PollOutcome::Finished;
            }
        }
        // Before the queue is looked at: what is over by now is ready.
        time::set();
        let mut ready = self.ready.borrow_mut();
        ready.extend(self.deferred.borrow_mut().drain(..));
        if let Some(&id) = ready.front() {
            // It is queued here already, so this adds no poll of the task; it
            // makes the host come back. A failure cannot happen by contract.
            let _ = sys::calls::mark_task_ready(id);
        }
        PollOutcome::Pending
    }
}

/// Index of a task's slot; beyond every slot for ids that cannot be one.
fn index(id: i32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

/// Id of the task that runs, or that ran last.
#[cfg(any(test, target_family = "wasm"))]
#[inline]
pub(crate) fn current_id() -> i32 {
    CURRENT.get()
}

/// One round of the other ready tasks, for [`super::run_others`].
pub(super) fn run_others() -> bool {
    EXECUTOR.with(Executor::run_others)
}

/// Makes host calls in the name of another task, which then hears of them.
pub(crate) fn as_task<T>(id: i32, calls: impl FnOnce() -> T) -> T {
    let current = CURRENT.replace(id);
    let outcome = calls();
    CURRENT.set(current);
    outcome
}

pub(super) fn spawn(name: Option<Box<str>>, future: LocalFuture) -> TaskRef {
    EXECUTOR.with(|executor| TaskRef(executor.insert(name, future)))
}

/// One poll of the whole program; the body of the export `wapo_poll`.
///
/// The first call makes the main future. Written by [`crate::main`]; a program
/// without the attribute may call it from an export of its own.
///
/// # Panics
///
/// When the host is older than Wapo 1.0 and does not know `next_events`.
pub fn poll_program<M, F>(main: M) -> i32
where
    M: FnOnce() -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    EXECUTOR.with(|executor| {
        if executor.state.get() == State::Fresh {
            executor.state.set(State::Running);
            // Before any code of the program.
            sys::runtime::construct();
            install_panic_hook();
            time::start();
            executor.insert_at(MAIN, Box::pin(async move { main().await }));
        }
        poll_started(executor)
    })
}

/// One poll of a program that [`poll_program`] has started.
pub(crate) fn poll_again() -> i32 {
    EXECUTOR.with(poll_started)
}

fn poll_started(executor: &Executor) -> i32 {
    match executor.state.get() {
        State::Finished => PollOutcome::Finished,
        State::Fresh | State::Running => executor.poll(),
    }
    .to_i32()
}

/// Sends panics to the app's log, behind what the program has printed so far.
fn install_panic_hook() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|info| {
        crate::exit::flush();
        let text = EXECUTOR.with(|executor| {
            let id = CURRENT.get();
            match executor
                .names
                .try_borrow()
                .ok()
                .as_ref()
                .and_then(|names| names.get(&id))
            {
                Some(name) => format!("task \"{name}\": {info}"),
                None => info.to_string(),
            }
        });
        let _ = sys::calls::log(wapo_abi::message::LogLevel::Error, &text);
    }));
}
