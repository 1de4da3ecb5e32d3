//! Where an instance runs: among the well-behaved, or among the hogs.
//!
//! The daemon's runtime serves instances that wait for I/O most of the time.
//! One that burns slice after slice, or blocks a thread with one long step,
//! continues on threads of a lower priority (`hogs`), so that the kernel lets the
//! others pass. After a second of good behaviour it comes back.
//!
//! The first instance of a program starts among the hogs, until it has waited for
//! the first time: one bulk instruction can hold a thread for half a second, and
//! nothing is known of a program before it ran.
//!
//! The unit that moves is the whole future of the instance. Sockets stay
//! registered where they were made; readiness crosses threads like any wake.

mod hogs;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::runtime::Handle;
use tracing::{debug, warn};

use self::hogs::HogHandle;
pub(crate) use self::hogs::HogThreads;
use crate::control::Control;
use crate::limits::{HOG_PENALTY, HOG_SLICES, HOG_STEP};

/// How much the kernel prefers other threads to those of the hogs.
///
/// Each step of niceness is a tenth of CPU time; at 10 a hog that competes with
/// an ordinary thread for one core gets a tenth of it, and none of its latency.
const HOG_NICENESS: i32 = 10;

/// Starts the low-priority threads; they end when the value is dropped.
///
/// # Errors
///
/// When the system gives no threads.
pub(crate) fn hog_threads(threads: usize) -> std::io::Result<HogThreads> {
    HogThreads::new(threads, lower_priority)
}

fn lower_priority() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), HOG_NICENESS) {
        // An enclave has no priorities; slices alone still bound the latency.
        warn!(%error, "cannot lower the priority of a thread");
    }
}

/// What is known of a program from its instances.
#[derive(Debug, Default)]
pub(crate) struct Conduct(AtomicU8);

/// Nothing yet. Goes to `WAITED` or `HOGGED`.
const UNKNOWN: u8 = 0;
/// An instance has waited without hogging. Goes to `HOGGED`.
const WAITED: u8 = 1;
/// An instance has hogged; later ones start among the hogs.
const HOGGED: u8 = 2;

impl Conduct {
    fn note_wait(&self) {
        // Anything else is known better already.
        let _ = self
            .0
            .compare_exchange(UNKNOWN, WAITED, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn note_strike(&self) {
        self.0.store(HOGGED, Ordering::Relaxed);
    }

    fn has_hogged(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HOGGED
    }

    fn first_place(&self) -> Place {
        match self.0.load(Ordering::Relaxed) {
            WAITED => Place::Main,
            _ => Place::Hogs,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Main,
    Hogs,
}

/// The future of an instance and its record.
struct Scheduled {
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    control: Arc<Control>,
    conduct: Arc<Conduct>,
    main: Handle,
    hogs: HogHandle,
    place: Place,
    /// Slices in a row without I/O.
    slices: u32,
    last_strike: Option<Instant>,
}

/// Runs the future of an instance where its program's conduct lets it, between
/// the present runtime and the hogs.
///
/// # Panics
///
/// Outside a tokio runtime.
pub(crate) fn spawn(
    hogs: HogHandle,
    control: Arc<Control>,
    conduct: Arc<Conduct>,
    future: impl Future<Output = ()> + Send + 'static,
) {
    Scheduled {
        // Slices are the budget here; tokio's own would report sockets as not
        // ready that are.
        future: Some(Box::pin(tokio::task::unconstrained(future))),
        control,
        place: conduct.first_place(),
        main: Handle::current(),
        hogs,
        slices: 0,
        // A program with a record serves its time even if it begins with a wait.
        last_strike: conduct.has_hogged().then(Instant::now),
        conduct,
    }
    .spawn();
}

impl Scheduled {
    /// Judges the step that just ended and says where to go on.
    fn judge(&mut self, begun: Instant) -> Place {
        let idle = self.control.is_idle();
        let io = self.control.take_io();
        let heavy = self.control.take_heavy();
        if idle || io {
            self.slices = 0;
        } else {
            self.slices += 1;
        }
        if !idle || heavy {
            let now = Instant::now();
            let long_step = !idle && !io && now - begun > HOG_STEP;
            if heavy || long_step || self.slices >= HOG_SLICES {
                self.last_strike = Some(now);
                self.conduct.note_strike();
                return Place::Hogs;
            }
            return self.place;
        }
        self.conduct.note_wait();
        match self.last_strike {
            Some(strike) if begun - strike <= HOG_PENALTY => self.place,
            _ => Place::Main,
        }
    }

    /// Goes on at its place.
    fn spawn(self) {
        match self.place {
            Place::Main => drop(self.main.clone().spawn(self)),
            Place::Hogs => self.hogs.clone().spawn(self),
        }
    }

    /// Hands the future to the other threads.
    fn move_to(&mut self, place: Place) {
        debug!(?place, "instance changes its threads");
        Self {
            future: self.future.take(),
            control: Arc::clone(&self.control),
            conduct: Arc::clone(&self.conduct),
            main: self.main.clone(),
            hogs: self.hogs.clone(),
            place,
            slices: 0,
            last_strike: self.last_strike,
        }
        .spawn();
    }
}

impl Future for Scheduled {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(future) = this.future.as_mut() else {
            return Poll::Ready(());
        };
        let begun = Instant::now();
        // Sockets and timers that are made on a hog's thread belong to the
        // runtime of all others, too.
        let context = (this.place == Place::Hogs).then(|| this.main.enter());
        let done = future.as_mut().poll(cx).is_ready();
        drop(context);
        this.control.begin_step();
        if done {
            return Poll::Ready(());
        }
        let place = this.judge(begun);
        if place != this.place {
            this.move_to(place);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
