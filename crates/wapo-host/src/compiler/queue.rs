//! The line of modules that wait to be compiled, and the threads that take them.
//!
//! The line belongs to the engine. A module is compiled once however many ask
//! for it; the work goes on as long as a task waits for it, and is stopped
//! when nobody does. Apps take turns, so that one that brings many modules does
//! not keep the others waiting. Threads exist while there is work. Called by
//! `module_cache`; knows nothing about modules but their hash and bytes.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Stop;

/// Name of a job: the hash of the module.
pub(crate) type Key = [u8; 32];

/// Who takes turns with others: the address of an app.
pub(crate) type Asker = [u8; 32];

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) threads: usize,
    pub(crate) waiting: usize,
    pub(crate) waiting_of_one: usize,
    pub(crate) waiting_bytes: usize,
    /// Time in the line.
    pub(crate) wait: Duration,
    /// Time from the first byte to the last.
    pub(crate) work: Duration,
}

/// How much there is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Load {
    /// Modules that are being worked on.
    pub(crate) working: usize,
    /// Modules that wait.
    pub(crate) waiting: usize,
    pub(crate) waiting_bytes: usize,
    /// Modules that found no room, or whose turn did not come in time.
    pub(crate) refused: u64,
}

/// Why there is no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The line is full, or its end was not reached in time.
    Busy,
    /// The work took too long.
    TooLong,
    /// The engine is being stopped.
    Closed,
}

/// What a job is done with: gives the result, or sees that it is stopped.
type Run<T> = Box<dyn Fn(Key, &Bytes, &Stop) -> T + Send + Sync>;

/// The line and its threads. Dropping it stops all work.
pub(crate) struct Queue<T: Clone + Send + Sync + 'static> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    run: Run<T>,
    bounds: Bounds,
    state: Mutex<State<T>>,
}

struct State<T> {
    jobs: HashMap<Key, Arc<Job<T>>>,
    line: Line,
    waiting_bytes: usize,
    threads: usize,
    refused: u64,
    is_closed: bool,
}

struct Job<T> {
    key: Key,
    asker: Asker,
    wasm: Bytes,
    stop: Stop,
    progress: watch::Sender<Progress<T>>,
    /// Tickets for it; counted under the lock of the queue only.
    tickets: AtomicUsize,
}

impl<T> Job<T> {
    /// Tells how it goes on, unless it was stopped.
    fn tell(&self, next: Progress<T>) {
        self.progress.send_if_modified(|progress| {
            let goes_on = !matches!(progress, Progress::Stopped);
            if goes_on {
                *progress = next;
            }
            goes_on
        });
    }
}

#[derive(Clone)]
enum Progress<T> {
    Waiting,
    Working,
    Done(T),
    Stopped,
}

