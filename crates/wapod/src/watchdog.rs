//! Notices when the runtime stands still, and says which instance holds it.
//!
//! A thread of its own gives the runtime a tiny task several times a second and
//! looks whether it was run, and reads which instances hold a thread (`steps` of
//! the host). A stall is a line of the log and a figure; nothing is ended. It
//! takes no lock that a runtime thread could hold for long. Started by `server`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use wapo_host::InstanceId;
use wapo_host::steps::{Step, Steps};

use crate::limits::{STALL_LINE_INTERVAL, STALL_MIN, WATCHDOG_INTERVAL};

/// Says whose instance that is, without waiting for anything.
pub(crate) type Whose = Box<dyn Fn(InstanceId) -> Option<String> + Send>;

/// What was noticed so far.
#[derive(Default, Debug)]
pub(crate) struct Stalls {
    count: AtomicU64,
    longest_us: AtomicU64,
    current_us: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct StallReading {
    /// Stalls since the start, the present one included.
    pub(crate) count: u64,
    /// The longest one.
    pub(crate) longest: Duration,
    /// The present one; zero when there is none.
    pub(crate) current: Duration,
}

impl Stalls {
    pub(crate) fn read(&self) -> StallReading {
        StallReading {
            count: self.count.load(Ordering::Relaxed),
            longest: Duration::from_micros(self.longest_us.load(Ordering::Relaxed)),
            current: Duration::from_micros(self.current_us.load(Ordering::Relaxed)),
        }
    }
}

/// The thread. It ends when this is dropped.
pub(crate) struct Watchdog {
    /// The thread ends when this is gone.
    _alive: Sender<()>,
}

impl Watchdog {
    /// Looks after a runtime and the instances on it.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(crate) fn start(
        runtime: Handle,
        stalls: Arc<Stalls>,
        steps: Arc<Steps>,
        whose: Whose,
    ) -> std::io::Result<Self> {
        let (alive, ended) = channel();
        let mut watch = Watch {
            runtime,
            steps,
            whose,
            stalls,
            beat: None,
            stalled: false,
            said: None,
        };
        std::thread::Builder::new()
            .name("wapod-watchdog".to_owned())
            .spawn(move || {
                while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(WATCHDOG_INTERVAL) {
                    watch.look();
                }
            })?;
        Ok(Self { _alive: alive })
    }
}

struct Watch {
    runtime: Handle,
    steps: Arc<Steps>,
    whose: Whose,
    stalls: Arc<Stalls>,
    /// The last task that was given to the runtime.
    beat: Option<Beat>,
    /// Whether the last look found a stall.
    stalled: bool,
    /// When the last line about a stall was written.
    said: Option<Instant>,
}

struct Beat {
    sent: Instant,
    done: Arc<AtomicBool>,
}

impl Watch {
    fn look(&mut self) {
        let late = self.late();
        let steps = self.steps.longer_than(STALL_MIN);
        let held = steps.iter().map(|step| step.elapsed).max();
        let stall = late.max(held.unwrap_or_default());
        let us = u64::try_from(stall.as_micros()).unwrap_or(u64::MAX);
        if stall < STALL_MIN {
            self.stalls.current_us.store(0, Ordering::Relaxed);
            if std::mem::take(&mut self.stalled) {
                let longest = self.stalls.read().longest.as_secs_f64();
                tracing::info!("the runtime goes on; its longest stall so far was {longest:.1} s");
            }
            return;
        }
        self.stalls.current_us.store(us, Ordering::Relaxed);
        self.stalls.longest_us.fetch_max(us, Ordering::Relaxed);
        if !std::mem::replace(&mut self.stalled, true) {
            self.stalls.count.fetch_add(1, Ordering::Relaxed);
        }
        if self
            .said
            .is_none_or(|said| said.elapsed() >= STALL_LINE_INTERVAL)
        {
            self.said = Some(Instant::now());
            tracing::error!("{}", self.describe(late, &steps));
        }
    }

    /// How long the runtime has left a task waiting. Gives it the next one when
    /// it has run the last.
    fn late(&mut self) -> Duration {
        if let Some(beat) = &self.beat
            && !beat.done.load(Ordering::Acquire)
        {
            return beat.sent.elapsed();
        }
        let done = Arc::new(AtomicBool::new(false));
        let runs = Arc::clone(&done);
        self.runtime.spawn(async move {
            runs.store(true, Ordering::Release);
        });
        self.beat = Some(Beat {
            sent: Instant::now(),
            done,
        });
        Duration::ZERO
    }

    fn describe(&self, late: Duration, steps: &[Step]) -> String {
        let mut text = match late >= STALL_MIN {
            true => format!(
                "the runtime has run no task for {:.1} s",
                late.as_secs_f64()
            ),
            false => "an instance does not let go of its thread".to_owned(),
        };
        for step in steps {
            let app = (self.whose)(step.instance);
            let app = app.unwrap_or_else(|| "an unknown app".to_owned());
            text += &format!(
                "; instance {} of {app} has held a thread for {:.1} s",
                step.instance.0,
                step.elapsed.as_secs_f64()
            );
        }
        text
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "the runtime under test stands still, so this thread waits by itself"
)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn until(what: &str, condition: impl Fn() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < TIMEOUT, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_runtime_that_runs_nothing_is_a_stall_until_it_goes_on() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .expect("a runtime");
        let whose: Whose = Box::new(|_| None);
        let handle = runtime.handle().clone();
        let stalls = Arc::<Stalls>::default();
        let _watchdog =
            Watchdog::start(handle, Arc::clone(&stalls), Arc::default(), whose).expect("a thread");
        let (go_on, held) = channel::<()>();
        runtime.spawn(async move {
            // The one thread of the runtime waits for this test.
            let _ = held.recv();
        });
        until("it is noticed", || stalls.read().current >= STALL_MIN);
        assert_eq!(stalls.read().count, 1);
        drop(go_on);
        until("it is over", || stalls.read().current == Duration::ZERO);
        let reading = stalls.read();
        assert_eq!(reading.count, 1);
        assert!(reading.longest >= STALL_MIN, "{reading:?}");
    }

    #[test]
    fn a_line_names_the_instance_and_its_app() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let watch = Watch {
            runtime: runtime.handle().clone(),
            steps: Arc::default(),
            whose: Box::new(|id| (id.0 == 7).then(|| "app 0xabc (shop)".to_owned())),
            stalls: Arc::default(),
            beat: None,
            stalled: false,
            said: None,
        };
        let step = |id| Step {
            instance: InstanceId(id),
            elapsed: Duration::from_millis(2500),
        };
        assert_eq!(
            watch.describe(Duration::from_secs(3), &[step(7), step(8)]),
            "the runtime has run no task for 3.0 s; \
             instance 7 of app 0xabc (shop) has held a thread for 2.5 s; \
             instance 8 of an unknown app has held a thread for 2.5 s"
        );
    }
}
