//! Where an instance runs: among the well-behaved, or among the hogs.
//!
//! The daemon's runtime serves instances that wait for I/O most of the time.
//! One that burns slice after slice, or blocks a thread with one long step,
//! goes on in a second runtime whose threads have a lower priority, so that the
//! kernel lets the others pass. After a second of good behaviour it comes back.
//!
//! The unit that moves is the whole future of the instance. Sockets stay
//! registered where they were made; readiness crosses threads like any wake.

mod hogs;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::runtime::Handle;
use tracing::{debug, warn};

use self::hogs::{HogHandle, HogThreads};
use crate::control::Control;
use crate::limits::{HOG_PENALTY, HOG_SLICES, HOG_STEP};

/// How much the kernel prefers other threads to those of the hogs.
///
/// Each step of niceness is a tenth of CPU time; at 10 a hog that competes with
/// an ordinary thread for one core gets a tenth of it, and none of its latency.
const HOG_NICENESS: i32 = 10;

/// The low-priority threads.
pub(crate) struct HogRuntime {
    handle: HogHandle,
    /// Ends its threads when the engine is gone.
    _threads: HogThreads,
}

impl HogRuntime {
    /// Starts `threads` threads.
    ///
    /// # Errors
    ///
    /// When the system gives no threads.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let threads = HogThreads::new(threads, lower_priority)?;
        Ok(Self {
            handle: threads.handle(),
            _threads: threads,
        })
    }

    pub(crate) fn handle(&self) -> Option<&HogHandle> {
        Some(&self.handle)
    }
}

fn lower_priority() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), HOG_NICENESS) {
        // An enclave has no priorities; slices alone still bound the latency.
        warn!(%error, "cannot lower the priority of a thread");
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
    main: Handle,
    hogs: Option<HogHandle>,
    place: Place,
    /// Slices in a row without I/O.
    slices: u32,
    last_strike: Instant,
}

/// Runs the future of an instance on the present runtime, for now.
///
/// # Panics
///
/// Outside a tokio runtime.
pub(crate) fn spawn(
    hogs: Option<HogHandle>,
    control: Arc<Control>,
    future: impl Future<Output = ()> + Send + 'static,
) {
    let main = Handle::current();
    let scheduled = Scheduled {
        // Slices are the budget here; tokio's own would report sockets as not
        // ready that are.
        future: Some(Box::pin(tokio::task::unconstrained(future))),
        control,
        main: main.clone(),
        hogs,
        place: Place::Main,
        slices: 0,
        last_strike: Instant::now(),
    };
    main.spawn(scheduled);
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
                self.last_strike = now;
                return Place::Hogs;
            }
        } else if self.place == Place::Hogs && begun - self.last_strike > HOG_PENALTY {
            return Place::Main;
        }
        self.place
    }

    /// Hands the future to the other threads.
    fn move_to(&mut self, place: Place) -> bool {
        let Some(hogs) = self.hogs.clone() else {
            return false;
        };
        debug!(?place, "instance changes its threads");
        let main = self.main.clone();
        let moved = Self {
            future: self.future.take(),
            control: Arc::clone(&self.control),
            main: self.main.clone(),
            hogs: self.hogs.take(),
            place,
            slices: 0,
            last_strike: self.last_strike,
        };
        match place {
            Place::Main => drop(main.spawn(moved)),
            Place::Hogs => hogs.spawn(moved),
        }
        true
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
        if place != this.place && this.move_to(place) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