impl<T: Clone + Send + Sync + 'static> Queue<T> {
    pub(crate) fn new(
        bounds: Bounds,
        run: impl Fn(Key, &Bytes, &Stop) -> T + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                run: Box::new(run),
                bounds,
                state: Mutex::new(State {
                    jobs: HashMap::new(),
                    line: Line::default(),
                    waiting_bytes: 0,
                    threads: 0,
                    refused: 0,
                    is_closed: false,
                }),
            }),
        }
    }

    pub(crate) fn load(&self) -> Load {
        let state = self.shared.state();
        Load {
            working: state.threads,
            waiting: state.line.len(),
            waiting_bytes: state.waiting_bytes,
            refused: state.refused,
        }
    }

    /// Gives the result of a job, which is begun unless it has been.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. The job is stopped when nobody else waits for it.
    pub(crate) async fn result(&self, key: Key, asker: Asker, wasm: &Bytes) -> Result<T, Refusal> {
        let mut ticket = self.shared.ask(key, asker, wasm)?;
        let bounds = self.shared.bounds;
        let is_waiting = |progress: &Progress<T>| matches!(progress, Progress::Waiting);
        let began = ticket.progress.wait_for(|progress| !is_waiting(progress));
        if timeout(bounds.wait, began).await.is_err() {
            self.shared.state().refused += 1;
            return Err(Refusal::Busy);
        }
        let is_working = |progress: &Progress<T>| matches!(progress, Progress::Working);
        let ended = ticket.progress.wait_for(|progress| !is_working(progress));
        match timeout(bounds.work, ended).await {
            Ok(Ok(progress)) => match &*progress {
                Progress::Done(result) => Ok(result.clone()),
                _ => Err(Refusal::Closed),
            },
            Ok(Err(_)) => Err(Refusal::Closed),
            Err(_) => Err(Refusal::TooLong),
        }
    }

    /// Stops all work and refuses more. Waiting tasks are told so.
    pub(crate) fn close(&self) {
        let mut state = self.shared.state();
        state.is_closed = true;
        state.line = Line::default();
        state.waiting_bytes = 0;
        for (_, job) in state.jobs.drain() {
            job.stop.stop();
            job.progress.send_replace(Progress::Stopped);
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Drop for Queue<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T: Clone + Send + Sync + 'static> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a job, or puts a new one into the line.
    fn ask(self: &Arc<Self>, key: Key, asker: Asker, wasm: &Bytes) -> Result<Ticket<T>, Refusal> {
        let mut state = self.state();
        if state.is_closed {
            return Err(Refusal::Closed);
        }
        if let Some(job) = state.jobs.get(&key) {
            return Ok(Ticket::new(self, job));
        }
        let bytes = state.waiting_bytes + wasm.len();
        if state.line.len() >= self.bounds.waiting
            || state.line.len_of(&asker) >= self.bounds.waiting_of_one
            || (state.waiting_bytes > 0 && bytes > self.bounds.waiting_bytes)
        {
            state.refused += 1;
            return Err(Refusal::Busy);
        }
        let job = Arc::new(Job {
            key,
            asker,
            wasm: wasm.clone(),
            stop: Stop::default(),
            progress: watch::Sender::new(Progress::Waiting),
            tickets: AtomicUsize::new(0),
        });
        if state.threads < self.bounds.threads {
            let shared = Arc::clone(self);
            let thread = std::thread::Builder::new().name("compiler".to_owned());
            if thread.spawn(move || shared.work()).is_ok() {
                state.threads += 1;
            } else if state.threads == 0 {
                state.refused += 1;
                return Err(Refusal::Busy);
            }
        }
        state.waiting_bytes = bytes;
        state.line.push(asker, key);
        let ticket = Ticket::new(self, &job);
        state.jobs.insert(key, job);
        Ok(ticket)
    }

    /// Works until the line is empty: the whole life of a thread.
    fn work(&self) {
        loop {
            let mut state = self.state();
            let Some(job) = state.next() else {
                state.threads -= 1;
                return;
            };
            drop(state);
            job.tell(Progress::Working);
            let result = (self.run)(job.key, &job.wasm, &job.stop);
            let mut state = self.state();
            if state.is_current(&job) {
                state.jobs.remove(&job.key);
            }
            drop(state);
            job.tell(Progress::Done(result));
        }
    }

    /// A task waits no more. The last one to go ends the work.
    fn leave(&self, job: &Arc<Job<T>>) {
        let mut state = self.state();
        let is_last = job.tickets.fetch_sub(1, Ordering::Relaxed) == 1;
        if !is_last || !state.is_current(job) {
            return;
        }
        state.jobs.remove(&job.key);
        if state.line.remove(&job.asker, &job.key) {
            state.waiting_bytes -= job.wasm.len();
        }
        job.stop.stop();
    }
}

impl<T> State<T> {
    fn next(&mut self) -> Option<Arc<Job<T>>> {
        let key = self.line.pop()?;
        let job = Arc::clone(self.jobs.get(&key)?);
        self.waiting_bytes -= job.wasm.len();
        Some(job)
    }

    /// Whether a job is the one under its key, and not one that was given up.
    fn is_current(&self, job: &Arc<Job<T>>) -> bool {
        self.jobs
            .get(&job.key)
            .is_some_and(|current| Arc::ptr_eq(current, job))
    }
}

/// A place among those that wait for a job.
struct Ticket<T: Clone + Send + Sync + 'static> {
    shared: Arc<Shared<T>>,
    job: Arc<Job<T>>,
    progress: watch::Receiver<Progress<T>>,
}

