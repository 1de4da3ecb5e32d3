//! Where an instance runs: among the well-behaved, the beginners, or the hogs.
//!
//! The daemon's runtime serves instances that wait for I/O most of the time.
//! One that burns slice after slice, or holds a thread with one long step,
//! continues on threads of a lower priority (`hogs`), so that the kernel lets the
//! others pass. After a second of good behaviour it comes back.
//!
//! Nothing is known of an app before it ran, so its first instance begins on
//! threads for beginners, until it has waited for the first time or turns out to
//! be a hog. These are not the hogs' own threads: a program starts however busy
//! the hogs are.
//!
//! A step is judged by the time it took, whatever it ended with. The wall clock
//! alone would blame a guest for other threads that the kernel preferred, and the
//! thread's own clock costs a system call; so the first step that seems long only
//! makes the instance suspect, and some of a suspect's steps, drawn by lot, are
//! measured exactly.
//!
//! The unit that moves is the whole future of the instance. Sockets stay
//! registered where they were made; readiness crosses threads like any wake.

mod hogs;
mod weight;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::{debug, warn};

use self::hogs::{HogHandle, HogThreads};
pub use self::weight::Weight;
use crate::compute::thread_time;
use crate::control::Control;
use crate::limits::{HOG_PENALTY, HOG_RECORD, HOG_SLICES, HOG_STEP};
use crate::steps::StepMarker;

/// How much the kernel prefers other threads to those of the hogs.
///
/// Each step of niceness is a tenth of CPU time; at 10 a hog that competes with
/// an ordinary thread for one core gets a tenth of it, and none of its latency.
const HOG_NICENESS: i32 = 10;

/// As [`HOG_NICENESS`], for beginners: before the hogs, behind all others.
const BEGINNER_NICENESS: i32 = 5;

/// Threads for instances that have not waited yet.
///
/// Two, so that one long step of a beginner is no obstacle to the next one.
const BEGINNER_THREADS: usize = 2;

/// Of a suspect's steps among the well-behaved, one in so many is measured.
///
/// On a busy machine every instance is suspect; reading the thread's clock costs
/// a few hundredths of a short step. One in four finds a guest that holds its
/// thread again and again after a few times, and a lot cannot be foreseen.
const MEASURED_ONE_IN: u32 = 4;

/// The threads beside the runtime. They end when the value is dropped.
pub(crate) struct LowPriority {
    hogs: HogThreads,
    beginners: HogThreads,
}

impl LowPriority {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// When the system gives no threads.
    pub(crate) fn new(hog_threads: usize) -> io::Result<Self> {
        let be_nice = || lower_priority(HOG_NICENESS);
        let begin = || lower_priority(BEGINNER_NICENESS);
        Ok(Self {
            hogs: HogThreads::new("wapo-hog", hog_threads, be_nice)?,
            beginners: HogThreads::new("wapo-begin", BEGINNER_THREADS, begin)?,
        })
    }

    fn handles(&self) -> Handles {
        Handles {
            main: Handle::current(),
            hogs: self.hogs.handle(),
            beginners: self.beginners.handle(),
        }
    }
}

fn lower_priority(niceness: i32) {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), niceness) {
        // An enclave has no priorities; slices alone still bound the latency.
        warn!(%error, "cannot lower the priority of a thread");
    }
}

/// How the instances of one app have used the processor.
///
/// The embedder keeps one for each app and hands it to all instances of it: what
/// one app did is no evidence against another that runs the same module.
#[derive(Debug, Default)]
pub struct SchedulingHistory {
    /// Whether an instance has ever waited without hogging.
    has_waited: AtomicBool,
    /// Milliseconds from [`EPOCH`] to the last strike; 0 for none.
    last_strike_ms: AtomicU64,
}

/// Any moment before the first instance; times are counted from it.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

fn since_epoch_ms(now: Instant) -> u64 {
    let passed = now.saturating_duration_since(*EPOCH).as_millis();
    u64::try_from(passed).unwrap_or(u64::MAX)
}

impl SchedulingHistory {
    fn note_wait(&self) {
        // All instances of the app read it; most of them find it set.
        if !self.has_waited.load(Ordering::Relaxed) {
            self.has_waited.store(true, Ordering::Relaxed);
        }
    }

    fn note_strike(&self, now: Instant) {
        let ms = since_epoch_ms(now).max(1);
        self.last_strike_ms.store(ms, Ordering::Relaxed);
    }

    /// Whether an instance hogged within [`HOG_RECORD`].
    fn has_hogged(&self, now: Instant) -> bool {
        let strike_ms = self.last_strike_ms.load(Ordering::Relaxed);
        let passed = since_epoch_ms(now).saturating_sub(strike_ms);
        strike_ms > 0 && Duration::from_millis(passed) < HOG_RECORD
    }

