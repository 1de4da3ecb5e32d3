//! Where an instance runs: among the well-behaved, or among the hogs.
//!
//! The daemon's runtime serves instances that wait for I/O most of the time.
//! One that burns slice after slice, or blocks a thread with one long step,
//! goes on in a second runtime whose threads have a lower priority, so that the
//! kernel lets the others pass. After a second of good behaviour it comes back.
//!
//! The unit that moves is the whole future of the instance. Sockets stay
//! registered where they were made; readiness crosses threads like any wake.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::runtime::{Builder, Handle, Runtime};
use tracing::{debug, warn};

use crate::control::Control;
use crate::limits::{HOG_PENALTY, HOG_SLICES, HOG_STEP};

/// How much the kernel prefers other threads to those of the hogs.
///
/// Each step of niceness is a tenth of CPU time; at 10 a hog that competes with
/// an ordinary thread for one core gets a tenth of it, and none of its latency.
const HOG_NICENESS: i32 = 10;

/// The low-priority runtime.
pub(crate) struct HogRuntime {
    runtime: Option<Runtime>,
}

impl HogRuntime {
    /// Starts `threads` threads.
    ///
    /// # Errors
    ///
    /// When the system gives no threads.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("wapo-hog")
            .enable_all()
            .on_thread_start(lower_priority)
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.runtime.as_ref().map(Runtime::handle)
    }
}

impl Drop for HogRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The engine may be dropped inside another runtime, where waiting panics.
            runtime.shutdown_background();
        }
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
    hogs: Option<Handle>,
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
    hogs: Option<Handle>,
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

    /// Hands the future to the other runtime.
    fn move_to(&mut self, place: Place) -> bool {
        let target = match place {
            Place::Main => Some(&self.main),
            Place::Hogs => self.hogs.as_ref(),
        };
        let Some(target) = target.cloned() else {
            return false;
        };
        debug!(?place, "instance changes its runtime");
        target.spawn(Self {
            future: self.future.take(),
            control: Arc::clone(&self.control),
            main: self.main.clone(),
            hogs: self.hogs.clone(),
            place,
            slices: 0,
            last_strike: self.last_strike,
        });
        true
    }
}

impl Future for Scheduled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(future) = self.future.as_mut() else {
            return Poll::Ready(());
        };
        let begun = Instant::now();
        let future = future.as_mut();
        let done = future.poll(cx).is_ready();
        self.control.begin_step();
        if done {
            return Poll::Ready(());
        }
        let place = self.judge(begun);
        if place != self.place && self.move_to(place) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