impl<T: Clone + Send + Sync + 'static> Ticket<T> {
    /// Called under the lock of the queue.
    fn new(shared: &Arc<Shared<T>>, job: &Arc<Job<T>>) -> Self {
        job.tickets.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(shared),
            job: Arc::clone(job),
            progress: job.progress.subscribe(),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Drop for Ticket<T> {
    fn drop(&mut self) {
        self.shared.leave(&self.job);
    }
}

/// Keys in the order of their turns: askers one after the other, and of each
/// one the oldest first.
#[derive(Default)]
struct Line {
    turns: VecDeque<Asker>,
    keys: HashMap<Asker, VecDeque<Key>>,
    len: usize,
}

impl Line {
    fn len(&self) -> usize {
        self.len
    }

    fn len_of(&self, asker: &Asker) -> usize {
        self.keys.get(asker).map_or(0, VecDeque::len)
    }

    fn push(&mut self, asker: Asker, key: Key) {
        let keys = self.keys.entry(asker).or_default();
        if keys.is_empty() {
            self.turns.push_back(asker);
        }
        keys.push_back(key);
        self.len += 1;
    }

    fn pop(&mut self) -> Option<Key> {
        let asker = self.turns.pop_front()?;
        let keys = self.keys.get_mut(&asker)?;
        let key = keys.pop_front();
        if keys.is_empty() {
            self.keys.remove(&asker);
        } else {
            self.turns.push_back(asker);
        }
        self.len -= usize::from(key.is_some());
        key
    }

    /// Takes a key out; false when it is not here.
    fn remove(&mut self, asker: &Asker, key: &Key) -> bool {
        let Some(keys) = self.keys.get_mut(asker) else {
            return false;
        };
        let before = keys.len();
        keys.retain(|other| other != key);
        let is_found = keys.len() < before;
        if keys.is_empty() {
            self.keys.remove(asker);
            self.turns.retain(|other| other != asker);
        }
        self.len -= usize::from(is_found);
        is_found
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        threads: 1,
        waiting: 8,
        waiting_of_one: 4,
        waiting_bytes: 100,
        wait: Duration::from_secs(60),
        work: Duration::from_secs(60),
    };

    fn key(number: u8) -> Key {
        [number; 32]
    }

    /// A queue whose jobs give their key's number when `go` says so, and what
    /// they tell when they begin.
    fn queue(bounds: Bounds) -> (Arc<Queue<u8>>, mpsc::Sender<()>, mpsc::Receiver<u8>) {
        let (go, gone) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        let gone = Mutex::new(gone);
        let queue = Queue::new(bounds, move |key, _, stop| {
            begin.send(key[0]).expect("the test listens");
            while !stop.is_stopped() {
                let gone = gone.lock().expect("one thread");
                match gone.recv_timeout(Duration::from_millis(5)) {
                    Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                }
            }
            key[0]
        });
        (Arc::new(queue), go, begun)
    }

    fn ask(
        queue: &Arc<Queue<u8>>,
        number: u8,
        asker: u8,
    ) -> tokio::task::JoinHandle<Result<u8, Refusal>> {
        let queue = Arc::clone(queue);
        tokio::spawn(async move {
            let wasm = Bytes::from_static(&[0; 10]);
            queue.result(key(number), key(asker), &wasm).await
        })
    }

    /// Jobs that are worked on, and that wait.
    fn load_of(queue: &Queue<u8>) -> (usize, usize) {
        let load = queue.load();
        (load.working, load.waiting)
    }

    async fn until(queue: &Queue<u8>, load: (usize, usize)) {
        let reached = async {
            while load_of(queue) != load {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(30), reached)
            .await
            .expect("in time");
    }

    #[tokio::test]
    async fn askers_take_turns() {
        let (queue, go, begun) = queue(BOUNDS);
        let mut tasks = vec![ask(&queue, 1, 1)];
        until(&queue, (1, 0)).await;
        for (waiting, (number, asker)) in [(2, 1), (3, 1), (4, 2), (5, 3)].into_iter().enumerate() {
            tasks.push(ask(&queue, number, asker));
            until(&queue, (1, waiting + 1)).await;
        }
        drop(go);
        for (task, number) in tasks.into_iter().zip(1..) {
            assert_eq!(task.await.expect("task"), Ok(number));
        }
        let order: Vec<u8> = begun.try_iter().collect();
        assert_eq!(order, [1, 2, 4, 5, 3], "the second of asker 1 is the last");
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_stopped_and_its_place_is_free_only_then() {
        let (queue, _go, begun) = queue(BOUNDS);
        let one = ask(&queue, 1, 1);
        let other = ask(&queue, 1, 2);
        let next = ask(&queue, 2, 2);
        until(&queue, (1, 1)).await;
        one.abort();
        let _ = one.await;
        assert_eq!(begun.recv(), Ok(1));
        assert_eq!(load_of(&queue), (1, 1), "a task still waits for the first");
        other.abort();
        let _ = other.await;
        until(&queue, (1, 0)).await;
        let begun = tokio::task::spawn_blocking(move || begun.recv());
        assert_eq!(begun.await.expect("thread"), Ok(2), "the next one's turn");
        next.abort();
        until(&queue, (0, 0)).await;
    }

    #[tokio::test]
    async fn the_last_to_leave_ends_the_work_while_others_are_still_on_their_way_out() {
        let (queue, _go, _begun) = queue(BOUNDS);
        let wasm = Bytes::from_static(&[0; 10]);
        let ticket = || queue.shared.ask(key(1), key(1), &wasm).expect("room");
        let (one, other) = (ticket(), ticket());
        let job = Arc::clone(&one.job);
        // What one that has left drops last of all.
        let receiver = one.progress.clone();
        drop((one, other));
        assert!(job.stop.is_stopped());
        until(&queue, (0, 0)).await;
        drop(receiver);
    }

    #[tokio::test]
    async fn a_job_that_was_stopped_stays_stopped() {
        let (queue, _go, _begun) = queue(BOUNDS);
        let wasm = Bytes::from_static(&[0; 10]);
        let ticket = queue.shared.ask(key(1), key(1), &wasm).expect("room");
        queue.close();
        // As by a thread that took the job out of the line just before.
        ticket.job.tell(Progress::Working);
        assert!(matches!(*ticket.progress.borrow(), Progress::Stopped));
        until(&queue, (0, 0)).await;
    }

    #[tokio::test]
    async fn who_leaves_the_line_is_not_worked_for() {
        let (queue, go, begun) = queue(BOUNDS);
        let first = ask(&queue, 1, 1);
        until(&queue, (1, 0)).await;
        let second = ask(&queue, 2, 2);
        until(&queue, (1, 1)).await;
        second.abort();
        until(&queue, (1, 0)).await;
        drop(go);
        assert_eq!(first.await.expect("task"), Ok(1));
        until(&queue, (0, 0)).await;
        assert_eq!(begun.try_iter().collect::<Vec<_>>(), [1]);
    }

    #[tokio::test]
    async fn the_line_is_bounded_in_all_for_each_asker_and_in_bytes() {
        let bounds = Bounds {
            waiting: 3,
            waiting_of_one: 2,
            ..BOUNDS
        };
        let (queue, _go, _begun) = queue(bounds);
        let mut tasks = vec![ask(&queue, 1, 1)];
        until(&queue, (1, 0)).await;
        for number in 2..4 {
            tasks.push(ask(&queue, number, 1));
        }
        until(&queue, (1, 2)).await;
        assert_eq!(ask(&queue, 9, 1).await.expect("task"), Err(Refusal::Busy));
        let large = Bytes::from(vec![0; 81]);
        let refused = queue.result(key(9), key(2), &large).await;
        assert_eq!(refused, Err(Refusal::Busy), "101 bytes would wait");
        tasks.push(ask(&queue, 4, 2));
        until(&queue, (1, 3)).await;
        assert_eq!(ask(&queue, 9, 3).await.expect("task"), Err(Refusal::Busy));
        for task in tasks {
            task.abort();
        }
        until(&queue, (0, 0)).await;
    }

    #[tokio::test]
    async fn closing_tells_all_who_wait_and_stops_the_work() {
        let (queue, _go, _begun) = queue(BOUNDS);
        let tasks = [ask(&queue, 1, 1), ask(&queue, 2, 2)];
        until(&queue, (1, 1)).await;
        queue.close();
        for task in tasks {
            assert_eq!(task.await.expect("task"), Err(Refusal::Closed));
        }
        assert_eq!(ask(&queue, 3, 3).await.expect("task"), Err(Refusal::Closed));
        until(&queue, (0, 0)).await;
    }

    #[tokio::test]
    async fn waiting_and_working_have_a_time_limit() {
        let bounds = Bounds {
            wait: Duration::from_millis(200),
            work: Duration::from_millis(400),
            ..BOUNDS
        };
        let (queue, _go, _begun) = queue(bounds);
        let first = ask(&queue, 1, 1);
        until(&queue, (1, 0)).await;
        assert_eq!(ask(&queue, 2, 2).await.expect("task"), Err(Refusal::Busy));
        assert_eq!(first.await.expect("task"), Err(Refusal::TooLong));
        until(&queue, (0, 0)).await;
    }
}