    fn first_place(&self, now: Instant) -> Place {
        if self.has_hogged(now) {
            Place::Hogs
        } else if self.has_waited.load(Ordering::Relaxed) {
            Place::Main
        } else {
            Place::Beginners
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Main,
    Beginners,
    Hogs,
}

/// Where an instance can go.
#[derive(Clone)]
struct Handles {
    main: Handle,
    hogs: HogHandle,
    beginners: HogHandle,
}

/// The future of an instance and its record.
struct Scheduled {
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    control: Arc<Control>,
    history: Arc<SchedulingHistory>,
    marker: StepMarker,
    handles: Handles,
    place: Place,
    /// Slices in a row without I/O.
    slices: u32,
    /// Time that these slices took, by the wall clock.
    busy: Duration,
    last_strike: Option<Instant>,
    /// When a step last seemed to be long; steps are measured for a while then.
    last_suspicion: Option<Instant>,
    /// State of the lots, never 0.
    lot: u32,
}

/// When a step began, by the clocks it is judged by.
struct StepBegin {
    wall: Instant,
    /// Time of the thread; read only for suspects.
    cpu: Option<Duration>,
}

/// Runs the future of an instance where the history of its app lets it.
///
/// # Panics
///
/// Outside a tokio runtime.
pub(crate) fn spawn(
    threads: &LowPriority,
    control: Arc<Control>,
    history: Arc<SchedulingHistory>,
    marker: StepMarker,
    future: impl Future<Output = ()> + Send + 'static,
) {
    let now = Instant::now();
    Scheduled {
        // Slices are the budget here; tokio's own would report sockets as not
        // ready that are.
        future: Some(Box::pin(tokio::task::unconstrained(future))),
        control,
        marker,
        place: history.first_place(now),
        handles: threads.handles(),
        slices: 0,
        busy: Duration::ZERO,
        // An app with a record serves its time even if it begins with a wait.
        last_strike: history.has_hogged(now).then_some(now),
        last_suspicion: None,
        lot: rand::random::<u32>() | 1,
        history,
    }
    .spawn();
}

impl Scheduled {
    fn begin_step(&mut self) -> StepBegin {
        let wall = Instant::now();
        let is_suspect = self
            .last_suspicion
            .is_some_and(|suspicion| wall - suspicion <= HOG_PENALTY);
        let is_measured = is_suspect && (self.place != Place::Main || self.draw());
        StepBegin {
            wall,
            cpu: if is_measured { thread_time() } else { None },
        }
    }

    /// Draws a lot: true one time in [`MEASURED_ONE_IN`].
    fn draw(&mut self) -> bool {
        // Marsaglia's generator; it never becomes 0, and needs no state elsewhere.
        self.lot ^= self.lot << 13;
        self.lot ^= self.lot >> 17;
        self.lot ^= self.lot << 5;
        self.lot.is_multiple_of(MEASURED_ONE_IN)
    }

    /// Whether the step that just ended held its thread for too long.
    fn was_long(&mut self, begun: &StepBegin, now: Instant) -> bool {
        if now - begun.wall <= HOG_STEP {
            return false;
        }
        self.last_suspicion = Some(now);
        let measured = begun.cpu.and_then(|before| Some((before, thread_time()?)));
        measured.is_some_and(|(before, after)| after.saturating_sub(before) > HOG_STEP)
    }

    /// Judges the step that just ended and says where to go on.
    fn judge(&mut self, begun: &StepBegin) -> Place {
        let idle = self.control.is_idle();
        let io = self.control.take_io();
        let heavy = self.control.take_heavy();
        let paused = self.control.take_pause();
        let now = Instant::now();
        if idle || io {
            self.slices = 0;
            self.busy = Duration::ZERO;
        } else if !paused {
            // Waiting for a quota is no slice: nothing was computed.
            self.slices += 1;
            self.busy += now - begun.wall;
        }
        // The fuel of bulk memory instructions is burnt much faster than other fuel.
        let has_looped = self.slices >= HOG_SLICES && self.busy >= HOG_STEP;
        if self.was_long(begun, now) || heavy || has_looped {
            self.last_strike = Some(now);
            self.history.note_strike(now);
            return Place::Hogs;
        }
        if !idle {
            return self.place;
        }
        self.history.note_wait();
        match self.last_strike {
            Some(strike) if begun.wall - strike <= HOG_PENALTY => self.place,
            _ => Place::Main,
        }
    }

    /// Goes on at its place.
    fn spawn(self) {
        let handles = self.handles.clone();
        match self.place {
            Place::Main => drop(handles.main.spawn(self)),
            Place::Beginners => handles.beginners.spawn(self),
            Place::Hogs => handles.hogs.spawn(self),
        }
    }

    /// Hands the future to other threads.
    fn move_to(&mut self, place: Place) {
        debug!(?place, "instance changes its threads");
        Self {
            future: self.future.take(),
            control: Arc::clone(&self.control),
            history: Arc::clone(&self.history),
            handles: self.handles.clone(),
            marker: self.marker.clone(),
            place,
            slices: 0,
            busy: Duration::ZERO,
            last_strike: self.last_strike,
            last_suspicion: self.last_suspicion,
            lot: self.lot,
        }
        .spawn();
    }
}

impl Future for Scheduled {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let begun = this.begin_step();
        let Some(future) = this.future.as_mut() else {
            return Poll::Ready(());
        };
        // Sockets and timers that are made on other threads belong to the
        // runtime of all instances, too.
        let context = (this.place != Place::Main).then(|| this.handles.main.enter());
        let step = this.marker.enter(begun.wall);
        let done = future.as_mut().poll(cx).is_ready();
        drop(step);
        drop(context);
        this.control.begin_step();
        if done {
            return Poll::Ready(());
        }
        let place = this.judge(&begun);
        if place != this.place {
            this.move_to(place);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn marker() -> StepMarker {
        StepMarker::new(Arc::default(), crate::embedder::InstanceId(0))
    }

    fn scheduled(history: &Arc<SchedulingHistory>, threads: &LowPriority) -> Scheduled {
        Scheduled {
            future: None,
            control: Arc::default(),
            history: Arc::clone(history),
            marker: marker(),
            handles: threads.handles(),
            place: Place::Main,
            slices: 0,
            busy: Duration::ZERO,
            last_strike: None,
            last_suspicion: None,
            lot: 1,
        }
    }

    /// Computes for as long as makes a step long.
    fn compute() {
        compute_for(2 * HOG_STEP);
    }

    /// Computes for so long by the thread's own clock.
    fn compute_for(time: Duration) {
        let begun = thread_time().expect("Linux knows it");
        while thread_time().expect("as before") - begun < time {}
    }

    #[tokio::test]
    async fn a_long_step_that_ends_with_a_wait_is_a_strike() {
        let threads = LowPriority::new(1).expect("threads");
        let history = Arc::default();
        let mut instance = scheduled(&history, &threads);
        instance.control.set_idle(true);
        let step = |instance: &mut Scheduled| {
            let begun = instance.begin_step();
            compute();
            instance.judge(&begun)
        };
        assert_eq!(step(&mut instance), Place::Main, "one may be an accident");
        let struck = (0..100).any(|_| step(&mut instance) == Place::Hogs);
        assert!(struck, "it is measured in the end");
        assert!(history.has_hogged(Instant::now()));
    }

    #[tokio::test]
    async fn time_that_others_computed_is_no_strike() {
        let threads = LowPriority::new(1).expect("threads");
        let history = Arc::default();
        let mut instance = scheduled(&history, &threads);
        instance.control.set_idle(true);
        for _ in 0..30 {
            let begun = instance.begin_step();
            // The thread stands still, as when the kernel prefers another one.
            let (_kept, never) = mpsc::channel::<()>();
            assert!(never.recv_timeout(2 * HOG_STEP).is_err());
            assert_eq!(instance.judge(&begun), Place::Main);
        }
        assert!(!history.has_hogged(Instant::now()));
    }

    #[tokio::test]
    async fn waiting_for_a_quota_is_no_slice() {
        let threads = LowPriority::new(1).expect("threads");
        let history = Arc::default();
        let mut instance = scheduled(&history, &threads);
        for _ in 0..2 * HOG_SLICES {
            let begun = instance.begin_step();
            instance.control.note_pause();
            assert_eq!(instance.judge(&begun), Place::Main);
        }
        let mut slice = |time: Duration| {
            let begun = instance.begin_step();
            compute_for(time);
            instance.judge(&begun)
        };
        let short = (0..2 * HOG_SLICES).map(|_| slice(HOG_STEP / 100));
        assert_eq!(short.last(), Some(Place::Main), "a large copy is not");
        let place = (0..HOG_SLICES).map(|_| slice(HOG_STEP / 8));
        assert_eq!(place.last(), Some(Place::Hogs), "computing is");
    }

    #[test]
    fn a_record_is_forgotten_after_good_behaviour() {
        let history = SchedulingHistory::default();
        let begun = Instant::now() + Duration::from_secs(1);
        assert_eq!(history.first_place(begun), Place::Beginners);
        history.note_wait();
        assert_eq!(history.first_place(begun), Place::Main);
        history.note_strike(begun);
        assert_eq!(history.first_place(begun), Place::Hogs);
        let later = begun + HOG_RECORD + Duration::from_millis(1);
        assert_eq!(history.first_place(later), Place::Main);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_app_starts_while_hogs_hold_all_their_threads() {
        let threads = LowPriority::new(2).expect("threads");
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        for _ in 0..2 {
            let hog = Arc::new(SchedulingHistory::default());
            hog.note_strike(Instant::now());
            let held = Arc::clone(&held);
            spawn(&threads, Arc::default(), hog, marker(), async move {
                // A step without end, as far as this test is concerned.
                let _ = held.lock().map(|held| held.recv());
            });
        }
        let (started, seen) = tokio::sync::oneshot::channel();
        spawn(
            &threads,
            Arc::default(),
            Arc::default(),
            marker(),
            async move {
                let _ = started.send(());
            },
        );
        let seen = tokio::time::timeout(TIMEOUT, seen).await;
        drop(release);
        assert!(matches!(seen, Ok(Ok(()))), "the beginner ran");
    }
}
